//! Looking at what waits: told apart, still there afterwards, and waited for without spinning.

mod support;

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use castio::ffi::peek::*;
use castio::ffi::urgent::{castio_recv_oob, castio_recv_to_mark, castio_send_oob};
use libc::{EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EINVAL, ENOBUFS, ENOTCONN, ENOTSOCK, ETIMEDOUT};
use support::descriptors::*;

const FOR_EVER: i32 = -1;
const LONG: i32 = 20_000;

/// Around every length that a probing read may have.
const LENGTHS: [usize; 14] = [1, 5, 63, 64, 65, 255, 256, 257, 1_023, 1_024, 1_025, 2_047, 2_048, 4_000];

const NOTHING: (i32, usize, i32) = (CASTIO_PEEK_NOTHING, 0, 0);
const EMPTY_MESSAGE: (i32, usize, i32) = (CASTIO_PEEK_EMPTY_MESSAGE, 0, 0);
const END: (i32, usize, i32) = (CASTIO_PEEK_END, 0, 0);

fn data(bytes: usize) -> (i32, usize, i32) {
    (CASTIO_PEEK_DATA, bytes, 0)
}

fn error(code: i32) -> (i32, usize, i32) {
    (CASTIO_PEEK_ERROR, 0, -code)
}

fn available(fd: &OwnedFd) -> isize {
    // SAFETY: takes no pointer.
    unsafe { castio_peek_available(fd.as_raw_fd()) }
}

/// State, bytes and error.
fn info(fd: &OwnedFd) -> (i32, usize, i32) {
    let mut info = castio_peek_info { struct_size: size_of::<castio_peek_info>(), available: 99, state: 99, error: 99 };
    // SAFETY: a struct that says its size.
    assert_eq!(unsafe { castio_peek_info(fd.as_raw_fd(), &raw mut info) }, 0);
    (info.state, info.available, info.error)
}

fn peek(fd: &OwnedFd, limit: usize) -> Result<Vec<u8>, isize> {
    let mut bytes = vec![0; limit];
    // SAFETY: the bytes are writable.
    let count = unsafe { castio_peek(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), limit) };
    bytes.truncate(usize::try_from(count).map_err(|_| count)?);
    Ok(bytes)
}

fn peek_all(fd: &OwnedFd, len: usize, timeout_ms: i32) -> Result<Vec<u8>, isize> {
    let mut bytes = vec![0; len];
    // SAFETY: the bytes are writable.
    let count = unsafe { castio_peek_all(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), len, timeout_ms) };
    bytes.truncate(usize::try_from(count).map_err(|_| count)?);
    Ok(bytes)
}

fn failure<T>(code: i32) -> Result<T, isize> {
    Err(-code as isize)
}

#[test]
fn what_waits_is_told_and_stays() {
    for len in LENGTHS {
        for Pair { kind, writer, reader } in pairs(&EVERY_KIND) {
            let bytes = pattern(len);
            let before = state(&reader);
            if kind != File {
                assert_eq!(available(&reader), -EAGAIN as isize, "{kind:?}");
                assert_eq!(info(&reader), NOTHING, "{kind:?}");
            }
            put(&writer, &bytes);
            until("all is there", || available(&reader) >= len as isize);
            for _ in 0..2 {
                assert_eq!(available(&reader), len as isize, "{kind:?}");
                assert_eq!(info(&reader), data(len), "{kind:?}");
                if kind.is_socket() {
                    assert_eq!(peek(&reader, 5_000).as_ref(), Ok(&bytes), "{kind:?}");
                    assert_eq!(peek(&reader, 3).unwrap(), bytes[..len.min(3)], "{kind:?}");
                }
            }
            assert_eq!(state(&reader), before, "{kind:?}");
            assert_eq!(take_exact(&reader, len), bytes, "{kind:?}");
        }
    }
}

