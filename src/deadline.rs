//! One deadline for a whole call, on the monotonic clock.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::error::{Errno, Result};
use crate::sys::poll::{self, Events};

/// When a call gives up. The clock is read at the first wait, not before: a call that finds its
/// descriptor ready pays nothing for its deadline.
#[derive(Clone, Copy, Debug)]
pub enum Deadline {
    /// Waits for ever.
    Never,
    /// Doesn't wait.
    Now,
    /// So long after the first wait.
    After(Duration),
    /// At this time.
    At(Instant),
}

impl Deadline {
    /// As poll(2) has it: negative waits for ever, 0 doesn't wait.
    pub fn from_timeout_ms(timeout_ms: i32) -> Deadline {
        match u64::try_from(timeout_ms) {
            Err(_) => Deadline::Never,
            Ok(0) => Deadline::Now,
            Ok(ms) => Deadline::After(Duration::from_millis(ms)),
        }
    }

    /// Whether a blocking system call would do.
    pub fn is_never(&self) -> bool {
        matches!(self, Deadline::Never)
    }

    /// The clock runs from here on, for a call that is made of several.
    pub fn start(&mut self) -> Deadline {
        if let Deadline::After(limit) = *self {
            *self = Deadline::At(Instant::now() + limit);
        }
        *self
    }

    /// Milliseconds left for poll(2), rounded up: -1 for ever, 0 when it has passed.
    pub fn remaining_ms(&mut self) -> i32 {
        let at = match self.start() {
            Deadline::At(at) => at,
            Deadline::Now => return 0,
            _ => return -1,
        };
        let left = at.saturating_duration_since(Instant::now());
        let ms = left.as_nanos().div_ceil(1_000_000);
        i32::try_from(ms).unwrap_or(i32::MAX)
    }

    /// Whether it has passed.
    pub fn is_over(&mut self) -> bool {
        !matches!(self, Deadline::Now) && self.remaining_ms() == 0
    }

    /// Whether there is time left to wait. `EAGAIN` if there never was.
    pub fn has_time(&mut self) -> Result<bool> {
        match self {
            Deadline::Now => Err(Errno::EAGAIN),
            _ => Ok(self.remaining_ms() != 0),
        }
    }

    /// Waits until `fd`, an epoll descriptor of the library's own, is readable: after an attempt that
    /// found nothing, so that the clock alone decides when there is no time left. `EAGAIN` if there was no
    /// time to wait, `ETIMEDOUT` if it has passed.
    pub fn wait(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        while self.has_time()? {
            match poll::poll(fd, Events::IN, self.remaining_ms()) {
                Ok(found) if found.is_empty() => {}
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
        Err(Errno::ETIMEDOUT)
    }

    /// Waits until `fd` is readable, or something is due by time, whichever is first; errors as [`wait`]
    /// when the deadline is.
    ///
    /// [`wait`]: Deadline::wait
    pub fn wait_or_due(&mut self, fd: BorrowedFd<'_>, due: Option<Instant>) -> Result<()> {
        let is_due_first = match (due, self.start()) {
            (Some(_), Deadline::Never) => true,
            (Some(due), Deadline::At(end)) => due < end,
            _ => false,
        };
        let Some(due) = due.filter(|_| is_due_first) else { return self.wait(fd) };
        match Deadline::At(due).wait(fd) {
            Err(Errno::ETIMEDOUT) => Ok(()),
            result => result,
        }
    }

    /// Sleeps until then, or gives up at once when that is after the deadline: `EAGAIN` if there was no
    /// time to wait, else `ETIMEDOUT` when it has passed.
    pub fn sleep_until(&mut self, then: Instant) -> Result<()> {
        let until = match self.start() {
            Deadline::Now => return Err(Errno::EAGAIN),
            Deadline::At(at) if at < then => at,
            _ => then,
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        if until < then { Err(Errno::ETIMEDOUT) } else { Ok(()) }
    }
}
