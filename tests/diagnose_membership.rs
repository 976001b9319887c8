//! The diagnosis of memberships: missing, elsewhere, somebody else's, filtered, too many.

mod support;

use castio::Errno;
use libc::{SO_REUSEADDR, SO_REUSEPORT};
use support::doctor::{
    Ask, BROKEN, LIKELY, RISK, arrives, first, healthy, is_lost, join, join_source, only, send, shared, well,
};
use support::face::{BLOCK_SOURCE, Form, JOIN, JOIN_SOURCE, LEAVE, UNBLOCK_SOURCE};
use support::hosts::{self, Host, Network};
use support::udp::{FAMILIES, Family, Udp};

const BOTH: [i32; 2] = [SO_REUSEADDR, SO_REUSEPORT];

fn leave(host: &Host, socket: &Udp, group: &str, interface: &str) {
    host.run(|| Form::Text.group(LEAVE, socket, group, Some(interface))).unwrap();
}

/// A host with a second interface.
fn with_eth1(network: &Network) -> (Host, Host, Host) {
    let ([sender, host], aside) = (network.lan(), network.host("aside"));
    let addresses: &[&str] = &["10.2.0.1/24", "fd02::1/64"];
    network.link((&host, "eth1", addresses), (&aside, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
    (sender, host, aside)
}

fn all_option(family: Family) -> (i32, i32) {
    if family == Family::V4 { (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL) } else { (libc::IPPROTO_IPV6, 29) }
}

#[test]
fn not_joined() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = shared(&host, family, &BOTH);
            let (level, option) = all_option(family);
            let ask = Ask::receiver(&group);
            let found =
                only(&ask.of(&host, &receiver), "NOT_JOINED", BROKEN, &[&group, "eth0", "no socket of this host"]);
            assert_eq!(found.cure, format!("castio_join_group(fd, \"{group}\", \"eth0\")"));
            only(&ask.on(None).of(&host, &receiver), "NOT_JOINED", BROKEN, &[&group]);
            receiver.set(level, option, 0).unwrap();
            is_lost(&sender, &host, &receiver, &group);
            join(&host, &receiver, &group, "eth0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn joined_on_another_interface() {
    hosts::test(|network| {
        let (sender, host, _aside) = with_eth1(network);
        for family in FAMILIES {
            let (group, source) = (family.group(1), family.host(1));
            let receiver = shared(&host, family, &BOTH);
            join(&host, &receiver, &group, "eth1");
            let (eth0, eth1) =
                (format!("eth0 (index {})", host.index("eth0")), format!("eth1 (index {})", host.index("eth1")));
            let ask = Ask::receiver(&group);
            let found = only(&ask.of(&host, &receiver), "JOINED_ELSEWHERE", BROKEN, &[&group, &eth0, &eth1]);
            assert_eq!(found.cure, format!("castio_join_group(fd, \"{group}\", \"eth0\")"));
            // The source's own link tells as much.
            only(&ask.on(None).from(&source).of(&host, &receiver), "JOINED_ELSEWHERE", LIKELY, &[&source, &eth0]);
            healthy(&ask.on(None).of(&host, &receiver));
            healthy(&ask.on(Some("eth1")).of(&host, &receiver));
            // The unicast behind it arrives.
            send(&sender, &group, "it is lost");
            sender.run(|| Udp::new(family)).end(&family.host(2));
            assert_eq!(receiver.texts(), [""; 0]);
            // As long as another socket has joined there, it comes.
            let other = shared(&host, family, &BOTH);
            join(&host, &other, &group, "eth0");
            let found = ask.of(&host, &receiver);
            first(&found, "JOINED_ELSEWHERE", RISK, &[&eth1, "another socket's join"]);
            arrives(&sender, &receiver, &group);
            // IPv6 doesn't look at the interface then, and IPv4 does.
            let (level, option) = all_option(family);
            receiver.set(level, option, 0).unwrap();
            drop(other);
            let severity = if family == Family::V4 { BROKEN } else { RISK };
            let other = shared(&host, family, &BOTH);
            join(&host, &other, &group, "eth0");
            first(&ask.of(&host, &receiver), "JOINED_ELSEWHERE", severity, &[&eth1]);
            if family == Family::V4 {
                is_lost(&sender, &host, &receiver, &group);
            } else {
                arrives(&sender, &receiver, &group);
            }
            drop(other);
            join(&host, &receiver, &group, "eth0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

/// Of several memberships the one counts by which something can come.
#[test]
fn joined_on_two_interfaces() {
    hosts::test(|network| {
        let (sender, host, aside) = with_eth1(network);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = host.run(|| Udp::receiver(family));
            join(&host, &receiver, &group, "eth0");
            join(&host, &receiver, &group, "eth1");
            let ask = Ask::receiver(&group).on(None);
            healthy(&ask.of(&host, &receiver));
            for (interface, from) in [("eth1", &aside), ("eth0", &sender)] {
                // SO_BINDTOIFINDEX
                receiver.set(libc::SOL_SOCKET, 62, host.index(interface) as i32).unwrap();
                healthy(&ask.of(&host, &receiver));
                arrives(from, &receiver, &group);
            }
            receiver.set(libc::SOL_SOCKET, 62, 0).unwrap();
        }
        let receiver = host.run(|| Udp::receiver(Family::V4));
        join(&host, &receiver, "239.1.2.3", "eth0");
        join(&host, &receiver, "239.1.2.3", "eth1");
        for (down, up) in [("eth0", "eth1"), ("eth1", "eth0")] {
            host.ip(&format!("link set {down} down"));
            healthy(&Ask::receiver("239.1.2.3").on(None).of(&host, &receiver));
            first(&Ask::receiver("239.1.2.3").on(Some(down)).of(&host, &receiver), "INTERFACE_DOWN", BROKEN, &[down]);
            arrives(if up == "eth0" { &sender } else { &aside }, &receiver, "239.1.2.3");
            host.ip(&format!("link set {down} up"));
            host.wait_for_link(down);
        }
    });
}

/// Its route leads to some interface, which need not be the one.
#[test]
fn a_source_that_every_link_may_have_tells_no_interface() {
    hosts::test(|network| {
        let (_sender, host, _aside) = with_eth1(network);
        for interface in ["eth0", "eth1"] {
            let receiver = host.run(|| Udp::receiver(Family::V6));
            join(&host, &receiver, "ff15::7", interface);
            healthy(&Ask::receiver("ff15::7").on(None).from("fe80::1").of(&host, &receiver));
        }
    });
}

#[test]
fn joined_by_another_socket() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let (receiver, other) = (shared(&host, family, &[SO_REUSEADDR]), shared(&host, family, &[SO_REUSEADDR]));
            join(&host, &other, &group, "eth0");
            let ask = Ask::receiver(&group);
            let found =
                first(&ask.of(&host, &receiver), "JOINED_BY_ANOTHER", RISK, &[&group, "eth0", "MULTICAST_ALL is 1"]);
            assert_eq!(found.cure, format!("castio_join_group(fd, \"{group}\", \"eth0\")"));
            arrives(&sender, &receiver, &group);
            let (level, option) = all_option(family);
            receiver.set(level, option, 0).unwrap();
            only(&ask.of(&host, &receiver), "JOINED_BY_ANOTHER", BROKEN, &["MULTICAST_ALL", "is 0"]);
            join(&host, &receiver, &group, "eth0");
            healthy(&ask.of(&host, &receiver));
        }
    });
}

#[test]
fn sources_that_are_kept_out() {
    hosts::test(|network| {
        let [sender, host, other] = network.lan();
        for (family, group) in [(Family::V4, "232.1.2.3"), (Family::V6, "ff35::7")] {
            let (source, wanted) = (family.host(1), family.host(3));
            let receiver = shared(&host, family, &BOTH);
            join_source(&host, &receiver, group, &wanted, "eth0");
            let ask = Ask::receiver(group).from(&source);
            let found = only(&ask.of(&host, &receiver), "SOURCE_EXCLUDED", BROKEN, &[&source, &wanted, "eth0"]);
            assert_eq!(found.cure, format!("castio_join_source(fd, \"{group}\", \"{source}\", \"eth0\")"));
            is_lost(&sender, &host, &receiver, group);
            arrives(&other, &receiver, group);
            healthy(&ask.from(&wanted).of(&host, &receiver));
            join_source(&host, &receiver, group, &source, "eth0");
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, group);
        }
        for family in FAMILIES {
            let (group, source) = (family.group(1), family.host(1));
            let receiver = shared(&host, family, &BOTH);
            join(&host, &receiver, &group, "eth0");
            host.run(|| Form::Text.source(BLOCK_SOURCE, &receiver, &group, &source, Some("eth0"))).unwrap();
            let ask = Ask::receiver(&group).from(&source);
            let found = only(&ask.of(&host, &receiver), "SOURCE_EXCLUDED", BROKEN, &["blocks", &source]);
            assert!(found.cure.starts_with("castio_unblock_source"));
            is_lost(&sender, &host, &receiver, &group);
            host.run(|| Form::Text.source(UNBLOCK_SOURCE, &receiver, &group, &source, Some("eth0"))).unwrap();
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn the_range_for_sources() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        for (family, ssm, range) in [(Family::V4, "232.1.2.3", "232.0.0.0/8"), (Family::V6, "ff35::7", "ff3x::/32")] {
            let (asm, source) = (family.group(1), family.host(1));
            let receiver = well(&host, family, ssm);
            let ask = Ask::receiver(ssm).from(&source);
            let found = only(&ask.of(&host, &receiver), "SSM_RANGE", LIKELY, &[ssm, range]);
            assert!(found.cure.contains(&format!("castio_join_source(fd, \"{ssm}\", \"{source}\", \"eth0\")")));
            leave(&host, &receiver, ssm, "eth0");
            join_source(&host, &receiver, ssm, &source, "eth0");
            healthy(&ask.of(&host, &receiver));

            join_source(&host, &receiver, &asm, &source, "eth0");
            only(&Ask::receiver(&asm).of(&host, &receiver), "SOURCE_OUTSIDE_SSM", RISK, &[&asm, range, "1 source"]);
        }
    });
}

#[test]
fn groups_of_others_that_leak_in() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let (group, foreign) = (family.group(1), family.group(2));
            let (receiver, other) = (shared(&host, family, &[SO_REUSEADDR]), shared(&host, family, &[SO_REUSEADDR]));
            join(&host, &receiver, &group, "eth0");
            join(&host, &other, &foreign, "eth0");
            let ask = Ask::receiver(&group);
            let found = only(&ask.of(&host, &receiver), "MULTICAST_ALL_LEAK", RISK, &[&foreign, "eth0", "5000"]);
            assert_eq!(found.cure, "castio_set_multicast_all(fd, 0)");
            arrives(&sender, &receiver, &foreign);
            let (level, option) = all_option(family);
            receiver.set(level, option, 0).unwrap();
            healthy(&ask.of(&host, &receiver));
            is_lost(&sender, &host, &receiver, &foreign);
        }
    });
}

