//! Bridges go on by the names of their interfaces, whatever becomes of these.

mod support;

use castio::ffi::bridge::*;
use castio::ffi::tunnel::*;
use support::bridges::{Bridge, Lans, Wish, listener, pump};
use support::hosts::{self, Host, Network};
use support::link::Watch;
use support::pair::{JOIN, LEAVE};
use support::tunnels::without_privilege;
use support::udp::{FAMILIES, Family, PORT, Udp};

const IN: Wish<'static> =
    Wish { ingress: Some("lan"), groups: Some("*"), egress: None, flags: 0, least_ttl: 0, least_scope: 0 };
const OUT: Wish<'static> = Wish { ingress: None, groups: None, egress: Some("lan"), ..IN };

/// A new cable from the source to a bridge's host, whose end has this name, a new index, and these
/// numbers in its addresses.
fn plug_source(network: &Network, lans: &Lans, name: &str) {
    let (near, far) = (["10.21.0.1/24", "fd21::1/64"], ["10.21.0.9/24", "fd21::9/64"]);
    network.link((&lans.path.a, name, &near), (&lans.source, "eth0", &far));
    lans.source.ip("route add default via 10.21.0.1\nroute add default via fd21::1");
}

/// Likewise to the receiver.
fn plug_receiver(network: &Network, lans: &Lans, name: &str) {
    let (near, far) = (["10.22.0.1/24", "fd22::1/64"], ["10.22.0.9/24", "fd22::9/64"]);
    network.link((&lans.path.b, name, &near), (&lans.receiver, "eth0", &far));
    lans.receiver.ip("route add default via 10.22.0.1\nroute add default via fd22::1");
}

/// What is sent now arrives. The bridges hear first of what has become of their interfaces.
fn crosses(lans: &Lans, bridges: &[&Bridge<'_>], family: Family, receiver: &Udp, text: &str) {
    for bridge in bridges {
        bridge.process();
    }
    lans.sender(family, 9).send(text, &family.group(1));
    let mut all = Vec::new();
    pump(bridges, text, || {
        all.extend(receiver.waiting());
        !all.is_empty()
    });
    assert_eq!(all, [text], "{family:?}");
}

/// What is sent now is counted as what can't leave the last bridge.
fn ends_at_the_last(lans: &Lans, bridges: [&Bridge<'_>; 2], family: Family) {
    for bridge in bridges {
        bridge.process();
    }
    let before = bridges[1].info().failed;
    lans.sender(family, 9).send("to nobody", &family.group(1));
    pump(&bridges, "it ends at the bridge", || bridges[1].info().failed > before);
}

#[test]
fn an_egress_that_is_made_anew_goes_on() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        for flags in [0, CASTIO_BRIDGE_OWN_DATAGRAMS] {
            let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &IN, &Wish { flags, ..OUT });
            for family in FAMILIES {
                let index = lans.path.b.index("lan");
                crosses(&lans, &[&a, &b], family, &lans.listener(family, &family.group(1)), "before");
                lans.path.b.ip("link del lan");
                ends_at_the_last(&lans, [&a, &b], family);
                plug_receiver(network, &lans, "lan");
                assert_ne!(lans.path.b.index("lan"), index);
                crosses(&lans, &[&a, &b], family, &lans.listener(family, &family.group(1)), "after");
            }
            assert_eq!((b.info().failed, b.info().packets_out), (2, 4), "{flags}");
        }
    });
}

#[test]
fn an_egress_goes_with_its_name() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (other, spare) = (network.host("other"), "spare");
        network.link(
            (&lans.path.b, spare, &["10.23.0.1/24", "fd23::1/64"]),
            (&other, "eth0", &["10.23.0.9/24", "fd23::9/64"]),
        );
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE, Family::V6, &IN, &OUT);
        let all = [&a, &b];
        let rename = |from: &str, to: &str| {
            lans.path.b.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"));
            lans.path.b.wait_for_link(to);
        };
        for family in FAMILIES {
            let [here, there] = [&lans.receiver, &other].map(|host| listener(host, family, &family.group(1)));
            crosses(&lans, &all, family, &here, "first");
            // It is up, and of another name.
            rename("lan", "old");
            ends_at_the_last(&lans, all, family);
            // Another has its name.
            rename(spare, "lan");
            crosses(&lans, &all, family, &there, "second");
            rename("lan", spare);
            rename("old", "lan");
            crosses(&lans, &all, family, &here, "third");
            assert_eq!((here.waiting().len(), there.waiting().len()), (0, 0), "{family:?}");
        }
    });
}

