//! The AMT relay, between a network that carries multicast and one that doesn't.

mod support;

use std::net::UdpSocket;
use std::os::fd::AsFd;

use castio::Errno;
use castio::sys::netlink::Netlink;
use castio::sys::option::IntOption;
use castio::tunnel::amt::wire::{Dialect, Message, Nonce};
use castio::tunnel::ip::Packet;
use castio::tunnel::ip::udp::{Datagram, ZeroChecksum};
use castio::tunnel::listener::Kind::*;
use support::hosts;
use support::link::{Kind, Watch};
use support::relay::*;
use support::udp::{self, FAMILIES, Family, PORT, Udp};

/// A socket of the source's that sends to groups.
fn sender(source: &hosts::Host, family: Family, ttl: i32) -> Udp {
    source.run(|| {
        let udp = Udp::new(family);
        match family {
            Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, ttl).unwrap(),
            Family::V6 => udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, ttl).unwrap(),
        }
        if family == Family::V6 {
            let index = source.index("eth0") as i32;
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index).unwrap();
        }
        udp
    })
}

/// Both ways in: a UDP socket, and whole packets.
const WAYS: [&[u16]; 2] = [&[PORT], &[]];

#[test]
fn both_families_inside_and_outside_by_both_ways() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in WAYS {
            let watch = Watch::new(source, "eth0");
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            for (outer, inner) in
                [("10.2.0.1", Family::V4), ("10.2.0.1", Family::V6), ("fd02::1", Family::V4), ("fd02::1", Family::V6)]
            {
                let gateway = Gateway::new(far, outer);
                let (group, from) = (inner.group(5), if inner == Family::V4 { "10.1.0.1" } else { "fd01::1" });
                gateway.report(&relay, ModeIsExclude, &group, &[]);
                watch.sees(&[Kind::ChangeToExclude], &group, None);
                let udp = sender(source, inner, 7);
                let port = source.run(|| {
                    udp.send("through the tunnel", &group);
                    udp.local_addr().unwrap().port()
                });
                let bytes = gateway.packet(&relay);
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(packet.ttl, 6, "a router takes 1");
                let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
                assert_eq!(datagram.payload, b"through the tunnel");
                assert_eq!(datagram.source, support::udp::address(from, port));
                assert_eq!(datagram.destination, support::udp::address(&group, PORT));
                // Leaving it is told upstream, and what comes then goes nowhere.
                gateway.report(&relay, ChangeToInclude, &group, &[]);
                watch.sees(&[Kind::ChangeToInclude], &group, None);
                source.run(|| udp.send("to nobody", &group));
                relay.settle();
                assert!(gateway.next().is_none());
            }
            let info = relay.info();
            assert_eq!((info.tunnels, info.groups, info.copies), (4, 0, 4));
            assert_eq!((info.dropped_packet, info.dropped_error, info.refused_joins), (0, 0, 0));
        }
    });
}

#[test]
fn by_source_upstream_and_to_each_what_it_wants() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        source.address("eth0", &["10.1.0.11/24", "fd01::11/64"]);
        for (ports, family) in
            [(WAYS[0], Family::V4), (WAYS[1], Family::V4), (WAYS[0], Family::V6), (WAYS[1], Family::V6)]
        {
            let watch = Watch::new(source, "eth0");
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in*"), ..Wanted::default() });
            let (one, other) = if family == Family::V4 { ("10.1.0.1", "10.1.0.11") } else { ("fd01::1", "fd01::11") };
            let group = family.group(6);
            let (picky, other_picky, open) =
                (Gateway::new(far, "10.2.0.1"), Gateway::new(far, "fd02::1"), Gateway::new(far, "10.2.0.1"));
            picky.report(&relay, ModeIsInclude, &group, &[one]);
            watch.sees(&[Kind::AllowNewSources], &group, Some(one));
            other_picky.report(&relay, ModeIsInclude, &group, &[other]);
            watch.sees(&[Kind::AllowNewSources], &group, Some(other));
            open.report(&relay, ModeIsExclude, &group, &[one]);
            watch.sees(&[Kind::ChangeToExclude], &group, None);
            for from in [one, other] {
                source.run(|| {
                    let udp = sender(source, family, 3);
                    udp.bind(support::udp::address(from, 0)).unwrap();
                    udp.send(from, &group);
                });
            }
            for (gateway, expected) in [(&picky, one), (&other_picky, other), (&open, other)] {
                let bytes = gateway.packet(&relay);
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!(packet.source.to_string(), expected);
                assert!(gateway.next().is_none());
            }
            let json = relay.json();
            assert_eq!(json["groups"][0]["tunnels"], 3);
            let tunnels = json["tunnels"].as_array().unwrap();
            assert!(tunnels.iter().any(|tunnel| tunnel["groups"][0]["without"][0] == one));
            assert!(tunnels.iter().any(|tunnel| tunnel["groups"][0]["sources"][0] == other));
            assert_eq!(json["counters"]["copies"], 3);
        }
    });
}

