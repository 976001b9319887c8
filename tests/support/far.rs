//! A source's network and a receiver's, and between them one that carries unicast only; and programs there
//! that tell in lines of JSON.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use serde_json::Value;

use super::examples;
use super::hosts::{Host, Network};
use super::programs::{Finished, Program, Running};
use super::udp::{Family, PORT, Udp, address};

/// A group of each family.
pub const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::7"];

/// Five hosts in a row: source and near end on a network with multicast, a router in between, far end and
/// receiver on another. All routes but the router's are for unicast.
pub struct Far {
    /// 10.1.0.1, fd01::1 on eth0.
    pub source: Host,
    /// 10.1.0.2, fd01::2 on in0; 10.2.0.1, fd02::1 on out0.
    pub near: Host,
    pub router: Host,
    /// 10.3.0.1, fd03::1 on out0; 10.4.0.2, fd04::2 on in0.
    pub far: Host,
    /// 10.4.0.1, fd04::1 on eth0.
    pub receiver: Host,
}

pub const NEAR: [&str; 2] = ["10.2.0.1", "fd02::1"];
pub const FAR: [&str; 2] = ["10.3.0.1", "fd03::1"];
pub const SOURCES: [&str; 2] = ["10.1.0.1", "fd01::1"];
pub const RECEIVERS: [&str; 2] = ["10.4.0.1", "fd04::1"];

impl Far {
    pub fn new(network: &Network) -> Far {
        let [source, near, router, far, receiver] =
            ["source", "near", "router", "far", "receiver"].map(|name| network.host(name));
        for (at, v4, v6) in [(&router, "1", "1"), (&near, "0", "0"), (&far, "0", "0")] {
            at.set("net/ipv4/ip_forward", v4);
            at.set("net/ipv6/conf/all/forwarding", v6);
        }
        network.link((&source, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&near, "in0", &["10.1.0.2/24", "fd01::2/64"]));
        network.link(
            (&near, "out0", &["10.2.0.1/24", "fd02::1/64"]),
            (&router, "eth0", &["10.2.0.254/24", "fd02::fe/64"]),
        );
        network
            .link((&router, "eth1", &["10.3.0.254/24", "fd03::fe/64"]), (&far, "out0", &["10.3.0.1/24", "fd03::1/64"]));
        network
            .link((&far, "in0", &["10.4.0.2/24", "fd04::2/64"]), (&receiver, "eth0", &["10.4.0.1/24", "fd04::1/64"]));
        near.ip("route add default via 10.2.0.254\nroute add default via fd02::fe");
        far.ip("route add default via 10.3.0.254\nroute add default via fd03::fe");
        source.ip("route add 224.0.0.0/4 dev eth0");
        Far { source, near, router, far, receiver }
    }
}

/// Starts a program on a host.
pub fn start_on(host: &Host, program: &Program, arguments: &[&str]) -> Running {
    host.run(|| examples::start(program, arguments))
}

pub fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The first object, one comes each second, that is so.
pub fn until(running: &mut Running, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Vec::new();
    while seen.len() < 60 {
        seen.push(object(&running.line()));
        if is_so(&seen[seen.len() - 1]) {
            return seen.pop().unwrap();
        }
    }
    panic!("waited in vain: {what}: {seen:?}");
}

/// Sends it a signal.
pub fn stop(running: &Running, signal: i32) {
    // SAFETY: a signal to a child of this process, which hasn't been waited for.
    assert_eq!(unsafe { libc::kill(running.id(), signal) }, 0);
}

/// Ends it; it has to end well.
pub fn ended(running: Running, signal: i32) -> Finished {
    stop(&running, signal);
    let done = running.finish();
    assert!(done.passed(), "{done:?}");
    done
}

/// The last object that it told.
pub fn last(done: &Finished) -> Value {
    object(done.output.lines().last().unwrap_or_else(|| panic!("{done:?}")))
}

/// A socket of the source's with this address, for packets that pass so many routers.
pub fn sender(host: &Host, from: &str, ttl: i32) -> Udp {
    let index = host.index("eth0") as i32;
    let family = family_of(from);
    host.run(|| {
        let udp = Udp::bound(address(from, 0));
        match family {
            Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, ttl).unwrap(),
            Family::V6 => {
                udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, ttl).unwrap();
                udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index).unwrap();
            }
        }
        udp
    })
}

fn family_of(ip: &str) -> Family {
    if ip.contains(':') { Family::V6 } else { Family::V4 }
}

/// Sends text to a group.
pub fn say(host: &Host, udp: &Udp, text: &str, group: &str) {
    host.run(|| udp.send(text, group));
}

/// A receiver of a group, on the interface.
pub fn listener(host: &Host, interface: &str, group: &str) -> Udp {
    let index = host.index(interface);
    host.run(|| {
        let udp = Udp::new(family_of(group));
        if family_of(group) == Family::V6 {
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
        }
        udp.bind(SocketAddr::new(family_of(group).wildcard(), PORT)).unwrap();
        match group.parse().unwrap() {
            IpAddr::V6(v6) => udp.join_multicast_v6(&v6, index).unwrap(),
            IpAddr::V4(v4) => {
                let request = libc::ip_mreqn {
                    imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.octets()) },
                    imr_address: libc::in_addr { s_addr: 0 },
                    imr_ifindex: index as i32,
                };
                join(&udp, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request);
            }
        }
        udp
    })
}

fn join<T>(udp: &Udp, level: i32, name: i32, request: &T) {
    let at = (request as *const T).cast();
    // SAFETY: a request and its length.
    let result = unsafe { libc::setsockopt(udp.as_raw_fd(), level, name, at, size_of::<T>() as u32) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A relay of the near end's that tells each second, as soon as it serves.
pub fn relay(far: &Far, program: &Program, arguments: &[&str]) -> Running {
    let mut relay = start_on(&far.near, program, &[&["--json", "-i", "in0"], arguments].concat());
    until(&mut relay, "it serves", |_| true);
    relay
}

/// One of a relay's counters.
pub fn count(seen: &Value, name: &str) -> u64 {
    seen["counters"][name].as_u64().unwrap_or_else(|| panic!("{name}: {seen}"))
}

/// How many tunnels want a group.
pub fn wants(seen: &Value, group: &str) -> u64 {
    let groups = seen["groups"].as_array().unwrap();
    groups.iter().find(|one| one["group"] == group).map_or(0, |one| one["tunnels"].as_u64().unwrap())
}

/// Waits until so many tunnels want a group.
pub fn wanted(relay: &mut Running, group: &str, tunnels: u64) -> Value {
    until(relay, &format!("{tunnels} tunnels want {group}"), |seen| wants(seen, group) == tunnels)
}
