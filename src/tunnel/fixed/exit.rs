//! The way out: what a packet from the network is checked for, and what it carries.

use std::net::SocketAddr;
use std::ops::Range;

use super::kind::{DATA_HEADER, Kind, Shape};
use super::order::Order;
use crate::sys::option::Family;
use crate::tunnel::ip::{self, Packet};
use crate::tunnel::malformed::Malformed;
use crate::tunnel::{ecn, gre};

/// Why a packet from the network is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It isn't from the other end.
    Stranger,
    /// What stands before the inner packet can't be: too short, a version or flags that there aren't.
    Malformed,
    /// What is inside is no IP, or no data.
    Protocol,
    /// The GRE key of another tunnel, or none where there must be one.
    Key,
    /// The GRE checksum is wrong, or missing where there must be one.
    Checksum,
    /// It came after a later one, or has no number where there must be one.
    Sequence,
    /// The inner packet can't be.
    Inner,
    /// It was marked on the way, and its sender would take it for unmarked (RFC 6040).
    Congestion,
    /// The inner packet has no time left to live.
    Ttl,
    /// Its source is link-local, and it goes further: see [`Packet::oversteps_link`].
    LinkLocal,
}

/// What the way out knows.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// What the tunnel is like.
    pub shape: Shape,
    /// The other end; its port is 0 where any will do.
    pub remote: SocketAddr,
    order: Order,
}

impl Exit {
    /// Nothing has come yet.
    pub fn new(shape: Shape, remote: SocketAddr) -> Exit {
        Exit { shape, remote, order: Order::default() }
    }

    /// What a raw or UDP socket has received: an IPv4 raw socket gives the outer header, too.
    /// `traffic_class` is what the kernel tells of it otherwise. Where the inner packet is; its congestion
    /// mark is set as the outer one says.
    pub fn unwrap(
        &mut self,
        bytes: &mut [u8],
        from: Option<SocketAddr>,
        traffic_class: Option<u8>,
    ) -> Result<Range<usize>, Reason> {
        if !from.is_some_and(|from| self.is_remote(from)) {
            return Err(Reason::Stranger);
        }
        let (mut inside, traffic_class) = self.outer(bytes, traffic_class)?;
        let family = self.header(bytes.get(inside.clone()).unwrap_or_default(), &mut inside.start)?;
        let inner = bytes.get_mut(inside.clone()).ok_or(Reason::Malformed)?;
        let packet = Packet::parse(inner).map_err(|_| Reason::Inner)?;
        if family.is_some_and(|family| (family == Family::V4) != packet.source.is_ipv4()) {
            return Err(Reason::Inner);
        }
        if packet.ttl == 0 {
            return Err(Reason::Ttl);
        }
        if packet.oversteps_link() {
            return Err(Reason::LinkLocal);
        }
        let (len, old) = (packet.bytes.len(), packet.traffic_class);
        let new = ecn::decapsulate(old, traffic_class).map_err(|_| Reason::Congestion)?;
        if new != old {
            ip::set_traffic_class(inner, new).map_err(|_| Reason::Inner)?;
        }
        Ok(inside.start..inside.start + len)
    }

    fn is_remote(&self, from: SocketAddr) -> bool {
        let same_link = match (from, self.remote) {
            (SocketAddr::V6(from), SocketAddr::V6(remote)) => {
                remote.scope_id() == 0 || from.scope_id() == remote.scope_id()
            }
            _ => true,
        };
        let same_port = self.remote.port() == 0 || from.port() == self.remote.port();
        from.ip() == self.remote.ip() && same_port && same_link
    }

    /// What lies behind the outer IP header, and the outer traffic class.
    fn outer(&self, bytes: &[u8], traffic_class: Option<u8>) -> Result<(Range<usize>, u8), Reason> {
        if self.shape.kind.is_udp() || self.shape.outer == Family::V6 {
            return Ok((0..bytes.len(), traffic_class.unwrap_or(ecn::NOT_ECT)));
        }
        let outer = Packet::parse(bytes).map_err(|_| Reason::Malformed)?;
        Ok((outer.header_len()..outer.bytes.len(), outer.traffic_class))
    }

    /// Steps over what stands before the inner packet, and says what family that has, if it does.
    fn header(&mut self, bytes: &[u8], start: &mut usize) -> Result<Option<Family>, Reason> {
        match self.shape.kind {
            Kind::IpIp => Ok(None),
            Kind::Udp => {
                *start += DATA_HEADER.len();
                data(bytes).map(|()| None)
            }
            Kind::Gre | Kind::GreUdp => {
                let (header, _) = gre::parse(bytes).map_err(|error| match error {
                    Malformed::BadChecksum => Reason::Checksum,
                    _ => Reason::Malformed,
                })?;
                *start += header.size();
                self.check(&header).map(Some)
            }
        }
    }

