//! From C's arguments to Rust's, checked: NULL with a length is `EFAULT`, a negative descriptor
//! `EBADF`, an impossible value `EINVAL`; length 0 ignores the pointer.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::{self, Display, Write};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use libc::{iovec, sockaddr, sockaddr_storage, socklen_t};

use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::sys::memory::{List, Region};
use crate::sys::sockaddr as addresses;

/// The caller's descriptor, for this call.
pub(super) fn descriptor<'call>(fd: c_int) -> Result<BorrowedFd<'call>> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: not -1. Whether it is open the kernel says; the caller keeps it open for the call.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Memory that the kernel reads (`Out`) or writes (`In`).
///
/// # Safety
/// `len` bytes at `base` stay valid for the call, or `base` is NULL.
pub(super) unsafe fn region<'call, Direction>(base: *const c_void, len: usize) -> Result<Region<'call, Direction>> {
    if len > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    if base.is_null() && len > 0 {
        return Err(Errno::EFAULT);
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { Region::from_raw(base, len) })
}

/// A list of such memory.
///
/// # Safety
/// `count` iovecs at `first` stay valid and unchanged for the call, or `first` is NULL.
pub(super) unsafe fn list<'call, Direction>(first: *const iovec, count: c_int) -> Result<List<'call, Direction>> {
    let count = array(first, usize::try_from(count).map_err(|_| Errno::EINVAL)?)?;
    // SAFETY: promised by the caller.
    Ok(unsafe { List::from_raw(first, count) })
}

/// The length of an array that can be looked at: neither NULL nor misaligned, unless it is empty.
pub(super) fn array<T>(first: *const T, count: usize) -> Result<usize> {
    if count == 0 {
        return Ok(0);
    }
    if first.is_null() || !first.is_aligned() {
        return Err(Errno::EFAULT);
    }
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(count),
        _ => Err(Errno::EINVAL),
    }
}

/// Text that must be there.
///
/// # Safety
/// `text` is NULL or ends in a NUL.
pub(super) unsafe fn text<'call>(text: *const c_char) -> Result<&'call CStr> {
    // SAFETY: passed on.
    unsafe { optional_text(text) }.ok_or(Errno::EFAULT)
}

/// Text, or NULL.
///
/// # Safety
/// `text` is NULL or ends in a NUL.
pub(super) unsafe fn optional_text<'call>(text: *const c_char) -> Option<&'call CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, so it ends in a NUL.
    Some(unsafe { CStr::from_ptr(text) })
}

/// An IPv4 or IPv6 address, copied out.
///
/// # Safety
/// `len` bytes can be read at `address`, or it is NULL.
pub(super) unsafe fn address(address: *const sockaddr, len: socklen_t) -> Result<SocketAddr> {
    if address.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: promised by the caller.
    unsafe { addresses::from_raw(address, len) }
}

/// An address with its scope, or `None` for NULL.
///
/// # Safety
/// `len` bytes can be read at `address`, or it is NULL.
pub(super) unsafe fn optional_scoped(address: *const sockaddr, len: socklen_t) -> Result<Option<Scoped>> {
    if address.is_null() {
        return Ok(None);
    }
    // SAFETY: promised by the caller.
    unsafe { self::address(address, len) }.map(|address| Some(address.into()))
}

/// Where a result goes: checked before anything is done, written when all is.
pub(super) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Safety
    /// `place` is NULL or can be written to.
    pub(super) unsafe fn new(place: *mut T) -> Result<Self> {
        if place.is_null() || !place.is_aligned() { Err(Errno::EFAULT) } else { Ok(Place(place)) }
    }

    /// Of a struct that starts with its size, and the size, which stays as it is. `EINVAL` if it is too
    /// small.
    ///
    /// # Safety
    /// `place` is NULL or a struct of the size that it says.
    pub(super) unsafe fn sized(place: *mut T) -> Result<(Self, usize)> {
        // SAFETY: promised by the caller.
        let (checked, size) = unsafe { (Place::new(place)?, struct_size(place.cast())) };
        if size < size_of::<T>() { Err(Errno::EINVAL) } else { Ok((checked, size)) }
    }

    pub(super) fn put(self, value: T) {
        // SAFETY: promised in `new`.
        unsafe { self.0.write(value) }
    }
}

