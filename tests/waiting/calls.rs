//! The functions that wait on a socket of the program's, each as one call.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use castio::ffi::datagram_receive::*;
use castio::ffi::datagram_send::*;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use castio::ffi::peek::*;
use castio::ffi::stdio::*;
use castio::ffi::urgent::*;
use castio::ffi::vectored::*;
use castio::sys::c_types::castio_datagram;
use libc::iovec;

use super::states::{Ends, State};
use crate::support::datagrams::empty_view;
use crate::support::descriptors::*;
use crate::support::face::{Outcome, call};

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Data,
    UrgentByte,
    Room,
    /// News that no socket can bring.
    News,
}

/// What a call says at the end of what there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Zero,
    Error(c_int),
}

pub struct Call {
    pub name: &'static str,
    pub waits_for: For,
    pub end: End,
    pub kinds: &'static [Kind],
    pub make: fn(&Ends, c_int) -> Outcome,
}

/// How much the calls read.
pub const LEN: usize = 10;
/// How much they write: more than TCP moves out of a full socket's buffer in the time of a test, or a message.
fn to_write(ends: &Ends) -> Vec<u8> {
    vec![b'w'; if ends.kind == UnixDatagram { LEN } else { 1 << 20 }]
}

const EVERY: &[Kind] = &[Tcp4, Udp4, UnixDatagram];
const STREAM: &[Kind] = &[Tcp4];
const DATAGRAM: &[Kind] = &[Udp4, UnixDatagram];
const FULL: &[Kind] = &[Tcp4, UnixDatagram];

use End::{Error, Zero};
use For::{Data, News, Room, UrgentByte};

const fn of(
    name: &'static str,
    waits_for: For,
    end: End,
    kinds: &'static [Kind],
    make: fn(&Ends, c_int) -> Outcome,
) -> Call {
    Call { name, waits_for, end, kinds, make }
}

pub const CALLS: [Call; 14] = [
    of("castio_read_all", Data, Zero, EVERY, read_all),
    of("castio_readv_all", Data, Zero, EVERY, readv_all),
    of("castio_peek_all", Data, Zero, EVERY, peek_all),
    of("castio_fdopen", Data, Zero, STREAM, read_a_byte),
    of("castio_recv_to_mark", Data, Zero, STREAM, recv_to_mark),
    of("castio_wait_oob", UrgentByte, Error(libc::EPIPE), STREAM, wait_oob),
    of("castio_receive_datagrams", Data, Error(libc::ESHUTDOWN), DATAGRAM, receive_datagrams),
    of("castio_receive_copies", Data, Error(libc::ESHUTDOWN), DATAGRAM, receive_copies),
    of("castio_membership_receive", Data, Error(libc::ESHUTDOWN), &[Udp4], membership_receive),
    of("castio_membership_wait", News, Zero, &[Udp4], membership_wait),
    of("castio_write_all", Room, Zero, FULL, write_all),
    of("castio_writev_all", Room, Zero, FULL, writev_all),
    of("castio_send_oob", Room, Zero, STREAM, send_oob),
    of("castio_send_datagrams", Room, Zero, &[UnixDatagram], send_datagrams),
];

fn read_all(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let mut bytes = [0_u8; LEN];
    let (fd, at) = (ends.own.as_raw_fd(), bytes.as_mut_ptr().cast());
    // SAFETY: the bytes are writable.
    call(|| unsafe { castio_read_all(fd, at, LEN, timeout_ms, ptr::null_mut()) as i64 })
}

fn readv_all(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let mut bytes = [0; LEN];
    let (fd, list) = (ends.own.as_raw_fd(), [room(&mut bytes)]);
    // SAFETY: one buffer.
    call(|| unsafe { castio_readv_all(fd, list.as_ptr(), 1, timeout_ms, ptr::null_mut()) as i64 })
}

fn peek_all(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let mut bytes = [0_u8; LEN];
    let (fd, at) = (ends.own.as_raw_fd(), bytes.as_mut_ptr().cast());
    // SAFETY: the bytes are writable.
    call(|| unsafe { castio_peek_all(fd, at, LEN, timeout_ms) as i64 })
}

/// The stream's way of saying so: `EOF`, and errno where it was an error.
fn read_a_byte(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let fd = ends.own.try_clone().unwrap().into_raw_fd();
    let (mut input, mut output) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a descriptor of its own, and places; then streams, closed once.
    unsafe {
        call(|| castio_fdopen(fd, timeout_ms, &raw mut input, &raw mut output))?;
        *libc::__errno_location() = 0;
        let (byte, error) = (libc::fgetc(input), errno());
        libc::fclose(output);
        libc::fclose(input);
        match (byte, error) {
            (libc::EOF, 0) => Ok(0),
            (libc::EOF, error) => Err(castio::Errno::from_raw(error)),
            _ => Ok(1),
        }
    }
}

fn recv_to_mark(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let (mut bytes, mut at_mark) = ([0_u8; LEN], -1);
    let (fd, at) = (ends.own.as_raw_fd(), bytes.as_mut_ptr().cast());
    // SAFETY: the bytes are writable, and so is the place.
    call(|| unsafe { castio_recv_to_mark(fd, at, LEN, timeout_ms, &raw mut at_mark) as i64 })
}

fn wait_oob(ends: &Ends, timeout_ms: c_int) -> Outcome {
    // SAFETY: takes no pointer.
    call(|| unsafe { castio_wait_oob(ends.own.as_raw_fd(), timeout_ms) })
}

