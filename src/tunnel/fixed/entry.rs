//! The way in: what a packet is checked for, and the bytes that go before it.

use std::net::IpAddr;

use super::kind::{DATA_HEADER, Kind, Shape};
use crate::error::Errno;
use crate::sys::option::Family;
use crate::tunnel::ecn::{self, Mode};
use crate::tunnel::gre;
use crate::tunnel::ip::{HeaderBytes, Packet};

/// What every IPv6 link carries: a packet of this size is wrapped and cut rather than refused (RFC 2473,
/// section 7.1).
const IPV6_LEAST_MTU: usize = 1280;

/// What goes before a packet, at most.
pub type Header = HeaderBytes<{ gre::HEADER_MAX }>;

/// Why a packet isn't sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no packet, or one whose time to live is over (RFC 2003, section 3.1).
    Malformed,
    /// It comes from the tunnel's other end, or goes there: it would go in circles (RFC 2003, section 3.2).
    Loop,
    /// Its source is link-local, and it goes further: see [`Packet::oversteps_link`].
    LinkLocal,
    /// It is larger than the tunnel takes.
    TooBig,
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Errno {
        match refusal {
            Refusal::Malformed => Errno::EBADMSG,
            Refusal::Loop => Errno::ELOOP,
            Refusal::LinkLocal => Errno::EADDRNOTAVAIL,
            Refusal::TooBig => Errno::EMSGSIZE,
        }
    }
}

/// What the way in knows.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the tunnel is like.
    pub shape: Shape,
    /// The other end.
    pub remote: IpAddr,
    /// How the outer packet's congestion marks are set.
    pub ecn: Mode,
    /// The largest inner packet that goes in one piece.
    pub whole: usize,
    /// The largest that goes in pieces.
    pub in_pieces: usize,
}

/// A packet that may go, and how.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'a> {
    /// The packet, without what lies behind it.
    pub packet: &'a [u8],
    /// What goes before it.
    pub header: Header,
    /// Its family.
    pub family: Family,
    /// The outer traffic class.
    pub traffic_class: u8,
    /// Whether the outer packet may be fragmented.
    pub may_fragment: bool,
}

impl Entry {
    /// Checks a packet, and makes its header. `sequence` counts if the tunnel has numbers.
    #[inline]
    pub fn wrap<'a>(&self, bytes: &'a [u8], sequence: u32) -> Result<Wrapped<'a>, Refusal> {
        let packet = Packet::parse(bytes).map_err(|_| Refusal::Malformed)?;
        if packet.ttl == 0 {
            return Err(Refusal::Malformed);
        }
        if packet.source == self.remote || packet.destination == self.remote {
            return Err(Refusal::Loop);
        }
        if packet.oversteps_link() {
            return Err(Refusal::LinkLocal);
        }
        let (family, protocol) = match packet.source {
            IpAddr::V4(_) => (Family::V4, gre::IPV4),
            IpAddr::V6(_) => (Family::V6, gre::IPV6),
        };
        let len = packet.bytes.len();
        let may_be_cut = !packet.dont_fragment || (family == Family::V6 && len <= IPV6_LEAST_MTU);
        let may_fragment = self.in_pieces > self.whole && may_be_cut;
        if len > if may_fragment { self.in_pieces } else { self.whole } {
            return Err(Refusal::TooBig);
        }
        let header = self.header(protocol, sequence, packet.bytes);
        let traffic_class = ecn::encapsulate(packet.traffic_class, self.ecn);
        Ok(Wrapped { packet: packet.bytes, header, family, traffic_class, may_fragment })
    }

    fn header(&self, protocol: u16, sequence: u32, packet: &[u8]) -> Header {
        let Shape { kind, key, checksum, sequence: has_sequence, .. } = self.shape;
        match kind {
            Kind::IpIp => HeaderBytes::new(),
            Kind::Udp => data_header(),
            Kind::Gre | Kind::GreUdp => {
                let sequence = has_sequence.then_some(sequence);
                gre::Header { protocol, checksum, key, sequence }.build(&[packet])
            }
        }
    }
}

