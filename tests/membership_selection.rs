//! Memberships that are kept: which interfaces a wish means, those that come later included.

mod support;

use castio::Errno;
use support::hosts;
use support::pair::{JOIN, LEAVE, Pair};
use support::udp::{FAMILIES, Family};

/// The index that a cable is given where a wish is by index.
const INDEX: &str = "4711";
/// All that mean eth0, which has that index.
const WISHES: [&str; 8] = ["eth0", "eth*", "e?h0", "*th0", "*", "10.1.0.2", "fd01::2", INDEX];

fn plug(pair: &Pair) {
    pair.plug_as(0, "eth0", &format!("index {INDEX}"));
}

#[test]
fn an_interface_that_is_there_is_joined_at_once() {
    hosts::test(|network| {
        let pair = Pair::new(network);
        plug(&pair);
        let watch = pair.watch("eth0");
        for (family, wish) in FAMILIES.into_iter().flat_map(|family| WISHES.map(|wish| (family, wish))) {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            assert_eq!(keeper.wish(&group, wish), 1, "{family:?} {wish}");
            watch.sees(JOIN, &group, None);
            keeper.tells(&["joined eth0"]);
            assert_eq!((keeper.states(), &keeper.list()[0].wished), (vec!["live eth0".to_owned()], &wish.to_owned()));
            pair.reaches(&keeper, &group);
            // Alone: not lo, not the switches' side.
            assert_eq!(keeper.joined("lo"), [""; 0]);
            drop(keeper);
            watch.sees(LEAVE, &group, None);
        }
    });
}

#[test]
fn an_interface_that_comes_later_is_joined_when_it_comes() {
    hosts::test(|network| {
        let pair = Pair::new(network);
        for (family, wish) in FAMILIES.into_iter().flat_map(|family| WISHES.map(|wish| (family, wish))) {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            assert_eq!(keeper.wish(&group, wish), 0, "{family:?} {wish}");
            assert_eq!((keeper.process(), keeper.states()), (Ok(0), vec!["waiting ENODEV".to_owned()]));
            plug(&pair);
            let watch = pair.watch("eth0");
            keeper.tells(&["joined eth0"]);
            watch.sees(JOIN, &group, None);
            assert_eq!(keeper.states(), ["live eth0"]);
            pair.reaches(&keeper, &group);
            drop(keeper);
            pair.unplug("eth0");
        }
    });
}

#[test]
fn a_wish_means_no_interface_that_it_does_not_name() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            for wish in ["eth", "eth1", "eth0?", "?eth0", "e*1", "ETH0", "10.1.0.1", "fd01::1", "0", "999999"] {
                assert_eq!(keeper.wish(&group, wish), 0, "{family:?} {wish}");
            }
            assert_eq!(keeper.states(), ["waiting ENODEV"; 10]);
            assert_eq!((keeper.joined("eth0"), keeper.joined("lo")), (vec![], vec![]));
            pair.misses("eth0", &keeper, &group);
        }
    });
}

#[test]
fn a_pattern_means_all_that_fit_and_an_interface_with_two_addresses_is_one() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.plug_as(1, "tap1", "");
        pair.host.address("eth0", &["10.1.0.77/24", "fd01::77/64"]);
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            assert_eq!(keeper.wish(&group, "eth*"), 1);
            keeper.tells(&["joined eth0"]);
            pair.plug(2);
            keeper.tells(&["joined eth2"]);
            pair.reaches_by("eth0", "eth0", &keeper, &group);
            pair.reaches_by("eth2", "eth2", &keeper, &group);
            pair.misses("eth1", &keeper, &group);
            assert_eq!(keeper.states(), ["live eth0", "live eth2"]);
            pair.unplug("eth2");
            keeper.tells(&["lost eth2 ENETDOWN", "lost eth2 ENODEV"]);
            assert_eq!(keeper.states(), ["live eth0"]);
        }
    });
}

#[test]
fn all_means_those_that_are_up_and_capable_of_multicast() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.plug(1);
        pair.plug(2);
        for family in FAMILIES {
            pair.host.ip("link set eth1 down\nlink set eth2 multicast off");
            let (group, keeper) = (family.group(1), pair.keeper(family));
            assert_eq!(keeper.wish(&group, "*"), 1);
            keeper.tells(&["joined eth0"]);
            assert_eq!(keeper.joined("lo"), [""; 0]);
            pair.host.ip("link set eth1 up");
            keeper.tells(&["joined eth1"]);
            pair.host.ip("link set eth2 multicast on");
            keeper.tells(&["joined eth2"]);
            for interface in ["eth0", "eth1", "eth2"] {
                pair.neighbour.wait_for_link(interface);
                pair.host.wait_for_link(interface);
                pair.reaches_by(interface, interface, &keeper, &group);
            }
            assert_eq!(keeper.states(), ["live eth0", "live eth1", "live eth2"]);
            // One that is down stays chosen, as one that is chosen by name does.
            pair.host.ip("link set eth1 down");
            keeper.tells(&["lost eth1 ENETDOWN"]);
            pair.host.ip("link set eth1 up");
            keeper.tells(&["rejoined eth1"]);
            // Without the flag it isn't meant any more.
            pair.host.ip("link set eth0 multicast off");
            keeper.tells(&["lost eth0 ENODEV"]);
            assert_eq!(keeper.joined("eth0"), [""; 0]);
            pair.host.ip("link set eth0 multicast on");
            keeper.tells(&["rejoined eth0"]);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.states(), ["live eth0", "live eth1", "live eth2"]);
        }
    });
}

