//! The whole source filter of a group: set and read, seen by who is heard.

mod support;

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::filter::*;
use support::face::{
    BLOCK_SOURCE, FORMS, Form, JOIN, JOIN_SOURCE, LEAVE, LEAVE_SOURCE, UNBLOCK_SOURCE, call, storage, text,
};
use support::hosts;
use support::link::{Kind, Watch};
use support::sources::{Lan, limit};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

const EXCLUDE: c_int = CASTIO_FILTER_EXCLUDE;
const INCLUDE: c_int = CASTIO_FILTER_INCLUDE;

#[test]
fn a_filter_over_the_limit_leaves_things_as_they_were() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            let too_many: Vec<usize> = (1..=limit(listener.family) + 1).collect();
            for mode in [INCLUDE, EXCLUDE] {
                assert_eq!(listener.set_filter(mode, &too_many), Err(Errno::ENOBUFS));
                assert_eq!(listener.leave(), Err(Errno::EADDRNOTAVAIL), "it wasn't joined and isn't");
            }
            for (mode, heard) in [(INCLUDE, [2].as_slice()), (EXCLUDE, &[1, 3])] {
                listener.set_filter(mode, &[2]).unwrap();
                for refused in [INCLUDE, EXCLUDE] {
                    assert_eq!(listener.set_filter(refused, &too_many), Err(Errno::ENOBUFS));
                    assert_eq!(listener.filter(), Ok((mode, listener.addresses(&[2]))));
                    assert_eq!(listener.hears(), heard);
                }
            }
            let just_enough = &too_many[1..];
            assert_eq!(listener.set_filter(EXCLUDE, just_enough), Ok(0));
            assert_eq!(listener.hears(), [1]);
        });
    });
}

#[test]
fn a_filter_is_set_read_and_replaced() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.join().unwrap();
            assert_eq!(listener.filter(), Ok((EXCLUDE, vec![])));
            let steps: [(c_int, &[usize], &[usize]); 7] = [
                (INCLUDE, &[1, 3], &[1, 3]),
                (INCLUDE, &[2], &[2]),
                (EXCLUDE, &[2], &[1, 3]),
                (EXCLUDE, &[1, 3], &[2]),
                (EXCLUDE, &[], &[1, 2, 3]),
                (INCLUDE, &[1, 2, 3], &[1, 2, 3]),
                (EXCLUDE, &[1, 2, 3], &[]),
            ];
            for (mode, sources, heard) in steps {
                assert_eq!(listener.set_filter(mode, sources), Ok(0), "{mode} {sources:?}");
                assert_eq!(listener.filter(), Ok((mode, listener.addresses(sources))));
                assert_eq!(listener.hears(), heard, "{mode} {sources:?}");
            }
        });
    });
}

#[test]
fn a_source_given_twice_is_one() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            for joined_before in [false, true] {
                if joined_before {
                    listener.join().unwrap();
                }
                assert_eq!(listener.set_filter(INCLUDE, &[2, 3, 2, 2]), Ok(0));
                assert_eq!(listener.filter(), Ok((INCLUDE, listener.addresses(&[2, 3]))));
                assert_eq!(listener.source(LEAVE_SOURCE, 2), Ok(0));
                assert_eq!(listener.hears(), [3]);
                assert_eq!(listener.set_filter(EXCLUDE, &[2, 2]), Ok(0));
                assert_eq!(listener.source(UNBLOCK_SOURCE, 2), Ok(0));
                assert_eq!(listener.hears(), [1, 2, 3]);
                listener.leave().unwrap();
            }
            // They take one place of those that there are.
            let many: Vec<usize> = [vec![1; 9], (1..=limit(listener.family)).collect()].concat();
            assert_eq!(listener.set_filter(INCLUDE, &many), Ok(0));
        });
    });
}

