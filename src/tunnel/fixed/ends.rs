//! A tunnel's sockets, bound to one end and to the other.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use super::kind::{Kind, Shape};
use crate::address::Scoped;
use crate::datagram::buffer;
use crate::error::{Errno, Result};
use crate::sys::option::{self, Family, IntOption};
use crate::sys::sockaddr::{CompactAddress, SocketAddress};
use crate::sys::socket;
use crate::tunnel::ecn::Mode;

/// The port of the discard service (RFC 863).
const DISCARD: u16 = 9;

/// Room for a burst from a fast network, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What a tunnel is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The GRE key.
    pub key: Option<u32>,
    /// GRE checksums.
    pub checksum: bool,
    /// GRE sequence numbers.
    pub sequence: bool,
    /// What is too large for the path goes in pieces if it may.
    pub fragment: bool,
    /// Congestion marks.
    pub ecn: Mode,
    /// The outer TTL or hop limit; 0 for the kernel's choice.
    pub ttl: u8,
    /// The largest inner packet; 0 for what fits.
    pub mtu: usize,
}

/// Both ends of a tunnel.
pub struct Ends {
    /// What the tunnel is like.
    pub shape: Shape,
    /// This end, as it was given.
    pub local: SocketAddr,
    /// The other end; its port is 0 with a kind that has none.
    pub remote: SocketAddr,
    /// Asks for the path's MTU, and is used for nothing else.
    asker: OwnedFd,
}

impl Ends {
    /// Makes and binds the sockets; see [`Kind::protocols`]. `EAFNOSUPPORT` if the ends aren't of one family,
    /// `EINVAL` if the other one is no host, or an option isn't one of this kind.
    pub fn open(
        kind: Kind,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &Options,
    ) -> Result<(Ends, Vec<OwnedFd>)> {
        let local = local.unwrap_or(SocketAddr::new(unspecified(remote.ip()), kind.port()));
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(Errno::EAFNOSUPPORT);
        }
        let is_host = |ip: IpAddr| !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST;
        let has_gre = options.key.is_some() || options.checksum || options.sequence;
        let has_port = remote.port() > 0 || !kind.is_udp();
        if !is_host(remote.ip()) || !has_port || local.ip().is_multicast() || (has_gre && !kind.is_gre()) {
            return Err(Errno::EINVAL);
        }
        let outer = if remote.is_ipv4() { Family::V4 } else { Family::V6 };
        let Options { key, checksum, sequence, .. } = *options;
        let shape = Shape { kind, outer, key, checksum, sequence };
        let socket = |protocol: &u8| open_socket(&shape, local, remote, *protocol, options);
        let sockets = kind.protocols().iter().map(socket).collect::<Result<_>>()?;
        let asker = socket::udp_socket(outer.domain())?;
        socket::bind(asker.as_fd(), &SocketAddress::from(with_port(local, 0)))?;
        Ok((Ends { shape, local, remote, asker }, sockets))
    }

    /// Where packets are sent to, where the sockets don't know.
    pub fn destination(&self) -> Option<CompactAddress> {
        (!is_connected(self.shape.kind)).then_some(self.remote.into())
    }

    /// Whom to take packets from.
    pub fn accepted(&self) -> SocketAddr {
        match self.shape.kind {
            Kind::Udp => self.remote,
            _ => with_port(self.remote, 0),
        }
    }

    /// How large an outer packet can be on the way to the other end, as far as is known now.
    pub fn path_mtu(&self) -> Result<usize> {
        let fd = self.asker.as_fd();
        // Connecting anew looks for the route anew. The port doesn't matter, but it can't be 0.
        socket::connect(fd, &SocketAddress::from(with_port(self.remote, self.remote.port().max(DISCARD))))?;
        let option = match self.shape.outer {
            Family::V4 => IntOption::IPV4_PATH_MTU,
            Family::V6 => IntOption::IPV6_PATH_MTU,
        };
        usize::try_from(option.get(fd)?).map_err(|_| Errno::EINVAL)
    }
}

/// Whether the kernel lets nothing through but what is from the other end. With GRE in UDP it couldn't:
/// there the other end chooses its port for each flow (RFC 8086, section 3.2.1).
fn is_connected(kind: Kind) -> bool {
    kind != Kind::GreUdp
}

