//! Requests that name no interface: they act where the route leads, and on that membership alone.

mod support;

use std::net::IpAddr;
use std::os::fd::AsFd;

use castio::Errno;
use castio::ffi::multicast::filter::{CASTIO_FILTER_EXCLUDE as EXCLUDE, CASTIO_FILTER_INCLUDE as INCLUDE};
use castio::sys::multicast::{self, SourceRequest, Target};
use support::face::{
    BLOCK_SOURCE, FORMS, Form, JOIN, JOIN_SOURCE, LEAVE, LEAVE_SOURCE, Outcome, SourceCall, UNBLOCK_SOURCE,
};
use support::hosts::{self, Host, Network};
use support::sources::{Lan, Listener, limit};
use support::udp::{FAMILIES, Family, Udp};

/// The listener has another link, whose index comes first where requests look at one after the other.
fn with_two_links(network: &Network, test: impl Fn(&Listener<'_>)) {
    let lan = Lan::new(network);
    let aside = network.host("aside");
    network.link((&lan.host, "eth1", &["10.2.0.1/24", "fd02::1/64"]), (&aside, "eth0", &["10.2.0.2/24"]));
    lan.each(|listener| test(&listener));
}

/// Requests of a listener without an interface, and on another one than the LAN's.
trait Elsewhere {
    fn group_on(&self, call: support::face::GroupCall, interface: Option<&str>) -> Outcome;
    fn source_on(&self, call: SourceCall, number: usize, interface: Option<&str>) -> Outcome;
    fn set_filter_on(&self, mode: i32, numbers: &[usize], interface: Option<&str>) -> Outcome;
    fn filter_on(&self, interface: Option<&str>) -> Result<(i32, Vec<String>), Errno>;
}

impl Elsewhere for Listener<'_> {
    fn group_on(&self, call: support::face::GroupCall, interface: Option<&str>) -> Outcome {
        self.host.run(|| self.form.group(call, &self.socket, &self.group, interface))
    }

    fn source_on(&self, call: SourceCall, number: usize, interface: Option<&str>) -> Outcome {
        let source = self.family.host(number);
        self.host.run(|| self.form.source(call, &self.socket, &self.group, &source, interface))
    }

    fn set_filter_on(&self, mode: i32, numbers: &[usize], interface: Option<&str>) -> Outcome {
        let sources = self.addresses(numbers);
        self.host.run(|| self.form.set_filter(&self.socket, &self.group, interface, mode, &sources))
    }

    fn filter_on(&self, interface: Option<&str>) -> Result<(i32, Vec<String>), Errno> {
        let filter = self.host.run(|| self.form.filter(&self.socket, &self.group, interface, 100));
        filter.map(|(mode, sources, _)| (mode, sources))
    }
}

#[test]
fn a_whole_membership_stays_whole() {
    hosts::test(|network| {
        with_two_links(network, |listener| {
            // IPv6 goes by the filter of the newest membership, on whichever interface it is.
            listener.source_on(JOIN_SOURCE, 9, Some("lo")).unwrap();
            listener.join().unwrap();
            let whole = || {
                assert_eq!(listener.filter(), Ok((EXCLUDE, vec![])));
                assert_eq!(listener.filter_on(Some("lo")), Ok((INCLUDE, listener.addresses(&[9]))));
                assert_eq!(listener.hears(), [1, 2, 3], "{:?} {:?}", listener.family, listener.form);
            };
            assert_eq!(listener.source_on(LEAVE_SOURCE, 9, None), Err(Errno::EINVAL));
            whole();
            assert_eq!(listener.source_on(JOIN_SOURCE, 9, None), Err(Errno::EADDRINUSE));
            whole();
            assert_eq!(listener.source_on(UNBLOCK_SOURCE, 9, None), Err(Errno::EADDRNOTAVAIL));
            whole();
            assert_eq!(listener.filter_on(None), Ok((EXCLUDE, vec![])));
            assert_eq!(listener.source_on(BLOCK_SOURCE, 2, None), Ok(0));
            assert_eq!(listener.hears(), [1, 3]);
        });
    });
}

