//! What a descriptor is and how it stands: fstat(2) and fcntl(2). Nothing here changes it.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{done, value};
use crate::error::Result;

/// What a descriptor refers to (`S_IFMT`, inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A character device, terminals among them.
    CharacterDevice,
    /// Anything else: event, timer and signal descriptors; a symbolic link opened as such.
    Other,
}

/// The part of `struct stat` that tells something of every descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it refers to.
    pub format: Format,
    /// The number by which /proc/PID/fd and /proc/net call it.
    pub inode: u64,
    /// The length of a regular file in bytes.
    pub size: u64,
}

/// fstat(2).
#[allow(clippy::unnecessary_cast, reason = "narrower or signed on other targets")]
pub fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has room for the answer.
    done(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and filled it.
    let stat = unsafe { stat.assume_init() };
    let format = match stat.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Format::Socket,
        libc::S_IFIFO => Format::Pipe,
        libc::S_IFREG => Format::File,
        libc::S_IFDIR => Format::Directory,
        libc::S_IFBLK => Format::BlockDevice,
        libc::S_IFCHR => Format::CharacterDevice,
        _ => Format::Other,
    };
    Ok(Stat { format, inode: stat.st_ino as u64, size: stat.st_size as u64 })
}

/// How an open file may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// O_RDONLY
    Read,
    /// O_WRONLY
    Write,
    /// O_RDWR
    ReadWrite,
    /// O_PATH: to say where it is, no more.
    Path,
}

/// The flags of a descriptor and of its open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// How it may be used.
    pub access: Access,
    /// O_NONBLOCK
    pub nonblocking: bool,
    /// O_ASYNC: the owner gets SIGIO.
    pub signals: bool,
    /// O_APPEND
    pub appends: bool,
    /// FD_CLOEXEC, the one that belongs to the descriptor itself.
    pub close_on_exec: bool,
}

/// fcntl(F_GETFD) and fcntl(F_GETFL). `EBADF` unless the descriptor is open.
pub fn flags(fd: BorrowedFd<'_>) -> Result<Flags> {
    let own = fcntl(fd, libc::F_GETFD)?;
    let file = fcntl(fd, libc::F_GETFL)?;
    let access = match file & libc::O_ACCMODE {
        _ if file & libc::O_PATH != 0 => Access::Path,
        libc::O_RDONLY => Access::Read,
        libc::O_WRONLY => Access::Write,
        _ => Access::ReadWrite,
    };
    Ok(Flags {
        access,
        nonblocking: file & libc::O_NONBLOCK != 0,
        signals: file & libc::O_ASYNC != 0,
        appends: file & libc::O_APPEND != 0,
        close_on_exec: own & libc::FD_CLOEXEC != 0,
    })
}

/// fcntl(F_GETPIPE_SZ): how many bytes a pipe holds.
pub fn pipe_capacity(fd: BorrowedFd<'_>) -> Result<i32> {
    fcntl(fd, libc::F_GETPIPE_SZ)
}

/// A question that takes no argument.
fn fcntl(fd: BorrowedFd<'_>, command: libc::c_int) -> Result<i32> {
    // SAFETY: fcntl(2) takes no pointer for these.
    value(unsafe { libc::fcntl(fd.as_raw_fd(), command) })
}
