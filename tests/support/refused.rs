//! System calls that a sandbox refuses: a filter (seccomp(2)) on one thread, which can't be taken back.

use std::thread;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// A system call, the value of its first argument if that counts, and how it fails.
pub type Refusal = (libc::c_long, Option<i32>, i32);

/// A service that may use addresses of other families (systemd's RestrictAddressFamilies).
pub const NETLINK: Refusal = (libc::SYS_socket, Some(libc::AF_NETLINK), libc::EAFNOSUPPORT);
/// A container whose profile leaves it out.
pub const IOCTL: Refusal = (libc::SYS_ioctl, None, libc::EPERM);

/// Does some work in a thread of its own, where these calls fail.
pub fn without<T: Send>(refusals: &[Refusal], work: impl FnOnce() -> T + Send) -> T {
    let sandboxed = || {
        refusals.iter().copied().for_each(refuse);
        work()
    };
    thread::scope(|scope| scope.spawn(sandboxed).join().unwrap())
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn refuse((call, first, error): Refusal) {
    let mut filter = vec![step(LOAD, std::mem::offset_of!(libc::seccomp_data, nr) as u32, 0, 0)];
    filter.push(step(IS, call as u32, 0, if first.is_some() { 3 } else { 1 }));
    if let Some(first) = first {
        let low = if cfg!(target_endian = "little") { 0 } else { 4 };
        let at = std::mem::offset_of!(libc::seccomp_data, args) as u32 + low;
        filter.extend([step(LOAD, at, 0, 0), step(IS, first as u32, 0, 1)]);
    }
    filter.push(step(RETURN, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0));
    filter.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a program of so many steps, which is copied.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
