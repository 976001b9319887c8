//! What a look at a descriptor of each kind says, and what a read then gives; and what sockets that aren't connected,
//! or speak another protocol, say.

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use castio::ffi::inspect::{castio_inspect_socket, castio_socket_info};
use castio::ffi::multicast::options::*;
use castio::ffi::nowait::*;
use castio::ffi::peek::*;
use castio::ffi::urgent::*;
use castio::ffi::vectored::*;
use libc::{EAGAIN, EBADF, EFAULT, EIO, EISDIR, ENOPROTOOPT, ENOTCONN, ENOTTY, EOPNOTSUPP};
use support::descriptors::{self, *};
use support::kept::for_ever;

fn available(fd: &impl AsRawFd) -> isize {
    // SAFETY: takes no pointer.
    unsafe { castio_peek_available(fd.as_raw_fd()) }
}

/// The state and the error, or what the call itself says.
fn info(fd: &impl AsRawFd) -> Result<(i32, usize, i32), i32> {
    let mut info = castio_peek_info { struct_size: size_of::<castio_peek_info>(), available: 0, state: -1, error: 0 };
    // SAFETY: a struct that says its size.
    match unsafe { castio_peek_info(fd.as_raw_fd(), &raw mut info) } {
        0 => Ok((info.state, info.available, info.error)),
        error => Err(error),
    }
}

/// What inspection says can be read.
fn inspected(fd: &impl AsRawFd) -> i64 {
    let mut info = MaybeUninit::<castio_socket_info>::zeroed();
    // SAFETY: all zero is such a struct, and it says its size.
    unsafe {
        (*info.as_mut_ptr()).struct_size = size_of::<castio_socket_info>();
        assert_eq!(castio_inspect_socket(fd.as_raw_fd(), info.as_mut_ptr()), 0);
        info.assume_init().readable
    }
}

/// What one read(2) of so many bytes gives.
fn read(fd: &impl AsRawFd, len: usize) -> isize {
    let mut bytes = vec![0; len];
    // SAFETY: there is room.
    match unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), len) } {
        -1 => -errno() as isize,
        count => count,
    }
}

#[test]
fn a_file_of_any_length_tells_what_is_behind_its_position() {
    const GIB: u64 = 1 << 30;
    let mut file = tempfile::tempfile().unwrap();
    for size in [0, 1, GIB, 2 * GIB - 1, 2 * GIB, 3 * GIB, 4 * GIB, 4 * GIB + 7, 1 << 40] {
        file.set_len(size).unwrap();
        for position in [0, 1, size / 2, size.saturating_sub(3), size, size + 1, size + 5 * GIB] {
            file.seek(SeekFrom::Start(position)).unwrap();
            let left = size.saturating_sub(position);
            let state = if left > 0 { CASTIO_PEEK_DATA } else { CASTIO_PEEK_END };
            assert_eq!(available(&file) as u64, left, "{position} of {size}");
            assert_eq!(info(&file), Ok((state, left as usize, 0)), "{position} of {size}");
            assert_eq!(inspected(&file) as u64, left, "{position} of {size}");
            assert_eq!(read(&file, 3) as u64, left.min(3), "{position} of {size}");
        }
    }
}

#[test]
fn a_file_that_is_appended_to_is_read_from_its_position() {
    let named = tempfile::NamedTempFile::new().unwrap();
    let mut file = OpenOptions::new().read(true).append(true).open(named.path()).unwrap();
    file.write_all(b"hello").unwrap();
    assert_eq!(available(&file), 0, "writing has moved the position to the end");
    file.seek(SeekFrom::Start(2)).unwrap();
    assert_eq!((available(&file), read(&file, 9)), (3, 3));
}

#[test]
fn what_cant_be_read_isnt_said_to_hold_anything() {
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), "hello").unwrap();
    let for_writing = OwnedFd::from(OpenOptions::new().write(true).open(named.path()).unwrap());
    for kind in [Pipe, Fifo] {
        let Pair { writer, reader: _reader, .. } = pair(kind);
        put(&writer, b"abc");
        for fd in [&writer, &for_writing] {
            assert_eq!(read(fd, 9), -EBADF as isize);
            assert_eq!(available(fd), -EBADF as isize, "{kind:?}");
            assert_eq!(info(fd), Err(-EBADF), "{kind:?}");
        }
    }
    let directory = File::open("/").unwrap();
    assert_eq!(available(&directory), -EISDIR as isize);
    assert_eq!((info(&directory), read(&directory, 9)), (Err(-EISDIR), -EISDIR as isize));
}

