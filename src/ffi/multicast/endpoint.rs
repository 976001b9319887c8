//! Sockets for one group.

use std::ffi::{c_char, c_int, c_uint};
use std::os::fd::IntoRawFd;

use libc::{sockaddr, socklen_t};

use super::super::convert;
use super::super::guard::guard;
use super::{sender_target, target, target_addr};
use crate::address::{self, Scoped};
use crate::error::Result;
use crate::multicast::endpoint;
use crate::sys::multicast::Target;

/// Makes a NEW descriptor, yours to close, that receives one multicast group and nothing else:
/// bound to the group and the port, which it shares with other sockets (SO_REUSEADDR; SO_REUSEPORT too where
/// bind() says EADDRINUSE without it), MULTICAST_ALL off, joined. Linux hands an IPv4 datagram from another host to
/// any one of the sockets that share a port by SO_REUSEPORT, against their source filters: set SO_REUSEADDR alone on
/// sockets that are to share the port.
///
/// - group, interface: as in castio_join_group.
/// - port: in host byte order; 0 lets the kernel choose one that nobody has.
/// - source: NULL for any source, or the one to receive from (castio_join_source).
///
/// Returns a blocking UDP socket, closed on exec.
///
/// Errors:
/// -EADDRINUSE: a socket that doesn't share it has the port.
/// -EINVAL: source names another interface than the one meant, or as castio_join_source.
/// -EACCES: a port below 1024 needs CAP_NET_BIND_SERVICE.
/// -EMFILE, -ENFILE: no descriptor left.
/// Others as castio_join_group and castio_join_source except -EBADF, -ENOTSOCK, -EPROTO.
///
/// Any thread. Since 0.1.0. See ip(7), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_open_receiver(
    group: *const c_char,
    port: u16,
    source: *const c_char,
    interface: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (target, source) = unsafe { (target(group, interface)?, convert::optional_text(source)) };
        receiver(target, port, source.map(Scoped::parse).transpose()?)
    })
}

/// castio_open_receiver by socket address: makes a NEW descriptor, yours to close.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6 with the port.
/// - source, source_len: likewise, its port doesn't count; or NULL.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns, errors, threads as castio_open_receiver. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_open_receiver_addr(
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, port) =
            unsafe { (target_addr(group, group_len, ifindex)?, convert::address(group, group_len)?.port()) };
        // SAFETY: likewise.
        receiver(target, port, unsafe { convert::optional_scoped(source, source_len)? })
    })
}

fn receiver(target: Target, port: u16, source: Option<Scoped>) -> Result<c_int> {
    let (target, source) = match source {
        None => (target, None),
        Some(source) => address::with_source(target, source).map(|(target, source)| (target, Some(source)))?,
    };
    endpoint::open_receiver(target, port, source).map(IntoRawFd::into_raw_fd)
}

/// Makes a NEW descriptor, yours to close, that sends to one multicast group: connected to it, so
/// that send() and the functions of this library need no address.
///
/// The kernel chooses the source address, by its scope, when the socket is connected, and keeps it: when the
/// interface has it no longer, send() gives -ENETUNREACH with IPv4, and goes on from it with IPv6. Then open another
/// sender; or send by castio_set_multicast_interface and sendto(), where each datagram gets a source of its own.
///
/// - group: as in castio_join_group; sending joins nothing.
/// - interface: as in castio_interface_index; one of its addresses, of the group's family, is also the source. NULL
///   is the kernel's choice by its routes.
/// - port: in host byte order.
/// - ttl: as in castio_set_ttl: 1 stays on this link, 2 crosses one router, up to 255.
///
/// Returns a blocking UDP socket, closed on exec.
///
/// Errors:
/// -EINVAL: ttl isn't in 0..255, or group isn't a multicast address.
/// -ENETUNREACH: interface is NULL and there is no route to the group: name an interface. With IPv6 also
///   when the named one has no route for it, such as lo.
/// -ENETDOWN: the interface that is named is down. -EACCES: the route to the group is a prohibit route.
/// -EHOSTUNREACH: it is an unreachable or a blackhole route.
/// -ENODEV: there is no such interface; or NULL, and the group (ff01::, ff02::) means nothing
///   without one.
/// -EADDRNOTAVAIL: there is no address to send from: with IPv6 on that interface, with IPv4 on this host; or
///   several interfaces have the address that interface is.
/// -EAFNOSUPPORT: an IPv6 group, and this host has no IPv6.
/// -EAGAIN: this host has no local port left.
/// -EFAULT: group is NULL. -EMFILE, -ENFILE: no descriptor left. -EPERM: as castio_interface_index.
///
/// Any thread. Since 0.1.0. See ip(7), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_open_sender(
    group: *const c_char,
    port: u16,
    interface: *const c_char,
    ttl: c_int,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (target, source) = unsafe { sender_target(group, interface)? };
        endpoint::open_sender(target, source, port, ttl).map(IntoRawFd::into_raw_fd)
    })
}

/// castio_open_sender by socket address: makes a NEW descriptor, yours to close.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6 with the port.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns, errors, threads as castio_open_sender; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_open_sender_addr(
    group: *const sockaddr,
    group_len: socklen_t,
    ifindex: c_uint,
    ttl: c_int,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, port) =
            unsafe { (target_addr(group, group_len, ifindex)?, convert::address(group, group_len)?.port()) };
        endpoint::open_sender(target, None, port, ttl).map(IntoRawFd::into_raw_fd)
    })
}
