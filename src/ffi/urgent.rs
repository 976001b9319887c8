//! Urgent (out-of-band) data.

use std::ffi::{c_int, c_void};

use libc::{pid_t, ssize_t};

use super::convert::{self, Place, counted, descriptor};
use super::guard::guard;
use crate::deadline::Deadline;
use crate::urgent;

/// Says who gets SIGURG when urgent data arrives on a socket: fcntl(F_SETOWN_EX).
///
/// - fd: a socket. accept() doesn't inherit the owner.
/// - owner: a process id, the negative id of a process group, or 0 for nobody. The receiver needs a
///   handler for SIGURG, which is ignored by default; O_ASYNC isn't needed.
///
/// Returns 0.
///
/// Errors:
/// -ESRCH: there is no such process or group. The id of a thread, or the negative id of a process
///   that leads no group, is none. The owner is as before.
/// -EINVAL: owner is INT_MIN.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread; the owner belongs to the open socket, which other descriptors and processes may
/// share. SIGIO goes to the same owner. castio_wait_oob needs no signal at all. Since 0.1.0. See
/// fcntl(2), socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_oob_owner(fd: c_int, owner: pid_t) -> c_int {
    guard(|| urgent::set_owner_id(descriptor(fd)?, owner))
}

/// Asks who gets SIGURG: fcntl(F_GETOWN_EX).
///
/// - fd: a socket.
/// - owner: written with a process id, the negative id of a process group, the id of a thread, or 0
///   for nobody: none was set, it has ended, or it isn't visible in this PID namespace. It is 0 too
///   if fcntl() has set a thread's id as that of a process; the signal goes to its process then.
///
/// Returns 0.
///
/// Errors:
/// -EFAULT: owner is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_oob_owner(fd: c_int, owner: *mut pid_t) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or a place.
        let place = unsafe { Place::new(owner)? };
        place.put(urgent::owner_id(descriptor(fd)?)?);
        Ok(())
    })
}

/// Makes SIGURG go to one thread: fcntl(F_SETOWN_EX) with F_OWNER_TID. castio_set_oob_owner's
/// process may get it in any of its threads.
///
/// - fd: a socket.
/// - tid: a thread id as of gettid(), or 0 for the calling thread.
///
/// Returns 0.
///
/// Errors:
/// -ESRCH: there is no such thread.
/// -EINVAL: tid is negative.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Since 0.1.0. See fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_oob_owner_thread(fd: c_int, tid: pid_t) -> c_int {
    guard(|| urgent::set_owner_thread(descriptor(fd)?, tid))
}

/// Sends bytes of which the last one is urgent: send() with MSG_OOB. The bytes before it go first,
/// as ordinary data.
///
/// - fd: a connected TCP socket, IPv4 or IPv6, or a UNIX stream socket (Linux 5.15).
/// - buf, len: at least one byte.
/// - timeout_ms: for the whole call, as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: how many bytes went out, written on failure too; the mark is set only when it is len.
///   May be NULL.
///
/// Returns len. There is one mark. An earlier urgent byte that the receiver hasn't read becomes
/// ordinary data; but on TCP it is lost if the receiver has read everything before it, unless it has
/// set castio_set_oob_inline.
///
/// Errors:
/// -EINVAL: len is 0, or over SSIZE_MAX.
/// -EAGAIN, -ETIMEDOUT: there was no room (in time).
/// -EOPNOTSUPP: a socket without urgent data: MPTCP, vsock, TLS on TCP, no stream at all.
/// -EPIPE, -ECONNRESET, -ENOTCONN: it isn't connected (any more); there is no SIGPIPE.
/// -EHOSTUNREACH, -ENETUNREACH: no way leads to the other end.
/// -EFAULT: buf is NULL or isn't readable. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. A signal handler that returns doesn't end the call. Since 0.1.0. See send(2), tcp(7),
/// RFC 6093.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_oob(
    fd: c_int,
    buf: *const c_void,
    len: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let send = |done: &mut usize| {
        // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
        let bytes = unsafe { convert::region(buf, len)? };
        urgent::send(descriptor(fd)?, bytes, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, send) })
}

/// Takes the urgent byte, out of the order of the stream and without waiting: recv() with MSG_OOB.
///
/// - fd: a TCP or UNIX stream socket, without castio_set_oob_inline.
///
/// Returns the byte, 0 to 255.
///
/// Errors:
/// -EINVAL: there is none, it was taken already, or it stays in the stream (castio_set_oob_inline).
/// -EAGAIN: it is announced but not here yet.
/// -ECONNRESET: the peer has broken the connection off. -ETIMEDOUT: TCP got no answer from it.
/// -EHOSTUNREACH, -ENETUNREACH: no way leads to it.
/// -EOPNOTSUPP: not TCP or a UNIX stream. -ENOTCONN: it isn't connected.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread, any signal handler: a handler of SIGURG may call it. Since 0.1.0. See recv(2), tcp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_recv_oob(fd: c_int) -> c_int {
    guard(|| urgent::recv(descriptor(fd)?).map(i32::from))
}

