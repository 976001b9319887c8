//! Writing without SIGPIPE where no flag of the call can say so: the signal is held back in this
//! thread alone, and taken away again if the write raised it.

use std::mem::MaybeUninit;
use std::ptr;

use crate::error::{Errno, Result};

/// Runs `write` with SIGPIPE blocked in this thread. A SIGPIPE that was pending before stays.
pub fn held_back<T>(write: impl FnOnce() -> Result<T>) -> Result<T> {
    let sigpipe = sigpipe_set();
    let was_pending = is_pending();
    let mut before = MaybeUninit::uninit();
    // SAFETY: the set is filled, and `before` has room for one. It can only fail for a bad `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, before.as_mut_ptr()) };
    let result = write();
    if matches!(result, Err(Errno::EPIPE)) && !was_pending {
        take_away(&sigpipe);
    }
    // SAFETY: pthread_sigmask filled `before`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

fn sigpipe_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set, and SIGPIPE is a signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        set.assume_init()
    }
}

fn is_pending() -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigpending fills the set.
    unsafe { libc::sigpending(set.as_mut_ptr()) == 0 && libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1 }
}

fn take_away(sigpipe: &libc::sigset_t) {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both are filled; no siginfo is wanted.
    unsafe { libc::sigtimedwait(sigpipe, ptr::null_mut(), &raw const at_once) };
}
