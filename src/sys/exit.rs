//! exit(3): whether it has begun, and when.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::contained::contained;

static BEGAN: OnceLock<Instant> = OnceLock::new();

/// atexit(3), once in a process: from now on [`began`] knows. stdio's streams are flushed after that.
pub fn watch() {
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);
    if !IS_WATCHED.swap(true, Ordering::Relaxed) {
        // SAFETY: a function that may be called at any time. Without memory for it exit isn't noticed.
        unsafe { libc::atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    contained(|| _ = BEGAN.set(Instant::now()), || ());
}

/// When exit(3) began.
pub fn began() -> Option<Instant> {
    BEGAN.get().copied()
}
