//! How much a socket may join.

use super::facts::Facts;
use super::findings::{Code, Finding, Severity};
use crate::multicast::limits::DEFAULT_MLD_SOURCES;

/// The larger of what the kernel takes for one IPv4 or IPv6 membership (struct ip_mc_socklist, struct
/// ipv6_mc_socklist), rounded up.
const MEMBERSHIP_BYTES: u32 = 64;

/// If the group isn't joined, this is why it can't be; else the next one can't.
fn severity(facts: &Facts) -> Severity {
    if facts.membership().is_none() { Severity::Broken } else { Severity::Risk }
}

/// IPv4 counts groups.
pub fn group_limit(facts: &Facts) -> Option<Finding> {
    let limit = facts.limits.groups.filter(|_| facts.question.group.is_ipv4())?;
    let count = facts.own_groups.iter().filter(|(group, _)| group.is_ipv4()).count();
    let cause = || {
        format!(
            "this socket has joined {count} groups, and net.ipv4.igmp_max_memberships is {limit}: the next join gives \
             ENOBUFS"
        )
    };
    (count >= limit as usize).then(|| Finding::new(Code::GroupLimit, facts, cause()).but(severity(facts)))
}

/// Each group counts its sources.
pub fn source_limit(facts: &Facts) -> Option<Finding> {
    let joined = facts.membership().filter(|joined| !joined.sources.is_empty())?;
    let (limit, is_read) = match facts.question.group.is_ipv4() {
        true => (facts.limits.ipv4_sources?, true),
        false => (facts.limits.ipv6_sources.unwrap_or(DEFAULT_MLD_SOURCES), facts.limits.ipv6_sources.is_some()),
    };
    let count = joined.sources.len();
    if count < limit as usize {
        return None;
    }
    let is_wanted = facts.question.source.is_some_and(|source| !joined.sources.contains(&source));
    let name = facts.fill_in("{source_limit}");
    let how = if is_read { "" } else { " unless it was changed (it can't be read in this network namespace)" };
    let cause = format!(
        "{} has {count} sources on this socket, and {name} is {limit}{how}: the next one gives ENOBUFS",
        facts.question.group
    );
    let finding = Finding::new(Code::SourceLimit, facts, cause);
    Some(finding.but(if is_wanted { Severity::Broken } else { Severity::Risk }))
}

/// Every membership takes of it, and IPv6 has no other limit.
pub fn optmem_limit(facts: &Facts) -> Option<Finding> {
    let (limit, memory) = (facts.limits.option_memory?, facts.memory?);
    let used = memory.options;
    let cause = || {
        format!(
            "this socket's options and memberships take {used} bytes, and net.core.optmem_max is {limit}: the next \
             join gives ENOMEM"
        )
    };
    let is_full = used > 0 && used.saturating_add(MEMBERSHIP_BYTES) >= limit;
    is_full.then(|| Finding::new(Code::OptmemLimit, facts, cause()).but(severity(facts)))
}
