//! Where multicast packets come in: UDP sockets on given ports, or packet sockets for all.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::inner::{Inner, Intake, Lack};
use super::upstream::Upstream;
use crate::datagram::receive::{self, Reader};
use crate::error::{Errno, Result};
use crate::sys::option::{Family, IntOption};
use crate::sys::packet::{self, OFFLOAD_HEADER, Offload, Protocol};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;
use crate::tunnel::amt::relay::Counters;

const SLOTS: usize = 64;
/// The largest packet or train, with what stands before it.
const SLOT_SIZE: usize = 65_536 + 64;
/// What is asked for, for packets that wait; the kernel gives what it allows.
const RECEIVE_BUFFER: i32 = 4 << 20;

/// One socket.
struct Door {
    socket: OwnedFd,
    /// The port of a UDP socket; `None` for a packet socket.
    port: Option<u16>,
    /// The kernel's count of drops, as last told.
    drops: u32,
}

/// All of them, and what has come in.
pub(super) struct Ingress {
    doors: Vec<Door>,
    reader: Reader,
    pub inners: Vec<Inner>,
}

impl Ingress {
    /// UDP sockets on these ports; packet sockets if there are none, which takes CAP_NET_RAW.
    pub fn open(ports: &[u16]) -> Result<Ingress> {
        let mut doors = Vec::new();
        for family in [Family::V4, Family::V6] {
            match doors_of(family, ports) {
                Ok(some) => doors.extend(some),
                // A host without IPv6 has no IPv6 to forward.
                Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if family == Family::V6 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Ingress { doors, reader: Reader::new(SLOTS, SLOT_SIZE)?, inners: Vec::with_capacity(SLOTS) })
    }

    /// To wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.iter().map(|door| door.socket.as_fd())
    }

    /// Reads a batch from one of them.
    pub fn read(
        &mut self,
        number: usize,
        upstream: &mut Upstream,
        counters: &mut Counters,
        keep_ttl: bool,
    ) -> Result<()> {
        let Ingress { doors, reader, inners } = self;
        inners.clear();
        reader.clear();
        let Some(door) = doors.get_mut(number) else { return Ok(()) };
        match reader.fill(door.socket.as_fd()) {
            // A packet that the kernel can't describe is dropped by it.
            Err(Errno::EAGAIN | Errno::EINVAL) => return Ok(()),
            result => result?,
        }
        let mut intake = Intake { counters, keep_ttl };
        let mut total = door.drops;
        loop {
            let slot = reader.position();
            let Some(view) = reader.next_view(&mut total) else { break };
            let (told, range, is_cut) =
                (view.packet.told, view.offset..view.offset + view.len, view.len < view.true_len);
            intake.counters.dropped_by_socket += u64::from(view.drops);
            let bytes = reader.slot(slot);
            match door.port {
                Some(port) => {
                    let Some((to, interface)) = told.destination else { continue };
                    if !upstream.is_upstream(interface) {
                        continue;
                    }
                    let Some(from) = reader.source(slot) else { continue };
                    let (ttl, class) = (told.ttl.unwrap_or(0) as u8, told.traffic_class.unwrap_or(0) as u8);
                    inners.extend(intake.datagram(from, SocketAddr::new(to, port), ttl, class, slot, range));
                }
                None => {
                    let Some(link) = reader.link(slot).filter(|link| upstream.is_upstream(link.interface)) else {
                        continue;
                    };
                    let lack = bytes.first_chunk().map(|header: &[u8; OFFLOAD_HEADER]| lack(Offload::parse(header)));
                    let at = link.header_len.map(|len| OFFLOAD_HEADER + len);
                    // Where the packet begins, if it is one that can be read.
                    let at = at.filter(|_| !is_cut).zip(lack.flatten());
                    let (at, lack) = at.unwrap_or((usize::MAX, Lack::Nothing));
                    intake.packet(bytes, slot, at, lack, |inner| inners.push(inner));
                }
            }
        }
        door.drops = total;
        Ok(())
    }

    /// The bytes that a packet is among.
    pub fn slot(&self, slot: usize) -> &[u8] {
        self.reader.slot(slot)
    }
}

fn lack(offload: Offload) -> Option<Lack> {
    match offload {
        Offload { is_other: true, .. } => None,
        Offload { segment_size: Some(size), .. } => Some(Lack::Segments(size)),
        Offload { needs_checksum: true, .. } => Some(Lack::Checksum),
        _ => Some(Lack::Nothing),
    }
}

fn doors_of(family: Family, ports: &[u16]) -> Result<Vec<Door>> {
    if ports.is_empty() {
        let protocol = if family == Family::V4 { Protocol::V4 } else { Protocol::V6 };
        let socket = packet::multicast_socket(protocol)?;
        grow(socket.as_fd());
        let _ = IntOption::DROPS.set(socket.as_fd(), 1);
        return Ok(vec![Door { socket, port: None, drops: 0 }]);
    }
    ports.iter().map(|port| udp_door(family, *port)).collect()
}

/// A socket that shares its port and has joined nothing: it gets every group that the host has joined.
fn udp_door(family: Family, port: u16) -> Result<Door> {
    let socket = socket::udp_socket(family.domain())?;
    let fd = socket.as_fd();
    IntOption::REUSE_ADDRESS.set(fd, 1)?;
    let any: IpAddr = match family {
        Family::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    if family == Family::V6 {
        IntOption::IPV6_ONLY.set(fd, 1)?;
    }
    grow(fd);
    // They stay on.
    receive::tell(fd, true, true);
    socket::bind(fd, &SocketAddress::from(SocketAddr::new(any, port)))?;
    Ok(Door { socket, port: Some(port), drops: 0 })
}

/// Room for what comes while the relay is busy.
pub(super) fn grow(fd: BorrowedFd<'_>) {
    let set = IntOption::RECEIVE_BUFFER_FORCE.set(fd, RECEIVE_BUFFER);
    // What there is has to do.
    let _ = set.or_else(|_| IntOption::RECEIVE_BUFFER.set(fd, RECEIVE_BUFFER));
}
