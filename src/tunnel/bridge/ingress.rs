//! Multicast of an interface on its way into the tunnel: whole packets from packet sockets, or without
//! privilege datagrams from UDP sockets, whose headers are made anew.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::asked::{Asked, Change};
use super::course::Course;
use super::followed::{Followed, News};
use super::groups::Groups;
use super::joins::{self, Joins};
use super::recent::Side;
use super::workbench::{Datagram, Lack};
use crate::datagram::buffer;
use crate::datagram::receive::Reader;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::hash::HashMap;
use crate::multicast::manager::Manager;
use crate::multicast::manager::selector::Selector;
use crate::multicast::manager::wish::Key;
use crate::sys::option::{Family, IntOption, family};
use crate::sys::packet::{self, OFFLOAD_HEADER, Offload, Protocol};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;
use crate::tunnel::ip::{Packet, protocol};

/// Packets that are taken at a time.
pub const SLOTS: usize = 64;
/// The largest packet or train, with what stands before it.
const SLOT_SIZE: usize = 65_536 + 64;
const RECEIVE_BUFFER: usize = 4 << 20;
/// Datagrams that are taken at a time.
const BATCH: usize = 128;

/// One socket.
enum Door {
    Packets { socket: OwnedFd, drops: u32 },
    Datagrams { manager: Box<Manager<'static>>, port: u16 },
}

/// Which packets are wanted.
enum Wanted {
    All,
    Asked(Asked),
    List(HashMap<IpAddr, Vec<Entry>>),
}

/// What of a group is wanted: from which source, to which port; `None` for any.
type Entry = (Option<IpAddr>, Option<u16>);

/// All of it.
pub struct Ingress {
    doors: Vec<Door>,
    reader: Reader,
    joins: Option<Joins>,
    wanted: Wanted,
    followed: Followed,
    /// Where all groups are taken.
    takes_all: Option<u32>,
}

impl Ingress {
    /// `EPERM` if packet sockets are refused, and the groups can't be had without.
    pub fn open(text: &CStr, groups: Groups) -> Result<Ingress> {
        // Before anything is joined, so that nothing is missed between.
        let followed = Followed::open(text)?;
        let selector = Selector::parse(text)?;
        let (doors, joins) = match packet_doors() {
            Ok(doors) => (doors, Some(Joins::open(selector)?)),
            Err(Errno::EPERM) => (datagram_doors(&groups, &selector)?, None),
            Err(error) => return Err(error),
        };
        let mut ingress = Ingress {
            doors,
            reader: Reader::new(SLOTS, SLOT_SIZE)?,
            joins,
            wanted: Wanted::All,
            followed,
            takes_all: None,
        };
        ingress.want(groups)?;
        Ok(ingress)
    }

    fn want(&mut self, groups: Groups) -> Result<()> {
        self.wanted = match groups {
            Groups::All => {
                self.take_all_groups()?;
                Wanted::All
            }
            Groups::Asked => Wanted::Asked(Asked::default()),
            Groups::List(list) => {
                let mut map: HashMap<_, Vec<Entry>> = HashMap::default();
                for (key, port) in list {
                    let entries = map.entry(key.group).or_default();
                    let is_joined = entries.iter().any(|(source, _)| *source == key.source);
                    if let Some(joins) = self.joins.as_mut().filter(|_| !is_joined) {
                        joins.change(Change::Join(key));
                    }
                    entries.push((key.source, port));
                }
                Wanted::List(map)
            }
        };
        Ok(())
    }

    /// On the interface as it is now.
    fn take_all_groups(&mut self) -> Result<()> {
        let Some(Door::Packets { socket, .. }) = self.doors.first() else { return Ok(()) };
        if let Some(before) = self.takes_all.take() {
            // If it is gone, the kernel has taken it back.
            let _ = packet::leave_all_groups(socket.as_fd(), before);
        }
        self.takes_all = self.followed.index();
        match self.takes_all.map(|index| packet::take_all_groups(socket.as_fd(), index)) {
            // One that is gone already is told as such next.
            None | Some(Err(Errno::ENODEV)) => Ok(()),
            Some(result) => result,
        }
    }

    /// The interface, if there is one now.
    pub fn interface(&self) -> Option<u32> {
        self.followed.index()
    }

    /// Whether datagrams are received, and what this host sends itself might be among them.
    pub fn hears_itself(&self) -> bool {
        self.joins.is_none()
    }

