//! Broadcast.

use std::ffi::{c_char, c_int, c_void};

use libc::{in_addr, ssize_t};

use super::convert::{self, Place, counted, descriptor};
use super::guard::guard;
use crate::broadcast::{self, Reach};
use crate::sys::sockaddr;

/// Lets a socket send broadcasts, or not: setsockopt(SO_BROADCAST). Receiving needs no permission,
/// but a socket bound to the wildcard or to the broadcast address.
///
/// - fd: a socket.
/// - on: 0 forbids (the kernel's default), anything else allows.
///
/// Returns 0.
///
/// Errors:
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_enable_broadcast(fd: c_int, on: c_int) -> c_int {
    guard(|| broadcast::enable(descriptor(fd)?, on != 0))
}

/// Whether a socket may send broadcasts: getsockopt(SO_BROADCAST).
///
/// Returns 1 or 0.
///
/// Errors:
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_broadcast(fd: c_int) -> c_int {
    guard(|| broadcast::is_enabled(descriptor(fd)?))
}

/// The directed broadcast address of an interface: that of its network, with the host part all ones. Of an address
/// with a peer it is the peer's network. Computed, because the system reports something else where an address was
/// assigned without a broadcast address.
///
/// - interface: as in castio_interface_index: its first network that has a broadcast address, or the network of
///   the address that is given. "lo" has 127.255.255.255.
/// - out: written with the address, in network byte order.
///
/// Returns 0.
///
/// Errors:
/// -EADDRNOTAVAIL: there is none: no IPv4 address, a /31 or /32; or several interfaces have that address.
/// -ENODEV: there is no such interface. -EINVAL: an empty text. -EPERM: as castio_interface_index.
/// -EFAULT: interface or out is NULL. -ENOMEM: there isn't enough memory. -EMFILE, -ENFILE: no descriptor left.
///
/// Any thread. Since 0.1.0. See RFC 919, RFC 3021.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_broadcast_address(interface: *const c_char, out: *mut in_addr) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let interface = unsafe { convert::text(interface)? };
        place.put(sockaddr::in_addr(broadcast::address_of(interface)?));
        Ok(())
    })
}

/// The directed broadcast address of a network: "192.12.34.7/24" gives 192.12.34.255. No system
/// call.
///
/// - cidr: an IPv4 address, a slash, and the prefix's length or a netmask ("/255.255.255.0").
/// - out: written with the address, in network byte order.
///
/// Returns 0.
///
/// Errors:
/// -EINVAL: it isn't such a text. -EADDRNOTAVAIL: /31 and /32 have none.
/// -EFAULT: cidr or out is NULL.
///
/// Any thread. Since 0.1.0. See RFC 4632, RFC 3021.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_directed_broadcast(cidr: *const c_char, out: *mut in_addr) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let cidr = unsafe { convert::text(cidr)? };
        place.put(sockaddr::in_addr(broadcast::directed(cidr)?));
        Ok(())
    })
}

/// Sends one datagram to the directed broadcast address of an interface, or with NULL once to every
/// network of every interface that is up and has one: sendmsg() with IP_PKTINFO, so that it leaves by
/// that interface whatever the routes say. The loopback interface is only used when it is named.
///
/// - fd: an IPv4 UDP socket with castio_enable_broadcast. If it is bound to an address, that is the
///   sender's.
/// - buf, len: the payload, in bytes.
/// - port: the receivers', in host byte order.
/// - interface: as in castio_broadcast_address, or NULL.
/// - sent: how many datagrams went out, written on failure too. May be NULL.
///
/// Returns the number of datagrams. With NULL every interface is tried; if one fails, its error is
/// returned when all have been.
///
/// Errors:
/// -EACCES: broadcasts aren't enabled on this socket.
/// -EADDRNOTAVAIL: there is no broadcast address: see castio_broadcast_address.
/// -ENODEV: there is no such interface.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
/// -EINVAL: an empty text; port 0; len is over SSIZE_MAX; fd is bound to 127.0.0.1 (or connected to it)
///   and the interface isn't loopback.
/// -EMSGSIZE: more than a datagram may have (65,507 bytes), or than the MTU with IP_PMTUDISC_DO.
/// -EAGAIN: the socket is non-blocking and has no room. -ENETDOWN, -ENETUNREACH: the interface is down.
/// -ECONNREFUSED, -EHOSTUNREACH: an error that was pending on the socket, of what it sent before; nothing of
///   this went out by the interface that it hit.
/// -EMFILE, -ENFILE: no descriptor left to ask for the interfaces.
/// -EAFNOSUPPORT: not an IPv4 socket. -EPROTOTYPE: a stream socket.
/// -EFAULT: buf is NULL and len isn't 0, or isn't readable. -EBADF, -ENOTSOCK: no open socket.
///
/// Any thread; no SIGPIPE. Since 0.1.0. See ip(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_broadcast(
    fd: c_int,
    buf: *const c_void,
    len: usize,
    port: u16,
    interface: *const c_char,
    sent: *mut usize,
) -> ssize_t {
    // SAFETY: passed on.
    unsafe { send(fd, buf, len, port, interface, sent, Reach::Directed) }
}

/// Sends one datagram to 255.255.255.255 out of a chosen interface, or with NULL once on every
/// interface that is up and has broadcast, which loopback hasn't: sendmsg() with IP_PKTINFO. (IP_MULTICAST_IF doesn't
/// choose it, and without one the kernel takes the default route's interface alone.)
///
/// - fd, buf, len, port, sent: as in castio_send_broadcast.
/// - interface: as in castio_interface_index; it needs no IPv4 address. Or NULL.
///
/// Returns the number of datagrams.
///
/// Errors: as castio_send_broadcast; -EADDRNOTAVAIL: with NULL, no interface has broadcast; or several have that address.
///
/// Any thread; no SIGPIPE. Since 0.1.0. See ip(7), RFC 919.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_limited_broadcast(
    fd: c_int,
    buf: *const c_void,
    len: usize,
    port: u16,
    interface: *const c_char,
    sent: *mut usize,
) -> ssize_t {
    // SAFETY: passed on.
    unsafe { send(fd, buf, len, port, interface, sent, Reach::Limited) }
}

/// # Safety
/// As the header says of the two functions above.
unsafe fn send(
    fd: c_int,
    buf: *const c_void,
    len: usize,
    port: u16,
    interface: *const c_char,
    sent: *mut usize,
    reach: Reach,
) -> ssize_t {
    let send = |sent: &mut usize| {
        // SAFETY: NULL or `len` bytes that stay valid during the call, as the header asks.
        let (fd, bytes) = (descriptor(fd)?, unsafe { convert::region(buf, len)? });
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let interface = unsafe { convert::optional_text(interface) };
        broadcast::send(fd, bytes, port, interface, reach, sent)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(sent, send) })
}
