//! Writing without SIGPIPE or SIGXFSZ where no flag of the call can say so: the signal is held back in this
//! thread alone, and taken away again if the write raised it.

use std::mem::MaybeUninit;
use std::ptr;

use crate::error::{Errno, Result};

/// A signal that a write raises for the thread that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// SIGPIPE, with `EPIPE`.
    Pipe,
    /// SIGXFSZ, with `EFBIG`: the file is as long as RLIMIT_FSIZE lets it be.
    FileSize,
}

impl Raised {
    fn number(self) -> libc::c_int {
        match self {
            Raised::Pipe => libc::SIGPIPE,
            Raised::FileSize => libc::SIGXFSZ,
        }
    }

    fn error(self) -> Errno {
        match self {
            Raised::Pipe => Errno::EPIPE,
            Raised::FileSize => Errno::EFBIG,
        }
    }
}

/// Runs `write`, which should not wait, with the signal blocked in this thread. One that was pending before, or
/// that somebody sends to the process meanwhile, stays.
///
/// A signal that this thread doesn't block can't be pending for it, so that two system calls suffice: sigpending(2)
/// is only asked where the caller blocks the signal itself, and then the mask needs no restoring.
pub fn held_back<T>(signal: Raised, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let set = set_of(signal);
    let mut before = MaybeUninit::uninit();
    // SAFETY: the set is filled, and `before` has room for one. It can only fail for a bad `how`.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
    // SAFETY: pthread_sigmask filled it.
    let before = unsafe { before.assume_init() };
    let was_blocked = contains(&before, signal);
    let was_pending = was_blocked && is_pending(signal);
    let result = write();
    if matches!(&result, Err(error) if *error == signal.error()) && !was_pending {
        take_away(&set, signal);
    }
    if !was_blocked {
        // SAFETY: the mask is filled.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    }
    result
}

fn set_of(signal: Raised) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set, and the signal is one.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal.number());
        set.assume_init()
    }
}

fn contains(set: &libc::sigset_t, signal: Raised) -> bool {
    // SAFETY: the set is filled, and the signal is one.
    unsafe { libc::sigismember(set, signal.number()) == 1 }
}

fn is_pending(signal: Raised) -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigpending fills the set when it succeeds, and only then is it looked at.
    unsafe { libc::sigpending(set.as_mut_ptr()) == 0 && contains(set.assume_init_ref(), signal) }
}

/// Takes the pending signal away: sigtimedwait(2) looks at the thread's own before the process's, so that one sent by
/// kill(2) stays. One that was sent to this very thread (tgkill(2)) before the write raised its own is raised again;
/// one that is sent after it is the same pending signal to the kernel, and goes with it.
fn take_away(set: &libc::sigset_t, signal: Raised) {
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the time are filled, and there is room for the siginfo, which is valid when all zero.
    let (taken, info) = unsafe { (libc::sigtimedwait(set, info.as_mut_ptr(), &raw const at_once), info.assume_init()) };
    if taken > 0 && info.si_code != libc::SI_USER {
        // SAFETY: takes no pointer.
        unsafe { libc::pthread_kill(libc::pthread_self(), signal.number()) };
    }
}
