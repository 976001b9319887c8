//! The kernel's tables in /proc/net: memberships, source filters and UDP sockets of this host (of
//! the calling thread's network namespace), whichever process they belong to.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::error::{Errno, Result};
use crate::interface::name_of;

/// /proc/net itself is that of the process's first thread.
const NET: &str = "/proc/thread-self/net";

/// A membership of this host: /proc/net/igmp, /proc/net/igmp6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: IpAddr,
    /// The index of the interface on which it is joined.
    pub ifindex: u32,
    /// That interface's name.
    pub interface: String,
    /// How many joins hold it: of sockets, and of the kernel itself.
    pub users: u32,
}

/// A source filter of this host: /proc/net/mcfilter, /proc/net/mcfilter6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFilter {
    /// The index of the interface on which the group is joined.
    pub ifindex: u32,
    /// That interface's name.
    pub interface: String,
    /// The group.
    pub group: IpAddr,
    /// One source of it.
    pub source: IpAddr,
    /// How many sockets include it.
    pub include: u32,
    /// How many sockets exclude it.
    pub exclude: u32,
}

/// A UDP socket of this host: /proc/net/udp, /proc/net/udp6; raw sockets' tables look alike, with
/// the protocol for a local port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Where it is bound. The tables don't tell an IPv6 address's scope.
    pub local: SocketAddr,
    /// Where it is connected to; unspecified with port 0 if it isn't.
    pub peer: SocketAddr,
    /// What was received and not read, in bytes as the kernel counts them, overhead included.
    pub receive_queue: u32,
    /// What wasn't sent yet, likewise.
    pub send_queue: u32,
    /// The user who made it.
    pub uid: u32,
    /// The number by which /proc/PID/fd calls it: socket:[NUMBER].
    pub inode: u64,
    /// How many datagrams it dropped.
    pub drops: u64,
}

/// The memberships of this host, IPv4's and then IPv6's; none of a family that the kernel lacks.
pub fn memberships() -> Result<Vec<Membership>> {
    let mut all = parse_igmp(&read("igmp")?);
    all.extend(parse_igmp6(&read("igmp6")?));
    Ok(all)
}

/// The source filters of this host, IPv4's and then IPv6's.
pub fn source_filters() -> Result<Vec<SourceFilter>> {
    let mut all = parse_filters(&read("mcfilter")?);
    all.extend(parse_filters(&read("mcfilter6")?));
    for filter in &mut all {
        // These two tables cut names to six characters.
        if let Some(name) = full_name(filter.ifindex) {
            filter.interface = name;
        }
    }
    Ok(all)
}

/// The UDP sockets of this host, IPv4's and then IPv6's.
pub fn udp_sockets() -> Result<Vec<Socket>> {
    let mut all = parse_sockets(&read("udp")?);
    all.extend(parse_sockets(&read("udp6")?));
    Ok(all)
}

/// The name of an interface of this host.
pub(super) fn full_name(ifindex: u32) -> Option<String> {
    let name = name_of(ifindex).ok()?;
    let length = name.iter().take_while(|byte| **byte != 0).count();
    name.get(..length).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// A table's text, empty if this kernel doesn't have it. `ENOENT` without /proc, which tells nothing.
fn read(table: &str) -> Result<String> {
    match fs::read(format!("{NET}/{table}")) {
        // An interface's name may hold any byte.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound && Path::new(NET).is_dir() => Ok(String::new()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO.raw()))),
    }
}

/// A line for each interface, then one for each of its groups, indented:
///
/// ```text
/// 4   eth0      :     1      V3
///                 010000E0     1 0:00000000       0
/// ```
fn parse_igmp(text: &str) -> Vec<Membership> {
    let mut all = Vec::new();
    let mut interface = None;
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            interface = interface_line(line);
        } else if let (Some((ifindex, name)), Some((group, users))) = (interface, group_line(line)) {
            all.push(Membership { group, ifindex, interface: name.to_owned(), users });
        }
    }
    all
}

