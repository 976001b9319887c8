//! Source LAN, relay, a network that carries unicast only, gateway: what comes through when that network
//! loses and reorders, relays come and go, addresses change, and others say what is not theirs to say.

mod support;

use std::collections::BTreeSet;

use castio::ffi::amt::castio_amt_options;
use castio::ffi::multicast::filter::{CASTIO_FILTER_EXCLUDE, CASTIO_FILTER_INCLUDE};
use castio::tunnel::amt::wire::{Dialect, Message, Nonce};
use support::amt::{self, Arrived, Gateway};
use support::forwarder::{DATA, Forwarder, QUERY, REQUEST, Rules, UPDATE};
use support::hosts::{self, Host, Network};
use support::relay::{Relay, Wanted, row};
use support::udp::{self, FAMILIES, PORT, Udp};

/// The relay's addresses.
const OUTSIDE: [&str; 2] = ["10.2.0.1", "fd02::1"];
/// The router's: towards gateways, and towards the relay.
const NEAR: [&str; 2] = ["10.3.0.1", "fd03::1"];
const FAR: [&str; 2] = ["10.2.0.2", "fd02::2"];
const SOURCES: [&str; 2] = ["10.1.0.1", "fd01::1"];
const CHANNEL: &str = "232.7.7.7";

/// A relay that asks its gateways every second.
fn quick<'h>(host: &'h Host, ports: &[u16]) -> Relay<'h> {
    let wanted = Wanted { ports, upstream: Some("in0"), ..Wanted::default() };
    let change = |options: &mut castio::ffi::amt_relay::castio_amt_relay_options| {
        (options.query_interval_s, options.groups, options.answers_per_second) = (1, 700, 100);
    };
    Relay::try_open(host, wanted, change).unwrap()
}

/// One forwarder for each family.
fn forwarders(router: &Host, rules: [Rules; 2]) -> [Forwarder; 2] {
    [0, 1].map(|at| Forwarder::new(router, NEAR[at], FAR[at], OUTSIDE[at], rules[at]))
}

/// A socket at one of the source's addresses.
fn sender(source: &Host, from: &str) -> Udp {
    source.run(|| {
        let udp = Udp::bound(udp::address(from, 0));
        if from.contains(':') {
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, 9).unwrap();
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, source.index("eth0") as i32).unwrap();
        } else {
            udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 9).unwrap();
        }
        udp
    })
}

/// Lets both ends work until something is so.
#[track_caller]
fn until(relays: &[&Relay<'_>], gateways: &[Gateway<'_>], what: &str, mut is_so: impl FnMut() -> bool) {
    hosts::until(what, || {
        for relay in relays {
            relay.process();
        }
        for gateway in gateways {
            gateway.process().unwrap();
        }
        is_so()
    });
}

/// Adds what has come.
fn collect(gateways: &[Gateway<'_>], found: &mut [Vec<Arrived>]) {
    for (gateway, found) in gateways.iter().zip(found) {
        found.extend(gateway.receive(64, 0).unwrap_or_default());
    }
}

fn texts(found: &[Arrived]) -> Vec<&str> {
    let mut texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
    texts.sort_unstable();
    texts
}

/// A datagram of each family, and of the channel, comes to all gateways, once.
#[track_caller]
fn all_arrive(source: &Host, relay: &Relay<'_>, gateways: &[Gateway<'_>], mark: &str) {
    let groups = [FAMILIES[0].group(1), FAMILIES[1].group(1), CHANNEL.to_owned()];
    let expected: Vec<String> = groups.iter().map(|group| format!("{mark} {group}")).collect();
    let udp = SOURCES.map(|from| sender(source, from));
    for (group, text) in groups.iter().zip(&expected) {
        source.run(|| udp[usize::from(group.contains(':'))].send(text, group));
    }
    let mut found = vec![Vec::new(); gateways.len()];
    let all = gateways.len() * groups.len();
    until(&[relay], &[], "all get everything", || {
        collect(gateways, &mut found);
        found.iter().map(Vec::len).sum::<usize>() >= all
    });
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected.sort_unstable();
    for found in &found {
        assert_eq!(texts(found), expected);
    }
}

