//! Sockets as `FILE *`: both directions by themselves, nothing lost in any order.

mod support;

use std::ffi::c_int;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::thread;

use castio::ffi::stdio::castio_fdopen;
use libc::{EAGAIN, EBADF, ECONNRESET, EFAULT, ENOTSOCK, EPIPE, EPROTOTYPE, ETIMEDOUT, FILE};
use support::descriptors::*;
use support::streams::*;

const FOR_EVER: i32 = -1;
const LONG: i32 = 20_000;

fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

#[test]
fn text_goes_both_ways() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, FOR_EVER);
        streams.print(c"hello");
        assert!(is_empty(&peer), "{kind:?}: fully buffered");
        assert_eq!(streams.flush(), 0);
        assert_eq!(take(&peer, 100), b"hello, 4711\n", "{kind:?}");

        put(&peer, b"one\ntwo\nthree and four");
        drop(peer);
        assert_eq!(streams.line().as_deref(), Some("one\n"), "{kind:?}");
        assert_eq!(streams.long_line().as_deref(), Some(&b"two\n"[..]), "{kind:?}");
        assert_eq!(streams.read(6), b"three ", "{kind:?}");
        assert_eq!(streams.line().as_deref(), Some("and four"), "{kind:?}");
        assert_eq!(streams.line(), None, "{kind:?}");
        assert!(!has_error(streams.input), "{kind:?}: the end is no error");
        // SAFETY: open streams.
        unsafe { assert_eq!((libc::fileno(streams.input), libc::fileno(streams.output)), (-1, -1)) };
        streams.close();
    }
}

#[test]
fn closing_the_output_ends_one_direction_alone() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, FOR_EVER);
        streams.print(c"the request");
        assert_eq!(streams.close_output(), 0, "{kind:?}");
        assert_eq!(take_exact(&peer, 1_000), b"the request, 4711\n", "{kind:?}: and then the end");

        put(&peer, b"the answer\n");
        assert_eq!(streams.line().as_deref(), Some("the answer\n"), "{kind:?}");
        put(&peer, b"and more\n");
        assert_eq!(streams.line().as_deref(), Some("and more\n"), "{kind:?}");
        assert_eq!(streams.close_input(), 0, "{kind:?}");
    }
}

#[test]
fn the_descriptor_is_closed_with_the_second_stream_whichever_it_is() {
    for output_first in [true, false] {
        // By itself: no other thread may get the same number meanwhile.
        for Pair { kind, writer: own, reader: peer } in pairs(&[UnixStream, Tcp4]) {
            let status = in_child(|| {
                let fd = own.as_raw_fd();
                let (mut input, mut output) = (ptr::null_mut(), ptr::null_mut());
                // SAFETY: the child's own descriptor.
                if unsafe { castio_fdopen(fd, FOR_EVER, &raw mut input, &raw mut output) } != 0 {
                    return 1;
                }
                let streams = Streams { input, output };
                let (first, open_between, second) = if output_first {
                    (streams.close_output(), is_open(fd), streams.close_input())
                } else {
                    (streams.close_input(), is_open(fd), streams.close_output())
                };
                match (first, open_between, second, is_open(fd)) {
                    (0, true, 0, false) => 0,
                    (_, false, ..) => 2,
                    (.., true) => 3,
                    _ => 4,
                }
            });
            assert_eq!(libc::WEXITSTATUS(status), 0, "{kind:?}, output first: {output_first}");
            drop(own);
            assert_eq!(take(&peer, 10), b"", "{kind:?}: the peer sees the end");
        }
    }
}

#[test]
fn closing_the_input_first_leaves_the_output_working() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, FOR_EVER);
        assert_eq!(streams.close_input(), 0);
        streams.print(c"still there");
        assert_eq!(streams.flush(), 0, "{kind:?}");
        assert_eq!(take(&peer, 100), b"still there, 4711\n", "{kind:?}");
        streams.print(c"to the last");
        assert_eq!(streams.close_output(), 0, "{kind:?}");
        assert_eq!(take_exact(&peer, 1_000), b"to the last, 4711\n", "{kind:?}");
    }
}

#[test]
fn what_is_refused_stays_the_callers() {
    let nobody = ptr::without_provenance_mut::<FILE>(16);
    let (mut input, mut output) = (nobody, nobody);
    for kind in [UnixDatagram, SeqPacket, Udp4, Pipe, File] {
        let Pair { writer, reader, .. } = pair(kind);
        let code = if kind.is_socket() { EPROTOTYPE } else { ENOTSOCK };
        // SAFETY: there is room for two streams.
        let result = unsafe { castio_fdopen(writer.as_raw_fd(), FOR_EVER, &raw mut input, &raw mut output) };
        assert_eq!((result, errno()), (-code, code), "{kind:?}");
        put(&writer, b"still works");
        assert_eq!(take(&reader, 100), b"still works", "{kind:?}");
    }
    let Pair { writer, reader, .. } = pair(UnixStream);
    // SAFETY: NULL and -1 are checked.
    unsafe {
        assert_eq!(castio_fdopen(writer.as_raw_fd(), FOR_EVER, ptr::null_mut(), &raw mut output), -EFAULT);
        assert_eq!(castio_fdopen(writer.as_raw_fd(), FOR_EVER, &raw mut input, ptr::null_mut()), -EFAULT);
        assert_eq!(castio_fdopen(-1, FOR_EVER, &raw mut input, &raw mut output), -EBADF);
    }
    assert_eq!((input, output), (nobody, nobody), "unchanged");
    put(&writer, b"still works");
    assert_eq!(take(&reader, 100), b"still works");
}

