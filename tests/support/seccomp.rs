//! System calls that fail, as in a sandbox or on an older kernel: by a filter (seccomp(2)) that can't be taken back,
//! so in a process that can be spared.

use std::mem::offset_of;

use libc::{c_long, sock_filter};

use super::descriptors::check;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const HAS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Errno(i32),
    /// The process ends.
    Kill,
}

/// One of the bits of an argument, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Bits(pub usize, pub u32);

/// The flags of preadv2(2) and pwritev2(2).
pub const NOWAIT: Bits = Bits(5, libc::RWF_NOWAIT as u32);
pub const NOSIGNAL: Bits = Bits(5, 0x100);

fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// From now on a system call in this thread, and in those that it starts, gets this answer: each, or each that has one
/// of these bits.
pub fn answer(call: c_long, bits: Option<Bits>, answer: Answer) {
    let value = match answer {
        Answer::Errno(error) => libc::SECCOMP_RET_ERRNO | error as u32,
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let mut filter = vec![step(LOAD, offset_of!(libc::seccomp_data, nr) as u32, 0, 0)];
    match bits {
        None => filter.push(step(IS, call as u32, 0, 1)),
        Some(Bits(argument, bits)) => {
            let low = if cfg!(target_endian = "little") { 0 } else { 4 };
            let place = offset_of!(libc::seccomp_data, args) + 8 * argument + low;
            filter.extend([step(IS, call as u32, 0, 3), step(LOAD, place as u32, 0, 0), step(HAS, bits, 0, 1)]);
        }
    }
    filter.extend([step(RETURN, value, 0, 0), step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)]);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a program of so many steps, which is copied.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program));
    }
}

/// As before Linux 6.18.
pub fn no_nosignal() {
    answer(libc::SYS_pwritev2, Some(NOSIGNAL), Answer::Errno(libc::EOPNOTSUPP));
}

/// As before Linux 6.4.
pub fn no_nowait() {
    no_nosignal();
    for call in [libc::SYS_preadv2, libc::SYS_pwritev2] {
        answer(call, Some(NOWAIT), Answer::Errno(libc::EOPNOTSUPP));
    }
}
