//! The diagnosis of senders: how far, by which interface, from which address.

mod support;

use std::os::fd::AsFd;

use castio::multicast::options;
use libc::{IPPROTO_IP, IPPROTO_IPV6};
use support::doctor::{Ask, BROKEN, LIKELY, RISK, UNCHECKED, arrives, first, healthy, join, only, well};
use support::hosts::{self, Host};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

/// A sender as it should be.
fn sender(host: &Host, family: Family) -> Udp {
    let socket = host.run(|| Udp::new(family));
    host.run(|| {
        options::set_ttl(socket.as_fd(), 8).unwrap();
        options::set_interface(socket.as_fd(), castio::interface::index_of("eth0").unwrap()).unwrap();
    });
    socket
}

fn flush(host: &Host, words: &[&str]) {
    let words: Vec<&str> = [words, &["dev", "eth0"]].concat();
    host.run(|| {
        assert!(support::tools::find("ip", "iproute2").unwrap().command().args(words).status().unwrap().success())
    });
}

#[test]
fn a_sender_that_is_well_has_no_findings() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let (group, source) = (family.group(1), family.host(1));
            let receiver = well(&other, family, &group);
            let socket = sender(&host, family);
            let ask = Ask::sender(&group);
            for ask in [ask, ask.on(None), ask.from(&source), Ask { port: 0, ..ask }] {
                healthy(&ask.of(&host, &socket));
            }
            socket.send("it arrives", &group);
            assert_eq!(receiver.receive().text, "it arrives");
            // Both at once: it has joined nothing and is bound to nothing, which is a receiver's trouble.
            let both = Ask { flags: 3, ..ask };
            first(&both.of(&other, &receiver), "TTL_ONE", RISK, &["is 1"]);
            let socket = sender(&host, family);
            socket.bind(std::net::SocketAddr::new(family.wildcard(), PORT)).unwrap();
            first(&both.of(&host, &socket), "NOT_JOINED", BROKEN, &[&group]);
            join(&host, &socket, &group, "eth0");
            healthy(&both.of(&host, &socket));
        }
        // IPv4 groups on an IPv6 socket go by IPv4's options.
        let socket = sender(&host, Family::V6);
        healthy(&Ask::sender("239.1.2.3").of(&host, &socket));
    });
}

#[test]
fn how_far_it_goes() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&other, family, &group);
            let here = well(&host, family, &group);
            let socket = sender(&host, family);
            let (level, ttl, looping, name) = match family {
                Family::V4 => (IPPROTO_IP, libc::IP_MULTICAST_TTL, libc::IP_MULTICAST_LOOP, "IP_MULTICAST"),
                Family::V6 => (IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, libc::IPV6_MULTICAST_LOOP, "IPV6_MULTICAST"),
            };
            let ask = Ask::sender(&group);
            socket.set(level, ttl, 0).unwrap();
            let found = only(&ask.of(&host, &socket), "TTL_ZERO", BROKEN, &[name, "is 0"]);
            assert!(found.cure.starts_with("castio_set_ttl(fd, 1)"));
            socket.send("stays here", &group);
            assert_eq!(here.receive().text, "stays here");
            host.run(|| options::set_ttl(socket.as_fd(), 1)).unwrap();
            only(&ask.of(&host, &socket), "TTL_ONE", RISK, &[name, "is 1", &group]);
            socket.send("goes out", &group);
            assert_eq!(receiver.receive().text, "goes out", "and nothing before it");
            let of_the_link = if family == Family::V4 { "224.0.0.77" } else { "ff02::77" };
            healthy(&Ask::sender(of_the_link).of(&host, &socket));

            host.run(|| options::set_ttl(socket.as_fd(), 8)).unwrap();
            socket.set(level, looping, 0).unwrap();
            let found = only(&ask.of(&host, &socket), "LOOP_OFF", RISK, &[name, "is 0", "1 joins"]);
            assert_eq!(found.cure, "castio_set_loop(fd, 1)");
            assert_eq!(here.receive().text, "goes out");
            socket.send("not here", &group);
            assert_eq!(receiver.receive().text, "not here");
            assert_eq!(here.waiting(), [""; 0]);
            socket.set(level, looping, 1).unwrap();
            healthy(&ask.of(&host, &socket));
        }
    });
}

