//! An AMT gateway on a host of its own, against a relay that follows the test's script.

mod support;

use std::net::SocketAddr;

use castio::Errno;
use castio::ffi::amt::*;
use castio::ffi::amt_receive::*;
use castio::ffi::multicast::filter::{CASTIO_FILTER_EXCLUDE, CASTIO_FILTER_INCLUDE};
use castio::tunnel::amt::wire::Dialect;
use support::amt::{Arrived, Gateway, Heard, OPTIONS, Relay};
use support::face::call;
use support::hosts::{self, Host};
use support::memberships::is_readable;

const GROUP: &str = "232.1.2.3";
const GROUP6: &str = "ff3e::1234";
const SOURCE: &str = "192.0.2.1";
const SOURCE6: &str = "2001:db8::1";

/// The two families outside: the relay's address.
const RELAYS: [&str; 2] = ["10.1.0.2", "fd01::2"];

fn joined(gateway: &Gateway<'_>, relay: &Relay, group: &str) -> SocketAddr {
    assert_eq!(gateway.join(group, None), Ok(0));
    relay.hears(gateway, &[&format!("IsEx {group}")])
}

#[test]
fn both_families_come_through_a_tunnel_of_either() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        for ip in RELAYS {
            let relay = Relay::on(&far, ip);
            let gateway = Gateway::open(&host, Some(ip), OPTIONS);
            assert_eq!((gateway.timeout_ms(), gateway.info().state), (-1, CASTIO_AMT_IDLE));
            let at = joined(&gateway, &relay, GROUP);
            joined(&gateway, &relay, GROUP6);
            assert_eq!((gateway.info().state, gateway.info().groups), (CASTIO_AMT_ACTIVE, 2));
            assert_eq!(gateway.relay(), SocketAddr::new(ip.parse().unwrap(), 2268).to_string());
            assert_eq!(gateway.receive(1, 0), Err(Errno::EAGAIN));
            assert_eq!(gateway.receive(1, 1), Err(Errno::ETIMEDOUT));
            relay.data(at, SOURCE, GROUP, "four");
            relay.data(at, SOURCE6, GROUP6, "six");
            hosts::until("readable", || is_readable(gateway.fd()));
            let arrived = |text: &str, from: &str, to: &str| Arrived {
                text: text.into(),
                from: from.into(),
                to: to.into(),
                ttl: 33,
                class: 0x20,
            };
            assert_eq!(
                gateway.arrivals(2),
                [
                    arrived("four", "192.0.2.1:9", "232.1.2.3:5000"),
                    arrived("six", "[2001:db8::1]:9", "[ff3e::1234]:5000")
                ]
            );
            assert_eq!((gateway.info().delivered, gateway.info().delivered_bytes), (2, 7));
        }
    });
}

#[test]
fn data_over_ipv6_may_come_without_a_checksum() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let relay = Relay::on(&far, RELAYS[1]);
        let gateway = Gateway::open(&host, Some(RELAYS[1]), OPTIONS);
        let at = joined(&gateway, &relay, GROUP);
        relay.leave_out_checksums();
        relay.data(at, SOURCE, GROUP, "bare");
        assert_eq!(gateway.arrivals(1)[0].text, "bare");
    });
}

#[test]
fn a_relay_is_found_by_asking() {
    hosts::test(|network| {
        let [host, asked, far] = network.lan();
        for family in [|number| format!("10.1.0.{number}"), |number: u8| format!("fd01::{number}")] {
            let (door, relay) = (Relay::on(&asked, &family(2)), Relay::on(&far, &family(3)));
            let gateway =
                Gateway::open(&host, Some(&family(2)), castio_amt_options { flags: CASTIO_AMT_DISCOVER, ..OPTIONS });
            gateway.join(GROUP, None).unwrap();
            assert_eq!(gateway.info().state, CASTIO_AMT_DISCOVERING);
            let mut heard = Vec::new();
            gateway.until("a Discovery", || {
                heard = door.heard();
                !heard.is_empty()
            });
            let [(from, Heard::Discovery(nonce))] = heard.as_slice() else { panic!("{heard:?}") };
            door.advertise(*from, *nonce, &family(3));
            let at = relay.hears(&gateway, &[&format!("IsEx {GROUP}")]);
            assert_eq!(at.port(), from.port());
            // Data from the relay, and from nobody else.
            door.data(at, SOURCE, GROUP, "forged");
            gateway.until("the forged one dropped", || gateway.info().dropped_stranger == 1);
            relay.data(at, SOURCE, GROUP, "true");
            assert_eq!(gateway.arrivals(1)[0].text, "true");
        }
    });
}

