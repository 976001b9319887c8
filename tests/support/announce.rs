//! What a host says of its memberships when they are announced anew, as a neighbour sees it.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv6Addr;

use castio::tunnel::ip::Packet;
use castio::tunnel::listener::{self, Kind, Record, Version};

use super::hosts;
use super::link::Watch;
use super::memberships::OPTIONS;
use super::pair::{Keeper, Pair};
use super::udp::Family;

/// One record of a report on the wire.
pub type Said = (Version, Kind, String, BTreeSet<String>);

/// The reports of a test's groups among packets: each from the host's own address, to be read by every router of the link
/// and by none beyond it. What each says.
pub fn reports_in(packets: &[Vec<u8>], family: Family, host: &str) -> Vec<Vec<Said>> {
    let mut all = Vec::new();
    for packet in packets.iter().filter_map(|packet| Packet::parse(packet).ok()) {
        let Ok(report) = listener::parse_report(&packet) else { continue };
        let said: Vec<Said> = report.records().map(|record| said(report.version, &record)).collect();
        let said: Vec<Said> = said.into_iter().filter(|(_, _, group, _)| is_ours(group)).collect();
        if said.is_empty() || packet.source.is_ipv4() != (family == Family::V4) {
            continue;
        }
        assert_eq!((packet.ttl, packet.router_alert, packet.source.to_string().as_str()), (1, true, host), "{said:?}");
        assert!(packet.bytes.len() <= 1500);
        let all_routers = if family == Family::V4 { "224.0.0.22" } else { "ff02::16" };
        let to = match report.version {
            Version::Igmp3 | Version::Mld2 => all_routers,
            _ => said[0].2.as_str(),
        };
        // In the old way a leave goes to all routers.
        assert!(packet.destination.to_string() == to || is_leave(&said[0]), "{said:?} to {}", packet.destination);
        all.push(said);
    }
    all
}

fn said(version: Version, record: &Record<'_>) -> Said {
    let sources = record.sources.iter().map(|source| source.to_string()).collect();
    (version, record.kind, record.group.to_string(), sources)
}

/// The kernel has groups of its own.
fn is_ours(group: &str) -> bool {
    group.starts_with("239.1.") || group.starts_with("ff15:")
}

/// What the host reports from.
pub fn own_address(pair: &Pair, family: Family) -> String {
    if family == Family::V4 { "10.1.0.2".to_owned() } else { pair.host.run(link_local).to_string() }
}

/// The link-local address of eth0 on the calling host.
pub fn link_local() -> Ipv6Addr {
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = lines.find(|words| words[5] == "eth0" && words[3] == "20").unwrap();
    Ipv6Addr::from_bits(u128::from_str_radix(own[0], 16).unwrap())
}

/// A handle that announces everything each second.
pub fn announcer(pair: &Pair, family: Family) -> Keeper<'_> {
    let mut options = OPTIONS;
    options.reannounce_s = 1;
    pair.keeper_with(family, options)
}

/// Lets the handle announce, until what was said since is enough. The reports, one by one.
pub fn announced(
    keeper: &Keeper<'_>,
    watch: &Watch,
    host: &str,
    is_enough: impl Fn(&HashSet<Said>) -> bool,
) -> Vec<Vec<Said>> {
    let mut all = Vec::new();
    watch.packets();
    hosts::until("announced", || {
        keeper.wait(keeper.timeout_ms().min(50)).unwrap_err();
        all.extend(reports_in(&watch.packets(), keeper.family, host));
        is_enough(&all.iter().flatten().cloned().collect())
    });
    all
}

pub fn newest(family: Family) -> Version {
    if family == Family::V4 { Version::Igmp3 } else { Version::Mld2 }
}

/// Whether it says that a group, or a source, is no longer wanted.
pub fn is_leave((_, kind, _, sources): &Said) -> bool {
    let includes = matches!(kind, Kind::ChangeToInclude | Kind::ModeIsInclude);
    *kind == Kind::BlockOldSources || (includes && sources.is_empty())
}

pub fn whole(version: Version, kind: Kind, group: &str) -> Said {
    (version, kind, group.to_owned(), BTreeSet::new())
}