#[test]
fn as_many_groups_as_there_may_be() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        let receiver = host.run(|| Udp::receiver(Family::V4));
        host.set("net/ipv4/igmp_max_memberships", "7");
        let groups: Vec<String> = (1..=7).map(|number| Family::V4.group(number)).collect();
        let (last, rest) = groups.split_last().unwrap();
        rest.iter().for_each(|group| join(&host, &receiver, group, "eth0"));
        healthy(&Ask::receiver(&groups[0]).of(&host, &receiver));
        join(&host, &receiver, last, "eth0");
        let says = ["7 groups", "net.ipv4.igmp_max_memberships is 7"];
        only(&Ask::receiver(last).of(&host, &receiver), "GROUP_LIMIT", RISK, &says);
        let one_more = Family::V4.group(8);
        let ask = Ask::receiver(&one_more);
        first(&ask.of(&host, &receiver), "GROUP_LIMIT", BROKEN, &says);
        let refused = host.run(|| Form::Text.group(JOIN, &receiver, &one_more, Some("eth0")));
        assert_eq!(refused, Err(Errno::ENOBUFS), "as it says");
        host.set("net/ipv4/igmp_max_memberships", "8000");
        first(&ask.of(&host, &receiver), "NOT_JOINED", BROKEN, &[&one_more]);
        join(&host, &receiver, &one_more, "eth0");
        healthy(&ask.of(&host, &receiver));
    });
}