/// Their length in fstat(2) is 0 or a page, whatever a read gives.
#[test]
fn what_is_made_up_as_it_is_read_cant_tell() {
    // SAFETY: takes no pointer; just made, and nobody else has it.
    let event = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(1, libc::EFD_CLOEXEC)) as i32) };
    assert_eq!((available(&event), info(&event)), (-ENOTTY as isize, Err(-ENOTTY)));
    for path in ["/proc/self/status", "/proc/sys/kernel/pid_max", "/sys/kernel/uevent_seqnum"] {
        let Ok(file) = File::open(path) else { continue };
        assert_eq!((available(&file), info(&file)), (-ENOTTY as isize, Err(-ENOTTY)), "{path}");
        assert!(read(&file, 9) > 0, "{path}");
    }
}

#[test]
fn a_terminal_whose_other_side_is_closed_says_what_a_read_says() {
    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    drop(master);
    wait_for(&slave, libc::POLLHUP);
    assert_eq!((available(&slave), info(&slave), read(&slave, 9)), (0, Ok((CASTIO_PEEK_END, 0, 0)), 0));

    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    put(&slave, b"last");
    drop(slave);
    until("all is there", || available(&master) == 4);
    assert_eq!(read(&master, 9), 4);
    wait_for(&master, libc::POLLHUP);
    for _ in 0..2 {
        let gone = -EIO as isize;
        let expected = (gone, Ok((CASTIO_PEEK_ERROR, 0, -EIO)), gone);
        assert_eq!((available(&master), info(&master), read(&master, 9)), expected);
    }
}

#[test]
fn a_terminal_in_packet_mode_tells_the_byte_in_front_too() {
    let Pair { writer: slave, reader: master, .. } = pair(Terminal);
    let on: libc::c_int = 1;
    // SAFETY: TIOCPKT reads an int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) });
    assert_eq!(available(&master), -EAGAIN as isize);
    put(&slave, b"abc");
    wait_for(&master, libc::POLLIN);
    until("all is there", || available(&master) == 4);
    // A message of control comes first, and alone.
    // SAFETY: takes no pointer.
    check(unsafe { libc::tcflush(slave.as_raw_fd(), libc::TCIFLUSH) });
    for len in [1, 4] {
        assert_eq!((available(&master), read(&master, 99)), (len, len));
    }
    assert_eq!(available(&master), -EAGAIN as isize);
}

#[test]
fn a_stream_tells_what_is_before_its_urgent_mark_however_much_that_is() {
    for len in [1, 1_023, 1_024, 1_025, 2_000, 8_192, 60_000] {
        for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
            put(&writer, &pattern(len));
            // SAFETY: the byte is readable.
            check(unsafe { libc::send(writer.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) });
            put(&writer, &pattern(3_000));
            wait_for(&reader, libc::POLLPRI);
            until("all before the mark is there", || available(&reader) == len as isize);
            assert_eq!(info(&reader), Ok((CASTIO_PEEK_DATA, len, 0)), "{kind:?}");
            assert_eq!(read(&reader, 70_000), len as isize, "{kind:?}");
        }
    }
}

#[test]
fn a_stream_without_a_mark_tells_all_of_it() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        let piece = pattern(1_000);
        for count in 1..=60 {
            put(&writer, &piece);
            until("it is there", || available(&reader) == count * 1_000);
        }
        assert_eq!(take_exact(&reader, 60_000).len(), 60_000, "{kind:?}");
    }
}

