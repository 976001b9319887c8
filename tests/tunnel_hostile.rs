//! Tunnels and what doesn't belong into them: strangers, garbage, peers that are crafted byte by byte;
//! and ends without privilege.

mod support;

use std::ffi::c_int;
use std::net::UdpSocket;

use castio::Errno;
use castio::ffi::tunnel::*;
use support::hosts::{self, Host};
use support::tunnels::{Inner, KINDS, OPTIONS, Path, Tunnel, without_privilege};
use support::udp::Family;

/// A raw socket's end of a tunnel, which sends whatever it is given.
fn raw(host: &Host, protocol: c_int, bytes: &[u8], to: [u8; 4]) {
    host.run(|| {
        // SAFETY: no memory involved.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        assert!(fd >= 0);
        // SAFETY: all zero is an address.
        let mut at: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        (at.sin_family, at.sin_addr.s_addr) = (libc::AF_INET as u16, u32::from_ne_bytes(to));
        // SAFETY: bytes and an address, with their lengths.
        let sent = unsafe {
            libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, (&raw const at).cast(), size_of_val(&at) as u32)
        };
        assert_eq!(sent, bytes.len() as isize);
        // SAFETY: opened above.
        unsafe { libc::close(fd) };
    });
}

#[test]
fn headers_as_the_figures_of_the_rfcs_have_them_are_understood() {
    hosts::test(|network| {
        let path = Path::new(network);
        let (at_a, at_b) = Path::ends(Family::V4);
        let packet = Inner::new(Family::V4).packet();
        let to = [10, 12, 0, 2];
        let with = |header: &[u8]| [header, &packet[..]].concat();

        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_GRE, at_b, at_a, &OPTIONS);
        // Bits 6 to 12 are ignored, the others not.
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0x03, 0xf8, 8, 0]), to);
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0x40, 0, 8, 0]), to);
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0x00, 1, 8, 0]), to);
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0, 0, 0x88, 0x0b]), to);
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0, 0, 0x86, 0xdd]), to);
        // A number that nobody asked for.
        raw(&path.a, libc::IPPROTO_GRE, &with(&[0x10, 0, 8, 0, 0, 0, 0, 9]), to);
        assert_eq!(b.receive(2), [packet.clone(), packet.clone()]);
        let info = b.info();
        assert_eq!((info.in_malformed, info.in_protocol, info.in_inner), (2, 1, 1));

        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_IPIP, at_b, at_a, &OPTIONS);
        raw(&path.a, libc::IPPROTO_IPIP, &packet, to);
        raw(&path.a, libc::IPPROTO_IPV6, &Inner::new(Family::V6).packet(), to);
        let mut got = b.receive(2);
        got.sort_by_key(|packet| packet[0]);
        assert_eq!(got, [packet, Inner::new(Family::V6).packet()]);
    });
}

#[test]
fn garbage_is_counted_and_what_is_good_still_comes() {
    hosts::test(|network| {
        let path = Path::new(network);
        let (at_a, at_b) = Path::ends(Family::V4);
        let packet = Inner::new(Family::V4).packet();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut garbage: Vec<Vec<u8>> = (0..packet.len()).map(|len| [&[6, 0], &packet[..len]].concat()).collect();
        garbage.extend((0..600).map(|_| (0..next() % 300).map(|_| next() as u8).collect()));
        // A packet with one byte changed is for its receiver to judge, unless it is the header that is wrong.
        garbage.extend((0..20).map(|at| {
            let mut changed = [&[6, 0], &packet[..]].concat();
            changed[2 + at] ^= 0x50;
            changed
        }));
        let udp = path.a.run(|| UdpSocket::bind((at_a, 2268)).unwrap());
        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_UDP, at_b, at_a, &OPTIONS);
        let stranger = path.a.run(|| UdpSocket::bind((at_a, 0)).unwrap());
        for bytes in &garbage {
            udp.send_to(bytes, (at_b, 2268)).unwrap();
            assert_eq!(b.try_receive(1, 0), Err(Errno::EAGAIN));
        }
        stranger.send_to(&[&[6, 0], &packet[..]].concat(), (at_b, 2268)).unwrap();
        udp.send_to(&[&[6, 0], &packet[..]].concat(), (at_b, 2268)).unwrap();
        assert_eq!(b.receive(1), std::slice::from_ref(&packet));
        let info = b.info();
        let dropped = info.in_malformed + info.in_protocol + info.in_inner + info.in_ttl;
        assert_eq!((dropped, info.packets_in), (garbage.len() as u64, 1));
        drop((udp, b));

        // GRE in UDP takes any port of the other end, and no other end.
        let b = Tunnel::open(&path.b, CASTIO_TUNNEL_GRE_UDP, at_b, at_a, &OPTIONS);
        let other = path.router.run(|| UdpSocket::bind(("10.12.0.1", 4754)).unwrap());
        let bytes = [&[0, 0, 8, 0], &packet[..]].concat();
        other.send_to(&bytes, (at_b, 4754)).unwrap();
        hosts::until("a stranger is counted", || {
            assert_eq!(b.try_receive(1, 0), Err(Errno::EAGAIN));
            b.info().in_stranger == 1
        });
        stranger.send_to(&bytes, (at_b, 4754)).unwrap();
        assert_eq!(b.receive(1), [packet]);
    });
}

