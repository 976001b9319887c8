//! Gathering and scattering, on every kind of descriptor.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use castio::ffi::vectored::*;
use libc::{EAGAIN, ECONNRESET, EFAULT, EINVAL, EMSGSIZE, EPIPE, ETIMEDOUT, iovec};
use support::descriptors::*;

const FOR_EVER: i32 = -1;
const LONG: i32 = 20_000;
const IOV_MAX: usize = 1024;
/// More than any of the pairs holds unread.
const TOO_MUCH: usize = 24 << 20;

/// The result, and what `done` says.
fn writev_all(fd: &OwnedFd, list: &[iovec], timeout_ms: i32) -> (isize, usize) {
    let (mut done, count) = (usize::MAX, list.len() as i32);
    // SAFETY: a valid array.
    let result = unsafe { castio_writev_all(fd.as_raw_fd(), list.as_ptr(), count, timeout_ms, &raw mut done) };
    (result, done)
}

fn readv_all(fd: &OwnedFd, list: &[iovec], timeout_ms: i32) -> (isize, usize) {
    let (mut done, count) = (usize::MAX, list.len() as i32);
    // SAFETY: a valid array.
    let result = unsafe { castio_readv_all(fd.as_raw_fd(), list.as_ptr(), count, timeout_ms, &raw mut done) };
    (result, done)
}

fn write_all(fd: &OwnedFd, bytes: &[u8], timeout_ms: i32) -> (isize, usize) {
    let (mut done, at) = (usize::MAX, bytes.as_ptr().cast());
    // SAFETY: the bytes are readable.
    let result = unsafe { castio_write_all(fd.as_raw_fd(), at, bytes.len(), timeout_ms, &raw mut done) };
    (result, done)
}

fn read_all(fd: &OwnedFd, bytes: &mut [u8], timeout_ms: i32) -> (isize, usize) {
    let (mut done, at) = (usize::MAX, bytes.as_mut_ptr().cast());
    // SAFETY: the bytes are writable.
    let result = unsafe { castio_read_all(fd.as_raw_fd(), at, bytes.len(), timeout_ms, &raw mut done) };
    (result, done)
}

fn all(bytes: &[u8]) -> (isize, usize) {
    (bytes.len() as isize, bytes.len())
}

fn as_numbers(list: &[iovec]) -> Vec<(usize, usize)> {
    list.iter().map(|entry| (entry.iov_base as usize, entry.iov_len)).collect()
}

/// 100,000 buffers of up to 3 bytes, many of them empty.
fn hundred_thousand(bytes: &mut [u8]) -> Vec<iovec> {
    let mut random = Random(7);
    let mut rest = bytes;
    let mut list = Vec::new();
    for _ in 0..99_999 {
        let (first, behind) = rest.split_at_mut(random.below(4));
        list.push(room(first));
        rest = behind;
    }
    list.push(room(rest));
    list
}

#[test]
fn a_gathered_list_arrives_in_order_on_every_kind_of_descriptor() {
    for pair in pairs(&EVERY_KIND) {
        for timeout in [FOR_EVER, LONG, 0] {
            let before = state(&pair.writer);
            let list = [buffer(b"one "), buffer(b""), buffer(b"two "), buffer(b"three")];
            assert_eq!(writev_all(&pair.writer, &list, timeout), (13, 13), "{:?}, {timeout}", pair.kind);
            assert_eq!(take_exact(&pair.reader, 13), b"one two three", "{:?}", pair.kind);
            assert_eq!(state(&pair.writer), before, "{:?}", pair.kind);
        }
    }
}

#[test]
fn a_scattered_list_is_filled_in_order_on_every_kind_of_descriptor() {
    for pair in pairs(&EVERY_KIND) {
        for timeout in [FOR_EVER, LONG] {
            put(&pair.writer, b"one two three");
            let before = state(&pair.reader);
            let (mut one, mut rest) = ([0; 4], [0; 9]);
            let list = [room(&mut one), room(&mut []), room(&mut rest)];
            assert_eq!(readv_all(&pair.reader, &list, timeout), (13, 13), "{:?}, {timeout}", pair.kind);
            assert_eq!((&one, &rest), (b"one ", b"two three"), "{:?}", pair.kind);
            assert_eq!(state(&pair.reader), before, "{:?}", pair.kind);
        }
    }
}

