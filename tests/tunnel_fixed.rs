//! Tunnels between two ends with a router between: what comes out, and what is on the wire.

mod support;

use std::os::fd::AsRawFd;

use castio::Errno;
use castio::ffi::tunnel::*;
use castio::tunnel::gre;
use castio::tunnel::ip::{Packet, protocol};
use support::hosts;
use support::packets::Header;
use support::tunnels::{Capture, Inner, KINDS, OPTIONS, Path, Tunnel};
use support::udp::{FAMILIES, Family};

const ALL: u32 = CASTIO_TUNNEL_KEY | CASTIO_TUNNEL_CHECKSUM | CASTIO_TUNNEL_SEQUENCE;

fn is_gre(kind: i32) -> bool {
    [CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP].contains(&kind)
}

/// The protocol that the outer header of a kind names, and how much stands before the inner packet.
fn outer_of(kind: i32, inner: Family) -> (u8, usize) {
    match (kind, inner) {
        (CASTIO_TUNNEL_IPIP, Family::V4) => (protocol::IPV4, 0),
        (CASTIO_TUNNEL_IPIP, Family::V6) => (protocol::IPV6, 0),
        (CASTIO_TUNNEL_GRE, _) => (protocol::GRE, 4),
        (CASTIO_TUNNEL_GRE_UDP, _) => (protocol::UDP, 12),
        _ => (protocol::UDP, 10),
    }
}

#[test]
fn every_kind_carries_both_families_over_both_and_back() {
    hosts::test(|network| {
        let path = Path::new(network);
        if !path.is_plain() {
            return;
        }
        let capture = Capture::new(&path.router, "left");
        for kind in KINDS {
            for outer in FAMILIES {
                let (a, b) = path.tunnel(kind, outer, &OPTIONS);
                for family in FAMILIES {
                    let inner = Inner { traffic_class: 0xba, ..Inner::new(family) };
                    let packet = inner.packet();
                    a.send(&[&packet]);
                    assert_eq!(b.receive(1), std::slice::from_ref(&packet), "{kind} {family:?} over {outer:?}");
                    let [seen] = capture.packets().try_into().unwrap();
                    check_outer(&seen, kind, outer, family, &packet);
                    b.send(&[&packet, &packet]);
                    assert_eq!(a.receive(2), [packet.clone(), packet]);
                    capture.packets();
                }
                let (at_a, at_b) = (a.info(), b.info());
                assert_eq!((at_a.packets_out, at_a.packets_in), (2, 4));
                assert_eq!((at_b.packets_out, at_b.packets_in), (4, 2));
                assert_eq!((at_a.bytes_out, at_a.bytes_in), (at_b.bytes_in, at_b.bytes_out));
                assert_eq!(at_a.bytes_out, 128 + 148);
            }
        }
    });
}

fn check_outer(seen: &[u8], kind: i32, outer: Family, family: Family, inner: &[u8]) {
    let packet = Packet::parse(seen).unwrap();
    let (protocol, before) = outer_of(kind, family);
    let (a, b) = Path::ends(outer);
    assert_eq!((packet.source.to_string().as_str(), packet.destination.to_string().as_str()), (a, b));
    assert_eq!((packet.protocol, packet.ttl, packet.traffic_class), (protocol, 64, 0xba));
    assert!(packet.dont_fragment);
    assert_eq!(&packet.payload[before..], inner);
    let is_v4 = family == Family::V4;
    match kind {
        CASTIO_TUNNEL_GRE => assert_eq!(packet.payload[..4], if is_v4 { [0, 0, 8, 0] } else { [0, 0, 0x86, 0xdd] }),
        CASTIO_TUNNEL_GRE_UDP => {
            assert_eq!(packet.payload[2..4], 4754_u16.to_be_bytes());
            assert_eq!(packet.payload[8..12], if is_v4 { [0, 0, 8, 0] } else { [0, 0, 0x86, 0xdd] });
        }
        CASTIO_TUNNEL_UDP => {
            assert_eq!(packet.payload[..4], [2268_u16.to_be_bytes(), 2268_u16.to_be_bytes()].concat());
            assert_eq!(packet.payload[8..10], [6, 0]);
        }
        _ => {}
    }
}

