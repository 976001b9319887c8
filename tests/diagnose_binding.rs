//! The diagnosis of sockets bound, connected or shared so that the group can't reach them.

mod support;

use std::net::SocketAddr;

use libc::{SO_REUSEADDR, SO_REUSEPORT};
use support::doctor::{
    Ask, BROKEN, LIKELY, RISK, UNCHECKED, arrives, first, healthy, is_lost, join, only, shared, well,
};
use support::hosts::{self, Host};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

/// Bound to this address, shared, joined on eth0.
fn bound(host: &Host, at: SocketAddr, group: &str) -> Udp {
    let socket = host.run(|| Udp::new(if at.is_ipv4() { Family::V4 } else { Family::V6 }));
    for option in [SO_REUSEADDR, SO_REUSEPORT] {
        socket.set(libc::SOL_SOCKET, option, 1).unwrap();
    }
    socket.bind(at).unwrap();
    join(host, &socket, group, "eth0");
    socket
}

#[test]
fn bound_to_no_port_to_another_to_a_host_or_to_another_group() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let (group, other, own) = (family.group(1), family.group(2), family.host(2));
            let unbound = host.run(|| Udp::new(family));
            join(&host, &unbound, &group, "eth0");
            let ask = Ask::receiver(&group);
            let found = only(&ask.of(&host, &unbound), "NOT_BOUND", BROKEN, &["5000"]);
            assert!(found.cure.contains("5000"));
            // The cure.
            unbound.bind(SocketAddr::new(family.wildcard(), PORT)).unwrap();
            healthy(&ask.of(&host, &unbound));
            arrives(&sender, &unbound, &group);
            drop(unbound);

            let elsewhere = bound(&host, SocketAddr::new(family.wildcard(), 5001), &group);
            only(&ask.of(&host, &elsewhere), "PORT_MISMATCH", BROKEN, &["5001", "5000"]);
            is_lost(&sender, &host, &elsewhere, &group);
            healthy(&Ask { port: 5001, ..ask }.of(&host, &elsewhere));

            let unicast = bound(&host, address(&own, PORT), &group);
            only(&ask.of(&host, &unicast), "BOUND_TO_UNICAST", BROKEN, &[&own, &group]);
            is_lost(&sender, &host, &unicast, &group);
            drop(unicast);

            let foreign = bound(&host, address(&other, PORT), &group);
            only(&ask.of(&host, &foreign), "BOUND_TO_OTHER_GROUP", BROKEN, &[&other, &group]);
            is_lost(&sender, &host, &foreign, &group);
            drop(foreign);

            let right = bound(&host, address(&group, PORT), &group);
            healthy(&ask.of(&host, &right));
            arrives(&sender, &right, &group);
        }
    });
}

#[test]
fn connected_to_the_group_or_to_somebody() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let (group, peer, stranger) = (family.group(1), family.host(1), family.host(9));
            let ask = Ask::receiver(&group);
            let at_group = bound(&host, address(&group, PORT), &group);
            at_group.connect(address(&group, PORT)).unwrap();
            only(&ask.of(&host, &at_group), "CONNECTED_TO_GROUP", BROKEN, &[&group, "connected"]);
            is_lost(&sender, &host, &at_group, &group);
            drop(at_group);

            // Bound to the wildcard address, the connection binds it to the host's own.
            let wildcard = bound(&host, SocketAddr::new(family.wildcard(), PORT), &group);
            wildcard.connect(address(&peer, PORT)).unwrap();
            only(&ask.of(&host, &wildcard), "CONNECTED_ELSEWHERE", BROKEN, &[&peer, &family.host(2)]);
            is_lost(&sender, &host, &wildcard, &group);
            drop(wildcard);

            // Bound to the group, its peer's datagrams come in, and no others.
            let narrow = bound(&host, address(&group, PORT), &group);
            narrow.connect(address(&peer, PORT)).unwrap();
            only(&ask.of(&host, &narrow), "CONNECTED_ELSEWHERE", LIKELY, &[&peer]);
            only(&ask.from(&stranger).of(&host, &narrow), "CONNECTED_ELSEWHERE", BROKEN, &[&peer]);
            healthy(&ask.from(&peer).of(&host, &narrow));
            is_lost(&sender, &host, &narrow, &group);
        }
    });
}

