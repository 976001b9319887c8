//! Options of a socket that sends and receives multicast.
//!
//! The level goes by the socket's family. An AF_INET6 socket may send and receive IPv4 too
//! (::ffff:a.b.c.d), by IPv4's own options, so there both are set; an IPv6 option set at the level
//! of IPv4, or the reverse, "succeeds" and sets something else.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::interface::{self, Meant};
use crate::sys::multicast;
use crate::sys::option::{Family, IntOption, family};

/// One option in both families' words.
struct Pair {
    v4: IntOption,
    v6: IntOption,
}

const TTL: Pair = Pair { v4: IntOption::IPV4_MULTICAST_TTL, v6: IntOption::IPV6_MULTICAST_HOPS };
const LOOP: Pair = Pair { v4: IntOption::IPV4_MULTICAST_LOOP, v6: IntOption::IPV6_MULTICAST_LOOP };
const ALL: Pair = Pair { v4: IntOption::IPV4_MULTICAST_ALL, v6: IntOption::IPV6_MULTICAST_ALL };

impl Pair {
    fn get(&self, fd: BorrowedFd<'_>) -> Result<i32> {
        match family(fd)? {
            Family::V4 => self.v4.get(fd),
            Family::V6 => self.v6.get(fd),
        }
    }

    /// IPv6 first: it is the stricter one, and where it refuses nothing is set.
    fn set(&self, fd: BorrowedFd<'_>, value: i32) -> Result<()> {
        if family(fd)? == Family::V6 {
            self.v6.set(fd, value)?;
        }
        self.v4.set(fd, value)
    }
}

/// How many routers multicast may cross, and one more.
pub fn set_ttl(fd: BorrowedFd<'_>, ttl: i32) -> Result<()> {
    // The kernel would take -1 for its default.
    if (0..=255).contains(&ttl) { TTL.set(fd, ttl) } else { Err(Errno::EINVAL) }
}

/// See [`set_ttl`].
pub fn ttl(fd: BorrowedFd<'_>) -> Result<i32> {
    TTL.get(fd)
}

/// Whether receivers on this host get what this socket sends.
pub fn set_loop(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    LOOP.set(fd, i32::from(on))
}

/// See [`set_loop`].
pub fn is_loop(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(LOOP.get(fd)? != 0)
}

/// Whether this socket gets groups that others on this host joined.
pub fn set_all(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    ALL.set(fd, i32::from(on))
}

/// See [`set_all`].
pub fn is_all(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(ALL.get(fd)? != 0)
}

/// The interface by which multicast leaves; 0 is the routes' choice. If it was named by one of its IPv4
/// addresses, that is the source of IPv4 too; else the kernel chooses one for each datagram.
pub fn set_interface(fd: BorrowedFd<'_>, interface: impl Into<Meant>) -> Result<()> {
    let Meant { index, address } = interface.into();
    let source = match address {
        Some(IpAddr::V4(source)) => source,
        _ if index == 0 => Ipv4Addr::UNSPECIFIED,
        _ => lonely_loopback(index).unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    if family(fd)? == Family::V6 {
        IntOption::IPV6_MULTICAST_IF.set(fd, i32::try_from(index).map_err(|_| Errno::ENODEV)?)?;
    }
    match multicast::set_ipv4_interface(fd, index, source) {
        // Of an index that no interface has. IPv6 says ENODEV.
        Err(Errno::EADDRNOTAVAIL) => Err(Errno::ENODEV),
        result => result,
    }
}

/// The address of the loopback interface, where this host has none that reaches any further: the kernel would send
/// from 0.0.0.0, which receivers drop. It is never another one, so that nothing is lost by naming it.
fn lonely_loopback(index: u32) -> Option<Ipv4Addr> {
    let entries = interface::list().ok()?;
    let all = || entries.iter().filter_map(|entry| Some((entry.interface.index, entry.address?.ip)));
    let own = all().find_map(|(on, ip)| match ip {
        IpAddr::V4(v4) if on == index && v4.is_loopback() => Some(v4),
        _ => None,
    })?;
    all().all(|(_, ip)| ip.is_ipv6() || ip.is_loopback()).then_some(own)
}

/// See [`set_interface`]. A device that the socket is bound to comes before it. `EOPNOTSUPP` on an IPv4 socket
/// that is bound to none: the kernel gives back the address that was set with the interface, whoever has it now.
pub fn interface(fd: BorrowedFd<'_>) -> Result<u32> {
    let family = family(fd)?;
    match (IntOption::DEVICE.get(fd).unwrap_or(0), family) {
        (0, Family::V6) => Ok(IntOption::IPV6_MULTICAST_IF.get(fd)?.unsigned_abs()),
        (0, Family::V4) => Err(Errno::EOPNOTSUPP),
        (device, _) => Ok(device.unsigned_abs()),
    }
}
