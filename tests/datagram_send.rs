//! Datagrams sent in batches: what arrives, from where, how, and what a call says when not all goes out.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use castio::ffi::datagram_send::CASTIO_SENDER_NO_SEGMENTATION;
use castio::sys::c_types::{CASTIO_DATAGRAM_TRAFFIC_CLASS, CASTIO_DATAGRAM_TTL};
use castio::sys::sockaddr;
use libc::{EADDRNOTAVAIL, EAFNOSUPPORT, ECONNREFUSED, EDESTADDRREQ, EFAULT, EINVAL, EMSGSIZE, ENODEV};
use support::datagrams::*;

/// Sends on a socket of its own, and what arrived.
fn sent_to(receiver: &Socket, list: &List<'_>) -> Vec<Arrival> {
    stay_on_one_processor();
    let from = Socket::bound((receiver.address().ip(), 0));
    Sender::open(&from).sends(list);
    from.end(receiver.address());
    receiver.arrivals()
}

#[test]
fn each_datagram_is_gathered_from_its_own_list() {
    for at in loopbacks() {
        let receiver = Socket::bound(at);
        let to = Some(receiver.address());
        let mut list = List::new();
        list.add(&[b"one"], to);
        list.add(&[b"t", b"", b"w", b"o"], to);
        list.add(&[], to);
        list.add(&[b"", b"three"], to);
        let letters: Vec<[u8; 1]> = (0..1024).map(|number| [(number * 11) as u8]).collect();
        list.add(&letters.iter().map(|letter| &letter[..]).collect::<Vec<_>>(), to);
        let arrived = payloads(&sent_to(&receiver, &list));
        assert_eq!(arrived, [&b"one"[..], b"two", b"", b"three", &letters.concat()]);
    }
}

#[test]
fn a_connected_socket_needs_no_destination() {
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        from.connect(receiver.address()).unwrap();
        let sent: Vec<Vec<u8>> = (0..50).map(|number| numbered(number, 4 + number % 3)).collect();
        Sender::open(&from).sends(&List::of(&sent, None));
        from.send(b"that was all").unwrap();
        let arrived = receiver.arrivals();
        assert_came(&arrived, &sent);
        assert!(arrived.iter().all(|arrival| arrival.from == Some(from.address())));
    }
}

#[test]
fn a_run_crosses_as_one_train_with_a_shorter_last_one() {
    for at in loopbacks() {
        let receiver = Socket::coalescing(at);
        let mut sent: Vec<Vec<u8>> = (0..20).map(|number| numbered(number, 1200)).collect();
        sent.push(numbered(20, 7));
        let [train] = sent_to(&receiver, &List::of(&sent, Some(receiver.address()))).try_into().unwrap();
        assert_eq!((train.segment_size, train.bytes), (Some(1200), sent.concat()));

        // And not where it was switched off.
        let from = Socket::bound(at);
        let sender = Sender::with(&from, CASTIO_SENDER_NO_SEGMENTATION, 0);
        sender.sends(&List::of(&sent, Some(receiver.address())));
        from.end(receiver.address());
        let arrived = receiver.arrivals();
        assert_came(&arrived, &sent);
        assert!(arrived.iter().all(|arrival| arrival.segment_size.is_none()));
    }
}