#[test]
fn an_end_that_cannot_be_is_refused() {
    hosts::test(|network| {
        let path = Path::new(network);
        let open = |kind, local, remote, options| Tunnel::try_open(&path.a, kind, local, remote, &options).err();
        let gre = castio_tunnel_options { flags: CASTIO_TUNNEL_KEY, ..OPTIONS };
        for (kind, local, remote, options, error) in [
            (0, None, "10.12.0.2", OPTIONS, Errno::EINVAL),
            (5, None, "10.12.0.2", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_GRE, None, "10.12.0.2:5", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2:0", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "0.0.0.0", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "239.1.2.3", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "255.255.255.255", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, Some("239.1.2.3"), "10.12.0.2", OPTIONS, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, Some("fd11::2"), "10.12.0.2", OPTIONS, Errno::EAFNOSUPPORT),
            (CASTIO_TUNNEL_UDP, Some("10.99.0.1"), "10.12.0.2", OPTIONS, Errno::EADDRNOTAVAIL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", gre, Errno::EINVAL),
            (CASTIO_TUNNEL_IPIP, None, "10.12.0.2", gre, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "fe80::1%no-such", OPTIONS, Errno::ENODEV),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", castio_tunnel_options { flags: 32, ..OPTIONS }, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", castio_tunnel_options { ttl: 256, ..OPTIONS }, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", castio_tunnel_options { mtu: 65_506, ..OPTIONS }, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", castio_tunnel_options { slots: 1025, ..OPTIONS }, Errno::EINVAL),
            (CASTIO_TUNNEL_UDP, None, "10.12.0.2", castio_tunnel_options { struct_size: 8, ..OPTIONS }, Errno::EINVAL),
        ] {
            assert_eq!(open(kind, local, remote, options), Some(error), "{kind} {local:?} {remote}");
        }
        let first = Tunnel::try_open(&path.a, CASTIO_TUNNEL_UDP, None, "10.12.0.2", &OPTIONS);
        assert!(first.is_ok());
        assert_eq!(open(CASTIO_TUNNEL_UDP, None, "10.12.0.2", OPTIONS), Some(Errno::EADDRINUSE));
        assert_eq!(open(CASTIO_TUNNEL_UDP, Some("0.0.0.0:0"), "10.12.0.2", OPTIONS), None);
        path.a.ip("route del default");
        assert_eq!(open(CASTIO_TUNNEL_GRE_UDP, None, "10.12.0.2", OPTIONS), Some(Errno::ENETUNREACH));
    });
}

#[test]
fn kinds_over_udp_need_no_privilege_and_the_others_say_so() {
    hosts::test(|network| {
        let path = Path::new(network);
        let packet = Inner::new(Family::V6).packet();
        // Netlink and namespaces are set up: from here on the host's thread can do no more than any user.
        path.a.run(without_privilege);
        for kind in KINDS {
            let (at_a, at_b) = Path::ends(Family::V6);
            let opened = Tunnel::try_open(&path.a, kind, Some(at_a), at_b, &OPTIONS);
            if kind == CASTIO_TUNNEL_IPIP || kind == CASTIO_TUNNEL_GRE {
                assert_eq!(opened.err(), Some(Errno::EPERM));
                continue;
            }
            let (a, b) = (opened.unwrap(), Tunnel::open(&path.b, kind, at_b, at_a, &OPTIONS));
            a.send(&[&packet]);
            b.send(&[&packet]);
            assert_eq!((a.receive(1), b.receive(1)), (vec![packet.clone()], vec![packet.clone()]));
        }
    });
}
