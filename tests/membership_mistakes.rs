//! Memberships that are kept: what can't be, with which error, and that it changes nothing.

mod support;

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use support::face::{Outcome, call};
use support::hosts;
use support::memberships::OPTIONS;
use support::pair::{Pair, all_option};
use support::udp::{FAMILIES, Family, Udp};

#[test]
fn what_is_wished_already_or_not_at_all_is_told_so() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let [group, other] = [1, 2].map(|number| family.group(number));
            let [one, two] = [1, 9].map(|number| family.host(number));
            let keeper = pair.keeper(family);
            let interfaces = Some("eth0");
            assert_eq!(keeper.remove(&group, None, interfaces), Err(Errno::EADDRNOTAVAIL));
            keeper.wish(&group, "eth0");
            assert_eq!(keeper.add(&group, None, interfaces), Err(Errno::EADDRINUSE));
            // The same group whole and by source, on these interfaces or others, also when none is there.
            for interfaces in [Some("eth0"), Some("eth*"), Some("eth9")] {
                assert_eq!(keeper.add(&group, Some(&one), interfaces), Err(Errno::EADDRINUSE), "{interfaces:?}");
            }
            assert_eq!(keeper.remove(&group, Some(&one), interfaces), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(keeper.remove(&group, None, Some("eth*")), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(keeper.remove(&other, None, interfaces), Err(Errno::EADDRNOTAVAIL));

            keeper.add(&other, Some(&one), interfaces).unwrap();
            assert_eq!(keeper.add(&other, Some(&one), interfaces), Err(Errno::EADDRINUSE));
            assert_eq!(keeper.add(&other, None, interfaces), Err(Errno::EADDRINUSE));
            assert_eq!(keeper.add(&other, Some(&two), interfaces), Ok(1));
            // Nothing of all this has changed anything, and when the last is gone the other kind may come.
            assert_eq!(keeper.states(), ["live eth0"; 3]);
            pair.reaches(&keeper, &group);
            for source in [&one, &two] {
                assert_eq!(keeper.remove(&other, Some(source), interfaces), Ok(0));
            }
            assert_eq!(keeper.add(&other, None, interfaces), Ok(1));
            pair.reaches(&keeper, &other);
        }
    });
}

#[test]
fn a_wish_that_means_nothing_is_refused() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let long = &"x".repeat(128);
        for family in FAMILIES {
            let (keeper, group, host) = (pair.keeper(family), family.group(1), family.host(1));
            let other = if family == Family::V4 { "fd01::1" } else { "10.1.0.1" };
            for (group, source, interfaces, error) in [
                (host.as_str(), None, Some("eth0"), Errno::EINVAL),
                ("eth0", None, Some("eth0"), Errno::EINVAL),
                ("", None, Some("eth0"), Errno::EINVAL),
                (&group, Some(group.as_str()), Some("eth0"), Errno::EINVAL),
                (&group, Some("x"), Some("eth0"), Errno::EINVAL),
                (&group, Some(other), Some("eth0"), Errno::EAFNOSUPPORT),
                (&group, None, Some(""), Errno::EINVAL),
                (&group, None, Some(long.as_str()), Errno::EINVAL),
            ] {
                let result = keeper.add(group, source, interfaces);
                assert_eq!(result, Err(error), "{group:?} {source:?} {interfaces:?}");
                let result = keeper.remove(group, source, interfaces);
                assert_eq!(result, Err(error), "{group:?} {source:?} {interfaces:?}");
            }
            assert_eq!((keeper.list().len(), keeper.process()), (0, Ok(0)));
        }
        let [v4, v6] = FAMILIES.map(|family| pair.keeper(family));
        assert_eq!(v4.add("ff15::1", None, Some("eth0")), Err(Errno::EAFNOSUPPORT));
        for group in ["ff01::7", "ff02::7", "ff12::7"] {
            assert_eq!(v6.add(group, None, None), Err(Errno::ENODEV));
            assert_eq!(v6.add(&format!("{group}%eth0"), None, Some("eth0")), Err(Errno::EINVAL));
        }
        // Of one link, and wished for on another.
        for interfaces in ["lo", "eth*", "*", "10.1.0.99", "eth9"] {
            assert_eq!(v6.add("ff35::1", Some("fe80::1%eth0"), Some(interfaces)), Err(Errno::EINVAL), "{interfaces}");
            assert_eq!(v6.remove("ff35::1", Some("fe80::1%eth0"), Some(interfaces)), Err(Errno::EINVAL));
        }
        for interfaces in [Some("eth0"), None] {
            assert_eq!(v6.add("ff35::1", Some("fe80::1%eth0"), interfaces), Ok(1), "{interfaces:?}");
            assert_eq!(v6.remove("ff35::1", Some("fe80::1%eth0"), interfaces), Ok(0));
        }
        // An IPv6 socket takes groups of IPv4.
        assert_eq!(v6.add("239.1.0.1", None, Some("eth0")), Ok(1));
        pair.reaches(&v6, "239.1.0.1");
    });
}

