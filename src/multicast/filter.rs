//! The whole source filter of a group: RFC 3678's full-state interface.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::state::{self, TOO_MANY};
use super::{limits, membership};
use crate::error::{Errno, Result};
use crate::sys::multicast::{self, FilterMode, GroupRequest, Target};

/// Replaces the filter, and joins the group first if need be (RFC 3678, section 5.2: this is the
/// state wanted, whatever it was). Including no source leaves the group. A source given twice counts once: the
/// kernel would list it twice.
pub fn set(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    if sources.len() >= TOO_MANY {
        return Err(Errno::ENOBUFS);
    }
    let mut seen = BTreeSet::new();
    let mut once = Vec::with_capacity(sources.len());
    for source in sources {
        membership::check_source(target, *source)?;
        if seen.insert(*source) {
            once.push(*source);
        }
    }
    if mode == FilterMode::Include && once.is_empty() {
        return membership::leave(fd, target);
    }
    state::check_type(fd)?;
    match state::acted_on(fd, target)? {
        (target, Some(_)) => replace(fd, target, mode, &once),
        (target, None) => join_with(fd, target, mode, &once),
    }
}

fn replace(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    multicast::set_filter(fd, target, mode, sources).map_err(|error| match error {
        Errno::ENOBUFS => limits::of_sources(target.group, sources.len()),
        other => state::explain(fd, target, other),
    })
}

/// Joins by the narrowest request that there is, so that nothing unwanted comes in before the
/// filter stands; leaves again if the filter is refused.
fn join_with(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    match (mode, sources) {
        (FilterMode::Include, [first, ..]) => membership::add_source(fd, target, *first, None)?,
        _ => membership::join(fd, target)?,
    }
    replace(fd, target, mode, sources).inspect_err(|_| {
        // The filter's own error is the one to tell.
        let _ = multicast::group(fd, target, GroupRequest::Leave);
    })
}