#[test]
fn down_and_up_is_a_pause() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (a, b) = lans.bridges(CASTIO_TUNNEL_IPIP, Family::V4, &IN, &OUT);
        let receivers = FAMILIES.map(|family| lans.listener(family, &family.group(1)));
        for (host, address) in [(&lans.path.a, "fd21::1/64"), (&lans.path.b, "fd22::1/64")] {
            host.ip("link set lan down");
            if std::ptr::eq(host, &lans.path.b) {
                for family in FAMILIES {
                    ends_at_the_last(&lans, [&a, &b], family);
                }
            }
            host.ip("link set lan up");
            host.wait_for_link("lan");
            // Those of IPv6 go with it.
            host.address("lan", &[address]);
            for (family, receiver) in FAMILIES.into_iter().zip(&receivers) {
                crosses(&lans, &[&a, &b], family, receiver, "up again");
            }
        }
    });
}

/// The kernel uses an index again, if it is told to.
#[test]
fn another_interface_with_the_index_of_one_that_is_gone_gets_nothing() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &IN, &OUT);
        let index = lans.path.b.index("lan");
        let receiver = lans.receiver.netns();
        lans.path.b.ip(&format!(
            "link del lan\nlink add other index {index} type veth peer name eth0 netns {receiver}\nlink set other up"
        ));
        lans.receiver.ip("link set eth0 up");
        lans.path.b.wait_for_link("other");
        for family in FAMILIES {
            let receiver = lans.listener(family, &family.group(1));
            ends_at_the_last(&lans, [&a, &b], family);
            assert_eq!(receiver.waiting(), Vec::<String>::new());
        }
        assert_eq!(b.info().packets_out, 0);
    });
}

#[test]
fn an_ingress_that_is_made_anew_goes_on() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let list = format!("{} {}", Family::V4.group(1), Family::V6.group(1));
        let sources = format!("{}@10.21.0.9 {}@fd21::9", Family::V4.group(1), Family::V6.group(1));
        let with_ports = format!("{}:{PORT} [{}]:{PORT}", Family::V4.group(1), Family::V6.group(1));
        for (groups, privileged) in [("*", true), (&list, true), (&sources, true), (&with_ports, false)] {
            if !privileged {
                lans.path.a.run(without_privilege);
            }
            let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &Wish { groups: Some(groups), ..IN }, &OUT);
            for family in FAMILIES {
                let receiver = lans.listener(family, &family.group(1));
                crosses(&lans, &[&a, &b], family, &receiver, "before");
                lans.source.ip("link del eth0");
                a.process();
                plug_source(network, &lans, "lan");
                crosses(&lans, &[&a, &b], family, &receiver, "after");
            }
            assert_eq!((a.info().packets_in, a.info().unwanted), (4, 0), "{groups}");
        }
    });
}

/// With the index that it had, so that nothing but the kernel's word tells.
#[test]
fn an_ingress_that_is_made_anew_takes_all_groups_again() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let index = lans.path.a.index("lan");
        let (a, _b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &IN, &OUT);
        assert_eq!(takers(&lans.path.a, "lan"), 1);
        for again in [index, index + 100] {
            lans.path
                .a
                .ip(&format!("link del lan\nlink add lan index {again} type veth peer name other\nlink set lan up"));
            a.process();
            assert_eq!(takers(&lans.path.a, "lan"), 1, "{again}");
        }
        lans.path.a.ip("link set lan down\nlink set lan name old");
        a.process();
        assert_eq!(takers(&lans.path.a, "old"), 0);
    });
}

