//! The checks on facts as they may be, where no namespace can easily be made so.

use std::net::{IpAddr, SocketAddr};

use super::facts::{Chosen, Facts, Joined, Way};
use super::host::{Firewall, Limits, Link, Pair};
use super::tables::Membership;
use super::{Code, Finding, Named, Question, Severity, check};
use crate::error::Errno;
use crate::sys::interface::Flags;
use crate::sys::multicast::FilterMode;
use crate::sys::netlink::Route;
use crate::sys::netlink::bridge::Bridge;
use crate::sys::netlink::firewall::Rules;
use crate::sys::option::{Family, Memory, SocketType};
use crate::sys::socket_filter::SocketFilter;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A socket as it should be, which receives on eth0 and may send, too.
fn healthy(group: &str) -> Facts {
    let group = ip(group);
    let (own, family, any) = match group {
        IpAddr::V4(_) => ("10.1.0.2", Family::V4, "0.0.0.0:5000"),
        IpAddr::V6(_) => ("fe80::2", Family::V6, "[::]:5000"),
    };
    let flags = Flags(Flags::UP.0 | Flags::RUNNING.0 | Flags::MULTICAST.0);
    let link = Link { index: 3, name: "eth0".to_owned(), flags, addresses: vec![ip(own)] };
    let route = Route { interface: 3, gateway: None, source: Some(ip(own)), is_local: false };
    let question = Question::new(group, 5000, None, Named::Any).unwrap();
    let local: SocketAddr = any.parse().unwrap();
    Facts {
        question,
        namespaces: None,
        proc_error: None,
        family,
        socket_type: SocketType::Datagram,
        is_udp: true,
        is_ipv6_only: false,
        local,
        peer: None,
        device: 0,
        reuse_address: true,
        reuse_port: false,
        all: true,
        ttl: Some(8),
        loops: true,
        outgoing: Some(3),
        sends: None,
        memory: Some(Memory { receive: 0, receive_limit: 212_992, send: 0, options: 40, drops: 0 }),
        joined: vec![Joined { interface: 3, mode: FilterMode::Exclude, sources: Vec::new() }],
        own_groups: vec![(group, 3)],
        memberships: vec![Membership { group, ifindex: 3, interface: "eth0".to_owned(), users: 1 }],
        uid: Some(0),
        source_filters: 0,
        early_demux: true,
        neighbours: Vec::new(),
        links: vec![link.clone()],
        link: Some(link),
        chosen: Some(Chosen::Joined),
        bridge: None,
        master: 0,
        is_port: false,
        filter: SocketFilter::None,
        outgoing_address: None,
        udp_errors: None,
        rp_filter: Some(Pair { all: 0, own: 2 }),
        reverse_path_drops: 0,
        forced_version: Some(Pair::default()),
        is_ipv6_disabled: false,
        limits: Limits { groups: Some(20), ipv4_sources: Some(10), ipv6_sources: None, option_memory: Some(131_072) },
        way_back: None,
        way_out: Way::By(route),
        firewall: Firewall::Nothing,
    }
}

