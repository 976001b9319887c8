//! What a host is told by ICMP.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use castio::sys::sockaddr;
use castio::tunnel::ip::checksum::Checksum;

use super::hosts::{self, Host};
use super::udp::Family;

/// ICMPv6's Packet Too Big (RFC 4443, section 3.2).
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

    /// The next message that waits, and who sent it.
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
        let to: Ipv6Addr = to.parse().unwrap();
        let mut all = Vec::new();
        while let Some((from, message)) = self.next() {
            if message[..2] == [2, 0] {
                let sum = Checksum::pseudo(from, to.into(), 58, message.len()).with(&message);
                assert!(sum.is_good(), "{message:?}");
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
