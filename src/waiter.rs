//! The waits of one call.
//!
//! poll(2) tells of a state, and not every state that it tells of lets the call go on: POLLERR stays up
//! for as long as anything lies on the socket's error queue (an ICMP error, a transmit timestamp, a
//! MSG_ZEROCOPY completion), POLLIN after shutdown(SHUT_RD) on a datagram socket, POLLOUT while only the
//! destination is full (netlink, an unconnected UNIX datagram socket). A call that tried again after
//! such a wake-up and got nothing waits for the next change instead, or where no change would be told
//! of, for a short time.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::epoll::Arrivals;
use crate::sys::poll::{self, Events};

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Waits for one descriptor, always the same, for the length of one call.
///
/// The call tries first, and waits when that gives `EAGAIN`: [`Waiter::wait`], and then it tries again.
/// After a transfer that brought something it says so by [`Waiter::progressed`].
pub struct Waiter {
    wanted: Events,
    deadline: Deadline,
    /// What the last wake-up told of; nothing when there was progress since.
    told: Events,
    /// Made once poll(2) has woken the call for nothing.
    arrivals: Option<Arrivals>,
    pause: Duration,
    /// The longest single wait.
    interval: Option<Duration>,
    /// The time has passed, and the call makes its last attempt.
    is_over: bool,
}

impl Waiter {
    /// Waits for something to read, or the end of it.
    pub fn to_read(deadline: Deadline) -> Self {
        Waiter::new(Events::IN.and(Events::RDHUP), deadline)
    }

    /// Waits for room to write.
    pub fn to_write(deadline: Deadline) -> Self {
        Waiter::new(Events::OUT, deadline)
    }

    /// Waits for any of these.
    pub fn new(wanted: Events, deadline: Deadline) -> Self {
        let (told, arrivals, pause) = (Events::none(), None, SHORTEST_PAUSE);
        Waiter { wanted, deadline, told, arrivals, pause, interval: None, is_over: false }
    }

    /// When the call gives up.
    pub fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }

    /// The last attempt brought something: the next wait is the first one again.
    pub fn progressed(&mut self) {
        self.told = Events::none();
        self.pause = SHORTEST_PAUSE;
    }

    /// From now on each wait returns after so long, without an event, for the call to try again.
    pub fn look_every(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// Returns when it is worth trying again.
    ///
    /// `EAGAIN` if there was no time to wait. When the time has passed it returns once more, without an
    /// event, and then `ETIMEDOUT`: what a low-water mark (SO_RCVLOWAT, VMIN) keeps poll(2) from telling of
    /// is found by that last attempt. `ESHUTDOWN` if reading is shut down and nothing is queued.
    pub fn wait(&mut self, fd: BorrowedFd<'_>) -> Result<Events> {
        if self.is_over {
            return Err(Errno::ETIMEDOUT);
        }
        let found = match self.told.is_empty() {
            true => self.wait_for_state(fd)?,
            false => self.wait_for_change(fd)?,
        };
        if !found.is_empty() {
            self.told = found;
        }
        Ok(found)
    }

    /// The ordinary wait is one system call. An edge-triggered watch tells of the state as it is by its first
    /// call, and then of changes.
    fn wait_for_state(&mut self, fd: BorrowedFd<'_>) -> Result<Events> {
        if self.deadline.is_over() {
            return Ok(self.over());
        }
        loop {
            let left = self.longest_wait();
            let found = match &self.arrivals {
                Some(arrivals) => arrivals.wait(left),
                None => poll::poll(fd, self.wanted, left),
            };
            match found {
                Ok(found) if found.is_empty() && !self.deadline.has_time()? => return Ok(self.over()),
                Ok(found) if found.is_empty() && self.interval.is_none() => {}
                Err(Errno::EINTR) => {}
                // poll(2) takes no more descriptors than RLIMIT_NOFILE, which some sandboxes set to 0.
                Err(Errno::EINVAL) => return self.sleep(),
                result => return result,
            }
        }
    }

    /// The last wake-up brought nothing.
    #[cold]
    fn wait_for_change(&mut self, fd: BorrowedFd<'_>) -> Result<Events> {
        if self.told.has(Events::RDHUP) {
            return Err(Errno::ESHUTDOWN);
        }
        if !self.deadline.has_time()? {
            return Ok(self.over());
        }
        // The socket has room and its destination has none: no change of the socket will tell of that.
        if self.told.has(Events::OUT) {
            return self.sleep();
        }
        if self.arrivals.is_none() {
            // It fails when no descriptor is left, in a sandbox, and for what epoll(7) can't watch.
            self.arrivals = Arrivals::watch(fd, self.wanted).ok();
        }
        match self.arrivals {
            Some(_) => self.wait_for_state(fd),
            None => self.sleep(),
        }
    }

    /// In milliseconds, as poll(2) takes it.
    fn longest_wait(&mut self) -> i32 {
        let left = self.deadline.remaining_ms();
        let interval = self.interval.map(|interval| i32::try_from(interval.as_millis()).unwrap_or(i32::MAX));
        match interval {
            Some(interval) if left < 0 || interval < left => interval,
            _ => left,
        }
    }

    fn over(&mut self) -> Events {
        self.is_over = true;
        Events::none()
    }

    fn sleep(&mut self) -> Result<Events> {
        let until = Instant::now() + self.pause;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        match self.deadline.sleep_until(until) {
            Ok(()) => Ok(self.told),
            Err(Errno::ETIMEDOUT) => Ok(self.over()),
            Err(error) => Err(error),
        }
    }
}
