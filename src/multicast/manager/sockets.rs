//! The sockets that hold the memberships: the caller's, and as many more as they need.
//!
//! A socket that is full says `ENOBUFS` or `ENOMEM`, by limits that differ by family and may change at
//! any time: so nothing is counted, and the kernel is asked.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::alike;
use super::hearing::Hearing;
use super::links::Links;
use super::request::{is_as_joined, join_made, join_own, joined, leave};
use super::wish::Key;
use crate::borrowed::Borrowed;
use crate::error::{Errno, Result};
use crate::hash::HashMap;
use crate::multicast::options;
use crate::sys::descriptor::Descriptor;
use crate::sys::interface::Name;
use crate::sys::option::{self, Family, IntOption};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// The caller's socket's number.
pub(super) const OWN: usize = 0;

/// Sockets by number.
pub(super) struct Sockets<'fd> {
    own: Borrowed<'fd>,
    family: Family,
    /// Those with the numbers from 1 on.
    made: Vec<OwnedFd>,
    /// Where each is bound, by number.
    hearing: Vec<Hearing>,
    device: Device,
    /// The sockets that aren't known to be full, for groups of IPv4 and of IPv6.
    roomy: [BTreeSet<usize>; 2],
    /// Where the sources of a group on an interface are, and how many.
    sources: HashMap<(u32, IpAddr), Vec<(usize, usize)>>,
}

/// The interface that the caller's socket is bound to. The kernel keeps the index; sockets of the handle's own
/// follow the name.
#[derive(Clone, Copy, Default)]
struct Device {
    name: Option<Name>,
    /// The index that the name has now.
    now: u32,
}

impl<'fd> Sockets<'fd> {
    /// `EAFNOSUPPORT` for a socket without IP, `EPROTO` for a stream.
    pub fn open(own: Descriptor<'fd>) -> Result<Sockets<'fd>> {
        let fd = own.as_fd();
        let family = option::family(fd)?;
        if option::socket_type(fd)? == option::SocketType::Stream {
            return Err(Errno::EPROTO);
        }
        let all: &[IntOption] = match family {
            Family::V4 => &[IntOption::IPV4_MULTICAST_ALL],
            Family::V6 => &[IntOption::IPV4_MULTICAST_ALL, IntOption::IPV6_MULTICAST_ALL],
        };
        let hearing = vec![Hearing::of(fd)];
        let mut borrowed = Borrowed::new(own)?;
        for option in all {
            // Older kernels have none for IPv6.
            if option.get(borrowed.fd()).is_ok() {
                borrowed.require(*option, 0)?;
            }
        }
        Ok(Sockets {
            own: borrowed,
            family,
            made: Vec::new(),
            hearing,
            device: Device::default(),
            roomy: [[OWN].into(), [OWN].into()],
            sources: HashMap::default(),
        })
    }

    pub fn count(&self) -> usize {
        1 + self.made.len()
    }

    pub fn get(&self, number: usize) -> Option<BorrowedFd<'_>> {
        match number.checked_sub(1) {
            None => Some(self.own.fd()),
            Some(index) => self.made.get(index).map(AsFd::as_fd),
        }
    }

