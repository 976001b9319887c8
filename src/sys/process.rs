//! What belongs to one process, and not to its children after fork(2).

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// getpid(2).
pub fn id() -> i32 {
    // SAFETY: getpid takes nothing and always succeeds.
    unsafe { libc::getpid() }
}

/// A value that each process has for itself. A child after fork(2) starts with a new one: a lock in the old
/// one may be held by a thread that the child doesn't have.
pub struct PerProcess<T>(AtomicPtr<Own<T>>);

struct Own<T> {
    process: i32,
    value: T,
}

impl<T: Default + Send + Sync + 'static> PerProcess<T> {
    /// Allocates nothing yet.
    #[allow(clippy::new_without_default, reason = "for statics")]
    pub const fn new() -> Self {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// This process's value. Made at the first call, and never freed.
    pub fn get(&'static self) -> &'static T {
        let process = id();
        loop {
            let at = self.0.load(Ordering::Acquire);
            // SAFETY: NULL, or from Box::into_raw below, published by the exchange and never freed.
            match unsafe { at.as_ref() } {
                Some(own) if own.process == process => return &own.value,
                _ => {}
            }
            let new = Box::into_raw(Box::new(Own { process, value: T::default() }));
            if self.0.compare_exchange(at, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: made above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
}
