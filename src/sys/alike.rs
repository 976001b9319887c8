//! Sockets that are set as another one is: every option that setsockopt(2) can copy, in one list.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

use super::done;
use crate::error::{Errno, Result};

/// The longest value: IP options, IPv6 extension headers.
const VALUE_BYTES: usize = 2048;

/// What an option decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// What comes in.
    Input,
    /// Only what is told with it, how it leaves, or how long calls wait.
    Rest,
}

/// An option of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    level: c_int,
    name: c_int,
    /// What it decides.
    pub decides: Decides,
}

impl Setting {
    /// SO_BINDTOIFINDEX.
    pub fn is_device(self) -> bool {
        (self.level, self.name) == (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)
    }
}

const fn settings<const COUNT: usize>(level: c_int, decides: Decides, names: [c_int; COUNT]) -> [Setting; COUNT] {
    let mut all = [Setting { level, name: 0, decides }; COUNT];
    let mut at = 0;
    while at < COUNT {
        // Evaluated at compile time: an index out of range doesn't compile.
        #[allow(clippy::indexing_slicing)]
        {
            all[at].name = names[at];
        }
        at += 1;
    }
    all
}

// Not in the libc crate for every target: <asm-generic/socket.h>, <linux/in.h>, <linux/in6.h>, <linux/udp.h>.
const SO_TIMESTAMP_NEW: c_int = 63;
const SO_TIMESTAMPNS_NEW: c_int = 64;
const SO_TIMESTAMPING_NEW: c_int = 65;
const SO_BUF_LOCK: c_int = 72;
const SO_RCVMARK: c_int = 75;
const SO_RCVPRIORITY: c_int = 82;
const IP_RECVERR_RFC4884: c_int = 26;
const IP_LOCAL_PORT_RANGE: c_int = 51;
const ICMP_FILTER: c_int = 1;
const IPV6_CHECKSUM: c_int = 7;
const IPV6_FLOWINFO: c_int = 11;
const IPV6_RECVERR_RFC4884: c_int = 31;
const IPV6_HDRINCL: c_int = 36;
const IPV6_FLOWINFO_SEND: c_int = 33;
const IPV6_ADDR_PREFERENCES: c_int = 72;
const IPV6_MINHOPCOUNT: c_int = 73;
const IPV6_ORIGDSTADDR: c_int = 74;
const IPV6_UNICAST_IF: c_int = 76;
const IPV6_RECVFRAGSIZE: c_int = 77;
const IPV6_FREEBIND: c_int = 78;
const UDP_ENCAP: c_int = 100;
const UDP_NO_CHECK6_TX: c_int = 101;
const UDP_NO_CHECK6_RX: c_int = 102;
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;

