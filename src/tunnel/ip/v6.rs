//! IPv6 (RFC 8200): the view, the header, and the two edits of a tunnel.

use std::net::{IpAddr, Ipv6Addr};

use super::header::HeaderBytes;
use super::packet::{Fragment, Packet};
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from, put, u8_at, u16_at, u32_at};
use crate::tunnel::malformed::Malformed;

/// The header without extensions.
pub const HEADER: usize = 40;
/// The longest header that [`Header`] builds: with the router alert.
pub const HEADER_MAX: usize = 48;

/// The extension headers that RFC 8200 (section 4.1) lets one packet have are at most seven.
const EXTENSIONS_MAX: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// RFC 2711: the option's type and length, and 0 for "contains a Multicast Listener Discovery
/// message".
const ROUTER_ALERT: [u8; 4] = [5, 2, 0, 0];
/// Two bytes of nothing, which fill the extension header up to eight (RFC 8200, section 4.2).
const PADDING: [u8; 2] = [1, 0];

/// What a header says; the lengths follow from it.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Where it comes from.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
    /// What the payload is.
    pub protocol: u8,
    /// How many routers it may pass.
    pub hop_limit: u8,
    /// The byte of DSCP and ECN.
    pub traffic_class: u8,
    /// What packets of one flow have in common, 20 bits; 0 if nothing.
    pub flow_label: u32,
    /// Whether each router shall look into it, as MLD wants: a hop-by-hop header follows.
    pub router_alert: bool,
    /// Bytes behind all headers.
    pub payload_len: usize,
}

impl Header {
    /// The bytes. `EMSGSIZE` if the payload is larger than any packet's.
    pub fn build(&self) -> Result<HeaderBytes<HEADER_MAX>> {
        let extension = if self.router_alert { HEADER_MAX - HEADER } else { 0 };
        let behind = extension.checked_add(self.payload_len).and_then(|behind| u16::try_from(behind).ok());
        let behind = behind.ok_or(Errno::EMSGSIZE)?;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        let mut header = HeaderBytes::new();
        header.push(&first.to_be_bytes());
        header.push(&behind.to_be_bytes());
        header.push(&[if self.router_alert { HOP_BY_HOP } else { self.protocol }, self.hop_limit]);
        header.push(&self.source.octets());
        header.push(&self.destination.octets());
        if self.router_alert {
            header.push(&[self.protocol, 0]);
            header.push(&ROUTER_ALERT);
            header.push(&PADDING);
        }
        Ok(header)
    }
}

pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Packet<'_>, Malformed> {
    let fixed: [u8; HEADER] = array_at(bytes, 0)?;
    let total = HEADER + usize::from(u16_at(&fixed, 4)?);
    let bytes = bytes.get(..total).ok_or(Malformed::Truncated)?;
    let extensions = Extensions::walk(bytes, u8_at(&fixed, 6)?)?;
    Ok(Packet {
        source: IpAddr::from(array_at::<16>(&fixed, 8)?),
        destination: IpAddr::from(array_at::<16>(&fixed, 24)?),
        ttl: u8_at(&fixed, 7)?,
        traffic_class: (u16_at(&fixed, 0)? >> 4) as u8,
        protocol: extensions.next,
        fragment: extensions.fragment,
        dont_fragment: true,
        router_alert: extensions.router_alert,
        bytes,
        payload: from(bytes, extensions.end)?,
    })
}

/// What the extension headers say.
struct Extensions {
    /// The header behind the last one.
    next: u8,
    end: usize,
    fragment: Option<Fragment>,
    router_alert: bool,
}

