//! What a peer on a UNIX socket sends beside the payload (unix(7)): descriptors that nobody asked for never
//! stay in the process. And sockets that speak no IP under a receiver: what is told, and their end.

mod support;

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use castio::ffi::datagram_receive::*;
use castio::ffi::nowait::{castio_readv_nowait, castio_recv_nowait};
use castio::ffi::peek::*;
use castio::ffi::stdio::castio_fdopen;
use castio::ffi::urgent::{castio_recv_to_mark, castio_wait_oob};
use castio::ffi::vectored::{castio_read_all, castio_readv_all};
use castio::sys::c_types::{CASTIO_VIEW_CONTROL_TRUNCATED, castio_datagram_view};
use libc::{SOL_SOCKET, c_int, c_void};
use support::descriptors::*;

const PATIENCE_MS: c_int = 30_000;
const ROOM: usize = 16;
/// As many as one message may carry (`SCM_MAX_FD`).
const MANY: usize = 253;
/// Since Linux 6.5: the sender's process, as one more descriptor.
const SO_PASSPIDFD: c_int = 76;

/// How many descriptors of this process are the same open pipe, or pidfds.
fn held(pipe: &OwnedFd) -> usize {
    let link = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let pipe = link(pipe.as_raw_fd());
    let all =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter_map(link).filter(|path| Some(path) == pipe.as_ref() || path.to_string_lossy().contains("pidfd")).count()
}

/// Sends one message with copies of a descriptor.
#[track_caller]
fn send_with(socket: &OwnedFd, payload: &[u8], copies: usize, of: &impl AsRawFd) {
    let fds = vec![of.as_raw_fd(); copies];
    // SAFETY: arithmetic on sizes.
    let (space, len) = unsafe { (libc::CMSG_SPACE(4 * copies as u32), libc::CMSG_LEN(4 * copies as u32)) };
    let mut control = vec![0u64; space.div_ceil(8) as usize];
    let mut part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: all zero is a message, which then points to memory that is alive; the header and what is
    // behind it fit into the control buffer.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), space as _);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        header.write(libc::cmsghdr { cmsg_len: len as _, cmsg_level: SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS });
        ptr::copy_nonoverlapping(fds.as_ptr().cast(), libc::CMSG_DATA(header), 4 * copies);
        assert_eq!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0), payload.len() as isize);
    }
}

struct Receiver(*mut castio_receiver);

impl Receiver {
    fn open(fd: &OwnedFd, flags: u32) -> Receiver {
        let size = size_of::<castio_receiver_options>();
        let options = castio_receiver_options { struct_size: size, slots: 8, slot_size: 256, flags };
        let mut receiver = ptr::null_mut();
        // SAFETY: options of that size, and a place.
        check(unsafe { castio_receiver_open(fd.as_raw_fd(), &raw const options, &raw mut receiver) });
        Receiver(receiver)
    }