/// Those of the socket itself that decide what comes in. The locks come last: they forbid what they lock.
const SOCKET_INPUT: &[Setting] = &settings(
    libc::SOL_SOCKET,
    Decides::Input,
    [libc::SO_REUSEADDR, libc::SO_REUSEPORT, libc::SO_BINDTOIFINDEX, libc::SO_LOCK_FILTER],
);
const SOCKET: &[Setting] = &settings(
    libc::SOL_SOCKET,
    Decides::Rest,
    [
        libc::SO_DEBUG,
        libc::SO_DONTROUTE,
        libc::SO_BROADCAST,
        libc::SO_KEEPALIVE,
        libc::SO_OOBINLINE,
        libc::SO_NO_CHECK,
        libc::SO_PRIORITY,
        libc::SO_LINGER,
        libc::SO_RCVLOWAT,
        libc::SO_RCVTIMEO,
        libc::SO_SNDTIMEO,
        libc::SO_PASSSEC,
        libc::SO_MARK,
        // The kernel has one format of times, and the last of these that is set decides.
        libc::SO_TIMESTAMP,
        libc::SO_TIMESTAMPNS,
        libc::SO_TIMESTAMPING,
        SO_TIMESTAMP_NEW,
        SO_TIMESTAMPNS_NEW,
        SO_TIMESTAMPING_NEW,
        libc::SO_RXQ_OVFL,
        libc::SO_WIFI_STATUS,
        libc::SO_PEEK_OFF,
        libc::SO_NOFCS,
        libc::SO_SELECT_ERR_QUEUE,
        libc::SO_BUSY_POLL,
        libc::SO_MAX_PACING_RATE,
        libc::SO_INCOMING_CPU,
        libc::SO_ZEROCOPY,
        libc::SO_TXTIME,
        libc::SO_PREFER_BUSY_POLL,
        SO_RCVMARK,
        SO_RCVPRIORITY,
        SO_BUF_LOCK,
    ],
);
const IPV4_INPUT: &[Setting] = &settings(
    libc::IPPROTO_IP,
    Decides::Input,
    [libc::IP_FREEBIND, libc::IP_TRANSPARENT, libc::IP_MINTTL, libc::IP_NODEFRAG],
);
const IPV4: &[Setting] = &settings(
    libc::IPPROTO_IP,
    Decides::Rest,
    [
        libc::IP_TOS,
        libc::IP_TTL,
        libc::IP_HDRINCL,
        libc::IP_OPTIONS,
        libc::IP_RECVOPTS,
        libc::IP_RETOPTS,
        libc::IP_PKTINFO,
        libc::IP_MTU_DISCOVER,
        libc::IP_RECVERR,
        libc::IP_RECVTTL,
        libc::IP_RECVTOS,
        libc::IP_PASSSEC,
        libc::IP_RECVORIGDSTADDR,
        libc::IP_CHECKSUM,
        libc::IP_BIND_ADDRESS_NO_PORT,
        libc::IP_RECVFRAGSIZE,
        IP_RECVERR_RFC4884,
        libc::IP_MULTICAST_IF,
        libc::IP_MULTICAST_TTL,
        libc::IP_MULTICAST_LOOP,
        libc::IP_UNICAST_IF,
        IP_LOCAL_PORT_RANGE,
    ],
);
const IPV6_INPUT: &[Setting] = &settings(
    libc::IPPROTO_IPV6,
    Decides::Input,
    [
        libc::IPV6_V6ONLY,
        IPV6_FREEBIND,
        libc::IPV6_TRANSPARENT,
        IPV6_MINHOPCOUNT,
        IPV6_CHECKSUM,
        libc::IPV6_ROUTER_ALERT,
    ],
);
const IPV6: &[Setting] = &settings(
    libc::IPPROTO_IPV6,
    Decides::Rest,
    [
        libc::IPV6_2292PKTINFO,
        libc::IPV6_2292HOPOPTS,
        libc::IPV6_2292DSTOPTS,
        libc::IPV6_2292RTHDR,
        libc::IPV6_2292HOPLIMIT,
        IPV6_FLOWINFO,
        libc::IPV6_UNICAST_HOPS,
        libc::IPV6_MULTICAST_IF,
        libc::IPV6_MULTICAST_HOPS,
        libc::IPV6_MULTICAST_LOOP,
        libc::IPV6_MTU_DISCOVER,
        libc::IPV6_RECVERR,
        libc::IPV6_ROUTER_ALERT_ISOLATE,
        IPV6_RECVERR_RFC4884,
        IPV6_FLOWINFO_SEND,
        IPV6_HDRINCL,
        libc::IPV6_RECVPKTINFO,
        libc::IPV6_RECVHOPLIMIT,
        libc::IPV6_RECVHOPOPTS,
        libc::IPV6_HOPOPTS,
        libc::IPV6_RTHDRDSTOPTS,
        libc::IPV6_RECVRTHDR,
        libc::IPV6_RTHDR,
        libc::IPV6_RECVDSTOPTS,
        libc::IPV6_DSTOPTS,
        libc::IPV6_RECVPATHMTU,
        libc::IPV6_DONTFRAG,
        libc::IPV6_RECVTCLASS,
        libc::IPV6_TCLASS,
        libc::IPV6_AUTOFLOWLABEL,
        IPV6_ADDR_PREFERENCES,
        IPV6_ORIGDSTADDR,
        IPV6_UNICAST_IF,
        IPV6_RECVFRAGSIZE,
    ],
);
const UDP_INPUT: &[Setting] = &settings(libc::SOL_UDP, Decides::Input, [UDP_ENCAP, UDP_NO_CHECK6_RX]);
const UDP: &[Setting] = &settings(libc::SOL_UDP, Decides::Rest, [UDP_NO_CHECK6_TX, UDP_SEGMENT, UDP_GRO]);
const RAW: &[Setting] = &settings(libc::SOL_RAW, Decides::Input, [ICMP_FILTER]);
const RAW6: &[Setting] = &settings(libc::IPPROTO_ICMPV6, Decides::Input, [ICMP_FILTER]);