/// A read of a UNIX stream ends where descriptors come along; a look neither takes nor makes any.
#[test]
fn a_stream_with_descriptors_in_it_tells_the_bytes_up_to_them() {
    let Pair { writer, reader, .. } = pair(UnixStream);
    put(&writer, &pattern(2_000));
    send_with_descriptor(&writer, &pattern(3_000));
    put(&writer, &pattern(100));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..3 {
        let told = available(&reader);
        let mut bytes = vec![0; 9_000];
        // SAFETY: there is room.
        let would_give = unsafe {
            libc::recv(reader.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_PEEK | libc::MSG_DONTWAIT)
        };
        assert_eq!(told, would_give);
    }
    assert!(open() <= before + 20, "other tests of this process open some, but these looks none");
    assert_eq!(available(&reader), read(&reader, 9_000));
}

fn send_with_descriptor(fd: &OwnedFd, bytes: &[u8]) {
    let mut control = [0_u64; 4];
    let mut part = buffer(bytes);
    // SAFETY: all zero is a message; the control data is aligned, and has room for one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd.as_raw_fd());
        assert_eq!(check(libc::sendmsg(fd.as_raw_fd(), &raw const message, 0)), bytes.len());
    }
}

/// As a peek by recv(2) does, this one begins at the offset and moves it.
#[test]
fn an_offset_for_peeks_counts_and_moves() {
    for (len, offset) in [(500, 100), (5_000, 100), (5_000, 4_500)] {
        let Pair { writer, reader, .. } = pair(UnixStream);
        put(&writer, &pattern(len));
        set_option(&reader, libc::SOL_SOCKET, libc::SO_PEEK_OFF, offset as i32);
        assert_eq!(available(&reader), (len - offset) as isize);
        assert_eq!(available(&reader), -EAGAIN as isize, "it has moved to the end");
        assert_eq!(take_exact(&reader, len).len(), len);
    }
}

#[test]
fn nothing_to_peek_at_is_there_at_once() {
    for Pair { kind, reader, .. } in pairs(&STREAM_SOCKETS) {
        // SAFETY: no byte is written.
        let found = promptly(move || unsafe { castio_peek_all(reader.as_raw_fd(), ptr::null_mut(), 0, -1) });
        assert_eq!(found, 0, "{kind:?}");
    }
}

/// A function on a descriptor.
type Call = fn(i32) -> isize;

/// All that read, look and ask.
const READERS: [(&str, Call); 11] = [
    // SAFETY: room for a byte, as with all of these.
    ("read_all", |fd| unsafe { castio_read_all(fd, room_for_one(), 1, 0, ptr::null_mut()) }),
    ("readv_all", |fd| unsafe { castio_readv_all(fd, &buffer(&[0]), 1, -1, ptr::null_mut()) }),
    ("recv_nowait", |fd| unsafe { castio_recv_nowait(fd, room_for_one(), 1) }),
    ("readv_nowait", |fd| unsafe { castio_readv_nowait(fd, &buffer(&[0]), 1) }),
    ("peek", |fd| unsafe { castio_peek(fd, room_for_one(), 1) }),
    ("peek_available", |fd| unsafe { castio_peek_available(fd) }),
    ("peek_info", |fd| info(&fd).map_or_else(|error| error as isize, |_| 0)),
    ("peek_all", |fd| unsafe { castio_peek_all(fd, room_for_one(), 1, -1) }),
    ("recv_oob", |fd| unsafe { castio_recv_oob(fd) as isize }),
    ("wait_oob", |fd| unsafe { castio_wait_oob(fd, -1) as isize }),
    ("recv_to_mark", |fd| unsafe { castio_recv_to_mark(fd, room_for_one(), 1, 0, &mut 0) }),
];

fn room_for_one() -> *mut libc::c_void {
    for_ever(0_u8) as *mut u8 as *mut libc::c_void
}