#[test]
fn a_filter_that_is_read_tells_what_was_joined_and_blocked() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            assert_eq!(listener.filter(), Err(Errno::EADDRNOTAVAIL));
            listener.source(JOIN_SOURCE, 1).unwrap();
            listener.source(JOIN_SOURCE, 3).unwrap();
            assert_eq!(listener.filter(), Ok((INCLUDE, listener.addresses(&[1, 3]))));
            listener.leave().unwrap();
            listener.join().unwrap();
            listener.source(BLOCK_SOURCE, 2).unwrap();
            assert_eq!(listener.filter(), Ok((EXCLUDE, listener.addresses(&[2]))));
            // Without an interface: the first on which it is joined.
            let anywhere = listener.host.run(|| listener.form.filter(&listener.socket, &listener.group, None, 9));
            assert_eq!(anywhere, Ok((EXCLUDE, listener.addresses(&[2]), 1)));
        });
    });
}

#[test]
fn a_filter_has_more_sources_than_there_is_room_for() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.set_filter(INCLUDE, &[1, 2, 3]).unwrap();
            for capacity in 0..=3 {
                let read = || listener.form.filter(&listener.socket, &listener.group, Some("eth0"), capacity);
                let (mode, sources, count) = listener.host.run(read).unwrap();
                assert_eq!((mode, sources.len(), count), (INCLUDE, capacity, 3));
                assert!(sources.iter().all(|source| listener.addresses(&[1, 2, 3]).contains(source)));
            }
            // NULL with no room asks for the number alone.
            let ((group, len), index) = (storage(&listener.group), listener.host.index("eth0"));
            let (mut mode, mut count) = (-1, 0);
            let (fd, group, none) = (listener.socket.as_raw_fd(), (&raw const group).cast(), ptr::null_mut());
            // SAFETY: an address of this length, and two places.
            let result = call(|| unsafe {
                castio_get_source_filter_addr(fd, group, len, index, &raw mut mode, none, 0, &raw mut count)
            });
            assert_eq!((result, mode, count), (Ok(0), INCLUDE, 3));
            // The number may stay untold.
            let (mode_at, untold) = (&raw mut mode, ptr::null_mut());
            // SAFETY: an address of this length, and a place.
            let result =
                call(|| unsafe { castio_get_source_filter_addr(fd, group, len, index, mode_at, none, 0, untold) });
            assert_eq!(result, Ok(0));
        });
    });
}

#[test]
fn a_filter_joins_the_group_and_including_nothing_leaves_it() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            for (mode, sources, heard) in
                [(INCLUDE, &[2][..], &[2][..]), (EXCLUDE, &[2], &[1, 3]), (EXCLUDE, &[], &[1, 2, 3])]
            {
                assert_eq!(listener.set_filter(mode, sources), Ok(0));
                assert_eq!(listener.filter(), Ok((mode, listener.addresses(sources))));
                assert_eq!(listener.hears(), heard);
                assert_eq!(listener.set_filter(INCLUDE, &[]), Ok(0));
                assert_eq!(listener.hears(), [0; 0]);
                assert_eq!(listener.leave(), Err(Errno::EADDRNOTAVAIL));
            }
            assert_eq!(listener.set_filter(INCLUDE, &[]), Err(Errno::EADDRNOTAVAIL));
        });
    });
}

#[test]
fn an_ipv6_socket_filters_an_ipv4_group() {
    hosts::test(|network| {
        let lan = Lan::new(network);
        for form in FORMS {
            let mut listener = lan.listener(Family::V4, form);
            // Instead of the IPv4 socket.
            listener.socket = lan.host.run(|| Udp::new(Family::V6));
            listener.socket.bind(address("::", PORT)).unwrap();
            for (mode, sources, heard) in [(INCLUDE, [2].as_slice(), [2].as_slice()), (EXCLUDE, &[2], &[1, 3])] {
                assert_eq!(listener.set_filter(mode, sources), Ok(0));
                assert_eq!(listener.filter(), Ok((mode, listener.addresses(sources))));
                assert_eq!(listener.hears(), heard);
            }
            listener.leave().unwrap();
            listener.source(JOIN_SOURCE, 3).unwrap();
            assert_eq!(listener.hears(), [3]);
        }
    });
}