impl Extensions {
    fn walk(bytes: &[u8], next: u8) -> std::result::Result<Self, Malformed> {
        let mut walk = Extensions { next, end: HEADER, fragment: None, router_alert: false };
        for _ in 0..=EXTENSIONS_MAX {
            let at = walk.end;
            match walk.next {
                HOP_BY_HOP if at != HEADER => return Err(Malformed::MisplacedExtension),
                this @ (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) => {
                    walk.next = u8_at(bytes, at)?;
                    walk.end = at + (usize::from(u8_at(bytes, at + 1)?) + 1) * 8;
                    let body = bytes.get(at + 2..walk.end).ok_or(Malformed::Truncated)?;
                    walk.router_alert |= this == HOP_BY_HOP && has_router_alert(body);
                }
                FRAGMENT => {
                    let place = u16_at(bytes, at + 2)?;
                    let (offset, more) = (place & !7, place & 1 != 0);
                    let identification = u32_at(bytes, at + 4)?;
                    walk.next = u8_at(bytes, at)?;
                    walk.end = at + 8;
                    // One that is the whole packet is taken as such (RFC 6946).
                    if more || offset > 0 {
                        let payload = from(bytes, walk.end)?;
                        walk.fragment = Some(Fragment { identification, offset, more }.check(payload)?);
                        return Ok(walk);
                    }
                }
                _ => return Ok(walk),
            }
        }
        Err(Malformed::TooManyExtensions)
    }
}

