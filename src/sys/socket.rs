//! Transfers on sockets: send(2), recv(2), sendmsg(2), recvmsg(2), and making sockets.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::memory::{Gather, Scatter, Sink, Source};
use super::option::IntOption;
use super::sockaddr::SocketAddress;
use super::{done, length, value};
use crate::error::{Errno, Result};

/// The flags of a transfer (`MSG_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(libc::c_int);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// EPIPE without a SIGPIPE.
    pub const NOSIGNAL: Flags = Flags(libc::MSG_NOSIGNAL);
    /// Never blocks, whatever the descriptor's mode.
    pub const DONTWAIT: Flags = Flags(libc::MSG_DONTWAIT);
    /// Copies without consuming.
    pub const PEEK: Flags = Flags(libc::MSG_PEEK);
    /// A datagram's true length is returned.
    pub const TRUNC: Flags = Flags(libc::MSG_TRUNC);
    /// Blocks until all is there.
    pub const WAITALL: Flags = Flags(libc::MSG_WAITALL);
    /// Urgent data.
    pub const OOB: Flags = Flags(libc::MSG_OOB);
    /// Descriptors that come by control data are closed on exec (`MSG_CMSG_CLOEXEC`).
    pub(super) const CLOSE_ON_EXEC: Flags = Flags(libc::MSG_CMSG_CLOEXEC);

    /// The kernel reads the memory later (`MSG_ZEROCOPY`).
    pub const fn zerocopy(_: KeptMemory) -> Flags {
        Flags(libc::MSG_ZEROCOPY)
    }

    /// Both.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(super) const fn raw(self) -> libc::c_int {
        self.0
    }
}

/// Says that memory stays as it is after it was sent, until the kernel tells that it has read it
/// (MSG_ZEROCOPY): longer than any lifetime of a call.
#[derive(Clone, Copy, Debug)]
pub struct KeptMemory(());

impl KeptMemory {
    /// # Safety
    /// So it is with all memory that is sent by means of this.
    pub unsafe fn promised() -> KeptMemory {
        KeptMemory(())
    }
}

/// What recvmsg(2) tells of what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes stored.
    pub len: usize,
    /// A datagram was longer than the buffers (`MSG_TRUNC`).
    pub truncated: bool,
}

/// send(2).
pub fn send(fd: BorrowedFd<'_>, bytes: Source<'_>, flags: Flags) -> Result<usize> {
    // SAFETY: a Source is memory that the kernel may read.
    length(unsafe { libc::send(fd.as_raw_fd(), bytes.base(), bytes.len(), flags.0) })
}

/// recv(2). Descriptors that come along (unix(7)) the kernel drops, also when it only peeks.
pub fn recv(fd: BorrowedFd<'_>, bytes: Sink<'_>, flags: Flags) -> Result<usize> {
    // SAFETY: a Sink is memory that the kernel may write.
    match length(unsafe { libc::recv(fd.as_raw_fd(), bytes.base(), bytes.len(), flags.0) }) {
        Err(Errno::EINVAL) => Err(why_invalid(fd)),
        result => result,
    }
}

/// A UNIX stream socket that isn't connected, or listens, says `EINVAL` where others say `ENOTCONN`; so does TCP when
/// it is asked for urgent data. `EINVAL` if that isn't the reason.
#[cold]
fn why_invalid(fd: BorrowedFd<'_>) -> Errno {
    let is_stream = IntOption::TYPE.get(fd) == Ok(libc::SOCK_STREAM);
    match peer_name(fd) {
        Err(Errno::ENOTCONN) if is_stream => Errno::ENOTCONN,
        _ => Errno::EINVAL,
    }
}

/// sendmsg(2) of a list, to the peer.
pub fn sendmsg(fd: BorrowedFd<'_>, list: Gather<'_>, flags: Flags) -> Result<usize> {
    let mut message = empty_message();
    message.msg_iov = list.first();
    message.msg_iovlen = list.count() as _;
    // SAFETY: the message names memory that the kernel may read, and nothing else.
    length(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, flags.0) })
}

/// recvmsg(2) into a list. Without room for control data the kernel drops descriptors that come along.
pub fn recvmsg(fd: BorrowedFd<'_>, list: Scatter<'_>, flags: Flags) -> Result<Received> {
    let mut message = empty_message();
    message.msg_iov = list.first();
    message.msg_iovlen = list.count() as _;
    // SAFETY: the message names memory that the kernel may write, and nothing else.
    match length(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags.0) }) {
        Ok(len) => Ok(Received { len, truncated: message.msg_flags & libc::MSG_TRUNC != 0 }),
        Err(Errno::EINVAL) => Err(why_invalid(fd)),
        Err(error) => Err(error),
    }
}

/// How often [`peek_length`] names its memory: as often as a list may be long.
const NAMED: usize = super::memory::IOV_MAX;

/// The most that [`peek_length`] sees.
pub const PEEK_LENGTH_MAX: usize = NAMED * SCRATCH;

