//! Datagrams received in batches: what each view tells, and that nothing is lost or run together.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use castio::ffi::datagram_receive::*;
use castio::sys::c_types::{CASTIO_VIEW_CONTROL_TRUNCATED, CASTIO_VIEW_TRUNCATED};
use libc::{EAGAIN, ECONNREFUSED, EFAULT, ETIMEDOUT};
use support::datagrams::*;
use support::hosts;

fn lo() -> u32 {
    // SAFETY: the name ends in a NUL.
    unsafe { libc::if_nametoindex(c"lo".as_ptr()) }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_view_tells_what_the_kernel_knows() {
    for at in loopbacks() {
        let (socket, from) = (Socket::bound(at), Socket::bound(at));
        let (level, ttl, class) = match at.is_ipv4() {
            true => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS),
            false => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_TCLASS),
        };
        let receiver = Receiver::open(&socket, OPTIONS);
        let before = now_ns();
        from.set(level, ttl, 33);
        // Expedited forwarding, and ECT(1).
        from.set(level, class, 0xb8 | 1);
        from.send_to(b"text", socket.address()).unwrap();
        from.send_to(b"", socket.address()).unwrap();
        let seen = receiver.arrivals_until(2);
        let expected = |bytes: &[u8]| Arrival {
            bytes: bytes.to_vec(),
            true_len: bytes.len(),
            from: Some(from.address()),
            to: Some(socket.address().ip()),
            interface: lo(),
            ttl: 33,
            class: 0xb9,
            segment_size: None,
            time_ns: 0,
            drops: 0,
            flags: 0,
        };
        let times: Vec<u64> = seen.iter().map(|arrival| arrival.time_ns).collect();
        let without: Vec<Arrival> = seen.into_iter().map(|arrival| Arrival { time_ns: 0, ..arrival }).collect();
        assert_eq!(without, [expected(b"text"), expected(b"")]);
        // The clock is the same; it may be set while this runs, but hardly by an hour.
        let hour = 3_600_000_000_000;
        assert!(times[0] <= times[1] && times.iter().all(|time| time.abs_diff(before) < hour), "{times:?} {before}");
    }
}

#[test]
fn an_ipv6_socket_tells_of_ipv4_traffic() {
    let socket = Socket::bound((Ipv6Addr::UNSPECIFIED, 0));
    let receiver = Receiver::open(&socket, OPTIONS);
    let from = Socket::bound((Ipv4Addr::LOCALHOST, 0));
    from.set(libc::IPPROTO_IP, libc::IP_TTL, 44);
    from.set(libc::IPPROTO_IP, libc::IP_TOS, 0x28);
    from.send_to(b"v4", (Ipv4Addr::LOCALHOST, socket.address().port())).unwrap();
    let [seen] = receiver.receive(8, PATIENCE_MS).unwrap().try_into().unwrap();
    assert_eq!((&seen.bytes[..], seen.ttl, seen.class, seen.interface), (&b"v4"[..], 44, 0x28, lo()));
    assert_eq!(seen.from, Some(mapped(from.address())));
    assert_eq!(seen.to.unwrap().to_canonical(), Ipv4Addr::LOCALHOST);
}

#[test]
fn a_longer_one_is_cut_and_its_length_told() {
    for at in loopbacks() {
        let (socket, from) = (Socket::bound(at), Socket::bound(at));
        let receiver = Receiver::open(&socket, castio_receiver_options { slot_size: 100, ..OPTIONS });
        for (number, len) in [99, 100, 101, 5000, 3].into_iter().enumerate() {
            from.send_to(&numbered(number, len), socket.address()).unwrap();
        }
        let seen = receiver.arrivals_until(5);
        for (number, (arrival, len)) in seen.iter().zip([99, 100, 101, 5000, 3]).enumerate() {
            let flags = if len > 100 { CASTIO_VIEW_TRUNCATED } else { 0 };
            assert_eq!((arrival.true_len, arrival.flags), (len, flags));
            assert_eq!(arrival.bytes, numbered(number, len)[..len.min(100)]);
        }
    }
}

