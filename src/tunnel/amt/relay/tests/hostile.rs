//! What must do nothing.

use super::*;

const GATEWAY: &str = "198.51.100.7:40000";

fn any(group: &str) -> [Record<'static>; 1] {
    [Record { kind: ModeIsExclude, group: ip(group), sources: Sources::NONE }]
}

#[test]
fn a_forged_or_foreign_mac() {
    let mut world = World::new(Settings::default());
    let good = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    for bit in 0..48 {
        let mut forged = good.clone();
        forged.mac.0[bit / 8] ^= 1 << (bit % 8);
        world.update(GATEWAY, &forged, &any("239.1.2.3"));
    }
    world.update(GATEWAY, &Answer { nonce: nonce(2), ..good.clone() }, &any("239.1.2.3"));
    // Overheard, and repeated from elsewhere.
    world.update("198.51.100.7:40001", &good, &any("239.1.2.3"));
    world.update("198.51.100.8:40000", &good, &any("239.1.2.3"));
    assert_eq!((world.relay.tunnel_count(), world.counters().dropped_forged), (0, 51));
    world.update(GATEWAY, &good, &any("239.1.2.3"));
    assert_eq!(world.relay.tunnel_count(), 1);
}

#[test]
fn an_old_mac() {
    let mut world = World::new(Settings::default());
    let old = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    world.pass(7200.0 + 249.0);
    world.update(GATEWAY, &old, &any("239.1.2.3"));
    assert_eq!(world.relay.tunnel_count(), 1, "the secret before is good for two query intervals");
    world.pass(2.0);
    world.update("198.51.100.7:40000", &old, &any("239.1.2.4"));
    assert_eq!((world.counters().dropped_forged, world.relay.group_count()), (1, 1));
}

#[test]
fn two_relays_with_one_seed_agree_and_others_do_not() {
    let mut world = World::new(Settings::default());
    let answer = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    let mut other = World::new(Settings::default());
    other.relay = Relay::new(Settings::default(), [8; 16], other.now).unwrap();
    other.update(GATEWAY, &answer, &any("239.1.2.3"));
    assert_eq!(other.counters().dropped_forged, 1);
}

#[test]
fn what_only_a_relay_says() {
    let mut world = World::new(Settings::default());
    let packet = [0x45; 40];
    let mac = ResponseMac([0; 6]);
    for message in [
        Message::RelayAdvertisement { nonce: nonce(1), relay: ip(HERE) },
        Message::MembershipQuery { limited: false, mac, nonce: nonce(1), packet: &packet, gateway: None },
        Message::MulticastData { packet: &packet },
    ] {
        world.say(GATEWAY, Dialect::Rfc, &message);
        world.silence();
    }
    assert_eq!(world.counters().dropped_unexpected, 3);
}

#[test]
fn sources_that_cannot_be_answered() {
    let mut world = World::new(Settings::default());
    for from in ["198.51.100.7:0", "0.0.0.0:5", "224.0.0.1:5", "[::]:5", "[ff02::1]:5"] {
        assert_eq!(world.request(from, false, Dialect::Rfc, 1), None, "{from}");
    }
    assert_eq!(world.counters().dropped_malformed, 5);
}

#[test]
fn every_beginning_of_every_message() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    let answer = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    let mut packets = Vec::new();
    listener::build_report(ip("0.0.0.0"), &any("239.1.2.3"), 1400, &mut packets).unwrap();
    let (mac, nonce) = (answer.mac, answer.nonce);
    let update = Message::MembershipUpdate { mac, nonce, packet: &packets[0] };
    let teardown = Message::Teardown { mac, nonce, gateway: answer.gateway.unwrap() };
    for message in
        [Message::RelayDiscovery { nonce }, Message::Request { mld: true, ecn: false, nonce }, update, teardown]
    {
        let mut bytes = Vec::new();
        message.append(Dialect::Rfc, &mut bytes);
        for len in 0..bytes.len() {
            world.put(GATEWAY, &bytes[..len]);
            world.silence();
        }
        assert_eq!(world.relay.tunnel_count(), 0);
        for version in 1..16 {
            bytes[0] = bytes[0] & 15 | version << 4;
            world.put(GATEWAY, &bytes);
            world.silence();
        }
        // Too long; but a packet says itself where it ends, and what follows a question does no harm.
        bytes[0] &= 15;
        if bytes[0] == 7 {
            bytes.resize(65_507, 0);
            world.put(GATEWAY, &bytes);
            world.silence();
        }
    }
}