/// Joins what [`all_arrive`] needs.
fn join_all(gateways: &[Gateway<'_>]) {
    for gateway in gateways {
        FAMILIES.iter().for_each(|family| assert_eq!(gateway.join(&family.group(1), None), Ok(0)));
        assert_eq!(gateway.join(CHANNEL, Some(SOURCES[0])), Ok(0));
    }
}

/// Whether the relay knows that each tunnel wants each group.
fn knows(relay: &Relay<'_>, groups: usize, tunnels: usize) -> bool {
    let json = relay.json();
    let all = json["groups"].as_array().unwrap();
    relay.info().tunnels == tunnels as u64 && all.len() == groups && all.iter().all(|one| one["tunnels"] == tunnels)
}

/// Lets the tunnels be renewed, and every question be answered.
#[track_caller]
fn renewed(relays: &[&Relay<'_>], gateways: &[Gateway<'_>]) {
    let info = || gateways.iter().map(Gateway::info);
    let before: Vec<u64> = info().map(|info| info.queries).collect();
    until(relays, gateways, "the tunnels are renewed", || {
        let is_quiet = info().all(|info| info.requests == info.queries + info.dropped_unasked);
        is_quiet && info().zip(&before).all(|(info, before)| info.queries >= before + 2)
    });
}

/// A kilobyte that is like no other's.
fn numbered(number: usize) -> String {
    let filling = (0..995).map(|at| char::from(b'a' + ((at * 7 + number * (at / 26 + 1)) % 26) as u8));
    format!("{number:04} ").chars().chain(filling).collect()
}

/// What wasn't lost on the way came once, whole, though not in order.
#[track_caller]
fn came_once(forwarder: &Forwarder, found: &[Arrived]) {
    let counts = [REQUEST, QUERY, UPDATE, DATA].map(|kind| forwarder.count(kind));
    println!("{counts:?}");
    assert!(counts.iter().all(|count| count.lost > 0), "this tests nothing: {counts:?}");
    let data = counts[3];
    assert_eq!(found.len() as u64, data.seen - data.lost, "none twice");
    let distinct: BTreeSet<_> = found.iter().map(|one| (&one.to, &one.text)).collect();
    assert_eq!(distinct.len(), found.len(), "none twice");
    for one in found {
        let number: usize = one.text[..4].parse().unwrap();
        assert!(one.text == numbered(number), "{number} is not what was sent");
    }
    assert!(!found.is_sorted_by_key(|one| &one.text[..4]), "none was overtaken: {data:?}");
}

#[test]
fn loss_and_reordering() {
    const CHUNK: usize = 20;
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, router, far] = &hosts;
        let relay = quick(relay_host, &[PORT]);
        let forwarders = forwarders(router, [1, 2].map(|seed| Rules { seed, lose: 20, delay: 20, repeat: 20 }));
        let gateways = NEAR.map(|near| Gateway::open(far, Some(near), amt::OPTIONS));
        for gateway in &gateways {
            FAMILIES.iter().for_each(|family| assert_eq!(gateway.join(&family.group(1), None), Ok(0)));
        }
        until(&[&relay], &gateways, "the memberships come up", || knows(&relay, 2, 2));
        let (udp, mut found, mut sent) = (SOURCES.map(|from| sender(source, from)), vec![Vec::new(); 2], 0);
        let all_lost =
            |forwarder: &Forwarder| [REQUEST, QUERY, UPDATE].iter().all(|kind| forwarder.count(*kind).lost > 0);
        while sent < 400 {
            if sent == 200 {
                // The tunnels live with it for a while.
                let what = "some of each type is lost";
                until(&[&relay], &gateways, what, || forwarders.iter().all(all_lost));
            }
            for (family, udp) in FAMILIES.iter().zip(&udp) {
                source.run(|| (sent..sent + CHUNK).for_each(|at| udp.send(&numbered(at), &family.group(1))));
            }
            sent += CHUNK;
            until(&[&relay], &[], "what wasn't lost comes", || {
                collect(&gateways, &mut found);
                forwarders.iter().zip(&found).all(|(forwarder, found)| {
                    let count = forwarder.count(DATA);
                    count.seen == 2 * sent as u64 && found.len() as u64 >= count.seen - count.lost
                })
            });
        }
        forwarders.iter().zip(&found).for_each(|(forwarder, found)| came_once(forwarder, found));
        assert!(gateways.iter().all(|gateway| gateway.info().dropped_malformed == 0));
    });
}

