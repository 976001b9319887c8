//! Joining and leaving: what is refused, with which error, and that it changes nothing.

mod support;

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::filter::*;
use castio::ffi::multicast::membership::*;
use castio::ffi::multicast::membership_addr::*;
use support::face::{
    BLOCK_SOURCE, FORMS, Form, GroupCall, JOIN, JOIN_SOURCE, LEAVE, LEAVE_SOURCE, Outcome, SourceCall, UNBLOCK_SOURCE,
    call, storage, text,
};
use support::hosts::{self, Host};
use support::udp::{FAMILIES, Family, Udp, address};

const GROUP_CALLS: [(&str, GroupCall); 2] = [("join", JOIN), ("leave", LEAVE)];
const SOURCE_CALLS: [(&str, SourceCall); 4] =
    [("join", JOIN_SOURCE), ("leave", LEAVE_SOURCE), ("block", BLOCK_SOURCE), ("unblock", UNBLOCK_SOURCE)];

/// Every call about a group: on this socket, with these arguments, each gives this outcome.
fn all_refuse(socket: &impl AsRawFd, form: Form, group: &str, source: &str, interface: Option<&str>, error: Errno) {
    for (name, call) in GROUP_CALLS {
        let result = form.group(call, socket, group, interface);
        assert_eq!(result, Err(error), "{name} group {group:?} on {interface:?} by {form:?}");
    }
    for (name, call) in SOURCE_CALLS {
        let result = form.source(call, socket, group, source, interface);
        assert_eq!(result, Err(error), "{name} source {source:?} of {group:?} on {interface:?} by {form:?}");
    }
}

/// Nothing is joined: a group that is, is refused.
fn joins_afresh(host: &Host, socket: &Udp, group: &str) {
    assert_eq!(host.run(|| Form::Text.group(JOIN, socket, group, Some("eth0"))), Ok(0), "{group}");
    assert_eq!(host.run(|| Form::Text.group(LEAVE, socket, group, Some("eth0"))), Ok(0), "{group}");
}

#[test]
fn what_is_joined_is_not_joined_again_under_any_name_of_its_interface() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        host.address("eth0", &["10.1.0.77/24"]);
        let index = host.index("eth0").to_string();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let (group, socket) = (family.group(1), host.run(|| Udp::receiver(family)));
            assert_eq!(host.run(|| form.group(JOIN, &socket, &group, Some("eth0"))), Ok(0));
            assert_eq!(host.run(|| form.group(JOIN, &socket, &group, Some("eth0"))), Err(Errno::EADDRINUSE));
            for name in ["10.1.0.2", "10.1.0.77", "fd01::2", &index] {
                let again = host.run(|| Form::Text.group(JOIN, &socket, &group, Some(name)));
                assert_eq!(again, Err(Errno::EADDRINUSE), "{family:?} {name}");
            }
            // Another interface is another membership.
            assert_eq!(host.run(|| form.group(JOIN, &socket, &group, Some("lo"))), Ok(0));
            sender.run(|| Udp::new(family)).send("still there", &group);
            assert_eq!(socket.receive().text, "still there");
            assert_eq!(host.run(|| Form::Text.group(LEAVE, &socket, &group, Some("10.1.0.77"))), Ok(0));
            assert_eq!(host.run(|| form.group(LEAVE, &socket, &group, Some("eth0"))), Err(Errno::EADDRNOTAVAIL));
        }
    });
}

#[test]
fn what_is_not_joined_is_not_left() {
    hosts::test(|network| {
        let [host] = network.lan();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let (group, source, socket) = (family.group(1), family.host(9), host.run(|| Udp::new(family)));
            let not_there = |group: &str, interface| {
                let leave = host.run(|| form.group(LEAVE, &socket, group, interface));
                assert_eq!(leave, Err(Errno::EADDRNOTAVAIL), "{family:?} {form:?}");
                for call in [LEAVE_SOURCE, BLOCK_SOURCE, UNBLOCK_SOURCE] {
                    let result = host.run(|| form.source(call, &socket, group, &source, interface));
                    assert_eq!(result, Err(Errno::EADDRNOTAVAIL), "{family:?} {form:?} {interface:?} {call:?}");
                }
            };
            not_there(&group, Some("eth0"));
            not_there(&group, None);
            // Another group, or the same on another interface, doesn't count.
            host.run(|| form.group(JOIN, &socket, &group, Some("eth0"))).unwrap();
            not_there(&family.group(2), Some("eth0"));
            not_there(&group, Some("lo"));
        }
    });
}