#[test]
fn gre_goes_with_key_checksum_and_numbers() {
    hosts::test(|network| {
        let path = Path::new(network);
        if !path.is_plain() {
            return;
        }
        let capture = Capture::new(&path.router, "left");
        let options = castio_tunnel_options { flags: ALL, key: 0xdead_0001, ttl: 7, ..OPTIONS };
        for kind in [CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP] {
            let (a, b) = path.tunnel(kind, Family::V4, &options);
            let packets: Vec<_> = (0..5).map(|number| Inner { number, ..Inner::new(Family::V6) }.packet()).collect();
            a.send(&packets[..2]);
            a.send(&packets[2..]);
            assert_eq!(b.receive(5), packets);
            for (index, seen) in capture.packets().iter().enumerate() {
                let outer = Packet::parse(seen).unwrap();
                let (header, inner) = gre::parse(&outer.payload[outer_of(kind, Family::V6).1 - 4..]).unwrap();
                let sequence = Some(index as u32);
                let expected = gre::Header { protocol: gre::IPV6, checksum: true, key: Some(0xdead_0001), sequence };
                assert_eq!((header, inner, outer.ttl), (expected, &packets[index][..], 7));
            }
            assert_eq!(a.info().overhead, if kind == CASTIO_TUNNEL_GRE { 36 } else { 44 });
            drop(a);

            // The other end doesn't check what it didn't ask for, but the key.
            let plain = castio_tunnel_options { flags: CASTIO_TUNNEL_KEY, key: 0xdead_0001, ..OPTIONS };
            let (at_a, at_b) = Path::ends(Family::V4);
            let other = Tunnel::open(&path.a, kind, at_a, at_b, &plain);
            b.send(&packets);
            assert_eq!(other.receive(5), packets);
            other.send(&packets[..1]);
            hosts::until("no checksum is a drop", || {
                let _ = b.try_receive(1, 0);
                b.info().in_checksum == 1
            });
            drop(other);
            let keyless = Tunnel::open(&path.a, kind, at_a, at_b, &OPTIONS);
            keyless.send(&packets[..1]);
            hosts::until("no key is a drop", || {
                let _ = b.try_receive(1, 0);
                b.info().in_key == 1
            });
            capture.packets();
        }
    });
}

#[test]
fn an_end_that_begins_anew_is_heard_again() {
    hosts::test(|network| {
        let path = Path::new(network);
        let options = castio_tunnel_options { flags: CASTIO_TUNNEL_SEQUENCE, ..OPTIONS };
        let (a, b) = path.tunnel(CASTIO_TUNNEL_GRE, Family::V4, &options);
        let packets: Vec<_> = (0..100).map(|number| Inner { number, ..Inner::new(Family::V4) }.packet()).collect();
        a.send(&packets);
        assert_eq!(b.receive(100), packets);
        drop(a);
        let (at_a, at_b) = Path::ends(Family::V4);
        let a = Tunnel::open(&path.a, CASTIO_TUNNEL_GRE, at_a, at_b, &options);
        a.send(&packets[..40]);
        assert_eq!(b.receive(9), packets[31..40]);
        assert_eq!(b.info().in_sequence, 31);
    });
}

#[test]
fn many_packets_go_in_order_whatever_their_sizes() {
    hosts::test(|network| {
        let path = Path::new(network);
        for kind in KINDS {
            let flags = if is_gre(kind) { ALL } else { 0 };
            let (a, b) = path.tunnel(kind, Family::V6, &castio_tunnel_options { flags, ..OPTIONS });
            let inner = |number: usize| {
                let family = if number % 37 == 36 { Family::V6 } else { Family::V4 };
                let traffic_class = if number % 50 == 7 { 0x28 } else { 0 };
                let payload_len = if number < 200 { 1000 } else { number };
                Inner { number: number as u8, traffic_class, payload_len, ..Inner::new(family) }.packet()
            };
            let packets: Vec<_> = (0..400).map(inner).collect();
            let mut got = Vec::new();
            for some in packets.chunks(80) {
                a.send(some);
                got.extend(b.receive(some.len()));
            }
            if kind == CASTIO_TUNNEL_IPIP {
                // By two sockets: each family keeps its order.
                got.sort_by_key(|packet| packet[0] >> 4);
                let mut sorted = packets.clone();
                sorted.sort_by_key(|packet| packet[0] >> 4);
                assert_eq!(got, sorted);
            } else {
                assert!(got == packets, "{kind}");
            }
            assert_eq!((a.info().packets_out, b.info().packets_in), (400, 400));
            // More than one train, or than one batch, in one call.
            let equal = vec![packets[0].clone(); 160];
            a.send(&equal);
            assert!(b.receive(160) == equal);
            assert_eq!(b.info().in_buffer, 0);
        }
    });
}

