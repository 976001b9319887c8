//! Sockets that are set as the caller's is.

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::sys::alike::{self, Decides};
use crate::sys::option::{self, IntOption};

/// Before it is bound. What decides what comes in has to be the same; the rest may take privilege that the caller
/// had. `device`: the interface to tie it to, where the caller's is tied to one.
pub(super) fn set(own: BorrowedFd<'_>, made: BorrowedFd<'_>, device: u32) -> Result<()> {
    alike::copy_filter(own, made)?;
    if device > 0 {
        option::set_device(made, device)?;
    }
    copy_buffer(own, made, IntOption::RECEIVE_BUFFER, IntOption::RECEIVE_BUFFER_FORCE);
    copy_buffer(own, made, IntOption::SEND_BUFFER, IntOption::SEND_BUFFER_FORCE);
    for setting in alike::list().filter(|setting| device == 0 || !setting.is_device()) {
        match alike::copy(own, made, setting) {
            Err(error) if setting.decides == Decides::Input => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// As far as this process may.
fn copy_buffer(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: IntOption, forced: IntOption) {
    let Ok(bytes) = size.get(from) else { return };
    if size.get(to) != Ok(bytes) {
        // The kernel gives the double of what it takes.
        let half = bytes / 2;
        let _ = forced.set(to, half).or_else(|_| size.set(to, half));
    }
}
