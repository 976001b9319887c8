//! Tunnels as a test calls them, packets to go through, and a network that carries unicast only.

use std::ffi::{c_int, c_void};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use castio::Errno;
use castio::ffi::tunnel::*;
use castio::ffi::tunnel_info::*;
use libc::iovec;

use super::face::{call, pointer, text};
use super::hosts::{Host, Network, Port};
use super::packets::Header;
use super::tools;
use super::udp::Family;

/// How long to wait for what must come.
pub const PATIENCE_MS: c_int = 10_000;

/// The default.
pub const OPTIONS: castio_tunnel_options = castio_tunnel_options {
    struct_size: size_of::<castio_tunnel_options>(),
    flags: 0,
    key: 0,
    ttl: 0,
    mtu: 0,
    slots: 0,
};

pub const KINDS: [c_int; 4] = [CASTIO_TUNNEL_IPIP, CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP, CASTIO_TUNNEL_UDP];

/// A handle, closed when it goes.
pub struct Tunnel(*mut castio_tunnel);

// SAFETY: one thread at a time has it.
unsafe impl Send for Tunnel {}
// SAFETY: tests use one from one thread at a time.
unsafe impl Sync for Tunnel {}

impl Tunnel {
    pub fn try_open(
        host: &Host,
        kind: c_int,
        local: Option<&str>,
        remote: &str,
        options: &castio_tunnel_options,
    ) -> Result<Tunnel, Errno> {
        let (local, remote, mut out) = (local.map(text), text(remote), ptr::null_mut());
        let (local, place) = (pointer(&local) as usize, &raw mut out as usize);
        // SAFETY: text that ends in a NUL, or NULL; a struct, and a place.
        let open = || unsafe {
            castio_tunnel_open(kind, local as *const _, remote.as_ptr(), options, place as *mut *mut castio_tunnel)
        };
        host.run(|| call(open))?;
        Ok(Tunnel(out))
    }

    pub fn open(host: &Host, kind: c_int, local: &str, remote: &str, options: &castio_tunnel_options) -> Tunnel {
        let result = Tunnel::try_open(host, kind, Some(local), remote, options);
        result.unwrap_or_else(|error| panic!("kind {kind} from {local} to {remote}: {error:?}"))
    }

    pub fn raw(&self) -> *mut castio_tunnel {
        self.0
    }

    /// How many went, and how it ended.
    pub fn try_send<P: AsRef<[u8]>>(&self, packets: &[P], timeout_ms: c_int) -> (usize, Result<i64, Errno>) {
        let list: Vec<iovec> = packets.iter().map(|packet| as_iovec(packet.as_ref())).collect();
        let mut done = usize::MAX;
        // SAFETY: a handle, an array of packets, and a place.
        let result =
            call(|| unsafe { castio_tunnel_send(self.0, list.as_ptr(), list.len(), timeout_ms, &raw mut done) as i64 });
        (done, result)
    }

    pub fn send<P: AsRef<[u8]>>(&self, packets: &[P]) {
        let count = packets.len();
        assert_eq!(self.try_send(packets, PATIENCE_MS), (count, Ok(count as i64)));
    }

    pub fn try_receive(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<Vec<u8>>, Errno> {
        let mut list = vec![as_iovec(&[]); capacity];
        // SAFETY: a handle and an array.
        let count = call(|| unsafe { castio_tunnel_receive(self.0, list.as_mut_ptr(), capacity, timeout_ms) as i64 })?;
        list.truncate(count as usize);
        // SAFETY: views of packets, until the next call.
        let copy = |view: &iovec| unsafe { std::slice::from_raw_parts(view.iov_base.cast(), view.iov_len).to_vec() };
        Ok(list.iter().map(copy).collect())
    }

    /// So many packets; a failure if they don't come.
    pub fn receive(&self, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < count {
            let left = count - all.len();
            let some = self.try_receive(left, PATIENCE_MS);
            all.extend(some.unwrap_or_else(|error| panic!("{} of {count} packets, then {error:?}", all.len())));
        }
        all
    }

    pub fn fd(&self) -> c_int {
        // SAFETY: a handle.
        call(|| unsafe { castio_tunnel_fd(self.0) }).unwrap() as c_int
    }

    pub fn info(&self) -> castio_tunnel_info {
        // SAFETY: all zero is one.
        let mut info: castio_tunnel_info = unsafe { std::mem::zeroed() };
        info.struct_size = size_of_val(&info);
        // SAFETY: a handle, and a struct of its size.
        call(|| unsafe { castio_tunnel_info(self.0, &raw mut info) }).unwrap();
        info
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // SAFETY: closed once.
        unsafe { castio_tunnel_close(self.0) };
    }
}

pub fn as_iovec(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() }
}

/// A packet from a source far away to a group, with a datagram in it.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    pub family: Family,
    pub ttl: u8,
    pub traffic_class: u8,
    pub dont_fragment: bool,
    /// The datagram's payload.
    pub payload_len: usize,
    /// What the payload is made of.
    pub number: u8,
    /// Where it goes; `None` for a group and port like any other.
    pub to: Option<SocketAddr>,
}