#[test]
fn discovery_by_an_anycast_address() {
    hosts::test(|network| {
        let hosts = row(network);
        let [_, relay_host, router, far] = &hosts;
        relay_host.ip("address add 192.52.193.1/32 dev out0\naddress add 2001:3::1/128 dev out0 nodad");
        router.ip("route add 192.52.193.0/24 via 10.2.0.1\nroute add 2001:3::/32 via fd02::1");
        // The kernel makes an IPv6 address reachable in its own time, after `ip` has returned.
        hosts::until("the anycast addresses are there", || {
            let mut routes = relay_host.run(|| Netlink::connect().unwrap());
            ["192.52.193.1", "2001:3::1"].iter().all(|ip| {
                let ip = ip.parse().unwrap();
                relay_host.run(|| routes.route(ip, None, 0)).is_ok_and(|route| route.is_local)
            })
        });
        let wanted = Wanted { ports: &[PORT], advertise: Some("10.2.0.1 fd02::1"), ..Wanted::default() };
        let relay = Relay::open(relay_host, wanted);
        for (anycast, unicast) in [("192.52.193.1", "10.2.0.1"), ("2001:3::1", "fd02::1")] {
            let gateway = Gateway::new(far, anycast);
            let nonce = Nonce::new([1, 2, 3, 4]).unwrap();
            gateway.say(&Message::RelayDiscovery { nonce }, Dialect::Rfc);
            let expected = Message::RelayAdvertisement { nonce, relay: unicast.parse().unwrap() };
            assert_eq!(Message::decode(&gateway.wait(&relay)).unwrap().0, expected);
            assert!(gateway.request(&relay, false, Dialect::Rfc).gateway.is_some());
        }
    });
}

#[test]
fn large_packets() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in WAYS {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            let (v4, v6) = (Gateway::new(far, "10.2.0.1"), Gateway::new(far, "fd02::1"));
            for gateway in [&v4, &v6] {
                gateway.report(&relay, ModeIsExclude, &Family::V4.group(1), &[]);
                gateway.report(&relay, ModeIsExclude, &Family::V6.group(1), &[]);
            }
            relay.settle();
            let text = |len: usize| "x".repeat(len);
            // 1,470 bytes of packet fit into the one tunnel, 1,450 into the other.
            let udp = sender(source, Family::V4, 3);
            source.run(|| {
                // The kernel may fragment: no DF.
                udp.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT).unwrap();
                udp.send(&text(1470 - 28), &Family::V4.group(1));
            });
            let whole = v4.packet(&relay);
            assert_eq!(whole.len(), 1470);
            let parts = [v6.packet(&relay), v6.packet(&relay)];
            let parts = parts.each_ref().map(|part| Packet::parse(part).unwrap());
            assert!(parts.iter().all(|part| part.bytes.len() <= 1450 && part.fragment.is_some()));
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.payload.iter().copied()).collect();
            let expected = Packet::parse(&whole).unwrap();
            assert_eq!(joined.len(), expected.payload.len());
            assert_eq!(joined[8..], expected.payload[8..]);
            assert_eq!(relay.info().fragmented, 1);
            // IPv6 is never fragmented on the way.
            source.run(|| sender(source, Family::V6, 3).send(&text(1470 - 48), &Family::V6.group(1)));
            assert_eq!(v4.packet(&relay).len(), 1470);
            assert_eq!((relay.info().dropped_too_large, v6.next().is_none()), (1, true));
            // DF, where it is seen.
            if ports.is_empty() {
                source.run(|| {
                    udp.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO).unwrap();
                    udp.send(&text(1470 - 28), &Family::V4.group(1));
                });
                assert_eq!(v4.packet(&relay).len(), 1470);
                assert_eq!((relay.info().dropped_too_large, v6.next().is_none()), (2, true));
            }
        }
    });
}

