//! fopencookie(3): a `FILE *` whose reads and writes are functions of ours.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use super::memory::{Region, Sink, Source};
use super::{last_errno, set_errno};
use crate::error::{Errno, Result};

/// What a stream does. One value serves one stream, which owns it.
pub trait Stream: Sized {
    /// As open(2)'s mode: "r" or "w".
    const MODE: &'static CStr;

    /// Reads some bytes; 0 at the end.
    fn read(&self, into: Sink<'_>) -> Result<usize>;
    /// Writes bytes, and tells how many, even when it fails half-way.
    fn write(&self, from: Source<'_>) -> (usize, Result<()>);
    /// After the last flush.
    fn close(self) -> Result<()>;
}

type ReadFunction = unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> libc::ssize_t;
type WriteFunction = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> libc::ssize_t;
type SeekFunction = unsafe extern "C" fn(*mut c_void, *mut libc::off64_t, c_int) -> c_int;
type CloseFunction = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `cookie_io_functions_t`, not in the libc crate.
#[repr(C)]
struct Functions {
    read: Option<ReadFunction>,
    write: Option<WriteFunction>,
    seek: Option<SeekFunction>,
    close: Option<CloseFunction>,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut libc::FILE;
}

/// A stream that isn't handed out yet; closed if it never is.
pub struct OpenStream(*mut libc::FILE);

impl OpenStream {
    /// fopencookie(3).
    pub fn open<S: Stream>(stream: S) -> Result<OpenStream> {
        let functions =
            Functions { read: Some(read::<S>), write: Some(write::<S>), seek: None, close: Some(close::<S>) };
        let cookie = Box::into_raw(Box::new(stream));
        // SAFETY: the mode ends in a NUL; the functions take this cookie.
        let file = unsafe { fopencookie(cookie.cast(), S::MODE.as_ptr(), functions) };
        if file.is_null() {
            let error = last_errno();
            // SAFETY: no stream took the box.
            drop(unsafe { Box::from_raw(cookie) });
            return Err(error);
        }
        Ok(OpenStream(file))
    }

    /// Hands the stream out: from now on fclose(3) closes it.
    pub fn into_raw(self) -> *mut libc::FILE {
        let file = self.0;
        std::mem::forget(self);
        file
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // SAFETY: open, and nobody else has it.
        unsafe { libc::fclose(self.0) };
    }
}

/// A panic must not pass through stdio.
fn contained<T>(call: impl FnOnce() -> T, on_panic: T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(on_panic)
}

unsafe extern "C" fn read<S: Stream>(cookie: *mut c_void, to: *mut c_char, len: usize) -> libc::ssize_t {
    // SAFETY: the cookie is the S that the stream owns; stdio's buffer has room for `len` bytes.
    let (stream, sink) = unsafe { (&*cookie.cast::<S>(), Region::from_raw(to.cast(), len)) };
    match contained(|| stream.read(sink), Err(Errno::ENOTRECOVERABLE)) {
        Ok(count) => count as libc::ssize_t,
        Err(error) => {
            set_errno(error.raw());
            -1
        }
    }
}

/// Returns a short count on error, 0 if nothing went out: never -1 (fopencookie(3)).
unsafe extern "C" fn write<S: Stream>(cookie: *mut c_void, from: *const c_char, len: usize) -> libc::ssize_t {
    // SAFETY: the cookie is the S that the stream owns; stdio's buffer holds `len` bytes.
    let (stream, source) = unsafe { (&*cookie.cast::<S>(), Region::from_raw(from.cast(), len)) };
    let (count, result) = contained(|| stream.write(source), (0, Err(Errno::ENOTRECOVERABLE)));
    if let Err(error) = result {
        set_errno(error.raw());
    }
    count as libc::ssize_t
}

unsafe extern "C" fn close<S: Stream>(cookie: *mut c_void) -> c_int {
    // SAFETY: the cookie is the S that the stream owned, and stdio closes once.
    let stream = unsafe { Box::from_raw(cookie.cast::<S>()) };
    match contained(|| stream.close(), Err(Errno::ENOTRECOVERABLE)) {
        Ok(()) => 0,
        Err(error) => {
            set_errno(error.raw());
            -1
        }
    }
}

/// What a function that makes a `FILE *` gives where there is none.
pub const NO_STREAM: *mut libc::FILE = ptr::null_mut();
