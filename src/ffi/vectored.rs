//! Gathering and scattering.

use std::ffi::{c_int, c_void};

use libc::{iovec, ssize_t};

use super::convert::{self, counted, descriptor};
use super::guard::guard;
use crate::deadline::Deadline;
use crate::sys::memory::{self, Out};
use crate::vectored;

/// Sends all buffers, in order, as one stretch of a stream or as one message: sendmsg() with
/// MSG_NOSIGNAL on a socket, pwritev2() with RWF_NOSIGNAL on a pipe, writev() on a file or terminal. Goes
/// on after partial transfers and signals until everything is out.
///
/// - fd: a socket, pipe, file or terminal, blocking or not; its mode isn't touched.
/// - iov, iovcnt: the buffers, any number of them. The array is not changed.
/// - timeout_ms: for the whole call, as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: how many bytes went out, written on failure too. May be NULL.
///
/// Returns the sum of all lengths. A sum of 0 sends an empty message on a datagram or seqpacket
/// socket and nothing elsewhere. On failure the first *done bytes are out, no others.
///
/// Errors:
/// -EAGAIN: timeout_ms is 0 and there is no room for (the rest of) the data.
/// -ETIMEDOUT: the time has passed.
/// -EPIPE, -ECONNRESET: the other end is closed; there is no SIGPIPE.
/// -EHOSTUNREACH, -ENETUNREACH, -ENETDOWN: no way leads to the other end.
/// -EDQUOT: the disk quota is used up. -ENODATA: a netlink socket, and no data. -ENXIO: a packet socket that is bound
///   to no interface.
/// -ENOTCONN: a UNIX stream socket that isn't connected (TCP says -EPIPE).
/// -EMSGSIZE: a message socket, and more than 1024 buffers (IOV_MAX: cutting the message in two
///   would be wrong) or more bytes than a message may have.
/// -EINVAL: iovcnt is negative, or the lengths add up to more than SSIZE_MAX.
/// -EFAULT: iov is NULL or misaligned, or a buffer isn't readable; the data before it may be out.
/// -EBADF: fd isn't open for writing.
/// -EIO: the descriptor takes nothing and gives no error; or an input/output error.
/// -EFBIG: the file is as long as RLIMIT_FSIZE or the file system lets it be; there is no SIGXFSZ.
/// -EPERM: the file is sealed (F_SEAL_WRITE) or immutable; or a firewall rule refuses the datagram.
/// Others as sendmsg() and writev(): -EDESTADDRREQ, -ECONNREFUSED, -ENOBUFS, -ENOSPC.
///
/// Any thread; concurrent writers of one stream may mix their data. A signal handler that returns
/// doesn't end the call. Kernels before Linux 6.18 have no RWF_NOSIGNAL: there, and for SIGXFSZ on files,
/// the signal is blocked in the calling thread for each write() that doesn't wait, and taken away again
/// if that write raised it. Since 0.1.0. See writev(2), sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_writev_all(
    fd: c_int,
    iov: *const iovec,
    iovcnt: c_int,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let write = |done: &mut usize| {
        // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
        let memory = unsafe { convert::list(iov, iovcnt)? };
        vectored::writev_all(descriptor(fd)?, memory, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, write) })
}

