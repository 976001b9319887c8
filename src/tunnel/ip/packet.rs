//! One view of a packet of either family.

use std::net::IpAddr;

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
}
