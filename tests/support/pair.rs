//! A host whose memberships are kept, and a neighbour that sends to it and reads along: they are joined
//! by cables, eth0 to eth0 and so on, which can be plugged in and taken away.

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use castio::ffi::multicast::manager::castio_membership_options;
use castio::ffi::multicast::options::{castio_get_multicast_all, castio_set_multicast_interface};

use super::face::{call, text};
use super::hosts::{Host, Network};
use super::link::{Kind, Watch};
use super::memberships::{Membership, OPTIONS};
use super::udp::{Family, PORT, Udp, address};

pub struct Pair {
    pub host: Host,
    pub neighbour: Host,
}

impl Pair {
    /// Without a cable yet. The host reports each change once (igmp_qrv), so that a report is one change.
    pub fn new(network: &Network) -> Pair {
        let [host, neighbour] = ["host", "neighbour"].map(|name| network.host(name));
        host.set("net/ipv4/igmp_qrv", "1");
        Pair { host, neighbour }
    }

    /// With eth0.
    pub fn with_cable(network: &Network) -> Pair {
        let pair = Pair::new(network);
        pair.plug(0);
        pair
    }

    /// A cable eth0, or eth1, and so on. The host has 10.1.0.2/24 and fd01::2/64 on eth0, 10.2.0.2/24 and
    /// fd02::2/64 on eth1, and so on; the neighbour .1 and ::1.
    pub fn plug(&self, number: usize) {
        self.plug_as(number, &format!("eth{number}"), "");
    }

    /// The same by another name at the host, "tap0", and with more words of `ip link add`, "index 7".
    pub fn plug_as(&self, number: usize, name: &str, words: &str) {
        let far = format!("eth{number}");
        self.host.ip(&format!("link add {name} {words} type veth peer name {far} netns {}", self.neighbour.netns()));
        for (host, interface, last) in [(&self.host, name, 2), (&self.neighbour, &far, 1)] {
            host.ip(&format!("link set {interface} up"));
            let net = number + 1;
            host.address(interface, &[&format!("10.{net}.0.{last}/24"), &format!("fd0{net}::{last}/64")]);
        }
        self.host.wait_for_link(name);
        self.neighbour.wait_for_link(&far);
    }

    /// Takes the host's interface away, and the cable with it.
    pub fn unplug(&self, interface: &str) {
        self.host.ip(&format!("link delete {interface}"));
    }

    /// The neighbour's end of eth0 goes down, or up again: the carrier of the host's.
    pub fn carrier(&self, on: bool) {
        self.neighbour.ip(&format!("link set eth0 {}", if on { "up" } else { "down" }));
        if on {
            self.neighbour.wait_for_link("eth0");
        }
    }

    /// A socket on [`PORT`] and a handle that keeps its memberships.
    pub fn keeper(&self, family: Family) -> Keeper<'_> {
        self.keeper_with(family, OPTIONS)
    }

    pub fn keeper_with(&self, family: Family, options: castio_membership_options) -> Keeper<'_> {
        let socket = self.host.run(|| shared(family));
        let membership = Membership::with(&self.host, &socket, options);
        Keeper { membership, socket, family, host: &self.host }
    }

    /// A group that is joined on eth0, its report seen and its events taken.
    pub fn settled(&self, family: Family) -> (Keeper<'_>, String) {
        let (group, keeper, watch) = (family.group(1), self.keeper(family), self.watch("eth0"));
        assert_eq!(keeper.wish(&group, "eth0"), 1);
        watch.sees(JOIN, &group, None);
        keeper.tells(&["joined eth0"]);
        self.reaches(&keeper, &group);
        (keeper, group)
    }

    /// Reads along at the neighbour's end.
    pub fn watch(&self, interface: &str) -> Watch {
        Watch::new(&self.neighbour, interface)
    }

    /// The neighbour sends to a group by one of its interfaces, from one of its addresses if it is given.
    pub fn send(&self, text: &str, group: &str, interface: &str, source: Option<&str>) {
        let sender = self.neighbour.run(|| {
            let sender = match source {
                Some(source) => Udp::bound(address(source, 0)),
                None => Udp::new(if group.contains(':') { Family::V6 } else { Family::V4 }),
            };
            leave_by(&sender, interface);
            sender
        });
        sender.send(text, group);
    }

    /// A datagram to the group arrives by eth0, once, and nothing else has.
    #[track_caller]
    pub fn reaches(&self, keeper: &Keeper<'_>, group: &str) {
        self.reaches_by("eth0", "eth0", keeper, group);
    }

    /// Sent by an interface of the neighbour, it arrives by one of the host's.
    #[track_caller]
    pub fn reaches_by(&self, far: &str, near: &str, keeper: &Keeper<'_>, group: &str) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let text = format!("datagram {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.send(&text, group, far, None);
        let arrived = keeper.socket.receive();
        let index = self.host.index(near);
        assert_eq!((arrived.text, arrived.to, arrived.interface), (text, group.parse().unwrap(), index));
        assert_eq!(keeper.socket.waiting(), [""; 0]);
    }

    /// A datagram to the group by eth0 doesn't arrive: it would be there when sending returns.
    #[track_caller]
    pub fn misses_all(&self, keeper: &Keeper<'_>, group: &str) {
        self.send("to nobody", group, "eth0", None);
        assert_eq!(keeper.socket.waiting(), [""; 0]);
    }

    /// A datagram to the group by this interface doesn't arrive, though one to the host's address does.
    #[track_caller]
    pub fn misses(&self, far: &str, keeper: &Keeper<'_>, group: &str) {
        self.send("to nobody", group, far, None);
        let number: usize = far.trim_start_matches("eth").parse().unwrap();
        let net = number + 1;
        let host = if keeper.family == Family::V4 { format!("10.{net}.0.2") } else { format!("fd0{net}::2") };
        self.neighbour.run(|| Udp::new(keeper.family)).end(&host);
        assert_eq!(keeper.socket.texts(), [""; 0], "{group} by {far}");
    }
}

