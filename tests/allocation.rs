//! No heap allocation where a program spends its time.

mod support;

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::thread;

use castio::ffi::explain::castio_explain;
use castio::ffi::multicast::membership_addr::{castio_join_group_addr, castio_leave_group_addr};
use castio::ffi::nowait::*;
use castio::ffi::peek::*;
use castio::ffi::urgent::*;
use castio::ffi::vectored::*;
use libc::iovec;
use support::allocations::{Counting, allocations};
use support::descriptors::*;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a call gives, and that it allocated nothing.
#[track_caller]
fn without_allocating<T>(call: impl FnOnce() -> T) -> T {
    let (result, count) = allocations(call);
    assert_eq!(count, 0, "heap allocations");
    result
}

fn parts(bytes: &mut [u8], count: usize) -> Vec<iovec> {
    bytes.chunks_mut(bytes.len() / count).map(room).collect()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(4711)))).1, 1);
}

#[test]
fn gathering_and_scattering() {
    for count in [1, 16, 1024, 100_000] {
        for pair in pairs(&STREAMS) {
            let mut bytes = pattern(count * 2);
            let expected = bytes.clone();
            let list = parts(&mut bytes, count);
            let (list, count) = (list.as_ptr(), list.len() as i32);
            for timeout in [-1, 20_000] {
                let Pair { kind, writer, reader } = &pair;
                thread::scope(|scope| {
                    let peer = scope.spawn(|| take_exact(reader, expected.len()));
                    // SAFETY: a valid array.
                    let sent = without_allocating(|| unsafe {
                        castio_writev_all(writer.as_raw_fd(), list, count, timeout, ptr::null_mut())
                    });
                    assert_eq!(sent, expected.len() as isize, "{kind:?} {count}");
                    assert!(peer.join().unwrap() == expected, "{kind:?} {count}");

                    scope.spawn(|| put(writer, &expected));
                    // SAFETY: a valid array.
                    let got = without_allocating(|| unsafe {
                        castio_readv_all(reader.as_raw_fd(), list, count, timeout, ptr::null_mut())
                    });
                    assert_eq!(got, expected.len() as isize, "{kind:?} {count}");
                });
                // SAFETY: the list's memory is `bytes`, which nobody else uses.
                assert!(
                    unsafe { std::slice::from_raw_parts((*list).iov_base.cast::<u8>(), expected.len()) } == expected
                );
            }
        }
    }
}

#[test]
fn transfers_that_never_block_and_looking() {
    for Pair { kind, writer, reader } in pairs(&EVERY_KIND) {
        let mut byte = [0u8; 1];
        let (list, into) = (buffer(b"b"), room(&mut byte));
        // SAFETY: the bytes are readable and writable.
        let sent = without_allocating(|| unsafe {
            castio_send_nowait(writer.as_raw_fd(), b"a".as_ptr().cast(), 1)
                + castio_writev_nowait(writer.as_raw_fd(), &raw const list, 1)
        });
        assert_eq!(sent, 2, "{kind:?}");
        let two = if MESSAGE_SOCKETS.contains(&kind) { 1 } else { 2 };
        until("it is there", || {
            // SAFETY: takes no pointer.
            let found = without_allocating(|| unsafe { castio_peek_available(reader.as_raw_fd()) });
            found == two
        });
        // SAFETY: there is room.
        let got = without_allocating(|| unsafe {
            castio_recv_nowait(reader.as_raw_fd(), into.iov_base, 1)
                + castio_readv_nowait(reader.as_raw_fd(), &raw const into, 1)
        });
        assert_eq!((got, byte), (2, *b"b"), "{kind:?}");
        // Nothing there: the error allocates as little.
        // SAFETY: there is room.
        let nothing = without_allocating(|| unsafe { castio_recv_nowait(reader.as_raw_fd(), into.iov_base, 1) });
        assert_eq!(nothing, if kind == File { 0 } else { -libc::EAGAIN as isize }, "{kind:?}");
    }
}

#[test]
fn waiting_for_a_header() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        put(&writer, b"head");
        let mut header = [0u8; 6];
        let found = thread::scope(|scope| {
            scope.spawn(|| put(&writer, b"er"));
            // SAFETY: there is room.
            without_allocating(|| unsafe { castio_peek_all(reader.as_raw_fd(), header.as_mut_ptr().cast(), 6, 20_000) })
        });
        assert_eq!((found, &header), (6, b"header"), "{kind:?}");
    }
}

#[test]
fn urgent_data() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        // SAFETY: the bytes are readable.
        let sent = without_allocating(|| unsafe {
            castio_send_oob(writer.as_raw_fd(), b"data!".as_ptr().cast(), 5, -1, ptr::null_mut())
        });
        assert_eq!(sent, 5, "{kind:?}");
        // SAFETY: takes no pointer.
        let byte = without_allocating(|| unsafe {
            assert_eq!(castio_wait_oob(reader.as_raw_fd(), 20_000), 0);
            castio_recv_oob(reader.as_raw_fd())
        });
        assert_eq!(byte, i32::from(b'!'), "{kind:?}");
        assert_eq!(take(&reader, 10), b"data", "{kind:?}");
    }
}

#[test]
fn explaining_an_error() {
    let mut text = [0; 512];
    for (code, call) in [(libc::EADDRNOTAVAIL, Some(c"leave_group")), (4711, Some(c"castio_version")), (1, None)] {
        let call = call.map_or(ptr::null(), |call| call.as_ptr());
        // SAFETY: text that ends in a NUL, and there is room.
        assert!(without_allocating(|| unsafe { castio_explain(code, call, text.as_mut_ptr(), text.len()) }) > 0);
    }
}

#[test]
fn joining_and_leaving() {
    let socket = OwnedFd::from(std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    // SAFETY: the name ends in a NUL.
    let loopback = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    // SAFETY: all zero is an address.
    let mut group: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    group.sin_family = libc::AF_INET as libc::sa_family_t;
    group.sin_addr.s_addr = Ipv4Addr::new(239, 1, 2, 3).to_bits().to_be();
    let (at, len) = ((&raw const group).cast(), size_of_val(&group) as libc::socklen_t);
    for _ in 0..3 {
        // SAFETY: a valid address.
        let results = without_allocating(|| unsafe {
            let joined = castio_join_group_addr(socket.as_raw_fd(), at, len, loopback);
            let again = castio_join_group_addr(socket.as_raw_fd(), at, len, loopback);
            (joined, again, castio_leave_group_addr(socket.as_raw_fd(), at, len, loopback))
        });
        assert_eq!(results, (0, -libc::EADDRINUSE, 0));
    }
}
