//! What the processes of a run tell each other: memory that they share.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most processes whose time is counted.
pub const PROCESSES_MAX: usize = 8;

/// All zero at first.
#[repr(C)]
#[derive(Default)]
pub struct Tally {
    /// Packets that arrived at the far end, and their bytes.
    pub received: AtomicU64,
    pub bytes: AtomicU64,
    /// Packets that the source has sent, and those of them that went missing.
    pub sent: AtomicU64,
    pub lost: AtomicU64,
    /// What was measured: packets, in nanoseconds, with nanoseconds of all processes' time.
    pub packets: AtomicU64,
    pub ns: AtomicU64,
    pub cpu: AtomicU64,
    /// How many ends are open.
    pub ready: AtomicU32,
    /// It is over.
    pub stop: AtomicU32,
    /// Of a relay: packets that it has taken in, copies that it has made, copies that there was no room
    /// for, its tunnels, its groups.
    pub forwarded: AtomicU64,
    pub copies: AtomicU64,
    pub dropped: AtomicU64,
    pub tunnels: AtomicU64,
    pub groups: AtomicU64,
    /// Whose time is counted.
    pub processes: [AtomicU32; PROCESSES_MAX],
}

/// A tally, and the descriptor by which another process gets at it.
pub struct Shared {
    fd: OwnedFd,
    at: *const Tally,
}

impl Shared {
    /// A new one, which children inherit.
    pub fn new() -> io::Result<Shared> {
        // SAFETY: the name ends in a NUL.
        let fd = unsafe { libc::memfd_create(c"tally".as_ptr(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no memory involved.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size_of::<Tally>() as libc::off_t) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Shared::map(fd)
    }

    /// One that was inherited.
    pub fn inherited(fd: RawFd) -> io::Result<Shared> {
        // SAFETY: the parent has left it to this process.
        Shared::map(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn map(fd: OwnedFd) -> io::Result<Shared> {
        let (size, access) = (size_of::<Tally>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the kernel chooses a place that is free.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Shared { fd, at: at.cast() })
    }

    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl std::ops::Deref for Shared {
    type Target = Tally;

    fn deref(&self) -> &Tally {
        // SAFETY: mapped, page-aligned, all atomics, and there until it is dropped.
        unsafe { &*self.at }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and nobody borrows it any more.
        unsafe { libc::munmap(self.at.cast_mut().cast(), size_of::<Tally>()) };
    }
}

impl Tally {
    /// Packets that came in one go.
    pub fn arrived(&self, packets: u64, bytes: u64) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        self.received.store(self.received.load(Ordering::Relaxed) + packets, Ordering::Release);
    }

    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) != 0
    }

    /// The time that all processes of the run have used so far.
    pub fn cpu_of_all(&self) -> u64 {
        let pids = self.processes.iter().map(|pid| pid.load(Ordering::Acquire)).filter(|pid| *pid > 0);
        pids.map(|pid| cpu_of(pid as libc::pid_t)).sum()
    }

    pub fn count_process(&self, pid: u32) {
        let free = |place: &&AtomicU32| place.load(Ordering::Acquire) == 0;
        self.processes.iter().find(free).expect("room for a process").store(pid, Ordering::Release);
    }
}

/// The processor time of a process, all of its threads, in nanoseconds. What the kernel does on its
/// behalf counts, and so does what softirqs do on its back.
pub fn cpu_of(pid: libc::pid_t) -> u64 {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: places to write to.
    let told = unsafe {
        libc::clock_getcpuclockid(pid, &raw mut clock) == 0 && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if told { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 } else { 0 }
}
