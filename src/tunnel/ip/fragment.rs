//! An IPv4 packet cut to an MTU (RFC 791, section 2.3 and the procedure of section 3.2).

use std::ops::Range;

use super::checksum::Checksum;
use super::v4::{self, MORE_FRAGMENTS, OFFSET};
use super::{HeaderBytes, Packet};
use crate::error::{Errno, Result};
use crate::tunnel::bytes::array_at;

/// The longest header: with 40 bytes of options.
const HEADER_MAX: usize = 60;

/// The parts of a packet, in order. Each is a header and a range of [`Packet::payload`].
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    packet: Packet<'a>,
    /// What of the payload each part but the last carries: a multiple of 8.
    step: usize,
    at: usize,
    is_done: bool,
}

/// Cuts a packet into parts of at most `mtu` bytes; one that fits comes out as the only part, with
/// the header that it has. A part of a packet may be cut again.
///
/// `EMSGSIZE` if it is too large and says that it mustn't be cut, or if the MTU has no room for a
/// header and eight bytes; `EAFNOSUPPORT` for IPv6, which its sender alone may cut.
pub fn fragments<'a>(packet: &Packet<'a>, mtu: usize) -> Result<Fragments<'a>> {
    if packet.source.is_ipv6() {
        return Err(Errno::EAFNOSUPPORT);
    }
    if packet.bytes.len() <= mtu {
        return Ok(Fragments { packet: *packet, step: packet.payload.len(), at: 0, is_done: false });
    }
    match mtu.saturating_sub(packet.header_len()) & !7 {
        _ if packet.dont_fragment => Err(Errno::EMSGSIZE),
        0 => Err(Errno::EMSGSIZE),
        step => Ok(Fragments { packet: *packet, step, at: 0, is_done: false }),
    }
}

impl Iterator for Fragments<'_> {
    type Item = (HeaderBytes<HEADER_MAX>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let len = self.packet.payload.len();
        let range = self.at..len.min(self.at + self.step);
        self.is_done = range.end == len;
        self.at = range.end;
        let original = self.packet.bytes.get(..self.packet.header_len())?;
        if range.len() == len {
            let mut header = HeaderBytes::new();
            header.push(original);
            return Some((header, range));
        }
        Some((self.header(original, &range)?, range))
    }
}

impl Fragments<'_> {
    fn header(&self, original: &[u8], range: &Range<usize>) -> Option<HeaderBytes<HEADER_MAX>> {
        let (fixed, options) = original.split_at_checked(v4::HEADER)?;
        let mut header = HeaderBytes::new();
        header.push(fixed);
        if range.start == 0 {
            header.push(options);
        } else {
            push_copied_options(&mut header, options);
        }
        header.set_first(0x40 | (header.len() / 4) as u8);
        header.set_u16(2, (header.len() + range.len()) as u16);
        header.set_u16(6, self.place(fixed, range)?);
        header.set_u16(10, 0);
        header.set_u16(10, Checksum::new().with(&header).value());
        Some(header)
    }

    /// The flags and the offset. What is cut from a part counts from where that part stands, and
    /// has others behind it if that part has.
    fn place(&self, fixed: &[u8], range: &Range<usize>) -> Option<u16> {
        let old = u16::from_be_bytes(array_at(fixed, 6).ok()?);
        let offset = (old & OFFSET).checked_add((range.start / 8) as u16)?;
        let more = if range.end < self.packet.payload.len() { MORE_FRAGMENTS } else { old & MORE_FRAGMENTS };
        Some(offset & OFFSET | more)
    }
}

