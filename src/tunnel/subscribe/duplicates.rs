//! One datagram that comes by two ways is handed out once; two equal datagrams that come by one way are
//! handed out twice.
//!
//! UDP numbers nothing, so that equal is what has the same sender, length and bytes. What one way brings
//! first is noted, and the next such datagram of the other way is taken for its twin. So of n equal
//! datagrams sent, n are handed out, whichever way each comes by first, unless both ways lose it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::hash::HashMap;

/// The way that a datagram has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// As multicast.
    Native,
    /// Through the tunnel.
    Tunnel,
}

/// How far apart the network may deliver by the two ways. What waits in a queue of this host comes on top.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// How many datagrams without a twin are remembered; of more the oldest are forgotten.
const NOTES: usize = 32_768;

/// Datagrams that are equal.
#[derive(Clone, Copy)]
struct Note {
    /// How they came.
    path: Path,
    /// How many have no twin yet.
    waiting: u32,
    /// How many times in the queue stand for those that found theirs.
    matched: u32,
}

/// What has come by one way and not by the other.
pub struct Duplicates {
    key: u64,
    notes: HashMap<u64, Note>,
    /// When each was noted, in order.
    queue: VecDeque<(Instant, u64)>,
    /// When nothing waited in the queue of each way: natively, of the tunnel.
    drained: [Option<Instant>; 2],
}

impl Duplicates {
    /// With a secret, so that no sender can make two datagrams that look equal. Allocates nothing yet.
    pub fn new(key: u64) -> Duplicates {
        Duplicates { key: key | 1, notes: HashMap::default(), queue: VecDeque::new(), drained: [None; 2] }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes note of a datagram; whether it is to be handed out.
    pub fn is_new(&mut self, now: Instant, path: Path, from: SocketAddr, payload: &[u8]) -> bool {
        self.expire();
        let hash = hash(self.key, from, payload);
        match self.notes.get_mut(&hash) {
            Some(note) if note.path != path && note.waiting > 0 => {
                note.waiting -= 1;
                note.matched += 1;
                return false;
            }
            Some(note) => {
                note.path = path;
                note.waiting += 1;
            }
            None => {
                self.notes.insert(hash, Note { path, waiting: 1, matched: 0 });
            }
        }
        if self.queue.len() >= NOTES {
            self.forget_oldest();
        }
        self.queue.push_back((now, hash));
        true
    }

    /// Nothing waits to be read that came by this way.
    pub fn drained(&mut self, now: Instant, path: Path) {
        let [native, tunnel] = &mut self.drained;
        match path {
            Path::Native => *native = Some(now),
            Path::Tunnel => *tunnel = Some(now),
        }
    }

    /// Forgets what is too old to have a twin. A twin that came in time may still wait to be read.
    pub fn expire(&mut self) {
        let [Some(native), Some(tunnel)] = self.drained else { return };
        let now = native.min(tunnel);
        while self.queue.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, hash)) = self.queue.pop_front() else { return };
        let Some(note) = self.notes.get_mut(&hash) else { return };
        // The oldest found their twins first.
        if note.matched > 0 {
            note.matched -= 1;
        } else {
            note.waiting = note.waiting.saturating_sub(1);
        }
        if note.waiting == 0 && note.matched == 0 {
            self.notes.remove(&hash);
        }
    }

    /// The tunnel ends. Of several equal datagrams that came through it most have no twin on its way:
    /// they came before there was native traffic. Better one too many than one too few.
    pub fn tunnel_ends(&mut self) {
        for note in self.notes.values_mut().filter(|note| note.path == Path::Tunnel && note.waiting > 1) {
            note.matched += note.waiting;
            note.waiting = 0;
        }
    }
}

