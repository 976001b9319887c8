//! System calls that a sandbox refuses: container profiles and SystemCallFilter answer `EPERM`, others and old
//! kernels `ENOSYS`. What is found out once is remembered for the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Errno, Result};

/// A fact about the kernel, or about the sandbox in front of it, that is false until it is found out.
pub struct Fact(AtomicBool);

impl Fact {
    /// Not found out.
    pub const fn unknown() -> Self {
        Fact(AtomicBool::new(false))
    }

    /// Whether it was found out. Nothing else depends on the order of this load.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Remembers it. It is stored once, so that the processors keep sharing the line.
    pub fn learn(&self) {
        if !self.is_known() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A system call that can be done without.
pub struct Optional {
    refused: Fact,
}

impl Optional {
    /// Not refused as far as is known.
    pub const fn allowed() -> Self {
        Optional { refused: Fact::unknown() }
    }

    /// Whether it is known to be refused.
    pub fn is_refused(&self) -> bool {
        self.refused.is_known()
    }

    /// Whether `error` is the sandbox's answer and not the object's: a firewall and a sealed file say `EPERM`
    /// too. `on_nothing` makes the same call on descriptor -1, for which the kernel itself says `EBADF`.
    #[cold]
    pub fn refuses<T>(&self, error: Errno, on_nothing: impl FnOnce() -> Result<T>) -> bool {
        let is_candidate = matches!(error, Errno::EPERM | Errno::ENOSYS);
        let is_refused = is_candidate && matches!(on_nothing(), Err(again) if again == error);
        if is_refused {
            self.refused.learn();
        }
        is_refused
    }
}

/// Whether an error of a call without an object of its own (it only asks) can be a sandbox's answer.
pub fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::EPERM | Errno::ENOSYS)
}
