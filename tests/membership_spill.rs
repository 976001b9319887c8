//! Memberships that are kept: more groups and sources than a socket may hold, and what arrives on all the
//! sockets by one call.

mod support;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use castio::Errno;
use castio::ffi::multicast::manager::castio_membership_options;
use castio::ffi::multicast::manager_state::*;
use castio::sys::socket;
use support::datagrams::Arrival;
use support::descriptors::Random;
use support::face::{Form, JOIN};
use support::hosts;
use support::memberships::{Membership, OPTIONS, is_readable};
use support::pair::{Keeper, LEAVE, Pair};
use support::udp::{FAMILIES, Family, PORT, Udp};

const MANY: usize = 10_000;

/// Sends to some groups, each in its turn: each arrives once, told with its group, and nothing else does.
#[track_caller]
fn each_arrives_once(pair: &Pair, keeper: &Keeper<'_>, groups: &[String]) {
    // From then on the kernel tells where a datagram comes in.
    keeper.receive_fd();
    groups.iter().for_each(|group| pair.send(group, group, "eth0", None));
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for Arrival { bytes, to, interface, .. } in keeper.arrivals(groups.len()) {
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!((to, interface), (text.parse().ok(), pair.host.index("eth0")), "{text}");
        *times.entry(text).or_default() += 1;
    }
    // What would come twice is there before this.
    pair.send("the end", &groups[0], "eth0", None);
    assert_eq!(keeper.arrivals(1)[0].bytes, b"the end");
    assert_eq!(keeper.receive(64, 0), Err(Errno::EAGAIN));
    let expected: BTreeMap<String, usize> = groups.iter().map(|group| (group.clone(), 1)).collect();
    assert_eq!(times, expected);
}

fn wish_for_all(keeper: &Membership<'_>, groups: &[String]) {
    groups.iter().for_each(|group| assert_eq!(keeper.add(group, None, Some("eth0")), Ok(1), "{group}"));
}

fn groups(family: Family, count: usize) -> Vec<String> {
    (1..=count).map(|number| family.group(number)).collect()
}

#[test]
fn ten_thousand_ipv4_groups() {
    hosts::test(|network| ten_thousand_groups(&Pair::with_cable(network), Family::V4));
}

#[test]
fn ten_thousand_ipv6_groups() {
    hosts::test(|network| ten_thousand_groups(&Pair::with_cable(network), Family::V6));
}

fn ten_thousand_groups(pair: &Pair, family: Family) {
    let keeper = pair.keeper_with(family, castio_membership_options { events: MANY, ..OPTIONS });
    let groups = groups(family, MANY);
    wish_for_all(&keeper, &groups);
    let events = keeper.events();
    assert_eq!(events.len(), MANY);
    assert!(
        events.iter().zip(&groups).all(|(event, group)| event.group == *group && event.to_string() == "joined eth0")
    );
    let sockets = keeper.sockets();
    let list = keeper.list();
    assert_eq!(list.len(), MANY);
    assert!(list.iter().all(|state| state.state == CASTIO_MEMBERSHIP_LIVE && sockets.contains(&state.fd)));
    assert_eq!(keeper.joined("eth0").len(), MANY);
    let least = if family == Family::V4 { MANY / 20 } else { 2 };
    assert!((least..=MANY / 20).contains(&sockets.len()), "{} sockets", sockets.len());

    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut some: Vec<String> = (0..200).map(|_| groups[random.below(MANY)].clone()).collect();
    some.sort();
    some.dedup();
    each_arrives_once(pair, &keeper, &some);
    // Again, with all of them lost and joined anew.
    pair.unplug("eth0");
    pair.plug(0);
    hosts::until("all are live again", || {
        keeper.process().unwrap();
        keeper.list().iter().all(|state| state.state == CASTIO_MEMBERSHIP_LIVE)
    });
    assert_eq!((keeper.joined("eth0").len(), keeper.sockets().len()), (MANY, sockets.len()));
    each_arrives_once(pair, &keeper, &some[..20]);
    let _socket = keeper.close();
    hosts::until("all are left", || support::pair::joined(&pair.host, family, "eth0").is_empty());
}

