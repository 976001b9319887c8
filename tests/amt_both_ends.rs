//! Gateway and relay of this library, source LAN - relay - router - gateway: what a receiver gets.

mod support;

use std::time::Instant;

use castio::ffi::multicast::filter::CASTIO_FILTER_EXCLUDE;
use support::amt::{self, Arrived};
use support::hosts::{self, Host};
use support::relay::{Relay, Wanted, row};
use support::udp::{self, FAMILIES, Family, PORT, Udp};

const OUTSIDE: [&str; 2] = ["10.2.0.1", "fd02::1"];

fn source_of(family: Family) -> [&'static str; 2] {
    if family == Family::V4 { ["10.1.0.1", "10.1.0.11"] } else { ["fd01::1", "fd01::11"] }
}

/// A socket at one of the source's addresses.
fn sender(source: &Host, family: Family, from: &str) -> Udp {
    source.run(|| {
        let udp = Udp::bound(udp::address(from, 0));
        match family {
            Family::V4 => udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 9).unwrap(),
            Family::V6 => {
                udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 9).unwrap();
                udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, source.index("eth0") as i32).unwrap();
            }
        }
        udp
    })
}

/// Lets both ends work until something is so.
fn until(relay: &Relay<'_>, gateways: &[&amt::Gateway<'_>], what: &str, mut is_so: impl FnMut() -> bool) {
    relay.until(what, || {
        for gateway in gateways {
            gateway.process().unwrap();
        }
        is_so()
    });
}

/// As many datagrams as are expected, in order of their text.
fn arrivals(relay: &Relay<'_>, gateway: &amt::Gateway<'_>, count: usize) -> Vec<Arrived> {
    let mut found = Vec::new();
    until(relay, &[], "datagrams come through", || {
        found.extend(gateway.receive(64, 0).unwrap_or_default());
        found.len() >= count
    });
    found.sort_by(|one, other| one.text.cmp(&other.text));
    found
}

#[test]
fn any_family_in_any_family_by_both_ways_in() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in [&[PORT][..], &[]] {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            for outside in OUTSIDE {
                let gateway = amt::Gateway::open(far, Some(outside), amt::OPTIONS);
                for family in FAMILIES {
                    for number in 0..20 {
                        assert_eq!(gateway.join(&family.group(number), None), Ok(0));
                    }
                }
                until(&relay, &[&gateway], "all groups are joined", || relay.info().groups == 40);
                for family in FAMILIES {
                    let [from, _] = source_of(family);
                    let udp = sender(source, family, from);
                    let port = source.run(|| udp.local_addr().unwrap().port());
                    source.run(|| (0..20).for_each(|number| udp.send(&format!("{number:02}"), &family.group(number))));
                    for (number, arrived) in arrivals(&relay, &gateway, 20).into_iter().enumerate() {
                        assert_eq!(arrived.text, format!("{number:02}"));
                        assert_eq!(arrived.from, udp::address(from, port).to_string());
                        assert_eq!(arrived.to, udp::address(&family.group(number), PORT).to_string());
                        assert_eq!(arrived.ttl, 8);
                    }
                }
                drop(gateway);
                until(&relay, &[], "a gateway that closes leaves all", || relay.info().groups == 0);
            }
        }
    });
}

#[test]
fn sources_wanted_and_not_wanted() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        source.address("eth0", &["10.1.0.11/24", "fd01::11/64"]);
        let relay = Relay::open(relay_host, Wanted { ports: &[PORT], upstream: Some("in0"), ..Wanted::default() });
        for (family, outside) in [(Family::V4, OUTSIDE[0]), (Family::V6, OUTSIDE[0]), (Family::V4, OUTSIDE[1])] {
            let [one, other] = source_of(family);
            let group = family.group(3);
            let [picky, open] = [(); 2].map(|()| amt::Gateway::open(far, Some(outside), amt::OPTIONS));
            assert_eq!(picky.join(&group, Some(one)), Ok(0));
            assert_eq!(open.filter(&group, CASTIO_FILTER_EXCLUDE, &[one]), Ok(0));
            let both = || relay.json()["groups"][0]["tunnels"] == 2;
            until(&relay, &[&picky, &open], "both are known", both);
            for from in [one, other] {
                let udp = sender(source, family, from);
                source.run(|| udp.send(from, &group));
            }
            assert_eq!(arrivals(&relay, &picky, 1)[0].text, one);
            assert_eq!(arrivals(&relay, &open, 1)[0].text, other);
            assert_eq!(relay.info().copies % 2, 0, "each got one, and was sent no more");
            drop((picky, open));
            until(&relay, &[], "they leave", || relay.info().groups == 0);
        }
    });
}

/// The relay forgets everything: the gateway finds its way back by itself, at its next cycle; or long
/// before that because a stream has stopped.
#[test]
fn a_relay_that_starts_anew() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for (query_interval_s, has_stream) in [(1, false), (125, true)] {
            let open = || {
                let wanted = Wanted { ports: &[PORT], upstream: Some("in0"), ..Wanted::default() };
                Relay::try_open(relay_host, wanted, |options| options.query_interval_s = query_interval_s).unwrap()
            };
            let udp = sender(source, Family::V4, "10.1.0.1");
            let relay = open();
            let gateway = amt::Gateway::open(far, Some(OUTSIDE[0]), amt::OPTIONS);
            assert_eq!(gateway.join("239.1.2.3", None), Ok(0));
            until(&relay, &[&gateway], "it is joined", || relay.info().groups == 1);
            if has_stream {
                source.run(|| udp.send("before", "239.1.2.3"));
                assert_eq!(arrivals(&relay, &gateway, 1)[0].text, "before");
            }
            drop(relay);
            let (relay, started) = (open(), Instant::now());
            until(&relay, &[&gateway], "it is joined again", || relay.info().groups == 1);
            println!("after {:?}", started.elapsed());
            source.run(|| udp.send("again", "239.1.2.3"));
            assert_eq!(arrivals(&relay, &gateway, 1)[0].text, "again");
        }
    });
}
