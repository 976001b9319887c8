//! What is asked of the kernel for one membership on one socket.

use std::os::fd::BorrowedFd;

use super::wish::Key;
use crate::borrowed::Joined;
use crate::error::{Errno, Result};
use crate::multicast::membership;
use crate::sys::multicast::{self, FilterMode, GroupRequest, SourceRequest};

/// As [`crate::borrowed::Borrowed`] counts it.
pub(super) fn joined(key: Key, interface: u32) -> Joined {
    (key.group, key.source, interface)
}

/// The caller may have joined the same himself, which stays his. Where another handle has (`is_shared`), both
/// have it from then on; it is joined anew, as it may be a remainder of an interface that had the same index.
pub(super) fn join_own(fd: BorrowedFd<'_>, key: Key, interface: u32, is_shared: bool) -> Result<()> {
    let join = || match key.source {
        None => membership::join(fd, key.target(interface)),
        // A group that the caller has joined whole would be cut down.
        Some(source) => membership::join_source(fd, key.target(interface), source),
    };
    match join() {
        Err(Errno::EADDRINUSE) if is_shared && is_as_joined(fd, key, interface) => {
            leave(fd, key, interface);
            join()
        }
        result => result,
    }
}

/// On a socket of the handle's own.
pub(super) fn join_made(fd: BorrowedFd<'_>, key: Key, interface: u32) -> Result<()> {
    match key.source {
        None => membership::join(fd, key.target(interface)),
        Some(source) => membership::join_source(fd, key.target(interface), source),
    }
}

/// Whether a group on the caller's socket is still joined in the manner in which it was: the caller may have made a
/// list of sources of a whole group, or the reverse, and then it is his.
pub(super) fn is_as_joined(fd: BorrowedFd<'_>, key: Key, interface: u32) -> bool {
    let mode = if key.source.is_some() { FilterMode::Include } else { FilterMode::Exclude };
    !matches!(multicast::filter(fd, key.target(interface), 0), Ok(filter) if filter.mode != mode)
}

/// Also on an interface that is gone.
pub(super) fn leave(fd: BorrowedFd<'_>, key: Key, interface: u32) {
    let target = key.target(interface);
    let leave_all = || multicast::group(fd, target, GroupRequest::Leave);
    // It may be gone already: the caller can leave too.
    let _ = match key.source {
        None => leave_all(),
        Some(source) => match multicast::source(fd, target, source, SourceRequest::Leave) {
            // With the interface all its sources are gone, and only as a whole are they let go.
            Err(Errno::ENODEV) => leave_all(),
            result => result,
        },
    };
}
