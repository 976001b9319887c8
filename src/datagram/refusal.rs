//! What the kernel's errno means where its two families have different ones for the same mistake.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use super::send::Datagram;
use crate::error::{Errno, Result};
use crate::sys::option::{self, Family};
use crate::sys::socket;

/// The errno of a datagram that the kernel refused with `error`. Linux says of a source that isn't this
/// host's `ENETUNREACH` with IPv4 and `EINVAL` with IPv6: here it is `EADDRNOTAVAIL`, as with bind(2).
/// An IPv6 socket says `EINVAL` of a destination that isn't an IP address: here it is `EAFNOSUPPORT`, as an
/// IPv4 socket says.
#[cold]
pub fn named(fd: BorrowedFd<'_>, error: Errno, datagram: &Datagram<'_>) -> Errno {
    if !matches!(error, Errno::ENETUNREACH | Errno::EINVAL) {
        return error;
    }
    let Ok(family) = option::family(fd) else { return error };
    if error == Errno::EINVAL && datagram.to.is_of_another_family() {
        return Errno::EAFNOSUPPORT;
    }
    match datagram.manner.from {
        // An IPv4 socket can't have an IPv6 source, wherever that is.
        Some(IpAddr::V6(_)) if family == Family::V4 => error,
        Some(from) if is_elsewhere(fd, from) == Ok(true) => Errno::EADDRNOTAVAIL,
        _ => error,
    }
}

/// Whether no interface of the socket's network has this address. A new socket asks; it is in the thread's
/// network.
fn is_elsewhere(fd: BorrowedFd<'_>, ip: IpAddr) -> Result<bool> {
    let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
    let own = socket::udp_socket(family.domain())?;
    if option::network(own.as_fd())? != option::network(fd)? {
        return Ok(false);
    }
    let bound = socket::bind(own.as_fd(), &SocketAddr::from((ip, 0)).into());
    Ok(bound == Err(Errno::EADDRNOTAVAIL))
}
