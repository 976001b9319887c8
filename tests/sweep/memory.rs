//! Memory for arguments that shows every touch where none is allowed: what lies behind it can't be
//! read, what the library must not change can't be written, and what lies before it is looked at.

use std::ptr;

use crate::support::descriptors::check;

const PAGE: usize = 4096;
/// What stands in the gap before the memory.
const GAP: u8 = 0xA5;

/// Some bytes at the very end of a mapping, before a page that can't be touched. Never freed: the
/// process that sweeps is short-lived.
pub struct Guarded {
    start: *mut u8,
    gap: usize,
    /// What it holds before each call.
    image: Vec<u8>,
    read_only: bool,
}

impl Guarded {
    /// For a const parameter: writing to it is a crash.
    pub fn read_only(image: &[u8]) -> Guarded {
        let mut made = Guarded::writable(image);
        made.read_only = true;
        made.protect(made.start, made.room(), libc::PROT_READ);
        made
    }

    pub fn writable(image: &[u8]) -> Guarded {
        let room = image.len().max(1).div_ceil(PAGE) * PAGE;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let start = unsafe { libc::mmap(ptr::null_mut(), room + PAGE, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let start: *mut u8 = start.cast();
        let made = Guarded { start, gap: room - image.len(), image: image.to_vec(), read_only: false };
        // SAFETY: the mapping has this room and a page more.
        unsafe {
            start.write_bytes(GAP, room);
            made.protect(start.add(room), PAGE, libc::PROT_NONE);
        }
        made.restore();
        made
    }

    fn room(&self) -> usize {
        self.gap + self.image.len()
    }

    fn protect(&self, at: *mut u8, len: usize, access: libc::c_int) {
        // SAFETY: a part of the mapping.
        check(unsafe { libc::mprotect(at.cast(), len, access) });
    }

    /// Its address, for an argument.
    pub fn address(&self) -> usize {
        self.start as usize + self.gap
    }

    /// An address behind it, where nothing can be read or written.
    pub fn beyond(&self) -> usize {
        self.start as usize + self.room()
    }

    /// Writes the image anew.
    pub fn restore(&self) {
        if !self.read_only {
            // SAFETY: the mapping has room for the image behind the gap.
            unsafe { self.start.add(self.gap).copy_from_nonoverlapping(self.image.as_ptr(), self.image.len()) };
        }
    }

    /// Whether it still holds the image.
    pub fn is_unchanged(&self) -> bool {
        // SAFETY: mapped and readable.
        unsafe { std::slice::from_raw_parts(self.start.add(self.gap), self.image.len()) == self.image }
    }

    /// Whether nothing was written before it.
    pub fn gap_is_unchanged(&self) -> bool {
        // SAFETY: mapped and readable.
        unsafe { std::slice::from_raw_parts(self.start, self.gap).iter().all(|byte| *byte == GAP) }
    }
}
