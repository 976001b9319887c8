//! Bridges: multicast from one LAN to another, with a network between that carries unicast only.

mod support;

use castio::Errno;
use castio::ffi::bridge::*;
use castio::ffi::tunnel::*;
use support::bridges::{Bridge, Lans, Wish, listener, pump};
use support::hosts::{self, Host, Network};
use support::link::{Kind, Watch};
use support::packets::Header;
use support::pair::{JOIN, LEAVE};
use support::tunnels::{Inner, KINDS, OPTIONS, Tunnel, without_privilege};
use support::udp::{Datagram, FAMILIES, Family, PORT, Udp};

const IN: Wish<'static> =
    Wish { ingress: Some("lan"), groups: None, egress: None, flags: 0, least_ttl: 0, least_scope: 0 };
const OUT: Wish<'static> = Wish { ingress: None, egress: Some("lan"), ..IN };

/// Lets the bridges work until this text has come, and gives all that came with it.
fn until(bridges: &[&Bridge<'_>], udp: &Udp, last: &str) -> Vec<Datagram> {
    let mut all = Vec::new();
    pump(bridges, last, || {
        all.extend(udp.arrived());
        all.iter().any(|datagram| datagram.text == last)
    });
    all
}

fn texts(all: &[Datagram]) -> Vec<&str> {
    all.iter().map(|datagram| datagram.text.as_str()).collect()
}

#[test]
fn listed_groups_cross_with_their_source_and_less_to_live() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let wish = Wish { groups: Some("239.1.0.1, 239.1.0.3@10.21.0.9 ff15::1 239.1.0.2:4999"), ..IN };
        for (kind, outer) in KINDS.into_iter().zip([Family::V4, Family::V6, Family::V4, Family::V6]) {
            let (a, b) = lans.bridges(kind, outer, &wish, &OUT);
            for family in FAMILIES {
                let (group, other) = (family.group(1), family.group(2));
                let (receiver, elsewhere) = (lans.listener(family, &group), lans.listener(family, &other));
                let sender = lans.sender(family, 9);
                sender.send("not listed, or another port", &other);
                sender.send("one", &group);
                let got = until(&[&a, &b], &receiver, "one");
                assert_eq!((texts(&got), got[0].ttl), (vec!["one"], 7), "{kind} {family:?}");
                assert_eq!(got[0].from.ip().to_string(), Lans::source_ip(family));
                assert_eq!(got[0].from.port(), sender.local_addr().unwrap().port());
                assert_eq!(elsewhere.waiting(), Vec::<String>::new());
            }
            let (at_a, at_b) = (a.info(), b.info());
            assert_eq!((at_a.packets_in, at_b.packets_out, at_a.packets_out), (2, 2, 0));
            assert_eq!((at_a.bytes_in, at_a.unwanted, at_b.keeps_source), (31 + 51, 2, 1));
        }
    });
}

#[test]
fn one_source_of_a_group_crosses_and_no_other() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        lans.source.address("eth0", &["10.21.0.8/24", "fd21::8/64"]);
        let wish = Wish { groups: Some("232.1.0.1@10.21.0.9 ff3e::1@fd21::9"), ..IN };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE_UDP, Family::V4, &wish, &OUT);
        let watch = Watch::new(&lans.source, "eth0");
        for (family, group, other) in [(Family::V4, "232.1.0.1", "10.21.0.8:0"), (Family::V6, "ff3e::1", "[fd21::8]:0")]
        {
            let receiver = lans.listener(family, group);
            let (sender, stranger) = (lans.sender(family, 9), lans.sender(family, 9));
            let wanted = if family == Family::V4 { "10.21.0.9:0" } else { "[fd21::9]:0" };
            sender.bind(wanted.parse().unwrap()).unwrap();
            stranger.bind(other.parse().unwrap()).unwrap();
            stranger.send("stranger", group);
            sender.send("wanted", group);
            assert_eq!(texts(&until(&[&a, &b], &receiver, "wanted")), ["wanted"]);
        }
        drop(a);
        // It had joined by source, and has left.
        watch.sees(&[Kind::BlockOldSources], "232.1.0.1", Some("10.21.0.9"));
    });
}