#[test]
fn a_relay_that_starts_anew_is_told_everything_again() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, router, far] = &hosts;
        let relay = quick(relay_host, &[PORT]);
        let forwarders = forwarders(router, [Rules::default(); 2]);
        let gateways = NEAR.map(|near| Gateway::open(far, Some(near), amt::OPTIONS));
        join_all(&gateways);
        until(&[&relay], &gateways, "all is joined", || knows(&relay, 3, 2));
        all_arrive(source, &relay, &gateways, "before");
        drop(relay);
        let relay = quick(relay_host, &[PORT]);
        // Gateways do nothing meanwhile. What was right before is no proof to the new secret.
        for forwarder in &forwarders {
            forwarder.inject(forwarder.last(UPDATE).unwrap());
        }
        relay.until("the old Updates are refused", || relay.info().dropped_forged == 2);
        assert_eq!((relay.info().tunnels, relay.info().updates), (0, 0));
        until(&[&relay], &gateways, "all is joined again", || knows(&relay, 3, 2));
        all_arrive(source, &relay, &gateways, "after");
        assert_eq!(gateways.each_ref().map(|gateway| gateway.info().relay_changes), [0, 0]);
    });
}

/// The source's LAN with two relays, each with a network of its own to the router: source, relays,
/// router, gateway.
fn fork(network: &Network) -> [Host; 5] {
    let hosts = ["source", "one", "two", "router", "gateway"].map(|name| network.host(name));
    let [source, one, two, router, gateway] = &hosts;
    network.switch(
        "lan",
        &[
            (source, "eth0", &["10.1.0.1/24", "fd01::1/64"]),
            (one, "in0", &["10.1.0.2/24", "fd01::2/64"]),
            (two, "in0", &["10.1.0.3/24", "fd01::3/64"]),
        ],
    );
    network.link((one, "out0", &["10.2.0.1/24", "fd02::1/64"]), (router, "r0", &["10.2.0.2/24", "fd02::2/64"]));
    network.link((two, "out0", &["10.4.0.1/24", "fd04::1/64"]), (router, "r2", &["10.4.0.2/24", "fd04::2/64"]));
    network.link((router, "r1", &["10.3.0.1/24", "fd03::1/64"]), (gateway, "eth0", &["10.3.0.2/24", "fd03::2/64"]));
    router.set("net/ipv4/ip_forward", "1");
    router.set("net/ipv6/conf/all/forwarding", "1");
    source.ip("route add 224.0.0.0/4 dev eth0");
    one.ip("route add 10.3.0.0/24 via 10.2.0.2\nroute add fd03::/64 via fd02::2");
    two.ip("route add 10.3.0.0/24 via 10.4.0.2\nroute add fd03::/64 via fd04::2");
    gateway.ip("route add default via 10.3.0.1\nroute add default via fd03::1");
    hosts
}

/// A relay whose host says that it is gone.
#[test]
fn the_second_relay_takes_over() {
    hosts::test(|network| takes_over(network, false));
}

/// Four questions without an answer, each waited for twice as long, are up to 31 seconds: the longest
/// test here.
#[test]
fn the_second_relay_takes_over_from_one_that_is_silent() {
    hosts::test(|network| takes_over(network, true));
}

fn takes_over(network: &Network, is_silent: bool) {
    let hosts = fork(network);
    let [source, one, two, _, far] = &hosts;
    let (first, second) = (quick(one, &[PORT]), quick(two, &[PORT]));
    let gateways =
        ["10.2.0.1, 10.4.0.1", "fd02::1, fd04::1"].map(|relays| Gateway::open(far, Some(relays), amt::OPTIONS));
    join_all(&gateways);
    until(&[&first, &second], &gateways, "all is joined at the first", || knows(&first, 3, 2));
    assert_eq!(second.info().tunnels, 0);
    all_arrive(source, &first, &gateways, "first");
    let infos = || gateways.each_ref().map(Gateway::info);
    renewed(&[&first, &second], &gateways);
    // One that isn't let work hears everything and says nothing.
    let first = is_silent.then_some(first);
    let questions = if is_silent { 4 } else { 2 };
    let asked = infos().map(|info| info.requests + 2 * questions);
    let all_asked = || infos().iter().zip(asked).all(|(info, least)| info.requests >= least);
    until(&[&second], &gateways, "the first is asked so often for each family", all_asked);
    until(&[&second], &gateways, "all is joined at the second", || knows(&second, 3, 2));
    assert_eq!(gateways.each_ref().map(Gateway::relay), ["10.4.0.1:2268", "[fd04::1]:2268"]);
    all_arrive(source, &second, &gateways, "second");
    assert_eq!(infos().map(|info| info.relay_changes), [1, 1]);
    drop(first);
}

