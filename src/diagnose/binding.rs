//! What the socket is, where it is bound and connected, and who shares its port.

use std::net::IpAddr;

use super::facts::{Chosen, Facts};
use super::findings::{Code, Finding, Severity};
use super::tables::Socket;
use crate::sys::multicast::FilterMode;
use crate::sys::option::{Family, SocketType};

/// An IPv6 group on an IPv4 socket.
pub fn wrong_family(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let is_wrong = facts.family == Family::V4 && group.is_ipv6();
    let cause = || format!("the socket is an IPv4 one (AF_INET), and {group} is an IPv6 group");
    is_wrong.then(|| Finding::new(Code::WrongFamily, facts, cause()))
}

/// TCP.
pub fn not_datagram(facts: &Facts) -> Option<Finding> {
    let is_wrong = facts.socket_type != SocketType::Datagram;
    let cause = || format!("the socket's type is {:?}, and multicast comes in datagrams", facts.socket_type);
    is_wrong.then(|| Finding::new(Code::NotDatagram, facts, cause()))
}

/// An IPv4 group on an IPv6 socket that takes no IPv4.
pub fn ipv6_only(facts: &Facts) -> Option<Finding> {
    let group = facts.question.group;
    let is_wrong = facts.is_ipv6_only && group.is_ipv4();
    let cause = || format!("the socket has IPV6_V6ONLY set, and {group} is an IPv4 group");
    is_wrong.then(|| Finding::new(Code::Ipv6Only, facts, cause()))
}

/// What it is bound to, an IPv4 address in IPv6's clothes as IPv4.
fn local(facts: &Facts) -> IpAddr {
    facts.local.ip().to_canonical()
}

/// No port is the right one.
pub fn not_bound(facts: &Facts) -> Option<Finding> {
    let is_wrong = facts.is_udp && facts.local.port() == 0;
    let cause =
        || format!("the socket isn't bound to any port, so that nothing sent to port {} can reach it", facts.port());
    is_wrong.then(|| Finding::new(Code::NotBound, facts, cause()))
}

/// Another port.
pub fn port_mismatch(facts: &Facts) -> Option<Finding> {
    let (bound, wanted) = (facts.local.port(), facts.port());
    let is_wrong = facts.is_udp && bound != 0 && bound != wanted;
    let cause = || format!("the socket is bound to port {bound}, not to port {wanted}");
    is_wrong.then(|| Finding::new(Code::PortMismatch, facts, cause()))
}

/// A socket bound to an address of the host gets what is sent to that address. Of one that is
/// connected the connection did it.
pub fn bound_to_unicast(facts: &Facts) -> Option<Finding> {
    let ip = local(facts);
    let is_wrong = !ip.is_unspecified() && !ip.is_multicast() && facts.peer.is_none();
    let cause = || {
        format!(
            "the socket is bound to {ip}, and gets only what is sent to that address, not to {}",
            facts.question.group
        )
    };
    is_wrong.then(|| Finding::new(Code::BoundToUnicast, facts, cause()))
}

/// Another group.
pub fn bound_to_other_group(facts: &Facts) -> Option<Finding> {
    let (ip, group) = (local(facts), facts.question.group);
    let is_wrong = ip.is_multicast() && ip != group;
    let cause =
        || format!("the socket is bound to the group {ip}, and gets only what is sent to that one, not to {group}");
    is_wrong.then(|| Finding::new(Code::BoundToOtherGroup, facts, cause()))
}

/// Then only what the group's own address sent would come in, and no host has that.
pub fn connected_to_group(facts: &Facts) -> Option<Finding> {
    let peer = facts.peer.filter(|peer| peer.ip().to_canonical().is_multicast())?;
    let cause = format!("the socket is connected to {peer}, and gets only what comes from there, which is nothing");
    Some(Finding::new(Code::ConnectedToGroup, facts, cause))
}

/// A connected socket gets nothing but what its peer sends; and bound to the wildcard address before, it
/// is bound to one of the host's since.
pub fn connected_elsewhere(facts: &Facts) -> Option<Finding> {
    let peer = facts.peer.filter(|peer| !peer.ip().to_canonical().is_multicast())?;
    let (ip, from) = (local(facts), peer.ip().to_canonical());
    if !ip.is_multicast() && !ip.is_unspecified() {
        let cause = format!(
            "the socket is connected to {peer}, which bound it to {ip}: it gets only what is sent to that address"
        );
        return Some(Finding::new(Code::ConnectedElsewhere, facts, cause));
    }
    let cause = format!("the socket is connected to {peer}, and gets only what comes from there");
    let finding = Finding::new(Code::ConnectedElsewhere, facts, cause);
    match facts.question.source {
        Some(source) if source == from => None,
        Some(_) => Some(finding),
        None => Some(finding.but(Severity::Likely)),
    }
}