const SCRATCH: usize = 8192;

/// recvmsg(2) with MSG_PEEK: how many bytes of a stream the next read would give, whatever ends it: an urgent mark,
/// descriptors that come with the bytes, other credentials. At most [`PEEK_LENGTH_MAX`]: the kernel copies them all
/// into the same little memory, one after the other (TCP copies none, by MSG_TRUNC).
pub fn peek_length(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut scratch = [MaybeUninit::<u8>::uninit(); SCRATCH];
    let mut list = [libc::iovec { iov_base: scratch.as_mut_ptr().cast(), iov_len: SCRATCH }; NAMED];
    let mut message = empty_message();
    message.msg_iov = list.as_mut_ptr();
    message.msg_iovlen = NAMED as _;
    let flags = Flags::PEEK.and(Flags::DONTWAIT).and(Flags::TRUNC);
    // SAFETY: each entry names the scratch memory, which nobody reads; the kernel only writes there.
    length(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags.0) })
}

pub(super) fn empty_message() -> libc::msghdr {
    // SAFETY: all zero is a message without address, buffers or control data.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A new UDP socket, closed on exec.
pub fn udp_socket(domain: libc::c_int) -> Result<OwnedFd> {
    new_socket(domain, libc::SOCK_DGRAM, 0)
}

/// A new raw socket (raw(7)) of a protocol, closed on exec. `EPERM` without CAP_NET_RAW.
pub fn raw_socket(domain: libc::c_int, protocol: u8) -> Result<OwnedFd> {
    new_socket(domain, libc::SOCK_RAW, protocol.into())
}

fn new_socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let fd = value(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bind(2).
pub fn bind(fd: BorrowedFd<'_>, address: &SocketAddress) -> Result<()> {
    let (pointer, len) = address.as_raw();
    // SAFETY: the address is valid for its length.
    done(unsafe { libc::bind(fd.as_raw_fd(), pointer, len) })
}

/// sendto(2) with MSG_PROBE: fails as a datagram to that address would for want of a route, and sends none. The socket
/// gets a port if it has none. What it holds back (MSG_MORE, UDP_CORK) stays there, which takes MSG_MORE here too.
pub fn probe(fd: BorrowedFd<'_>, to: &SocketAddress) -> Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_MORE | MSG_PROBE;
    let (address, len) = to.as_raw();
    // SAFETY: nothing is sent from NULL, and the address is valid for its length.
    length(unsafe { libc::sendto(fd.as_raw_fd(), std::ptr::null(), 0, flags, address, len) }).map(drop)
}

/// Not in the libc crate (<linux/socket.h>).
const MSG_PROBE: libc::c_int = 0x10;

/// connect(2).
pub fn connect(fd: BorrowedFd<'_>, address: &SocketAddress) -> Result<()> {
    let (pointer, len) = address.as_raw();
    // SAFETY: the address is valid for its length.
    done(unsafe { libc::connect(fd.as_raw_fd(), pointer, len) })
}

/// socket(2): another of the same family, type and protocol, closed on exec.
pub fn another(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let (domain, kind) = (IntOption::DOMAIN.get(fd)?, IntOption::TYPE.get(fd)?);
    let protocol = IntOption::PROTOCOL.get(fd)?;
    // SAFETY: socket takes no pointer.
    let fd = value(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// getpeername(2).
pub fn peer_name(fd: BorrowedFd<'_>) -> Result<SocketAddress> {
    // SAFETY: there is room for the address, and the length says how much.
    SocketAddress::read(|address, len| done(unsafe { libc::getpeername(fd.as_raw_fd(), address, len) }))
}

/// getsockname(2).
pub fn local_name(fd: BorrowedFd<'_>) -> Result<SocketAddress> {
    // SAFETY: there is room for the address, and the length says how much.
    SocketAddress::read(|address, len| done(unsafe { libc::getsockname(fd.as_raw_fd(), address, len) }))
}

/// getpeername(2) of an Internet socket.
pub fn peer_address(fd: BorrowedFd<'_>) -> Result<SocketAddr> {
    peer_name(fd)?.internet().ok_or(Errno::EAFNOSUPPORT)
}

/// getsockname(2) of an Internet socket.
pub fn local_address(fd: BorrowedFd<'_>) -> Result<SocketAddr> {
    local_name(fd)?.internet().ok_or(Errno::EAFNOSUPPORT)
}

/// connect(2) to AF_UNSPEC: TCP sends a reset, and drops what waits in either direction.
pub fn disconnect(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: all zero is an address, of the family AF_UNSPEC.
    let nowhere: libc::sockaddr = unsafe { MaybeUninit::zeroed().assume_init() };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is valid for its length.
    done(unsafe { libc::connect(fd.as_raw_fd(), &raw const nowhere, len) })
}

/// shutdown(2) of the sending side.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: shutdown(2) takes no pointer.
    done(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) })
}