#[test]
fn an_address_that_is_no_group_is_refused() {
    hosts::test(|network| {
        let [host] = network.lan();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let (group, host_address) = (family.group(1), family.host(9));
            let socket = host.run(|| Udp::new(family));
            host.run(|| all_refuse(&socket, form, &family.host(3), &host_address, Some("eth0"), Errno::EINVAL));
            host.run(|| {
                let wildcard = family.wildcard().to_string();
                all_refuse(&socket, form, &wildcard, &host_address, Some("eth0"), Errno::EINVAL);
                // Nor is a group a source, or the wildcard.
                for source in [family.group(2), wildcard] {
                    for (name, call) in SOURCE_CALLS {
                        let result = form.source(call, &socket, &group, &source, Some("eth0"));
                        assert_eq!(result, Err(Errno::EINVAL), "{name} {source} {form:?}");
                    }
                }
            });
            joins_afresh(&host, &socket, &group);
        }
    });
}

#[test]
fn text_that_is_no_address_is_refused() {
    hosts::test(|network| {
        let [host] = network.lan();
        let wrong = [
            "",
            " ",
            "eth0",
            "239.1.0",
            "239.1.0.1.1",
            "239.1.0.256",
            "239.1.0.1 ",
            " 239.1.0.1",
            "239.1.0.1:5000",
            "239.1.0.1%eth0",
            "239.1.0.1/24",
            "0xef.1.0.1",
            "ff15:::1",
            "ff15::1::2",
            "[ff15::1]",
            "ff15::12345",
            "ff02::7%",
        ];
        for family in FAMILIES {
            let socket = host.run(|| Udp::new(family));
            for group in wrong {
                host.run(|| all_refuse(&socket, Form::Text, group, &family.host(9), Some("eth0"), Errno::EINVAL));
            }
            for (source, (name, call)) in wrong.into_iter().flat_map(|source| SOURCE_CALLS.map(|call| (source, call))) {
                let result = host.run(|| Form::Text.source(call, &socket, &family.group(1), source, Some("eth0")));
                assert_eq!(result, Err(Errno::EINVAL), "{name} {source:?}");
            }
            joins_afresh(&host, &socket, &family.group(1));
        }
    });
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let (group, source, socket) = (family.group(1), family.host(9), host.run(|| Udp::new(family)));
            for name in
                ["eth9", "999", "10.1.0.99", "fd01::99", "4294967296", "-1", "a name too long for any interface"]
            {
                host.run(|| all_refuse(&socket, Form::Text, &group, &source, Some(name), Errno::ENODEV));
            }
            host.run(|| all_refuse(&socket, Form::Text, &group, &source, Some(""), Errno::EINVAL));
            let (raw, len) = storage(&group);
            for index in [999, i32::MAX as u32, 1 << 31, u32::MAX] {
                let (fd, raw) = (socket.as_raw_fd(), (&raw const raw).cast());
                // SAFETY: an address of this length.
                let result = call(|| unsafe { castio_join_group_addr(fd, raw, len, index) });
                assert_eq!(result, Err(Errno::ENODEV), "{family:?} {index}");
            }
            joins_afresh(&host, &socket, &group);
        }
    });
}

#[test]
fn an_interface_named_twice_is_the_same_one() {
    hosts::test(|network| {
        let [host] = network.lan();
        let socket = host.run(|| Udp::new(Family::V6));
        for form in FORMS {
            host.run(|| all_refuse(&socket, form, "ff02::7%eth0", "fd01::9", Some("lo"), Errno::EINVAL));
            assert_eq!(host.run(|| form.group(JOIN, &socket, "ff02::7%eth0", Some("eth0"))), Ok(0));
            assert_eq!(host.run(|| form.group(LEAVE, &socket, "ff02::7", Some("eth0"))), Ok(0));
        }
        host.run(|| all_refuse(&socket, Form::Text, "ff02::7%eth9", "fd01::9", None, Errno::ENODEV));
        host.run(|| all_refuse(&socket, Form::Text, "ff02::7%999", "fd01::9", None, Errno::ENODEV));
    });
}

