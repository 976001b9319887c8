//! Where news of interfaces comes from: rtnetlink, or, in a process that may not open such sockets, looking again
//! and again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::links::Links;
use crate::error::{Errno, Result};
use crate::interface::{self, Entry};
use crate::sys::epoll::Readable;
use crate::sys::netlink::{Change, Netlink};
use crate::sys::option::Family;
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// How long until the next look, without rtnetlink.
pub(super) const LOOK: Duration = Duration::from_secs(3);

/// The source.
pub(super) enum News {
    /// The kernel tells.
    Told(Netlink),
    /// Nobody tells. The descriptor is never readable.
    Looked(Readable),
}

impl News {
    pub fn open() -> Result<News> {
        match Netlink::watch() {
            Err(error) if interface::is_refused(error) => Ok(News::Looked(Readable::new(1)?)),
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
    let mut found = interface::everything()?;
    let mut there: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    for change in &mut found {
        match change {
            Change::Link { index, carrier_changes, .. } => {
                there.entry(*index).or_default();
                // A carrier that is back may have been away for the switch, too.
                let known = links.get(index);
                *carrier_changes = known.map_or(0, |link| link.carrier_changes + u32::from(!link.is_live()));
            }
            Change::Address { index, ip, .. } => there.entry(*index).or_default().push(*ip),
            _ => {}
        }
    }
    let mut changes = Vec::new();
    for (index, link) in links {
        let Some(addresses) = there.get(index) else {
            changes.push(Change::LinkGone { index: *index });
            continue;
        };
        let gone = link.addresses.iter().filter(|ip| !addresses.contains(ip));
        changes.extend(gone.map(|ip| Change::AddressGone { index: *index, ip: *ip }));
    }
    changes.extend(found.into_iter().filter(|change| is_news(links, change)));
    Ok(changes)
}

fn is_news(links: &Links, change: &Change) -> bool {
    match change {
        Change::Link { index, name, flags, .. } => {
            links.get(index).is_none_or(|link| (link.flags, link.padded_name) != (*flags, *name))
        }
        Change::Address { index, ip, .. } => links.get(index).is_none_or(|link| !link.addresses.contains(ip)),
        _ => false,
    }
}

/// Whether the host has IPv6 disabled on an interface.
pub(super) fn is_ipv6_disabled(name: &[u8]) -> bool {
    let path = [b"/proc/sys/net/ipv6/conf/", name, b"/disable_ipv6"].concat();
    fs::read(OsStr::from_bytes(&path)).is_ok_and(|text| !text.starts_with(b"0"))
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
    let has = |entry: &&Entry| entry.address.is_some_and(|address| address.ip == local);
    Ok(interface::list()?.iter().find(has).map(|entry| entry.interface.index))
}
