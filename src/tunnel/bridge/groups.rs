//! The groups that a bridge takes in, from text.

use std::ffi::CStr;
use std::net::IpAddr;

use crate::error::{Errno, Result};
use crate::multicast::manager::wish::Key;

/// Which groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Whatever comes by.
    All,
    /// What the tunnel's other end reports.
    Asked,
    /// These, each with the port of its datagrams if one is named.
    List(Vec<(Key, Option<u16>)>),
}

impl Groups {
    /// From text: "*"; NULL for what is asked for; else a list with commas or spaces between, of
    /// "239.1.2.3", "232.1.2.3@192.0.2.1" for one source, "239.1.2.3:5000" and "[ff3e::7]:5000" with a
    /// port.
    pub fn parse(text: Option<&CStr>) -> Result<Groups> {
        let Some(text) = text else { return Ok(Groups::Asked) };
        let text = text.to_str().map_err(|_| Errno::EINVAL)?;
        if text == "*" {
            return Ok(Groups::All);
        }
        let list: Vec<_> =
            text.split([',', ' ', '\t', '\n']).filter(|one| !one.is_empty()).map(one).collect::<Result<_>>()?;
        if list.is_empty() { Err(Errno::EINVAL) } else { Ok(Groups::List(list)) }
    }
}

fn one(text: &str) -> Result<(Key, Option<u16>)> {
    let (group, source) = match text.split_once('@') {
        Some((group, source)) => (group, Some(source.parse::<IpAddr>().map_err(|_| Errno::EINVAL)?)),
        None => (text, None),
    };
    let (group, port) = match group.strip_prefix('[') {
        Some(rest) => {
            let (group, behind) = rest.split_once(']').ok_or(Errno::EINVAL)?;
            (group, if behind.is_empty() { None } else { Some(behind.strip_prefix(':').ok_or(Errno::EINVAL)?) })
        }
        None => match group.split_once(':') {
            Some((group, port)) if !port.contains(':') => (group, Some(port)),
            _ => (group, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0).ok_or(Errno::EINVAL)?)
        }
        Some(_) => return Err(Errno::EINVAL),
    };
    let group: IpAddr = group.parse().map_err(|_| Errno::EINVAL)?;
    let fits = group.is_multicast() && source.is_none_or(|source| source.is_ipv4() == group.is_ipv4());
    if fits { Ok((Key { group, source }, port)) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_looks() {
        let key = |group: &str, source: Option<&str>| Key {
            group: group.parse().unwrap(),
            source: source.map(|source| source.parse().unwrap()),
        };
        assert_eq!(Groups::parse(None), Ok(Groups::Asked));
        assert_eq!(Groups::parse(Some(c"*")), Ok(Groups::All));
        let list =
            Groups::parse(Some(c"239.1.2.3, 232.1.2.3@192.0.2.1 239.1.2.3:5000,[ff3e::7]:5000@2001:db8::1 ff15::7"));
        let expected = vec![
            (key("239.1.2.3", None), None),
            (key("232.1.2.3", Some("192.0.2.1")), None),
            (key("239.1.2.3", None), Some(5000)),
            (key("ff3e::7", Some("2001:db8::1")), Some(5000)),
            (key("ff15::7", None), None),
        ];
        assert_eq!(list, Ok(Groups::List(expected)));
        for text in [c"", c" ,", c"10.1.2.3", c"239.1.2.3:0", c"239.1.2.3:x", c"239.1.2.3@ff::1", c"[ff3e::7", c"*,*"] {
            assert_eq!(Groups::parse(Some(text)), Err(Errno::EINVAL), "{text:?}");
        }
    }
}
