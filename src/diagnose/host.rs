//! What the host has to say: its interfaces, its settings (sysctl(8)) and what filters: nftables, as far as
//! it tells, and the older iptables, which doesn't.

use std::fmt;
use std::fs;
use std::net::IpAddr;

use super::cure::shell;
use crate::error::{Errno, Result};
use crate::interface;
use crate::setting;
use crate::sys::interface::Flags;
use crate::sys::netlink::firewall::{self, Rules};

/// An interface with all its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: Flags,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Link {
    /// Whether it is switched on.
    pub fn is_up(&self) -> bool {
        self.flags.has(Flags::UP)
    }

    /// Whether it has an address of a family.
    pub fn has_address(&self, is_ipv4: bool) -> bool {
        self.addresses.iter().any(|ip| ip.is_ipv4() == is_ipv4)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (index {})", self.name, self.index)
    }
}

/// All interfaces.
pub fn links() -> Result<Vec<Link>> {
    let mut all: Vec<Link> = Vec::new();
    for entry in interface::list()? {
        let address = entry.address.map(|address| address.ip);
        match all.last_mut().filter(|last| last.index == entry.interface.index) {
            Some(last) => last.addresses.extend(address),
            None => all.push(Link {
                index: entry.interface.index,
                name: interface_name(&entry.interface.name),
                flags: entry.interface.flags,
                addresses: address.into_iter().collect(),
            }),
        }
    }
    Ok(all)
}

fn interface_name(name: &[u8]) -> String {
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// A setting that an interface has and the host as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// conf.all
    pub all: u32,
    /// conf.INTERFACE
    pub own: u32,
}

impl Pair {
    /// Under /proc/sys/net/FAMILY/conf. `None` if the interface has no such setting.
    pub fn read(family: &str, interface: &str, name: &str) -> Option<Pair> {
        let own = setting::of_network(&format!("{family}/conf/{interface}/{name}"))?;
        Some(Pair { all: setting::of_network(&format!("{family}/conf/all/{name}")).unwrap_or(0), own })
    }

    /// The larger one, and whose it is.
    pub fn larger(self, interface: &str) -> (u32, &str) {
        if self.all > self.own { (self.all, "all") } else { (self.own, interface) }
    }
}

impl Pair {
    /// What sysctl(8) is to set to switch it off, wherever it is on.
    pub fn switched_off(self, family: &str, interface: &str, name: &str) -> String {
        let of = |whose: &str| shell(&format!("{}=0", setting_name(family, whose, name)));
        match (self.all, self.own) {
            (0, _) => of(interface),
            (_, 0) => of("all"),
            _ => format!("{} {}", of("all"), of(interface)),
        }
    }
}

/// As sysctl(8) wants it: a dot in an interface's name is a slash there.
pub fn setting_name(family: &str, interface: &str, name: &str) -> String {
    format!("net.{family}.conf.{}.{name}", interface.replace('.', "/"))
}

/// How many packets this host dropped by rp_filter, IPReversePathFilter of /proc/net/netstat.
pub fn reverse_path_drops() -> Option<u64> {
    parse_counter(&fs::read_to_string("/proc/thread-self/net/netstat").ok()?, "TcpExt:", "IPReversePathFilter")
}

/// What UDP dropped on this host so far, IPv4 and IPv6 together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpErrors {
    /// For a full receive buffer: RcvbufErrors, MemErrors.
    pub full: u64,
    /// InCsumErrors
    pub checksums: u64,
}

impl UdpErrors {
    /// As they are now. `None` if they can't be read.
    pub fn read() -> Option<UdpErrors> {
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).ok();
        // Without IPv6 there is no second one.
        let (v4, v6) = (read("snmp")?, read("snmp6").unwrap_or_default());
        let all = |name: &str| {
            let of_v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6")?.strip_prefix(name)?.trim().parse().ok());
            parse_counter(&v4, "Udp:", name).unwrap_or(0) + of_v6.unwrap_or(0)
        };
        Some(UdpErrors { full: all("RcvbufErrors") + all("MemErrors"), checksums: all("InCsumErrors") })
    }
}

/// Names stand in one line, their values in the next.
fn parse_counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let at = lines.next()?.split_whitespace().position(|found| found == name)?;
    lines.next()?.split_whitespace().nth(at)?.parse().ok()
}

/// sysctl(8); `None` where it can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// net.ipv4.igmp_max_memberships
    pub groups: Option<u32>,
    /// net.ipv4.igmp_max_msf
    pub ipv4_sources: Option<u32>,
    /// net.ipv6.mld_max_msf
    pub ipv6_sources: Option<u32>,
    /// net.core.optmem_max
    pub option_memory: Option<u32>,
}

impl Limits {
    /// As they are now.
    pub fn read() -> Limits {
        Limits {
            groups: setting::of_network("ipv4/igmp_max_memberships"),
            ipv4_sources: setting::of_network("ipv4/igmp_max_msf"),
            ipv6_sources: setting::of_network("ipv6/mld_max_msf"),
            option_memory: setting::of_network("core/optmem_max"),
        }
    }
}

/// What filters on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Nothing.
    Nothing,
    /// It may be that something does, and can't be read.
    Unreadable(Errno),
    /// nftables' rules, and the tables of iptables-legacy that are in use.
    Rules(Rules, Vec<String>),
}

impl Firewall {
    /// All of it.
    pub fn read() -> Firewall {
        let legacy = legacy_tables();
        match firewall::rules() {
            Ok(rules) if rules == Rules::default() && legacy.is_empty() => Firewall::Nothing,
            Ok(rules) => Firewall::Rules(rules, legacy),
            // A kernel without netfilter, or without nftables.
            Err(Errno::EPROTONOSUPPORT | Errno::EINVAL | Errno::EOPNOTSUPP) if legacy.is_empty() => Firewall::Nothing,
            Err(Errno::EPROTONOSUPPORT | Errno::EINVAL | Errno::EOPNOTSUPP) => {
                Firewall::Rules(Rules::default(), legacy)
            }
            Err(error) => Firewall::Unreadable(error),
        }
    }
}

/// Tables of iptables-legacy that somebody has used.
fn legacy_tables() -> Vec<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let label =
        |text: String, with: &str| -> Vec<String> { text.lines().map(|table| format!("{with} {table}")).collect() };
    [label(read("ip_tables_names"), "iptables"), label(read("ip6_tables_names"), "ip6tables")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stands_below_its_name() {
        let text = "TcpExt: A IPReversePathFilter C\nTcpExt: 1 22 3\nIpExt: A\nIpExt: 5\n";
        assert_eq!(parse_counter(text, "TcpExt:", "IPReversePathFilter"), Some(22));
        assert_eq!(parse_counter(text, "TcpExt:", "D"), None);
        assert_eq!(parse_counter("", "TcpExt:", "A"), None);
    }

    #[test]
    fn a_setting_is_switched_off_wherever_it_is_on() {
        let cure = |all, own| Pair { all, own }.switched_off("ipv4", "eth0.7", "rp_filter");
        let (all, own) = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0/7.rp_filter=0");
        assert_eq!((cure(1, 0), cure(0, 1)), (all.to_owned(), own.to_owned()));
        assert_eq!(cure(1, 2), format!("{all} {own}"));
    }

    #[test]
    fn the_larger_setting_counts() {
        assert_eq!(Pair { all: 2, own: 1 }.larger("eth0"), (2, "all"));
        assert_eq!(Pair { all: 1, own: 1 }.larger("eth0"), (1, "eth0"));
    }
}