#[test]
fn no_route_and_no_interface() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        host.ip("route del 224.0.0.0/4 dev eth0");
        flush(&host, &["-6", "route", "flush", "table", "local", "type", "multicast"]);
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&other, family, &group);
            let socket = host.run(|| Udp::new(family));
            host.run(|| options::set_ttl(socket.as_fd(), 8)).unwrap();
            let ask = Ask::sender(&group).on(None);
            // Of an IPv4 socket the kernel doesn't tell which interface is chosen, and one without a port can't be
            // asked to try.
            if family == Family::V4 {
                first(&ask.of(&host, &socket), "NO_MULTICAST_ROUTE", UNCHECKED, &[&group, "ENETUNREACH"]);
            }
            assert!(socket.try_send("nowhere", &group).is_err());
            let found = first(&ask.of(&host, &socket), "NO_MULTICAST_ROUTE", BROKEN, &[&group, "ENETUNREACH"]);
            // Both cures; IPv6 wants a route in any case.
            if family == Family::V4 {
                assert!(found.cure.starts_with("castio_set_multicast_interface(fd, "));
                let index = host.index("eth0");
                host.run(|| options::set_interface(socket.as_fd(), index)).unwrap();
                healthy(&ask.of(&host, &socket));
                socket.send("by the interface", &group);
                assert_eq!(receiver.receive().text, "by the interface");
                host.run(|| options::set_interface(socket.as_fd(), 0)).unwrap();
            }
            let (_, route) = found.cure.split_once("ip route add ").unwrap();
            host.ip(&format!("route add {}", route.replace("INTERFACE", "eth0")));
            healthy(&ask.of(&host, &socket));
            socket.send("by the route", &group);
            assert_eq!(receiver.receive().text, "by the route");
        }
    });
}

#[test]
fn by_another_interface() {
    hosts::test(|network| {
        let ([host, other], aside) = (network.lan(), network.host("aside"));
        network.link((&host, "eth1", &["10.2.0.1/24", "fd02::1/64"]), (&aside, "eth0", &["10.2.0.2/24"]));
        let eth1 = host.index("eth1");
        // Of an IPv4 socket the kernel doesn't tell.
        {
            let family = Family::V6;
            let group = family.group(1);
            let (receiver, astray) = (well(&other, family, &group), well(&aside, family, &group));
            let socket = sender(&host, family);
            host.run(|| options::set_interface(socket.as_fd(), eth1)).unwrap();
            let ask = Ask::sender(&group);
            let says = [format!("eth1 (index {eth1})"), "MULTICAST_IF".to_owned()];
            let says = says.each_ref().map(String::as_str);
            let found = only(&ask.of(&host, &socket), "WRONG_OUTGOING_INTERFACE", BROKEN, &says);
            assert_eq!(found.cure, "castio_set_multicast_interface(fd, \"eth0\")");
            socket.send("astray", &group);
            assert_eq!(astray.receive().text, "astray");
            healthy(&ask.on(Some("eth1")).of(&host, &socket));
            healthy(&ask.on(None).of(&host, &socket));
            let eth0 = host.index("eth0");
            host.run(|| options::set_interface(socket.as_fd(), eth0)).unwrap();
            healthy(&ask.of(&host, &socket));
            socket.send("right", &group);
            assert_eq!(receiver.receive().text, "right");
        }
        // An IPv4 address that the socket is bound to chooses its interface, too.
        let socket = host.run(|| Udp::bound(address("10.2.0.1", 6000)));
        host.run(|| options::set_ttl(socket.as_fd(), 8)).unwrap();
        let found = Ask::sender("239.1.0.1").of(&host, &socket);
        only(&found, "WRONG_OUTGOING_INTERFACE", BROKEN, &["eth1", "the address it is bound to"]);
        let astray = well(&aside, Family::V4, "239.1.0.1");
        socket.send("astray", "239.1.0.1");
        assert_eq!(astray.receive().text, "astray");
    });
}