#[test]
fn a_message_is_told_by_its_own_length_whatever_is_behind_it() {
    for len in LENGTHS {
        for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
            put(&writer, &pattern(len));
            put(&writer, &pattern(200));
            wait_for(&reader, libc::POLLIN);
            assert_eq!(available(&reader), len as isize, "{kind:?}");
            assert_eq!(info(&reader), data(len), "{kind:?}");
            assert_eq!(take(&reader, 5_000), pattern(len), "{kind:?}");
            assert_eq!(take(&reader, 5_000), pattern(200), "{kind:?}");
        }
    }
}

#[test]
fn an_empty_message_isnt_the_end() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        assert_eq!(info(&reader), NOTHING, "{kind:?}");
        // SAFETY: sends no bytes.
        check(unsafe { libc::send(writer.as_raw_fd(), std::ptr::null(), 0, 0) });
        wait_for(&reader, libc::POLLIN);
        assert_eq!(available(&reader), 0, "{kind:?}");
        assert_eq!(info(&reader), EMPTY_MESSAGE, "{kind:?}");
        assert_eq!(peek(&reader, 10), Ok(vec![]), "{kind:?}");
        assert_eq!(info(&reader), EMPTY_MESSAGE, "{kind:?}: it is still there");
        assert_eq!(take(&reader, 10), b"", "{kind:?}");
        assert_eq!(info(&reader), NOTHING, "{kind:?}");
    }
}

#[test]
fn the_end_is_told_behind_the_last_data() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6, UnixStream, SeqPacket, Pipe, Fifo]) {
        put(&writer, b"last");
        drop(writer);
        wait_for(&reader, libc::POLLIN);
        assert_eq!(info(&reader), data(4), "{kind:?}");
        assert_eq!(take(&reader, 10), b"last", "{kind:?}");
        until("the end comes", || info(&reader) != NOTHING);
        assert_eq!(info(&reader), END, "{kind:?}");
        assert_eq!(available(&reader), 0, "{kind:?}");
    }
}

#[test]
fn a_file_at_its_end_and_before_it() {
    let Pair { writer, reader, .. } = pair(File);
    assert_eq!((available(&reader), info(&reader)), (0, END));
    put(&writer, b"some");
    assert_eq!((available(&reader), info(&reader)), (4, data(4)));
}

#[test]
fn a_terminal_tells_whole_lines() {
    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    change_terminal(&slave, |settings| settings.c_lflag |= libc::ICANON);
    put(&master, b"half");
    assert_eq!(info(&slave), NOTHING);
    put(&master, b" and half\n");
    wait_for(&slave, libc::POLLIN);
    assert_eq!(info(&slave), data(14));
    assert_eq!(take(&slave, 100), b"half and half\n");
}

#[test]
fn a_refused_datagram_is_an_error_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(gone) = UdpSocket::bind(address) else {
            support::tools::skip("no IPv6 on the loopback interface");
            continue;
        };
        for look in [true, false] {
            let socket = UdpSocket::bind(address).unwrap();
            let closed = UdpSocket::bind(address).unwrap();
            socket.connect(closed.local_addr().unwrap()).unwrap();
            drop(closed);
            socket.send(b"anybody?").unwrap();
            let socket = OwnedFd::from(socket);
            wait_for(&socket, libc::POLLERR);
            if look {
                assert_eq!(info(&socket), error(ECONNREFUSED));
            } else {
                assert_eq!(available(&socket), -ECONNREFUSED as isize);
            }
            assert_eq!(info(&socket), NOTHING, "told once");
        }
        drop(gone);
    }
}

#[test]
fn a_reset_connection_is_an_error_and_then_the_end() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        reset(writer);
        wait_for(&reader, libc::POLLERR);
        assert_eq!(info(&reader), error(ECONNRESET), "{kind:?}");
        assert_eq!(info(&reader), END, "{kind:?}");
    }
}

