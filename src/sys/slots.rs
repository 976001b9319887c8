//! Memory in slots of one size that the kernel fills: it and C programs hold addresses of all slots while
//! Rust looks at one of them, so no reference to more than a part of one slot is ever made.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use crate::error::{Errno, Result};

/// `count` slots of `size` bytes, uninitialised at first.
pub(super) struct Slots {
    first: NonNull<u8>,
    layout: Layout,
    count: usize,
    size: usize,
}

// SAFETY: the memory belongs to this alone, and moves with it to whichever thread has it.
unsafe impl Send for Slots {}

impl Slots {
    /// `ENOMEM` if there isn't so much memory, `EINVAL` if it is none.
    pub fn new(count: usize, size: usize) -> Result<Slots> {
        let bytes = count.checked_mul(size).ok_or(Errno::ENOMEM)?;
        let layout = Layout::array::<u8>(bytes).map_err(|_| Errno::ENOMEM)?;
        if bytes == 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the layout has a size.
        let first = NonNull::new(unsafe { alloc(layout) }).ok_or(Errno::ENOMEM)?;
        Ok(Slots { first, layout, count, size })
    }

    /// The size of each.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where a slot starts; meaningless for a number that none has.
    pub fn start(&self, index: usize) -> *mut u8 {
        self.first.as_ptr().wrapping_add(index.wrapping_mul(self.size))
    }

    /// The first bytes of a slot, at most all of it.
    ///
    /// # Safety
    /// So many of them were written.
    pub unsafe fn bytes(&self, index: usize, len: usize) -> Option<&[u8]> {
        let len = len.min(self.size);
        // SAFETY: within a slot, written as the caller promises, and changed only by `&mut self`.
        (index < self.count).then(|| unsafe { std::slice::from_raw_parts(self.start(index), len) })
    }

    /// Likewise, to change.
    ///
    /// # Safety
    /// So many of them were written.
    pub unsafe fn bytes_mut(&mut self, index: usize, len: usize) -> Option<&mut [u8]> {
        let len = len.min(self.size);
        // SAFETY: within a slot, written as the caller promises, and `self` is borrowed for as long.
        (index < self.count).then(|| unsafe { std::slice::from_raw_parts_mut(self.start(index), len) })
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and nobody else frees it.
        unsafe { dealloc(self.first.as_ptr(), self.layout) };
    }
}