#[test]
fn reports_that_promise_more_than_they_hold() {
    let mut world = World::new(Settings::default());
    let answer = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    let mut packets = Vec::new();
    listener::build_report(ip("0.0.0.0"), &any("239.1.2.3"), 1400, &mut packets).unwrap();
    let whole = &packets[0];
    // Records and sources by the thousand, each with a good checksum.
    for (at, count) in [(24 + 6, 0xffff_u16), (24 + 8 + 2, 0xffff), (24 + 8 + 2, 1)] {
        let mut packet = whole.clone();
        packet[at..at + 2].copy_from_slice(&count.to_be_bytes());
        packet[26..28].fill(0);
        let sum = crate::tunnel::ip::checksum::Checksum::new().with(&packet[24..]).value();
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        let (mac, nonce) = (answer.mac, answer.nonce);
        world.say(GATEWAY, Dialect::Rfc, &Message::MembershipUpdate { mac, nonce, packet: &packet });
    }
    // And a bad checksum.
    let mut packet = whole.clone();
    packet[27] ^= 1;
    world.say(
        GATEWAY,
        Dialect::Rfc,
        &Message::MembershipUpdate { mac: answer.mac, nonce: answer.nonce, packet: &packet },
    );
    assert_eq!((world.counters().dropped_report, world.relay.tunnel_count()), (4, 0));
    // A packet that is no report.
    let query = listener::build_query(
        ip("0.0.0.0"),
        &listener::Query {
            version: Version::Igmp3,
            group: None,
            max_response: Duration::from_secs(10),
            sources: Sources::NONE,
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(125),
        },
    );
    let packet = query.unwrap();
    world.say(
        GATEWAY,
        Dialect::Rfc,
        &Message::MembershipUpdate { mac: answer.mac, nonce: answer.nonce, packet: &packet },
    );
    assert_eq!((world.counters().dropped_report, world.relay.tunnel_count()), (5, 0));
}

#[test]
fn random_bytes() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    let random = |seed: u64, at: u64| siphash(&[5; 16], &[seed.to_le_bytes(), at.to_le_bytes()].concat()) as u8;
    for seed in 0..20_000 {
        let mut bytes: Vec<u8> = (0..seed % 80).map(|at| random(seed, at)).collect();
        if let Some(first) = bytes.first_mut().filter(|_| seed % 2 == 0) {
            *first &= 7;
        }
        world.put(GATEWAY, &bytes);
        while world.relay.poll_transmit().is_some() {}
    }
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (0, 0));
}

/// Requests in a gateway's name that don't have the nonce of its Update take no answers from it, and an Update
/// with a MAC that it has keeps its tunnel.
#[test]
fn forged_requests_take_nothing_from_a_tunnel() {
    let mut world = World::new(Settings::default());
    let good = world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    let forged = |world: &mut World, number: u32| {
        (0..50).filter(|one| world.request(GATEWAY, false, Dialect::Rfc, 1000 + number * 50 + one).is_some()).count()
    };
    assert_eq!(forged(&mut world, 0), 8);
    for number in 1..1000 {
        world.pass(1.0);
        assert_eq!(forged(&mut world, number), 2);
        assert!(world.request(GATEWAY, false, Dialect::Rfc, 7).is_some(), "the nonce of its Update");
        assert_eq!(world.request("198.51.100.7:40001", false, Dialect::Rfc, 7).map(|one| one.limited), Some(false));
        if number % 200 == 0 {
            world.update(GATEWAY, &good, &any("239.1.2.3"));
        }
        assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [GATEWAY], "{number}");
    }
    assert_eq!((world.counters().opened, world.counters().expired), (1, 0));
}
