//! GRE (RFC 2784) with key and sequence number (RFC 2890), as over IP or in UDP (RFC 8086).

use super::bytes::{array_at, from, u16_at, u32_at};
use super::ip::HeaderBytes;
use super::ip::checksum::Checksum;
use super::malformed::Malformed;

/// The longest header: with checksum, key and sequence number.
pub const HEADER_MAX: usize = 16;

/// An IPv4 packet inside.
pub const IPV4: u16 = 0x0800;
/// An IPv6 packet inside.
pub const IPV6: u16 = 0x86dd;

const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Bits 1, 4 and 5: routing and recursion of RFC 1701, which isn't spoken here (RFC 2784, section 2.3).
const REFUSED: u16 = 0x4c00;
const VERSION: u16 = 0x0007;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is inside: an EtherType.
    pub protocol: u16,
    /// Whether a checksum covers header and payload.
    pub checksum: bool,
    /// Which of several tunnels between the same ends.
    pub key: Option<u32>,
    /// Where in the order of packets this one is.
    pub sequence: Option<u32>,
}

impl Header {
    /// How long it is.
    pub fn size(&self) -> usize {
        4 + 4 * (usize::from(self.checksum) + usize::from(self.key.is_some()) + usize::from(self.sequence.is_some()))
    }

    /// The bytes before this payload, which is read only if there is a checksum.
    #[inline]
    pub fn build(&self, payload: &[&[u8]]) -> HeaderBytes<HEADER_MAX> {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags =
            flag(self.checksum, CHECKSUM) | flag(self.key.is_some(), KEY) | flag(self.sequence.is_some(), SEQUENCE);
        let mut header = HeaderBytes::new();
        header.push(&(u32::from(flags) << 16 | u32::from(self.protocol)).to_be_bytes());
        if self.checksum {
            header.push(&[0; 4]);
        }
        for number in [self.key, self.sequence].into_iter().flatten() {
            header.push(&number.to_be_bytes());
        }
        if self.checksum {
            header.set_u16(4, Checksum::new().with(&header).with_pieces(payload).value());
        }
        header
    }
}

/// The header of a packet, its checksum found good if it has one, and the payload. Which
/// protocols, keys and fields a tunnel wants is its own business.
pub fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let flags = u16_at(bytes, 0)?;
    if flags & VERSION != 0 {
        return Err(Malformed::BadVersion);
    }
    if flags & REFUSED != 0 {
        return Err(Malformed::ReservedFlags);
    }
    let mut at = 4;
    let mut field = |flag| -> Result<Option<u32>, Malformed> {
        if flags & flag == 0 {
            return Ok(None);
        }
        let value = u32_at(bytes, at)?;
        at += 4;
        Ok(Some(value))
    };
    let (checksum, key, sequence) = (field(CHECKSUM)?.is_some(), field(KEY)?, field(SEQUENCE)?);
    let header = Header { protocol: u16::from_be_bytes(array_at(bytes, 2)?), checksum, key, sequence };
    let payload = from(bytes, at)?;
    if checksum && !Checksum::new().with(bytes).is_good() {
        return Err(Malformed::BadChecksum);
    }
    Ok((header, payload))
}

/// Whether a sequence number comes after the last one seen (RFC 2890, section 2.2): a packet whose
/// number doesn't is out of order, and dropped. The numbers go round: the last one and the 2^31-1
/// before it are behind, the others ahead.
pub fn is_in_order(last: Option<u32>, sequence: u32) -> bool {
    last.is_none_or(|last| last.wrapping_sub(sequence) >= 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Header = Header { protocol: IPV4, checksum: false, key: None, sequence: None };
    const ALL: Header = Header { protocol: IPV6, checksum: true, key: Some(0x0102_0304), sequence: Some(7) };

    #[test]
    fn headers_are_laid_out_as_in_rfc_2890() {
        assert_eq!(*PLAIN.build(&[b"abc"]), [0, 0, 8, 0]);
        // b000 86dd 0102 0304 0000 0007 6162 6300 add up to 1ff4c, folded ff4d.
        let expected = [0xb0, 0, 0x86, 0xdd, 0, 0xb2, 0, 0, 1, 2, 3, 4, 0, 0, 0, 7];
        assert_eq!(*ALL.build(&[b"a", b"bc"]), expected);
        assert_eq!(*Header { key: Some(9), ..PLAIN }.build(&[]), [0x20, 0, 8, 0, 0, 0, 0, 9]);
        assert_eq!(*Header { sequence: Some(9), ..PLAIN }.build(&[]), [0x10, 0, 8, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn every_form_comes_back_as_it_was_built() {
        for checksum in [false, true] {
            for key in [None, Some(0), Some(u32::MAX)] {
                for sequence in [None, Some(0), Some(0x8000_0001)] {
                    let header = Header { protocol: 0x1234, checksum, key, sequence };
                    let bytes = [&header.build(&[b"ab", b"cde"]), &b"abcde"[..]].concat();
                    assert_eq!(parse(&bytes), Ok((header, &b"abcde"[..])));
                    assert_eq!(bytes.len(), header.size() + 5);
                    for len in 0..header.size() {
                        assert_eq!(parse(&bytes[..len]), Err(Malformed::Truncated), "{header:?} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn flags_are_refused_or_ignored_as_the_rfc_says() {
        let with = |flags: u16| {
            let mut bytes = vec![0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8];
            bytes[..2].copy_from_slice(&flags.to_be_bytes());
            parse(&bytes).map(|(header, _)| header)
        };
        for bit in [1, 4, 5] {
            assert_eq!(with(0x8000 >> bit), Err(Malformed::ReservedFlags), "bit {bit}");
        }
        for bit in 6..=12 {
            assert_eq!(with(0x8000 >> bit), Ok(PLAIN), "bit {bit}");
        }
        for version in 1..=7 {
            assert_eq!(with(version), Err(Malformed::BadVersion));
        }
    }

    #[test]
    fn a_change_of_header_or_payload_breaks_the_checksum() {
        let bytes = [&ALL.build(&[b"abc"]), &b"abc"[..]].concat();
        for index in 2..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x10;
            assert_eq!(parse(&changed), Err(Malformed::BadChecksum), "byte {index}");
        }
    }

    #[test]
    fn sequence_numbers_go_forward_and_round() {
        assert!(is_in_order(None, 0) && is_in_order(None, u32::MAX));
        assert!(is_in_order(Some(0), 1) && is_in_order(Some(0), 100) && is_in_order(Some(u32::MAX), 0));
        assert!(!is_in_order(Some(5), 5) && !is_in_order(Some(5), 4) && !is_in_order(Some(0), u32::MAX));
        for last in [0, 5, u32::MAX] {
            let is_ahead = |distance: u32| is_in_order(Some(last), last.wrapping_add(distance));
            assert!(is_ahead(1 << 31) && !is_ahead((1 << 31) + 1), "{last}");
        }
    }
}
