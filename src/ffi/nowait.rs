//! One transfer that never blocks.

use std::ffi::{c_int, c_void};

use libc::{iovec, ssize_t};

use super::convert::{self, descriptor};
use super::guard::guard;
use crate::nowait;

/// Sends what there is room for and never blocks, whatever the descriptor's mode, which isn't
/// touched: send() with MSG_DONTWAIT and MSG_NOSIGNAL on a socket; on a pipe pwritev2() with
/// RWF_NOWAIT; on a terminal a write through a second, non-blocking opening of it. A regular file
/// is always ready, as poll() has it. A pipe before Linux 6.4, a FIFO, and a pipe in a sandbox that
/// refuses pwritev2() are written to by poll() and writev() of at most PIPE_BUF bytes: there another
/// writer may fill the pipe in between, and this one waits.
///
/// - fd: a socket, pipe, file or terminal.
/// - buf, len: the data, in bytes; length 0 sends an empty message on a message socket.
///
/// Returns the number of bytes sent, which may be less than len on a stream, pipe or terminal.
///
/// Errors:
/// -EAGAIN: there is no room now; nothing was sent.
/// -EPIPE, -ECONNRESET: the other end is closed; there is no SIGPIPE.
/// -ETIMEDOUT: TCP got no answer from the other end. -EHOSTUNREACH, -ENETUNREACH, -ENETDOWN: no way leads to it.
/// -EDQUOT: the disk quota is used up. -ENODATA: a netlink socket, and no data. -ENXIO: a packet socket that is bound
///   to no interface.
/// -EMSGSIZE: more bytes than a message may have.
/// -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0, or isn't readable.
/// -EBADF: fd isn't open for writing.
/// -EIO: the other side of the terminal is closed; or an input/output error.
/// -ENOSPC: the file system or the device is full.
/// -EFBIG: the file is as long as RLIMIT_FSIZE or the file system lets it be; there is no SIGXFSZ.
/// -EPERM: the file is sealed (F_SEAL_WRITE) or immutable; or a firewall rule refuses the datagram.
/// Others as send() and write(): -EDESTADDRREQ, -ENOTCONN, -ECONNREFUSED, -ENOBUFS.
///
/// Any thread. Doesn't wait, so no signal interrupts it. Since 0.1.0. See send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_nowait(fd: c_int, buf: *const c_void, len: usize) -> ssize_t {
    // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
    guard(|| nowait::send(descriptor(fd)?, unsafe { convert::region(buf, len)? }))
}

/// Takes what is there and never blocks, whatever the descriptor's mode, which isn't touched:
/// recv() with MSG_DONTWAIT on a socket, and its like on a pipe, file or terminal, as in
/// castio_send_nowait. Where that one may wait for another writer, this one may for another reader.
///
/// - fd: a socket, pipe, file or terminal.
/// - buf, len: where the data goes, and how many bytes at most. A longer message is cut, as by
///   recv(): castio_peek_available tells its length beforehand.
///
/// Returns the number of bytes; 0 is the end of file, or an empty message.
///
/// Errors:
/// -EAGAIN: nothing is there.
/// -ECONNRESET, -ECONNREFUSED: what happened to the connection, told once.
/// -ETIMEDOUT: TCP got no answer from the other end. -EHOSTUNREACH, -ENETUNREACH: no way leads to it. Told once.
/// -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0, or isn't writable; a message
///   that was to go there is lost, and so is what a terminal had in hand.
/// -EBADF: fd isn't open for reading. -EISDIR: it is a directory.
/// Others as recv() and read(): -ENOTCONN, -EIO.
///
/// Any thread. Two readers of one terminal can take each other's data, and one without a
/// non-blocking opening (the master side of a pseudo-terminal) then waits. Since 0.1.0. See recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_recv_nowait(fd: c_int, buf: *mut c_void, len: usize) -> ssize_t {
    // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
    guard(|| nowait::recv(descriptor(fd)?, unsafe { convert::region(buf, len)? }))
}

/// castio_send_nowait for several buffers, in order: sendmsg() with MSG_DONTWAIT and MSG_NOSIGNAL
/// on a socket, pwritev2() elsewhere.
///
/// - iov, iovcnt: at most 1024 buffers (IOV_MAX). The array is not changed; castio_iov_advance
///   steps over what went out.
///
/// Returns the number of bytes sent.
///
/// Errors: as castio_send_nowait. -EMSGSIZE (a socket) or -EINVAL (elsewhere): more than 1024
/// buffers. -EINVAL: iovcnt is negative, or the lengths add up to more than SSIZE_MAX. -EFAULT: iov
/// is NULL and iovcnt isn't 0.
///
/// Threads and signals as castio_send_nowait. Since 0.1.0. See sendmsg(2), writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_writev_nowait(fd: c_int, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
    guard(|| nowait::writev(descriptor(fd)?, unsafe { convert::list(iov, iovcnt)? }))
}

/// castio_recv_nowait for several buffers, filled in order: recvmsg() with MSG_DONTWAIT on a
/// socket, preadv2() elsewhere.
///
/// - iov, iovcnt: at most 1024 buffers (IOV_MAX). The array is not changed.
///
/// Returns the number of bytes; 0 is the end of file, or an empty message.
///
/// Errors: as castio_recv_nowait. -EMSGSIZE (a socket) or -EINVAL (elsewhere): more than 1024
/// buffers. -EINVAL: iovcnt is negative, or the lengths add up to more than SSIZE_MAX. -EFAULT: iov
/// is NULL and iovcnt isn't 0.
///
/// Threads and signals as castio_recv_nowait. Since 0.1.0. See recvmsg(2), readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_readv_nowait(fd: c_int, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
    guard(|| nowait::readv(descriptor(fd)?, unsafe { convert::list(iov, iovcnt)? }))
}