fn data_header() -> Header {
    let mut header = HeaderBytes::new();
    header.push(&DATA_HEADER);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::{self, v4, v6};

    const GRE: Shape = Shape { kind: Kind::Gre, outer: Family::V4, key: None, checksum: false, sequence: false };

    fn entry(shape: Shape) -> Entry {
        Entry { shape, remote: [198, 51, 100, 2].into(), ecn: Mode::Normal, whole: 1476, in_pieces: 1476 }
    }

    fn v4_packet(payload_len: usize, dont_fragment: bool) -> Vec<u8> {
        let header = v4::Header {
            source: [192, 0, 2, 1].into(),
            destination: [232, 1, 2, 3].into(),
            protocol: 17,
            ttl: 9,
            traffic_class: 0xba,
            identification: 1,
            dont_fragment,
            router_alert: false,
            payload_len,
        };
        [&header.build().unwrap(), &vec![7; payload_len][..]].concat()
    }

    fn v6_packet(payload_len: usize) -> Vec<u8> {
        let header = v6::Header {
            source: "2001:db8::1".parse().unwrap(),
            destination: "ff3e::1234".parse().unwrap(),
            protocol: 17,
            hop_limit: 9,
            traffic_class: 0x03,
            flow_label: 0,
            router_alert: false,
            payload_len,
        };
        [&header.build().unwrap(), &vec![7; payload_len][..]].concat()
    }

    #[test]
    fn each_kind_has_its_bytes_before_the_packet() {
        let (packet, other) = (v4_packet(3, false), v6_packet(3));
        let header = |shape, packet: &[u8]| entry(shape).wrap(packet, 7).unwrap().header.to_vec();
        assert!(header(Shape { kind: Kind::IpIp, ..GRE }, &packet).is_empty());
        assert_eq!(header(Shape { kind: Kind::Udp, ..GRE }, &packet), [6, 0]);
        assert_eq!(header(GRE, &packet), [0, 0, 8, 0]);
        assert_eq!(header(GRE, &other), [0, 0, 0x86, 0xdd]);
        let shape = Shape { kind: Kind::GreUdp, key: Some(5), sequence: true, ..GRE };
        assert_eq!(header(shape, &packet), [0x30, 0, 8, 0, 0, 0, 0, 5, 0, 0, 0, 7]);
        let checked = header(Shape { checksum: true, ..GRE }, &packet);
        assert!(gre::parse(&[&checked[..], &packet].concat()).unwrap().0.checksum);
    }

    #[test]
    fn the_outer_class_is_the_inner_one_or_hides_the_mark() {
        let class = |ecn, packet: &[u8]| Entry { ecn, ..entry(GRE) }.wrap(packet, 0).unwrap().traffic_class;
        assert_eq!(class(Mode::Normal, &v4_packet(0, false)), 0xba);
        assert_eq!(class(Mode::Compatibility, &v4_packet(0, false)), 0xb8);
        assert_eq!(class(Mode::Normal, &v6_packet(0)), 3);
    }

    #[test]
    fn too_big_is_refused_unless_it_may_be_cut() {
        let (whole, cut) = (entry(GRE), Entry { in_pieces: 65_511, ..entry(GRE) });
        let wrap = |entry: &Entry, packet: &[u8]| entry.wrap(packet, 0).map(|wrapped| wrapped.may_fragment);
        assert_eq!(wrap(&whole, &v4_packet(1456, false)), Ok(false));
        assert_eq!(wrap(&whole, &v4_packet(1457, false)), Err(Refusal::TooBig));
        assert_eq!(wrap(&cut, &v4_packet(1457, false)), Ok(true));
        assert_eq!(wrap(&cut, &v4_packet(1457, true)), Err(Refusal::TooBig));
        assert_eq!(wrap(&cut, &v4_packet(1456, true)), Ok(false));
        assert_eq!(wrap(&cut, &v4_packet(65_492, false)), Err(Refusal::TooBig));
        // RFC 2473, section 7.1.
        assert_eq!(wrap(&Entry { whole: 1200, ..cut }, &v6_packet(1240)), Ok(true));
        assert_eq!(wrap(&Entry { whole: 1200, ..cut }, &v6_packet(1241)), Err(Refusal::TooBig));
        assert_eq!(wrap(&cut, &v6_packet(1437)), Err(Refusal::TooBig));
    }

    #[test]
    fn what_is_no_packet_or_would_go_in_circles_is_refused() {
        let refused =
            |remote: &str, packet: &[u8]| Entry { remote: remote.parse().unwrap(), ..entry(GRE) }.wrap(packet, 0).err();
        let packet = v4_packet(3, false);
        assert_eq!(refused("192.0.2.1", &packet), Some(Refusal::Loop));
        assert_eq!(refused("232.1.2.3", &packet), Some(Refusal::Loop));
        assert_eq!(refused("2001:db8::1", &v6_packet(0)), Some(Refusal::Loop));
        for len in 0..packet.len() {
            assert_eq!(refused("10.0.0.1", &packet[..len]), Some(Refusal::Malformed), "{len}");
        }
        // A packet of either family with no time left.
        let (mut old, mut old_v6) = (packet.clone(), v6_packet(0));
        assert!((0..9).all(|_| ip::decrement_ttl(&mut old).is_ok() && ip::decrement_ttl(&mut old_v6).is_ok()));
        for packet in [&old, &old_v6] {
            assert_eq!(refused("10.0.0.1", packet), Some(Refusal::Malformed));
        }
        let behind = [&packet[..], &[1, 2, 3]].concat();
        assert_eq!(entry(GRE).wrap(&behind, 0).unwrap().packet, packet);
    }
}