#[test]
fn everything_crosses_but_what_stays_on_its_link_or_has_no_time_left() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let wish = Wish { groups: Some("*"), ..IN };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_IPIP, Family::V4, &wish, &Wish { least_ttl: 5, ..OUT });
        for family in FAMILIES {
            let (group, local) = (family.group(1), if family == Family::V4 { "224.0.0.251" } else { "ff02::fb%eth0" });
            let receiver = lans.listener(family, &group);
            let local = local.replace("%eth0", &format!("%{}", lans.source.index("eth0")));
            lans.sender(family, 9).send("stays", &local);
            lans.sender(family, 1).send("ends at a", &group);
            lans.sender(family, 5).send("ends at b", &group);
            lans.sender(family, 6).send("arrives", &group);
            let got = until(&[&a, &b], &receiver, "arrives");
            assert_eq!((texts(&got), got[0].ttl), (vec!["arrives"], 4));
        }
        assert_eq!((a.info().ttl, b.info().ttl, a.info().packets_in, b.info().packets_out), (2, 2, 4, 2));
        drop((a, b));

        let wish = Wish { least_scope: 9, ..wish };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &wish, &OUT);
        for (family, near, far) in [(Family::V4, "239.1.0.1", "232.1.0.1"), (Family::V6, "ff18::1", "ff1e::1")] {
            let (receiver, nobody) = (lans.listener(family, far), lans.listener(family, near));
            let sender = lans.sender(family, 9);
            sender.send("near", near);
            sender.send("far", far);
            assert_eq!(texts(&until(&[&a, &b], &receiver, "far")), ["far"]);
            assert_eq!(nobody.waiting(), Vec::<String>::new());
        }
        assert_eq!(a.info().scope, 2);
    });
}

#[test]
fn without_privilege_datagrams_cross_as_the_bridges_own() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        for host in [&lans.path.a, &lans.path.b] {
            host.run(without_privilege);
        }
        let list = format!("239.1.0.1:{PORT} [ff15::1]:{PORT}");
        let wish = Wish { groups: Some(&list), ..IN };
        for kind in [CASTIO_TUNNEL_GRE_UDP, CASTIO_TUNNEL_UDP] {
            let (a, b) = lans.bridges(kind, Family::V4, &wish, &OUT);
            for family in FAMILIES {
                let (group, other) = (family.group(1), family.group(2));
                let receiver = lans.listener(family, &group);
                let sender = lans.sender(family, 9);
                sender.send("not listed", &other);
                for number in 0..3 {
                    sender.send(&format!("number {number}"), &group);
                }
                let got = until(&[&a, &b], &receiver, "number 2");
                assert_eq!(texts(&got), ["number 0", "number 1", "number 2"], "{kind} {family:?}");
                let own = if family == Family::V4 { "10.22.0.1" } else { "fd22::1" };
                assert!(got.iter().all(|one| one.ttl == 7 && one.from.ip().to_string() == own));
            }
            assert_eq!((b.info().keeps_source, b.info().packets_out), (0, 6));
        }
        let open = |wish: &Wish<'_>| {
            let tunnel = Tunnel::open(&lans.path.a, CASTIO_TUNNEL_UDP, "10.11.0.2", "10.12.0.2", &OPTIONS);
            Bridge::try_open(&lans.path.a, tunnel, wish).err()
        };
        for groups in [None, Some("*"), Some("239.1.0.1")] {
            assert_eq!(open(&Wish { groups, ..IN }), Some(Errno::EPERM), "{groups:?}");
        }
        assert_eq!(open(&Wish { flags: CASTIO_BRIDGE_ASK, ..OUT }), Some(Errno::EPERM));
    });
}

