//! IP packets of both families: one view of them, their headers, and what a tunnel changes in them.

pub mod checksum;
pub mod fragment;
mod header;
mod packet;
pub mod udp;
pub mod v4;
pub mod v6;

use super::bytes;
use super::malformed::Malformed;
pub use header::HeaderBytes;
pub use packet::{Fragment, Packet};

/// Protocol numbers, the same in both families.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
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
