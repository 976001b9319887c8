//! Where news of interfaces comes from: rtnetlink, or, in a process that may not open such sockets, looking again
//! and again.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::links::Links;
use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::epoll::Readable;
use crate::sys::netlink::{Change, Master, Netlink};
use crate::sys::option::Family;
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// How long until the next look, without rtnetlink.
pub(super) const LOOK: Duration = Duration::from_secs(3);

/// What isn't known without rtnetlink: the least that a link of IPv6 sends.
const MTU: u32 = 1280;

/// The source.
pub(super) enum News {
    /// The kernel tells.
    Told(Netlink),
    /// Nobody tells. The descriptor is never readable.
    Looked(Readable),
}

/// How a socket of AF_NETLINK is refused: by an address family filter, a seccomp filter, a security module, a
/// kernel without it.
fn is_forbidden(error: Errno) -> bool {
    use Errno as E;
    matches!(error, E::EAFNOSUPPORT | E::EPROTONOSUPPORT | E::EPERM | E::EACCES | E::ENOSYS)
}

impl News {
    pub fn open() -> Result<News> {
        match Netlink::watch() {
            Err(error) if is_forbidden(error) => Ok(News::Looked(Readable::new(1)?)),
            netlink => netlink.map(News::Told),
        }
    }

    pub fn is_told(&self) -> bool {
        matches!(self, News::Told(_))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            News::Told(netlink) => netlink.fd(),
            News::Looked(quiet) => quiet.fd(),
        }
    }

    pub fn watch_routes(&self) -> Result<()> {
        match self {
            News::Told(netlink) => netlink.watch_routes(),
            News::Looked(_) => Ok(()),
        }
    }

    /// The next changes, without waiting; `EAGAIN` when there are no more.
    pub fn changes(&mut self, each: impl FnMut(Change)) -> Result<()> {
        match self {
            News::Told(netlink) => netlink.changes(each),
            News::Looked(_) => Err(Errno::EAGAIN),
        }
    }
}

/// What has become of interfaces since they were as in `links`, as rtnetlink would have told.
pub(super) fn look(links: &Links) -> Result<Vec<Change>> {
    let entries = interface::list()?;
    let mut changes = Vec::new();
    let is_there = |index: u32| entries.iter().any(|entry| entry.interface.index == index);
    changes.extend(links.keys().filter(|index| !is_there(**index)).map(|index| Change::LinkGone { index: *index }));
    for of_one in entries.chunk_by(|one, next| one.interface.index == next.interface.index) {
        let Some(interface) = of_one.first().map(|entry| entry.interface) else { continue };
        let (index, known) = (interface.index, links.get(&interface.index));
        if known.is_none_or(|link| (link.flags, link.padded_name) != (interface.flags, interface.name)) {
            // A carrier that is back may have been away for the switch, too.
            let carrier_changes = known.map_or(0, |link| link.carrier_changes + u32::from(!link.is_live()));
            let (name, flags) = (interface.name, interface.flags);
            changes.push(Change::Link { index, name, flags, carrier_changes, mtu: MTU, master: Master::None });
        }
        let addresses: Vec<IpAddr> =
            of_one.iter().filter_map(|entry| entry.address.map(|address| address.ip)).collect();
        let known = known.map(|link| link.addresses.as_slice()).unwrap_or_default();
        let gone = known.iter().filter(|ip| !addresses.contains(ip));
        changes.extend(gone.map(|ip| Change::AddressGone { index, ip: *ip }));
        let new = addresses.iter().filter(|ip| !known.contains(ip));
        changes.extend(new.map(|ip| Change::Address { index, ip: *ip }));
    }
    Ok(changes)
}

/// The interface that the route to a group leads to, by the source address that a connected socket gets.
pub(super) fn route_by_connecting(group: IpAddr) -> Result<Option<u32>> {
    let family = if group.is_ipv4() { Family::V4 } else { Family::V6 };
    let socket = socket::udp_socket(family.domain())?;
    // Nothing is sent. Any port but 0.
    if socket::connect(socket.as_fd(), &SocketAddress::from(std::net::SocketAddr::new(group, 9))).is_err() {
        return Ok(None);
    }
    let local = socket::local_address(socket.as_fd())?.ip();
    Ok(Some(interface::index_of_address(local)?).filter(|index| *index > 0))
}
