//! How a relay behaves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How long a report may be on its way beyond the query interval: the default of RFC 3376 (section 8.3).
pub const RESPONSE: Duration = Duration::from_secs(10);

/// What doesn't change while a relay runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The address that an Advertisement tells to gateways that ask by IPv4; `None`: the one asked.
    pub advertise_v4: Option<Ipv4Addr>,
    /// And by IPv6.
    pub advertise_v6: Option<Ipv6Addr>,
    /// How often gateways shall report (QQI).
    pub query_interval: Duration,
    /// How many reports in a row may be lost (QRV), 1 to 7.
    pub robustness: u8,
    /// The most tunnels.
    pub tunnels: usize,
    /// The most tunnels of an IPv4 address or an IPv6 /64.
    pub tunnels_per_address: usize,
    /// The most groups of a tunnel.
    pub groups: usize,
    /// The most sources of a group of a tunnel.
    pub sources: usize,
    /// The most groups of all tunnels.
    pub channels: usize,
    /// The most groups of tunnels and sources of these together, each counted for each tunnel.
    pub entries: usize,
    /// The most groups of all tunnels of an IPv4 address or an IPv6 /64, counted for each tunnel; 0 for a share of
    /// `channels`.
    pub groups_per_address: usize,
    /// The most groups and sources of these, counted as for `entries`; 0 for a share of that.
    pub entries_per_address: usize,
    /// The most records of reports that count in a second from an IPv4 address or an IPv6 /64; 0 for no limit.
    pub records_per_second: u32,
    /// The most bytes of Data to a tunnel in a second; 0 for no limit.
    pub bytes_per_second: u64,
    /// The most Discoveries and Requests answered in a second to an IPv4 address or an IPv6 /64 from
    /// where no tunnel is.
    pub answers_per_second: u32,
    /// The same to all such addresses together; 0 for no limit.
    pub answers_in_all: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            advertise_v4: None,
            advertise_v6: None,
            query_interval: Duration::from_secs(125),
            robustness: 2,
            tunnels: 10_000,
            tunnels_per_address: 1024,
            groups: 256,
            sources: 64,
            channels: 65_536,
            entries: 262_144,
            groups_per_address: 0,
            entries_per_address: 0,
            records_per_second: 1024,
            bytes_per_second: 0,
            answers_per_second: 16,
            answers_in_all: 10_000,
        }
    }
}

impl Settings {
    /// How long a report counts (RFC 3376, section 8.4), and a tunnel without one.
    pub fn lifetime(&self) -> Duration {
        self.query_interval * u32::from(self.robustness) + RESPONSE
    }

    /// How many groups the tunnels of one address may have.
    pub fn groups_of_address(&self) -> usize {
        self.share(self.groups_per_address, self.channels)
    }

    /// How many groups and sources these may have.
    pub fn entries_of_address(&self) -> usize {
        self.share(self.entries_per_address, self.entries)
    }

    /// An eighth, unless a tunnel may have more groups; but never all.
    fn share(&self, given: usize, all: usize) -> usize {
        if given > 0 { given } else { self.groups.min(all / 2).max(all / 8).max(1) }
    }

    /// What an Advertisement tells to who asked this address.
    pub fn advertised(&self, asked: IpAddr) -> IpAddr {
        match asked {
            IpAddr::V4(_) => self.advertise_v4.map_or(asked, IpAddr::V4),
            IpAddr::V6(_) => self.advertise_v6.map_or(asked, IpAddr::V6),
        }
    }
}

/// Whether packets to a group may leave their link: neither 224.0.0.0/24 nor a group of one host or
/// link (RFC 5771, section 4; RFC 4291, section 2.7).
pub fn may_leave_link(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.is_multicast() && !matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => matches!(v6.octets(), [0xff, scope, ..] if scope & 15 > 2),
    }
}

/// Whether what this address sends may leave its link: neither 169.254.0.0/16 nor fe80::/10 (RFC 3927, section
/// 2.7; RFC 4291, section 2.5.6).
pub fn may_leave_link_from(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

/// Whether a group is for joining by source only: 232/8 and ff3x::/32 (RFC 4607, section 1). Reports
/// that want it whole are ignored (RFC 4604, sections 3.1 and 3.5).
pub fn is_by_source(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => matches!(v4.octets(), [232, ..]),
        IpAddr::V6(v6) => matches!(v6.octets(), [0xff, flags, 0, 0, ..] if flags >> 4 == 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_scope() {
        for (group, leaves, by_source) in [
            ("224.0.0.22", false, false),
            ("224.0.1.1", true, false),
            ("239.1.2.3", true, false),
            ("232.1.2.3", true, true),
            ("10.0.0.1", false, false),
            ("ff01::1", false, false),
            ("ff02::16", false, false),
            ("ff12::1", false, false),
            ("ff05::1", true, false),
            ("ff3e::1", true, true),
            ("ff3e:20:1::1", true, false),
            ("ff32::1", false, true),
        ] {
            let group = group.parse().unwrap();
            assert_eq!((may_leave_link(group), is_by_source(group)), (leaves, by_source), "{group}");
        }
    }

    #[test]
    fn no_address_may_take_all() {
        let share = |groups, channels, groups_per_address| {
            Settings { groups, channels, groups_per_address, ..Settings::default() }.groups_of_address()
        };
        assert_eq!((share(256, 65_536, 0), share(256, 3000, 0), share(256, 1000, 0)), (8192, 375, 256));
        assert_eq!((share(256, 256, 0), share(256, 1, 0), share(256, 3000, 3000)), (128, 1, 3000));
        assert_eq!(Settings::default().entries_of_address(), 32_768);
    }

    #[test]
    fn lifetime() {
        assert_eq!(Settings::default().lifetime(), Duration::from_secs(260));
    }
}