#[test]
fn a_hundred_thousand_buffers_arrive_byte_for_byte() {
    for pair in pairs(&STREAMS).chain([pair(File)]) {
        let mut bytes = pattern(160_000);
        let expected = bytes.clone();
        let list = hundred_thousand(&mut bytes);
        let before = as_numbers(&list);
        let reader = pair.reader;
        if pair.kind == File {
            assert_eq!(writev_all(&pair.writer, &list, LONG), all(&expected));
            assert!(take_exact(&reader, 160_000) == expected);
        } else {
            let peer = thread::spawn(move || take_exact(&reader, 160_000));
            assert_eq!(writev_all(&pair.writer, &list, LONG), all(&expected), "{:?}", pair.kind);
            assert!(peer.join().unwrap() == expected, "{:?}", pair.kind);
        }
        assert_eq!(as_numbers(&list), before);
    }
}

#[test]
fn a_hundred_thousand_buffers_are_filled_byte_for_byte() {
    for Pair { kind, writer, reader } in pairs(&STREAMS) {
        let expected = pattern(160_000);
        let mut bytes = vec![0; 160_000];
        let list = hundred_thousand(&mut bytes);
        let before = as_numbers(&list);
        let sent = expected.clone();
        let peer = thread::spawn(move || {
            for piece in sent.chunks(1_000) {
                put(&writer, piece);
            }
            writer
        });
        assert_eq!(readv_all(&reader, &list, FOR_EVER), all(&expected), "{kind:?}");
        assert_eq!(as_numbers(&list), before);
        assert!(bytes == expected, "{kind:?}");
        drop(peer.join().unwrap());
    }
}

#[test]
fn a_message_is_never_cut_in_two() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        let bytes = pattern(IOV_MAX + 1);
        let list: Vec<iovec> = bytes.chunks(1).map(buffer).collect();
        assert_eq!(writev_all(&writer, &list, FOR_EVER), (-EMSGSIZE as isize, 0), "{kind:?}");
        assert!(is_empty(&reader), "{kind:?}");
        assert_eq!(writev_all(&writer, &list[..IOV_MAX], FOR_EVER), (1024, 1024), "{kind:?}");

        let mut room_for_it = vec![0; IOV_MAX + 1];
        let rooms: Vec<iovec> = room_for_it.chunks_mut(1).map(room).collect();
        assert_eq!(readv_all(&reader, &rooms, FOR_EVER), (-EMSGSIZE as isize, 0), "{kind:?}");
        assert_eq!(readv_all(&reader, &rooms[..IOV_MAX], FOR_EVER), (1024, 1024), "{kind:?}: it is still there");
        assert_eq!(room_for_it[..IOV_MAX], bytes[..IOV_MAX], "{kind:?}");
    }
}

#[test]
fn a_message_that_is_too_long_isnt_sent() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        let bytes = pattern(9 << 20);
        for timeout in [FOR_EVER, LONG, 0] {
            assert_eq!(write_all(&writer, &bytes, timeout), (-EMSGSIZE as isize, 0), "{kind:?}");
        }
        assert!(is_empty(&reader), "{kind:?}");
    }
}

#[test]
fn a_slow_reader_gets_everything_and_the_array_stays_as_it_was() {
    for Pair { kind, writer, reader } in pairs(&STREAMS) {
        for (nonblocking, timeout) in [(false, FOR_EVER), (true, FOR_EVER), (false, LONG), (true, LONG)] {
            fill_up_and_empty(&writer, &reader);
            set_nonblocking(&writer, nonblocking);
            let bytes = pattern(400_000);
            let list: Vec<iovec> = bytes.chunks(777).map(buffer).collect();
            let (before, numbers) = (state(&writer), as_numbers(&list));
            let peer = reader.try_clone().unwrap();
            let peer = thread::spawn(move || {
                let (mut random, mut got) = (Random(3), Vec::new());
                while got.len() < 400_000 {
                    got.extend(take(&peer, (1 + random.below(9_000)).min(400_000 - got.len())));
                }
                got
            });
            assert_eq!(writev_all(&writer, &list, timeout), all(&bytes), "{kind:?} {nonblocking} {timeout}");
            assert!(peer.join().unwrap() == bytes, "{kind:?} {nonblocking} {timeout}");
            assert_eq!((state(&writer), as_numbers(&list)), (before, numbers), "{kind:?}");
        }
    }
}

