//! Gathering the facts: all that is asked of the kernel is asked here, once.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::facts::{Chosen, Facts, Joined, Way};
use super::host::{self, Firewall, Limits, Link, Pair, UdpErrors};
use super::question::{Named, Question};
use super::tables::{self, Membership, Socket};
use crate::error::Result;
use crate::setting;
use crate::sys::multicast::{self, FilterMode, Target};
use crate::sys::netlink::Netlink;
use crate::sys::option::{self, Family, IntOption};
use crate::sys::socket;
use crate::sys::socket_filter::{SocketFilter, socket_filter};

impl Facts {
    /// Everything, of a receiver or a sender.
    pub fn gather(fd: BorrowedFd<'_>, question: &Question, sends: bool) -> Result<Facts> {
        let family = option::family(fd)?;
        let mut facts = Facts::of_socket(fd, family, question)?;
        if facts.namespaces.is_some() {
            return Ok(facts);
        }
        let mut netlink = Netlink::connect();
        facts.links = host::links()?;
        facts.joined = facts.links.iter().filter_map(|link| joined(fd, question.group, link.index)).collect();
        facts.read_tables(fd);
        facts.sends = is_sendable(fd, &facts);
        facts.way_out = way(&mut netlink, question.group, facts.explicit_outgoing());
        if let Some(source) = question.source {
            facts.way_back = Some((source, way(&mut netlink, source, 0)));
        }
        facts.choose_link(sends);
        if !sends {
            facts.follow_master(&mut netlink);
        }
        if facts.way_back.is_none() {
            let included = facts.membership().filter(|joined| joined.mode == FilterMode::Include);
            let first = included.and_then(|joined| joined.sources.first().copied());
            facts.way_back = first.map(|source| (source, way(&mut netlink, source, 0)));
        }
        facts.read_link(&mut netlink);
        facts.limits = Limits::read();
        facts.udp_errors = UdpErrors::read();
        facts.firewall = Firewall::read();
        Ok(facts)
    }

    fn of_socket(fd: BorrowedFd<'_>, family: Family, question: &Question) -> Result<Facts> {
        let is_v4 = question.group.is_ipv4();
        let pick = |v4: IntOption, v6: IntOption| if is_v4 { v4.get(fd) } else { v6.get(fd) };
        let is_set = |option: IntOption| option.get(fd).is_ok_and(|value| value != 0);
        Ok(Facts {
            question: question.clone(),
            namespaces: namespaces(fd, family),
            proc_error: None,
            family,
            socket_type: option::socket_type(fd)?,
            is_udp: IntOption::PROTOCOL.get(fd)? == option::UDP,
            is_ipv6_only: family == Family::V6 && is_set(IntOption::IPV6_ONLY),
            local: socket::local_address(fd)?,
            peer: socket::peer_address(fd).ok(),
            device: IntOption::DEVICE.get(fd).unwrap_or(0).unsigned_abs(),
            reuse_address: is_set(IntOption::REUSE_ADDRESS),
            reuse_port: is_set(IntOption::REUSE_PORT),
            all: pick(IntOption::IPV4_MULTICAST_ALL, IntOption::IPV6_MULTICAST_ALL) != Ok(0),
            ttl: pick(IntOption::IPV4_MULTICAST_TTL, IntOption::IPV6_MULTICAST_HOPS).ok(),
            loops: pick(IntOption::IPV4_MULTICAST_LOOP, IntOption::IPV6_MULTICAST_LOOP) != Ok(0),
            outgoing: outgoing(fd, family),
            sends: None,
            memory: option::memory(fd).ok(),
            joined: Vec::new(),
            own_groups: Vec::new(),
            memberships: Vec::new(),
            uid: None,
            source_filters: 0,
            early_demux: false,
            neighbours: Vec::new(),
            links: Vec::new(),
            link: None,
            chosen: None,
            bridge: None,
            master: 0,
            is_port: false,
            filter: socket_filter(fd).unwrap_or(SocketFilter::None),
            outgoing_address: is_v4.then(|| multicast::ipv4_interface_address(fd).ok()).flatten(),
            udp_errors: None,
            rp_filter: None,
            reverse_path_drops: 0,
            forced_version: None,
            is_ipv6_disabled: false,
            limits: Limits::default(),
            way_back: None,
            way_out: Way::None,
            firewall: Firewall::Nothing,
        })
    }

    fn read_tables(&mut self, fd: BorrowedFd<'_>) {
        match tables::memberships() {
            Ok(all) => self.memberships = all,
            Err(error) => self.proc_error = Some(error),
        }
        let has = |found: &&Membership| multicast::filter(fd, target(found.group, found.ifindex), 0).is_ok();
        self.own_groups = self.memberships.iter().filter(has).map(|found| (found.group, found.ifindex)).collect();
        let group = self.question.group;
        let filters = tables::source_filters().unwrap_or_default();
        self.source_filters = filters.iter().filter(|filter| filter.group == group).count();
        let is_on = |name: &str| setting::of_network(&format!("ipv4/{name}")) != Some(0);
        self.early_demux = is_on("ip_early_demux") && is_on("udp_early_demux");
        let (port, own) = (self.port(), inode(fd));
        match tables::udp_sockets() {
            Ok(all) => {
                self.uid = all.iter().find(|found| Some(found.inode) == own).map(|found| found.uid);
                let is_other = |found: &Socket| found.local.port() == port && Some(found.inode) != own;
                self.neighbours = all.into_iter().filter(is_other).collect();
            }
            Err(error) => self.proc_error = Some(error),
        }
    }

