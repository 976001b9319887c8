//! fopencookie(3): a `FILE *` whose reads and writes are functions of ours.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::{ptr, slice};

use super::contained::contained;
use super::memory::{Region, Source};
#[cfg(target_env = "gnu")]
use super::wide;
use super::{last_errno, set_errno};
use crate::error::{Errno, Result};

/// What a stream does. One value serves one stream, which owns it; any thread may call it, until fclose(3).
pub trait Stream: Sized + Send + Sync + 'static {
    /// As open(2)'s mode: "r" or "w".
    const MODE: &'static CStr;

    /// Reads some bytes; 0 at the end.
    fn read(&self, into: &mut [MaybeUninit<u8>]) -> Result<usize>;
    /// Writes bytes, and tells how many, even when it fails half-way.
    fn write(&self, from: Source<'_>) -> (usize, Result<()>);
    /// From now on closing it leaves what is behind it alone.
    fn release(&self);
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
    fn __fpurge(stream: *mut libc::FILE);
}

struct Cookie<S> {
    stream: S,
    #[cfg(target_env = "gnu")]
    file: *mut libc::FILE,
    #[cfg(target_env = "gnu")]
    room: wide::Room,
}

impl<S> Cookie<S> {
    fn new(stream: S) -> Self {
        Cookie {
            stream,
            #[cfg(target_env = "gnu")]
            file: ptr::null_mut(),
            #[cfg(target_env = "gnu")]
            room: wide::Room::new(),
        }
    }
}

/// A stream that isn't handed out yet; closed if it never is.
pub struct OpenStream(*mut libc::FILE);

impl OpenStream {
    /// fopencookie(3).
    pub fn open<S: Stream>(stream: S) -> Result<OpenStream> {
        let functions = Functions {
            read: Some(read::<S>),
            write: Some(write::<S>),
            seek: Some(seek::<S>),
            close: Some(close::<S>),
        };
        let cookie = Box::into_raw(Box::new(Cookie::new(stream)));
        // SAFETY: the mode ends in a NUL; the functions take this cookie.
        let file = unsafe { fopencookie(cookie.cast(), S::MODE.as_ptr(), functions) };
        if file.is_null() {
            let error = last_errno();
            // SAFETY: no stream took the box.
            drop(unsafe { Box::from_raw(cookie) });
            return Err(error);
        }
        // SAFETY: a new stream, and the box is its own until `close`.
        #[cfg(target_env = "gnu")]
        unsafe {
            (*cookie).file = file;
            wide::give(file, &raw mut (*cookie).room);
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

thread_local! {
    /// Set while `release` asks a stream whether it is one of ours.
    static IS_RELEASING: Cell<bool> = const { Cell::new(false) };
}

/// Closes a stream after [`Stream::release`], and drops what it hasn't written yet. `EINVAL` if it isn't one
/// of [`OpenStream`]'s.
///
/// # Safety
/// An open stream of stdio that nobody uses meanwhile.
pub unsafe fn release(file: *mut libc::FILE) -> Result<()> {
    IS_RELEASING.set(true);
    // It writes nothing, and asks the seek function of the stream: ours answers there.
    // SAFETY: an open stream.
    unsafe { libc::ftello(file) };
    if IS_RELEASING.replace(false) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: an open stream, closed once.
    unsafe {
        __fpurge(file);
        libc::fclose(file);
    }
    Ok(())
}

/// # Safety
/// The cookie is the one of an open stream of S.
unsafe fn stream<'call, S: Stream>(cookie: *mut c_void) -> &'call S {
    // SAFETY: `open` made it, and `close` frees it.
    unsafe { &(*cookie.cast::<Cookie<S>>()).stream }
}

fn failed<T>(error: Errno, result: T) -> T {
    set_errno(error.raw());
    result
}

unsafe extern "C" fn read<S: Stream>(cookie: *mut c_void, to: *mut c_char, len: usize) -> libc::ssize_t {
    contained(
        || {
            // SAFETY: stdio passes the stream's cookie, and its buffer or the caller's, of this length.
            let (stream, into) = unsafe { (stream::<S>(cookie), slice::from_raw_parts_mut(to.cast(), len)) };
            match stream.read(into) {
                Ok(count) => count as libc::ssize_t,
                Err(error) => failed(error, -1),
            }
        },
        || failed(Errno::ENOTRECOVERABLE, -1),
    )
}

/// glibc wants the count, 0 if nothing went out, and never -1 (fopencookie(3)); it takes a short count for an
/// error. musl takes -1 alone for one.
const fn short_write(count: usize) -> libc::ssize_t {
    if cfg!(target_env = "gnu") { count as libc::ssize_t } else { -1 }
}

unsafe extern "C" fn write<S: Stream>(cookie: *mut c_void, from: *const c_char, len: usize) -> libc::ssize_t {
    contained(
        || {
            // SAFETY: stdio passes the stream's cookie, and as many bytes of its buffer or the caller's.
            let (stream, source) = unsafe { (stream::<S>(cookie), Region::from_raw(from.cast(), len)) };
            match stream.write(source) {
                (count, Ok(())) => count as libc::ssize_t,
                (count, Err(error)) => failed(error, short_write(count)),
            }
        },
        || failed(Errno::ENOTRECOVERABLE, short_write(0)),
    )
}

/// There is no position. Without a seek function glibc fails too, and leaves errno as it was.
unsafe extern "C" fn seek<S: Stream>(cookie: *mut c_void, _: *mut libc::off64_t, _: c_int) -> c_int {
    contained(
        || {
            if IS_RELEASING.replace(false) {
                // SAFETY: stdio passes the stream's cookie.
                unsafe { stream::<S>(cookie) }.release();
            }
            failed(Errno::ESPIPE, -1)
        },
        || failed(Errno::ENOTRECOVERABLE, -1),
    )
}

unsafe extern "C" fn close<S: Stream>(cookie: *mut c_void) -> c_int {
    contained(
        || {
            // SAFETY: stdio passes the stream's cookie, and closes once.
            let cookie = unsafe { Box::from_raw(cookie.cast::<Cookie<S>>()) };
            // SAFETY: stdio is closing the stream.
            #[cfg(target_env = "gnu")]
            unsafe {
                wide::take(cookie.file)
            };
            match cookie.stream.close() {
                Ok(()) => 0,
                Err(error) => failed(error, -1),
            }
        },
        || failed(Errno::ENOTRECOVERABLE, -1),
    )
}