/// Buffers that the kernel grows have grown: what follows has to wait.
fn fill_up_and_empty(writer: &OwnedFd, reader: &OwnedFd) {
    let filled = fill(writer);
    assert_eq!(take_exact(reader, filled).len(), filled);
}

static STRIKES: AtomicUsize = AtomicUsize::new(0);

extern "C" fn strike(_: libc::c_int) {
    STRIKES.fetch_add(1, Ordering::Relaxed);
}

/// Runs a call while signals with a handler, and without SA_RESTART, hit its thread.
fn in_a_storm<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: all zero is a sigaction without flags; the handler touches an atomic alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = strike as *const () as usize;
        check(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()));
    }
    // SAFETY: asks for this thread.
    let target = unsafe { libc::pthread_self() };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // SAFETY: the thread outlives this one.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                thread::yield_now();
            }
        });
        let result = call();
        over.store(true, Ordering::Relaxed);
        result
    })
}

/// Makes sure that a signal strikes between two steps of the other end.
fn wait_for_a_strike() {
    let before = STRIKES.load(Ordering::Relaxed);
    until("a signal strikes", || STRIKES.load(Ordering::Relaxed) > before);
}

#[test]
fn signals_neither_end_a_write_nor_lose_a_byte() {
    for timeout in [FOR_EVER, LONG] {
        for Pair { kind, writer, reader } in pairs(&[Tcp4, UnixStream, Pipe, Fifo, Terminal]) {
            let len = if kind == Terminal { 200_000 } else { 8 << 20 };
            let bytes = pattern(len);
            fill_up_and_empty(&writer, &reader);
            let peer = thread::spawn(move || {
                let mut got = Vec::new();
                while got.len() < len {
                    wait_for_a_strike();
                    got.extend(take_exact(&reader, (len / 40).min(len - got.len())));
                }
                got
            });
            assert_eq!(in_a_storm(|| write_all(&writer, &bytes, timeout)), all(&bytes), "{kind:?} {timeout}");
            // What is still on its way needs strikes too.
            let got = in_a_storm(|| peer.join().unwrap());
            assert!(got == bytes, "{kind:?} {timeout}");
        }
    }
}

#[test]
fn signals_neither_end_a_read_nor_lose_a_byte() {
    for timeout in [FOR_EVER, LONG] {
        for Pair { kind, writer, reader } in pairs(&[Tcp4, UnixStream, Pipe, Fifo, Terminal]) {
            let bytes = pattern(40_000);
            let sent = bytes.clone();
            let peer = thread::spawn(move || {
                for piece in sent.chunks(1_000) {
                    wait_for_a_strike();
                    put(&writer, piece);
                }
                writer
            });
            let mut got = vec![0; bytes.len()];
            assert_eq!(in_a_storm(|| read_all(&reader, &mut got, timeout)), all(&bytes), "{kind:?} {timeout}");
            assert!(got == bytes, "{kind:?} {timeout}");
            drop(peer.join().unwrap());
        }
    }
}

#[test]
fn a_write_that_runs_out_of_time_says_exactly_how_far_it_came() {
    for (timeout, code) in [(0, EAGAIN), (50, ETIMEDOUT)] {
        for Pair { kind, writer, reader } in pairs(&STREAMS) {
            let bytes = pattern(TOO_MUCH);
            let list: Vec<iovec> = bytes.chunks(10_007).map(buffer).collect();
            let before = state(&writer);
            let (result, done) = writev_all(&writer, &list, timeout);
            assert_eq!((result, errno()), (-code as isize, code), "{kind:?} {timeout}");
            assert!(done > 0 && done < TOO_MUCH, "{kind:?}: {done}");
            assert_eq!(state(&writer), before, "{kind:?}");
            assert!(take_exact(&reader, done) == bytes[..done], "{kind:?} {timeout}");
            assert_nothing_more(kind, writer, &reader);
        }
    }
}

