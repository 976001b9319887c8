//! Socket options whose value is an int, and what a socket is.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

use super::{done, value};
use crate::error::{Errno, Result};

/// A socket option with an int for a value: its level and name.
#[derive(Clone, Copy, Debug)]
pub struct IntOption(c_int, c_int);

/// Not in the libc crate: since Linux 4.20.
const IPV6_MULTICAST_ALL: c_int = 29;

/// Where SO_MEMINFO has the drops (`SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;

impl IntOption {
    /// socket(7): broadcasts may be sent.
    pub const BROADCAST: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_BROADCAST);
    /// socket(7): urgent data stays in the stream.
    pub const OOB_INLINE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_OOBINLINE);
    /// socket(7): the fewest bytes that make a stream readable.
    pub const RECEIVE_LOW_WATER: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_RCVLOWAT);
    /// socket(7): several sockets may bind the same multicast address.
    pub const REUSE_ADDRESS: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_REUSEADDR);
    /// socket(7): the same, for sockets that set this one.
    pub const REUSE_PORT: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_REUSEPORT);
    /// ip(7): TTL of multicast that leaves.
    pub const IPV4_MULTICAST_TTL: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL);
    /// ip(7): multicast comes back to this host.
    pub const IPV4_MULTICAST_LOOP: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP);
    /// ip(7): groups that other sockets joined are delivered too.
    pub const IPV4_MULTICAST_ALL: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_MULTICAST_ALL);
    /// ipv6(7): hop limit of multicast that leaves.
    pub const IPV6_MULTICAST_HOPS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
    /// ipv6(7): multicast comes back to this host.
    pub const IPV6_MULTICAST_LOOP: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP);
    /// ipv6(7): the interface by which multicast leaves.
    pub const IPV6_MULTICAST_IF: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF);
    /// ipv6(7): groups that other sockets joined are delivered too.
    pub const IPV6_MULTICAST_ALL: IntOption = IntOption(libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL);
    /// ipv6(7): no IPv4 on this socket.
    pub const IPV6_ONLY: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);

    /// udp(7): answers where the kernel knows segmentation.
    pub const UDP_SEGMENT: IntOption = IntOption(libc::SOL_UDP, 103);
    /// udp(7): trains are received as one.
    pub const UDP_GRO: IntOption = IntOption(libc::SOL_UDP, 104);
    /// socket(7): a control message tells how many datagrams were dropped.
    pub const DROPS: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_RXQ_OVFL);
    /// socket(7): a control message tells when the kernel received, in microseconds.
    pub const TIMESTAMP: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_TIMESTAMP);
    /// socket(7): the same in nanoseconds, instead of it.
    pub const TIMESTAMP_NS: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    /// socket(7): room for what was received and not read, in bytes; reads as the double.
    pub const RECEIVE_BUFFER: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_RCVBUF);
    /// socket(7): the same over the limit, with CAP_NET_ADMIN.
    pub const RECEIVE_BUFFER_FORCE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
    /// ip(7): a control message tells destination and interface.
    pub const IPV4_PACKET_INFO: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_PKTINFO);
    /// ip(7): a control message tells the TTL.
    pub const IPV4_RECEIVE_TTL: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_RECVTTL);
    /// ip(7): a control message tells the traffic class.
    pub const IPV4_RECEIVE_CLASS: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_RECVTOS);
    /// ipv6(7): a control message tells destination and interface.
    pub const IPV6_PACKET_INFO: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
    /// ipv6(7): a control message tells the hop limit.
    pub const IPV6_RECEIVE_HOPS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT);
    /// ipv6(7): a control message tells the traffic class.
    pub const IPV6_RECEIVE_CLASS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS);

    /// socket(7): MSG_ZEROCOPY may be used.
    pub const ZEROCOPY: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_ZEROCOPY);
    /// ip(7): errors go to the error queue.
    pub const IPV4_RECEIVE_ERRORS: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_RECVERR);
    /// ipv6(7): errors go to the error queue.
    pub const IPV6_RECEIVE_ERRORS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_RECVERR);

    const DOMAIN: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_DOMAIN);
    const TYPE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_TYPE);
    const ERROR: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_ERROR);

    /// getsockopt(2).
    pub fn get(self, fd: BorrowedFd<'_>) -> Result<i32> {
        let mut found: c_int = 0;
        let mut len = size_of::<c_int>() as socklen_t;
        let (fd, at) = (fd.as_raw_fd(), (&raw mut found).cast::<c_void>());
        // SAFETY: there is room for an int, and `len` says so.
        done(unsafe { libc::getsockopt(fd, self.0, self.1, at, &raw mut len) })?;
        Ok(found)
    }

    /// setsockopt(2).
    pub fn set(self, fd: BorrowedFd<'_>, value: i32) -> Result<()> {
        set(fd, self.0, self.1, &value)
    }
}

