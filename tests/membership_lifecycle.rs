//! Memberships that are kept: what becomes of an interface, and that the wish is true again afterwards:
//! told, listed, on the wire, and by what arrives.

mod support;

use support::hosts;
use support::link::Kind::{AllowNewSources, ChangeToInclude};
use support::pair::{GONE, JOIN, LEAVE, Pair};
use support::udp::{FAMILIES, Family};

#[test]
fn an_interface_that_is_deleted_and_made_again() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            let before = pair.host.index("eth0");
            pair.unplug("eth0");
            keeper.tells(&GONE);
            assert_eq!(keeper.states(), ["waiting ENODEV"]);
            pair.plug(0);
            let watch = pair.watch("eth0");
            keeper.tells(&["rejoined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            let [state] = keeper.list().try_into().unwrap();
            assert_eq!((state.to_string().as_str(), state.index), ("live eth0", pair.host.index("eth0")));
            assert_ne!(state.index, before);
        }
    });
}

/// Between two calls, with another index or the same: the kernel has forgotten in any case.
#[test]
fn an_interface_that_is_made_again_before_anybody_looks() {
    hosts::test(|network| {
        let pair = Pair::new(network);
        for (family, words) in FAMILIES.into_iter().flat_map(|family| ["", "index 4711"].map(|words| (family, words))) {
            pair.plug_as(0, "eth0", words);
            let (keeper, group) = pair.settled(family);
            pair.unplug("eth0");
            pair.plug_as(0, "eth0", words);
            assert_eq!(keeper.joined("eth0"), [""; 0]);
            let watch = pair.watch("eth0");
            keeper.tells(&[GONE[0], GONE[1], "rejoined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.unplug("eth0");
        }
    });
}

#[test]
fn an_interface_that_is_made_again_many_times_takes_no_more_room() {
    hosts::test(|network| {
        let pair = Pair::new(network);
        for family in FAMILIES {
            let keeper = pair.keeper(family);
            let groups: Vec<String> = (1..=20).map(|number| family.group(number)).collect();
            let (by_source, whole) = groups.split_at(10);
            whole.iter().for_each(|group| assert_eq!(keeper.wish(group, "eth0"), 0));
            for (group, source) in by_source.iter().flat_map(|group| [1, 8].map(|number| (group, family.host(number))))
            {
                assert_eq!(keeper.add(group, Some(&source), Some("eth0")), Ok(0));
            }
            // IPv6 has room for more.
            for _ in 0..if family == Family::V4 { 5 } else { 60 } {
                pair.plug(0);
                hosts::until("all live", || {
                    keeper.process().unwrap();
                    keeper.states() == ["live eth0"; 30]
                });
                assert_eq!((keeper.joined("eth0").len(), keeper.sockets().len()), (20, 1));
                pair.reaches(&keeper, &groups[19]);
                pair.unplug("eth0");
            }
        }
    });
}

#[test]
fn an_interface_that_is_renamed_and_back() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let rename = |from: &str, to: &str| {
            pair.host.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"));
            pair.host.wait_for_link(to);
        };
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            let watch = pair.watch("eth0");
            rename("eth0", "tap0");
            hosts::until("left", || {
                keeper.process().unwrap();
                keeper.states() == ["waiting ENODEV"]
            });
            watch.sees(LEAVE, &group, None);
            assert_eq!(keeper.joined("tap0"), [""; 0]);
            // By the name that it had, and by the one that it has.
            keeper.tells(&["lost eth0 ENETDOWN", "lost tap0 ENODEV"]);

            rename("tap0", "eth0");
            keeper.tells(&["rejoined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
        }
    });
}

#[test]
fn another_interface_that_takes_the_name() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            pair.plug(1);
            let (keeper, group) = pair.settled(family);
            let [watch, other] = ["eth0", "eth1"].map(|interface| pair.watch(interface));
            pair.host.ip("link set eth0 down\nlink set eth0 name old\nlink set old up\n\
                          link set eth1 down\nlink set eth1 name eth0\nlink set eth0 up");
            pair.host.wait_for_link("eth0");
            let index = pair.host.index("eth0");
            hosts::until("joined on the one that has the name now", || {
                keeper.process().unwrap();
                keeper.list().iter().any(|state| state.to_string() == "live eth0" && state.index == index)
            });
            assert_eq!((keeper.states(), keeper.joined("old")), (vec!["live eth0".to_owned()], vec![]));
            watch.sees(LEAVE, &group, None);
            other.sees(JOIN, &group, None);
            pair.reaches_by("eth1", "eth0", &keeper, &group);
            pair.send("to the old one", &group, "eth0", None);
            pair.send("to the new one", &group, "eth1", None);
            assert_eq!(keeper.socket.receive().text, "to the new one");
        }
    });
}

#[test]
fn an_interface_that_is_down_and_up_again() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            let watch = pair.watch("eth0");
            pair.host.ip("link set eth0 down");
            keeper.tells(&["lost eth0 ENETDOWN"]);
            assert_eq!(keeper.states(), ["down eth0 ENETDOWN"]);
            // The membership stays with the kernel: when it is up, it is there at once.
            assert_eq!(keeper.list()[0].fd, keeper.sockets()[0]);
            pair.host.ip("link set eth0 up");
            pair.host.wait_for_link("eth0");
            pair.neighbour.wait_for_link("eth0");
            keeper.tells(&["rejoined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.states(), ["live eth0"]);
        }
    });
}

