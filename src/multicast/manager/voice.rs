//! Reports of our own, by raw sockets.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use super::links::Link;
use super::querier::Queriers;
use super::report::{self, is_reported};
use super::wish::Key;
use crate::datagram::buffer;
use crate::error::{Errno, Result};
use crate::sys::memory::Source;
use crate::sys::mmsg::{self, Destination};
use crate::sys::multicast;
use crate::sys::option::{Family, IntOption};
use crate::sys::reports;
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket::Flags;
use crate::tunnel::ip::Packet;

/// Room for the reports of 10,000 groups at a time.
const SEND_BUFFER: usize = 2 << 20;

/// Those of both families.
#[derive(Default)]
pub(super) struct Voices([Attempt; 2]);

#[derive(Default)]
enum Attempt {
    #[default]
    Untried,
    Refused,
    Open(Box<Voice>),
}

impl Voices {
    /// With the first membership: from then on it hears what the routers speak.
    pub fn open(&mut self, group: IpAddr) {
        self.get(if group.is_ipv4() { Family::V4 } else { Family::V6 });
    }

    /// `None` where this process may not.
    pub fn get(&mut self, family: Family) -> Option<&mut Voice> {
        let [v4, v6] = &mut self.0;
        let attempt = if family == Family::V4 { v4 } else { v6 };
        if let Attempt::Untried = attempt {
            *attempt = match Voice::open(family) {
                Ok(voice) => Attempt::Open(Box::new(voice)),
                // There may be room later.
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Attempt::Untried,
                Err(_) => Attempt::Refused,
            };
        }
        match attempt {
            Attempt::Open(voice) => Some(voice),
            _ => None,
        }
    }
}

/// Says what is joined.
pub(super) struct Voice {
    family: Family,
    socket: OwnedFd,
    queriers: Queriers,
}

impl Voice {
    fn open(family: Family) -> Result<Voice> {
        let socket = reports::socket(family)?;
        let _ = buffer::set_send(socket.as_fd(), SEND_BUFFER);
        Ok(Voice { family, socket, queriers: Queriers::open(family)? })
    }

    /// Reports memberships of this family on an interface, as its routers understand. `EADDRNOTAVAIL` if it
    /// has no address to report from, `EAGAIN` if nobody knows what they understand.
    pub fn report(&mut self, interface: u32, link: &Link, keys: &[Key]) -> Result<()> {
        let keys: Vec<Key> =
            keys.iter().copied().filter(|key| is_reported(key.group) && !is_silent(key.group)).collect();
        let version = self.queriers.version(self.socket.as_fd(), interface, link.name())?;
        let host = self.choose_interface(interface, link)?;
        for packet in report::packets(version, host, &keys, link.mtu as usize)? {
            let to = match Packet::parse(&packet)?.destination {
                IpAddr::V4(v4) => SocketAddr::from((v4, 0)),
                IpAddr::V6(v6) => SocketAddrV6::new(v6, 0, 0, interface).into(),
            };
            let to = SocketAddress::from(to);
            let bytes = Source::from(packet.as_slice());
            mmsg::send_to(self.socket.as_fd(), bytes, Destination::of(&to), Flags::DONTWAIT)?;
        }
        Ok(())
    }

    /// What is sent leaves there; its address to send from.
    fn choose_interface(&self, interface: u32, link: &Link) -> Result<IpAddr> {
        let fd = self.socket.as_fd();
        if self.family == Family::V6 {
            IntOption::IPV6_MULTICAST_IF.set(fd, i32::try_from(interface).map_err(|_| Errno::ENODEV)?)?;
            return Ok(link_local(interface).into());
        }
        // The kernel alone reports from 0.0.0.0: it would put another interface's address there.
        let own = link.ipv4_source().ok_or(Errno::EADDRNOTAVAIL)?;
        multicast::set_ipv4_interface(fd, interface, own)?;
        Ok(own.into())
    }
}

/// Groups of one link, of which nothing is told where this host is set so
/// (net.ipv4.igmp_link_local_mcast_reports).
fn is_silent(group: IpAddr) -> bool {
    let IpAddr::V4(v4) = group else { return false };
    let setting = || fs::read("/proc/sys/net/ipv4/igmp_link_local_mcast_reports").unwrap_or_default();
    v4.octets().starts_with(&[224, 0, 0]) && setting().starts_with(b"0")
}

/// The interface's link-local address, if it has one that is known to be its alone; else `::`, from which a
/// host may report until then (RFC 3810, section 5.2.13).
fn link_local(interface: u32) -> Ipv6Addr {
    let table = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    table.lines().find_map(|line| parse_link_local(line, interface)).unwrap_or(Ipv6Addr::UNSPECIFIED)
}

/// "fe800000000000000000000000000002 03 40 20 80 eth0": index, length, scope and flags are hexadecimal.
fn parse_link_local(line: &str, interface: u32) -> Option<Ipv6Addr> {
    const LINK: u32 = 0x20;
    /// IFA_F_DADFAILED, IFA_F_TENTATIVE: another may have it.
    const DOUBTFUL: u32 = 0x48;
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let mut number = |skip| u32::from_str_radix(fields.nth(skip)?, 16).ok();
    let (index, scope, flags) = (number(0)?, number(1)?, number(0)?);
    (index == interface && scope == LINK && flags & DOUBTFUL == 0).then(|| Ipv6Addr::from_bits(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_the_interfaces_and_certain() {
        let of = |line| parse_link_local(line, 26).map(|ip| ip.to_string());
        assert_eq!(of("fe800000000000000000000000000002 1a 40 20 80    eth0").as_deref(), Some("fe80::2"));
        assert_eq!(of("fe800000000000000000000000000002 03 40 20 80    eth1"), None);
        assert_eq!(of("fd010000000000000000000000000002 1a 40 00 80    eth0"), None);
        assert_eq!(of("fe800000000000000000000000000002 1a 40 20 c0    eth0"), None);
        assert_eq!(of("fe800000000000000000000000000002 1a 40 20 88    eth0"), None);
        assert_eq!(of("fe80"), None);
    }
}