/// Closes the writer and looks whether the end comes next.
fn assert_nothing_more(kind: Kind, writer: OwnedFd, reader: &OwnedFd) {
    if kind.is_terminal() {
        // Its end is an error.
        assert!(is_empty(reader), "{kind:?}");
    } else {
        drop(writer);
        assert_eq!(take(reader, 100), b"", "{kind:?}");
    }
}

#[test]
fn a_trickle_doesnt_put_the_deadline_off() {
    let Pair { writer, reader, .. } = pair(UnixStream);
    let bytes = pattern(TOO_MUCH * 4);
    let start = Instant::now();
    let over = AtomicBool::new(false);
    let (result, done) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                take(&reader, 30_000);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let result = write_all(&writer, &bytes, 300);
        over.store(true, Ordering::Relaxed);
        result
    });
    assert_eq!(result, -ETIMEDOUT as isize);
    assert!(done > 0);
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < PATIENCE / 2);
}

#[test]
fn a_read_that_runs_out_of_time_leaves_in_the_buffers_what_came() {
    for (timeout, code) in [(0, EAGAIN), (50, ETIMEDOUT)] {
        for Pair { kind, writer, reader } in pairs(&STREAMS) {
            let mut bytes = [b'.'; 8];
            assert_eq!(read_all(&reader, &mut bytes, timeout), (-code as isize, 0), "{kind:?} {timeout}");
            put(&writer, b"half");
            wait_for(&reader, libc::POLLIN);
            assert_eq!(read_all(&reader, &mut bytes, timeout), (-code as isize, 4), "{kind:?} {timeout}");
            assert_eq!(&bytes, b"half....", "{kind:?}");
            assert!(is_empty(&reader), "{kind:?}");
        }
    }
}

#[test]
fn a_peer_that_closes_half_way_ends_the_write_with_the_count() {
    for timeout in [FOR_EVER, LONG] {
        for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6, UnixStream, Pipe, Fifo]) {
            let peer = thread::spawn(move || drop((take_exact(&reader, 300_000), reader)));
            let (result, done) = write_all(&writer, &pattern(TOO_MUCH), timeout);
            peer.join().unwrap();
            assert!([EPIPE, ECONNRESET].contains(&-(result as i32)), "{kind:?} {timeout}: {result}");
            assert!((300_000..TOO_MUCH).contains(&done), "{kind:?} {timeout}: {done}");
        }
    }
}

#[test]
fn the_end_of_file_makes_a_read_short() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6, UnixStream, Pipe, Fifo, File]) {
        put(&writer, b"all there is");
        drop(writer);
        let mut bytes = [b'.'; 20];
        let (head, tail) = bytes.split_at_mut(5);
        let list = [room(head), room(tail)];
        assert_eq!(readv_all(&reader, &list, FOR_EVER), (12, 12), "{kind:?}");
        assert_eq!(&bytes, b"all there is........", "{kind:?}");
        assert_eq!(readv_all(&reader, &[room(&mut [0; 4])], LONG), (0, 0), "{kind:?}");
    }
}

#[test]
fn one_message_is_taken_and_one_that_is_cut_is_told() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        for message in ["longer than the room", "short", "next"] {
            put(&writer, message.as_bytes());
        }
        let mut bytes = [0; 10];
        assert_eq!(read_all(&reader, &mut bytes, FOR_EVER), (-EMSGSIZE as isize, 10), "{kind:?}");
        assert_eq!(&bytes, b"longer tha", "{kind:?}");
        assert_eq!(read_all(&reader, &mut bytes, FOR_EVER), (5, 5), "{kind:?}");
        assert_eq!(&bytes[..5], b"short", "{kind:?}");
        assert_eq!(read_all(&reader, &mut bytes, LONG), (4, 4), "{kind:?}");
        assert!(is_empty(&reader));
    }
}

