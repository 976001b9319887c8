//! Transfers on anything with a descriptor: readv(2), preadv2(2), pwritev2(2), FIONREAD.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;

use super::memory::{Gather, Scatter, Sink};
use super::poll::{self, Events};
use super::refusal::{Optional, is_refusal};
use super::{done, last_errno, length, status, value};
use crate::error::{Errno, Result};

/// The kernel reads or writes at the file's own position (preadv2(2)).
const CURRENT_POSITION: libc::off_t = -1;

/// Since Linux 6.18; not in the libc crate yet.
const RWF_NOSIGNAL: c_int = 0x100;

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

/// fstat(2) and, for a character device, whether it is a terminal. Where a sandbox refuses both fstat(2) and
/// statx(2), what can be sought and is always ready is a file.
pub fn kind(fd: BorrowedFd<'_>) -> Result<Kind> {
    let mode = match status::mode(fd) {
        Err(error) if is_refusal(error) => return Ok(guessed_kind(fd)),
        mode => mode?,
    };
    Ok(match mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
        libc::S_IFCHR if is_terminal(fd) => Kind::Terminal,
        _ => Kind::Other,
    })
}

fn guessed_kind(fd: BorrowedFd<'_>) -> Kind {
    const BOTH: Events = Events::IN.and(Events::OUT);
    let is_always_ready = || poll::poll(fd, BOTH, 0).is_ok_and(|found| found.has_all(BOTH));
    match position(fd) {
        _ if is_terminal(fd) => Kind::Terminal,
        Ok(_) if is_always_ready() => Kind::File,
        _ => Kind::Other,
    }
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
    if status::device(fd)? == PTMX {
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

/// readv(2).
pub fn readv(fd: BorrowedFd<'_>, list: Scatter<'_>) -> Result<usize> {
    // SAFETY: a Scatter names memory that the kernel may write.
    length(unsafe { libc::readv(fd.as_raw_fd(), list.first(), list.count() as c_int) })
}

/// writev(2). It can raise SIGPIPE, or SIGXFSZ.
pub fn writev(fd: BorrowedFd<'_>, list: Gather<'_>) -> Result<usize> {
    // SAFETY: a Gather names memory that the kernel may read.
    length(unsafe { libc::writev(fd.as_raw_fd(), list.first(), list.count() as c_int) })
}

/// preadv2(2) that never waits (`RWF_NOWAIT`). `EOPNOTSUPP` where the file doesn't know how, or a sandbox refuses
/// the call.
pub fn readv_nowait(fd: BorrowedFd<'_>, list: Scatter<'_>) -> Result<usize> {
    static CALL: Optional = Optional::allowed();
    let call = |fd, first, count| {
        // SAFETY: a Scatter names memory that the kernel may write; without a descriptor nothing is written.
        length(unsafe { libc::preadv2(fd, first, count, CURRENT_POSITION, libc::RWF_NOWAIT) })
    };
    if CALL.is_refused() {
        return Err(Errno::EOPNOTSUPP);
    }
    match call(fd.as_raw_fd(), list.first(), list.count() as c_int) {
        Err(error) if CALL.refuses(error, || call(-1, std::ptr::null_mut(), 0)) => Err(Errno::EOPNOTSUPP),
        result => result,
    }
}

/// Whether a write may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as the descriptor's mode lets it.
    MayBlock,
    /// Never, whatever the descriptor's mode (`RWF_NOWAIT`).
    Never,
}

/// pwritev2(2) that raises no SIGPIPE (`RWF_NOSIGNAL`, since Linux 6.18). `EOPNOTSUPP` where the kernel or the file
/// doesn't know a flag, or a sandbox refuses the call.
pub fn writev_nosignal(fd: BorrowedFd<'_>, list: Gather<'_>, wait: Wait) -> Result<usize> {
    match wait {
        Wait::MayBlock => pwritev2(fd, list, RWF_NOSIGNAL),
        Wait::Never => pwritev2(fd, list, RWF_NOSIGNAL | libc::RWF_NOWAIT),
    }
}

/// pwritev2(2) that never waits (`RWF_NOWAIT`); it can raise SIGPIPE. Errors as [`writev_nosignal`].
pub fn writev_nowait(fd: BorrowedFd<'_>, list: Gather<'_>) -> Result<usize> {
    pwritev2(fd, list, libc::RWF_NOWAIT)
}

fn pwritev2(fd: BorrowedFd<'_>, list: Gather<'_>, flags: c_int) -> Result<usize> {
    static CALL: Optional = Optional::allowed();
    let call = |fd, first, count| {
        // SAFETY: a Gather names memory that the kernel may read; without a descriptor nothing is read.
        length(unsafe { libc::pwritev2(fd, first, count, CURRENT_POSITION, flags) })
    };
    if CALL.is_refused() {
        return Err(Errno::EOPNOTSUPP);
    }
    match call(fd.as_raw_fd(), list.first(), list.count() as c_int) {
        Err(error) if CALL.refuses(error, || call(-1, std::ptr::null_mut(), 0)) => Err(Errno::EOPNOTSUPP),
        result => result,
    }
}

/// Whether this kernel knows `RWF_NOWAIT` on pipes (since Linux 6.4), tried on a pipe of our own: a FIFO never does,
/// and fstat(2) doesn't tell them apart. Without a descriptor to spare it is taken to.
pub fn pipes_know_nowait() -> bool {
    let mut ends = [-1; 2];
    // SAFETY: there is room for two descriptors.
    if done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }).is_err() {
        return true;
    }
    // SAFETY: the kernel just made them, and nobody else has them.
    let [reader, _writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    let mut byte = [0_u8];
    readv_nowait(reader.as_fd(), Sink::from(&mut byte[..]).as_list()) != Err(Errno::EOPNOTSUPP)
}