impl Inner {
    pub fn new(family: Family) -> Inner {
        Inner { family, ttl: 9, traffic_class: 0, dont_fragment: false, payload_len: 100, number: 0, to: None }
    }

    pub fn source(&self) -> IpAddr {
        if self.family == Family::V4 { [10, 77, 0, 5].into() } else { "fd77::5".parse().unwrap() }
    }

    /// To a group and port.
    pub fn to(self, group: &str, port: u16) -> Inner {
        Inner { to: Some(SocketAddr::new(group.parse().unwrap(), port)), ..self }
    }

    pub fn group(&self) -> IpAddr {
        if let Some(to) = self.to {
            return to.ip();
        }
        if self.family == Family::V4 { [239, 1, 2, 3].into() } else { "ff15::1:2:3".parse().unwrap() }
    }

    pub fn packet(&self) -> Vec<u8> {
        let payload = vec![self.number; self.payload_len];
        let header = Header {
            ttl: self.ttl,
            traffic_class: self.traffic_class,
            identification: 0x1234,
            dont_fragment: self.dont_fragment,
            ..Header::new(self.source(), self.group())
        };
        header.datagram([4000, self.to.map_or(5000, |to| to.port())], &payload)
    }
}

/// Two hosts with a router between, which carries unicast only: 10.11.0.2 and fd11::2 behind `left` of
/// the router, 10.12.0.2 and fd12::2 behind `right`.
pub struct Path {
    pub a: Host,
    pub router: Host,
    pub b: Host,
}

impl Path {
    pub fn new(network: &Network) -> Path {
        let (a, router, b) = (network.host("a"), network.host("router"), network.host("b"));
        let end = |host, addresses| -> Port<'_> { (host, "eth0", addresses) };
        network.link(end(&a, &["10.11.0.2/24", "fd11::2/64"]), (&router, "left", &["10.11.0.1/24", "fd11::1/64"]));
        network.link(end(&b, &["10.12.0.2/24", "fd12::2/64"]), (&router, "right", &["10.12.0.1/24", "fd12::1/64"]));
        router.set("net/ipv4/ip_forward", "1");
        router.set("net/ipv6/conf/all/forwarding", "1");
        a.ip("route add default via 10.11.0.1\nroute add default via fd11::1");
        b.ip("route add default via 10.12.0.1\nroute add default via fd12::1");
        Path { a, router, b }
    }

    /// What leaves `a` and `b` is on the wire as it will be at the last: no trains, checksums done. `false`
    /// if there is no ethtool(8), which the test is then skipped for.
    pub fn is_plain(&self) -> bool {
        let Some(ethtool) = tools::find("ethtool", "ethtool") else { return false };
        for host in [&self.a, &self.b] {
            let mut command = ethtool.command();
            command.args(["-K", "eth0", "tx", "off", "tx-udp-segmentation", "off"]);
            let output = host.run(|| command.output().unwrap());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        true
    }

    /// The addresses of both ends.
    pub fn ends(outer: Family) -> (&'static str, &'static str) {
        if outer == Family::V4 { ("10.11.0.2", "10.12.0.2") } else { ("fd11::2", "fd12::2") }
    }

    /// A tunnel's two ends.
    pub fn tunnel(&self, kind: c_int, outer: Family, options: &castio_tunnel_options) -> (Tunnel, Tunnel) {
        let (a, b) = Path::ends(outer);
        (Tunnel::open(&self.a, kind, a, b, options), Tunnel::open(&self.b, kind, b, a, options))
    }
}

/// A packet socket (packet(7)) that keeps what passes an interface, from the IP header on.
pub struct Capture(OwnedFd);

impl Capture {
    pub fn new(host: &Host, interface: &str) -> Capture {
        let index = host.index(interface);
        // SAFETY: no memory involved.
        let fd = host.run(|| unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) });
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a socket just made.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zero is an address.
        let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (at.sll_family, at.sll_ifindex) = (libc::AF_PACKET as u16, index as i32);
        at.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: an address with its length.
        let result = unsafe { libc::bind(fd, (&raw const at).cast(), size_of_val(&at) as u32) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Capture(owned)
    }

    /// All IP packets that wait now, but for the neighbours' own business (ICMPv6, IGMP, ARP).
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let is_ip = |packet: &Vec<u8>| match packet[0] >> 4 {
            4 => packet[9] != 2,
            6 => packet[6] != 58 && packet[6] != 0,
            _ => false,
        };
        std::iter::from_fn(|| self.packet()).filter(is_ip).collect()
    }

    /// The next packet that waits, of whatever kind.
    pub fn packet(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 16];
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: room for as many bytes.
        let len = unsafe { libc::recv(self.0.as_raw_fd(), at, bytes.len(), libc::MSG_DONTWAIT) };
        bytes.truncate(usize::try_from(len).ok()?);
        Some(bytes)
    }
}

/// Takes all capabilities from the calling thread (capset(2)).
pub fn without_privilege() {
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: a header of version 3 and its data.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}