/// An array of the caller's that is filled from its first element on. Of structs that start with their size
/// the first one says it: a program compiled against a later header has larger ones.
pub(super) struct Filled<T> {
    first: *mut T,
    capacity: usize,
    stride: usize,
    count: usize,
}

impl<T> Filled<T> {
    /// Of structs with their size. `EINVAL` if the size is too small or misaligned, or too much in all.
    ///
    /// # Safety
    /// `capacity` structs of the size that the first one says can be written at `first`, or it is NULL.
    pub(super) unsafe fn new(first: *mut T, capacity: usize) -> Result<Self> {
        // SAFETY: promised by the caller.
        unsafe { stride(first, capacity) }.map(|stride| Filled { first, capacity, stride, count: 0 })
    }

    /// Of other elements.
    ///
    /// # Safety
    /// `capacity` of them can be written at `first`, or it is NULL.
    pub(super) unsafe fn plain(first: *mut T, capacity: usize) -> Result<Self> {
        Ok(Filled { first, capacity: array(first, capacity)?, stride: size_of::<T>(), count: 0 })
    }

    /// The size of each, to write into its first member.
    pub(super) fn struct_size(&self) -> usize {
        self.stride
    }

    /// How many there is room for in all.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many are filled.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether not all are.
    pub(super) fn has_room(&self) -> bool {
        self.count < self.capacity
    }

    /// Fills the next one, if there is one.
    pub(super) fn push(&mut self, element: T) {
        if self.has_room() {
            // SAFETY: one of those that can be written, as was promised.
            unsafe { self.first.byte_add(self.count * self.stride).write(element) }
            self.count += 1;
        }
    }
}

/// An array of the caller's, read by copying elements out.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a, T> {
    first: *const T,
    count: usize,
    memory: PhantomData<&'a [T]>,
}

impl<T: Copy> Elements<'_, T> {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Where one of them is.
    pub(super) fn at(&self, index: usize) -> Option<*const T> {
        (index < self.count).then(|| self.first.wrapping_add(index))
    }

    /// A copy of one of them.
    pub(super) fn get(&self, index: usize) -> Option<T> {
        // SAFETY: one of those that can be read, as was promised.
        self.at(index).map(|element| unsafe { element.read() })
    }

    /// Copies of all.
    pub(super) fn to_vec(self) -> Vec<T> {
        (0..self.count).filter_map(|index| self.get(index)).collect()
    }
}

/// An array of the caller's.
///
/// # Safety
/// `count` elements can be read at `first` and stay the same for the call, or it is NULL.
pub(super) unsafe fn elements<'call, T>(first: *const T, count: usize) -> Result<Elements<'call, T>> {
    Ok(Elements { first, count: array(first, count)?, memory: PhantomData })
}

/// IP addresses with their scopes, as texts.
///
/// # Safety
/// `count` texts at `texts`, each NULL or ended by a NUL, or it is NULL.
pub(super) unsafe fn ip_texts(texts: *const *const c_char, count: usize) -> Result<Vec<Scoped>> {
    // SAFETY: promised by the caller.
    let texts = unsafe { elements(texts, count)? }.to_vec();
    // SAFETY: likewise.
    texts.into_iter().map(|text| Scoped::parse(unsafe { self::text(text)? })).collect()
}

/// IP addresses with their scopes.
///
/// # Safety
/// `count` addresses can be read at `addresses`, or it is NULL.
pub(super) unsafe fn ip_addresses(addresses: *const sockaddr_storage, count: usize) -> Result<Vec<Scoped>> {
    // SAFETY: promised by the caller.
    let addresses = unsafe { elements(addresses, count)? };
    (0..addresses.count())
        .filter_map(|index| addresses.at(index))
        // SAFETY: likewise.
        .map(|at| unsafe { address(at.cast(), size_of::<sockaddr_storage>() as socklen_t) })
        .map(|address| Ok(Scoped::from(address?)))
        .collect()
}