#[test]
fn trains_come_apart_where_they_were_put_together() {
    for at in loopbacks() {
        // Switched on by the handle, or by whoever had the socket before.
        for (set_before, options) in [(false, COALESCE), (true, OPTIONS), (true, COALESCE)] {
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            socket.set(libc::SOL_UDP, UDP_GRO, i32::from(set_before));
            let receiver = Receiver::open(&socket, castio_receiver_options { slot_size: 2000, ..options });
            let sender = Sender::open(&from);
            let mut sent: Vec<Vec<u8>> = (0..40).map(|number| numbered(number, 1200)).collect();
            sent.push(numbered(40, 5));
            sent.extend([numbered(41, 7), numbered(42, 0), numbered(43, 1)]);
            sent.extend((44..60).map(|number| numbered(number, 9)));
            stay_on_one_processor();
            sender.sends(&List::of(&sent, Some(socket.address())));
            from.end(socket.address());
            let seen = receiver.arrivals();
            assert_came(&seen, &sent);
            let one = |arrival: &Arrival| arrival.from == Some(from.address()) && arrival.to == Some(at.ip());
            assert!(seen.iter().all(|seen| one(seen) && seen.flags == 0 && seen.true_len == seen.bytes.len()));
        }
    }
}

#[test]
fn what_there_are_no_views_for_comes_with_the_next_call() {
    for at in loopbacks() {
        for options in [OPTIONS, COALESCE] {
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            let receiver = Receiver::open(&socket, options);
            let sent: Vec<Vec<u8>> = (0..30).map(|number| numbered(number, 50 + number / 20)).collect();
            stay_on_one_processor();
            Sender::open(&from).sends(&List::of(&sent, Some(socket.address())));
            let mut seen = Vec::new();
            for capacity in [1, 3, 0, 7, 2].into_iter().cycle() {
                let part = receiver.receive(capacity, PATIENCE_MS).unwrap();
                assert!(part.len() <= capacity && (capacity == 0) == part.is_empty(), "{} of {capacity}", part.len());
                seen.extend(part);
                if seen.len() >= sent.len() {
                    break;
                }
            }
            assert_came(&seen, &sent);
            assert_eq!(receiver.receive(5, 0), Err(EAGAIN));
        }
    }
}

#[test]
fn views_stay_as_they_are_until_the_next_call() {
    for at in loopbacks() {
        let (socket, from, other) = (Socket::bound(at), Socket::bound(at), Socket::bound(at));
        let receiver = Receiver::open(&socket, COALESCE);
        let sent: Vec<Vec<u8>> = (0..6).map(|number| numbered(number, 500)).collect();
        stay_on_one_processor();
        Sender::open(&from).sends(&List::of(&sent, Some(socket.address())));
        let views = receiver.views(6, PATIENCE_MS).unwrap();
        let seen: Vec<Arrival> = views.iter().map(arrival_of).collect();
        // More comes in, and waits in the kernel.
        other.send_to(b"later", socket.address()).unwrap();
        assert_eq!(views.iter().map(arrival_of).collect::<Vec<_>>(), seen);
        assert_came(&seen, &sent);
        // They lie side by side: nothing was copied to take the train apart.
        let starts = views.iter().map(|view| view.data.addr());
        assert!(starts.eq((0..6).map(|number| views[0].data.addr() + number * 500)));
        assert_eq!(payloads(&receiver.receive(6, PATIENCE_MS).unwrap()), [b"later"]);
    }
}

/// One call of the copying form, into buffers of these lengths.
fn copies(receiver: &Receiver, lengths: &[usize]) -> (Vec<Arrival>, Vec<Vec<u8>>) {
    let mut buffers: Vec<Vec<u8>> = lengths.iter().map(|len| vec![b'-'; len + 1]).collect();
    let places: Vec<libc::iovec> = buffers
        .iter_mut()
        .zip(lengths)
        .map(|(buffer, len)| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: *len })
        .collect();
    let mut views = vec![empty_view(); lengths.len()];
    let (at, count) = (views.as_mut_ptr(), lengths.len());
    // SAFETY: a handle and arrays of as many elements.
    let filled = unsafe { castio_receive_copies(receiver.0, places.as_ptr(), at, count, PATIENCE_MS) };
    views.truncate(outcome(filled).unwrap());
    assert!(views.iter().zip(&places).all(|(view, place)| view.data == place.iov_base.cast_const()));
    (views.iter().map(arrival_of).collect(), buffers)
}