#[test]
fn a_train_ends_where_the_size_grows_the_destination_changes_or_the_list_ends() {
    for at in loopbacks() {
        let (one, other) = (Socket::coalescing(at), Socket::coalescing(at));
        let [to_one, to_other] = [&one, &other].map(|socket| Some(socket.address()));
        let payload: Vec<Vec<u8>> = (0..12).map(|number| numbered(number, 100)).collect();
        let longer = numbered(99, 101);
        let mut list = List::new();
        (0..3).for_each(|number| _ = list.add(&[&payload[number]], to_one));
        (3..5).for_each(|number| _ = list.add(&[&payload[number]], to_other));
        (5..8).for_each(|number| _ = list.add(&[&payload[number]], to_one));
        list.add(&[&longer], to_one);
        (8..12).for_each(|number| _ = list.add(&[&payload[number]], to_one));
        // The last two stand in the array behind the list.
        let from = Socket::bound(at);
        stay_on_one_processor();
        Sender::open(&from).sends(&list[..11]);
        [&one, &other].iter().for_each(|socket| from.end(socket.address()));
        let at_one: Vec<_> = one.arrivals().into_iter().map(|train| (train.segment_size, train.bytes)).collect();
        let expected = [
            (Some(100), payload[..3].concat()),
            (Some(100), payload[5..8].concat()),
            (Some(101), [&longer[..], &payload[8]].concat()),
            (Some(100), payload[9..10].concat()),
        ];
        let expected = expected.map(|(size, bytes)| (size.filter(|_| bytes.len() > 101), bytes));
        assert_eq!(at_one, expected);
        let [train] = other.arrivals().try_into().unwrap();
        assert_eq!((train.segment_size, train.bytes), (Some(100), payload[3..5].concat()));
    }
}

#[test]
fn a_list_of_one_sends_one() {
    for at in loopbacks() {
        let receiver = Socket::bound(at);
        let sent: Vec<Vec<u8>> = (0..10).map(|number| numbered(number, 64)).collect();
        let list = List::of(&sent, Some(receiver.address()));
        let from = Socket::bound(at);
        let sender = Sender::open(&from);
        for index in [3, 9, 0] {
            sender.sends(&list[index..=index]);
        }
        assert_eq!(sender.send(&list[..0], -1), (Ok(0), 0));
        from.end(receiver.address());
        assert_eq!(payloads(&receiver.arrivals()), [3, 9, 0].map(|index: usize| sent[index].clone()));
    }
}

#[test]
fn mixed_sizes_and_destinations_arrive_once_and_in_order() {
    for at in loopbacks() {
        let receivers: Vec<Socket> = (0..3).map(|_| Socket::bound(at)).collect();
        // 3,000 of them, more than one system call takes; some are empty.
        let size = |number: usize| [0, 700, 700, 700, 12, 1400, 1400, 3][number * 7 / 4 % 8];
        let whose = |number: usize| number / 5 % 3;
        let sent: Vec<Vec<u8>> = (0..3000).map(|number| numbered(number, size(number))).collect();
        let from = Socket::bound(at);
        let sender = Sender::open(&from);
        stay_on_one_processor();
        let mut arrived = [const { Vec::new() }; 3];
        // A receive buffer holds no more than some 250 of them.
        for (turn, part) in sent.chunks(150).enumerate() {
            let mut list = List::new();
            for (at, payload) in part.iter().enumerate() {
                list.add(&[payload], Some(receivers[whose(turn * 150 + at)].address()));
            }
            sender.sends(&list);
            for (receiver, arrived) in receivers.iter().zip(&mut arrived) {
                from.end(receiver.address());
                arrived.extend(payloads(&receiver.arrivals()));
            }
        }
        for (who, arrived) in arrived.iter().enumerate() {
            let expected: Vec<_> =
                (0..3000).filter(|number| whose(*number) == who).map(|number| &sent[number]).collect();
            assert!(arrived.iter().eq(expected.iter().copied()), "receiver {who} of {at}");
        }
    }
}

#[test]
fn ttl_and_traffic_class_are_each_datagrams_own() {
    for at in loopbacks() {
        let receiver = Socket::telling(at);
        assert_manners(&receiver, &Socket::bound(at), Some(receiver.address()));
    }
}

#[test]
fn an_ipv6_socket_sends_to_ipv4_in_each_manner() {
    let receiver = Socket::telling((Ipv4Addr::LOCALHOST, 0));
    let from = Socket::bound((Ipv6Addr::UNSPECIFIED, 0));
    assert_manners(&receiver, &from, Some(mapped(receiver.address())));
    // The kernel knows the peer, the list doesn't.
    from.connect(mapped(receiver.address())).unwrap();
    assert_manners(&receiver, &from, None);
}

