//! Packet sockets (packet(7)): whole packets as they come in by an interface.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{sock_filter, sock_fprog, sockaddr_ll, sockaddr_storage};

use super::option::set;
use super::value;
use crate::error::Result;

/// Not in the libc crate for every target: <linux/if_packet.h>.
const PACKET_VNET_HDR: libc::c_int = 15;

/// Hardware with an Ethernet header (<linux/if_arp.h>), and the loopback interface, which has one too.
const ETHER: u16 = libc::ARPHRD_ETHER;
const LOOPBACK: u16 = libc::ARPHRD_LOOPBACK;
const ETHER_HEADER: usize = 14;
/// Those that begin with the IP header: tun, WireGuard, PPP.
const NONE: u16 = 0xfffe;
const RAW_IP: u16 = 519;
const PPP: u16 = libc::ARPHRD_PPP;

/// How a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The interface.
    pub interface: u32,
    /// How long the link's header is; `None` for a kind of link that isn't known here.
    pub header_len: Option<usize>,
}

impl LinkAddress {
    pub(super) fn from_storage(storage: &sockaddr_storage) -> Option<LinkAddress> {
        if i32::from(storage.ss_family) != libc::AF_PACKET {
            return None;
        }
        // SAFETY: an address of this family is a sockaddr_ll, for which a storage has room.
        let raw = unsafe { (&raw const *storage).cast::<sockaddr_ll>().read() };
        let header_len = match raw.sll_hatype {
            ETHER | LOOPBACK => Some(ETHER_HEADER),
            NONE | RAW_IP | PPP => Some(0),
            _ => None,
        };
        Some(LinkAddress { interface: raw.sll_ifindex.unsigned_abs(), header_len })
    }
}

/// What stands before each packet: <linux/virtio_net.h>'s first form, in the machine's byte order.
pub const OFFLOAD_HEADER: usize = 10;

/// What the sender has left to the hardware, which a packet that never met any still lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The transport's checksum isn't finished.
    pub needs_checksum: bool,
    /// It is a train, to be cut into UDP datagrams of this size.
    pub segment_size: Option<usize>,
    /// It is something else to be cut up.
    pub is_other: bool,
}

impl Offload {
    /// From the bytes before a packet.
    pub fn parse(bytes: &[u8; OFFLOAD_HEADER]) -> Offload {
        const NEEDS_CHECKSUM: u8 = 1;
        const UDP_SEGMENTS: u8 = 5;
        // The bit of congestion marks isn't a kind.
        let [flags, kind, _, _, low, high, ..] = *bytes;
        let size = usize::from(u16::from_ne_bytes([low, high]));
        let kind = kind & 0x7f;
        Offload {
            needs_checksum: flags & NEEDS_CHECKSUM != 0,
            segment_size: (kind == UDP_SEGMENTS && size > 0).then_some(size),
            is_other: kind != 0 && kind != UDP_SEGMENTS,
        }
    }
}

/// A protocol of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a packet socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Packets to groups that may leave their link.
    Groups,
    /// What hosts and routers tell each other of groups: IGMP, and MLD among a little else of ICMPv6.
    Reports,
}

/// A socket for multicast packets that come in by any interface: see [`socket`].
pub fn multicast_socket(protocol: Protocol) -> Result<OwnedFd> {
    socket(protocol, Wanted::Groups)
}

/// A socket for packets that come in by any interface, with an [`Offload`] before each and the link's
/// header. What this host itself sends isn't among them. `EPERM` without CAP_NET_RAW.
pub fn socket(protocol: Protocol, wanted: Wanted) -> Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Of no protocol: nothing arrives before the filter is there.
    // SAFETY: socket(2) takes no pointer.
    let fd = value(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the kernel just made it, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set(fd.as_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, &1_i32)?;
    attach_filter(fd.as_fd(), protocol, wanted)?;
    // SAFETY: all zero is an address.
    let mut at: sockaddr_ll = unsafe { std::mem::zeroed() };
    let number = match protocol {
        Protocol::V4 => libc::ETH_P_IP,
        Protocol::V6 => libc::ETH_P_IPV6,
    };
    (at.sll_family, at.sll_protocol) = (libc::AF_PACKET as u16, (number as u16).to_be());
    // SAFETY: an address with its length.
    value(unsafe { libc::bind(fd.as_raw_fd(), (&raw const at).cast(), size_of::<sockaddr_ll>() as u32) })?;
    Ok(fd)
}

/// Instructions of the classic packet filter (bpf(4) of BSD; the kernel's networking/filter).
pub(super) mod filter {
    use libc::sock_filter;

    const NETWORK: i32 = -0x10_0000;
    const EXTRA: i32 = -0x1000;
    /// The kernel's sll_pkttype.
    pub const PACKET_TYPE: i32 = EXTRA + 4;

    pub const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    /// Loads a byte of the IP header.
    pub const fn byte(at: i32) -> sock_filter {
        op(0x30, 0, 0, (NETWORK + at) as u32)
    }

    /// Loads four bytes of it.
    pub const fn word(at: i32) -> sock_filter {
        op(0x20, 0, 0, (NETWORK + at) as u32)
    }

    /// Loads what the kernel knows beside the packet.
    pub const fn extra(at: i32) -> sock_filter {
        op(0x20, 0, 0, at as u32)
    }

