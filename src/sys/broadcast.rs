//! One IPv4 datagram out of one chosen interface: sendmsg(2) with IP_PKTINFO.

use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::memory::Source;
use super::sockaddr::{self, SocketAddress};
use super::{length, socket};
use crate::error::{Errno, Result};
use crate::sys::socket::Flags;

/// Room for one IP_PKTINFO message: 12 bytes behind a header, rounded up.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; 32]);

/// Sends one datagram to `to` out of the interface with this index, whatever the routes say. It
/// comes from the address `from`, or from one of the kernel's choice if that is unspecified.
pub fn send(fd: BorrowedFd<'_>, bytes: Source<'_>, from: Ipv4Addr, to: SocketAddrV4, interface: u32) -> Result<usize> {
    let address = SocketAddress::from(SocketAddr::V4(to));
    let info = libc::in_pktinfo {
        ipi_ifindex: i32::try_from(interface).map_err(|_| Errno::ENODEV)?,
        ipi_spec_dst: sockaddr::in_addr(from),
        ipi_addr: sockaddr::in_addr(Ipv4Addr::UNSPECIFIED),
    };
    let mut control = Control([MaybeUninit::zeroed(); 32]);
    let list = bytes.as_list();
    let mut message = socket::empty_message();
    let (name, name_len) = address.as_raw();
    message.msg_name = name.cast_mut().cast();
    message.msg_namelen = name_len;
    message.msg_iov = list.first();
    message.msg_iovlen = list.count() as _;
    message.msg_control = (&raw mut control).cast();
    // SAFETY: arithmetic on a size.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) } as _;
    // SAFETY: the control buffer is aligned and has room for the header and the message that
    // CMSG_SPACE counted, so the first header lies in it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::IPPROTO_IP;
        (*header).cmsg_type = libc::IP_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
        libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(info);
    }
    let flags = Flags::NOSIGNAL.raw();
    // SAFETY: the message names an address, memory that the kernel may read, and the control data.
    length(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) })
}
