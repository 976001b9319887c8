//! Looking at what waits without taking it: MSG_PEEK with MSG_DONTWAIT.

mod whole;

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::file;
use crate::sys::memory::Sink;
use crate::sys::option::{self, IntOption, SocketType};
use crate::sys::poll::{self, Events};
use crate::sys::socket::{self, Flags, PEEK_LENGTH_MAX};
use crate::sys::status::{self, Access, Format};
use crate::waiter::Waiter;
use whole::Whole;

/// Copies, and neither takes nor waits.
const PEEK: Flags = Flags::PEEK.and(Flags::DONTWAIT);

/// How much is copied to find out how much there is. A peek that gives less has seen all of a
/// stream; one that gives more, by MSG_TRUNC, has told a datagram's true length. Copying so little
/// costs less than the two system calls that tell when the probe is filled.
const PROBE: usize = 1024;

/// What the next read would give now: the bytes of a stream, the true length of a datagram. 0 is
/// the end of a stream or an empty datagram, `EAGAIN` nothing.
pub fn available(fd: BorrowedFd<'_>) -> Result<usize> {
    match probe(fd) {
        Ok(PROBE) => whole_queue(fd),
        Err(Errno::ENOTSOCK) => available_elsewhere(fd),
        result => result,
    }
}

fn probe(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut probe = [MaybeUninit::<u8>::uninit(); PROBE];
    socket::recv(fd, Sink::from(&mut probe[..]), PEEK.and(Flags::TRUNC))
}

/// The probe was filled: to the brim by a message, or by a stream that may hold more. FIONREAD would count over the
/// urgent mark of a UNIX stream, and add the messages of a seqpacket socket up.
#[cold]
fn whole_queue(fd: BorrowedFd<'_>) -> Result<usize> {
    match option::socket_type(fd)? {
        // With SO_PEEK_OFF the probe has moved the place where the next peek begins.
        SocketType::Stream if IntOption::PEEK_OFFSET.get(fd).is_ok_and(|offset| offset >= 0) => {
            Ok(PROBE + socket::peek_length(fd).unwrap_or(0))
        }
        SocketType::Stream => match socket::peek_length(fd)? {
            PEEK_LENGTH_MAX => Ok(file::bytes_waiting(fd).unwrap_or(0).max(PEEK_LENGTH_MAX)),
            bytes => Ok(bytes.max(PROBE)),
        },
        _ => Ok(PROBE),
    }
}

#[cold]
fn available_elsewhere(fd: BorrowedFd<'_>) -> Result<usize> {
    match status::access(fd) {
        Ok(Access::Write | Access::Path) | Err(Errno::EBADF) => return Err(Errno::EBADF),
        // A sandbox that refuses the question doesn't stop the others.
        _ => {}
    }
    match status::stat(fd).map(|stat| (stat.format, stat.size)) {
        Ok((Format::Directory, _)) => Err(Errno::EISDIR),
        Ok((Format::File, _)) => bytes_in_file(fd),
        Ok((Format::BlockDevice, _)) => bytes_behind_position(fd, file::device_size(fd)?),
        _ => available_in_queue(fd),
    }
}

/// What is left of a regular file. `ENOTTY` for one whose length says nothing.
pub fn bytes_in_file(fd: BorrowedFd<'_>) -> Result<usize> {
    if status::is_made_up(fd) { Err(Errno::ENOTTY) } else { bytes_behind_position(fd, status::stat(fd)?.size) }
}

/// FIONREAD is an int, and so is 0 for 4 GiB.
fn bytes_behind_position(fd: BorrowedFd<'_>, size: u64) -> Result<usize> {
    let left = size.saturating_sub(file::position(fd)?);
    Ok(usize::try_from(left).unwrap_or(usize::MAX).min(isize::MAX.unsigned_abs()))
}

