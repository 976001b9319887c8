//! Sockets with standard I/O: two `FILE *`, one for each direction.
//!
//! One stream for both directions would need a seek between reading and writing, which a socket
//! has not: replies are lost without an error. Two streams on one descriptor close each other, and
//! on two descriptors the peer never sees the end. So the streams here share the socket, the
//! writing one ends its direction when it is closed, and the last one closes the socket. A writing stream
//! that has lost a byte resets the connection instead: a part mustn't look like the whole.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::cookie::{OpenStream, Stream};
use crate::sys::exit;
use crate::sys::file;
use crate::sys::memory::{Sink, Source};
use crate::sys::option::{self, SocketType};
use crate::sys::process;
use crate::sys::socket::{self, Flags};
use crate::vectored;
use crate::waiter::Waiter;

/// How long exit(3) may wait for all streams together to be flushed.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

struct Shared {
    socket: OwnedFd,
    timeout_ms: i32,
    opener: i32,
    /// The errno of the first write that failed; 0 with none.
    lost: AtomicI32,
    /// What the reading stream can still get after a reset.
    rest: OnceLock<Rest>,
}

impl Shared {
    fn deadline(&self) -> Deadline {
        let deadline = Deadline::from_timeout_ms(self.timeout_ms);
        match (exit::began(), deadline) {
            (Some(began), Deadline::Never) => Deadline::At(began + EXIT_LIMIT),
            (Some(began), Deadline::After(limit)) => Deadline::At((Instant::now() + limit).min(began + EXIT_LIMIT)),
            _ => deadline,
        }
    }

    fn lost(&self) -> Option<Errno> {
        match self.lost.load(Ordering::Relaxed) {
            0 => None,
            code => Some(Errno::from_raw(code)),
        }
    }

    /// stdio has dropped what it couldn't write. However the process ends from here on, the peer mustn't take
    /// what it got for all there was.
    fn lose(&self, error: Errno) {
        self.lost.store(error.raw(), Ordering::Relaxed);
        // An error says that there is nobody left to mislead.
        let _ = option::reset_on_close(self.socket.as_fd());
    }

    /// The peer sees a reset now, and not when the reading stream is closed too, which may wait for an answer.
    /// UNIX sockets have none.
    fn reset(&self) {
        let fd = self.socket.as_fd();
        if option::family(fd).is_ok() {
            let _ = self.rest.set(Rest::of(fd));
            let _ = socket::disconnect(fd);
        }
    }
}

/// What has come in before a reset, which drops it in the kernel.
struct Rest {
    bytes: Vec<u8>,
    taken: AtomicUsize,
}

impl Rest {
    fn of(fd: BorrowedFd<'_>) -> Rest {
        let (mut bytes, len) = (Vec::new(), file::bytes_waiting(fd).unwrap_or(0));
        if bytes.try_reserve_exact(len).is_ok() {
            bytes.resize(len, 0);
        }
        let count = socket::recv(fd, Sink::from(bytes.as_mut_slice()), Flags::DONTWAIT);
        bytes.truncate(count.unwrap_or(0));
        Rest { bytes, taken: AtomicUsize::new(0) }
    }

    /// stdio's lock lets in one thread at a time.
    fn read(&self, into: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let taken = self.taken.load(Ordering::Relaxed);
        let rest = self.bytes.get(taken..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if count == 0 {
            return Err(Errno::ECONNRESET);
        }
        into.iter_mut().zip(rest).for_each(|(to, from)| _ = to.write(*from));
        self.taken.store(taken + count, Ordering::Relaxed);
        Ok(count)
    }
}

struct Reader(Arc<Shared>);

struct Writer {
    shared: Arc<Shared>,
    is_released: AtomicBool,
}

impl Stream for Reader {
    const MODE: &'static CStr = c"r";

    fn read(&self, into: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let fd = self.0.socket.as_fd();
        let deadline = Deadline::from_timeout_ms(self.0.timeout_ms);
        let flags = if deadline.is_never() { Flags::NONE } else { Flags::DONTWAIT };
        let mut waiter = Waiter::to_read(deadline);
        loop {
            if let Some(rest) = self.0.rest.get() {
                return rest.read(into);
            }
            match socket::recv(fd, Sink::from(&mut *into), flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => waiter.wait(fd).map(drop)?,
                // The writing stream was closed meanwhile, and has reset the connection.
                Ok(0) | Err(_) if self.0.rest.get().is_some() => {}
                result => return result,
            }
        }
    }

    fn write(&self, _: Source<'_>) -> (usize, Result<()>) {
        (0, Err(Errno::EBADF))
    }

    fn release(&self) {}

    fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Stream for Writer {
    const MODE: &'static CStr = c"w";

    fn read(&self, _: &mut [MaybeUninit<u8>]) -> Result<usize> {
        Err(Errno::EBADF)
    }

    /// After a failure nothing goes out any more: it would follow a hole.
    fn write(&self, from: Source<'_>) -> (usize, Result<()>) {
        if let Some(error) = self.shared.lost() {
            return (0, Err(error));
        }
        let mut done = 0;
        let result = vectored::write_all(self.shared.socket.as_fd(), from, self.shared.deadline(), &mut done);
        (done, result.map(drop).inspect_err(|error| self.shared.lose(*error)))
    }

    fn release(&self) {
        self.is_released.store(true, Ordering::Relaxed);
    }

    /// The peer sees the end of what this side sends; reading goes on. A child of fork(2) has a copy, and ends
    /// nothing that is its parent's.
    fn close(self) -> Result<()> {
        let is_own = process::id() == self.shared.opener && !self.is_released.into_inner();
        if let Some(error) = self.shared.lost() {
            if is_own {
                self.shared.reset();
            }
            return Err(error);
        }
        if !is_own {
            return Ok(());
        }
        match socket::shutdown_write(self.shared.socket.as_fd()) {
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
    exit::watch();
    let (opener, lost, rest) = (process::id(), AtomicI32::new(0), OnceLock::new());
    let shared = Arc::new(Shared { socket, timeout_ms, opener, lost, rest });
    both(&shared).map_err(|error| (error, Arc::into_inner(shared).map(|shared| shared.socket)))
}

/// The writing one last: dropped, it would end the sending direction.
fn both(shared: &Arc<Shared>) -> Result<(OpenStream, OpenStream)> {
    let input = OpenStream::open(Reader(Arc::clone(shared)))?;
    let output = OpenStream::open(Writer { shared: Arc::clone(shared), is_released: AtomicBool::new(false) })?;
    Ok((input, output))
}
