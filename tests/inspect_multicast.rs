//! What a socket is told to have joined and how its options are told, in networks of its own.

mod support;

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};

use castio::ffi::broadcast::castio_enable_broadcast;
use castio::ffi::multicast::options::*;
use libc::*;
use serde_json::{Value, json};
use support::descriptors::{check, set_option};
use support::face::{BLOCK_SOURCE, FORMS, Form, JOIN, JOIN_SOURCE};
use support::hosts::{self, Host};
use support::inspect::{info, inspect};
use support::udp::{FAMILIES, Family, PORT, Udp};

/// Memberships in an order of their own, sources too.
fn memberships(fd: &impl AsRawFd) -> Vec<Value> {
    let mut all = inspect(fd)["memberships"].as_array().unwrap().clone();
    for one in &mut all {
        one["sources"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    all.sort_by_key(Value::to_string);
    all
}

fn membership(host: &Host, interface: &str, group: &str, mode: &str, sources: &[String], users: u32) -> Value {
    json!({
        "group": group,
        "interface": {"index": host.index(interface), "name": interface},
        "mode": mode,
        "sources": sources,
        "host_users": users,
    })
}

#[test]
fn memberships_are_those_of_this_socket_with_their_filters() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        for family in FAMILIES {
            host.run(|| {
                let socket = Udp::receiver(family);
                assert_eq!((memberships(&socket), info(&socket).memberships), (vec![], 0));
                let [any, some, foreign, both] = [1, 2, 3, 4].map(|number| family.group(number));
                let [two, three] = [2, 3].map(|number| family.host(number));
                let form = FORMS[0];
                form.group(JOIN, &socket, &any, Some("eth0")).unwrap();
                form.source(BLOCK_SOURCE, &socket, &any, &two, Some("eth0")).unwrap();
                form.source(JOIN_SOURCE, &socket, &some, &two, Some("eth0")).unwrap();
                form.source(JOIN_SOURCE, &socket, &some, &three, Some("eth0")).unwrap();
                form.group(JOIN, &socket, &both, Some("eth0")).unwrap();
                form.group(JOIN, &socket, &both, Some("lo")).unwrap();
                let stranger = Udp::new(family);
                form.group(JOIN, &stranger, &any, Some("eth0")).unwrap();
                form.group(JOIN, &stranger, &foreign, Some("eth0")).unwrap();

                let mut expected = vec![
                    membership(&host, "eth0", &any, "exclude", std::slice::from_ref(&two), 2),
                    membership(&host, "eth0", &some, "include", &[two, three], 1),
                    membership(&host, "eth0", &both, "exclude", &[], 1),
                    membership(&host, "lo", &both, "exclude", &[], 1),
                ];
                expected.sort_by_key(Value::to_string);
                assert_eq!(memberships(&socket), expected);
                assert_eq!((info(&socket).memberships, info(&stranger).memberships), (4, 2));
            });
        }
    });
}

#[test]
fn an_ipv6_socket_tells_its_ipv4_groups_too() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        host.run(|| {
            let socket = Udp::new(Family::V6);
            for group in ["239.1.2.3", "ff15::7", "ff02::7%eth0"] {
                Form::Text.group(JOIN, &socket, group, Some("eth0")).unwrap();
            }
            let mut expected =
                ["239.1.2.3", "ff15::7", "ff02::7"].map(|group| membership(&host, "eth0", group, "exclude", &[], 1));
            expected.sort_by_key(Value::to_string);
            assert_eq!(memberships(&socket), expected);
        });
    });
}