fn with_receiver(fd: &OwnedFd, receive: impl FnOnce(*mut castio_receiver) -> i64) -> Outcome {
    let mut receiver = ptr::null_mut();
    // SAFETY: a place; then a handle, closed once.
    unsafe {
        call(|| castio_receiver_open(fd.as_raw_fd(), ptr::null(), &raw mut receiver))?;
        let result = call(|| receive(receiver));
        castio_receiver_close(receiver);
        result
    }
}

fn receive_datagrams(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let mut views = [empty_view(); 4];
    let at = views.as_mut_ptr();
    // SAFETY: a handle, and views.
    with_receiver(&ends.own, |handle| unsafe { castio_receive_datagrams(handle, at, 4, timeout_ms) as i64 })
}

fn receive_copies(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let (mut views, mut bytes) = ([empty_view(); 1], [0; LEN]);
    let (at, list) = (views.as_mut_ptr(), [room(&mut bytes)]);
    let list = list.as_ptr();
    // SAFETY: a handle, a buffer and a view.
    with_receiver(&ends.own, |handle| unsafe { castio_receive_copies(handle, list, at, 1, timeout_ms) as i64 })
}

fn with_membership(fd: &OwnedFd, work: impl FnOnce(*mut castio_membership) -> i64) -> Outcome {
    let mut membership = ptr::null_mut();
    // SAFETY: a place; then a handle, closed once.
    unsafe {
        call(|| castio_membership_open(fd.as_raw_fd(), ptr::null(), &raw mut membership))?;
        let result = call(|| work(membership));
        castio_membership_close(membership);
        result
    }
}

fn membership_receive(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let mut views = [empty_view(); 4];
    let at = views.as_mut_ptr();
    // SAFETY: a handle, and views.
    with_membership(&ends.own, |handle| unsafe { castio_membership_receive(handle, at, 4, timeout_ms) as i64 })
}

fn membership_wait(ends: &Ends, timeout_ms: c_int) -> Outcome {
    // SAFETY: a handle.
    with_membership(&ends.own, |handle| unsafe { castio_membership_wait(handle, timeout_ms).into() })
}

fn write_all(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let (fd, bytes) = (ends.own.as_raw_fd(), to_write(ends));
    // SAFETY: the bytes are readable.
    call(|| unsafe { castio_write_all(fd, bytes.as_ptr().cast(), bytes.len(), timeout_ms, ptr::null_mut()) as i64 })
}

fn writev_all(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let (fd, bytes) = (ends.own.as_raw_fd(), to_write(ends));
    let list = [buffer(&bytes)];
    // SAFETY: one buffer.
    call(|| unsafe { castio_writev_all(fd, list.as_ptr(), 1, timeout_ms, ptr::null_mut()) as i64 })
}

fn send_oob(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let (fd, bytes) = (ends.own.as_raw_fd(), to_write(ends));
    // SAFETY: the bytes are readable.
    call(|| unsafe { castio_send_oob(fd, bytes.as_ptr().cast(), bytes.len(), timeout_ms, ptr::null_mut()) as i64 })
}

pub fn with_sender(
    fd: &OwnedFd,
    options: *const castio_sender_options,
    send: impl FnOnce(*mut castio_sender) -> i64,
) -> Outcome {
    let mut sender = ptr::null_mut();
    // SAFETY: options or NULL, and a place; then a handle, closed once.
    unsafe {
        call(|| castio_sender_open(fd.as_raw_fd(), options, &raw mut sender))?;
        let result = call(|| send(sender));
        castio_sender_close(sender);
        result
    }
}

/// One datagram to the peer.
pub fn datagram(list: &iovec) -> castio_datagram {
    // SAFETY: all zero is a datagram to the peer.
    let empty: castio_datagram = unsafe { std::mem::zeroed() };
    castio_datagram { struct_size: size_of::<castio_datagram>(), iov: list, iovcnt: 1, ..empty }
}

fn send_datagrams(ends: &Ends, timeout_ms: c_int) -> Outcome {
    let bytes = to_write(ends);
    let list = buffer(&bytes);
    let one = datagram(&list);
    // SAFETY: a handle, and one datagram.
    let send = |handle| unsafe { castio_send_datagrams(handle, &raw const one, 1, timeout_ms, ptr::null_mut()) as i64 };
    with_sender(&ends.own, ptr::null(), send)
}

/// What a call has to say, if it doesn't wait until its time has passed.
pub fn expected(call: &Call, state: State, kind: Kind) -> Option<Outcome> {
    let failure = |code| Some(Err(castio::Errno::from_raw(code)));
    let end = || match call.end {
        Zero => Some(Ok(0)),
        Error(code) => failure(code),
    };
    match (call.waits_for, state) {
        (News, _) => None,
        (Room, State::PendingError | State::PeerGone) => failure(libc::ECONNRESET),
        (Room, _) => None,
        (_, State::PendingError) => failure(if kind == Tcp4 { libc::ECONNRESET } else { libc::ECONNREFUSED }),
        (_, State::ShutRead | State::PeerGone) => end(),
        (UrgentByte, State::UrgentMark) => Some(Ok(0)),
        (_, State::UrgentMark) if call.name == "castio_recv_to_mark" => Some(Ok(0)),
        _ => None,
    }
}
