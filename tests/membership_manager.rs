//! Memberships that are kept: wishes, what is told of them, and what closing leaves behind.

mod support;

use std::os::fd::AsRawFd;

use castio::Errno;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use support::face::Form;
use support::hosts;
use support::memberships::{Membership, OPTIONS, is_readable};
use support::pair::{JOIN, LEAVE, Pair, all_option, joined, shared};
use support::udp::{FAMILIES, Family, Udp};

#[test]
fn a_wish_is_joined_told_and_listed_and_taken_back() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let watch = pair.watch("eth0");
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            assert_eq!(keeper.wish(&group, "eth0"), 1);
            watch.sees(JOIN, &group, None);
            assert_eq!(keeper.process(), Ok(1));
            let index = pair.host.index("eth0");
            let [event] = keeper.events().try_into().unwrap();
            assert_eq!((event.what, event.error, event.index), (CASTIO_MEMBERSHIP_JOINED, 0, index));
            assert_eq!((event.interface.as_str(), &event.group, event.source.as_str()), ("eth0", &group, ""));
            let [state] = keeper.list().try_into().unwrap();
            assert_eq!((state.state, state.error, state.index), (CASTIO_MEMBERSHIP_LIVE, 0, index));
            assert_eq!((state.interface.as_str(), state.wished.as_str()), ("eth0", "eth0"));
            assert_eq!((&state.group, state.source.as_str()), (&group, ""));
            assert_eq!(keeper.sockets(), [state.fd]);
            pair.reaches(&keeper, &group);

            assert_eq!(keeper.remove(&group, None, Some("eth0")), Ok(0));
            watch.sees(LEAVE, &group, None);
            assert_eq!((keeper.process(), keeper.list().len()), (Ok(0), 0));
            pair.misses("eth0", &keeper, &group);
        }
    });
}

#[test]
fn the_address_form_makes_the_same_wishes() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (group, keeper, index) = (family.group(1), pair.keeper(family), pair.host.index("eth0"));
            let source = family.host(1);
            assert_eq!(keeper.add_addr(&group, None, index), Ok(1));
            assert_eq!(keeper.add_addr(&group, None, index), Err(Errno::EADDRINUSE));
            // As a text the number may be a name, too: that is another wish.
            assert_eq!(keeper.add(&group, None, Some(&index.to_string())), Ok(1));
            assert_eq!(keeper.remove(&group, None, Some(&index.to_string())), Ok(0));
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.remove_addr(&group, None, index), Ok(0));
            assert_eq!(keeper.remove_addr(&group, None, index), Err(Errno::EADDRNOTAVAIL));

            assert_eq!(keeper.add_addr(&group, Some(&source), index), Ok(1));
            assert_eq!(keeper.add_addr(&group, Some(&source), index), Err(Errno::EADDRINUSE));
            let [state] = keeper.list().try_into().unwrap();
            assert_eq!((state.group, state.source, state.wished), (group.clone(), source.clone(), index.to_string()));
            assert_eq!(keeper.remove_addr(&group, Some(&source), index), Ok(0));
            assert_eq!(keeper.joined("eth0"), [""; 0]);
        }
        // The scope of an IPv6 address counts as the interface.
        let keeper = pair.keeper(Family::V6);
        assert_eq!(keeper.add_addr("ff12::7%eth0", None, 0), Ok(1));
        assert_eq!(keeper.remove_addr("ff12::7", None, pair.host.index("eth0")), Ok(0));
        assert_eq!(keeper.add("ff12::7%eth0", None, None), Ok(1));
        pair.reaches(&keeper, "ff12::7");
    });
}

#[test]
fn wishes_that_overlap_hold_one_membership_that_goes_with_the_last() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let watch = pair.watch("eth0");
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let [by_address, index] = [family.host(2), pair.host.index("eth0").to_string()];
            let wishes = ["eth0", "eth*", "*", &by_address, &index];
            for wish in wishes {
                assert_eq!(keeper.wish(&group, wish), 1, "{wish}");
            }
            keeper.tells(&["joined eth0"]);
            assert_eq!(keeper.states(), ["live eth0"; 5]);
            watch.sees(JOIN, &group, None);
            for wish in &wishes[..4] {
                pair.reaches(&keeper, &group);
                assert_eq!(keeper.remove(&group, None, Some(wish)), Ok(0));
                assert_eq!(keeper.joined("eth0").join(" "), group, "{wish}");
            }
            assert_eq!(keeper.remove(&group, None, Some(wishes[4])), Ok(0));
            assert_eq!(keeper.joined("eth0"), [""; 0]);
            watch.sees(LEAVE, &group, None);
            keeper.tells(&[]);
        }
    });
}

/// The group that the caller has joined himself on his socket.
#[test]
fn what_is_refused_is_told_and_tried_again() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let own = |call| pair.host.run(|| Form::Text.group(call, &keeper.socket, &group, Some("eth0")));
            own(support::face::JOIN).unwrap();
            assert_eq!(keeper.wish(&group, "eth0"), 0);
            keeper.tells(&["refused eth0 EADDRINUSE"]);
            assert_eq!(keeper.states(), ["failed eth0 EADDRINUSE"]);
            assert_eq!(keeper.list()[0].fd, -1);
            assert!(keeper.timeout_ms() >= 0);
            own(support::face::LEAVE).unwrap();
            keeper.tells(&["joined eth0"]);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.reaches(&keeper, &group);
            keeper.comes_to_rest();
        }
    });
}