#[test]
fn the_copying_form_fills_the_callers_buffers() {
    for at in loopbacks() {
        for options in [OPTIONS, COALESCE] {
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            let receiver = Receiver::open(&socket, options);
            let sent: Vec<Vec<u8>> = (0..4).map(|number| numbered(number, 20)).collect();
            stay_on_one_processor();
            Sender::open(&from).sends(&List::of(&sent, Some(socket.address())));
            let (mut seen, buffers) = copies(&receiver, &[20, 30, 8]);
            // Coalesced or not, all of them wait by now, or the rest comes with a second call.
            assert_eq!(seen.len(), 3);
            assert_eq!(buffers[0], [&sent[0][..], b"-"].concat());
            assert_eq!(buffers[1][..21], [&sent[1][..], b"-"].concat());
            // Cut, and not a byte further.
            assert_eq!(buffers[2], [&sent[2][..8], b"-"].concat());
            assert_eq!((seen[2].true_len, seen[2].flags), (20, CASTIO_VIEW_TRUNCATED));
            assert!(seen[..2].iter().all(|seen| seen.flags == 0 && seen.from == Some(from.address())));
            seen = copies(&receiver, &[0]).0;
            assert_eq!((seen[0].true_len, seen[0].bytes.len(), seen[0].flags), (20, 0, CASTIO_VIEW_TRUNCATED));
        }
    }
}

#[test]
fn buffers_that_arent_there_take_nothing() {
    let at = (Ipv4Addr::LOCALHOST, 0);
    let (socket, from) = (Socket::bound(at), Socket::bound(at));
    let receiver = Receiver::open(&socket, OPTIONS);
    from.send_to(b"kept", socket.address()).unwrap();
    let missing = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 10 }];
    for buffers in [std::ptr::null(), missing.as_ptr()] {
        let mut view = empty_view();
        // SAFETY: a handle, and places that the function has to look at first.
        let result = unsafe { castio_receive_copies(receiver.0, buffers, &raw mut view, 1, PATIENCE_MS) };
        assert_eq!(outcome(result), Err(EFAULT));
    }
    assert_eq!(payloads(&receiver.receive(1, PATIENCE_MS).unwrap()), [b"kept"]);
}

#[test]
fn drops_add_up_to_what_is_missing() {
    for at in loopbacks() {
        let (socket, from) = (Socket::bound(at), Socket::bound(at));
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 1);
        let receiver = Receiver::open(&socket, OPTIONS);
        let sender = Sender::open(&from);
        let (mut sent, mut seen) = (0, Vec::new());
        stay_on_one_processor();
        for round in 1..=5_usize {
            let payloads: Vec<Vec<u8>> = (0..20 * round).map(|number| numbered(number, 200 + number % 2)).collect();
            sender.sends(&List::of(&payloads, Some(socket.address())));
            sent += payloads.len();
            while let Ok(more) = receiver.receive(64, 0) {
                seen.extend(more);
            }
        }
        // The last drops are told by the next one that gets in.
        from.send_to(b"last", socket.address()).unwrap();
        seen.extend(receiver.receive(64, PATIENCE_MS).unwrap());
        let drops: usize = seen.iter().map(|arrival| arrival.drops as usize).sum();
        assert!(drops > 0 && seen.len() < sent, "{} came of {sent}", seen.len());
        assert_eq!(seen.len() + drops, sent + 1, "{at}");
        // A later handle doesn't tell of them again.
        drop(receiver);
        let receiver = Receiver::open(&socket, OPTIONS);
        from.send_to(b"after", socket.address()).unwrap();
        assert_eq!(receiver.receive(1, PATIENCE_MS).unwrap()[0].drops, 0, "{at}");
    }
}

#[test]
fn there_is_nothing_or_not_in_time() {
    for at in loopbacks() {
        let socket = Socket::bound(at);
        let receiver = Receiver::open(&socket, OPTIONS);
        assert_eq!(receiver.receive(4, 0), Err(EAGAIN));
        let start = Instant::now();
        assert_eq!(receiver.receive(4, 60), Err(ETIMEDOUT));
        assert!(start.elapsed() >= Duration::from_millis(60));
    }
}

