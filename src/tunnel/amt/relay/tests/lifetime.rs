//! How tunnels and memberships end.

use super::*;

const GATEWAY: &str = "198.51.100.7:40000";
const OTHER: &str = "198.51.100.7:40001";

#[test]
fn two_gateways_behind_one_address() {
    let mut world = World::new(Settings::default());
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    world.report(OTHER, ModeIsInclude, "239.1.2.3", &["10.0.0.1"]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [GATEWAY, OTHER]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.2"), [GATEWAY]);
    assert!(world.destinations("239.1.2.4", "10.0.0.1").is_empty());
    assert_eq!(world.counters().dropped_unwanted, 1);
}

#[test]
fn a_membership_that_is_not_repeated_ends() {
    let mut world = World::new(Settings::default());
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!(world.changes(), ["+239.1.2.3"]);
    world.pass(200.0);
    world.report(GATEWAY, ModeIsInclude, "ff35::7", &["2001:db8::1"]);
    assert_eq!(world.changes(), ["+ff35::7 2001:db8::1"]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [GATEWAY]);
    world.pass(60.5);
    assert!(world.destinations("239.1.2.3", "10.0.0.1").is_empty(), "after QRV * QQI + QRI");
    assert_eq!(world.destinations("ff35::7", "2001:db8::1"), [GATEWAY]);
    world.pass(1.0);
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (1, 1));
    world.pass(200.0);
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count(), world.counters().expired), (0, 0, 1));
    assert_eq!(world.changes(), ["-239.1.2.3", "-ff35::7 2001:db8::1"]);
}

#[test]
fn a_gateway_that_reports_stays() {
    let mut world = World::new(Settings::default());
    for _ in 0..200 {
        world.report(GATEWAY, ModeIsInclude, "232.1.2.3", &["10.0.0.1"]);
        world.pass(125.0);
        assert_eq!(world.destinations("232.1.2.3", "10.0.0.1"), [GATEWAY]);
    }
    assert_eq!((world.counters().opened, world.changes().len()), (1, 1), "over several secrets");
}

#[test]
fn teardown_by_the_address_in_the_message() {
    let mut world = World::new(Settings::default());
    let answer = world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    let (mac, gateway) = (answer.mac, answer.gateway.unwrap());
    let teardown = Message::Teardown { mac, nonce: answer.nonce, gateway };
    let wrong = Message::Teardown { mac, nonce: answer.nonce, gateway: Gateway::from(endpoint(OTHER)) };
    world.say(OTHER, Dialect::Rfc, &wrong);
    assert_eq!((world.relay.tunnel_count(), world.counters().dropped_forged), (1, 1));
    assert_eq!(world.changes(), ["+239.1.2.3"]);
    // It comes from the new address, and names the old one.
    world.say("203.0.113.9:1234", Dialect::Rfc, &teardown);
    assert_eq!((world.relay.tunnel_count(), world.counters().closed), (0, 1));
    assert_eq!(world.changes(), ["-239.1.2.3"]);
    world.say("203.0.113.9:1234", Dialect::Rfc, &teardown);
    assert_eq!((world.counters().teardowns, world.counters().closed), (2, 1), "repeated as QRV asks");
    world.silence();

    // The same endpoint again: a repetition of the old message ends nothing.
    let answer = world.request(GATEWAY, false, Dialect::Rfc, 99).unwrap();
    world.update(GATEWAY, &answer, &[Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }]);
    world.say("203.0.113.9:1234", Dialect::Rfc, &teardown);
    assert_eq!(world.relay.tunnel_count(), 1);
}

#[test]
fn teardown_by_a_gateway_that_moved_before_its_update() {
    let mut world = World::new(Settings::default());
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    let older = world.request(GATEWAY, false, Dialect::Rfc, 98).unwrap();
    let newer = world.request(GATEWAY, false, Dialect::Rfc, 99).unwrap();
    // The Update comes from the new address, with the MAC of the old one.
    world.update(OTHER, &newer, &[Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }]);
    assert_eq!((world.relay.tunnel_count(), world.counters().dropped_forged), (1, 1));
    let teardown =
        |answer: &Answer| Message::Teardown { mac: answer.mac, nonce: answer.nonce, gateway: answer.gateway.unwrap() };
    world.say(OTHER, Dialect::Rfc, &teardown(&older));
    assert_eq!((world.relay.tunnel_count(), world.counters().closed), (1, 0));
    world.say(OTHER, Dialect::Rfc, &teardown(&newer));
    assert_eq!((world.relay.tunnel_count(), world.counters().closed), (0, 1));
}

#[test]
fn leaving_is_at_once() {
    let mut world = World::new(Settings::default());
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    world.report(GATEWAY, ChangeToInclude, "239.1.2.3", &[]);
    assert!(world.destinations("239.1.2.3", "10.0.0.1").is_empty());
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (1, 0), "the tunnel stays for a while");
    world.pass(262.0);
    assert_eq!(world.relay.tunnel_count(), 0);
}

#[test]
fn older_reports_count_too() {
    let mut world = World::new(Settings::default());
    let answer = world.request(GATEWAY, false, Dialect::Rfc, 1).unwrap();
    let report = listener::build_join(Version::Igmp2, ip("10.0.0.9"), ip("239.1.2.3")).unwrap();
    let leave = listener::build_leave(Version::Igmp2, ip("10.0.0.9"), ip("239.1.2.3")).unwrap();
    for (packet, count) in [(&report, 1), (&leave, 0)] {
        world.say(GATEWAY, Dialect::Rfc, &Message::MembershipUpdate { mac: answer.mac, nonce: answer.nonce, packet });
        assert_eq!(world.destinations("239.1.2.3", "10.0.0.1").len(), count);
    }
}

#[test]
fn unreachable_is_a_hint() {
    let mut world = World::new(Settings::default());
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    world.report(OTHER, ModeIsExclude, "239.1.2.3", &[]);
    for gateway in [GATEWAY, OTHER, "198.51.100.7:9"] {
        world.relay.handle_unreachable(world.now, endpoint(gateway));
    }
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1").len(), 2, "nothing ends by it");
    world.pass(100.0);
    // A gateway that is alive reports within the query interval.
    world.report(OTHER, ModeIsExclude, "239.1.2.3", &[]);
    world.pass(40.0);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [OTHER]);
    world.pass(150.0);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), [OTHER], "for its whole time");
}

#[test]
fn bytes_per_second() {
    let mut world = World::new(Settings { bytes_per_second: 1_000_000, ..Settings::default() });
    world.report(GATEWAY, ModeIsExclude, "239.1.2.3", &[]);
    let sent = |world: &mut World| {
        let flow = (ip("239.1.2.3"), ip("10.0.0.1"));
        let mut sent = 0;
        (0..2000).for_each(|_| world.relay.each_destination(world.now, flow, (1, 1000), |_, _| sent += 1));
        sent
    };
    assert_eq!(sent(&mut world), 1000);
    world.pass(0.5);
    assert_eq!(sent(&mut world), 500);
    assert_eq!((world.counters().dropped_rate, world.counters().dropped_unwanted), (2500, 0));
}