#[test]
fn a_nat_that_changes_ports() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, router, far] = &hosts;
        let relay = quick(relay_host, &[PORT]);
        let forwarders = forwarders(router, [Rules::default(); 2]);
        let gateways = NEAR.map(|near| Gateway::open(far, Some(near), amt::OPTIONS));
        join_all(&gateways);
        until(&[&relay], &gateways, "all is joined", || knows(&relay, 3, 2));
        all_arrive(source, &relay, &gateways, "before");
        renewed(&[&relay], &gateways);
        forwarders.iter().for_each(Forwarder::change_ports);
        // By the Teardown of the gateway, not because it has expired.
        until(&[&relay], &gateways, "the old tunnels are ended", || relay.info().closed == 2 && knows(&relay, 3, 2));
        assert_eq!((relay.info().opened, relay.info().expired), (4, 0));
        all_arrive(source, &relay, &gateways, "after");
    });
}

#[test]
fn a_gateway_whose_address_changes() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let relay = quick(relay_host, &[PORT]);
        let gateways = OUTSIDE.map(|outside| Gateway::open(far, Some(outside), amt::OPTIONS));
        join_all(&gateways);
        until(&[&relay], &gateways, "all is joined", || knows(&relay, 3, 2));
        let tunnels = relay.json()["tunnels"].clone();
        assert!(tunnels.as_array().unwrap().iter().all(|tunnel| tunnel["linux"] == false), "{tunnels}");
        all_arrive(source, &relay, &gateways, "before");
        renewed(&[&relay], &gateways);
        far.ip("address del 10.3.0.2/24 dev eth0\naddress del fd03::2/64 dev eth0");
        far.address("eth0", &["10.3.0.9/24", "fd03::9/64"]);
        far.ip("route replace default via 10.3.0.1\nroute replace default via fd03::1");
        until(&[&relay], &gateways, "the old tunnels are ended", || relay.info().closed == 2 && knows(&relay, 3, 2));
        assert_eq!((relay.info().opened, relay.info().expired), (4, 0));
        all_arrive(source, &relay, &gateways, "after");
    });
}

#[test]
fn hundreds_of_groups() {
    const GROUPS: usize = 300;
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in [&[PORT][..], &[]] {
            let relay = quick(relay_host, ports);
            let gateways = OUTSIDE.map(|outside| Gateway::open(far, Some(outside), amt::OPTIONS));
            for family in FAMILIES {
                for gateway in &gateways {
                    (0..GROUPS).for_each(|at| assert_eq!(gateway.join(&family.group(at), None), Ok(0)));
                }
            }
            // It joins a few at a time: as long as some wait, its timer is due.
            until(&[&relay], &gateways, "all are joined", || knows(&relay, 2 * GROUPS, 2) && relay.timeout_ms() > 0);
            for (family, from) in FAMILIES.into_iter().zip(SOURCES) {
                let (udp, mut found) = (sender(source, from), vec![Vec::new(); 2]);
                for at in (0..GROUPS).step_by(50) {
                    source.run(|| (at..at + 50).for_each(|at| udp.send(&family.group(at), &family.group(at))));
                    until(&[&relay], &[], "all come", || {
                        collect(&gateways, &mut found);
                        found.iter().all(|found| found.len() >= at + 50)
                    });
                }
                for found in &found {
                    assert!(found.iter().all(|one| one.to == udp::address(&one.text, PORT).to_string()));
                    assert_eq!(found.iter().map(|one| &one.to).collect::<BTreeSet<_>>().len(), GROUPS);
                    assert_eq!(found.len(), GROUPS);
                }
            }
            assert_eq!(relay.info().refused_joins, 0);
            drop(gateways);
            until(&[&relay], &[], "gateways that close leave all", || relay.info().groups == 0);
        }
    });
}

#[test]
fn two_of_three_sources_and_all_but_one() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        source.address("eth0", &["10.1.0.11/24", "10.1.0.12/24", "fd01::11/64", "fd01::12/64"]);
        let relay = quick(relay_host, &[PORT]);
        // Two that want the same in other tunnels, and two that want something else.
        let gateways = [OUTSIDE, OUTSIDE].concat().into_iter();
        let gateways: Vec<_> = gateways.map(|outside| Gateway::open(far, Some(outside), amt::OPTIONS)).collect();
        for (family, first) in FAMILIES.into_iter().zip(SOURCES) {
            let three = [first.to_owned(), format!("{first}1"), format!("{first}2")];
            let [one, two, three] = three.each_ref().map(String::as_str);
            let group = family.group(3);
            for (at, gateway) in gateways.iter().enumerate() {
                let (mode, sources) =
                    if at < 2 { (CASTIO_FILTER_INCLUDE, &[one, two][..]) } else { (CASTIO_FILTER_EXCLUDE, &[two][..]) };
                assert_eq!(gateway.filter(&group, mode, sources), Ok(0));
            }
            until(&[&relay], &gateways, "all are known", || knows(&relay, 1, 4));
            let (before, mut found) = (relay.info().copies, vec![Vec::new(); 4]);
            for from in [one, two, three] {
                let udp = sender(source, from);
                source.run(|| udp.send(from, &group));
            }
            until(&[&relay], &[], "each gets two", || {
                collect(&gateways, &mut found);
                found.iter().all(|found| found.len() >= 2)
            });
            for (at, found) in found.iter().enumerate() {
                assert_eq!(texts(found), if at < 2 { [one, two] } else { [one, three] });
            }
            assert_eq!(relay.info().copies - before, 8, "nothing was sent that isn't wanted");
            for gateway in &gateways {
                assert_eq!(gateway.filter(&group, CASTIO_FILTER_INCLUDE, &[]), Ok(0));
            }
            until(&[&relay], &gateways, "all leave", || relay.info().groups == 0);
        }
    });
}