#[test]
fn bound_to_another_interface() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let aside = network.host("aside");
        network.link((&host, "eth1", &["10.2.0.1/24", "fd02::1/64"]), (&aside, "eth0", &["10.2.0.2/24"]));
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let (eth0, eth1) = (host.index("eth0"), host.index("eth1"));
            // SO_BINDTOIFINDEX
            receiver.set(libc::SOL_SOCKET, 62, eth1 as i32).unwrap();
            for ask in [Ask::receiver(&group), Ask::receiver(&group).on(None)] {
                let says = [&format!("eth1 (index {eth1})"), &format!("eth0 (index {eth0})")];
                let found = only(&ask.of(&host, &receiver), "BOUND_TO_DEVICE", BROKEN, &says.map(|word| word.as_str()));
                assert!(found.cure.contains("SO_BINDTODEVICE, \"eth0\""));
            }
            // A witness can't share the port with a socket that has it for itself.
            drop(receiver);
            let receiver = bound(&host, SocketAddr::new(family.wildcard(), PORT), &group);
            receiver.set(libc::SOL_SOCKET, 62, eth1 as i32).unwrap();
            is_lost(&sender, &host, &receiver, &group);
            // The cure.
            receiver.set(libc::SOL_SOCKET, 62, eth0 as i32).unwrap();
            healthy(&Ask::receiver(&group).of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn a_port_that_others_have() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let first_one = shared(&host, family, &[SO_REUSEADDR]);
            let late = host.run(|| Udp::new(family));
            join(&host, &late, &group, "eth0");
            let ask = Ask::receiver(&group);
            let found = first(&ask.of(&host, &late), "REUSE_MIX", BROKEN, &["neither SO_REUSEADDR", ":5000", "inode"]);
            assert!(found.cure.contains("SO_REUSEADDR"));
            assert!(late.bind(SocketAddr::new(family.wildcard(), PORT)).is_err(), "as it says");

            // With one of the two it depends on the other socket, which doesn't tell.
            late.set(libc::SOL_SOCKET, SO_REUSEPORT, 1).unwrap();
            let found = ask.of(&host, &late);
            let mix = found.iter().find(|one| one.name == "REUSE_MIX").unwrap();
            assert!(mix.severity == UNCHECKED && mix.cause.contains("whether it has SO_REUSEPORT"), "{found:#?}");
            assert!(late.bind(SocketAddr::new(family.wildcard(), PORT)).is_err());

            // The cure.
            late.set(libc::SOL_SOCKET, SO_REUSEADDR, 1).unwrap();
            late.set(libc::SOL_SOCKET, SO_REUSEPORT, 0).unwrap();
            late.bind(SocketAddr::new(family.wildcard(), PORT)).unwrap();
            healthy(&ask.of(&host, &late));
            drop(first_one);
        }
    });
}

#[test]
fn a_port_that_another_has_at_the_hosts_address() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let _other = host.run(|| Udp::bound(address(&family.host(2), PORT)));
            let late = host.run(|| Udp::new(family));
            join(&host, &late, &group, "eth0");
            only(&Ask::receiver(&group).of(&host, &late), "NOT_BOUND", BROKEN, &["5000"]);
            late.bind(address(&group, PORT)).unwrap();
            healthy(&Ask::receiver(&group).of(&host, &late));
            arrives(&sender, &late, &group);
        }
    });
}

#[test]
fn unicast_that_is_shared_out() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = shared(&host, family, &[SO_REUSEPORT]);
            join(&host, &receiver, &group, "eth0");
            let ask = Ask::receiver(&group);
            healthy(&ask.of(&host, &receiver));
            let others = [(); 2].map(|()| shared(&host, family, &[SO_REUSEPORT]));
            only(&ask.of(&host, &receiver), "UNICAST_BALANCED", RISK, &["2 more sockets", "5000"]);
            // Multicast does come.
            arrives(&sender, &receiver, &group);
            drop(others);
            healthy(&ask.of(&host, &receiver));
        }
    });
}
