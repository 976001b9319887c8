//! Which interfaces a wish is for, whether they are there or not.

use std::ffi::CStr;
use std::net::IpAddr;

use super::links::Link;
use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::interface::Flags;

/// As long as an address can be.
const TEXT_MAX: usize = 47;

/// Interfaces as wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one of the route to the group.
    Route,
    /// All that are up and capable of multicast.
    All,
    /// The one of this name, or those of this pattern.
    Name(String),
    /// The one that has this address.
    Address(IpAddr),
    /// The one of this index.
    Index(u32),
}

impl Selector {
    /// From text. `EINVAL` if it is empty or longer than any name or address.
    pub fn parse(text: &CStr) -> Result<Selector> {
        let text = text.to_str().map_err(|_| Errno::EINVAL)?;
        if text.is_empty() || text.len() > TEXT_MAX {
            return Err(Errno::EINVAL);
        }
        if text == "*" {
            return Ok(Selector::All);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Selector::Address(ip));
        }
        match text.parse::<u32>() {
            Ok(index) if index > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Selector::Index(index)),
            _ => Ok(Selector::Name(text.to_owned())),
        }
    }

    /// The interfaces for a source that may name its own: that one where none is named otherwise. `EINVAL` if
    /// it isn't the one that is meant.
    pub fn with_source(self, source: Option<Scoped>) -> Result<(Option<IpAddr>, Selector)> {
        let selector = match source {
            None | Some(Scoped { scope: 0, .. }) => self,
            Some(Scoped { scope, .. }) if self == Selector::Route => Selector::Index(scope),
            Some(Scoped { scope, .. }) if interface::index_of(&self.text()) == Ok(scope) => self,
            Some(_) => return Err(Errno::EINVAL),
        };
        Ok((source.map(|source| source.ip), selector))
    }

    /// As text; empty for the route's.
    pub fn text(&self) -> String {
        match self {
            Selector::Route => String::new(),
            Selector::All => "*".to_owned(),
            Selector::Name(name) => name.clone(),
            Selector::Address(ip) => ip.to_string(),
            Selector::Index(index) => index.to_string(),
        }
    }

    /// Whether it means this interface now. One that was chosen because it was up stays so while it is
    /// down: `is_chosen`.
    pub fn matches(&self, index: u32, link: &Link, is_chosen: bool) -> bool {
        match self {
            Selector::Route => false,
            Selector::All => link.flags.has(Flags::MULTICAST) && (is_chosen || link.flags.has(Flags::UP)),
            Selector::Name(pattern) => fits(pattern.as_bytes(), link.name()),
            Selector::Address(ip) => link.addresses.contains(ip),
            Selector::Index(wanted) => *wanted == index,
        }
    }
}

/// A group and the interfaces for it. `EINVAL` if an interface is named twice; `ENODEV` for an IPv6 group
/// of one link or one host without an interface.
pub fn of_text(group: &CStr, interfaces: Option<&CStr>) -> Result<(IpAddr, Selector)> {
    let text = group.to_str().map_err(|_| Errno::EINVAL)?;
    let selector = interfaces.map(Selector::parse).transpose()?;
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone_selector(zone)?)),
        None => (text, None),
    };
    let group: IpAddr = address.parse().map_err(|_| Errno::EINVAL)?;
    let selector = match (zone, selector) {
        (Some(_), Some(_)) => return Err(Errno::EINVAL),
        (Some(_), None) if group.is_ipv4() => return Err(Errno::EINVAL),
        (Some(zone), None) => zone,
        (None, selector) => selector.unwrap_or(Selector::Route),
    };
    with_group(group.to_canonical(), selector)
}

/// The interface behind an address is one, by name or index.
fn zone_selector(zone: &str) -> Result<Selector> {
    if zone.contains(['*', '?']) {
        return Err(Errno::EINVAL);
    }
    let zone = std::ffi::CString::new(zone).map_err(|_| Errno::EINVAL)?;
    Selector::parse(&zone)
}

/// As [`of_text`], by index; 0 is the interface of the route.
pub fn of_index(group: Scoped, interface: u32) -> Result<(IpAddr, Selector)> {
    let index = match (group.scope, interface) {
        (scope, interface) if scope == interface || scope == 0 => interface,
        (scope, 0) => scope,
        _ => return Err(Errno::EINVAL),
    };
    let selector = if index == 0 { Selector::Route } else { Selector::Index(index) };
    with_group(group.ip, selector)
}

fn with_group(group: IpAddr, selector: Selector) -> Result<(IpAddr, Selector)> {
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    if selector == Selector::Route && crate::address::needs_interface(group) {
        return Err(Errno::ENODEV);
    }
    Ok((group, selector))
}

/// A pattern of the shell's kind: `*` is any bytes or none, `?` any one byte. Only the last `*` may have
/// to take more than it did, so that no pattern takes long.
fn fits(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, name));
                pattern = rest;
            }
            ([wanted, rest @ ..], [found, others @ ..]) if *wanted == b'?' || wanted == found => {
                (pattern, name) = (rest, others);
            }
            _ => match retry {
                Some((rest, [_, others @ ..])) => {
                    retry = Some((rest, others));
                    (pattern, name) = (rest, others);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth00", false),
            ("eth*", "eth", true),
            ("eth*", "eth12", true),
            ("eth?", "eth", false),
            ("*0", "eth10", true),
            ("e*h*0", "eth10", true),
            ("e*x", "eth0", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn text_is_read_as_it_looks() {
        let parse = |text: &CStr| Selector::parse(text).unwrap();
        assert_eq!(parse(c"*"), Selector::All);
        assert_eq!(parse(c"eth*"), Selector::Name("eth*".to_owned()));
        assert_eq!(parse(c"3"), Selector::Index(3));
        assert_eq!(parse(c"0"), Selector::Name("0".to_owned()));
        assert_eq!(parse(c"10.1.0.1"), Selector::Address("10.1.0.1".parse().unwrap()));
        assert_eq!(parse(c"fd01::1"), Selector::Address("fd01::1".parse().unwrap()));
        assert_eq!(Selector::parse(c""), Err(Errno::EINVAL));
        assert_eq!(
            Selector::parse(c"a name that is longer than any address can be"),
            Ok(Selector::Name("a name that is longer than any address can be".to_owned()))
        );
        assert_eq!(Selector::parse(c"a name that is much longer than any address can be"), Err(Errno::EINVAL));
    }

    #[test]
    fn a_group_may_name_its_interface() {
        let group = "ff02::7".parse().unwrap();
        assert_eq!(of_text(c"ff02::7%eth0", None), Ok((group, Selector::Name("eth0".to_owned()))));
        assert_eq!(of_text(c"ff02::7%3", None), Ok((group, Selector::Index(3))));
        assert_eq!(of_text(c"ff02::7%eth0", Some(c"eth0")), Err(Errno::EINVAL));
        assert_eq!(of_text(c"ff02::7%eth*", None), Err(Errno::EINVAL));
        assert_eq!(of_text(c"ff02::7", None), Err(Errno::ENODEV));
        assert_eq!(of_text(c"10.1.2.3", Some(c"*")), Err(Errno::EINVAL));
        assert_eq!(of_text(c"239.1.2.3%eth0", None), Err(Errno::EINVAL));
        assert_eq!(of_text(c"239.1.2.3", None), Ok(("239.1.2.3".parse().unwrap(), Selector::Route)));
    }
}
