//! Memberships that are kept: whether the socket can hear what it has joined, and sockets that the handle makes,
//! which hear the same.

mod support;

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use castio::Errno;
use support::hosts;
use support::memberships::{Membership, is_readable};
use support::options::{self, LEVELS, Options, differences};
use support::pair::{GONE, Pair, joined, shared};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

/// SO_BINDTODEVICE; an empty name for any.
fn tie(socket: &impl AsRawFd, interface: &str) {
    assert!(options::set(socket, (libc::SOL_SOCKET, libc::SO_BINDTODEVICE), interface.as_bytes()), "{interface}");
}

fn keeper<'p>(pair: &'p Pair, socket: &Udp) -> Membership<'p> {
    Membership::open(&pair.host, socket)
}

#[test]
fn a_socket_that_is_tied_to_an_interface_that_is_made_anew() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (socket, group) = (pair.host.run(|| shared(family)), family.group(1));
            tie(&socket, "eth0");
            let keeper = keeper(&pair, &socket);
            assert_eq!(keeper.add(&group, None, Some("eth0")), Ok(1));
            keeper.tells(&["joined eth0"]);
            pair.send("first", &group, "eth0", None);
            assert_eq!(keeper.arrivals(1)[0].bytes, b"first");

            pair.unplug("eth0");
            pair.plug(0);
            keeper.tells(&[GONE[0], GONE[1], "deaf eth0 EXDEV"]);
            assert_eq!(keeper.states(), ["deaf eth0 EXDEV"]);
            assert!((1..=3000).contains(&keeper.timeout_ms()));
            pair.send("unheard", &group, "eth0", None);
            assert_eq!(keeper.receive(1, 0), Err(Errno::EAGAIN));

            // The caller can cure it.
            pair.host.run(|| tie(&socket, "eth0"));
            keeper.tells(&["rejoined eth0"]);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.send("last", &group, "eth0", None);
            assert_eq!(keeper.arrivals(1)[0].bytes, b"last");
            keeper.comes_to_rest();
        }
    });
}

#[test]
fn a_socket_that_is_bound_by_a_scope_to_an_interface_that_is_made_anew() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let at = address(&format!("ff02::9%{}", pair.host.index("eth0")), PORT);
        let socket = pair.host.run(|| Udp::bound(at));
        let keeper = keeper(&pair, &socket);
        assert_eq!(keeper.add("ff02::9", None, Some("eth0")), Ok(1));
        keeper.tells(&["joined eth0"]);
        pair.unplug("eth0");
        pair.plug(0);
        keeper.tells(&[GONE[0], GONE[1], "deaf eth0 EXDEV"]);
    });
}

/// What it is bound and connected to, and whether it hears the group on eth0.
#[test]
fn a_socket_that_is_bound_or_connected_elsewhere() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (group, other, own, far) = (family.group(1), family.group(2), family.host(2), family.host(1));
            for (bound, connected, expected) in [
                (Some(&group), None, "live eth0"),
                (Some(&other), None, "deaf eth0 EADDRNOTAVAIL"),
                (Some(&own), None, "deaf eth0 EADDRNOTAVAIL"),
                (Some(&group), Some(&far), "live eth0"),
                (None, Some(&far), "deaf eth0 EISCONN"),
            ] {
                let socket = pair.host.run(|| {
                    let ip = bound.map_or(family.wildcard(), |ip| ip.parse().unwrap());
                    let socket = Udp::bound(SocketAddr::new(ip, PORT));
                    connected.map_or(Ok(()), |ip| socket.connect(address(ip, PORT))).unwrap();
                    socket
                });
                let keeper = keeper(&pair, &socket);
                assert_eq!(keeper.add(&group, None, Some("eth0")), Ok(1));
                assert_eq!(keeper.states(), [expected], "{bound:?} {connected:?}");
                // The word of the state is true.
                let sender = pair.neighbour.run(|| {
                    let sender = Udp::bound(address(&far, PORT));
                    support::pair::leave_by(&sender, "eth0");
                    sender
                });
                sender.send("heard", &group);
                let heard = keeper.receive(1, if expected.starts_with("live") { 10_000 } else { 0 });
                assert_eq!(heard.is_ok(), expected.starts_with("live"), "{bound:?} {connected:?}: {heard:?}");
            }
        }
    });
}

#[test]
fn a_socket_that_is_connected_and_disconnected_later() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let keeper = pair.keeper(Family::V4);
        assert_eq!(keeper.wish("239.1.2.3", "eth0"), 1);
        keeper.tells(&["joined eth0"]);
        pair.host.run(|| keeper.socket.connect(address("10.1.0.1", PORT)).unwrap());
        assert_eq!(keeper.states(), ["deaf eth0 EISCONN"]);
        keeper.tells(&["deaf eth0 EISCONN"]);
        // SAFETY: all zero but the family: AF_UNSPEC dissolves the connection.
        let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
        // SAFETY: an address with its length.
        let result = unsafe { libc::connect(keeper.socket.as_raw_fd(), &raw const nobody, 16) };
        assert_eq!(result, 0);
        // connect(2) unbound the address, and not the port.
        keeper.tells(&["rejoined eth0"]);
        pair.reaches(&keeper, "239.1.2.3");
    });
}

