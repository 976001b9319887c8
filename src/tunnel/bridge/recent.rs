//! What was forwarded a short while ago, so that bridges in a ring don't send it round and round.
//!
//! A packet that comes again has passed routers in between, so its TTL is less than the first time. One
//! that a sender sends again has the TTL of the first, and isn't mistaken for it. Together with the TTL,
//! which ends every circle, this keeps bridges that are side by side from doubling packets at each turn.
//!
//! A sender whose packets are all equal, and whose TTL at arrival shrinks, can't be told from one whose
//! packets come round. Those that come round do so once for each packet that was there before, or come by
//! the other side; so no more than one is dropped for each.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::mark;
use crate::hash::Keyed;
use crate::tunnel::ip::{Packet, protocol, udp};

/// How long a packet may be on its way round.
const WHILE: Duration = Duration::from_secs(3);

/// Places for packets, some for each hash: a newer one takes an older one's. Half a mebibyte.
const PLACES: usize = 1 << 15;
const WAYS: usize = 4;

/// What of a payload tells it from others: the beginning, with numbers and times, and the end.
const HEAD: usize = 64;
const TAIL: usize = 16;

/// By which side of the bridge a packet comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The interface.
    #[default]
    Interface,
    /// The tunnel.
    Tunnel,
}

/// One packet.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The rest of its hash. 0 with no packet.
    mark: u32,
    /// When, in milliseconds since the opening.
    at: u32,
    ttl: u8,
    side: Side,
    /// One has come again by the same side.
    has_come_again: bool,
    /// A part of its sender's hash.
    sender: u8,
}

/// The packets of a short while.
pub struct Recent {
    places: Vec<Seen>,
    hasher: Keyed,
    start: Instant,
    /// Packets go on as they are. Else a bridge sends them from an address and port of its own, and only the
    /// payload tells what they were.
    is_faithful: bool,
}

/// What makes packets the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Likeness {
    /// All that routers leave alone.
    Whole,
    /// Sender, group, port and payload: the rest is made anew on the way.
    Datagram,
    /// Group, port and payload, whoever sends it.
    Payload,
}

impl Recent {
    /// None yet. The hasher has a secret, so that nobody can make packets that pass for others.
    pub fn new(is_faithful: bool, hasher: Keyed, now: Instant) -> Recent {
        Recent { places: vec![Seen::default(); PLACES], hasher, start: now, is_faithful }
    }

    /// Whether a packet, with the TTL that it has arrived with, was here before and has come round. Else
    /// it is kept in mind.
    pub fn is_back(&mut self, packet: &Packet<'_>, ttl: u8, side: Side, now: Instant) -> bool {
        // One that is over 49 days old looks new, and is forgotten with the next packet in its place.
        let at = now.saturating_duration_since(self.start).as_millis() as u32;
        let seen = Seen { at, ttl, side, ..Seen::default() };
        if self.is_faithful {
            return self.has_come_round(self.hash(packet, Likeness::Whole), seen);
        }
        let sent_anew = self.is_sent_anew(packet, seen);
        sent_anew || self.has_come_round(self.hash(packet, Likeness::Datagram), seen)
    }

    /// Where a packet is, or the place that it may take: the oldest of a few, so that two of one hash don't
    /// put each other out.
    fn place(&mut self, hash: u64, seen: &Seen) -> Option<&mut Seen> {
        let first = hash as usize % (PLACES / WAYS) * WAYS;
        let places = self.places.get_mut(first..first + WAYS)?;
        let same = places.iter().position(|place| place.mark == seen.mark);
        let age = |place: &Seen| if place.mark == 0 { u32::MAX } else { seen.at.wrapping_sub(place.at) };
        let oldest = || (0..places.len()).max_by_key(|index| places.get(*index).map(age));
        let index = same.or_else(oldest)?;
        places.get_mut(index)
    }

    fn has_come_round(&mut self, hash: u64, seen: Seen) -> bool {
        let seen = Seen { mark: (hash >> 32) as u32 | 1, ..seen };
        let Some(place) = self.place(hash, &seen) else { return false };
        if place.is_same(&seen) && seen.ttl < place.ttl && place.may_be_back(seen.side) {
            place.has_come_again |= seen.side == place.side;
            return true;
        }
        *place = seen;
        false
    }

    /// Whether a bridge has sent a packet anew that was here before, from another sender.
    fn is_sent_anew(&mut self, packet: &Packet<'_>, seen: Seen) -> bool {
        let hash = self.hash(packet, Likeness::Payload);
        let port = packet.whole_payload(protocol::UDP).unwrap_or_default().first_chunk().copied();
        let sender = self.hasher.hash_one((packet.source, port)) as u8;
        let seen = Seen { mark: (hash >> 32) as u32 | 1, sender, ..seen };
        let is_bridges = port.is_some_and(|port| mark::is_bridges(u16::from_be_bytes(port)));
        let Some(place) = self.place(hash, &seen) else { return false };
        let is_same = place.is_same(&seen);
        if is_same && is_bridges && seen.ttl < place.ttl && sender != place.sender {
            return true;
        }
        // Of several senders, the nearest: whatever comes round has less to live.
        if is_same && seen.ttl < place.ttl {
            place.at = seen.at;
        } else {
            *place = seen;
        }
        false
    }

