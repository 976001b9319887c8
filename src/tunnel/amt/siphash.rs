//! SipHash-2-4, a keyed hash for short messages (Aumasson and Bernstein, 2012): who doesn't have the
//! key can't tell its values from random ones.

/// The internal state: four words.
struct State([u64; 4]);

impl State {
    /// The key's two halves and the designers' constants ("somepseudorandomlygeneratedbytes").
    fn new(key: u128) -> State {
        let (low, high) = (key as u64, (key >> 64) as u64);
        State([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        self.0 = [a, b, c.rotate_left(32), d];
    }

    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..4).for_each(|_| self.round());
        self.0.iter().fold(0, |all, word| all ^ word)
    }
}

/// The hash of a message under a key, both little endian.
pub fn siphash(key: &[u8; 16], message: &[u8]) -> u64 {
    let mut state = State::new(u128::from_le_bytes(*key));
    let mut words = message.chunks_exact(8);
    for word in &mut words {
        state.word(little_endian(word));
    }
    // The last word has what is left, and the length in its highest byte.
    state.word(little_endian(words.remainder()) | (message.len() as u64) << 56);
    state.finish()
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last of the designers' vectors, and those around a word's end: key 00..0f,
    /// messages of 0, 1, 2, ... bytes 00, 01, 02, ...
    const VECTORS: [(usize, u64); 8] = [
        (0, 0x726f_db47_dd0e_0e31),
        (1, 0x74f8_39c5_93dc_67fd),
        (2, 0x0d6c_8009_d9a9_4f5a),
        (7, 0xab02_00f5_8b01_d137),
        (8, 0x93f5_f579_9a93_2462),
        (9, 0x9e00_82df_0ba9_e4b0),
        (15, 0xa129_ca61_49be_45e5),
        (63, 0x958a_324c_eb06_4572),
    ];

    #[test]
    fn siphash_vectors() {
        let key = std::array::from_fn(|index| index as u8);
        let message: Vec<u8> = (0..64).collect();
        for (len, hash) in VECTORS {
            assert_eq!(siphash(&key, &message[..len]), hash, "{len} bytes");
        }
    }

    #[test]
    #[allow(deprecated, reason = "std's own SipHash-2-4, which nothing else offers")]
    fn siphash_like_std() {
        use std::hash::{Hasher, SipHasher};
        for seed in 0..200u64 {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&siphash(&[1; 16], &seed.to_le_bytes()).to_le_bytes());
            key[8..].copy_from_slice(&siphash(&[2; 16], &seed.to_le_bytes()).to_le_bytes());
            let message: Vec<u8> = (0..seed).map(|index| siphash(&key, &index.to_le_bytes()) as u8).collect();
            let halves = [0, 8].map(|at| u64::from_le_bytes(key[at..at + 8].try_into().unwrap()));
            let mut std = SipHasher::new_with_keys(halves[0], halves[1]);
            std.write(&message);
            assert_eq!(siphash(&key, &message), std.finish(), "{seed} bytes");
        }
    }
}