/// The host's routes to groups lead there, better than the kernel's own for IPv6.
fn route(pair: &Pair, verb: &str, family: Family, interface: &str) {
    pair.host.ip(&match family {
        Family::V4 => format!("route {verb} 239.1.0.0/16 dev {interface}"),
        Family::V6 => format!("route {verb} multicast ff15::/16 dev {interface} table local metric 1"),
    });
}

#[test]
fn without_interfaces_the_route_is_followed_wherever_it_leads() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.plug(1);
        for family in FAMILIES {
            route(&pair, "add", family, "eth0");
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let [watch, other] = ["eth0", "eth1"].map(|interface| pair.watch(interface));
            assert_eq!(keeper.add(&group, None, None), Ok(1));
            keeper.tells(&["joined eth0"]);
            assert_eq!((keeper.states(), keeper.list()[0].wished.as_str()), (vec!["live eth0".to_owned()], ""));
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);

            // Better than the first one, and then not there any more.
            pair.host.ip(&match family {
                Family::V4 => format!("route add {group}/32 dev eth1"),
                Family::V6 => format!("route add multicast {group}/128 dev eth1 table local metric 1"),
            });
            keeper.tells(&["lost eth0 ENETUNREACH", "joined eth1"]);
            watch.sees(LEAVE, &group, None);
            other.sees(JOIN, &group, None);
            pair.reaches_by("eth1", "eth1", &keeper, &group);
            pair.misses("eth0", &keeper, &group);
            pair.host.ip(&match family {
                Family::V4 => format!("route delete {group}/32 dev eth1"),
                Family::V6 => format!("route delete multicast {group}/128 dev eth1 table local metric 1"),
            });
            keeper.tells(&["lost eth1 ENETUNREACH", "rejoined eth0"]);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.remove(&group, None, None), Ok(0));
            assert_eq!((keeper.joined("eth0"), keeper.joined("eth1")), (vec![], vec![]));
            route(&pair, "delete", family, "eth0");
        }
    });
}

#[test]
fn a_route_that_comes_later_is_followed() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::new(network);
            let (group, keeper) = (family.group(1), pair.keeper(family));
            // The route to loopback that IPv6 may have isn't one to a neighbour.
            let at_first = keeper.add(&group, None, None).unwrap();
            if family == Family::V4 {
                assert_eq!((at_first, keeper.states()), (0, vec!["waiting ENETUNREACH".to_owned()]));
            }
            pair.plug(0);
            route(&pair, "add", family, "eth0");
            hosts::until("joined by the route", || {
                keeper.process().unwrap();
                keeper.states() == ["live eth0"]
            });
            pair.reaches(&keeper, &group);
            route(&pair, "delete", family, "eth0");
            if family == Family::V4 {
                hosts::until("left without the route", || {
                    keeper.process().unwrap();
                    keeper.states() == ["waiting ENETUNREACH"]
                });
                assert_eq!(keeper.joined("eth0"), [""; 0]);
            }
        }
    });
}

#[test]
fn an_address_is_followed_to_the_interface_that_has_it() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.plug(1);
        let both = ["10.9.0.9/24", "fd09::9/64"];
        for (family, address) in FAMILIES.into_iter().flat_map(|family| both.map(|address| (family, address))) {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let (ip, _) = address.split_once('/').unwrap();
            assert_eq!(keeper.wish(&group, ip), 0);
            let [watch, other] = ["eth0", "eth1"].map(|interface| pair.watch(interface));
            pair.host.address("eth0", &[address]);
            keeper.tells(&["joined eth0"]);
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);

            pair.host.ip(&format!("address delete {address} dev eth0"));
            keeper.tells(&["lost eth0 EADDRNOTAVAIL"]);
            watch.sees(LEAVE, &group, None);
            assert_eq!(keeper.states(), ["waiting ENODEV"]);
            pair.misses("eth0", &keeper, &group);

            pair.host.address("eth1", &[address]);
            keeper.tells(&["joined eth1"]);
            other.sees(JOIN, &group, None);
            pair.reaches_by("eth1", "eth1", &keeper, &group);
            pair.misses("eth0", &keeper, &group);
            drop(keeper);
            pair.host.ip(&format!("address delete {address} dev eth1"));
        }
    });
}

#[test]
fn the_same_group_by_sources_on_several_interfaces() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.plug(1);
        for family in FAMILIES {
            let (group, keeper) = (family.group(1), pair.keeper(family));
            let near = |net: usize, last: usize| match family {
                Family::V4 => format!("10.{net}.0.{last}"),
                Family::V6 => format!("fd0{net}::{last}"),
            };
            assert_eq!(keeper.add(&group, Some(&near(1, 1)), Some("eth*")), Ok(2));
            assert_eq!(keeper.add(&group, Some(&near(2, 1)), Some("eth1")), Ok(1));
            keeper.tells(&["joined eth0", "joined eth1", "joined eth1"]);
            // Only what comes from the source, only where it is wished for.
            pair.neighbour.address("eth0", &[&format!("{}/24", near(1, 50)).replace("::50/24", "::50/64")]);
            for (text, interface, source) in
                [("strange", "eth0", near(1, 50)), ("elsewhere", "eth0", near(2, 1)), ("its own", "eth0", near(1, 1))]
            {
                pair.send(text, &group, interface, Some(&source));
            }
            pair.send("the other", &group, "eth1", Some(&near(2, 1)));
            assert_eq!([keeper.socket.receive().text, keeper.socket.receive().text], ["its own", "the other"]);
            assert_eq!(keeper.socket.waiting(), [""; 0]);
            assert_eq!(keeper.remove(&group, Some(&near(2, 1)), Some("eth*")), Err(Errno::EADDRNOTAVAIL));
            pair.neighbour.ip(&format!(
                "address delete {}/{} dev eth0",
                near(1, 50),
                if family == Family::V4 { 24 } else { 64 }
            ));
        }
    });
}
