//! Multicast options that take a struct: RFC 3678's protocol-independent requests, and the
//! outgoing interface of IPv4.
//!
//! The requests are declared here because the libc crate lacks them. Every one starts out zeroed:
//! the kernel reads the padding of its addresses too.

use std::mem::{align_of, offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, sockaddr_storage, socklen_t};

use super::option::set;
use super::{done, sockaddr};
use crate::error::{Errno, Result};

const IP_MSFILTER: c_int = 41;
const MCAST_BLOCK_SOURCE: c_int = 43;
const MCAST_UNBLOCK_SOURCE: c_int = 44;
const MCAST_JOIN_SOURCE_GROUP: c_int = 46;
const MCAST_LEAVE_SOURCE_GROUP: c_int = 47;
const MCAST_MSFILTER: c_int = 48;

/// The words between an index and the address behind it. A field, not padding, which Rust would
/// leave as it was on the stack.
const HOLE: usize = align_of::<sockaddr_storage>() / size_of::<u32>() - 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct GroupSourceReq {
    interface: u32,
    hole: [u32; HOLE],
    group: sockaddr_storage,
    source: sockaddr_storage,
}

/// `struct group_filter` with an array of one source, as C has it.
#[repr(C)]
struct GroupFilter {
    interface: u32,
    hole: [u32; HOLE],
    group: sockaddr_storage,
    mode: u32,
    count: u32,
    first: sockaddr_storage,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<GroupSourceReq>() == 264);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<GroupFilter>() == 272 && offset_of!(GroupFilter, first) == 144);

/// What to do with a whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRequest {
    /// IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP
    Join,
    /// IP_DROP_MEMBERSHIP, IPV6_DROP_MEMBERSHIP
    Leave,
}

/// What to do with one source of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRequest {
    /// MCAST_JOIN_SOURCE_GROUP
    Join,
    /// MCAST_LEAVE_SOURCE_GROUP
    Leave,
    /// MCAST_BLOCK_SOURCE
    Block,
    /// MCAST_UNBLOCK_SOURCE
    Unblock,
}

/// A group, and the interface to join it on (0: the kernel's choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The group's address.
    pub group: IpAddr,
    /// The interface's index.
    pub interface: u32,
}

/// The level goes by the group, not by the socket: an AF_INET6 socket joins IPv4 groups too.
fn level(group: IpAddr) -> c_int {
    match group {
        IpAddr::V4(_) => libc::IPPROTO_IP,
        IpAddr::V6(_) => libc::IPPROTO_IPV6,
    }
}

/// A request about a whole group. By the older requests of each family, which refuse a stream socket
/// (`EPROTO`): MCAST_JOIN_GROUP lets one join what it can never receive.
pub fn group(fd: BorrowedFd<'_>, target: Target, request: GroupRequest) -> Result<()> {
    match target.group {
        IpAddr::V4(group) => {
            let raw = ipv4_request(group, Ipv4Addr::UNSPECIFIED, target.interface)?;
            let name = match request {
                GroupRequest::Join => libc::IP_ADD_MEMBERSHIP,
                GroupRequest::Leave => libc::IP_DROP_MEMBERSHIP,
            };
            set(fd, libc::IPPROTO_IP, name, &raw)
        }
        IpAddr::V6(group) => {
            let raw = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
                ipv6mr_interface: target.interface,
            };
            let name = match request {
                GroupRequest::Join => libc::IPV6_ADD_MEMBERSHIP,
                GroupRequest::Leave => libc::IPV6_DROP_MEMBERSHIP,
            };
            set(fd, libc::IPPROTO_IPV6, name, &raw)
        }
    }
}

fn ipv4_request(group: Ipv4Addr, address: Ipv4Addr, interface: u32) -> Result<libc::ip_mreqn> {
    Ok(libc::ip_mreqn {
        imr_multiaddr: sockaddr::in_addr(group),
        imr_address: sockaddr::in_addr(address),
        imr_ifindex: i32::try_from(interface).map_err(|_| Errno::ENODEV)?,
    })
}

/// A request about one source of a group.
pub fn source(fd: BorrowedFd<'_>, target: Target, source: IpAddr, request: SourceRequest) -> Result<()> {
    let raw = GroupSourceReq {
        interface: target.interface,
        hole: [0; HOLE],
        group: sockaddr::ip_storage(target.group),
        source: sockaddr::ip_storage(source),
    };
    let name = match request {
        SourceRequest::Join => MCAST_JOIN_SOURCE_GROUP,
        SourceRequest::Leave => MCAST_LEAVE_SOURCE_GROUP,
        SourceRequest::Block => MCAST_BLOCK_SOURCE,
        SourceRequest::Unblock => MCAST_UNBLOCK_SOURCE,
    };
    set(fd, level(target.group), name, &raw)
}

/// Whether a filter lists what comes in or what stays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterMode {
    /// Everything but the sources listed (MCAST_EXCLUDE).
    Exclude,
    /// Nothing but the sources listed (MCAST_INCLUDE).
    Include,
}

/// MCAST_INCLUDE of <netinet/in.h>; MCAST_EXCLUDE is 0.
const MCAST_INCLUDE: u32 = 1;

impl FilterMode {
    fn from_raw(mode: u32) -> FilterMode {
        if mode == MCAST_INCLUDE { FilterMode::Include } else { FilterMode::Exclude }
    }
}

/// A filter request's bytes: the header, and room for `count` sources.
struct FilterBuffer(Vec<u64>);

