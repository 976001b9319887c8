//! The host's interfaces: getifaddrs(3), if_nametoindex(3), if_indextoname(3).

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};
use std::ptr;

use super::{done, last_errno, sockaddr};
use crate::error::{Errno, Result};

/// Room for an interface's name and its NUL (IF_NAMESIZE).
pub const NAME_SIZE: usize = libc::IF_NAMESIZE;

/// An interface's name, padded with NULs.
pub type Name = [u8; NAME_SIZE];

/// The interface flags (`IFF_*`, netdevice(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Switched on.
    pub const UP: Flags = Flags(libc::IFF_UP as u32);
    /// Has broadcasts.
    pub const BROADCAST: Flags = Flags(libc::IFF_BROADCAST as u32);
    /// Ends on this host.
    pub const LOOPBACK: Flags = Flags(libc::IFF_LOOPBACK as u32);
    /// Has a carrier, as far as the driver knows.
    pub const RUNNING: Flags = Flags(libc::IFF_RUNNING as u32);
    /// Has one other end.
    pub const POINT_TO_POINT: Flags = Flags(libc::IFF_POINTOPOINT as u32);
    /// Has a carrier (since Linux 2.6.17).
    pub const LOWER_UP: Flags = Flags(0x1_0000);
    /// Has multicast.
    pub const MULTICAST: Flags = Flags(libc::IFF_MULTICAST as u32);

    /// Whether all of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An interface, or an address of one.
#[derive(Clone, Copy, Debug)]
pub enum Record {
    /// An interface.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: Name,
        /// Its flags.
        flags: Flags,
    },
    /// An address.
    Address {
        /// Its interface's name.
        name: Name,
        /// The address.
        ip: IpAddr,
        /// Its netmask.
        netmask: IpAddr,
        /// The scope of an IPv6 address, 0 if it needs none.
        scope: u32,
    },
}

/// Frees what getifaddrs(3) made, whatever happens to the reader.
struct Addresses(*mut libc::ifaddrs);

impl Drop for Addresses {
    fn drop(&mut self) {
        // SAFETY: made by getifaddrs, freed once.
        unsafe { libc::freeifaddrs(self.0) };
    }
}

/// getifaddrs(3): calls `each` for every interface and for every IPv4 and IPv6 address.
pub fn each_record(mut each: impl FnMut(Record)) -> Result<()> {
    let mut first = ptr::null_mut();
    // SAFETY: there is room for the pointer.
    done(unsafe { libc::getifaddrs(&raw mut first) })?;
    let all = Addresses(first);
    let mut next = all.0;
    // SAFETY: the list's nodes are valid until it is freed, and the last one points to NULL.
    while let Some(node) = unsafe { next.as_ref() } {
        if let Some(record) = record(node) {
            each(record);
        }
        next = node.ifa_next;
    }
    Ok(())
}

fn record(node: &libc::ifaddrs) -> Option<Record> {
    // SAFETY: getifaddrs gives every node a name that ends in a NUL.
    let found = unsafe { CStr::from_ptr(node.ifa_name) };
    let name = interface_name(found);
    if node.ifa_addr.is_null() {
        // A link without a hardware address: tun, WireGuard, PPP. Nothing but the name tells which.
        let index = index_of(found).ok()?;
        return Some(Record::Link { index, name, flags: Flags(node.ifa_flags) });
    }
    // SAFETY: the address isn't NULL, so it has a family.
    match i32::from(unsafe { (*node.ifa_addr).sa_family }) {
        libc::AF_PACKET => {
            // SAFETY: an address of this family is a sockaddr_ll.
            let index = unsafe { (*node.ifa_addr.cast::<libc::sockaddr_ll>()).sll_ifindex };
            Some(Record::Link { index: index.unsigned_abs(), name, flags: Flags(node.ifa_flags) })
        }
        libc::AF_INET | libc::AF_INET6 => {
            let address = ip(node.ifa_addr)?;
            let netmask = ip(node.ifa_netmask)?.ip();
            let scope = match address {
                SocketAddr::V4(_) => 0,
                SocketAddr::V6(v6) => v6.scope_id(),
            };
            Some(Record::Address { name, ip: address.ip(), netmask, scope })
        }
        _ => None,
    }
}

/// An address with a label has it for a name: "eth0:1" is on the interface "eth0".
fn interface_name(found: &CStr) -> Name {
    let mut name = [0; NAME_SIZE];
    let without_label = found.to_bytes().iter().take(NAME_SIZE - 1).take_while(|byte| **byte != b':');
    for (to, from) in name.iter_mut().zip(without_label) {
        *to = *from;
    }
    name
}

fn ip(address: *const libc::sockaddr) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: getifaddrs allocates each address as long as its family needs.
    let len = match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    // SAFETY: as above.
    unsafe { sockaddr::from_raw(address, len as libc::socklen_t) }.ok()
}

/// if_nametoindex(3). `ENODEV` if there is no such interface.
pub fn index_of(name: &CStr) -> Result<u32> {
    // SAFETY: the name ends in a NUL.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(match last_errno() {
            Errno::ENXIO => Errno::ENODEV,
            other => other,
        }),
        index => Ok(index),
    }
}

/// if_indextoname(3). `ENODEV` if there is no such interface.
pub fn name_of(index: u32) -> Result<Name> {
    let mut name = [0; NAME_SIZE];
    // SAFETY: there is room for the longest name.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) }.is_null() {
        return Err(match last_errno() {
            Errno::ENXIO => Errno::ENODEV,
            other => other,
        });
    }
    Ok(name)
}