#[test]
fn as_many_sources_as_there_may_be() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        for (family, group, limit) in [(Family::V4, "232.1.2.3", 10), (Family::V6, "ff35::7", 64)] {
            let receiver = host.run(|| Udp::receiver(family));
            let source = |number: usize| {
                if family == Family::V4 { format!("10.1.0.{number}") } else { format!("fd01::{number:x}") }
            };
            let ask = Ask::receiver(group);
            (2..=limit).for_each(|number| join_source(&host, &receiver, group, &source(number), "eth0"));
            healthy(&ask.of(&host, &receiver));
            join_source(&host, &receiver, group, &source(limit + 1), "eth0");
            let name = if family == Family::V4 { "net.ipv4.igmp_max_msf" } else { "net.ipv6.mld_max_msf" };
            let says = [format!("{limit} sources"), format!("{name} is {limit}")];
            only(&ask.of(&host, &receiver), "SOURCE_LIMIT", RISK, &says.each_ref().map(String::as_str));
            let wanted = source(limit + 2);
            let ask = ask.from(&wanted);
            first(&ask.of(&host, &receiver), "SOURCE_LIMIT", BROKEN, &[&says[0]]);
            let refused = host.run(|| Form::Text.source(JOIN_SOURCE, &receiver, group, &wanted, Some("eth0")));
            assert_eq!(refused, Err(Errno::ENOBUFS), "as it says");
            if family == Family::V4 {
                host.set("net/ipv4/igmp_max_msf", "20");
                join_source(&host, &receiver, group, &wanted, "eth0");
                healthy(&ask.of(&host, &receiver));
            }
        }
    });
}