#[test]
fn a_filter_that_makes_no_sense_is_refused_and_changes_nothing() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            let (family, form) = (listener.family, listener.form);
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            listener.set_filter(INCLUDE, &[2]).unwrap();
            for mode in [-1, 2, c_int::MAX] {
                assert_eq!(listener.set_filter(mode, &[1]), Err(Errno::EINVAL));
            }
            let with = |group: &str, source: String, interface: &str| {
                let sources = [family.host(1), source];
                listener.host.run(|| form.set_filter(&listener.socket, group, Some(interface), EXCLUDE, &sources))
            };
            assert_eq!(with(&listener.group, family.group(2), "eth0"), Err(Errno::EINVAL));
            assert_eq!(with(&listener.group, family.wildcard().to_string(), "eth0"), Err(Errno::EINVAL));
            assert_eq!(with(&listener.group, other.host(1), "eth0"), Err(Errno::EAFNOSUPPORT));
            assert_eq!(with(&family.host(9), family.host(2), "eth0"), Err(Errno::EINVAL));
            if form == Form::Text {
                assert_eq!(with(&listener.group, "nonsense".to_owned(), "eth0"), Err(Errno::EINVAL));
                assert_eq!(with("nonsense", family.host(2), "eth0"), Err(Errno::EINVAL));
                assert_eq!(with(&listener.group, family.host(2), "eth9"), Err(Errno::ENODEV));
            }
            let elsewhere = listener.host.run(|| form.filter(&listener.socket, &listener.group, Some("lo"), 9));
            assert_eq!(elsewhere, Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.filter(), Ok((INCLUDE, listener.addresses(&[2]))));
            assert_eq!(listener.hears(), [2]);
        });
    });
}

#[test]
fn a_filter_of_what_is_no_udp_socket_is_refused() {
    let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let cases: [(c_int, Errno); 4] = [
        (stream.as_raw_fd(), Errno::EPROTO),
        (unix.as_raw_fd(), Errno::EAFNOSUPPORT),
        (file.as_raw_fd(), Errno::ENOTSOCK),
        (-1, Errno::EBADF),
    ];
    for ((fd, error), form) in cases.into_iter().flat_map(|case| FORMS.map(|form| (case, form))) {
        for (mode, sources) in [(EXCLUDE, &["10.1.0.1"][..]), (INCLUDE, &["10.1.0.1"]), (EXCLUDE, &[])] {
            assert_eq!(form.set_filter(&fd, "239.1.0.1", Some("lo"), mode, sources), Err(error), "{mode} {sources:?}");
        }
    }
    for fd in [unix.as_raw_fd(), file.as_raw_fd(), -1] {
        let error = cases.iter().find(|case| case.0 == fd).unwrap().1;
        assert_eq!(Form::Text.filter(&fd, "239.1.0.1", Some("lo"), 3), Err(error));
        assert_eq!(Form::Address.filter(&fd, "239.1.0.1", None, 3), Err(error));
    }
}

