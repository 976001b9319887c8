//! Discovery, Request and Query, in both dialects.

use super::*;

const GATEWAY: &str = "198.51.100.7:40000";
const GATEWAY_V6: &str = "[2001:db8::7]:40000";

#[test]
fn an_advertisement_tells_the_address_asked_or_another() {
    for (settings, asked, told) in [
        (Settings::default(), HERE, HERE),
        (Settings::default(), "2001:db8::1", "2001:db8::1"),
        (Settings { advertise_v4: Some([192, 0, 2, 99].into()), ..Settings::default() }, HERE, "192.0.2.99"),
        (Settings { advertise_v4: Some([192, 0, 2, 99].into()), ..Settings::default() }, "2001:3::1", "2001:3::1"),
        (
            Settings { advertise_v6: Some("2001:db8::9".parse().unwrap()), ..Settings::default() },
            "2001:3::1",
            "2001:db8::9",
        ),
    ] {
        let mut world = World::new(settings);
        world.here.address = ip(asked);
        let from = if world.here.address.is_ipv4() { GATEWAY } else { GATEWAY_V6 };
        world.say(from, Dialect::Rfc, &Message::RelayDiscovery { nonce: nonce(3) });
        let answer = world.relay.poll_transmit().unwrap();
        assert_eq!((answer.from, answer.to), (world.here, endpoint(from)), "from where it was asked");
        let expected = Message::RelayAdvertisement { nonce: nonce(3), relay: ip(told) };
        assert_eq!(Message::decode(answer.bytes()).unwrap().0, expected);
        assert_eq!((world.counters().discoveries, world.counters().advertisements), (1, 1));
        world.silence();
    }
}

#[test]
fn a_request_may_have_any_nonce() {
    // RFC 7450, section 5.2.3.5.6: random, and nothing is said against 0.
    let mut world = World::new(Settings::default());
    let nonce = Nonce::from_wire([0; 4]);
    world.say(GATEWAY, Dialect::Rfc, &Message::Request { mld: false, ecn: false, nonce });
    let answer = world.relay.poll_transmit().unwrap();
    let (Message::MembershipQuery { mac, nonce: told, .. }, _) = Message::decode(answer.bytes()).unwrap() else {
        panic!("{:?}", answer.bytes());
    };
    assert_eq!(told, nonce);
    let records = [Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }];
    let mut packets = Vec::new();
    listener::build_report(ip("0.0.0.0"), &records, 1400, &mut packets).unwrap();
    world.say(GATEWAY, Dialect::Rfc, &Message::MembershipUpdate { mac, nonce, packet: &packets[0] });
    assert_eq!(world.relay.tunnel_count(), 1);
}

#[test]
fn a_query_for_each_protocol() {
    let mut world = World::new(Settings::default());
    for from in [GATEWAY, GATEWAY_V6] {
        for (mld, version) in [(false, Version::Igmp3), (true, Version::Mld2)] {
            let answer = world.request(from, mld, Dialect::Rfc, 5).unwrap();
            assert_eq!(answer.version, version);
            assert_eq!((answer.nonce, answer.limited), (nonce(5), false));
            assert_eq!(answer.gateway, Some(Gateway::from(endpoint(from))));
            assert_eq!(answer.dialect, Some(Dialect::Rfc));
        }
    }
    assert_eq!(world.counters().queries, 4);
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (0, 0), "nothing is kept");
}

#[test]
fn sizes_are_as_documented() {
    let mut world = World::new(Settings::default());
    let mut size = |message: &Message<'_>| {
        world.say(GATEWAY, Dialect::Rfc, message);
        world.relay.poll_transmit().unwrap().bytes().len()
    };
    assert_eq!(size(&Message::RelayDiscovery { nonce: nonce(1) }), 12);
    assert_eq!(size(&Message::Request { mld: false, ecn: false, nonce: nonce(1) }), 66);
    assert_eq!(size(&Message::Request { mld: true, ecn: false, nonce: nonce(1) }), 106);
}

#[test]
fn linux_gets_no_flags_and_mld() {
    let mut world = World::new(Settings::default());
    // It asks twice with one nonce; the first time nobody knows it yet.
    let first = world.request(GATEWAY, false, Dialect::Linux, 5).unwrap();
    assert_eq!((first.dialect, first.version), (Some(Dialect::Rfc), Version::Igmp3));
    let second = world.request(GATEWAY, true, Dialect::Linux, 5).unwrap();
    assert_eq!((second.gateway, second.dialect, second.version), (None, None, Version::Mld2));
    let third = world.request(GATEWAY, false, Dialect::Linux, 6).unwrap();
    assert_eq!((third.gateway, third.dialect, third.version), (None, None, Version::Igmp3));
    let other = world.request("198.51.100.7:40001", false, Dialect::Rfc, 6).unwrap();
    assert_eq!(other.dialect, Some(Dialect::Rfc), "another port is another gateway");

    // Its Update is as good as any, and what it is is kept with the tunnel.
    let any = [Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }];
    world.update(GATEWAY, &third, &any);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [GATEWAY]);
    assert_eq!(world.relay.tunnels().next().unwrap().capability, Capability::Linux);
}

