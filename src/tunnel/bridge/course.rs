//! What happens to each packet between coming in and going out, in either direction.

use std::time::Instant;

use super::counters::Counters;
use super::policy::Policy;
use super::recent::{Recent, Side};
use super::workbench::{self, Lack, Place, Workbench};
use crate::error::Errno;
use crate::tunnel::ip::{self, Packet};

/// The packets of one batch, and what is known of all.
pub struct Course {
    /// What passes.
    pub policy: Policy,
    /// What has passed.
    pub recent: Recent,
    /// What became of them.
    pub counters: Counters,
    /// For those that are made.
    pub bench: Workbench,
    /// Those that go on.
    pub places: Vec<Place>,
    /// By which side the batch has come.
    pub side: Side,
}

impl Course {
    /// Begins a batch.
    pub fn begin(&mut self, side: Side) {
        self.side = side;
        self.bench.clear();
        self.places.clear();
    }

    /// A packet that came into a slot, where its first byte is at `start`; `bytes` begin there. One that
    /// goes on has 1 less to live.
    pub fn take(&mut self, (slot, start): (usize, usize), bytes: &mut [u8], lack: Lack, now: Instant) {
        let (ttl, len) = match Packet::parse(bytes) {
            Err(_) => {
                self.counters.malformed += 1;
                return;
            }
            Ok(packet) => match self.policy.admit(&packet) {
                Err(stop) => return self.counters.stopped(stop),
                Ok(()) => (packet.ttl, packet.bytes.len()),
            },
        };
        let Some(bytes) = bytes.get_mut(..len) else { return };
        let before = self.places.len();
        let is_whole = ip::decrement_ttl(bytes).is_ok()
            && match lack {
                Lack::Nothing => true,
                Lack::Checksum => workbench::finish_checksum(bytes).is_ok(),
                Lack::Segments(size) => self.cut_train(bytes, size, ttl, now),
            };
        if !is_whole {
            self.places.truncate(before);
            self.counters.malformed += 1;
        } else if !matches!(lack, Lack::Segments(_)) && self.is_new(bytes, ttl, now) {
            self.places.push(Place::Slot(slot, start, start + len));
        }
    }

    /// A datagram's packet that was made on the workbench, with the TTL that it came with.
    pub fn take_made(&mut self, place: Place, ttl: u8, now: Instant) {
        let Place::Made(start, end) = place else { return };
        let Course { policy, recent, counters, bench, places, side } = self;
        let Ok(packet) = Packet::parse(bench.get(start, end)) else { return };
        match policy.admit(&Packet { ttl, ..packet }) {
            Err(stop) => counters.stopped(stop),
            Ok(()) if recent.is_back(&packet, ttl, *side, now) => counters.back += 1,
            Ok(()) => places.push(place),
        }
    }

    fn cut_train(&mut self, bytes: &[u8], size: usize, ttl: u8, now: Instant) -> bool {
        let Course { recent, counters, bench, places, side, .. } = self;
        let before = places.len();
        if bench.cut_train(bytes, size, |place| places.push(place)).is_err() {
            return false;
        }
        let mut index = 0;
        places.retain(|place| {
            index += 1;
            let Place::Made(start, end) = *place else { return true };
            if index <= before {
                return true;
            }
            let is_back = Packet::parse(bench.get(start, end)).is_ok_and(|one| recent.is_back(&one, ttl, *side, now));
            counters.back += u64::from(is_back);
            !is_back
        });
        true
    }

    fn is_new(&mut self, bytes: &[u8], ttl: u8, now: Instant) -> bool {
        let is_back = Packet::parse(bytes).is_ok_and(|packet| self.recent.is_back(&packet, ttl, self.side, now));
        self.counters.back += u64::from(is_back);
        !is_back
    }

    /// Cuts what is larger than an MTU and may be cut; the rest stays for others to refuse.
    pub fn fit<'b>(&mut self, mtu: usize, slot: impl Fn(usize, usize, usize) -> &'b [u8]) {
        let len = |place: &Place| match *place {
            Place::Slot(_, start, end) | Place::Made(start, end) => end - start,
        };
        if self.places.iter().all(|place| len(place) <= mtu) {
            return;
        }
        let all = std::mem::take(&mut self.places);
        for place in all {
            let Course { bench, places, .. } = self;
            if len(&place) <= mtu {
                places.push(place);
                continue;
            }
            let bytes = match place {
                Place::Slot(number, start, end) => slot(number, start, end).to_vec(),
                Place::Made(start, end) => bench.get(start, end).to_vec(),
            };
            match bench.cut_to(&bytes, mtu, |piece| places.push(piece)) {
                Ok(()) => self.counters.cut += 1,
                Err(Errno::EMSGSIZE) => self.places.push(place),
                Err(_) => self.counters.malformed += 1,
            }
        }
    }
}
