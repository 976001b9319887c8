//! A call in a process of its own, each of whose system calls may be made to fail: seccomp(2) with a
//! listener, which asks the parent before the kernel makes the call.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU8, Ordering};

use libc::{c_int, c_long, pid_t};

use super::descriptors::{self, check};

/// What nothing is asked about: memory, signals of this process, and the end.
const UNASKED: [c_long; 17] = [
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    pub number: c_long,
    pub arguments: [u64; 6],
}

/// What has become of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The call's result.
    Returned(isize),
    /// The signal that killed it; 0 if it panicked.
    Died(c_int),
}

/// Whether this kernel, and what the test itself runs in, lets a parent decide.
pub fn are_possible() -> bool {
    supervised(9, || (|| 0, |_| String::new()), |_| None).is_some()
}

/// Prepares in a forked child, and then runs what that gave: `decide` says for each of its system calls
/// with which errno it fails, if it is to. Killed after so many seconds. `None` if seccomp is refused.
///
/// What is prepared is the call, and a look at what is left behind it: a complaint, or nothing. The look's
/// own system calls never fail.
pub fn supervised<Call: FnOnce() -> isize, Look: FnOnce(isize) -> String>(
    seconds: u32,
    prepare: impl FnOnce() -> (Call, Look),
    mut decide: impl FnMut(&SystemCall) -> Option<c_int>,
) -> Option<(End, String)> {
    let result = Shared::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // SAFETY: the child ends in `run`.
    let child = check(unsafe { libc::fork() }) as pid_t;
    if child == 0 {
        drop(ours);
        run(seconds, prepare, &theirs, &result);
    }
    drop(theirs);
    let listener = take_descriptor(&ours);
    if let Some(listener) = &listener {
        let is_over = || result.get().is_over.load(Ordering::Acquire);
        supervise(listener, |call| if is_over() { None } else { decide(call) });
    }
    let mut status = 0;
    // SAFETY: there is room for the status.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) });
    match libc::WIFSIGNALED(status) {
        true => Some((End::Died(libc::WTERMSIG(status)), String::new())),
        false if listener.is_none() => None,
        false if libc::WEXITSTATUS(status) != 0 => Some((End::Died(0), String::new())),
        false => Some((End::Returned(result.get().value.load(Ordering::Relaxed)), result.complaint())),
    }
}

fn run<Call: FnOnce() -> isize, Look: FnOnce(isize) -> String>(
    seconds: u32,
    prepare: impl FnOnce() -> (Call, Look),
    parent: &UnixStream,
    result: &Shared,
) -> ! {
    let work = || {
        let (call, look) = prepare();
        // SAFETY: takes no pointer.
        unsafe { libc::alarm(seconds) };
        if let Ok(listener) = listen(parent.as_raw_fd()) {
            give_descriptor(parent, &listener);
            let value = call();
            result.get().value.store(value, Ordering::Relaxed);
            result.get().is_over.store(true, Ordering::Release);
            result.complain(&look(value));
        }
    };
    // A panic must not go on as a second copy of the test.
    let is_well = catch_unwind(AssertUnwindSafe(work)).is_ok();
    // SAFETY: ends the child without running the parent's destructors.
    unsafe { libc::_exit(if is_well { 0 } else { 1 }) }
}

/// From now on the parent is asked about all that this thread does, but for what goes to `parent`.
fn listen(parent: RawFd) -> io::Result<OwnedFd> {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, is, end) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET);
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    let first = (std::mem::offset_of!(libc::seccomp_data, args) + low) as u32;
    let mut filter = vec![step(load, std::mem::offset_of!(libc::seccomp_data, nr) as u32, 0, 0)];
    for number in UNASKED {
        filter.extend([step(is, number as u32, 0, 1), step(end, libc::SECCOMP_RET_ALLOW, 0, 0)]);
    }
    filter.extend([step(is, libc::SYS_sendmsg as u32, 0, 3), step(load, first, 0, 0), step(is, parent as u32, 0, 1)]);
    filter.extend([step(end, libc::SECCOMP_RET_ALLOW, 0, 0), step(end, libc::SECCOMP_RET_USER_NOTIF, 0, 0)]);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a program of so many steps, which is copied; the kernel makes the descriptor.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let fd = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
    }
}