/// As far as this host knows. Nothing is sent.
fn path_mtu(from: &str, to: &str, option: &IntOption) -> i32 {
    let socket = UdpSocket::bind(udp::address(from, 0)).unwrap();
    socket.connect(udp::address(to, PORT)).unwrap();
    option.get(socket.as_fd()).unwrap()
}

/// RFC 7450, section 6.1: ICMP that says a path is narrow doesn't change what is sent.
#[test]
fn what_icmp_says_of_a_path_is_no_limit() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, router, far] = &hosts;
        let relay = Relay::open(relay_host, Wanted { ports: &[PORT], upstream: Some("in0"), ..Wanted::default() });
        let gateways = ["10.2.0.1", "fd02::1"].map(|outer| Gateway::new(far, outer));
        for gateway in &gateways {
            gateway.report(&relay, ModeIsExclude, &Family::V4.group(1), &[]);
        }
        relay.settle();
        let udp = sender(source, Family::V4, 3);
        let send = |text: &str| source.run(|| udp.send(&text.repeat(1300), &Family::V4.group(1)));
        // For a while the way to the gateways is narrow, and the router says so.
        router.ip("link set r1 mtu 1280");
        send("1");
        let ways = [("0.0.0.0", "10.3.0.2", IntOption::IPV4_PATH_MTU), ("::", "fd03::2", IntOption::IPV6_PATH_MTU)];
        relay.until("both ways are known to be narrow", || {
            ways.iter().all(|(from, to, option)| relay_host.run(|| path_mtu(from, to, option)) == 1280)
        });
        router.ip("link set r1 mtu 1500");
        send("2");
        for gateway in &gateways {
            let packet = gateway.packet(&relay);
            let packet = Packet::parse(&packet).unwrap();
            let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
            assert_eq!(datagram.payload, "2".repeat(1300).as_bytes());
        }
        assert_eq!((relay.info().copies, relay.info().dropped_too_large, relay.info().fragmented), (4, 0, 0));
    });
}

/// A sender that leaves segmentation and checksums to the hardware: what comes out of the tunnel is
/// finished, and cut as it was meant.
#[test]
fn trains_come_in_and_go_out_as_datagrams() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in WAYS {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            for family in FAMILIES {
                let gateways = ["10.2.0.1", "fd02::1"].map(|outer| Gateway::new(far, outer));
                for gateway in &gateways {
                    gateway.report(&relay, ModeIsExclude, &family.group(2), &[]);
                }
                relay.settle();
                let udp = sender(source, family, 3);
                let text: String = (0..30).map(|number| format!("{number:0>100}")).collect();
                source.run(|| {
                    udp.set(libc::SOL_UDP, 103, 100).unwrap();
                    udp.send(&(text.clone() + "short"), &family.group(2));
                });
                for gateway in &gateways {
                    let mut payloads = String::new();
                    for number in 0..31 {
                        let bytes = gateway.packet(&relay);
                        let packet = Packet::parse(&bytes).unwrap();
                        let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
                        assert_eq!(datagram.payload.len(), if number < 30 { 100 } else { 5 });
                        assert_eq!(packet.ttl, 2);
                        payloads += std::str::from_utf8(datagram.payload).unwrap();
                    }
                    assert_eq!(payloads, text.clone() + "short");
                    assert!(gateway.next().is_none());
                }
            }
        }
    });
}

#[test]
fn what_may_not_be_forwarded() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for (ports, keep) in [(WAYS[0], false), (WAYS[1], false), (WAYS[0], true)] {
            let wanted = Wanted { ports, upstream: Some("in0"), ..Wanted::default() };
            let flags = if keep { castio::ffi::amt_relay::CASTIO_AMT_RELAY_KEEP_TTL } else { 0 };
            let relay = Relay::try_open(relay_host, wanted, |options| options.flags = flags).unwrap();
            let gateway = Gateway::new(far, "10.2.0.1");
            for group in ["239.1.2.3", "224.0.0.100", "ff12::7", "ff15::7"] {
                gateway.report(&relay, ModeIsExclude, group, &[]);
            }
            relay.settle();
            assert_eq!((relay.info().refused_scope, relay.info().groups), (2, 2));
            source.run(|| {
                for group in ["224.0.0.100", "239.1.2.3"] {
                    sender(source, Family::V4, 1).send(group, group);
                }
                sender(source, Family::V6, 1).send("ff15::7", "ff15::7");
                // To a group that nobody wants, though the relay's host has joined it.
                sender(source, Family::V4, 9).send("end", "239.1.2.3");
            });
            let mut arrived = Vec::new();
            while arrived.last().is_none_or(|text| text != "end") {
                let bytes = gateway.packet(&relay);
                let packet = Packet::parse(&bytes).unwrap();
                let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
                assert!(keep && packet.ttl == 1 || packet.ttl == if keep { 9 } else { 8 });
                arrived.push(String::from_utf8(datagram.payload.to_vec()).unwrap());
            }
            relay.settle();
            let late = std::iter::from_fn(|| gateway.next()).count();
            assert_eq!(arrived.len() + late, if keep { 3 } else { 1 }, "{arrived:?}");
            assert_eq!(relay.info().dropped_ttl, if keep { 0 } else { 2 });
        }
    });
}