#[test]
fn a_refusal_that_lasts_is_told_once_and_no_wish_no_more_trial() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let own = |call| pair.host.run(|| Form::Text.group(call, &keeper.socket, &group, Some("eth0")));
            own(support::face::JOIN).unwrap();
            keeper.wish(&group, "eth0");
            keeper.tells(&["refused eth0 EADDRINUSE"]);
            // Long enough for a trial.
            assert_eq!(keeper.wait(keeper.timeout_ms() + 300), Err(Errno::ETIMEDOUT));
            keeper.remove(&group, None, Some("eth0")).unwrap();
            assert_eq!(keeper.timeout_ms(), -1);
            // What the caller has joined isn't the handle's to leave.
            pair.reaches(&keeper, &group);
            let _socket = keeper.close();
            assert_eq!(joined(&pair.host, family, "eth0"), [group]);
        }
    });
}

#[test]
fn closing_leaves_what_it_joined_and_nothing_else() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let watch = pair.watch("eth0");
        for family in FAMILIES {
            let keeper = pair.keeper(family);
            let groups: Vec<String> = (1..=45).map(|number| family.group(number)).collect();
            let (own, others) = groups.split_first().unwrap();
            pair.host.run(|| Form::Text.group(support::face::JOIN, &keeper.socket, own, Some("eth0"))).unwrap();
            let stranger = pair.host.run(|| Udp::new(family));
            pair.host.run(|| Form::Text.group(support::face::JOIN, &stranger, &others[0], Some("eth0"))).unwrap();
            for group in others {
                keeper.wish(group, "eth0");
            }
            assert_eq!(keeper.joined("eth0").len(), 45);
            assert_eq!(all_option(&keeper.socket), 0);
            let socket = keeper.close();
            assert_eq!(joined(&pair.host, family, "eth0"), [own.clone(), others[0].clone()]);
            watch.sees(LEAVE, &others[43], None);
            // Groups that others have joined come in again, as before.
            assert_eq!(all_option(&socket), 1);
            pair.send("by another's join", &others[0], "eth0", None);
            pair.send("by its own", own, "eth0", None);
            assert_eq!([socket.receive().text, socket.receive().text], ["by another's join", "by its own"]);
        }
    });
}

#[test]
fn an_option_that_was_off_stays_off() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let socket = pair.host.run(|| shared(family));
            // SAFETY: no pointer.
            unsafe { castio::ffi::multicast::options::castio_set_multicast_all(socket.as_raw_fd(), 0) };
            drop(Membership::open(&pair.host, &socket));
            assert_eq!(all_option(&socket), 0);
        }
    });
}

#[test]
fn too_many_events_are_told_by_one() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let options = castio_membership_options { events: 4, ..OPTIONS };
            let keeper = pair.keeper_with(family, options);
            for number in 0..10 {
                keeper.wish(&family.group(number), "eth0");
            }
            let events = keeper.events();
            let (first, rest) = events.split_first().unwrap();
            assert_eq!((first.what, first.index, first.group.as_str()), (CASTIO_MEMBERSHIP_OVERFLOW, 0, ""));
            let groups: Vec<&String> = rest.iter().map(|event| &event.group).collect();
            assert_eq!(
                groups,
                (6..10).map(|number| family.group(number)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
            );
            assert_eq!(keeper.states(), ["live eth0"; 10]);
            // From then on all is told again.
            keeper.wish(&family.group(10), "eth0");
            keeper.tells(&["joined eth0"]);
        }
    });
}

#[test]
fn waiting_ends_by_an_event_or_in_time() {
    hosts::test(|network| {
        let pair = Pair::new(network);
        for family in FAMILIES {
            let keeper = pair.keeper(family);
            assert_eq!(keeper.wait(0), Err(Errno::EAGAIN));
            assert_eq!(keeper.wait(1), Err(Errno::ETIMEDOUT));
            assert_eq!(keeper.wish(&family.group(1), "eth0"), 0);
            assert_eq!(keeper.states(), ["waiting ENODEV"]);
            assert_eq!(keeper.wait(1), Err(Errno::ETIMEDOUT));
            pair.plug(0);
            // One event waits until it is taken.
            assert_eq!([keeper.wait(-1), keeper.wait(0), keeper.wait(20_000)], [Ok(1); 3]);
            keeper.tells(&["joined eth0"]);
            assert_eq!(keeper.wait(0), Err(Errno::EAGAIN));
            pair.unplug("eth0");
        }
    });
}

#[test]
fn without_a_wish_there_is_nothing_to_do() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let keeper = pair.keeper(family);
            assert_eq!((keeper.process(), keeper.list().len(), keeper.events().len()), (Ok(0), 0, 0));
            assert_eq!((keeper.wait(0), keeper.timeout_ms()), (Err(Errno::EAGAIN), -1));
            assert_eq!((keeper.receive(4, 0), keeper.receive(4, 1)), (Err(Errno::EAGAIN), Err(Errno::ETIMEDOUT)));
            assert_eq!(keeper.sockets().len(), 1);
            // Unicast comes all the same.
            pair.neighbour.run(|| Udp::new(family)).send("to the host", &family.host(2));
            assert_eq!(keeper.arrivals(1)[0].bytes, b"to the host");
            keeper.comes_to_rest();
            assert!(!is_readable(keeper.receive_fd()));
        }
    });
}

#[test]
fn a_hundred_handles_leave_nothing_open() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        for family in FAMILIES {
            let socket = pair.host.run(|| shared(family));
            let before = count();
            for round in 0..100 {
                let membership = Membership::open(&pair.host, &socket);
                for number in 0..25 {
                    membership.add(&family.group(number), None, Some("eth0")).unwrap();
                }
                if round % 2 == 0 {
                    membership.receive_fd();
                    assert_eq!(membership.receive(4, 0), Err(Errno::EAGAIN));
                }
            }
            assert_eq!(count(), before, "{family:?}");
            assert_eq!(joined(&pair.host, family, "eth0"), [""; 0]);
        }
    });
}
