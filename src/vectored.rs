//! Gathering and scattering: whole lists, however many system calls they take.

use std::os::fd::BorrowedFd;

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::file::{self, Wait};
use crate::sys::memory::{Cursor, Gather, IOV_MAX, Scatter};
use crate::sys::poll::Events;
use crate::transfer::Channel;

/// Sends the whole list. `done` always holds how many bytes went out, on failure too.
///
/// A message socket gets one message: more than [`IOV_MAX`] buffers are `EMSGSIZE` there.
pub fn writev_all(fd: BorrowedFd<'_>, list: Gather<'_>, mut deadline: Deadline, done: &mut usize) -> Result<usize> {
    *done = 0;
    let total = list.total()?;
    let mut channel = Channel::new(fd);
    let wait = wait_mode(&deadline);
    if list.count() <= IOV_MAX {
        match channel.write(list, wait) {
            Ok(sent) if sent == total => {
                *done = total;
                return Ok(total);
            }
            Ok(sent) => *done = sent,
            Err(error) => wait_for(&mut deadline, fd, Events::OUT, error)?,
        }
    } else if channel.keeps_boundaries()? {
        return Err(Errno::EMSGSIZE);
    }
    write_rest(&mut channel, list, total, wait, &mut deadline, done)
}

#[cold]
fn write_rest(
    channel: &mut Channel<'_>,
    list: Gather<'_>,
    total: usize,
    wait: Wait,
    deadline: &mut Deadline,
    done: &mut usize,
) -> Result<usize> {
    let mut cursor = Cursor::new(list, *done);
    loop {
        match channel.write(cursor.window(), wait) {
            // Nothing taken of something, and no error: no such descriptor is known, and asking
            // again could go on for ever.
            Ok(0) if *done < total => return Err(Errno::EIO),
            Ok(sent) => {
                cursor.advance(sent);
                *done += sent;
                if *done >= total {
                    return Ok(total);
                }
            }
            Err(error) => wait_for(deadline, channel.fd(), Events::OUT, error)?,
        }
    }
}

/// Fills the whole list, or as much as there is before the end of file. `done` always holds how
/// many bytes came in, on failure too.
///
/// A message socket gives one message: one that is longer than the list is `EMSGSIZE`, its head
/// stored, its tail gone.
pub fn readv_all(fd: BorrowedFd<'_>, list: Scatter<'_>, mut deadline: Deadline, done: &mut usize) -> Result<usize> {
    *done = 0;
    let total = list.total()?;
    if total == 0 {
        file::check_open(fd)?;
        return Ok(0);
    }
    let mut channel = Channel::new(fd);
    let wait = wait_mode(&deadline);
    if list.count() > IOV_MAX && channel.keeps_boundaries()? {
        return Err(Errno::EMSGSIZE);
    }
    if list.count() <= IOV_MAX {
        loop {
            match channel.read(list, wait) {
                Ok(received) => {
                    *done = received.len;
                    if received.truncated {
                        return Err(Errno::EMSGSIZE);
                    }
                    if *done == total || *done == 0 || channel.keeps_boundaries()? {
                        return Ok(*done);
                    }
                    break;
                }
                Err(error) => wait_for(&mut deadline, fd, Events::IN, error)?,
            }
        }
    }
    read_rest(&mut channel, list, total, wait, &mut deadline, done)
}

#[cold]
fn read_rest(
    channel: &mut Channel<'_>,
    list: Scatter<'_>,
    total: usize,
    wait: Wait,
    deadline: &mut Deadline,
    done: &mut usize,
) -> Result<usize> {
    let mut cursor = Cursor::new(list, *done);
    while *done < total {
        match channel.read(cursor.window(), wait) {
            Ok(received) if received.len == 0 => break,
            Ok(received) => {
                cursor.advance(received.len);
                *done += received.len;
            }
            Err(error) => wait_for(deadline, channel.fd(), Events::IN, error)?,
        }
    }
    Ok(*done)
}

/// Without a deadline the system call itself does the waiting.
fn wait_mode(deadline: &Deadline) -> Wait {
    if deadline.is_never() { Wait::MayBlock } else { Wait::Never }
}

/// After an error: waits if there is something to wait for, else gives the error back.
#[cold]
fn wait_for(deadline: &mut Deadline, fd: BorrowedFd<'_>, events: Events, error: Errno) -> Result<()> {
    match error {
        Errno::EINTR => Ok(()),
        Errno::EAGAIN => deadline.wait(fd, events).map(drop),
        other => Err(other),
    }
}
