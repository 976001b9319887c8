//! The diagnosis of interfaces: missing, down, without carrier, flag or address; and of bridges.

mod support;

use castio::sys::interface::Flags;
use support::doctor::{Ask, BROKEN, LIKELY, RISK, arrives, first, healthy, only, send, well};
use support::hosts::{self, Host, Network};
use support::link::{Kind, Watch};
use support::udp::{FAMILIES, Family, Udp};

/// A sender and a receiver on one cable.
fn pair(network: &Network) -> (Host, Host) {
    let (sender, host) = (network.host("sender"), network.host("receiver"));
    network.link((&sender, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&host, "eth0", &["10.1.0.2/24", "fd01::2/64"]));
    (sender, host)
}

/// "eth0 (index 3)"
fn called(host: &Host) -> String {
    format!("eth0 (index {})", host.index("eth0"))
}

/// The kernel takes its time to tell.
fn wait_for_carrier(host: &Host, is_there: bool) {
    let list = || host.run(|| castio::interface::list().unwrap());
    let has = |entry: &castio::interface::Entry| {
        entry.interface.name.starts_with(b"eth0\0") && entry.interface.flags.has(Flags::RUNNING)
    };
    hosts::until("the carrier comes or goes", || list().iter().any(has) == is_there);
}

#[test]
fn one_that_does_not_exist() {
    hosts::test(|network| {
        let (_sender, host) = pair(network);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            for name in ["eth7", "192.0.2.7", "4711"] {
                let found = Ask::receiver(&group).on(Some(name)).of(&host, &receiver);
                only(&found, "INTERFACE_MISSING", BROKEN, &[name, "lo, eth0"]);
                first(&Ask::sender(&group).on(Some(name)).of(&host, &receiver), "INTERFACE_MISSING", BROKEN, &[name]);
            }
        }
        let receiver = well(&host, Family::V6, "ff02::7");
        let found = Ask::receiver("ff02::7%eth0").on(None);
        healthy(&found.of(&host, &receiver));
    });
}

#[test]
fn one_that_is_down() {
    hosts::test(|network| {
        let (sender, host) = pair(network);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            host.ip("link set eth0 down");
            let found = first(&ask.of(&host, &receiver), "INTERFACE_DOWN", BROKEN, &[&called(&host), "is down"]);
            assert_eq!(found.cure, "ip link set eth0 up");
            first(&ask.on(None).of(&host, &receiver), "INTERFACE_DOWN", BROKEN, &[]);
            first(&Ask::sender(&group).of(&host, &receiver), "INTERFACE_DOWN", BROKEN, &["eth0"]);
            send(&sender, &group, "into the void");
            host.ip(&found.cure["ip ".len()..]);
            host.wait_for_link("eth0");
            // Going down took it.
            if family == Family::V6 {
                host.address("eth0", &["fd01::2/64"]);
            }
            sender.wait_for_link("eth0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
            assert_eq!(receiver.waiting(), [""; 0]);
        }
    });
}

