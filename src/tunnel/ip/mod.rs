//! IP packets of both families: one view of them, their headers, and what a tunnel changes in them.

pub mod checksum;
pub mod fragment;
pub mod udp;
pub mod v4;
pub mod v6;

use std::net::IpAddr;
use std::ops::Deref;

use super::bytes;
use super::malformed::Malformed;

/// Protocol numbers, the same in both families.
pub mod protocol {
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// An IPv4 packet (RFC 2003).
    pub const IPV4: u8 = 4;
    /// UDP.
    pub const UDP: u8 = 17;
    /// An IPv6 packet (RFC 2473).
    pub const IPV6: u8 = 41;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ICMPv6, and MLD in it.
    pub const ICMPV6: u8 = 58;
}

/// A packet as its headers tell, the payload where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// How many routers it may still pass: time to live or hop limit.
    pub ttl: u8,
    /// The byte of DSCP and ECN.
    pub traffic_class: u8,
    /// What the payload is, behind IPv6's extension headers; in a fragment what the first of the
    /// fragments begins with.
    pub protocol: u8,
    /// Which part of a packet this is; `None` for a whole one.
    pub fragment: Option<Fragment>,
    /// Whether routers may not fragment it: always so with IPv6.
    pub dont_fragment: bool,
    /// Whether it asks each router to look into it (RFC 2113, RFC 2711).
    pub router_alert: bool,
    /// The bytes of the packet without what a link may have padded.
    pub bytes: &'a [u8],
    /// The bytes behind all headers.
    pub payload: &'a [u8],
}

/// A part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the parts of one packet have in common.
    pub identification: u32,
    /// Where in the whole payload this one stands, in bytes.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
}

impl Fragment {
    /// Refuses one that would make its packet larger than any can be.
    fn check(self, payload: &[u8]) -> Result<Self, Malformed> {
        let fits = usize::from(self.offset) + payload.len() <= usize::from(u16::MAX);
        if fits { Ok(self) } else { Err(Malformed::BadTotalLength) }
    }
}

impl<'a> Packet<'a> {
    /// From the first byte of an IP header on; what lies behind the packet is left out.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match version(bytes)? {
            4 => v4::parse(bytes),
            6 => v6::parse(bytes),
            _ => Err(Malformed::BadVersion),
        }
    }

    /// The length of the headers: with IPv4 its options, with IPv6 the extension headers passed.
    pub fn header_len(&self) -> usize {
        self.bytes.len().saturating_sub(self.payload.len())
    }

    /// The payload if it is all of it, and of this protocol.
    pub fn whole_payload(&self, protocol: u8) -> Result<&'a [u8], Malformed> {
        match self.fragment {
            _ if self.protocol != protocol => Err(Malformed::OtherProtocol),
            Some(_) => Err(Malformed::Fragment),
            None => Ok(self.payload),
        }
    }
}

fn version(bytes: &[u8]) -> Result<u8, Malformed> {
    bytes::u8_at(bytes, 0).map(|first| first >> 4)
}

/// Takes 1 from the TTL or hop limit, in place, and gives what is left. A packet with 0 left may
/// not be forwarded; one that came with 0 stays as it is.
pub fn decrement_ttl(packet: &mut [u8]) -> Result<u8, Malformed> {
    match version(packet)? {
        4 => v4::decrement_ttl(packet),
        6 => v6::decrement_hop_limit(packet),
        _ => Err(Malformed::BadVersion),
    }
}

/// Writes the byte of DSCP and ECN, in place.
pub fn set_traffic_class(packet: &mut [u8], traffic_class: u8) -> Result<(), Malformed> {
    match version(packet)? {
        4 => v4::set_traffic_class(packet, traffic_class),
        6 => v6::set_traffic_class(packet, traffic_class),
        _ => Err(Malformed::BadVersion),
    }
}

/// A header's bytes, to put before the payload in a gather list.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> HeaderBytes<SIZE> {
    pub(super) fn new() -> Self {
        HeaderBytes { bytes: [0; SIZE], len: 0 }
    }

    /// Adds bytes, as far as there is room: each format's `SIZE` is its longest header.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    /// Writes over the first byte.
    pub(super) fn set_first(&mut self, value: u8) {
        if let Some(place) = self.bytes.first_mut() {
            *place = value;
        }
    }

    /// Writes a word over two bytes that were pushed.
    pub(super) fn set_u16(&mut self, at: usize, value: u16) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = value.to_be_bytes();
        }
    }
}

impl<const SIZE: usize> Deref for HeaderBytes<SIZE> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
