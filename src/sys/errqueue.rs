//! The error queue of a socket (MSG_ERRQUEUE), as far as it tells of zero-copy sends.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{length, socket};
use crate::error::Result;
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

#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; 128]);

/// Takes one message from the error queue, without waiting: `EAGAIN` if there is none. `None` for a
/// message of another kind.
pub fn take_completion(fd: BorrowedFd<'_>) -> Result<Option<Completion>> {
    let mut control = Control([MaybeUninit::zeroed(); 128]);
    let mut message = socket::empty_message();
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = Flags::DONTWAIT.raw() | libc::MSG_ERRQUEUE;
    // SAFETY: the message has no buffers, and room for control data.
    length(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) })?;
    // SAFETY: recvmsg filled the control buffer and says how far; the macros stay within.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() };
    let Some(header) = header else { return Ok(None) };
    // SAFETY: arithmetic on a size.
    let needed = unsafe { libc::CMSG_LEN(size_of::<ExtendedError>() as u32) } as usize;
    #[allow(clippy::unnecessary_cast, reason = "an int in other C libraries")]
    let is_error = matches!(
        (header.cmsg_level, header.cmsg_type),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    ) && header.cmsg_len as usize >= needed;
    if !is_error {
        return Ok(None);
    }
    // SAFETY: the header says that so many bytes stand behind it.
    let error = unsafe { libc::CMSG_DATA(header).cast::<ExtendedError>().read_unaligned() };
    let completion = Completion { first: error.info, last: error.data, copied: error.code & CODE_COPIED != 0 };
    Ok((error.origin == ORIGIN_ZEROCOPY && error.errno == 0).then_some(completion))
}
