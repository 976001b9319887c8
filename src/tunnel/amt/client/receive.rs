//! Datagrams out of the tunnel, while it is kept up.

use std::time::Instant;

use super::super::gateway::Payload;
use super::Client;
use super::inbox::{Delivered, Place, Ready};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};

/// How often the slots are filled in one go.
const FILLS_MAX: usize = 16;

/// Whether it says why nothing can be read at all. It would be said again and again, where an error of the
/// network is told once.
fn is_of_the_call(error: Errno) -> bool {
    matches!(error, Errno::ENOMEM | Errno::ENOBUFS | Errno::EBADF | Errno::EPERM | Errno::ENOSYS)
}

impl Client {
    /// Does what there is to do, without waiting; whether a datagram waits for [`Client::receive`].
    pub fn process(&mut self) -> Result<bool> {
        self.hold()?;
        self.service(Instant::now());
        Ok(self.inbox.held.is_some())
    }

    /// Reads until there is a datagram for the application, or nothing more.
    fn hold(&mut self) -> Result<()> {
        // A flood of what nobody wants mustn't keep the caller here.
        for _ in 0..FILLS_MAX {
            if self.inbox.held.is_some() {
                break;
            }
            if !self.inbox.reader.has_more() {
                self.fill(Instant::now())?;
                if !self.inbox.reader.has_more() {
                    break;
                }
            }
            self.inbox.held = self.next_ready(Instant::now());
        }
        Ok(())
    }

    /// Fills the slots with what there is.
    fn fill(&mut self, now: Instant) -> Result<()> {
        self.inbox.reader.clear();
        self.gateway.release();
        for v6 in [false, true] {
            if self.inbox.reader.has_room() {
                self.fill_from(v6, now)?;
            }
            if !v6 {
                self.inbox.v4_slots = self.inbox.reader.filled();
            }
        }
        Ok(())
    }

    /// Reads one of the sockets.
    fn fill_from(&mut self, v6: bool, now: Instant) -> Result<()> {
        for is_again in [false, true] {
            let Some(socket) = (if v6 { &self.v6 } else { &self.v4 }) else { break };
            match self.inbox.reader.fill(socket.fd()) {
                Ok(()) => break,
                Err(error) if is_of_the_call(error) || (is_again && error == Errno::EACCES) => return Err(error),
                // Nothing, or the network's word on what was sent.
                Err(error) => {
                    self.take_errors(now, v6);
                    // The network has this word too (ICMPv6), and says it once.
                    if error != Errno::EACCES {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The next datagram for the application among those that were read.
    fn next_ready(&mut self, now: Instant) -> Option<Ready> {
        while self.inbox.reader.has_more() {
            let slot = self.inbox.reader.position();
            let socket = if slot < self.inbox.v4_slots { self.v4.as_mut() } else { self.v6.as_mut() };
            let Some(view) = self.inbox.reader.next_view(&mut socket?.drops) else { break };
            let class = view.packet.told.traffic_class.unwrap_or(0) as u8;
            let (time_ns, drops) = (view.packet.told.time_ns.unwrap_or(0), view.drops);
            self.socket_drops += u64::from(drops);
            let (Some(from), bytes) = (view.source(), view.bytes()) else { continue };
            let Some(inner) = self.gateway.handle_input(now, from, class, bytes) else { continue };
            let place = match inner.payload {
                Payload::Assembled(number) => Place::Assembled(number),
                Payload::Here(payload) => {
                    let before = payload.as_ptr().addr() - bytes.as_ptr().addr();
                    Place::Slot { slot, offset: view.offset + before, len: payload.len() }
                }
            };
            let ends = (inner.source, inner.destination);
            return Some(Ready { ends, place, ttl: inner.ttl, traffic_class: inner.traffic_class, time_ns, drops });
        }
        None
    }

    /// Waits until there is a datagram, keeping the tunnel up meanwhile, then calls `each` for at most
    /// `limit`; how many. Their memory stays as it is until the next call.
    pub fn receive(
        &mut self,
        limit: usize,
        mut deadline: Deadline,
        mut each: impl FnMut(&Delivered<'_>),
    ) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        loop {
            let count = self.take(limit, &mut each)?;
            if count > 0 {
                return Ok(count);
            }
            deadline.wait_or_due(self.readable.fd(), self.timer())?;
        }
    }

    /// What there is now, without waiting.
    pub fn take(&mut self, limit: usize, each: &mut impl FnMut(&Delivered<'_>)) -> Result<usize> {
        self.inbox.clear_addresses();
        self.hold()?;
        let (now, mut count) = (Instant::now(), 0);
        while count < limit {
            let Some(ready) = self.inbox.held.take().or_else(|| self.next_ready(now)) else { break };
            if !self.inbox.has_addresses(ready.ends) {
                self.inbox.held = Some(ready);
                break;
            }
            self.inbox.give(&self.gateway, &ready, each);
            count += 1;
        }
        self.service(now);
        Ok(count)
    }
}