#[test]
fn what_cant_be_looked_at_is_an_error_of_the_call() {
    let listener = OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    assert_eq!(available(&listener), -ENOTCONN as isize);
    let Pair { writer, reader, .. } = pair(Pipe);
    assert_eq!(peek(&reader, 1), failure(ENOTSOCK));
    assert_eq!(peek_all(&reader, 1, 0), failure(ENOTSOCK));
    drop(writer);
    let mut info = castio_peek_info { struct_size: 8, available: 99, state: 99, error: 99 };
    // SAFETY: a struct that says its size, too small or large enough.
    unsafe {
        assert_eq!(castio_peek_info(reader.as_raw_fd(), &raw mut info), -EINVAL);
        info.struct_size = size_of::<castio_peek_info>();
        assert_eq!(castio_peek_info(-1, &raw mut info), -EBADF);
        assert_eq!(castio_peek_info(listener.as_raw_fd(), &raw mut info), -ENOTCONN);
    }
    assert_eq!((info.available, info.state, info.error), (99, 99, 99), "unchanged");
}

/// The CPU time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    check(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) });
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_header_that_trickles_in_is_waited_for_asleep() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        for timeout in [FOR_EVER, LONG] {
            let before = state(&reader);
            let header = pattern(20);
            let found = thread::scope(|scope| {
                scope.spawn(|| {
                    for byte in header.chunks(1) {
                        put(&writer, byte);
                        // Time in which a spinning reader would burn the processor.
                        thread::sleep(Duration::from_millis(20));
                    }
                });
                let (clock, cpu) = (Instant::now(), cpu_time());
                let found = peek_all(&reader, 20, timeout);
                let (clock, cpu) = (clock.elapsed(), cpu_time() - cpu);
                assert!(clock > Duration::from_millis(350), "{kind:?}: {clock:?}");
                assert!(cpu < clock / 5, "{kind:?}: {cpu:?} of {clock:?}");
                found
            });
            assert_eq!(found.as_ref(), Ok(&header), "{kind:?}");
            assert_eq!(state(&reader), before, "{kind:?}");
            assert_eq!(take_exact(&reader, 20), header, "{kind:?}: it is still there");
        }
    }
}

#[test]
fn a_large_block_is_waited_for_whole() {
    // UNIX sockets hold what the sender's buffer allows.
    for (kind, len) in [(Tcp4, 2 << 20), (Tcp6, 2 << 20), (UnixStream, 100_000)] {
        for Pair { writer, reader, .. } in pairs(&[kind]) {
            let bytes = pattern(len);
            let found = thread::scope(|scope| {
                scope.spawn(|| bytes.chunks(10_000).for_each(|piece| put(&writer, piece)));
                peek_all(&reader, len, LONG)
            });
            assert!(found.unwrap() == bytes, "{kind:?}");
            assert!(take_exact(&reader, len) == bytes, "{kind:?}");
        }
    }
}

#[test]
fn time_that_runs_out_leaves_the_data_queued() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        let before = state(&reader);
        assert_eq!(peek_all(&reader, 10, 0), failure(EAGAIN), "{kind:?}");
        assert_eq!(peek_all(&reader, 10, 50), failure(ETIMEDOUT), "{kind:?}");
        put(&writer, b"half");
        wait_for(&reader, libc::POLLIN);
        assert_eq!(peek_all(&reader, 10, 0), failure(EAGAIN), "{kind:?}");
        assert_eq!(peek_all(&reader, 10, 50), failure(ETIMEDOUT), "{kind:?}");
        assert_eq!(state(&reader), before, "{kind:?}");
        assert_eq!(take(&reader, 10), b"half", "{kind:?}");
    }
}

#[test]
fn the_end_makes_it_short() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        put(&writer, b"half");
        let found = thread::scope(|scope| {
            scope.spawn(|| drop(writer));
            peek_all(&reader, 10, FOR_EVER)
        });
        assert_eq!(found, Ok(b"half".to_vec()), "{kind:?}");
        assert_eq!(take(&reader, 10), b"half", "{kind:?}");
        assert_eq!(peek_all(&reader, 10, FOR_EVER), Ok(vec![]), "{kind:?}");
    }
}

