//! epoll(7): one socket's arrivals, edge-triggered, and many descriptors' readiness.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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

/// epoll_ctl(2): EPOLL_CTL_ADD or EPOLL_CTL_MOD. The descriptor's own state isn't touched.
fn control(epoll: &OwnedFd, operation: libc::c_int, fd: RawFd, events: libc::c_int, number: u64) -> Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: number };
    // SAFETY: the event is filled.
    done(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) })
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
        let events = libc::c_int::from(events.bits()) | libc::EPOLLET;
        control(&epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), events, 0)?;
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
    watched: Vec<Watched>,
    /// How many are watched for changes.
    by_change: usize,
}

struct Watched {
    number: u64,
    fd: RawFd,
    by_change: bool,
}

impl Readable {
    /// Tells of at most so many at a time; the others come next.
    pub fn new(room: usize) -> Result<Readable> {
        Ok(Readable { epoll: create()?, events: vec![NO_EVENT; room], watched: Vec::new(), by_change: 0 })
    }

    /// One more, by a number.
    pub fn add(&mut self, fd: BorrowedFd<'_>, number: u64) -> Result<()> {
        let fd = fd.as_raw_fd();
        control(&self.epoll, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, number)?;
        self.watched.push(Watched { number, fd, by_change: false });
        Ok(())
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

    /// What reading one of them has given that [`Readable::take`] told of. After nothing, its state (something
    /// on the error queue, SHUT_RD) would be told of again and again: from then on changes are, until
    /// there is something to read again.
    pub fn settle(&mut self, number: u64, has_more: bool) {
        if has_more && self.by_change == 0 {
            return;
        }
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.number == number) else { return };
        if watched.by_change != has_more {
            return;
        }
        let events = if has_more { libc::EPOLLIN } else { libc::EPOLLIN | libc::EPOLLET };
        // It fails when the program has closed the descriptor: then there is nothing to tell.
        if control(&self.epoll, libc::EPOLL_CTL_MOD, watched.fd, events, number).is_ok() {
            watched.by_change = !has_more;
            self.by_change = if has_more { self.by_change - 1 } else { self.by_change + 1 };
        }
    }
}