#[test]
fn the_struct_says_what_was_set() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        for family in FAMILIES {
            host.run(|| {
                let socket = Udp::receiver(family);
                let fd = socket.as_raw_fd();
                let told = info(&socket);
                assert_eq!((told.multicast_ttl, told.multicast_loop, told.multicast_all), (1, 1, 1));
                // IPv4 sockets don't tell it.
                let untold = if family == Family::V4 { -1 } else { 0 };
                assert_eq!((told.multicast_interface, told.device, told.broadcast), (untold, 0, 0));
                assert_eq!((told.family, told.r#type, told.protocol), (family.domain(), SOCK_DGRAM, IPPROTO_UDP));
                assert_eq!((told.in_this_network, told.listening, told.at_mark), (1, 0, -1));
                // SAFETY: takes no pointers but a NUL-ended name.
                unsafe {
                    check(castio_set_ttl(fd, 7));
                    check(castio_set_loop(fd, 0));
                    check(castio_set_multicast_all(fd, 0));
                    check(castio_set_multicast_interface(fd, c"eth0".as_ptr()));
                    check(castio_enable_broadcast(fd, 1));
                }
                socket.set(SOL_SOCKET, SO_REUSEADDR, 1).unwrap();
                socket.set(SOL_SOCKET, SO_SNDBUF, 10_000).unwrap();
                set_option(&owned(&socket), SOL_SOCKET, SO_BINDTODEVICE, *b"eth0");
                let (told, index) = (info(&socket), host.index("eth0") as c_int);
                assert_eq!((told.multicast_ttl, told.multicast_loop, told.multicast_all), (7, 0, 0));
                assert_eq!((told.multicast_interface, told.device, told.broadcast), (index, index, 1));
                assert_eq!((told.reuse_address, told.reuse_port, told.send_buffer), (1, 0, 20_000));

                let told = inspect(&socket);
                let eth0 = json!({"index": index, "name": "eth0"});
                assert_eq!((&told["device"], &told["multicast_interface"]), (&eth0, &eth0));
                assert_eq!((&told["multicast_ttl"], &told["multicast_loop"]), (&json!(7), &json!(false)));
                assert_eq!((&told["multicast_all"], &told["in_this_network"]), (&json!(false), &json!(true)));
                assert_eq!(told["bound"], json!({"address": family.wildcard().to_string(), "port": PORT}));
                assert_eq!((&told["peer"], &told["urgent"]), (&Value::Null, &Value::Null));
            });
        }
    });
}

/// Interfaces and groups that this thread's network doesn't have are not to be mixed up with its own.
#[test]
fn a_socket_of_another_network_is_not_guessed_at() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let (group, interface) = (family.group(1), Some("eth0"));
            let socket = host.run(|| {
                let socket = Udp::receiver(family);
                FORMS[0].group(JOIN, &socket, &group, interface).unwrap();
                // SAFETY: a name that ends in a NUL.
                check(unsafe { castio_set_multicast_interface(socket.as_raw_fd(), c"eth0".as_ptr()) });
                socket
            });
            other.run(|| {
                // The same group on an interface that may well have the same index.
                let own = Udp::receiver(family);
                FORMS[0].group(JOIN, &own, &group, interface).unwrap();
                let told = inspect(&socket);
                assert_eq!(told["in_this_network"], false);
                assert_eq!((&told["memberships"], &told["multicast_interface"]), (&Value::Null, &Value::Null));
                let told = info(&socket);
                assert_eq!((told.in_this_network, told.memberships, told.multicast_interface), (0, -1, -1));
                assert_eq!((info(&own).in_this_network, info(&own).memberships), (1, 1));
            });
            host.run(|| assert_eq!(info(&socket).memberships, 1));
        }
    });
}

/// A link-local address means nothing without its interface.
#[test]
fn the_scope_of_an_address_is_told() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        host.run(|| {
            let socket = Udp::new(Family::V6);
            let index = host.index("eth0");
            let group = std::net::SocketAddrV6::new("ff02::7".parse().unwrap(), PORT, 0, index);
            socket.bind(group.into()).unwrap();
            let expected = json!({"address": "ff02::7", "port": PORT, "interface": {"index": index, "name": "eth0"}});
            assert_eq!(inspect(&socket)["bound"], expected);
        });
    });
}

fn owned(socket: &Udp) -> OwnedFd {
    socket.try_clone().unwrap().into()
}

/// An option, what it is set to, and what is read then.
struct Case {
    name: &'static str,
    set: fn(&OwnedFd),
    told: Value,
}

macro_rules! cases {
    ($($level:ident { $($name:ident = $value:expr => $told:expr;)* })*) => {
        vec![$($(Case {
            name: stringify!($name),
            set: |fd| set_option(fd, $level, $name, $value),
            told: json!($told),
        },)*)*]
    };
}

const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;
const IPV6_MULTICAST_ALL: c_int = 29;
const LOOPBACK_INDEX: u32 = 1;
const SECOND_AND_A_HALF: timeval = timeval { tv_sec: 1, tv_usec: 500_000 };