fn send_oob(fd: &OwnedFd, bytes: &[u8]) {
    // SAFETY: the bytes are readable.
    let sent =
        unsafe { castio_send_oob(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), LONG, std::ptr::null_mut()) };
    assert_eq!(sent, bytes.len() as isize);
}

#[test]
fn the_urgent_mark_makes_it_short() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        put(&writer, b"half");
        let found = thread::scope(|scope| {
            scope.spawn(|| send_oob(&writer, b"way!"));
            peek_all(&reader, 10, LONG)
        });
        assert_eq!(found, Ok(b"halfway".to_vec()), "{kind:?}");
        put(&writer, b" and more");
        assert_eq!(peek_all(&reader, 10, LONG), Ok(b"halfway".to_vec()), "{kind:?}");
        assert_eq!(available(&reader), 7, "{kind:?}");
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { castio_recv_oob(reader.as_raw_fd()) }, i32::from(b'!'), "{kind:?}");
        assert_eq!(peek_all(&reader, 10, LONG), Ok(b"halfway".to_vec()), "{kind:?}: the mark is still there");
    }
}

#[test]
fn an_urgent_byte_at_the_reading_position_doesnt_cut_what_comes_behind_it() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        send_oob(&writer, b"a!");
        wait_for(&reader, libc::POLLPRI);
        let (mut byte, mut at_mark) = ([0; 4], 0);
        // SAFETY: there is room.
        let count =
            unsafe { castio_recv_to_mark(reader.as_raw_fd(), byte.as_mut_ptr().cast(), 4, LONG, &raw mut at_mark) };
        assert_eq!((count, at_mark), (1, 1), "{kind:?}");
        put(&writer, b"be");
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                put(&writer, b"hind");
            });
            peek_all(&reader, 6, LONG)
        });
        assert_eq!(found, Ok(b"behind".to_vec()), "{kind:?}");
    }
}

#[test]
fn more_than_the_socket_can_hold_is_refused_at_once() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        put(&writer, b"x");
        set_option(&reader, libc::SOL_SOCKET, libc::SO_RCVBUF, 8_192);
        let before = state(&reader);
        assert_eq!(peek_all(&reader, 1 << 20, FOR_EVER), failure(ENOBUFS), "{kind:?}");
        assert_eq!(peek_all(&reader, 3 << 30, FOR_EVER), failure(ENOBUFS), "{kind:?}");
        assert_eq!(state(&reader), before, "{kind:?}");
        assert_eq!(take(&reader, 2), b"x", "{kind:?}");
    }
}

#[test]
fn a_message_is_waited_for_and_copied_as_far_as_it_fits() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        assert_eq!(peek_all(&reader, 10, 0), failure(EAGAIN), "{kind:?}");
        assert_eq!(peek_all(&reader, 10, 30), failure(ETIMEDOUT), "{kind:?}");
        let found = thread::scope(|scope| {
            scope.spawn(|| put(&writer, b"message"));
            peek_all(&reader, 10, FOR_EVER)
        });
        assert_eq!(found, Ok(b"message".to_vec()), "{kind:?}");
        assert_eq!(peek_all(&reader, 3, FOR_EVER), Ok(b"mes".to_vec()), "{kind:?}");
        assert_eq!(take(&reader, 10), b"message", "{kind:?}");
    }
}

fn low_water(fd: &OwnedFd) -> i32 {
    let (mut value, mut len) = (-1, size_of::<i32>() as libc::socklen_t);
    let at = (&raw mut value).cast();
    // SAFETY: there is room for an int.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, at, &raw mut len) });
    value
}

#[test]
fn threads_that_wait_at_once_leave_the_low_water_mark() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        put(&writer, b"0123456789");
        wait_for(&reader, libc::POLLIN);
        for _ in 0..5 {
            thread::scope(|scope| {
                for (len, timeout_ms) in [(1_000, 40), (500, 60), (200_000, 50), (300_000, 50)] {
                    let reader = &reader;
                    scope.spawn(move || assert_eq!(peek_all(reader, len, timeout_ms), failure(ETIMEDOUT)));
                }
                // Others who wait for the socket aren't kept asleep meanwhile.
                thread::sleep(Duration::from_millis(20));
                wait_for(&reader, libc::POLLIN);
            });
            assert_eq!(low_water(&reader), 1, "{kind:?}");
        }
    }
}

