//! The interface in question.

use std::net::IpAddr;

use super::facts::Facts;
use super::findings::{Code, Finding, Severity};
use super::host::{Link, setting_name};
use super::question::Named;
use crate::sys::interface::Flags;
use crate::sys::multicast::FilterMode;

/// There is none.
pub fn missing(facts: &Facts) -> Option<Finding> {
    let named = match &facts.question.named {
        Named::Missing(name) => format!("\"{}\"", name.chars().take(40).collect::<String>()),
        Named::Index(index) if facts.link.is_none() => format!("index {index}"),
        _ => return None,
    };
    let all: Vec<&str> = facts.links.iter().map(|link| link.name.as_str()).take(8).collect();
    let cause = format!("this host has no interface {named}; it has {}", all.join(", "));
    Some(Finding::new(Code::InterfaceMissing, facts, cause))
}

/// ip link set ... down
pub fn down(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|link| !link.is_up())?;
    Some(Finding::new(Code::InterfaceDown, facts, format!("{link} is down")))
}

/// sysctl net.ipv6.conf.*.disable_ipv6
pub fn ipv6_disabled(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| facts.is_ipv6_disabled && facts.question.group.is_ipv6())?;
    let name = setting_name("ipv6", &link.name, "disable_ipv6");
    let cause = format!("{name} is 1: there is no IPv6 on {link}");
    Some(Finding::new(Code::Ipv6Disabled, facts, cause))
}

/// Up, and nothing at the other end.
pub fn no_carrier(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|link| link.is_up() && !link.flags.has(Flags::RUNNING))?;
    Some(Finding::new(Code::NoCarrier, facts, format!("{link} is up and has no carrier")))
}

/// The loopback interface takes multicast without saying so.
pub fn not_multicast(facts: &Facts) -> Option<Finding> {
    let is_wrong = |flags: Flags| !flags.has(Flags::MULTICAST) && !flags.has(Flags::LOOPBACK);
    let link = facts.link.as_ref().filter(|link| is_wrong(link.flags))?;
    Some(Finding::new(Code::InterfaceNotMulticast, facts, format!("{link} hasn't the flag MULTICAST")))
}

/// Its packets are the master's before any socket is looked for.
pub fn port_of_master(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| facts.is_port)?;
    let master = facts.called(facts.master);
    let cause = format!(
        "{link} is a port of {master}, a bridge, bond or team: what arrives there belongs to that one, and a group \
         joined on the port hears nothing"
    );
    let finding = Finding::new(Code::PortOfMaster, facts, cause);
    Some(match facts.membership().is_some_and(|joined| joined.mode == FilterMode::Include) {
        true => finding.cured_by(facts, "castio_join_source(fd, \"{group}\", \"{source}\", {master})"),
        false => finding,
    })
}

/// Reports need an address to come from.
pub fn no_address(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| !facts.is_port)?;
    if facts.question.group.is_ipv4() { no_ipv4_address(facts, link) } else { no_link_local_address(facts, link) }
}

/// IGMP takes 0.0.0.0 (RFC 3376, section 4.2.13); with rp_filter nothing comes in.
fn no_ipv4_address(facts: &Facts, link: &Link) -> Option<Finding> {
    if link.has_address(true) {
        return None;
    }
    let finding = |rest: &str| Finding::new(Code::NoAddress, facts, format!("{link} has no IPv4 address{rest}"));
    Some(match facts.rp_filter.map(|pair| pair.larger(&link.name)) {
        Some((value @ 1.., whose)) => {
            let name = setting_name("ipv4", whose, "rp_filter");
            finding(&format!(", and {name} is {value}: nothing comes in")).but(Severity::Broken)
        }
        _ => finding(": its reports come from 0.0.0.0, which some routers and switches pass over"),
    })
}

/// MLD doesn't take reports from anything but a link-local address (RFC 3810, section 5.2.13).
fn no_link_local_address(facts: &Facts, link: &Link) -> Option<Finding> {
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let has_one = link.addresses.iter().any(is_link_local) || link.flags.has(Flags::LOOPBACK);
    if has_one || facts.is_ipv6_disabled || !link.is_up() {
        return None;
    }
    let cause = format!("{link} has no IPv6 link-local address: its reports come from ::, and routers pass them over");
    let cure = "ip address add fe80::ADDRESS/64 dev {interface}";
    Some(Finding::new(Code::NoAddress, facts, cause).but(Severity::Likely).cured_by(facts, cure))
}

/// A bridge that snoops must hear reports again and again, and they come to queries alone.
pub fn snooping_without_querier(facts: &Facts) -> Option<Finding> {
    let (name, bridge) = facts.bridge.as_ref()?;
    let heard = if facts.question.group.is_ipv4() { bridge.heard_ipv4 } else { bridge.heard_ipv6 };
    if !bridge.is_snooping || bridge.is_querier || heard == Some(true) {
        return None;
    }
    let protocol = if facts.question.group.is_ipv4() { "IGMP" } else { "MLD" };
    let rest = match heard {
        Some(_) => format!("and has heard no {protocol} querier"),
        None => format!("and whether it has heard another {protocol} querier this kernel doesn't tell"),
    };
    let cause = format!("the bridge {name} snoops (mcast_snooping 1), asks for no reports (mcast_querier 0) {rest}");
    let finding = Finding::new(Code::SnoopingWithoutQuerier, facts, cause);
    Some(if heard.is_none() { finding.but(Severity::Unchecked) } else { finding })
}
