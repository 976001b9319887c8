//! The socket that something works on: the caller's, or one of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor that stays open as long as this lives.
pub enum Descriptor<'fd> {
    /// The caller keeps it open for `'fd`.
    Borrowed(BorrowedFd<'fd>),
    /// It is closed when this is dropped.
    Owned(OwnedFd),
}

impl AsFd for Descriptor<'_> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Borrowed(fd) => *fd,
            Descriptor::Owned(fd) => fd.as_fd(),
        }
    }
}

impl<'fd> From<BorrowedFd<'fd>> for Descriptor<'fd> {
    fn from(fd: BorrowedFd<'fd>) -> Self {
        Descriptor::Borrowed(fd)
    }
}

impl From<OwnedFd> for Descriptor<'_> {
    fn from(fd: OwnedFd) -> Self {
        Descriptor::Owned(fd)
    }
}
