//! Sending without copying: what arrives, when memory is free again, and that it stops where the
//! kernel copies anyway, as it does on loopback.

mod support;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::ptr;

use castio::ffi::datagram_send::*;
use libc::{EBUSY, EFAULT, EINVAL, c_int};
use support::datagrams::*;

fn token(sender: &Sender) -> u64 {
    let mut token = u64::MAX;
    // SAFETY: the handle is open, and there is room for a token.
    assert_eq!(unsafe { castio_sender_token(sender.0, &raw mut token) }, 0);
    token
}

fn wait(sender: &Sender, until: u64) -> (c_int, u64) {
    let mut done = u64::MAX;
    // SAFETY: the handle is open, and there is room for a token.
    let result = unsafe { castio_sender_wait(sender.0, until, PATIENCE_MS, &raw mut done) };
    (result, done)
}

fn open_error(socket: &impl AsRawFd) -> c_int {
    let size = size_of::<castio_sender_options>();
    let options = castio_sender_options { struct_size: size, bytes_per_second: 0, flags: CASTIO_SENDER_ZEROCOPY };
    let mut sender = ptr::null_mut();
    // SAFETY: options of their size, and a place.
    let result = unsafe { castio_sender_open(socket.as_raw_fd(), &raw const options, &raw mut sender) };
    assert!(sender.is_null());
    -result
}

#[test]
fn large_messages_arrive_and_their_memory_comes_back() {
    for at in loopbacks() {
        let (to, from) = (Socket::bound(at), Socket::bound(at));
        let sender = Sender::with(&from, CASTIO_SENDER_ZEROCOPY, 0);
        // A run of 20,000 bytes in all, side by side in memory, then one datagram of as many.
        let run: Vec<Vec<u8>> = (0..20).map(|number| numbered(number, 1000)).collect();
        let memory = run.concat();
        let mut list = List::new();
        for piece in memory.chunks(1000) {
            list.add(&[piece], Some(to.address()));
        }
        sender.sends(&list);
        let run_token = token(&sender);
        assert_eq!(run_token, 1, "one message");
        assert_eq!(payloads(&(0..20).map(|_| to.arrival()).collect::<Vec<_>>()), run);

        // Loopback copies: 0 says that it has stopped.
        assert_eq!(wait(&sender, run_token), (0, run_token));
        let large = vec![numbered(20, 20_000)];
        sender.sends(&List::of(&large, Some(to.address())));
        assert_eq!(to.arrival().bytes, large[0]);
        assert_eq!(token(&sender), run_token, "sent by copying");
    }
}

#[test]
fn small_messages_are_copied() {
    for at in loopbacks() {
        let (to, from) = (Socket::bound(at), Socket::bound(at));
        let sender = Sender::with(&from, CASTIO_SENDER_ZEROCOPY, 0);
        let sent = vec![numbered(0, 1000), numbered(1, 400)];
        sender.sends(&List::of(&sent, Some(to.address())));
        assert_eq!(payloads(&[to.arrival(), to.arrival()]), sent);
        assert_eq!(token(&sender), 0);
        assert_eq!(wait(&sender, 0), (1, 0), "nothing to wait for, and it hasn't stopped");
    }
}

#[test]
fn a_run_in_more_pages_than_a_packet_can_point_to_is_copied_and_stays_a_run() {
    for at in loopbacks() {
        let (to, from) = (Socket::coalescing(at), Socket::bound(at));
        let sender = Sender::with(&from, CASTIO_SENDER_ZEROCOPY, 0);
        // Each on pages of its own.
        let run: Vec<Vec<u8>> = (0..40).map(|number| numbered(number, 1000)).collect();
        let pages: Vec<Vec<u8>> = run.iter().map(|bytes| [bytes.clone(), vec![0; 8192]].concat()).collect();
        let mut list = List::new();
        for page in &pages {
            list.add(&[&page[..1000]], Some(to.address()));
        }
        sender.sends(&list);
        assert_eq!(token(&sender), 0, "copied");
        let arrival = to.arrival();
        assert_eq!((arrival.segment_size, arrival.bytes), (Some(1000), run.concat()));
    }
}

#[test]
fn many_messages_under_way_are_all_told() {
    for at in loopbacks() {
        let (to, from) = (Socket::bound(at), Socket::bound(at));
        let sender = Sender::with(&from, CASTIO_SENDER_ZEROCOPY, 0);
        // Of sizes that differ, so that each is a message of its own, and all in one call.
        let sent: Vec<Vec<u8>> = (0..8).map(|number| numbered(number, 12_000 + number)).collect();
        sender.sends(&List::of(&sent, Some(to.address())));
        assert_eq!(payloads(&(0..8).map(|_| to.arrival()).collect::<Vec<_>>()), sent);
        assert!(token(&sender) > 0);
        assert_eq!(wait(&sender, token(&sender)).1, token(&sender));
    }
}

#[test]
fn a_caller_who_reads_the_error_queue_keeps_it() {
    for (at, level, option) in loopbacks()
        .into_iter()
        .zip([libc::IPPROTO_IP, libc::IPPROTO_IPV6])
        .zip([libc::IP_RECVERR, libc::IPV6_RECVERR])
        .map(|((at, level), option)| (at, level, option))
    {
        let socket = Socket::bound(at);
        socket.set(level, option, 1);
        assert_eq!(open_error(&socket), EBUSY);
    }
}

#[test]
fn a_socket_that_cannot_is_refused() {
    let (socket, _peer) = UnixDatagram::pair().unwrap();
    assert_eq!(open_error(&socket), libc::EOPNOTSUPP);
}

#[test]
fn a_token_that_was_never_given_is_refused() {
    let socket = Socket::bound(loopbacks()[0]);
    let sender = Sender::with(&socket, CASTIO_SENDER_ZEROCOPY, 0);
    assert_eq!(wait(&sender, 1), (-EINVAL, 0));
    // SAFETY: NULL is checked.
    unsafe {
        assert_eq!(castio_sender_token(sender.0, ptr::null_mut()), -EFAULT);
        assert_eq!(castio_sender_token(ptr::null_mut(), &mut 0), -EFAULT);
        assert_eq!(castio_sender_wait(ptr::null_mut(), 0, 0, ptr::null_mut()), -EFAULT);
    }
}