#[test]
fn as_much_memory_as_there_may_be() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        let Ok(()) = host.run(|| std::fs::write("/proc/sys/net/core/optmem_max", "4096")) else {
            return support::tools::skip("net.core.optmem_max can't be set in a network namespace before Linux 6.8");
        };
        host.set("net/ipv4/igmp_max_memberships", "1000000");
        for family in FAMILIES {
            let receiver = host.run(|| Udp::receiver(family));
            let next =
                |number: usize| host.run(|| Form::Text.group(JOIN, &receiver, &family.group(number), Some("eth0")));
            let count = (1..).take_while(|number| next(*number).is_ok()).count();
            assert!(count > 10, "{count}");
            let (joined, refused) = (family.group(1), family.group(count + 1));
            first(&Ask::receiver(&joined).of(&host, &receiver), "OPTMEM_LIMIT", RISK, &["net.core.optmem_max is 4096"]);
            let ask = Ask::receiver(&refused);
            first(&ask.of(&host, &receiver), "OPTMEM_LIMIT", BROKEN, &["net.core.optmem_max is 4096", "bytes"]);
            host.set("net/core/optmem_max", "131072");
            join(&host, &receiver, &refused, "eth0");
            healthy(&ask.of(&host, &receiver));
            host.set("net/core/optmem_max", "4096");
        }
    });
}

#[test]
fn versions_that_know_no_sources() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        for (family, ssm, setting) in [
            (Family::V4, "232.1.2.3", ["ipv4", "force_igmp_version"]),
            (Family::V6, "ff35::7", ["ipv6", "force_mld_version"]),
        ] {
            let [proto, name] = setting;
            let (asm, source) = (family.group(1), family.host(1));
            let receiver = well(&host, family, &asm);
            join_source(&host, &receiver, ssm, &source, "eth0");
            let old = if family == Family::V4 { "2" } else { "1" };
            for whose in ["eth0", "all"] {
                let file = format!("net/{proto}/conf/{whose}/{name}");
                host.set(&file, old);
                let says = format!("net.{proto}.conf.{whose}.{name} is {old}");
                let found = only(&Ask::receiver(ssm).of(&host, &receiver), "FORCED_IGMP_VERSION", LIKELY, &[&says]);
                assert_eq!(found.cure, format!("sysctl -w net.{proto}.conf.{whose}.{name}=0"));
                only(&Ask::receiver(&asm).of(&host, &receiver), "FORCED_IGMP_VERSION", RISK, &[&says]);
                host.set(&file, "0");
                healthy(&Ask::receiver(ssm).of(&host, &receiver));
            }
        }
    });
}