#[test]
fn what_the_receivers_ask_for_is_joined_and_left_at_the_source() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let asks = Wish { flags: CASTIO_BRIDGE_ASK, ..OUT };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE, Family::V6, &IN, &asks);
        let watch = Watch::new(&lans.source, "eth0");
        for family in FAMILIES {
            let group = family.group(1);
            let sender = lans.sender(family, 9);
            sender.send("nobody asks", &group);
            let receiver = lans.listener(family, &group);
            pump(&[&a, &b], "the group is joined", || watch.has_seen(JOIN, &group, None));
            sender.send("asked for", &group);
            assert_eq!(texts(&until(&[&a, &b], &receiver, "asked for")), ["asked for"]);
            assert_eq!(a.info().asked_groups, 1);
            // A second receiver, while the first goes: the query finds it.
            let second = lans.listener(family, &group);
            drop(receiver);
            sender.send("still", &group);
            until(&[&a, &b], &second, "still");
            drop(second);
            pump(&[&a, &b], "the group is left", || watch.has_seen(LEAVE, &group, None));
            assert_eq!(a.info().asked_groups, 0);
        }
        // A general one of each family at the beginning, and two after each leave.
        assert!(b.info().queries >= 4, "{}", b.info().queries);
        assert!(a.info().reports > 0 && b.info().reports > 0);
        assert!((1..=125_000).contains(&b.timeout_ms()), "{}", b.timeout_ms());
    });
}

#[test]
fn what_has_a_link_local_source_stays_on_its_link() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        lans.source.address("eth0", &["169.254.7.7/16"]);
        let wish = Wish { groups: Some("*"), ..IN };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE_UDP, Family::V4, &wish, &OUT);
        let link = format!("[fe80::9%{}]:0", lans.source.index("eth0"));
        lans.source.ip("address add fe80::9/64 dev eth0 nodad");
        for (family, local) in [(Family::V4, "169.254.7.7:0"), (Family::V6, link.as_str())] {
            let group = family.group(1);
            let receiver = lans.listener(family, &group);
            let sender = lans.sender(family, 9);
            sender.bind(local.parse().unwrap()).unwrap();
            sender.send("stays", &group);
            lans.sender(family, 9).send("goes", &group);
            assert_eq!(texts(&until(&[&a, &b], &receiver, "goes")), ["goes"], "{family:?}");
        }
        assert_eq!((a.info().link_local, a.info().packets_in), (2, 2));
        // Not out of the tunnel either, whoever has put it in. Between neighbours it may go.
        let made = |source: &str, group: &str| {
            Header::new(source.parse().unwrap(), group.parse().unwrap()).datagram([4000, PORT], &[1])
        };
        assert_eq!(a.tunnel.try_send(&[&made("fe80::9", "ff15::1")], 0).1, Err(Errno::EADDRNOTAVAIL));
        a.tunnel.send(&[&made("169.254.7.7", "224.0.0.5"), &made("fe80::9", "ff02::5")]);
        pump(&[&b], "both are dropped by scope", || b.info().scope == 2);
    });
}

#[test]
fn trains_and_fragments_cross_as_what_they_are() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let wish = Wish { groups: Some("*"), ..IN };
        for (kind, outer) in [(CASTIO_TUNNEL_UDP, Family::V4), (CASTIO_TUNNEL_IPIP, Family::V6)] {
            let (a, b) = lans.bridges(kind, outer, &wish, &OUT);
            for family in FAMILIES {
                let group = family.group(1);
                let receiver = lans.listener(family, &group);
                let sender = lans.sender(family, 9);
                // UDP_SEGMENT: one packet for the kernel, ten for everybody else.
                sender.set(libc::SOL_UDP, 103, 500).unwrap();
                let words: String = (0..10).map(|number| format!("{number}").repeat(500)).collect();
                sender.send(&words, &group);
                sender.set(libc::SOL_UDP, 103, 0).unwrap();
                // In fragments from the beginning.
                let long = "long ".repeat(800);
                sender.send(&long, &group);
                sender.send("end", &group);
                let got = until(&[&a, &b], &receiver, "end");
                assert_eq!(got[..10].iter().map(|one| one.text.as_str()).collect::<String>(), words);
                // IPv6's are as large as the LAN's packets, too large for the tunnel, and mustn't be cut.
                let is_cut = family == Family::V4;
                assert_eq!(got.iter().any(|one| one.text == long), is_cut, "{kind} {family:?}");
                assert_eq!((got.len(), a.info().too_big > 0), (if is_cut { 12 } else { 11 }, !is_cut));
                assert!(a.info().cut > 0);
            }
        }
    });
}

