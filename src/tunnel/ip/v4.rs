//! IPv4 (RFC 791): the view, the header, and the two edits of a tunnel.

use std::net::{IpAddr, Ipv4Addr};

use super::checksum::{self, Checksum};
use super::header::HeaderBytes;
use super::packet::{Fragment, Packet};
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from, put, u8_at, u16_at};
use crate::tunnel::malformed::Malformed;

/// The header without options.
pub const HEADER: usize = 20;
/// The longest header that [`Header`] builds: with the router alert.
pub const HEADER_MAX: usize = 24;

pub(super) const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
pub(super) const OFFSET: u16 = 0x1fff;

/// RFC 2113: the option's type and length, and 0 for "every router shall examine the packet".
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// What a header says; the checksum and the lengths follow from it.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// The byte of DSCP and ECN.
    pub traffic_class: u8,
    /// What fragments of this packet have in common; 0 will do with `dont_fragment` (RFC 6864).
    pub identification: u16,
    /// Whether routers drop it rather than fragment it.
    pub dont_fragment: bool,
    /// Whether each router shall look into it.
    pub router_alert: bool,
    /// Bytes behind the header.
    pub payload_len: usize,
}

impl Header {
    /// The bytes. `EMSGSIZE` if the payload is larger than any packet's.
    pub fn build(&self) -> Result<HeaderBytes<HEADER_MAX>> {
        let len = if self.router_alert { HEADER_MAX } else { HEADER };
        let total = len.checked_add(self.payload_len).and_then(|total| u16::try_from(total).ok());
        let total = total.ok_or(Errno::EMSGSIZE)?;
        let mut header = HeaderBytes::new();
        header.push(&[0x40 | (len / 4) as u8, self.traffic_class]);
        header.push(&total.to_be_bytes());
        header.push(&self.identification.to_be_bytes());
        header.push(&(if self.dont_fragment { DONT_FRAGMENT } else { 0 }).to_be_bytes());
        header.push(&[self.ttl, self.protocol, 0, 0]);
        header.push(&self.source.octets());
        header.push(&self.destination.octets());
        if self.router_alert {
            header.push(&ROUTER_ALERT);
        }
        header.set_u16(10, Checksum::new().with(&header).value());
        Ok(header)
    }
}

#[inline]
pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Packet<'_>, Malformed> {
    let fixed: [u8; HEADER] = array_at(bytes, 0)?;
    let header_len = usize::from(u8_at(&fixed, 0)? & 15) * 4;
    if header_len < HEADER {
        return Err(Malformed::BadHeaderLength);
    }
    let total = usize::from(u16_at(&fixed, 2)?);
    if total < header_len {
        return Err(Malformed::BadTotalLength);
    }
    let bytes = bytes.get(..total).ok_or(Malformed::Truncated)?;
    let (header, payload) = bytes.split_at_checked(header_len).ok_or(Malformed::Truncated)?;
    if !Checksum::new().with(header).is_good() {
        return Err(Malformed::BadChecksum);
    }
    let flags = u16_at(&fixed, 6)?;
    let fragment = Fragment {
        identification: u16_at(&fixed, 4)?.into(),
        offset: (flags & OFFSET) * 8,
        more: flags & MORE_FRAGMENTS != 0,
    }
    .check(payload)?;
    Ok(Packet {
        source: IpAddr::from(array_at::<4>(&fixed, 12)?),
        destination: IpAddr::from(array_at::<4>(&fixed, 16)?),
        ttl: u8_at(&fixed, 8)?,
        traffic_class: u8_at(&fixed, 1)?,
        protocol: u8_at(&fixed, 9)?,
        fragment: (fragment.more || fragment.offset > 0).then_some(fragment),
        dont_fragment: flags & DONT_FRAGMENT != 0,
        router_alert: options(from(header, HEADER)?).any(|option| option == ROUTER_ALERT),
        bytes,
        payload,
    })
}

/// The options of one byte or more, up to the end of the list or one whose length can't be.
pub(super) fn options(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    std::iter::from_fn(move || {
        let len = match *rest.first()? {
            END => return None,
            NO_OPERATION => 1,
            _ => match *rest.get(1)? {
                0 | 1 => return None,
                len => usize::from(len),
            },
        };
        let (option, behind) = rest.split_at_checked(len)?;
        rest = behind;
        Some(option)
    })
}

pub(super) fn decrement_ttl(packet: &mut [u8]) -> std::result::Result<u8, Malformed> {
    let ttl = u8_at(packet, 8)?;
    let left = ttl.saturating_sub(1);
    replace(packet, 8, [left, u8_at(packet, 9)?])?;
    Ok(left)
}

pub(super) fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> std::result::Result<(), Malformed> {
    replace(packet, 0, [u8_at(packet, 0)?, traffic_class])
}