#[test]
fn room_that_is_free_again_is_used_again() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let (keeper, groups) = (pair.keeper(Family::V4), groups(Family::V4, 100));
        let watch = pair.watch("eth0");
        for _ in 0..5 {
            wish_for_all(&keeper, &groups[..60]);
            assert_eq!(keeper.sockets().len(), 3);
            groups[..60].iter().for_each(|group| assert_eq!(keeper.remove(group, None, Some("eth0")), Ok(0)));
            assert_eq!(keeper.joined("eth0"), [""; 0]);
            watch.sees(LEAVE, &groups[59], None);
        }
        wish_for_all(&keeper, &groups[..40]);
        // Out of the first socket and of the second.
        keeper.remove(&groups[0], None, Some("eth0")).unwrap();
        keeper.remove(&groups[39], None, Some("eth0")).unwrap();
        wish_for_all(&keeper, &groups[60..82]);
        assert_eq!((keeper.sockets().len(), keeper.joined("eth0").len()), (3, 60));
        let mine: Vec<String> = [&groups[1..39], &groups[60..82]].concat();
        each_arrives_once(&pair, &keeper, &mine);
    });
}

/// The caller has joined some of the room himself.
#[test]
fn what_the_caller_has_joined_takes_room_and_stays() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let (keeper, groups) = (pair.keeper(Family::V4), groups(Family::V4, 40));
        let (own, wished) = groups.split_at(15);
        for group in own {
            pair.host.run(|| Form::Text.group(JOIN, &keeper.socket, group, Some("eth0"))).unwrap();
        }
        wish_for_all(&keeper, wished);
        assert_eq!(keeper.sockets().len(), 2);
        each_arrives_once(&pair, &keeper, &groups);
        let _socket = keeper.close();
        assert_eq!(support::pair::joined(&pair.host, Family::V4, "eth0"), own);
    });
}

#[test]
fn without_a_shared_port_the_first_socket_is_all_there_is() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let socket = pair.host.run(|| Udp::receiver(Family::V4));
        let (keeper, groups) = (Membership::open(&pair.host, &socket), groups(Family::V4, 25));
        wish_for_all(&keeper, &groups[..20]);
        for group in &groups[20..] {
            assert_eq!(keeper.add(group, None, Some("eth0")), Ok(0));
        }
        let refused = keeper.events().split_off(20);
        assert_eq!(refused.iter().map(|event| event.to_string()).collect::<Vec<_>>(), ["refused eth0 ENOBUFS"; 5]);
        assert_eq!(keeper.sockets(), [socket.as_raw_fd()]);
        let failed = keeper.states().into_iter().filter(|line| line == "failed eth0 ENOBUFS").count();
        assert_eq!((failed, keeper.joined_here(&pair)), (5, 20));
        // When there is room it is taken.
        keeper.remove(&groups[0], None, Some("eth0")).unwrap();
        keeper.tells(&["joined eth0"]);
        assert_eq!(keeper.joined_here(&pair), 20);
    });
}

trait JoinedHere {
    fn joined_here(&self, pair: &Pair) -> usize;
}

impl JoinedHere for Membership<'_> {
    fn joined_here(&self, pair: &Pair) -> usize {
        support::pair::joined(&pair.host, Family::V4, "eth0").len()
    }
}

#[test]
fn the_sockets_are_bound_alike() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for (family, option) in FAMILIES
            .into_iter()
            .flat_map(|family| [libc::SO_REUSEADDR, libc::SO_REUSEPORT].map(|option| (family, option)))
        {
            let socket = pair.host.run(|| Udp::new(family));
            socket.set(libc::SOL_SOCKET, option, 1).unwrap();
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 50_000).unwrap();
            let v6 = family == Family::V6;
            if v6 {
                socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
            }
            socket.bind((family.wildcard(), PORT).into()).unwrap();
            let keeper = Membership::open(&pair.host, &socket);
            let count = if v6 { 6000 } else { 50 };
            wish_for_all(&keeper, &groups(family, count));
            let sockets = keeper.sockets();
            assert!(sockets.len() > 2 && sockets[0] == socket.as_raw_fd(), "{sockets:?}");
            let told = |fd: RawFd| {
                // SAFETY: open as long as the handle.
                let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
                let options = [libc::SO_RCVBUF, libc::SO_REUSEADDR, libc::SO_REUSEPORT, libc::SO_TYPE, libc::SO_DOMAIN];
                let v6_only = v6.then(|| int_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY));
                let options = options.map(|name| int_option(fd, libc::SOL_SOCKET, name));
                (socket::local_address(borrowed).unwrap(), options, v6_only)
            };
            assert!(sockets.iter().all(|fd| told(*fd) == told(sockets[0])));
        }
    });
}

fn int_option(fd: RawFd, level: i32, name: i32) -> i32 {
    let (mut value, mut len) = (-1, size_of::<i32>() as libc::socklen_t);
    // SAFETY: room for an int.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(result, 0, "{level} {name}: {}", std::io::Error::last_os_error());
    value
}

