//! Room in a socket for what was received and not yet read, or not yet sent.

use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::sys::option::IntOption;

/// What to do where less was granted than asked for.
pub const ADVICE: &str = "the kernel grants a socket no more than net.core.rmem_max: raise it \
                          (sysctl -w net.core.rmem_max=BYTES), or run with CAP_NET_ADMIN";

/// Asks for so many bytes; how many there are now.
pub fn set_receive(fd: BorrowedFd<'_>, bytes: usize) -> Result<usize> {
    let wanted = i32::try_from(bytes).ok().filter(|wanted| *wanted <= i32::MAX / 2).ok_or(Errno::EINVAL)?;
    if IntOption::RECEIVE_BUFFER_FORCE.set(fd, wanted).is_err() {
        IntOption::RECEIVE_BUFFER.set(fd, wanted)?;
    }
    // The kernel doubles what is asked for, to count its own book-keeping, and tells the double.
    Ok(usize::try_from(IntOption::RECEIVE_BUFFER.get(fd)? / 2).unwrap_or(0))
}

/// Asks for so many bytes for what isn't sent yet.
pub fn set_send(fd: BorrowedFd<'_>, bytes: usize) -> Result<()> {
    let wanted = i32::try_from(bytes).ok().filter(|wanted| *wanted <= i32::MAX / 2).ok_or(Errno::EINVAL)?;
    IntOption::SEND_BUFFER_FORCE.set(fd, wanted).or_else(|_| IntOption::SEND_BUFFER.set(fd, wanted))
}
