//! Bridges that carry what the hosts behind the other end ask for: whether all of it is heard there.

mod support;

use castio::ffi::bridge::*;
use castio::ffi::tunnel::*;
use support::bridges::{Bridge, Lans, Wish, pump};
use support::face::{Form, JOIN};
use support::hosts;
use support::link::Watch;
use support::pair::LEAVE;
use support::tunnels::{OPTIONS, Tunnel};
use support::udp::{FAMILIES, Family, Udp};

/// Both ways, and each end asks its hosts.
const BOTH: Wish<'static> = Wish {
    ingress: Some("lan"),
    groups: None,
    egress: Some("lan"),
    flags: CASTIO_BRIDGE_ASK,
    least_ttl: 0,
    least_scope: 0,
};

fn group(family: Family, number: usize) -> String {
    match family {
        Family::V4 => format!("239.5.{}.{}", number / 250, number % 250 + 1),
        Family::V6 => format!("ff15::5:{number:x}"),
    }
}

/// Sockets of the receiver's that have joined so many groups.
fn join_many(lans: &Lans, family: Family, count: usize) -> Vec<Udp> {
    let numbers: Vec<usize> = (0..count).collect();
    let socket = |some: &[usize]| {
        let udp = Udp::new(family);
        for number in some {
            Form::Text.group(JOIN, &udp, &group(family, *number), Some("eth0")).unwrap();
        }
        udp
    };
    lans.receiver.run(|| numbers.chunks(100).map(socket).collect())
}

#[test]
fn all_groups_of_a_host_are_asked_for_whatever_fits_into_the_tunnel() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        lans.receiver.set("net/ipv4/igmp_max_memberships", "200");
        for (family, count) in [(Family::V4, 1000), (Family::V6, 300)] {
            let sockets = join_many(&lans, family, count);
            // From now on the host tells of them in its answers alone, as full as its own link lets them be.
            let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE_UDP, Family::V4, &BOTH, &BOTH);
            pump(&[&a, &b], "all are asked for", || a.info().asked_groups as usize >= count);
            assert_eq!(a.info().asked_groups as usize, count);
            let (at_a, at_b) = (a.info(), b.info());
            assert_eq!((at_b.too_big, at_b.no_room, at_b.malformed, at_a.refused_joins), (0, 0, 0, 0));
            assert_eq!(b.tunnel.info().out_too_big, 0);
            drop(sockets);
        }
    });
}

#[test]
fn an_end_that_begins_anew_learns_at_once_what_is_asked_for() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE, Family::V4, &BOTH, &BOTH);
        let receivers = FAMILIES.map(|family| lans.listener(family, &family.group(1)));
        pump(&[&a, &b], "both groups are asked for", || a.info().asked_groups == 2);
        let watch = Watch::new(&lans.source, "eth0");
        drop(a);
        watch.sees(LEAVE, &Family::V4.group(1), None);
        // The hosts themselves say nothing any more.
        lans.receiver.ip("link set eth0 down");
        let tunnel = Tunnel::open(&lans.path.a, CASTIO_TUNNEL_GRE, "10.11.0.2", "10.12.0.2", &OPTIONS);
        let a = Bridge::open(&lans.path.a, tunnel, &BOTH);
        pump(&[&a, &b], "the new one knows both", || a.info().asked_groups == 2);
        for family in FAMILIES {
            lans.sender(family, 9).send("again", &family.group(1));
        }
        pump(&[&a, &b], "both cross", || b.info().packets_out + b.info().failed == 2);
        drop(receivers);
    });
}
