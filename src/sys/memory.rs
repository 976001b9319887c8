//! The caller's memory, as the kernel sees it: addresses and lengths, never dereferenced here.
//!
//! C may hand over memory that is uninitialised or that another thread writes to, so no Rust
//! reference to it is ever made. Rust callers convert from slices and `IoSlice`s.

use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use libc::iovec;

use crate::error::{Errno, Result};

/// The most buffers that one system call takes (IOV_MAX, `UIO_MAXIOV` in the kernel).
pub const IOV_MAX: usize = 1024;

/// Marks memory that the kernel reads.
#[derive(Clone, Copy)]
pub enum Out {}

/// Marks memory that the kernel writes.
#[derive(Clone, Copy)]
pub enum In {}

/// One piece of memory.
#[derive(Clone, Copy)]
pub struct Region<'a, Direction> {
    iov: iovec,
    memory: PhantomData<(&'a [u8], Direction)>,
}

/// What send(2) takes.
pub type Source<'a> = Region<'a, Out>;

/// What recv(2) fills.
pub type Sink<'a> = Region<'a, In>;

impl<'a, Direction> Region<'a, Direction> {
    /// # Safety
    /// The kernel may read (`Out`) or write (`In`) `len` bytes at `base` for `'a`.
    pub unsafe fn from_raw(base: *const libc::c_void, len: usize) -> Self {
        Region { iov: iovec { iov_base: base.cast_mut(), iov_len: len }, memory: PhantomData }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.iov.iov_len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most its first `limit` bytes.
    pub fn prefix(self, limit: usize) -> Self {
        let iov = iovec { iov_len: self.len().min(limit), ..self.iov };
        Region { iov, ..self }
    }

    /// All but the last byte, and the last byte; `None` when it is empty.
    pub fn split_last(self) -> Option<(Self, Self)> {
        let first = self.len().checked_sub(1)?;
        let last = iovec { iov_base: offset(self.iov.iov_base, first), iov_len: 1 };
        Some((self.prefix(first), Region { iov: last, memory: PhantomData }))
    }

    /// As a list of one.
    pub fn as_list(&self) -> List<'_, Direction> {
        List { first: &self.iov, count: 1, memory: PhantomData }
    }

    pub(super) fn base(&self) -> *mut libc::c_void {
        self.iov.iov_base
    }
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        // SAFETY: the slice is readable for 'a.
        unsafe { Region::from_raw(bytes.as_ptr().cast(), bytes.len()) }
    }
}

impl<'a> From<&'a mut [u8]> for Sink<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        // SAFETY: the slice is writable for 'a, and nobody else holds it.
        unsafe { Region::from_raw(bytes.as_mut_ptr().cast(), bytes.len()) }
    }
}

impl<'a> From<&'a mut [MaybeUninit<u8>]> for Sink<'a> {
    fn from(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        // SAFETY: the slice is writable for 'a, nobody else holds it, and the kernel only writes.
        unsafe { Region::from_raw(bytes.as_mut_ptr().cast(), bytes.len()) }
    }
}

/// A list of regions, in order.
#[derive(Clone, Copy)]
pub struct List<'a, Direction> {
    first: *const iovec,
    count: usize,
    memory: PhantomData<(&'a [iovec], Direction)>,
}

/// What writev(2) takes.
pub type Gather<'a> = List<'a, Out>;

/// What readv(2) fills.
pub type Scatter<'a> = List<'a, In>;

impl<'a, Direction> List<'a, Direction> {
    /// # Safety
    /// `first` points to `count` iovecs (to anything if 0), aligned and unchanging for `'a`, each
    /// naming memory that the kernel may read (`Out`) or write (`In`) for `'a`.
    pub unsafe fn from_raw(first: *const iovec, count: usize) -> Self {
        List { first, count, memory: PhantomData }
    }

    /// How many regions.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All bytes together. `EINVAL` if that is more than a ssize_t holds.
    pub fn total(&self) -> Result<usize> {
        total(self.entries())
    }

