//! Socket options whose value is an int, and what a socket is.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};

use super::interface::{Asker, NAME_SIZE, Name};
use super::{done, value};
use crate::error::{Errno, Result};

/// A socket option with an int for a value: its level and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntOption(c_int, c_int);

/// Not in the libc crate: since Linux 4.20.
const IPV6_MULTICAST_ALL: c_int = 29;

/// Not in the libc crate for every target: <linux/in6.h>.
const IPV6_HDRINCL: c_int = 36;

/// SO_PROTOCOL's value for UDP.
pub const UDP: i32 = libc::IPPROTO_UDP;

/// SO_PROTOCOL's value for TCP.
pub const TCP: i32 = libc::IPPROTO_TCP;

/// SO_DOMAIN's value for UNIX sockets.
pub const UNIX: i32 = libc::AF_UNIX;

/// What SO_MEMINFO has (<linux/sock_diag.h>), up to the drops.
const MEMINFO_WORDS: usize = 9;

/// Not in the libc crate for every target: <linux/socket.h>, since Linux 4.12.
const SO_COOKIE: c_int = 57;

/// Not in the libc crate: since Linux 5.14.
const SO_NETNS_COOKIE: c_int = 71;

/// Not in the libc crate: since Linux 5.14.
const SO_BUF_LOCK: c_int = 72;
const SOCK_RCVBUF_LOCK: c_int = 2;

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
    /// <linux/socket.h>: as TIMESTAMP, with 64 bits on every target; since Linux 5.1.
    pub const TIMESTAMP_NEW: IntOption = IntOption(libc::SOL_SOCKET, 63);
    /// <linux/socket.h>: as TIMESTAMP_NS, with 64 bits on every target; since Linux 5.1.
    pub const TIMESTAMP_NS_NEW: IntOption = IntOption(libc::SOL_SOCKET, 64);
    /// <linux/socket.h>: SO_TIMESTAMPING with 64 bits on every target; since Linux 5.1.
    pub const TIMESTAMPING_NEW: IntOption = IntOption(libc::SOL_SOCKET, 65);
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

    /// socket(7): room for what wasn't sent yet, in bytes; reads as the double.
    pub const SEND_BUFFER: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_SNDBUF);
    /// socket(7): the same over the limit, with CAP_NET_ADMIN.
    pub const SEND_BUFFER_FORCE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE);
    /// socket(7): where a peek begins; -1 at the start of the queue.
    pub const PEEK_OFFSET: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    /// udp(7): datagrams leave without a checksum.
    pub const NO_CHECKSUM: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_NO_CHECK);
    /// Linux: datagrams over IPv6 may come without a checksum (udp.h: UDP_NO_CHECK6_RX).
    pub const IPV6_NO_CHECKSUM_IN: IntOption = IntOption(libc::SOL_UDP, 102);
    /// socket(7): the index of the device that alone is used, 0 for any; since Linux 5.0.
    pub const DEVICE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX);
    /// ip(7): TTL of unicast that leaves.
    pub const IPV4_TTL: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_TTL);
    /// ip(7): traffic class of what leaves.
    pub const IPV4_CLASS: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_TOS);
    /// ip(7): whether what leaves may be fragmented.
    pub const IPV4_MTU_DISCOVER: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    /// [`IPV4_MTU_DISCOVER`](IntOption::IPV4_MTU_DISCOVER) and
    /// [`IPV6_MTU_DISCOVER`](IntOption::IPV6_MTU_DISCOVER): nothing is fragmented, and what is too large for the
    /// interface is an error; what ICMP says of the path doesn't count.
    pub const MTU_DISCOVER_PROBE: i32 = libc::IP_PMTUDISC_PROBE;
    /// ip(7): what is sent begins with its IP header.
    pub const IPV4_HEADER_INCLUDED: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_HDRINCL);
    /// The same of IPv6: since Linux 4.5.
    pub const IPV6_HEADER_INCLUDED: IntOption = IntOption(libc::IPPROTO_IPV6, IPV6_HDRINCL);
    /// ip(7): the path MTU to the peer.
    pub const IPV4_PATH_MTU: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_MTU);
    /// ip(7): the index, in network byte order, of the interface by which unicast leaves.
    pub const IPV4_UNICAST_IF: IntOption = IntOption(libc::IPPROTO_IP, libc::IP_UNICAST_IF);
    /// ipv6(7): hop limit of unicast that leaves.
    pub const IPV6_UNICAST_HOPS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
    /// ipv6(7): traffic class of what leaves.
    pub const IPV6_CLASS: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    /// ipv6(7): whether what leaves may be fragmented.
    pub const IPV6_MTU_DISCOVER: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
    /// ipv6(7): the path MTU to the peer.
    pub const IPV6_PATH_MTU: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_MTU);
    /// ipv6(7): the index, in network byte order, of the interface by which unicast leaves.
    pub const IPV6_UNICAST_IF: IntOption = IntOption(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF);
    /// socket(7): the address family.
    pub const DOMAIN: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_DOMAIN);
    /// socket(7): SOCK_STREAM and others.
    pub const TYPE: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_TYPE);
    /// socket(7): the protocol.
    pub const PROTOCOL: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_PROTOCOL);
    /// socket(7): listens for connections.
    pub const LISTENS: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
    /// Private: a set of bits.
    const BUFFER_LOCK: IntOption = IntOption(libc::SOL_SOCKET, SO_BUF_LOCK);
    /// Private: who reads it takes the error away.
    const ERROR: IntOption = IntOption(libc::SOL_SOCKET, libc::SO_ERROR);

    /// getsockopt(2).
    pub fn get(self, fd: BorrowedFd<'_>) -> Result<i32> {
        let mut found: c_int = 0;
        get(fd, self.0, self.1, &mut found)?;
        Ok(found)
    }

    /// setsockopt(2).
    pub fn set(self, fd: BorrowedFd<'_>, value: i32) -> Result<()> {
        set(fd, self.0, self.1, &value)
    }
}

