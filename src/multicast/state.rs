//! What a socket has joined, as the kernel tells, and what its errors mean by that.

use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::multicast::{self, Filter, Target};
use crate::sys::option::{self, SocketType};

/// More sources than the kernel takes under any setting.
pub const TOO_MANY: usize = 1 << 16;

/// The filter as it is, with at most `capacity` of its sources. `EADDRNOTAVAIL` if this socket
/// hasn't joined the group. Without an interface, the first one on which it has: the kernel keeps
/// each membership under the interface that it chose.
pub fn filter(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<Filter> {
    let capacity = capacity.min(TOO_MANY);
    if target.interface != 0 {
        return multicast::filter(fd, target, capacity).map_err(|error| match error {
            Errno::EADDRNOTAVAIL => absent_interface(target, error),
            other => wrong_socket(fd, target, other),
        });
    }
    let mut last = 0;
    for entry in interface::list()? {
        let index = entry.interface.index;
        if index == last {
            continue;
        }
        last = index;
        match multicast::filter(fd, Target { interface: index, ..target }, capacity) {
            Err(Errno::EADDRNOTAVAIL) => {}
            result => return result.map_err(|error| wrong_socket(fd, target, error)),
        }
    }
    Err(Errno::EADDRNOTAVAIL)
}

fn wrong_socket(fd: BorrowedFd<'_>, target: Target, error: Errno) -> Errno {
    match error {
        Errno::ENOPROTOOPT | Errno::EOPNOTSUPP => explain(fd, target, error),
        other => other,
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
            Ok(family) if family == option::Family::V4 && target.group.is_ipv6() => Errno::EAFNOSUPPORT,
            Ok(_) => Errno::EPROTO,
            Err(error) => error,
        },
        Errno::EINVAL | Errno::EADDRNOTAVAIL if check_type(fd).is_err() => Errno::EPROTO,
        // Not joined, or joined the other way.
        Errno::EINVAL => match filter(fd, target, 0) {
            Err(error @ (Errno::EADDRNOTAVAIL | Errno::ENODEV)) => error,
            _ => Errno::EINVAL,
        },
        Errno::EADDRNOTAVAIL | Errno::ENODEV => absent_interface(target, error),
        other => other,
    }
}

/// The kernel says EADDRNOTAVAIL of an interface that there isn't, and ENODEV of one without IPv6: here ENODEV means
/// the first, and EADDRNOTAVAIL the other, on which nothing can be joined.
#[cold]
pub(super) fn absent_interface(target: Target, error: Errno) -> Errno {
    let is_there = || interface::name_of(target.interface).is_ok();
    match error {
        Errno::EADDRNOTAVAIL if target.interface != 0 && !is_there() => Errno::ENODEV,
        Errno::ENODEV if target.interface != 0 && target.group.is_ipv6() && is_there() => Errno::EADDRNOTAVAIL,
        other => other,
    }
}
