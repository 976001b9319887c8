//! Sockets with standard I/O.

use std::ffi::c_int;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use libc::FILE;

use super::convert::{Place, descriptor};
use super::guard::guard;
use crate::stdio;

/// Takes a stream socket over and makes two buffered streams of it, one for reading and one for
/// writing, independent of each other: fopencookie() over recv() and sendmsg() with MSG_NOSIGNAL.
/// All of stdio works on them: fprintf(), fgets(), getline(), fread(). (A single stream for both
/// would lose replies: stdio wants a seek between reading and writing.)
///
/// fclose(out) flushes and ends the sending direction: the peer sees the end, and in goes on
/// reading. The descriptor is closed with the second fclose(). Don't use or close it yourself.
///
/// - fd: a connected stream socket, TCP or UNIX, blocking or not; its mode isn't touched.
/// - timeout_ms: for each wait for data or room, as in poll(): -1 waits for ever, 0 doesn't wait.
///   When it has passed the call fails, ferror() is set and errno is ETIMEDOUT (EAGAIN for 0);
///   after clearerr() the stream can be used again. A line cut short so is kept by getline() and
///   dropped by fgets(); output that didn't go out is dropped.
/// - in, out: written with the two streams.
///
/// Returns 0. Both streams are fully buffered: fflush(out) before waiting for an answer, or
/// setvbuf(out, NULL, _IOLBF, 0). fileno() of either is -1.
///
/// Errors (the descriptor is still yours then, and in and out are unchanged):
/// -EFAULT: in or out is NULL.
/// -EPROTOTYPE: not a stream socket: stdio would run messages together.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket. -ENOMEM.
/// On the streams, in errno: ETIMEDOUT, EAGAIN; EPIPE or ECONNRESET when the peer has closed, and
/// no SIGPIPE.
///
/// Each stream has stdio's own lock; reading in one thread and writing in another is fine. Since
/// 0.1.0. See fopencookie(3), shutdown(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_fdopen(
    fd: c_int,
    timeout_ms: c_int,
    r#in: *mut *mut FILE,
    out: *mut *mut FILE,
) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or places.
        let (input, output) = unsafe { (Place::new(r#in)?, Place::new(out)?) };
        stdio::check(descriptor(fd)?)?;
        // SAFETY: open, as `check` saw, and the header says that it is taken over.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        match stdio::open(socket, timeout_ms) {
            Ok((reader, writer)) => {
                input.put(reader.into_raw());
                output.put(writer.into_raw());
                Ok(())
            }
            Err((error, socket)) => {
                // Back to the caller, open.
                socket.map(IntoRawFd::into_raw_fd);
                Err(error)
            }
        }
    })
}