#[test]
fn a_read_that_runs_out_of_time_can_be_made_again() {
    for (timeout, code) in [(0, EAGAIN), (50, ETIMEDOUT)] {
        for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
            let before = state(&own);
            let own_too = own.try_clone().unwrap();
            let streams = Streams::open(own, timeout);
            put(&peer, b"half a ");
            wait_for(&own_too, libc::POLLIN);
            let first = streams.long_line();
            assert_eq!((errno(), has_error(streams.input)), (code, true), "{kind:?} {timeout}");
            // getline keeps what came, or gives it at once.
            let mut line = first.unwrap_or_default();
            assert_eq!(line, b"half a ", "{kind:?} {timeout}");
            clear_error(streams.input);
            put(&peer, b"line\n");
            wait_for(&own_too, libc::POLLIN);
            line.extend(streams.long_line().unwrap());
            assert_eq!(line, b"half a line\n", "{kind:?} {timeout}");
            assert!(!has_error(streams.input));
            assert_eq!(state(&own_too), before, "{kind:?}: its mode isn't touched");
            streams.close();
        }
    }
}

#[test]
fn a_closed_peer_is_an_error_and_no_signal() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, LONG);
        if kind == UnixStream {
            drop(peer);
        } else {
            reset(peer);
        }
        // The error is in errno of the child's own thread; the default action would kill it.
        let status = in_child(|| {
            // SAFETY: the default action needs no handler.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            streams.write(b"anybody?");
            let result = streams.flush();
            // SAFETY: the location is the thread's own.
            let code = unsafe { *libc::__errno_location() };
            i32::from(result != -1 || ![EPIPE, ECONNRESET].contains(&code) || !has_error(streams.output))
        });
        assert!(libc::WIFEXITED(status), "{kind:?}: {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "{kind:?}");
        streams.close();
    }
}

#[test]
fn a_mebibyte_both_ways_at_once_in_two_threads() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let there = pattern(1 << 20);
        let back: Vec<u8> = there.iter().rev().copied().collect();
        let streams = Streams::open(own, LONG);
        thread::scope(|scope| {
            scope.spawn(|| {
                for piece in there.chunks(7_001) {
                    assert_eq!(streams.write(piece), piece.len(), "{kind:?}");
                }
                assert_eq!(streams.close_output(), 0, "{kind:?}");
            });
            let peer_reads = scope.spawn(|| take_exact(&peer, (1 << 20) + 1));
            scope.spawn(|| back.chunks(4_099).for_each(|piece| put(&peer, piece)));
            assert!(streams.read(1 << 20) == back, "{kind:?}");
            assert!(peer_reads.join().unwrap() == there, "{kind:?}");
        });
        assert_eq!(streams.close_input(), 0);
    }
}

#[test]
fn no_order_of_reads_and_writes_loses_a_reply() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        if kind != UnixStream {
            // Small pieces in turns would wait for acknowledgements.
            for end in [&own, &peer] {
                set_option(end, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
            }
        }
        let streams = Streams::open(own, LONG);
        let mut random = Random(23);
        let (mut to_read, mut asked) = (0, 0);
        for round in 0..2_000 {
            match random.below(3) {
                // More arrives than is read: stdio holds the rest.
                0 if to_read < 500 => {
                    put(&peer, format!("question {}\nand its twin\n", asked).as_bytes());
                    to_read += 2;
                    asked += 1;
                }
                1 if to_read > 0 => {
                    let line = streams.line().unwrap();
                    let expected = asked - to_read / 2 - to_read % 2;
                    if to_read % 2 == 0 {
                        assert_eq!(line, format!("question {expected}\n"), "{kind:?} {round}");
                    } else {
                        assert_eq!(line, "and its twin\n", "{kind:?} {round}");
                    }
                    to_read -= 1;
                }
                _ => {
                    let reply = format!("reply {round}\n");
                    assert_eq!(streams.write(reply.as_bytes()), reply.len());
                    assert_eq!(streams.flush(), 0, "{kind:?} {round}");
                    assert_eq!(take(&peer, 100), reply.as_bytes(), "{kind:?} {round}");
                }
            }
        }
        streams.close();
    }
}

#[test]
fn a_non_blocking_socket_is_waited_for_all_the_same() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        set_nonblocking(&own, true);
        let own_too = own.try_clone().unwrap();
        let streams = Streams::open(own, FOR_EVER);
        let bytes = pattern(8 << 20);
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(take_exact(&peer, 8 << 20) == bytes, "{kind:?}");
                put(&peer, b"got ");
                until("the reader waits", || is_empty(&own_too));
                put(&peer, b"it\n");
            });
            assert_eq!(streams.write(&bytes), bytes.len(), "{kind:?}");
            assert_eq!(streams.flush(), 0, "{kind:?}");
            assert_eq!(streams.line().as_deref(), Some("got it\n"), "{kind:?}");
        });
        assert_ne!(status_flags(&own_too) as c_int & libc::O_NONBLOCK, 0, "{kind:?}");
        streams.close();
    }
}