#[test]
fn from_no_address() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&other, family, &group);
            let socket = host.run(|| Udp::new(family));
            let index = host.index("eth0");
            flush(&host, &[if family == Family::V4 { "-4" } else { "-6" }, "address", "flush"]);
            if family == Family::V4 {
                host.ip("route add 224.0.0.0/4 dev eth0");
            }
            host.run(|| {
                options::set_ttl(socket.as_fd(), 8).unwrap();
                options::set_interface(socket.as_fd(), index).unwrap();
            });
            let ask = Ask::sender(&group);
            let found = only(&ask.of(&host, &socket), "NO_SOURCE_ADDRESS", BROKEN, &["address to send from", "eth0"]);
            assert!(found.cure.ends_with("dev eth0"));
            let sent = socket.try_send("from nowhere", &group);
            assert!(sent.is_err() || family == Family::V4);
            host.address("eth0", &[if family == Family::V4 { "10.1.0.1/24" } else { "fd01::1/64" }]);
            healthy(&ask.of(&host, &socket));
            socket.send("from somewhere", &group);
            // What came from 0.0.0.0 was dropped on arrival.
            assert_eq!(receiver.receive().text, "from somewhere");
        }
    });
}

#[test]
fn from_an_address_that_is_gone() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let (group, own) = (family.group(1), family.host(1));
            let receiver = well(&other, family, &group);
            let socket = host.run(|| Udp::bound(address(&own, 6000)));
            let index = host.index("eth0");
            host.run(|| {
                options::set_ttl(socket.as_fd(), 8).unwrap();
                options::set_interface(socket.as_fd(), index).unwrap();
            });
            let ask = Ask::sender(&group);
            healthy(&ask.of(&host, &socket));
            let prefix = if family == Family::V4 { 24 } else { 64 };
            host.ip(&format!("address add {} dev eth0", family.host(9) + "/" + &prefix.to_string()));
            host.ip(&format!("address del {own}/{prefix} dev eth0"));
            if family == Family::V4 {
                host.ip("route replace 224.0.0.0/4 dev eth0");
            }
            let severity = if family == Family::V4 { BROKEN } else { RISK };
            first(&ask.of(&host, &socket), "SOURCE_ADDRESS_GONE", severity, &[&own, "any more"]);
            match socket.try_send("from an address that is gone", &group) {
                Ok(_) => assert_eq!((family, receiver.receive().from.ip().to_string()), (Family::V6, own.clone())),
                Err(error) => assert_eq!((family, error.raw_os_error()), (Family::V4, Some(libc::ENETUNREACH))),
            }
            host.address("eth0", &[&format!("{own}/{prefix}")]);
            healthy(&ask.of(&host, &socket));
        }
    });
}

#[test]
fn connected_to_somebody_else() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        for family in FAMILIES {
            let (group, peer) = (family.group(1), family.host(2));
            let socket = sender(&host, family);
            socket.connect(address(&peer, 7000)).unwrap();
            let ask = Ask::sender(&group);
            only(&ask.of(&host, &socket), "CONNECTED_ELSEWHERE", LIKELY, &[&peer, "7000", &group]);
            socket.connect(address(&group, PORT + 1)).unwrap();
            only(&ask.of(&host, &socket), "CONNECTED_ELSEWHERE", LIKELY, &["5001", "5000"]);
            socket.connect(address(&group, PORT)).unwrap();
            healthy(&ask.of(&host, &socket));
        }
    });
}

/// What a group of the link needs isn't a router.
#[test]
fn an_interface_that_is_down() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let socket = sender(&host, family);
            host.ip("link set eth0 down");
            first(&Ask::sender(&group).of(&host, &socket), "INTERFACE_DOWN", BROKEN, &["eth0", "is down"]);
            if family == Family::V6 {
                let unnamed = Ask::sender(&group).on(None);
                first(&unnamed.of(&host, &socket), "INTERFACE_DOWN", BROKEN, &["eth0", "is down"]);
            }
            host.ip("link set eth0 up");
            host.wait_for_link("eth0");
            if family == Family::V6 {
                host.address("eth0", &["fd01::1/64"]);
            } else {
                host.ip("route replace 224.0.0.0/4 dev eth0");
            }
            healthy(&Ask::sender(&group).of(&host, &socket));
            let receiver = well(&other, family, &group);
            arrives(&host, &receiver, &group);
        }
    });
}
