//! The error queue of a socket (MSG_ERRQUEUE), as far as it tells of zero-copy sends, and of datagrams
//! that didn't arrive.

use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{control, length, sockaddr, socket};
use crate::error::{Errno, Result};
use crate::sys::socket::Flags;

/// `struct sock_extended_err` of <linux/errqueue.h>, not in the libc crate for every target.
#[repr(C)]
#[derive(Clone, Copy)]
struct ExtendedError {
    errno: u32,
    origin: u8,
    kind: u8,
    code: u8,
    pad: u8,
    info: u32,
    data: u32,
}

const _: () = assert!(size_of::<ExtendedError>() == 16);

const ORIGIN_ZEROCOPY: u8 = 5;
const CODE_COPIED: u8 = 1;

/// Sends that the kernel is done with: their memory may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The first of them, counted from 0 on this socket, modulo 2^32.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// The kernel copied after all.
    pub copied: bool,
}

/// Room for the error and what a socket's options make the kernel tell besides.
const CONTROL_ROOM: usize = 512;

#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL_ROOM]);

/// Takes one message from the error queue, without waiting: `EAGAIN` if there is none. `None` for a
/// message of another kind.
pub fn take_completion(fd: BorrowedFd<'_>) -> Result<Option<Completion>> {
    let Some((error, _)) = take(fd)? else { return Ok(None) };
    let completion = Completion { first: error.info, last: error.data, copied: error.code & CODE_COPIED != 0 };
    Ok((error.origin == ORIGIN_ZEROCOPY && error.errno == 0).then_some(completion))
}

/// Takes one message from the error queue, likewise: where a datagram went, and why it didn't arrive
/// (ICMP, or this host's own word).
pub fn take_unreachable(fd: BorrowedFd<'_>) -> Result<Option<(SocketAddr, Errno)>> {
    let Some((error, to)) = take(fd)? else { return Ok(None) };
    let is_error = error.origin != ORIGIN_ZEROCOPY && error.errno != 0;
    let errno = Errno::from_raw(i32::try_from(error.errno).unwrap_or(0));
    Ok(to.filter(|_| is_error).map(|to| (to, errno)))
}

fn take(fd: BorrowedFd<'_>) -> Result<Option<(ExtendedError, Option<SocketAddr>)>> {
    let mut control = Control([MaybeUninit::zeroed(); CONTROL_ROOM]);
    let mut name = sockaddr::unspecified();
    let mut message = socket::empty_message();
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as _;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = Flags::DONTWAIT.and(Flags::CLOSE_ON_EXEC).raw() | libc::MSG_ERRQUEUE;
    // SAFETY: the message has no buffers, and room for an address and control data.
    length(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) })?;
    // A family without an error queue may have given an ordinary message.
    control::close_descriptors(&message);
    let to = sockaddr::from_storage(&name);
    Ok(control::entries(&message).find_map(|entry| extended_error(&entry)).map(|error| (error, to)))
}

fn extended_error(entry: &control::Entry) -> Option<ExtendedError> {
    let is_error = matches!(
        (entry.level, entry.kind),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    );
    if is_error { entry.value() } else { None }
}
