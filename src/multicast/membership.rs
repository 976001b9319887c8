//! Joining and leaving: whole groups (any source), and single sources of a group.
//!
//! The kernel's errors differ by request and say little: EINVAL for "not joined" here,
//! EADDRNOTAVAIL there, the same EADDRNOTAVAIL for "joined already". Here EADDRNOTAVAIL always
//! means that it isn't there, and EADDRINUSE that it is there already.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::state::{self, check_type, explain};
use crate::error::{Errno, Result};
use crate::sys::multicast::{self, FilterMode, GroupRequest, SourceRequest, Target};

/// Any source.
pub fn join(fd: BorrowedFd<'_>, target: Target) -> Result<()> {
    multicast::group(fd, target, GroupRequest::Join).map_err(|error| explain(fd, target, error))
}

/// All sources of the group.
pub fn leave(fd: BorrowedFd<'_>, target: Target) -> Result<()> {
    multicast::group(fd, target, GroupRequest::Leave).map_err(|error| explain(fd, target, error))
}

/// One source more. `EADDRINUSE` if it is joined, or the whole group: there the kernel would
/// silently cut the group down to this source.
pub fn join_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    check_type(fd)?;
    if is_whole(fd, target) {
        return Err(Errno::EADDRINUSE);
    }
    multicast::source(fd, target, source, SourceRequest::Join).map_err(|error| match error {
        Errno::EADDRNOTAVAIL => Errno::EADDRINUSE,
        other => explain(fd, target, other),
    })
}

/// One source less. `EINVAL` if the whole group is joined: there the kernel would say that the source
/// isn't, and silently cut the group down to no source at all.
pub fn leave_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    if is_whole(fd, target) {
        return Err(Errno::EINVAL);
    }
    multicast::source(fd, target, source, SourceRequest::Leave).map_err(|error| explain(fd, target, error))
}

/// Nothing more from one source of a group that is joined for any source.
pub fn block_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    multicast::source(fd, target, source, SourceRequest::Block).map_err(|error| match error {
        Errno::EADDRNOTAVAIL => Errno::EADDRINUSE,
        other => explain(fd, target, other),
    })
}

/// Undoes [`block_source`].
pub fn unblock_source(fd: BorrowedFd<'_>, target: Target, source: IpAddr) -> Result<()> {
    check_source(target, source)?;
    multicast::source(fd, target, source, SourceRequest::Unblock).map_err(|error| explain(fd, target, error))
}

/// Whether the group is joined for any source but those that are blocked.
fn is_whole(fd: BorrowedFd<'_>, target: Target) -> bool {
    matches!(state::filter(fd, target, 0), Ok(found) if found.mode == FilterMode::Exclude)
}

/// A source is a host's address, of the group's family.
pub(super) fn check_source(target: Target, source: IpAddr) -> Result<()> {
    if source.is_ipv4() != target.group.is_ipv4() {
        return Err(Errno::EAFNOSUPPORT);
    }
    if source.is_multicast() || source.is_unspecified() { Err(Errno::EINVAL) } else { Ok(()) }
}
