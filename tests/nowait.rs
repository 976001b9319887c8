//! One transfer that never blocks, on blocking descriptors of every kind.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};

use std::time::Duration;

use castio::ffi::nowait::*;
use castio::ffi::vectored::{castio_iov_advance, castio_iov_length, castio_read_all};
use libc::{EAGAIN, EBADF, EINVAL, EMSGSIZE, EPIPE, ETIMEDOUT, iovec};
use support::descriptors::*;

const NOT_NOW: isize = -(EAGAIN as isize);

/// In a thread with a watchdog: what blocks fails the test.
fn send(fd: &OwnedFd, bytes: &[u8]) -> isize {
    let (fd, bytes) = (fd.try_clone().unwrap(), bytes.to_vec());
    // SAFETY: the bytes are readable.
    promptly(move || unsafe { castio_send_nowait(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}

fn recv(fd: &OwnedFd, limit: usize) -> Result<Vec<u8>, isize> {
    let fd = fd.try_clone().unwrap();
    promptly(move || {
        let mut bytes = vec![0; limit];
        // SAFETY: the bytes are writable.
        let count = unsafe { castio_recv_nowait(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), limit) };
        bytes.truncate(usize::try_from(count).map_err(|_| count)?);
        Ok(bytes)
    })
}

/// The same through lists of buffers of `step` bytes.
fn sendv(fd: &OwnedFd, bytes: &[u8], step: usize) -> isize {
    let (fd, bytes) = (fd.try_clone().unwrap(), bytes.to_vec());
    promptly(move || {
        let list: Vec<iovec> = bytes.chunks(step).map(buffer).collect();
        // SAFETY: a valid array.
        unsafe { castio_writev_nowait(fd.as_raw_fd(), list.as_ptr(), list.len() as i32) }
    })
}

fn recvv(fd: &OwnedFd, limit: usize, step: usize) -> Result<Vec<u8>, isize> {
    let fd = fd.try_clone().unwrap();
    promptly(move || {
        let mut bytes = vec![0; limit];
        let list: Vec<iovec> = bytes.chunks_mut(step).map(room).collect();
        // SAFETY: a valid array.
        let count = unsafe { castio_readv_nowait(fd.as_raw_fd(), list.as_ptr(), list.len() as i32) };
        bytes.truncate(usize::try_from(count).map_err(|_| count)?);
        Ok(bytes)
    })
}

#[test]
fn what_is_sent_arrives_and_the_mode_stays() {
    for pair in pairs(&EVERY_KIND) {
        let before = (state(&pair.writer), state(&pair.reader));
        // A terminal's controlling side takes a byte at a time, as the contract allows.
        let mut sent = 0;
        while sent < 5 {
            sent += usize::try_from(send(&pair.writer, &b"hello"[sent..])).unwrap();
        }
        if pair.kind != File {
            wait_for(&pair.reader, libc::POLLIN);
        }
        let mut got = Vec::new();
        until("all is read", || {
            got.extend(recv(&pair.reader, 10).unwrap_or_default());
            got.len() >= 5
        });
        assert_eq!(got, b"hello", "{:?}", pair.kind);
        assert_eq!((state(&pair.writer), state(&pair.reader)), before, "{:?}", pair.kind);
    }
}

#[test]
fn lists_are_sent_and_filled_in_order() {
    for pair in pairs(&EVERY_KIND) {
        let mut sent = 0;
        while sent < 11 {
            sent += usize::try_from(sendv(&pair.writer, &b"hello there"[sent..], 3)).unwrap();
        }
        let mut got = Vec::new();
        until("all is read", || {
            got.extend(recvv(&pair.reader, 20, 2).unwrap_or_default());
            got.len() >= 11
        });
        assert_eq!(got, b"hello there", "{:?}", pair.kind);
    }
}

#[test]
fn where_nothing_waits_nothing_is_waited_for() {
    for pair in pairs(&EVERY_KIND) {
        let before = state(&pair.reader);
        let expected = if pair.kind == File { Ok(Vec::new()) } else { Err(NOT_NOW) };
        assert_eq!(recv(&pair.reader, 10), expected, "{:?}", pair.kind);
        assert_eq!(recvv(&pair.reader, 10, 5), expected, "{:?}", pair.kind);
        assert_eq!(state(&pair.reader), before, "{:?}", pair.kind);
    }
}

#[test]
fn where_there_is_no_room_nothing_is_waited_for() {
    for pair in pairs(&STREAMS) {
        let filled = fill(&pair.writer);
        let before = state(&pair.writer);
        let large = pattern(1 << 20);
        // On TCP room may appear as the kernel moves data on; it is used, and it ends.
        let mut more = 0;
        until("it is full", || match send(&pair.writer, &large[more..]) {
            NOT_NOW => true,
            count => {
                more += usize::try_from(count).unwrap();
                false
            }
        });
        if pair.kind != Tcp4 && pair.kind != Tcp6 {
            assert_eq!(sendv(&pair.writer, &large, 1 << 12), NOT_NOW, "{:?}", pair.kind);
            assert_eq!(send(&pair.writer, b"x"), NOT_NOW, "{:?}", pair.kind);
            assert!(!pair.kind.is_socket() || more == 0, "{:?}", pair.kind);
            let got = take_exact(&pair.reader, filled + more);
            assert!(got[filled..] == large[..more], "{:?}", pair.kind);
            assert!(is_empty(&pair.reader), "{:?}", pair.kind);
        }
        assert_eq!(state(&pair.writer), before, "{:?}", pair.kind);
    }
}

#[test]
fn a_full_message_socket_isnt_waited_for() {
    for kind in [SeqPacket, UnixDatagram] {
        let Pair { writer, reader, .. } = pair(kind);
        let mut sent = 0;
        until("it is full", || match send(&writer, b"message") {
            NOT_NOW => true,
            count => {
                assert_eq!(count, 7);
                sent += 1;
                false
            }
        });
        for _ in 0..sent {
            assert_eq!(take(&reader, 100), b"message");
        }
        assert!(is_empty(&reader), "{kind:?}");
    }
}

#[test]
fn more_than_there_is_room_for_is_sent_in_part() {
    for pair in pairs(&STREAMS) {
        let large = pattern(16 << 20);
        let sent = usize::try_from(send(&pair.writer, &large)).unwrap();
        assert!(sent > 0 && sent < large.len(), "{:?}: {sent}", pair.kind);
        assert!(take_exact(&pair.reader, sent) == large[..sent], "{:?}", pair.kind);
        assert!(is_empty(&pair.reader), "{:?}", pair.kind);
    }
}

#[test]
fn a_terminal_whose_output_is_stopped_isnt_waited_for() {
    let Pair { writer, reader, .. } = pair(Terminal);
    let flow = |action| {
        // SAFETY: tcflow takes no pointer.
        check(unsafe { libc::tcflow(writer.as_raw_fd(), action) })
    };
    flow(libc::TCOOFF);
    assert_eq!(send(&writer, b"stopped"), NOT_NOW);
    assert_eq!(sendv(&writer, b"stopped", 2), NOT_NOW);
    assert!(is_empty(&reader));
    flow(libc::TCOON);
    assert_eq!(send(&writer, b"on again"), 8);
    assert_eq!(take_exact(&reader, 8), b"on again");
}

#[test]
fn a_terminal_that_wants_more_bytes_gives_what_is_there() {
    for (min, time) in [(10, 0), (10, 100), (0, 100), (0, 0), (1, 0)] {
        let Pair { writer: slave, reader: master, .. } = pair(Terminal);
        change_terminal(&slave, |settings| {
            settings.c_cc[libc::VMIN] = min;
            settings.c_cc[libc::VTIME] = time;
        });
        let nothing = recv(&slave, 100);
        assert!([Ok(vec![]), Err(NOT_NOW)].contains(&nothing), "VMIN {min} VTIME {time}: {nothing:?}");
        put(&master, b"abc");
        let mut got = Vec::new();
        until("the bytes come out", || {
            got.extend(recv(&slave, 100).unwrap_or_default());
            got == b"abc"
        });
    }
}

#[test]
fn a_terminal_without_a_whole_line_isnt_waited_for() {
    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    change_terminal(&slave, |settings| settings.c_lflag |= libc::ICANON);
    put(&master, b"half a li");
    assert_eq!(recv(&slave, 100), Err(NOT_NOW));
    put(&master, b"ne\n");
    wait_for(&slave, libc::POLLIN);
    assert_eq!(recv(&slave, 100), Ok(b"half a line\n".to_vec()));
    assert_eq!(recv(&slave, 100), Err(NOT_NOW));
}

#[test]
fn the_end_is_told_from_nothing() {
    for pair in pairs(&[Tcp4, Tcp6, UnixStream, SeqPacket, Pipe, Fifo, File]) {
        put(&pair.writer, b"last");
        drop(pair.writer);
        if pair.kind != File {
            wait_for(&pair.reader, libc::POLLIN);
        }
        assert_eq!(recv(&pair.reader, 100), Ok(b"last".to_vec()), "{:?}", pair.kind);
        until("the end comes", || recv(&pair.reader, 100) != Err(NOT_NOW));
        assert_eq!(recv(&pair.reader, 100), Ok(vec![]), "{:?}", pair.kind);
    }
}

#[test]
fn a_closed_peer_is_an_error_for_the_writer() {
    for pair in pairs(&[UnixStream, SeqPacket, Pipe, Fifo]) {
        drop(pair.reader);
        assert_eq!(send(&pair.writer, b"x"), -EPIPE as isize, "{:?}", pair.kind);
        assert_eq!(sendv(&pair.writer, b"xyz", 1), -EPIPE as isize, "{:?}", pair.kind);
    }
}

#[test]
fn a_message_is_whole_or_not_sent_and_a_longer_one_is_cut() {
    for pair in pairs(&MESSAGE_SOCKETS) {
        assert_eq!(send(&pair.writer, &pattern(9 << 20)), -EMSGSIZE as isize, "{:?}", pair.kind);
        assert_eq!(sendv(&pair.writer, &[0; 1025], 1), -EMSGSIZE as isize, "{:?}", pair.kind);
        assert!(is_empty(&pair.reader), "{:?}", pair.kind);
        assert_eq!(send(&pair.writer, b"a message"), 9);
        assert_eq!(send(&pair.writer, b""), 0);
        assert_eq!(sendv(&pair.writer, b"next", 2), 4);
        wait_for(&pair.reader, libc::POLLIN);
        assert_eq!(recv(&pair.reader, 3), Ok(b"a m".to_vec()), "{:?}", pair.kind);
        assert_eq!(recv(&pair.reader, 3), Ok(vec![]), "{:?}: the empty one", pair.kind);
        assert_eq!(recvv(&pair.reader, 100, 3), Ok(b"next".to_vec()), "{:?}", pair.kind);
    }
}

#[test]
fn the_wrong_direction_and_too_many_buffers_are_errors() {
    for pair in pairs(&[Pipe, Fifo]) {
        assert_eq!(send(&pair.reader, b"x"), -EBADF as isize, "{:?}", pair.kind);
        assert_eq!(recv(&pair.writer, 1), Err(-EBADF as isize), "{:?}", pair.kind);
        assert_eq!(sendv(&pair.writer, &[0; 1025], 1), -EINVAL as isize, "{:?}", pair.kind);
        assert_eq!(recvv(&pair.reader, 1025, 1), Err(-EINVAL as isize), "{:?}", pair.kind);
        assert!(is_empty(&pair.reader), "{:?}", pair.kind);
    }
}

#[test]
fn a_wait_for_a_terminal_ends_in_time_too() {
    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    change_terminal(&slave, |settings| settings.c_cc[libc::VMIN] = 10);
    put(&master, b"abc");
    let read = move |timeout_ms| {
        let (slave, mut bytes, mut done) = (slave.try_clone().unwrap(), vec![0; 5], 0);
        promptly(move || {
            let at = bytes.as_mut_ptr().cast();
            // SAFETY: the bytes are writable.
            let result = unsafe { castio_read_all(slave.as_raw_fd(), at, 5, timeout_ms, &raw mut done) };
            (result, bytes[..done].to_vec())
        })
    };
    assert_eq!(read(200), (-ETIMEDOUT as isize, b"abc".to_vec()));
    put(&master, b"defgh");
    assert_eq!(read(200), (5, b"defgh".to_vec()));
    // What comes while it waits, and is too little to wake it, is taken at the end.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            put(&master, b"ijklm");
        });
        assert_eq!(read(500), (5, b"ijklm".to_vec()));
    });
}

