//! Packets that come in parts: a relay fragments what is too large for its tunnel (Linux's does so with
//! what has more than 1,460 bytes).
//!
//! The memory is bounded, parts that overlap make the whole packet worthless (RFC 5722 for IPv6; nobody
//! honest sends them over IPv4 either), and what isn't complete in time is dropped. A congestion mark on one
//! part is one on the packet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::tunnel::ecn;
use crate::tunnel::ip::{Fragment, Packet};

/// How many packets may be in the making.
const PACKETS: usize = 16;
/// How many parts one may have: of one that is as long as can be, cut to 576 bytes.
const PARTS: usize = 128;
/// How long the parts have to arrive. RFC 8200 says a minute; a tunnel's parts follow each other.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes behind an IP header.
const PAYLOAD_MAX: usize = 65_535;

/// What the parts of a packet have in common.
type Key = (IpAddr, IpAddr, u8, u32);

/// A packet in the making.
struct Pieces {
    key: Key,
    /// DSCP of the part that came first, ECN of all.
    traffic_class: u8,
    payload: Vec<u8>,
    /// From where to where there are bytes; in order, none touching the next by overlap.
    parts: Vec<(usize, usize)>,
    /// Known when the last part has come.
    total: Option<usize>,
    until: Instant,
}

/// Packets in the making, the oldest first, and those that were made since [`Reassembly::release`].
#[derive(Default)]
pub(super) struct Reassembly {
    pieces: Vec<Pieces>,
    done: Vec<(Vec<u8>, u8)>,
    /// Memory to use again.
    spare: Vec<Vec<u8>>,
}

/// What came of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The packet isn't complete yet.
    Waits,
    /// It is complete: its number for [`Reassembly::payload`].
    Whole(usize),
    /// The part can't be used; and with it so many packets were given up.
    Bad(u64),
}

impl Reassembly {
    /// One more part. How many packets were given up for want of room is told, too.
    pub fn add(&mut self, now: Instant, packet: &Packet<'_>, part: Fragment) -> (Outcome, u64) {
        let mut given_up = self.expire(now);
        let key = (packet.source, packet.destination, packet.protocol, part.identification);
        let (start, end) = (usize::from(part.offset), usize::from(part.offset) + packet.payload.len());
        // All parts but the last are multiples of eight bytes.
        let is_odd = part.more && (packet.payload.is_empty() || packet.payload.len() % 8 != 0);
        if is_odd || end > PAYLOAD_MAX {
            return (Outcome::Bad(0), given_up);
        }
        let found = self.pieces.iter().position(|pieces| pieces.key == key);
        let index = found.unwrap_or_else(|| {
            given_up += self.make_room();
            let payload = self.spare.pop().unwrap_or_default();
            let (traffic_class, until) = (packet.traffic_class, now + PATIENCE);
            self.pieces.push(Pieces { key, traffic_class, payload, parts: Vec::new(), total: None, until });
            self.pieces.len() - 1
        });
        let Some(pieces) = self.pieces.get_mut(index) else { return (Outcome::Waits, given_up) };
        let class = ecn::combine(pieces.traffic_class, packet.traffic_class).ok();
        let put = class.and_then(|class| {
            pieces.traffic_class = class;
            pieces.put(start, end, part.more, packet.payload)
        });
        match put {
            None => {
                self.forget(index);
                (Outcome::Bad(1), given_up)
            }
            Some(false) => (Outcome::Waits, given_up),
            Some(true) => {
                let pieces = self.pieces.remove(index);
                self.done.push((pieces.payload, pieces.traffic_class));
                (Outcome::Whole(self.done.len() - 1), given_up)
            }
        }
    }

    /// The payload of a packet that was made.
    pub fn payload(&self, number: usize) -> &[u8] {
        self.done.get(number).map_or(&[], |(payload, _)| payload.as_slice())
    }

    /// And its traffic class.
    pub fn traffic_class(&self, number: usize) -> u8 {
        self.done.get(number).map_or(0, |(_, class)| *class)
    }

    /// Nobody looks at what was made any more.
    pub fn release(&mut self) {
        self.spare.extend(self.done.drain(..).map(|(payload, _)| payload));
        self.spare.truncate(PACKETS);
        self.spare.iter_mut().for_each(Vec::clear);
    }

    /// Gives up what is overdue; how many packets.
    pub fn expire(&mut self, now: Instant) -> u64 {
        let before = self.pieces.len();
        self.pieces.retain(|pieces| pieces.until > now);
        (before - self.pieces.len()) as u64
    }

    /// When the next is overdue.
    pub fn timeout(&self) -> Option<Instant> {
        self.pieces.iter().map(|pieces| pieces.until).min()
    }

    /// The oldest goes if there are too many.
    fn make_room(&mut self) -> u64 {
        if self.pieces.len() < PACKETS {
            return 0;
        }
        self.pieces.remove(0);
        1
    }

    fn forget(&mut self, index: usize) {
        let mut payload = self.pieces.remove(index).payload;
        payload.clear();
        self.spare.push(payload);
    }
}