    /// At most `limit` datagrams with the flags of their views and their times, or the error.
    fn receive(&self, limit: usize) -> Result<Vec<(Vec<u8>, u32, u64)>, c_int> {
        // SAFETY: all zero is a view.
        let mut views: Vec<castio_datagram_view> = vec![unsafe { std::mem::zeroed() }; limit];
        views[0].struct_size = size_of::<castio_datagram_view>();
        // SAFETY: so many views; each that is filled points to its payload.
        unsafe {
            let count = castio_receive_datagrams(self.0, views.as_mut_ptr(), limit, PATIENCE_MS);
            let bytes = |view: &castio_datagram_view| std::slice::from_raw_parts(view.data.cast(), view.len).to_vec();
            let told = |view: &castio_datagram_view| (bytes(view), view.flags, view.time_ns);
            usize::try_from(count).map(|count| views[..count].iter().map(told).collect()).map_err(|_| count as c_int)
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // SAFETY: opened above.
        unsafe { castio_receiver_close(self.0) };
    }
}

/// A way to receive what waits on a socket.
type Receive = fn(&OwnedFd, &mut [u8; ROOM]);

const ON_ANY: [(&str, Receive); 7] = [
    // SAFETY (all): as much room as is told, and one vector or place.
    ("readv_all", |fd, bytes| {
        check(unsafe { castio_readv_all(fd.as_raw_fd(), &room(&mut bytes[..1]), 1, PATIENCE_MS, ptr::null_mut()) });
    }),
    ("read_all", |fd, bytes| {
        check(unsafe { castio_read_all(fd.as_raw_fd(), at(bytes), 1, PATIENCE_MS, ptr::null_mut()) });
    }),
    ("recv_nowait", |fd, bytes| _ = check(unsafe { castio_recv_nowait(fd.as_raw_fd(), at(bytes), ROOM) })),
    ("readv_nowait", |fd, bytes| _ = check(unsafe { castio_readv_nowait(fd.as_raw_fd(), &room(bytes), 1) })),
    ("peek", |fd, bytes| _ = check(unsafe { castio_peek(fd.as_raw_fd(), at(bytes), ROOM) })),
    ("peek_all", |fd, bytes| _ = check(unsafe { castio_peek_all(fd.as_raw_fd(), at(bytes), 1, PATIENCE_MS) })),
    ("peek_available", |fd, _| _ = check(unsafe { castio_peek_available(fd.as_raw_fd()) })),
];

const ON_STREAMS: [(&str, Receive); 3] = [
    ("recv_to_mark", |fd, bytes| {
        let mut mark = 0;
        check(unsafe { castio_recv_to_mark(fd.as_raw_fd(), at(bytes), 1, PATIENCE_MS, &raw mut mark) });
    }),
    // Nothing urgent comes.
    ("wait_oob", |fd, _| assert_eq!(unsafe { castio_wait_oob(fd.as_raw_fd(), 0) }, -libc::EAGAIN)),
    ("fdopen", |fd, bytes| unsafe {
        let (mut input, mut output) = (ptr::null_mut(), ptr::null_mut());
        // The streams close it.
        let fd = fd.try_clone().unwrap().into_raw_fd();
        check(castio_fdopen(fd, PATIENCE_MS, &raw mut input, &raw mut output));
        assert_eq!(libc::fread(at(bytes), 1, 1, input), 1);
        libc::fclose(input);
        libc::fclose(output);
    }),
];

const ON_MESSAGES: [(&str, Receive); 4] = [
    ("receive_datagrams", |fd, _| drop(Receiver::open(fd, 0).receive(8).unwrap())),
    ("receive_datagrams without details", |fd, _| {
        drop(Receiver::open(fd, CASTIO_RECEIVER_NO_DETAILS).receive(8).unwrap());
    }),
    // Somebody else switches the time off, which leaves its room to descriptors.
    ("receive_datagrams without time", |fd, _| {
        let receiver = Receiver::open(fd, 0);
        set_option(fd, SOL_SOCKET, libc::SO_TIMESTAMPNS, 0);
        receiver.receive(8).unwrap();
    }),
    ("receive_copies", |fd, bytes| unsafe {
        let (receiver, mut view) = (Receiver::open(fd, 0), std::mem::zeroed::<castio_datagram_view>());
        view.struct_size = size_of_val(&view);
        check(castio_receive_copies(receiver.0, &room(bytes), &raw mut view, 1, PATIENCE_MS));
    }),
];

fn at(bytes: &mut [u8; ROOM]) -> *mut c_void {
    bytes.as_mut_ptr().cast()
}

#[test]
fn descriptors_that_a_peer_sends_never_stay_whatever_receives() {
    let streams = ON_ANY.iter().chain(&ON_STREAMS);
    let messages = ON_ANY.iter().chain(&ON_MESSAGES);
    let table = streams.map(|way| (UnixStream, way));
    let table = table.chain(messages.flat_map(|way| [(UnixDatagram, way), (SeqPacket, way)]));
    for (kind, (name, receive)) in table {
        for passes in [&[][..], &[libc::SO_PASSCRED], &[libc::SO_PASSCRED, SO_PASSPIDFD]] {
            for copies in [1, 4, MANY] {
                let (pipe, ends) = (pair(Pipe), pair(kind));
                for option in passes {
                    set_option(&ends.reader, SOL_SOCKET, *option, 1);
                }
                send_with(&ends.writer, b"x", copies, &pipe.writer);
                let before = held(&pipe.writer);
                receive(&ends.reader, &mut [0; ROOM]);
                assert_eq!(held(&pipe.writer), before, "{kind:?}, {name}, {copies} descriptors, {passes:?}");
            }
        }
    }
}

/// close(2) of any descriptor of a file takes this process's record locks on it away.
#[test]
fn a_peer_cannot_take_a_record_lock_away() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"locked").unwrap();
    file.rewind().unwrap();
    let other = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    // SAFETY: all zero is a lock of the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    // SAFETY: reads the lock.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) });
    for kind in [UnixDatagram, SeqPacket] {
        let ends = pair(kind);
        send_with(&ends.writer, b"x", 1, &file);
        Receiver::open(&ends.reader, 0).receive(1).unwrap();
        let mut found = libc::flock { l_type: libc::F_WRLCK as _, ..lock };
        // SAFETY: reads and writes the lock: who is in the way of another open file.
        check(unsafe { libc::fcntl(other.as_raw_fd(), libc::F_OFD_GETLK, &raw mut found) });
        assert_eq!(found.l_type, libc::F_WRLCK as libc::c_short, "{kind:?}: the lock is gone");
    }
}