/// Datagrams of one size, told apart by how they leave.
fn assert_manners(receiver: &Socket, from: &Socket, to: Option<SocketAddr>) {
    stay_on_one_processor();
    // SAFETY: the name ends in a NUL.
    let lo = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    let mut list = List::new();
    let ttl = list.add(&[b"ttl"], to);
    (ttl.flags, ttl.ttl, ttl.traffic_class) = (CASTIO_DATAGRAM_TTL, 9, 0xff00);
    let class = list.add(&[b"cls"], to);
    (class.flags, class.ttl, class.traffic_class) = (CASTIO_DATAGRAM_TRAFFIC_CLASS, -7, 0xb8 | 1);
    list.add(&[b"non"], to);
    let both = list.add(&[b"bot"], to);
    (both.flags, both.ttl, both.traffic_class) = (CASTIO_DATAGRAM_TTL | CASTIO_DATAGRAM_TRAFFIC_CLASS, 255, 0x28 | 2);
    list.add(&[b"int"], to).ifindex = lo;
    let sender = Sender::open(from);
    sender.sends(&list);
    from.set(libc::IPPROTO_IP, libc::IP_TTL, 64);
    match to {
        Some(to) => from.end(to),
        None => assert_eq!(from.send(b"that was all").unwrap(), 12),
    }
    let seen: Vec<_> = receiver.arrivals().into_iter().map(|one| (one.bytes, one.ttl, one.class)).collect();
    let told = |text: &[u8; 3], ttl, class| (text.to_vec(), ttl, class);
    let expected =
        [told(b"ttl", 9, 0), told(b"cls", 64, 0xb9), told(b"non", 64, 0), told(b"bot", 255, 0x2a), told(b"int", 64, 0)];
    assert_eq!(seen, expected, "{to:?}");
}

#[test]
fn a_train_has_one_manner() {
    for at in loopbacks() {
        let receiver = Socket::coalescing(at);
        let sent: Vec<Vec<u8>> = (0..9).map(|number| numbered(number, 300)).collect();
        let mut list = List::new();
        for (number, payload) in sent.iter().enumerate() {
            let datagram = list.add(&[payload], Some(receiver.address()));
            (datagram.flags, datagram.ttl) = (CASTIO_DATAGRAM_TTL, 10 + number as i32 / 3);
        }
        let seen: Vec<_> = sent_to(&receiver, &list).into_iter().map(|train| (train.ttl, train.bytes)).collect();
        let expected: Vec<_> = (0..3).map(|part| (10 + part as i32, sent[part * 3..][..3].concat())).collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn it_comes_from_the_address_that_was_asked_for() {
    let receiver = Socket::telling((Ipv4Addr::UNSPECIFIED, 0));
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, receiver.address().port()).into();
    let address = |last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    for from in [Socket::bound((Ipv4Addr::UNSPECIFIED, 0)), Socket::bound((Ipv6Addr::UNSPECIFIED, 0))] {
        let to = if from.address().is_ipv6() { mapped(to) } else { to };
        let mut list = List::new();
        for last in [2, 3, 3, 1] {
            list.add(&[&b"from"[..]], Some(to));
            list.from(address(last));
        }
        Sender::open(&from).sends(&list);
        from.end(to);
        let seen = receiver.arrivals().into_iter().map(|arrival| arrival.from.unwrap());
        let expected = [2, 3, 3, 1].map(|last| SocketAddr::new(address(last), from.address().port()));
        assert!(seen.eq(expected), "{from:?}");
    }
}

#[test]
fn a_source_that_the_socket_cant_have_is_an_error() {
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        let other_family: IpAddr = if at.is_ipv4() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let not_ours: IpAddr =
            if at.is_ipv4() { Ipv4Addr::new(192, 0, 2, 1).into() } else { "2001:db8::1".parse().unwrap() };
        for source in [other_family, not_ours] {
            let mut list = List::new();
            list.add(&[b"before"], Some(receiver.address()));
            list.add(&[b"from nowhere"], Some(receiver.address()));
            list.from(source);
            let (result, done) = Sender::open(&from).send(&list, -1);
            let expected = if source == not_ours { EADDRNOTAVAIL } else { EINVAL };
            assert_eq!((result, done), (Err(expected), 1), "{at} from {source}");
            from.end(receiver.address());
            assert_eq!(payloads(&receiver.arrivals()), [b"before"]);
        }
    }
}

