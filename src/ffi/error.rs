//! Version, and what error numbers are called.

use std::ffi::{CStr, c_char, c_int};

use super::convert;
use super::guard::guard;
use crate::error;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The version of the library that is loaded, "major.minor.patch", a static string.
/// CASTIO_VERSION_STRING is the version of the header.
///
/// Never fails. Any thread, any signal handler. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn castio_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The version of the library that is loaded as a number: major * 1000000 + minor * 1000 + patch.
/// Equal to CASTIO_VERSION_NUMBER if the program was compiled against the same version.
///
/// Never fails. Any thread, any signal handler. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn castio_version_number() -> u32 {
    parse(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + parse(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + parse(env!("CARGO_PKG_VERSION_PATCH"))
}

fn parse(number: &str) -> u32 {
    number.parse().unwrap_or(0)
}

/// The name of an error number, "EADDRINUSE", a static string.
///
/// - code: as a function of this library returned it (-98) or as in errno (98).
///
/// Returns "OK" for 0 and "EUNKNOWN" for a number that Linux doesn't define. Where two names share
/// a number it is EAGAIN (EWOULDBLOCK), EDEADLK (EDEADLOCK), EOPNOTSUPP (ENOTSUP).
///
/// Never fails. Any thread, any signal handler. Since 0.1.0. See errno(3).
#[unsafe(no_mangle)]
pub extern "C" fn castio_error_name(code: c_int) -> *const c_char {
    error::name(code).as_ptr()
}

/// The text of an error number, in English whatever the locale: "Address already in use".
///
/// - code: negative or positive, as in castio_error_name.
/// - buf, len: where the text goes. It always ends in a NUL, cut if it has to be. NULL with length
///   0 asks for the length alone.
///
/// Returns the length of the whole text in bytes without the NUL, so that a result of len or more
/// says that it was cut. A number that Linux doesn't define gives "Unknown error" and the number.
///
/// Errors:
/// -EFAULT: buf is NULL and len isn't 0.
///
/// Any thread, any signal handler. Since 0.1.0. See strerror(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_strerror(code: c_int, buf: *mut c_char, len: usize) -> c_int {
    guard(|| {
        let mut unknown = UnknownError::new();
        let text = error::text(code).unwrap_or_else(|| unknown.describe(code));
        // SAFETY: the header asks for `len` bytes at `buf`.
        unsafe { convert::put_text(buf, len, text) }
    })
}

/// "Unknown error 4711", without allocating.
struct UnknownError([u8; 32]);

impl UnknownError {
    fn new() -> Self {
        UnknownError([0; 32])
    }

    fn describe(&mut self, code: c_int) -> &str {
        use std::io::Write;
        let mut rest = &mut self.0[..];
        // 14 bytes and at most 10 digits: it fits.
        let _ = write!(rest, "Unknown error {}", code.unsigned_abs());
        let unused = rest.len();
        let used = self.0.len() - unused;
        self.0.get(..used).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("Unknown error")
    }
}
