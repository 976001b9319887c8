//! Broadcast: permission, addresses, and sending out of chosen interfaces.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;

use crate::address;
use crate::error::{Errno, Result};
use crate::interface::{self, Entry};
use crate::sys::broadcast;
use crate::sys::memory::Source;
use crate::sys::option::{self, Family, IntOption};
use crate::sys::socket;

/// Whether the socket may send broadcasts.
pub fn enable(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    IntOption::BROADCAST.set(fd, i32::from(on))
}

/// See [`enable`].
pub fn is_enabled(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(IntOption::BROADCAST.get(fd)? != 0)
}

/// The directed broadcast address of an interface's first IPv4 network that has one, or of the
/// very network of an address. `EADDRNOTAVAIL` if none has: /31, /32, point-to-point, no IPv4.
pub fn address_of(interface: &CStr) -> Result<Ipv4Addr> {
    let entries = interface::entries_of(interface)?;
    entries.iter().find_map(Entry::broadcast).ok_or(Errno::EADDRNOTAVAIL)
}

/// The directed broadcast address of a network in text. `EADDRNOTAVAIL` for /31 and /32.
pub fn directed(network: &CStr) -> Result<Ipv4Addr> {
    let (ip, mask) = address::parse_network(network)?;
    interface::directed_broadcast(ip, mask).ok_or(Errno::EADDRNOTAVAIL)
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the directed address of an interface's network.
    Directed,
    /// To 255.255.255.255.
    Limited,
}

/// Sends one datagram to the broadcast address of one interface, or once on every interface that
/// has broadcast. `sent` counts the datagrams, on failure too; an interface that fails keeps none
/// of the others from being tried.
pub fn send(
    fd: BorrowedFd<'_>,
    bytes: Source<'_>,
    port: u16,
    interface: Option<&CStr>,
    reach: Reach,
    sent: &mut usize,
) -> Result<usize> {
    *sent = 0;
    if option::family(fd)? != Family::V4 {
        return Err(Errno::EAFNOSUPPORT);
    }
    if option::socket_type(fd)? != option::SocketType::Datagram {
        return Err(Errno::EPROTOTYPE);
    }
    let targets = targets(interface, reach)?;
    let from = sender(fd)?;
    let mut first_error = None;
    for (to, index) in targets {
        match send_one(fd, bytes, from, SocketAddrV4::new(to, port), index) {
            Ok(()) => *sent += 1,
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(*sent), Err)
}

/// The address that the socket is bound to, which IP_PKTINFO would leave out. Not the host's own (a
/// broadcast address, a group), it is no sender's: then the kernel chooses.
fn sender(fd: BorrowedFd<'_>) -> Result<Ipv4Addr> {
    match socket::local_address(fd)?.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() && interface::index_of_address(IpAddr::V4(ip))? != 0 => Ok(ip),
        _ => Ok(Ipv4Addr::UNSPECIFIED),
    }
}

fn send_one(fd: BorrowedFd<'_>, bytes: Source<'_>, from: Ipv4Addr, to: SocketAddrV4, index: u32) -> Result<()> {
    loop {
        match broadcast::send(fd, bytes, from, to, index) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Address and interface of each datagram. `EADDRNOTAVAIL` if there is none to send.
fn targets(interface: Option<&CStr>, reach: Reach) -> Result<Vec<(Ipv4Addr, u32)>> {
    let mut entries = match interface {
        Some(interface) => interface::entries_of(interface)?,
        None => interface::list()?,
    };
    if interface.is_none() {
        entries.retain(|entry| entry.interface.is_broadcast());
    }
    let mut targets: Vec<(Ipv4Addr, u32)> = Vec::new();
    for entry in &entries {
        let address = match reach {
            Reach::Directed => entry.broadcast(),
            Reach::Limited => Some(Ipv4Addr::BROADCAST),
        };
        let target = address.map(|address| (address, entry.interface.index));
        // Two addresses in one network, or of one interface, are one broadcast.
        targets.extend(target.filter(|target| !targets.contains(target)));
    }
    if interface.is_some() {
        targets.truncate(1);
    }
    if targets.is_empty() { Err(Errno::EADDRNOTAVAIL) } else { Ok(targets) }
}
