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
const IFLA_INET6_FLAGS: u16 = 1;
const IFLA_CARRIER_CHANGES: u16 = 35;
/// Of IFLA_INET6_FLAGS.
const IF_READY: u32 = 0x8000_0000;
/// Not in the libc crate: alternative names, since Linux 5.5.
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;

/// How often a dump is asked for when the kernel says that something changed meanwhile.
const DUMPS_MAX: usize = 16;
/// Reads after an error, until the rest of an answer is gone.
const DRAINS_MAX: usize = 4096;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface: new, or changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: Name,
        /// Its alternative names (ip-link(8): `altname`), of up to 127 characters.
        other_names: Vec<Vec<u8>>,
        /// Its flags.
        flags: Flags,
        /// How often its carrier came or went so far.
        carrier_changes: u32,
        /// The longest packet that it sends.
        mtu: u32,
        /// Whose port it is.
        master: Master,
        /// Whether IPv6 works there: not before the kernel has taken note that it is up, not while it is
        /// disabled, nor where packets are too small for it.
        is_ipv6_ready: bool,
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
        /// The address that names its network: its own, or that of the peer.
        network: IpAddr,
        /// The length of the network part in bits.
        prefix: u8,
        /// How far it reaches: `RT_SCOPE_*`.
        scope: u8,
        /// `IFA_F_*`
        flags: u32,
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
    /// Of the last request; its answers carry it too.
    sequence: u32,
}