#[test]
fn an_interface_that_becomes_a_bridges_port_and_no_more() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.host.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up");
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            pair.host.ip("link set eth0 master br0");
            keeper.tells(&["deaf eth0 EBUSY"]);
            assert_eq!(keeper.states(), ["deaf eth0 EBUSY"]);
            pair.misses_all(&keeper, &group);
            pair.host.ip("link set eth0 nomaster");
            keeper.tells(&["rejoined eth0"]);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.reaches(&keeper, &group);
        }
    });
}

#[test]
fn what_is_live_is_heard_from_the_first_datagram_on() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (socket, group) = (pair.host.run(|| shared(family)), family.group(1));
            let keeper = keeper(&pair, &socket);
            assert_eq!(keeper.add(&group, None, Some("eth0")), Ok(1));
            for number in 0..8 {
                pair.host.ip("link set eth0 down");
                pair.host.ip("link set eth0 up");
                hosts::until("it is live", || keeper.process().is_ok() && keeper.states() == ["live eth0"]);
                pair.send(&number.to_string(), &group, "eth0", None);
                assert_eq!(keeper.arrivals(1)[0].bytes, number.to_string().as_bytes());
                pair.host.address("eth0", &["fd01::2/64"]);
                pair.host.wait_for_link("eth0");
            }
        }
    });
}

#[test]
fn where_ipv6_is_disabled_its_groups_are_down() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let keepers = FAMILIES.map(|family| {
            let socket = pair.host.run(|| shared(family));
            let keeper = keeper(&pair, &socket);
            assert_eq!(keeper.add(&family.group(1), None, Some("eth0")), Ok(1));
            keeper.tells(&["joined eth0"]);
            (keeper, socket)
        });
        let [(v4, _), (v6, _)] = &keepers;
        pair.host.set("net/ipv6/conf/eth0/disable_ipv6", "1");
        v6.tells(&["lost eth0 ENETDOWN"]);
        assert_eq!((v4.states(), v6.states()), (vec!["live eth0".to_owned()], vec!["down eth0 ENETDOWN".to_owned()]));
        pair.host.set("net/ipv6/conf/eth0/disable_ipv6", "0");
        v6.tells(&["rejoined eth0"]);
        pair.send("again", &Family::V6.group(1), "eth0", None);
        assert_eq!(v6.arrivals(1)[0].bytes, b"again");
        v4.comes_to_rest();
    });
}

fn more_than_one_socket_holds(keeper: &Membership<'_>, family: Family) -> Vec<String> {
    // IPv6 has room for more of them, but not for more sources.
    let groups: Vec<String> = (1..=25).map(|number| family.group(number)).collect();
    groups.iter().for_each(|group| assert_eq!(keeper.add(group, None, Some("eth0")), Ok(1), "{group}"));
    assert_eq!(keeper.sockets().len(), 2);
    groups
}

/// The caller's own socket can't be bound anew by anybody but him.
#[test]
fn sockets_that_the_handle_made_follow_the_interface_that_they_are_tied_to() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let socket = pair.host.run(|| shared(Family::V4));
        tie(&socket, "eth0");
        let keeper = keeper(&pair, &socket);
        let groups = more_than_one_socket_holds(&keeper, Family::V4);
        pair.unplug("eth0");
        pair.plug(0);
        hosts::until("all are there", || {
            keeper.process().unwrap();
            keeper.states().iter().all(|state| state.ends_with("eth0") || state.ends_with("EXDEV"))
        });
        let live: Vec<String> =
            keeper.list().into_iter().filter(|state| state.error == 0).map(|state| state.group).collect();
        assert_eq!(live.len(), 5, "{:?}", keeper.states());
        for group in groups {
            pair.send(&group, &group, "eth0", None);
        }
        let mut heard: Vec<String> =
            keeper.arrivals(5).into_iter().map(|arrival| String::from_utf8(arrival.bytes).unwrap()).collect();
        heard.sort();
        let mut expected = live;
        expected.sort();
        assert_eq!(heard, expected);
    });
}

/// Not the same on both: a corked socket holds back what is sent, and nothing is sent by those that were made.
const EXCEPTIONS: [(i32, i32); 1] = [(libc::IPPROTO_UDP, libc::UDP_CORK)];

/// Set on every socket, so that the port is shared.
const SHARED: (i32, i32) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);

/// The caller's options, and those of a socket that the handle made beside.
fn compare(pair: &Pair, socket: &UdpSocket) -> (Options, Options) {
    let keeper = Membership::open(&pair.host, socket);
    more_than_one_socket_holds(&keeper, Family::V4);
    let made = keeper.sockets()[1];
    // SAFETY: a copy of an open descriptor.
    let made = unsafe { OwnedFd::from_raw_fd(libc::dup(made)) };
    (options::options(socket), options::options(&made))
}

