//! poll(2) of one descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::value;
use crate::error::{Errno, Result};

/// A set of `POLL*` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events(libc::c_short);

impl Events {
    /// Something to read, or the end of file.
    pub const IN: Events = Events(libc::POLLIN);
    /// Room to write.
    pub const OUT: Events = Events(libc::POLLOUT);
    /// Urgent data.
    pub const PRI: Events = Events(libc::POLLPRI);
    /// The peer won't send any more.
    pub const RDHUP: Events = Events(libc::POLLRDHUP);
    /// Both directions are over.
    pub const HUP: Events = Events(libc::POLLHUP);
    /// An error waits.
    pub const ERR: Events = Events(libc::POLLERR);

    /// All that can be asked for.
    pub const EVERY: Events = Events(libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP);

    /// No event.
    pub const fn none() -> Events {
        Events(0)
    }

    pub(super) const fn from_bits(bits: libc::c_short) -> Events {
        Events(bits)
    }

    pub(super) const fn bits(self) -> libc::c_short {
        self.0
    }

    /// Both.
    pub const fn and(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }

    /// Whether they share an event.
    pub const fn has(self, other: Events) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of another's are set.
    pub const fn has_all(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Waits at most `timeout_ms` (-1: for ever). No events when the time has passed, `EBADF` if the
/// descriptor isn't open.
pub fn poll(fd: BorrowedFd<'_>, events: Events, timeout_ms: i32) -> Result<Events> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: events.0, revents: 0 };
    loop {
        // SAFETY: one entry, which is filled.
        match value(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) }) {
            // A look that doesn't wait is no business of a signal.
            Err(Errno::EINTR) if timeout_ms == 0 => {}
            result => {
                result?;
                break;
            }
        }
    }
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(Errno::EBADF);
    }
    Ok(Events(entry.revents))
}
