//! The interfaces where rtnetlink(7) is refused: by ioctl(2) (netdevice(7)), and by /proc where it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};

use super::is_refused;
use crate::error::{Errno, Result};
use crate::sys::interface::{Asker, Flags, Labelled, Name, padded};
use crate::sys::netlink::{Change, Master};

/// How often everything is looked at when an interface was renamed or went away meanwhile.
const LOOKS_MAX: usize = 16;
/// Indices that are tried where /proc doesn't tell the names.
const INDICES_TRIED: u32 = 1024;

/// All interfaces, then all addresses. `EPERM` if ioctl(2) is refused too.
pub fn everything() -> Result<Vec<Change>> {
    let asker = Asker::open().map_err(refused)?;
    for _ in 1..LOOKS_MAX {
        match look(&asker, false) {
            // Renamed between two questions: by name there is no other way than to look again.
            Err(Errno::ENODEV) => {}
            result => return result.map_err(refused),
        }
    }
    look(&asker, true).map_err(refused)
}

/// An errno that means nothing else to the functions that name an interface.
pub(super) fn refused(error: Errno) -> Errno {
    if is_refused(error) { Errno::EPERM } else { error }
}

fn look(asker: &Asker, leaves_out: bool) -> Result<Vec<Change>> {
    let addresses = or_none(asker.ipv4_addresses())?;
    let mut links = BTreeMap::new();
    for name in names(asker, &addresses)? {
        match link(asker, name) {
            Err(Errno::ENODEV) if leaves_out => {}
            result => {
                let (index, change) = result?;
                links.insert(index, change);
            }
        }
    }
    let mut changes: Vec<Change> = links.into_values().collect();
    for one in addresses {
        changes.extend(ipv4(asker, one)?);
    }
    let table = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    changes.extend(table.lines().filter_map(ipv6));
    Ok(changes)
}

/// On a socket that isn't IPv4's, because this process may have none, there are no IPv4 addresses.
fn or_none(found: Result<Vec<Labelled>>) -> Result<Vec<Labelled>> {
    match found {
        Err(Errno::ENOTTY | Errno::EINVAL) => Ok(Vec::new()),
        result => result,
    }
}

fn names(asker: &Asker, addresses: &[Labelled]) -> Result<BTreeSet<Name>> {
    if let Ok(table) = fs::read("/proc/thread-self/net/dev") {
        let lines = table.split(|byte| *byte == b'\n').filter_map(device);
        return lines.map(padded).collect();
    }
    let by_index = (1..=INDICES_TRIED).filter_map(|index| asker.name_of(index).ok());
    let by_label = addresses.iter().filter_map(|one| asker.name_of(interface_of(asker, *one)?).ok());
    Ok(by_index.chain(by_label).collect())
}

/// "  eth0: 1234 ..."; no name has a colon in it.
fn device(line: &[u8]) -> Option<&[u8]> {
    let name = line.split(|byte| *byte == b':').next().filter(|name| name.len() < line.len())?;
    Some(name.trim_ascii())
}

fn link(asker: &Asker, name: Name) -> Result<(u32, Change)> {
    let (index, flags, mtu) = (asker.index_of(name)?, asker.flags(name)?, asker.mtu(name)?);
    // SIOCGIFFLAGS has no room for IFF_LOWER_UP.
    let flags = if flags.has(Flags::RUNNING) { flags.with(Flags::LOWER_UP) } else { flags };
    Ok((
        index,
        Change::Link {
            index,
            name,
            other_names: Vec::new(),
            flags,
            carrier_changes: 0,
            mtu,
            master: Master::None,
            is_ipv6_ready: flags.has(Flags::RUNNING),
        },
    ))
}

/// `None` under a label that isn't its interface's name: there nothing tells which one it is on.
fn ipv4(asker: &Asker, one: Labelled) -> Result<Option<Change>> {
    let Some(index) = interface_of(asker, one) else { return Ok(None) };
    let (Ok(mask), Ok(network)) = (asker.netmask(one), asker.network(one)) else { return Ok(None) };
    let reach = if one.ip.is_loopback() { HOST } else { 0 };
    let prefix = mask.to_bits().leading_ones() as u8;
    Ok(Some(Change::Address { index, ip: one.ip.into(), network: network.into(), prefix, scope: reach, flags: 0 }))
}

/// RT_SCOPE_HOST
const HOST: u8 = 254;

/// "eth0" or "eth0:1". A label may also be the name of another interface: the kernel then answers with an
/// address of that one.
fn interface_of(asker: &Asker, one: Labelled) -> Option<u32> {
    (asker.address(one) == Ok(one.ip)).then_some(())?;
    let name = one.label.split(|byte| matches!(byte, b':' | 0)).next()?;
    asker.index_of(padded(name).ok()?).ok()
}

/// "fe800000000000000000000000000002 03 40 20 80 eth0": index, prefix length, scope and flags are hexadecimal.
fn ipv6(line: &str) -> Option<Change> {
    let mut fields = line.split_whitespace();
    let ip = IpAddr::V6(Ipv6Addr::from_bits(u128::from_str_radix(fields.next()?, 16).ok()?));
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    let (index, prefix, scope, flags) = (number()?, number()? as u8, number()?, number()?);
    // The scopes of this table are bits of their own: IPV6_ADDR_LOOPBACK, IPV6_ADDR_LINKLOCAL.
    let scope = match scope {
        0x10 => HOST,
        0x20 => 253,
        _ => 0,
    };
    Some(Change::Address { index, ip, network: ip, prefix, scope, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stands_before_its_colon() {
        assert_eq!(device(b"  eth0: 12 0 0"), Some(&b"eth0"[..]));
        assert_eq!(device(b"enx0123456789ab:12 0 0"), Some(&b"enx0123456789ab"[..]));
        assert_eq!(device(b" face |bytes    packets"), None);
        assert_eq!(device(b""), None);
    }

    #[test]
    fn both_ways_tell_the_same() {
        let key = |change: &Change| match change {
            Change::Link { index, name, flags, mtu, .. } => format!("{index} {name:?} {flags:?} {mtu}"),
            Change::Address { index, ip, network, prefix, scope, .. } => {
                format!("{index} {ip} {network}/{prefix} {scope}")
            }
            other => format!("{other:?}"),
        };
        let all = |changes: Vec<Change>| changes.iter().map(key).collect::<BTreeSet<_>>();
        assert_eq!(all(everything().unwrap()), all(super::super::list::by_netlink().unwrap()));
    }
}
