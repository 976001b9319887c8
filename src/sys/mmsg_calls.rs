//! recvmmsg(2) and sendmmsg(2), or where a sandbox refuses them their work done by recvmsg(2) and sendmsg(2).

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::{c_int, c_uint, mmsghdr};

use super::refusal::Optional;
use super::{length, value};
use crate::error::{Errno, Result};

/// Sends messages in order; how many went out. An error is the first one's.
///
/// # Safety
/// Each message names memory that the kernel may read.
pub(super) unsafe fn send(fd: BorrowedFd<'_>, messages: &mut [mmsghdr], flags: c_int) -> Result<usize> {
    static CALL: Optional = Optional::allowed();
    if CALL.is_refused() {
        // SAFETY: promised by the caller.
        return unsafe { send_each(fd, messages, flags) };
    }
    let call = |fd, first, count| {
        // SAFETY: promised by the caller; without a descriptor and messages nothing is read.
        value(unsafe { libc::sendmmsg(fd, first, count, flags as _) }).map(|sent| sent as usize)
    };
    match call(fd.as_raw_fd(), messages.as_mut_ptr(), messages.len() as c_uint) {
        Err(error) if CALL.refuses(error, || call(-1, std::ptr::null_mut(), 0)) => {
            // SAFETY: promised by the caller.
            unsafe { send_each(fd, messages, flags) }
        }
        result => result,
    }
}

/// # Safety
/// As [`send`].
#[cold]
unsafe fn send_each(fd: BorrowedFd<'_>, messages: &mut [mmsghdr], flags: c_int) -> Result<usize> {
    for (index, message) in messages.iter_mut().enumerate() {
        // SAFETY: promised by the caller.
        match length(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message.msg_hdr, flags) }) {
            Ok(sent) => message.msg_len = sent as c_uint,
            // It failed before it took anything, and fails again if it is asked for next.
            Err(_) if index > 0 => return Ok(index),
            Err(error) => return Err(error),
        }
    }
    Ok(messages.len())
}

/// Receives messages, and where it does so one by one keeps an error that came behind some for the next call, as the
/// kernel does.
#[derive(Default)]
pub(super) struct Receiver {
    kept: Option<(RawFd, Errno)>,
}

impl Receiver {
    /// Fills messages without waiting; how many.
    ///
    /// # Safety
    /// Each message names memory that the kernel may write.
    pub(super) unsafe fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: &mut [mmsghdr],
        flags: c_int,
    ) -> Result<usize> {
        static CALL: Optional = Optional::allowed();
        if CALL.is_refused() {
            // SAFETY: promised by the caller.
            return unsafe { self.receive_each(fd, messages, flags) };
        }
        let call = |fd, first, count| {
            // SAFETY: promised by the caller; without a descriptor and messages nothing is written.
            let filled = value(unsafe { libc::recvmmsg(fd, first, count, flags as _, std::ptr::null_mut()) });
            filled.map(|filled| filled as usize)
        };
        match call(fd.as_raw_fd(), messages.as_mut_ptr(), messages.len() as c_uint) {
            Err(error) if CALL.refuses(error, || call(-1, std::ptr::null_mut(), 0)) => {
                // SAFETY: promised by the caller.
                unsafe { self.receive_each(fd, messages, flags) }
            }
            result => result,
        }
    }

    /// # Safety
    /// As [`Receiver::receive`].
    #[cold]
    unsafe fn receive_each(&mut self, fd: BorrowedFd<'_>, messages: &mut [mmsghdr], flags: c_int) -> Result<usize> {
        if let Some((_, error)) = self.kept.take_if(|(of, _)| *of == fd.as_raw_fd()) {
            return Err(error);
        }
        for (index, message) in messages.iter_mut().enumerate() {
            // SAFETY: promised by the caller.
            match length(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message.msg_hdr, flags) }) {
                Ok(received) => message.msg_len = received as c_uint,
                Err(error) if index == 0 => return Err(error),
                Err(error) => {
                    if !matches!(error, Errno::EAGAIN | Errno::EINTR) {
                        self.kept = Some((fd.as_raw_fd(), error));
                    }
                    return Ok(index);
                }
            }
        }
        Ok(messages.len())
    }
}