/// Changes one word of the header and the checksum with it.
fn replace(packet: &mut [u8], at: usize, new: [u8; 2]) -> std::result::Result<(), Malformed> {
    let fixed: [u8; HEADER] = array_at(packet, 0)?;
    let checksum = checksum::update(u16_at(&fixed, 10)?, u16_at(&fixed, at)?, u16::from_be_bytes(new));
    put(packet, at, new)?;
    put(packet, 10, checksum.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::{decrement_ttl, set_traffic_class};

    const HEADER: Header = Header {
        source: Ipv4Addr::new(192, 0, 2, 1),
        destination: Ipv4Addr::new(232, 1, 2, 3),
        protocol: 17,
        ttl: 64,
        traffic_class: 0xb9,
        identification: 0x1234,
        dont_fragment: true,
        router_alert: false,
        payload_len: 3,
    };

    fn packet(header: Header) -> Vec<u8> {
        let mut bytes = header.build().unwrap().to_vec();
        bytes.resize(bytes.len() + header.payload_len, 7);
        bytes
    }

    #[test]
    fn a_header_is_laid_out_as_in_rfc_791() {
        // 45b9 0017 1234 4000 4011 c000 0201 e801 0203 add up to 2841a, folded 841c.
        let expected = [0x45, 0xb9, 0, 23, 0x12, 0x34, 0x40, 0, 64, 17, 0x7b, 0xe3, 192, 0, 2, 1, 232, 1, 2, 3];
        assert_eq!(*HEADER.build().unwrap(), expected);
    }

    #[test]
    fn the_router_alert_is_the_option_of_rfc_2113() {
        let header = Header { router_alert: true, ..HEADER }.build().unwrap();
        assert_eq!(header[0], 0x46);
        assert_eq!(header[20..], [0x94, 4, 0, 0]);
    }

    #[test]
    fn options_end_with_one_whose_length_cannot_be() {
        let count = |bytes: &[u8]| options(bytes).count();
        assert_eq!(count(&[1, 0x83, 3, 4, 1, 0x94, 4, 0, 0]), 4);
        assert_eq!(count(&[1, 0, 0x94, 4, 0, 0]), 1);
        for bad in [[0x83, 0, 1, 1], [0x83, 1, 1, 1], [0x83, 5, 1, 1]] {
            assert_eq!(count(&bad), 0, "{bad:?}");
        }
    }

    #[test]
    fn a_packet_is_viewed_without_the_padding_of_its_link() {
        let mut bytes = packet(HEADER);
        bytes.resize(60, 0);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.source, IpAddr::from(HEADER.source));
        assert_eq!(packet.destination, IpAddr::from(HEADER.destination));
        assert_eq!((packet.ttl, packet.traffic_class, packet.protocol), (64, 0xb9, 17));
        assert_eq!((packet.payload, packet.bytes.len(), packet.header_len()), (&[7; 3][..], 23, 20));
        assert_eq!((packet.fragment, packet.dont_fragment, packet.router_alert), (None, true, false));
    }

    #[test]
    fn options_are_passed_over_and_the_alert_is_seen_among_them() {
        for (options, alert) in [
            (&[1, 0x94, 4, 0, 0, 0, 0, 0][..], true),
            // A record route before it; its end before it; lengths of 0 and beyond the header.
            (&[7, 3, 4, 1, 0x94, 4, 0, 0], true),
            (&[0, 1, 1, 1, 0x94, 4, 0, 0], false),
            (&[7, 0, 0, 0], false),
            (&[7, 200, 0, 0], false),
            (&[1, 1, 1, 7], false),
        ] {
            let mut bytes = packet(Header { payload_len: options.len() + 3, ..HEADER });
            bytes[20..20 + options.len()].copy_from_slice(options);
            bytes[0] = 0x45 + (options.len() / 4) as u8;
            bytes[10..12].copy_from_slice(&[0, 0]);
            let checksum = Checksum::new().with(&bytes[..20 + options.len()]).value();
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.payload, packet.router_alert), (&[7; 3][..], alert), "{options:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = packet(HEADER);
            change(&mut bytes);
            Packet::parse(&bytes).unwrap_err()
        };
        assert_eq!(refused(&|bytes| bytes[0] = 0x55), Malformed::BadVersion);
        assert_eq!(refused(&|bytes| bytes[0] = 0x44), Malformed::BadHeaderLength);
        assert_eq!(refused(&|bytes| bytes[0] = 0x46), Malformed::BadTotalLength);
        assert_eq!(refused(&|bytes| bytes[3] = 19), Malformed::BadTotalLength);
        assert_eq!(refused(&|bytes| bytes[3] = 24), Malformed::Truncated);
        // From the last offset of all, 65,528, seven bytes are left.
        let fragment = |payload_len| {
            let mut bytes = packet(Header { payload_len, ..HEADER });
            replace(&mut bytes, 6, [0x1f, 0xff]).unwrap();
            Packet::parse(&bytes).map(|packet| packet.payload.len())
        };
        assert_eq!((fragment(7), fragment(8)), (Ok(7), Err(Malformed::BadTotalLength)));
        assert_eq!(refused(&|bytes| bytes[8] = 65), Malformed::BadChecksum);
        assert_eq!(refused(&|bytes| bytes.truncate(22)), Malformed::Truncated);
        assert_eq!(refused(&Vec::clear), Malformed::Truncated);
        assert_eq!(Header { payload_len: 65_516, ..HEADER }.build().err(), Some(Errno::EMSGSIZE));
        assert_eq!(Header { payload_len: usize::MAX, ..HEADER }.build().err(), Some(Errno::EMSGSIZE));
    }

    #[test]
    fn edits_keep_the_checksum_right() {
        for ttl in [255, 64, 2, 1] {
            let mut bytes = packet(Header { ttl, ..HEADER });
            assert_eq!(decrement_ttl(&mut bytes), Ok(ttl - 1));
            set_traffic_class(&mut bytes, 0x03).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.ttl, packet.traffic_class), (ttl - 1, 3));
        }
        let mut bytes = packet(Header { ttl: 0, ..HEADER });
        let before = bytes.clone();
        assert_eq!(decrement_ttl(&mut bytes), Ok(0));
        assert_eq!(bytes, before);
        assert_eq!(decrement_ttl(&mut bytes[..15]), Err(Malformed::Truncated));
        assert_eq!(set_traffic_class(&mut bytes[..15], 0), Err(Malformed::Truncated));
    }
}