    /// The caller's socket.
    pub fn own_mut(&mut self) -> &mut Borrowed<'fd> {
        &mut self.own
    }

    /// `false` in a child after fork(2).
    pub fn is_here(&self) -> bool {
        self.own.is_here()
    }

    /// Where a socket is bound.
    pub fn hearing(&self, number: usize) -> Option<&Hearing> {
        self.hearing.get(number)
    }

    /// Looks where the caller's socket is bound now; whether that is elsewhere than before.
    pub fn look_at_own(&mut self, links: &Links) -> bool {
        let (now, is_new) = (Hearing::of(self.own.fd()), self.device.name.is_none());
        let Some(before) = self.hearing.get_mut(OWN) else { return false };
        let has_changed = std::mem::replace(before, now) != now;
        if has_changed || is_new {
            self.device = Device { name: links.get(&now.device).map(|link| link.padded_name), now: now.device };
        }
        has_changed
    }

    /// An interface is new, or has a new name: the sockets that were made follow the name of the interface that
    /// they are bound to. Rebinding requires CAP_NET_RAW.
    pub fn follow_device(&mut self, interface: u32, name: Name) {
        if self.device.now == interface {
            self.device.name = self.device.name.map(|_| name);
        } else if self.device.name == Some(name) {
            self.device.now = interface;
            for (fd, hearing) in self.made.iter().zip(self.hearing.iter_mut().skip(1)) {
                if option::set_device(fd.as_fd(), interface).is_ok() {
                    *hearing = Hearing::of(fd.as_fd());
                }
            }
        }
    }

    /// `EAFNOSUPPORT` if no socket of this family can join the group. An IPv6 socket takes both.
    pub fn check(&self, key: Key) -> Result<()> {
        match (self.family, key.group) {
            (Family::V4, IpAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
            _ => Ok(()),
        }
    }

    /// Joins on the first socket that has room; its number. The sources of a group stay together as far as
    /// a socket takes them.
    pub fn join(&mut self, key: Key, interface: u32) -> Result<usize> {
        let holders = self.holders(key, interface);
        for number in &holders {
            match self.request_join(*number, key, interface) {
                Err(Errno::ENOBUFS | Errno::ENOMEM) => {}
                result => return result.map(|()| self.joined(*number, key, interface)),
            }
        }
        // Each that is full leaves the set.
        while let Some(number) = self.roomy(key).iter().copied().find(|number| !holders.contains(number)) {
            if self.join_if_roomy(number, key, interface)? {
                return Ok(number);
            }
        }
        let number = self.make()?;
        match self.join_if_roomy(number, key, interface) {
            Ok(true) => Ok(number),
            result => {
                self.unmake(number);
                Err(result.err().unwrap_or(Errno::ENOBUFS))
            }
        }
    }

    /// The sockets that have other sources of this group.
    fn holders(&self, key: Key, interface: u32) -> Vec<usize> {
        match key.source {
            None => Vec::new(),
            Some(_) => {
                let holders = self.sources.get(&(interface, key.group));
                holders.into_iter().flatten().map(|(number, _)| *number).collect()
            }
        }
    }

    fn roomy(&mut self, key: Key) -> &mut BTreeSet<usize> {
        let [v4, v6] = &mut self.roomy;
        if key.group.is_ipv4() { v4 } else { v6 }
    }

    fn join_if_roomy(&mut self, number: usize, key: Key, interface: u32) -> Result<bool> {
        match self.request_join(number, key, interface) {
            Ok(()) => {
                self.roomy(key).insert(number);
                self.joined(number, key, interface);
                Ok(true)
            }
            Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                self.roomy(key).remove(&number);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn request_join(&self, number: usize, key: Key, interface: u32) -> Result<()> {
        let fd = self.get(number).ok_or(Errno::EBADF)?;
        match number {
            OWN => self.own.join(joined(key, interface), |is_shared| join_own(fd, key, interface, is_shared)),
            _ => join_made(fd, key, interface),
        }
    }

    /// Leaves, also on an interface that is gone: the membership would still take room.
    pub fn leave(&mut self, number: usize, key: Key, interface: u32) {
        match number {
            OWN => self.own.leave(joined(key, interface), || self.request_leave(OWN, key, interface)),
            _ => self.request_leave(number, key, interface),
        }
        self.roomy(key).insert(number);
        let place = (interface, key.group);
        let Some(holders) = self.sources.get_mut(&place).filter(|_| key.source.is_some()) else { return };
        holders.iter_mut().filter(|(holder, _)| *holder == number).for_each(|(_, count)| *count -= 1);
        holders.retain(|(_, count)| *count > 0);
        if holders.is_empty() {
            self.sources.remove(&place);
        }
    }

    /// As [`Sockets::leave`], to join on the same socket again.
    pub fn request_leave(&self, number: usize, key: Key, interface: u32) {
        let Some(fd) = self.get(number) else { return };
        if number != OWN || is_as_joined(fd, key, interface) {
            leave(fd, key, interface);
        }
    }

    /// Leaves and joins on the same socket, upon which the kernel reports the group anew, unless another
    /// socket of this host holds it.
    pub fn rejoin(&self, number: usize, key: Key, interface: u32) -> Result<()> {
        let fd = self.get(number).ok_or(Errno::EBADF)?;
        self.request_leave(number, key, interface);
        match number {
            OWN => join_own(fd, key, interface, self.own.is_shared(joined(key, interface))),
            _ => join_made(fd, key, interface),
        }
    }

    fn joined(&mut self, number: usize, key: Key, interface: u32) -> usize {
        if key.source.is_some() {
            let holders = self.sources.entry((interface, key.group)).or_default();
            match holders.iter_mut().find(|(holder, _)| *holder == number) {
                Some((_, count)) => *count += 1,
                None => holders.push((number, 1)),
            }
        }
        number
    }

    /// Another socket, set and bound alike. `ENOBUFS` where the port isn't shared, `EACCES` where the caller's
    /// socket has an eBPF filter, which can't be copied.
    fn make(&mut self) -> Result<usize> {
        let owned = socket::another(self.own.fd())?;
        let fd = owned.as_fd();
        options::set_all(fd, false)?;
        alike::set(self.own.fd(), fd, self.device.now)?;
        let local = self.local_address()?;
        if local.port() != 0 || !local.ip().is_unspecified() {
            socket::bind(fd, &SocketAddress::from(local)).map_err(|error| match error {
                Errno::EADDRINUSE => Errno::ENOBUFS,
                other => other,
            })?;
        }
        self.hearing.push(Hearing::of(fd));
        self.made.push(owned);
        Ok(self.count() - 1)
    }

    /// The address of the caller's socket, on the interface as it is now.
    fn local_address(&self) -> Result<SocketAddr> {
        let mut local = socket::local_address(self.own.fd())?;
        if let SocketAddr::V6(v6) = &mut local {
            if v6.scope_id() != 0 && self.device.now != 0 {
                v6.set_scope_id(self.device.now);
            }
        }
        Ok(local)
    }

    /// The newest one, on which nothing is joined.
    fn unmake(&mut self, number: usize) {
        self.made.pop();
        self.hearing.pop();
        for set in &mut self.roomy {
            set.remove(&number);
        }
    }
}