    /// What the other end asks for, if that counts.
    pub fn asked(&mut self) -> Option<&mut Asked> {
        match &mut self.wanted {
            Wanted::Asked(asked) => Some(asked),
            _ => None,
        }
    }

    /// Those for packets, then those for news of interfaces.
    pub fn fds(&mut self) -> Result<Vec<BorrowedFd<'_>>> {
        let Ingress { doors, joins, followed, .. } = self;
        let mut all = Vec::new();
        for door in doors {
            all.push(match door {
                Door::Packets { socket, .. } => OwnedFd::as_fd(socket),
                Door::Datagrams { manager, .. } => manager.receive_descriptor()?,
            });
        }
        all.extend(joins.iter().flat_map(Joins::fds));
        all.push(followed.fd());
        Ok(all)
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        let asked = match &self.wanted {
            Wanted::Asked(asked) => asked.timeout(),
            _ => None,
        };
        let managers = self.doors.iter().filter_map(|door| match door {
            Door::Datagrams { manager, .. } => manager.timer(),
            Door::Packets { .. } => None,
        });
        managers.chain(self.joins.as_ref().and_then(Joins::timer)).chain(asked).min()
    }

    /// Joins and leaves what is asked for, and does what is due.
    pub fn follow(&mut self, now: Instant) -> Result<()> {
        if let (Wanted::Asked(asked), Some(joins)) = (&mut self.wanted, &mut self.joins) {
            if asked.timeout().is_some_and(|at| at <= now) {
                asked.handle_timeout(now);
            }
            asked.take_changes().into_iter().for_each(|change| joins.change(change));
        }
        for door in &mut self.doors {
            if let Door::Datagrams { manager, .. } = door {
                if manager.timer().is_some_and(|at| at <= now) {
                    manager.process()?;
                }
            }
        }
        match &mut self.joins {
            Some(joins) if joins.timer().is_some_and(|at| at <= now) => joins.process(),
            _ => Ok(()),
        }
    }

    /// How many joins were refused.
    pub fn refused(&self) -> u64 {
        let asked = match &self.wanted {
            Wanted::Asked(asked) => asked.refused,
            _ => 0,
        };
        asked + self.joins.as_ref().map_or(0, |joins| joins.refused)
    }

    /// How many of [`Ingress::fds`] are for packets.
    pub fn door_count(&self) -> usize {
        self.doors.len()
    }

    /// Reads a batch from what the number among [`Ingress::fds`] stands for; how many packets were there.
    pub fn read(&mut self, number: usize, course: &mut Course, now: Instant) -> Result<usize> {
        course.begin(Side::Interface);
        match self.doors.get(number) {
            Some(Door::Packets { .. }) => self.read_packets(number, course, now),
            Some(Door::Datagrams { .. }) => self.read_datagrams(number, course, now),
            None => self.news().map(|()| 0),
        }
    }

    /// An interface has come or gone.
    fn news(&mut self) -> Result<()> {
        let joined = self.joins.as_mut().map_or(Ok(()), Joins::process);
        if self.followed.process()? == News::Moved && matches!(self.wanted, Wanted::All) {
            self.take_all_groups()?;
        }
        joined
    }

    fn read_packets(&mut self, number: usize, course: &mut Course, now: Instant) -> Result<usize> {
        let Ingress { doors, reader, wanted, followed, .. } = self;
        let interface = followed.index();
        let Some(Door::Packets { socket, drops }) = doors.get_mut(number) else { return Ok(0) };
        reader.clear();
        match reader.fill(socket.as_fd()) {
            // A packet that the kernel can't describe is dropped by it.
            Err(Errno::EAGAIN | Errno::EINVAL | Errno::ENETDOWN) => return Ok(0),
            result => result?,
        }
        let count = reader.filled();
        loop {
            let slot = reader.position();
            let Some(view) = reader.next_view(drops) else { return Ok(count) };
            let (len, is_cut) = (view.len, view.len < view.true_len);
            course.counters.buffer += u64::from(view.drops);
            let Some(link) = reader.link(slot).filter(|link| Some(link.interface) == interface) else { continue };
            let Some(bytes) = reader.bytes_mut(slot, 0, len) else { continue };
            let lack = bytes.first_chunk().and_then(|header: &[u8; OFFLOAD_HEADER]| lack(Offload::parse(header)));
            let start = link.header_len.filter(|_| !is_cut).map(|len| OFFLOAD_HEADER + len);
            match (start.zip(lack), start.and_then(|start| bytes.get_mut(start..))) {
                (Some((start, lack)), Some(bytes)) => {
                    if wanted.has(bytes) {
                        course.take((slot, start), bytes, lack, now);
                    } else {
                        course.counters.unwanted += 1;
                    }
                }
                _ => course.counters.malformed += 1,
            }
        }
    }

