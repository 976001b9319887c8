//! Sockets with standard I/O.

use std::ffi::c_int;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use libc::FILE;

use super::convert::{Place, descriptor};
use super::guard::guard;
use crate::error::Errno;
use crate::stdio;
use crate::sys::cookie;

/// Takes a stream socket over and makes two buffered streams of it, one for reading and one for
/// writing, independent of each other: fopencookie() over recv() and sendmsg() with MSG_NOSIGNAL.
/// fprintf(), fgets(), getline(), fread(), ungetc() and setvbuf() work on them. (A single stream for
/// both would lose replies: stdio requires a seek between reading and writing.)
///
/// fclose(out) flushes and ends the sending direction: the peer sees the end, and in goes on
/// reading. The descriptor is closed with the second fclose(). Don't use or close it yourself.
///
/// - fd: a connected stream socket, TCP or UNIX, blocking or not; its mode isn't touched.
/// - timeout_ms: for each wait for data or room, as in poll(): -1 waits for ever, 0 doesn't wait.
///   When it has passed the call fails, ferror() is set and errno is ETIMEDOUT (EAGAIN for 0).
/// - in, out: written with the two streams.
///
/// Returns 0. Both streams are fully buffered: fflush(out) before waiting for an answer, or
/// setvbuf(out, NULL, _IOLBF, 0). fileno() of either is -1. There is no position: fseek(), ftell(),
/// rewind(), fgetpos() and fsetpos() fail with ESPIPE. With glibc the streams are for bytes: wide
/// character functions (fgetws(), fputws()) fail and leave errno as it was. freopen() isn't possible.
///
/// After a reading timeout and clearerr() reading goes on. Of a line cut short glibc's getline()
/// returns the part that came; fgets() does so with EAGAIN, and loses that part with ETIMEDOUT.
///
/// stdio drops output that can't be written. From then on out has failed for good: every later
/// write fails with the same errno, after clearerr() too. (fflush() of an empty buffer is 0: stdio
/// writes nothing.) fclose(out) gives that errno. On TCP it resets the connection: the peer gets
/// ECONNRESET instead of an end, and in still reads what had arrived. So does the end of the
/// process without fclose(). A UNIX socket has no reset: the peer sees no end before the descriptor
/// is closed, and then an ordinary one.
///
/// fflush(NULL) waits for each stream in turn, as timeout_ms says. exit() flushes too, and waits 5
/// seconds at most for all streams together, even if timeout_ms is -1; what isn't out by then is
/// lost as above.
///
/// fork() copies the streams and what is in their buffers. The connection belongs to the process
/// that called castio_fdopen(): in a child, fclose(out) flushes and closes the child's copy, and
/// the peer sees the end when all copies are closed. A parent that leaves the connection to its
/// child closes both streams by castio_release_stream().
///
/// Errors (the descriptor is still yours then, and in and out are unchanged):
/// -EFAULT: in or out is NULL.
/// -EPROTOTYPE: not a stream socket: stdio would run messages together.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket. -ENOMEM.
/// On the streams, in errno: ETIMEDOUT, EAGAIN; EPIPE or ECONNRESET when the peer has closed, and
/// no SIGPIPE.
///
/// Each stream has stdio's own lock; reading in one thread and writing in another is fine.
/// pthread_cancel() of a thread that waits in a stream acts when the wait is over. Since 0.1.0. See
/// fopencookie(3), shutdown(2).
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

/// Closes a stream of castio_fdopen() and leaves the connection as it is, for another process that
/// has it too: no shutdown(), no reset. Output that isn't flushed yet is dropped: after fork() the
/// child has a copy of it. __fpurge() and fclose().
///
/// - stream: either stream. The descriptor is closed with the second one.
///
/// Returns 0; stream is closed then.
///
/// Errors (stream is still open):
/// -EFAULT: stream is NULL.
/// -EINVAL: it isn't a stream of castio_fdopen().
///
/// No other thread may use the stream, as with fclose(). Since 0.1.0. See fork(2), fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_release_stream(stream: *mut FILE) -> c_int {
    guard(|| {
        if stream.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: the header asks for an open stream that nobody uses meanwhile.
        unsafe { cookie::release(stream) }
    })
}