#[test]
fn a_membership_on_another_interface_stands_in_nobodys_way() {
    hosts::test(|network| {
        with_two_links(network, |listener| {
            listener.group_on(JOIN, Some("eth1")).unwrap();
            let untouched = || assert_eq!(listener.filter_on(Some("eth1")), Ok((EXCLUDE, vec![])));
            assert_eq!(listener.source_on(BLOCK_SOURCE, 2, None), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.source_on(UNBLOCK_SOURCE, 2, None), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.hears(), [0; 0]);

            assert_eq!(listener.source_on(JOIN_SOURCE, 2, None), Ok(0));
            assert_eq!(listener.filter(), Ok((INCLUDE, listener.addresses(&[2]))));
            assert_eq!(listener.hears(), [2]);
            untouched();
            assert_eq!(listener.source_on(LEAVE_SOURCE, 2, None), Ok(0));
            untouched();
            for (mode, sources, heard) in [(INCLUDE, [1, 3], [1, 3].as_slice()), (EXCLUDE, [1, 3], &[2])] {
                assert_eq!(listener.set_filter_on(mode, &sources, None), Ok(0));
                assert_eq!(listener.hears(), heard);
                untouched();
                listener.leave().unwrap();
            }
            assert_eq!(listener.group_on(JOIN, None), Ok(0), "{:?} {:?}", listener.family, listener.form);
            assert_eq!(listener.hears(), [1, 2, 3]);
            assert_eq!(listener.group_on(JOIN, None), Err(Errno::EADDRINUSE));
        });
    });
}

#[test]
fn what_was_joined_before_the_route_moved_is_found() {
    hosts::test(|network| {
        with_two_links(network, |listener| {
            let moved = || {
                listener.host.ip("route replace 224.0.0.0/4 dev eth1");
                listener.host.ip("route add multicast ff00::/8 dev eth1 table local metric 1");
            };
            let back = || {
                listener.host.ip("route replace 224.0.0.0/4 dev eth0");
                listener.host.ip("route del multicast ff00::/8 dev eth1 table local metric 1");
            };
            listener.group_on(JOIN, None).unwrap();
            assert_eq!(listener.hears(), [1, 2, 3]);
            moved();
            assert_eq!(listener.filter_on(None), Ok((EXCLUDE, vec![])));
            assert_eq!(listener.group_on(LEAVE, None), Ok(0), "{:?} {:?}", listener.family, listener.form);
            assert_eq!(listener.filter(), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.hears(), [0; 0]);
            assert_eq!(listener.group_on(LEAVE, None), Err(Errno::EADDRNOTAVAIL));

            back();
            listener.source_on(JOIN_SOURCE, 2, None).unwrap();
            moved();
            assert_eq!(listener.source_on(LEAVE_SOURCE, 3, None), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.source_on(LEAVE_SOURCE, 2, None), Ok(0));
            assert_eq!(listener.filter(), Err(Errno::EADDRNOTAVAIL));

            back();
            listener.set_filter_on(EXCLUDE, &[2], None).unwrap();
            moved();
            assert_eq!(listener.set_filter_on(INCLUDE, &[], None), Ok(0), "including nothing leaves");
            assert_eq!(listener.filter(), Err(Errno::EADDRNOTAVAIL));
            back();
        });
    });
}

/// Runs with no descriptor left for this process.
fn without_descriptors<T>(body: impl FnOnce() -> T) -> T {
    let mut whole = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the limit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut whole) }, 0);
    // SAFETY: a limit to read.
    let set = |limit| assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    set(libc::rlimit { rlim_cur: 0, ..whole });
    let result = body();
    set(whole);
    result
}

#[test]
fn without_a_descriptor_left_nothing_is_cut() {
    hosts::test(|network| {
        with_two_links(network, |listener| {
            listener.join().unwrap();
            let (group, source) = (&listener.group, listener.family.host(2));
            for call in [JOIN_SOURCE, LEAVE_SOURCE] {
                // By address: text is looked up first, which takes a descriptor too.
                let result = listener
                    .host
                    .run(|| without_descriptors(|| Form::Address.source(call, &listener.socket, group, &source, None)));
                // IPv4 tells without one.
                match (listener.family, call) {
                    (Family::V6, _) => assert_eq!(result, Err(Errno::EMFILE)),
                    (Family::V4, _) => assert!(matches!(result, Err(Errno::EADDRINUSE | Errno::EINVAL)), "{result:?}"),
                }
                assert_eq!(listener.filter(), Ok((EXCLUDE, vec![])), "{:?}", listener.family);
                assert_eq!(listener.hears(), [1, 2, 3]);
            }
        });
    });
}

/// A request of the kernel as others make it.
fn raw(listener: &Listener<'_>, request: SourceRequest, number: usize) -> Result<(), Errno> {
    let group: IpAddr = listener.group.parse().unwrap();
    let source = listener.family.host(number).parse().unwrap();
    let target = Target { group, interface: listener.host.index("eth0") };
    multicast::source(listener.socket.as_fd(), target, source, request)
}

