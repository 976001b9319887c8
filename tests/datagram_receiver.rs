//! The receiving handle and its socket: what is switched on and put back, what is refused, and room.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use castio::ffi::datagram_receive::*;
use castio::sys::c_types::castio_datagram_view;
use libc::{EFAULT, EINVAL, ENOTSOCK, EPROTOTYPE};
use support::datagrams::*;
use support::hosts;

/// The options that a receiver switches on.
fn options_of(socket: &Socket) -> Vec<(&'static str, i32)> {
    use libc::{IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET, SOL_UDP};
    let mut names = vec![
        ("SO_TIMESTAMP", SOL_SOCKET, libc::SO_TIMESTAMP),
        ("SO_TIMESTAMPNS", SOL_SOCKET, libc::SO_TIMESTAMPNS),
        ("SO_RXQ_OVFL", SOL_SOCKET, libc::SO_RXQ_OVFL),
        ("IP_PKTINFO", IPPROTO_IP, libc::IP_PKTINFO),
        ("IP_RECVTTL", IPPROTO_IP, libc::IP_RECVTTL),
        ("IP_RECVTOS", IPPROTO_IP, libc::IP_RECVTOS),
        ("UDP_GRO", SOL_UDP, UDP_GRO),
    ];
    if socket.address().is_ipv6() {
        names.extend([
            ("IPV6_RECVPKTINFO", IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            ("IPV6_RECVHOPLIMIT", IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            ("IPV6_RECVTCLASS", IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        ]);
    }
    names.into_iter().map(|(text, level, name)| (text, socket.get(level, name))).collect()
}

#[test]
fn options_are_put_back_at_close() {
    let set: [(&str, i32, i32); 6] = [
        ("none", 0, 0),
        ("SO_TIMESTAMP", libc::SOL_SOCKET, libc::SO_TIMESTAMP),
        ("SO_TIMESTAMPNS", libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        ("IP_PKTINFO", libc::IPPROTO_IP, libc::IP_PKTINFO),
        ("UDP_GRO", libc::SOL_UDP, UDP_GRO),
        ("SO_RXQ_OVFL", libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
    ];
    for at in loopbacks() {
        for (text, level, name) in set {
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            if text != "none" {
                socket.set(level, name, 1);
            }
            let before = options_of(&socket);
            let receiver = Receiver::open(&socket, COALESCE);
            assert_ne!(options_of(&socket), before);
            from.send_to(b"text", socket.address()).unwrap();
            let seen = receiver.receive(1, PATIENCE_MS).unwrap();
            assert!(seen[0].ttl > 0 && seen[0].to == Some(at.ip()) && seen[0].time_ns > 0, "{text}: {seen:?}");
            drop(receiver);
            assert_eq!(options_of(&socket), before, "{at}, with {text}");
        }
    }
}

#[test]
fn without_details_trains_come_apart_and_no_other_option_is_set() {
    for at in loopbacks() {
        for (coalesce, details_before) in [(0, false), (CASTIO_RECEIVER_COALESCE, false), (0, true)] {
            let from = Socket::bound(at);
            let socket = if details_before { Socket::telling(at) } else { Socket::bound(at) };
            let flags = CASTIO_RECEIVER_NO_DETAILS | coalesce;
            let mut expected_options = options_of(&socket);
            let receiver = Receiver::open(&socket, castio_receiver_options { flags, ..OPTIONS });
            let gro = expected_options.iter_mut().find(|(text, _)| *text == "UDP_GRO").unwrap();
            gro.1 = i32::from(coalesce != 0);
            assert_eq!(options_of(&socket), expected_options);
            let sent: Vec<Vec<u8>> = (0..20).map(|number| numbered(number, 300)).collect();
            stay_on_one_processor();
            Sender::open(&from).sends(&List::of(&sent, Some(socket.address())));
            from.end(socket.address());
            let seen = receiver.arrivals();
            assert_came(&seen, &sent);
            // SAFETY: the name ends in a NUL.
            let lo = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
            let details = |one: &Arrival| (one.to, one.interface, one.ttl, one.class, one.time_ns, one.drops);
            let expected = if details_before { (Some(at.ip()), lo, 64, 0, 0, 0) } else { (None, 0, -1, -1, 0, 0) };
            assert!(seen.iter().all(|one| one.from == Some(from.address()) && details(one) == expected), "{seen:?}");
        }
    }
}

#[test]
fn what_is_no_datagram_socket_is_refused() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let open = |fd: i32, options: castio_receiver_options| {
        let mut handle = std::ptr::null_mut();
        // SAFETY: options and a place.
        let result = unsafe { castio_receiver_open(fd, &raw const options, &raw mut handle) };
        assert!(handle.is_null());
        outcome(result as isize)
    };
    assert_eq!(open(stream.as_raw_fd(), OPTIONS), Err(EPROTOTYPE));
    assert_eq!(open(file.as_raw_fd(), OPTIONS), Err(ENOTSOCK));
    assert_eq!(open(-1, OPTIONS), Err(libc::EBADF));
    let wrong = [
        castio_receiver_options { slots: 1025, ..OPTIONS },
        castio_receiver_options { flags: 1 << 9, ..OPTIONS },
        castio_receiver_options { struct_size: 8, ..OPTIONS },
    ];
    for options in wrong {
        assert_eq!(open(socket.as_raw_fd(), options), Err(EINVAL));
    }
    let too_much = castio_receiver_options { slots: 1024, slot_size: isize::MAX as usize / 1024, ..OPTIONS };
    assert_eq!(open(socket.as_raw_fd(), too_much), Err(libc::ENOMEM));
}

#[test]
fn views_of_a_newer_program_are_further_apart() {
    #[repr(C)]
    struct Newer {
        known: castio_datagram_view,
        unknown: [u64; 2],
    }
    let at = (Ipv4Addr::LOCALHOST, 0);
    let (socket, from) = (Socket::bound(at), Socket::bound(at));
    let receiver = Receiver::open(&socket, OPTIONS);
    from.send_to(b"one", socket.address()).unwrap();
    from.send_to(b"two", socket.address()).unwrap();
    let mut views = [0, 1].map(|_| Newer { known: empty_view(), unknown: [7; 2] });
    for size in [size_of::<castio_datagram_view>() - 1, size_of::<Newer>() + 1] {
        views[0].known.struct_size = size;
        // SAFETY: a handle, and an array.
        let result = unsafe { castio_receive_datagrams(receiver.0, views.as_mut_ptr().cast(), 1, 0) };
        assert_eq!(outcome(result), Err(EINVAL), "{size}");
    }
    views[0].known.struct_size = size_of::<Newer>();
    // SAFETY: as above.
    let result = unsafe { castio_receive_datagrams(receiver.0, views.as_mut_ptr().cast(), 2, PATIENCE_MS) };
    assert_eq!(outcome(result), Ok(2));
    assert_eq!(views.each_ref().map(|view| payload_of(&view.known)), [b"one", b"two"]);
    assert!(views.iter().all(|view| view.unknown == [7; 2] && view.known.struct_size == size_of::<Newer>()));
}

/// How much was granted, and what was said about it.
fn ask_for_room(socket: &Socket, bytes: usize) -> (usize, String) {
    let (mut granted, mut advice) = (usize::MAX, [1_u8; 200]);
    let (at, len) = (advice.as_mut_ptr().cast(), advice.len());
    // SAFETY: places of these sizes.
    let result = unsafe { castio_set_receive_buffer(socket.as_raw_fd(), bytes, &raw mut granted, at, len) };
    assert_eq!(result, 0);
    let end = advice.iter().position(|byte| *byte == 0).unwrap();
    (granted, String::from_utf8(advice[..end].to_vec()).unwrap())
}

/// In a namespace of its own the process may not go over the limit.
#[test]
fn room_to_receive_is_granted_as_far_as_the_limit() {
    let limit: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    hosts::test(|network| {
        network.host("one").run(|| {
            let socket = Socket::bound((Ipv4Addr::LOCALHOST, 0));
            let (granted, advice) = ask_for_room(&socket, limit / 2);
            assert!(granted >= limit / 2 && advice.is_empty(), "{granted} {advice}");
            let (granted, advice) = ask_for_room(&socket, limit * 4);
            assert_eq!(granted, limit);
            assert!(advice.contains("net.core.rmem_max"), "{advice}");
            // What was granted is there: as many datagrams wait as the kernel's own count has room for.
            let held = |socket: &Socket| {
                let from = Socket::bound((Ipv4Addr::LOCALHOST, 0));
                (0..3000).for_each(|_| _ = from.send_to(&[0; 1000], socket.address()).unwrap());
                std::iter::from_fn(|| socket.take().ok()).count()
            };
            let large = held(&socket);
            assert_eq!(ask_for_room(&socket, limit / 4).0, limit / 4);
            let small = held(&socket);
            assert!(large > 3 * small, "{large} and {small}");
        });
    });
    let socket = Socket::bound((Ipv4Addr::LOCALHOST, 0));
    let ask = |fd, bytes, advice, len| {
        // SAFETY: what can't be written to mustn't be.
        outcome(unsafe { castio_set_receive_buffer(fd, bytes, std::ptr::null_mut(), advice, len) } as isize)
    };
    assert_eq!(ask(socket.as_raw_fd(), 1000, std::ptr::null_mut(), 0), Ok(0));
    assert_eq!(ask(socket.as_raw_fd(), 1000, std::ptr::null_mut(), 9), Err(EFAULT));
    assert_eq!(ask(socket.as_raw_fd(), i32::MAX as usize / 2 + 1, std::ptr::null_mut(), 0), Err(EINVAL));
    assert_eq!(ask(-1, 1000, std::ptr::null_mut(), 0), Err(libc::EBADF));
}

#[test]
fn a_closed_receiver_leaves_the_socket_open() {
    let at: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let (socket, from) = (Socket::bound(at), Socket::bound(at));
    drop(Receiver::open(&socket, OPTIONS));
    from.send_to(b"still here", socket.address()).unwrap();
    assert_eq!(socket.arrival().bytes, b"still here");
    // SAFETY: NULL is fine.
    unsafe { castio_receiver_close(std::ptr::null_mut()) };
}
