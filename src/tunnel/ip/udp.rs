//! UDP (RFC 768): the view and the header.

use std::net::SocketAddr;

use super::checksum::Checksum;
use super::{HeaderBytes, Packet, protocol};
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from, u16_at};
use crate::tunnel::malformed::Malformed;

/// The header's length.
pub const HEADER: usize = 8;

/// What a datagram without a checksum over IPv6 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroChecksum {
    /// Malformed (RFC 8200, section 8.1).
    Refused,
    /// Fine: the sender is known to leave it out, as tunnels may (RFC 6935).
    Accepted,
}

/// A datagram, the payload where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender.
    pub source: SocketAddr,
    /// Where it goes: a group and a port, mostly.
    pub destination: SocketAddr,
    /// The bytes behind the header.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// The datagram in a packet. One without a checksum passes over IPv4, over IPv6 if asked.
    pub fn parse(packet: &Packet<'a>, zero: ZeroChecksum) -> std::result::Result<Self, Malformed> {
        let bytes = packet.whole_payload(protocol::UDP)?;
        let fixed: [u8; HEADER] = array_at(bytes, 0)?;
        let len = usize::from(u16_at(&fixed, 4)?);
        if len < HEADER {
            return Err(Malformed::BadTotalLength);
        }
        let bytes = bytes.get(..len).ok_or(Malformed::Truncated)?;
        let pseudo = || Checksum::pseudo(packet.source, packet.destination, protocol::UDP, len);
        match u16_at(&fixed, 6)? {
            0 if packet.source.is_ipv6() && zero == ZeroChecksum::Refused => return Err(Malformed::NoChecksum),
            0 => {}
            _ if pseudo().with(bytes).is_good() => {}
            _ => return Err(Malformed::BadChecksum),
        }
        Ok(Datagram {
            source: SocketAddr::new(packet.source, u16_at(&fixed, 0)?),
            destination: SocketAddr::new(packet.destination, u16_at(&fixed, 2)?),
            payload: from(bytes, HEADER)?,
        })
    }
}

/// The header before this payload, with its checksum. `EMSGSIZE` if the payload is larger than
/// any datagram's.
pub fn header(source: SocketAddr, destination: SocketAddr, payload: &[&[u8]]) -> Result<HeaderBytes<HEADER>> {
    let payload_len = payload.iter().map(|piece| piece.len()).sum();
    let mut header = header_without_checksum(source.port(), destination.port(), payload_len)?;
    let pseudo = Checksum::pseudo(source.ip(), destination.ip(), protocol::UDP, HEADER + payload_len);
    // One that comes out as 0 is sent as its other form: 0 says that there is none.
    let checksum = match pseudo.with(&header).with_pieces(payload).value() {
        0 => 0xffff,
        checksum => checksum,
    };
    header.set_u16(6, checksum);
    Ok(header)
}