impl Pieces {
    /// Whether all is there; `None` if this can't be one packet.
    fn put(&mut self, start: usize, end: usize, more: bool, bytes: &[u8]) -> Option<bool> {
        if self.parts.contains(&(start, end)) && more != (self.total == Some(end)) {
            // The same once more: nothing new.
            return Some(false);
        }
        let overlaps = self.parts.iter().any(|(other_start, other_end)| start < *other_end && *other_start < end);
        let is_behind = self.total.is_some_and(|total| end > total || !more);
        let is_short = !more && self.parts.iter().any(|(_, other_end)| *other_end > end);
        if overlaps || is_behind || is_short || self.parts.len() >= PARTS {
            return None;
        }
        if !more {
            self.total = Some(end);
        }
        if self.payload.len() < end {
            self.payload.resize(end, 0);
        }
        self.payload.get_mut(start..end)?.copy_from_slice(bytes);
        self.parts.push((start, end));
        let there: usize = self.parts.iter().map(|(start, end)| end - start).sum();
        Some(self.total == Some(there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::fragment::fragments;
    use crate::tunnel::ip::v4::Header;

    fn packet(identification: u16, len: usize) -> Vec<u8> {
        let header = Header {
            source: [192, 0, 2, 1].into(),
            destination: [232, 1, 2, 3].into(),
            protocol: 17,
            ttl: 9,
            traffic_class: 0,
            identification,
            dont_fragment: false,
            router_alert: false,
            payload_len: len,
        };
        let mut bytes = header.build().unwrap().to_vec();
        bytes.extend((0..len).map(|index| (index * 7) as u8));
        bytes
    }

    fn cut(bytes: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let packet = Packet::parse(bytes).unwrap();
        let parts = fragments(&packet, mtu).unwrap();
        parts.map(|(header, range)| [&header, &packet.payload[range]].concat()).collect()
    }

    fn add(reassembly: &mut Reassembly, now: Instant, part: &[u8]) -> (Outcome, u64) {
        let packet = Packet::parse(part).unwrap();
        reassembly.add(now, &packet, packet.fragment.unwrap())
    }

    #[test]
    fn parts_in_any_order_and_more_than_once_are_the_packet() {
        let (mut reassembly, now) = (Reassembly::default(), Instant::now());
        for round in 0..3 {
            let whole = packet(round, 5000 + usize::from(round));
            let mut parts = cut(&whole, 700);
            parts.rotate_left(usize::from(round) * 3);
            let (last, others) = parts.split_last().unwrap();
            for part in others {
                assert_eq!(add(&mut reassembly, now, part), (Outcome::Waits, 0));
                assert_eq!(add(&mut reassembly, now, part), (Outcome::Waits, 0));
            }
            assert_eq!(add(&mut reassembly, now, last), (Outcome::Whole(usize::from(round % 2)), 0));
            assert_eq!(reassembly.payload(usize::from(round % 2)), &whole[20..]);
            if round == 1 {
                reassembly.release();
            }
        }
        assert_eq!(reassembly.timeout(), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut reassembly, now) = (Reassembly::default(), Instant::now());
        let parts: Vec<_> = (0..18).map(|identification| cut(&packet(identification, 2000), 1500)).collect();
        parts[..PACKETS].iter().for_each(|both| assert_eq!(add(&mut reassembly, now, &both[0]).0, Outcome::Waits));
        assert_eq!(add(&mut reassembly, now, &parts[0][1]).0, Outcome::Whole(0));
        assert_eq!(add(&mut reassembly, now, &parts[16][0]), (Outcome::Waits, 0));
        assert_eq!(add(&mut reassembly, now, &parts[17][0]), (Outcome::Waits, 1));
        for (number, both) in parts[2..].iter().enumerate() {
            assert_eq!(add(&mut reassembly, now, &both[1]), (Outcome::Whole(number + 1), 0));
        }
    }

    #[test]
    fn parts_that_overlap_are_no_packet() {
        let (mut reassembly, now) = (Reassembly::default(), Instant::now());
        let whole = packet(1, 3000);
        assert_eq!(add(&mut reassembly, now, &cut(&whole, 1500)[0]).0, Outcome::Waits);
        assert_eq!(add(&mut reassembly, now, &cut(&whole, 1400)[1]).0, Outcome::Bad(1));
        // Behind what was the last.
        let (short, long) = (packet(2, 1000), packet(2, 3000));
        assert_eq!(add(&mut reassembly, now, cut(&short, 500).last().unwrap()).0, Outcome::Waits);
        assert_eq!(add(&mut reassembly, now, cut(&long, 1500).last().unwrap()).0, Outcome::Bad(1));
        assert!(reassembly.pieces.is_empty());
    }

    #[test]
    fn what_stays_incomplete_is_given_up_by_time_and_by_number() {
        let (mut reassembly, now) = (Reassembly::default(), Instant::now());
        for identification in 0..1000_u16 {
            let part = &cut(&packet(identification, 3000), 1500)[0];
            let (outcome, given_up) = add(&mut reassembly, now, part);
            assert_eq!((outcome, given_up), (Outcome::Waits, u64::from(usize::from(identification) >= PACKETS)));
        }
        assert_eq!(reassembly.timeout(), Some(now + PATIENCE));
        assert_eq!(reassembly.expire(now + PATIENCE), PACKETS as u64);
        assert_eq!(reassembly.timeout(), None);
    }
}