#[test]
fn opening_says_what_is_wrong() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let open = |wish: &Wish<'_>| {
            let tunnel = Tunnel::open(&lans.path.a, CASTIO_TUNNEL_UDP, "10.11.0.2", "10.12.0.2", &OPTIONS);
            Bridge::try_open(&lans.path.a, tunnel, wish).err()
        };
        for (wish, error) in [
            (Wish::default(), Errno::EINVAL),
            (Wish { ingress: Some("no-such"), ..IN }, Errno::ENODEV),
            (Wish { egress: Some("no-such"), ..OUT }, Errno::ENODEV),
            (Wish { groups: Some(""), ..IN }, Errno::EINVAL),
            (Wish { groups: Some("10.1.2.3"), ..IN }, Errno::EINVAL),
            (Wish { flags: 4, ..OUT }, Errno::EINVAL),
            (Wish { flags: CASTIO_BRIDGE_ASK, ..IN }, Errno::EINVAL),
            (Wish { flags: CASTIO_BRIDGE_ASK | CASTIO_BRIDGE_OWN_DATAGRAMS, ..OUT }, Errno::EINVAL),
            (Wish { least_ttl: 1, ..OUT }, Errno::EINVAL),
            (Wish { least_ttl: 256, ..OUT }, Errno::EINVAL),
            (Wish { least_scope: 2, ..OUT }, Errno::EINVAL),
            (Wish { least_scope: 16, ..OUT }, Errno::EINVAL),
        ] {
            assert_eq!(open(&wish), Some(error));
        }
        let (a, _b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &Wish { groups: Some("*"), ..IN }, &OUT);
        assert_eq!((a.run(0), a.run(1), a.process()), (Ok(0), Ok(0), 0));
        assert_eq!(a.timeout_ms(), -1);
        lans.sender(Family::V4, 9).send("one", "239.1.0.1");
        let mut wanted = libc::pollfd { fd: a.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut wanted, 1, 10_000) }, 1);
        assert_eq!(a.process(), 1);
    });
}

/// Two LANs, and two networks side by side between them: the hosts at the ends of these, a source on the
/// left and a receiver on the right.
fn two_ways(network: &Network) -> [Host; 6] {
    let hosts = ["a1", "a2", "b1", "b2", "source", "receiver"].map(|name| network.host(name));
    let [a1, a2, b1, b2, source, receiver] = &hosts;
    network.switch(
        "left",
        &[
            (a1, "eth0", &["10.21.0.1/24", "fd21::1/64"]),
            (a2, "eth0", &["10.21.0.2/24", "fd21::2/64"]),
            (source, "eth0", &["10.21.0.9/24", "fd21::9/64"]),
        ],
    );
    network.switch(
        "right",
        &[
            (b1, "eth0", &["10.22.0.1/24", "fd22::1/64"]),
            (b2, "eth0", &["10.22.0.2/24", "fd22::2/64"]),
            (receiver, "eth0", &["10.22.0.9/24", "fd22::9/64"]),
        ],
    );
    network.link((a1, "wan", &["10.31.0.1/24"]), (b1, "wan", &["10.31.0.2/24"]));
    network.link((a2, "wan", &["10.32.0.1/24"]), (b2, "wan", &["10.32.0.2/24"]));
    hosts
}