/// The header before a payload of this length, without a checksum: over IPv4, or where the
/// receiver is known to take it (RFC 6935). `EMSGSIZE` as above.
pub fn header_without_checksum(source: u16, destination: u16, payload_len: usize) -> Result<HeaderBytes<HEADER>> {
    let len = HEADER.checked_add(payload_len).and_then(|len| u16::try_from(len).ok()).ok_or(Errno::EMSGSIZE)?;
    let mut header = HeaderBytes::new();
    header.push(&source.to_be_bytes());
    header.push(&destination.to_be_bytes());
    header.push(&len.to_be_bytes());
    header.push(&[0, 0]);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::{v4, v6};

    fn v4_packet(udp: &[u8]) -> Vec<u8> {
        let header = v4::Header {
            source: [192, 0, 2, 1].into(),
            destination: [232, 1, 2, 3].into(),
            protocol: protocol::UDP,
            ttl: 1,
            traffic_class: 0,
            identification: 0,
            dont_fragment: false,
            router_alert: false,
            payload_len: udp.len(),
        };
        [&header.build().unwrap(), udp].concat()
    }

    fn v6_packet(udp: &[u8]) -> Vec<u8> {
        let header = v6::Header {
            source: "2001:db8::1".parse().unwrap(),
            destination: "ff3e::1234".parse().unwrap(),
            protocol: protocol::UDP,
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
            router_alert: false,
            payload_len: udp.len(),
        };
        [&header.build().unwrap(), udp].concat()
    }

    fn parse(packet: &[u8]) -> std::result::Result<Datagram<'_>, Malformed> {
        Datagram::parse(&Packet::parse(packet).unwrap(), ZeroChecksum::Refused)
    }

    fn ends(v6: bool) -> (SocketAddr, SocketAddr) {
        let (source, group) =
            if v6 { ("[2001:db8::1]:5000", "[ff3e::1234]:6000") } else { ("192.0.2.1:5000", "232.1.2.3:6000") };
        (source.parse().unwrap(), group.parse().unwrap())
    }

    #[test]
    fn a_header_is_laid_out_as_in_rfc_768() {
        let (source, group) = ends(false);
        // c000 0201 e801 0203 0011 000b; 1388 1770 000b 6162 6300 add up to 29b86, folded 9b88.
        let header = header(source, group, &[b"a", b"bc"]).unwrap();
        assert_eq!(header[..6], [0x13, 0x88, 0x17, 0x70, 0, 11]);
        assert_eq!(header[6..], 0x6477_u16.to_be_bytes());
    }

    #[test]
    fn a_datagram_comes_back_whole_over_both_families() {
        for (v6, wrap) in [(false, v4_packet as fn(&[u8]) -> Vec<u8>), (true, v6_packet)] {
            let (source, destination) = ends(v6);
            let udp = [&header(source, destination, &[b"abc", b"de"]).unwrap(), &b"abcde"[..]].concat();
            let packet = wrap(&udp);
            assert_eq!(parse(&packet), Ok(Datagram { source, destination, payload: b"abcde" }));
            let padded = wrap(&[&udp[..], &[9; 4]].concat());
            assert_eq!(parse(&padded).unwrap().payload, b"abcde");
            for index in 0..udp.len() {
                let mut changed = udp.clone();
                changed[index] ^= 1;
                assert!(parse(&wrap(&changed)).is_err(), "byte {index}");
            }
        }
    }

    #[test]
    fn no_checksum_is_taken_over_ipv4_and_over_ipv6_if_asked() {
        let udp = [&header_without_checksum(5000, 6000, 3).unwrap(), &b"abc"[..]].concat();
        assert_eq!(parse(&v4_packet(&udp)).unwrap().payload, b"abc");
        let packet = v6_packet(&udp);
        assert_eq!(parse(&packet), Err(Malformed::NoChecksum));
        let packet = Packet::parse(&packet).unwrap();
        assert_eq!(Datagram::parse(&packet, ZeroChecksum::Accepted).unwrap().payload, b"abc");
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let (source, group) = ends(false);
        let zero = header(source, group, &[&[0, 0]]).unwrap();
        // A payload that adds what was missing.
        let rest = u16::from_be_bytes([zero[6], zero[7]]).to_be_bytes();
        let header = header(source, group, &[&rest]).unwrap();
        assert_eq!(header[6..], [0xff, 0xff]);
        assert!(parse(&v4_packet(&[&header, &rest[..]].concat())).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let (source, group) = ends(false);
        let udp = [&header(source, group, &[b"abc"]).unwrap(), &b"abc"[..]].concat();
        assert_eq!(parse(&v4_packet(&udp[..7])), Err(Malformed::Truncated));
        assert_eq!(parse(&v4_packet(&udp[..10])), Err(Malformed::Truncated));
        let mut short = udp.clone();
        short[5] = 7;
        assert_eq!(parse(&v4_packet(&short)), Err(Malformed::BadTotalLength));
        // A first fragment: its length would do, and what it carries isn't all.
        let mut fragment = v4_packet(&udp);
        fragment[6] = 0x20;
        fragment[10..12].copy_from_slice(&[0, 0]);
        let checksum = Checksum::new().with(&fragment[..20]).value();
        fragment[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(parse(&fragment), Err(Malformed::Fragment));
        let mut other = v4_packet(&udp);
        other[9] = 6;
        other[10..12].copy_from_slice(&[0, 0]);
        let checksum = Checksum::new().with(&other[..20]).value();
        other[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(parse(&other), Err(Malformed::OtherProtocol));
        assert_eq!(header_without_checksum(1, 2, 65_528).err(), Some(Errno::EMSGSIZE));
        assert_eq!(header_without_checksum(1, 2, usize::MAX).err(), Some(Errno::EMSGSIZE));
    }
}
