//! Gathering and scattering: whole lists, however many system calls they take.

use std::os::fd::BorrowedFd;

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::file::{self, Wait};
use crate::sys::memory::{Cursor, Gather, IOV_MAX, Scatter, Sink, Source};
use crate::sys::socket::Received;
use crate::transfer::Channel;
use crate::waiter::Waiter;

/// Sends the whole list. `done`, which starts at 0, holds how many bytes went out, on failure too.
///
/// A message socket gets one message: more than [`IOV_MAX`] buffers are `EMSGSIZE` there.
#[inline(always)] // With the call that it makes, the whole hot path is one function.
pub fn writev_all(fd: BorrowedFd<'_>, list: Gather<'_>, deadline: Deadline, done: &mut usize) -> Result<usize> {
    let total = list.total()?;
    let mut channel = Channel::new(fd);
    if list.count() > IOV_MAX {
        return write_long(channel, list, total, deadline, done);
    }
    // Nearly always this is all there is to do.
    let first = channel.write(list, wait_mode(&deadline));
    if first == Ok(total) {
        *done = total;
        return first;
    }
    write_rest(channel, list, total, deadline, first, done)
}

#[cold]
fn write_long(
    channel: Channel<'_>,
    list: Gather<'_>,
    total: usize,
    deadline: Deadline,
    done: &mut usize,
) -> Result<usize> {
    if channel.keeps_boundaries()? {
        return Err(Errno::EMSGSIZE);
    }
    write_rest(channel, list, total, deadline, Ok(0), done)
}

/// Goes on after the first result: what went out, or an error that may pass.
#[cold]
fn write_rest(
    mut channel: Channel<'_>,
    list: Gather<'_>,
    total: usize,
    deadline: Deadline,
    first: Result<usize>,
    done: &mut usize,
) -> Result<usize> {
    let wait = wait_mode(&deadline);
    let mut waiter = Waiter::to_write(deadline);
    match first {
        Ok(sent) => *done = sent,
        Err(error) => wait_after(&mut waiter, channel.fd(), error)?,
    }
    let mut cursor = Cursor::new(list, *done);
    loop {
        match channel.write(cursor.window(), wait) {
            // Nothing taken of something, and no error: asking again could go on for ever.
            Ok(0) if *done < total => return Err(Errno::EIO),
            Ok(sent) => {
                cursor.advance(sent);
                waiter.progressed();
                *done += sent;
                if *done >= total {
                    return Ok(total);
                }
            }
            Err(error) => wait_after(&mut waiter, channel.fd(), error)?,
        }
    }
}

/// Fills the whole list, or as much as there is before the end of file. `done`, which starts at 0,
/// holds how many bytes came in, on failure too.
///
/// A message socket gives one message: one that is longer than the list is `EMSGSIZE`, its head
/// stored, its tail gone.
#[inline(always)]
pub fn readv_all(fd: BorrowedFd<'_>, list: Scatter<'_>, deadline: Deadline, done: &mut usize) -> Result<usize> {
    let total = list.total()?;
    if total == 0 {
        // A read of nothing may wait for data on a stream, and takes a message from a socket.
        return file::check_open(fd).map(|()| 0);
    }
    let mut channel = Channel::new(fd);
    if list.count() > IOV_MAX {
        return read_long(channel, list, total, deadline, done);
    }
    match channel.read(list, wait_mode(&deadline)) {
        Ok(Received { len, truncated: false }) if len == total => {
            *done = total;
            Ok(total)
        }
        first => read_rest(channel, list, total, deadline, first, done),
    }
}

#[cold]
fn read_long(
    channel: Channel<'_>,
    list: Scatter<'_>,
    total: usize,
    deadline: Deadline,
    done: &mut usize,
) -> Result<usize> {
    if channel.keeps_boundaries()? {
        return Err(Errno::EMSGSIZE);
    }
    read_rest(channel, list, total, deadline, Err(Errno::EINTR), done)
}

/// Goes on after the first result: what came in, or an error that may pass.
#[cold]
fn read_rest(
    mut channel: Channel<'_>,
    list: Scatter<'_>,
    total: usize,
    deadline: Deadline,
    first: Result<Received>,
    done: &mut usize,
) -> Result<usize> {
    let wait = wait_mode(&deadline);
    let mut waiter = Waiter::to_read(deadline);
    let mut cursor = Cursor::new(list, 0);
    let mut result = first;
    loop {
        match result {
            Ok(Received { len, truncated }) => {
                let is_first = *done == 0;
                *done += len;
                if truncated {
                    return Err(Errno::EMSGSIZE);
                }
                if len == 0 || *done == total || is_first && channel.keeps_boundaries()? {
                    return Ok(*done);
                }
                cursor.advance(len);
                waiter.progressed();
            }
            Err(error) => match wait_after(&mut waiter, channel.fd(), error) {
                // The end, as a call that blocks is told of it.
                Err(Errno::ESHUTDOWN) => return Ok(*done),
                result => result?,
            },
        }
        result = channel.read(cursor.window(), wait);
    }
}

/// [`writev_all`] of one buffer.
pub fn write_all(fd: BorrowedFd<'_>, bytes: Source<'_>, deadline: Deadline, done: &mut usize) -> Result<usize> {
    writev_all(fd, bytes.as_list(), deadline, done)
}

/// [`readv_all`] of one buffer.
pub fn read_all(fd: BorrowedFd<'_>, bytes: Sink<'_>, deadline: Deadline, done: &mut usize) -> Result<usize> {
    readv_all(fd, bytes.as_list(), deadline, done)
}

/// Without a deadline the system call itself does the waiting.
fn wait_mode(deadline: &Deadline) -> Wait {
    if deadline.is_never() { Wait::MayBlock } else { Wait::Never }
}

/// After an error: waits if there is something to wait for, else gives the error back.
#[cold]
fn wait_after(waiter: &mut Waiter, fd: BorrowedFd<'_>, error: Errno) -> Result<()> {
    match error {
        Errno::EINTR => Ok(()),
        Errno::EAGAIN => waiter.wait(fd).map(drop),
        other => Err(other),
    }
}