/// The options that every part shall have: those with the first bit set.
fn push_copied_options(header: &mut HeaderBytes<HEADER_MAX>, options: &[u8]) {
    const COPIED: u8 = 0x80;
    for option in v4::options(options).filter(|option| option.first().is_some_and(|kind| kind & COPIED != 0)) {
        header.push(option);
    }
    // The end of the list, as often as it takes.
    let padding = header.len().next_multiple_of(4) - header.len();
    header.push([0; 3].get(..padding).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::Fragment;
    use crate::tunnel::ip::v4::Header;

    fn packet(payload: usize, dont_fragment: bool, router_alert: bool) -> Vec<u8> {
        let header = Header {
            source: [192, 0, 2, 1].into(),
            destination: [232, 1, 2, 3].into(),
            protocol: 17,
            ttl: 9,
            traffic_class: 0xb8,
            identification: 0x1234,
            dont_fragment,
            router_alert,
            payload_len: payload,
        };
        let mut bytes = header.build().unwrap().to_vec();
        bytes.extend((0..payload).map(|index| (index * 7) as u8));
        bytes
    }

    fn cut(bytes: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let packet = Packet::parse(bytes).unwrap();
        let parts = fragments(&packet, mtu).unwrap();
        parts.map(|(header, range)| [&header, &packet.payload[range]].concat()).collect()
    }

    /// Puts the parts together again, each within the MTU, and all saying the same.
    fn check(whole: &[u8], parts: &[Vec<u8>], mtu: usize) {
        let whole = Packet::parse(whole).unwrap();
        let mut payload: Vec<u8> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            assert!(part.len() <= mtu);
            let part = Packet::parse(part).unwrap();
            let more = index + 1 < parts.len();
            assert_eq!(part.fragment, Some(Fragment { identification: 0x1234, offset: payload.len() as u16, more }));
            assert_eq!((part.source, part.destination, part.protocol), (whole.source, whole.destination, 17));
            assert_eq!((part.ttl, part.traffic_class, part.router_alert), (9, 0xb8, whole.router_alert));
            payload.extend(part.payload);
        }
        assert_eq!(payload, whole.payload);
    }

    #[test]
    fn the_parts_are_the_whole() {
        for (payload, router_alert, mtu, expected) in
            [(1480, false, 1499, 2), (1480, true, 1500, 2), (3000, false, 576, 6), (65_515, false, 1500, 45)]
        {
            let bytes = packet(payload, false, router_alert);
            let parts = cut(&bytes, mtu);
            assert_eq!(parts.len(), expected, "{payload} bytes at {mtu}");
            check(&bytes, &parts, mtu);
        }
    }

    #[test]
    fn parts_may_be_cut_again() {
        let bytes = packet(4000, false, false);
        let parts: Vec<_> = cut(&bytes, 1500).iter().flat_map(|part| cut(part, 300)).collect();
        check(&bytes, &parts, 300);
    }

    #[test]
    fn only_options_with_the_copy_flag_are_in_every_part() {
        // A record route of three bytes isn't copied, a router alert is.
        let mut bytes = packet(100, false, false);
        bytes.splice(20..20, [7, 3, 4, 0x94, 4, 0, 0, 0]);
        bytes[0] = 0x47;
        bytes[2..4].copy_from_slice(&128_u16.to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        let checksum = Checksum::new().with(&bytes[..28]).value();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        let parts = cut(&bytes, 92);
        assert_eq!(parts[0][20..28], bytes[20..28]);
        assert_eq!(parts[1][..1], [0x46]);
        assert_eq!(parts[1][20..24], [0x94, 4, 0, 0]);
        check(&bytes, &parts, 92);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        for payload in [0, 1, 1480] {
            let bytes = packet(payload, payload == 1, false);
            assert_eq!(cut(&bytes, 1500), [bytes]);
        }
    }

    #[test]
    fn what_mustnt_or_cannot_be_cut_is_refused() {
        let refused = |bytes: &[u8], mtu| fragments(&Packet::parse(bytes).unwrap(), mtu).err();
        assert_eq!(refused(&packet(1481, true, false), 1500), Some(Errno::EMSGSIZE));
        assert_eq!(refused(&packet(1481, false, false), 27), Some(Errno::EMSGSIZE));
        assert_eq!(refused(&packet(1481, false, false), 0), Some(Errno::EMSGSIZE));
        assert_eq!(refused(&packet(0, false, false), 19), Some(Errno::EMSGSIZE));
        let v6 = [&[0x60, 0, 0, 0, 0, 0, 59, 1][..], &[1; 32]].concat();
        assert_eq!(refused(&v6, 1500), Some(Errno::EAFNOSUPPORT));
    }
}
