//! rtnetlink(7): what becomes of interfaces, their addresses and routes, and which route a packet
//! would take.
//!
//! Messages are read as bytes: a kernel's structs may have grown since.

pub mod bridge;
pub mod firewall;

use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::interface::{Flags, NAME_SIZE, Name};
use super::option::{IntOption, set};
use super::{done, length, value};
use crate::error::{Errno, Result};

/// As much as the kernel puts into one read, when it may.
const BUFFER_BYTES: usize = 32_768;
/// Room for what changes between two reads, where this process may ask for so much.
const QUEUE_BYTES: i32 = 1 << 21;

const HEADER_BYTES: usize = size_of::<libc::nlmsghdr>();
/// struct ifinfomsg, struct ifaddrmsg, struct rtmsg.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const ROUTE_BYTES: usize = 12;

/// Not in the libc crate: since Linux 3.14.
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// Not in the libc crate: since Linux 3.15.
const IFLA_CARRIER_CHANGES: u16 = 35;

/// What an interface belongs to, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// Nothing.
    None,
    /// A bridge, a bond, a team: what the interface receives counts as the master's.
    Port(u32),
    /// A VRF: it stays the interface's.
    Vrf(u32),
    /// Of another kind, which leaves IP to the interface.
    Other(u32),
}

/// Something of this host's network as it is now, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface: new, or changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: Name,
        /// Its flags.
        flags: Flags,
        /// How often its carrier came or went so far.
        carrier_changes: u32,
        /// The longest packet that it sends.
        mtu: u32,
        /// Whose port it is.
        master: Master,
    },
    /// An interface that is no more.
    LinkGone {
        /// The index that it had.
        index: u32,
    },
    /// An address of an interface: new, or changed.
    Address {
        /// The interface's index.
        index: u32,
        /// The address.
        ip: IpAddr,
    },
    /// An address that is no more.
    AddressGone {
        /// The interface's index.
        index: u32,
        /// The address.
        ip: IpAddr,
    },
    /// Some route.
    Route,
}

