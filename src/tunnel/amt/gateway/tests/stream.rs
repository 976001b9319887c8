//! Data: what comes out, and what doesn't.

use super::*;
use crate::tunnel::ip::fragment::fragments;

const SOURCE: &str = "192.0.2.1";

#[test]
fn a_datagram_comes_out_as_it_was_sent() {
    let mut rig = Rig::active();
    let got = rig.data(RELAY, &packet(SOURCE, GROUP, "hello", 0xb8)).unwrap();
    assert_eq!(got, ("hello".into(), at("192.0.2.1:9"), at("232.1.2.3:5000"), 33, 0xb8));
    rig.join(GROUP6);
    let got = rig.data(RELAY, &packet("2001:db8::1", GROUP6, "hello", 0xb8)).unwrap();
    assert_eq!(got, ("hello".into(), at("[2001:db8::1]:9"), at("[ff3e::1234]:5000"), 33, 0xb8));
    assert_eq!((rig.counters().delivered, rig.counters().delivered_bytes), (2, 10));
}

#[test]
fn congestion_on_the_way_is_told() {
    let mut rig = Rig::active();
    let class = |got: Option<(String, SocketAddr, SocketAddr, u8, u8)>| got.unwrap().4;
    assert_eq!(class(rig.marked_data(RELAY, 3, &packet(SOURCE, GROUP, "a", 2))), 3);
    assert_eq!(class(rig.marked_data(RELAY, 1, &packet(SOURCE, GROUP, "a", 2))), 1);
    assert_eq!(class(rig.marked_data(RELAY, 0xb8, &packet(SOURCE, GROUP, "a", 0x22))), 0x22);
    assert_eq!(rig.marked_data(RELAY, 3, &packet(SOURCE, GROUP, "a", 0)), None);
    assert_eq!(rig.counters().congested, 1);
}

#[test]
fn congestion_on_the_way_of_one_part_is_told_of_the_packet() {
    let mut rig = Rig::active();
    let parts = |class| {
        let whole = packet(SOURCE, GROUP, &"0123456789".repeat(400), class);
        let parsed = Packet::parse(&whole).unwrap();
        let cut = fragments(&parsed, 1460).unwrap();
        cut.map(|(header, range)| [&header, &parsed.payload[range]].concat()).collect::<Vec<_>>()
    };
    // RFC 3168, section 5.3: whichever part has the mark, it isn't lost.
    for marked in 0..3 {
        let mut class = None;
        for (index, part) in parts(0xba).iter().enumerate() {
            let outer = if index == marked { 3 } else { 2 };
            class = rig.marked_data(RELAY, outer, part).map(|got| got.4);
        }
        assert_eq!(class, Some(0xbb), "{marked}");
        rig.gateway.release();
    }
    // From a sender that knows no marks a marked part is dropped, and so is the packet.
    for (index, part) in parts(0).iter().enumerate() {
        assert_eq!(rig.marked_data(RELAY, if index == 1 { 3 } else { 0 }, part), None);
    }
    assert_eq!((rig.counters().congested, rig.counters().reassembled), (1, 3));
    // Parts of which some say that it does, and others that it doesn't, are no packet.
    let (with, without) = (parts(2), parts(0));
    assert_eq!(rig.data(RELAY, &with[0]), None);
    assert_eq!(rig.data(RELAY, &without[1]), None);
    assert_eq!(rig.data(RELAY, &with[2]), None);
    assert_eq!((rig.counters().reassembled, rig.counters().fragment), (3, 2));
}

