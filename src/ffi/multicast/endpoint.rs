//! Sockets for one group.

use std::ffi::{c_char, c_int, c_uint};
use std::os::fd::IntoRawFd;

use libc::{sockaddr, socklen_t};

use super::super::convert;
use super::super::guard::guard;
use super::{target, target_addr};
use crate::address::Scoped;
use crate::multicast::endpoint;

/// Makes a NEW descriptor, yours to close, that receives one multicast group and nothing else:
/// bound to the group and the port, which it shares with other sockets (SO_REUSEADDR and
/// SO_REUSEPORT), MULTICAST_ALL off, joined.
///
/// - group, interface: as in castio_join_group.
/// - port: in host byte order; 0 lets the kernel choose one that nobody has.
/// - source: NULL for any source, or the one to receive from (castio_join_source).
///
/// Returns a blocking UDP socket, closed on exec.
///
/// Errors:
/// -EADDRINUSE: a socket that doesn't share it has the port.
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
        let source = source.map(Scoped::parse).transpose()?;
        endpoint::open_receiver(target, port, source.map(|source| source.ip)).map(IntoRawFd::into_raw_fd)
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
        let source = unsafe { convert::optional_ip(source, source_len)? };
        endpoint::open_receiver(target, port, source).map(IntoRawFd::into_raw_fd)
    })
}

/// Makes a NEW descriptor, yours to close, that sends to one multicast group: connected to it, so
/// that send() and the functions of this library need no address.
///
/// - group, interface: as in castio_join_group; sending joins nothing.
/// - port: in host byte order.
/// - ttl: as in castio_set_ttl: 1 stays on this link, 2 crosses one router, up to 255.
///
/// Returns a blocking UDP socket, closed on exec.
///
/// Errors:
/// -EINVAL: ttl isn't in 0..255, or group isn't a multicast address.
/// -ENETUNREACH: interface is NULL and there is no route to the group: name an interface. With IPv6 also
///   when the named one has no route for it, such as lo.
/// -ENODEV: there is no such interface; or NULL, and the group (ff01::, ff02::) means nothing
///   without one.
/// -EADDRNOTAVAIL: there is no address to send from: with IPv6 on that interface, with IPv4 on this host.
/// -EAFNOSUPPORT: an IPv6 group, and this host has no IPv6.
/// -EFAULT: group is NULL. -EMFILE, -ENFILE: no descriptor left.
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
        let target = unsafe { target(group, interface)? };
        endpoint::open_sender(target, port, ttl).map(IntoRawFd::into_raw_fd)
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
        endpoint::open_sender(target, port, ttl).map(IntoRawFd::into_raw_fd)
    })
}
