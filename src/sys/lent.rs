//! Something that works on a socket, together with the socket.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::Result;

/// The socket is closed after what works on it is gone.
pub struct WithSocket<T> {
    // Fields are dropped in this order.
    worker: T,
    socket: OwnedFd,
}

impl<T> WithSocket<T> {
    /// Makes it. What `make` gets stays with what it makes: the descriptor is valid no longer.
    pub fn new(socket: OwnedFd, make: impl FnOnce(BorrowedFd<'static>) -> Result<T>) -> Result<WithSocket<T>> {
        // SAFETY: the descriptor is open until the worker has been dropped: `socket` comes after it.
        let lent = unsafe { std::mem::transmute::<BorrowedFd<'_>, BorrowedFd<'static>>(socket.as_fd()) };
        Ok(WithSocket { worker: make(lent)?, socket })
    }

    /// The socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<T> Deref for WithSocket<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.worker
    }
}

impl<T> DerefMut for WithSocket<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.worker
    }
}
