//! What was forwarded a short while ago, so that bridges in a ring don't send it round and round.
//!
//! A packet that comes again has passed routers in between, so its TTL is less than the first time. One
//! that a sender sends again has the TTL of the first, and isn't mistaken for it. Together with the TTL,
//! which ends every circle, this keeps bridges that are side by side from doubling packets at each turn.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::hash::Keyed;
use crate::tunnel::ip::{Packet, protocol, udp};

/// How long a packet may be on its way round.
const WHILE: Duration = Duration::from_secs(3);

/// Places for packets, by hash: a newer one takes an older one's. Half a mebibyte.
const PLACES: usize = 1 << 15;

/// What of a payload tells it from others: the beginning, with numbers and times, and the end.
const HEAD: usize = 64;
const TAIL: usize = 16;

/// One packet.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The rest of its hash. 0 with no packet.
    mark: u32,
    /// When, in milliseconds since the opening.
    at: u32,
    ttl: u8,
}

/// The packets of a short while.
pub struct Recent {
    places: Vec<Seen>,
    hasher: Keyed,
    start: Instant,
    /// Packets go on as they are. Else sources and ports change on the way, and can't tell them apart.
    is_faithful: bool,
}

impl Recent {
    /// None yet. The hasher has a secret, so that nobody can make packets that pass for others.
    pub fn new(is_faithful: bool, hasher: Keyed, now: Instant) -> Recent {
        Recent { places: vec![Seen::default(); PLACES], hasher, start: now, is_faithful }
    }

    /// Whether a packet, with the TTL that it has arrived with, was here before and has come round. Else
    /// it is kept in mind.
    pub fn is_back(&mut self, packet: &Packet<'_>, ttl: u8, now: Instant) -> bool {
        let hash = self.hash(packet);
        // One that is over 49 days old looks new, and is forgotten with the next packet in its place.
        let at = now.saturating_duration_since(self.start).as_millis() as u32;
        let mark = (hash >> 32) as u32 | 1;
        let Some(place) = self.places.get_mut(hash as usize % PLACES) else { return false };
        let is_known = place.mark == mark && at.wrapping_sub(place.at) <= WHILE.as_millis() as u32;
        if is_known && ttl < place.ttl {
            return true;
        }
        *place = Seen { mark, at, ttl };
        false
    }

    fn hash(&self, packet: &Packet<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        packet.destination.hash(&mut hasher);
        let mut rest = packet.payload;
        if self.is_faithful {
            (packet.source, packet.protocol).hash(&mut hasher);
            packet.fragment.map(|fragment| (fragment.offset, fragment.identification)).hash(&mut hasher);
            if let (IpAddr::V4(_), Some(identification)) = (packet.source, packet.bytes.get(4..6)) {
                hasher.write(identification);
            }
        } else if let Ok(datagram) = packet.whole_payload(protocol::UDP) {
            // The port that it goes to.
            hasher.write(datagram.get(2..4).unwrap_or_default());
            rest = datagram.get(udp::HEADER..).unwrap_or_default();
        }
        hasher.write_usize(rest.len());
        hasher.write(rest.get(..HEAD).unwrap_or(rest));
        hasher.write(rest.last_chunk::<TAIL>().map_or(&[], |tail| tail.as_slice()));
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::v4;

    fn packet(source: u8, identification: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
        let source = [192, 0, 2, source];
        let datagram =
            [&udp::header((source, 1000).into(), ([239, 1, 2, 3], 5000).into(), &[payload]).unwrap(), payload].concat();
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

    fn is_back(recent: &mut Recent, bytes: &[u8], now: Instant) -> bool {
        let packet = Packet::parse(bytes).unwrap();
        recent.is_back(&packet, packet.ttl, now)
    }

    #[test]
    fn what_comes_again_with_less_to_live_is_back() {
        let now = Instant::now();
        let mut recent = Recent::new(true, Keyed::new(), now);
        assert!(!is_back(&mut recent, &packet(1, 7, 9, b"abc"), now));
        assert!(is_back(&mut recent, &packet(1, 7, 7, b"abc"), now + Duration::from_secs(2)));
        assert!(is_back(&mut recent, &packet(1, 7, 8, b"abc"), now + Duration::from_secs(3)));
        assert!(!is_back(&mut recent, &packet(1, 7, 8, b"abc"), now + Duration::from_millis(3001)));
    }

    #[test]
    fn others_and_the_same_sent_again_are_not() {
        let now = Instant::now();
        let mut recent = Recent::new(true, Keyed::new(), now);
        for (source, identification, ttl, payload) in
            [(1, 7, 9, b"abc"), (1, 7, 9, b"abc"), (2, 7, 8, b"abc"), (1, 8, 8, b"abc"), (1, 7, 8, b"abd")]
        {
            assert!(!is_back(&mut recent, &packet(source, identification, ttl, payload), now));
        }
    }

    #[test]
    fn sources_do_not_count_where_they_change_on_the_way() {
        let now = Instant::now();
        let mut recent = Recent::new(false, Keyed::new(), now);
        assert!(!is_back(&mut recent, &packet(1, 7, 9, b"abc"), now));
        assert!(is_back(&mut recent, &packet(2, 8, 8, b"abc"), now));
        assert!(!is_back(&mut recent, &packet(2, 8, 8, b"abd"), now));
    }
}
