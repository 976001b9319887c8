//! Memberships that are kept: announced anew in what the routers of an interface understand.

mod support;

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use castio::sys::memory::Source;
use castio::sys::mmsg::{self, Destination};
use castio::sys::sockaddr::SocketAddress;
use castio::sys::socket::Flags;
use castio::sys::{multicast, option, reports};
use castio::tunnel::listener::{self, Kind, Query, Sources, Version};
use support::announce::{Said, announced, announcer, is_leave, link_local, own_address, whole};
use support::hosts;
use support::pair::{JOIN, Keeper, Pair};
use support::udp::Family;

/// The neighbour asks who listens to what, in an older version.
fn ask(pair: &Pair, version: Version) {
    let family = family_of(version);
    let query = Query {
        version,
        group: None,
        max_response: Duration::from_millis(100),
        sources: Sources::NONE,
        suppress: false,
        robustness: 0,
        interval: Duration::ZERO,
    };
    pair.neighbour.run(|| {
        let index = pair.neighbour.index("eth0");
        let router: IpAddr = if family == Family::V4 { [10, 1, 0, 1].into() } else { link_local().into() };
        let packet = listener::build_query(router, &query).unwrap();
        let of = if family == Family::V4 { option::Family::V4 } else { option::Family::V6 };
        let socket = reports::socket(of).unwrap();
        let to = if family == Family::V4 { "224.0.0.1:0".to_owned() } else { format!("[ff02::1%{index}]:0") };
        if let IpAddr::V4(v4) = router {
            multicast::set_ipv4_interface(socket.as_fd(), index, v4).unwrap();
        }
        let to = SocketAddress::from(to.parse::<std::net::SocketAddr>().unwrap());
        let bytes = Source::from(packet.as_slice());
        mmsg::send_to(socket.as_fd(), bytes, Destination::of(&to), Flags::NONE).unwrap();
    });
}

/// The kernel of the host has taken note of it.
fn is_heard(pair: &Pair, version: Version) -> bool {
    let read =
        |table: &str| pair.host.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap());
    let querier = match version {
        Version::Igmp1 => "V1",
        Version::Igmp2 => "V2",
        _ => {
            let counters = read("dev_snmp6/eth0");
            let mut answers = counters.lines().filter(|line| line.starts_with("Icmp6OutGroupMembResponses"));
            return answers.any(|line| !line.ends_with("\t0"));
        }
    };
    read("igmp").lines().any(|line| line.contains("eth0 ") && line.ends_with(querier))
}

/// The reports that routers of this version read, again and again, and nothing else.
fn speaks(keeper: &Keeper<'_>, pair: &Pair, version: Version, groups: &[String]) {
    let (watch, host) = (pair.watch("eth0"), own_address(pair, keeper.family));
    let expected: HashSet<Said> = groups.iter().map(|group| whole(version, Kind::ModeIsExclude, group)).collect();
    // The kernel's answer to the query is no more than one of these.
    for _ in 0..3 {
        let reports = announced(keeper, &watch, &host, |said| expected.is_subset(said));
        let other: Vec<&Said> = reports.iter().flatten().filter(|said| said.0 != version || is_leave(said)).collect();
        assert!(other.is_empty(), "{version:?}: {other:?}");
    }
}

const OLD: [Version; 3] = [Version::Igmp1, Version::Igmp2, Version::Mld1];

fn family_of(version: Version) -> Family {
    if version == Version::Mld1 { Family::V6 } else { Family::V4 }
}

/// Another socket holds the same groups.
#[test]
fn a_router_of_an_older_version_is_told_in_its_own() {
    hosts::test(|network| {
        for version in OLD {
            let (pair, family) = (Pair::with_cable(network), family_of(version));
            let (other, keeper) = (pair.keeper(family), announcer(&pair, family));
            let groups = [1, 2].map(|number| family.group(number));
            for keeper in [&other, &keeper] {
                keeper.wish(&groups[0], "eth0");
                for source in [1, 8] {
                    assert_eq!(keeper.add(&groups[1], Some(&family.host(source)), Some("eth0")), Ok(1));
                }
            }
            keeper.tells(&["joined eth0"; 3]);
            ask(&pair, version);
            hosts::until("heard", || is_heard(&pair, version));
            speaks(&keeper, &pair, version, &groups);
        }
    });
}

/// The kernel tells only of IPv4 what it heard; there it is left to the kernel.
#[test]
fn a_router_that_asked_before_is_told_in_its_version() {
    hosts::test(|network| {
        for version in OLD {
            let (pair, family) = (Pair::with_cable(network), family_of(version));
            ask(&pair, version);
            hosts::until("heard", || is_heard(&pair, version));
            let (keeper, group) = (announcer(&pair, family), family.group(1));
            keeper.wish(&group, "eth0");
            keeper.tells(&["joined eth0"]);
            let (watch, host) = (pair.watch("eth0"), own_address(&pair, family));
            let report = whole(version, Kind::ModeIsExclude, &group);
            for _ in 0..4 {
                announced(&keeper, &watch, &host, |said| said.contains(&report));
            }
        }
    });
}

#[test]
fn a_version_that_this_host_is_set_to_is_spoken() {
    hosts::test(|network| {
        for version in OLD {
            let (pair, family) = (Pair::with_cable(network), family_of(version));
            let (keeper, groups) = (announcer(&pair, family), [family.group(1)]);
            let join = || {
                keeper.wish(&groups[0], "eth0");
                keeper.tells(&["joined eth0"]);
            };
            match version {
                // Afterwards the kernel would take its time to say the rest of the join in the new way.
                Version::Mld1 => pair.host.set("net/ipv6/conf/eth0/force_mld_version", "1"),
                _ => {
                    let watch = pair.watch("eth0");
                    join();
                    watch.sees(JOIN, &groups[0], None);
                }
            }
            match version {
                Version::Igmp1 => pair.host.set("net/ipv4/conf/eth0/force_igmp_version", "1"),
                Version::Igmp2 => pair.host.set("net/ipv4/conf/all/force_igmp_version", "2"),
                _ => join(),
            }
            speaks(&keeper, &pair, version, &groups);
        }
    });
}