fn interface_line(line: &str) -> Option<(u32, &str)> {
    let (index, rest) = line.split_once('\t')?;
    let (name, _) = rest.split_once(':')?;
    Some((index.trim().parse().ok()?, name.trim_end()))
}

fn group_line(line: &str) -> Option<(IpAddr, u32)> {
    let mut fields = line.split_whitespace();
    Some((ipv4_word(fields.next()?)?.into(), fields.next()?.parse().ok()?))
}

/// `4    eth0            ff020000000000000000000000000001     1 0000000C 0`
fn parse_igmp6(text: &str) -> Vec<Membership> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(Membership {
            ifindex: fields.next()?.parse().ok()?,
            interface: fields.next()?.to_owned(),
            group: plain_address(fields.next()?)?,
            users: fields.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// IPv4 and IPv6 differ in the addresses alone:
///
/// ```text
///   3 eth0   0xef010203 0x0a000009      1      0
/// ```
fn parse_filters(text: &str) -> Vec<SourceFilter> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(SourceFilter {
            ifindex: fields.next()?.parse().ok()?,
            interface: fields.next()?.to_owned(),
            group: plain_address(fields.next()?)?,
            source: plain_address(fields.next()?)?,
            include: fields.next()?.parse().ok()?,
            exclude: fields.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// Number, local, peer, state, queues, timer, retransmits, user, time-out, inode, references,
/// pointer, drops; the heading has no number.
fn parse_sockets(text: &str) -> Vec<Socket> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = socket_address(fields.nth(1)?)?;
        let peer = socket_address(fields.next()?)?;
        let (send, receive) = fields.nth(1)?.split_once(':')?;
        Some(Socket {
            local,
            peer,
            send_queue: u32::from_str_radix(send, 16).ok()?,
            receive_queue: u32::from_str_radix(receive, 16).ok()?,
            uid: fields.nth(2)?.parse().ok()?,
            inode: fields.nth(1)?.parse().ok()?,
            drops: fields.nth(2)?.parse().ok()?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// "0100007F:1388"
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match address.len() {
        8 => ipv4_word(address)?.into(),
        _ => ipv6_words(address)?.into(),
    };
    Some(SocketAddr::new(ip, port))
}

/// The word in network order, printed as this host's order reads it.
fn ipv4_word(text: &str) -> Option<Ipv4Addr> {
    word(text).map(Ipv4Addr::from)
}

/// Four such words.
fn ipv6_words(text: &str) -> Option<Ipv6Addr> {
    let mut octets = [0; 16];
    for (index, place) in octets.chunks_exact_mut(4).enumerate() {
        place.copy_from_slice(&word(text.get(index * 8..index * 8 + 8)?)?);
    }
    (text.len() == 32).then(|| Ipv6Addr::from(octets))
}

fn word(text: &str) -> Option<[u8; 4]> {
    Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes())
}

/// "0xef010203", "ff150000000000000000000000000007": as it is read.
fn plain_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix("0x") {
        Some(digits) => Some(Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).into()),
        None if text.len() == 32 => Some(Ipv6Addr::from_bits(u128::from_str_radix(text, 16).ok()?).into()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// As a host of this byte order would print an address.
    fn words(address: &str) -> String {
        let octets = match ip(address) {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.chunks(4).map(|four| format!("{:08X}", u32::from_ne_bytes(four.try_into().unwrap()))).collect()
    }

    #[test]
    fn groups_stand_below_their_interface() {
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\
             \t\t\t\t{}     1 0:00000000\t\t0\n\
             3\taverylongname0:     2      V2\n\
             \t\t\t\t{}    12 0:00000000\t\t0\n\
             \t\t\t\t{}     1 1:0000001A\t\t1\n",
            words("224.0.0.1"),
            words("239.1.2.3"),
            words("224.0.0.1"),
        );
        let found = parse_igmp(&text);
        assert_eq!(found.len(), 3);
        let expected =
            Membership { group: ip("239.1.2.3"), ifindex: 3, interface: "averylongname0".to_owned(), users: 12 };
        assert_eq!(found[1], expected);
        assert_eq!((found[0].group, found[0].ifindex, found[0].interface.as_str()), (ip("224.0.0.1"), 1, "lo"));
    }

    #[test]
    fn groups_of_ipv6_stand_beside_it() {
        let found = parse_igmp6("4    eth0            ff150000000000000000000000000007     2 0000000C 0\n");
        let expected = Membership { group: ip("ff15::7"), ifindex: 4, interface: "eth0".to_owned(), users: 2 };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn filters_of_both_families_read_alike() {
        let v4 = parse_filters(
            "Idx Device        MCA        SRC    INC    EXC\n\
             \x20 3 averyl 0xef010203 0x0a000009      1      0\n",
        );
        let v6 = parse_filters(
            "Idx Device                Multicast Address                   Source Address    INC    EXC\n\
             \x20 3 averyl ff150000000000000000000000000007 fd000000000000000000000000000009      0      2\n",
        );
        let expected = SourceFilter {
            ifindex: 3,
            interface: "averyl".to_owned(),
            group: ip("239.1.2.3"),
            source: ip("10.0.0.9"),
            include: 1,
            exclude: 0,
        };
        assert_eq!(v4, std::slice::from_ref(&expected));
        assert_eq!(
            v6,
            [SourceFilter { group: ip("ff15::7"), source: ip("fd00::9"), include: 0, exclude: 2, ..expected }]
        );
    }

    #[test]
    fn sockets_have_addresses_queues_and_drops() {
        let rest = "07 0000000A:000003C0 00:00000000 00000000  1000        0 3940219 2 00000000ddccb316 17";
        let v4 = format!(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \x202872: {}:1388 {}:0035 {rest}            \n",
            words("127.0.0.1"),
            words("192.0.2.9"),
        );
        let expected = Socket {
            local: "127.0.0.1:5000".parse().unwrap(),
            peer: "192.0.2.9:53".parse().unwrap(),
            receive_queue: 0x3c0,
            send_queue: 10,
            uid: 1000,
            inode: 3_940_219,
            drops: 17,
        };
        assert_eq!(parse_sockets(&v4), std::slice::from_ref(&expected));
        let v6 = format!(" 2873: {}:1389 {}:0000 {rest}\n", words("fd00::1:2"), words("::"));
        let (local, peer) = ("[fd00::1:2]:5001".parse().unwrap(), "[::]:0".parse().unwrap());
        assert_eq!(parse_sockets(&v6), [Socket { local, peer, ..expected }]);
    }

    proptest! {
        #[test]
        fn no_text_does_harm(lines in vec("([0-9A-Fx:+\\-é]{1,33}[ \t]{0,3}){0,13}", 0..4), any in ".{0,80}") {
            for text in [lines.join("\n"), any] {
                let count = text.lines().count();
                let (igmp, igmp6) = (parse_igmp(&text), parse_igmp6(&text));
                let (filters, sockets) = (parse_filters(&text), parse_sockets(&text));
                prop_assert!(igmp.len().max(igmp6.len()).max(filters.len()).max(sockets.len()) <= count);
                prop_assert!(igmp.iter().all(|one| one.group.is_ipv4()));
            }
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        for text in ["", "\n", "x", "1 2 3", "1\t:", "\t\tEF", "1 eth0 é 1", "1: 0:0 00000000éé:1 07 0:0"] {
            assert_eq!(parse_igmp(text), []);
            assert_eq!(parse_igmp6(text), []);
            assert_eq!(parse_filters(text), []);
            assert_eq!(parse_sockets(text), []);
        }
    }

    #[test]
    fn every_host_has_joined_all_hosts_on_its_loopback() {
        let all = memberships().unwrap();
        assert!(all.iter().all(|membership| membership.users > 0));
        assert!(all.iter().any(|membership| membership.group == ip("ff02::1") || membership.group == ip("224.0.0.1")));
    }

    #[test]
    fn a_socket_is_found_by_its_address() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let all = udp_sockets().unwrap();
        assert_eq!(all.iter().filter(|found| found.local == local).count(), 1);
    }

    #[test]
    fn a_table_that_the_kernel_lacks_is_empty() {
        assert_eq!(read("no such table").unwrap(), "");
    }
}
