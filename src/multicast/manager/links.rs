//! The interfaces of this host as rtnetlink tells of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::sys::interface::{Flags, Name};
use crate::sys::netlink::Master;

/// An interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name, padded with NULs.
    pub padded_name: Name,
    /// Its alternative names.
    pub other_names: Vec<Vec<u8>>,
    /// Its flags.
    pub flags: Flags,
    /// How often its carrier came or went.
    pub carrier_changes: u32,
    /// The longest packet that it sends.
    pub mtu: u32,
    /// Whose port it is.
    pub master: Master,
    /// Whether IPv6 works there.
    pub is_ipv6_ready: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Those that reach no further than the link.
    pub near: Vec<IpAddr>,
}

/// <linux/rtnetlink.h>
pub const RT_SCOPE_LINK: u8 = 253;

impl Link {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.padded_name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Whether it has this name, or this alternative name.
    pub fn is_called(&self, name: &[u8]) -> bool {
        self.name() == name || self.other_names.iter().any(|other| other == name)
    }

    /// The IPv4 address to send from, as the kernel would choose: one that reaches far before one of the link alone,
    /// one that was assigned before one that was drawn (169.254.0.0/16), and the first of these.
    pub fn ipv4_source(&self) -> Option<Ipv4Addr> {
        let all = self.addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        all.min_by_key(|v4| (self.near.contains(&IpAddr::V4(*v4)), v4.is_link_local()))
    }

    /// Whether anything can arrive: up, and with a carrier.
    pub fn is_live(&self) -> bool {
        self.flags.has(Flags::UP) && self.flags.has(Flags::LOWER_UP)
    }

    /// Whether anything of the group can arrive: IPv6 becomes ready after the interface.
    pub fn is_live_for(&self, group: IpAddr) -> bool {
        self.is_live() && (group.is_ipv4() || self.is_ipv6_ready)
    }

    /// Whether it has an IPv4 address.
    pub fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4)
    }
}

/// By index.
pub type Links = BTreeMap<u32, Link>;