/// getsockopt(2) into a plain C value; how many bytes of it were written.
pub(super) fn get<T: Copy>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut T) -> Result<usize> {
    let mut len = size_of::<T>() as socklen_t;
    let at = (&raw mut *value).cast::<c_void>();
    // SAFETY: there is room for the value, and `len` says so; every C value of those asked for is valid.
    match done(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, at, &raw mut len) }) {
        Ok(()) => Ok(len as usize),
        // MPTCP asked for an option that it hasn't; setsockopt(2) and every other protocol say ENOPROTOOPT.
        Err(Errno::EOPNOTSUPP) => Err(Errno::ENOPROTOOPT),
        Err(error) => Err(error),
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

/// getsockopt(SO_MAX_PACING_RATE): in bytes per second, `None` without a limit.
pub fn pacing_rate(fd: BorrowedFd<'_>) -> Result<Option<u64>> {
    let mut rate = 0_u64;
    match get(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &mut rate)? {
        8 => Ok((rate != u64::MAX).then_some(rate)),
        _ => {
            // Before Linux 4.20 it was an int.
            let mut rate = 0_u32;
            get(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &mut rate)?;
            Ok((rate != u32::MAX).then_some(rate.into()))
        }
    }
}

/// What a socket's memory is taken by, in bytes with the kernel's overhead, and what was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What waits to be read: as SO_RCVBUF limits it.
    pub receive: u32,
    /// How much of that there may be.
    pub receive_limit: u32,
    /// What waits to be sent: as SO_SNDBUF limits it.
    pub send: u32,
    /// What options hold, memberships among them: as net.core.optmem_max limits it.
    pub options: u32,
    /// How many datagrams were dropped so far.
    pub drops: u32,
}

/// getsockopt(SO_MEMINFO), since Linux 4.12.
pub fn memory(fd: BorrowedFd<'_>) -> Result<Memory> {
    let mut found = [0_u32; MEMINFO_WORDS];
    get(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut found)?;
    let [receive, receive_limit, send, _, _, _, options, _, drops] = found;
    Ok(Memory { receive, receive_limit, send, options, drops })
}

/// How many datagrams the socket dropped so far: see [`memory`].
pub fn drops(fd: BorrowedFd<'_>) -> Result<u32> {
    memory(fd).map(|memory| memory.drops)
}

/// getsockopt(SO_RCVTIMEO): how long a receive waits, zero for ever.
pub fn receive_timeout(fd: BorrowedFd<'_>) -> Result<Duration> {
    timeout(fd, libc::SO_RCVTIMEO)
}

/// getsockopt(SO_SNDTIMEO): how long a send waits, zero for ever.
pub fn send_timeout(fd: BorrowedFd<'_>) -> Result<Duration> {
    timeout(fd, libc::SO_SNDTIMEO)
}

fn timeout(fd: BorrowedFd<'_>, name: c_int) -> Result<Duration> {
    let mut found = libc::timeval { tv_sec: 0, tv_usec: 0 };
    get(fd, libc::SOL_SOCKET, name, &mut found)?;
    let seconds = u64::try_from(found.tv_sec).unwrap_or(0);
    Ok(Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(found.tv_usec).unwrap_or(0)))
}

