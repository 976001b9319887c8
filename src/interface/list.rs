//! What there is: by rtnetlink(7), or without it where it is refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::{Assigned, Entry, Interface, without_netlink};
use crate::error::{Errno, Result};
use crate::sys::interface::{Asker, Name};
use crate::sys::netlink::{Change, Netlink};
use crate::sys::option::Family;

// <linux/if_addr.h>, <linux/rtnetlink.h>
const IFA_F_SECONDARY: u32 = 0x01;
/// IFA_F_DADFAILED, IFA_F_TENTATIVE: another host may have it.
const DOUBTFUL: u32 = 0x48;

/// Whether an error says that this process may not ask in this way (seccomp, systemd's
/// RestrictAddressFamilies, SELinux), so that another way may still be open.
pub fn is_refused(error: Errno) -> bool {
    matches!(
        error,
        Errno::EAFNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::EOPNOTSUPP
            | Errno::EPERM
            | Errno::EACCES
            | Errno::ENOSYS
            | Errno::ECONNREFUSED
    )
}

/// All interfaces, then all addresses, as rtnetlink would tell them. `EPERM` if this process may use neither
/// netlink nor ioctl(2).
pub fn everything() -> Result<Vec<Change>> {
    match by_netlink() {
        Err(error) if is_refused(error) => without_netlink::everything(),
        result => result,
    }
}

pub(super) fn by_netlink() -> Result<Vec<Change>> {
    let mut found = Vec::new();
    Netlink::connect()?.everything(|change| found.push(change))?;
    Ok(found)
}

/// All interfaces, in the order of their indices, with one entry for each address. An address belongs to the
/// index that the kernel tells with it: the label of an IPv4 address is no interface's name.
pub fn list() -> Result<Vec<Entry>> {
    let mut interfaces: BTreeMap<u32, (Interface, Vec<Assigned>)> = BTreeMap::new();
    let mut count = 0;
    for change in everything()? {
        match change {
            Change::Link { index, name, flags, .. } => {
                interfaces.insert(index, (Interface { index, name, flags }, Vec::new()));
            }
            Change::Address { index, ip, network, prefix, scope: reach, flags } => {
                let scope = if matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) { index } else { 0 };
                // One that has come since the links were told is told of as a change to those who follow.
                if let Some((_, addresses)) = interfaces.get_mut(&index) {
                    addresses.push(Assigned { ip, network, prefix, reach, flags, scope });
                    count += 1;
                }
            }
            _ => {}
        }
    }
    let mut entries = Vec::with_capacity(interfaces.len() + count);
    for (interface, addresses) in interfaces.into_values() {
        if addresses.is_empty() {
            entries.push(Entry { interface, address: None });
        }
        entries.extend(addresses.into_iter().map(|address| Entry { interface, address: Some(address) }));
    }
    Ok(entries)
}

/// The name of the interface of this index. `ENODEV` if there is none.
pub fn name_of(index: u32) -> Result<Name> {
    match Asker::open().and_then(|asker| asker.name_of(index)) {
        Err(error) if is_refused(error) => {
            let by_netlink = Netlink::connect().and_then(|mut netlink| netlink.name_of(index));
            by_netlink.map_err(without_netlink::refused)
        }
        result => result,
    }
}

/// The index of an interface that has this address, 0 if none has.
pub fn index_of_address(ip: IpAddr) -> Result<u32> {
    let entries = list()?;
    let found = entries.iter().find(|entry| entry.address.is_some_and(|address| address.ip == ip));
    Ok(found.map_or(0, |entry| entry.interface.index))
}

/// The address that an interface sends reports and queries from, as the kernel would choose: with IPv4 one that
/// reaches far before one of the link alone, one assigned before one that was drawn (169.254.0.0/16), and the
/// first of its network; with IPv6 a link-local one that is known to be its alone (RFC 3810, section 5.1.14).
pub fn source_of(index: u32, family: Family) -> Result<Option<IpAddr>> {
    let entries = list()?;
    let own = entries.iter().filter(|entry| entry.interface.index == index).filter_map(|entry| entry.address);
    Ok(match family {
        Family::V4 => own.filter_map(rank).min_by_key(|(rank, _)| *rank),
        Family::V6 => own.filter(is_certain_link_local).map(|address| ((0, false, false), address.ip)).next(),
    }
    .map(|(_, ip)| ip))
}

fn rank(address: Assigned) -> Option<((u8, bool, bool), IpAddr)> {
    let IpAddr::V4(v4) = address.ip else { return None };
    let is_secondary = address.flags & IFA_F_SECONDARY != 0;
    Some(((address.reach, Ipv4Addr::is_link_local(&v4), is_secondary), address.ip))
}

fn is_certain_link_local(address: &Assigned) -> bool {
    matches!(address.ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) && address.flags & DOUBTFUL == 0
}
