//! Which interface a text means, in every function that takes one: a name, else one of its addresses, else its
//! index in digits.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use super::without_netlink::refused;
use super::{Entry, is_refused, list, name_of};
use crate::error::{Errno, Result};
use crate::sys::interface::{Asker, NAME_SIZE, padded};
use crate::sys::netlink::Netlink;

/// The longest alternative name (ALTIFNAMSIZ of <linux/if.h>, without its NUL).
pub const NAME_MAX: usize = 127;

/// What a text may mean if it isn't a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// The interface that has this address; if there is a zone ("fe80::1%eth0"), of that interface.
    Address(IpAddr, Option<String>),
    /// The interface of this index.
    Index(u32),
    /// Nothing else.
    Name,
}

/// How a text reads that is no interface's name.
pub fn parse(text: &str) -> Spec {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    match (address.parse::<IpAddr>(), zone) {
        (Ok(ip), None) => return Spec::Address(ip.to_canonical(), None),
        (Ok(ip @ IpAddr::V6(_)), Some(zone)) if !zone.is_empty() => {
            return Spec::Address(ip.to_canonical(), Some(zone.to_owned()));
        }
        _ => {}
    }
    digits(text).map_or(Spec::Name, Spec::Index)
}

fn digits(text: &str) -> Option<u32> {
    text.parse().ok().filter(|index| *index > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The interface that a text means, and the address if the text is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Its index; 0 is the kernel's choice.
    pub index: u32,
    /// The one of its addresses that it was named by.
    pub address: Option<IpAddr>,
}

impl From<u32> for Meant {
    fn from(index: u32) -> Meant {
        Meant { index, address: None }
    }
}

/// `ENODEV` if there is no such interface, `EADDRNOTAVAIL` if several have the address, `EINVAL` for an empty
/// text, `EPERM` if this process may ask neither by ioctl(2) nor by netlink.
pub fn meant(text: &CStr) -> Result<Meant> {
    if text.is_empty() {
        return Err(Errno::EINVAL);
    }
    match named(text.to_bytes()) {
        Err(Errno::ENODEV) => {}
        result => return result.map(Meant::from),
    }
    match parse(text.to_str().map_err(|_| Errno::ENODEV)?) {
        Spec::Address(ip, zone) => with_address(ip, zone.as_deref()),
        Spec::Index(index) => name_of(index).map(|_| index.into()),
        Spec::Name => Err(Errno::ENODEV),
    }
}

/// As [`meant`], with NULL for the kernel's choice.
pub fn meant_optional(text: Option<&CStr>) -> Result<Meant> {
    text.map_or(Ok(Meant::default()), meant)
}

/// As [`meant`], the index alone.
pub fn resolve(text: &CStr) -> Result<u32> {
    meant(text).map(|meant| meant.index)
}

/// As [`resolve`], from Rust text.
pub fn index_of(text: &str) -> Result<u32> {
    resolve(&CString::new(text).map_err(|_| Errno::EINVAL)?)
}

/// As [`resolve`], with NULL for the kernel's choice, 0.
pub fn resolve_optional(text: Option<&CStr>) -> Result<u32> {
    text.map_or(Ok(0), resolve)
}

/// The interface behind an address, "%eth0" or "%3": by name or index (RFC 4007, section 11). `ENODEV` if there
/// is none.
pub fn zone(text: &str) -> Result<u32> {
    match named(text.as_bytes()) {
        Err(Errno::ENODEV) => {}
        result => return result,
    }
    let index = digits(text).ok_or(Errno::ENODEV)?;
    name_of(index).map(|_| index)
}

/// By its name or an alternative one. ioctl(2) cuts what it is given at a colon, as if it were a label, and has
/// room for short names only.
fn named(name: &[u8]) -> Result<u32> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Errno::ENODEV);
    }
    let by_netlink = || Netlink::connect()?.index_of(name);
    if name.len() >= NAME_SIZE || name.contains(&b':') {
        return by_netlink().map_err(|error| if is_refused(error) { Errno::ENODEV } else { error });
    }
    match Asker::open().and_then(|asker| asker.index_of(padded(name)?)) {
        Err(error) if is_refused(error) => by_netlink().map_err(refused),
        result => result,
    }
}

fn with_address(ip: IpAddr, zone_text: Option<&str>) -> Result<Meant> {
    let wanted = zone_text.map(zone).transpose()?;
    let mut found = None;
    for entry in list()? {
        let index = entry.interface.index;
        if entry.address.is_none_or(|address| address.ip != ip) || wanted.is_some_and(|wanted| wanted != index) {
            continue;
        }
        if found.is_some_and(|other| other != index) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        found = Some(index);
    }
    found.map(|index| Meant { index, address: Some(ip) }).ok_or(Errno::ENODEV)
}

/// The entries that a text means: one address of an interface if it is that address, else all of
/// the interface. `ENODEV` if there is none.
pub fn entries_of(text: &CStr) -> Result<Vec<Entry>> {
    let Meant { index, address } = meant(text)?;
    let mut entries = list()?;
    entries.retain(|entry| entry.interface.index == index);
    if let Some(ip) = address {
        entries.retain(|entry| entry.address.is_some_and(|address| address.ip == ip));
    }
    if entries.is_empty() { Err(Errno::ENODEV) } else { Ok(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_as_an_address_or_an_index_or_is_a_name() {
        let address = |ip: &str, zone: Option<&str>| Spec::Address(ip.parse().unwrap(), zone.map(str::to_owned));
        for (text, expected) in [
            ("10.1.0.1", address("10.1.0.1", None)),
            ("::ffff:10.1.0.1", address("10.1.0.1", None)),
            ("fe80::1", address("fe80::1", None)),
            ("fe80::1%eth0", address("fe80::1", Some("eth0"))),
            ("fe80::1%3", address("fe80::1", Some("3"))),
            ("fe80::1%", Spec::Name),
            ("10.1.0.1%eth0", Spec::Name),
            ("3", Spec::Index(3)),
            ("0", Spec::Name),
            ("+3", Spec::Name),
            ("4294967296", Spec::Name),
            ("eth0", Spec::Name),
            ("", Spec::Name),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
