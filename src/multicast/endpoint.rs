//! Sockets for one group, right from the start.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use super::{membership, options};
use crate::error::{Errno, Result};
use crate::interface::{self, Entry, Meant};
use crate::sys::interface::Flags;
use crate::sys::multicast::Target;
use crate::sys::option::{Family, IntOption};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// A socket that receives this group (from this source alone, if there is one) and no other.
///
/// It is bound to the group's own address, so that unicast and other groups on the same port stay
/// out, with MULTICAST_ALL off, so that joins of other sockets don't count. The port is shared
/// with every socket that shares it by SO_REUSEADDR, or did so by SO_REUSEPORT before.
pub fn open_receiver(target: Target, port: u16, source: Option<IpAddr>) -> Result<OwnedFd> {
    let owned = open_bound(target, port)?;
    let fd = owned.as_fd();
    match source {
        Some(source) => membership::join_source(fd, target, source)?,
        None => membership::join(fd, target)?,
    }
    Ok(owned)
}

/// The same, before it has joined.
pub(crate) fn open_bound(target: Target, port: u16) -> Result<OwnedFd> {
    let owned = udp_socket(target)?;
    let fd = owned.as_fd();
    options::set_all(fd, false)?;
    let at = address(target, port);
    // A port that the kernel chooses must be nobody's: one that may be shared can be another's.
    if port == 0 {
        socket::bind(fd, &at)?;
        IntOption::REUSE_ADDRESS.set(fd, 1)?;
        return Ok(owned);
    }
    IntOption::REUSE_ADDRESS.set(fd, 1)?;
    match socket::bind(fd, &at) {
        // From another host's IPv4 datagrams the kernel picks one of the sockets that share a port by SO_REUSEPORT,
        // without asking its source filter (inet_steal_sock). So this is for a port whose owner wants no less.
        Err(Errno::EADDRINUSE) => {
            IntOption::REUSE_PORT.set(fd, 1)?;
            socket::bind(fd, &at)?;
        }
        result => result?,
    }
    Ok(owned)
}

/// A socket connected to this group, so that send(2) needs no address. If there is a source of the group's family,
/// it is what is sent from.
pub fn open_sender(target: Target, source: Option<IpAddr>, port: u16, ttl: i32) -> Result<OwnedFd> {
    let owned = udp_socket(target)?;
    let fd = owned.as_fd();
    options::set_ttl(fd, ttl)?;
    if target.interface != 0 {
        options::set_interface(fd, Meant { index: target.interface, address: source })?;
    }
    // IPV6_MULTICAST_IF has no room for an address.
    if let (Some(IpAddr::V6(source)), true) = (source, target.group.is_ipv6()) {
        let scope = if source.is_unicast_link_local() { target.interface } else { 0 };
        socket::bind(fd, &SocketAddress::from(SocketAddr::V6(SocketAddrV6::new(source, 0, 0, scope))))?;
    }
    socket::connect(fd, &address(target, port)).map_err(|error| why_unconnected(target, error))?;
    let has_source = || socket::local_address(fd).map(|local| !local.ip().is_unspecified());
    if has_source()? {
        return Ok(owned);
    }
    // For want of an address that reaches far the kernel would send from 0.0.0.0, which receivers drop.
    let near = interface::source_of(target.interface, Family::V4)?;
    options::set_interface(fd, Meant { index: target.interface, address: near })?;
    socket::connect(fd, &address(target, port))?;
    if has_source()? { Ok(owned) } else { Err(Errno::EADDRNOTAVAIL) }
}

/// What the kernel means that refuses to connect. By what it says alone, an interface that is down looks like a
/// route that is missing, and a blackhole route (EINVAL) like a wrong argument.
#[cold]
fn why_unconnected(target: Target, error: Errno) -> Errno {
    match error {
        Errno::EINVAL => Errno::EHOSTUNREACH,
        Errno::ENETUNREACH | Errno::EADDRNOTAVAIL if target.interface != 0 => {
            let entries = interface::list().unwrap_or_default();
            let own: Vec<&Entry> = entries.iter().filter(|entry| entry.interface.index == target.interface).collect();
            let is_down = own.first().is_some_and(|entry| !entry.interface.flags.has(Flags::UP));
            let has_family = |entry: &&Entry| entry.address.is_some_and(|address| address.ip.is_ipv6());
            match error {
                _ if is_down => Errno::ENETDOWN,
                _ if target.group.is_ipv6() && !own.iter().any(has_family) => Errno::EADDRNOTAVAIL,
                _ => error,
            }
        }
        other => other,
    }
}

fn udp_socket(target: Target) -> Result<OwnedFd> {
    let family = match target.group {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    };
    let owned = socket::udp_socket(family.domain())?;
    if family == Family::V6 {
        IntOption::IPV6_ONLY.set(owned.as_fd(), 1)?;
    }
    Ok(owned)
}

/// A group of one link needs its interface in the address too; others must not have it.
fn address(target: Target, port: u16) -> SocketAddress {
    SocketAddress::from(match target.group {
        IpAddr::V6(group) => SocketAddr::V6(SocketAddrV6::new(group, port, 0, scope(group, target.interface))),
        IpAddr::V4(group) => SocketAddr::from((group, port)),
    })
}

fn scope(group: Ipv6Addr, interface: u32) -> u32 {
    match group.octets() {
        [_, scope, ..] if scope & 0x0f <= 2 => interface,
        _ => 0,
    }
}
