//! One transfer that never blocks, whatever the descriptor's mode: MSG_DONTWAIT on sockets,
//! RWF_NOWAIT and its stand-ins elsewhere.

use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::sys::file::Wait;
use crate::sys::memory::{Gather, Scatter, Sink, Source};
use crate::sys::socket::{self, Flags};
use crate::transfer::Channel;

/// Sends what there is room for.
pub fn send(fd: BorrowedFd<'_>, bytes: Source<'_>) -> Result<usize> {
    match socket::send(fd, bytes, Flags::NOSIGNAL.and(Flags::DONTWAIT)) {
        Err(Errno::ENOTSOCK) => write_elsewhere(fd, bytes),
        result => result,
    }
}

/// Takes what is there; 0 at the end of file.
pub fn recv(fd: BorrowedFd<'_>, bytes: Sink<'_>) -> Result<usize> {
    match socket::recv(fd, bytes, Flags::DONTWAIT) {
        Err(Errno::ENOTSOCK) => read_elsewhere(fd, bytes),
        result => result,
    }
}

#[cold]
fn write_elsewhere(fd: BorrowedFd<'_>, bytes: Source<'_>) -> Result<usize> {
    uninterrupted(|| Channel::new(fd).write(bytes.as_list(), Wait::Never))
}

#[cold]
fn read_elsewhere(fd: BorrowedFd<'_>, bytes: Sink<'_>) -> Result<usize> {
    uninterrupted(|| Channel::new(fd).read(bytes.as_list(), Wait::Never)).map(|received| received.len)
}

/// Sends what there is room for of a list.
pub fn writev(fd: BorrowedFd<'_>, list: Gather<'_>) -> Result<usize> {
    list.total()?;
    uninterrupted(|| Channel::new(fd).write(list, Wait::Never))
}

/// Takes what is there into a list; 0 at the end of file.
pub fn readv(fd: BorrowedFd<'_>, list: Scatter<'_>) -> Result<usize> {
    list.total()?;
    uninterrupted(|| Channel::new(fd).read(list, Wait::Never)).map(|received| received.len)
}

/// A call that doesn't wait is no business of a signal; files may say `EINTR` all the same.
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