fn as_numbers(list: &[iovec]) -> Vec<(usize, usize)> {
    list.iter().map(|entry| (entry.iov_base as usize, entry.iov_len)).collect()
}

#[test]
fn stepping_over_bytes_leaves_the_others_in_place() {
    let mut random = Random(11);
    let bytes = pattern(4_000);
    for _ in 0..2_000 {
        let mut list: Vec<iovec> = Vec::new();
        let mut total = 0;
        for _ in 0..random.below(12) {
            let len = random.below(40) * random.below(2);
            list.push(buffer(&bytes[total..total + len]));
            total += len;
        }
        let count = list.len() as i32;
        let step = random.below(total + 1);
        let before = as_numbers(&list);
        // SAFETY: a valid array.
        unsafe {
            assert_eq!(castio_iov_length(list.as_ptr(), count), total as isize);
            assert_eq!(castio_iov_advance(list.as_mut_ptr(), count, total + 1), -EINVAL);
            assert_eq!(as_numbers(&list), before, "unchanged");
            let first = castio_iov_advance(list.as_mut_ptr(), count, step);
            assert_eq!(castio_iov_length(list.as_ptr(), count), (total - step) as isize);
            let first = usize::try_from(first).unwrap();
            assert!(list[..first].iter().all(|entry| entry.iov_len == 0));
            assert!(first == list.len() || list[first].iov_len > 0);
            assert!(as_numbers(&list).iter().skip(first + 1).eq(before.iter().skip(first + 1)));
            // SAFETY: what is left are parts of `bytes`.
            let left = list.iter().flat_map(|e| std::slice::from_raw_parts(e.iov_base.cast::<u8>(), e.iov_len));
            assert!(left.eq(&bytes[step..total]));
        }
    }
}