/// Whether a dump is of one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Something changed while it was made (NLM_F_DUMP_INTR): anything may be missing.
    Interrupted,
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
        Ok(Netlink { socket, buffer: vec![0; BUFFER_BYTES], sequence: 0 })
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
            self.dump(kind, &[0; LINK_BYTES], |message| message.change())?.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// The index of the interface that has this name, or this alternative name (since Linux 5.5).
    /// `ENODEV` if none has.
    pub fn index_of(&mut self, name: &[u8]) -> Result<u32> {
        let kind = if name.len() < NAME_SIZE { libc::IFLA_IFNAME } else { IFLA_ALT_IFNAME };
        let mut body = vec![0; LINK_BYTES];
        append(&mut body, kind, &[name, &[0]].concat());
        let mut found = None;
        let result = self.request(libc::RTM_GETLINK, &body, |message| found = u32_at(message.body, 4));
        match result {
            // An older kernel doesn't know the attribute, or finds the name too long.
            Err(Errno::EINVAL | Errno::ERANGE) if name.len() >= NAME_SIZE => Err(Errno::ENODEV),
            result => result.and(found.ok_or(Errno::ENODEV)),
        }
    }

    /// The name of the interface of this index. `ENODEV` if there is none.
    pub fn name_of(&mut self, index: u32) -> Result<Name> {
        let mut body = vec![0; LINK_BYTES];
        if let Some(place) = body.get_mut(4..8) {
            place.copy_from_slice(&index.to_ne_bytes());
        }
        let mut found = None;
        self.request(libc::RTM_GETLINK, &body, |message| found = message.name())?;
        found.ok_or(Errno::ENODEV)
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
        let mut found = None;
        self.request(libc::RTM_GETROUTE, &body, |message| found = message.route().or(found))?;
        found.ok_or(Errno::ENETUNREACH)
    }

    /// Asks for one thing.
    fn request(&mut self, kind: u16, body: &[u8], each: impl FnMut(&Message<'_>)) -> Result<()> {
        self.send(kind, libc::NLM_F_REQUEST as u16, body)?;
        self.answers(each).map(drop)
    }

    /// Asks for all there is of a kind, again if it changes meanwhile. Where it never stops changing, the
    /// last answer has to do.
    fn dump<T>(&mut self, kind: u16, body: &[u8], read: impl Fn(&Message<'_>) -> Option<T>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMPS_MAX {
            found.clear();
            self.send(kind, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, body)?;
            if self.answers(|message| found.extend(read(message)))? == Answer::Whole {
                break;
            }
        }
        Ok(found)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut request = Vec::with_capacity(HEADER_BYTES + body.len());
        request.extend_from_slice(&((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&flags.to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        // The port: the kernel knows it.
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(body);
        let (fd, at) = (self.socket.as_raw_fd(), request.as_ptr().cast());
        loop {
            // SAFETY: the request is readable for its length.
            match length(unsafe { libc::send(fd, at, request.len(), libc::MSG_NOSIGNAL) }) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Reads answers up to the end of a dump, or the one answer there is. After an error nothing is left
    /// in the queue for the next request.
    fn answers(&mut self, each: impl FnMut(&Message<'_>)) -> Result<Answer> {
        let result = self.read_answers(each);
        if result.is_err() {
            self.drain();
        }
        result
    }

    fn read_answers(&mut self, mut each: impl FnMut(&Message<'_>)) -> Result<Answer> {
        let mut answer = Answer::Whole;
        loop {
            let len = match self.receive(0) {
                Err(Errno::EINTR) => continue,
                len => len?,
            };
            let all = messages(self.buffer.get(..len).unwrap_or_default());
            for message in all.filter(|message| message.sequence == self.sequence) {
                if message.flags & libc::NLM_F_DUMP_INTR as u16 != 0 {
                    answer = Answer::Interrupted;
                }
                match i32::from(message.kind) {
                    // A dump that failed ends with its error.
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => return message.error().map(|()| answer),
                    _ => each(&message),
                }
                if message.flags & libc::NLM_F_MULTI as u16 == 0 {
                    return Ok(answer);
                }
            }
        }
    }

    fn drain(&mut self) {
        for _ in 0..DRAINS_MAX {
            if let Err(Errno::EAGAIN) = self.receive(libc::MSG_DONTWAIT) {
                return;
            }
        }
    }

    /// One read; what doesn't come from the kernel (port 0) is nothing.
    fn receive(&mut self, flags: i32) -> Result<usize> {
        let (fd, at) = (self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast());
        // SAFETY: all zero is an address.
        let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut from_len = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        let (from_at, len_at) = ((&raw mut from).cast(), &raw mut from_len);
        // SAFETY: there is room for so many bytes, and for the sender's address.
        let len = unsafe { libc::recvfrom(fd, at, self.buffer.len(), flags | libc::MSG_TRUNC, from_at, len_at) };
        match length(len)? {
            // A message that was cut is one that was lost.
            len if len > self.buffer.len() => Err(Errno::ENOBUFS),
            len => Ok(if from.nl_pid == 0 { len } else { 0 }),
        }
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
    sequence: u32,
    body: &'b [u8],
}

/// The messages in a read.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(rest, 0)? as usize;
        let body = rest.get(HEADER_BYTES..len)?;
        let (kind, flags, sequence) = (u16_at(rest, 4)?, u16_at(rest, 6)?, u32_at(rest, 8)?);
        let message = Message { kind, flags, sequence, body };
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
            libc::RTM_NEWADDR => self.address(index),
            libc::RTM_DELADDR => Some(Change::AddressGone { index, ip: self.own_address()? }),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(Change::Route),
            _ => None,
        }
    }

    fn link(&self, index: u32) -> Option<Change> {
        let number = |kind| self.attribute(LINK_BYTES, kind).and_then(|bytes| u32_at(bytes, 0)).unwrap_or(0);
        let others = attributes(self.attribute(LINK_BYTES, IFLA_PROP_LIST).unwrap_or_default());
        let others = others.filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
        Some(Change::Link {
            index,
            name: self.name()?,
            other_names: others.map(|(_, bytes)| up_to_nul(bytes).to_owned()).collect(),
            flags: Flags(u32_at(self.body, 8)?),
            carrier_changes: number(IFLA_CARRIER_CHANGES),
            mtu: number(libc::IFLA_MTU),
            master: self.master(),
            is_ipv6_ready: self.is_ipv6_ready(),
        })
    }

    fn name(&self) -> Option<Name> {
        let mut name: Name = [0; NAME_SIZE];
        let found = self.attribute(LINK_BYTES, libc::IFLA_IFNAME)?;
        for (to, from) in name.iter_mut().zip(found.iter().take(NAME_SIZE - 1)) {
            *to = *from;
        }
        Some(name)
    }

    fn master(&self) -> Master {
        let index = self.attribute(LINK_BYTES, libc::IFLA_MASTER).and_then(|bytes| u32_at(bytes, 0)).unwrap_or(0);
        let about = self.attribute(LINK_BYTES, libc::IFLA_LINKINFO).unwrap_or_default();
        match (index, nested(about, IFLA_INFO_SLAVE_KIND).map(up_to_nul)) {
            (0, _) => Master::None,
            (index, Some(b"bridge" | b"bond" | b"team")) => Master::Port(index),
            (index, Some(b"vrf")) => Master::Vrf(index),
            (index, _) => Master::Other(index),
        }
    }

    fn is_ipv6_ready(&self) -> bool {
        let families = self.attribute(LINK_BYTES, libc::IFLA_AF_SPEC);
        let ipv6 = families.and_then(|families| nested(families, libc::AF_INET6 as u16));
        let flags = ipv6.and_then(|ipv6| nested(ipv6, IFLA_INET6_FLAGS)).and_then(|bytes| u32_at(bytes, 0));
        flags.is_some_and(|flags| flags & IF_READY != 0)
    }

    fn address(&self, index: u32) -> Option<Change> {
        let ip = self.own_address()?;
        let network = self.attribute(ADDRESS_BYTES, libc::IFA_ADDRESS).and_then(ip_of).unwrap_or(ip);
        let long = self.attribute(ADDRESS_BYTES, libc::IFA_FLAGS).and_then(|bytes| u32_at(bytes, 0));
        let flags = long.unwrap_or(u32::from(*self.body.get(2)?));
        Some(Change::Address { index, ip, network, prefix: *self.body.get(1)?, scope: *self.body.get(3)?, flags })
    }

    /// IFA_LOCAL is the interface's own where IFA_ADDRESS is the other end of a link.
    fn own_address(&self) -> Option<IpAddr> {
        let local = self.attribute(ADDRESS_BYTES, libc::IFA_LOCAL);
        ip_of(local.or_else(|| self.attribute(ADDRESS_BYTES, libc::IFA_ADDRESS))?)
    }

    fn route(&self) -> Option<Route> {
        let address = |kind| self.attribute(ROUTE_BYTES, kind).and_then(ip_of);
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
    body.resize(body.len().next_multiple_of(4), 0);
}

fn up_to_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn append_ip(body: &mut Vec<u8>, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => append(body, kind, &v4.octets()),
        IpAddr::V6(v6) => append(body, kind, &v6.octets()),
    }
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
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
mod tests;
