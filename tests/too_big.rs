//! What doesn't fit into a tunnel: a source of IPv6 is told what would.

mod support;

use std::time::Instant;

use castio::ffi::tunnel::*;
use castio::tunnel::listener::Kind::ModeIsExclude;
use support::bridges::{Bridge, Lans, Wish, pump};
use support::far::{say, sender};
use support::hosts;
use support::icmp::{Icmp, assert_quotes, text, unteachable};
use support::relay::{Gateway, Relay, Wanted, row};
use support::tunnels::{KINDS, OPTIONS, Tunnel, without_privilege};
use support::udp::{FAMILIES, Family, PORT};

const ALL: Wish<'static> =
    Wish { ingress: Some("lan"), groups: Some("*"), egress: None, flags: 0, least_ttl: 0, least_scope: 0 };
const OUT: Wish<'static> = Wish { ingress: None, groups: None, egress: Some("lan"), ..ALL };

/// The address of the source on its LAN, and that of the bridge there.
const SOURCE: &str = "fd21::9";
const BRIDGE: &str = "fd21::1";

#[test]
fn a_source_is_told_what_fits_into_a_tunnel() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (icmp, group) = (Icmp::new(&lans.source, Family::V6), Family::V6.group(1));
        let sender = unteachable(lans.sender(Family::V6, 9), Family::V6);
        for (kind, outer) in KINDS.into_iter().flat_map(|kind| FAMILIES.map(|outer| (kind, outer))) {
            let (a, _b) = lans.bridges(kind, outer, &ALL, &OUT);
            let fits = a.tunnel.info().whole;
            assert!((1400..1500).contains(&fits));
            // What fits goes in, and nobody is told anything.
            sender.send(&text(Family::V6, fits), &group);
            pump(&[&a], "it goes in", || a.info().packets_in == 1);
            sender.send(&text(Family::V6, fits + 1), &group);
            let told = icmp.waits_for_too_big(SOURCE, || a.settle());
            assert_eq!((told.mtu as usize, &*told.from), (fits, BRIDGE), "{kind} {outer:?}");
            assert_quotes(&told, fits + 1, SOURCE, &group);
            assert_eq!((a.info().too_big, a.info().told_too_big, a.info().packets_in), (1, 1, 1));
        }
    });
}

/// The kernel of the source learns it, and fragments what it sends to the group.
#[test]
fn what_is_sent_after_that_arrives() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let group = Family::V6.group(1);
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE, Family::V6, &ALL, &OUT);
        let (sender, receiver) = (lans.sender(Family::V6, 9), lans.listener(Family::V6, &group));
        let large = text(Family::V6, 1500);
        sender.send(&large, &group);
        pump(&[&a], "it is told", || a.info().told_too_big == 1);
        sender.send(&large, &group);
        let mut all = Vec::new();
        pump(&[&a, &b], "it arrives", || {
            all.extend(receiver.waiting());
            !all.is_empty()
        });
        assert_eq!(all, [large]);
        assert_eq!((a.info().too_big, a.info().packets_in), (1, 2));
    });
}

#[test]
fn a_mtu_that_every_link_has_is_the_least_that_is_told() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (icmp, group) = (Icmp::new(&lans.source, Family::V6), Family::V6.group(1));
        let options = castio_tunnel_options { mtu: 1200, ..OPTIONS };
        let tunnel = Tunnel::open(&lans.path.a, CASTIO_TUNNEL_UDP, "10.11.0.2", "10.12.0.2", &options);
        let a = Bridge::open(&lans.path.a, tunnel, &ALL);
        let sender = unteachable(lans.sender(Family::V6, 9), Family::V6);
        sender.send(&text(Family::V6, 1280), &group);
        pump(&[&a], "it is refused", || a.info().too_big == 1);
        sender.send(&text(Family::V6, 1281), &group);
        assert_eq!(icmp.waits_for_too_big(SOURCE, || a.settle()).mtu, 1280);
        assert_eq!((a.info().too_big, a.info().told_too_big), (2, 1));
    });
}

#[test]
fn a_flood_is_told_no_more_than_its_share() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (icmp, group) = (Icmp::new(&lans.source, Family::V6), Family::V6.group(1));
        let start = Instant::now();
        let (a, _b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &ALL, &OUT);
        let sender = unteachable(lans.sender(Family::V6, 9), Family::V6);
        let large = text(Family::V6, 1500);
        for count in 1..=20 {
            (0..50).for_each(|_| sender.send(&large, &group));
            pump(&[&a], "they are refused", || a.info().too_big == count * 50);
        }
        let told = icmp.too_big(SOURCE).len() as u128;
        // Ten at once, and one for each tenth of a second that has passed.
        let most = 10 + start.elapsed().as_millis() / 100 + 1;
        assert!((10..=most).contains(&told), "{told} of {most}");
        assert_eq!(u128::from(a.info().told_too_big), told);
    });
}

