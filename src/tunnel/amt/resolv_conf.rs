//! Which DNS servers this host asks: resolv.conf(5).

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use super::name::Name;
use crate::address::Scoped;

/// As many as the C library asks (MAXNS).
const SERVERS_MAX: usize = 3;
const PORT: u16 = 53;

/// The servers in the file's text, in order; this host if there are none (man page).
pub fn servers(text: &str) -> Vec<SocketAddr> {
    let addresses = lines(text).filter(|(key, _)| *key == "nameserver").filter_map(|(_, value)| server(value));
    let found: Vec<SocketAddr> = addresses.take(SERVERS_MAX).collect();
    if found.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)] } else { found }
}

/// The domains in the file's text that names are looked for in: the last `search` or `domain`
/// line's (man page). Service discovery begins there (RFC 6763, section 11).
pub fn domains(text: &str) -> Vec<Name> {
    let last = lines(text).filter(|(key, _)| matches!(*key, "search" | "domain")).last();
    let words = last.map(|(_, value)| value.split_whitespace()).into_iter().flatten();
    words.filter_map(Name::parse).filter(|name| !name.is_root()).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once([' ', '\t'])).map(|(key, value)| (key, value.trim()))
}

/// An address, `%` and an interface behind it where it is of one link.
fn server(value: &str) -> Option<SocketAddr> {
    let word = value.split_whitespace().next()?;
    let address = Scoped::parse(&CString::new(word).ok()?).ok()?;
    Some(match address.ip {
        IpAddr::V4(_) => SocketAddr::new(address.ip, PORT),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, PORT, 0, address.scope).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_listed() {
        let text = "# a comment\n; another\nsearch example.com\nnameserver 192.0.2.1 # first\n\
            nameserver nonsense\nnameserver\t2001:db8::1\n nameserver 192.0.2.9\noptions edns0\n\
            nameserver fe80::1%lo\nnameserver 192.0.2.4\n";
        let shown: Vec<String> = servers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(shown, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]);
        for text in ["", "nameserver", "nameserver \n"] {
            assert_eq!(servers(text), ["127.0.0.1:53".parse().unwrap()]);
        }
    }

    #[test]
    fn domains_listed() {
        let domains = |text: &str| domains(text).iter().map(Name::to_string).collect::<Vec<_>>();
        assert_eq!(
            domains("domain a.example\nsearch b.example c..example  d.example. .\n"),
            ["b.example.", "d.example."]
        );
        assert_eq!(domains("search b.example\ndomain a.example\n"), ["a.example."]);
        assert!(domains("nameserver 192.0.2.1\n").is_empty());
    }
}
