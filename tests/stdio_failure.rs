//! Streams when something is lost, shared with a child, or asked for what a socket doesn't have.

mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::ptr;
use std::thread;

use castio::ffi::stdio::castio_release_stream;
use libc::{EAGAIN, ECONNRESET, EFAULT, EINVAL, ESPIPE, ETIMEDOUT, FILE, wchar_t};
use support::descriptors::*;
use support::streams::*;

const FOR_EVER: i32 = -1;
const LONG: i32 = 20_000;

/// What can still be read, and the errno behind it; 0 for an ordinary end.
fn until_the_end(fd: &OwnedFd) -> (Vec<u8>, i32) {
    let mut file = std::fs::File::from(fd.try_clone().unwrap());
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return (all, 0),
            Ok(count) => all.extend(&bytes[..count]),
            Err(error) => return (all, error.raw_os_error().unwrap()),
        }
    }
}

#[test]
fn a_stream_that_lost_a_byte_fails_for_good() {
    for (timeout, code) in [(0, EAGAIN), (50, ETIMEDOUT)] {
        let Pair { writer: own, reader: peer, .. } = pair(UnixStream);
        let filled = fill(&own);
        let streams = Streams::open(own, timeout);
        streams.print(c"no room");
        assert_eq!((streams.flush(), errno(), has_error(streams.output)), (-1, code, true), "{timeout}");
        assert_eq!(take_exact(&peer, filled).len(), filled);
        for _ in 0..2 {
            clear_error(streams.output);
            streams.print(c"room again");
            assert_eq!((streams.flush(), errno()), (-1, code), "{timeout}: it would follow a hole");
        }
        assert!(is_empty(&peer));
        put(&peer, b"reading goes on\n");
        assert_eq!(streams.line().as_deref(), Some("reading goes on\n"));
        assert_eq!((streams.close_output(), errno()), (-1, code), "{timeout}");
        assert!(is_empty(&peer), "no end yet, which would make it look complete");
        assert_eq!(streams.close_input(), 0);
        assert_eq!(until_the_end(&peer), (vec![], 0), "UNIX sockets have no reset");
    }
}

#[test]
fn closing_it_resets_a_tcp_connection_and_leaves_what_has_come() {
    for Pair { kind, writer: own, reader: peer } in pairs(&[Tcp4, Tcp6]) {
        let own_too = own.try_clone().unwrap();
        let streams = Streams::open(own, 50);
        assert!(streams.write(&vec![b'x'; 16 << 20]) < 16 << 20, "{kind:?}: nobody reads");
        put(&peer, b"an early answer\n");
        wait_for(&own_too, libc::POLLIN);
        assert_eq!((streams.close_output(), errno()), (-1, ETIMEDOUT), "{kind:?}");
        assert_eq!(until_the_end(&peer).1, ECONNRESET, "{kind:?}: with the reading stream open");
        assert_eq!(streams.line().as_deref(), Some("an early answer\n"), "{kind:?}");
        assert_eq!((streams.line(), errno()), (None, ECONNRESET), "{kind:?}");
        assert_eq!(streams.close_input(), 0);
    }
}

#[test]
fn a_reader_that_waits_is_told() {
    for timeout in [FOR_EVER, LONG] {
        let Pair { writer: own, reader: peer, .. } = pair(Tcp4);
        let status = in_child(|| {
            // So that the next write fails at once.
            check_shutdown(&own);
            let streams = Streams::open(own, timeout);
            let reading = thread::spawn(move || {
                let line = streams.line();
                // SAFETY: the location is the thread's own.
                line.is_none() && unsafe { *libc::__errno_location() } == ECONNRESET
            });
            streams.print(c"too late");
            let closed = streams.close_output();
            i32::from(closed != -1 || !reading.join().unwrap())
        });
        assert_eq!(status, 0, "{timeout}");
        drop(peer);
    }
}

fn check_shutdown(fd: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: takes no pointer.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) });
}

/// Nothing is written before it is full. For a stream that lives as long as the process.
fn set_buffer(stream: *mut FILE, len: usize) {
    let buffer = vec![0_u8; len].leak();
    // SAFETY: an unused stream, and a buffer that stays.
    assert_eq!(unsafe { libc::setvbuf(stream, buffer.as_mut_ptr().cast(), libc::_IOFBF, len) }, 0);
}