#[test]
fn a_poll_tells_when_there_is_something() {
    hosts::test(|network| {
        let path = Path::new(network);
        for kind in KINDS {
            for family in FAMILIES {
                let (a, b) = path.tunnel(kind, Family::V4, &OPTIONS);
                assert_eq!(b.try_receive(1, 0), Err(Errno::EAGAIN));
                assert_eq!(b.try_receive(1, 1), Err(Errno::ETIMEDOUT));
                assert_eq!(b.try_receive(0, 0), Ok(vec![]));
                let packet = Inner::new(family).packet();
                a.send(&[&packet, &packet, &packet]);
                let mut wanted = libc::pollfd { fd: b.fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one pollfd.
                assert_eq!(unsafe { libc::poll(&raw mut wanted, 1, 10_000) }, 1);
                assert_eq!(b.receive(3).len(), 3);
                // SAFETY: likewise.
                assert_eq!(unsafe { libc::poll(&raw mut wanted, 1, 0) }, 0);
            }
        }
    });
}

#[test]
fn what_is_no_packet_stops_the_list_at_its_place() {
    hosts::test(|network| {
        let path = Path::new(network);
        let (a, b) = path.tunnel(CASTIO_TUNNEL_UDP, Family::V4, &OPTIONS);
        let good = Inner::new(Family::V4).packet();
        let from_b = {
            let mut packet = good.clone();
            packet[12..16].copy_from_slice(&[10, 12, 0, 2]);
            packet[10..12].copy_from_slice(&[0, 0]);
            let sum = castio::tunnel::ip::checksum::Checksum::new().with(&packet[..20]).value();
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        };
        let from_link = Header::new([169, 254, 1, 2].into(), [239, 1, 2, 3].into()).datagram([4000, 5000], &[1]);
        let too_big = Inner { payload_len: 1443, ..Inner::new(Family::V4) }.packet();
        let bad: [(&[u8], Errno); 6] = [
            (&from_link, Errno::EADDRNOTAVAIL),
            (&[], Errno::EBADMSG),
            (b"not a packet at all", Errno::EBADMSG),
            (&good[..127], Errno::EBADMSG),
            (&from_b, Errno::ELOOP),
            (&too_big, Errno::EMSGSIZE),
        ];
        for (packet, error) in bad {
            assert_eq!(a.try_send(&[&good, &good, packet, &good], 1000), (2, Err(error)));
            assert_eq!(b.receive(2), [good.clone(), good.clone()]);
        }
        let info = a.info();
        assert_eq!((info.out_malformed, info.out_loop, info.out_too_big, info.out_link_local), (3, 1, 1, 1));
        assert_eq!((info.mtu, info.whole, info.payload_v4, info.payload_v6), (1470, 1470, 1442, 1422));
        // What lies behind the packet isn't sent.
        a.send(&[[&good[..], b"behind"].concat()]);
        assert_eq!(b.receive(1), [good]);
    });
}

#[test]
fn a_narrower_path_is_learnt_and_told() {
    hosts::test(|network| {
        let path = Path::new(network);
        path.router.ip("link set right mtu 1400");
        path.b.ip("link set eth0 mtu 1400");
        for (kind, outer) in KINDS.into_iter().flat_map(|kind| FAMILIES.map(|outer| (kind, outer))) {
            let (a, b) = path.tunnel(kind, outer, &OPTIONS);
            let inner = |len: usize| {
                let inner = Inner { dont_fragment: true, ..Inner::new(Family::V4) };
                Inner { payload_len: len - 28, ..inner }.packet()
            };
            let fits = 1400 - a.info().overhead;
            // Too big for the second link: the router says so, sooner or later.
            let mut last = Ok(1);
            hosts::until("the router's word comes", || {
                last = a.try_send(&[inner(fits + 1)], 1000).1;
                last.is_err()
            });
            assert_eq!(last, Err(Errno::EMSGSIZE), "{kind} {outer:?}");
            let info = a.info();
            assert_eq!((info.path_mtu, info.mtu, info.whole), (1400, fits, fits));
            assert_eq!(a.try_send(&[inner(fits), inner(fits + 1)], 1000), (1, Err(Errno::EMSGSIZE)));
            assert_eq!(b.receive(1), [inner(fits)]);
            // With the routes goes what was learnt.
            path.a.ip("route flush cache\nroute del default via fd11::1\nroute add default via fd11::1");
        }
    });
}

#[test]
fn an_outer_packet_is_cut_where_that_is_asked_for_and_the_inner_one_allows() {
    hosts::test(|network| {
        let path = Path::new(network);
        if !path.is_plain() {
            return;
        }
        let capture = Capture::new(&path.router, "left");
        let options = castio_tunnel_options { flags: CASTIO_TUNNEL_FRAGMENT, ..OPTIONS };
        for (kind, outer) in KINDS.into_iter().flat_map(|kind| FAMILIES.map(|outer| (kind, outer))) {
            let (a, b) = path.tunnel(kind, outer, &options);
            let free = Inner { payload_len: 4000, ..Inner::new(Family::V4) };
            let bound = Inner { dont_fragment: true, ..free };
            let small = Inner { payload_len: 100, ..bound };
            a.send(&[free.packet(), small.packet(), free.packet()]);
            assert_eq!(b.receive(3), [free.packet(), small.packet(), free.packet()]);
            let seen = capture.packets();
            let outers: Vec<_> = seen.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
            let pieces = outers.iter().filter(|packet| packet.fragment.is_some()).count();
            assert_eq!((seen.len(), pieces), (7, 6), "{kind} {outer:?}");
            if outer == Family::V4 {
                // RFC 2003: DF inside is DF outside.
                let dont: Vec<_> = outers.iter().map(|packet| packet.dont_fragment).collect();
                assert_eq!(dont, [false, false, false, true, false, false, false]);
            }
            assert_eq!(a.try_send(&[bound.packet()], 1000), (0, Err(Errno::EMSGSIZE)));
            let v6 = Inner { payload_len: 2000, ..Inner::new(Family::V6) };
            assert_eq!(a.try_send(&[v6.packet()], 1000), (0, Err(Errno::EMSGSIZE)));
            let info = a.info();
            let largest = if outer == Family::V4 { 65_535 } else { 65_575 } - info.overhead;
            assert_eq!((info.mtu, info.whole), (largest, 1500 - info.overhead));
        }
        let narrow = castio_tunnel_options { mtu: 1300, ..OPTIONS };
        let (a, _b) = path.tunnel(CASTIO_TUNNEL_UDP, Family::V4, &narrow);
        let info = a.info();
        assert_eq!((info.mtu, info.whole, info.payload_v4), (1300, 1300, 1272));
        assert_eq!(a.try_send(&[Inner { payload_len: 1273, ..Inner::new(Family::V4) }.packet()], 0).0, 0);
    });
}

#[test]
fn marks_of_the_way_come_out_and_their_absence_drops() {
    hosts::test(|network| {
        let path = Path::new(network);
        let (at_a, at_b) = Path::ends(Family::V4);
        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_UDP, at_b, at_a, &OPTIONS);
        // Its datagrams are marked as a congested router would.
        let udp = path.a.run(|| std::net::UdpSocket::bind((at_a, 2268)).unwrap());
        let class = 3;
        // SAFETY: an int and its length.
        let result = unsafe {
            libc::setsockopt(
                udp.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_TOS,
                (&raw const class).cast::<libc::c_void>(),
                4,
            )
        };
        assert_eq!(result, 0);
        for (mark, expected) in [(0xb8_u8, None), (0xb9, Some(0xbb)), (0xba, Some(0xbb)), (0xbb, Some(0xbb))] {
            let inner = Inner { traffic_class: mark, ..Inner::new(Family::V4) };
            udp.send_to(&[&[6, 0], &inner.packet()[..]].concat(), (at_b, 2268)).unwrap();
            if let Some(expected) = expected {
                assert_eq!(b.receive(1), [Inner { traffic_class: expected, ..inner }.packet()]);
            }
        }
        assert_eq!(b.info().in_congestion, 1);

        let hidden = castio_tunnel_options { flags: CASTIO_TUNNEL_NO_ECN, ..OPTIONS };
        let a = Tunnel::open(&path.a, CASTIO_TUNNEL_IPIP, at_a, at_b, &hidden);
        let capture = Capture::new(&path.router, "left");
        a.send(&[Inner { traffic_class: 0xbb, ..Inner::new(Family::V4) }.packet()]);
        hosts::until("a packet without marks", || {
            capture.packets().iter().any(|packet| Packet::parse(packet).unwrap().traffic_class == 0xb8)
        });
    });
}

#[test]
fn nobody_at_the_other_end_is_counted_and_no_error() {
    hosts::test(|network| {
        let path = Path::new(network);
        let (at_a, at_b) = Path::ends(Family::V4);
        let a = Tunnel::open(&path.a, CASTIO_TUNNEL_UDP, at_a, at_b, &OPTIONS);
        let packet = Inner::new(Family::V4).packet();
        hosts::until("ICMP tells", || {
            a.send(&[&packet, &packet]);
            assert_eq!(a.try_receive(1, 0), Err(Errno::EAGAIN));
            a.info().unreachable > 1
        });
        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_UDP, at_b, at_a, &OPTIONS);
        a.send(&[&packet]);
        assert_eq!(b.receive(1), [packet]);
    });
}
