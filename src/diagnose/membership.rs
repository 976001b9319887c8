//! Joined, where, by whom, and which sources.

use std::net::IpAddr;

use super::binding::keeps_out;
use super::facts::{self, Chosen, Facts, Joined};
use super::findings::{Code, Finding, Severity};
use super::host::setting_name;
use crate::sys::multicast::FilterMode;

/// Nobody on this host has.
pub fn not_joined(facts: &Facts) -> Option<Finding> {
    if !facts.joined.is_empty() || facts.is_port || is_joined_by_another(facts) || is_always_joined(facts) {
        return None;
    }
    let elsewhere: Vec<String> = facts
        .memberships
        .iter()
        .filter(|found| found.group == facts.question.group)
        .map(|found| found.interface.clone())
        .collect();
    let on = facts.link.as_ref().map(|link| format!(" on {link}")).unwrap_or_default();
    let others = match elsewhere.as_slice() {
        [] => "no socket of this host has".to_owned(),
        _ if facts::is_all_hosts(facts.question.group) => format!("{} is 0", multicast_all(facts)),
        all => format!("others have on {} alone", all.join(", ")),
    };
    let cause = format!("this socket hasn't joined {}{on}, and {others}", facts.question.group);
    Some(Finding::new(Code::NotJoined, facts, cause))
}

/// The kernel itself has joined this one; a socket that takes what others joined gets it.
fn is_always_joined(facts: &Facts) -> bool {
    facts.all && facts::is_all_hosts(facts.question.group)
}

fn is_joined_by_another(facts: &Facts) -> bool {
    let link = facts.link.as_ref().filter(|_| !facts::is_all_hosts(facts.question.group));
    facts.joined.is_empty()
        && !facts.is_port
        && facts.joins_of_others().any(|other| link.is_some_and(|link| link.index == other.ifindex))
}

/// Not on the interface in question. There another socket's join may let it in; IPv6 then doesn't look
/// at the interface, and IPv4 goes by MULTICAST_ALL.
pub fn joined_elsewhere(facts: &Facts) -> Option<Finding> {
    let link =
        facts.link.as_ref().filter(|_| facts.membership().is_none() && !facts.joined.is_empty() && !facts.is_port)?;
    let group = facts.question.group;
    let is_let_in = (facts.all || group.is_ipv6()) && facts.joins_of_others().any(|other| other.ifindex == link.index);
    let all: Vec<String> = facts.joined.iter().take(4).map(|joined| facts.called(joined.interface)).collect();
    let (severity, why) = match (is_let_in, facts.chosen, facts.question.source) {
        (true, ..) => (Severity::Risk, format!("; on {link} another socket's join lets it in for now")),
        (false, Some(Chosen::Source), Some(source)) => {
            (Severity::Likely, format!(", and the source {source} is on the link of {link}"))
        }
        _ => (Severity::Broken, format!(", not on {link}")),
    };
    let cause = format!("this socket has joined {group} on {}{why}", all.join(", "));
    Some(Finding::new(Code::JoinedElsewhere, facts, cause).but(severity))
}

/// It goes as long as the other stays, if it goes at all.
pub fn joined_by_another(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| is_joined_by_another(facts))?;
    let (group, option) = (facts.question.group, multicast_all(facts));
    let who = format!("{group} is joined on {link} by another socket of this host, not by this one");
    Some(if facts.all {
        let cause = format!("{who}: it gets the group ({option} is 1) for as long as the other stays");
        Finding::new(Code::JoinedByAnother, facts, cause)
    } else {
        let cause = format!("{who}, and {option} is 0: it gets nothing of it");
        Finding::new(Code::JoinedByAnother, facts, cause).but(Severity::Broken)
    })
}

fn multicast_all(facts: &Facts) -> &'static str {
    if facts.question.group.is_ipv4() { "IP_MULTICAST_ALL" } else { "IPV6_MULTICAST_ALL" }
}

/// By the filter of this socket.
pub fn source_excluded(facts: &Facts) -> Option<Finding> {
    let (joined, source) = (facts.membership()?, facts.question.source?);
    if !keeps_out(joined.mode, &joined.sources, source) {
        return None;
    }
    let (group, on) = (facts.question.group, facts.called(joined.interface));
    let count = joined.sources.len();
    Some(match joined.mode {
        FilterMode::Exclude => {
            let cause = format!("this socket blocks {source} of {group} on {on} ({count} sources blocked)");
            let cure = "castio_unblock_source(fd, \"{group}\", \"{source}\", {c_interface})";
            Finding::new(Code::SourceExcluded, facts, cause).cured_by(facts, cure)
        }
        FilterMode::Include => {
            let some: Vec<String> = joined.sources.iter().take(3).map(IpAddr::to_string).collect();
            let more = if count > 3 { format!(" and {} more", count - 3) } else { String::new() };
            let cause =
                format!("this socket takes {group} on {on} from {}{more} alone, not from {source}", some.join(", "));
            Finding::new(Code::SourceExcluded, facts, cause)
        }
    })
}