/// lseek(2) to where it is: the position in a file. `ESPIPE` where there is none.
pub fn position(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: lseek takes no pointer.
    let found = unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_CUR) };
    u64::try_from(found).map_err(|_| last_errno())
}

/// ioctl(BLKGETSIZE64): the length of a block device in bytes.
pub fn device_size(fd: BorrowedFd<'_>) -> Result<u64> {
    /// `_IOR(0x12, 114, size_t)`.
    const BLKGETSIZE64: u32 = 2 << 30 | (size_of::<usize>() as u32) << 16 | 0x1272;
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 writes 64 bits.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), BLKGETSIZE64 as libc::Ioctl, &raw mut bytes) })?;
    Ok(bytes)
}

/// ioctl(TIOCGPKT): whether a pseudo-terminal's controlling side is read in packets (ioctl_tty(2)).
pub fn is_in_packet_mode(fd: BorrowedFd<'_>) -> bool {
    /// `_IOR('T', 0x38, int)`.
    const TIOCGPKT: u32 = 0x8004_5438;
    let mut is_on: c_int = 0;
    // SAFETY: TIOCGPKT writes one int.
    let result = done(unsafe { libc::ioctl(fd.as_raw_fd(), TIOCGPKT as libc::Ioctl, &raw mut is_on) });
    result.is_ok() && is_on != 0
}

/// ioctl(FIONREAD): how many bytes wait.
pub fn bytes_waiting(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD writes one int.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// ioctl(TIOCOUTQ), the same as SIOCOUTQ: how many bytes were written and haven't left. TCP counts
/// what isn't acknowledged, other sockets memory with its overhead.
pub fn bytes_unsent(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// fcntl(F_GETFD): `EBADF` unless the descriptor is open. poll(2) tells it where a sandbox refuses that.
pub fn check_open(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: fcntl(F_GETFD) takes no pointer.
    match value(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }) {
        Err(error) if is_refusal(error) => poll::poll(fd, Events::none(), 0).map(drop),
        result => result.map(drop),
    }
}