/// Whatever the family, and whether one leaves alone or in a batch.
#[test]
fn a_destination_of_another_family_is_said_to_be_one() {
    let unix: [u16; 8] = [libc::AF_UNIX as u16, 0x7878, 0, 0, 0, 0, 0, 0];
    for at in loopbacks() {
        for count in [1, 3] {
            let mut list = List::new();
            for _ in 0..count {
                let datagram = list.add(&[b"nowhere"], Some(at));
                (datagram.to, datagram.to_len) = (unix.as_ptr().cast(), size_of_val(&unix) as u32);
            }
            assert_eq!(Sender::open(&Socket::bound(at)).send(&list, 0), (Err(EAFNOSUPPORT), 0), "{at}, {count}");
        }
    }
}

/// What can be wrong with a datagram: its name, what does it, the error.
type Spoil = fn(&mut castio::sys::c_types::castio_datagram);
const SPOILT: [(&str, Spoil, i32); 10] = [
    ("a negative count", |one| one.iovcnt = -1, EINVAL),
    ("no list", |one| one.iov = std::ptr::null(), EFAULT),
    ("an unknown flag", |one| one.flags = 1 << 20, EINVAL),
    ("a TTL of 256", |one| (one.flags, one.ttl) = (CASTIO_DATAGRAM_TTL, 256), EINVAL),
    ("a negative TTL", |one| (one.flags, one.ttl) = (CASTIO_DATAGRAM_TTL, -1), EINVAL),
    ("a class of 256", |one| (one.flags, one.traffic_class) = (CASTIO_DATAGRAM_TRAFFIC_CLASS, 256), EINVAL),
    ("no destination", |one| one.to = std::ptr::null(), EDESTADDRREQ),
    ("a short destination", |one| one.to_len = 3, EINVAL),
    ("a wrong interface", |one| one.ifindex = 0x7fff_fff0, ENODEV),
    ("an unreadable buffer", |one| one.iov = UNREADABLE.0.as_ptr(), EFAULT),
];

/// As long as the others around it.
struct Unreadable([libc::iovec; 1]);
// SAFETY: nobody reads what it points to.
unsafe impl Sync for Unreadable {}
static UNREADABLE: Unreadable =
    Unreadable([libc::iovec { iov_base: std::ptr::without_provenance_mut(16), iov_len: 40 }]);

#[test]
fn an_invalid_one_in_the_middle_stops_there() {
    for at in loopbacks() {
        // In a run of one size, and where each stands alone.
        for sizes in [[40, 40], [40, 41]] {
            for (name, spoil, error) in SPOILT {
                let (receiver, from) = (Socket::bound(at), Socket::bound(at));
                let sent: Vec<Vec<u8>> = (0..9).map(|number| numbered(number, sizes[number % 2])).collect();
                let mut list = List::of(&sent[..4], Some(receiver.address()));
                spoil(list.add(&[&sent[4]], Some(receiver.address())));
                (5..9).for_each(|number| _ = list.add(&[&sent[number]], Some(receiver.address())));
                let (result, done) = Sender::open(&from).send(&list, -1);
                assert_eq!((result, done), (Err(error), 4), "{name}, {at}, {sizes:?}");
                from.end(receiver.address());
                assert_came(&receiver.arrivals(), &sent[..4]);
            }
        }
    }
}

#[test]
fn one_too_large_in_the_middle_stops_there() {
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        let sender = Sender::open(&from);
        let (small, large, bit) = (numbered(0, 100), vec![0; 65_600], [0_u8; 1]);
        let in_bits: Vec<&[u8]> = vec![&bit; 1025];
        for too_large in [&[&large[..]][..], &in_bits] {
            for before in [0, 1, 7] {
                let mut list = List::new();
                (0..before).for_each(|_| _ = list.add(&[&small], Some(receiver.address())));
                list.add(too_large, Some(receiver.address()));
                list.add(&[&small], Some(receiver.address()));
                let sent = sender.send(&list, PATIENCE_MS);
                assert_eq!(sent, (Err(EMSGSIZE), before), "{at}, {} buffers", too_large.len());
                from.end(receiver.address());
                assert_eq!(payloads(&receiver.arrivals()), vec![small.clone(); before]);
            }
        }
    }
}

