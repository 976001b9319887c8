//! One view of a packet of either family.

use std::net::{IpAddr, Ipv4Addr};

use super::protocol;
use crate::tunnel::malformed::Malformed;

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
    pub(super) fn check(self, payload: &[u8]) -> Result<Self, Malformed> {
        let fits = usize::from(self.offset) + payload.len() <= usize::from(u16::MAX);
        if fits { Ok(self) } else { Err(Malformed::BadTotalLength) }
    }
}

impl<'a> Packet<'a> {
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

    /// Whether its source is link-local: no router forwards it (RFC 4291, section 2.5.6; RFC 3927,
    /// section 2.7).
    #[inline]
    pub fn is_from_link_local(&self) -> bool {
        match self.source {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
    }

    /// Whether it is IGMP, or MLD, whatever group it goes to: with version 1 of either that is the group
    /// that it is about.
    pub fn is_group_management(&self) -> bool {
        self.protocol == protocol::IGMP || (self.protocol == protocol::ICMPV6 && self.router_alert)
    }

    /// Whether it goes beyond its link though its source is link-local. What is between neighbours isn't
    /// meant: a tunnel is a link.
    #[inline]
    pub fn oversteps_link(&self) -> bool {
        self.is_from_link_local() && !self.is_to_link() && !self.is_group_management()
    }

    /// Whether it goes to an address that is valid on its link only.
    fn is_to_link(&self) -> bool {
        match self.destination {
            IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::BROADCAST || matches!(v4.octets(), [224, 0, 0, _]),
            IpAddr::V6(v6) => {
                let [first, second, ..] = v6.octets();
                v6.is_unicast_link_local() || (first == 0xff && second & 15 <= 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_sources_overstep_their_link_with_what_goes_on() {
        let packet = |source: &str, destination: &str, protocol| Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ttl: 9,
            traffic_class: 0,
            protocol,
            fragment: None,
            dont_fragment: false,
            router_alert: true,
            bytes: &[],
            payload: &[],
        };
        for (source, destination, protocol, expected) in [
            ("169.254.7.7", "239.1.2.3", 17, true),
            ("169.254.7.7", "10.1.2.3", 17, true),
            ("169.254.7.7", "224.0.0.5", 89, false),
            ("169.254.7.7", "169.254.0.1", 17, false),
            ("169.254.7.7", "239.1.2.3", protocol::IGMP, false),
            ("169.253.7.7", "239.1.2.3", 17, false),
            ("fe80::7", "ff15::7", 17, true),
            ("febf::7", "2001:db8::7", 17, true),
            ("fe80::7", "ff02::5", 89, false),
            ("fe80::7", "fe80::8", 17, false),
            ("fe80::7", "ff15::7", protocol::ICMPV6, false),
            ("fec0::7", "ff15::7", 17, false),
        ] {
            assert_eq!(packet(source, destination, protocol).oversteps_link(), expected, "{source} {destination}");
        }
    }
}