#[test]
fn sources_are_told_and_filtered() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let relay = Relay::on(&far, RELAYS[0]);
        let gateway = Gateway::open(&host, Some(RELAYS[0]), OPTIONS);
        gateway.join(GROUP, Some(SOURCE)).unwrap();
        let at = relay.hears(&gateway, &[&format!("Is {GROUP} {SOURCE}")]);
        gateway.join_addr(GROUP, Some("192.0.2.2")).unwrap();
        relay.hears(&gateway, &[&format!("Allow {GROUP} 192.0.2.2")]);
        gateway.leave_addr(GROUP, Some(SOURCE)).unwrap();
        relay.hears(&gateway, &[&format!("Block {GROUP} {SOURCE}")]);
        // Linux's relays send what they shouldn't.
        relay.data(at, SOURCE, GROUP, "unwanted");
        relay.data(at, "192.0.2.2", GROUP, "wanted");
        assert_eq!(gateway.arrivals(1)[0].text, "wanted");
        assert_eq!(gateway.info().dropped_filtered, 1);
        gateway.filter_addr(GROUP, CASTIO_FILTER_EXCLUDE, &["192.0.2.2"]).unwrap();
        relay.hears(&gateway, &[&format!("ToEx {GROUP} 192.0.2.2")]);
        relay.data(at, "192.0.2.2", GROUP, "unwanted");
        relay.data(at, SOURCE, GROUP, "wanted");
        assert_eq!(gateway.arrivals(1)[0].text, "wanted");
        gateway.filter(GROUP, CASTIO_FILTER_INCLUDE, &[]).unwrap();
        relay.hears(&gateway, &[&format!("To {GROUP}")]);
        assert_eq!(gateway.info().groups, 0);
    });
}

#[test]
fn a_linux_relay_is_served() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let mut relay = Relay::on(&far, RELAYS[0]);
        relay.dialect = Dialect::Linux;
        let gateway = Gateway::open(&host, Some(RELAYS[0]), OPTIONS);
        gateway.join(GROUP6, None).unwrap();
        // It knows no flag but its own.
        let mut flags = Vec::new();
        gateway.until("a Request in Linux's way", || {
            for (from, heard) in relay.heard() {
                let Heard::Request(flag, nonce) = heard else { panic!("{heard:?}") };
                flags.push(flag);
                if flag == 0x80 {
                    relay.query(from, true, nonce, false);
                }
            }
            flags.contains(&0x80)
        });
        assert_eq!(flags, [0x01, 0x01, 0x80], "one question may be lost");
        relay.hears(&gateway, &[&format!("IsEx {GROUP6}")]);
        gateway.leave(GROUP6, None).unwrap();
        relay.hears(&gateway, &[&format!("Leave {GROUP6}")]);
    });
}

#[test]
fn a_gateway_that_moves_tears_its_old_tunnel_down() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let mut relay = Relay::on(&far, RELAYS[0]);
        relay.tells = true;
        let gateway = Gateway::open(&host, Some(RELAYS[0]), OPTIONS);
        let old = joined(&gateway, &relay, GROUP);
        assert_eq!(old.ip().to_string(), "10.1.0.1");
        host.ip("address del 10.1.0.1/24 dev eth0\naddress add 10.1.0.7/24 dev eth0\nroute add 224.0.0.0/4 dev eth0");
        relay.mac = 2;
        // Another family makes it ask anew: from where it is now.
        gateway.join(GROUP6, None).unwrap();
        let mut torn_down = Vec::new();
        gateway.until("two Teardowns", || {
            for (from, heard) in relay.answer() {
                if let Heard::Teardown(gateway) = heard {
                    torn_down.push((from.ip().to_string(), gateway));
                }
            }
            torn_down.len() == 2
        });
        assert_eq!(torn_down, vec![("10.1.0.7".to_owned(), old); 2]);
    });
}

#[test]
fn closing_leaves_and_tears_down() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        for ip in RELAYS {
            let mut relay = Relay::on(&far, ip);
            relay.tells = true;
            let gateway = Gateway::open(&host, Some(ip), OPTIONS);
            let at = joined(&gateway, &relay, GROUP);
            relay.heard();
            drop(gateway);
            let mut heard = Vec::new();
            hosts::until("the end", || {
                heard.extend(relay.heard().into_iter().map(|(_, heard)| heard));
                heard.contains(&Heard::Teardown(at))
            });
            assert_eq!(heard[0], Heard::Update(vec![format!("To {GROUP}")]));
        }
    });
}

#[test]
fn where_nobody_is_the_next_relay_is_tried_at_once() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let relay = Relay::on(&far, RELAYS[0]);
        // No socket there, no route there, and of a family of which there is no address.
        for nobody in ["10.1.0.2:9999", "192.0.2.9", "[2001:db8::9]"] {
            let gateway = Gateway::open(&host, Some(&format!("{nobody}, 10.1.0.2")), OPTIONS);
            gateway.join(GROUP, None).unwrap();
            relay.hears(&gateway, &[&format!("IsEx {GROUP}")]);
            let info = gateway.info();
            assert_eq!((info.relay_changes, info.unreachable > 0), (1, true), "{nobody}");
            assert!(info.requests <= 3, "not by waiting: {}", info.requests);
        }
    });
}

