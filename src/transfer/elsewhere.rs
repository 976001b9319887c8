//! Transfers on what isn't a socket. What the kernel can't do, or a sandbox refuses, is remembered for the process,
//! so that a pipe costs an old kernel one failing call and not one for each write.

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Errno, Result};
use crate::sys::file::{self, Kind, Wait};
use crate::sys::memory::{Gather, Scatter};
use crate::sys::poll::{self, Events};
use crate::sys::refusal::Fact;
use crate::sys::signal::{self, Raised};

/// So much can be written at once to a pipe that poll(2) calls writable without waiting (PIPE_BUF, pipe(7)).
const PIPE_STEP: usize = 4096;

/// So much can be written to a terminal that poll(2) calls writable without waiting.
const TERMINAL_STEP: usize = 1;

/// `RWF_NOSIGNAL` (Linux 6.18) is not to be had.
static NO_NOSIGNAL: Fact = Fact::unknown();

/// It was seen to work.
static HAS_NOSIGNAL: Fact = Fact::unknown();

/// `RWF_NOWAIT` on pipes (Linux 6.4) is not to be had.
static NO_NOWAIT_ON_PIPES: Fact = Fact::unknown();

/// Whether pipes know `RWF_NOWAIT` was tried.
static PIPES_TRIED: Fact = Fact::unknown();

/// Sends what one system call takes.
pub fn write(fd: BorrowedFd<'_>, kind: Kind, list: Gather<'_>, wait: Wait) -> Result<usize> {
    match (kind, wait) {
        (Kind::File, _) => signal::held_back(Raised::FileSize, || file::writev(fd, list)),
        // A terminal raises no SIGPIPE.
        (Kind::Terminal, Wait::MayBlock) => file::writev(fd, list),
        (Kind::Terminal, Wait::Never) => write_terminal(fd, list),
        (Kind::Pipe | Kind::Other | Kind::Socket, _) => write_pipe(fd, kind, list, wait),
    }
}

/// Takes what one system call gives.
pub fn read(fd: BorrowedFd<'_>, kind: Kind, list: Scatter<'_>, wait: Wait) -> Result<usize> {
    match (kind, wait) {
        (Kind::File, _) | (_, Wait::MayBlock) => file::readv(fd, list),
        (Kind::Terminal, Wait::Never) => read_terminal(fd, list),
        _ if !knows_nowait(kind) => read_when_ready(fd, list),
        _ => match file::readv_nowait(fd, list) {
            Err(Errno::EOPNOTSUPP) => {
                try_pipes(kind);
                read_when_ready(fd, list)
            }
            result => result,
        },
    }
}

fn write_pipe(fd: BorrowedFd<'_>, kind: Kind, list: Gather<'_>, wait: Wait) -> Result<usize> {
    if !NO_NOSIGNAL.is_known() && (wait == Wait::MayBlock || knows_nowait(kind)) {
        match file::writev_nosignal(fd, list, wait) {
            Err(Errno::EOPNOTSUPP) if HAS_NOSIGNAL.is_known() && wait == Wait::Never => {
                try_pipes(kind);
                return write_when_ready(fd, kind, list);
            }
            Err(Errno::EOPNOTSUPP) => {}
            result => {
                HAS_NOSIGNAL.learn();
                return result;
            }
        }
    }
    // A write that waits would hold the signal back for as long, and raise it for a part that went out: so none does.
    if knows_nowait(kind) {
        match signal::held_back(Raised::Pipe, || file::writev_nowait(fd, list)) {
            Err(Errno::EOPNOTSUPP) => try_pipes(kind),
            result => {
                do_without_nosignal(kind);
                return result;
            }
        }
    }
    write_when_ready(fd, kind, list)
}

/// What RWF_NOSIGNAL was refused for works without it. Other devices refuse every flag if their driver is an old one.
fn do_without_nosignal(kind: Kind) {
    if kind == Kind::Pipe {
        NO_NOSIGNAL.learn();
    }
}

fn knows_nowait(kind: Kind) -> bool {
    kind != Kind::Pipe || !NO_NOWAIT_ON_PIPES.is_known()
}

/// Finds out whether it is this FIFO alone that doesn't know `RWF_NOWAIT`.
fn try_pipes(kind: Kind) {
    if kind == Kind::Pipe && !PIPES_TRIED.is_known() {
        if !file::pipes_know_nowait() {
            NO_NOWAIT_ON_PIPES.learn();
        }
        PIPES_TRIED.learn();
    }
}

/// A terminal knows no `RWF_NOWAIT`, and a write to one that poll(2) calls writable may still wait for room: a second,
/// non-blocking description of it doesn't.
fn write_terminal(fd: BorrowedFd<'_>, list: Gather<'_>) -> Result<usize> {
    ready(fd, Events::OUT)?;
    match file::reopen_nonblocking(fd) {
        Ok(second) => file::writev(second.as_fd(), list),
        Err(_) => file::writev(fd, list.prefix(TERMINAL_STEP).as_list()),
    }
}

/// Likewise for reading: with VMIN and VTIME set, a read after POLLIN may still wait, and fewer bytes than VMIN wait
/// without POLLIN.
fn read_terminal(fd: BorrowedFd<'_>, list: Scatter<'_>) -> Result<usize> {
    let ready = ready(fd, Events::IN);
    if ready.is_err() && file::bytes_waiting(fd).unwrap_or(0) == 0 {
        return Err(Errno::EAGAIN);
    }
    match file::reopen_nonblocking(fd) {
        Ok(second) => file::readv(second.as_fd(), list),
        Err(_) => ready.and_then(|()| file::readv(fd, list)),
    }
}

/// As much of the list as a pipe takes at once without waiting. Other devices take messages, which mustn't be cut.
fn write_when_ready(fd: BorrowedFd<'_>, kind: Kind, list: Gather<'_>) -> Result<usize> {
    ready(fd, Events::OUT)?;
    let limit = if kind == Kind::Pipe { PIPE_STEP } else { usize::MAX };
    match list.within(limit) {
        Some(part) => write_quietly(fd, kind, part),
        None => write_quietly(fd, kind, list.prefix(limit).as_list()),
    }
}

/// writev(2) of what doesn't wait, without SIGPIPE.
fn write_quietly(fd: BorrowedFd<'_>, kind: Kind, list: Gather<'_>) -> Result<usize> {
    if !NO_NOSIGNAL.is_known() {
        match file::writev_nosignal(fd, list, Wait::MayBlock) {
            Err(Errno::EOPNOTSUPP) => {}
            result => return result,
        }
    }
    let result = signal::held_back(Raised::Pipe, || file::writev(fd, list));
    if result != Err(Errno::EOPNOTSUPP) {
        do_without_nosignal(kind);
    }
    result
}

fn read_when_ready(fd: BorrowedFd<'_>, list: Scatter<'_>) -> Result<usize> {
    ready(fd, Events::IN)?;
    file::readv(fd, list)
}

fn ready(fd: BorrowedFd<'_>, events: Events) -> Result<()> {
    let found = poll::poll(fd, events, 0)?;
    if found.is_empty() { Err(Errno::EAGAIN) } else { Ok(()) }
}