#[test]
fn a_filter_without_its_parts_is_refused() {
    let socket = Udp::new(Family::V4);
    let (fd, group, lo) = (socket.as_raw_fd(), text("239.1.0.1"), text("lo"));
    let (none, group_at, lo) = (ptr::null(), group.as_ptr(), lo.as_ptr());
    let source = text("10.1.0.1");
    let with_a_hole = [source.as_ptr(), ptr::null()];
    // SAFETY: text that ends in a NUL, or NULL, which is checked.
    let results = unsafe {
        [
            call(|| castio_set_source_filter(fd, none, lo, EXCLUDE, ptr::null(), 0)),
            call(|| castio_set_source_filter(fd, group_at, lo, EXCLUDE, ptr::null(), 1)),
            call(|| castio_set_source_filter(fd, group_at, lo, EXCLUDE, with_a_hole.as_ptr(), 2)),
            call(|| castio_set_source_filter_addr(fd, ptr::null(), 16, 1, EXCLUDE, ptr::null(), 0)),
        ]
    };
    assert_eq!(results, [Err(Errno::EFAULT); 4]);
    let (mut mode, mut source, mut count) = (-7, storage("10.9.9.9").0, 9);
    let (mode_at, source_at, count_at) = (&raw mut mode, &raw mut source, &raw mut count);
    let refused = |mode_at, source_at, group_at, error| {
        // SAFETY: places of these sizes, or NULL, which is checked.
        let result = call(|| unsafe { castio_get_source_filter(fd, group_at, lo, mode_at, source_at, 1, count_at) });
        assert_eq!(result, Err(error));
        // SAFETY: the place above.
        assert_eq!(unsafe { count_at.replace(9) }, 0, "on failure there are none");
    };
    refused(ptr::null_mut(), source_at, group_at, Errno::EFAULT);
    refused(mode_at, ptr::null_mut(), group_at, Errno::EFAULT);
    refused(mode_at, source_at, none, Errno::EFAULT);
    refused(mode_at, source_at, group_at, Errno::EADDRNOTAVAIL);
    assert_eq!(mode, -7);
    assert_eq!(Form::Text.filter(&fd, "239.1.0.1", Some("lo"), 1), Err(Errno::EADDRNOTAVAIL));
}

#[test]
fn more_sources_than_any_setting_allows_are_not_even_read() {
    let socket = Udp::new(Family::V4);
    let (fd, group, lo, source) = (socket.as_raw_fd(), text("239.1.0.1"), text("lo"), text("10.1.0.1"));
    let list = [source.as_ptr()];
    for count in [1 << 16, usize::MAX] {
        // SAFETY: so many are refused before the first is looked at.
        let result = call(|| unsafe {
            castio_set_source_filter(fd, group.as_ptr(), lo.as_ptr(), INCLUDE, list.as_ptr(), count)
        });
        assert_eq!(result, Err(Errno::ENOBUFS));
    }
}

#[test]
fn a_filter_that_includes_is_joined_by_source_from_the_start() {
    hosts::test(|network| {
        let lan = Lan::new(network);
        let watch = Watch::new(&lan.senders[0], "eth0");
        for family in FAMILIES {
            let listener = lan.listener(family, Form::Text);
            listener.set_filter(INCLUDE, &[2]).unwrap();
            // Joined for any source first and cut down then, it would be another record.
            watch.sees(&[Kind::AllowNewSources], &listener.group, Some(&family.host(2)));
        }
    });
}

#[test]
fn a_filter_that_finds_no_memory_does_not_leave_the_group_joined() {
    hosts::test(|network| {
        let [host] = network.lan();
        let socket = host.run(|| Udp::new(Family::V6));
        let ask = |call, number| Form::Text.group(call, &socket, &Family::V6.group(number), Some("eth0"));
        let full = host.run(|| (1..50_000).find(|&number| ask(JOIN, number).is_err())).expect("no limit found");
        // Room for one group, and for no list of sources.
        host.run(|| ask(LEAVE, 1)).unwrap();
        let sources: Vec<String> = (1..=60).map(|number| Family::V6.host(number)).collect();
        let group = Family::V6.group(full);
        for form in FORMS {
            let refused = host.run(|| form.set_filter(&socket, &group, Some("eth0"), EXCLUDE, &sources));
            assert_eq!(refused, Err(Errno::ENOMEM), "{form:?}");
            assert_eq!(host.run(|| ask(LEAVE, full)), Err(Errno::EADDRNOTAVAIL), "{form:?}");
        }
        // The room is there still.
        assert_eq!(host.run(|| ask(JOIN, full)), Ok(0));
    });
}
