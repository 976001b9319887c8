//! Which packets a bridge forwards: groups by scope, and by the TTL that they have left.

use std::net::IpAddr;

use crate::tunnel::ip::Packet;

/// Why a packet isn't forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It goes to no group.
    NotMulticast,
    /// Its group doesn't reach so far.
    Scope,
    /// Its source is link-local: see [`Packet::is_from_link_local`].
    LinkLocal,
    /// It has no router left to pass, or less than the threshold.
    Ttl,
}

/// What a bridge lets through.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The least scope that passes, in IPv6's numbers: 3 or more.
    pub least_scope: u8,
    /// The least TTL, as it arrives, that passes: 2 or more.
    pub least_ttl: u8,
}

impl Policy {
    /// Whether a packet goes on.
    pub fn admit(&self, packet: &Packet<'_>) -> Result<(), Stop> {
        if !packet.destination.is_multicast() {
            return Err(Stop::NotMulticast);
        }
        if scope_of(packet.destination) < self.least_scope {
            return Err(Stop::Scope);
        }
        if packet.is_from_link_local() {
            return Err(Stop::LinkLocal);
        }
        if packet.ttl < self.least_ttl {
            return Err(Stop::Ttl);
        }
        Ok(())
    }
}

/// How far a group reaches, in IPv6's numbers (RFC 4291, section 2.7). RFC 2365, section 8, has them for
/// IPv4: 239.255/16 is local, the rest of 239/8 is the organization's or for it to grow into.
pub fn scope_of(group: IpAddr) -> u8 {
    match group {
        IpAddr::V6(v6) => v6.octets().get(1).map_or(0, |second| second & 15),
        IpAddr::V4(v4) => match v4.octets() {
            [224, 0, 0, _] => 2,
            [239, 255, ..] => 3,
            [239, ..] => 8,
            _ => 14,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::v4;

    #[test]
    fn scopes_of_both_families_are_told_in_one_way() {
        for (group, scope) in [
            ("224.0.0.22", 2),
            ("224.0.1.1", 14),
            ("232.1.2.3", 14),
            ("239.1.2.3", 8),
            ("239.192.0.1", 8),
            ("239.255.1.1", 3),
            ("ff01::1", 1),
            ("ff02::1", 2),
            ("ff15::1", 5),
            ("ff3e::1", 14),
        ] {
            assert_eq!(scope_of(group.parse().unwrap()), scope, "{group}");
        }
    }

    #[test]
    fn a_packet_passes_with_scope_and_ttl_enough() {
        let admit = |least_scope, least_ttl, destination: [u8; 4], ttl| {
            let header = v4::Header {
                source: [192, 0, 2, 1].into(),
                destination: destination.into(),
                protocol: 17,
                ttl,
                traffic_class: 0,
                identification: 0,
                dont_fragment: false,
                router_alert: false,
                payload_len: 0,
            };
            let bytes = header.build().unwrap();
            Policy { least_scope, least_ttl }.admit(&Packet::parse(&bytes).unwrap())
        };
        assert_eq!(admit(3, 2, [239, 255, 0, 1], 2), Ok(()));
        assert_eq!(admit(3, 2, [239, 255, 0, 1], 1), Err(Stop::Ttl));
        assert_eq!(admit(3, 32, [239, 255, 0, 1], 31), Err(Stop::Ttl));
        assert_eq!(admit(3, 2, [224, 0, 0, 5], 64), Err(Stop::Scope));
        assert_eq!(admit(8, 2, [239, 255, 0, 1], 64), Err(Stop::Scope));
        assert_eq!(admit(14, 2, [239, 1, 2, 3], 64), Err(Stop::Scope));
        assert_eq!(admit(14, 2, [232, 1, 2, 3], 64), Ok(()));
        assert_eq!(admit(3, 2, [192, 0, 2, 9], 64), Err(Stop::NotMulticast));
    }
}
