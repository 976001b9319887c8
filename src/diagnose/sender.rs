//! How a datagram leaves.

use std::net::IpAddr;

use super::facts::{Facts, Way};
use super::findings::{Code, Finding, Severity};
use super::question::Named;

/// By another interface than the one asked about.
pub fn wrong_outgoing_interface(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| facts.question.named != Named::Any)?;
    let leaves_by = facts.leaves_by().filter(|index| *index != link.index && *index != facts.master)?;
    let how = match (facts.device, facts.explicit_outgoing()) {
        (0, 0) if is_untold(facts) => {
            "the routes' choice, unless MULTICAST_IF names another, which an IPv4 socket doesn't tell"
        }
        (0, 0) => "the routes' choice",
        (0, _) if facts.outgoing.is_none_or(|index| index == 0) => "the interface of the address it is bound to",
        (0, _) => "MULTICAST_IF",
        _ => "SO_BINDTODEVICE",
    };
    let called = facts.called(leaves_by);
    let cause = format!("what this socket sends to {} leaves by {called} ({how}), not by {link}", facts.question.group);
    let finding = Finding::new(Code::WrongOutgoingInterface, facts, cause);
    Some(if is_untold(facts) { finding.but(Severity::Unchecked) } else { finding })
}

/// An IPv4 socket may have an interface chosen by its index (MULTICAST_IF), and doesn't tell.
fn is_untold(facts: &Facts) -> bool {
    facts.outgoing.is_none() && facts.explicit_outgoing() == 0
}

/// ENETUNREACH.
pub fn no_multicast_route(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let is_v4_chosen = group.is_ipv4() && facts.explicit_outgoing() != 0;
    match facts.way_out {
        // The message of one link may name its interface in the address.
        Way::None if facts.sends == Some(Ok(())) => None,
        Way::None if !is_v4_chosen && source_address_gone(facts).is_none() => {
            let how = match facts.explicit_outgoing() {
                0 if is_untold(facts) && facts.sends.is_none() => {
                    "but by an interface that is chosen (MULTICAST_IF), which an IPv4 socket doesn't tell".to_owned()
                }
                0 => "and no interface is chosen (MULTICAST_IF)".to_owned(),
                index => format!("by {}, which this socket sends by", facts.called(index)),
            };
            let cause = format!("there is no route to {group} {how}: sending gives ENETUNREACH");
            let finding = Finding::new(Code::NoMulticastRoute, facts, cause);
            let is_down = facts.link.as_ref().is_some_and(|link| !link.is_up());
            Some(match is_down {
                _ if is_untold(facts) && facts.sends.is_none() => finding.but(Severity::Unchecked),
                true => finding.but(Severity::Likely),
                false => finding,
            })
        }
        Way::Unknown(error) => {
            let cause = format!("the route to {group} can't be asked for ({error:?})");
            Some(Finding::new(Code::NoMulticastRoute, facts, cause).but(Severity::Unchecked))
        }
        _ => None,
    }
}

/// Addresses of the loopback interface, and those of one link for IPv6's wider groups, aren't taken;
/// IPv4 takes an address of any interface, IPv6 one of the outgoing interface.
fn may_be_source(facts: &Facts, ip: IpAddr, interface: u32, outgoing: u32) -> bool {
    match ip {
        IpAddr::V4(v4) => facts.question.group.is_ipv4() && (!v4.is_loopback() || interface == outgoing),
        IpAddr::V6(_) => facts.question.group.is_ipv6() && interface == outgoing,
    }
}

/// From none, or from 0.0.0.0, which receivers drop.
pub fn no_source_address(facts: &Facts) -> Option<Finding> {
    let outgoing = facts.leaves_by()?;
    if fixed_source(facts).is_some() {
        return None;
    }
    let has_any = facts
        .links
        .iter()
        .flat_map(|link| link.addresses.iter().map(move |ip| (link.index, *ip)))
        .any(|(interface, ip)| may_be_source(facts, ip, interface, outgoing));
    if has_any || facts.is_ipv6_disabled && facts.question.group.is_ipv6() {
        return None;
    }
    let called = facts.called(outgoing);
    let cause = match facts.question.group {
        IpAddr::V4(_) => {
            format!("no interface has an IPv4 address to send from: datagrams leave {called} from 0.0.0.0")
        }
        IpAddr::V6(_) => format!("{called} has no IPv6 address to send from"),
    };
    Some(Finding::new(Code::NoSourceAddress, facts, cause))
}

