//! What castio_inspect and castio_inspect_socket tell of a descriptor.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;

use castio::ffi::inspect::*;
use serde_json::Value;

/// The object, read by a JSON parser that isn't the library's.
#[track_caller]
pub fn inspect(fd: &impl AsRawFd) -> Value {
    // SAFETY: NULL with 0 asks for the length.
    let len = unsafe { castio_inspect(fd.as_raw_fd(), ptr::null_mut(), 0) };
    let len = usize::try_from(len).unwrap_or_else(|_| panic!("{len}"));
    // More room than it says: what is told of the host may have grown.
    let mut room: Vec<c_char> = vec![-1; len + 10_000];
    // SAFETY: there is room.
    let len = unsafe { castio_inspect(fd.as_raw_fd(), room.as_mut_ptr(), room.len()) } as usize;
    assert!(len < room.len());
    // SAFETY: the call ends it with a NUL.
    let text = unsafe { CStr::from_ptr(room.as_ptr()) }.to_str().unwrap();
    assert_eq!(text.len(), len);
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The struct.
#[track_caller]
pub fn info(fd: &impl AsRawFd) -> castio_socket_info {
    let mut info = blank();
    // SAFETY: the struct says its size.
    assert_eq!(unsafe { castio_inspect_socket(fd.as_raw_fd(), &raw mut info) }, 0);
    assert_eq!(info.struct_size, size_of::<castio_socket_info>());
    info
}

/// A struct of ones but for its size.
pub fn blank() -> castio_socket_info {
    let mut info = MaybeUninit::<castio_socket_info>::uninit();
    // SAFETY: every member may be all ones.
    unsafe {
        info.as_mut_ptr().write_bytes(0xFF, 1);
        (*info.as_mut_ptr()).struct_size = size_of::<castio_socket_info>();
        info.assume_init()
    }
}