/// Runs a call that counts what it did, and writes the count whatever comes of it.
///
/// # Safety
/// `place` is NULL or can be written to.
pub(super) unsafe fn counted<C: Default, T>(place: *mut C, call: impl FnOnce(&mut C) -> Result<T>) -> Result<T> {
    if !place.is_aligned() {
        return Err(Errno::EFAULT);
    }
    let mut count = C::default();
    let result = call(&mut count);
    if !place.is_null() {
        // SAFETY: promised by the caller.
        unsafe { place.write(count) };
    }
    result
}

/// Copies text for C, cut to fit and ended by a NUL; the whole text's length.
///
/// # Safety
/// `len` bytes at `buf` can be written, or `buf` is NULL.
pub(super) unsafe fn put_text(buf: *mut c_char, len: usize, text: &str) -> Result<c_int> {
    let whole = c_int::try_from(text.len()).map_err(|_| Errno::EOVERFLOW)?;
    if len == 0 {
        return Ok(whole);
    }
    if buf.is_null() {
        return Err(Errno::EFAULT);
    }
    let kept = text.len().min(len - 1);
    // SAFETY: `kept` bytes and a NUL fit into `len`, and our text isn't the caller's memory.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buf, kept);
        buf.add(kept).write(0);
    }
    Ok(whole)
}

/// As [`put_text`], of a text that is made as it is written.
///
/// # Safety
/// `len` bytes at `buf` can be written, or `buf` is NULL.
pub(super) unsafe fn put_display(buf: *mut c_char, len: usize, text: &impl Display) -> Result<c_int> {
    let mut place = CutText { buf, len, whole: 0 };
    // SAFETY: promised by the caller.
    unsafe { put_text(buf, len, "")? };
    write!(place, "{text}").map_err(|_| Errno::EOVERFLOW)?;
    c_int::try_from(place.whole).map_err(|_| Errno::EOVERFLOW)
}

/// Text for C that comes in pieces: what fits is kept, and ended by a NUL.
struct CutText {
    buf: *mut c_char,
    len: usize,
    whole: usize,
}

impl Write for CutText {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.len.saturating_sub(self.whole);
        let rest = self.buf.wrapping_add(self.whole);
        self.whole += piece.len();
        // SAFETY: `room` is what is left of `len` bytes at `buf`, which isn't NULL if there are any.
        unsafe { put_text(rest, room, piece) }.map(drop).map_err(|_| fmt::Error)
    }
}

/// Options, which a program compiled against a later header has more of; `None` for NULL. `EINVAL` if the
/// struct is too small.
///
/// # Safety
/// `options` is NULL or a struct of the size that it says.
pub(super) unsafe fn options<T: Copy>(options: *const T) -> Result<Option<T>> {
    if options.is_null() {
        return Ok(None);
    }
    if !options.is_aligned() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: promised by the caller, and as large as `T` when it is read.
    unsafe { if struct_size(options.cast()) < size_of::<T>() { Err(Errno::EINVAL) } else { Ok(Some(options.read())) } }
}

/// How far apart the structs of an array are, as the first one says; 0 for an empty array. `EINVAL` if
/// that is too small or misaligned, or too much in all.
///
/// # Safety
/// `count` structs of the size that the first one says are at `first`, or it is NULL.
pub(super) unsafe fn stride<T>(first: *const T, count: usize) -> Result<usize> {
    if array(first, count)? == 0 {
        return Ok(0);
    }
    // SAFETY: promised by the caller.
    let stride = unsafe { struct_size(first.cast()) };
    let is_array = stride >= size_of::<T>() && stride % align_of::<T>() == 0;
    let fits = count.checked_mul(stride).is_some_and(|bytes| bytes <= isize::MAX as usize);
    if is_array && fits { Ok(stride) } else { Err(Errno::EINVAL) }
}

/// The size that the caller wrote into the first member of a struct.
///
/// # Safety
/// `first` is NULL (0) or points to the struct.
pub(super) unsafe fn struct_size(first: *const usize) -> usize {
    if first.is_null() {
        return 0;
    }
    // SAFETY: the struct starts with its size.
    unsafe { first.read() }
}
