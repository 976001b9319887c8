//! The host's interfaces: which there are, and which one a text means.

mod list;
mod text;
mod without_netlink;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use list::{everything, index_of_address, is_refused, list, name_of, source_of};
pub use text::{
    Meant, NAME_MAX, Spec, entries_of, index_of, meant, meant_optional, parse, resolve, resolve_optional, zone,
};

use crate::sys::interface::{Flags, Name};

/// An interface.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name, padded with NULs.
    pub name: Name,
    /// Its flags.
    pub flags: Flags,
}

impl Interface {
    /// Whether multicast works on it.
    pub fn is_multicast(&self) -> bool {
        self.flags.has(Flags::MULTICAST)
    }

    /// Whether it is up and its link has a broadcast address.
    pub fn is_broadcast(&self) -> bool {
        self.flags.has(Flags::UP) && self.flags.has(Flags::BROADCAST)
    }
}

/// An address of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// The address.
    pub ip: IpAddr,
    /// The address that names its network: its own, or that of the peer at the other end of the link.
    pub network: IpAddr,
    /// The length of the network part in bits.
    pub prefix: u8,
    /// How far it reaches: `RT_SCOPE_*`.
    pub reach: u8,
    /// `IFA_F_*`
    pub flags: u32,
    /// The interface's index where the address means nothing without it (IPv6 link-local), else 0.
    pub scope: u32,
}

impl Assigned {
    /// Its netmask, of the same family.
    pub fn netmask(&self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => IpAddr::V4(mask(self.prefix)),
            IpAddr::V6(_) => {
                let ones = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ones))
            }
        }
    }

    /// network | ~netmask, as the kernel has it in its table of local routes. Computed, because IFA_BROADCAST
    /// is missing where the address was assigned without one. `None` for IPv6, /31 and /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.network {
            IpAddr::V4(network) => directed_broadcast(network, mask(self.prefix)),
            IpAddr::V6(_) => None,
        }
    }
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// The directed broadcast address of a network: the host part all ones. `None` for /31 and /32,
/// which have none (RFC 3021).
pub fn directed_broadcast(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Ipv4Addr> {
    let host = !mask.to_bits();
    (host > 1).then(|| Ipv4Addr::from_bits(address.to_bits() | host))
}

/// One line of the list: an interface with one of its addresses, or without if it has none.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The interface.
    pub interface: Interface,
    /// One of its addresses.
    pub address: Option<Assigned>,
}

impl Entry {
    /// The directed broadcast address of this address's network on this interface.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        self.address.as_ref().and_then(Assigned::broadcast)
    }
}