#[test]
fn exit_with_a_stalled_peer_has_an_end_and_no_clean_one() {
    if std::env::var_os("CASTIO_SANITIZE").is_some() {
        return support::tools::skip("LeakSanitizer gives exit() a status of its own");
    }
    let Pair { writer: own, reader: peer, .. } = pair(Tcp4);
    let status = in_child(|| {
        let streams = Streams::open(own.try_clone().unwrap(), FOR_EVER);
        let bytes = [b'x'; 1000];
        set_buffer(streams.output, 32 << 20);
        (0..16_000).for_each(|_| _ = streams.write(&bytes));
        // SAFETY: flushes what stdio has, and ends the child.
        unsafe { libc::exit(7) }
    });
    assert_eq!(libc::WEXITSTATUS(status), 7, "{status:#x}");
    drop(own);
    assert_eq!(until_the_end(&peer).1, ECONNRESET);
}

#[test]
fn a_childs_copy_ends_nothing_of_its_parents() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, LONG);
        let status = in_child(|| {
            streams.print(c"from the child");
            streams.close_output() | streams.close_input()
        });
        assert_eq!(status, 0, "{kind:?}");
        assert_eq!(take(&peer, 100), b"from the child, 4711\n", "{kind:?}");
        assert!(is_empty(&peer), "{kind:?}: no end");
        streams.print(c"from the parent");
        assert_eq!(streams.close_output(), 0);
        assert_eq!(until_the_end(&peer), (b"from the parent, 4711\n".to_vec(), 0), "{kind:?}");
        assert_eq!(streams.close_input(), 0);
    }
}

fn release(stream: *mut FILE) -> i32 {
    // SAFETY: NULL, or an open stream that nobody else uses.
    unsafe { castio_release_stream(stream) }
}

#[test]
fn a_released_stream_leaves_the_connection_to_the_child() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, LONG);
        streams.print(c"in both buffers");
        let (mut go, mut wait) = Socket::pair().unwrap();
        // SAFETY: the child uses what it has copies of, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _ = wait.read(&mut [0]);
            streams.print(c"the answer");
            let result = streams.close_output() | streams.close_input();
            // SAFETY: ends the child.
            unsafe { libc::_exit(result) }
        }
        assert_eq!((release(streams.output), release(streams.input)), (0, 0), "{kind:?}");
        assert!(is_empty(&peer), "{kind:?}: neither the buffer nor an end");
        go.write_all(b"!").unwrap();
        let expected = b"in both buffers, 4711\nthe answer, 4711\n".to_vec();
        assert_eq!(until_the_end(&peer), (expected, 0), "{kind:?}");
        assert_eq!(wait_status(child), 0, "{kind:?}");
    }
}

#[test]
fn only_streams_of_the_library_are_released() {
    assert_eq!(release(ptr::null_mut()), -EFAULT);
    // SAFETY: texts that end in a NUL.
    let file = unsafe { libc::tmpfile() };
    // SAFETY: an open stream.
    unsafe {
        libc::fputs(c"kept".as_ptr(), file);
        assert_eq!((release(file), errno()), (-EINVAL, EINVAL));
        assert_eq!((libc::ftell(file), libc::fclose(file)), (4, 0));
    }
}

