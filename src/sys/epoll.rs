//! epoll(7): one socket's arrivals, edge-triggered, and many descriptors' readiness.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::poll::Events;
use super::{done, value};
use crate::error::Result;

const NO_EVENT: libc::epoll_event = libc::epoll_event { events: 0, u64: 0 };

/// epoll_create1(2).
fn create() -> Result<OwnedFd> {
    // SAFETY: epoll_create1 takes no pointer.
    let epoll = value(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(epoll) })
}

/// epoll_ctl(EPOLL_CTL_ADD). The descriptor's own state isn't touched.
fn add(epoll: &OwnedFd, fd: BorrowedFd<'_>, events: libc::c_int, number: u64) -> Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: number };
    // SAFETY: the event is filled.
    done(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })
}

/// epoll_wait(2): how many events there were room for; none when the time has passed.
fn wait(epoll: &OwnedFd, events: &mut [libc::epoll_event], timeout_ms: i32) -> Result<usize> {
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    // SAFETY: there is room for so many events.
    let count = value(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), room, timeout_ms) })?;
    Ok(count as usize)
}

/// Watches one descriptor for changes (EPOLLET): a state that lasts is told of once.
pub struct Arrivals {
    epoll: OwnedFd,
}

impl Arrivals {
    /// From now on. The bits of poll(2) and epoll(7) are the same for those asked for here.
    pub fn watch(fd: BorrowedFd<'_>, events: Events) -> Result<Arrivals> {
        let epoll = create()?;
        add(&epoll, fd, libc::c_int::from(events.bits()) | libc::EPOLLET, 0)?;
        Ok(Arrivals { epoll })
    }

    /// Waits at most `timeout_ms` (-1: for ever) for a change: all that the descriptor is ready for then.
    /// The first call tells of what there is already. No events when the time has passed.
    pub fn wait(&self, timeout_ms: i32) -> Result<Events> {
        let mut event = [NO_EVENT];
        wait(&self.epoll, &mut event, timeout_ms)?;
        let [event] = event;
        Ok(Events::from_bits(event.events as u16 as libc::c_short))
    }
}

/// Tells which of many descriptors can be read.
pub struct Readable {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Readable {
    /// Tells of at most so many at a time; the others come next.
    pub fn new(room: usize) -> Result<Readable> {
        Ok(Readable { epoll: create()?, events: vec![NO_EVENT; room] })
    }

    /// One more, by a number.
    pub fn add(&self, fd: BorrowedFd<'_>, number: u64) -> Result<()> {
        add(&self.epoll, fd, libc::EPOLLIN, number)
    }

    /// To wait on: readable when any of them is.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// The numbers of those that can be read now, without waiting.
    pub fn take(&mut self) -> Result<impl Iterator<Item = u64> + '_> {
        let count = wait(&self.epoll, &mut self.events, 0)?;
        Ok(self.events.iter().take(count).map(|event| event.u64))
    }
}