    /// What is named, or where the datagrams must come in, or leave.
    fn choose_link(&mut self, sends: bool) {
        let found = match (&self.question.named, sends) {
            (Named::Index(index), _) => Some((*index, Chosen::Named)),
            (Named::Missing(_), _) => None,
            (Named::Any, true) => self.leaves_by().map(|index| (index, Chosen::Route)),
            (Named::Any, false) => self.arrives_by(),
        };
        self.chosen = found.map(|(_, chosen)| chosen);
        self.link = found.and_then(|(index, _)| self.link_of(index)).cloned();
    }

    fn arrives_by(&self) -> Option<(u32, Chosen)> {
        let joined = |index: u32| self.joined.iter().any(|joined| joined.interface == index);
        if let Some((source, Way::By(route))) = self.way_back {
            if route.gateway.is_none() && !route.is_local && !is_of_a_link(source) {
                let chosen = if joined(route.interface) { Chosen::Joined } else { Chosen::Source };
                return Some((route.interface, chosen));
            }
        }
        let is_up = |joined: &&Joined| self.link_of(joined.interface).is_some_and(Link::is_up);
        let on_device = self.joined.iter().find(|joined| joined.interface == self.device);
        let own = on_device.or_else(|| self.joined.iter().find(is_up)).or(self.joined.first());
        if let Some(own) = own {
            return Some((own.interface, Chosen::Joined));
        }
        if self.device != 0 {
            return Some((self.device, Chosen::Device));
        }
        if let Some(other) = self.joins_of_others().next() {
            return Some((other.ifindex, Chosen::Others));
        }
        self.leaves_by().map(|index| (index, Chosen::Route))
    }

    /// What arrives on a port is its master's: where the group is joined on that one, it is the one in question.
    fn follow_master(&mut self, netlink: &mut Result<Netlink>) {
        let (Ok(netlink), Some(link)) = (netlink, &self.link) else { return };
        let Ok(place) = netlink.place(link.index) else { return };
        if place.is_port && self.joined.iter().any(|joined| joined.interface == place.master) {
            self.link = self.link_of(place.master).cloned();
        }
    }

    fn read_link(&mut self, netlink: &mut Result<Netlink>) {
        let Some(link) = &self.link else { return };
        self.rp_filter = Pair::read("ipv4", &link.name, "rp_filter");
        let filters = self.rp_filter.is_some_and(|pair| pair.larger("").0 > 0);
        if filters && self.way_back.is_none() {
            self.reverse_path_drops = host::reverse_path_drops().unwrap_or(0);
        }
        self.forced_version = match self.question.group {
            IpAddr::V4(_) => Pair::read("ipv4", &link.name, "force_igmp_version"),
            IpAddr::V6(_) => Pair::read("ipv6", &link.name, "force_mld_version"),
        };
        self.is_ipv6_disabled = Pair::read("ipv6", &link.name, "disable_ipv6").is_some_and(|pair| pair.own != 0);
        let Ok(netlink) = netlink else { return };
        let Ok(place) = netlink.place(link.index) else { return };
        (self.master, self.is_port) = (place.master, place.is_port);
        self.bridge = match (place.bridge, self.link_of(place.master)) {
            (Some(bridge), _) => Some((link.name.clone(), bridge)),
            (None, Some(master)) => {
                let name = master.name.clone();
                netlink.place(place.master).ok().and_then(|place| Some((name, place.bridge?)))
            }
            (None, None) => None,
        };
    }
}

fn target(group: IpAddr, interface: u32) -> Target {
    Target { group, interface }
}

fn joined(fd: BorrowedFd<'_>, group: IpAddr, interface: u32) -> Option<Joined> {
    let first = multicast::filter(fd, target(group, interface), 64).ok()?;
    let whole =
        if first.count > 64 { multicast::filter(fd, target(group, interface), first.count).ok()? } else { first };
    Some(Joined { interface, mode: whole.mode, sources: whole.sources })
}

/// MULTICAST_IF, by the group's family. `None` of an IPv4 socket: there the kernel tells no index.
fn outgoing(fd: BorrowedFd<'_>, family: Family) -> Option<u32> {
    let index = || IntOption::IPV6_MULTICAST_IF.get(fd).unwrap_or(0).unsigned_abs();
    (family == Family::V6).then(index)
}

/// Whether a datagram to the group would find a way, as the kernel tells without sending (MSG_PROBE). Not of a socket
/// that has no port yet: it would get one by that.
fn is_sendable(fd: BorrowedFd<'_>, facts: &Facts) -> Option<Result<()>> {
    let is_asked = facts.outgoing.is_none() && facts.is_udp && facts.local.port() != 0 && facts.peer.is_none();
    is_asked.then(|| socket::probe(fd, &SocketAddr::new(facts.question.group, facts.port().max(1)).into()))
}

fn way(netlink: &mut Result<Netlink>, to: IpAddr, interface: u32) -> Way {
    match netlink {
        Ok(netlink) => netlink.route(to, None, interface).map_or(Way::None, Way::By),
        Err(error) => Way::Unknown(*error),
    }
}

/// An address that every link may have says nothing of where it is.
fn is_of_a_link(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Both cookies, if they differ.
fn namespaces(fd: BorrowedFd<'_>, family: Family) -> Option<(u64, u64)> {
    let here = socket::udp_socket(family.domain()).ok()?;
    let (theirs, ours) = (option::network(fd).ok()?, option::network(here.as_fd()).ok()?);
    (theirs != ours).then_some((theirs, ours))
}

/// "socket:[4711]"
fn inode(fd: BorrowedFd<'_>) -> Option<u64> {
    let name = fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).ok()?;
    name.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