/// 232.0.0.0/8 and ff3x::/32 (RFC 4607, section 1).
fn is_ssm(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => matches!(v4.octets(), [232, ..]),
        IpAddr::V6(v6) => matches!(v6.segments(), [first, 0, ..] if first & 0xfff0 == 0xff30),
    }
}

fn is_source_join(joined: &Joined) -> bool {
    joined.mode == FilterMode::Include && !joined.sources.is_empty()
}

/// Routers don't forward these groups to those who name no source.
pub fn ssm_range(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let joined = facts.membership().filter(|joined| is_ssm(group) && joined.mode == FilterMode::Exclude)?;
    let on = facts.called(joined.interface);
    let range = facts.fill_in("{ssm}");
    let cause = format!("{group} is of {range}, for source-specific multicast, and joined on {on} without a source");
    Some(Finding::new(Code::SsmRange, facts, cause))
}

/// The reverse, which routers may or may not know.
pub fn source_outside_ssm(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let joined = facts.membership().filter(|joined| !is_ssm(group) && is_source_join(joined))?;
    let (count, range) = (joined.sources.len(), facts.fill_in("{ssm}"));
    let cause = format!(
        "{group} is joined by source ({count} sources), and isn't of {range}: older routers know no sources there"
    );
    Some(Finding::new(Code::SourceOutsideSsm, facts, cause))
}

/// The version that reports go out by, and whose setting says so. The kernel takes the oldest one of
/// IGMP; of MLD "all" comes first.
fn forced(facts: &Facts) -> Option<(u32, &str)> {
    let (link, pair) = (facts.link.as_ref()?, facts.forced_version?);
    let (all, own) = ((pair.all, "all"), (pair.own, link.name.as_str()));
    match facts.question.group {
        IpAddr::V4(_) => [own, all].into_iter().filter(|(version, _)| matches!(version, 1 | 2)).min(),
        IpAddr::V6(_) if pair.all > 0 => Some(all).filter(|(version, _)| *version == 1),
        IpAddr::V6(_) => Some(own).filter(|(version, _)| *version == 1),
    }
}

/// Versions before IGMPv3 and MLDv2 know no sources.
pub fn forced_version(facts: &Facts) -> Option<Finding> {
    let (link, (version, whose)) = (facts.link.as_ref()?, forced(facts)?);
    let (protocol, name) = match facts.question.group {
        IpAddr::V4(_) => ("IGMP", setting_name("ipv4", whose, "force_igmp_version")),
        IpAddr::V6(_) => ("MLD", setting_name("ipv6", whose, "force_mld_version")),
    };
    Some(match facts.membership().filter(|joined| is_source_join(joined)) {
        Some(joined) => {
            let count = joined.sources.len();
            let cause = format!(
                "{name} is {version}, and {protocol}v{version} can't say which {count} sources this socket wants"
            );
            Finding::new(Code::ForcedIgmpVersion, facts, cause).but(Severity::Likely)
        }
        None => {
            let cause = format!("{name} is {version}: reports on {link} are {protocol}v{version}, without sources");
            Finding::new(Code::ForcedIgmpVersion, facts, cause)
        }
    })
}

/// What else comes in: a group that another socket joined, where that one shares the port.
pub fn multicast_all_leak(facts: &Facts) -> Option<Finding> {
    if !facts.all
        || !facts.local.ip().is_unspecified()
        || facts.neighbours.is_empty()
        || facts.local.port() != facts.port()
    {
        return None;
    }
    let group = facts.question.group;
    let is_foreign = |found: &&super::tables::Membership| {
        found.group != group
            && found.group.is_ipv4() == group.is_ipv4()
            && !is_of_the_link(found.group)
            && !facts.own_groups.contains(&(found.group, found.ifindex))
    };
    let found = facts.memberships.iter().find(is_foreign)?;
    let cause = format!(
        "another socket has joined {} on {}, and this one gets what is sent to its port {} there too ({} is 1)",
        found.group,
        facts.called(found.ifindex),
        facts.port(),
        multicast_all(facts)
    );
    Some(Finding::new(Code::MulticastAllLeak, facts, cause))
}

/// What the kernel and its daemons join for themselves.
fn is_of_the_link(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => matches!(v6.octets(), [0xff, scope, ..] if scope & 0x0f <= 2),
    }
}
