//! Bridges as a test calls them, and LANs at both ends of a network that carries unicast only.

use std::ffi::c_int;
use std::ptr;

use castio::Errno;
use castio::ffi::bridge::*;

use super::face::{call, pointer, text};
use super::hosts::{self, Host, Network, Port};
use super::tunnels::{OPTIONS as TUNNEL, Path, Tunnel};
use super::udp::{Family, Udp};

/// What a bridge is to do.
#[derive(Clone, Copy, Default)]
pub struct Wish<'a> {
    pub ingress: Option<&'a str>,
    pub groups: Option<&'a str>,
    pub egress: Option<&'a str>,
    pub flags: u32,
    pub least_ttl: u32,
    pub least_scope: u32,
}

/// A bridge and its tunnel, on their host. Both are closed when it goes, the bridge first.
pub struct Bridge<'h> {
    raw: *mut castio_bridge,
    pub tunnel: Tunnel,
    pub host: &'h Host,
}

// SAFETY: one thread at a time has it.
unsafe impl Sync for Bridge<'_> {}

impl<'h> Bridge<'h> {
    pub fn try_open(host: &'h Host, tunnel: Tunnel, wish: &Wish<'_>) -> Result<Bridge<'h>, Errno> {
        let [ingress, groups, egress] = [wish.ingress, wish.groups, wish.egress].map(|one| one.map(text));
        let options = castio_bridge_options {
            struct_size: size_of::<castio_bridge_options>(),
            ingress: pointer(&ingress),
            groups: pointer(&groups),
            egress: pointer(&egress),
            flags: wish.flags,
            least_ttl: wish.least_ttl,
            least_scope: wish.least_scope,
        };
        let mut raw = ptr::null_mut();
        let (tunnel_at, options_at, place) =
            (tunnel.raw() as usize, &raw const options as usize, &raw mut raw as usize);
        // SAFETY: a handle, a struct, and a place.
        let open = || unsafe {
            castio_bridge_open(tunnel_at as *mut _, options_at as *const _, place as *mut *mut castio_bridge)
        };
        host.run(|| call(open))?;
        Ok(Bridge { raw, tunnel, host })
    }

    pub fn open(host: &'h Host, tunnel: Tunnel, wish: &Wish<'_>) -> Bridge<'h> {
        Bridge::try_open(host, tunnel, wish).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// For a call in another process.
    pub fn raw(&self) -> usize {
        self.raw as usize
    }

    pub fn process(&self) -> i64 {
        let raw = self.raw as usize;
        // SAFETY: a handle.
        self.host.run(|| call(|| unsafe { castio_bridge_process(raw as *mut _) })).unwrap()
    }

    /// Works until nothing goes on any more.
    pub fn settle(&self) {
        while self.process() > 0 {}
    }

    pub fn run(&self, timeout_ms: c_int) -> Result<i64, Errno> {
        let raw = self.raw as usize;
        // SAFETY: a handle.
        self.host.run(|| call(|| unsafe { castio_bridge_run(raw as *mut _, timeout_ms) }))
    }

    pub fn fd(&self) -> c_int {
        // SAFETY: a handle.
        call(|| unsafe { castio_bridge_fd(self.raw) }).unwrap() as c_int
    }

    pub fn timeout_ms(&self) -> c_int {
        let mut timeout = -2;
        // SAFETY: a handle and a place.
        call(|| unsafe { castio_bridge_timeout_ms(self.raw, &raw mut timeout) }).unwrap();
        timeout
    }

    pub fn info(&self) -> castio_bridge_info {
        // SAFETY: all zero is one.
        let mut info: castio_bridge_info = unsafe { std::mem::zeroed() };
        info.struct_size = size_of_val(&info);
        // SAFETY: a handle and a struct of its size.
        call(|| unsafe { castio_bridge_info(self.raw, &raw mut info) }).unwrap();
        info
    }
}

impl Drop for Bridge<'_> {
    fn drop(&mut self) {
        // SAFETY: closed once.
        unsafe { castio_bridge_close(self.raw) };
    }
}

/// Lets bridges work until it is so.
pub fn pump(bridges: &[&Bridge<'_>], what: &str, mut is_so: impl FnMut() -> bool) {
    hosts::until(what, || {
        for bridge in bridges {
            bridge.process();
        }
        is_so()
    });
}

/// A path with a LAN behind each end: `source` on `a`'s, `receiver` on `b`'s, both ends' interface "lan".
pub struct Lans {
    pub path: Path,
    pub source: Host,
    pub receiver: Host,
}

impl Lans {
    pub fn new(network: &Network) -> Lans {
        let path = Path::new(network);
        let (source, receiver) = (network.host("source"), network.host("receiver"));
        let port = |host, name, addresses| -> Port<'_> { (host, name, addresses) };
        network.link(
            port(&path.a, "lan", &["10.21.0.1/24", "fd21::1/64"]),
            port(&source, "eth0", &["10.21.0.9/24", "fd21::9/64"]),
        );
        network.link(
            port(&path.b, "lan", &["10.22.0.1/24", "fd22::1/64"]),
            port(&receiver, "eth0", &["10.22.0.9/24", "fd22::9/64"]),
        );
        source.ip("route add default via 10.21.0.1\nroute add default via fd21::1");
        receiver.ip("route add default via 10.22.0.1\nroute add default via fd22::1");
        Lans { path, source, receiver }
    }

    /// A bridge at each end of a tunnel.
    pub fn bridges(&self, kind: c_int, outer: Family, a: &Wish<'_>, b: &Wish<'_>) -> (Bridge<'_>, Bridge<'_>) {
        let (at_a, at_b) = self.path.tunnel(kind, outer, &TUNNEL);
        (Bridge::open(&self.path.a, at_a, a), Bridge::open(&self.path.b, at_b, b))
    }

    /// The address of the source.
    pub fn source_ip(family: Family) -> &'static str {
        if family == Family::V4 { "10.21.0.9" } else { "fd21::9" }
    }

    /// A socket of the source's, with this TTL.
    pub fn sender(&self, family: Family, ttl: i32) -> Udp {
        self.source.run(|| {
            let udp = Udp::new(family);
            set_ttl(&udp, family, ttl);
            udp
        })
    }

    /// A socket of the receiver's that has joined a group.
    pub fn listener(&self, family: Family, group: &str) -> Udp {
        listener(&self.receiver, family, group)
    }
}

pub fn set_ttl(udp: &Udp, family: Family, ttl: i32) {
    match family {
        Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, ttl).unwrap(),
        Family::V6 => udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, ttl).unwrap(),
    }
}

/// A socket that has joined a group on eth0, and gets nothing else.
pub fn listener(host: &Host, family: Family, group: &str) -> Udp {
    use super::face::{Form, JOIN};
    host.run(|| {
        let udp = Udp::new(family);
        udp.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
        match family {
            Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0).unwrap(),
            Family::V6 => udp.set(libc::IPPROTO_IPV6, 29, 0).unwrap(),
        }
        udp.bind(std::net::SocketAddr::new(family.wildcard(), super::udp::PORT)).unwrap();
        Form::Text.group(JOIN, &udp, group, Some("eth0")).unwrap();
        udp
    })
}
