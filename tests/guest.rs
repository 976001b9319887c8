//! A guest in any process: one whose threads are cancelled, and one that has neither devices nor randomness.

mod support;

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use castio::ffi::amt::{castio_amt_close, castio_amt_open};
use castio::ffi::multicast::manager::{castio_membership_add, castio_membership_close, castio_membership_open};
use libc::{ENOSYS, EPERM, c_int};
use support::descriptors::*;
use support::programs::{self, BOTH};
use support::tools;

/// With the asynchronous type too, which acts as soon as the call gives cancellation back.
#[test]
fn a_thread_is_cancelled_after_the_call_and_not_inside() {
    if std::env::var_os("CASTIO_SANITIZE").is_some() {
        return tools::skip("AddressSanitizer of gcc 12 takes the end of a cancelled thread for an overflow");
    }
    for linkage in BOTH {
        let Some(program) = programs::link("tests/c/cancelled", linkage) else { return };
        for how in ["deferred", "asynchronous", "stream"] {
            let finished = program.run(&[how]);
            assert!(finished.passed(), "{linkage:?} {how}: {finished:?}");
        }
    }
}

/// getrandom(2) fails from now on, in this process.
fn refuse_getrandom(errno: c_int) {
    const LOAD_NUMBER: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_getrandom as u32, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the filter is there during the call.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter));
    }
}

/// 0, or which step of a handle's life failed.
fn use_handles(udp: c_int) -> i32 {
    let (mut membership, mut amt) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: texts, NULL for defaults, and places; handles are closed once.
    unsafe {
        if castio_membership_open(udp, ptr::null(), &raw mut membership) != 0 {
            return 1;
        }
        if castio_membership_add(membership, c"239.1.2.3".as_ptr(), ptr::null(), c"lo".as_ptr()) < 0 {
            return 2;
        }
        castio_membership_close(membership);
        if castio_amt_open(c"127.0.0.1:2269".as_ptr(), ptr::null(), &raw mut amt) != 0 {
            return 3;
        }
        castio_amt_close(amt);
    }
    0
}

#[test]
fn handles_work_without_devices_proc_and_getrandom_and_print_nothing() {
    let empty = tempfile::tempdir().unwrap();
    let root = CString::new(empty.path().as_os_str().as_bytes()).unwrap();
    for errno in [EPERM, ENOSYS] {
        let Pair { writer: udp, .. } = pair(Udp4);
        let Pair { writer: printed, reader, .. } = pair(Pipe);
        let status = in_child(|| {
            // SAFETY: the child's own root, and descriptors of its own.
            unsafe {
                check(libc::chroot(root.as_ptr()));
                check(libc::dup2(printed.as_raw_fd(), 2));
            }
            refuse_getrandom(errno);
            use_handles(udp.as_raw_fd())
        });
        drop(printed);
        assert_eq!((libc::WEXITSTATUS(status), take(&reader, 1000)), (0, vec![]), "{errno}: {status:#x}");
    }
}
