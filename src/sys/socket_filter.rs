//! The filter on a socket: socket(7), SO_ATTACH_FILTER and SO_ATTACH_BPF.

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_void, sock_filter, socklen_t};

use super::done;
use crate::error::{Errno, Result};

/// What decides which datagrams reach a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketFilter {
    /// Nothing.
    None,
    /// A program of classic BPF.
    Classic {
        /// How many instructions it has.
        len: usize,
        /// Whether it lets everything pass (`true`) or nothing (`false`), if it does one of the two.
        always: Option<bool>,
    },
    /// An eBPF program, which the kernel doesn't show.
    Extended,
}

/// getsockopt(SO_GET_FILTER). Its length counts instructions.
pub fn socket_filter(fd: BorrowedFd<'_>) -> Result<SocketFilter> {
    let empty = sock_filter { code: 0, jt: 0, jf: 0, k: 0 };
    let mut program: Vec<sock_filter> = Vec::new();
    loop {
        let mut len = program.len() as socklen_t;
        let at = program.as_mut_ptr().cast::<c_void>();
        // SAFETY: there is room for so many instructions; with a length of 0 nothing but the length is written.
        match done(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_GET_FILTER, at, &raw mut len) })
        {
            Err(Errno::EACCES) => return Ok(SocketFilter::Extended),
            // A longer one has been attached between.
            Err(Errno::EINVAL) if !program.is_empty() => program.clear(),
            Err(error) => return Err(error),
            Ok(()) if len == 0 => return Ok(SocketFilter::None),
            Ok(()) if program.is_empty() => program.resize(len as usize, empty),
            Ok(()) => return Ok(SocketFilter::Classic { len: len as usize, always: always(&program) }),
        }
    }
}

/// How much of a datagram passes is what a program returns.
fn always(program: &[sock_filter]) -> Option<bool> {
    // <linux/bpf_common.h>: BPF_RET, and BPF_A for a computed value.
    let mut returns = program.iter().filter(|instruction| instruction.code & 0x07 == 0x06);
    let value = |instruction: &sock_filter| (instruction.code & 0x18 == 0).then_some(instruction.k > 0);
    let first = value(returns.next()?)?;
    returns.all(|other| value(other) == Some(first)).then_some(first)
}