    /// A header that says more than this end asks for is fine; less isn't.
    fn check(&mut self, header: &gre::Header) -> Result<Family, Reason> {
        let family = match header.protocol {
            gre::IPV4 => Family::V4,
            gre::IPV6 => Family::V6,
            _ => return Err(Reason::Protocol),
        };
        if header.key != self.shape.key {
            return Err(Reason::Key);
        }
        if self.shape.checksum && !header.checksum {
            return Err(Reason::Checksum);
        }
        if self.shape.sequence && !header.sequence.is_some_and(|sequence| self.order.take(sequence)) {
            return Err(Reason::Sequence);
        }
        Ok(family)
    }
}

/// AMT's header before its data: the reserved byte is ignored.
fn data(bytes: &[u8]) -> Result<(), Reason> {
    let [version_and_type, _] = *bytes.first_chunk().ok_or(Reason::Malformed)?;
    let [data, _] = DATA_HEADER;
    match version_and_type {
        found if found == data => Ok(()),
        found if found >> 4 == data >> 4 => Err(Reason::Protocol),
        _ => Err(Reason::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::{v4, v6};

    const REMOTE: &str = "198.51.100.2:2268";
    const SHAPE: Shape = Shape { kind: Kind::Udp, outer: Family::V4, key: None, checksum: false, sequence: false };

    fn remote() -> SocketAddr {
        REMOTE.parse().unwrap()
    }

    fn inner(traffic_class: u8, ttl: u8) -> Vec<u8> {
        let header = v4::Header {
            source: [192, 0, 2, 1].into(),
            destination: [232, 1, 2, 3].into(),
            protocol: 17,
            ttl,
            traffic_class,
            identification: 1,
            dont_fragment: false,
            router_alert: false,
            payload_len: 4,
        };
        [&header.build().unwrap(), &[7; 4][..]].concat()
    }

    fn inner_v6() -> Vec<u8> {
        let header = v6::Header {
            source: "2001:db8::1".parse().unwrap(),
            destination: "ff3e::1234".parse().unwrap(),
            protocol: 17,
            hop_limit: 9,
            traffic_class: 0,
            flow_label: 0,
            router_alert: false,
            payload_len: 0,
        };
        header.build().unwrap().to_vec()
    }

    fn outer(traffic_class: u8, payload: &[u8]) -> Vec<u8> {
        let header = v4::Header {
            source: [198, 51, 100, 2].into(),
            destination: [198, 51, 100, 1].into(),
            protocol: 4,
            ttl: 60,
            traffic_class,
            identification: 1,
            dont_fragment: false,
            router_alert: true,
            payload_len: payload.len(),
        };
        [&header.build().unwrap(), payload].concat()
    }

    /// The inner packet that comes out.
    fn unwrap(exit: &mut Exit, bytes: &[u8], class: u8) -> Result<Vec<u8>, Reason> {
        let mut bytes = bytes.to_vec();
        exit.unwrap(&mut bytes, Some(remote()), Some(class)).map(|inside| bytes[inside].to_vec())
    }

    fn exit(shape: Shape) -> Exit {
        let port = if shape.kind == Kind::Udp { 2268 } else { 0 };
        Exit::new(shape, SocketAddr::new(remote().ip(), port))
    }

    #[test]
    fn a_packet_comes_out_without_what_lies_around_it() {
        let packet = inner(0xb8, 9);
        let data = [&[6, 0xff], &packet[..], &[1, 2, 3]].concat();
        assert_eq!(unwrap(&mut exit(SHAPE), &data, 0), Ok(packet.clone()));
        let ipip = Shape { kind: Kind::IpIp, ..SHAPE };
        assert_eq!(unwrap(&mut exit(ipip), &outer(0, &packet), 0), Ok(packet.clone()));
        assert_eq!(unwrap(&mut exit(ipip), &outer(0, &inner_v6()), 0), Ok(inner_v6()));
        let over_ipv6 = Shape { outer: Family::V6, ..ipip };
        assert_eq!(unwrap(&mut exit(over_ipv6), &packet, 0), Ok(packet.clone()));
        let gre = gre::Header { protocol: gre::IPV4, checksum: true, key: Some(5), sequence: Some(0) };
        let bytes = outer(0, &[&gre.build(&[&packet]), &packet[..]].concat());
        let shape = Shape { kind: Kind::Gre, key: Some(5), ..SHAPE };
        assert_eq!(unwrap(&mut exit(shape), &bytes, 0), Ok(packet));
    }

    #[test]
    fn strangers_are_told_by_address_and_where_it_counts_by_port() {
        let data = [&[6, 0], &inner(0, 9)[..]].concat();
        let from = |exit: &mut Exit, from: &str| exit.unwrap(&mut data.clone(), from.parse().ok(), None).err();
        assert_eq!(from(&mut exit(SHAPE), REMOTE), None);
        assert_eq!(from(&mut exit(SHAPE), "198.51.100.2:2269"), Some(Reason::Stranger));
        assert_eq!(from(&mut exit(SHAPE), "198.51.100.3:2268"), Some(Reason::Stranger));
        assert_eq!(from(&mut exit(SHAPE), "none"), Some(Reason::Stranger));
        let mut any_port = Exit::new(SHAPE, SocketAddr::new(remote().ip(), 0));
        assert_eq!(from(&mut any_port, "198.51.100.2:61000"), None);
        let mut on_link = Exit::new(SHAPE, "[fe80::1%3]:0".parse().unwrap());
        assert_eq!(from(&mut on_link, "[fe80::1%3]:5"), None);
        assert_eq!(from(&mut on_link, "[fe80::1%4]:5"), Some(Reason::Stranger));
    }

    #[test]
    fn marks_go_in_or_drop_as_rfc_6040_says() {
        let class = |inner_class, outer_class| {
            let data = [&[6, 0], &inner(inner_class, 9)[..]].concat();
            unwrap(&mut exit(SHAPE), &data, outer_class).map(|bytes| Packet::parse(&bytes).unwrap().traffic_class)
        };
        assert_eq!(class(0xba, 0x03), Ok(0xbb));
        assert_eq!(class(0xb8, 0x03), Err(Reason::Congestion));
        assert_eq!(class(0xba, 0xfe), Ok(0xba));
        let ipip = Shape { kind: Kind::IpIp, ..SHAPE };
        let bytes = unwrap(&mut exit(ipip), &outer(0x03, &inner(0x02, 9)), 0).unwrap();
        assert_eq!(Packet::parse(&bytes).unwrap().traffic_class, 3, "from the outer header itself");
    }

    #[test]
    fn a_gre_header_must_say_what_this_end_asks_for() {
        let shape = Shape { kind: Kind::GreUdp, key: Some(5), checksum: true, sequence: true, ..SHAPE };
        let good = gre::Header { protocol: gre::IPV4, checksum: true, key: Some(5), sequence: Some(8) };
        let packet = inner(0, 9);
        let with = |header: gre::Header| {
            let bytes = [&header.build(&[&packet]), &packet[..]].concat();
            unwrap(&mut exit(shape), &bytes, 0).err()
        };
        assert_eq!(with(good), None);
        assert_eq!(with(gre::Header { key: Some(6), ..good }), Some(Reason::Key));
        assert_eq!(with(gre::Header { key: None, ..good }), Some(Reason::Key));
        assert_eq!(with(gre::Header { checksum: false, ..good }), Some(Reason::Checksum));
        assert_eq!(with(gre::Header { sequence: None, ..good }), Some(Reason::Sequence));
        assert_eq!(with(gre::Header { protocol: 0x88be, ..good }), Some(Reason::Protocol));
        assert_eq!(with(gre::Header { protocol: gre::IPV6, ..good }), Some(Reason::Inner));
        let mut bytes = [&good.build(&[&packet]), &packet[..]].concat();
        bytes[30] ^= 1;
        assert_eq!(unwrap(&mut exit(shape), &bytes, 0), Err(Reason::Checksum));
        let mut exit = exit(shape);
        let numbered = |exit: &mut Exit, sequence| {
            let header = gre::Header { sequence: Some(sequence), ..good };
            unwrap(exit, &[&header.build(&[&packet]), &packet[..]].concat(), 0).err()
        };
        assert_eq!(numbered(&mut exit, 8), None);
        assert_eq!(numbered(&mut exit, 8), Some(Reason::Sequence));
        assert_eq!(numbered(&mut exit, 9), None);
    }

    #[test]
    fn what_cannot_be_is_dropped_with_its_reason() {
        let dropped = |bytes: &[u8]| unwrap(&mut exit(SHAPE), bytes, 0).err();
        assert_eq!(dropped(&[6, 0]), Some(Reason::Inner));
        assert_eq!(dropped(&[6]), Some(Reason::Malformed));
        assert_eq!(dropped(&[]), Some(Reason::Malformed));
        assert_eq!(dropped(&[0x16, 0, 0x45]), Some(Reason::Malformed));
        assert_eq!(dropped(&[1, 0, 0, 0]), Some(Reason::Protocol));
        assert_eq!(dropped(&[&[6, 0], &inner(0, 0)[..]].concat()), Some(Reason::Ttl));
        let mut from_link = [&[6, 0], &inner_v6()[..]].concat();
        from_link[10..12].copy_from_slice(&[0xfe, 0x80]);
        assert_eq!(dropped(&from_link), Some(Reason::LinkLocal));
        let whole = [&[6, 0], &inner(0, 9)[..]].concat();
        for len in 2..whole.len() {
            assert_eq!(dropped(&whole[..len]), Some(Reason::Inner), "{len}");
        }
        let mut ipip = exit(Shape { kind: Kind::IpIp, ..SHAPE });
        let whole = outer(0, &inner(0, 9));
        for len in 0..whole.len() {
            assert!(unwrap(&mut ipip, &whole[..len], 0).is_err(), "{len}");
        }
        let mut gre = exit(Shape { kind: Kind::GreUdp, ..SHAPE });
        for first in 0..=255 {
            for len in 0..20 {
                assert!(unwrap(&mut gre, &[first; 20][..len], 0).is_err());
            }
        }
    }
}
