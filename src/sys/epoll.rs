//! epoll(7), edge-triggered, for one socket: a wake for each arrival instead of for each byte that
//! waits.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::poll::Events;
use super::{done, value};
use crate::error::Result;

/// Watches one descriptor for arrivals.
pub struct Arrivals {
    epoll: OwnedFd,
}

impl Arrivals {
    /// epoll_create1(2) and EPOLL_CTL_ADD. The descriptor's own state isn't touched.
    pub fn watch(fd: BorrowedFd<'_>) -> Result<Arrivals> {
        // SAFETY: epoll_create1 takes no pointer.
        let epoll = value(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just made it, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let events = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: events as u32, u64: 0 };
        let (watcher, watched) = (epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the event is filled.
        done(unsafe { libc::epoll_ctl(watcher, libc::EPOLL_CTL_ADD, watched, &raw mut event) })?;
        Ok(Arrivals { epoll })
    }

    /// To wait on: readable after an arrival.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Takes the events since the last call, without waiting. The bits of poll(2) and epoll(7) are
    /// the same for those asked for here.
    pub fn take(&self) -> Result<Events> {
        let mut event = MaybeUninit::<libc::epoll_event>::uninit();
        // SAFETY: there is room for one event.
        let count = value(unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), event.as_mut_ptr(), 1, 0) })?;
        if count == 0 {
            return Ok(Events::none());
        }
        // SAFETY: the kernel filled one event.
        let event = unsafe { event.assume_init() };
        Ok(Events::from_bits(event.events as u16 as libc::c_short))
    }
}
