//! Hash maps with keys that a stranger may choose, as addresses: nobody can make them collide.
//!
//! std's own `RandomState` panics in a process that has neither getrandom(2) nor /dev/urandom.

use std::collections;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::random;

/// `HashMap::default()` makes an empty one.
pub type HashMap<K, V> = collections::HashMap<K, V, Keyed>;
/// `HashSet::default()` makes an empty one.
pub type HashSet<K> = collections::HashSet<K, Keyed>;

/// SipHash (std's) that starts with a secret of the process.
#[derive(Clone, Debug)]
pub struct Keyed(DefaultHasher);

impl Keyed {
    /// Each differs from all others, as `RandomState`'s do: filling one map in the order of another would
    /// take quadratic time with the same hash.
    pub fn new() -> Keyed {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut hasher = DefaultHasher::new();
        secret().into_iter().for_each(|word| hasher.write_u64(word));
        hasher.write_u64(NEXT.fetch_add(1, Relaxed));
        Keyed(hasher)
    }
}

impl Default for Keyed {
    fn default() -> Keyed {
        Keyed::new()
    }
}

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

/// Made once in a process, without a lock: a child of fork(2) may come from the middle of the first call.
fn secret() -> [u64; 2] {
    static WORDS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    WORDS.each_ref().map(|word| match word.load(Relaxed) {
        0 => {
            let made = u64::from_ne_bytes(random::bytes()) | 1;
            word.compare_exchange(0, made, Relaxed, Relaxed).map_or_else(|other| other, |_| made)
        }
        made => made,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_finds_what_it_holds_and_two_maps_hash_differently() {
        let mut map = HashMap::default();
        (0..1000).for_each(|key| _ = map.insert(key, key * 2));
        assert!((0..1000).all(|key| map.get(&key) == Some(&(key * 2))));
        let (one, two) = (Keyed::new(), Keyed::new());
        assert_eq!(one.hash_one("key"), one.hash_one("key"));
        assert_ne!(one.hash_one("key"), two.hash_one("key"));
    }
}
