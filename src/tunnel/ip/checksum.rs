//! The Internet checksum (RFC 1071) over pieces, and its update for one changed word (RFC 1624).

use std::net::IpAddr;

/// A sum in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    sum: u64,
    /// Whether an odd number of bytes was added: the next one is the lower half of a word.
    odd: bool,
}

impl Checksum {
    /// Of nothing yet.
    pub fn new() -> Self {
        Checksum::default()
    }

    /// Of the pseudo header that UDP and ICMPv6 put before themselves (RFC 768, RFC 8200 section
    /// 8.1). The two families' differ in layout and not in what they add up to.
    pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        let sum = len as u64 + u64::from(protocol);
        Checksum { sum, odd: false }.with_address(source).with_address(destination)
    }

    fn with_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.with(&v4.octets()),
            IpAddr::V6(v6) => self.with(&v6.octets()),
        }
    }

    /// With more bytes behind those so far.
    #[must_use]
    #[inline]
    pub fn with(self, bytes: &[u8]) -> Self {
        let sum = sum(bytes);
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        Checksum { sum: self.sum + u64::from(sum), odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// With all pieces of a gather list behind those so far.
    #[must_use]
    pub fn with_pieces(self, pieces: &[&[u8]]) -> Self {
        pieces.iter().fold(self, |sum, piece| sum.with(piece))
    }

    /// What the checksum field holds, if it was 0 or left out in what was added.
    pub fn value(self) -> u16 {
        !fold(self.sum)
    }

    /// Whether the bytes added, checksum field included, are as they were sent.
    pub fn is_good(self) -> bool {
        self.value() == 0
    }
}

/// A checksum after one of the words that it covers has changed (RFC 1624, equation 3).
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// The sum of 16-bit words, the last one padded. Words of any width in any byte order add up to
/// the same (RFC 1071, section 2), so these are the machine's own, four bytes at a time: a 64-bit sum has
/// room for the carries of 16 GiB.
#[inline]
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(4);
    let last = match *words.remainder() {
        [] => 0,
        [a] => u32::from_ne_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
        [a, b, c, ..] => u32::from_ne_bytes([a, b, c, 0]),
    };
    let words = words.map(|word| u64::from(u32::from_ne_bytes(word.try_into().unwrap_or_default())));
    u16::from_be(fold(words.sum::<u64>() + u64::from(last)))
}

/// The carries added back in, until there are none: 64 bits become 33, 18, 17, and 16.
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word by word, as the RFC's text has it.
    fn plain(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
        !fold(words.sum())
    }

    fn some_bytes(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index * 151 + index / 7) as u8).collect()
    }

    #[test]
    fn the_numerical_example_of_rfc_1071() {
        // Section 3: 2ddf0 folds to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Checksum::new().with(&bytes).value(), !0xddf2);
        assert!(Checksum::new().with(&bytes).with(&(!0xddf2_u16).to_be_bytes()).is_good());
        assert!(!Checksum::new().with(&bytes).with(&0xddf2_u16.to_be_bytes()).is_good());
    }

    #[test]
    fn any_length_gives_what_the_plain_sum_gives() {
        for len in (0..70).chain([1499, 1500, 65_535]) {
            let bytes = some_bytes(len);
            assert_eq!(Checksum::new().with(&bytes).value(), plain(&bytes), "{len} bytes");
        }
        assert_eq!(Checksum::new().with(&[0xff; 65_535]).value(), plain(&[0xff; 65_535]));
    }

    #[test]
    fn pieces_of_any_length_add_up_to_the_whole() {
        let bytes = some_bytes(41);
        for first in 0..=41 {
            for second in first..=41 {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(Checksum::new().with_pieces(&pieces).value(), plain(&bytes), "{first} {second}");
            }
        }
    }

    #[test]
    fn a_changed_word_changes_the_checksum_as_summing_anew_does() {
        // Section 4 of RFC 1624: the result is 0 where the older equation gave ffff.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
        let mut bytes = some_bytes(20);
        for old in [0_u16, 1, 0x4011, 0xfffe, 0xffff] {
            for new in [0_u16, 0x3f11, 0xffff] {
                bytes[8..10].copy_from_slice(&old.to_be_bytes());
                let before = plain(&bytes);
                bytes[8..10].copy_from_slice(&new.to_be_bytes());
                assert_eq!(update(before, old, new), plain(&bytes), "{old:x} to {new:x}");
            }
        }
    }

    #[test]
    fn pseudo_headers_are_those_of_the_rfcs() {
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "232.1.2.3".parse().unwrap());
        let v4 = [192, 0, 2, 1, 232, 1, 2, 3, 0, 17, 0, 11];
        assert_eq!(Checksum::pseudo(a, b, 17, 11).value(), plain(&v4));
        let (a, b): (IpAddr, IpAddr) = ("fe80::1".parse().unwrap(), "ff02::16".parse().unwrap());
        let mut v6 = vec![0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        v6.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);
        v6.extend([0, 1, 0x11, 0x70, 0, 0, 0, 58]);
        assert_eq!(Checksum::pseudo(a, b, 58, 70_000).value(), plain(&v6));
    }
}
