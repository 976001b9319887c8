//! Which limit refused a request: the kernel says ENOBUFS of three of them.
//!
//! `ENOBUFS` here is a number of groups or of sources, `ENOMEM` the memory of a socket's options
//! (net.core.optmem_max). Where the limits can't be read it stays what the kernel said.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::error::Errno;
use crate::setting;
use crate::sys::option;

/// What the kernel takes for an IPv4 membership and a list of its first sources (struct ip_mc_socklist, struct
/// ip_sf_socklist), each rounded up.
const MEMBERSHIP_BYTES: u32 = 64;
const LIST_BYTES: u32 = 64;
/// What Linux has set since it has IPv6: net.ipv6.mld_max_msf is one for all network namespaces, and only the
/// first one shows it.
pub const DEFAULT_MLD_SOURCES: u32 = 64;

/// Why an IPv4 group more was refused. IPv6 counts no groups.
#[cold]
pub(super) fn of_groups(fd: BorrowedFd<'_>, group: IpAddr) -> Errno {
    if group.is_ipv6() || is_memory_full(fd, MEMBERSHIP_BYTES) { Errno::ENOMEM } else { Errno::ENOBUFS }
}

/// Why a group more with its first source was refused.
#[cold]
pub(super) fn of_first_source(fd: BorrowedFd<'_>, group: IpAddr) -> Errno {
    match of_sources(group, 1) {
        // There is a number of groups, too.
        Errno::ENOMEM if group.is_ipv4() && !is_memory_full(fd, MEMBERSHIP_BYTES + LIST_BYTES) => Errno::ENOBUFS,
        error => error,
    }
}

/// Why so many sources of one group were refused.
#[cold]
pub(super) fn of_sources(group: IpAddr, count: usize) -> Errno {
    let most = match group {
        IpAddr::V4(_) => setting::of_network("ipv4/igmp_max_msf"),
        IpAddr::V6(_) => Some(setting::of_network("ipv6/mld_max_msf").unwrap_or(DEFAULT_MLD_SOURCES)),
    };
    if most.is_some_and(|most| count <= most as usize) { Errno::ENOMEM } else { Errno::ENOBUFS }
}

/// Whether so many bytes more don't fit.
fn is_memory_full(fd: BorrowedFd<'_>, bytes: u32) -> bool {
    let (memory, most) = (option::memory(fd), setting::of_network("core/optmem_max"));
    matches!((memory, most), (Ok(memory), Some(most)) if memory.options.saturating_add(bytes) >= most)
}