#[test]
fn a_bridge_tells_ipv4_nothing() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let [v4, v6] = FAMILIES.map(|family| Icmp::new(&lans.source, family));
        let (a, _b) = lans.bridges(CASTIO_TUNNEL_IPIP, Family::V4, &ALL, &OUT);
        // With DF: else it would be fragmented. Source-specific groups are no exception.
        let groups = [(Family::V4, "239.1.2.3"), (Family::V4, "232.1.2.3"), (Family::V6, "ff15::1")];
        for ((family, group), count) in groups.into_iter().zip(1..) {
            unteachable(lans.sender(family, 9), family).send(&text(family, 1500), group);
            pump(&[&a], "it is refused", || a.info().too_big == count);
        }
        assert_eq!((a.info().told_too_big, v6.too_big(SOURCE).len()), (1, 1));
        assert_eq!(v4.next(), None);
    });
}

#[test]
fn without_privilege_it_is_only_counted() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        lans.path.a.run(without_privilege);
        let (icmp, group) = (Icmp::new(&lans.source, Family::V6), Family::V6.group(1));
        let list = format!("[{group}]:{PORT}");
        let (a, _b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &Wish { groups: Some(&list), ..ALL }, &OUT);
        let sender = unteachable(lans.sender(Family::V6, 9), Family::V6);
        sender.send(&text(Family::V6, 1500), &group);
        pump(&[&a], "it is refused", || a.info().too_big == 1);
        // What goes to the source by the same way comes after it.
        sender.send("fits", &group);
        pump(&[&a], "it goes in", || a.info().packets_in == 1);
        assert_eq!((icmp.too_big(SOURCE), a.info().told_too_big), (Vec::new(), 0));
    });
}

/// Both ways into a relay: a UDP socket, and whole packets.
const WAYS: [&[u16]; 2] = [&[PORT], &[]];

#[test]
fn a_relay_tells_what_fits_its_tunnels() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let (icmp, group) = (Icmp::new(source, Family::V6), Family::V6.group(1));
        let [v4, v6] = ["10.1.0.1", "fd01::1"].map(|from| sender(source, from, 9));
        let (v4, v6) = (unteachable(v4, Family::V4), unteachable(v6, Family::V6));
        for ports in WAYS {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            let gateways = ["10.2.0.1", "fd02::1"].map(|outer| Gateway::new(far, outer));
            let both = [Family::V4.group(1), group.clone()];
            for (gateway, group) in gateways.iter().flat_map(|gateway| both.each_ref().map(|group| (gateway, group))) {
                gateway.report(&relay, ModeIsExclude, group, &[]);
            }
            relay.settle();
            // 1,470 bytes fit into the one tunnel, 1,450 into the other.
            say(source, &v6, &text(Family::V6, 1450), &group);
            for gateway in &gateways {
                assert_eq!(gateway.packet(&relay).len(), 1450);
            }
            say(source, &v6, &text(Family::V6, 1470), &group);
            assert_eq!(gateways[0].packet(&relay).len(), 1470);
            let told = icmp.waits_for_too_big("fd01::1", || relay.settle());
            assert_eq!((told.mtu, &*told.from), (1450, "fd01::2"), "{ports:?}");
            assert_quotes(&told, 1470, "fd01::1", &group);
            let info = relay.info();
            assert_eq!((info.dropped_too_large, info.told_too_large), (1, 1));
            // IPv4 with DF, where that is seen; else it is fragmented.
            say(source, &v4, &text(Family::V4, 1470), &Family::V4.group(1));
            assert_eq!(gateways[0].packet(&relay).len(), 1470);
            relay.settle();
            assert_eq!(
                (relay.info().dropped_too_large, relay.info().told_too_large),
                (1 + u64::from(ports.is_empty()), 1)
            );
            // A flood, of what fits into neither: told is what fits both.
            let start = Instant::now();
            for count in 1..=100 {
                say(source, &v6, &text(Family::V6, 1500), &group);
                relay.until("it is dropped", || relay.info().dropped_too_large > count * 2);
            }
            let told = icmp.too_big("fd01::1");
            assert!(told.iter().all(|told| told.mtu == 1450));
            let told = told.len() as u128;
            let most = 10 + start.elapsed().as_millis() / 100 + 1;
            assert!((9..=most).contains(&told), "{told} of {most}");
        }
    });
}

#[test]
fn a_relay_without_privilege_only_counts() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        relay_host.run(without_privilege);
        let (icmp, group) = (Icmp::new(source, Family::V6), Family::V6.group(1));
        let from = unteachable(sender(source, "fd01::1", 9), Family::V6);
        let relay = Relay::open(relay_host, Wanted { ports: WAYS[0], upstream: Some("in0"), ..Wanted::default() });
        let gateway = Gateway::new(far, "10.2.0.1");
        gateway.report(&relay, ModeIsExclude, &group, &[]);
        relay.settle();
        say(source, &from, &text(Family::V6, 1471), &group);
        relay.until("it is dropped", || relay.info().dropped_too_large == 1);
        say(source, &from, "fits", &group);
        gateway.packet(&relay);
        assert_eq!((icmp.too_big("fd01::1"), relay.info().told_too_large), (Vec::new(), 0));
    });
}