#[test]
fn a_low_water_mark_that_the_program_has_set_stays_and_hides_nothing() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        set_option(&reader, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100);
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                put(&writer, b"head");
            });
            peek_all(&reader, 4, LONG)
        });
        assert_eq!((found, low_water(&reader)), (Ok(b"head".to_vec()), 100), "{kind:?}");
    }
}

#[test]
fn a_mark_behind_more_than_a_page_of_data_makes_it_short() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        let bytes = pattern(10_000);
        put(&writer, &bytes);
        send_oob(&writer, b"!");
        put(&writer, b"behind");
        until("all is there", || available(&reader) == 10_000);
        wait_for(&reader, libc::POLLPRI);
        assert_eq!(peek_all(&reader, 20_000, LONG).as_ref(), Ok(&bytes), "{kind:?}");
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { castio_recv_oob(reader.as_raw_fd()) }, i32::from(b'!'), "{kind:?}");
        assert_eq!(peek_all(&reader, 20_000, LONG).as_ref(), Ok(&bytes), "{kind:?}: the mark is still there");
    }
}

#[test]
fn a_buffer_that_fills_up_is_told_of() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = OwnedFd::from(listener);
    // Before the connection is made: a window that was offered isn't taken back.
    set_option(&listener, libc::SOL_SOCKET, libc::SO_RCVBUF, 8_192);
    let writer = OwnedFd::from(std::net::TcpStream::connect(address).unwrap());
    let reader = OwnedFd::from(std::net::TcpListener::from(listener).accept().unwrap().0);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            set_nonblocking(&writer, true);
            let bytes = pattern(1 << 20);
            // SAFETY: the bytes are readable.
            check(unsafe { libc::write(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) });
        });
        // The kernel's overhead needs a part of these 16,384 bytes.
        assert_eq!(peek_all(&reader, 16_300, FOR_EVER), failure(ENOBUFS));
    });
}

#[test]
fn an_offset_of_peeks_moves_once_and_only_by_what_was_shown() {
    for Pair { kind, writer, reader } in pairs(&[UnixStream]) {
        set_option(&reader, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 2);
        put(&writer, b"01234");
        let before = state(&reader);
        assert_eq!(peek_all(&reader, 6, 50), failure(ETIMEDOUT), "{kind:?}");
        assert_eq!(state(&reader), before, "{kind:?}");
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                put(&writer, b"56789");
            });
            peek_all(&reader, 6, LONG)
        });
        assert_eq!(found, Ok(b"234567".to_vec()), "{kind:?}");
        assert_eq!(peek(&reader, 10), Ok(b"89".to_vec()), "{kind:?}");
    }
}

/// In a process that has no descriptor left pauses do, and where it may have none poll(2) is refused, too.
#[test]
fn without_a_descriptor_left_it_still_waits() {
    for limit in [0, 1] {
        for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
            put(&writer, b"half");
            wait_for(&reader, libc::POLLIN);
            let status = in_child(|| {
                let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                let mut bytes = [0_u8; 8];
                let at = bytes.as_mut_ptr().cast();
                // SAFETY: a limit, and room for the bytes.
                let (short, whole) = unsafe {
                    libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                    let short = castio_peek_all(reader.as_raw_fd(), at, 8, 50);
                    libc::write(writer.as_raw_fd(), b"half".as_ptr().cast(), 4);
                    (short, castio_peek_all(reader.as_raw_fd(), at, 8, LONG))
                };
                i32::from((short, whole) != (-ETIMEDOUT as isize, 8))
            });
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{kind:?}, limit {limit}");
        }
    }
}
