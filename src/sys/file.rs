//! Transfers on anything with a descriptor: preadv2(2), pwritev2(2), fstat(2), FIONREAD.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::memory::{Gather, Scatter};
use super::{done, length, sigpipe, value};
use crate::error::{Errno, Result};

/// The kernel reads or writes at the file's own position (preadv2(2)).
const CURRENT_POSITION: libc::off_t = -1;

/// Since Linux 6.18; not in the libc crate yet.
const RWF_NOSIGNAL: libc::c_int = 0x100;

/// What a descriptor is, as far as transfers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A terminal, either end of a pseudo-terminal included.
    Terminal,
    /// A regular file, directory or block device: always ready.
    File,
    /// Anything else that poll(2) knows: event, timer and signal descriptors, devices.
    Other,
}

/// Whether a transfer may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as the descriptor's mode lets it.
    MayBlock,
    /// Never, whatever the descriptor's mode (`RWF_NOWAIT`).
    Never,
}

impl Wait {
    fn flag(self) -> libc::c_int {
        match self {
            Wait::MayBlock => 0,
            Wait::Never => libc::RWF_NOWAIT,
        }
    }
}

/// fstat(2) and, for a character device, whether it is a terminal.
pub fn kind(fd: BorrowedFd<'_>) -> Result<Kind> {
    Ok(match mode(fd)?.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
        libc::S_IFCHR if is_terminal(fd) => Kind::Terminal,
        _ => Kind::Other,
    })
}

fn mode(fd: BorrowedFd<'_>) -> Result<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` has room for the answer.
    done(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and filled it.
    Ok(unsafe { stat.assume_init() })
}

/// isatty(3).
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: isatty(3) takes no pointer.
    unsafe { libc::isatty(fd.as_raw_fd()) == 1 }
}

/// A second open file description of the same terminal that never blocks, so that the first one,
/// which other processes may share, is left as it is. `ENXIO` for the controlling side of a
/// pseudo-terminal, which can't be opened twice: opening its device makes a new pair.
pub fn reopen_nonblocking(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const PTMX: libc::dev_t = libc::makedev(5, 2);
    if mode(fd)?.st_rdev == PTMX {
        return Err(Errno::ENXIO);
    }
    // SAFETY: fcntl(F_GETFL) takes no pointer.
    let access = value(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })? & libc::O_ACCMODE;
    let path = proc_path(fd);
    let flags = access | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path ends in a NUL.
    let opened = value(unsafe { libc::open(path.as_ptr().cast(), flags) })?;
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// "/proc/self/fd/N" with its NUL, without allocating.
fn proc_path(fd: BorrowedFd<'_>) -> [u8; 32] {
    use std::io::Write;
    let mut path = [0; 32];
    let mut rest = &mut path[..];
    // 14 bytes and at most 10 digits: it fits, and a NUL stays behind it.
    let _ = write!(rest, "/proc/self/fd/{}", fd.as_raw_fd());
    path
}

/// readv(2), or preadv2(2) with `RWF_NOWAIT`: `EOPNOTSUPP` where the file doesn't know how.
pub fn readv(fd: BorrowedFd<'_>, list: Scatter<'_>, wait: Wait) -> Result<usize> {
    let (fd, first, count) = (fd.as_raw_fd(), list.first(), list.count() as libc::c_int);
    // SAFETY: a Scatter names memory that the kernel may write.
    length(unsafe { libc::preadv2(fd, first, count, CURRENT_POSITION, wait.flag()) })
}

/// writev(2) that raises no SIGPIPE: by `RWF_NOSIGNAL`, or where the kernel has no such flag by
/// holding the signal back in this thread. `EOPNOTSUPP` where the file doesn't know how not to wait.
pub fn writev(fd: BorrowedFd<'_>, list: Gather<'_>, wait: Wait) -> Result<usize> {
    match pwritev2(fd, list, wait.flag() | RWF_NOSIGNAL) {
        Err(Errno::EOPNOTSUPP) => sigpipe::held_back(|| pwritev2(fd, list, wait.flag())),
        result => result,
    }
}

fn pwritev2(fd: BorrowedFd<'_>, list: Gather<'_>, flags: libc::c_int) -> Result<usize> {
    let (fd, first, count) = (fd.as_raw_fd(), list.first(), list.count() as libc::c_int);
    // SAFETY: a Gather names memory that the kernel may read.
    length(unsafe { libc::pwritev2(fd, first, count, CURRENT_POSITION, flags) })
}

/// ioctl(FIONREAD): how many bytes wait.
pub fn bytes_waiting(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// ioctl(TIOCOUTQ), the same as SIOCOUTQ: how many bytes were written and haven't left. TCP counts
/// what isn't acknowledged, other sockets memory with its overhead.
pub fn bytes_unsent(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// fcntl(F_GETFD): `EBADF` unless the descriptor is open.
pub fn check_open(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: fcntl(F_GETFD) takes no pointer.
    value(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }).map(drop)
}