/// Fills all buffers, in order, or takes what there is before the end of file: recvmsg() on a
/// socket, readv() on anything else. Goes on after partial transfers and signals.
///
/// - fd: a socket, pipe, file or terminal, blocking or not; its mode isn't touched.
/// - iov, iovcnt: the buffers, any number of them. The array is not changed.
/// - timeout_ms: for the whole call, as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: how many bytes came in, written on failure too: they are in the buffers, and gone from
///   the descriptor. May be NULL.
///
/// Returns the number of bytes. Less than was asked for is the end of file, or, on a datagram or
/// seqpacket socket, the length of the one message that was taken. 0 there is an empty message, or the
/// end: the peer has closed a seqpacket socket, or shutdown(SHUT_RD) has ended reading. It doesn't stop at an urgent mark: see castio_recv_to_mark. Buffers of no bytes take nothing.
///
/// Errors:
/// -EAGAIN: timeout_ms is 0 and (the rest of) the data isn't there.
/// -ETIMEDOUT: the time has passed. On a terminal with VMIN over 1, fewer bytes than that wake nobody
///   and are taken at the end of the time.
/// -EMSGSIZE: a message socket, and the message was longer than the buffers: its head is in them
///   (*done bytes), its tail is gone. Or more than 1024 buffers (IOV_MAX); nothing is taken then.
/// -ECONNRESET, -ECONNREFUSED: what happened to the connection, told once.
/// -EHOSTUNREACH, -ENETUNREACH: no way leads to the other end, told once.
/// -EINVAL: iovcnt is negative, or the lengths add up to more than SSIZE_MAX.
/// -EFAULT: iov is NULL or misaligned, or a buffer isn't writable. *done counts what came in before that
///   buffer; the message of a message socket is lost then, and so is what a terminal had in hand.
/// -EBADF: fd isn't open for reading. -EISDIR: it is a directory.
/// -ENOTCONN: a stream socket that isn't connected, or listens.
/// Others as recvmsg() and readv(): -EIO.
///
/// Any thread. A signal handler that returns doesn't end the call. Since 0.1.0. See readv(2),
/// recvmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_readv_all(
    fd: c_int,
    iov: *const iovec,
    iovcnt: c_int,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let read = |done: &mut usize| {
        // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
        let memory = unsafe { convert::list(iov, iovcnt)? };
        vectored::readv_all(descriptor(fd)?, memory, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, read) })
}

/// Sends all of one buffer: castio_writev_all with a single one.
///
/// - fd, timeout_ms, done: as in castio_writev_all.
/// - buf, len: the data, in bytes; with length 0 buf may be NULL.
///
/// Returns len.
///
/// Errors: as castio_writev_all. -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0.
///
/// Threads and signals as castio_writev_all. Since 0.1.0. See write(2), send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_write_all(
    fd: c_int,
    buf: *const c_void,
    len: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let write = |done: &mut usize| {
        // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
        let memory = unsafe { convert::region(buf, len)? };
        vectored::write_all(descriptor(fd)?, memory, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, write) })
}

/// Fills all of one buffer: castio_readv_all with a single one.
///
/// - fd, timeout_ms, done: as in castio_readv_all.
/// - buf, len: where the data goes, and how many bytes; with length 0 buf may be NULL.
///
/// Returns the number of bytes; less than len as in castio_readv_all.
///
/// Errors: as castio_readv_all. -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0.
///
/// Threads and signals as castio_readv_all. Since 0.1.0. See read(2), recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_read_all(
    fd: c_int,
    buf: *mut c_void,
    len: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let read = |done: &mut usize| {
        // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
        let memory = unsafe { convert::region(buf, len)? };
        vectored::read_all(descriptor(fd)?, memory, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, read) })
}

/// The sum of all lengths of an array of buffers, in bytes. No system call.
///
/// Errors:
/// -EINVAL: iovcnt is negative, or the sum is over SSIZE_MAX.
/// -EFAULT: iov is NULL and iovcnt isn't 0.
///
/// Any thread, any signal handler. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_iov_length(iov: *const iovec, iovcnt: c_int) -> ssize_t {
    // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
    guard(|| unsafe { convert::list::<Out>(iov, iovcnt)? }.total())
}

/// Steps over the first bytes of an array of buffers, in place: those that are done get length 0,
/// the first unfinished one is cut at its front. For loops of one's own around the nowait
/// functions. No system call.
///
/// - iov, iovcnt: the array, which is changed.
/// - bytes: how many to step over.
///
/// Returns the index of the first unfinished buffer, or iovcnt when all are done.
///
/// Errors (the array is unchanged then):
/// -EINVAL: iovcnt is negative, there are fewer bytes, or their sum is over SSIZE_MAX.
/// -EFAULT: iov is NULL and iovcnt isn't 0.
///
/// Any thread, any signal handler. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_iov_advance(iov: *mut iovec, iovcnt: c_int, bytes: usize) -> c_int {
    guard(|| {
        // SAFETY: NULL or so many buffers that stay valid during the call, as the header asks.
        let count = unsafe { convert::list::<Out>(iov, iovcnt)? }.count();
        // SAFETY: `count` of them are there, and the caller's to change.
        let index = unsafe { memory::advance_in_place(iov, count, bytes)? };
        // At most iovcnt, which is an int.
        Ok(index as c_int)
    })
}
