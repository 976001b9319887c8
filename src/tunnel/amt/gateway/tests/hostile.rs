//! What nobody honest sends.

use super::*;

#[test]
fn an_answer_to_nothing_is_dropped() {
    let mut rig = Rig::new(asking(&[RELAY]));
    let nonce = Nonce::new([1, 2, 3, 4]).unwrap();
    rig.advertise(RELAY, nonce, "198.51.100.2");
    rig.answer(RELAY, nonce, SAY);
    rig.join(GROUP);
    rig.advertise(RELAY, nonce, "198.51.100.2");
    rig.discovery(RELAY);
    rig.advertise(RELAY, nonce, "198.51.100.2");
    assert_eq!((rig.gateway.relay(), rig.counters().advertisements), (None, 0));
    assert_eq!((rig.counters().unasked, rig.counters().stranger), (3, 1));
}

#[test]
fn an_advertisement_cant_lead_to_where_no_relay_can_be() {
    let mut rig = Rig::new(asking(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.discovery(RELAY);
    let in_v6 = ["::ffff:0.0.0.0", "::ffff:255.255.255.255", "::ffff:224.0.0.1"];
    for relay in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"].into_iter().chain(in_v6) {
        rig.advertise(RELAY, nonce, relay);
        assert_eq!(rig.gateway.relay(), None, "{relay}");
    }
    assert_eq!(rig.counters().malformed, 8);
}

#[test]
fn a_query_counts_from_the_relay_with_its_nonce_once() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(OTHER, nonce, SAY);
    rig.answer(RELAY, Nonce::new([9; 4]).unwrap(), SAY);
    rig.answer_for(true, RELAY, nonce, SAY);
    assert_eq!((rig.counters().stranger, rig.counters().unasked), (1, 2));
    // Not a general query.
    let query = Query {
        version: Version::Igmp3,
        group: Some(ip(GROUP)),
        max_response: SECOND,
        sources: Sources::NONE,
        suppress: false,
        robustness: 2,
        interval: SECOND,
    };
    for packet in [listener::build_query(ip("192.0.2.254"), &query).unwrap(), packet("192.0.2.1", GROUP, "text", 0)] {
        let mac = ResponseMac([1; 6]);
        let message = Message::MembershipQuery { limited: false, mac, nonce, packet: &packet, gateway: None };
        rig.input(RELAY, &message, Dialect::Rfc);
    }
    assert_eq!((rig.counters().packet, rig.gateway.state()), (2, State::Requesting));
    rig.answer(RELAY, nonce, SAY);
    assert_eq!(rig.gateway.state(), State::Active);
    let sent = rig.settle().len();
    for _ in 0..100 {
        rig.answer(RELAY, nonce, SAY);
    }
    assert_eq!((sent, rig.settle().len()), (2, 0), "a replay makes no report");
}

#[test]
fn what_only_gateways_send_is_dropped() {
    let mut rig = Rig::active();
    let (nonce, mac) = (Nonce::new([1; 4]).unwrap(), ResponseMac([1; 6]));
    let gateway = wire::Gateway::from(at(RELAY));
    for message in [
        Message::RelayDiscovery { nonce },
        Message::Request { mld: false, ecn: false, nonce },
        Message::Teardown { mac, nonce, gateway },
        Message::MembershipUpdate { mac, nonce, packet: &packet("192.0.2.1", GROUP, "text", 0) },
    ] {
        rig.input(RELAY, &message, Dialect::Rfc);
    }
    assert_eq!((rig.counters().unasked, rig.settle()), (4, vec![]));
}

#[test]
fn no_bytes_at_all_do_harm() {
    let mut rig = Rig::active();
    let mut random = Random::new([3; 16]);
    let seeds = [
        [&wire::DATA_HEADER[..], &packet("192.0.2.1", GROUP, "some text", 0)].concat(),
        [&wire::DATA_HEADER[..], &packet("2001:db8::1", GROUP6, "some text", 0)].concat(),
        [&[4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..], &query(false, 2, 125)].concat(),
        [&[4, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..], &query(true, 2, 125), &[0; 18]].concat(),
    ];
    for seed in &seeds {
        for len in 0..seed.len() {
            rig.gateway.handle_input(rig.now, at(RELAY), 0, &seed[..len]);
        }
        for _ in 0..20_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.bits() % 4 {
                let place = (random.bits() % bytes.len() as u64) as usize;
                bytes[place] = random.bits() as u8;
            }
            rig.gateway.handle_input(rig.now, at(RELAY), random.bits() as u8, &bytes);
        }
    }
    assert_eq!(rig.gateway.relay(), Some(at(RELAY)));
    let counters = rig.counters();
    assert!(counters.malformed > 0 && counters.packet > 0 && counters.checksum > 0 && counters.unasked > 0);
    assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "still here", 0)).is_some());
}
