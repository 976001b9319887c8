//! What a TCP socket has received: tcp(7), <linux/tcp.h>.

use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, c_void};

use super::{last_errno, option};
use crate::error::{Errno, Result};

/// Not in the libc crate: since Linux 4.18.
const TCP_ZEROCOPY_RECEIVE: c_int = 35;

/// `struct tcp_zerocopy_receive`, up to what is asked for here.
#[repr(C)]
#[derive(Clone, Copy)]
struct ZerocopyReceive {
    address: u64,
    length: u32,
    recv_skip_hint: u32,
    /// Since Linux 5.7.
    inq: u32,
    err: i32,
}

/// `struct tcp_info`, from its `tcpi_snd_wnd` on in place of what comes before.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    before: [u32; 57],
    snd_wnd: u32,
    /// Since Linux 6.2.
    rcv_wnd: u32,
}

const _: () = assert!(offset_of!(ZerocopyReceive, inq) == 16 && size_of::<ZerocopyReceive>() == 24);

/// How many bytes were received in order and not read, those behind the urgent mark and the urgent byte
/// among them, and one more for a FIN. A getsockopt(TCP_ZEROCOPY_RECEIVE) that asks for no data.
pub fn unread(fd: BorrowedFd<'_>) -> Result<usize> {
    // TLS in the kernel shows other bytes than those that were received.
    if option::has_upper_protocol(fd) {
        return Err(Errno::ENOPROTOOPT);
    }
    match queued(fd, 0) {
        // From a page of data on, the address has to be one where they could be mapped.
        Err(Errno::EINVAL) => queued_by_map(fd),
        result => result,
    }
}

fn queued(fd: BorrowedFd<'_>, address: u64) -> Result<usize> {
    let mut found = ZerocopyReceive { address, length: 0, recv_skip_hint: 0, inq: 0, err: 0 };
    match option::get(fd, libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &mut found)? {
        len if len >= size_of::<ZerocopyReceive>() => Ok(found.inq as usize),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

fn queued_by_map(fd: BorrowedFd<'_>) -> Result<usize> {
    // SAFETY: sysconf takes no pointer.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(|_| Errno::EINVAL)?;
    // SAFETY: a new mapping where the kernel finds room.
    let at = unsafe { libc::mmap(ptr::null_mut(), page, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(last_errno());
    }
    let result = queued(fd, at.expose_provenance() as u64);
    // SAFETY: the mapping made above, to which nothing points.
    unsafe { libc::munmap(at.cast::<c_void>(), page) };
    result
}

/// The receive window as last advertised (getsockopt TCP_INFO). `ENOPROTOOPT` before Linux 6.2.
pub fn receive_window(fd: BorrowedFd<'_>) -> Result<u32> {
    let mut info = Info { before: [0; 57], snd_wnd: 0, rcv_wnd: 0 };
    match option::get(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)? {
        len if len >= size_of::<Info>() => Ok(info.rcv_wnd),
        _ => Err(Errno::ENOPROTOOPT),
    }
}