/// Answers until the child is gone.
fn supervise(listener: &OwnedFd, mut decide: impl FnMut(&SystemCall) -> Option<c_int>) {
    loop {
        let mut entry = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        check(unsafe { libc::poll(&raw mut entry, 1, -1) });
        if entry.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: all zero is what the kernel asks for, and there is room for what it writes.
        let asked = unsafe {
            let mut asked: libc::seccomp_notif = MaybeUninit::zeroed().assume_init();
            if libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) < 0 {
                continue;
            }
            asked
        };
        let fails = decide(&SystemCall { number: asked.data.nr.into(), arguments: asked.data.args });
        let flags = if fails.is_some() { 0 } else { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
        let answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -fails.unwrap_or(0), flags };
        // SAFETY: an answer. The child may have been killed in the meantime.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}

/// Room for one descriptor beside a byte.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fd: RawFd,
}

fn message(byte: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: all zero is a message without address or flags.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    (message.msg_iov, message.msg_iovlen) = (byte, 1);
    message.msg_control = ptr::from_mut(control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    message
}

fn control(fd: RawFd) -> Control {
    // SAFETY: takes no pointer.
    let len = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) };
    // SAFETY: all zero is one.
    let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    (header.cmsg_len, header.cmsg_level, header.cmsg_type) = (len as _, libc::SOL_SOCKET, libc::SCM_RIGHTS);
    Control { header, fd }
}

fn give_descriptor(to: &UnixStream, fd: &OwnedFd) {
    let mut byte = 0_u8;
    let (mut byte, mut control) = (descriptors::room(std::slice::from_mut(&mut byte)), control(fd.as_raw_fd()));
    let message = message(&mut byte, &mut control);
    // SAFETY: a message of one byte.
    check(unsafe { libc::sendmsg(to.as_raw_fd(), &raw const message, 0) });
}

fn take_descriptor(from: &UnixStream) -> Option<OwnedFd> {
    let mut byte = 0_u8;
    let (mut byte, mut control) = (descriptors::room(std::slice::from_mut(&mut byte)), control(-1));
    let mut message = message(&mut byte, &mut control);
    // SAFETY: room for one byte and one descriptor, which is ours then.
    unsafe {
        let got = check(libc::recvmsg(from.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC));
        (got == 1).then(|| OwnedFd::from_raw_fd(control.fd))
    }
}

/// How much of a complaint is kept.
const ROOM: usize = 1000;

/// What a child tells its parent.
struct Told {
    value: AtomicIsize,
    is_over: AtomicBool,
    complaint: [AtomicU8; ROOM],
}

/// Memory that parent and child have together.
struct Shared(*mut Told);

impl Shared {
    fn new() -> Shared {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of zeroes.
        let at = unsafe { libc::mmap(ptr::null_mut(), size_of::<Told>(), access, kind, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Shared(at.cast())
    }

    fn get(&self) -> &Told {
        // SAFETY: mapped until it is dropped, and all zero is one.
        unsafe { &*self.0 }
    }

    fn complain(&self, text: &str) {
        let places = self.get().complaint.iter().zip(text.bytes());
        places.for_each(|(place, byte)| place.store(byte, Ordering::Relaxed));
    }

    fn complaint(&self) -> String {
        let bytes = self.get().complaint.iter().map(|place| place.load(Ordering::Relaxed));
        String::from_utf8_lossy(&bytes.take_while(|byte| *byte != 0).collect::<Vec<u8>>()).into_owned()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the whole mapping.
        unsafe { libc::munmap(self.0.cast(), size_of::<Told>()) };
    }
}
