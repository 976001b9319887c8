//! Finding a relay, and another one.

use super::*;

const ASKED: &str = "192.0.2.53:2268";
const ASKED2: &str = "192.0.2.54:2268";

#[test]
fn nothing_is_sent_before_a_group_is_wanted() {
    let mut rig = Rig::new(asking(&[ASKED]));
    assert_eq!((rig.sent(), rig.gateway.timeout(), rig.gateway.state()), (vec![], None, State::Idle));
}

#[test]
fn a_relay_is_asked_for_and_then_asked() {
    let mut rig = Rig::new(asking(&[ASKED]));
    rig.join(GROUP);
    let nonce = rig.discovery(ASKED);
    assert_eq!(rig.gateway.state(), State::Discovering);
    rig.advertise(ASKED, nonce, "198.51.100.1");
    assert_eq!((rig.gateway.relay(), rig.gateway.state()), (Some(at(RELAY)), State::Requesting));
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    assert_eq!(rig.gateway.state(), State::Active);
    assert_eq!(rig.sent(), [(at(RELAY), Sent::Update(1, vec!["IsEx 232.1.2.3".into()]))]);
}

#[test]
fn a_question_is_repeated_with_its_nonce_ever_more_slowly() {
    let mut rig = Rig::new(asking(&[ASKED]));
    rig.join(GROUP);
    let nonce = rig.discovery(ASKED);
    for attempt in 1..12 {
        let (waited, sent) = rig.next().unwrap();
        assert_eq!(sent, [(at(ASKED), Sent::Discovery(nonce))]);
        let most = Duration::from_secs(1 << attempt).min(SECOND * 120);
        assert!(waited >= SECOND && waited <= most, "{waited:?} after {attempt}");
    }
    assert_eq!(rig.gateway.state(), State::Failed);
    // It goes on, and the relay may come at any time.
    rig.advertise(ASKED, nonce, "198.51.100.1");
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    assert_eq!(rig.gateway.state(), State::Active);
}

