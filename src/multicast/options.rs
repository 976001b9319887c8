//! Options of a socket that sends and receives multicast.
//!
//! The level goes by the socket's family. An AF_INET6 socket may send and receive IPv4 too
//! (::ffff:a.b.c.d), by IPv4's own options, so there both are set; an IPv6 option set at the level
//! of IPv4, or the reverse, "succeeds" and sets something else.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::interface;
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

/// The interface by which multicast leaves; 0 is the routes' choice.
pub fn set_interface(fd: BorrowedFd<'_>, index: u32) -> Result<()> {
    let family = family(fd)?;
    let address = match index {
        0 => Ipv4Addr::UNSPECIFIED,
        // Reading the index back goes by this address: see sys::multicast.
        _ => interface::ipv4_address(index)?.unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    if family == Family::V6 {
        IntOption::IPV6_MULTICAST_IF.set(fd, i32::try_from(index).map_err(|_| Errno::ENODEV)?)?;
    }
    match multicast::set_ipv4_interface(fd, index, address) {
        // Of an index that no interface has. IPv6 says ENODEV.
        Err(Errno::EADDRNOTAVAIL) => Err(Errno::ENODEV),
        result => result,
    }
}

/// See [`set_interface`]. On an IPv4 socket an interface without an IPv4 address reads as 0.
pub fn interface(fd: BorrowedFd<'_>) -> Result<u32> {
    if family(fd)? == Family::V6 {
        return Ok(IntOption::IPV6_MULTICAST_IF.get(fd)?.unsigned_abs());
    }
    match multicast::ipv4_interface_address(fd)? {
        Ipv4Addr::UNSPECIFIED => Ok(0),
        address => interface::index_of_address(IpAddr::V4(address)),
    }
}