#[test]
fn a_carrier_that_is_lost_and_returns() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            let watch = pair.watch("eth0");
            pair.carrier(false);
            keeper.tells(&["lost eth0 ENETDOWN"]);
            assert_eq!(keeper.states(), ["down eth0 ENETDOWN"]);
            pair.carrier(true);
            keeper.tells(&["rejoined eth0"]);
            // Of IPv4 the kernel itself sends none.
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
        }
    });
}

#[test]
fn a_carrier_that_bounces_before_anybody_looks() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            let watch = pair.watch("eth0");
            for _ in 0..3 {
                pair.carrier(false);
                pair.carrier(true);
            }
            assert!(family == Family::V6 || !watch.has_seen(JOIN, &group, None), "the kernel has reported by itself");
            hosts::until("live again", || {
                keeper.process().unwrap();
                keeper.events().iter().any(|event| event.to_string() == "rejoined eth0")
            });
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.states(), ["live eth0"]);
            keeper.comes_to_rest();
            keeper.events();
        }
    });
}

#[test]
fn an_interface_that_has_no_carrier_when_it_is_wished_for() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            pair.carrier(false);
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let watch = pair.watch("eth0");
            assert_eq!(keeper.wish(&group, "eth0"), 1);
            hosts::until("down", || {
                keeper.process().unwrap();
                keeper.states() == ["down eth0 ENETDOWN"]
            });
            pair.carrier(true);
            hosts::until("live", || {
                keeper.process().unwrap();
                keeper.states() == ["live eth0"]
            });
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
        }
    });
}

/// Until then its reports come from 0.0.0.0.
#[test]
fn an_interface_that_gains_its_first_address() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.host.ip("address flush dev eth0 scope global");
        let (keeper, group) = pair.settled(Family::V4);
        let watch = pair.watch("eth0");
        pair.host.address("eth0", &["10.1.0.2/24"]);
        keeper.tells(&["rejoined eth0"]);
        watch.sees_from("10.1.0.2", JOIN, &group);
        pair.reaches(&keeper, &group);
        // A second one changes nothing.
        pair.host.address("eth0", &["10.1.0.3/24", "fd01::3/64"]);
        keeper.tells(&[]);
    });
}

#[test]
fn an_interface_whose_addresses_are_flushed() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (keeper, group) = pair.settled(family);
            pair.host.ip("address flush dev eth0 scope global");
            keeper.tells(&[]);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.reaches(&keeper, &group);
        }
    });
}

#[test]
fn an_interface_that_moves_to_another_namespace_and_back() {
    hosts::test(|network| {
        let elsewhere = network.host("elsewhere");
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (keeper, group) = pair.settled(family);
            let watch = pair.watch("eth0");
            pair.host.ip(&format!("link set eth0 netns {}", elsewhere.netns()));
            keeper.tells(&GONE);
            assert_eq!(keeper.states(), ["waiting ENODEV"]);
            elsewhere.ip(&format!("link set eth0 netns {}", pair.host.netns()));
            pair.host.ip("link set eth0 up");
            pair.host.wait_for_link("eth0");
            keeper.tells(&["rejoined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            // The same once more, seen in one go.
            pair.host.ip(&format!("link set eth0 netns {}", elsewhere.netns()));
            elsewhere.ip(&format!("link set eth0 netns {}", pair.host.netns()));
            pair.host.ip("link set eth0 up");
            pair.host.wait_for_link("eth0");
            hosts::until("live again", || {
                keeper.process().unwrap();
                keeper.states() == ["live eth0"]
            });
            pair.reaches(&keeper, &group);
        }
    });
}

/// One change of one group costs nobody else a report.
#[test]
fn what_becomes_of_one_interface_leaves_the_others_alone() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            pair.plug(1);
            let (keeper, group) = pair.settled(family);
            keeper.wish(&family.group(2), "eth1");
            keeper.tells(&["joined eth1"]);
            let watch = pair.watch("eth0");
            pair.unplug("eth1");
            keeper.tells(&["lost eth1 ENETDOWN", "lost eth1 ENODEV"]);
            pair.plug(1);
            keeper.tells(&["rejoined eth1"]);
            pair.reaches(&keeper, &group);
            pair.reaches_by("eth1", "eth1", &keeper, &family.group(2));
            let v4 = family == Family::V4;
            assert!(!v4 || !watch.has_seen(&[JOIN, LEAVE].concat(), &group, None), "reported again");
        }
    });
}

#[test]
fn by_source_it_comes_back_all_the_same() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (group, source, keeper) = (family.group(1), family.host(1), pair.keeper(family));
            assert_eq!(keeper.add(&group, Some(&source), Some("eth0")), Ok(1));
            assert_eq!(keeper.add(&group, Some(&family.host(8)), Some("eth0")), Ok(1));
            keeper.tells(&["joined eth0", "joined eth0"]);
            let hears = || {
                pair.send("from the source", &group, "eth0", Some(&source));
                assert_eq!(keeper.socket.receive().text, "from the source");
            };
            hears();
            pair.unplug("eth0");
            keeper.tells(&["lost eth0 ENETDOWN", "lost eth0 ENETDOWN", "lost eth0 ENODEV", "lost eth0 ENODEV"]);
            pair.plug(0);
            let watch = pair.watch("eth0");
            keeper.tells(&["rejoined eth0"; 2]);
            watch.sees(&[AllowNewSources, ChangeToInclude], &group, Some(&source));
            hears();
            assert_eq!(keeper.list()[0].fd, keeper.sockets()[0]);
        }
    });
}