#[test]
fn a_socket_has_no_position() {
    for Pair { kind, writer: own, reader: peer } in pairs(&STREAM_SOCKETS) {
        let streams = Streams::open(own, LONG);
        put(&peer, b"one\ntwo\n");
        assert_eq!(streams.line().as_deref(), Some("one\n"));
        streams.print(c"pending");
        for stream in [streams.input, streams.output] {
            // SAFETY: an open stream, and room for a position.
            unsafe {
                let mut position = std::mem::zeroed();
                assert_eq!((libc::fseek(stream, 0, libc::SEEK_CUR), errno()), (-1, ESPIPE), "{kind:?}");
                assert_eq!((libc::ftello(stream), errno()), (-1, ESPIPE), "{kind:?}");
                assert_eq!((libc::ftell(stream), errno()), (-1, ESPIPE), "{kind:?}");
                assert_eq!((libc::fgetpos(stream, &raw mut position), errno()), (-1, ESPIPE), "{kind:?}");
                assert_eq!((libc::fsetpos(stream, &raw const position), errno()), (-1, ESPIPE), "{kind:?}");
            }
        }
        // SAFETY: an open stream. What was read ahead is no reason to fail, and stays.
        assert_eq!(unsafe { libc::fflush(streams.input) }, 0, "{kind:?}");
        // SAFETY: an open stream.
        assert_eq!(unsafe { libc::ungetc(i32::from(b'>'), streams.input) }, i32::from(b'>'));
        assert_eq!(streams.line().as_deref(), Some(">two\n"), "{kind:?}");
        streams.print(c"more");
        assert_eq!(streams.close_output(), 0);
        assert_eq!(until_the_end(&peer).0, b"pending, 4711\nmore, 4711\n", "{kind:?}");
        streams.close_input();
    }
}

unsafe extern "C" {
    fn fwide(stream: *mut FILE, mode: i32) -> i32;
    fn fgetws(to: *mut wchar_t, count: i32, stream: *mut FILE) -> *mut wchar_t;
    fn getwc(stream: *mut FILE) -> u32;
    fn ungetwc(character: u32, stream: *mut FILE) -> u32;
    fn fputws(text: *const wchar_t, stream: *mut FILE) -> i32;
    fn fwprintf(stream: *mut FILE, format: *const wchar_t, ...) -> i32;
    fn fwscanf(stream: *mut FILE, format: *const wchar_t, ...) -> i32;
}

/// glibc's streams of this kind are for bytes. (musl has wide characters on all of them.)
#[cfg(target_env = "gnu")]
#[test]
fn wide_characters_fail_and_leave_the_bytes() {
    const WEOF: u32 = u32::MAX;
    let Pair { writer: own, reader: peer, .. } = pair(UnixStream);
    let streams = Streams::open(own, LONG);
    put(&peer, b"bytes\nmore\n");
    let text: Vec<wchar_t> = "w\0".chars().map(|letter| letter as wchar_t).collect();
    // They would crash without room of their own.
    let status = in_child(|| {
        let (mut line, format) = ([0; 9], text.as_ptr());
        let (input, output) = (streams.input, streams.output);
        // SAFETY: open streams, and texts that end in a zero.
        let all_fail = unsafe {
            fwide(input, 1) < 0
                && fgetws(line.as_mut_ptr(), 9, input).is_null()
                && getwc(input) == WEOF
                && fwscanf(input, format) < 0
                && fwide(output, 1) < 0
                && fputws(format, output) < 0
                && fwprintf(output, format) < 0
        };
        let line = streams.line();
        // SAFETY: an open stream.
        let _ = unsafe { (fgetws([0; 9].as_mut_ptr(), 9, input), ungetwc(97, input)) };
        streams.print(c"bytes");
        i32::from(!all_fail || line.as_deref() != Some("bytes\n")) | (streams.close_output() | streams.close_input())
    });
    assert_eq!(status, 0, "{status:#x}");
    assert_eq!(take(&peer, 100), b"bytes, 4711\n");
    streams.close();
}

#[test]
fn of_a_line_cut_short_getline_gives_the_part_and_fgets_with_eagain() {
    for (timeout, code, kept) in [(0, EAGAIN, Some("part")), (50, ETIMEDOUT, None)] {
        let Pair { writer: own, reader: peer, .. } = pair(UnixStream);
        let streams = Streams::open(own, timeout);
        put(&peer, b"part");
        assert_eq!((streams.long_line().as_deref(), errno()), (Some(&b"part"[..]), code));
        clear_error(streams.input);
        put(&peer, b"part");
        assert_eq!((streams.line().as_deref(), errno(), has_error(streams.input)), (kept, code, true));
        clear_error(streams.input);
        put(&peer, b"whole\n");
        assert_eq!(streams.line().as_deref(), Some("whole\n"), "{timeout}");
        streams.close();
    }
}
