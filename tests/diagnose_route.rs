//! The diagnosis of the way back to the source (rp_filter), and of the receive queue.

mod support;

use support::doctor::{Ask, BROKEN, LIKELY, UNCHECKED, arrives, healthy, join_source, only, send, well};
use support::hosts::{self, Host, Network};
use support::udp::{FAMILIES, Family, Udp};

const GROUP: &str = "239.1.2.3";
const SOURCE: &str = "192.0.2.7";

/// A sender whose address the receiver has no route to, a host on the same link that it has one to, and
/// the receiver with a second interface.
fn far_source(network: &Network) -> ([Host; 3], Host) {
    let [sender, host, near] = network.lan();
    let aside = network.host("aside");
    network.link((&host, "eth1", &["10.2.0.1/24"]), (&aside, "eth0", &["10.2.0.2/24"]));
    sender.run(|| {
        let words = ["-4", "address", "flush", "dev", "eth0"];
        assert!(support::tools::find("ip", "iproute2").unwrap().command().args(words).status().unwrap().success());
    });
    sender.address("eth0", &["192.0.2.7/24"]);
    host.set("net/ipv4/conf/all/rp_filter", "0");
    host.set("net/ipv4/conf/eth0/rp_filter", "0");
    ([sender, host, near], aside)
}

/// What comes from the source is dropped for its route, and what another sends isn't.
fn source_is_lost(sender: &Host, host: &Host, near: &Host, receiver: &Udp) {
    let drops = || host.run(|| castio::diagnose::host::reverse_path_drops().unwrap());
    let before = drops();
    send(sender, GROUP, "it is lost");
    hosts::until("it is dropped", || drops() == before + 1);
    arrives(near, receiver, GROUP);
    assert_eq!(receiver.waiting(), [""; 0]);
}

#[test]
fn no_route_back_to_the_source() {
    hosts::test(|network| {
        let ([sender, host, near], _aside) = far_source(network);
        let receiver = well(&host, Family::V4, GROUP);
        let ask = Ask::receiver(GROUP).from(SOURCE);
        healthy(&ask.of(&host, &receiver));
        arrives(&sender, &receiver, GROUP);
        for (whose, value) in [("eth0", "1"), ("all", "1"), ("eth0", "2"), ("all", "2")] {
            let file = format!("net/ipv4/conf/{whose}/rp_filter");
            host.set(&file, value);
            let says = [format!("net.ipv4.conf.{whose}.rp_filter is {value}"), format!("no route back to {SOURCE}")];
            let found = only(&ask.of(&host, &receiver), "NO_ROUTE_BACK", BROKEN, &says.each_ref().map(String::as_str));
            assert!(found.cure.contains("ip route add 192.0.2.7/32 dev eth0"));
            assert!(found.cure.contains(&format!("sysctl -w net.ipv4.conf.{whose}.rp_filter=0")));
            source_is_lost(&sender, &host, &near, &receiver);
            // Without its name there is the count of what was dropped.
            only(
                &Ask { source: None, ..ask }.of(&host, &receiver),
                "NO_ROUTE_BACK",
                UNCHECKED,
                &[&says[0], "IPReversePathFilter"],
            );
            // Both cures.
            host.ip("route add 192.0.2.7/32 dev eth0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, GROUP);
            host.ip("route del 192.0.2.7/32 dev eth0");
            host.set(&file, "0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, GROUP);
        }
    });
}

#[test]
fn the_route_back_leaves_by_another_interface() {
    hosts::test(|network| {
        let ([sender, host, near], _aside) = far_source(network);
        let receiver = well(&host, Family::V4, GROUP);
        host.ip("route add default via 10.2.0.2 dev eth1");
        let ask = Ask::receiver(GROUP).from(SOURCE);
        let (eth0, eth1) = (host.index("eth0"), host.index("eth1"));
        host.set("net/ipv4/conf/eth0/rp_filter", "1");
        let says = [format!("{SOURCE} leaves by eth1 (index {eth1})"), format!("not by eth0 (index {eth0})")];
        for ask in [ask, ask.on(None)] {
            only(&ask.of(&host, &receiver), "NO_ROUTE_BACK", BROKEN, &says.each_ref().map(String::as_str));
        }
        source_is_lost(&sender, &host, &near, &receiver);
        // Any route will do for 2.
        host.set("net/ipv4/conf/eth0/rp_filter", "2");
        healthy(&ask.of(&host, &receiver));
        arrives(&sender, &receiver, GROUP);
    });
}

#[test]
fn a_source_that_was_joined_needs_no_naming() {
    hosts::test(|network| {
        let ([_sender, host, _near], _aside) = far_source(network);
        let receiver = host.run(|| Udp::receiver(Family::V4));
        join_source(&host, &receiver, "232.1.2.3", SOURCE, "eth0");
        host.set("net/ipv4/conf/eth0/rp_filter", "1");
        only(&Ask::receiver("232.1.2.3").of(&host, &receiver), "NO_ROUTE_BACK", BROKEN, &[SOURCE]);
    });
}

#[test]
fn a_queue_that_nobody_reads() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            receiver.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 20_000).unwrap();
            let ask = Ask::receiver(&group);
            healthy(&ask.of(&host, &receiver));
            let from = sender.run(|| Udp::new(family));
            let dropped = || castio::sys::option::drops(std::os::fd::AsFd::as_fd(&*receiver)).unwrap();
            hosts::until("some are dropped", || {
                from.send(&"x".repeat(1000), &group);
                dropped() >= 5
            });
            // The switch hands over in its sender's own time: nothing is under way any more.
            let count = dropped();
            let says = ["of 40000 bytes".to_owned(), format!("{count} datagrams")];
            only(&ask.of(&host, &receiver), "QUEUE_FULL", BROKEN, &says.each_ref().map(String::as_str));
            assert!(!receiver.waiting().is_empty());
            let says = format!("dropped {count} datagrams");
            let found = only(&ask.of(&host, &receiver), "DROPS", LIKELY, &[&says, "40000"]);
            assert!(found.cure.contains("castio_set_receive_buffer"));
            arrives(&sender, &receiver, &group);
        }
    });
}