#[test]
fn one_without_a_carrier() {
    hosts::test(|network| {
        let (sender, host) = pair(network);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            sender.ip("link set eth0 down");
            wait_for_carrier(&host, false);
            first(&ask.of(&host, &receiver), "NO_CARRIER", BROKEN, &[&called(&host), "no carrier"]);
            first(&Ask::sender(&group).of(&host, &receiver), "NO_CARRIER", BROKEN, &["eth0"]);
            sender.ip("link set eth0 up");
            sender.wait_for_link("eth0");
            host.wait_for_link("eth0");
            wait_for_carrier(&host, true);
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn one_without_the_flag() {
    hosts::test(|network| {
        let (sender, host) = pair(network);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            host.ip("link set eth0 multicast off");
            let found =
                only(&ask.of(&host, &receiver), "INTERFACE_NOT_MULTICAST", RISK, &[&called(&host), "MULTICAST"]);
            assert_eq!(found.cure, "ip link set eth0 multicast on");
            arrives(&sender, &receiver, &group);
            host.ip(&found.cure["ip ".len()..]);
            healthy(&ask.of(&host, &receiver));
        }
    });
}

/// ip(8) with words that its batch mode doesn't take.
fn flush(host: &Host, words: &[&str]) {
    let words = [words, &["address", "flush", "dev", "eth0"]].concat();
    let run = || support::tools::find("ip", "iproute2").unwrap().command().args(words).status().unwrap();
    assert!(host.run(run).success());
}

#[test]
fn one_without_an_ipv4_address() {
    hosts::test(|network| {
        let (sender, host) = pair(network);
        let (family, group) = (Family::V4, "239.1.2.3");
        let receiver = well(&host, family, group);
        let ask = Ask::receiver(group);
        flush(&host, &["-4"]);
        let called = called(&host);
        only(&ask.of(&host, &receiver), "NO_ADDRESS", RISK, &[&called, "IPv4"]);
        arrives(&sender, &receiver, group);
        host.set("net/ipv4/conf/eth0/rp_filter", "2");
        first(&ask.of(&host, &receiver), "NO_ADDRESS", BROKEN, &[&called, "net.ipv4.conf.eth0.rp_filter is 2"]);
        send(&sender, group, "it is lost");
        drops(&host, 1);
        host.address("eth0", &["10.1.0.2/24"]);
        healthy(&ask.from("10.1.0.1").of(&host, &receiver));
        arrives(&sender, &receiver, group);
    });
}

/// Waits until rp_filter has dropped so many.
fn drops(host: &Host, count: u64) {
    let seen = || host.run(|| castio::diagnose::host::reverse_path_drops().unwrap());
    hosts::until("it is dropped", || seen() >= count);
}

#[test]
fn one_without_a_link_local_address() {
    hosts::test(|network| {
        let (_sender, host) = pair(network);
        let receiver = well(&host, Family::V6, "ff15::7");
        let ask = Ask::receiver("ff15::7");
        flush(&host, &["-6"]);
        let says = [&called(&host), "link-local"];
        let found = only(&ask.of(&host, &receiver), "NO_ADDRESS", LIKELY, &says);
        // Another address is no help.
        host.address("eth0", &["fd01::2/64"]);
        only(&ask.of(&host, &receiver), "NO_ADDRESS", LIKELY, &says);
        let watch = Watch::new(&host, "eth0");
        let other = host.run(|| Udp::new(Family::V6));
        support::doctor::join(&host, &other, "ff15::8", "eth0");
        watch.sees(&[Kind::ChangeToExclude], "ff15::8", None);
        drop(other);
        host.ip(&(found.cure["ip ".len()..].replace("ADDRESS", "2") + " nodad"));
        healthy(&ask.of(&host, &receiver));
    });
}

#[test]
fn one_where_ipv6_is_switched_off() {
    hosts::test(|network| {
        let (sender, host) = pair(network);
        let receiver = host.run(|| Udp::receiver(Family::V6));
        let ask = Ask::receiver("ff15::7");
        host.set("net/ipv6/conf/eth0/disable_ipv6", "1");
        let found =
            first(&ask.of(&host, &receiver), "IPV6_DISABLED", BROKEN, &["net.ipv6.conf.eth0.disable_ipv6 is 1"]);
        assert_eq!(found.cure, "sysctl -w net.ipv6.conf.eth0.disable_ipv6=0");
        host.set("net/ipv6/conf/eth0/disable_ipv6", "0");
        host.address("eth0", &["fd01::2/64"]);
        host.wait_for_link("eth0");
        support::doctor::join(&host, &receiver, "ff15::7", "eth0");
        healthy(&ask.of(&host, &receiver));
        arrives(&sender, &receiver, "ff15::7");
    });
}

#[test]
fn a_bridge_that_snoops_and_nobody_asks() {
    hosts::test(|network| {
        let (sender, host) = (network.host("sender"), network.host("receiver"));
        network.link((&sender, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&host, "eth0", &[]));
        host.ip("link add br0 type bridge mcast_snooping 1 mcast_querier 0 stp_state 0\nlink set br0 up\n\
             link set eth0 master br0");
        host.address("br0", &["10.1.0.2/24", "fd01::2/64"]);
        host.wait_for_link("br0");
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = host.run(|| Udp::receiver(family));
            support::doctor::join(&host, &receiver, &group, "br0");
            let ask = Ask::receiver(&group).on(Some("br0"));
            let says = ["br0", "mcast_snooping 1", "mcast_querier 0"];
            let found = only(&ask.of(&host, &receiver), "SNOOPING_WITHOUT_QUERIER", RISK, &says);
            // A bridge without a querier floods.
            arrives(&sender, &receiver, &group);
            assert_eq!(found.cure, "ip link set br0 type bridge mcast_querier 1");
            host.ip(&found.cure["ip ".len()..]);
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
            host.ip("link set br0 type bridge mcast_querier 0 mcast_snooping 0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
            host.ip("link set br0 type bridge mcast_snooping 1");
            // A port of it has the same trouble, among others.
            support::doctor::join(&host, &receiver, &group, "eth0");
            let found = Ask::receiver(&group).of(&host, &receiver);
            assert!(found.iter().any(|one| one.name == "SNOOPING_WITHOUT_QUERIER"), "{found:#?}");
        }
    });
}