#[test]
fn one_that_doesnt_answer_gives_way_to_the_next_and_rests() {
    let mut rig = Rig::new(asking(&[ASKED, ASKED2]));
    rig.join(GROUP);
    let first = rig.discovery(ASKED);
    let mut asked = 1;
    let second = loop {
        match rig.next().unwrap().1.as_slice() {
            [(to, Sent::Discovery(nonce))] if *to == at(ASKED) => {
                assert_eq!(*nonce, first);
                asked += 1;
            }
            [(to, Sent::Discovery(nonce))] if *to == at(ASKED2) => break *nonce,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((asked, first == second), (4, false));
    // The first one's answer comes too late.
    rig.advertise(ASKED, first, "198.51.100.1");
    assert_eq!((rig.counters().stranger, rig.gateway.relay()), (1, None));
    rig.advertise(ASKED2, second, "198.51.100.2");
    assert_eq!(rig.gateway.relay(), Some(at(OTHER)));
}

#[test]
fn an_unreachable_address_gives_way_at_once() {
    let mut rig = Rig::new(asking(&[ASKED, ASKED2]));
    rig.join(GROUP);
    rig.discovery(ASKED);
    rig.gateway.handle_unreachable(rig.now, at("203.0.113.9:2268"));
    assert_eq!(rig.sent(), [], "nobody was asked there");
    rig.gateway.handle_unreachable(rig.now, at(ASKED));
    rig.discovery(ASKED2);
    // There is nobody else: it is asked again in its time.
    rig.gateway.handle_unreachable(rig.now, at(ASKED2));
    assert_eq!(rig.sent(), []);
    assert!(matches!(rig.next().unwrap().1.as_slice(), [(to, Sent::Discovery(_))] if *to == at(ASKED2)));
    assert_eq!(rig.counters().unreachable, 3);
}

#[test]
fn a_relay_that_doesnt_answer_is_left_for_another() {
    let mut rig = Rig::new(direct(&[RELAY, OTHER]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    let mut asked = 1;
    while let [(to, Sent::Request(0, again))] = rig.next().unwrap().1.as_slice() {
        if *to == at(OTHER) {
            break;
        }
        asked += 1;
        assert_eq!(*again, nonce);
    }
    assert_eq!((asked, rig.gateway.relay(), rig.counters().relay_changes), (4, Some(at(OTHER)), 1));
}

#[test]
fn without_another_a_relay_is_asked_on_and_on() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    for _ in 0..20 {
        let (waited, sent) = rig.next().unwrap();
        assert_eq!(sent, [(at(RELAY), Sent::Request(0, nonce))]);
        assert!(waited >= SECOND && waited <= SECOND * 120);
    }
    assert_eq!(rig.gateway.state(), State::Failed);
    rig.answer(RELAY, nonce, SAY);
    assert_eq!(rig.gateway.state(), State::Active);
}

#[test]
fn a_relay_that_was_found_and_died_is_looked_for_anew() {
    let mut rig = Rig::new(asking(&[ASKED]));
    rig.join(GROUP);
    let nonce = rig.discovery(ASKED);
    rig.advertise(ASKED, nonce, "198.51.100.1");
    rig.request(RELAY);
    let again = loop {
        match rig.next().unwrap().1.as_slice() {
            [(_, Sent::Discovery(nonce))] => break *nonce,
            [(_, Sent::Request(..))] => {}
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(nonce, again);
    // The same relay is taken again: it may have come back.
    rig.advertise(ASKED, again, "198.51.100.1");
    assert_eq!(rig.gateway.relay(), Some(at(RELAY)));
}

#[test]
fn a_relay_that_is_full_is_left_alone_for_ten_minutes() {
    let full = Say { limited: true, ..SAY };
    for dialect in [Dialect::Rfc, Dialect::Linux] {
        let mut rig = Rig::new(direct(&[RELAY]));
        rig.join(GROUP);
        let nonce = rig.request(RELAY);
        rig.answer(RELAY, nonce, Say { dialect, ..full });
        assert_eq!((rig.sent(), rig.gateway.state()), (vec![], State::Failed));
        let (waited, sent) = rig.next().unwrap();
        assert_eq!(waited, SECOND * 600);
        assert!(matches!(sent.as_slice(), [(_, Sent::Request(0, again))] if *again != nonce));
    }
    // With another one there is no waiting.
    let mut rig = Rig::new(direct(&[RELAY, OTHER]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, full);
    rig.request(OTHER);
    // Discovery that leads there again is left alone, too.
    let mut rig = Rig::new(asking(&[ASKED]));
    rig.join(GROUP);
    let nonce = rig.discovery(ASKED);
    rig.advertise(ASKED, nonce, "198.51.100.1");
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, full);
    let nonce = rig.discovery(ASKED);
    rig.advertise(ASKED, nonce, "198.51.100.1");
    assert_eq!((rig.sent(), rig.gateway.state(), rig.gateway.relay()), (vec![], State::Failed, None));
    assert_eq!(rig.next().unwrap().0, SECOND * 600);
}

#[test]
fn a_relay_that_is_full_keeps_those_that_it_has() {
    let mut rig = Rig::active();
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    rig.answer(RELAY, *nonce, Say { limited: true, mac: 2, ..SAY });
    assert_eq!(rig.gateway.state(), State::Active);
    assert_eq!(rig.sent(), [(at(RELAY), Sent::Update(2, vec!["IsEx 232.1.2.3".into()]))]);
}

/// Active at the first of these, with a stream that then stops; its next question, and the answer "full".
fn full_after_silence(candidates: Vec<Candidate>) -> Rig {
    let mut rig = Rig::new(candidates);
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    rig.settle();
    rig.now += SECOND * 10;
    assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "flows", 0)).is_some());
    let (waited, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(waited <= SECOND * 5);
    rig.answer(RELAY, *nonce, Say { mac: 9, limited: true, ..SAY });
    rig
}

#[test]
fn a_relay_that_fell_silent_and_is_full_is_left_for_another() {
    let mut rig = full_after_silence(direct(&[RELAY, OTHER]));
    let sent = rig.sent();
    // If it knows the gateway after all, it is to stop.
    assert!(sent.contains(&(at(RELAY), Sent::Update(1, vec!["To 232.1.2.3".into()]))), "{sent:?}");
    let Some((_, Sent::Request(0, nonce))) = sent.iter().find(|(to, _)| *to == at(OTHER)) else { panic!("{sent:?}") };
    rig.answer(OTHER, *nonce, SAY);
    assert!(rig.sent().contains(&(at(OTHER), Sent::Update(1, vec!["IsEx 232.1.2.3".into()]))));
    assert_eq!((rig.gateway.relay(), rig.gateway.state()), (Some(at(OTHER)), State::Active));
    assert_eq!(rig.counters().relay_changes, 1);
}

#[test]
fn a_full_relay_that_may_know_the_gateway_stays_where_there_is_no_other() {
    let mut rig = full_after_silence(direct(&[RELAY]));
    let sent = rig.sent();
    assert_eq!(sent, [(at(RELAY), Sent::Update(9, vec!["IsEx 232.1.2.3".into()]))]);
    assert_eq!((rig.gateway.relay(), rig.counters().relay_changes), (Some(at(RELAY)), 0));
}

#[test]
fn a_full_relay_that_still_sends_is_kept() {
    let mut rig = Rig::new(direct(&[RELAY, OTHER]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    rig.settle();
    let nonce = loop {
        assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "flows", 0)).is_some());
        rig.now += SECOND;
        if let [(_, Sent::Request(0, nonce))] = rig.sent().as_slice() {
            break *nonce;
        }
    };
    rig.answer(RELAY, nonce, Say { limited: true, ..SAY });
    rig.sent();
    assert_eq!((rig.gateway.relay(), rig.counters().relay_changes), (Some(at(RELAY)), 0));
    // Later it stops, and says the same.
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    rig.answer(RELAY, *nonce, Say { limited: true, ..SAY });
    assert_eq!(rig.gateway.relay(), Some(at(OTHER)));
}

#[test]
fn a_silent_relay_is_left_if_asked_for_and_there_is_another() {
    let mut rig = Rig::with(Options { candidates: direct(&[RELAY, OTHER]), ecn: false, leave_silent: true });
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, Say { endpoint: Some("203.0.113.7:4000"), ..SAY });
    let begun = rig.now;
    let mut goodbye = Vec::new();
    let other = loop {
        match rig.next().unwrap().1 {
            sent if sent.iter().any(|(to, _)| *to == at(OTHER)) => break sent,
            sent => goodbye.extend(sent),
        }
    };
    assert_eq!(rig.now - begun, SECOND * 4);
    // The old one is told to stop.
    let lines =
        |sent: &[(SocketAddr, Sent)]| sent.iter().filter(|(to, _)| *to == at(RELAY)).cloned().collect::<Vec<_>>();
    goodbye.extend(lines(&other));
    assert!(goodbye.contains(&(at(RELAY), Sent::Update(1, vec!["To 232.1.2.3".into()]))), "{goodbye:?}");
    assert!(goodbye.contains(&(at(RELAY), Sent::Teardown(1, nonce, at("203.0.113.7:4000")))), "{goodbye:?}");
    // One that brings something stays.
    let Some((_, Sent::Request(_, nonce))) = other.iter().find(|(to, _)| *to == at(OTHER)) else { panic!("{other:?}") };
    rig.answer(OTHER, *nonce, SAY);
    assert!(rig.data(OTHER, &packet("192.0.2.1", GROUP, "here", 0)).is_some());
    rig.settle();
    let (_, sent) = rig.next().unwrap();
    let [(to, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    rig.answer(OTHER, *nonce, SAY);
    rig.now += SECOND * 100;
    rig.sent();
    assert_eq!((*to, rig.gateway.relay(), rig.counters().relay_changes), (at(OTHER), Some(at(OTHER)), 1));
}

#[test]
fn a_relay_on_the_link_is_on_the_link_of_the_one_that_was_asked() {
    let mut rig = Rig::new(asking(&["[fe80::1%3]:2268"]));
    rig.join(GROUP);
    let nonce = rig.discovery("[fe80::1%3]:2268");
    rig.advertise("[fe80::1%3]:2268", nonce, "fe80::2");
    assert_eq!(rig.gateway.relay(), Some(at("[fe80::2%3]:2268")));
}

#[test]
fn groups_that_come_and_go_without_a_relay_are_forgotten() {
    let mut rig = Rig::new(asking(&[RELAY]));
    rig.join(GROUP);
    for last in 0..100 {
        let group = format!("239.1.2.{last}");
        rig.join(&group);
        rig.leave(&group);
        rig.sent();
    }
    assert_eq!((rig.gateway.group_count(), rig.gateway.groups.known()), (1, 1));
}

#[test]
fn the_last_group_ends_the_looking() {
    let mut rig = Rig::new(asking(&[ASKED]));
    rig.join(GROUP);
    rig.discovery(ASKED);
    rig.leave(GROUP);
    assert_eq!((rig.next(), rig.gateway.state()), (None, State::Idle));
    rig.join(GROUP);
    rig.discovery(ASKED);
}

#[test]
fn the_anycast_addresses_are_asked_in_turn() {
    let mut rig = Rig::new(Candidate::anycast());
    rig.join(GROUP);
    rig.discovery("192.52.193.1:2268");
    rig.gateway.handle_unreachable(rig.now, at("192.52.193.1:2268"));
    rig.discovery("[2001:3::1]:2268");
}