/// Whether it is among a hop-by-hop header's options.
fn has_router_alert(mut rest: &[u8]) -> bool {
    const PAD_ONE: u8 = 0;
    while let Some(kind) = rest.first() {
        if rest.starts_with(&ROUTER_ALERT) {
            return true;
        }
        let len = match (kind, rest.get(1)) {
            (&PAD_ONE, _) => 1,
            (_, len) => 2 + usize::from(len.copied().unwrap_or(0)),
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    false
}

pub(super) fn decrement_hop_limit(packet: &mut [u8]) -> std::result::Result<u8, Malformed> {
    let fixed: [u8; HEADER] = array_at(packet, 0)?;
    let left = u8_at(&fixed, 7)?.saturating_sub(1);
    put(packet, 7, [left])?;
    Ok(left)
}

pub(super) fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> std::result::Result<(), Malformed> {
    let fixed: [u8; HEADER] = array_at(packet, 0)?;
    let first = u16_at(&fixed, 0)? & 0xf00f | u16::from(traffic_class) << 4;
    put(packet, 0, first.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::{decrement_ttl, set_traffic_class};

    const HEADER: Header = Header {
        source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        destination: Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0, 0x1234),
        protocol: 17,
        hop_limit: 64,
        traffic_class: 0xb9,
        flow_label: 0x54321,
        router_alert: false,
        payload_len: 3,
    };

    /// A packet with these extension headers before three bytes of payload.
    fn packet(first: u8, extensions: &[u8]) -> Vec<u8> {
        let header = Header { protocol: first, payload_len: extensions.len() + 3, ..HEADER };
        [&header.build().unwrap(), extensions, &[7; 3]].concat()
    }

    #[test]
    fn a_header_is_laid_out_as_in_rfc_8200() {
        let mut expected = vec![0x6b, 0x95, 0x43, 0x21, 0, 3, 17, 64];
        expected.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend([0xff, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34]);
        assert_eq!(*HEADER.build().unwrap(), expected);
    }

    #[test]
    fn the_router_alert_is_the_option_of_rfc_2711() {
        let header = Header { router_alert: true, protocol: 58, ..HEADER }.build().unwrap();
        assert_eq!(header[4..8], [0, 11, 0, 64]);
        assert_eq!(header[40..], [58, 0, 5, 2, 0, 0, 1, 0]);
        let bytes = [&header, &[7; 3][..]].concat();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.protocol, packet.payload, packet.router_alert), (58, &[7; 3][..], true));
    }

    #[test]
    fn a_packet_is_viewed_without_what_lies_behind_it() {
        let mut bytes = packet(17, &[]);
        bytes.push(9);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.source, IpAddr::from(HEADER.source));
        assert_eq!(packet.destination, IpAddr::from(HEADER.destination));
        assert_eq!((packet.ttl, packet.traffic_class, packet.protocol), (64, 0xb9, 17));
        assert_eq!((packet.payload, packet.bytes.len(), packet.header_len()), (&[7; 3][..], 43, 40));
        assert_eq!((packet.fragment, packet.dont_fragment, packet.router_alert), (None, true, false));
    }

    #[test]
    fn extension_headers_are_passed_over() {
        // Hop-by-hop (padding, then the alert), routing, destination options of 16 bytes, UDP.
        let hop_by_hop = [43, 0, 0, 0, 5, 2, 0, 0];
        let routing = [60, 0, 4, 0, 0, 0, 0, 0];
        let options = [17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let bytes = packet(0, &[&hop_by_hop[..], &routing, &options].concat());
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.protocol, packet.payload, packet.router_alert), (17, &[7; 3][..], true));
        assert_eq!(packet.header_len(), 72);
    }

    #[test]
    fn the_router_alert_counts_in_a_hop_by_hop_header_only() {
        for (first, alert) in [(0, true), (60, false)] {
            let bytes = packet(first, &[17, 0, 5, 2, 0, 0, 1, 0]);
            assert_eq!(Packet::parse(&bytes).unwrap().router_alert, alert);
        }
    }

    #[test]
    fn a_fragment_says_where_it_stands() {
        for (place, fragment) in [
            ([0, 1], Some((0, true))),
            ([5, 0xa9], Some((1448, true))),
            ([5, 0xa8], Some((1448, false))),
            ([0, 0], None),
        ] {
            let bytes = packet(44, &[17, 0, place[0], place[1], 1, 2, 3, 4]);
            let packet = Packet::parse(&bytes).unwrap();
            let expected = fragment.map(|(offset, more)| Fragment { identification: 0x0102_0304, offset, more });
            assert_eq!((packet.fragment, packet.protocol, packet.payload), (expected, 17, &[7; 3][..]));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let refused = |first, extensions: &[u8]| Packet::parse(&packet(first, extensions)).unwrap_err();
        assert_eq!(refused(60, &[0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]), Malformed::MisplacedExtension);
        assert_eq!(refused(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(9)), Malformed::TooManyExtensions);
        assert_eq!(refused(0, &[]), Malformed::Truncated);
        assert_eq!(refused(43, &[17, 1, 0, 0, 0, 0, 0, 0]), Malformed::Truncated);
        assert_eq!(refused(44, &[17]), Malformed::Truncated);
        let beyond = [44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0xff, 0xf8, 0, 0, 0, 0, 1, 2, 3, 4, 5];
        assert_eq!(refused(60, &beyond), Malformed::BadTotalLength);
        assert!(Packet::parse(&packet(60, &beyond[..20])).is_ok());
        let bytes = packet(17, &[]);
        assert_eq!(Packet::parse(&bytes[..42]), Err(Malformed::Truncated));
        // A jumbogram's length of 0 (RFC 2675) leaves no room for its option.
        let mut jumbogram = packet(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
        jumbogram[4..6].copy_from_slice(&[0, 0]);
        assert_eq!(Packet::parse(&jumbogram), Err(Malformed::Truncated));
        assert_eq!(Header { payload_len: 65_536, ..HEADER }.build().err(), Some(Errno::EMSGSIZE));
        assert_eq!(Header { payload_len: usize::MAX, ..HEADER }.build().err(), Some(Errno::EMSGSIZE));
    }

    #[test]
    fn edits_change_their_field_alone() {
        let mut bytes = packet(17, &[]);
        assert_eq!(decrement_ttl(&mut bytes), Ok(63));
        set_traffic_class(&mut bytes, 0x46).unwrap();
        assert_eq!(bytes[..8], [0x64, 0x65, 0x43, 0x21, 0, 3, 17, 63]);
        bytes[7] = 0;
        assert_eq!(decrement_ttl(&mut bytes), Ok(0));
        assert_eq!(decrement_ttl(&mut bytes[..39]), Err(Malformed::Truncated));
    }
}
