//! The sockets that hold the memberships: the caller's, and as many more as they need.
//!
//! A socket that is full says `ENOBUFS` or `ENOMEM`, by limits that differ by family and may change at
//! any time: so nothing is counted, and the kernel is asked.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::wish::Key;
use crate::error::{Errno, Result};
use crate::multicast::{membership, options};
use crate::sys::descriptor::Descriptor;
use crate::sys::multicast::{self, SourceRequest};
use crate::sys::option::{self, Family, IntOption};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// The caller's socket's number.
pub(super) const OWN: usize = 0;

/// Sockets by number.
pub(super) struct Sockets<'fd> {
    own: Descriptor<'fd>,
    family: Family,
    /// Those with the numbers from 1 on.
    made: Vec<OwnedFd>,
    /// The sockets that aren't known to be full, for groups of IPv4 and of IPv6.
    roomy: [BTreeSet<usize>; 2],
    /// Where the sources of a group on an interface are, and how many.
    sources: HashMap<(u32, IpAddr), Vec<(usize, usize)>>,
    /// MULTICAST_ALL, where it was on.
    switched_off: Vec<IntOption>,
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
        let is_on = |option: &&IntOption| option.get(fd).is_ok_and(|on| on != 0);
        let switched_off: Vec<IntOption> = all.iter().filter(is_on).copied().collect();
        let sockets = Sockets {
            own,
            family,
            made: Vec::new(),
            roomy: [[OWN].into(), [OWN].into()],
            sources: HashMap::new(),
            switched_off,
        };
        sockets.switched_off.iter().try_for_each(|option| option.set(sockets.own.as_fd(), 0))?;
        Ok(sockets)
    }

    pub fn count(&self) -> usize {
        1 + self.made.len()
    }

    pub fn get(&self, number: usize) -> Option<BorrowedFd<'_>> {
        match number.checked_sub(1) {
            None => Some(self.own.as_fd()),
            Some(index) => self.made.get(index).map(AsFd::as_fd),
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
        let (fd, target) = (self.get(number).ok_or(Errno::EBADF)?, key.target(interface));
        match key.source {
            None => membership::join(fd, target),
            // The caller may have joined the whole group, which this would cut down.
            Some(source) if number == OWN => membership::join_source(fd, target, source),
            Some(source) => multicast::source(fd, target, source, SourceRequest::Join),
        }
    }

    /// Leaves, also on an interface that is gone: the membership would still take room.
    pub fn leave(&mut self, number: usize, key: Key, interface: u32) {
        self.request_leave(number, key, interface);
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
        let target = key.target(interface);
        let leave_all = || multicast::group(fd, target, multicast::GroupRequest::Leave);
        // It may be gone already: the caller can leave too.
        let _ = match key.source {
            None => leave_all(),
            Some(source) => match multicast::source(fd, target, source, SourceRequest::Leave) {
                // With the interface all its sources are gone, and only as a whole are they let go.
                Err(Errno::ENODEV) => leave_all(),
                result => result,
            },
        };
    }

    /// Leaves and joins on the same socket, upon which the kernel reports the group anew, unless another
    /// socket of this host holds it.
    pub fn rejoin(&self, number: usize, key: Key, interface: u32) -> Result<()> {
        self.request_leave(number, key, interface);
        self.request_join(number, key, interface)
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

    /// Another socket, bound alike. `ENOBUFS` where the port isn't shared.
    fn make(&mut self) -> Result<usize> {
        let owned = socket::another(self.own.as_fd())?;
        let fd = owned.as_fd();
        options::set_all(fd, false)?;
        let alike = [IntOption::IPV6_ONLY, IntOption::REUSE_ADDRESS, IntOption::REUSE_PORT, IntOption::DEVICE];
        for option in alike {
            // Some aren't for this family, or were there from the beginning.
            match option.get(self.own.as_fd()) {
                Ok(value) if option.get(fd) != Ok(value) => option.set(fd, value)?,
                _ => {}
            }
        }
        let bytes = IntOption::RECEIVE_BUFFER.get(self.own.as_fd())?;
        if IntOption::RECEIVE_BUFFER.get(fd) != Ok(bytes) {
            // The kernel gives the double of what it takes.
            let half = bytes / 2;
            IntOption::RECEIVE_BUFFER_FORCE.set(fd, half).or_else(|_| IntOption::RECEIVE_BUFFER.set(fd, half))?;
        }
        let local = socket::local_address(self.own.as_fd())?;
        if local.port() != 0 || !local.ip().is_unspecified() {
            socket::bind(fd, &SocketAddress::from(local)).map_err(|error| match error {
                Errno::EADDRINUSE => Errno::ENOBUFS,
                other => other,
            })?;
        }
        self.made.push(owned);
        Ok(self.count() - 1)
    }

    /// The newest one, on which nothing is joined.
    fn unmake(&mut self, number: usize) {
        self.made.pop();
        for set in &mut self.roomy {
            set.remove(&number);
        }
    }
}

impl Drop for Sockets<'_> {
    fn drop(&mut self) {
        for option in &self.switched_off {
            // The socket may be closed by now, and nobody is left to tell.
            let _ = option.set(self.own.as_fd(), 1);
        }
    }
}