/// The address that it sends from whatever the routes say: of bind(), of connect(), or of IP_MULTICAST_IF.
fn fixed_source(facts: &Facts) -> Option<(IpAddr, &'static str)> {
    let local = facts.local.ip().to_canonical();
    if !local.is_unspecified() && !local.is_multicast() {
        return Some((local, if facts.peer.is_some() { "connected from" } else { "bound to" }));
    }
    let chosen = facts.outgoing_address.filter(|address| !address.is_unspecified())?;
    Some((chosen.into(), "told by IP_MULTICAST_IF to send from"))
}

/// The socket keeps it. IPv4 then refuses to send; IPv6 sends from it all the same.
pub fn source_address_gone(facts: &Facts) -> Option<Finding> {
    let (address, how) = fixed_source(facts)?;
    if facts.links.iter().any(|link| link.addresses.contains(&address)) {
        return None;
    }
    let cause = format!("the socket is {how} {address}, which no interface of this host has any more");
    let finding = Finding::new(Code::SourceAddressGone, facts, cause);
    let finding = match how {
        "bound to" => finding,
        "connected from" => {
            let cure = "castio_open_sender(\"{group}\", {peer_port}, {c_interface}, TTL), or connect() with AF_UNSPEC, then \
                        castio_set_multicast_interface(fd, {c_interface}) and connect() again";
            finding.cured_by(facts, cure)
        }
        _ => finding.cured_by(facts, "castio_set_multicast_interface(fd, {c_interface})"),
    };
    Some(if address.is_ipv4() { finding } else { finding.but(Severity::Risk) })
}

/// send(2) needs no address then, and has another.
pub fn connected_elsewhere(facts: &Facts) -> Option<Finding> {
    let peer = facts.peer?;
    let group = facts.question.group;
    let is_right =
        peer.ip().to_canonical() == group && (facts.question.port == 0 || peer.port() == facts.question.port);
    let cause = || {
        format!(
            "the socket is connected to {peer}: what send() is given goes there, not to {group} port {}",
            facts.question.port
        )
    };
    let cure = "castio_open_sender(), or sendto() with {group} and the port";
    let finding = || Finding::new(Code::ConnectedElsewhere, facts, cause()).but(Severity::Likely).cured_by(facts, cure);
    (!is_right).then(finding)
}

/// Not beyond this host.
pub fn ttl_zero(facts: &Facts) -> Option<Finding> {
    let is_wrong = facts.ttl == Some(0);
    let cause = || format!("{} is 0: what this socket sends doesn't leave this host", ttl_name(facts));
    is_wrong.then(|| Finding::new(Code::TtlZero, facts, cause()))
}

/// Not beyond this link; a group of one link has no need to.
pub fn ttl_one(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let is_of_the_link = match group {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => matches!(v6.octets(), [0xff, scope, ..] if scope & 0x0f <= 2),
    };
    let is_wrong = facts.ttl == Some(1) && !is_of_the_link;
    let cause = || format!("{} is 1: what this socket sends to {group} crosses no router", ttl_name(facts));
    is_wrong.then(|| Finding::new(Code::TtlOne, facts, cause()))
}

fn ttl_name(facts: &Facts) -> &'static str {
    if facts.question.group.is_ipv4() { "IP_MULTICAST_TTL" } else { "IPV6_MULTICAST_HOPS" }
}

/// Receivers on this host get nothing.
pub fn loop_off(facts: &Facts) -> Option<Finding> {
    if facts.loops {
        return None;
    }
    let group = facts.question.group;
    let option = if group.is_ipv4() { "IP_MULTICAST_LOOP" } else { "IPV6_MULTICAST_LOOP" };
    let joins: u32 = facts.memberships.iter().filter(|found| found.group == group).map(|found| found.users).sum();
    let who = match joins {
        0 => "receivers on this host would get nothing from it, and none has joined now".to_owned(),
        joins => format!("receivers on this host ({joins} joins) get nothing from it"),
    };
    let cause = format!("{option} is 0: {who}");
    Some(Finding::new(Code::LoopOff, facts, cause))
}
