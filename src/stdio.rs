//! Sockets with standard I/O: two `FILE *`, one for each direction.
//!
//! One stream for both directions would need a seek between reading and writing, which a socket
//! has not: replies are lost without an error. Two streams on one descriptor close each other, and
//! on two descriptors the peer never sees the end. So the streams here share the socket, the
//! writing one ends its direction when it is closed, and the last one closes the socket.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::cookie::{OpenStream, Stream};
use crate::sys::memory::{Sink, Source};
use crate::sys::option::{self, SocketType};
use crate::sys::socket::{self, Flags};
use crate::vectored;
use crate::waiter::Waiter;

struct Shared {
    socket: OwnedFd,
    timeout_ms: i32,
}

struct Reader(Arc<Shared>);
struct Writer(Arc<Shared>);

impl Stream for Reader {
    const MODE: &'static CStr = c"r";

    fn read(&self, into: Sink<'_>) -> Result<usize> {
        let fd = self.0.socket.as_fd();
        let deadline = Deadline::from_timeout_ms(self.0.timeout_ms);
        let flags = if deadline.is_never() { Flags::NONE } else { Flags::DONTWAIT };
        let mut waiter = Waiter::to_read(deadline);
        loop {
            match socket::recv(fd, into, flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => waiter.wait(fd).map(drop)?,
                result => return result,
            }
        }
    }

    fn write(&self, _: Source<'_>) -> (usize, Result<()>) {
        (0, Err(Errno::EBADF))
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Stream for Writer {
    const MODE: &'static CStr = c"w";

    fn read(&self, _: Sink<'_>) -> Result<usize> {
        Err(Errno::EBADF)
    }

    fn write(&self, from: Source<'_>) -> (usize, Result<()>) {
        let deadline = Deadline::from_timeout_ms(self.0.timeout_ms);
        let mut done = 0;
        let result = vectored::write_all(self.0.socket.as_fd(), from, deadline, &mut done);
        (done, result.map(drop))
    }

    /// The peer sees the end of what this side sends; reading goes on.
    fn close(self) -> Result<()> {
        match socket::shutdown_write(self.0.socket.as_fd()) {
            // The peer went first: there is nobody left to tell.
            Err(Errno::ENOTCONN) => Ok(()),
            result => result,
        }
    }
}

/// Checks that a descriptor can carry the two streams: `ENOTSOCK`, or `EPROTOTYPE` if it isn't a
/// stream socket (stdio would run its messages together).
pub fn check(socket: BorrowedFd<'_>) -> Result<()> {
    match option::socket_type(socket)? {
        SocketType::Stream => Ok(()),
        _ => Err(Errno::EPROTOTYPE),
    }
}

/// Two streams over one socket: reading and writing. On failure the socket comes back.
pub fn open(
    socket: OwnedFd,
    timeout_ms: i32,
) -> std::result::Result<(OpenStream, OpenStream), (Errno, Option<OwnedFd>)> {
    let shared = Arc::new(Shared { socket, timeout_ms });
    both(&shared).map_err(|error| (error, Arc::into_inner(shared).map(|shared| shared.socket)))
}

/// The writing one last: dropped, it would end the sending direction.
fn both(shared: &Arc<Shared>) -> Result<(OpenStream, OpenStream)> {
    let input = OpenStream::open(Reader(Arc::clone(shared)))?;
    let output = OpenStream::open(Writer(Arc::clone(shared)))?;
    Ok((input, output))
}
