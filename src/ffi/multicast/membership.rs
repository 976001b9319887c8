//! Joining and leaving groups and sources, by text.

use std::ffi::{c_char, c_int};

use super::super::convert::descriptor;
use super::super::guard::guard;
use super::{target, target_source};
use crate::multicast::membership;

/// Joins a group: from now on this socket gets it from any source.
/// setsockopt(IP_ADD_MEMBERSHIP) or setsockopt(IPV6_ADD_MEMBERSHIP).
/// A socket takes as many groups as the kernel lets it.
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - interface: as in castio_interface_index; NULL is the kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRINUSE: this socket has joined that group there already, whole or by source.
/// -EADDRNOTAVAIL: several interfaces have the address that interface is; or it has no IPv6, and the group is IPv6.
/// -ENOBUFS: more IPv4 groups than net.ipv4.igmp_max_memberships (20). -ENOMEM: more groups
///   than net.core.optmem_max has room for.
/// -EINVAL: group isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
/// setsockopt(IPV6_DROP_MEMBERSHIP).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - interface: as in castio_interface_index; NULL is the first
///   membership of that group, wherever it is, also after the route moved.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that group there.
/// -EADDRNOTAVAIL also: several interfaces have the address that interface is.
/// -EINVAL: group isn't an address of its kind, or names another interface than interface.
/// -ENODEV: there is no such interface; or NULL, and there is no route and no membership, or the group
///   (ff01::, ff02::) means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
/// - source: a host's address, of the group's family; a link-local one may name the interface: "fe80::1%eth0".
/// - interface: as in castio_interface_index; NULL is the kernel's choice by its routes.
///
/// Returns 0. On failure nothing has changed: a group that wasn't joined isn't.
///
/// Errors:
/// -EADDRINUSE: this source is joined already; or the whole group is, which the kernel would
///   silently cut down to this source: leave it first, or block sources.
/// -EADDRNOTAVAIL: several interfaces have the address that interface is; or it has no IPv6, and the group is IPv6.
/// -ENOBUFS: more sources than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64), or more
///   groups than igmp_max_memberships. -ENOMEM: more than net.core.optmem_max has room for.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than the
///   one meant.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { target_source(group, source, interface)? });
        membership::join_source(fd, target, source)
    })
}

/// Leaves one source of a group; the last one leaves the group. setsockopt(MCAST_LEAVE_SOURCE_GROUP).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family; a link-local one may name the interface: "fe80::1%eth0".
/// - interface: as in castio_interface_index; NULL is the interface of
///   the route to the group if the group is joined there, else the first on which it is.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that source of that group there. -EINVAL also: it has
///   joined the whole group.
/// -EADDRNOTAVAIL also: several interfaces have the address that interface is.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than the
///   one meant.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { target_source(group, source, interface)? });
        membership::leave_source(fd, target, source)
    })
}

/// Takes one source out of a group that is joined for any: setsockopt(MCAST_BLOCK_SOURCE).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family; a link-local one may name the interface: "fe80::1%eth0".
/// - interface: as in castio_interface_index; NULL is the kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: this socket has not joined that group there. -EINVAL also: it has joined by source.
/// -EADDRNOTAVAIL also: several interfaces have the address that interface is.
/// -EADDRINUSE: the source is blocked already.
/// -ENOBUFS: more sources than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64). -ENOMEM: more than
///   net.core.optmem_max has room for.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than the
///   one meant.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { target_source(group, source, interface)? });
        membership::block_source(fd, target, source)
    })
}

/// Lets a blocked source in again: setsockopt(MCAST_UNBLOCK_SOURCE).
///
/// - fd: a UDP or raw socket. An IPv6 socket takes IPv4 groups too.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - source: a host's address, of the group's family; a link-local one may name the interface: "fe80::1%eth0".
/// - interface: as in castio_interface_index; NULL is the kernel's choice by its routes.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: the source isn't blocked, or this socket has not joined that group there.
/// -EADDRNOTAVAIL also: several interfaces have the address that interface is.
/// -EINVAL also: it has joined by source.
/// -EINVAL: group or source isn't an address of its kind, or names another interface than the
///   one meant.
/// -ENODEV: there is no such interface; or NULL, and there is no route, or the group (ff01::, ff02::)
///   means nothing without one.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
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
        let (fd, (target, source)) = (descriptor(fd)?, unsafe { target_source(group, source, interface)? });
        membership::unblock_source(fd, target, source)
    })
}
