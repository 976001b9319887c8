//! One transfer on any descriptor: what sockets, pipes, terminals and files need so that none
//! raises SIGPIPE and, where asked, none waits, with O_NONBLOCK left as it is.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Errno, Result};
use crate::sys::file::{self, Kind, Wait};
use crate::sys::memory::{Gather, Scatter};
use crate::sys::option::{self, SocketType};
use crate::sys::poll::{self, Events};
use crate::sys::socket::{self, Flags, Received};

/// So much can be written to a pipe that poll(2) calls writable without waiting (PIPE_BUF).
const PIPE_STEP: usize = 4096;

/// So much can be written to a terminal that poll(2) calls writable without waiting.
const TERMINAL_STEP: usize = 1;

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

    /// Sends what one system call takes; never more than one message.
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
        match (wait, self.find_out()?) {
            (Wait::MayBlock, _) | (_, Kind::File) => file::writev(self.fd, list, Wait::MayBlock),
            (Wait::Never, Kind::Terminal) => self.write_terminal(list),
            (Wait::Never, _) => match file::writev(self.fd, list, Wait::Never) {
                Err(Errno::EOPNOTSUPP) => self.write_a_little(list, PIPE_STEP),
                result => result,
            },
        }
    }

    #[cold]
    fn read_elsewhere(&mut self, list: Scatter<'_>, wait: Wait) -> Result<Received> {
        let len = match (wait, self.find_out()?) {
            (Wait::MayBlock, _) | (_, Kind::File) => file::readv(self.fd, list, Wait::MayBlock),
            (Wait::Never, Kind::Terminal) => self.read_terminal(list),
            (Wait::Never, _) => match file::readv(self.fd, list, Wait::Never) {
                Err(Errno::EOPNOTSUPP) => self.read_when_ready(list),
                result => result,
            },
        }?;
        Ok(Received { len, truncated: false })
    }

    /// What the descriptor is, now that it isn't a socket; asked once.
    fn find_out(&mut self) -> Result<Kind> {
        if self.kind == Kind::Socket {
            self.kind = file::kind(self.fd)?;
        }
        Ok(self.kind)
    }

    /// A terminal knows no `RWF_NOWAIT`, and a write to one that poll(2) calls writable may still
    /// wait for room: a second, non-blocking description of it doesn't.
    fn write_terminal(&self, list: Gather<'_>) -> Result<usize> {
        self.ready(Events::OUT)?;
        match file::reopen_nonblocking(self.fd) {
            Ok(second) => file::writev(second.as_fd(), list, Wait::MayBlock),
            Err(_) => self.write_a_little(list, TERMINAL_STEP),
        }
    }

    /// Likewise for reading: with VMIN and VTIME set, a read after POLLIN may still wait, and fewer
    /// bytes than VMIN wait without POLLIN.
    fn read_terminal(&self, list: Scatter<'_>) -> Result<usize> {
        let ready = self.ready(Events::IN);
        if ready.is_err() && file::bytes_waiting(self.fd)? == 0 {
            return Err(Errno::EAGAIN);
        }
        match file::reopen_nonblocking(self.fd) {
            Ok(second) => file::readv(second.as_fd(), list, Wait::MayBlock),
            Err(_) => ready.and_then(|()| file::readv(self.fd, list, Wait::MayBlock)),
        }
    }

    fn write_a_little(&self, list: Gather<'_>, step: usize) -> Result<usize> {
        self.ready(Events::OUT)?;
        file::writev(self.fd, list.prefix(step).as_list(), Wait::MayBlock)
    }

    fn read_when_ready(&self, list: Scatter<'_>) -> Result<usize> {
        self.ready(Events::IN)?;
        file::readv(self.fd, list, Wait::MayBlock)
    }

    fn ready(&self, events: Events) -> Result<()> {
        let found = poll::poll(self.fd, events, 0)?;
        if found.is_empty() { Err(Errno::EAGAIN) } else { Ok(()) }
    }
}