#[test]
fn a_membership_for_no_source_does_not_become_a_whole_one() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.join().unwrap();
            // What the kernel makes of this: joined, and nothing comes in.
            assert_eq!(raw(&listener, SourceRequest::Leave, 1), Err(Errno::EADDRNOTAVAIL));
            for call in [BLOCK_SOURCE, UNBLOCK_SOURCE] {
                assert_eq!(listener.source(call, 1), Err(Errno::EINVAL));
                assert_eq!(listener.filter(), Ok((INCLUDE, vec![])));
                assert_eq!(listener.hears(), [0; 0]);
            }
            assert_eq!(listener.source(JOIN_SOURCE, 3), Ok(0));
            assert_eq!(listener.hears(), [3]);
        });
    });
}

/// Joins groups until the memory of the socket's options is full, and leaves one: there is room for a group, and
/// for no list of sources.
fn fill(host: &Host, socket: &Udp, family: Family) -> usize {
    if family == Family::V4 {
        host.set("net/ipv4/igmp_max_memberships", "100000");
    }
    let ask = |call, number| Form::Text.group(call, socket, &family.group(number), Some("eth0"));
    let full = host.run(|| (1..50_000).find(|&number| ask(JOIN, number).is_err())).expect("no limit found");
    assert_eq!(host.run(|| ask(JOIN, full)), Err(Errno::ENOMEM));
    host.run(|| ask(LEAVE, 1)).unwrap();
    full
}

#[test]
fn what_finds_no_memory_leaves_nothing_behind_and_says_so() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let socket = host.run(|| Udp::new(family));
            let (group, source) = (family.group(fill(&host, &socket, family)), family.host(9));
            let sources: Vec<String> = (1..=limit(family)).map(|number| family.host(number)).collect();
            for form in FORMS {
                let joined = || host.run(|| form.filter(&socket, &group, Some("eth0"), 0));
                let refused = host.run(|| form.source(JOIN_SOURCE, &socket, &group, &source, Some("eth0")));
                assert_eq!((refused, joined()), (Err(Errno::ENOMEM), Err(Errno::EADDRNOTAVAIL)), "{family:?}");
                for mode in [INCLUDE, EXCLUDE] {
                    let set = || form.set_filter(&socket, &group, Some("eth0"), mode, &sources);
                    assert_eq!((host.run(set), joined()), (Err(Errno::ENOMEM), Err(Errno::EADDRNOTAVAIL)), "{mode}");
                }
                // The room is there still; and then there is none to block a source.
                assert_eq!(host.run(|| form.group(JOIN, &socket, &group, Some("eth0"))), Ok(0));
                let refused = host.run(|| form.source(BLOCK_SOURCE, &socket, &group, &source, Some("eth0")));
                assert_eq!((refused, joined()), (Err(Errno::ENOMEM), Ok((EXCLUDE, vec![], 0))));
                host.run(|| form.group(LEAVE, &socket, &group, Some("eth0"))).unwrap();
            }
            // The cure.
            let second = host.run(|| Udp::new(family));
            let join = || Form::Text.source(JOIN_SOURCE, &second, &group, &source, Some("eth0"));
            assert_eq!(host.run(join), Ok(0));
        }
    });
}

#[test]
fn numbers_of_groups_and_of_sources_are_told_from_memory() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let socket = host.run(|| Udp::new(family));
            let sources: Vec<String> = (1..=limit(family) + 1).map(|number| family.host(number)).collect();
            let join = |group: usize, source: &String| {
                host.run(|| Form::Text.source(JOIN_SOURCE, &socket, &family.group(group), source, Some("eth0")))
            };
            let (last, all) = sources.split_last().unwrap();
            all.iter().for_each(|source| assert_eq!(join(1, source), Ok(0)));
            assert_eq!(join(1, last), Err(Errno::ENOBUFS), "{family:?}");
        }
        let socket = host.run(|| Udp::new(Family::V4));
        let (on, source) = (Some("eth0"), Family::V4.host(9));
        let join = |number| host.run(|| Form::Text.group(JOIN, &socket, &Family::V4.group(number), on));
        let full = (1..).find(|&number| join(number).is_err()).unwrap();
        let group = Family::V4.group(full);
        let join_source = || host.run(|| Form::Text.source(JOIN_SOURCE, &socket, &group, &source, on));
        assert_eq!((join(full), join_source()), (Err(Errno::ENOBUFS), Err(Errno::ENOBUFS)));
        // The cure.
        host.set("net/ipv4/igmp_max_memberships", "100");
        assert_eq!(join_source(), Ok(0));
    });
}