/// A socket with an option set to another value, as far as the kernel lets it.
fn with_option(family: Family, option: (i32, i32)) -> Option<UdpSocket> {
    let socket = shared_plain(family);
    let before = options::get(&socket, option)?;
    let has_changed = |number: i32| {
        let mut value = number.to_ne_bytes().to_vec();
        value.resize(before.len().max(4), 0);
        options::set(&socket, option, &value) && options::get(&socket, option).as_ref() != Some(&before)
    };
    [1, 2, 70_000, -1].into_iter().any(has_changed).then_some(socket)
}

fn shared_plain(family: Family) -> UdpSocket {
    let socket = castio::sys::socket::udp_socket(family.domain()).unwrap();
    assert!(options::set(&socket, SHARED, &1_i32.to_ne_bytes()));
    let at = castio::sys::sockaddr::SocketAddress::from(SocketAddr::new(family.wildcard(), PORT));
    castio::sys::socket::bind(socket.as_fd(), &at).unwrap();
    socket.into()
}

/// Each option that getsockopt(2) gives, one at a time.
#[test]
fn sockets_that_the_handle_made_have_all_options_of_the_callers() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let mut changed = 0;
            let all = LEVELS.into_iter().flat_map(|level| (0..128).map(move |name| (level, name)));
            for option in all.filter(|option| *option != SHARED) {
                let Some(socket) = pair.host.run(|| with_option(family, option)) else { continue };
                let (own, made) = compare(&pair, &socket);
                let mut different = differences(&own, &made);
                different.retain(|option| !EXCEPTIONS.contains(option));
                assert_eq!(different, [], "{family:?} with {option:?} set");
                changed += 1;
            }
            assert!(changed > 50, "{changed}");
        }
    });
}

/// One that lets nothing through but datagrams of more than 100 bytes.
#[test]
fn sockets_that_the_handle_made_have_the_callers_filter() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let keeper = pair.keeper(Family::V4);
        let load = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
        // ld #len; jgt #108, pass, drop: UDP's header counts.
        let mut steps = [load(0x80, 0, 0, 0), load(0x25, 108, 0, 1), load(0x06, u32::MAX, 0, 0), load(0x06, 0, 0, 0)];
        let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
        // SAFETY: a struct with its size.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const program).cast::<u8>(), size_of_val(&program)) };
        assert!(options::set(&keeper.socket, (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), bytes));
        let groups = more_than_one_socket_holds(&keeper, Family::V4);
        let long = "x".repeat(200);
        for text in ["short", &long] {
            groups.iter().for_each(|group| pair.send(text, group, "eth0", None));
        }
        assert!(keeper.arrivals(25).iter().all(|arrival| arrival.bytes.len() == 200));
    });
}

#[test]
fn a_membership_handle_without_rtnetlink_looks_at_the_interfaces_by_timer() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.host.ip("route add 224.0.0.0/4 dev eth0");
        // A thread on the same host that may not ask the kernel by rtnetlink.
        let confined = network.host("confined");
        let namespace = File::open(format!("/proc/self/task/{}/ns/net", pair.host.netns())).unwrap();
        confined.run(|| {
            // SAFETY: an open namespace.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            refuse_netlink();
        });
        for family in FAMILIES {
            let (socket, group) = (confined.run(|| shared(family)), family.group(1));
            let keeper = Membership::open(&confined, &socket);
            assert_eq!(keeper.add(&group, None, Some("eth0")), Ok(1));
            keeper.tells(&["joined eth0"]);
            assert!((1..=3000).contains(&keeper.timeout_ms()));
            assert!(!is_readable(keeper.fd()));
            pair.send("first", &group, "eth0", None);
            assert_eq!(keeper.arrivals(1)[0].bytes, b"first");

            pair.unplug("eth0");
            keeper.tells(&["lost eth0 ENODEV"]);
            pair.plug(0);
            keeper.tells(&["rejoined eth0"]);
            assert_eq!(joined(&pair.host, family, "eth0"), [group.as_str()]);
            pair.send("last", &group, "eth0", None);
            assert_eq!(keeper.arrivals(1)[0].bytes, b"last");
        }
        pair.host.ip("route add 224.0.0.0/4 dev eth0");
        let socket = confined.run(|| shared(Family::V4));
        let keeper = Membership::open(&confined, &socket);
        assert_eq!(keeper.add("239.1.2.3", None, None), Ok(1));
        assert_eq!(keeper.states(), ["live eth0"]);
    });
}

/// In this thread and those that it makes: AF_NETLINK is EAFNOSUPPORT.
fn refuse_netlink() {
    const RETURN_ERRNO: u32 = 0x0005_0000;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let socket = libc::SYS_socket as u32;
    let mut steps = [
        step(0x20, 0, 0, 0),
        step(0x15, socket, 0, 3),
        step(0x20, 16, 0, 0),
        step(0x15, libc::AF_NETLINK as u32, 0, 1),
        step(0x06, RETURN_ERRNO | libc::EAFNOSUPPORT as u32, 0, 0),
        step(0x06, 0x7fff_0000, 0, 0),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: a program of steps that are there.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
