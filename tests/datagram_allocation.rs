//! Sending and receiving in batches allocates nothing: all of it was allocated with the handle.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use castio::ffi::datagram_receive::{castio_receive_copies, castio_receive_datagrams};
use castio::ffi::datagram_send::CASTIO_SENDER_NO_SEGMENTATION;
use castio::sys::sockaddr;
use support::allocations::{Counting, allocations};
use support::datagrams::*;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(SocketAddr::from(([127, 0, 0, 1], 1))))).1, 1);
}

#[test]
fn sending_allocates_nothing() {
    for at in loopbacks() {
        let (receiver, from) = (Socket::bound(at), Socket::bound(at));
        let to = Some(receiver.address());
        let same: Vec<Vec<u8>> = (0..30).map(|number| numbered(number, 1200)).collect();
        let mixed: Vec<Vec<u8>> = (0..30).map(|number| numbered(number, 40 * number)).collect();
        let mut refused = List::of(&same, to);
        refused.add(&[b"from nowhere"], to).iovcnt = -1;
        for flags in [0, CASTIO_SENDER_NO_SEGMENTATION] {
            let sender = Sender::with(&from, flags, 0);
            for list in [List::of(&same, to), List::of(&mixed, to)] {
                let (sent, count) = allocations(|| sender.send(&list, PATIENCE_MS));
                assert_eq!((sent, count), ((Ok(30), 30), 0));
            }
            let (sent, count) = allocations(|| sender.send(&refused, 0));
            assert_eq!((sent, count), ((Err(libc::EINVAL), 30), 0));
            from.end(receiver.address());
            assert_came(&receiver.arrivals(), &[&same[..], &mixed, &same].concat());
        }
        let addresses = [sockaddr::to_storage(receiver.address()); 100];
        let sender = Sender::open(&from);
        let (_, by_itself) = allocations(|| sender.send_to_many(&[b"x"], &[], 0));
        let (sent, count) = allocations(|| sender.send_to_many(&[b"x"], &addresses, PATIENCE_MS));
        // The list of buffers is the test's own.
        assert_eq!((sent, count), ((Ok(100), 100), by_itself));
    }
}

/// A socket that the kernel doesn't segment on learns that while it sends.
#[test]
fn learning_allocates_nothing() {
    let at = (Ipv4Addr::LOCALHOST, 0);
    let (receiver, from) = (Socket::bound(at), Socket::bound(at));
    from.set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
    let sent: Vec<Vec<u8>> = (0..30).map(|number| numbered(number, 100)).collect();
    let (sender, list) = (Sender::open(&from), List::of(&sent, Some(receiver.address())));
    assert_eq!(allocations(|| sender.send(&list, PATIENCE_MS)), ((Ok(30), 30), 0));
    from.end(receiver.address());
    assert_came(&receiver.arrivals(), &sent);
}

#[test]
fn receiving_allocates_nothing() {
    for at in loopbacks() {
        for options in [OPTIONS, COALESCE] {
            let (socket, from) = (Socket::bound(at), Socket::bound(at));
            let receiver = Receiver::open(&socket, options);
            let sent: Vec<Vec<u8>> = (0..60).map(|number| numbered(number, 100 + number / 40)).collect();
            Sender::open(&from).sends(&List::of(&sent, Some(socket.address())));
            let mut views = [empty_view(); 20];
            let (at, count) = (views.as_mut_ptr(), views.len());
            // SAFETY: a handle and an array.
            let call = || unsafe { castio_receive_datagrams(receiver.0, at, count, PATIENCE_MS) };
            assert_eq!(allocations(call), (20, 0));
            assert_eq!(payload_of(&views[19]), sent[19]);

            let mut bytes = [[0_u8; 200]; 20];
            let places =
                bytes.each_mut().map(|place| libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: 200 });
            // SAFETY: a handle and two arrays.
            let call = || unsafe { castio_receive_copies(receiver.0, places.as_ptr(), at, count, PATIENCE_MS) };
            assert_eq!(allocations(call), (20, 0));
            assert_eq!(bytes[19][..views[19].len], sent[39]);
        }
    }
}
