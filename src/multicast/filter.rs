//! The whole source filter of a group: RFC 3678's full-state interface.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::membership;
use super::state::{self, TOO_MANY};
use crate::error::{Errno, Result};
use crate::sys::multicast::{self, FilterMode, Target};

/// Replaces the filter, and joins the group first if need be (RFC 3678, section 5.2: this is the
/// state wanted, whatever it was). Including no source leaves the group.
pub fn set(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    if sources.len() >= TOO_MANY {
        return Err(Errno::ENOBUFS);
    }
    for source in sources {
        membership::check_source(target, *source)?;
    }
    let result = multicast::set_filter(fd, target, mode, sources);
    match result.map_err(|error| state::explain(fd, target, error)) {
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
