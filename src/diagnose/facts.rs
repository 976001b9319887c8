//! The facts: what is asked, what the socket is, and what the host has. Gathered once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::host::{Firewall, Limits, Link, Pair, UdpErrors};
use super::question::Question;
use super::tables::{Membership, Socket};
use crate::error::Errno;
use crate::sys::multicast::FilterMode;
use crate::sys::netlink::Route;
use crate::sys::netlink::bridge::Bridge;
use crate::sys::option::{Family, Memory, SocketType};
use crate::sys::socket_filter::SocketFilter;

/// What this socket has joined on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The interface's index.
    pub interface: u32,
    /// What the sources are for.
    pub mode: FilterMode,
    /// The sources listed.
    pub sources: Vec<IpAddr>,
}

/// Where packets to some address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By this route.
    By(Route),
    /// Nowhere.
    None,
    /// It couldn't be asked.
    Unknown(Errno),
}

/// How the interface in question was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// By the caller.
    Named,
    /// The group is joined there by this socket.
    Joined,
    /// The source is on its link.
    Source,
    /// The group is joined there by another socket.
    Others,
    /// The socket is bound to it.
    Device,
    /// Multicast is routed there.
    Route,
}

/// All that the checks go by.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The question.
    pub question: Question,
    /// Of which namespace the socket is, if not of the calling thread's: the two cookies.
    pub namespaces: Option<(u64, u64)>,
    /// Why /proc couldn't be read.
    pub proc_error: Option<Errno>,
    /// AF_INET or AF_INET6
    pub family: Family,
    /// A stream, or datagrams.
    pub socket_type: SocketType,
    /// Whether it has ports.
    pub is_udp: bool,
    /// IPV6_V6ONLY
    pub is_ipv6_only: bool,
    /// getsockname(2)
    pub local: SocketAddr,
    /// getpeername(2)
    pub peer: Option<SocketAddr>,
    /// SO_BINDTOIFINDEX
    pub device: u32,
    /// SO_REUSEADDR
    pub reuse_address: bool,
    /// SO_REUSEPORT
    pub reuse_port: bool,
    /// MULTICAST_ALL of the group's family
    pub all: bool,
    /// MULTICAST_TTL or MULTICAST_HOPS of the group's family
    pub ttl: Option<i32>,
    /// MULTICAST_LOOP of the group's family
    pub loops: bool,
    /// MULTICAST_IF; `None` where the kernel doesn't tell it, which is on an IPv4 socket.
    pub outgoing: Option<u32>,
    /// Whether the group can be sent to, where the kernel was asked.
    pub sends: Option<Result<(), Errno>>,
    /// SO_MEMINFO
    pub memory: Option<Memory>,
    /// What this socket has joined of the group.
    pub joined: Vec<Joined>,
    /// All groups that this socket has joined, with their interfaces.
    pub own_groups: Vec<(IpAddr, u32)>,
    /// What the host has joined.
    pub memberships: Vec<Membership>,
    /// Whose it is, as far as /proc tells.
    pub uid: Option<u32>,
    /// How many source filters sockets of this host have for the group.
    pub source_filters: usize,
    /// ip_early_demux, udp_early_demux
    pub early_demux: bool,
    /// Other UDP sockets of the host on the port.
    pub neighbours: Vec<Socket>,
    /// All interfaces.
    pub links: Vec<Link>,
    /// The interface in question.
    pub link: Option<Link>,
    /// How it was found.
    pub chosen: Option<Chosen>,
    /// The bridge that it is, or whose port it is: its name.
    pub bridge: Option<(String, Bridge)>,
    /// The index of the interface that it belongs to.
    pub master: u32,
    /// Whether what arrives on it is the master's.
    pub is_port: bool,
    /// SO_ATTACH_FILTER, SO_ATTACH_BPF
    pub filter: SocketFilter,
    /// The address of IP_MULTICAST_IF
    pub outgoing_address: Option<Ipv4Addr>,
    /// Why UDP dropped on this host, if it is known.
    pub udp_errors: Option<UdpErrors>,
    /// rp_filter
    pub rp_filter: Option<Pair>,
    /// IPReversePathFilter, if there is nothing better to go by
    pub reverse_path_drops: u64,
    /// force_igmp_version or force_mld_version
    pub forced_version: Option<Pair>,
    /// disable_ipv6
    pub is_ipv6_disabled: bool,
    /// sysctl(8)
    pub limits: Limits,
    /// The route to the source.
    pub way_back: Option<(IpAddr, Way)>,
    /// The route to the group.
    pub way_out: Way,
    /// What filters.
    pub firewall: Firewall,
}

impl Facts {
    /// The port in question.
    pub fn port(&self) -> u16 {
        if self.question.port == 0 { self.local.port() } else { self.question.port }
    }

    /// An interface by its index.
    pub fn link_of(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// "eth0 (index 3)"
    pub fn called(&self, index: u32) -> String {
        self.link_of(index).map_or_else(|| format!("index {index}"), Link::to_string)
    }

    /// This socket's membership on the interface in question.
    pub fn membership(&self) -> Option<&Joined> {
        let link = self.link.as_ref()?;
        self.joined.iter().find(|joined| joined.interface == link.index)
    }

    /// The host's memberships of the group on interfaces where this socket has none.
    pub fn joins_of_others(&self) -> impl Iterator<Item = &Membership> {
        let is_own = |index: u32| self.joined.iter().any(|joined| joined.interface == index);
        self.memberships.iter().filter(move |found| found.group == self.question.group && !is_own(found.ifindex))
    }

    /// The interface that the socket itself sends by, whatever the routes say. A bound IPv4 address
    /// chooses its interface too.
    pub fn explicit_outgoing(&self) -> u32 {
        let of_address = || {
            let ip = self.local.ip().to_canonical();
            let is_own = |link: &&Link| ip.is_ipv4() && !ip.is_multicast() && link.addresses.contains(&ip);
            self.links.iter().find(is_own).map_or(0, |link| link.index)
        };
        match (self.device, self.outgoing) {
            (0, None | Some(0)) => of_address(),
            (0, Some(outgoing)) => outgoing,
            (device, _) => device,
        }
    }

    /// The interface by which a datagram to the group leaves.
    pub fn leaves_by(&self) -> Option<u32> {
        match (self.explicit_outgoing(), self.way_out) {
            (0, Way::By(route)) => Some(route.interface),
            (0, _) => None,
            (index, _) => Some(index),
        }
    }
}

/// Whether every host has joined it by itself.
pub fn is_all_hosts(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4 == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(v6) => v6 == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    }
}
