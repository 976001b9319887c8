//! Wide characters on the streams of glibc's fopencookie(3), which are for bytes alone.
//!
//! glibc gives them no room for wide characters, so that fgetws(3) and getwc(3) crash "predictably". With
//! room that stays zero they find a byte-oriented stream (fwide(3)), and fail as they do on any other.

use std::ffi::{c_char, c_int, c_long, c_short, c_void};
use std::ptr;

/// `struct _IO_FILE` (<bits/types/struct_FILE.h>), as far as it goes here. Programs have its layout compiled
/// in, by putc_unlocked(3) and the like: it can't change.
#[repr(C)]
struct Head {
    flags: c_int,
    buffers: [*mut c_char; 11],
    markers: *mut c_void,
    chain: *mut c_void,
    fileno: c_int,
    flags2: c_int,
    old_offset: c_long,
    column: c_short,
    vtable_offset: i8,
    short: [c_char; 1],
    lock: *mut c_void,
    offset: i64,
    codecvt: *mut c_void,
    wide_data: *mut c_void,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(std::mem::offset_of!(Head, wide_data) == 160);

/// What glibc gives a stream that is for bytes alone.
const NO_ROOM: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// More than `struct _IO_wide_data` has (232 bytes of 64-bit glibc). A byte stream never writes there.
pub struct Room(#[allow(dead_code, reason = "glibc reads it")] [u64; 64]);

impl Room {
    /// All zero.
    #[allow(clippy::new_without_default, reason = "one place makes it")]
    pub const fn new() -> Room {
        Room([0; 64])
    }
}

/// Gives the stream room if it has none.
///
/// # Safety
/// The stream is open and nobody else's, and `room` stays as long, or until [`take`].
pub unsafe fn give(file: *mut libc::FILE, room: *mut Room) {
    // SAFETY: an open stream of glibc starts so.
    let place = unsafe { &raw mut (*file.cast::<Head>()).wide_data };
    // SAFETY: in the stream, which is nobody else's.
    unsafe {
        if *place == NO_ROOM {
            *place = room.cast();
        }
    }
}

/// Takes the room away again.
///
/// # Safety
/// As for [`give`]; stdio is closing the stream.
pub unsafe fn take(file: *mut libc::FILE) {
    // SAFETY: an open stream of glibc starts so.
    unsafe { (*file.cast::<Head>()).wide_data = NO_ROOM };
}
