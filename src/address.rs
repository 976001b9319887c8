//! Addresses from text, and what multicast asks of them.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::multicast::Target;

/// An IP address and the interface named behind it ("ff02::7%eth0"), 0 if none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scoped {
    /// The address; an IPv4 address in IPv6's clothes (::ffff:a.b.c.d) has become IPv4.
    pub ip: IpAddr,
    /// The interface's index.
    pub scope: u32,
}

impl Scoped {
    /// The address where no interface can be meant, as behind a tunnel: `EINVAL` if it names one.
    pub fn without_interface(self) -> Result<IpAddr> {
        if self.scope == 0 { Ok(self.ip) } else { Err(Errno::EINVAL) }
    }

    /// From text. `EINVAL` if it isn't an address, `ENODEV` if it names no interface of this host.
    pub fn parse(text: &CStr) -> Result<Scoped> {
        let text = text.to_str().map_err(|_| Errno::EINVAL)?;
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| Errno::EINVAL)?;
        let scope = match zone {
            None => 0,
            Some(zone) if ip.is_ipv4() || zone.is_empty() => return Err(Errno::EINVAL),
            Some(zone) => interface::zone(zone)?,
        };
        Ok(Scoped { ip: ip.to_canonical(), scope })
    }
}

impl From<SocketAddr> for Scoped {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Scoped { ip: address.ip().to_canonical(), scope }
    }
}

/// A group to join on an interface (0: the kernel's choice, or the one named in the address).
///
/// `EINVAL` if the address is no multicast group, or names another interface; `ENODEV` for an IPv6
/// group of one link or one host without an interface, where the kernel would silently pick one.
pub fn target(group: Scoped, interface: u32) -> Result<Target> {
    if !group.ip.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let interface = match (group.scope, interface) {
        (0, interface) => interface,
        (scope, 0) => scope,
        (scope, interface) if scope == interface => interface,
        _ => return Err(Errno::EINVAL),
    };
    if interface == 0 && needs_interface(group.ip) {
        return Err(Errno::ENODEV);
    }
    Ok(Target { group: group.ip, interface })
}

/// A source of a group, on the interface of the group. A source of one link may name it (0: it doesn't), as the
/// group may: `EINVAL` if it names another one.
pub fn with_source(target: Target, source: Scoped) -> Result<(Target, IpAddr)> {
    match (source.scope, target.interface) {
        (0, _) => Ok((target, source.ip)),
        (scope, 0) => Ok((Target { interface: scope, ..target }, source.ip)),
        (scope, interface) if scope == interface => Ok((target, source.ip)),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether an IPv6 group reaches no further than a host (ff01) or a link (ff02).
pub(crate) fn needs_interface(group: IpAddr) -> bool {
    matches!(group, IpAddr::V6(v6) if matches!(v6.octets(), [0xff, scope, ..] if scope & 0x0f <= 2))
}

/// A network in text, "192.12.34.7/24" or "192.12.34.7/255.255.255.0": the address and the mask.
pub fn parse_network(text: &CStr) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let text = text.to_str().map_err(|_| Errno::EINVAL)?;
    let (address, mask) = text.split_once('/').ok_or(Errno::EINVAL)?;
    let address = address.parse().map_err(|_| Errno::EINVAL)?;
    let mask = match mask.parse::<Ipv4Addr>() {
        Ok(mask) if is_contiguous(mask) => mask,
        Ok(_) => return Err(Errno::EINVAL),
        Err(_) => prefix_mask(mask)?,
    };
    Ok((address, mask))
}

fn is_contiguous(mask: Ipv4Addr) -> bool {
    mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= 32
}

fn prefix_mask(text: &str) -> Result<Ipv4Addr> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(prefix @ 0..=32) if digits_only => {
            let host_bits = 32 - prefix;
            Ok(Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0)))
        }
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::directed_broadcast;

    #[test]
    fn a_network_is_read_with_a_prefix_or_a_mask_and_nothing_else() {
        let good = [
            (c"192.12.34.7/24", "192.12.34.255"),
            (c"10.9.8.7/255.0.0.0", "10.255.255.255"),
            (c"10.0.0.0/30", "10.0.0.3"),
        ];
        for (text, expected) in good {
            let (address, mask) = parse_network(text).unwrap();
            assert_eq!(directed_broadcast(address, mask).unwrap().to_string(), expected);
        }
        for text in [
            c"192.12.34.7",
            c"192.12.34.7/",
            c"192.12.34.7/33",
            c"192.12.34.7/+24",
            c"192.12.34.7/255.0.255.0",
            c"192.12.34/24",
            c"::1/64",
            c"/24",
        ] {
            assert_eq!(parse_network(text), Err(Errno::EINVAL), "{text:?}");
        }
        for text in [c"10.0.0.0/31", c"10.0.0.0/32"] {
            let (address, mask) = parse_network(text).unwrap();
            assert_eq!(directed_broadcast(address, mask), None, "{text:?}");
        }
    }

    #[test]
    fn a_group_of_one_link_needs_an_interface() {
        let group = |text: &str| Scoped { ip: text.parse().unwrap(), scope: 0 };
        assert_eq!(target(group("ff02::7"), 0), Err(Errno::ENODEV));
        assert_eq!(target(group("ff11::7"), 0), Err(Errno::ENODEV));
        assert!(target(group("ff02::7"), 1).is_ok());
        assert!(target(group("ff15::7"), 0).is_ok());
        assert_eq!(target(group("10.0.0.1"), 1), Err(Errno::EINVAL));
        assert_eq!(target(Scoped { scope: 2, ..group("ff02::7") }, 1), Err(Errno::EINVAL));
        assert_eq!(target(Scoped { scope: 2, ..group("ff02::7") }, 0).unwrap().interface, 2);
    }

    #[test]
    fn a_source_names_the_interface_of_its_group_or_none() {
        let source = |scope| Scoped { ip: "fe80::1".parse().unwrap(), scope };
        for (interface, scope, expected) in
            [(2, 0, Ok(2)), (0, 0, Ok(0)), (0, 2, Ok(2)), (2, 2, Ok(2)), (1, 2, Err(Errno::EINVAL))]
        {
            let target = Target { group: "ff35::7".parse().unwrap(), interface };
            assert_eq!(with_source(target, source(scope)).map(|(target, _)| target.interface), expected);
        }
        assert_eq!(source(2).without_interface(), Err(Errno::EINVAL));
        assert_eq!(source(0).without_interface(), Ok(source(0).ip));
    }
}