#[test]
fn a_relay_that_is_full_is_left_for_another() {
    hosts::test(|network| {
        let [host, full, far] = network.lan();
        let (full, relay) = (Relay::on(&full, "10.1.0.2"), Relay::on(&far, "10.1.0.3"));
        let gateway = Gateway::open(&host, Some("10.1.0.2 10.1.0.3"), OPTIONS);
        gateway.join(GROUP, None).unwrap();
        gateway.until("a Request", || {
            let heard = full.heard();
            if let [(from, Heard::Request(0, nonce))] = heard.as_slice() {
                full.query(*from, false, *nonce, true);
            }
            !heard.is_empty()
        });
        relay.hears(&gateway, &[&format!("IsEx {GROUP}")]);
        assert_eq!(full.heard(), []);
    });
}

#[test]
fn many_datagrams_come_in_order_and_whole() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let relay = Relay::on(&far, RELAYS[0]);
        let gateway = Gateway::open(&host, Some(RELAYS[0]), OPTIONS);
        let at = joined(&gateway, &relay, GROUP);
        let mut expected = Vec::new();
        for number in 0..2000 {
            expected.push(format!("{number} {}", "x".repeat(number % 1300)));
            relay.data(at, SOURCE, GROUP, expected.last().unwrap());
            if number % 50 == 49 {
                let texts: Vec<String> = gateway.arrivals(50).into_iter().map(|one| one.text).collect();
                assert!(texts == expected, "up to {number}");
                expected.clear();
            }
        }
        // One at a time, from many ends.
        for number in 0..100 {
            relay.data(at, &format!("192.0.2.{}", number + 1), GROUP, &number.to_string());
        }
        for number in 0..100 {
            let [one] = gateway.receive(1, 20_000).unwrap().try_into().unwrap();
            assert_eq!((one.text, one.from), (number.to_string(), format!("192.0.2.{}:9", number + 1)));
        }
    });
}

#[test]
fn what_waits_after_processing_is_told_by_the_timer() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let relay = Relay::on(&far, RELAYS[0]);
        let gateway = Gateway::open(&host, Some(RELAYS[0]), OPTIONS);
        let at = joined(&gateway, &relay, GROUP);
        relay.data(at, SOURCE, GROUP, "one");
        relay.data(at, SOURCE, GROUP, "two");
        hosts::until("one waits", || gateway.process() == Ok(1));
        assert_eq!((gateway.process(), gateway.timeout_ms()), (Ok(1), 0));
        assert_eq!(gateway.receive(1, 0).unwrap()[0].text, "one");
        hosts::until("the other", || gateway.receive(1, 0).is_ok_and(|got| got[0].text == "two"));
        assert!(gateway.process() == Ok(0) && gateway.timeout_ms() != 0);
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    hosts::test(|network| {
        let host: Host = network.host("host");
        let gateway = Gateway::open(&host, None, OPTIONS);
        for (group, source, expected) in [
            ("10.1.0.1", None, Errno::EINVAL),
            ("224.0.0.251", None, Errno::EINVAL),
            ("ff02::fb", None, Errno::EINVAL),
            ("relay", None, Errno::EINVAL),
            (GROUP, Some("239.1.1.1"), Errno::EINVAL),
            (GROUP, Some(SOURCE6), Errno::EAFNOSUPPORT),
            // A tunnel is no interface.
            ("ff35::1", Some("fe80::1%lo"), Errno::EINVAL),
        ] {
            assert_eq!(gateway.join(group, source), Err(expected), "{group}");
            assert_eq!(gateway.leave(group, source), Err(expected), "{group}");
        }
        assert_eq!(gateway.leave(GROUP, None), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(gateway.join(GROUP, None), Ok(0));
        for source in [None, Some(SOURCE)] {
            assert_eq!(gateway.join(GROUP, source), Err(Errno::EADDRINUSE));
        }
        assert_eq!(gateway.leave(GROUP, Some(SOURCE)), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(gateway.filter(GROUP, 2, &[]), Err(Errno::EINVAL));
        // Without any network the anycast addresses can't be reached: it goes on trying, without an error.
        gateway.until("both were tried", || gateway.info().relay_changes >= 1);
        assert_eq!((gateway.receive(1, 1), gateway.info().groups), (Err(Errno::ETIMEDOUT), 1));
        assert!(gateway.timeout_ms() > 0);
        // SAFETY: NULL is fine.
        assert_eq!(call(|| unsafe { castio_amt_fd(std::ptr::null_mut()) }), Err(Errno::EFAULT));
    });
}