fn socket(domain: i32, kind: i32, protocol: i32) -> Option<OwnedFd> {
    // SAFETY: takes no pointer; just made, and nobody else has it.
    unsafe {
        let fd = libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

#[test]
fn a_stream_that_isnt_connected_says_so_to_every_function() {
    for domain in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        let Some(fd) = socket(domain, libc::SOCK_STREAM, 0) else { continue };
        for (name, call) in READERS {
            let number = fd.as_raw_fd();
            assert_eq!(promptly(move || call(number)), -ENOTCONN as isize, "{name}, family {domain}");
        }
        // SAFETY: the byte is readable.
        let sent = unsafe { castio_send_nowait(fd.as_raw_fd(), b"x".as_ptr().cast(), 1) };
        let expected = if domain == libc::AF_UNIX { ENOTCONN } else { libc::EPIPE };
        assert_eq!(sent, -expected as isize, "family {domain}");
    }
}

#[test]
fn a_stream_that_listens_says_so_to_every_function_that_waits_for_nothing() {
    let unix = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    let address = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap();
    // SAFETY: an address without a name: the kernel chooses one (unix(7)).
    unsafe {
        check(libc::bind(unix.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sa_family_t>() as u32));
        check(libc::listen(unix.as_raw_fd(), 1));
    }
    for fd in [unix, tcp] {
        // Without time recv_to_mark has nothing to wait for.
        for (name, call) in READERS.into_iter().filter(|(name, _)| *name != "recv_to_mark") {
            let number = fd.as_raw_fd();
            assert_eq!(promptly(move || call(number)), -ENOTCONN as isize, "{name}");
        }
    }
}

/// A connection that is over is told as such, not as one that never was.
#[test]
fn a_connection_that_has_ended_was_one() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        drop(writer);
        wait_for(&reader, libc::POLLRDHUP);
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { castio_wait_oob(reader.as_raw_fd(), -1) }, -libc::EPIPE, "{kind:?}");
        assert_eq!((available(&reader), read(&reader, 1)), (0, 0), "{kind:?}");
    }
}

#[test]
fn mptcp_has_no_multicast_and_says_it_in_one_way() {
    const CALLS: [(&str, Call); 8] = [
        // SAFETY: takes no pointer, or a text, as all of these.
        ("set_ttl", |fd| unsafe { castio_set_ttl(fd, 1) as isize }),
        ("get_ttl", |fd| unsafe { castio_get_ttl(fd) as isize }),
        ("set_loop", |fd| unsafe { castio_set_loop(fd, 1) as isize }),
        ("get_loop", |fd| unsafe { castio_get_loop(fd) as isize }),
        ("set_multicast_all", |fd| unsafe { castio_set_multicast_all(fd, 1) as isize }),
        ("get_multicast_all", |fd| unsafe { castio_get_multicast_all(fd) as isize }),
        ("set_multicast_interface", |fd| unsafe { castio_set_multicast_interface(fd, c"lo".as_ptr()) as isize }),
        ("set_multicast_interface_index", |fd| unsafe { castio_set_multicast_interface_index(fd, 1) as isize }),
    ];
    for domain in [libc::AF_INET, libc::AF_INET6] {
        let Some(fd) = socket(domain, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) else {
            return support::tools::skip("no MPTCP");
        };
        for (name, call) in CALLS {
            assert_eq!(call(fd.as_raw_fd()), -ENOPROTOOPT as isize, "{name}, family {domain}");
        }
    }
}

#[test]
fn a_stream_without_urgent_data_says_it() {
    let Some(fd) = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) else {
        return support::tools::skip("no vsock");
    };
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { castio_at_mark(fd.as_raw_fd()) }, -EOPNOTSUPP);
}

/// The kernel drops a message that it can't store; bytes of a stream stay.
#[test]
fn a_bad_buffer_loses_a_message_but_no_bytes_of_a_stream() {
    let sockets = [&STREAM_SOCKETS[..], &MESSAGE_SOCKETS].concat();
    for Pair { kind, writer, reader } in pairs(&sockets) {
        put(&writer, b"12345678");
        wait_for(&reader, libc::POLLIN);
        let mut done = 9;
        // SAFETY: nobody has memory there, which the kernel says; there is a place for the count.
        let result =
            unsafe { castio_read_all(reader.as_raw_fd(), descriptors::nowhere(4).iov_base, 4, 0, &raw mut done) };
        assert_eq!((result, done), (-EFAULT as isize, 0), "{kind:?}");
        let left = if STREAM_SOCKETS.contains(&kind) { 8 } else { -EAGAIN as isize };
        let mut bytes = [0_u8; 9];
        // SAFETY: there is room.
        let found = unsafe { castio_recv_nowait(reader.as_raw_fd(), bytes.as_mut_ptr().cast(), 9) };
        assert_eq!(found, left, "{kind:?}");
    }
}
