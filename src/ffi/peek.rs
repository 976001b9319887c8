//! Looking at what waits.

use std::ffi::{c_int, c_void};

use libc::ssize_t;

use super::convert::{self, Place, descriptor};
use super::guard::guard;
use crate::deadline::Deadline;
use crate::peek::{self, State};

/// What the next read would give now, without taking it and without waiting: recvmsg() with MSG_PEEK,
/// MSG_TRUNC and MSG_DONTWAIT on a socket; fstat() and the position in a file or block device;
/// FIONREAD and poll() on a pipe or terminal.
///
/// - fd: a socket, pipe, file, block device or terminal, open for reading.
///
/// Returns the bytes that wait on a stream (up to its urgent mark, or to descriptors that come with the
/// bytes of a UNIX stream), or the true length of the next message on a datagram or seqpacket socket.
/// In a file these are the bytes behind the position, at most SSIZE_MAX. 0 is the end of a stream or
/// file, or an empty message: castio_peek_info tells them apart. With UDP_GRO on, a whole train counts
/// as one datagram.
///
/// The kernel can't tell more than this of some descriptors: a terminal in canonical mode gives the sum
/// of its lines although a read gives one line; a pipe in packet mode (O_DIRECT) gives the sum of its
/// packets; a FIFO that no writer has opened yet gives -EAGAIN although a read says end. On a socket with
/// SO_PEEK_OFF set, the count begins at that offset and looking moves the offset, as recv() with MSG_PEEK
/// does.
///
/// Errors:
/// -EAGAIN: nothing yet.
/// -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT: an error that was pending on the socket.
///   Looking takes it away; the next call tells what is behind it.
/// -EIO: the controlling side of a pseudo-terminal whose other side is closed; a read says the same.
/// -ENOTCONN: a stream socket that isn't connected, or listens.
/// -EBADF: fd isn't open for reading. -EISDIR: it is a directory.
/// -ENOTTY: a descriptor that can't tell, as an eventfd or a file in /proc or /sys.
///
/// Any thread; another reader can take the data before you do. Since 0.1.0. See recv(2), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_peek_available(fd: c_int) -> ssize_t {
    guard(|| peek::available(descriptor(fd)?))
}

/// Copies what waits on a socket, without taking it and without waiting: recv() with MSG_PEEK and
/// MSG_DONTWAIT.
///
/// - fd: a socket.
/// - buf, len: where the copy goes, and how many bytes at most. At most one message is copied.
///
/// Returns the number of bytes copied; 0 is the end of a stream, or an empty message. On a socket with
/// SO_PEEK_OFF set, the copy begins at that offset and moves it.
///
/// Errors: as castio_peek_available except -ENOTTY, -EIO, -EISDIR, and
/// -ENOTSOCK: fd isn't a socket.
/// -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0, or isn't writable.
///
/// Any thread. Since 0.1.0. See recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_peek(fd: c_int, buf: *mut c_void, len: usize) -> ssize_t {
    // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
    guard(|| peek::peek(descriptor(fd)?, unsafe { convert::region(buf, len)? }))
}

