//! The ports that bridges send their own datagrams from, by which other bridges know those.
//!
//! A datagram that a bridge sends as its own has lost its sender, so that only its payload tells whether it
//! has come round. Between hosts the payload says nothing: their heartbeats may be equal.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;

/// Of the ports for private use (RFC 6335, section 6), one in 256: enough for many bridges on a host, and
/// few hosts choose one by chance.
const FIRST: u16 = 0xc0c5;
const STEP: usize = 0x100;

/// All of them.
pub fn ports() -> impl Iterator<Item = u16> {
    (FIRST..=u16::MAX).step_by(STEP)
}

/// Whether a port is one of them.
pub fn is_bridges(port: u16) -> bool {
    port >= FIRST && usize::from(port - FIRST) % STEP == 0
}

/// Binds a socket to a free one; if none is free, the kernel chooses any port later.
pub fn bind(fd: BorrowedFd<'_>, any: IpAddr) -> Result<()> {
    for port in ports() {
        match socket::bind(fd, &SocketAddress::from(SocketAddr::new(any, port))) {
            Err(Errno::EADDRINUSE) => {}
            result => return result,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ports_are_bridges() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|port| is_bridges(*port)).collect();
        assert_eq!(all, ports().collect::<Vec<_>>());
        assert_eq!((all.len(), all[0]), (64, 0xc0c5));
    }
}
