//! The kinds of tunnel: what stands between the outer and the inner packet, and what that costs.

use crate::sys::option::Family;
use crate::tunnel::gre;
use crate::tunnel::ip::{protocol, udp, v4, v6};

/// What of AMT's Multicast Data stands before the packet: version 0 and type 6, and a reserved byte
/// (RFC 7450, section 5.1.6).
pub const DATA_HEADER: [u8; 2] = [6, 0];

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In IP (RFC 2003, RFC 2473).
    IpIp,
    /// In GRE (RFC 2784, RFC 2890).
    Gre,
    /// In GRE in UDP (RFC 8086).
    GreUdp,
    /// In UDP, with the two bytes that AMT has before its data.
    Udp,
}

impl Kind {
    /// Whether it needs no privilege.
    pub fn is_udp(self) -> bool {
        matches!(self, Kind::GreUdp | Kind::Udp)
    }

    /// Whether there is a GRE header, and its options mean something.
    pub fn is_gre(self) -> bool {
        matches!(self, Kind::Gre | Kind::GreUdp)
    }

    /// The port of a kind over UDP where none is named.
    pub fn port(self) -> u16 {
        match self {
            Kind::IpIp | Kind::Gre => 0,
            Kind::GreUdp => 4754,
            Kind::Udp => 2268,
        }
    }

    /// The protocols of the outer header, one for each socket.
    pub fn protocols(self) -> &'static [u8] {
        match self {
            Kind::IpIp => &[protocol::IPV4, protocol::IPV6],
            Kind::Gre => &[protocol::GRE],
            Kind::GreUdp | Kind::Udp => &[protocol::UDP],
        }
    }

    /// Which of the sockets carries packets of this family.
    pub fn socket_of(self, inner: Family) -> usize {
        usize::from(self == Kind::IpIp && inner == Family::V6)
    }
}

/// What a tunnel is like on both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How packets travel.
    pub kind: Kind,
    /// The outer header's family.
    pub outer: Family,
    /// Which of several GRE tunnels between the same ends.
    pub key: Option<u32>,
    /// A GRE checksum on each packet.
    pub checksum: bool,
    /// A GRE sequence number on each packet.
    pub sequence: bool,
}

impl Shape {
    /// The bytes before the inner packet, behind the outer IP header and UDP's.
    pub fn header_len(&self) -> usize {
        match self.kind {
            Kind::IpIp => 0,
            Kind::Udp => DATA_HEADER.len(),
            Kind::Gre | Kind::GreUdp => {
                let sequence = self.sequence.then_some(0);
                gre::Header { protocol: 0, checksum: self.checksum, key: self.key, sequence }.size()
            }
        }
    }

    /// All bytes before the inner packet.
    pub fn overhead(&self) -> usize {
        let outer = match self.outer {
            Family::V4 => v4::HEADER,
            Family::V6 => v6::HEADER,
        };
        outer + if self.kind.is_udp() { udp::HEADER } else { 0 } + self.header_len()
    }

    /// The largest inner packet that no outer packet can be too small for. An IPv4 packet's length counts
    /// its header, an IPv6 packet's doesn't.
    pub fn largest(&self) -> usize {
        let outer = match self.outer {
            Family::V4 => 0,
            Family::V6 => v6::HEADER,
        };
        usize::from(u16::MAX) + outer - self.overhead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overheads_are_those_of_the_rfcs() {
        let shape = |kind, outer| Shape { kind, outer, key: None, checksum: false, sequence: false };
        assert_eq!(shape(Kind::IpIp, Family::V4).overhead(), 20);
        assert_eq!(shape(Kind::IpIp, Family::V6).overhead(), 40);
        assert_eq!(shape(Kind::Gre, Family::V4).overhead(), 24);
        assert_eq!(Shape { key: Some(1), ..shape(Kind::Gre, Family::V4) }.overhead(), 28);
        let all = Shape { key: Some(1), checksum: true, sequence: true, ..shape(Kind::Gre, Family::V4) };
        assert_eq!(all.overhead(), 36);
        assert_eq!(shape(Kind::GreUdp, Family::V4).overhead(), 32);
        // AMT's data: 30 over IPv4, 50 over IPv6.
        assert_eq!(shape(Kind::Udp, Family::V4).overhead(), 30);
        assert_eq!(shape(Kind::Udp, Family::V6).overhead(), 50);
        assert_eq!(shape(Kind::Udp, Family::V4).largest(), 65_505);
        assert_eq!(shape(Kind::IpIp, Family::V6).largest(), 65_535);
    }
}
