//! Sending without copying (MSG_ZEROCOPY): the kernel reads the caller's memory later, and tells on
//! the socket's error queue when it has.

use std::os::fd::BorrowedFd;

use crate::borrowed::Borrowed;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::errqueue::{self, Completion};
use crate::sys::option::IntOption;
use crate::sys::poll::Events;
use crate::sys::socket::{Flags, KeptMemory};
use crate::waiter::Waiter;

/// Below so many bytes in a message, pinning memory costs more than copying it.
pub const WORTHWHILE: usize = 10_000;

/// How many completions may stand apart from those before them.
const APART_MAX: usize = 256;

/// What is under way on one socket.
pub struct ZeroCopy {
    /// Whether it still pays.
    on: bool,
    memory: Option<KeptMemory>,
    /// Messages sent so, ever. The kernel counts them modulo 2^32.
    sent: u64,
    /// All before this one are done.
    done: u64,
    /// Done too, but not all before them: first and last.
    apart: Vec<(u64, u64)>,
}

impl ZeroCopy {
    /// Never.
    pub fn off() -> Self {
        ZeroCopy { on: false, memory: None, sent: 0, done: 0, apart: Vec::new() }
    }

    /// SO_ZEROCOPY. `EBUSY` if the caller takes errors from the error queue himself (IP_RECVERR), which
    /// this would take away.
    pub fn on(socket: &mut Borrowed<'_>, memory: KeptMemory) -> Result<Self> {
        for option in [IntOption::IPV4_RECEIVE_ERRORS, IntOption::IPV6_RECEIVE_ERRORS] {
            if option.get(socket.fd()).is_ok_and(|on| on != 0) {
                return Err(Errno::EBUSY);
            }
        }
        socket.require(IntOption::ZEROCOPY, 1)?;
        Ok(ZeroCopy { on: true, memory: Some(memory), sent: 0, done: 0, apart: Vec::with_capacity(APART_MAX) })
    }

    /// Whether a message of so many bytes should be sent so.
    pub fn is_worthwhile(&self, bytes: usize) -> bool {
        self.on && bytes >= WORTHWHILE
    }

    /// Whether the kernel copies anyway, so that this has switched itself off.
    pub fn is_off(&self) -> bool {
        !self.on
    }

    /// How such a message is sent.
    pub fn flags(&self) -> Flags {
        self.memory.map_or(Flags::NONE, Flags::zerocopy)
    }

    /// Counts messages that were sent so.
    pub fn count(&mut self, messages: usize) {
        self.sent += messages as u64;
    }

    /// What was sent so far: its memory is free when [`ZeroCopy::done`] has come to this.
    pub fn token(&self) -> u64 {
        self.sent
    }

    /// The memory of everything sent before this token is free.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes what the kernel has told, without waiting.
    pub fn collect(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        while self.done < self.sent {
            match errqueue::take_completion(fd) {
                Ok(Some(completion)) => self.complete(completion),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until everything before a token is done.
    pub fn wait(&mut self, fd: BorrowedFd<'_>, token: u64, deadline: Deadline) -> Result<()> {
        // A message on the error queue is told as POLLERR, which needn't be asked for.
        let mut waiter = Waiter::new(Events::none(), deadline);
        loop {
            self.collect(fd)?;
            if self.done >= token {
                return Ok(());
            }
            waiter.wait(fd)?;
        }
    }

    fn complete(&mut self, Completion { first, last, copied }: Completion) {
        if copied {
            // The device or the path can't (loopback never can): from now on copy at once.
            self.on = false;
        }
        let (first, last) = (self.widen(first), self.widen(last));
        if first > self.done {
            self.apart.push((first, last));
            return;
        }
        self.done = self.done.max(last + 1);
        while let Some(index) = self.apart.iter().position(|(first, _)| *first <= self.done) {
            let (_, last) = self.apart.swap_remove(index);
            self.done = self.done.max(last + 1);
        }
    }

    /// The full number of a message that the kernel names by its low 32 bits; it isn't done yet, so it
    /// is less than 2^32 behind `done`.
    fn widen(&self, low: u32) -> u64 {
        self.done + u64::from(low.wrapping_sub(self.done as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(first: u32, last: u32) -> Completion {
        Completion { first, last, copied: false }
    }

    #[test]
    fn completions_out_of_order_wait_for_those_before_them() {
        let mut zerocopy = ZeroCopy { on: true, ..ZeroCopy::off() };
        zerocopy.count(10);
        zerocopy.complete(completion(4, 6));
        assert_eq!(zerocopy.done(), 0);
        zerocopy.complete(completion(0, 1));
        assert_eq!(zerocopy.done(), 2);
        zerocopy.complete(completion(2, 3));
        assert_eq!(zerocopy.done(), 7);
    }

    #[test]
    fn the_count_goes_on_behind_2_to_the_32() {
        let start = u64::from(u32::MAX) - 1;
        let mut zerocopy = ZeroCopy { on: true, sent: start + 4, done: start, ..ZeroCopy::off() };
        zerocopy.complete(completion(u32::MAX - 1, 0));
        assert_eq!(zerocopy.done(), start + 3);
        zerocopy.complete(completion(1, 1));
        assert_eq!(zerocopy.done(), start + 4);
    }

    #[test]
    fn a_kernel_that_copies_anyway_switches_it_off() {
        let mut zerocopy = ZeroCopy { on: true, ..ZeroCopy::off() };
        zerocopy.count(1);
        assert!(zerocopy.is_worthwhile(WORTHWHILE));
        zerocopy.complete(Completion { copied: true, ..completion(0, 0) });
        assert!(!zerocopy.is_worthwhile(WORTHWHILE));
        assert_eq!(zerocopy.done(), 1);
    }
}