/// VLC's Request has a byte too many, and it takes a Query of 48 bytes alone.
#[test]
fn a_request_of_nine_bytes_gets_no_gateway_fields() {
    let mut world = World::new(Settings::default());
    let mut ask = |bytes: &[u8]| {
        world.put(GATEWAY, bytes);
        world.relay.poll_transmit().unwrap().bytes().to_vec()
    };
    let query = ask(&[3, 0, 0, 0, 1, 2, 3, 4, 0]);
    assert_eq!((query.len(), query[1]), (48, 0));
    let (Message::MembershipQuery { mac, nonce, gateway: None, .. }, None) = Message::decode(&query).unwrap() else {
        panic!("{query:?}");
    };
    assert_eq!(nonce, Nonce::new([1, 2, 3, 4]).unwrap());
    assert_eq!(ask(&[3, 0, 0, 0, 1, 2, 3, 4]).len(), 66, "others get them");
    assert_eq!(ask(&[3, 0, 0, 0, 1, 2, 3, 4, 0, 0]).len(), 66);
    assert_eq!(ask(&[1, 0, 0, 0, 1, 2, 3, 4, 0]).len(), 12, "a Discovery may be longer, too");
    let answer = Answer { mac, nonce, limited: false, gateway: None, version: Version::Igmp3, dialect: None };
    world.update(GATEWAY, &answer, &[Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [GATEWAY]);
}

#[test]
fn ecn_is_told_by_the_request() {
    let mut world = World::new(Settings::default());
    world.say(GATEWAY, Dialect::Rfc, &Message::Request { mld: false, ecn: true, nonce: nonce(1) });
    let answer = world.relay.poll_transmit().unwrap();
    let (Message::MembershipQuery { mac, nonce, .. }, _) = Message::decode(answer.bytes()).unwrap() else {
        panic!("no Query");
    };
    let answer = Answer { mac, nonce, limited: false, gateway: None, version: Version::Igmp3, dialect: None };
    world.update(GATEWAY, &answer, &[Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }]);
    assert_eq!(world.relay.tunnels().next().unwrap().capability, Capability::Ecn);
}

#[test]
fn a_full_relay_says_so() {
    let mut world = World::new(Settings { tunnels: 64, answers_per_second: 0, ..Settings::default() });
    let gateway = |number: usize| format!("198.51.100.7:{}", 10_000 + number);
    for number in 0..62 {
        assert!(!world.request(&gateway(number), false, Dialect::Rfc, 1).unwrap().limited, "{number}");
        world.report(&gateway(number), ModeIsExclude, "239.1.2.3", &[]);
    }
    // Nearly full: new ones are told, but those that come all the same still find room.
    assert!(world.request(&gateway(62), false, Dialect::Rfc, 1).unwrap().limited);
    assert!(!world.request(&gateway(5), false, Dialect::Rfc, 1).unwrap().limited, "one with a tunnel");
    world.report(&gateway(62), ModeIsExclude, "239.1.2.3", &[]);
    world.report(&gateway(63), ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!(world.relay.tunnel_count(), 64);
    world.report(&gateway(64), ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!((world.relay.tunnel_count(), world.counters().refused_tunnels), (64, 1));
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1").len(), 64);
    // Those that have one go on.
    world.report(&gateway(5), ModeIsExclude, "239.1.2.4", &[]);
    assert_eq!(world.destinations("239.1.2.4", "10.0.0.1"), [gateway(5)]);
}

#[test]
fn one_address_doesnt_take_all_the_room() {
    let mut world = World::new(Settings { tunnels_per_address: 3, answers_per_second: 0, ..Settings::default() });
    for (address, same) in [("198.51.100.7", "198.51.100.7"), ("[2001:db8::7]", "[2001:db8::8]")] {
        for port in 1..=3 {
            world.report(&format!("{address}:{port}"), ModeIsExclude, "239.1.2.3", &[]);
        }
        let before = world.counters().refused_tunnels;
        let another = format!("{same}:4");
        assert!(world.request(&another, false, Dialect::Rfc, 1).unwrap().limited, "it is told");
        world.report(&another, ModeIsExclude, "239.1.2.3", &[]);
        assert_eq!(world.counters().refused_tunnels, before + 1);
        assert!(!world.request(&format!("{address}:2"), false, Dialect::Rfc, 1).unwrap().limited);
    }
    assert!(!world.request("198.51.100.8:4", false, Dialect::Rfc, 1).unwrap().limited, "others have theirs");
    assert_eq!(world.relay.tunnel_count(), 6);
    world.pass(300.0);
    assert_eq!(world.relay.tunnel_count(), 0);
    // What has ended makes room.
    for from in ["198.51.100.7:4", "[2001:db8::8]:4"] {
        assert!(!world.request(from, false, Dialect::Rfc, 1).unwrap().limited);
        world.report(from, ModeIsExclude, "239.1.2.3", &[]);
    }
    assert_eq!(world.relay.tunnel_count(), 2);
}

#[test]
fn strangers_are_answered_so_often() {
    let mut world = World::new(Settings::default());
    let answered = |world: &mut World, from: &str| {
        (0..100).filter(|_| world.request(from, true, Dialect::Rfc, 1).is_some()).count()
    };
    assert_eq!(answered(&mut world, GATEWAY), 32);
    assert_eq!(answered(&mut world, "198.51.100.7:1"), 0, "by address");
    assert_eq!(world.counters().dropped_throttled, 168);
    world.pass(1.0);
    assert_eq!(answered(&mut world, GATEWAY), 16);
    // One that has a tunnel isn't a stranger any more, and others don't use up what it gets.
    world.pass(9.0);
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    assert!(answered(&mut world, "198.51.100.7:1") > 30);
    for _ in 0..60 {
        assert!(world.request(GATEWAY, false, Dialect::Rfc, 1).is_some());
        assert!(world.request(GATEWAY, true, Dialect::Rfc, 1).is_some(), "a pair every 2 seconds is normal");
        world.pass(2.0);
    }
    assert_eq!(answered(&mut world, GATEWAY), 8, "with a nonce that anybody may have made up");
    assert!((0..16).all(|_| world.request(GATEWAY, false, Dialect::Rfc, 7).is_some()), "with that of its Update");
    assert!(world.request(GATEWAY, false, Dialect::Rfc, 7).is_none(), "that has an end as well");
}