#[test]
fn mistakes() {
    hosts::test(|network| {
        let host = network.host("host");
        let open = |wanted: Wanted<'_>| Relay::try_open(&host, wanted, |_| {}).map(drop);
        let ports = WAYS[0];
        assert_eq!(open(Wanted { ports: &[0], ..Wanted::default() }), Err(Errno::EINVAL));
        assert_eq!(open(Wanted { ports, listen: Some("192.0.2.1"), ..Wanted::default() }), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(open(Wanted { ports, listen: Some("nowhere"), ..Wanted::default() }), Err(Errno::EINVAL));
        assert_eq!(open(Wanted { ports, upstream: Some(""), ..Wanted::default() }), Err(Errno::EINVAL));
        let relay = Relay::open(&host, Wanted { ports, ..Wanted::default() });
        assert_eq!(open(Wanted { ports, ..Wanted::default() }), Err(Errno::EADDRINUSE));
        assert_eq!((relay.run_for(0), relay.run_for(1)), (Ok(0), Ok(0)));
        assert!(!relay.is_readable() && relay.timeout_ms() > 1_000_000);
    });
}

#[test]
fn hostile_datagrams_leave_nothing_behind() {
    hosts::test(|network| {
        let hosts = row(network);
        let [_, relay_host, _, far] = &hosts;
        let relay = Relay::open(relay_host, Wanted { ports: WAYS[0], ..Wanted::default() });
        let gateway = Gateway::new(far, "10.2.0.1");
        let mut sent = 0;
        for kind in 0..=255_u8 {
            for len in [0, 1, 2, 7, 8, 9, 12, 20, 48, 100, 1400, 20_000] {
                let mut bytes = vec![kind; len];
                bytes.iter_mut().skip(1).for_each(|byte| *byte = kind.wrapping_mul(31));
                gateway.say_bytes(&bytes);
                sent += 1;
                if sent % 64 == 0 {
                    relay.settle();
                    while gateway.next().is_some() {}
                }
            }
        }
        let info = relay.info();
        assert_eq!((info.tunnels, info.groups, info.opened), (0, 0, 0));
        assert!(
            info.dropped_malformed + info.dropped_unexpected + info.dropped_forged + info.discoveries + info.requests
                > sent * 9 / 10
        );
        // It still serves.
        relay.until("strangers are answered again", || {
            gateway.say(&Message::RelayDiscovery { nonce: Nonce::new([9; 4]).unwrap() }, Dialect::Rfc);
            gateway.next().is_some()
        });
    });
}

#[test]
fn linux_gateways_are_served() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let relay = Relay::open(relay_host, Wanted { ports: WAYS[0], upstream: Some("in0"), ..Wanted::default() });
        let gateway = Gateway::new(far, "10.2.0.1");
        let answer = gateway.request(&relay, true, Dialect::Linux);
        assert_eq!((answer.dialect, answer.gateway), (None, None), "no flags, and MLD");
        gateway.update(&answer, ModeIsExclude, "ff15::7", &[]);
        let answer = gateway.request(&relay, false, Dialect::Linux);
        assert_eq!(answer.dialect, None);
        gateway.update(&answer, ModeIsExclude, "239.1.2.3", &[]);
        relay.until("both are joined", || relay.info().groups == 2);
        source.run(|| sender(source, Family::V6, 3).send("six", "ff15::7"));
        assert_eq!(Packet::parse(&gateway.packet(&relay)).unwrap().destination.to_string(), "ff15::7");
        source.run(|| sender(source, Family::V4, 3).send("four", "239.1.2.3"));
        assert_eq!(Packet::parse(&gateway.packet(&relay)).unwrap().destination.to_string(), "239.1.2.3");
    });
}