/// The one finding of a receiver, or of a sender.
fn only(facts: &Facts, sends: bool) -> Finding {
    let mut all = check(facts, sends);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn what_is_well_gives_nothing() {
    for group in ["239.1.2.3", "ff15::7"] {
        for sends in [false, true] {
            assert_eq!(check(&healthy(group), sends), []);
        }
    }
}

#[test]
fn a_route_that_cannot_be_asked_for_is_unchecked() {
    let mut facts = healthy("239.1.2.3");
    facts.way_back = Some((ip("192.0.2.7"), Way::Unknown(Errno::EMFILE)));
    let finding = only(&facts, false);
    assert_eq!((finding.code, finding.severity), (Code::NoRouteBack, Severity::Unchecked));
    assert!(finding.cause.contains("EMFILE"), "{}", finding.cause);
    facts.way_out = Way::Unknown(Errno::EMFILE);
    let finding = only(&facts, true);
    assert_eq!((finding.code, finding.severity), (Code::NoMulticastRoute, Severity::Unchecked));
}

#[test]
fn what_this_host_sends_itself_needs_no_route_back() {
    let mut facts = healthy("239.1.2.3");
    facts.rp_filter = Some(Pair { all: 1, own: 1 });
    let route = Route { interface: 1, gateway: None, source: None, is_local: true };
    facts.way_back = Some((ip("10.1.0.2"), Way::By(route)));
    assert_eq!(check(&facts, false), []);
    facts.way_back = Some((ip("10.1.0.9"), Way::By(Route { is_local: false, ..route })));
    let finding = only(&facts, false);
    assert_eq!((finding.code, finding.severity), (Code::NoRouteBack, Severity::Broken));
    let both = "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0";
    assert!(finding.cure.ends_with(both), "{}", finding.cure);
}

#[test]
fn a_querier_that_was_heard_or_cannot_be_told_of() {
    for (group, other) in [("239.1.2.3", false), ("ff15::7", true)] {
        let mut facts = healthy(group);
        let mut set = |heard: Option<bool>| {
            let of_others = Some(true);
            let (heard_ipv4, heard_ipv6) = if other { (of_others, heard) } else { (heard, of_others) };
            let bridge = Bridge { is_snooping: true, is_querier: false, heard_ipv4, heard_ipv6 };
            facts.bridge = Some(("br0".to_owned(), bridge));
            check(&facts, false).pop().map(|finding| (finding.code, finding.severity))
        };
        assert_eq!(set(Some(true)), None);
        assert_eq!(set(Some(false)), Some((Code::SnoopingWithoutQuerier, Severity::Risk)));
        assert_eq!(set(None), Some((Code::SnoopingWithoutQuerier, Severity::Unchecked)));
    }
}

#[test]
fn the_oldest_version_of_igmp_counts_and_all_of_mld() {
    for (group, all, own, expected) in [
        ("239.1.2.3", 3, 2, Some("net.ipv4.conf.eth0.force_igmp_version is 2")),
        ("239.1.2.3", 1, 2, Some("net.ipv4.conf.all.force_igmp_version is 1")),
        ("239.1.2.3", 3, 0, None),
        ("239.1.2.3", 0, 3, None),
        ("ff15::7", 2, 1, None),
        ("ff15::7", 1, 2, Some("net.ipv6.conf.all.force_mld_version is 1")),
    ] {
        let mut facts = healthy(group);
        facts.forced_version = Some(Pair { all, own });
        match (check(&facts, false).pop(), expected) {
            (found, None) => assert_eq!(found, None, "{group} {all} {own}"),
            (Some(found), Some(expected)) => assert!(found.cause.contains(expected), "{}", found.cause),
            (None, Some(expected)) => panic!("nothing, and not {expected}"),
        }
    }
}

#[test]
fn what_filters_and_does_not_tell() {
    let mut facts = healthy("239.1.2.3");
    facts.firewall = Firewall::Unreadable(Errno::EPERM);
    let finding = only(&facts, false);
    assert_eq!((finding.code, finding.severity), (Code::FirewallUnchecked, Severity::Unchecked));
    facts.firewall = Firewall::Rules(Rules::default(), vec!["iptables filter".to_owned()]);
    let finding = only(&facts, true);
    assert!(finding.cause.contains("iptables filter") && finding.cure.contains("iptables-legacy"), "{finding:?}");
}

#[test]
fn the_kernel_has_joined_all_hosts_itself() {
    for group in ["224.0.0.1", "ff02::1"] {
        let mut facts = healthy(group);
        facts.joined.clear();
        facts.own_groups.clear();
        assert_eq!(check(&facts, false), [], "{group}");
        facts.all = false;
        assert!(!check(&facts, false).is_empty(), "{group}");
    }
}