#[test]
fn a_source_names_the_interface_that_is_meant() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        sender.ip("address add fe80::1/64 dev eth0 nodad");
        for form in FORMS {
            let (group, socket) = ("ff35::7", host.run(|| Udp::receiver(Family::V6)));
            for (source, interface) in [("fe80::1%lo", Some("eth0")), ("fe80::1%eth0", Some("lo"))] {
                for (name, call) in SOURCE_CALLS {
                    let result = host.run(|| form.source(call, &socket, group, source, interface));
                    assert_eq!(result, Err(Errno::EINVAL), "{name} {source} {form:?}");
                }
                let one_of_two = ["fe80::9", source];
                let set = || form.set_filter(&socket, group, interface, CASTIO_FILTER_INCLUDE, &one_of_two);
                assert_eq!(host.run(set), Err(Errno::EINVAL));
            }
            let two = ["fe80::1%lo", "fe80::1%eth0"];
            let set = || form.set_filter(&socket, group, None, CASTIO_FILTER_INCLUDE, &two);
            assert_eq!(host.run(set), Err(Errno::EINVAL));
            let from = sender.run(|| {
                let from = Udp::new(Family::V6);
                from.bind(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, sender_index()).into())
                    .unwrap();
                from
            });
            // The same one, none, and the source's where there is no other.
            for (source, interface) in
                [("fe80::1%eth0", Some("eth0")), ("fe80::1", Some("eth0")), ("fe80::1%eth0", None)]
            {
                assert_eq!(host.run(|| form.source(JOIN_SOURCE, &socket, group, source, interface)), Ok(0));
                from.send("from the link", group);
                assert_eq!(socket.receive().text, "from the link", "{source} on {interface:?} by {form:?}");
                assert_eq!(host.run(|| form.source(LEAVE_SOURCE, &socket, group, source, Some("eth0"))), Ok(0));
            }
        }
    });
}

/// In the calling thread's namespace.
fn sender_index() -> u32 {
    castio::interface::index_of("eth0").unwrap()
}

#[test]
fn an_index_that_is_not_there_is_refused_as_a_name_is() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let socket = host.run(|| Udp::new(family));
            let fd = socket.as_raw_fd();
            let ((group, len), (source, source_len)) = (storage(&family.group(1)), storage(&family.host(9)));
            let (group, source) = ((&raw const group).cast(), &raw const source);
            for index in [999, u32::MAX] {
                let (mut mode, mut count) = (0, 0);
                // SAFETY: addresses of these lengths, and places.
                let results = unsafe {
                    let (one, mode) = (source.cast(), &raw mut mode);
                    [
                        call(|| castio_join_group_addr(fd, group, len, index)),
                        call(|| castio_leave_group_addr(fd, group, len, index)),
                        call(|| castio_join_source_addr(fd, group, len, one, source_len, index)),
                        call(|| castio_leave_source_addr(fd, group, len, one, source_len, index)),
                        call(|| castio_block_source_addr(fd, group, len, one, source_len, index)),
                        call(|| castio_unblock_source_addr(fd, group, len, one, source_len, index)),
                        call(|| castio_set_source_filter_addr(fd, group, len, index, 1, source, 1)),
                        call(|| castio_set_source_filter_addr(fd, group, len, index, 0, source, 1)),
                        call(|| castio_set_source_filter_addr(fd, group, len, index, 1, source, 0)),
                        call(|| {
                            let (none, count) = (ptr::null_mut(), &raw mut count);
                            castio_get_source_filter_addr(fd, group, len, index, mode, none, 0, count)
                        }),
                    ]
                };
                assert_eq!(results, [Err(Errno::ENODEV); 10], "{family:?} {index}");
            }
        }
    });
}

