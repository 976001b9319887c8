//! What every function of the C face is wrapped in: one result rule, no panic and no cancellation.

use libc::{c_int, ssize_t};

use crate::error::{Errno, Result};
use crate::sys;
use crate::sys::contained::contained;

/// What a room returns, as C gets it: 0 or more for success, a negative errno for failure.
pub(super) trait Outcome {
    type C;
    fn success(self) -> Self::C;
    fn failure(code: c_int) -> Self::C;
}

impl Outcome for usize {
    type C = ssize_t;
    fn success(self) -> ssize_t {
        // A length of the caller's memory, which is at most SSIZE_MAX.
        self as ssize_t
    }
    fn failure(code: c_int) -> ssize_t {
        code as ssize_t
    }
}

impl Outcome for i32 {
    type C = c_int;
    fn success(self) -> c_int {
        self
    }
    fn failure(code: c_int) -> c_int {
        code
    }
}

impl Outcome for () {
    type C = c_int;
    fn success(self) -> c_int {
        0
    }
    fn failure(code: c_int) -> c_int {
        code
    }
}

impl Outcome for bool {
    type C = c_int;
    fn success(self) -> c_int {
        c_int::from(self)
    }
    fn failure(code: c_int) -> c_int {
        code
    }
}

/// Runs a function's body; sets `errno` on failure. A panic, which would be a bug of ours, becomes
/// `ENOTRECOVERABLE` instead of undefined behaviour, and the thread isn't cancelled meanwhile.
#[inline(always)]
#[allow(improper_ctypes_definitions, reason = "Rust alone calls it; see `contained` for the ABI")]
pub(super) extern "C" fn guard<T: Outcome>(body: impl FnOnce() -> Result<T>) -> T::C {
    contained(
        || match body() {
            Ok(value) => value.success(),
            Err(error) => fail::<T>(error),
        },
        || fail::<T>(Errno::ENOTRECOVERABLE),
    )
}

#[cold]
fn fail<T: Outcome>(error: Errno) -> T::C {
    sys::set_errno(error.raw());
    T::failure(-error.raw())
}
