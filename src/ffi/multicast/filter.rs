//! The whole source filter of a group.

use std::ffi::{c_char, c_int, c_uint};
use std::net::IpAddr;

use libc::{sockaddr, sockaddr_storage, socklen_t};

use super::super::convert::{self, Filled, Place, counted, descriptor};
use super::super::guard::guard;
use super::{target, target_addr};
use crate::address::{self, Scoped};
use crate::error::{Errno, Result};
use crate::multicast::{filter, state};
use crate::sys::multicast::{FilterMode, Target};
use crate::sys::sockaddr as addresses;

/// A filter that lets in every source but those listed (MCAST_EXCLUDE).
pub const CASTIO_FILTER_EXCLUDE: c_int = 0;
/// A filter that lets in no source but those listed (MCAST_INCLUDE).
pub const CASTIO_FILTER_INCLUDE: c_int = 1;

/// Makes a group's source filter what is given, whatever it was, and joins the group if need be:
/// setsockopt(MCAST_MSFILTER).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group, interface: as in castio_join_group.
/// - mode: CASTIO_FILTER_EXCLUDE (with no source: from any) or CASTIO_FILTER_INCLUDE (with no
///   source: leaves the group).
/// - sources, count: addresses in text, of the group's family, link-local ones with or without their interface
///   ("fe80::1%eth0"). One given twice counts once.
///
/// Returns 0.
///
/// Errors:
/// -EINVAL: mode is neither; group or a source isn't an address of its kind, or names another interface than the
///   one meant.
/// -EADDRNOTAVAIL: including nothing, and this socket has not joined that group there; or as castio_join_group.
/// -ENOBUFS: more sources than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64); 65,536 and more
///   aren't looked at.
/// -ENOMEM: more sources, or more groups, than net.core.optmem_max has room for.
/// -ENODEV, -EAFNOSUPPORT, -EPROTO, -EPERM, -EMFILE, -ENFILE: as castio_join_group.
/// -EFAULT: group, sources or one of them is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
/// On failure a group that was joined is as before, and one that wasn't isn't.
///
/// Any thread. Since 0.1.0. See RFC 3678, section 5.2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_source_filter(
    fd: c_int,
    group: *const c_char,
    interface: *const c_char,
    mode: c_int,
    sources: *const *const c_char,
    count: usize,
) -> c_int {
    guard(|| {
        let (fd, mode) = (descriptor(fd)?, filter_mode(mode)?);
        // SAFETY: text that ends in a NUL, and so many such texts, as the header asks; or NULL.
        let (target, sources) = unsafe { (target(group, interface)?, convert::ip_texts(sources, few(count)?)?) };
        let (target, sources) = agreed(target, sources)?;
        filter::set(fd, target, mode, &sources)
    })
}

/// castio_set_source_filter by socket address.
///
/// - group, group_len, ifindex: as in castio_join_group_addr.
/// - sources, count: an array of addresses.
///
/// Returns 0. Errors, threads as castio_set_source_filter. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_source_filter_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    ifindex: c_uint,
    mode: c_int,
    sources: *const sockaddr_storage,
    count: usize,
) -> c_int {
    guard(|| {
        let (fd, mode) = (descriptor(fd)?, filter_mode(mode)?);
        // SAFETY: an address of this length, and so many addresses, as the header asks; or NULL.
        let (target, sources) =
            unsafe { (target_addr(group, group_len, ifindex)?, convert::ip_addresses(sources, few(count)?)?) };
        let (target, sources) = agreed(target, sources)?;
        filter::set(fd, target, mode, &sources)
    })
}

/// Reads a group's source filter: getsockopt(MCAST_MSFILTER).
///
/// - fd, group, interface: as in castio_join_group. With NULL the interface of the route to the group if this
///   socket has joined the group there, else the first on which it has.
/// - mode: written with CASTIO_FILTER_EXCLUDE or CASTIO_FILTER_INCLUDE.
/// - sources, capacity: written with as many addresses as there is room for; NULL with 0.
/// - count: written with how many there are, on failure with 0. May be NULL.
///
/// Returns 0, also when there are more sources than room.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that group there; or several interfaces have the address that interface is.
/// -EINVAL, -ENODEV, -EAFNOSUPPORT, -EPROTO, -EPERM, -EMFILE, -ENFILE: as castio_join_group.
/// -EFAULT: group or mode is NULL, or sources with a capacity. -EBADF: fd isn't open. -ENOTSOCK: it
/// isn't a socket. -EMFILE, -ENFILE: no descriptor left to ask for the interfaces.
///
/// Any thread. Since 0.1.0. See RFC 3678, section 5.2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_source_filter(
    fd: c_int,
    group: *const c_char,
    interface: *const c_char,
    mode: *mut c_int,
    sources: *mut sockaddr_storage,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    let get = |count: &mut usize| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let (fd, place) = (descriptor(fd)?, unsafe { Place::new(mode)? });
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let target = unsafe { target(group, interface)? };
        // SAFETY: NULL or so many places, as the header asks.
        get(fd, target, place, unsafe { Filled::plain(sources, capacity)? }, count)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(count, get) })
}

/// castio_get_source_filter by socket address.
///
/// - group, group_len, ifindex: as in castio_join_group_addr.
///
/// Returns 0. Errors, threads as castio_get_source_filter. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_source_filter_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    ifindex: c_uint,
    mode: *mut c_int,
    sources: *mut sockaddr_storage,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    let get = |count: &mut usize| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let (fd, place) = (descriptor(fd)?, unsafe { Place::new(mode)? });
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let target = unsafe { target_addr(group, group_len, ifindex)? };
        // SAFETY: NULL or so many places, as the header asks.
        get(fd, target, place, unsafe { Filled::plain(sources, capacity)? }, count)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(count, get) })
}

fn get(
    fd: std::os::fd::BorrowedFd<'_>,
    target: Target,
    mode: Place<c_int>,
    mut sources: Filled<sockaddr_storage>,
    count: &mut usize,
) -> Result<()> {
    let found = state::filter(fd, target, sources.capacity())?;
    found.sources.iter().for_each(|source| sources.push(addresses::ip_storage(*source)));
    mode.put(match found.mode {
        FilterMode::Exclude => CASTIO_FILTER_EXCLUDE,
        FilterMode::Include => CASTIO_FILTER_INCLUDE,
    });
    *count = found.count;
    Ok(())
}

fn filter_mode(mode: c_int) -> Result<FilterMode> {
    match mode {
        CASTIO_FILTER_EXCLUDE => Ok(FilterMode::Exclude),
        CASTIO_FILTER_INCLUDE => Ok(FilterMode::Include),
        _ => Err(Errno::EINVAL),
    }
}

/// The interface on which a group and its sources agree, and the sources without theirs.
fn agreed(target: Target, sources: Vec<Scoped>) -> Result<(Target, Vec<IpAddr>)> {
    let mut agreed = (target, Vec::with_capacity(sources.len()));
    for source in sources {
        let (target, source) = address::with_source(agreed.0, source)?;
        agreed.0 = target;
        agreed.1.push(source);
    }
    Ok(agreed)
}

/// No more sources than a filter may have.
fn few(count: usize) -> Result<usize> {
    if count < state::TOO_MANY { Ok(count) } else { Err(Errno::ENOBUFS) }
}