/// Whether reading has come to the urgent mark: ioctl(SIOCATMARK), as sockatmark().
///
/// - fd: a TCP or UNIX stream socket.
///
/// Returns 1 if the next byte of the stream is the one at the mark, else 0. It stays 1 after
/// castio_recv_oob, until something is read.
///
/// Errors:
/// -EOPNOTSUPP: not TCP or a UNIX stream. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread, any signal handler. Since 0.1.0. See sockatmark(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_at_mark(fd: c_int) -> c_int {
    guard(|| urgent::at_mark(descriptor(fd)?))
}

/// Reads ordinary data up to the urgent mark and never over it: ioctl(SIOCATMARK), poll() and
/// recv(). A plain recv() at the mark would step over it and lose an urgent byte that wasn't taken.
///
/// - fd: a TCP or UNIX stream socket.
/// - buf, len: where the data goes, and how many bytes at most; not 0.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
/// - at_mark: written with 1 if reading has come to the mark, else 0.
///
/// Returns the number of bytes, as soon as there are some. 0 with *at_mark 1: at the mark; take the
/// urgent byte by castio_recv_oob, then read on by recv(). 0 with *at_mark 0: the end.
///
/// Errors (*at_mark is 0 then):
/// -EAGAIN: timeout_ms is 0 and there is nothing before a mark.
/// -ETIMEDOUT: the time has passed.
/// -EINVAL: len is 0, or over SSIZE_MAX.
/// -EFAULT: at_mark or buf is NULL, or buf isn't writable.
/// -ECONNRESET, -ENOTCONN: it isn't connected (any more). -EHOSTUNREACH, -ENETUNREACH: no way leads to the peer.
/// -EOPNOTSUPP: not TCP or a UNIX stream. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// One reading thread. A signal handler that returns doesn't end the call. Since 0.1.0. See
/// sockatmark(3), tcp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_recv_to_mark(
    fd: c_int,
    buf: *mut c_void,
    len: usize,
    timeout_ms: c_int,
    at_mark: *mut c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(at_mark)? };
        let read = || {
            // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
            let bytes = unsafe { convert::region(buf, len)? };
            urgent::recv_to_mark(descriptor(fd)?, bytes, Deadline::from_timeout_ms(timeout_ms))
        };
        let result = read();
        place.put(matches!(result, Ok((_, true))).into());
        result.map(|(count, _)| count)
    })
}

/// Waits until an urgent byte is there: poll() with POLLPRI. No signal is needed.
///
/// - fd: a TCP or UNIX stream socket.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns 0 when castio_recv_oob has something to take (or will have it at once: it is announced).
///
/// Errors:
/// -EAGAIN: timeout_ms is 0 and there is none. -ETIMEDOUT: the time has passed.
/// -EPIPE: the peer has closed its side, and none can come. Another error that was pending on the
///   socket (SO_ERROR: -ECONNRESET) is told instead, and taken away. What lies on the error queue is no
///   error of the connection, and stays there.
/// -ENOTCONN: it was never connected, or listens.
/// -EOPNOTSUPP: not TCP or a UNIX stream. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. A signal handler that returns doesn't end the call. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_wait_oob(fd: c_int, timeout_ms: c_int) -> c_int {
    guard(|| urgent::wait(descriptor(fd)?, Deadline::from_timeout_ms(timeout_ms)))
}

/// Says whether the urgent byte stays in the stream, in its place: setsockopt(SO_OOBINLINE). The
/// mark is still there (castio_at_mark, castio_recv_to_mark).
///
/// - fd: a TCP or UNIX stream socket.
/// - on: 0 takes it out (the default), anything else leaves it in.
///
/// Returns 0.
///
/// Errors:
/// -EOPNOTSUPP: not TCP or a UNIX stream. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_oob_inline(fd: c_int, on: c_int) -> c_int {
    guard(|| urgent::set_inline(descriptor(fd)?, on != 0))
}

/// Whether the urgent byte stays in the stream: getsockopt(SO_OOBINLINE).
///
/// Returns 1 or 0.
///
/// Errors:
/// -EOPNOTSUPP: not TCP or a UNIX stream. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_oob_inline(fd: c_int) -> c_int {
    guard(|| urgent::is_inline(descriptor(fd)?))
}