#[test]
fn a_group_of_one_link_or_host_needs_an_interface() {
    hosts::test(|network| {
        let [host] = network.lan();
        let socket = host.run(|| Udp::new(Family::V6));
        for (form, group) in
            FORMS.into_iter().flat_map(|form| ["ff01::7", "ff02::7", "ff12::7"].map(|group| (form, group)))
        {
            host.run(|| all_refuse(&socket, form, group, "fd01::9", None, Errno::ENODEV));
            joins_afresh(&host, &socket, group);
        }
    });
}

#[test]
fn families_that_disagree_are_refused() {
    hosts::test(|network| {
        let [host] = network.lan();
        for form in FORMS {
            let [v4, v6] = host.run(|| FAMILIES.map(Udp::new));
            host.run(|| all_refuse(&v4, form, "ff15::1", "fd01::9", Some("eth0"), Errno::EAFNOSUPPORT));
            for (name, call) in SOURCE_CALLS {
                for (socket, group, source) in [(&v4, "239.1.0.1", "fd01::9"), (&v6, "ff15::1", "10.1.0.9")] {
                    let result = host.run(|| form.source(call, socket, group, source, Some("eth0")));
                    assert_eq!(result, Err(Errno::EAFNOSUPPORT), "{name} {group} {source} {form:?}");
                }
            }
            joins_afresh(&host, &v4, "239.1.0.1");
            joins_afresh(&host, &v6, "ff15::1");
        }
    });
}

#[test]
fn without_a_route_and_an_interface_there_is_nowhere_to_join() {
    hosts::test(|network| {
        let host = network.host("alone");
        let socket = host.run(|| Udp::new(Family::V4));
        for form in FORMS {
            assert_eq!(host.run(|| form.group(JOIN, &socket, "239.1.0.1", None)), Err(Errno::ENODEV));
            assert_eq!(
                host.run(|| form.source(JOIN_SOURCE, &socket, "239.1.0.1", "10.1.0.9", None)),
                Err(Errno::ENODEV)
            );
            assert_eq!(host.run(|| form.group(JOIN, &socket, "239.1.0.1", Some("lo"))), Ok(0));
            assert_eq!(host.run(|| form.group(LEAVE, &socket, "239.1.0.1", Some("lo"))), Ok(0));
        }
    });
}

#[test]
fn a_stream_socket_has_no_groups() {
    for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
        let stream = TcpListener::bind(address(family.loopback(), 0)).unwrap();
        all_refuse(&stream, form, &family.group(1), &family.host(9), Some("lo"), Errno::EPROTO);
    }
}

#[test]
fn what_is_no_internet_socket_or_not_open_is_told_so() {
    let unix = UnixDatagram::unbound().unwrap();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
        let (group, source) = (family.group(1), family.host(9));
        all_refuse(&unix, form, &group, &source, Some("lo"), Errno::EAFNOSUPPORT);
        all_refuse(&file, form, &group, &source, Some("lo"), Errno::ENOTSOCK);
        for closed in [-1, i32::MIN, 1 << 20] {
            all_refuse(&closed, form, &group, &source, Some("lo"), Errno::EBADF);
        }
    }
}

#[test]
fn text_that_is_not_there_is_told_so() {
    let socket = Udp::new(Family::V4);
    let (fd, group, lo) = (socket.as_raw_fd(), text("239.1.0.1"), text("lo"));
    for function in [castio_join_group, castio_leave_group] {
        // SAFETY: NULL is checked.
        assert_eq!(call(|| unsafe { function(fd, ptr::null(), lo.as_ptr()) }), Err(Errno::EFAULT));
    }
    for function in [castio_join_source, castio_leave_source, castio_block_source, castio_unblock_source] {
        for (group, source) in [(ptr::null(), group.as_ptr()), (group.as_ptr(), ptr::null())] {
            // SAFETY: as above.
            assert_eq!(call(|| unsafe { function(fd, group, source, lo.as_ptr()) }), Err(Errno::EFAULT));
        }
    }
}