/// A socket that shares [`PORT`] with those that a handle makes.
pub fn shared(family: Family) -> Udp {
    let socket = Udp::new(family);
    socket.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
    socket.bind((family.wildcard(), PORT).into()).unwrap();
    socket
}

/// What the socket sends to groups goes out there.
pub fn leave_by(socket: &Udp, interface: &str) {
    let interface = text(interface);
    // SAFETY: text that ends in a NUL.
    let result = call(|| unsafe { castio_set_multicast_interface(socket.as_raw_fd(), interface.as_ptr()) });
    assert_eq!(result, Ok(0));
}

/// IP_MULTICAST_ALL, or its twin of IPv6.
pub fn all_option(socket: &Udp) -> i64 {
    // SAFETY: no pointer.
    call(|| unsafe { castio_get_multicast_all(socket.as_raw_fd()) }).unwrap()
}

/// A handle with its socket.
pub struct Keeper<'pair> {
    // Before the socket: it goes first.
    pub membership: Membership<'pair>,
    pub socket: Udp,
    pub family: Family,
    host: &'pair Host,
}

impl<'pair> Deref for Keeper<'pair> {
    type Target = Membership<'pair>;
    fn deref(&self) -> &Membership<'pair> {
        &self.membership
    }
}

impl Keeper<'_> {
    /// Wishes for a group on interfaces, which has to work. On how many it is joined.
    #[track_caller]
    pub fn wish(&self, group: &str, interfaces: &str) -> i64 {
        self.add(group, None, Some(interfaces)).unwrap()
    }

    /// Closes the handle, and gives the socket back.
    pub fn close(self) -> Udp {
        drop(self.membership);
        self.socket
    }

    /// The groups of a test that the host's kernel has joined on an interface.
    pub fn joined(&self, interface: &str) -> Vec<String> {
        joined(self.host, self.family, interface)
    }
}

/// Of the groups of a test (239.1.0.0/16, ff15::/16) those that a host has joined on an interface, in the
/// order of their addresses: from /proc/net/igmp and igmp6.
pub fn joined(host: &Host, family: Family, interface: &str) -> Vec<String> {
    let mut all: Vec<IpAddr> =
        host.run(|| if family == Family::V4 { joined_v4(interface) } else { joined_v6(interface) });
    all.sort();
    let is_ours = |ip: &String| ip.starts_with("239.1.") || ip.starts_with("ff15:");
    all.iter().map(IpAddr::to_string).filter(is_ours).collect()
}

/// Lines that begin with a number name an interface, those behind it its groups.
fn joined_v4(interface: &str) -> Vec<IpAddr> {
    let (mut all, mut is_there) = (Vec::new(), false);
    for line in fs::read_to_string("/proc/thread-self/net/igmp").unwrap().lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            is_there = words[1].trim_end_matches(':') == interface;
        } else if is_there {
            // As the kernel has it in memory.
            all.push(u32::from_str_radix(words[0], 16).unwrap().to_ne_bytes().into());
        }
    }
    all
}

fn joined_v6(interface: &str) -> Vec<IpAddr> {
    let text = fs::read_to_string("/proc/thread-self/net/igmp6").unwrap();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|words| words[1] == interface);
    ours.map(|words| u128::from_str_radix(words[2], 16).unwrap().to_be_bytes().into()).collect()
}

/// What a neighbour sees when a group is joined, and when it is left.
pub const JOIN: &[Kind] = &[Kind::ChangeToExclude];
pub const LEAVE: &[Kind] = &[Kind::ChangeToInclude];

/// What is told when eth0 is deleted: it goes down first.
pub const GONE: [&str; 2] = ["lost eth0 ENETDOWN", "lost eth0 ENODEV"];