/// Waits until len bytes are queued on a stream socket and copies them, without taking them: for a
/// protocol whose header has to be seen whole before somebody else reads it. Sleeps between arrivals,
/// by an edge-triggered epoll() of its own (or, where none can be made, by short pauses), and changes
/// nothing that others who use the socket would notice. A len over half of SO_RCVBUF needs a larger buffer on
/// TCP: unless SO_RCVBUF or SO_RCVLOWAT was set, the kernel is made to enlarge it, by setting SO_RCVLOWAT and
/// at once putting its default back. Where SO_PEEK_OFF is set, the bytes are counted
/// from there; it moves behind them as with recv(), and not if the call fails.
///
/// - fd: a stream socket. On a message socket this waits for the next message and copies as much of
///   it as fits.
/// - buf, len: where the copy goes, and how many bytes; 0 bytes are there at once.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns len, or less when no more can come before what is there is read: at the end of the
/// stream (0 if nothing is left), at its urgent mark, or for a message that is shorter. 0 on a datagram
/// socket is an empty message, or the end: shutdown(SHUT_RD).
///
/// Errors:
/// -EAGAIN: timeout_ms is 0 and there are fewer bytes.
/// -ETIMEDOUT: the time has passed; what came stays queued.
/// -ENOBUFS: the socket can't hold len bytes unread (net.ipv4.tcp_rmem, or SO_RCVBUF where it or
///   SO_RCVLOWAT was set): told at once, or when it is full. On a UNIX stream the limit is the sender's SO_SNDBUF, which can't be seen from here: a
///   len above it waits until the time has passed.
/// -ECONNRESET, -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH: an error that was pending on the socket, taken away by
///   looking.
/// -ENOTSOCK: fd isn't a socket. -ENOTCONN: it isn't connected. -EBADF: it isn't open.
/// -EINVAL: len is over SSIZE_MAX. -EFAULT: buf is NULL and len isn't 0, or isn't writable.
///
/// Any thread. A signal handler that returns doesn't end the call. Since 0.1.0. See recv(2), epoll(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_peek_all(fd: c_int, buf: *mut c_void, len: usize, timeout_ms: c_int) -> ssize_t {
    // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
    guard(|| peek::all(descriptor(fd)?, unsafe { convert::region(buf, len)? }, Deadline::from_timeout_ms(timeout_ms)))
}

/// castio_peek_info: nothing waits.
pub const CASTIO_PEEK_NOTHING: c_int = 0;
/// castio_peek_info: bytes of a stream, or a message with bytes.
pub const CASTIO_PEEK_DATA: c_int = 1;
/// castio_peek_info: a message without a byte.
pub const CASTIO_PEEK_EMPTY_MESSAGE: c_int = 2;
/// castio_peek_info: the end; the peer won't send any more.
pub const CASTIO_PEEK_END: c_int = 3;
/// castio_peek_info: an error was pending on the socket, or the next read fails.
pub const CASTIO_PEEK_ERROR: c_int = 4;

/// What waits on a descriptor: see castio_peek_info().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_peek_info {
    /// sizeof(struct castio_peek_info), set by the caller.
    pub struct_size: usize,
    /// With CASTIO_PEEK_DATA the bytes that wait, as castio_peek_available; else 0.
    pub available: usize,
    /// One of CASTIO_PEEK_*.
    pub state: c_int,
    /// With CASTIO_PEEK_ERROR the negative errno; else 0.
    pub error: c_int,
}

/// Tells apart what waits on a descriptor: nothing, data, an empty message, the end, an error. By
/// the calls of castio_peek_available, and poll() with POLLRDHUP for a seqpacket socket.
///
/// - fd: a socket, pipe, file or terminal.
/// - info: its struct_size set to sizeof *info; the rest is filled in.
///
/// Returns 0 when info is filled in, a pending error included. Looking takes a pending error away. The
/// controlling side of a pseudo-terminal whose other side is closed has the error -EIO, as often as it
/// is asked.
/// An empty message on a seqpacket socket whose peer has closed behind it is told as the end.
///
/// Errors (info is unchanged then):
/// -EFAULT: info is NULL. -EINVAL: struct_size is too small.
/// -EBADF: fd isn't open for reading. -EISDIR: it is a directory.
/// -ENOTCONN: a stream socket that isn't connected, or listens.
/// -ENOTTY: a descriptor that can't tell, as an eventfd or a file in /proc or /sys.
///
/// Any thread. Since 0.1.0. See recv(2), poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_peek_info(fd: c_int, info: *mut castio_peek_info) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or a struct of the size that it says.
        let (place, size) = unsafe { Place::sized(info)? };
        let (state, available, error) = match peek::info(descriptor(fd)?)? {
            State::Nothing => (CASTIO_PEEK_NOTHING, 0, 0),
            State::Data(bytes) => (CASTIO_PEEK_DATA, bytes, 0),
            State::EmptyMessage => (CASTIO_PEEK_EMPTY_MESSAGE, 0, 0),
            State::End => (CASTIO_PEEK_END, 0, 0),
            State::Error(error) => (CASTIO_PEEK_ERROR, 0, -error.raw()),
        };
        place.put(castio_peek_info { struct_size: size, available, state, error });
        Ok(())
    })
}