/// The port of the first family's gateway.
const AT: u16 = 4_000;

/// Data, and a Query that is right, from where they can't be.
fn lie_to_gateways(relay_host: &Host, router: &Host, forwarders: &[Forwarder; 2], gateways: &[Gateway<'_>; 2]) {
    let before = gateways.each_ref().map(Gateway::info);
    let places = ["10.3.0.2:4000", "[fd03::2]:4001"];
    for (at, place) in places.iter().enumerate() {
        // The relay's own host, its address that is no forwarder's; the forwarder's with another port.
        let group = FAMILIES[at].group(1);
        let packet = amt::packet(SOURCES[at], &group, PORT, "forged");
        let mut data = Vec::new();
        Message::MulticastData { packet: &packet }.append(Dialect::Rfc, &mut data);
        let liars = [(relay_host, OUTSIDE[at], 2269), (router, NEAR[at], 2269)];
        for (host, address, port) in liars {
            let udp = host.run(|| Udp::bound(udp::address(address, port)));
            udp.send_to(&data, place).unwrap();
            // The Query that is right, from where it isn't.
            udp.send_to(&forwarders[at].last(QUERY).unwrap(), place).unwrap();
        }
        until(&[], gateways, "they are dropped", || {
            gateways[at].info().dropped_stranger == before[at].dropped_stranger + 4
        });
    }
}

/// Updates and a Teardown from where they can't be, and that nobody has signed.
fn lie_to_relay(router: &Host, forwarders: &[Forwarder; 2], relay: &Relay<'_>) {
    // An Update from where its MAC isn't for, and one that nobody has signed.
    let (known, mut unsigned) = (relay.info(), forwarders[0].last(UPDATE).unwrap());
    unsigned[4] ^= 1;
    for (forwarder, [address, relay_at]) in forwarders.iter().zip([[FAR[0], OUTSIDE[0]], [FAR[1], OUTSIDE[1]]]) {
        let udp = router.run(|| Udp::bound(udp::address(address, 0)));
        udp.send_to(&forwarder.last(UPDATE).unwrap(), udp::address(relay_at, 2268)).unwrap();
    }
    forwarders[0].inject(unsigned);
    relay.until("they are refused", || relay.info().dropped_forged == known.dropped_forged + 3);
    assert_eq!((relay.info().tunnels, relay.info().opened), (2, 2));
    // A Teardown with a made-up MAC.
    let nonce = Nonce::new([1; 4]).unwrap();
    let mut teardown = Vec::new();
    let gateway = udp::address(FAR[0], AT).into();
    let mac = castio::tunnel::amt::wire::ResponseMac([1; 6]);
    Message::Teardown { mac, nonce, gateway }.append(Dialect::Rfc, &mut teardown);
    forwarders[0].inject(teardown);
    relay.until("it is refused", || relay.info().dropped_forged == known.dropped_forged + 4);
}

#[test]
fn what_others_say_does_nothing() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, router, far] = &hosts;
        let relay = quick(relay_host, &[PORT]);
        let forwarders = forwarders(router, [Rules::default(); 2]);
        // The second family's gateway has another port: each binds one socket only.
        let options = [AT, AT + 1].map(|port| castio_amt_options { port, ..amt::OPTIONS });
        let gateways = [0, 1].map(|at| Gateway::open(far, Some(NEAR[at]), options[at]));
        join_all(&gateways);
        until(&[&relay], &gateways, "all is joined", || knows(&relay, 3, 2));
        lie_to_gateways(relay_host, router, &forwarders, &gateways);
        lie_to_relay(router, &forwarders, &relay);
        // The first that comes is what the source has sent.
        all_arrive(source, &relay, &gateways, "true");
        assert_eq!(gateways.each_ref().map(|gateway| gateway.info().delivered), [3, 3]);
    });
}