/// A socket to the kernel's rtnetlink, and what it has received.
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Tells every change of interfaces and addresses from now on.
    pub fn watch() -> Result<Netlink> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let netlink = Netlink::open(groups as u32)?;
        let socket = netlink.socket.as_fd();
        // As much as there is to have: what doesn't fit is told, and then everything is looked at anew.
        if IntOption::RECEIVE_BUFFER_FORCE.set(socket, QUEUE_BYTES).is_err() {
            let _ = IntOption::RECEIVE_BUFFER.set(socket, QUEUE_BYTES);
        }
        Ok(netlink)
    }

    /// Of routes too.
    pub fn watch_routes(&self) -> Result<()> {
        for group in [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE] {
            set(self.socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &group)?;
        }
        Ok(())
    }

    /// Answers requests.
    pub fn connect() -> Result<Netlink> {
        Netlink::open(0)
    }

    fn open(groups: u32) -> Result<Netlink> {
        Netlink::of_protocol(libc::NETLINK_ROUTE, groups)
    }

    fn of_protocol(protocol: i32, groups: u32) -> Result<Netlink> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointer.
        let fd = value(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) })?;
        // SAFETY: the kernel just made it, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zero is an address: the kernel chooses the port.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = groups;
        let len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: the address is filled, and so long.
        done(unsafe { libc::bind(fd, (&raw const address).cast(), len) })?;
        Ok(Netlink { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next changes, without waiting. `EAGAIN` when there are no more; `ENOBUFS` when some were
    /// lost because there were too many.
    pub fn changes(&mut self, mut each: impl FnMut(Change)) -> Result<()> {
        let len = self.receive(libc::MSG_DONTWAIT)?;
        for message in messages(self.buffer.get(..len).unwrap_or_default()) {
            message.change().into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// All interfaces, then all addresses.
    pub fn everything(&mut self, mut each: impl FnMut(Change)) -> Result<()> {
        for kind in [libc::RTM_GETLINK, libc::RTM_GETADDR] {
            let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
            self.send(kind, flags, &[0; LINK_BYTES])?;
            self.answers(|message| {
                message.change().into_iter().for_each(&mut each);
            })?;
        }
        Ok(())
    }

    /// The route that a packet would take. `ENETUNREACH` and the like if there is none.
    pub fn route(&mut self, to: IpAddr, from: Option<IpAddr>, interface: u32) -> Result<Route> {
        let (family, bits) = match to {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        let mut body = vec![family as u8, bits, if from.is_some() { bits } else { 0 }];
        body.resize(ROUTE_BYTES, 0);
        append_ip(&mut body, libc::RTA_DST, to);
        if let Some(from) = from {
            append_ip(&mut body, libc::RTA_SRC, from);
        }
        if interface != 0 {
            append(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
        }
        self.send(libc::RTM_GETROUTE, libc::NLM_F_REQUEST as u16, &body)?;
        let mut found = None;
        self.answers(|message| found = message.route().or(found))?;
        found.ok_or(Errno::ENETUNREACH)
    }

    fn send(&self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        let mut request = Vec::with_capacity(HEADER_BYTES + body.len());
        request.extend_from_slice(&((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        // Sequence number and port: one request at a time, and the kernel knows the port.
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(body);
        let (fd, at) = (self.socket.as_raw_fd(), request.as_ptr().cast());
        // SAFETY: the request is readable for its length.
        length(unsafe { libc::send(fd, at, request.len(), 0) }).map(drop)
    }

    /// Reads answers up to the end of a dump, or the one answer there is.
    fn answers(&mut self, mut each: impl FnMut(&Message<'_>)) -> Result<()> {
        loop {
            let len = match self.receive(0) {
                Err(Errno::EINTR) => continue,
                len => len?,
            };
            for message in messages(self.buffer.get(..len).unwrap_or_default()) {
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return message.error(),
                    _ => each(&message),
                }
                if message.flags & libc::NLM_F_MULTI as u16 == 0 {
                    return Ok(());
                }
            }
        }
    }

    fn receive(&mut self, flags: i32) -> Result<usize> {
        let (fd, at) = (self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast());
        // SAFETY: there is room for so many bytes.
        let len = length(unsafe { libc::recv(fd, at, self.buffer.len(), flags | libc::MSG_TRUNC) })?;
        // A message that was cut is one that was lost.
        if len > self.buffer.len() { Err(Errno::ENOBUFS) } else { Ok(len) }
    }
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The index of the interface that it leaves by.
    pub interface: u32,
    /// The router that it goes to, `None` if it stays on the link.
    pub gateway: Option<IpAddr>,
    /// The address that the kernel would send from.
    pub source: Option<IpAddr>,
    /// Whether it ends on this host.
    pub is_local: bool,
}

/// One message of rtnetlink.
struct Message<'b> {
    kind: u16,
    flags: u16,
    body: &'b [u8],
}

/// The messages in a read.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(rest, 0)? as usize;
        let body = rest.get(HEADER_BYTES..len)?;
        let message = Message { kind: u16_at(rest, 4)?, flags: u16_at(rest, 6)?, body };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

impl<'b> Message<'b> {
    fn change(&self) -> Option<Change> {
        // A bridge tells of its ports by link messages of its own family, their end included.
        let family = i32::from(*self.body.first()?);
        let index = u32_at(self.body, 4)?;
        match self.kind {
            libc::RTM_NEWLINK if family == libc::AF_UNSPEC => self.link(index),
            libc::RTM_DELLINK if family == libc::AF_UNSPEC => Some(Change::LinkGone { index }),
            libc::RTM_NEWADDR => Some(Change::Address { index, ip: self.address()? }),
            libc::RTM_DELADDR => Some(Change::AddressGone { index, ip: self.address()? }),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(Change::Route),
            _ => None,
        }
    }

    fn link(&self, index: u32) -> Option<Change> {
        let mut name: Name = [0; NAME_SIZE];
        let found = self.attribute(LINK_BYTES, libc::IFLA_IFNAME)?;
        for (to, from) in name.iter_mut().zip(found.iter().take(NAME_SIZE - 1)) {
            *to = *from;
        }
        let changes = self.attribute(LINK_BYTES, IFLA_CARRIER_CHANGES);
        let carrier_changes = changes.and_then(|bytes| u32_at(bytes, 0)).unwrap_or(0);
        let mtu = self.attribute(LINK_BYTES, libc::IFLA_MTU).and_then(|bytes| u32_at(bytes, 0)).unwrap_or(0);
        let (flags, master) = (Flags(u32_at(self.body, 8)?), self.master());
        Some(Change::Link { index, name, flags, carrier_changes, mtu, master })
    }

    fn master(&self) -> Master {
        let index = self.attribute(LINK_BYTES, libc::IFLA_MASTER).and_then(|bytes| u32_at(bytes, 0)).unwrap_or(0);
        let about = self.attribute(LINK_BYTES, libc::IFLA_LINKINFO).unwrap_or_default();
        // It ends in a NUL, before some kernels' version.
        let kind = nested(about, IFLA_INFO_SLAVE_KIND).and_then(|kind| kind.split(|byte| *byte == 0).next());
        match (index, kind) {
            (0, _) => Master::None,
            (index, Some(b"bridge" | b"bond" | b"team")) => Master::Port(index),
            (index, Some(b"vrf")) => Master::Vrf(index),
            (index, _) => Master::Other(index),
        }
    }

    /// IFA_LOCAL is the interface's own where IFA_ADDRESS is the other end of a link.
    fn address(&self) -> Option<IpAddr> {
        let local = self.attribute(ADDRESS_BYTES, libc::IFA_LOCAL);
        ip(local.or_else(|| self.attribute(ADDRESS_BYTES, libc::IFA_ADDRESS))?)
    }

    fn route(&self) -> Option<Route> {
        let address = |kind| self.attribute(ROUTE_BYTES, kind).and_then(ip);
        Some(Route {
            interface: u32_at(self.attribute(ROUTE_BYTES, libc::RTA_OIF)?, 0)?,
            gateway: address(libc::RTA_GATEWAY),
            source: address(libc::RTA_PREFSRC),
            is_local: *self.body.get(7)? == libc::RTN_LOCAL,
        })
    }

    fn error(&self) -> Result<()> {
        match u32_at(self.body, 0).map_or(0, |code| code as i32) {
            0 => Ok(()),
            code => Err(Errno::from_raw(code.saturating_neg())),
        }
    }

    /// The value of an attribute, behind a struct of so many bytes.
    fn attribute(&self, fixed: usize, kind: u16) -> Option<&'b [u8]> {
        nested(self.body.get(fixed..)?, kind)
    }
}

/// The attributes in these bytes, each with its kind.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let found = (u16_at(rest, 2)? & libc::NLA_TYPE_MASK as u16, rest.get(4..len)?);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

/// The value of one of them.
fn nested(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn append(body: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    body.extend_from_slice(&(4 + bytes.len() as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(bytes);
}

fn append_ip(body: &mut Vec<u8>, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => append(body, kind, &v4.octets()),
        IpAddr::V6(v6) => append(body, kind, &v6.octets()),
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_host_has_a_loopback_interface_with_its_address() {
        let mut found = Vec::new();
        Netlink::connect().unwrap().everything(|change| found.push(change)).unwrap();
        let is_loopback = |change: &&Change| matches!(change, Change::Link { name, .. } if name.starts_with(b"lo\0"));
        let Some(Change::Link { index, .. }) = found.iter().find(is_loopback) else {
            panic!("no loopback interface in {found:?}");
        };
        let address = Change::Address { index: *index, ip: Ipv4Addr::LOCALHOST.into() };
        assert!(found.contains(&address), "{found:?}");
    }

    #[test]
    fn the_route_to_this_host_ends_here() {
        let localhost = Ipv4Addr::LOCALHOST.into();
        let route = Netlink::connect().unwrap().route(localhost, None, 0).unwrap();
        assert!(route.is_local && route.gateway.is_none() && route.source == Some(localhost), "{route:?}");
    }

    /// Attributes in attributes, of lengths that are right or wrong.
    fn attributes_of(depth: u32) -> BoxedStrategy<Vec<u8>> {
        let bytes = vec(any::<u8>(), 0..24).boxed();
        let value = if depth == 0 { bytes } else { prop_oneof![bytes, attributes_of(depth - 1)].boxed() };
        let wrong = prop_oneof![8 => Just(0_u16), 1 => any::<u16>(), 1 => Just(u16::MAX)];
        let one = (0_u16..50, value, wrong).prop_map(|(kind, value, wrong)| {
            let len = (4 + value.len() as u16).wrapping_add(wrong);
            let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        });
        vec(one, 0..6).prop_map(|all| all.concat()).boxed()
    }

    proptest! {
        #[test]
        fn no_message_does_harm(
            kinds in vec((0_u16..120, vec(any::<u8>(), 0..20), attributes_of(3), any::<bool>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            for (kind, fixed, rest, is_right) in kinds {
                let len = HEADER_BYTES + fixed.len() + rest.len();
                bytes.extend(if is_right { len as u32 } else { u32::from(kind) }.to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.resize(bytes.len() + HEADER_BYTES - 6, 0);
                bytes.extend(fixed);
                bytes.extend(rest);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                let mut sum = 0;
                for message in messages(bytes) {
                    sum += HEADER_BYTES + message.body.len();
                    let _ = (message.change(), message.route(), message.error());
                    let values: usize = attributes(message.body).map(|(_, value)| value.len()).sum();
                    prop_assert!(values <= message.body.len());
                    bridge::read(&message);
                    firewall::read(&message);
                }
                prop_assert!(sum <= bytes.len());
            }
        }
    }

    #[test]
    fn a_message_that_ends_early_is_none() {
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(messages(&[200, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
        let short = Message { kind: libc::RTM_NEWLINK, flags: 0, body: &[0; 10] };
        assert_eq!(short.change(), None);
    }
}
