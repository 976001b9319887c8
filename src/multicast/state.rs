//! What a socket has joined, as the kernel tells, and what its errors mean by that.
//!
//! Without an interface the kernel chooses one by its routes. Each IPv4 request chooses anew, and then acts on
//! that interface alone (ip_mc_find_dev). IPv6 requests act on the first membership of the group, on whichever
//! interface it is, and change the filter of the route's interface (ip6_mc_source). So a request for IPv4 passes
//! index 0 on, with a check that follows the same rule; for IPv6 the route is asked for once.

use std::os::fd::BorrowedFd;

use super::limits;
use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::multicast::{self, Filter, Target};
use crate::sys::netlink::Netlink;
use crate::sys::option::{self, Family, SocketType};

/// More sources than the kernel takes under any setting.
pub const TOO_MANY: usize = 1 << 16;

/// The filter as it is, with at most `capacity` of its sources. Without an interface, the one on the route's
/// interface if the group is joined there, else the first that there is. `EADDRNOTAVAIL` if this socket hasn't
/// joined the group.
pub fn filter(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<Filter> {
    match located(fd, target, capacity.min(TOO_MANY))? {
        (_, Some(found)) => Ok(found),
        (target, None) => Err(not_joined(target)),
    }
}

/// The membership that a request acts on which joins, blocks or unblocks: its interface, so far as it needs one
/// (see the head of this file), and its filter without the sources, if it is there.
pub(super) fn acted_on(fd: BorrowedFd<'_>, target: Target) -> Result<(Target, Option<Filter>)> {
    let target = by_route(fd, target)?;
    if target.interface == 0 && target.group.is_ipv6() {
        // The route can't be asked for.
        return anywhere(fd, target, 0);
    }
    Ok((target, at(fd, target, 0)?))
}

/// As [`acted_on`], of a request that leaves or reads: without an interface, it finds a group that was joined
/// before its route moved.
pub(super) fn located(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<(Target, Option<Filter>)> {
    let routed = by_route(fd, target).and_then(|routed| Ok((routed, at(fd, routed, capacity)?)));
    match routed {
        Ok((_, None)) | Err(Errno::ENODEV) if target.interface == 0 => anywhere(fd, target, capacity),
        routed => routed,
    }
}

/// The first interface on which this socket has joined the group; the target as it was if there is none.
pub(super) fn anywhere(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<(Target, Option<Filter>)> {
    let mut last = 0;
    for entry in interface::list()? {
        let index = entry.interface.index;
        if index == last {
            continue;
        }
        last = index;
        let there = Target { interface: index, ..target };
        if let Some(found) = at(fd, there, capacity)? {
            return Ok((there, Some(found)));
        }
    }
    Ok((target, None))
}

/// The target with the interface of its route, for an IPv6 group without one. `ENODEV` if there is no route.
/// Where this process may not ask for routes, the target as it was.
pub(super) fn by_route(fd: BorrowedFd<'_>, target: Target) -> Result<Target> {
    if target.interface != 0 || target.group.is_ipv4() {
        return Ok(target);
    }
    if option::family(fd)? == Family::V4 {
        return Err(Errno::EAFNOSUPPORT);
    }
    let mut netlink = match Netlink::connect() {
        Err(Errno::EAFNOSUPPORT | Errno::EPERM | Errno::EACCES | Errno::EPROTONOSUPPORT) => return Ok(target),
        netlink => netlink?,
    };
    match netlink.route(target.group, None, 0) {
        Ok(route) => Ok(Target { interface: route.interface, ..target }),
        Err(error @ (Errno::ENOBUFS | Errno::ENOMEM)) => Err(error),
        Err(_) => Err(Errno::ENODEV),
    }
}

/// The filter on this interface, if the group is joined there.
fn at(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<Option<Filter>> {
    let found = match (target.interface, target.group) {
        (0, std::net::IpAddr::V4(group)) => multicast::routed_filter(fd, group, capacity),
        _ => multicast::filter(fd, target, capacity),
    };
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::EADDRNOTAVAIL) => Ok(None),
        Err(error) => Err(explain(fd, target, error)),
    }
}

/// `EADDRNOTAVAIL`, or `ENODEV` if the interface isn't there.
#[cold]
fn not_joined(target: Target) -> Errno {
    match target.interface {
        0 => Errno::EADDRNOTAVAIL,
        index => {
            interface::name_of(index).err().filter(|error| *error == Errno::ENODEV).unwrap_or(Errno::EADDRNOTAVAIL)
        }
    }
}

/// A stream socket would join a source and never get anything: the request for one doesn't refuse it.
pub(super) fn check_type(fd: BorrowedFd<'_>) -> Result<()> {
    match option::socket_type(fd)? {
        SocketType::Stream => Err(option::family(fd).err().unwrap_or(Errno::EPROTO)),
        _ => Ok(()),
    }
}

/// What an error of the kernel means, looked into after the fact.
#[cold]
pub(super) fn explain(fd: BorrowedFd<'_>, target: Target, error: Errno) -> Errno {
    match error {
        // No such option: the socket's family has no such groups, or its type no groups at all.
        Errno::ENOPROTOOPT | Errno::EOPNOTSUPP => match option::family(fd) {
            Ok(family) if family == Family::V4 && target.group.is_ipv6() => Errno::EAFNOSUPPORT,
            Ok(_) => Errno::EPROTO,
            Err(error) => error,
        },
        Errno::EINVAL | Errno::EADDRNOTAVAIL if check_type(fd).is_err() => Errno::EPROTO,
        Errno::EADDRNOTAVAIL => not_joined(target),
        // The kernel says ENODEV of an interface without IPv6, too, on which nothing can be joined.
        Errno::ENODEV
            if target.group.is_ipv6() && target.interface != 0 && interface::name_of(target.interface).is_ok() =>
        {
            Errno::EADDRNOTAVAIL
        }
        Errno::ENOBUFS => limits::of_groups(fd, target.group),
        other => other,
    }
}