impl FilterBuffer {
    fn new(target: Target, mode: FilterMode, count: usize) -> FilterBuffer {
        let mut buffer = FilterBuffer(vec![0; Self::bytes(count).div_ceil(size_of::<u64>())]);
        let header = GroupFilter {
            interface: target.interface,
            hole: [0; HOLE],
            group: sockaddr::ip_storage(target.group),
            mode: if mode == FilterMode::Include { MCAST_INCLUDE } else { 0 },
            count: count as u32,
            first: sockaddr::unspecified(),
        };
        // SAFETY: the vector has room for a header and one source at least (see `bytes`), and is
        // aligned for both.
        unsafe { buffer.0.as_mut_ptr().cast::<GroupFilter>().write(header) };
        buffer
    }

    /// At least as much as a header with one source, so that it can be written whole.
    fn bytes(count: usize) -> usize {
        offset_of!(GroupFilter, first) + count.max(1) * size_of::<sockaddr_storage>()
    }

    fn sources(&mut self) -> *mut sockaddr_storage {
        self.0.as_mut_ptr().cast::<u8>().wrapping_add(offset_of!(GroupFilter, first)).cast()
    }
}

/// setsockopt(MCAST_MSFILTER): replaces the whole filter of a group that is joined.
pub fn set_filter(fd: BorrowedFd<'_>, target: Target, mode: FilterMode, sources: &[IpAddr]) -> Result<()> {
    let mut buffer = FilterBuffer::new(target, mode, sources.len());
    for (index, source) in sources.iter().enumerate() {
        // SAFETY: the buffer has room for as many sources.
        unsafe { buffer.sources().add(index).write(sockaddr::ip_storage(*source)) };
    }
    let len = offset_of!(GroupFilter, first) + sources.len() * size_of::<sockaddr_storage>();
    let at = buffer.0.as_ptr().cast::<c_void>();
    let (fd, level) = (fd.as_raw_fd(), level(target.group));
    // SAFETY: the buffer is at least so long, and filled.
    done(unsafe { libc::setsockopt(fd, level, MCAST_MSFILTER, at, len as socklen_t) })
}

/// A group's filter: its mode, the sources that there was room for, and how many there are.
pub struct Filter {
    /// The mode.
    pub mode: FilterMode,
    /// At most as many as asked for.
    pub sources: Vec<IpAddr>,
    /// All of them.
    pub count: usize,
}

/// getsockopt(MCAST_MSFILTER). `EADDRNOTAVAIL` if this socket hasn't joined the group there.
pub fn filter(fd: BorrowedFd<'_>, target: Target, capacity: usize) -> Result<Filter> {
    let mut buffer = FilterBuffer::new(target, FilterMode::Exclude, capacity);
    let mut len = FilterBuffer::bytes(capacity) as socklen_t;
    let at = buffer.0.as_mut_ptr().cast::<c_void>();
    let (fd, level) = (fd.as_raw_fd(), level(target.group));
    // SAFETY: the buffer is so long.
    done(unsafe { libc::getsockopt(fd, level, MCAST_MSFILTER, at, &raw mut len) })?;
    // SAFETY: the buffer holds a header and is aligned for it.
    let (mode, count) = unsafe {
        let header = buffer.0.as_ptr().cast::<GroupFilter>();
        ((*header).mode, (*header).count as usize)
    };
    let read = |index| {
        // SAFETY: the buffer has room for `capacity` sources, all initialised, and the index is less.
        let storage = unsafe { *buffer.sources().add(index) };
        sockaddr::from_storage(&storage).map(|address| address.ip())
    };
    Ok(Filter { mode: FilterMode::from_raw(mode), sources: (0..count.min(capacity)).filter_map(read).collect(), count })
}

/// getsockopt(IP_MSFILTER) without an interface: the filter of an IPv4 group on the interface of its route, which
/// is where each IPv4 request without an interface acts. `EADDRNOTAVAIL` if this socket hasn't joined the group
/// there, `ENODEV` without a route.
pub fn routed_filter(fd: BorrowedFd<'_>, group: Ipv4Addr, capacity: usize) -> Result<Filter> {
    // struct ip_msfilter: the group, the interface's address, the mode, the number of sources, the sources.
    let mut words = vec![u32::from_ne_bytes(group.octets()), 0, 0, capacity as u32];
    words.resize(words.len() + capacity, 0);
    let mut len = size_of_val(words.as_slice()) as socklen_t;
    let at = words.as_mut_ptr().cast::<c_void>();
    // SAFETY: there is room for so many bytes, and any bytes are words.
    done(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, IP_MSFILTER, at, &raw mut len) })?;
    let [_, _, mode, count, sources @ ..] = words.as_slice() else { return Err(Errno::EINVAL) };
    let address = |word: &u32| IpAddr::from(word.to_ne_bytes());
    Ok(Filter {
        mode: FilterMode::from_raw(*mode),
        sources: sources.iter().take(*count as usize).map(address).collect(),
        count: *count as usize,
    })
}

/// setsockopt(IP_MULTICAST_IF) by index (0: the kernel's choice). The address becomes the source of all that is
/// sent, also when the interface has it no longer; with 0.0.0.0 the kernel chooses the source each time.
pub fn set_ipv4_interface(fd: BorrowedFd<'_>, index: u32, address: Ipv4Addr) -> Result<()> {
    let raw = ipv4_request(Ipv4Addr::UNSPECIFIED, address, index)?;
    set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &raw)
}

/// getsockopt(IP_MULTICAST_IF): the address set with the interface.
pub fn ipv4_interface_address(fd: BorrowedFd<'_>) -> Result<Ipv4Addr> {
    let mut address = sockaddr::in_addr(Ipv4Addr::UNSPECIFIED);
    let mut len = size_of::<libc::in_addr>() as socklen_t;
    let at = (&raw mut address).cast::<c_void>();
    // SAFETY: there is room for an address.
    done(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, at, &raw mut len) })?;
    Ok(sockaddr::from_in_addr(address))
}