#[test]
fn what_wasnt_asked_for_doesnt_come_out() {
    let mut rig = Rig::active();
    let good = packet(SOURCE, GROUP, "hello", 0);
    for from in [OTHER, "198.51.100.1:2269", "[2001:db8::9]:2268"] {
        assert_eq!(rig.data(from, &good), None, "{from}");
    }
    assert_eq!(rig.counters().stranger, 3);
    assert_eq!(rig.data(RELAY, &packet(SOURCE, "232.1.2.4", "hello", 0)), None);
    assert_eq!(rig.data(RELAY, &packet(SOURCE, "10.0.0.1", "hello", 0)), None);
    assert_eq!(rig.counters().not_joined, 2);
    rig.set(GROUP, Filter::only([ip("192.0.2.2")]));
    assert_eq!(rig.data(RELAY, &good), None);
    rig.set(GROUP, Filter::all_but([ip(SOURCE)]));
    assert_eq!(rig.data(RELAY, &good), None);
    assert_eq!(rig.counters().filtered, 2);
    rig.set(GROUP, Filter::only([ip(SOURCE)]));
    assert!(rig.data(RELAY, &good).is_some());
    rig.leave(GROUP);
    assert_eq!(rig.data(RELAY, &good), None);
    assert_eq!(rig.counters().not_joined, 3);
}

#[test]
fn what_is_broken_doesnt_come_out() {
    let mut rig = Rig::active();
    let good = packet(SOURCE, GROUP, "hello", 0);
    let change = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    assert_eq!(rig.data(RELAY, &change(8)), None, "the header's checksum");
    assert_eq!(rig.counters().packet, 1);
    assert_eq!(rig.data(RELAY, &change(30)), None, "the datagram's checksum");
    assert_eq!(rig.counters().checksum, 1);
    let mut other = good.clone();
    (other[9], other[10], other[11]) = (6, 0, 0);
    let checksum = crate::tunnel::ip::checksum::Checksum::new().with(&other[..20]).value();
    other[10..12].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(rig.data(RELAY, &other), None);
    assert_eq!(rig.counters().protocol, 1);
    // Bytes behind the packet are no part of it.
    assert_eq!(rig.data(RELAY, &[&good, &b"more"[..]].concat()).unwrap().0, "hello");
    // Without a checksum it is fine over IPv4.
    let mut bare = good.clone();
    (bare[26], bare[27]) = (0, 0);
    assert_eq!(rig.data(RELAY, &bare).unwrap().0, "hello");
}

#[test]
fn parts_of_a_packet_are_put_together() {
    let mut rig = Rig::active();
    let text = "0123456789".repeat(400);
    let whole = packet(SOURCE, GROUP, &text, 0);
    let parsed = Packet::parse(&whole).unwrap();
    let parts: Vec<Vec<u8>> =
        fragments(&parsed, 1460).unwrap().map(|(header, range)| [&header, &parsed.payload[range]].concat()).collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(rig.data(RELAY, &parts[2]), None);
    assert_eq!(rig.data(RELAY, &parts[0]), None);
    assert_eq!(rig.data(RELAY, &parts[1]).unwrap().0, text);
    assert_eq!((rig.counters().reassembled, rig.counters().fragment), (1, 0));
    rig.gateway.release();
    // One that is lost takes the others with it, in time.
    assert_eq!(rig.data(RELAY, &parts[0]), None);
    rig.now += SECOND * 5;
    rig.gateway.handle_timeout(rig.now);
    assert_eq!((rig.counters().reassembled, rig.counters().fragment), (1, 1));
}

#[test]
fn a_stream_that_stops_makes_the_gateway_ask_whether_the_relay_knows_it_still() {
    let mut rig = Rig::active();
    for _ in 0..100 {
        rig.now += SECOND;
        assert!(rig.data(RELAY, &packet(SOURCE, GROUP, "on", 0)).is_some());
        assert_eq!(rig.sent(), []);
    }
    let (waited, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(waited, SECOND * 5, "long before the regular question");
    // A relay that began anew learns everything again.
    rig.answer(RELAY, *nonce, Say { mac: 9, ..SAY });
    assert_eq!(rig.sent(), [(at(RELAY), Sent::Update(9, vec!["IsEx 232.1.2.3".into()]))]);
    // While the source is silent it is asked ever more rarely, and then as often as without a stream.
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let begun = rig.now;
        let (_, sent) = rig.next().unwrap();
        let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
        rig.answer(RELAY, *nonce, SAY);
        rig.sent();
        pauses.push((rig.now - begun).as_secs());
    }
    assert_eq!(pauses, [10, 20, 40, 125, 125]);
}