fn for_every_udp_socket() -> Vec<Case> {
    cases! {
        SOL_SOCKET {
            SO_REUSEADDR = 1 => true;
            SO_REUSEPORT = 1 => true;
            SO_BROADCAST = 1 => true;
            SO_OOBINLINE = 1 => true;
            SO_RCVBUF = 8192 => 16384;
            SO_SNDBUF = 8192 => 16384;
            SO_RCVLOWAT = 5 => 5;
            SO_RCVTIMEO = SECOND_AND_A_HALF => 1500;
            SO_SNDTIMEO = SECOND_AND_A_HALF => 1500;
            SO_PEEK_OFF = 7 => 7;
            SO_TIMESTAMP = 1 => true;
            SO_TIMESTAMPNS = 1 => true;
            SO_RXQ_OVFL = 1 => true;
            SO_ZEROCOPY = 1 => true;
            SO_NO_CHECK = 1 => true;
            SO_MAX_PACING_RATE = 5_000_000_000_u64 => 5_000_000_000_u64;
        }
        IPPROTO_IP {
            IP_TTL = 33 => 33;
            IP_TOS = 0x20 => 0x20;
            IP_MTU_DISCOVER = IP_PMTUDISC_DO => IP_PMTUDISC_DO;
            IP_UNICAST_IF = LOOPBACK_INDEX.to_be() => LOOPBACK_INDEX;
            IP_MULTICAST_TTL = 9 => 9;
            IP_MULTICAST_LOOP = 0 => false;
            IP_PKTINFO = 1 => true;
            IP_RECVTTL = 1 => true;
            IP_RECVTOS = 1 => true;
            IP_RECVERR = 1 => true;
        }
        SOL_UDP {
            UDP_SEGMENT = 1200 => 1200;
            UDP_GRO = 1 => true;
        }
    }
}

fn for_ipv4() -> Vec<Case> {
    cases! { IPPROTO_IP { IP_MULTICAST_ALL = 0 => false; } }
}

fn for_ipv6() -> Vec<Case> {
    cases! {
        IPPROTO_IP {
            // Off on a new IPv6 socket, unlike on an IPv4 one.
            IP_MULTICAST_ALL = 1 => true;
        }
        IPPROTO_IPV6 {
            IPV6_V6ONLY = 1 => true;
            IPV6_UNICAST_HOPS = 33 => 33;
            IPV6_TCLASS = 0x20 => 0x20;
            IPV6_MTU_DISCOVER = IPV6_PMTUDISC_DO => IPV6_PMTUDISC_DO;
            IPV6_UNICAST_IF = LOOPBACK_INDEX.to_be() => LOOPBACK_INDEX;
            IPV6_MULTICAST_IF = LOOPBACK_INDEX => LOOPBACK_INDEX;
            IPV6_MULTICAST_HOPS = 9 => 9;
            IPV6_MULTICAST_LOOP = 0 => false;
            IPV6_MULTICAST_ALL = 0 => false;
            IPV6_RECVPKTINFO = 1 => true;
            IPV6_RECVHOPLIMIT = 1 => true;
            IPV6_RECVTCLASS = 1 => true;
            IPV6_RECVERR = 1 => true;
        }
    }
}

fn new_socket(family: Family) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: no pointers; a new descriptor.
    unsafe { OwnedFd::from_raw_fd(check(socket(family.domain(), SOCK_DGRAM | SOCK_CLOEXEC, 0)) as c_int) }
}

/// Each option set by itself shows in its own member and in no other; no member is without a case.
#[test]
fn every_option_tells_what_it_was_set_to() {
    hosts::test(|network| {
        let host = network.host("alone");
        host.run(|| {
            for family in FAMILIES {
                let mut cases = for_every_udp_socket();
                cases.extend(if family == Family::V6 { for_ipv6() } else { for_ipv4() });
                let fresh = inspect(&new_socket(family))["options"].clone();
                for case in &cases {
                    let socket = new_socket(family);
                    (case.set)(&socket);
                    let mut expected = fresh.clone();
                    assert_ne!(expected[case.name], case.told, "{} is so by default", case.name);
                    expected[case.name] = case.told.clone();
                    assert_eq!(inspect(&socket)["options"], expected, "{}", case.name);
                }
                let known: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
                let told: BTreeSet<&str> = fresh.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(told, known, "{family:?}");
                assert_eq!(fresh["SO_MAX_PACING_RATE"], -1);
            }
        });
    });
}
