//! Packets into a tunnel.
//!
//! They are checked and given their headers a batch at a time, on the stack; the datagram room makes
//! trains of those of one size and class, whatever their headers say.

use std::array;
use std::io::IoSlice;

use super::entry::{Header, Refusal, Wrapped};
use super::{Tunnel, is_news, started};
use crate::datagram::send::{Datagram, Datagrams, Manner};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::memory::Gather;
use crate::sys::mmsg::Destination;
use crate::sys::option::{self, Family};
use crate::sys::sockaddr::CompactAddress;

/// How many packets are prepared at a time: as many as make the longest train.
const BATCH: usize = 128;
/// And where there are only a few: room for many would take longer to clear than they take to send.
const FEW: usize = 8;

/// How often a batch is tried again after news of earlier packets. Each is told once, so that there are
/// no more than came in meanwhile.
const TRIES: usize = 8;

/// Packets that leave by one socket in one manner.
struct Batch<'a> {
    wrapped: &'a [Option<Wrapped<'a>>],
    pieces: &'a [[IoSlice<'a>; 2]],
    to: Option<&'a CompactAddress>,
}

impl<'a> Batch<'a> {
    fn class(&self, index: usize) -> Option<i32> {
        let wrapped = self.wrapped.get(index)?.as_ref()?;
        // 0 is what the socket does by itself.
        (wrapped.traffic_class > 0).then_some(wrapped.traffic_class.into())
    }

    fn payload(&self, index: usize) -> Option<Gather<'a>> {
        let pieces = self.pieces.get(index)?;
        let used = if pieces.first()?.is_empty() { pieces.get(1..)? } else { pieces.as_slice() };
        Some(used.into())
    }
}

impl<'a> Datagrams<'a> for Batch<'a> {
    fn count(&self) -> usize {
        self.pieces.len()
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        Ok(Datagram {
            to: self.to.map_or(Destination::PEER, Destination::to),
            payload: self.payload(index).ok_or(Errno::EINVAL)?,
            manner: Manner { traffic_class: self.class(index), ..Manner::default() },
        })
    }

    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>> {
        if self.class(first) == self.class(index) { self.payload(index) } else { None }
    }
}