#[test]
fn a_view_of_a_unix_socket_tells_the_time_and_that_something_was_left_out() {
    for kind in [UnixDatagram, SeqPacket] {
        let (pipe, ends) = (pair(Pipe), pair(kind));
        let receiver = Receiver::open(&ends.reader, 0);
        put(&ends.writer, b"plain");
        send_with(&ends.writer, b"more", 3, &pipe.writer);
        let seen = receiver.receive(8).unwrap();
        let flags: Vec<_> = seen.iter().map(|(bytes, flags, _)| (&bytes[..], *flags)).collect();
        assert_eq!(flags, [(&b"plain"[..], 0), (b"more", CASTIO_VIEW_CONTROL_TRUNCATED)], "{kind:?}");
        assert!(seen.iter().all(|(_, _, time_ns)| *time_ns > 0), "{kind:?}");
    }
}

#[test]
fn the_end_of_a_seqpacket_socket_comes_behind_all_messages_and_is_no_message() {
    for flags in [0, CASTIO_RECEIVER_NO_DETAILS] {
        for limit in [1, 8] {
            let ends = pair(SeqPacket);
            let receiver = Receiver::open(&ends.reader, flags);
            let sent: [&[u8]; 4] = [b"first", b"", b"last", b""];
            put(&ends.writer, sent[0]);
            assert_eq!(receiver.receive(limit).unwrap()[0].0, sent[0]);
            sent[1..].iter().for_each(|bytes| put(&ends.writer, bytes));
            drop(ends.writer);
            let mut seen = Vec::new();
            let end = loop {
                match receiver.receive(limit) {
                    Ok(more) => seen.extend(more.into_iter().map(|(bytes, _, _)| bytes)),
                    Err(error) => break error,
                }
                assert!(seen.len() < sent.len(), "flags {flags}, {limit} at a time: {seen:?}");
            };
            assert_eq!(seen, sent[1..], "flags {flags}, {limit} at a time");
            assert_eq!((end, receiver.receive(limit)), (-libc::EPIPE, Err(-libc::EPIPE)), "it stays the end");
        }
    }
}

/// A message that a socket without a connection takes may be empty, and the next one comes behind it.
#[test]
fn empty_datagrams_are_datagrams() {
    let ends = pair(UnixDatagram);
    let receiver = Receiver::open(&ends.reader, CASTIO_RECEIVER_NO_DETAILS);
    for _ in 0..3 {
        put(&ends.writer, b"");
    }
    put(&ends.writer, b"text");
    drop(ends.writer);
    let seen: Vec<_> = receiver.receive(8).unwrap().into_iter().map(|(bytes, _, _)| bytes).collect();
    assert_eq!(seen, [&b""[..], b"", b"", b"text"]);
}
