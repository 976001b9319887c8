//! Multicast across a router: how far a TTL reaches, seen behind it.

mod support;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use castio::ffi::multicast::options::castio_set_ttl;
use castio::sys::sockaddr;
use support::face::{Form, JOIN, JOIN_SOURCE, call, storage};
use support::hosts::{self, Host, Network};
use support::udp::{FAMILIES, Family, Udp};

// <linux/mroute.h>; <linux/mroute6.h> has the same numbers and calls a vif a mif.
const MRT_INIT: i32 = 200;
const MRT_ADD_VIF: i32 = 202;
const MRT_ADD_MFC: i32 = 204;
const VIFF_USE_IFINDEX: u8 = 8;

#[repr(C)]
struct Vif {
    number: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    index: i32,
    remote: libc::in_addr,
}

#[repr(C)]
struct Mif {
    number: u16,
    flags: u8,
    threshold: u8,
    index: u16,
    rate_limit: u32,
}

#[repr(C)]
struct RouteV4 {
    source: libc::in_addr,
    group: libc::in_addr,
    parent: u16,
    thresholds: [u8; 32],
    counters: [u32; 4],
}

#[repr(C)]
struct RouteV6 {
    source: libc::sockaddr_in6,
    group: libc::sockaddr_in6,
    parent: u16,
    interfaces: [u32; 8],
}

/// The kernel's multicast routing, on for as long as this socket is open.
struct Router(OwnedFd, Family);

impl Router {
    /// Between two interfaces, for what one source sends to one group.
    fn new(host: &Host, family: Family, from: &str, to: &str, source: &str, group: &str) -> Router {
        let protocol = if family == Family::V4 { libc::IPPROTO_IGMP } else { libc::IPPROTO_ICMPV6 };
        // SAFETY: no memory involved.
        let fd = host.run(|| unsafe { libc::socket(family.domain(), libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) });
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a socket just made.
        let router = Router(unsafe { OwnedFd::from_raw_fd(fd) }, family);
        router.set(MRT_INIT, &1_i32);
        router.add_interface(0, host.index(from));
        router.add_interface(1, host.index(to));
        router.add_route(source, group);
        router
    }

    fn set<T>(&self, name: i32, value: &T) {
        let level = if self.1 == Family::V4 { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
        let at = (&raw const *value).cast();
        // SAFETY: a value and its length.
        let result = unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, at, size_of::<T>() as u32) };
        assert_eq!(result, 0, "{name}: {}", io::Error::last_os_error());
    }

    fn add_interface(&self, number: u16, index: u32) {
        let (threshold, rate_limit) = (1, 0);
        match self.1 {
            Family::V4 => {
                let (flags, remote) = (VIFF_USE_IFINDEX, sockaddr::in_addr(Ipv4Addr::UNSPECIFIED));
                self.set(MRT_ADD_VIF, &Vif { number, flags, threshold, rate_limit, index: index as i32, remote });
            }
            Family::V6 => {
                self.set(MRT_ADD_VIF, &Mif { number, flags: 0, threshold, index: index as u16, rate_limit });
            }
        }
    }

    /// In by the first interface, out by the second if the TTL is over 1.
    fn add_route(&self, source: &str, group: &str) {
        match (source.parse().unwrap(), group.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(group)) => {
                let [source, group] = [source, group].map(sockaddr::in_addr);
                let mut thresholds = [0; 32];
                thresholds[1] = 1;
                self.set(MRT_ADD_MFC, &RouteV4 { source, group, parent: 0, thresholds, counters: [0; 4] });
            }
            _ => {
                let [source, group] = [source, group].map(|ip| {
                    let (raw, _) = storage(ip);
                    // SAFETY: the storage holds an IPv6 address, and is larger.
                    unsafe { (&raw const raw).cast::<libc::sockaddr_in6>().read() }
                });
                let mut interfaces = [0; 8];
                interfaces[0] = 1 << 1;
                self.set(MRT_ADD_MFC, &RouteV6 { source, group, parent: 0, interfaces });
            }
        }
    }
}