/// From the source's LAN, with hops enough to go round often.
fn send_far(source: &Host, family: Family, group: &str) {
    source.run(|| {
        let udp = Udp::new(family);
        support::bridges::set_ttl(&udp, family, 255);
        let interface = i32::try_from(source.index("eth0")).unwrap();
        match family {
            Family::V4 => source.ip("route replace 224.0.0.0/4 dev eth0"),
            Family::V6 => udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, interface).unwrap(),
        }
        udp.send("round and round", group);
    });
}

/// Two bridges side by side, both ways, between the hosts of [`two_ways`]: both ends of one, then of the other.
fn ring<'h>([a1, a2, b1, b2, ..]: &'h [Host; 6], flags: u32) -> [Bridge<'h>; 4] {
    let wish = Wish { groups: Some("*"), ingress: Some("eth0"), egress: Some("eth0"), flags, ..IN };
    let bridge =
        |host, local, remote| Bridge::open(host, Tunnel::open(host, CASTIO_TUNNEL_UDP, local, remote, &OPTIONS), &wish);
    [
        bridge(a1, "10.31.0.1", "10.31.0.2"),
        bridge(b1, "10.31.0.2", "10.31.0.1"),
        bridge(a2, "10.32.0.1", "10.32.0.2"),
        bridge(b2, "10.32.0.2", "10.32.0.1"),
    ]
}

/// Two LANs with two bridges side by side between them, all both ways.
fn side_by_side(network: &Network, flags: u32) {
    let hosts = two_ways(network);
    let bridges = ring(&hosts, flags);
    let [.., source, receiver] = &hosts;
    let all: Vec<&Bridge<'_>> = bridges.iter().collect();
    for family in FAMILIES {
        let group = family.group(1);
        let (there, here) = (listener(receiver, family, &group), listener(source, family, &group));
        send_far(source, family, &group);
        // Until it is quiet: with what each does, nothing new comes for any.
        let mut quiet = 0;
        pump(&all, "it gets quiet", || {
            quiet = if all.iter().map(|bridge| bridge.process()).sum::<i64>() == 0 { quiet + 1 } else { 0 };
            quiet > 20
        });
        let (there, here) = (there.waiting().len(), here.waiting().len());
        // Once by each pair of bridges, and the sender's own copy. A copy may have overtaken another
        // on its way into a bridge, and gone one side further.
        assert!((2..=4).contains(&there), "{family:?}: {there}");
        assert!((1..=3).contains(&here), "{family:?}: {here}");
    }
    let infos: Vec<_> = all.iter().map(|bridge| bridge.info()).collect();
    let forwarded: u64 = infos.iter().map(|info| info.packets_in + info.packets_out).sum();
    assert!(forwarded <= 32, "{forwarded}");
    assert!(infos.iter().map(|info| info.back).sum::<u64>() > 0);
}

#[test]
fn bridges_side_by_side_do_not_storm() {
    hosts::test(|network| side_by_side(network, 0));
}

#[test]
fn bridges_side_by_side_that_send_as_themselves_do_not_storm() {
    hosts::test(|network| side_by_side(network, CASTIO_BRIDGE_OWN_DATAGRAMS));
}

