//! Joining and leaving groups and sources, by text.

use std::ffi::{c_char, c_int};

use super::super::convert::{self, descriptor};
use super::super::guard::guard;
use super::target;
use crate::address::Scoped;
use crate::error::Result;
use crate::multicast::membership;

/// Joins a group: from now on this socket gets it from any source.
/// setsockopt(IP_ADD_MEMBERSHIP) or setsockopt(IPV6_ADD_MEMBERSHIP).
/// A socket takes as many groups as the kernel lets it.
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRINUSE: this socket has joined that group there already, whole or by source.
/// -ENOBUFS: more IPv4 groups than net.ipv4.igmp_max_memberships (20). -ENOMEM: more IPv6 groups
///   than net.core.optmem_max has room for.
/// -EINVAL: group isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_join_group(fd: c_int, group: *const c_char, interface: *const c_char) -> c_int {
    // SAFETY: NULL or text that ends in a NUL, as the header asks.
    guard(|| membership::join(descriptor(fd)?, unsafe { target(group, interface)? }))
}

/// Leaves a group with all its sources: setsockopt(IP_DROP_MEMBERSHIP) or
/// setsockopt(IPV6_DROP_MEMBERSHIP). With interface NULL the first
/// membership of that group, wherever it is.
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that group there.
/// -EINVAL: group isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_leave_group(fd: c_int, group: *const c_char, interface: *const c_char) -> c_int {
    // SAFETY: NULL or text that ends in a NUL, as the header asks.
    guard(|| membership::leave(descriptor(fd)?, unsafe { target(group, interface)? }))
}

/// Joins one source of a group (source-specific multicast); more sources by more calls.
/// setsockopt(MCAST_JOIN_SOURCE_GROUP).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family.
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRINUSE: this source is joined already; or the whole group is, which the kernel would
///   silently cut down to this source: leave it first, or block sources.
/// -ENOBUFS: more sources than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64), or more
///   groups than igmp_max_memberships. -ENOMEM: more than net.core.optmem_max has room for.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group or source is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_join_source(
    fd: c_int,
    group: *const c_char,
    source: *const c_char,
    interface: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { (target(group, interface)?, host(source)?) });
        membership::join_source(fd, target, source)
    })
}

/// Leaves one source of a group; the last one leaves the group. setsockopt(MCAST_LEAVE_SOURCE_GROUP).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family.
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that source of that group there. -EINVAL also: it has
///   joined the whole group.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group or source is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_leave_source(
    fd: c_int,
    group: *const c_char,
    source: *const c_char,
    interface: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { (target(group, interface)?, host(source)?) });
        membership::leave_source(fd, target, source)
    })
}

/// Takes one source out of a group that is joined for any: setsockopt(MCAST_BLOCK_SOURCE).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family.
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that group there. -EINVAL also: it has joined by source.
/// -EADDRINUSE: the source is blocked already.
/// -ENOBUFS: more sources than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64).
/// -EINVAL: group or source isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group or source is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_block_source(
    fd: c_int,
    group: *const c_char,
    source: *const c_char,
    interface: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { (target(group, interface)?, host(source)?) });
        membership::block_source(fd, target, source)
    })
}

/// Lets a blocked source in again: setsockopt(MCAST_UNBLOCK_SOURCE).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family.
/// - interface: a name "eth0", one of its addresses "192.0.2.2", or its index "3"; NULL is the
///   kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: the source isn't blocked, or this socket has not joined that group there.
/// -EINVAL also: it has joined by source.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EAFNOSUPPORT: families that disagree, or a socket without IP. -EPROTO: a stream socket.
/// -EFAULT: group or source is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), RFC 3678.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_unblock_source(
    fd: c_int,
    group: *const c_char,
    source: *const c_char,
    interface: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { (target(group, interface)?, host(source)?) });
        membership::unblock_source(fd, target, source)
    })
}

/// A source in text.
///
/// # Safety
/// It is NULL or ends in a NUL.
unsafe fn host(source: *const c_char) -> Result<std::net::IpAddr> {
    // SAFETY: passed on.
    Ok(Scoped::parse(unsafe { convert::text(source)? })?.ip)
}
