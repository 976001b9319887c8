//! The interfaces of this host as rtnetlink tells of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::sys::interface::{Flags, Name};
use crate::sys::netlink::Master;

/// An interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name, padded with NULs.
    pub padded_name: Name,
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
}

impl Link {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.padded_name.split(|byte| *byte == 0).next().unwrap_or_default()
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
