//! Whether a socket can hear what it has joined: the kernel joins a group without looking at where the socket is
//! bound, and on interfaces whose packets belong to another one.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::links::Link;
use super::wish::Key;
use crate::error::{Errno, Result};
use crate::sys::netlink::Master;
use crate::sys::option::{self, Family, IntOption};
use crate::sys::socket;

/// Where a socket is bound and connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hearing {
    /// The index of the interface that alone it hears, by SO_BINDTODEVICE or by the scope of its address; 0
    /// for any.
    pub device: u32,
    local: Option<IpAddr>,
    peer: Option<IpAddr>,
    is_ipv6_only: bool,
    /// A raw socket of IPv6 hears what it has joined, whatever address it is bound to.
    is_raw_ipv6: bool,
}

impl Hearing {
    /// As it is now.
    pub fn of(fd: BorrowedFd<'_>) -> Hearing {
        let address = |address: Result<SocketAddr>| address.ok().map(|address| address.ip().to_canonical());
        let is_ipv6 = option::family(fd) == Ok(Family::V6);
        Hearing {
            device: option::device_index(fd),
            local: address(socket::local_address(fd)).filter(|ip| !ip.is_unspecified()),
            peer: address(socket::peer_address(fd)),
            is_ipv6_only: is_ipv6 && IntOption::IPV6_ONLY.get(fd).is_ok_and(|on| on != 0),
            is_raw_ipv6: is_ipv6 && !option::is_udp(fd),
        }
    }

    /// Why nothing of the group can arrive by the interface, if so.
    pub fn deafness(&self, key: Key, interface: u32, link: &Link) -> Option<Errno> {
        let group = key.group;
        if let Master::Port(_) = link.master {
            return Some(Errno::EBUSY);
        }
        if !self.is_tied_right(interface, link.master) {
            return Some(Errno::EXDEV);
        }
        if self.is_ipv6_only && group.is_ipv4() {
            return Some(Errno::EAFNOSUPPORT);
        }
        let is_elsewhere = self.local.is_some_and(|local| local != group) && !self.is_raw_ipv6;
        match self.peer {
            // Nothing comes from a group; and connect(2) may have bound the socket to an address of the host.
            Some(peer) if peer.is_multicast() || is_elsewhere => Some(Errno::EISCONN),
            Some(peer) if key.source.is_some_and(|source| source != peer) => Some(Errno::EISCONN),
            _ => is_elsewhere.then_some(Errno::EADDRNOTAVAIL),
        }
    }

    /// A socket that is bound to no interface hears those of a VRF only where it is set so.
    fn is_tied_right(&self, interface: u32, master: Master) -> bool {
        match (self.device, master) {
            (0, Master::Vrf(_)) => accepts_vrf(self.is_raw_ipv6),
            (0, _) => true,
            (device, Master::Vrf(vrf)) => device == interface || device == vrf,
            (device, _) => device == interface,
        }
    }
}

fn accepts_vrf(is_raw: bool) -> bool {
    let setting = if is_raw { "raw_l3mdev_accept" } else { "udp_l3mdev_accept" };
    let text = fs::read(format!("/proc/sys/net/ipv4/{setting}"));
    text.map_or(is_raw, |text| !text.starts_with(b"0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::interface::Flags;

    const FREE: Hearing = Hearing { device: 0, local: None, peer: None, is_ipv6_only: false, is_raw_ipv6: false };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn link(master: Master) -> Link {
        let (other_names, addresses, near) = Default::default();
        Link {
            padded_name: [0; 16],
            other_names,
            flags: Flags(0),
            carrier_changes: 0,
            mtu: 1500,
            master,
            is_ipv6_ready: true,
            addresses,
            near,
        }
    }

    fn deafness(hearing: Hearing, group: &str, source: Option<&str>) -> Option<Errno> {
        hearing.deafness(Key { group: ip(group), source: source.map(ip) }, 7, &link(Master::None))
    }

    #[test]
    fn a_socket_hears_the_group_that_it_is_bound_to() {
        assert_eq!(deafness(FREE, "239.1.2.3", None), None);
        for (local, expected) in [
            ("239.1.2.3", None),
            ("239.1.2.4", Some(Errno::EADDRNOTAVAIL)),
            ("10.1.0.2", Some(Errno::EADDRNOTAVAIL)),
            ("fd01::2", Some(Errno::EADDRNOTAVAIL)),
        ] {
            assert_eq!(deafness(Hearing { local: Some(ip(local)), ..FREE }, "239.1.2.3", None), expected, "{local}");
        }
        let raw = Hearing { local: Some(ip("fe80::1")), is_raw_ipv6: true, ..FREE };
        assert_eq!(deafness(raw, "ff15::1", None), None);
        assert_eq!(deafness(Hearing { is_ipv6_only: true, ..FREE }, "239.1.2.3", None), Some(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn a_connected_socket_hears_its_peer() {
        let [bound, moved] = ["239.1.2.3", "10.1.0.2"].map(|local| Some(ip(local)));
        for (local, peer, source, expected) in [
            (bound, "10.1.0.9", None, None),
            (bound, "10.1.0.9", Some("10.1.0.9"), None),
            (bound, "10.1.0.9", Some("10.1.0.8"), Some(Errno::EISCONN)),
            (moved, "10.1.0.9", None, Some(Errno::EISCONN)),
            (moved, "239.1.2.3", None, Some(Errno::EISCONN)),
        ] {
            let hearing = Hearing { local, peer: Some(ip(peer)), ..FREE };
            assert_eq!(deafness(hearing, "239.1.2.3", source), expected, "{local:?} {peer} {source:?}");
        }
    }

    #[test]
    fn a_socket_hears_the_interface_that_it_is_tied_to() {
        let key = Key { group: ip("239.1.2.3"), source: None };
        for (device, master, expected) in [
            (7, Master::None, None),
            (8, Master::None, Some(Errno::EXDEV)),
            (9, Master::Vrf(9), None),
            (7, Master::Vrf(9), None),
            (8, Master::Vrf(9), Some(Errno::EXDEV)),
            (0, Master::Port(9), Some(Errno::EBUSY)),
            (9, Master::Port(9), Some(Errno::EBUSY)),
            (9, Master::Other(9), Some(Errno::EXDEV)),
            (0, Master::Other(9), None),
        ] {
            let hearing = Hearing { device, ..FREE };
            assert_eq!(hearing.deafness(key, 7, &link(master)), expected, "{device} {master:?}");
        }
    }
}
