//! What a descriptor is and how it stands: fstat(2) and fcntl(2). Nothing here changes it.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::refusal::Optional;
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

/// fstat(2), or statx(2) where a sandbox refuses that.
#[allow(clippy::unnecessary_cast, reason = "narrower or signed on other targets")]
pub fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    let found = fields(fd)?;
    let format = match found.mode & libc::S_IFMT {
        libc::S_IFSOCK => Format::Socket,
        libc::S_IFIFO => Format::Pipe,
        libc::S_IFREG => Format::File,
        libc::S_IFDIR => Format::Directory,
        libc::S_IFBLK => Format::BlockDevice,
        libc::S_IFCHR => Format::CharacterDevice,
        _ => Format::Other,
    };
    Ok(Stat { format, inode: found.inode, size: found.size })
}

/// `st_mode`, as [`stat`] gets it.
pub(super) fn mode(fd: BorrowedFd<'_>) -> Result<libc::mode_t> {
    fields(fd).map(|found| found.mode)
}

/// `st_rdev`: which device it is.
pub(super) fn device(fd: BorrowedFd<'_>) -> Result<libc::dev_t> {
    fields(fd).map(|found| found.device)
}

struct Fields {
    mode: libc::mode_t,
    inode: u64,
    size: u64,
    device: libc::dev_t,
}

#[allow(clippy::unnecessary_cast, reason = "narrower or signed on other targets")]
fn fields(fd: BorrowedFd<'_>) -> Result<Fields> {
    static CALL: Optional = Optional::allowed();
    if CALL.is_refused() {
        return extended(fd);
    }
    let call = |fd| {
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `stat` has room for the answer.
        done(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
        // SAFETY: fstat succeeded and filled it.
        Ok(unsafe { stat.assume_init() })
    };
    match call(fd.as_raw_fd()) {
        Ok(stat) => Ok(Fields {
            mode: stat.st_mode,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            device: stat.st_rdev as libc::dev_t,
        }),
        Err(error) if CALL.refuses(error, || call(-1)) => extended(fd),
        Err(error) => Err(error),
    }
}

/// statx(2). It is a system call of its own, which a profile that knows fstat(2) by another number may allow.
#[cold]
fn extended(fd: BorrowedFd<'_>) -> Result<Fields> {
    let mut found = MaybeUninit::<libc::statx>::uninit();
    let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_BASIC_STATS);
    // SAFETY: the path ends in a NUL, and there is room for the answer.
    done(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, found.as_mut_ptr()) })?;
    // SAFETY: statx succeeded and filled it.
    let found = unsafe { found.assume_init() };
    Ok(Fields {
        mode: found.stx_mode.into(),
        inode: found.stx_ino,
        size: found.stx_size,
        device: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
    })
}

/// Whether the file is one of those that the kernel makes up as they are read (fstatfs(2)): of /proc, /sys and their
/// like, whose length says nothing.
pub fn is_made_up(fd: BorrowedFd<'_>) -> bool {
    /// /proc, /sys, debugfs, tracefs, cgroup, cgroup2, configfs, securityfs (linux/magic.h).
    const MAGIC: [u32; 8] =
        [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x0027_e0eb, 0x6367_7270, 0x6265_6570, 0x7363_6673];
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: there is room for the answer.
    if done(unsafe { libc::fstatfs(fd.as_raw_fd(), found.as_mut_ptr()) }).is_err() {
        return false;
    }
    // SAFETY: fstatfs succeeded and filled it.
    MAGIC.contains(&(unsafe { found.assume_init() }.f_type as u32))
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

/// fcntl(F_GETFL): how it may be used.
pub fn access(fd: BorrowedFd<'_>) -> Result<Access> {
    fcntl(fd, libc::F_GETFL).map(access_of)
}

fn access_of(file: i32) -> Access {
    match file & libc::O_ACCMODE {
        _ if file & libc::O_PATH != 0 => Access::Path,
        libc::O_RDONLY => Access::Read,
        libc::O_WRONLY => Access::Write,
        _ => Access::ReadWrite,
    }
}

/// fcntl(F_GETFD) and fcntl(F_GETFL). `EBADF` unless the descriptor is open.
pub fn flags(fd: BorrowedFd<'_>) -> Result<Flags> {
    let own = fcntl(fd, libc::F_GETFD)?;
    let file = fcntl(fd, libc::F_GETFL)?;
    Ok(Flags {
        access: access_of(file),
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
