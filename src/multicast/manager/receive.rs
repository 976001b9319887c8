//! What arrives on all the sockets, by one call.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Manager;
use super::sockets::{OWN, Sockets};
use crate::datagram::receive::{self, Reader, View};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::epoll::Readable;
use crate::sys::option;
use crate::sys::poll::{self, Events};

const SLOTS: usize = 64;
const SLOT_SIZE: usize = 65_536;

/// The number of the kernel's news among the sockets.
const NEWS: u64 = u64::MAX;

/// Slots that are filled from many sockets.
pub(super) struct Inbox {
    reader: Reader,
    readable: Readable,
    /// By socket: its count of drops, as last told.
    drops: Vec<u32>,
    /// Which socket the slots are from: up to which slot, and its number.
    runs: Vec<(usize, usize)>,
    /// The numbers of the sockets that can be read.
    ready: Vec<u64>,
    /// Reading is shut down on the caller's socket.
    is_shut: bool,
    /// Told by a socket after others had filled slots: for the next call.
    error: Option<Errno>,
}

impl Inbox {
    fn open() -> Result<Inbox> {
        let (reader, readable) = (Reader::new(SLOTS, SLOT_SIZE)?, Readable::new(SLOTS)?);
        let (runs, ready) = (Vec::with_capacity(SLOTS), Vec::with_capacity(SLOTS));
        Ok(Inbox { reader, readable, drops: Vec::new(), runs, ready, is_shut: false, error: None })
    }

    /// Those that were made since.
    fn watch(&mut self, sockets: &mut Sockets<'_>) -> Result<()> {
        while self.drops.len() < sockets.count() {
            let number = self.drops.len();
            let Some(fd) = sockets.get(number) else { break };
            self.readable.add(fd, number as u64)?;
            self.drops.push(option::drops(fd).unwrap_or(0));
            match number {
                OWN => receive::tell_on(sockets.own_mut(), false, true),
                _ => receive::tell(fd, false, true),
            }
        }
        Ok(())
    }

    /// Fills the slots with what there is; whether there is news of the kernel.
    fn fill(&mut self, sockets: &Sockets<'_>) -> Result<bool> {
        self.reader.clear();
        self.runs.clear();
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.extend(self.readable.take()?);
        for number in &ready {
            let number = *number as usize;
            let Some(fd) = sockets.get(number) else { continue };
            let has_more = !self.reader.has_room() || self.fill_from(fd, number);
            self.readable.settle(number as u64, has_more);
        }
        let is_news = ready.contains(&NEWS);
        self.ready = ready;
        Ok(is_news)
    }

    /// Fills the free slots from one socket; whether there was something.
    fn fill_from(&mut self, fd: BorrowedFd<'_>, number: usize) -> bool {
        match self.reader.fill(fd) {
            Ok(()) => self.runs.push((self.reader.filled(), number)),
            Err(Errno::EAGAIN) => {
                let is_shut = poll::poll(fd, Events::RDHUP, 0).is_ok_and(|found| found.has(Events::RDHUP));
                self.is_shut |= number == OWN && is_shut;
                return false;
            }
            Err(error) => self.error = Some(error),
        }
        true
    }

    fn next_view(&mut self) -> Option<View<'_>> {
        let position = self.reader.position();
        let number = self.runs.iter().find(|(end, _)| position < *end).map_or(OWN, |(_, number)| *number);
        self.reader.next_view(self.drops.get_mut(number)?)
    }
}

impl Manager<'_> {
    fn inbox(&mut self) -> Result<&mut Inbox> {
        let inbox = match &mut self.inbox {
            Some(inbox) => inbox,
            none => {
                let mut inbox = Inbox::open()?;
                inbox.readable.add(self.news.fd(), NEWS)?;
                none.insert(inbox)
            }
        };
        inbox.watch(&mut self.sockets)?;
        Ok(inbox)
    }

    /// After sockets may have been made. An error comes again, and is told, when something is received.
    pub(super) fn watch_sockets(&mut self) {
        if let Some(inbox) = &mut self.inbox {
            let _ = inbox.watch(&mut self.sockets);
        }
    }

    /// To wait on: readable when a datagram waits, or news of the kernel.
    pub fn receive_fd(&mut self) -> Result<i32> {
        Ok(self.receive_descriptor()?.as_raw_fd())
    }

    /// The same, borrowed.
    pub(crate) fn receive_descriptor(&mut self) -> Result<BorrowedFd<'_>> {
        Ok(self.inbox()?.readable.fd())
    }

    /// Whether datagrams were taken from the kernel and not handed out yet.
    pub(crate) fn holds_datagrams(&self) -> bool {
        self.inbox.as_ref().is_some_and(|inbox| inbox.reader.has_more())
    }

    /// Waits until there is something on any socket, keeping the wishes true meanwhile, then calls `each`
    /// for at most `limit` datagrams; how many. Their memory stays as it is until the next call.
    pub fn receive(&mut self, limit: usize, mut deadline: Deadline, mut each: impl FnMut(View<'_>)) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        self.fill(&mut deadline)?;
        let Some(inbox) = &mut self.inbox else { return Ok(0) };
        let mut count = 0;
        while count < limit {
            let Some(view) = inbox.next_view() else { break };
            each(view);
            count += 1;
        }
        Ok(count)
    }

    fn fill(&mut self, deadline: &mut Deadline) -> Result<()> {
        self.inbox()?;
        loop {
            let timer = self.timer();
            let Some(inbox) = &mut self.inbox else { return Err(Errno::ENOMEM) };
            if inbox.reader.has_more() {
                return Ok(());
            }
            if let Some(error) = inbox.error.take() {
                return Err(error);
            }
            let is_news = inbox.fill(&self.sockets)?;
            let (is_filled, is_error, is_shut) = (inbox.reader.has_more(), inbox.error.is_some(), inbox.is_shut);
            if is_news || timer.is_some_and(|at| at <= std::time::Instant::now()) {
                self.process()?;
            }
            if !is_filled && !is_error {
                if is_shut {
                    return Err(Errno::ESHUTDOWN);
                }
                self.pause_for_any(deadline)?;
            }
        }
    }

    fn pause_for_any(&mut self, deadline: &mut Deadline) -> Result<()> {
        let Some(inbox) = &self.inbox else { return Ok(()) };
        self.pause(inbox.readable.fd(), deadline)
    }
}
