//! Datagrams that can't all go out now: no room, a deadline, a limit in bytes per second.

mod support;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libc::{EAGAIN, ETIMEDOUT};
use support::datagrams::*;

/// Two ends with little room between them.
fn a_pair() -> (UnixDatagram, UnixDatagram) {
    let (from, to) = UnixDatagram::pair().unwrap();
    let (size, len): (i32, u32) = (1, 4);
    let at = (&raw const size).cast();
    // SAFETY: an int and its length.
    unsafe { libc::setsockopt(from.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, at, len) };
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    (from, to)
}

fn read(socket: &UnixDatagram) -> Vec<u8> {
    let mut bytes = [0; 64];
    let len = socket.recv(&mut bytes).unwrap();
    bytes[..len].to_vec()
}

#[test]
fn a_full_socket_takes_a_part_and_the_tail_later() {
    let (from, to) = a_pair();
    let sender = Sender::open(&from);
    let sent: Vec<Vec<u8>> = (0..100).map(|number| numbered(number, 9)).collect();
    let list = List::of(&sent, None);
    let (mut next, mut arrived) = (0, Vec::new());
    while next < list.len() {
        let (result, done) = sender.send(&list[next..], 0);
        assert!(result == Ok(done) && done > 0, "{result:?}, {done}");
        if next + done < list.len() {
            assert_eq!(sender.send(&list[next + done..], 0), (Err(EAGAIN), 0));
        }
        arrived.extend((0..done).map(|_| read(&to)));
        next += done;
    }
    assert_eq!(arrived, sent);
}

#[test]
fn a_deadline_counts_for_the_whole_call() {
    let (from, to) = a_pair();
    let sent: Vec<Vec<u8>> = (0..100).map(|number| numbered(number, 9)).collect();
    let start = Instant::now();
    let (result, done) = Sender::open(&from).send(&List::of(&sent, None), 50);
    assert!(result == Err(ETIMEDOUT) && (1..100).contains(&done), "{result:?}, {done}");
    assert!(start.elapsed() >= Duration::from_millis(50));
    let arrived: Vec<Vec<u8>> = (0..done).map(|_| read(&to)).collect();
    assert_eq!(arrived, sent[..done]);
    to.set_nonblocking(true).unwrap();
    assert!(to.recv(&mut [0; 64]).is_err(), "more than was said");
}

#[test]
fn a_slow_reader_is_waited_for() {
    for timeout_ms in [-1, PATIENCE_MS] {
        let (from, to) = a_pair();
        let sent: Vec<Vec<u8>> = (0..500).map(|number| numbered(number, 9)).collect();
        let reader = thread::spawn(move || (0..500).map(|_| read(&to)).collect::<Vec<_>>());
        let result = Sender::open(&from).send(&List::of(&sent, None), timeout_ms);
        assert_eq!(result, (Ok(500), 500));
        assert_eq!(reader.join().unwrap(), sent);
    }
}

/// A UNIX socket that isn't connected is writable however full its destination is.
#[test]
fn a_full_destination_of_an_unconnected_socket_keeps_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("to");
    let to = UnixDatagram::bind(&path).unwrap();
    let (hear, told) = mpsc::channel();
    thread::spawn(move || {
        let from = UnixDatagram::unbound().unwrap();
        let sender = Sender::open(&from);
        // SAFETY: all zero is an address; the path is shorter than there is room for.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        let bytes = path.as_os_str().as_encoded_bytes();
        bytes.iter().zip(&mut address.sun_path).for_each(|(byte, place)| *place = *byte as _);
        let mut list = List::new();
        for _ in 0..1000 {
            let datagram = list.add(&[b"text"], None);
            (datagram.to, datagram.to_len) = ((&raw const address).cast(), size_of_val(&address) as u32);
        }
        hear.send([sender.send(&list, 0), sender.send(&list, 0), sender.send(&list, 30)]).unwrap();
    });
    let [first, at_once, in_time] = told.recv_timeout(PATIENCE).expect("a call hangs");
    assert!(matches!(first, (Ok(sent), done) if sent == done && (1..1000).contains(&sent)), "{first:?}");
    assert_eq!(at_once, (Err(EAGAIN), 0));
    assert_eq!(in_time, (Err(ETIMEDOUT), 0));
    drop(to);
}

#[test]
fn a_rate_is_kept() {
    const RATE: u64 = 500_000;
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        let sent: Vec<Vec<u8>> = (0..60).map(|number| numbered(number, 1000 + number % 2)).collect();
        let bytes: usize = sent.iter().map(Vec::len).sum();
        let ideal = Duration::from_secs_f64(bytes as f64 / RATE as f64);
        let start = Instant::now();
        Sender::with(&from, 0, RATE).sends(&List::of(&sent, Some(receiver.address())));
        let took = start.elapsed();
        assert!(took >= ideal.mul_f64(0.8), "{took:?} of {ideal:?}");
        assert!(took < ideal + PATIENCE / 2, "{took:?} of {ideal:?}");
        from.end(receiver.address());
        assert_came(&receiver.arrivals(), &sent);
    }
}

/// A run isn't let through whole because it would make a good train.
#[test]
fn a_limited_sender_sends_little_at_once_and_says_when_it_may_not() {
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        // 100 datagrams a second.
        let sender = Sender::with(&from, 0, 100_000);
        let sent: Vec<Vec<u8>> = (0..50).map(|number| numbered(number, 1000)).collect();
        let list = List::of(&sent, Some(receiver.address()));
        let (result, done) = sender.send(&list, 0);
        assert!(result == Ok(done) && (1..10).contains(&done), "{result:?}, {done} at once");
        assert_eq!(sender.send(&list[done..], 0), (Err(EAGAIN), 0));
        let (result, more) = sender.send(&list[done..], 40);
        assert!(result == Err(ETIMEDOUT) && more < 40, "{result:?}, {more} in 40 ms");
        from.end(receiver.address());
        assert_came(&receiver.arrivals(), &sent[..done + more]);
    }
}