/// On a pipe or a terminal.
fn available_in_queue(fd: BorrowedFd<'_>) -> Result<usize> {
    let bytes = match file::bytes_waiting(fd) {
        // A terminal whose controlling side is closed: what follows tells.
        Err(Errno::EIO) => 0,
        Ok(bytes) => bytes,
        Err(Errno::EBADF) => return Err(Errno::EBADF),
        Err(_) => return Err(Errno::ENOTTY),
    };
    let is_terminal = file::is_terminal(fd);
    if bytes > 0 && !is_terminal {
        return Ok(bytes);
    }
    let events = poll::poll(fd, Events::IN.and(Events::PRI), 0)?;
    if is_terminal && file::is_in_packet_mode(fd) && events.has(Events::IN.and(Events::PRI)) {
        // Every read begins with a byte that tells what it is, and one of control has no others (ioctl_tty(2)).
        return Ok(if events.has(Events::PRI) { 1 } else { bytes + 1 });
    }
    match bytes {
        // The controlling side of a terminal that nobody has open: a read is refused, not ended.
        0 if is_terminal && events.has(Events::HUP) && !events.has(Events::IN) => Err(Errno::EIO),
        // Nothing: but a reader is told of the end by being woken.
        0 if events.is_empty() => Err(Errno::EAGAIN),
        bytes => Ok(bytes),
    }
}

/// Copies what waits without taking it; at most one message.
pub fn peek(fd: BorrowedFd<'_>, bytes: Sink<'_>) -> Result<usize> {
    socket::recv(fd, bytes, PEEK)
}

/// What waits on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Nothing,
    /// So many bytes of a stream, or a message of this length.
    Data(usize),
    /// A message without a byte.
    EmptyMessage,
    /// The end: the peer won't send any more.
    End,
    /// An error, which this look has taken away.
    Error(Errno),
}

/// Tells apart what [`available`] can't: an empty message from the end, a pending error from one
/// of the call itself.
pub fn info(fd: BorrowedFd<'_>) -> Result<State> {
    match available(fd) {
        Ok(0) => zero(fd),
        Ok(bytes) => Ok(State::Data(bytes)),
        Err(Errno::EAGAIN) => Ok(State::Nothing),
        Err(error) if is_of_the_call(error) => Err(error),
        Err(error) => Ok(State::Error(error)),
    }
}

/// Whether an error says that this descriptor can't be looked at, rather than what happened to it.
fn is_of_the_call(error: Errno) -> bool {
    matches!(
        error,
        Errno::EBADF
            | Errno::EINVAL
            | Errno::EISDIR
            | Errno::ENOTCONN
            | Errno::ENOTSOCK
            | Errno::ENOTTY
            | Errno::EOPNOTSUPP
    )
}

fn zero(fd: BorrowedFd<'_>) -> Result<State> {
    Ok(match option::socket_type(fd) {
        Ok(SocketType::Datagram) => State::EmptyMessage,
        // On seqpacket both look alike but for the hang-up. An empty message still queued when the
        // peer has closed can't be told from the close behind it.
        Ok(SocketType::SeqPacket) if !poll::poll(fd, Events::RDHUP, 0)?.has(Events::RDHUP.and(Events::HUP)) => {
            State::EmptyMessage
        }
        Ok(_) | Err(Errno::ENOTSOCK) => State::End,
        Err(error) => return Err(error),
    })
}

/// Waits until `bytes` is filled by what waits on a stream, without taking it. Less is the end of
/// the stream, or its urgent mark; on a message socket, the next message as far as it fits.
/// `ENOBUFS` if the socket can't hold so much unread.
pub fn all(fd: BorrowedFd<'_>, bytes: Sink<'_>, deadline: Deadline) -> Result<usize> {
    if bytes.is_empty() {
        // A peek of nothing waits for something on TCP, and takes a pending error away.
        return option::socket_type(fd).map(|_| 0);
    }
    let found = match peek(fd, bytes) {
        Ok(found) if found == bytes.len() || found == 0 => return Ok(found),
        Ok(found) => found,
        Err(Errno::EAGAIN) => 0,
        Err(error) => return Err(error),
    };
    match option::socket_type(fd)? {
        SocketType::Stream => Whole::new(fd, bytes, found)?.wait(deadline),
        _ => message(fd, bytes, deadline),
    }
}

fn message(fd: BorrowedFd<'_>, bytes: Sink<'_>, deadline: Deadline) -> Result<usize> {
    let mut waiter = Waiter::to_read(deadline);
    loop {
        match peek(fd, bytes) {
            Err(Errno::EAGAIN) => match waiter.wait(fd) {
                // The end, as a call that blocks is told of it.
                Err(Errno::ESHUTDOWN) => return Ok(0),
                result => result?,
            },
            result => return result,
        };
    }
}