/// getsockopt(SO_BINDTODEVICE): the name of the device that alone is used, `None` for any.
pub fn device(fd: BorrowedFd<'_>) -> Result<Option<Name>> {
    let mut name: Name = [0; NAME_SIZE];
    get(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &mut name)?;
    Ok((name[0] != 0).then_some(name))
}

/// getsockopt(SO_BINDTOIFINDEX), before Linux 5.0 by the name that SO_BINDTODEVICE has: the index of the interface
/// that alone is used, 0 for any. An interface that is gone may be told by its last index.
pub fn device_index(fd: BorrowedFd<'_>) -> u32 {
    match IntOption::DEVICE.get(fd) {
        Ok(index) => index.unsigned_abs(),
        Err(_) => {
            let name = device(fd).ok().flatten();
            let index = |name: Name| Asker::open()?.index_of(name);
            name.and_then(|name| index(name).ok()).unwrap_or(0)
        }
    }
}

/// setsockopt(SO_BINDTOIFINDEX), before Linux 5.0 SO_BINDTODEVICE. `EPERM` if it is bound to another one, without
/// CAP_NET_RAW.
pub fn set_device(fd: BorrowedFd<'_>, index: u32) -> Result<()> {
    match IntOption::DEVICE.set(fd, i32::try_from(index).map_err(|_| Errno::ENODEV)?) {
        Err(Errno::ENOPROTOOPT) => set(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &Asker::open()?.name_of(index)?),
        result => result,
    }
}

/// getsockopt(SO_COOKIE): a number that the socket keeps, and no other socket has.
pub fn cookie(fd: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0;
    get(fd, libc::SOL_SOCKET, SO_COOKIE, &mut cookie)?;
    Ok(cookie)
}

/// getsockopt(SO_NETNS_COOKIE): a number for the network namespace in which the socket is.
pub fn network(fd: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0;
    get(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut cookie)?;
    Ok(cookie)
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

/// IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: whether what leaves may be fragmented. What may not, and is too
/// large for the path, is `EMSGSIZE`, and in IPv4 says so to the routers.
pub fn allow_fragments(fd: BorrowedFd<'_>, family: Family, allow: bool) -> Result<()> {
    let (option, never, always) = match family {
        Family::V4 => (IntOption::IPV4_MTU_DISCOVER, libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_DONT),
        Family::V6 => (IntOption::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO, libc::IPV6_PMTUDISC_DONT),
    };
    option.set(fd, if allow { always } else { never })
}

/// Whether it is a UNIX socket, whose messages may carry descriptors.
pub fn is_unix(fd: BorrowedFd<'_>) -> bool {
    IntOption::DOMAIN.get(fd) == Ok(libc::AF_UNIX)
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

/// SO_BUF_LOCK, since Linux 5.14: whether the program has set the size of the receive buffer.
pub fn is_receive_buffer_fixed(fd: BorrowedFd<'_>) -> bool {
    IntOption::BUFFER_LOCK.get(fd).is_ok_and(|locks| locks & SOCK_RCVBUF_LOCK != 0)
}

/// TCP_ULP, since Linux 4.13: whether a protocol such as TLS has been put over TCP.
pub fn has_upper_protocol(fd: BorrowedFd<'_>) -> bool {
    let mut name = [0_u8; 16];
    get(fd, libc::IPPROTO_TCP, libc::TCP_ULP, &mut name).is_ok_and(|len| len > 0 && name != [0; 16])
}

/// Whether it is a UDP socket.
pub fn is_udp(fd: BorrowedFd<'_>) -> bool {
    family(fd).is_ok() && IntOption::PROTOCOL.get(fd) == Ok(libc::IPPROTO_UDP)
}

/// SO_LINGER of 0 seconds: when the last descriptor is closed, TCP sends a reset instead of an end.
pub fn reset_on_close(fd: BorrowedFd<'_>) -> Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// SO_ERROR: takes the pending error away, if there is one.
pub fn take_error(fd: BorrowedFd<'_>) -> Result<Option<Errno>> {
    Ok(match IntOption::ERROR.get(fd)? {
        0 => None,
        code => Some(Errno::from_raw(code)),
    })
}

/// ioctl(SIOCATMARK): whether the next byte is at the urgent mark. `EOPNOTSUPP` on a socket that has none.
pub fn at_mark(fd: BorrowedFd<'_>) -> Result<bool> {
    const SIOCATMARK: libc::Ioctl = 0x8905;
    let mut found: c_int = 0;
    // SAFETY: SIOCATMARK writes one int.
    match value(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCATMARK, &raw mut found) }) {
        Ok(_) => Ok(found != 0),
        Err(Errno::ENOTTY) => Err(Errno::EOPNOTSUPP),
        Err(error) => Err(error),
    }
}