fn open_socket(
    shape: &Shape,
    local: SocketAddr,
    remote: SocketAddr,
    protocol: u8,
    options: &Options,
) -> Result<OwnedFd> {
    let (outer, kind) = (shape.outer, shape.kind);
    let owned = match kind.is_udp() {
        true => socket::udp_socket(outer.domain())?,
        false => socket::raw_socket(outer.domain(), protocol)?,
    };
    let fd = owned.as_fd();
    let (hops, tell_class) = match outer {
        Family::V4 => (IntOption::IPV4_TTL, IntOption::IPV4_RECEIVE_CLASS),
        Family::V6 => (IntOption::IPV6_UNICAST_HOPS, IntOption::IPV6_RECEIVE_CLASS),
    };
    // A raw socket knows no other, and doesn't take the option.
    if outer == Family::V6 && kind.is_udp() {
        IntOption::IPV6_ONLY.set(fd, 1)?;
    }
    if options.ttl > 0 {
        hops.set(fd, options.ttl.into())?;
    }
    tell_class.set(fd, 1)?;
    option::allow_fragments(fd, outer, false)?;
    // The system's limit may grant less.
    let _ = buffer::set_receive(fd, RECEIVE_BUFFER);
    // Older kernels don't tell of drops, or don't coalesce: then there is less to count and to gain.
    let _ = IntOption::DROPS.set(fd, 1);
    if kind.is_udp() {
        let _ = IntOption::UDP_GRO.set(fd, 1);
    }
    socket::bind(fd, &SocketAddress::from(local))?;
    if is_connected(kind) {
        socket::connect(fd, &SocketAddress::from(remote))?;
    }
    Ok(owned)
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// An end from text: "192.0.2.1", "192.0.2.1:4754", "2001:db8::1", "[fe80::1%eth0]:4754". `EINVAL` if it is
/// none, or has a port and the kind none; `ENODEV` if it names no interface of this host.
pub fn parse(text: &CStr, kind: Kind) -> Result<SocketAddr> {
    let text = text.to_str().map_err(|_| Errno::EINVAL)?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, behind) = rest.split_once(']').ok_or(Errno::EINVAL)?;
            let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':').ok_or(Errno::EINVAL)?) };
            (ip, port)
        }
        None => match text.split_once(':') {
            Some((ip, port)) if !port.contains(':') => (ip, Some(port)),
            _ => (text, None),
        },
    };
    let port = match port {
        None => kind.port(),
        Some(_) if !kind.is_udp() => return Err(Errno::EINVAL),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| Errno::EINVAL)?,
        Some(_) => return Err(Errno::EINVAL),
    };
    let ip = std::ffi::CString::new(ip).map_err(|_| Errno::EINVAL)?;
    let Scoped { ip, scope } = Scoped::parse(&ip)?;
    Ok(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_with_and_without_a_port() {
        let read = |text: &CStr, kind| parse(text, kind).map(|end| end.to_string());
        let good = [
            (c"192.0.2.1", Kind::IpIp, "192.0.2.1:0"),
            (c"192.0.2.1", Kind::GreUdp, "192.0.2.1:4754"),
            (c"192.0.2.1:5", Kind::GreUdp, "192.0.2.1:5"),
            (c"2001:db8::1", Kind::Udp, "[2001:db8::1]:2268"),
            (c"[2001:db8::1]", Kind::Gre, "[2001:db8::1]:0"),
            (c"[2001:db8::1]:5", Kind::Udp, "[2001:db8::1]:5"),
            (c"[fe80::1%lo]:5", Kind::Udp, "[fe80::1%1]:5"),
        ];
        for (text, kind, expected) in good {
            assert_eq!(read(text, kind), Ok(expected.to_owned()), "{text:?}");
        }
        for text in [c"", c"192.0.2.1:", c"192.0.2.1:x", c"192.0.2.1:+5", c"192.0.2.1:65536", c"[::1", c"[::1]5", c"a"]
        {
            assert_eq!(read(text, Kind::Udp), Err(Errno::EINVAL), "{text:?}");
        }
        assert_eq!(read(c"192.0.2.1:5", Kind::Gre), Err(Errno::EINVAL));
        assert_eq!(read(c"fe80::1%no-such", Kind::Gre), Err(Errno::ENODEV));
    }
}
