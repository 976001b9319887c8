//! The whole source filter of a group: RFC 3678's full-state interface.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::membership;
use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::multicast::{self, Filter, FilterMode, Target};

/// More sources than the kernel takes under any setting.
pub const TOO_MANY: usize = 1 << 16;

/// Replaces the filter, and joins the group first if need be (RFC 3678, section 4.2: this is the
/// state wanted, whatever it was). Including no source leaves the group.
pub fn set(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    if sources.len() >= TOO_MANY {
        return Err(Errno::ENOBUFS);
    }
    for source in sources {
        membership::check_source(target, *source)?;
    }
    let result = multicast::set_filter(fd, target, mode, sources);
    match result.map_err(|error| membership::common(fd, target, error)) {
        Err(Errno::EADDRNOTAVAIL) => join_with(fd, target, mode, sources),
        result => result,
    }
}

/// Joins by the narrowest request that there is, so that nothing unwanted comes in before the
/// filter stands; leaves again if the filter is refused.
fn join_with(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    match (mode, sources) {
        (FilterMode::Include, []) => return Err(Errno::EADDRNOTAVAIL),
        (FilterMode::Include, [first, ..]) => membership::join_source(fd, target, *first)?,
        (FilterMode::Exclude, _) => membership::join(fd, target)?,
    }
    multicast::set_filter(fd, target, mode, sources).inspect_err(|_| {
        // The filter's own error is the one to tell.
        let _ = membership::leave(fd, target);
    })
}

/// The filter as it is, with at most `capacity` of its sources. `EADDRNOTAVAIL` if this socket
/// hasn't joined the group. Without an interface, the first one on which it has: the kernel keeps
/// each membership under the interface that it chose.
pub fn get(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<Filter> {
    let capacity = capacity.min(TOO_MANY);
    if target.interface != 0 {
        return multicast::filter(fd, target, capacity).map_err(|error| wrong_socket(fd, target, error));
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
        Errno::ENOPROTOOPT | Errno::EOPNOTSUPP => membership::common(fd, target, error),
        other => other,
    }
}
