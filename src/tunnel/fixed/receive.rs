//! Packets out of a tunnel, where the kernel has put them.

use super::inbox::Place;
use super::{Tunnel, is_news};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::waiter::Waiter;

impl Tunnel {
    /// Whether packets were taken from the kernel and not yet handed out.
    pub fn has_more(&self) -> bool {
        self.inbox.reader.has_more()
    }

    /// The bytes of a packet that the last call has handed out.
    pub fn bytes(&self, slot: usize, start: usize, end: usize) -> &[u8] {
        self.inbox.reader.slot(slot).get(start..end).unwrap_or_default()
    }

    /// The same, to change.
    pub fn bytes_mut(&mut self, slot: usize, start: usize, end: usize) -> Option<&mut [u8]> {
        self.inbox.reader.bytes_mut(slot, start, end.checked_sub(start)?)
    }

    /// Waits until there is something, then calls `each` for at most `limit` packets; how many. Their
    /// memory stays as it is until the next call. What isn't for this tunnel, or can't be, is counted.
    pub fn receive(
        &mut self,
        limit: usize,
        deadline: Deadline,
        mut each: impl FnMut(Place, &mut [u8]),
    ) -> Result<usize> {
        let (mut count, mut waiter) = (0, Waiter::to_read(deadline));
        if limit == 0 {
            return Ok(0);
        }
        loop {
            while count < limit && self.next(&mut each) {
                count += 1;
            }
            if count > 0 {
                return Ok(count);
            }
            // What isn't for this tunnel may come without an end.
            if waiter.deadline().is_over() {
                return Err(Errno::ETIMEDOUT);
            }
            self.fill(&mut waiter)?;
        }
    }

    /// Hands out the next packet; `false` if the slots are empty.
    fn next(&mut self, each: &mut impl FnMut(Place, &mut [u8])) -> bool {
        loop {
            let inbox = &mut self.inbox;
            let slot = inbox.reader.position();
            let socket = inbox.socket_of(slot);
            let Some(drops) = inbox.drops.get_mut(socket) else { return false };
            let Some(view) = inbox.reader.next_view(drops) else { return false };
            let (offset, len) = (view.offset, view.len);
            let class = view.packet.told.traffic_class.and_then(|class| u8::try_from(class).ok());
            self.counters.buffer += u64::from(view.drops);
            let from = inbox.reader.source(slot);
            let Some(bytes) = inbox.reader.bytes_mut(slot, offset, len) else { return false };
            match self.exit.unwrap(bytes, from, class) {
                Ok(inside) => {
                    self.counters.received.add(inside.len());
                    let place = Place { slot, start: offset + inside.start, end: offset + inside.end };
                    each(place, bytes.get_mut(inside).unwrap_or_default());
                    return true;
                }
                Err(reason) => self.counters.dropped(reason),
            }
        }
    }

    fn fill(&mut self, waiter: &mut Waiter) -> Result<()> {
        loop {
            self.take()?;
            if self.inbox.reader.has_more() {
                waiter.progressed();
                return Ok(());
            }
            waiter.wait(self.fd().ok_or(Errno::EBADF)?)?;
        }
    }

    /// Fills the slots with what there is.
    fn take(&mut self) -> Result<()> {
        self.inbox.reader.clear();
        let sockets = self.senders.len();
        self.inbox.first = if sockets > 1 { 1 - self.inbox.first } else { 0 };
        self.take_from(self.inbox.first)?;
        self.inbox.filled = self.inbox.reader.filled();
        if sockets > 1 && self.inbox.reader.has_room() {
            self.take_from(1 - self.inbox.first)?;
        }
        Ok(())
    }

    fn take_from(&mut self, socket: usize) -> Result<()> {
        let Some(outlet) = self.senders.get(socket) else { return Ok(()) };
        loop {
            match self.inbox.reader.fill(outlet.sender.fd()) {
                Ok(()) | Err(Errno::EAGAIN) => return Ok(()),
                // How wide the path has become shows when something is sent.
                Err(Errno::EMSGSIZE) => {}
                Err(error) if is_news(error) => self.counters.unreachable += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