/// A keyed hash, eight bytes at a time: each word is multiplied with what came before, and both halves of
/// the product count.
fn hash(key: u64, from: SocketAddr, payload: &[u8]) -> u64 {
    let address = match from.ip() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let length = (payload.len() as u64) << 16 | u64::from(from.port());
    let begin = [address as u64, (address >> 64) as u64, length];
    let mut state = begin.into_iter().fold(key, mix);
    let mut words = payload.chunks_exact(8);
    for word in &mut words {
        state = mix(state, u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let last = words.remainder().iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    mix(mix(state, last), key)
}

fn mix(state: u64, word: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(state ^ word ^ ODD) * u128::from(state.rotate_left(32) | 1);
    (product as u64) ^ (product >> 64) as u64 ^ word.rotate_left(17)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Path::{Native, Tunnel};

    struct Rig {
        duplicates: Duplicates,
        now: Instant,
    }

    impl Rig {
        fn new() -> Rig {
            Rig { duplicates: Duplicates::new(7), now: Instant::now() }
        }

        /// Both queues are empty.
        fn drain(&mut self) {
            [Native, Tunnel].into_iter().for_each(|path| self.duplicates.drained(self.now, path));
            self.duplicates.expire();
        }

        fn get(&mut self, path: Path, text: &str) -> bool {
            self.duplicates.is_new(self.now, path, "192.0.2.1:9".parse().unwrap(), text.as_bytes())
        }
    }

    #[test]
    fn a_datagram_that_comes_both_ways_counts_once() {
        let mut rig = Rig::new();
        for (first, second) in [(Native, Tunnel), (Tunnel, Native)] {
            assert!(rig.get(first, "a") && rig.get(first, "b"));
            assert!(!rig.get(second, "b") && !rig.get(second, "a"));
            // And the next of the same text is another.
            assert!(rig.get(second, "a") && !rig.get(first, "a"));
        }
    }

    #[test]
    fn equal_datagrams_on_one_way_all_count() {
        let mut rig = Rig::new();
        assert!((0..5).all(|_| rig.get(Native, "same")));
        assert!((0..5).all(|_| !rig.get(Tunnel, "same")));
        assert!((0..3).all(|_| rig.get(Tunnel, "same")));
        assert!((0..2).all(|_| !rig.get(Native, "same")));
        // One is lost on the native way: it counts from the tunnel.
        assert!(!rig.get(Native, "same") && rig.get(Native, "same"));
    }

    #[test]
    fn what_differs_in_anything_is_another() {
        let mut rig = Rig::new();
        let from = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(rig.get(Native, "text"));
        for (address, text) in [
            ("192.0.2.2:9", "text"),
            ("192.0.2.1:10", "text"),
            ("[2001:db8::1]:9", "text"),
            ("192.0.2.1:9", "texu"),
            ("192.0.2.1:9", "text\0"),
            ("192.0.2.1:9", "a text of more than eight bytes"),
            ("192.0.2.1:9", ""),
        ] {
            let now = rig.now;
            assert!(rig.duplicates.is_new(now, Tunnel, from(address), text.as_bytes()), "{address} {text}");
        }
        assert!(!rig.get(Tunnel, "text"));
    }

    #[test]
    fn hashes_of_many_datagrams_differ() {
        let from = "192.0.2.1:9".parse().unwrap();
        let texts = (0..50_000_u32).flat_map(|number| [number.to_be_bytes().repeat(5), number.to_le_bytes().repeat(4)]);
        let hashes: std::collections::HashSet<u64> = texts.map(|text| hash(12_345, from, &text)).collect();
        // Those of 16 and of 20 bytes, all different.
        assert_eq!(hashes.len(), 100_000);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut rig = Rig::new();
        assert!(rig.get(Native, "a"));
        rig.now += WINDOW / 2;
        assert!(rig.get(Native, "a"));
        rig.now += WINDOW / 2;
        rig.drain();
        // The second one still waits for its twin.
        assert!(!rig.get(Tunnel, "a") && rig.get(Tunnel, "a"));
        rig.now += WINDOW;
        rig.drain();
        assert!(rig.duplicates.is_empty() && rig.duplicates.notes.is_empty());
    }

    #[test]
    fn memory_stays_bounded() {
        let mut rig = Rig::new();
        for number in 0..100_000 {
            assert!(rig.get(Native, &number.to_string()));
        }
        assert_eq!((rig.duplicates.queue.len(), rig.duplicates.notes.len()), (NOTES, NOTES));
        assert!(!rig.get(Tunnel, "99999") && rig.get(Tunnel, "0"));
    }

    #[test]
    fn the_tunnels_end_doesnt_cost_equal_datagrams() {
        let mut rig = Rig::new();
        assert!((0..9).all(|_| rig.get(Tunnel, "beat")) && rig.get(Tunnel, "one"));
        rig.duplicates.tunnel_ends();
        assert!((0..9).all(|_| rig.get(Native, "beat")) && !rig.get(Native, "one"));
        rig.now += WINDOW;
        rig.drain();
        assert!(rig.duplicates.notes.is_empty());
    }

    #[test]
    fn what_waits_in_a_queue_isnt_too_old() {
        for (first, second) in [(Native, Tunnel), (Tunnel, Native)] {
            let mut rig = Rig::new();
            assert!(rig.get(first, "a"));
            for _ in 0..20 {
                rig.now += WINDOW;
                rig.duplicates.drained(rig.now, first);
                rig.duplicates.expire();
            }
            assert!(!rig.get(second, "a"), "its twin waited for 20 seconds");
        }
    }
}