#[test]
fn what_comes_round_while_a_bridge_is_busy_stays_off_its_own_lan() {
    const COUNT: usize = 150;
    hosts::test(|network| {
        let hosts = two_ways(network);
        for flags in [0, CASTIO_BRIDGE_OWN_DATAGRAMS] {
            let [a, b, busy, other] = &ring(&hosts, flags);
            let [.., source, _] = &hosts;
            for family in FAMILIES {
                let group = family.group(1);
                let here = listener(source, family, &group);
                let sender = source.run(|| {
                    let udp = Udp::new(family);
                    support::bridges::set_ttl(&udp, family, 64);
                    udp
                });
                if family == Family::V4 {
                    source.ip("route replace 224.0.0.0/4 dev eth0");
                } else {
                    let index = i32::try_from(source.index("eth0")).unwrap();
                    sender.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index).unwrap();
                }
                (0..COUNT).for_each(|number| sender.send(&number.to_string(), &group));
                // All of it waits at the tunnel before the busy one looks at its LAN.
                let before = (busy.info(), other.info().packets_in);
                pump(&[a, b, other], "it has come round", || other.info().packets_in == before.1 + COUNT as u64);
                let went = |now: castio_bridge_info| now.packets_out + now.back - before.0.packets_out - before.0.back;
                pump(&[busy], "it is out of the tunnel", || went(busy.info()) >= COUNT as u64);

                assert_eq!(busy.info().packets_out, before.0.packets_out, "{family:?} {flags}");
                pump(&[a, b, busy, other], "the sender's own copies", || here.arrived().is_empty());
            }
        }
    });
}

#[test]
fn equal_datagrams_of_several_senders_all_arrive() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        for flags in [0, CASTIO_BRIDGE_OWN_DATAGRAMS] {
            let (into, out) = (Wish { groups: Some("*"), flags, ..IN }, Wish { flags, ..OUT });
            let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &into, &out);
            for family in FAMILIES {
                let group = family.group(1);
                let receiver = lans.listener(family, &group);
                let senders = [16, 12, 8].map(|ttl| lans.sender(family, ttl));
                for _ in 0..5 {
                    senders.iter().for_each(|sender| sender.send("beat", &group));
                }
                senders[0].send("end", &group);
                assert_eq!(until(&[&a, &b], &receiver, "end").len(), 16, "{family:?} {flags}");
            }
            assert_eq!((a.info().back, b.info().back), (0, 0));
        }
    });
}

#[test]
fn a_sender_that_moves_away_goes_on_being_heard() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &Wish { groups: Some("*"), ..IN }, &OUT);
        for family in FAMILIES {
            let group = family.group(1);
            let (receiver, sender) = (lans.listener(family, &group), lans.sender(family, 16));
            for ttl in [16, 12, 8] {
                support::bridges::set_ttl(&sender, family, ttl);
                (0..5).for_each(|_| sender.send("beat", &group));
            }
            sender.send("end", &group);
            // One for each change may count as come round, where nothing tells equal datagrams apart.
            let count = until(&[&a, &b], &receiver, "end").len();
            assert!((14..=16).contains(&count), "{family:?}: {count}");
        }
    });
}

#[test]
fn a_bridge_does_not_take_in_what_it_puts_on() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        for privileged in [true, false] {
            if !privileged {
                lans.path.a.run(without_privilege);
            }
            let list = format!("239.1.0.1:{PORT} [ff15::1]:{PORT}");
            let both = Wish { groups: Some(&list), egress: Some("lan"), ..IN };
            let at_a = Tunnel::open(&lans.path.a, CASTIO_TUNNEL_UDP, "10.11.0.2", "10.12.0.2", &OPTIONS);
            let at_b = Tunnel::open(&lans.path.b, CASTIO_TUNNEL_UDP, "10.12.0.2", "10.11.0.2", &OPTIONS);
            let a = Bridge::open(&lans.path.a, at_a, &both);
            for family in FAMILIES {
                let group = family.group(1);
                let here = listener(&lans.source, family, &group);
                let inner = Inner::new(family).to(&group, PORT).packet();
                at_b.send(&[&inner, &inner]);
                let mut count = 0;
                pump(&[&a], "both are on the LAN", || {
                    count += here.arrived().len();
                    count == 2
                });
            }
            // What goes in after it goes in alone.
            lans.sender(Family::V4, 9).send("in", "239.1.0.1");
            pump(&[&a], "one goes in", || a.info().packets_in == 1);
            assert_eq!(at_b.receive(1).len(), 1);
            assert_eq!(at_b.try_receive(1, 0), Err(Errno::EAGAIN));
            assert_eq!((a.info().packets_out, a.info().packets_in), (4, 1));
        }
    });
}
