//! Options of sockets that send and receive multicast.

use std::ffi::{c_char, c_int, c_uint};

use super::super::convert::{self, descriptor};
use super::super::guard::guard;
use crate::interface;
use crate::multicast::options;

/// Says how many routers multicast sent by this socket may cross: setsockopt(IP_MULTICAST_TTL),
/// and on an IPv6 socket setsockopt(IPV6_MULTICAST_HOPS) as well, by the socket's own family.
///
/// - fd: a UDP or raw socket, IPv4 or IPv6.
/// - ttl: 1 stays on this link (the kernel's default), 2 crosses one router, up to 255. 0 is for this
///   host alone, but Linux keeps it here only when a socket on this host has joined the group and the
///   loop is on: else it still goes out on the link, with TTL 0.
///
/// Returns 0. Unicast isn't touched.
///
/// Errors:
/// -EINVAL: ttl isn't in 0..255, or an IPv4 TCP socket. -ENOPROTOOPT: an IPv6 TCP socket, or MPTCP.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_ttl(fd: c_int, ttl: c_int) -> c_int {
    guard(|| options::set_ttl(descriptor(fd)?, ttl))
}

/// The multicast TTL (IPv6: hop limit): getsockopt(IP_MULTICAST_TTL or IPV6_MULTICAST_HOPS).
///
/// Returns 0 to 255.
///
/// Errors:
/// -ENOPROTOOPT: an MPTCP socket.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_ttl(fd: c_int) -> c_int {
    guard(|| options::ttl(descriptor(fd)?))
}

/// Says whether receivers on this host, this process included, get what this socket sends:
/// setsockopt(IP_MULTICAST_LOOP), and on an IPv6 socket setsockopt(IPV6_MULTICAST_LOOP) as well.
/// It counts on the sender, not on the receiver.
///
/// - fd: a socket, IPv4 or IPv6.
/// - on: 0 switches it off, anything else on (the kernel's default).
///
/// Returns 0.
///
/// Errors:
/// -ENOPROTOOPT: an MPTCP socket.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_loop(fd: c_int, on: c_int) -> c_int {
    guard(|| options::set_loop(descriptor(fd)?, on != 0))
}

/// Whether this host gets what this socket sends: getsockopt(IP_MULTICAST_LOOP or
/// IPV6_MULTICAST_LOOP).
///
/// Returns 1 or 0. Errors, threads as castio_set_loop. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_loop(fd: c_int) -> c_int {
    guard(|| options::is_loop(descriptor(fd)?))
}

/// Chooses the interface by which multicast of this socket leaves: setsockopt(IP_MULTICAST_IF) by
/// index, and on an IPv6 socket setsockopt(IPV6_MULTICAST_IF) as well. It needs no route then.
/// Limited broadcast doesn't obey it: see castio_send_limited_broadcast.
///
/// The kernel chooses the source of each datagram by its scope, so that sending goes on when the interface is
/// renumbered. (On a host that has no IPv4 address but that of the loopback interface, it is that one.)
///
/// - fd: a UDP or raw socket, IPv4 or IPv6.
/// - interface: as in castio_interface_index; one of its IPv4 addresses is also the source of what is sent by IPv4,
///   even when the interface has it no longer (-ENETUNREACH). NULL goes back to the routes' choice.
///
/// Returns 0.
///
/// Errors:
/// -ENODEV: there is no such interface. -EINVAL: an empty text, or an IPv4 TCP socket;
///   -ENOPROTOOPT: an IPv6 TCP socket, or MPTCP. -EINVAL also: fd is bound to another interface.
/// -EADDRNOTAVAIL: several interfaces have the address that interface is.
/// -EPERM, -EMFILE, -ENFILE: the interface can't be asked for, as in castio_interface_index.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_multicast_interface(fd: c_int, interface: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or text that ends in a NUL.
        let meant = interface::meant_optional(unsafe { convert::optional_text(interface) })?;
        options::set_interface(descriptor(fd)?, meant)
    })
}

/// castio_set_multicast_interface by index; 0 goes back to the routes' choice.
///
/// Returns 0. Errors, threads as castio_set_multicast_interface. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_multicast_interface_index(fd: c_int, ifindex: c_uint) -> c_int {
    guard(|| options::set_interface(descriptor(fd)?, ifindex))
}

/// The index of the interface by which multicast leaves: that of the device that the socket is bound to
/// (getsockopt(SO_BINDTOIFINDEX)), else getsockopt(IPV6_MULTICAST_IF).
///
/// Returns the index; 0 is the routes' choice.
///
/// Errors:
/// -EOPNOTSUPP: an IPv4 socket that is bound to no device. Linux keeps the index that was set and doesn't tell it:
///   getsockopt(IP_MULTICAST_IF) gives the source address that was set with it, which another interface may have.
/// -ENOPROTOOPT: an MPTCP socket.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_multicast_interface(fd: c_int) -> c_int {
    // An index is a positive int in the kernel.
    guard(|| options::interface(descriptor(fd)?).map(|index| index as c_int))
}

/// Says whether this socket gets every group that any socket on this host joined (the kernel's
/// default) or just those that it joined itself: setsockopt(IP_MULTICAST_ALL), and on an IPv6
/// socket setsockopt(IPV6_MULTICAST_ALL) as well. Binding to a group's address doesn't replace it.
///
/// - fd: a socket, IPv4 or IPv6.
/// - on: 0 for its own groups only, anything else for all.
///
/// Returns 0.
///
/// Errors:
/// -ENOPROTOOPT: IPv6, and a kernel before Linux 4.20; or an MPTCP socket.
/// -EAFNOSUPPORT: neither an IPv4 nor an IPv6 socket.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See ip(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_multicast_all(fd: c_int, on: c_int) -> c_int {
    guard(|| options::set_all(descriptor(fd)?, on != 0))
}

/// Whether this socket gets groups that only others joined: getsockopt(IP_MULTICAST_ALL or
/// IPV6_MULTICAST_ALL).
///
/// Returns 1 or 0. Errors, threads as castio_set_multicast_all. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_get_multicast_all(fd: c_int) -> c_int {
    guard(|| options::is_all(descriptor(fd)?))
}