#[test]
fn a_loop_of_ones_own_sends_everything() {
    for Pair { kind, writer, reader } in pairs(&STREAMS) {
        let bytes = pattern(200_000);
        let mut list: Vec<iovec> = bytes.chunks(1_013).map(buffer).collect();
        let mut first = 0;
        let mut got = Vec::new();
        until("all is sent and read", || {
            while first < list.len() {
                let left = &mut list[first..];
                let count = left.len().min(1024) as i32;
                // SAFETY: a valid array, which may be changed.
                let sent = unsafe { castio_writev_nowait(writer.as_raw_fd(), left.as_ptr(), count) };
                let Ok(sent) = usize::try_from(sent) else {
                    assert_eq!(sent, NOT_NOW, "{kind:?}");
                    break;
                };
                // SAFETY: likewise.
                first += unsafe { castio_iov_advance(left.as_mut_ptr(), count, sent) } as usize;
            }
            if !is_empty(&reader) {
                got.extend(take(&reader, 100_000));
            }
            first == list.len() && got.len() == bytes.len()
        });
        assert!(got == bytes, "{kind:?}");
    }
}

#[test]
fn more_buffers_than_a_system_call_takes_are_refused_everywhere() {
    for Pair { kind, writer, reader } in pairs(&EVERY_KIND) {
        let refused = if kind.is_socket() { EMSGSIZE } else { EINVAL };
        let bytes = pattern(1_025);
        assert_eq!(sendv(&writer, &bytes, 1), -refused as isize, "{kind:?}");
        assert_eq!(recvv(&reader, 1_025, 1), Err(-refused as isize), "{kind:?}");
    }
}
