//! Joining and leaving: whole groups (any source), and single sources of a group.
//!
//! The kernel's errors differ by request and say little: EINVAL for "not joined" here,
//! EADDRNOTAVAIL there, the same EADDRNOTAVAIL for "joined already". Here EADDRNOTAVAIL always
//! means that it isn't there, and EADDRINUSE that it is there already.
//!
//! Requests about sources change the mode of a membership before they look at the source. So each looks at the
//! membership first, and doesn't ask for what isn't of its mode.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::limits;
use super::state::{self, acted_on, check_type, explain};
use crate::error::{Errno, Result};
use crate::sys::multicast::{self, Filter, FilterMode, GroupRequest, SourceRequest, Target};

/// Any source.
pub fn join(fd: BorrowedFd<'_>, target: Target) -> Result<()> {
    let request = |target| multicast::group(fd, target, GroupRequest::Join);
    let result = match request(target) {
        // IPv6 without an interface says so of a membership on any.
        Err(Errno::EADDRINUSE) if target.interface == 0 && target.group.is_ipv6() => {
            match state::by_route(fd, target)? {
                routed if routed.interface == 0 => Err(Errno::EADDRINUSE),
                routed => request(routed),
            }
        }
        result => result,
    };
    result.map_err(|error| explain(fd, target, error))
}

/// All sources of the group. Without an interface, on the first one on which it is joined: IPv4 would look on that
/// of the route alone, which may lead elsewhere since.
pub fn leave(fd: BorrowedFd<'_>, target: Target) -> Result<()> {
    let request = |target| multicast::group(fd, target, GroupRequest::Leave);
    let result = match request(target) {
        Err(error @ (Errno::EADDRNOTAVAIL | Errno::ENODEV)) if target.interface == 0 => {
            match state::anywhere(fd, target, 0)? {
                (_, None) => Err(error),
                (found, Some(_)) => request(found),
            }
        }
        result => result,
    };
    result.map_err(|error| explain(fd, target, error))
}

/// One source more. `EADDRINUSE` if it is joined, or the whole group: there the kernel would
/// silently cut the group down to this source.
pub fn join_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    check_type(fd)?;
    match acted_on(fd, target)? {
        (_, Some(found)) if found.mode == FilterMode::Exclude => Err(Errno::EADDRINUSE),
        (target, found) => add_source(fd, target, source, found),
    }
}

/// As [`join_source`], on a membership that is known. If it fails, a group that wasn't joined isn't: the kernel
/// joins it for no source, and then fails to add the first.
pub(super) fn add_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr, before: Option<Filter>) -> Result<()> {
    multicast::source(fd, target, source, SourceRequest::Join).map_err(|error| {
        let error = match (error, &before) {
            (Errno::EADDRNOTAVAIL, _) => Errno::EADDRINUSE,
            (Errno::ENOBUFS, None) => limits::of_first_source(fd, target.group),
            (Errno::ENOBUFS, Some(found)) => limits::of_sources(target.group, found.count + 1),
            (other, _) => explain(fd, target, other),
        };
        if before.is_none() && matches!(acted_on(fd, target), Ok((_, Some(found))) if is_empty(&found)) {
            // Nothing was joined, and the error above is the one to tell.
            let _ = multicast::group(fd, target, GroupRequest::Leave);
        }
        error
    })
}

/// Joined for no source.
fn is_empty(filter: &Filter) -> bool {
    filter.mode == FilterMode::Include && filter.count == 0
}

/// One source less. `EINVAL` if the whole group is joined: there the kernel would say that the source
/// isn't, and silently cut the group down to no source at all.
pub fn leave_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    let (target, found) = state::located(fd, target, 0)?;
    request(fd, target, source, SourceRequest::Leave, (found, FilterMode::Include))
}

/// Nothing more from one source of a group that is joined for any source.
pub fn block_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    let (target, found) = acted_on(fd, target)?;
    let count = found.as_ref().map_or(0, |found| found.count);
    request(fd, target, source, SourceRequest::Block, (found, FilterMode::Exclude)).map_err(|error| match error {
        Errno::EADDRNOTAVAIL if count > 0 => Errno::EADDRINUSE,
        Errno::ENOBUFS | Errno::ENOMEM => limits::of_sources(target.group, count + 1),
        other => other,
    })
}

/// Undoes [`block_source`].
pub fn unblock_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    let (target, found) = acted_on(fd, target)?;
    request(fd, target, source, SourceRequest::Unblock, (found, FilterMode::Exclude))
}

/// A request that fits a membership of one mode alone: `EINVAL` if it has the other, `EADDRNOTAVAIL` if there is
/// none.
fn request(
    fd: BorrowedFd<'_>,
    target: Target,
    source: IpAddr,
    what: SourceRequest,
    (found, mode): (Option<Filter>, FilterMode),
) -> Result<()> {
    if found.as_ref().is_some_and(|found| found.mode != mode) {
        return Err(Errno::EINVAL);
    }
    multicast::source(fd, target, source, what).map_err(|error| match error {
        Errno::EINVAL if found.is_none() => explain(fd, target, Errno::EADDRNOTAVAIL),
        other => explain(fd, target, other),
    })
}

/// A source is a host's address, of the group's family.
pub(super) fn check_source(target: Target, source: IpAddr) -> Result<()> {
    if source.is_ipv4() != target.group.is_ipv4() {
        return Err(Errno::EAFNOSUPPORT);
    }
    if source.is_multicast() || source.is_unspecified() { Err(Errno::EINVAL) } else { Ok(()) }
}