#[test]
fn nothing_at_all_is_an_empty_message_or_nothing() {
    for pair in pairs(&EVERY_KIND) {
        let is_message = MESSAGE_SOCKETS.contains(&pair.kind);
        for list in [&[][..], &[buffer(b""), buffer(b"")]] {
            assert_eq!(writev_all(&pair.writer, list, FOR_EVER), (0, 0), "{:?}", pair.kind);
            if is_message {
                assert_eq!(take(&pair.reader, 10), b"", "{:?}", pair.kind);
            }
            assert!(pair.kind == File || is_empty(&pair.reader), "{:?}", pair.kind);
            // Reading nothing takes nothing, and doesn't wait.
            assert_eq!(readv_all(&pair.reader, list, FOR_EVER), (0, 0), "{:?}", pair.kind);
        }
        assert_eq!(write_all(&pair.writer, b"x", FOR_EVER), (1, 1));
        assert_eq!(take(&pair.reader, 10), b"x", "{:?}", pair.kind);
    }
}

#[test]
fn lengths_that_overflow_send_nothing() {
    const MOST: usize = isize::MAX as usize;
    for pair in pairs(&EVERY_KIND) {
        for lengths in [&[1, MOST][..], &[MOST, MOST, 2], &[usize::MAX], &[usize::MAX, 1], &[5, usize::MAX - 3]] {
            let bytes = b"12345";
            let list: Vec<iovec> = lengths.iter().map(|&iov_len| iovec { iov_len, ..buffer(bytes) }).collect();
            assert_eq!(writev_all(&pair.writer, &list, FOR_EVER), (-EINVAL as isize, 0), "{:?}", pair.kind);
            assert_eq!(readv_all(&pair.reader, &list, FOR_EVER), (-EINVAL as isize, 0), "{:?}", pair.kind);
        }
        assert!(pair.kind == File || is_empty(&pair.reader), "{:?}", pair.kind);
    }
}

#[test]
fn a_bad_buffer_in_the_middle_stops_a_write_where_done_says() {
    for Pair { kind, writer, reader } in pairs(&EVERY_KIND) {
        let bytes = pattern(3_000);
        let list = [buffer(&bytes), nowhere(100), buffer(&bytes)];
        let (result, done) = writev_all(&writer, &list, LONG);
        assert_eq!(result, -EFAULT as isize, "{kind:?}");
        if MESSAGE_SOCKETS.contains(&kind) {
            assert_eq!(done, 0, "{kind:?}");
            assert!(is_empty(&reader), "{kind:?}");
        } else {
            assert!(done <= bytes.len(), "{kind:?}: {done}");
            assert_eq!(take_exact(&reader, done), bytes[..done], "{kind:?}");
            assert_nothing_more(kind, writer, &reader);
        }
    }
}

#[test]
fn a_bad_buffer_in_the_middle_loses_nothing_that_wasnt_read() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6, UnixStream, Pipe, Fifo, File]) {
        let bytes = pattern(3_000);
        put(&writer, &bytes);
        let mut head = [0; 1_000];
        let (result, done) = readv_all(&reader, &[room(&mut head), nowhere(1_000)], LONG);
        assert_eq!(result, -EFAULT as isize, "{kind:?}");
        assert!(done <= head.len(), "{kind:?}: {done}");
        assert_eq!(head[..done], bytes[..done], "{kind:?}");
        assert_eq!(take_exact(&reader, bytes.len() - done), bytes[done..], "{kind:?}");
    }
}

#[test]
fn the_callers_own_time_limits_on_the_socket_dont_cut_a_call_short() {
    let a_little = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        set_option(&writer, libc::SOL_SOCKET, libc::SO_SNDTIMEO, a_little);
        set_option(&reader, libc::SOL_SOCKET, libc::SO_RCVTIMEO, a_little);
        let before = (state(&writer), state(&reader));
        let bytes = pattern(TOO_MUCH);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Both limits have to pass.
                thread::sleep(Duration::from_millis(100));
                let mut got = vec![0; TOO_MUCH + 1];
                assert_eq!(read_all(&reader, &mut got, FOR_EVER), (TOO_MUCH as isize + 1, TOO_MUCH + 1), "{kind:?}");
                assert!(got[..TOO_MUCH] == bytes, "{kind:?}");
            });
            assert_eq!(write_all(&writer, &bytes, FOR_EVER), all(&bytes), "{kind:?}");
            thread::sleep(Duration::from_millis(100));
            put(&writer, b"!");
        });
        assert_eq!((state(&writer), state(&reader)), before, "{kind:?}");
    }
}