/// All of them, in the order in which they can be set. The socket's filter and the sizes of its buffers aren't
/// among them: see [`copy_filter`] and [`super::option::IntOption::RECEIVE_BUFFER`].
pub fn list() -> impl Iterator<Item = Setting> {
    [RAW, RAW6, IPV4_INPUT, IPV6_INPUT, UDP_INPUT, SOCKET_INPUT, IPV4, IPV6, UDP, SOCKET].into_iter().flatten().copied()
}

/// Gives a socket the value of an option that another has. An option that their family or protocol doesn't
/// have, or this kernel, is the same on both.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, setting: Setting) -> Result<()> {
    let Ok(wanted) = get(from, setting) else { return Ok(()) };
    match get(to, setting) {
        Ok(found) if found == wanted => Ok(()),
        _ => set(to, setting, &wanted),
    }
}

fn get(fd: BorrowedFd<'_>, setting: Setting) -> Result<Vec<u8>> {
    let mut value = vec![0_u8; VALUE_BYTES];
    let mut len = VALUE_BYTES as socklen_t;
    let at = value.as_mut_ptr().cast::<c_void>();
    // SAFETY: there is room for as many bytes as `len` says.
    done(unsafe { libc::getsockopt(fd.as_raw_fd(), setting.level, setting.name, at, &raw mut len) })?;
    value.truncate(len as usize);
    Ok(value)
}

fn set(fd: BorrowedFd<'_>, setting: Setting, value: &[u8]) -> Result<()> {
    let (at, len) = (value.as_ptr().cast::<c_void>(), value.len() as socklen_t);
    // SAFETY: the value is readable for its length.
    done(unsafe { libc::setsockopt(fd.as_raw_fd(), setting.level, setting.name, at, len) })
}

/// Gives a socket the classic filter that another has (SO_ATTACH_FILTER), if it has one. `EACCES` if that is an
/// eBPF program, which the kernel doesn't give away.
pub fn copy_filter(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut steps = vec![libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; filter_steps(from, &mut [])?];
    if steps.is_empty() {
        return Ok(());
    }
    // Another thread may attach a longer one meanwhile: EINVAL.
    let count = filter_steps(from, &mut steps)?;
    let len = u16::try_from(count).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: steps.as_mut_ptr() };
    let (at, len) = ((&raw const program).cast::<c_void>(), size_of::<libc::sock_fprog>() as socklen_t);
    // SAFETY: the program's steps are readable.
    done(unsafe { libc::setsockopt(to.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, at, len) })
}

/// SO_GET_FILTER: how many steps there are. It counts in steps, not in bytes, and copies none if there is no room
/// at all.
fn filter_steps(fd: BorrowedFd<'_>, room: &mut [libc::sock_filter]) -> Result<usize> {
    const SO_GET_FILTER: c_int = libc::SO_ATTACH_FILTER;
    let mut count = room.len() as socklen_t;
    let at = room.as_mut_ptr().cast::<c_void>();
    // SAFETY: there is room for as many steps as `count` says.
    done(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, SO_GET_FILTER, at, &raw mut count) })?;
    Ok(count as usize)
}