    /// What was loaded, masked.
    pub const fn and(mask: u32) -> sock_filter {
        op(0x54, 0, 0, mask)
    }

    /// Steps over so many instructions if it is equal, over others if not.
    pub const fn if_equal(value: u32, yes: u8, no: u8) -> sock_filter {
        op(0x15, yes, no, value)
    }

    /// Likewise if it is greater.
    pub const fn if_greater(value: u32, yes: u8, no: u8) -> sock_filter {
        op(0x25, yes, no, value)
    }

    /// Loads a byte of what the socket gets.
    pub const fn own_byte(at: u32) -> sock_filter {
        op(0x30, 0, 0, at)
    }

    /// Loads the byte behind the IPv4 header with which what the socket gets begins, and keeps where it is.
    pub const BYTE_BEHIND_V4: [sock_filter; 2] = [op(0xb1, 0, 0, 0), op(0x50, 0, 0, 0)];
    /// Loads the length of what the socket gets.
    pub const LEN: sock_filter = op(0x80, 0, 0, 0);
    /// What was loaded, less what is kept.
    pub const MINUS_KEPT: sock_filter = op(0x1c, 0, 0, 0);
    pub const TAKE: sock_filter = op(0x06, 0, 0, 0x4_0000);
    pub const LEAVE: sock_filter = op(0x06, 0, 0, 0);
}

/// For another host: seen because of promiscuous mode, or of a VLAN that isn't here.
const OTHER_HOST: u32 = 3;

/// Groups outside 224.0.0.0/24, without IGMP.
const V4: &[sock_filter] = {
    use filter::*;
    &[
        extra(PACKET_TYPE),
        if_equal(OTHER_HOST, 7, 0),
        word(16),
        and(0xffff_ff00),
        if_equal(0xe000_0000, 4, 0),
        and(0xf000_0000),
        if_equal(0xe000_0000, 0, 2),
        byte(9),
        if_equal(2, 0, 1),
        LEAVE,
        TAKE,
    ]
};

/// Groups that may leave their link.
const V6: &[sock_filter] = {
    use filter::*;
    &[
        extra(PACKET_TYPE),
        if_equal(OTHER_HOST, 5, 0),
        byte(24),
        if_equal(0xff, 0, 3),
        byte(25),
        and(15),
        if_greater(2, 1, 0),
        LEAVE,
        TAKE,
    ]
};

/// IGMP.
const V4_REPORTS: &[sock_filter] = {
    use filter::*;
    &[extra(PACKET_TYPE), if_equal(OTHER_HOST, 2, 0), byte(9), if_equal(2, 1, 0), LEAVE, TAKE]
};

/// ICMPv6 behind hop-by-hop options, which MLD has and little else.
const V6_REPORTS: &[sock_filter] = {
    use filter::*;
    &[
        extra(PACKET_TYPE),
        if_equal(OTHER_HOST, 4, 0),
        byte(6),
        if_equal(0, 0, 2),
        byte(40),
        if_equal(58, 1, 0),
        LEAVE,
        TAKE,
    ]
};

/// PACKET_ADD_MEMBERSHIP: an interface takes packets to all groups from its network, until the socket is
/// closed or the interface is gone.
pub fn take_all_groups(fd: BorrowedFd<'_>, interface: u32) -> Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &all_groups(interface))
}

/// PACKET_DROP_MEMBERSHIP: no more of that. `EADDRNOTAVAIL` if it hasn't been so since the interface is
/// there.
pub fn leave_all_groups(fd: BorrowedFd<'_>, interface: u32) -> Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_DROP_MEMBERSHIP, &all_groups(interface))
}

fn all_groups(interface: u32) -> libc::packet_mreq {
    // SAFETY: all zero is a request.
    let mut request: libc::packet_mreq = unsafe { std::mem::zeroed() };
    (request.mr_ifindex, request.mr_type) = (interface as i32, libc::PACKET_MR_ALLMULTI as u16);
    request
}

fn attach_filter(fd: BorrowedFd<'_>, protocol: Protocol, wanted: Wanted) -> Result<()> {
    let instructions = match (protocol, wanted) {
        (Protocol::V4, Wanted::Groups) => V4,
        (Protocol::V6, Wanted::Groups) => V6,
        (Protocol::V4, Wanted::Reports) => V4_REPORTS,
        (Protocol::V6, Wanted::Reports) => V6_REPORTS,
    };
    attach(fd, instructions)
}

/// SO_ATTACH_FILTER.
pub(super) fn attach(fd: BorrowedFd<'_>, instructions: &[sock_filter]) -> Result<()> {
    let program = sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut() };
    // The kernel copies the instructions.
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offload_header() {
        assert_eq!(Offload::parse(&[0; 10]), Offload::default());
        let mut bytes = [1, 5, 42, 0, 0, 0, 34, 0, 6, 0];
        bytes[4..6].copy_from_slice(&1200_u16.to_ne_bytes());
        let told = Offload { needs_checksum: true, segment_size: Some(1200), is_other: false };
        assert_eq!(Offload::parse(&bytes), told);
        bytes[1] = 1;
        assert!(Offload::parse(&bytes).is_other);
    }
}
