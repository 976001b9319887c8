//! Handles: what C's opaque pointers point to. One call at a time is in a handle; another one, of another
//! thread or of a signal handler, gets `EBUSY` at once.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Errno, Result};

/// No call is in it.
const FREE: u8 = 0;
/// A call is in it.
const BUSY: u8 = 1;
/// A call is in it, and closes it at its end.
const CLOSED: u8 = 2;

/// A value that one call at a time may use.
pub struct Handle<T> {
    state: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: `state` lets one thread at a time reach the value, which may move between threads.
unsafe impl<T: Send> Sync for Handle<T> {}

/// The type of an opaque pointer of C's. That its value is `Send` is what lets any thread make the next call.
///
/// # Safety
/// `handle` gives the part of `self` that `wrap` was given.
pub(super) unsafe trait Opaque: Sized {
    type Value: Send + 'static;
    fn wrap(handle: Handle<Self::Value>) -> Self;
    fn handle(&self) -> &Handle<Self::Value>;
}

/// Makes an opaque type of a struct with a handle as its only field.
macro_rules! opaque {
    ($name:ident, $value:ty) => {
        // SAFETY: the only field is what was given.
        unsafe impl crate::ffi::handle::Opaque for $name {
            type Value = $value;
            fn wrap(handle: crate::ffi::handle::Handle<$value>) -> Self {
                $name(handle)
            }
            fn handle(&self) -> &crate::ffi::handle::Handle<$value> {
                &self.0
            }
        }
    };
}
pub(super) use opaque;

/// A new handle, for [`close`].
pub(super) fn open<H: Opaque>(value: H::Value) -> *mut H {
    let handle = Handle { state: AtomicU8::new(FREE), value: UnsafeCell::new(value) };
    Box::into_raw(Box::new(H::wrap(handle)))
}

/// Begins a call. `EFAULT` for NULL, `EBUSY` if a call is in it.
///
/// # Safety
/// `handle` is NULL, or [`open`] gave it and it wasn't closed, or only during a call that is still in it.
#[inline]
pub(super) unsafe fn enter<'call, H: Opaque>(handle: *const H) -> Result<Entered<'call, H>> {
    let at = NonNull::new(handle.cast_mut()).ok_or(Errno::EFAULT)?;
    // SAFETY: not NULL, so it wasn't freed.
    let state = unsafe { &at.as_ref().handle().state };
    match state.compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Relaxed) {
        Ok(_) => Ok(Entered { at, call: PhantomData }),
        Err(_) => Err(Errno::EBUSY),
    }
}

/// Ends a handle: at once, or at the end of the call that is in it. NULL is none. Never fails.
///
/// # Safety
/// As for [`enter`], and it is closed once.
pub(super) unsafe fn close<H: Opaque>(handle: *mut H) -> Result<()> {
    let Some(at) = NonNull::new(handle) else { return Ok(()) };
    // SAFETY: not NULL, so it wasn't freed.
    if unsafe { at.as_ref().handle().state.swap(CLOSED, Ordering::AcqRel) } == FREE {
        // SAFETY: `open` gave it, and no call is in it or can begin.
        drop(unsafe { Box::from_raw(at.as_ptr()) });
    }
    Ok(())
}

/// A call that is in a handle, until this is dropped.
pub(super) struct Entered<'call, H: Opaque> {
    at: NonNull<H>,
    call: PhantomData<&'call H>,
}

impl<H: Opaque> Deref for Entered<'_, H> {
    type Target = H::Value;
    fn deref(&self) -> &H::Value {
        // SAFETY: it isn't freed before this is dropped, and no other call has a reference.
        unsafe { &*self.at.as_ref().handle().value.get() }
    }
}

impl<H: Opaque> DerefMut for Entered<'_, H> {
    fn deref_mut(&mut self) -> &mut H::Value {
        // SAFETY: likewise.
        unsafe { &mut *self.at.as_ref().handle().value.get() }
    }
}

impl<H: Opaque> Drop for Entered<'_, H> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it isn't freed before the state says so.
        let state = unsafe { &self.at.as_ref().handle().state };
        if state.compare_exchange(BUSY, FREE, Ordering::Release, Ordering::Acquire).is_err() {
            // SAFETY: `open` gave it, and it was closed during this call, which left it to us.
            drop(unsafe { Box::from_raw(self.at.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Counted(Handle<Arc<()>>);
    opaque!(Counted, Arc<()>);

    #[test]
    fn a_second_call_is_refused_until_the_first_one_ends() {
        let handle = open::<Counted>(Arc::new(()));
        // SAFETY: open until the end.
        unsafe {
            let first = enter(handle).unwrap();
            assert_eq!(enter(handle).err(), Some(Errno::EBUSY));
            drop(first);
            assert!(enter(handle).is_ok());
            assert_eq!(enter(std::ptr::null::<Counted>()).err(), Some(Errno::EFAULT));
            close(handle).unwrap();
            close(std::ptr::null_mut::<Counted>()).unwrap();
        }
    }

    #[test]
    fn a_handle_that_is_closed_during_a_call_goes_at_its_end() {
        let value = Arc::new(());
        let handle = open::<Counted>(Arc::clone(&value));
        // SAFETY: a call is in it until `call` is dropped.
        unsafe {
            let call = enter(handle).unwrap();
            close(handle).unwrap();
            assert_eq!(Arc::strong_count(&*call), 2, "the call still has it");
            assert_eq!(enter(handle).err(), Some(Errno::EBUSY));
            drop(call);
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