/// setsockopt(2) with a plain C value.
pub(super) fn set<T: Copy>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> Result<()> {
    let (at, len) = ((&raw const *value).cast::<c_void>(), size_of::<T>() as socklen_t);
    // SAFETY: the value is readable for its size.
    done(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, at, len) })
}

/// setsockopt(SO_MAX_PACING_RATE), a 64-bit value since Linux 4.20: a rate for a queueing discipline
/// that paces.
pub fn set_pacing_rate(fd: BorrowedFd<'_>, bytes_per_second: u64) -> Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &bytes_per_second)
}

/// getsockopt(SO_MEMINFO), since Linux 4.12: how many datagrams the socket dropped so far.
pub fn drops(fd: BorrowedFd<'_>) -> Result<u32> {
    let mut found = [0_u32; MEMINFO_DROPS + 1];
    let mut len = size_of_val(&found) as socklen_t;
    let at = (&raw mut found).cast::<c_void>();
    // SAFETY: `len` says how much room there is.
    done(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, at, &raw mut len) })?;
    Ok(found[MEMINFO_DROPS])
}

/// An Internet address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET
    V4,
    /// AF_INET6
    V6,
}

impl Family {
    /// AF_INET or AF_INET6.
    pub fn domain(self) -> i32 {
        match self {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        }
    }
}

/// SO_DOMAIN. `EAFNOSUPPORT` for a socket that speaks no IP.
pub fn family(fd: BorrowedFd<'_>) -> Result<Family> {
    match IntOption::DOMAIN.get(fd)? {
        libc::AF_INET => Ok(Family::V4),
        libc::AF_INET6 => Ok(Family::V6),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// What a socket keeps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// A stream of bytes.
    Stream,
    /// Messages on a connection that can end.
    SeqPacket,
    /// Datagrams, raw packets and whatever else comes in messages.
    Datagram,
}

/// SO_TYPE.
pub fn socket_type(fd: BorrowedFd<'_>) -> Result<SocketType> {
    Ok(match IntOption::TYPE.get(fd)? {
        libc::SOCK_STREAM => SocketType::Stream,
        libc::SOCK_SEQPACKET => SocketType::SeqPacket,
        _ => SocketType::Datagram,
    })
}

/// SO_ERROR: takes the pending error away, if there is one.
pub fn take_error(fd: BorrowedFd<'_>) -> Result<Option<Errno>> {
    Ok(match IntOption::ERROR.get(fd)? {
        0 => None,
        code => Some(Errno::from_raw(code)),
    })
}

/// ioctl(SIOCATMARK): whether the next byte is at the urgent mark.
pub fn at_mark(fd: BorrowedFd<'_>) -> Result<bool> {
    const SIOCATMARK: libc::Ioctl = 0x8905;
    let mut found: c_int = 0;
    // SAFETY: SIOCATMARK writes one int.
    value(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCATMARK, &raw mut found) })?;
    Ok(found != 0)
}
