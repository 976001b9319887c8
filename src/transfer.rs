//! One transfer on any descriptor: what sockets, pipes, terminals and files need so that none
//! raises SIGPIPE and, where asked, none waits, with O_NONBLOCK left as it is.

mod elsewhere;

use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::sys::file::{self, Kind, Wait};
use crate::sys::memory::{Gather, IOV_MAX, Scatter};
use crate::sys::option::{self, SocketType};
use crate::sys::socket::{self, Flags, Received};

/// A descriptor, taken for a socket until the kernel says that it is none: sockets are what the
/// library is for, and so they pay nothing for the others.
pub struct Channel<'fd> {
    fd: BorrowedFd<'fd>,
    kind: Kind,
}

impl<'fd> Channel<'fd> {
    /// Makes no system call.
    pub fn new(fd: BorrowedFd<'fd>) -> Self {
        Channel { fd, kind: Kind::Socket }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }

    /// Whether a message keeps its boundaries, so that a list can't be sent or filled in parts.
    pub fn keeps_boundaries(&self) -> Result<bool> {
        if self.kind != Kind::Socket {
            return Ok(false);
        }
        match option::socket_type(self.fd) {
            Ok(kind) => Ok(kind != SocketType::Stream),
            Err(Errno::ENOTSOCK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends what one system call takes; never more than one message. A pipe may say `EAGAIN` even if the call may
    /// block: the caller then waits by poll(2).
    #[inline(always)] // A call of its own would cost a third of what a gather of 16 buffers costs.
    pub fn write(&mut self, list: Gather<'_>, wait: Wait) -> Result<usize> {
        if self.kind != Kind::Socket {
            return self.write_elsewhere(list, wait);
        }
        let flags = match wait {
            Wait::MayBlock => Flags::NOSIGNAL,
            Wait::Never => Flags::NOSIGNAL.and(Flags::DONTWAIT),
        };
        match socket::sendmsg(self.fd, list, flags) {
            Err(Errno::ENOTSOCK) => self.write_elsewhere(list, wait),
            result => result,
        }
    }

    /// Takes what one system call gives; never more than one message.
    #[inline(always)]
    pub fn read(&mut self, list: Scatter<'_>, wait: Wait) -> Result<Received> {
        if self.kind != Kind::Socket {
            return self.read_elsewhere(list, wait);
        }
        let flags = match wait {
            Wait::MayBlock => Flags::WAITALL,
            Wait::Never => Flags::DONTWAIT,
        };
        match socket::recvmsg(self.fd, list, flags) {
            Err(Errno::ENOTSOCK) => self.read_elsewhere(list, wait),
            result => result,
        }
    }

    #[cold]
    fn write_elsewhere(&mut self, list: Gather<'_>, wait: Wait) -> Result<usize> {
        let kind = self.find_out(list.count())?;
        elsewhere::write(self.fd, kind, list, wait)
    }

    #[cold]
    fn read_elsewhere(&mut self, list: Scatter<'_>, wait: Wait) -> Result<Received> {
        let kind = self.find_out(list.count())?;
        let len = elsewhere::read(self.fd, kind, list, wait)?;
        Ok(Received { len, truncated: false })
    }

    /// What the descriptor is, now that it isn't a socket; asked once. Some paths take a part of the list, or look
    /// first, and would hide that it is too long.
    fn find_out(&mut self, buffers: usize) -> Result<Kind> {
        if buffers > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        if self.kind == Kind::Socket {
            self.kind = file::kind(self.fd)?;
        }
        Ok(self.kind)
    }
}