    fn read_datagrams(&mut self, number: usize, course: &mut Course, now: Instant) -> Result<usize> {
        let Some(Door::Datagrams { manager, port }) = self.doors.get_mut(number) else { return Ok(0) };
        let port = *port;
        let result = manager.receive(BATCH, Deadline::Now, |view| {
            let (told, payload) = (view.packet.told, view.bytes());
            let Some(from) = view.source() else { return };
            let Some((group, _)) = told.destination.filter(|(group, _)| group.to_canonical().is_multicast()) else {
                return;
            };
            let ttl = told.ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0);
            let datagram = Datagram {
                source: SocketAddr::new(from.ip().to_canonical(), from.port()),
                destination: SocketAddr::new(group.to_canonical(), port),
                ttl: ttl.saturating_sub(1),
                traffic_class: told.traffic_class.and_then(|class| u8::try_from(class).ok()).unwrap_or(0),
                identity: None,
            };
            match course.bench.datagram(&datagram, payload) {
                Ok(place) => course.take_made(place, ttl, now),
                Err(_) => course.counters.malformed += 1,
            }
        });
        match result {
            Ok(count) => Ok(count),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a place in a slot.
    pub fn bytes(&self, slot: usize, start: usize, end: usize) -> &[u8] {
        self.reader.slot(slot).get(start..end).unwrap_or_default()
    }
}

impl Wanted {
    fn has(&self, bytes: &[u8]) -> bool {
        // What can't be read is for others to count.
        let Ok(packet) = Packet::parse(bytes) else { return true };
        match self {
            Wanted::All => true,
            Wanted::Asked(asked) => asked.wants(packet.destination, packet.source),
            Wanted::List(map) => {
                let entries = map.get(&packet.destination);
                entries.into_iter().flatten().any(|(source, port)| {
                    source.is_none_or(|source| source == packet.source)
                        && port.is_none_or(|port| goes_to(&packet, port))
                })
            }
        }
    }
}

/// A part of a datagram has no port, and goes along.
fn goes_to(packet: &Packet<'_>, port: u16) -> bool {
    if packet.fragment.is_some() {
        return true;
    }
    let datagram = packet.whole_payload(protocol::UDP).unwrap_or_default();
    datagram.get(2..4) == Some(port.to_be_bytes().as_slice())
}

fn lack(offload: Offload) -> Option<Lack> {
    match offload {
        Offload { is_other: true, .. } => None,
        Offload { segment_size: Some(size), .. } => Some(Lack::Segments(size)),
        Offload { needs_checksum: true, .. } => Some(Lack::Checksum),
        _ => Some(Lack::Nothing),
    }
}

fn packet_doors() -> Result<Vec<Door>> {
    let mut doors = Vec::new();
    for protocol in [Protocol::V4, Protocol::V6] {
        let socket = packet::multicast_socket(protocol)?;
        let _ = buffer::set_receive(socket.as_fd(), RECEIVE_BUFFER);
        let _ = IntOption::DROPS.set(socket.as_fd(), 1);
        doors.push(Door::Packets { socket, drops: 0 });
    }
    Ok(doors)
}

/// One socket for each port. `EPERM` if a group has none.
fn datagram_doors(groups: &Groups, selector: &Selector) -> Result<Vec<Door>> {
    let Groups::List(list) = groups else { return Err(Errno::EPERM) };
    let mut ports: HashMap<u16, Vec<Key>> = HashMap::default();
    for (key, port) in list {
        ports.entry(port.ok_or(Errno::EPERM)?).or_default().push(*key);
    }
    ports.into_iter().map(|(port, keys)| datagram_door(port, &keys, selector)).collect()
}

fn datagram_door(port: u16, keys: &[Key], selector: &Selector) -> Result<Door> {
    let socket = joins::unbound()?;
    let fd = socket.as_fd();
    IntOption::REUSE_ADDRESS.set(fd, 1)?;
    let _ = buffer::set_receive(fd, RECEIVE_BUFFER);
    let any: IpAddr = match family(fd)? {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket::bind(fd, &SocketAddress::from(SocketAddr::new(any, port)))?;
    let mut manager = Manager::open(socket, None, 1024)?;
    for key in keys {
        manager.add(*key, selector.clone())?;
    }
    Ok(Door::Datagrams { manager: Box::new(manager), port })
}
