//! What a host is told by ICMP.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use castio::sys::sockaddr;
use castio::tunnel::ip::Packet;
use castio::tunnel::ip::checksum::Checksum;

use super::hosts::{self, Host};
use super::udp::{Family, PORT, Udp};

/// ICMPv6's Packet Too Big (RFC 4443, section 3.2), or ICMP's Destination Unreachable with code 4 (RFC 1191,
/// section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// Who sent it.
    pub from: String,
    pub mtu: u32,
    /// The packet that was too big, as far as it is quoted.
    pub quoted: Vec<u8>,
}

/// A raw socket (raw(7)) that reads along.
pub struct Icmp(OwnedFd);

impl Icmp {
    pub fn new(host: &Host, family: Family) -> Icmp {
        let protocol = if family == Family::V4 { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no memory involved.
        let fd = host.run(|| unsafe { libc::socket(family.domain(), kind, protocol) });
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a socket just made.
        Icmp(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The next message that waits, with IPv4 behind its IP header, and who sent it.
    pub fn next(&self) -> Option<(IpAddr, Vec<u8>)> {
        let mut bytes = vec![0; 65_536];
        // SAFETY: all zero is an address.
        let mut from: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut from_len = size_of_val(&from) as u32;
        let (at, fd) = (bytes.as_mut_ptr().cast(), self.0.as_raw_fd());
        // SAFETY: room for as many bytes, and for an address.
        let len = unsafe { libc::recvfrom(fd, at, bytes.len(), 0, (&raw mut from).cast(), &raw mut from_len) };
        bytes.truncate(usize::try_from(len).ok()?);
        Some((sockaddr::from_storage(&from).unwrap().ip(), bytes))
    }

    /// Of those that wait, the ones that say that a packet was too big for this host to send.
    pub fn too_big(&self, to: &str) -> Vec<TooBig> {
        let to: IpAddr = to.parse().unwrap();
        let mut all = Vec::new();
        while let Some((from, bytes)) = self.next() {
            let (message, sum) = if to.is_ipv4() {
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!((packet.source, packet.destination), (from, to));
                // What every host takes (RFC 1812, section 4.3.2.3).
                assert!(bytes.len() <= 576);
                (packet.payload, Checksum::new())
            } else {
                (&bytes[..], Checksum::pseudo(from, to, 58, bytes.len()))
            };
            if message[..2] == if to.is_ipv4() { [3, 4] } else { [2, 0] } {
                assert!(sum.with(message).is_good(), "{message:?}");
                let mtu = u32::from_be_bytes(message[4..8].try_into().unwrap());
                all.push(TooBig { from: from.to_string(), mtu, quoted: message[8..].to_vec() });
            }
        }
        all
    }

    /// The next of them, while something works.
    pub fn waits_for_too_big(&self, to: &str, mut work: impl FnMut()) -> TooBig {
        let mut all = Vec::new();
        hosts::until("a Packet Too Big", || {
            work();
            all.extend(self.too_big(to));
            !all.is_empty()
        });
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

/// Sends packets as large as its interface takes, whatever it has learnt of the path.
pub fn unteachable(udp: Udp, family: Family) -> Udp {
    match family {
        Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE).unwrap(),
        Family::V6 => udp.set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE).unwrap(),
    }
    udp
}

/// A payload that makes a packet of this length.
pub fn text(family: Family, packet_len: usize) -> String {
    "x".repeat(packet_len - if family == Family::V4 { 28 } else { 48 })
}

/// It quotes a packet of this length from this source to this group.
pub fn assert_quotes(told: &TooBig, len: usize, source: &str, group: &str) {
    // As much as every link, or host, takes.
    assert_eq!(told.quoted.len(), if source.contains(':') { 1280 - 48 } else { 576 - 28 });
    let mut whole = told.quoted.clone();
    whole.resize(len, b'x');
    let packet = Packet::parse(&whole).unwrap();
    assert_eq!((packet.source.to_string(), packet.destination.to_string()), (source.to_owned(), group.to_owned()));
    assert_eq!(packet.bytes.len(), len);
    assert_eq!(packet.payload[2..4], PORT.to_be_bytes());
}