/// Tied to an interface that isn't the one in question.
pub fn bound_to_device(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref()?;
    let is_wrong = facts.device != 0 && facts.device != link.index && facts.device != facts.master;
    let cause = || {
        let why = if facts.chosen == Some(Chosen::Joined) { "the group is joined on" } else { "the question is about" };
        format!(
            "the socket is bound to the interface {} (SO_BINDTODEVICE), and {why} {link}",
            facts.called(facts.device)
        )
    };
    is_wrong.then(|| Finding::new(Code::BoundToDevice, facts, cause()))
}

/// Sockets that have the port at an address which this one needs.
fn rivals(facts: &Facts) -> impl Iterator<Item = &Socket> {
    let is_rival = |socket: &&Socket| {
        let ip = socket.local.ip().to_canonical();
        ip.is_unspecified() || ip == facts.question.group
    };
    facts.neighbours.iter().filter(is_rival)
}

/// Another socket has the port, and this one couldn't be bound beside it. How others share theirs
/// the kernel doesn't tell.
pub fn reuse_mix(facts: &Facts) -> Option<Finding> {
    if !facts.is_udp || facts.local.port() == facts.port() {
        return None;
    }
    let rival = rivals(facts).next()?;
    let who = format!("a socket of user {} (inode {}) has {}", rival.uid, rival.inode, rival.local);
    match (facts.reuse_address, facts.reuse_port) {
        (true, true) => None,
        (false, false) => {
            let cause = format!(
                "{who}, and this one has neither SO_REUSEADDR nor SO_REUSEPORT, so that bind() gives EADDRINUSE"
            );
            Some(Finding::new(Code::ReuseMix, facts, cause))
        }
        (has_address, _) => {
            let own = if has_address { "SO_REUSEADDR" } else { "SO_REUSEPORT" };
            let cause = format!(
                "{who}; whether it has {own} as this one has can't be seen, and without it bind() gives EADDRINUSE"
            );
            Some(Finding::new(Code::ReuseMix, facts, cause).but(Severity::Unchecked))
        }
    }
}

/// Multicast goes to all of them; unicast doesn't.
pub fn unicast_balanced(facts: &Facts) -> Option<Finding> {
    if !facts.reuse_port || !local(facts).is_unspecified() || facts.local.port() != facts.port() {
        return None;
    }
    let others = facts.neighbours.iter().filter(|socket| socket.local.ip().is_unspecified()).count();
    let cause = || {
        format!(
            "{} more sockets have port {} at the wildcard address, and this one has SO_REUSEPORT: what is sent to the \
             host's own address comes to one of them",
            others,
            facts.port()
        )
    };
    (others > 0).then(|| Finding::new(Code::UnicastBalanced, facts, cause()))
}

/// Sockets of one user at one address that share the port by SO_REUSEPORT. When exactly one of them takes an IPv4
/// datagram of another host, early demultiplexing finds it, and then one of all is chosen by hash (inet_steal_sock,
/// since Linux 6.6).
pub fn reuseport_group(facts: &Facts) -> Option<Finding> {
    let is_alike = |socket: &&Socket| {
        socket.local == facts.local && socket.peer.port() == 0 && facts.uid.is_none_or(|uid| uid == socket.uid)
    };
    let others = facts.neighbours.iter().filter(is_alike).count();
    let is_asked = facts.question.group.is_ipv4() && facts.is_udp && facts.peer.is_none();
    if !is_asked || !facts.reuse_port || !facts.early_demux || facts.source_filters == 0 || others == 0 {
        return None;
    }
    let cause = format!(
        "{others} more sockets of this user have {}, this one has SO_REUSEPORT, and {} source filters are set for {}: \
         a datagram of another host that one of them takes goes to any one of them",
        facts.local, facts.source_filters, facts.question.group
    );
    if !facts.reuse_address {
        return Some(Finding::new(Code::ReuseportGroup, facts, cause));
    }
    // They may share by SO_REUSEADDR.
    let cause = format!("{cause}, if those have SO_REUSEPORT too, which can't be seen");
    Some(Finding::new(Code::ReuseportGroup, facts, cause).but(Severity::Unchecked))
}

/// Whether a filter keeps a source out.
pub fn keeps_out(mode: FilterMode, sources: &[IpAddr], source: IpAddr) -> bool {
    sources.contains(&source) == (mode == FilterMode::Exclude)
}