/// A host on each side of a router.
fn two_links(network: &Network) -> [Host; 3] {
    let [near, router, far] = ["near", "router", "far"].map(|name| network.host(name));
    router.set("net/ipv4/ip_forward", "1");
    router.set("net/ipv6/conf/all/forwarding", "1");
    network.link((&near, "eth0", &["10.2.0.1/24", "fd02::1/64"]), (&router, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
    network.link((&far, "eth0", &["10.3.0.1/24", "fd03::1/64"]), (&router, "eth1", &["10.3.0.2/24", "fd03::2/64"]));
    near.ip("route add default via 10.2.0.2\nroute add default via fd02::2");
    far.ip("route add default via 10.3.0.2\nroute add default via fd03::2");
    [near, router, far]
}

fn source(family: Family) -> &'static str {
    if family == Family::V4 { "10.2.0.1" } else { "fd02::1" }
}

fn send_with_ttl(from: &Udp, ttl: i32, group: &str) {
    // SAFETY: no memory involved.
    call(|| unsafe { castio_set_ttl(from.as_raw_fd(), ttl) }).unwrap();
    from.send(&format!("ttl {ttl}"), group);
}

#[test]
fn a_ttl_of_1_stays_on_the_link_and_a_ttl_of_2_crosses_one_router() {
    hosts::test(|network| {
        let [near, router, far] = two_links(network);
        for family in FAMILIES {
            let group = family.group(1);
            let _routing = Router::new(&router, family, "eth0", "eth1", source(family), &group);
            let [on_link, behind] = [&router, &far].map(|host| {
                let receiver = host.run(|| Udp::receiver(family));
                host.run(|| Form::Text.group(JOIN, &receiver, &group, Some("eth0"))).unwrap();
                receiver
            });
            let from = near.run(|| Udp::new(family));
            for ttl in [1, 2, 255] {
                send_with_ttl(&from, ttl, &group);
            }
            from.end(&group);
            let seen = |receiver: &Udp| {
                receiver.all().into_iter().map(|datagram| (datagram.text, datagram.ttl)).collect::<Vec<_>>()
            };
            let text = |ttl: i32| format!("ttl {ttl}");
            assert_eq!(seen(&on_link), [(text(1), 1), (text(2), 2), (text(255), 255)], "{family:?}");
            // One less for the router.
            assert_eq!(seen(&behind), [(text(2), 1), (text(255), 254)], "{family:?}");
        }
    });
}

#[test]
fn a_source_behind_a_router_is_joined() {
    hosts::test(|network| {
        let [near, router, far] = two_links(network);
        for family in FAMILIES {
            let group = family.group(1);
            let _routing = Router::new(&router, family, "eth0", "eth1", source(family), &group);
            let receiver = far.run(|| Udp::receiver(family));
            far.run(|| Form::Text.source(JOIN_SOURCE, &receiver, &group, source(family), Some("eth0"))).unwrap();
            let from = near.run(|| Udp::new(family));
            send_with_ttl(&from, 2, &group);
            let datagram = receiver.receive();
            assert_eq!((datagram.text.as_str(), datagram.ttl), ("ttl 2", 1), "{family:?}");
            assert_eq!(datagram.from.ip().to_string(), source(family));
            // The router's own address on the receiver's link is another source.
            let other = router.run(|| Udp::new(family));
            router.run(|| support::face::call(|| set_interface(&other, "eth1"))).unwrap();
            other.send("from the router", &group);
            other.end(if family == Family::V4 { "10.3.0.1" } else { "fd03::1" });
            assert_eq!(receiver.texts(), [""; 0], "{family:?}");
        }
    });
}

fn set_interface(socket: &Udp, name: &str) -> i32 {
    let name = support::face::text(name);
    // SAFETY: text that ends in a NUL.
    unsafe { castio::ffi::multicast::options::castio_set_multicast_interface(socket.as_raw_fd(), name.as_ptr()) }
}
