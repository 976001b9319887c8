//! Which interfaces a wish is for, whether they are there or not.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::net::IpAddr;

use super::links::{Link, Links};
use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::interface::{self, Spec};
use crate::sys::interface::Flags;

/// Interfaces as wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one of the route to the group.
    Route,
    /// All that are up and capable of multicast.
    All,
    /// Those of this pattern.
    Pattern(String),
    /// The one that this text means, as for every function that takes one ([`interface::meant`]).
    One(String, Spec),
    /// The one of this index.
    Index(u32),
}

impl Selector {
    /// From text. `EINVAL` if it is empty or longer than any name or address.
    pub fn parse(text: &CStr) -> Result<Selector> {
        let text = text.to_str().map_err(|_| Errno::EINVAL)?;
        if text.is_empty() || text.len() > interface::NAME_MAX {
            return Err(Errno::EINVAL);
        }
        Ok(match text {
            "*" => Selector::All,
            _ if text.contains(['*', '?']) => Selector::Pattern(text.to_owned()),
            _ => Selector::One(text.to_owned(), interface::parse(text)),
        })
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
            Selector::Pattern(text) | Selector::One(text, _) => text.clone(),
            Selector::Index(index) => index.to_string(),
        }
    }

    /// Whether an interface is meant by its address.
    pub fn is_address(&self) -> bool {
        matches!(self, Selector::One(_, Spec::Address(..)))
    }

    /// `EADDRNOTAVAIL` if several interfaces have the address that is to tell which one is meant.
    pub fn check(&self, links: &Links) -> Result<()> {
        match self {
            Selector::One(text, Spec::Address(ip, zone))
                if !links.values().any(|link| link.is_called(text.as_bytes())) =>
            {
                let count = with_address(links, *ip, zone.as_deref()).count();
                if count > 1 { Err(Errno::EADDRNOTAVAIL) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// All interfaces that it means now.
    pub fn all(&self, links: &Links) -> BTreeSet<u32> {
        let none = BTreeSet::new();
        match self {
            Selector::One(text, spec) => one(text, spec, links, &none).into_iter().collect(),
            _ => links
                .iter()
                .filter(|(index, link)| self.matches(**index, link, false))
                .map(|(index, _)| *index)
                .collect(),
        }
    }

    /// What becomes of the interfaces that it means, `on`, by a change of one interface: each with whether it is
    /// meant now.
    pub fn changes(&self, changed: u32, links: &Links, on: &BTreeSet<u32>) -> Vec<(u32, bool)> {
        let was_meant = on.contains(&changed);
        match self {
            // A name tells by itself; what else such a text means depends on the other interfaces too.
            Selector::One(text, spec) if *spec != Spec::Name => {
                let now = one(text, spec, links, on);
                let gone = on.iter().filter(|index| Some(**index) != now).map(|index| (*index, false));
                now.filter(|index| !on.contains(index)).map(|index| (index, true)).into_iter().chain(gone).collect()
            }
            _ => {
                let is_meant = links.get(&changed).is_some_and(|link| self.matches(changed, link, was_meant));
                if is_meant == was_meant { Vec::new() } else { vec![(changed, is_meant)] }
            }
        }
    }

    /// Whether it means this interface, whatever others there are. One that was chosen because it was up stays so
    /// while it is down: `is_chosen`.
    fn matches(&self, index: u32, link: &Link, is_chosen: bool) -> bool {
        match self {
            Selector::Route => false,
            Selector::All => link.flags.has(Flags::MULTICAST) && (is_chosen || link.flags.has(Flags::UP)),
            Selector::Pattern(pattern) => fits(pattern.as_bytes(), link.name()),
            Selector::One(name, _) => link.is_called(name.as_bytes()),
            Selector::Index(wanted) => *wanted == index,
        }
    }
}

/// The interface of that name, else the one that the text means otherwise. Of several that have the address it is
/// the one that was chosen (`on`) while it was the only one.
fn one(text: &str, spec: &Spec, links: &Links, on: &BTreeSet<u32>) -> Option<u32> {
    if let Some(index) = called(links, text) {
        return Some(index);
    }
    match spec {
        Spec::Name => None,
        Spec::Index(index) => Some(*index).filter(|index| links.contains_key(index)),
        Spec::Address(ip, zone) => {
            let mut found = with_address(links, *ip, zone.as_deref());
            let chosen = with_address(links, *ip, zone.as_deref()).find(|index| on.contains(index));
            chosen.or_else(|| found.next())
        }
    }
}

fn called(links: &Links, name: &str) -> Option<u32> {
    links.iter().find(|(_, link)| link.is_called(name.as_bytes())).map(|(index, _)| *index)
}

fn with_address<'a>(links: &'a Links, ip: IpAddr, zone: Option<&str>) -> impl Iterator<Item = u32> + use<'a> {
    let zone = zone.map(|zone| called(links, zone).or_else(|| zone.parse().ok()).unwrap_or(0));
    let has =
        move |(index, link): &(&u32, &Link)| link.addresses.contains(&ip) && zone.is_none_or(|zone| zone == **index);
    links.iter().filter(has).map(|(index, _)| *index)
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

    fn named(text: &str) -> Selector {
        Selector::One(text.to_owned(), Spec::Name)
    }

    #[test]
    fn text_is_a_pattern_or_means_one() {
        let parse = |text: &CStr| Selector::parse(text).unwrap();
        assert_eq!(parse(c"*"), Selector::All);
        assert_eq!(parse(c"eth*"), Selector::Pattern("eth*".to_owned()));
        assert_eq!(parse(c"3"), Selector::One("3".to_owned(), Spec::Index(3)));
        assert_eq!(parse(c"0"), named("0"));
        let address = |text: &str| Selector::One(text.to_owned(), Spec::Address(text.parse().unwrap(), None));
        assert_eq!(parse(c"10.1.0.1"), address("10.1.0.1"));
        assert_eq!(parse(c"fd01::1"), address("fd01::1"));
        assert_eq!(Selector::parse(c""), Err(Errno::EINVAL));
        let long = |len| std::ffi::CString::new("n".repeat(len)).unwrap();
        assert_eq!(parse(&long(127)), named(&"n".repeat(127)));
        assert_eq!(Selector::parse(&long(128)), Err(Errno::EINVAL));
    }

    fn link(names: &[&str], addresses: &[&str]) -> Link {
        let (first, others) = names.split_first().unwrap();
        Link {
            is_ipv6_ready: true,
            padded_name: crate::sys::interface::padded(first.as_bytes()).unwrap(),
            other_names: others.iter().map(|name| name.as_bytes().to_vec()).collect(),
            flags: Flags::UP.with(Flags::MULTICAST),
            carrier_changes: 0,
            mtu: 1500,
            master: crate::sys::netlink::Master::None,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            near: Vec::new(),
        }
    }

    #[test]
    fn a_name_comes_before_an_address_and_an_index() {
        let long = "a-name-that-is-an-alternative-one";
        let mut links = Links::from([
            (2, link(&["eth0", long], &["10.1.0.1", "fe80::1"])),
            (3, link(&["2"], &["10.1.0.2", "fe80::1"])),
            (4, link(&["eth1"], &["10.1.0.2"])),
        ]);
        let means = |links: &Links, text: &CStr| Vec::from_iter(Selector::parse(text).unwrap().all(links));
        for (text, index) in [(c"eth0", 2), (c"2", 3), (c"4", 4), (c"10.1.0.1", 2), (c"fe80::1%eth0", 2)] {
            assert_eq!(means(&links, text), [index], "{text:?}");
        }
        assert_eq!(means(&links, c"a-name-that-is-an-alternative-one"), [2]);
        assert_eq!(means(&links, c"fe80::1%2"), [3], "a zone is a name first, too");
        assert!(means(&links, c"9").is_empty());
        let check = |text| Selector::parse(text).unwrap().check(&links);
        assert_eq!(check(c"fe80::1"), Err(Errno::EADDRNOTAVAIL), "two have it");
        assert_eq!((check(c"fe80::1%eth0"), check(c"10.1.0.1"), check(c"2")), (Ok(()), Ok(()), Ok(())));

        let by_digits = Selector::parse(c"4").unwrap();
        let on = by_digits.all(&links);
        links.insert(9, link(&["4"], &[]));
        assert_eq!(by_digits.changes(9, &links, &on), [(9, true), (4, false)], "one of that name has come");
        links.remove(&9);
        assert_eq!(by_digits.changes(9, &links, &BTreeSet::from([9])), [(4, true), (9, false)], "and is gone");
    }

    #[test]
    fn an_address_is_followed_to_the_interface_that_has_it() {
        let mut links = Links::from([(2, link(&["a"], &["10.1.0.1"])), (3, link(&["b"], &[]))]);
        let selector = Selector::parse(c"10.1.0.1").unwrap();
        let on = selector.all(&links);
        assert_eq!(on, BTreeSet::from([2]));
        links.insert(3, link(&["b"], &["10.1.0.1"]));
        assert_eq!(selector.changes(3, &links, &on), [], "the first one still has it");
        links.insert(2, link(&["a"], &[]));
        assert_eq!(selector.changes(2, &links, &on), [(3, true), (2, false)]);
    }

    #[test]
    fn a_group_may_name_its_interface() {
        let group = "ff02::7".parse().unwrap();
        assert_eq!(of_text(c"ff02::7%eth0", None), Ok((group, named("eth0"))));
        assert_eq!(of_text(c"ff02::7%3", None), Ok((group, Selector::One("3".to_owned(), Spec::Index(3)))));
        assert_eq!(of_text(c"ff02::7%eth0", Some(c"eth0")), Err(Errno::EINVAL));
        assert_eq!(of_text(c"ff02::7%eth*", None), Err(Errno::EINVAL));
        assert_eq!(of_text(c"ff02::7", None), Err(Errno::ENODEV));
        assert_eq!(of_text(c"10.1.2.3", Some(c"*")), Err(Errno::EINVAL));
        assert_eq!(of_text(c"239.1.2.3%eth0", None), Err(Errno::EINVAL));
        assert_eq!(of_text(c"239.1.2.3", None), Ok(("239.1.2.3".parse().unwrap(), Selector::Route)));
    }
}
