//! The host's interfaces: which there are, and which one a name, address or index means.

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr};

use crate::error::{Errno, Result};
use crate::sys::interface::{self as sys, Flags, Name};

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
    /// Its netmask, of the same family.
    pub netmask: IpAddr,
    /// The interface's index where the address means nothing without it (IPv6 link-local), else 0.
    pub scope: u32,
}

impl Assigned {
    /// address | ~netmask. Computed, because what the system reports is the address itself when
    /// it was assigned without a broadcast address. `None` for IPv6, /31 and /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match (self.ip, self.netmask) {
            (IpAddr::V4(ip), IpAddr::V4(mask)) => directed_broadcast(ip, mask),
            _ => None,
        }
    }

    /// The length of the network part in bits.
    pub fn prefix_length(&self) -> u32 {
        match self.netmask {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        }
    }
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
        if self.interface.flags.has(Flags::POINT_TO_POINT) {
            return None;
        }
        self.address.as_ref().and_then(Assigned::broadcast)
    }
}

/// All interfaces, in the order of their indices, with one entry for each address.
pub fn list() -> Result<Vec<Entry>> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut addresses: Vec<(Name, Assigned)> = Vec::new();
    sys::each_record(|record| match record {
        sys::Record::Link { index, name, flags } => {
            let place = interfaces.partition_point(|other| other.index < index);
            interfaces.insert(place, Interface { index, name, flags });
        }
        sys::Record::Address { name, ip, netmask, scope } => addresses.push((name, Assigned { ip, netmask, scope })),
    })?;
    let mut entries = Vec::with_capacity(interfaces.len() + addresses.len());
    for interface in interfaces {
        let before = entries.len();
        let own = addresses.iter().filter(|(name, _)| *name == interface.name);
        entries.extend(own.map(|(_, address)| Entry { interface, address: Some(*address) }));
        if entries.len() == before {
            entries.push(Entry { interface, address: None });
        }
    }
    Ok(entries)
}

/// The index of an interface given by its name, by one of its addresses or by its index in
/// digits, tried in this order. `ENODEV` if there is none, `EINVAL` for an empty text.
pub fn resolve(text: &CStr) -> Result<u32> {
    if text.is_empty() {
        return Err(Errno::EINVAL);
    }
    match sys::index_of(text) {
        Err(Errno::ENODEV) => {}
        result => return result,
    }
    let text = text.to_str().map_err(|_| Errno::ENODEV)?;
    match parse(text) {
        Spec::Address(ip) => with_address(ip).map(|entry| entry.interface.index),
        Spec::Index(index) => sys::name_of(index).map(|_| index),
        Spec::Name => Err(Errno::ENODEV),
    }
}

/// As [`resolve`], from Rust text.
pub fn index_of(text: &str) -> Result<u32> {
    resolve(&CString::new(text).map_err(|_| Errno::EINVAL)?)
}

/// As [`resolve`], with NULL for the kernel's choice, 0.
pub fn resolve_optional(text: Option<&CStr>) -> Result<u32> {
    text.map_or(Ok(0), resolve)
}

/// The entries that a text means: one address of an interface if it is that address, else all of
/// the interface. `ENODEV` if there is none.
pub fn entries_of(text: &CStr) -> Result<Vec<Entry>> {
    let index = resolve(text)?;
    let mut entries = list()?;
    entries.retain(|entry| entry.interface.index == index);
    if let Ok(Ok(ip)) = text.to_str().map(str::parse::<IpAddr>) {
        entries.retain(|entry| entry.address.is_some_and(|address| address.ip == ip));
    }
    if entries.is_empty() { Err(Errno::ENODEV) } else { Ok(entries) }
}

enum Spec {
    Name,
    Address(IpAddr),
    Index(u32),
}

fn parse(text: &str) -> Spec {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Spec::Address(ip);
    }
    match text.parse::<u32>() {
        Ok(index) if text.bytes().all(|byte| byte.is_ascii_digit()) => Spec::Index(index),
        _ => Spec::Name,
    }
}

fn with_address(ip: IpAddr) -> Result<Entry> {
    let has = |entry: &Entry| entry.address.is_some_and(|address| address.ip == ip);
    list()?.into_iter().find(has).ok_or(Errno::ENODEV)
}

/// The first IPv4 address of an interface, by its index.
pub fn ipv4_address(index: u32) -> Result<Option<Ipv4Addr>> {
    Ok(list()?.iter().find_map(|entry| match entry.address?.ip {
        IpAddr::V4(ip) if entry.interface.index == index => Some(ip),
        _ => None,
    }))
}

/// The index of the interface that has this address, 0 if none has.
pub fn index_of_address(ip: IpAddr) -> Result<u32> {
    match with_address(ip) {
        Ok(entry) => Ok(entry.interface.index),
        Err(Errno::ENODEV) => Ok(0),
        Err(error) => Err(error),
    }
}