    /// At most `limit` bytes of its first region that isn't empty.
    pub fn prefix(&self, limit: usize) -> Region<'a, Direction> {
        let nothing = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let first = self.entries().find(|entry| entry.iov_len > 0).unwrap_or(nothing);
        Region { iov: first, memory: PhantomData }.prefix(limit)
    }

    /// Its first regions that hold at most `limit` bytes together; `None` if the first one with bytes has more.
    pub fn within(&self, limit: usize) -> Option<Self> {
        let (mut bytes, mut count) = (0, 0);
        for entry in self.entries() {
            match entry.iov_len.checked_add(bytes) {
                Some(sum) if sum <= limit => bytes = sum,
                _ if bytes == 0 => return None,
                _ => break,
            }
            count += 1;
        }
        Some(List { count, ..*self })
    }

    /// Copies of its entries: C's memory is behind no reference.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = iovec> + use<Direction> {
        let first = self.first;
        // SAFETY: whoever built the list promised `count` iovecs, aligned and unchanging, for 'a.
        (0..self.count).map(move |index| unsafe { first.add(index).read() })
    }

    pub(super) fn first(&self) -> *mut iovec {
        self.first.cast_mut()
    }
}

impl<'a> From<&'a [IoSlice<'_>]> for Gather<'a> {
    fn from(slices: &'a [IoSlice<'_>]) -> Self {
        // SAFETY: IoSlice is documented to have the layout of iovec, and borrows its memory for 'a.
        unsafe { List::from_raw(slices.as_ptr().cast(), slices.len()) }
    }
}

impl<'a> From<&'a mut [IoSliceMut<'_>]> for Scatter<'a> {
    fn from(slices: &'a mut [IoSliceMut<'_>]) -> Self {
        // SAFETY: IoSliceMut is documented to have the layout of iovec, and borrows its memory
        // for 'a, alone.
        unsafe { List::from_raw(slices.as_ptr().cast(), slices.len()) }
    }
}

/// How many entries a resumed transfer copies: a first one that is cut, and some to go with it.
const WINDOW: usize = 64;

/// A place in a list, and the part of the list that the next system call takes.
pub struct Cursor<'a, Direction> {
    rest: List<'a, Direction>,
    /// Bytes of the first entry of `rest` that are done.
    offset: usize,
    window: [iovec; WINDOW],
}

impl<'a, Direction> Cursor<'a, Direction> {
    /// So many bytes into `list`.
    pub fn new(list: List<'a, Direction>, bytes: usize) -> Self {
        let nothing = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let mut cursor = Cursor { rest: list, offset: 0, window: [nothing; WINDOW] };
        cursor.advance(bytes);
        cursor
    }

    /// Steps over `bytes`, and over the empty entries behind them.
    pub fn advance(&mut self, bytes: usize) {
        let mut left = self.offset.saturating_add(bytes);
        let mut finished = 0;
        for entry in self.rest.entries() {
            if left < entry.iov_len {
                break;
            }
            left -= entry.iov_len;
            finished += 1;
        }
        self.rest.first = self.rest.first.wrapping_add(finished);
        self.rest.count -= finished;
        self.offset = left;
    }

    /// What comes next, at most [`IOV_MAX`] entries. The list itself is never changed: where its
    /// first entry is cut, a few entries are copied.
    pub fn window(&mut self) -> List<'_, Direction> {
        if self.offset == 0 {
            return List { count: self.rest.count.min(IOV_MAX), ..self.rest };
        }
        let mut count = 0;
        for (copy, entry) in self.window.iter_mut().zip(self.rest.entries()) {
            *copy = entry;
            count += 1;
        }
        if let Some(first) = self.window.first_mut() {
            first.iov_base = offset(first.iov_base, self.offset);
            first.iov_len -= self.offset;
        }
        List { first: self.window.as_ptr(), count, memory: PhantomData }
    }
}

