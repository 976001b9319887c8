//! Waiting until a stream has so much queued, while nobody takes it.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use super::peek;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::file;
use crate::sys::memory::Sink;
use crate::sys::option::{self, IntOption};
use crate::sys::poll::Events;
use crate::sys::tcp;
use crate::waiter::Waiter;

/// How often to look where an arrival may not be told of.
const INTERVAL: Duration = Duration::from_millis(100);

/// SO_RCVLOWAT of a socket on which nobody has set it.
const LOW_WATER: i32 = 1;

/// How often to look whether the low-water mark is back, a millisecond apart.
const TRIES: usize = 10;

/// A stream that is looked at again and again until enough is queued.
pub(super) struct Whole<'a> {
    fd: BorrowedFd<'a>,
    bytes: Sink<'a>,
    is_tcp: bool,
    /// Where peeks begin (SO_PEEK_OFF): each one moves it.
    offset: Option<i32>,
}

impl<'a> Whole<'a> {
    /// After a first peek, which has shown so many bytes.
    pub(super) fn new(fd: BorrowedFd<'a>, bytes: Sink<'a>, found: usize) -> Result<Self> {
        let is_tcp = option::family(fd).is_ok();
        let moved = i32::try_from(found).unwrap_or(i32::MAX);
        let offset = IntOption::PEEK_OFFSET.get(fd).ok().filter(|at| *at >= 0).map(|at| at.saturating_sub(moved));
        let whole = Whole { fd, bytes, is_tcp, offset };
        whole.rewind()?;
        Ok(whole)
    }

    /// Waits until all is there, or no more can come. The bytes that are queued already end the first wait
    /// at once; from then on the waiter goes by arrivals.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<usize> {
        const ENDS: Events = Events::RDHUP.and(Events::HUP);
        if self.is_tcp {
            make_room(self.fd, self.bytes.len())?;
        }
        let mut waiter = Waiter::new(Events::IN.and(Events::PRI).and(Events::RDHUP), deadline);
        let mut events = Events::none();
        loop {
            match peek(self.fd, self.bytes) {
                Ok(found) if found == self.bytes.len() || found == 0 || events.has(ENDS) => return Ok(found),
                Ok(found) => {
                    self.rewind()?;
                    if self.is_at_mark(found, events)? {
                        return Ok(found);
                    }
                    if self.is_tcp && events.is_empty() && is_full(self.fd) {
                        return Err(Errno::ENOBUFS);
                    }
                }
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error),
            }
            if self.is_tcp {
                waiter.look_every(hides_arrivals(self.fd).then_some(INTERVAL));
            }
            events = waiter.wait(self.fd)?;
        }
    }

    /// Whether more is queued than a peek shows, which stops at the urgent mark. A mark before the first byte
    /// stops nothing, and what came since the peek isn't behind a mark.
    fn is_at_mark(&self, found: usize, events: Events) -> Result<bool> {
        if option::at_mark(self.fd)? {
            return Ok(false);
        }
        let queued = match self.is_tcp {
            // FIONREAD stops at the mark, too.
            true => tcp::unread(self.fd),
            false => file::bytes_waiting(self.fd),
        };
        let before = self.offset.and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0);
        match queued {
            Ok(queued) if queued.saturating_sub(before) <= found => return Ok(false),
            Ok(_) => {}
            // Before Linux 5.7. The urgent byte is here, and so is what is before it unless a packet was lost.
            Err(_) => return Ok(events.has(Events::PRI)),
        }
        if peek(self.fd, self.bytes) == Ok(found) {
            return Ok(true);
        }
        self.rewind()?;
        Ok(false)
    }

    fn rewind(&self) -> Result<()> {
        self.offset.map_or(Ok(()), |offset| IntOption::PEEK_OFFSET.set(self.fd, offset))
    }
}

/// `ENOBUFS` if the receive buffer can't hold so much and can't be enlarged.
fn make_room(fd: BorrowedFd<'_>, wanted: usize) -> Result<()> {
    let size = || IntOption::RECEIVE_BUFFER.get(fd).map(|size| usize::try_from(size).unwrap_or(0));
    // Half of it holds data at least, the kernel's overhead takes the rest.
    if wanted > size()? / 2 {
        enlarge(fd, wanted)?;
        if wanted > size()? {
            return Err(Errno::ENOBUFS);
        }
    }
    Ok(())
}

/// TCP enlarges the receive buffer as data is read, and here nobody reads. Setting the low-water mark
/// enlarges it at once (tcp_set_rcvlowat); unset again, that wakes whom it has kept asleep. It is raised from
/// its default alone, so that it is put back to that by whoever was last, however many do this at a
/// time; a mark that the program has set stays.
fn enlarge(fd: BorrowedFd<'_>, wanted: usize) -> Result<()> {
    let Ok(wanted) = i32::try_from(wanted) else { return Ok(()) };
    if option::is_receive_buffer_fixed(fd) {
        return Ok(());
    }
    for _ in 0..TRIES {
        if IntOption::RECEIVE_LOW_WATER.get(fd)? == LOW_WATER {
            IntOption::RECEIVE_LOW_WATER.set(fd, wanted)?;
            return IntOption::RECEIVE_LOW_WATER.set(fd, LOW_WATER);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether the peer may send no more before something is read.
fn is_full(fd: BorrowedFd<'_>) -> bool {
    match tcp::receive_window(fd) {
        Ok(window) => window == 0,
        // Before Linux 6.2: the kernel closes the window when little memory is left.
        Err(_) => option::memory(fd).is_ok_and(|memory| memory.receive > memory.receive_limit / 8 * 7),
    }
}

/// Whether the socket may be silent about something that has to be known: a low-water mark that isn't
/// reached, a window that closes after the last arrival.
fn hides_arrivals(fd: BorrowedFd<'_>) -> bool {
    let is_filling = || option::memory(fd).is_ok_and(|memory| memory.receive > memory.receive_limit / 2);
    IntOption::RECEIVE_LOW_WATER.get(fd) != Ok(LOW_WATER) || is_filling()
}