/// The kernel tells of the refusal before the next datagram, and sendmmsg(2) keeps back what stops it in
/// the middle: what counts is that a datagram is never counted without having gone out.
#[test]
fn a_refusal_is_told_and_the_rest_can_be_sent() {
    for at in loopbacks() {
        let from = Socket::bound(at);
        let closed = Socket::bound(at).address();
        from.connect(closed).unwrap();
        let sender = Sender::open(&from);
        let run: Vec<Vec<u8>> = (0..5).map(|number| numbered(number, 100)).collect();
        let list = List::of(&run, None);
        sender.sends(&list);
        // Told once, and nothing of this call went out.
        assert_eq!(sender.send(&list, -1), (Err(ECONNREFUSED), 0), "{at}");
        // In the middle of a batch the same, or the kernel keeps it back; the last one is told in any case.
        let apart: Vec<Vec<u8>> = (0..40).map(|number| numbered(number, 100 + number)).collect();
        let (list, mut next) = (List::of(&apart, None), 0);
        while next < list.len() {
            let (result, done) = sender.send(&list[next..], -1);
            assert!(result == Ok(done) || result == Err(ECONNREFUSED), "{result:?}");
            next += done;
        }
        assert_eq!(sender.send(&list, -1), (Err(ECONNREFUSED), 0), "{at}");
        let receiver = Socket::bound(closed);
        let mixed: Vec<Vec<u8>> = (0..40).map(|number| numbered(number, 100 + number)).collect();
        sender.sends(&List::of(&mixed, None));
        from.send(b"that was all").unwrap();
        assert_came(&receiver.arrivals(), &mixed);
    }
}

#[test]
fn one_payload_reaches_a_thousand_destinations_once() {
    raise_descriptor_limit();
    for at in loopbacks() {
        let receivers: Vec<Socket> = (0..1000).map(|_| Socket::bound(at)).collect();
        let to: Vec<_> = receivers.iter().map(|socket| sockaddr::to_storage(socket.address())).collect();
        let from = Socket::bound(at);
        stay_on_one_processor();
        let sender = Sender::open(&from);
        assert_eq!(sender.send_to_many(&[b"to ", b"", b"all"], &to, PATIENCE_MS), (Ok(1000), 1000));
        for receiver in &receivers {
            from.end(receiver.address());
            assert_eq!(payloads(&receiver.arrivals()), [b"to all"]);
        }
    }
}

fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the limits.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn a_thousand_and_more_destinations_of_which_one_is_wrong() {
    let receiver = Socket::telling((Ipv4Addr::UNSPECIFIED, 0));
    let port = receiver.address().port();
    let address = |number: u16| SocketAddr::from((Ipv4Addr::from(0x7f01_0000 + u32::from(number)), port));
    let mut to: Vec<_> = (1..=1500).map(|number| sockaddr::to_storage(address(number))).collect();
    to[100].ss_family = libc::AF_UNIX as u16;
    let from = Socket::bound((Ipv4Addr::UNSPECIFIED, 0));
    stay_on_one_processor();
    let sender = Sender::open(&from);
    assert_eq!(sender.send_to_many(&[b"x"], &to, -1), (Err(EAFNOSUPPORT), 100));
    let mut seen = Vec::new();
    from.end(address(0x0101));
    seen.extend(receiver.arrivals());
    // The rest, in parts that the receiver's buffer holds.
    for part in to[101..].chunks(200) {
        assert_eq!(sender.send_to_many(&[b"x"], part, -1), (Ok(part.len()), part.len()));
        from.end(address(0x0101));
        seen.extend(receiver.arrivals());
    }
    let seen: Vec<IpAddr> = seen.into_iter().map(|arrival| arrival.to.unwrap()).collect();
    let expected: Vec<IpAddr> = (1..=1500).filter(|number| *number != 101).map(|number| address(number).ip()).collect();
    assert_eq!(seen, expected);
}