#[test]
fn a_refusal_is_told_once_and_nothing_lost() {
    for at in loopbacks() {
        let (socket, peer) = (Socket::bound(at), Socket::bound(at));
        let to = peer.address();
        socket.connect(to).unwrap();
        peer.send_to(b"before", socket.address()).unwrap();
        drop(peer);
        let receiver = Receiver::open(&socket, OPTIONS);
        socket.send(b"to nobody").unwrap();
        let told = receiver.receive(4, PATIENCE_MS);
        assert_eq!(told, Err(ECONNREFUSED), "{at}");
        assert_eq!(payloads(&receiver.receive(4, PATIENCE_MS).unwrap()), [b"before"]);
        assert_eq!(receiver.receive(4, 0), Err(EAGAIN));
    }
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Without SA_RESTART, so that system calls are interrupted.
fn handle_signal() {
    // SAFETY: an action with a handler that does no more than count.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_signal as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn signals_lose_nothing() {
    handle_signal();
    for at in loopbacks() {
        let (socket, from) = (Socket::bound(at), Socket::bound(at));
        let receiver = Receiver::open(&socket, castio_receiver_options { slots: 7, ..OPTIONS });
        let (done, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
        let start = SIGNALS.load(Ordering::Relaxed);
        // SAFETY: always succeeds.
        let this = unsafe { libc::pthread_self() };
        let interrupt = || {
            while !done.load(Ordering::Acquire) {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
                thread::sleep(Duration::from_micros(20));
            }
        };
        let send = || {
            for number in 0.. {
                // No more than the socket holds, and none now and then.
                while number >= taken.load(Ordering::Acquire) + 20 {
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                    thread::yield_now();
                }
                from.send_to(&numbered(number, 30), socket.address()).unwrap();
            }
        };
        let outcome = thread::scope(|scope| {
            scope.spawn(interrupt);
            scope.spawn(send);
            let mut seen = Vec::new();
            while seen.len() < 3000 || SIGNALS.load(Ordering::Relaxed) < start + 200 {
                let timeout_ms = if seen.len() % 2 == 0 { -1 } else { PATIENCE_MS };
                match receiver.receive(5, timeout_ms) {
                    Ok(part) => seen.extend(part),
                    Err(error) => {
                        done.store(true, Ordering::Release);
                        return Err(error);
                    }
                }
                taken.store(seen.len(), Ordering::Release);
            }
            done.store(true, Ordering::Release);
            Ok(seen)
        });
        let seen = outcome.unwrap();
        let sent: Vec<Vec<u8>> = (0..seen.len()).map(|number| numbered(number, 30)).collect();
        assert_came(&seen, &sent);
    }
}

#[test]
fn more_control_data_than_room_is_told() {
    hosts::test(|network| {
        network.host("one").run(|| {
            let at = (Ipv6Addr::LOCALHOST, 0);
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVDSTOPTS, 1);
            // Destination options, RFC 8200, section 4.6: four of a kind that is skipped by those who don't know it.
            let mut options = vec![0, 0];
            (0..4).for_each(|_| options.extend([&[0x1e, 200][..], &[0; 200]].concat()));
            options.extend([1, 4, 0, 0, 0, 0]);
            options[1] = (options.len() / 8 - 1) as u8;
            assert_eq!(options.len() % 8, 0);
            let receiver = Receiver::open(&socket, OPTIONS);
            from.send_to(b"plain", socket.address()).unwrap();
            let (level, name, at, len) =
                (libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, options.as_ptr().cast(), options.len() as u32);
            // SAFETY: bytes and their length.
            assert_eq!(unsafe { libc::setsockopt(from.as_raw_fd(), level, name, at, len) }, 0);
            from.send_to(b"with options", socket.address()).unwrap();
            let seen = receiver.arrivals_until(2);
            assert_eq!(payloads(&seen), [&b"plain"[..], b"with options"]);
            assert_eq!([seen[0].flags, seen[1].flags], [0, CASTIO_VIEW_CONTROL_TRUNCATED]);
        });
    });
}

#[test]
fn a_unix_socket_receives_too() {
    let (from, to) = UnixDatagram::pair().unwrap();
    let receiver = Receiver::open(&to, castio_receiver_options { slot_size: 8, ..OPTIONS });
    from.send(b"a longer one").unwrap();
    from.send(b"").unwrap();
    let seen = receiver.arrivals_until(2);
    assert_eq!((&seen[0].bytes[..], seen[0].true_len, seen[0].flags), (&b"a longer"[..], 12, CASTIO_VIEW_TRUNCATED));
    assert_eq!((seen[1].true_len, seen[1].to, seen[1].ttl, seen[1].class), (0, None, -1, -1));
}
