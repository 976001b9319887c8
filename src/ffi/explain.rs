//! What an errno means coming from one function

use std::ffi::{c_char, c_int};

use super::convert;
use super::guard::guard;
use crate::explain;

/// Explains an error: why this function returned it, and what to do about it, in English. "EADDRNOTAVAIL
/// from castio_leave_group: this socket has not joined that group on that interface. Join it first, or
/// name the interface that it was joined on." No system call.
///
/// - code: as the function returned it (-99) or as in errno (99).
/// - call: the function's name, "castio_leave_group" or "leave_group". NULL: what the number means in
///   general.
/// - buf, len: where the text goes. It always ends in a NUL, cut if it has to be. NULL with length 0 asks
///   for the length alone; the longest text has less than 512 bytes.
///
/// Returns the length of the whole text in bytes without the NUL, so that a result of len or more says
/// that it was cut. "OK" for 0. With NULL, and for a number that neither the function nor the head of this
/// header documents, the text is castio_strerror's: "EIO: Input/output error", "EIO from castio_leave_group: Input/output error".
///
/// Errors:
/// -EINVAL: there is no function of that name; buf says so.
/// -EFAULT: buf is NULL and len isn't 0.
///
/// Any thread, any signal handler. Since 0.1.0. See errno(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_explain(code: c_int, call: *const c_char, buf: *mut c_char, len: usize) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let call = unsafe { convert::optional_text(call) };
        match explain::explain(code, call) {
            // SAFETY: NULL or room for `len` bytes, as the header asks.
            Ok(explanation) => unsafe { convert::put_display(buf, len, &explanation) },
            Err(error) => {
                // SAFETY: likewise.
                unsafe { convert::put_text(buf, len, explain::NO_SUCH_FUNCTION)? };
                Err(error)
            }
        }
    })
}
