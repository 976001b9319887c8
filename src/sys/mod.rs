//! The only place that calls libc: one small typed function for each system call or option.
//!
//! Policy (what to try next, what an error means) belongs to the rooms.

pub mod alike;
pub mod broadcast;
pub mod c_types;
pub mod contained;
pub mod control;
pub mod cookie;
pub mod descriptor;
pub mod epoll;
pub mod errqueue;
pub mod exit;
pub mod file;
pub mod icmp;
pub mod interface;
pub mod memory;
pub mod mmsg;
mod mmsg_calls;
pub mod multicast;
pub mod names;
pub mod netlink;
pub mod option;
pub mod owner;
pub mod packet;
pub mod poll;
pub mod process;
pub mod random;
pub mod refusal;
pub mod reports;
pub mod signal;
pub mod sockaddr;
mod slots;
pub mod socket;
pub mod socket_filter;
pub mod status;
pub mod tcp;
#[cfg(target_env = "gnu")]
pub mod wide;

use crate::error::{Errno, Result};

/// What `errno` says now.
pub fn last_errno() -> Errno {
    // SAFETY: glibc returns the address of this thread's errno, valid for the thread's life.
    Errno::from_raw(unsafe { *libc::__errno_location() })
}

/// Sets `errno` for the C caller.
pub fn set_errno(code: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = code }
}

/// A system call that returns a length, -1 on error.
fn length(result: libc::ssize_t) -> Result<usize> {
    usize::try_from(result).map_err(|_| last_errno())
}

/// A system call that returns 0 or more, -1 on error.
fn value(result: libc::c_int) -> Result<i32> {
    if result >= 0 { Ok(result) } else { Err(last_errno()) }
}

/// A system call that returns nothing but success, -1 on error.
fn done(result: libc::c_int) -> Result<()> {
    value(result).map(drop)
}
