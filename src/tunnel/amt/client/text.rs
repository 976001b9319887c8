//! Relays as people write them.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use super::super::PORT;
use super::super::driad::is_anycast;
use super::super::gateway::Candidate;
use crate::error::{Errno, Result};

/// The most relays of one list.
const RELAYS_MAX: usize = 64;

/// "192.0.2.1", "2001:db8::1", "192.0.2.1:2268", "[2001:db8::1]:2268", several separated by commas or
/// spaces; an anycast address is asked for a relay in any case. `EINVAL` for anything else, an empty
/// list, or an address that nobody can have.
pub fn relays(text: &CStr, discovery: bool) -> Result<Vec<Candidate>> {
    let text = text.to_str().map_err(|_| Errno::EINVAL)?;
    let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let mut list = Vec::new();
    for word in words {
        let address = address(word)?;
        let candidate = Candidate { address, discovery: discovery || is_anycast(address.ip()) };
        if !list.contains(&candidate) {
            list.push(candidate);
        }
    }
    if list.is_empty() || list.len() > RELAYS_MAX { Err(Errno::EINVAL) } else { Ok(list) }
}

fn address(word: &str) -> Result<SocketAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT),
        Err(_) => word.parse().map_err(|_| Errno::EINVAL)?,
    };
    check(address)
}

/// As [`relays`], for one that is an address already; port 0 is the usual one.
pub fn check(address: SocketAddr) -> Result<SocketAddr> {
    let ip = address.ip().to_canonical();
    let is_nobody = ip.is_unspecified() || ip.is_multicast() || address.port() == 0;
    match ip {
        _ if is_nobody => Err(Errno::EINVAL),
        // The scope of an IPv6 address stays.
        IpAddr::V6(_) => Ok(address),
        IpAddr::V4(_) => Ok(SocketAddr::new(ip, address.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_read_as_they_look() {
        let list =
            |text: &CStr| relays(text, false).map(|list| list.iter().map(|one| one.address.to_string()).collect());
        let read = |text: &CStr| list(text).unwrap_or_else(|error| vec![format!("{error:?}")]);
        assert_eq!(read(c"192.0.2.1"), ["192.0.2.1:2268"]);
        assert_eq!(
            read(c"[2001:db8::1]:99, 2001:db8::2  [2001:db8::3]"),
            ["[2001:db8::1]:99", "[2001:db8::2]:2268", "[2001:db8::3]:2268"]
        );
        assert_eq!(read(c"192.0.2.1:99,192.0.2.1:99 ::ffff:192.0.2.2"), ["192.0.2.1:99", "192.0.2.2:2268"]);
        for text in [c"", c" , ", c"relay", c"192.0.2.1:", c"192.0.2.1:0", c"0.0.0.0", c"239.1.1.1", c"192.0.2.1:99999"]
        {
            assert_eq!(list(text), Err(Errno::EINVAL), "{text:?}");
        }
        let asked =
            |text: &CStr, all| -> Vec<bool> { relays(text, all).unwrap().iter().map(|one| one.discovery).collect() };
        let text = c"192.0.2.1 192.52.193.1 192.52.194.1 2001:3::1 2001:4::1";
        assert_eq!(asked(text, false), [false, true, false, true, false]);
        assert_eq!(asked(text, true), [true; 5]);
        let many =
            std::ffi::CString::new((0..65).map(|number| format!("192.0.2.{number} ")).collect::<String>()).unwrap();
        assert_eq!(list(&many), Err(Errno::EINVAL));
    }
}