/// What a socket address can be that isn't one.
fn wrong_addresses(family: Family) -> Vec<(libc::sockaddr_storage, u32, Errno)> {
    let (good, len) = storage(&family.group(1));
    let mut other = good;
    other.ss_family = libc::AF_UNIX as libc::sa_family_t;
    vec![
        (good, len - 1, Errno::EINVAL),
        (good, 2, Errno::EINVAL),
        (good, 1, Errno::EINVAL),
        (good, 0, Errno::EINVAL),
        (other, 110, Errno::EAFNOSUPPORT),
    ]
}

#[test]
fn a_socket_address_that_is_cut_or_of_another_kind_is_told_so() {
    for family in FAMILIES {
        let socket = Udp::new(family);
        let fd = socket.as_raw_fd();
        let ((group, group_len), (source, source_len)) = (storage(&family.group(1)), storage(&family.host(9)));
        let (group, source) = ((&raw const group).cast(), (&raw const source).cast());
        let group_call = |at, len, error| {
            for function in [castio_join_group_addr, castio_leave_group_addr] {
                // SAFETY: an address of this length, or NULL.
                assert_eq!(call(|| unsafe { function(fd, at, len, 1) }), Err(error), "{family:?} {len}");
            }
        };
        let source_functions =
            [castio_join_source_addr, castio_leave_source_addr, castio_block_source_addr, castio_unblock_source_addr];
        let source_call = |at, len, error| {
            for function in source_functions {
                // SAFETY: as above.
                let result: Outcome = call(|| unsafe { function(fd, at, len, source, source_len, 1) });
                assert_eq!(result, Err(error), "{family:?} {len}");
                // SAFETY: as above.
                let result = call(|| unsafe { function(fd, group, group_len, at, len, 1) });
                assert_eq!(result, Err(error), "{family:?} {len}");
            }
        };
        for (wrong, len, error) in wrong_addresses(family) {
            group_call((&raw const wrong).cast(), len, error);
            source_call((&raw const wrong).cast(), len, error);
        }
        group_call(ptr::null(), group_len, Errno::EFAULT);
        source_call(ptr::null(), group_len, Errno::EFAULT);
    }
}

#[test]
fn an_ipv4_socket_takes_as_many_groups_as_the_kernel_lets_it() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for limit in [20, 25] {
            host.set("net/ipv4/igmp_max_memberships", &limit.to_string());
            for form in FORMS {
                let socket = host.run(|| Udp::receiver(Family::V4));
                let join = |number| host.run(|| form.group(JOIN, &socket, &Family::V4.group(number), Some("eth0")));
                for number in 1..=limit {
                    assert_eq!(join(number), Ok(0), "{number} of {limit}");
                }
                assert_eq!(join(limit + 1), Err(Errno::ENOBUFS));
                // Those before are there, and leaving one makes room.
                let from = sender.run(|| Udp::new(Family::V4));
                from.send("refused", &Family::V4.group(limit + 1));
                from.send("joined", &Family::V4.group(limit));
                from.end(&Family::V4.host(2));
                assert_eq!(socket.texts(), ["joined"]);
                host.run(|| form.group(LEAVE, &socket, &Family::V4.group(1), Some("eth0"))).unwrap();
                assert_eq!(join(limit + 1), Ok(0));
            }
        }
    });
}

#[test]
fn an_ipv6_socket_takes_groups_until_its_memory_is_used_up() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let socket = host.run(|| Udp::receiver(Family::V6));
        let join = |number| Form::Text.group(JOIN, &socket, &Family::V6.group(number), Some("eth0"));
        let refused =
            host.run(|| (1..=50_000).map(|number| (number, join(number))).find(|(_, result)| result.is_err()));
        let (number, error) = refused.expect("no limit found");
        assert_eq!(error, Err(Errno::ENOMEM));
        assert!(number > 300, "refused at {number}");
        let from = sender.run(|| Udp::new(Family::V6));
        from.send("refused", &Family::V6.group(number));
        from.send("joined", &Family::V6.group(number - 1));
        from.end(&Family::V6.host(2));
        assert_eq!(socket.texts(), ["joined"]);
    });
}