/// What opening gives; without room for the handle if it is told so.
fn open(fd: &impl AsRawFd, options: *const castio_membership_options, has_room: bool) -> Outcome {
    let mut handle = ptr::null_mut();
    let place = if has_room { &raw mut handle } else { ptr::null_mut() };
    // SAFETY: options or NULL, and a place or NULL.
    let result = call(|| unsafe { castio_membership_open(fd.as_raw_fd(), options, place) });
    // SAFETY: a handle, or NULL.
    unsafe { castio_membership_close(handle) };
    assert_eq!(handle.is_null(), result.is_err());
    result
}

#[test]
fn what_no_memberships_can_be_kept_on_is_told_so() {
    let unix = UnixDatagram::unbound().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for family in FAMILIES {
        let stream = TcpListener::bind((family.loopback(), 0)).unwrap();
        assert_eq!(open(&stream, ptr::null(), true), Err(Errno::EPROTO));
        let socket = Udp::new(family);
        for struct_size in [0, OPTIONS.struct_size - 1] {
            let options = castio_membership_options { struct_size, ..OPTIONS };
            assert_eq!(open(&socket, &raw const options, true), Err(Errno::EINVAL));
        }
        assert_eq!(open(&socket, ptr::null(), false), Err(Errno::EFAULT));
        // Upon which all is as it was.
        assert_eq!(all_option(&socket), 1);
        assert_eq!(open(&socket, ptr::null(), true), Ok(0));
    }
    assert_eq!(open(&unix, ptr::null(), true), Err(Errno::EAFNOSUPPORT));
    assert_eq!(open(&file, ptr::null(), true), Err(Errno::ENOTSOCK));
    assert_eq!(open(&-1, ptr::null(), true), Err(Errno::EBADF));
}

#[test]
fn a_handle_that_is_not_there_is_told_so() {
    let none = ptr::null_mut();
    let group = c"239.1.2.3".as_ptr();
    // SAFETY: NULL is checked.
    unsafe {
        castio_membership_close(none);
        let calls: [&dyn Fn() -> i64; 10] = [
            &|| castio_membership_add(none, group, ptr::null(), ptr::null()).into(),
            &|| castio_membership_remove(none, group, ptr::null(), ptr::null()).into(),
            &|| castio_membership_fd(none).into(),
            &|| castio_membership_receive_fd(none).into(),
            &|| castio_membership_timeout_ms(none, &mut 0).into(),
            &|| castio_membership_process(none).into(),
            &|| castio_membership_wait(none, 0).into(),
            &|| castio_membership_events(none, ptr::null_mut(), 0) as i64,
            &|| castio_membership_list(none, ptr::null_mut(), 0) as i64,
            &|| castio_membership_receive(none, ptr::null_mut(), 0, 0) as i64,
        ];
        for (number, function) in calls.iter().enumerate() {
            assert_eq!(call(function), Err(Errno::EFAULT), "call {number}");
        }
    }
}