#[test]
fn an_ingress_goes_with_its_name() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let list = format!("{} {}", Family::V4.group(1), Family::V6.group(1));
        for groups in ["*", &list] {
            let (a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &Wish { groups: Some(groups), ..IN }, &OUT);
            for family in FAMILIES {
                let receiver = lans.listener(family, &family.group(1));
                let rename = |from: &str, to: &str| {
                    lans.path.a.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"));
                    lans.path.a.wait_for_link(to);
                    a.process();
                };
                rename("lan", "old");
                lans.sender(family, 9).send("of another name", &family.group(1));
                a.process();
                rename("old", "lan");
                crosses(&lans, &[&a, &b], family, &receiver, "of its name");
            }
        }
    });
}

#[test]
fn reports_are_heard_on_an_egress_that_is_made_anew() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let asks = Wish { flags: CASTIO_BRIDGE_ASK, ..OUT };
        let (a, b) = lans.bridges(CASTIO_TUNNEL_GRE, Family::V6, &Wish { groups: None, ..IN }, &asks);
        let watch = Watch::new(&lans.source, "eth0");
        for family in FAMILIES {
            let group = family.group(1);
            let before = lans.listener(family, &group);
            pump(&[&a, &b], "the group is joined", || watch.has_seen(JOIN, &group, None));
            drop(before);
            pump(&[&a, &b], "the group is left", || watch.has_seen(LEAVE, &group, None));
            lans.path.b.ip("link del lan");
            b.process();
            let queries = b.info().queries;
            plug_receiver(network, &lans, "lan");
            assert_eq!(takers(&lans.path.b, "lan"), 0);
            // Whoever is there is asked.
            pump(&[&a, &b], "both families are asked", || b.info().queries >= queries + 2);
            // One for each family.
            assert_eq!(takers(&lans.path.b, "lan"), 2);
            let receiver = lans.listener(family, &group);
            pump(&[&a, &b], "the group is joined again", || watch.has_seen(JOIN, &group, None));
            crosses(&lans, &[&a, &b], family, &receiver, "asked for");
            drop(receiver);
            pump(&[&a, &b], "the group is left again", || watch.has_seen(LEAVE, &group, None));
        }
        // Hosts of an interface that is no more of this name aren't heard.
        let rename = |from: &str, to: &str| {
            lans.path.b.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"));
            lans.path.b.wait_for_link(to);
        };
        rename("lan", "old");
        b.process();
        assert_eq!(takers(&lans.path.b, "old"), 0);
        let (group, reports) = (Family::V4.group(2), b.info().reports);
        let _receiver = lans.listener(Family::V4, &group);
        b.process();
        assert_eq!(b.info().reports, reports);
        rename("old", "lan");
        pump(&[&a, &b], "it is asked, and heard", || watch.has_seen(JOIN, &group, None));
        // After a pause they are asked again.
        let queries = b.info().queries;
        lans.path.b.ip("link set lan down");
        b.process();
        lans.path.b.ip("link set lan up");
        pump(&[&b], "both families are asked", || b.info().queries >= queries + 2);
    });
}

#[test]
fn an_address_that_comes_later_is_asked_from() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (_a, b) = lans.bridges(CASTIO_TUNNEL_UDP, Family::V4, &IN, &Wish { flags: CASTIO_BRIDGE_ASK, ..OUT });
        pump(&[&b], "both families are asked", || b.info().queries == 2);
        lans.path.b.ip("link del lan\nlink add lan type veth peer name peer\nlink set lan addrgenmode none\n\
             link set peer up\nlink set lan up");
        pump(&[&b], "IPv4 is asked", || b.info().queries == 3);
        lans.path.b.address("lan", &["fe80::77/64"]);
        pump(&[&b], "IPv6 is asked", || b.info().queries == 4);
    });
}

/// How many have asked the interface for all groups.
fn takers(host: &Host, interface: &str) -> u32 {
    let mut command = support::tools::find("ip", "iproute2").unwrap().command();
    let output = host.run(|| command.args(["-details", "link", "show", "dev", interface]).output().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "allmulti");
    words.nth(1).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}
