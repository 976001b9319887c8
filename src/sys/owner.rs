//! Who gets SIGURG: fcntl(F_SETOWN_EX) and fcntl(F_GETOWN_EX).
//!
//! The plain F_SETOWN and F_GETOWN can't name a thread, and their answer can't tell a process
//! group from an error on some systems.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::value;
use crate::error::{Errno, Result};

/// The receiver of SIGURG and SIGIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody.
    Nobody,
    /// A process: any thread of it that doesn't block the signal.
    Process(i32),
    /// Each process of a group.
    Group(i32),
    /// One thread.
    Thread(i32),
}

impl Owner {
    /// As one number: a group's is negative, nobody is 0.
    pub fn id(self) -> i32 {
        match self {
            Owner::Nobody => 0,
            Owner::Process(id) | Owner::Thread(id) => id,
            Owner::Group(id) => id.wrapping_neg(),
        }
    }
}

/// Not in the libc crate; fcntl(2).
#[repr(C)]
struct FOwnerEx {
    kind: libc::c_int,
    pid: libc::pid_t,
}

const F_SETOWN_EX: libc::c_int = 15;
const F_GETOWN_EX: libc::c_int = 16;
const F_OWNER_TID: libc::c_int = 0;
const F_OWNER_PID: libc::c_int = 1;
const F_OWNER_PGRP: libc::c_int = 2;

const _: () = assert!(size_of::<FOwnerEx>() == 8);

/// fcntl(F_SETOWN_EX).
pub fn set(fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    let (kind, pid) = match owner {
        Owner::Nobody => (F_OWNER_PID, 0),
        Owner::Process(pid) => (F_OWNER_PID, pid),
        Owner::Group(group) => (F_OWNER_PGRP, group),
        Owner::Thread(thread) => (F_OWNER_TID, thread),
    };
    let raw = FOwnerEx { kind, pid };
    // SAFETY: the struct is filled.
    value(unsafe { libc::fcntl(fd.as_raw_fd(), F_SETOWN_EX, &raw const raw) }).map(drop)
}

/// Whether there is such a process, group or thread. Signal 0 is no signal: it checks alone (kill(2)).
pub fn exists(owner: Owner) -> bool {
    const NO_SIGNAL: libc::c_int = 0;
    let found = match owner {
        Owner::Nobody => return true,
        // Of threads, the one that leads a process alone has the process's id.
        // SAFETY: tgkill(2) takes no pointer.
        Owner::Process(id) => unsafe { libc::syscall(libc::SYS_tgkill, id, id, NO_SIGNAL) },
        // SAFETY: tkill(2) takes no pointer.
        Owner::Thread(id) => unsafe { libc::syscall(libc::SYS_tkill, id, NO_SIGNAL) },
        // kill(2) takes -1 for everybody.
        // SAFETY: getpriority(2) takes no pointer.
        Owner::Group(id) => unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PGRP, id) },
    };
    // Another error: it is somebody else's, or a sandbox forbids the question.
    value(found as libc::c_int) != Err(Errno::ESRCH)
}

/// fcntl(F_GETOWN_EX).
pub fn get(fd: BorrowedFd<'_>) -> Result<Owner> {
    let mut raw = FOwnerEx { kind: F_OWNER_PID, pid: 0 };
    // SAFETY: there is room for the struct.
    value(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETOWN_EX, &raw mut raw) })?;
    Ok(match (raw.kind, raw.pid) {
        (_, 0) => Owner::Nobody,
        (F_OWNER_PGRP, group) => Owner::Group(group),
        (F_OWNER_TID, thread) => Owner::Thread(thread),
        (_, process) => Owner::Process(process),
    })
}

/// fcntl(F_GETSIG): the signal that the owner gets for O_ASYNC; 0 is SIGIO.
pub fn signal(fd: BorrowedFd<'_>) -> Result<i32> {
    const F_GETSIG: libc::c_int = 11;
    // SAFETY: F_GETSIG takes no pointer.
    value(unsafe { libc::fcntl(fd.as_raw_fd(), F_GETSIG) })
}

/// gettid(2).
pub fn this_thread() -> i32 {
    // SAFETY: gettid takes nothing and can't fail.
    unsafe { libc::gettid() }
}
