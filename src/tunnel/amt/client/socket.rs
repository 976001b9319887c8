//! One of a gateway's sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::super::gateway::Transmit;
use crate::datagram::buffer;
use crate::error::{Errno, Result};
use crate::sys::errqueue;
use crate::sys::mmsg::{self, Destination};
use crate::sys::option::{Family, IntOption};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket::{self, Flags};

/// Control messages go before other traffic.
const TRAFFIC_CLASS: i32 = 0xc0;

/// Room for what comes while the program is busy, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

pub(super) struct Socket {
    fd: OwnedFd,
    /// Its count of drops, as last told.
    pub drops: u32,
}

impl Socket {
    pub fn open(v6: bool, local: Option<IpAddr>, port: u16) -> Result<Socket> {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let owned = socket::udp_socket(family.domain())?;
        let fd = owned.as_fd();
        let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let local = local.filter(|local| local.is_ipv6() == v6).unwrap_or(any);
        if v6 {
            IntOption::IPV6_ONLY.set(fd, 1)?;
        }
        socket::bind(fd, &SocketAddress::from(SocketAddr::new(local, port)))?;
        let told: &[(IntOption, i32)] = match family {
            Family::V4 => &[
                (IntOption::IPV4_RECEIVE_CLASS, 1),
                (IntOption::IPV4_RECEIVE_ERRORS, 1),
                (IntOption::IPV4_CLASS, TRAFFIC_CLASS),
            ],
            Family::V6 => &[
                (IntOption::IPV6_RECEIVE_CLASS, 1),
                (IntOption::IPV6_RECEIVE_ERRORS, 1),
                (IntOption::IPV6_CLASS, TRAFFIC_CLASS),
                // A relay may leave out the checksum of Data, as the packet inside has its own (RFC 7450,
                // sections 5.1.6 and 5.2.3.3).
                (IntOption::IPV6_NO_CHECKSUM_IN, 1),
            ],
        };
        let for_both = [(IntOption::UDP_GRO, 1), (IntOption::DROPS, 1), (IntOption::TIMESTAMP_NS, 1)];
        for (option, value) in told.iter().chain(&for_both) {
            // Where the kernel doesn't know one it tells less.
            let _ = option.set(fd, *value);
        }
        // As far as the system allows: a relay's bursts are as long as its senders'.
        let _ = buffer::set_receive(fd, RECEIVE_BUFFER);
        Ok(Socket { fd: owned, drops: 0 })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn send(&self, transmit: &Transmit) -> Result<()> {
        let to = SocketAddress::from(transmit.to);
        let flags = Flags::DONTWAIT.and(Flags::NOSIGNAL);
        loop {
            match mmsg::send_to(self.fd(), transmit.bytes.as_slice().into(), Destination::of(&to), flags) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Where the next of what was sent and didn't arrive was to go.
    pub fn next_error(&self) -> Option<SocketAddr> {
        loop {
            match errqueue::take_unreachable(self.fd()) {
                // A router tells of a smaller MTU: the kernel goes by it.
                Ok(Some((_, Errno::EMSGSIZE))) => {}
                Ok(Some((to, _))) => return Some(to),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}