/// 10 of IPv4 (igmp_max_msf), 64 of IPv6.
#[test]
fn more_sources_of_one_group_than_a_socket_holds() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for (family, count, length) in [(Family::V4, 25, 24), (Family::V6, 70, 64)] {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let mut sources: Vec<String> = (0..count).map(|number| family.host(100 + number)).collect();
            let nodad = if family == Family::V6 { "nodad" } else { "" };
            let add = |source: &String| format!("address add {source}/{length} dev eth0 {nodad}\n");
            pair.neighbour.ip(&sources.iter().map(add).collect::<String>());
            for source in &sources {
                assert_eq!(keeper.add(&group, Some(source), Some("eth0")), Ok(1), "{source}");
            }
            assert_eq!(keeper.states(), vec!["live eth0"; count]);
            let least = if family == Family::V4 { 3 } else { 2 };
            assert_eq!(keeper.sockets().len(), least);
            let hears = |sources: &[String]| {
                sources.iter().for_each(|source| pair.send(source, &group, "eth0", Some(source)));
                let mut heard: Vec<String> = keeper.arrivals(sources.len()).iter().map(from).collect();
                heard.sort();
                let mut expected = sources.to_vec();
                expected.sort();
                assert_eq!(heard, expected);
            };
            hears(&sources);
            // One less, and one that nobody wished for.
            let gone = sources.remove(7);
            assert_eq!(keeper.remove(&group, Some(&gone), Some("eth0")), Ok(0));
            for stranger in [&gone, &family.host(1)] {
                pair.send("strange", &group, "eth0", Some(stranger));
            }
            hears(&sources);
            assert_eq!(keeper.receive(64, 0), Err(Errno::EAGAIN));
        }
    });
}

/// The source that a datagram names, which is where it comes from.
fn from(arrival: &Arrival) -> String {
    let source = arrival.from.unwrap().ip().to_string();
    assert_eq!(arrival.bytes, source.as_bytes());
    source
}

#[test]
fn what_other_sockets_have_joined_does_not_come_in() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (foreign, keeper) = (family.group(9000), pair.keeper(family));
            let other = pair.host.run(|| Udp::new(family));
            pair.host.run(|| Form::Text.group(JOIN, &other, &foreign, Some("eth0"))).unwrap();
            let groups = groups(family, if family == Family::V4 { 45 } else { 5000 });
            wish_for_all(&keeper, &groups);
            assert!(keeper.sockets().len() > 2);
            pair.send("foreign", &foreign, "eth0", None);
            each_arrives_once(&pair, &keeper, &groups[..45]);
        }
    });
}

#[test]
fn one_descriptor_tells_of_all_the_sockets() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let (keeper, groups) = (pair.keeper(Family::V4), groups(Family::V4, 45));
        let fd = keeper.receive_fd();
        keeper.comes_to_rest();
        wish_for_all(&keeper, &groups);
        for group in [&groups[0], &groups[25], &groups[44]] {
            assert!(!is_readable(fd));
            pair.send(group, group, "eth0", None);
            hosts::until("readable", || is_readable(fd));
            assert_eq!(keeper.arrivals(1)[0].bytes, group.as_bytes());
        }
        // And of what there is to do.
        pair.unplug("eth0");
        hosts::until("readable", || is_readable(fd));
        assert_eq!(keeper.receive(4, 0), Err(Errno::EAGAIN));
        assert_eq!(keeper.states(), vec!["waiting ENODEV"; 45]);
        hosts::until("at rest", || keeper.is_idle() && !is_readable(fd));
    });
}

#[test]
fn what_there_is_no_room_for_comes_with_the_next_call() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let (keeper, groups) = (pair.keeper(Family::V4), groups(Family::V4, 45));
        wish_for_all(&keeper, &groups);
        let all = 3 * groups.len();
        (0..3).for_each(|round| {
            groups.iter().for_each(|group| pair.send(&format!("{group} {round}"), group, "eth0", None))
        });
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < all {
            let arrivals = keeper.receive(1 + texts.len() % 4, 20_000).unwrap();
            texts.extend(arrivals.iter().map(|arrival| String::from_utf8(arrival.bytes.clone()).unwrap()));
        }
        assert_eq!(keeper.receive(4, 0), Err(Errno::EAGAIN));
        // Of each group all, in the order in which they were sent.
        for group in &groups {
            let of_group: Vec<&String> = texts.iter().filter(|text| text.split(' ').next() == Some(group)).collect();
            assert_eq!(of_group, [0, 1, 2].map(|round| format!("{group} {round}")).each_ref());
        }
    });
}