/// A gateway that is gone has its host say so. It is a hint: another one gets all it wants, and neither
/// tunnel ends at once.
#[test]
fn unreachable_gateways_do_no_harm_to_others() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        far.set("net/ipv4/icmp_ratelimit", "0");
        far.set("net/ipv6/icmp/ratelimit", "0");
        let relay = Relay::open(relay_host, Wanted { ports: WAYS[0], upstream: Some("in0"), ..Wanted::default() });
        for outer in ["10.2.0.1", "fd02::1"] {
            let before = relay.info();
            let [gone, here] = [(); 2].map(|()| Gateway::new(far, outer));
            for gateway in [&gone, &here] {
                gateway.report(&relay, ModeIsExclude, "239.1.2.3", &[]);
            }
            drop(gone);
            let udp = sender(source, Family::V4, 5);
            for number in 0..50 {
                source.run(|| udp.send(&number.to_string(), "239.1.2.3"));
                let bytes = here.packet(&relay);
                let packet = Packet::parse(&bytes).unwrap();
                let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
                assert_eq!(datagram.payload, number.to_string().as_bytes());
            }
            // A host limits how often it says so.
            relay.until("ICMP tells of the one that is gone", || {
                source.run(|| udp.send("again", "239.1.2.3"));
                relay.info().unreachable > before.unreachable
            });
            assert_eq!((relay.info().dropped_error, relay.info().tunnels), (0, before.tunnels + 2));
        }
    });
}

/// RFC 9601: congestion marks go outside too where the gateway says that it knows them. DSCP always does.
#[test]
fn marks_outside() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for (ports, outer) in [(WAYS[0], "10.2.0.1"), (WAYS[1], "fd02::1")] {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            for (ecn, expected) in [(false, 0xb8), (true, 0xb9)] {
                let gateway = Gateway::new(far, outer);
                let answer = gateway.request_with(&relay, false, ecn, Dialect::Rfc);
                gateway.update(&answer, ModeIsExclude, "239.1.2.3", &[]);
                relay.settle();
                source.run(|| {
                    let udp = sender(source, Family::V4, 3);
                    udp.set(libc::IPPROTO_IP, libc::IP_TOS, 0xb9).unwrap();
                    udp.send("marked", "239.1.2.3");
                });
                let (outside, bytes) = gateway.marked(&relay);
                assert_eq!((outside, Packet::parse(&bytes).unwrap().traffic_class), (expected, 0xb9), "{ports:?}");
                gateway.report(&relay, ChangeToInclude, "239.1.2.3", &[]);
            }
        }
    });
}

#[test]
fn one_host_takes_its_share_and_link_local_sources_stay() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        source.ip("addr add 169.254.7.7/16 dev eth0");
        let wanted = Wanted { ports: WAYS[1], upstream: Some("in0"), ..Wanted::default() };
        let relay = Relay::try_open(relay_host, wanted, |options| {
            (options.groups_per_address, options.records_per_second) = (3, 1);
        });
        let relay = relay.unwrap();
        for last in 1..=5 {
            Gateway::new(far, "10.2.0.1").report(&relay, ModeIsExclude, &format!("239.1.2.{last}"), &[]);
        }
        assert_eq!((relay.info().groups, relay.info().refused_address), (3, 2));
        // The same host's other address is another's.
        let gateway = Gateway::new(far, "fd02::1");
        gateway.report(&relay, ModeIsExclude, "239.1.3.1", &[]);
        assert_eq!(relay.info().groups, 4);
        let send = |from: &str, text: &str| {
            source.run(|| {
                let udp = UdpSocket::bind((from, 0)).unwrap();
                udp.set_multicast_ttl_v4(9).unwrap();
                udp.send_to(text.as_bytes(), ("239.1.3.1", 5000)).unwrap();
            });
        };
        send("169.254.7.7", "of the link");
        send("10.1.0.1", "end");
        let bytes = gateway.packet(&relay);
        assert!(bytes.ends_with(b"end"), "{bytes:?}");
        assert_eq!(relay.info().dropped_scope, 1);
        // So many records at once, and no more.
        let stranger = Gateway::new(far, "10.2.0.1");
        (0..9).for_each(|_| _ = stranger.report(&relay, ModeIsExclude, "239.1.2.1", &[]));
        assert!(relay.info().dropped_records > 0);
    });
}
