//! Urgent ("out-of-band") data: one byte, a mark in the stream, and who is told of it.

use std::os::fd::BorrowedFd;

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::file;
use crate::sys::memory::{Sink, Source};
use crate::sys::option::{self, IntOption, SocketType};
use crate::sys::owner::{self, Owner};
use crate::sys::poll::Events;
use crate::sys::socket::{self, Flags};
use crate::vectored;
use crate::waiter::Waiter;

/// Who gets SIGURG when urgent data arrives. `ESRCH` if there is no such process, group or thread: the kernel
/// takes any number that is in use as an id of any of the three.
pub fn set_owner(fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    option::socket_type(fd)?;
    if !owner::exists(owner) {
        return Err(Errno::ESRCH);
    }
    owner::set(fd, owner)
}

/// A process by its positive id, a group by its negative one, nobody by 0, as fcntl(F_SETOWN).
pub fn set_owner_id(fd: BorrowedFd<'_>, id: i32) -> Result<()> {
    let owner = match id {
        0 => Owner::Nobody,
        1.. => Owner::Process(id),
        _ => Owner::Group(id.checked_neg().ok_or(Errno::EINVAL)?),
    };
    set_owner(fd, owner)
}

/// One thread; 0 is the calling one.
pub fn set_owner_thread(fd: BorrowedFd<'_>, thread: i32) -> Result<()> {
    match thread {
        0 => set_owner(fd, Owner::Thread(owner::this_thread())),
        1.. => set_owner(fd, Owner::Thread(thread)),
        _ => Err(Errno::EINVAL),
    }
}

/// The owner as an id; a thread as its own id, which is positive.
pub fn owner_id(fd: BorrowedFd<'_>) -> Result<i32> {
    option::socket_type(fd)?;
    owner::get(fd).map(Owner::id)
}

/// Sends bytes of which the last is urgent. The others go first, by themselves: a MSG_OOB send
/// that the kernel takes in parts would put marks in the middle.
pub fn send(fd: BorrowedFd<'_>, bytes: Source<'_>, mut deadline: Deadline, done: &mut usize) -> Result<usize> {
    *done = 0;
    let (before, last) = bytes.split_last().ok_or(Errno::EINVAL)?;
    check_stream(fd)?;
    if !before.is_empty() {
        vectored::write_all(fd, before, deadline.start(), done)?;
    }
    let mut flags = Flags::NOSIGNAL.and(Flags::OOB);
    if !deadline.is_never() {
        flags = flags.and(Flags::DONTWAIT);
    }
    let mut waiter = Waiter::to_write(deadline);
    loop {
        match socket::send(fd, last, flags) {
            Ok(sent) => {
                *done += sent;
                return Ok(*done);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => waiter.wait(fd).map(drop)?,
            Err(error) => return Err(error),
        }
    }
}

/// The urgent byte. `EINVAL` if there is none, it was read already or it stays in the stream
/// (OOBINLINE); `EAGAIN` if it is announced but not here yet.
pub fn recv(fd: BorrowedFd<'_>) -> Result<u8> {
    // Asked first: IPv6 UDP would ignore MSG_OOB and take a datagram.
    check_stream(fd)?;
    let mut byte = [0; 1];
    match socket::recv(fd, Sink::from(&mut byte[..]), Flags::OOB.and(Flags::DONTWAIT))? {
        0 => Err(Errno::EINVAL),
        _ => Ok(byte[0]),
    }
}

/// Whether the next byte of the stream is at the mark.
pub fn at_mark(fd: BorrowedFd<'_>) -> Result<bool> {
    check_stream(fd)?;
    option::at_mark(fd)
}

/// Reads up to the mark and never over it. The count, and whether the mark is reached; 0 without
/// the mark is the end of the stream.
pub fn recv_to_mark(fd: BorrowedFd<'_>, bytes: Sink<'_>, deadline: Deadline) -> Result<(usize, bool)> {
    check_stream(fd)?;
    if bytes.is_empty() {
        return Err(Errno::EINVAL);
    }
    let mut waiter = Waiter::new(Events::IN.and(Events::PRI).and(Events::RDHUP), deadline);
    let mut events = Events::none();
    loop {
        // A recv that finds ordinary data stops at the mark. One that finds none must not be made: urgent
        // data that arrives now would put the mark here, and it would step over it. So this looks first,
        // and in this order: once data is queued, its beginning stays what it is.
        let has_data = file::bytes_waiting(fd).is_ok_and(|bytes| bytes > 0);
        if option::at_mark(fd)? {
            return Ok((0, true));
        }
        if has_data || events.has(Events::RDHUP.and(Events::HUP)) {
            match socket::recv(fd, bytes, Flags::DONTWAIT) {
                // The bytes are taken: an error from here on would lose them.
                Ok(count) => return Ok((count, count > 0 && option::at_mark(fd).unwrap_or(false))),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        events = waiter.wait(fd)?;
        check_pending(fd, events)?;
    }
}

/// POLLERR alone: an error of the connection, which the next call would tell, or something on the error
/// queue, which is the program's own.
fn check_pending(fd: BorrowedFd<'_>, events: Events) -> Result<()> {
    if !events.has(Events::ERR) || events.has(Events::HUP) {
        return Ok(());
    }
    option::take_error(fd)?.map_or(Ok(()), Err)
}

/// Waits until an urgent byte is there. `EPIPE` if the peer has closed and none can come.
pub fn wait(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<()> {
    check_stream(fd)?;
    if IntOption::LISTENS.get(fd)? != 0 {
        return Err(Errno::ENOTCONN);
    }
    let mut waiter = Waiter::new(Events::PRI.and(Events::RDHUP), deadline);
    loop {
        let events = waiter.wait(fd)?;
        if events.has(Events::PRI) {
            return Ok(());
        }
        if events.has(Events::RDHUP.and(Events::HUP)) {
            return Err(option::take_error(fd)?.unwrap_or_else(|| why_over(events)));
        }
        check_pending(fd, events)?;
    }
}

/// A connection that ended has the peer's end too; a socket that was never connected has none.
fn why_over(events: Events) -> Errno {
    if events.has(Events::RDHUP) { Errno::EPIPE } else { Errno::ENOTCONN }
}

/// Whether the urgent byte stays in the stream.
pub fn set_inline(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    check_stream(fd)?;
    IntOption::OOB_INLINE.set(fd, i32::from(on))
}

/// Whether the urgent byte stays in the stream.
pub fn is_inline(fd: BorrowedFd<'_>) -> Result<bool> {
    check_stream(fd)?;
    Ok(IntOption::OOB_INLINE.get(fd)? != 0)
}

/// `EOPNOTSUPP` unless the protocol has urgent data: TCP, and UNIX streams since Linux 5.15. Others (MPTCP,
/// vsock, TLS on a TCP socket) don't refuse MSG_OOB but ignore it, and give an ordinary byte.
fn check_stream(fd: BorrowedFd<'_>) -> Result<()> {
    if option::socket_type(fd)? != SocketType::Stream {
        return Err(Errno::EOPNOTSUPP);
    }
    let has_urgent_data = match IntOption::PROTOCOL.get(fd)? {
        option::TCP => !option::has_upper_protocol(fd),
        _ if IntOption::DOMAIN.get(fd)? == option::UNIX => option::at_mark(fd).is_ok(),
        _ => false,
    };
    if has_urgent_data { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}