/// Moves the caller's own array on by `bytes`: entries that are done get length 0, the first
/// unfinished one is cut. Its index, or the count when all are done. `EINVAL` if the array holds
/// fewer bytes; it is unchanged then.
///
/// # Safety
/// `first` points to `count` iovecs (to anything if 0) that nobody else uses meanwhile.
pub unsafe fn advance_in_place(first: *mut iovec, count: usize, bytes: usize) -> Result<usize> {
    // SAFETY: promised by the caller.
    let entries: Gather = unsafe { List::from_raw(first, count) };
    if bytes > entries.total()? {
        return Err(Errno::EINVAL);
    }
    let mut left = bytes;
    for (index, mut entry) in entries.entries().enumerate() {
        let step = left.min(entry.iov_len);
        entry.iov_base = offset(entry.iov_base, step);
        entry.iov_len -= step;
        left -= step;
        // SAFETY: one of the caller's, which nobody else uses meanwhile.
        unsafe { first.add(index).write(entry) };
        if entry.iov_len > 0 {
            return Ok(index);
        }
    }
    Ok(count)
}

fn total(entries: impl Iterator<Item = iovec>) -> Result<usize> {
    // Sums of fewer than 2^31 lengths, each checked to be a ssize_t, can't wrap around unseen in
    // 128 bits; the compiler keeps this to an add and a carry for each entry.
    let total: u128 = entries.map(|entry| entry.iov_len as u128).sum();
    match isize::try_from(total) {
        Ok(total) => Ok(total.unsigned_abs()),
        Err(_) => Err(Errno::EINVAL),
    }
}

fn offset(base: *mut libc::c_void, bytes: usize) -> *mut libc::c_void {
    base.cast::<u8>().wrapping_add(bytes).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(lengths: &[usize]) -> Vec<iovec> {
        lengths.iter().map(|&iov_len| iovec { iov_base: std::ptr::null_mut(), iov_len }).collect()
    }

    #[test]
    fn a_total_over_ssize_max_is_refused_even_where_it_wraps_around() {
        assert_eq!(total(lengths(&[1, 2, 3]).into_iter()), Ok(6));
        assert_eq!(total(lengths(&[isize::MAX as usize]).into_iter()), Ok(isize::MAX as usize));
        assert_eq!(total(lengths(&[isize::MAX as usize, 1]).into_iter()), Err(Errno::EINVAL));
        assert_eq!(total(lengths(&[usize::MAX, 1]).into_iter()), Err(Errno::EINVAL));
        assert_eq!(total(lengths(&[usize::MAX; 3]).into_iter()), Err(Errno::EINVAL));
    }

    #[test]
    fn whole_regions_within_a_limit_are_taken_together() {
        let entries = lengths(&[0, 3, 0, 3, 3, 9]);
        // SAFETY: the entries are only looked at.
        let list: Gather = unsafe { List::from_raw(entries.as_ptr(), entries.len()) };
        let counts = [2, 3, 5, 6, 8, 9, 17, 18].map(|limit| list.within(limit).map(|part| part.count()));
        assert_eq!(counts, [None, Some(3), Some(3), Some(4), Some(4), Some(5), Some(5), Some(6)]);
        // SAFETY: as above.
        let nothing: Gather = unsafe { List::from_raw(entries.as_ptr(), 1) };
        assert_eq!(nothing.within(0).map(|part| part.count()), Some(1));
    }

    #[test]
    fn a_cursor_stops_in_the_middle_of_an_entry_and_steps_over_empty_ones() {
        let entries = lengths(&[3, 0, 5, 0, 0, 2]);
        // SAFETY: the entries are only looked at.
        let list: Gather = unsafe { List::from_raw(entries.as_ptr(), entries.len()) };
        let mut cursor = Cursor::new(list, 0);
        assert_eq!(cursor.window().count(), 6);
        cursor.advance(3);
        assert_eq!(cursor.window().count(), 4, "at the entry of 5");
        cursor.advance(4);
        assert_eq!(cursor.window().total(), Ok(3), "1 of 5, and 2");
        cursor.advance(1);
        assert_eq!(cursor.window().count(), 1, "at the entry of 2");
        cursor.advance(2);
        assert_eq!(cursor.window().count(), 0);
    }
}