impl Tunnel {
    /// Sends whole packets, in order; how many. `done` holds it too, on failure as well: then it is the
    /// index of the packet that failed, and all before it are out. Without time to wait it sends what
    /// there is room for, `EAGAIN` if that is none.
    ///
    /// `EBADMSG` for what is no packet, `EMSGSIZE` for one that is too big, `ELOOP` for one from the other
    /// end or to it.
    pub fn send(&mut self, packets: &[IoSlice<'_>], deadline: Deadline, done: &mut usize) -> Result<usize> {
        *done = 0;
        let deadline = started(deadline);
        while let Some(rest) = packets.get(*done..).filter(|rest| !rest.is_empty()) {
            let mut sent = 0;
            let result = match rest.len() {
                ..=FEW => self.send_batch::<FEW>(rest, deadline, &mut sent),
                _ => self.send_batch::<BATCH>(rest, deadline, &mut sent),
            };
            *done += sent;
            match result {
                Ok(true) => {}
                Ok(false) => break,
                Err(Errno::EAGAIN) if *done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(*done)
    }

    /// Sends the first packets of a list, as many as can go together; whether the socket has room for more.
    fn send_batch<const SIZE: usize>(
        &mut self,
        packets: &[IoSlice<'_>],
        deadline: Deadline,
        sent: &mut usize,
    ) -> Result<bool> {
        let mut wrapped: [Option<Wrapped<'_>>; SIZE] = [const { None }; SIZE];
        let count = self.wrap(packets, &mut wrapped)?;
        let wrapped = wrapped.get(..count).unwrap_or_default();
        let Some(Some(first)) = wrapped.first() else { return Ok(true) };
        let pieces: [[IoSlice<'_>; 2]; SIZE] = array::from_fn(|index| {
            let one = wrapped.get(index).and_then(Option::as_ref);
            let (header, packet) = one.map_or((&[][..], &[][..]), |one| (&*one.header, one.packet));
            [IoSlice::new(header), IoSlice::new(packet)]
        });
        let pieces = pieces.get(..count).unwrap_or_default();
        let result = self.send_wrapped(first, wrapped, pieces, deadline, sent);
        for one in wrapped.iter().take(*sent).flatten() {
            self.counters.out.add(one.packet.len());
        }
        self.sequence = self.sequence.wrapping_add(*sent as u32);
        result.map(|()| *sent == count)
    }

    /// Checks packets and makes their headers, until one must go otherwise than the first; how many. An
    /// error if that is the first.
    fn wrap<'a>(&mut self, packets: &'a [IoSlice<'_>], wrapped: &mut [Option<Wrapped<'a>>]) -> Result<usize> {
        let mut count = 0;
        let mut manner: Option<(usize, bool)> = None;
        for (packet, place) in packets.iter().zip(wrapped) {
            let one = match self.entry.wrap(packet, self.sequence.wrapping_add(count as u32)) {
                Ok(one) => one,
                Err(_) if count > 0 => break,
                Err(refusal) => self.wrap_after_all(packet, refusal)?,
            };
            let own = (self.outlet(one.family), one.may_fragment);
            if *manner.get_or_insert(own) != own {
                break;
            }
            *place = Some(one);
            count += 1;
        }
        Ok(count)
    }

    /// The path may be wider than it was.
    #[cold]
    fn wrap_after_all<'a>(&mut self, packet: &'a [u8], refusal: Refusal) -> Result<Wrapped<'a>> {
        let result = match refusal {
            Refusal::TooBig => {
                self.look_at_path()?;
                self.entry.wrap(packet, self.sequence)
            }
            _ => Err(refusal),
        };
        result.map_err(|refusal| {
            self.counters.refused(refusal);
            refusal.into()
        })
    }

    fn outlet(&self, inner: Family) -> usize {
        self.ends.shape.kind.socket_of(inner)
    }

    fn send_wrapped(
        &mut self,
        first: &Wrapped<'_>,
        wrapped: &[Option<Wrapped<'_>>],
        pieces: &[[IoSlice<'_>; 2]],
        deadline: Deadline,
        sent: &mut usize,
    ) -> Result<()> {
        let (number, outer) = (self.outlet(first.family), self.ends.shape.outer);
        let outlet = self.senders.get_mut(number).ok_or(Errno::EBADF)?;
        if outlet.may_fragment != first.may_fragment {
            option::allow_fragments(outlet.sender.fd(), outer, first.may_fragment)?;
            outlet.may_fragment = first.may_fragment;
        }
        let mut tries = 0;
        loop {
            let (wrapped, pieces) = (wrapped.get(*sent..).unwrap_or_default(), pieces.get(*sent..).unwrap_or_default());
            let batch = Batch { wrapped, pieces, to: self.destination.as_ref() };
            let outlet = self.senders.get_mut(number).ok_or(Errno::EBADF)?;
            let mut done = 0;
            let result = outlet.sender.send(&batch, deadline, &mut done);
            *sent += done;
            tries += 1;
            match result {
                Err(error) if is_news(error) && tries < TRIES => self.counters.unreachable += 1,
                Err(Errno::EMSGSIZE) => {
                    let failed = wrapped.get(done).and_then(Option::as_ref);
                    self.look_at_path()?;
                    // The path has become narrower, which ICMP tells by the same error: it may still do.
                    let fits = failed.is_some_and(|one| one.packet.len() <= self.entry.whole);
                    if !fits || tries == TRIES {
                        self.counters.refused(Refusal::TooBig);
                        return Err(Errno::EMSGSIZE);
                    }
                }
                result => return result.map(drop),
            }
        }
    }
}

/// Headers are copied about on the stack.
const _: () = assert!(size_of::<Header>() <= 24);