    fn hash(&self, packet: &Packet<'_>, likeness: Likeness) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (packet.destination, likeness as u8).hash(&mut hasher);
        if likeness != Likeness::Payload {
            packet.source.hash(&mut hasher);
        }
        let mut rest = packet.payload;
        match packet.whole_payload(protocol::UDP) {
            Ok(datagram) if likeness != Likeness::Whole => {
                let from = if likeness == Likeness::Payload { 2 } else { 0 };
                hasher.write(datagram.get(from..4).unwrap_or_default());
                rest = datagram.get(udp::HEADER..).unwrap_or_default();
            }
            _ => {
                (packet.source, packet.protocol).hash(&mut hasher);
                packet.fragment.map(|fragment| (fragment.offset, fragment.identification)).hash(&mut hasher);
                if let (IpAddr::V4(_), Some(identification)) = (packet.source, packet.bytes.get(4..6)) {
                    hasher.write(identification);
                }
            }
        }
        hasher.write_usize(rest.len());
        hasher.write(rest.get(..HEAD).unwrap_or(rest));
        hasher.write(rest.last_chunk::<TAIL>().map_or(&[], |tail| tail.as_slice()));
        hasher.finish()
    }
}

impl Seen {
    /// Whether what comes by a side, with less to live, counts as having come round. Of what is sent through
    /// the tunnel twice the other end has made sure.
    fn may_be_back(&self, side: Side) -> bool {
        side != self.side || (side == Side::Interface && !self.has_come_again)
    }

    /// Whether another is the same packet, within the time that it may be on its way.
    fn is_same(&self, other: &Seen) -> bool {
        self.mark == other.mark && other.at.wrapping_sub(self.at) <= WHILE.as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::v4;

    fn packet(source: u8, identification: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
        packet_from(1000, source, identification, ttl, payload)
    }

    /// As a bridge sends it as its own.
    fn anew(source: u8, identification: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
        packet_from(mark::ports().next().unwrap(), source, identification, ttl, payload)
    }

    fn packet_from(port: u16, source: u8, identification: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
        let source = [192, 0, 2, source];
        let datagram =
            [&udp::header((source, port).into(), ([239, 1, 2, 3], 5000).into(), &[payload]).unwrap(), payload].concat();
        let header = v4::Header {
            source: source.into(),
            destination: [239, 1, 2, 3].into(),
            protocol: 17,
            ttl,
            traffic_class: 0,
            identification,
            dont_fragment: false,
            router_alert: false,
            payload_len: datagram.len(),
        };
        [&header.build().unwrap(), &datagram[..]].concat()
    }

    fn is_back(recent: &mut Recent, bytes: &[u8], side: Side, now: Instant) -> bool {
        let packet = Packet::parse(bytes).unwrap();
        recent.is_back(&packet, packet.ttl, side, now)
    }

    fn recent(is_faithful: bool, now: Instant) -> Recent {
        Recent::new(is_faithful, Keyed::new(), now)
    }

    #[test]
    fn what_comes_again_with_less_to_live_is_back() {
        let now = Instant::now();
        let mut recent = recent(true, now);
        let after = |ms| now + Duration::from_millis(ms);
        assert!(!is_back(&mut recent, &packet(1, 7, 9, b"abc"), Side::Interface, now));
        assert!(is_back(&mut recent, &packet(1, 7, 7, b"abc"), Side::Tunnel, after(2000)));
        assert!(is_back(&mut recent, &packet(1, 7, 8, b"abc"), Side::Tunnel, after(2500)));
        assert!(is_back(&mut recent, &packet(1, 7, 8, b"abc"), Side::Interface, after(3000)));
        assert!(!is_back(&mut recent, &packet(1, 7, 8, b"abc"), Side::Tunnel, after(3001)));
    }

    #[test]
    fn others_and_the_same_sent_again_are_not() {
        let now = Instant::now();
        let mut recent = recent(true, now);
        for (source, identification, ttl, payload) in
            [(1, 7, 9, b"abc"), (1, 7, 9, b"abc"), (2, 7, 8, b"abc"), (1, 8, 8, b"abc"), (1, 7, 8, b"abd")]
        {
            assert!(!is_back(&mut recent, &packet(source, identification, ttl, payload), Side::Interface, now));
        }
    }

    #[test]
    fn a_sender_whose_equal_packets_come_from_farther_loses_one() {
        let now = Instant::now();
        let mut recent = recent(true, now);
        let ttls = [9, 9, 7, 7, 7, 5, 5];
        let lost: Vec<bool> =
            ttls.map(|ttl| is_back(&mut recent, &packet(1, 0, ttl, b"beat"), Side::Interface, now)).to_vec();
        assert_eq!(lost, [false, false, true, false, false, true, false]);
        // At the other end of the tunnel no more.
        for ttl in [3, 2] {
            assert!(!is_back(&mut recent, &packet(2, 0, ttl, b"beat"), Side::Tunnel, now));
        }
    }

    #[test]
    fn equal_packets_of_several_senders_are_none_of_each_others() {
        let now = Instant::now();
        let mut recent = recent(false, now);
        for _ in 0..5 {
            for (source, ttl) in [(1, 16), (2, 12), (3, 8)] {
                assert!(!is_back(&mut recent, &packet(source, 0, ttl, b"beat"), Side::Interface, now));
            }
            // A bridge has sent each anew.
            for ttl in [13, 9, 5] {
                assert!(is_back(&mut recent, &anew(9, 1, ttl, b"beat"), Side::Tunnel, now));
            }
        }
    }

    #[test]
    fn what_a_bridge_sends_anew_is_known_by_its_payload() {
        let now = Instant::now();
        let mut recent = recent(false, now);
        assert!(!is_back(&mut recent, &packet(1, 7, 9, b"abc"), Side::Interface, now));
        assert!(is_back(&mut recent, &anew(2, 8, 8, b"abc"), Side::Tunnel, now));
        assert!(is_back(&mut recent, &anew(2, 8, 8, b"abc"), Side::Interface, now));
        assert!(!is_back(&mut recent, &anew(2, 8, 8, b"abd"), Side::Interface, now));
    }
}
