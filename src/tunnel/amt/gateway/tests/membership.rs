//! What the relay is told, and when.

use super::*;

fn update(mac: u8, lines: &[&str]) -> (SocketAddr, Sent) {
    (at(RELAY), Sent::Update(mac, lines.iter().map(|line| line.to_string()).collect()))
}

#[test]
fn what_is_joined_is_told_as_often_as_the_relay_wants() {
    for robustness in [1, 2, 7] {
        let mut rig = Rig::new(direct(&[RELAY]));
        rig.set(GROUP, Filter::only([ip("192.0.2.1")]));
        let nonce = rig.request(RELAY);
        rig.answer(RELAY, nonce, Say { robustness, ..SAY });
        // The relay's first word comes after the group was joined, so that twice is what counts then.
        assert_eq!(rig.settle().first(), Some(&update(1, &["Is 232.1.2.3 192.0.2.1"])));
        rig.join("232.1.2.4");
        let mut all = rig.sent();
        while let Some((_, sent)) = rig.next().filter(|(waited, _)| *waited <= SECOND) {
            all.extend(sent);
        }
        assert_eq!(all, vec![update(1, &["ToEx 232.1.2.4"]); robustness.into()]);
    }
}

#[test]
fn a_filter_that_changes_is_told() {
    let mut rig = Rig::active();
    for (filter, expected) in [
        (Filter::all_but([ip("192.0.2.9")]), "Block 232.1.2.3 192.0.2.9"),
        (Filter::any(), "Allow 232.1.2.3 192.0.2.9"),
        (Filter::only([ip("192.0.2.1")]), "To 232.1.2.3 192.0.2.1"),
        (Filter::all_but([ip("192.0.2.9")]), "ToEx 232.1.2.3 192.0.2.9"),
    ] {
        rig.set(GROUP, filter);
        assert_eq!(rig.settle(), vec![update(1, &[expected]); 2]);
    }
}

#[test]
fn a_group_that_is_left_is_told_so_in_the_old_way_too() {
    let mut rig = Rig::active();
    rig.leave(GROUP);
    let both = [update(1, &["To 232.1.2.3"]), update(1, &["Leave 232.1.2.3"])];
    assert_eq!(rig.settle(), [both.clone(), both].concat());
    assert_eq!(rig.gateway.state(), State::Idle);
    assert_eq!(rig.next(), None, "nothing more to refresh");
    // And it comes back with a Request, the old MAC serving meanwhile.
    rig.join(GROUP);
    let sent = rig.sent();
    assert!(matches!(sent[0].1, Sent::Request(0, _)), "{sent:?}");
    assert_eq!(sent[1..], [update(1, &["ToEx 232.1.2.3"])]);
}

#[test]
fn a_relay_that_speaks_as_the_rfc_says_isnt_told_in_the_old_way() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, Say { endpoint: Some("203.0.113.7:4000"), ..SAY });
    rig.settle();
    rig.leave(GROUP);
    assert_eq!(rig.settle(), vec![update(1, &["To 232.1.2.3"]); 2]);
}

#[test]
fn the_relay_is_asked_again_when_it_says() {
    for interval in [1, 20, 125, 31_744] {
        let mut rig = Rig::new(direct(&[RELAY]));
        rig.join(GROUP);
        let first = rig.request(RELAY);
        rig.answer(RELAY, first, Say { interval, robustness: 1, ..SAY });
        rig.sent();
        let begun = rig.now;
        let request = loop {
            match rig.next().unwrap().1.as_slice() {
                [(_, Sent::Request(0, nonce))] => break *nonce,
                [(_, Sent::Update(..))] => {}
                [(_, Sent::Update(..)), (_, Sent::Request(0, nonce))] => break *nonce,
                [(_, Sent::Request(0, nonce)), (_, Sent::Update(..))] => break *nonce,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((rig.now - begun, request == first), (Duration::from_secs(interval), false));
        rig.answer(RELAY, request, Say { mac: 9, ..SAY });
        assert_eq!(rig.sent(), [update(9, &["IsEx 232.1.2.3"])]);
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_nonce() {
    let mut rig = Rig::active();
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    // What it wants is told, too, in case that its questions don't arrive and its reports do.
    let again = (at(RELAY), Sent::Request(0, *nonce));
    assert_eq!(rig.next().unwrap().1, [update(1, &["IsEx 232.1.2.3"]), again]);
    // Meanwhile everything goes on.
    assert_eq!(rig.gateway.state(), State::Active);
    assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "here", 0)).is_some());
    rig.join("232.9.9.9");
    assert_eq!(rig.sent(), [update(1, &["ToEx 232.9.9.9"])]);
    rig.answer(RELAY, *nonce, Say { mac: 2, ..SAY });
    // Both Requests were answered: the second answer says nothing new.
    rig.answer(RELAY, *nonce, Say { mac: 2, ..SAY });
    assert_eq!(rig.counters().unasked, 1);
    assert_eq!(rig.settle()[0], update(2, &["IsEx 232.1.2.3", "IsEx 232.9.9.9"]));
}

/// The relay may know Requests of its gateways from forged ones by a nonce that it has seen an Update with.
#[test]
fn a_question_without_an_answer_has_the_nonce_of_the_last_query() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let proved = rig.request(RELAY);
    rig.answer(RELAY, proved, Say { endpoint: Some("203.0.113.7:4000"), ..SAY });
    rig.settle();
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, fresh))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_ne!(*fresh, proved);
    let expected = [update(1, &["IsEx 232.1.2.3"]), (at(RELAY), Sent::Request(0, proved))];
    assert_eq!(rig.next().unwrap().1, expected);
    // Either may be answered.
    rig.answer(RELAY, *fresh, Say { mac: 2, endpoint: Some("203.0.113.7:4000"), ..SAY });
    assert_eq!(rig.sent(), [update(2, &["IsEx 232.1.2.3"])]);
    let next = loop {
        if let [(_, Sent::Update(2, _)), (_, Sent::Request(0, nonce))] = rig.next().unwrap().1.as_slice() {
            break *nonce;
        }
    };
    assert_eq!(next, *fresh);
    rig.answer(RELAY, proved, SAY);
    assert_eq!((rig.sent().len(), rig.counters().unasked), (0, 1), "that one is over");
    rig.answer(RELAY, next, Say { mac: 3, endpoint: Some("203.0.113.7:4000"), ..SAY });
    assert_eq!(rig.sent(), [update(3, &["IsEx 232.1.2.3"])]);
}

#[test]
fn a_relay_that_brings_data_isnt_left_for_want_of_answers() {
    for says_gone in [false, true] {
        let mut rig = Rig::new(direct(&[RELAY, OTHER]));
        rig.join(GROUP);
        let nonce = rig.request(RELAY);
        rig.answer(RELAY, nonce, Say { interval: 20, robustness: 1, ..SAY });
        rig.settle();
        // The tunnel lives for 30 seconds after an Update.
        let mut told = rig.now;
        for _ in 0..600 {
            assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "here", 0)).is_some());
            if says_gone {
                rig.gateway.handle_unreachable(rig.now, at(RELAY));
            }
            if rig.settle().contains(&update(1, &["IsEx 232.1.2.3"])) {
                told = rig.now;
            }
            assert!(rig.now - told < Duration::from_secs(30));
            assert_eq!((rig.gateway.relay(), rig.gateway.state()), (Some(at(RELAY)), State::Active));
        }
        (0..60).for_each(|_| drop(rig.settle()));
        assert_eq!(rig.gateway.relay(), Some(at(OTHER)), "nor answers nor data");
    }
}

#[test]
fn a_relay_that_dies_and_returns_is_told_everything() {
    let mut rig = Rig::active();
    let nonce = loop {
        let (_, sent) = rig.next().unwrap();
        let Some((_, Sent::Request(0, nonce))) = sent.last() else { panic!("{sent:?}") };
        if rig.gateway.state() == State::Failed {
            break *nonce;
        }
    };
    rig.answer(RELAY, nonce, Say { mac: 5, ..SAY });
    assert_eq!(rig.settle(), [update(5, &["IsEx 232.1.2.3"]), update(5, &["ToEx 232.1.2.3"])]);
}

#[test]
fn both_families_ask_with_one_nonce() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    rig.join(GROUP6);
    let sent = rig.sent();
    let [(_, Sent::Request(0, nonce)), (_, Sent::Request(1, other))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(nonce, other);
    rig.answer_for(true, RELAY, *nonce, SAY);
    rig.answer(RELAY, *nonce, SAY);
    assert_eq!(rig.sent(), [update(1, &["IsEx ff3e::1234"]), update(1, &["IsEx 232.1.2.3"])]);
}

#[test]
fn a_family_that_comes_before_the_answer_is_asked_for_in_the_same_way() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.join(GROUP6);
    assert_eq!(rig.sent(), [(at(RELAY), Sent::Request(1, nonce))], "the other isn't asked again");
    rig.answer(RELAY, nonce, SAY);
    rig.answer_for(true, RELAY, nonce, SAY);
    assert_eq!(rig.sent(), [update(1, &["IsEx 232.1.2.3"]), update(1, &["IsEx ff3e::1234"])]);
    // Both are asked again if neither has answered.
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.join(GROUP6);
    rig.sent();
    for flag in [0x01, 0x80, 0x80, 0x01] {
        let (_, sent) = rig.next().unwrap();
        assert_eq!(sent, [(at(RELAY), Sent::Request(0, nonce)), (at(RELAY), Sent::Request(flag, nonce))]);
    }
}

#[test]
fn a_family_that_comes_later_is_asked_for_at_once() {
    let mut rig = Rig::active();
    rig.join(GROUP6);
    let sent = rig.sent();
    let [(_, Sent::Request(0, one)), (_, Sent::Request(1, two))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(one, two);
    rig.answer_for(true, RELAY, *two, SAY);
    assert_eq!(rig.sent(), [update(1, &["IsEx ff3e::1234"])]);
}

#[test]
fn a_linux_relay_is_found_by_its_own_flags() {
    let mut rig = Rig::with(Options { candidates: direct(&[RELAY]), ecn: true, leave_silent: false });
    rig.join(GROUP6);
    let mut flags = Vec::new();
    let nonce = loop {
        let (_, sent) = rig.next().unwrap();
        let [(_, Sent::Request(flag, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
        flags.push(*flag);
        if *flag == 0x80 {
            break *nonce;
        }
    };
    assert_eq!(flags, [0x03, 0x03, 0x80], "a question that is lost doesn't tell");
    rig.answer_for(true, RELAY, nonce, SAY);
    rig.settle();
    // From now on it is asked in this way from the beginning.
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0x80, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    // Until another relay stands there.
    let mut flags = vec![0x80];
    while flags.len() < 4 {
        if let [(_, Sent::Request(flag, again))] = rig.next().unwrap().1.as_slice() {
            assert_eq!(again, nonce);
            flags.push(*flag);
        }
    }
    assert_eq!(flags, [0x80, 0x80, 0x03, 0x03]);
    rig.leave(GROUP6);
}

#[test]
fn a_relay_without_mld_serves_ipv4_all_the_same() {
    let mut rig = Rig::new(direct(&[RELAY, OTHER]));
    rig.join(GROUP);
    rig.join(GROUP6);
    let sent = rig.sent();
    let [(_, Sent::Request(0, nonce)), _] = sent.as_slice() else { panic!("{sent:?}") };
    rig.answer(RELAY, *nonce, SAY);
    let begun = rig.now;
    let mut flags = Vec::new();
    loop {
        let (_, sent) = rig.next().unwrap();
        let requests: Vec<_> = sent
            .iter()
            .filter_map(|(_, one)| if let Sent::Request(flag, _) = one { Some(*flag) } else { None })
            .collect();
        if requests.len() == 2 {
            break;
        }
        flags.extend(requests);
    }
    assert_eq!(flags, [0x01, 0x80, 0x80]);
    assert_eq!((rig.now - begun, rig.gateway.relay()), (SECOND * 125, Some(at(RELAY))));
}

#[test]
fn a_gateway_that_moves_ends_its_old_tunnel() {
    for dialect in [Dialect::Rfc, Dialect::Linux] {
        let say = Say { endpoint: Some("203.0.113.7:4000"), dialect, ..SAY };
        let mut rig = Rig::new(direct(&[RELAY]));
        rig.join(GROUP);
        let old = rig.request(RELAY);
        rig.answer(RELAY, old, say);
        rig.settle();
        let (_, sent) = rig.next().unwrap();
        let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
        rig.answer(RELAY, *nonce, Say { mac: 2, endpoint: Some("203.0.113.7:4001"), ..say });
        let teardown = (at(RELAY), Sent::Teardown(1, old, at("203.0.113.7:4000")));
        let sent = rig.settle();
        assert_eq!(sent.iter().filter(|one| **one == teardown).count(), 2, "{sent:?}");
        assert_eq!(sent.iter().filter(|one| matches!(one.1, Sent::Update(2, _))).count(), 2, "{sent:?}");
        // Where it stays nothing is torn down.
        let (_, sent) = rig.next().unwrap();
        let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
        rig.answer(RELAY, *nonce, Say { mac: 3, endpoint: Some("203.0.113.7:4001"), ..say });
        assert_eq!(rig.settle(), [update(3, &["IsEx 232.1.2.3"])]);
    }
}

#[test]
fn closing_leaves_and_tears_down() {
    let mut rig = Rig::new(direct(&[RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, Say { endpoint: Some("203.0.113.7:4000"), ..SAY });
    rig.settle();
    rig.gateway.close();
    let teardown = (at(RELAY), Sent::Teardown(1, nonce, at("203.0.113.7:4000")));
    assert_eq!(rig.sent(), [update(1, &["To 232.1.2.3"]), teardown.clone(), teardown]);
    assert_eq!((rig.next(), rig.gateway.group_count()), (None, 0));
}

#[test]
fn nothing_is_waited_for_after_closing() {
    let mut rig = Rig::with(Options { candidates: direct(&[RELAY, OTHER]), ecn: false, leave_silent: true });
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    rig.settle();
    assert!(rig.gateway.timeout().is_some_and(|next| next < rig.now + SECOND * 4), "for traffic");
    rig.gateway.close();
    rig.sent();
    assert_eq!(rig.gateway.timeout(), None);
}

#[test]
fn a_gateway_that_closes_before_it_has_a_relay_wants_nothing_more() {
    for candidates in [asking(&[RELAY]), direct(&[RELAY]), vec![]] {
        let mut rig = Rig::new(candidates);
        rig.join(GROUP);
        rig.sent();
        rig.gateway.close();
        assert_eq!((rig.gateway.group_count(), rig.gateway.state(), rig.next()), (0, State::Idle, None));
    }
}

#[test]
fn a_network_that_says_unreachable_makes_the_gateway_ask() {
    let mut rig = Rig::active();
    rig.now += SECOND * 20;
    rig.gateway.handle_unreachable(rig.now, at(RELAY));
    let nonce = rig.request(RELAY);
    assert_eq!(rig.gateway.state(), State::Active, "anybody can say so");
    rig.answer(RELAY, nonce, SAY);
    rig.settle();
    // Not for each that comes.
    for _ in 0..50 {
        rig.gateway.handle_unreachable(rig.now, at(RELAY));
        assert_eq!(rig.sent(), []);
    }
}

#[test]
fn a_relay_that_the_network_says_is_gone_isnt_waited_for_as_long() {
    for (says_so, expected) in [(true, 2), (false, 4)] {
        let mut rig = Rig::new(direct(&[RELAY, OTHER]));
        rig.join(GROUP);
        let nonce = rig.request(RELAY);
        rig.answer(RELAY, nonce, SAY);
        rig.settle();
        let mut asked = 0;
        while let Some((to, Sent::Request(..))) = rig.next().unwrap().1.last() {
            if *to == at(OTHER) {
                break;
            }
            asked += 1;
            if says_so {
                rig.gateway.handle_unreachable(rig.now, at(RELAY));
            }
        }
        assert_eq!((asked, rig.gateway.relay()), (expected, Some(at(OTHER))));
    }
    // One that answers all the same stays, and is waited for as ever.
    let mut rig = Rig::new(direct(&[RELAY, OTHER]));
    rig.join(GROUP);
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    for _ in 0..3 {
        rig.settle();
        let (_, sent) = rig.next().unwrap();
        let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
        rig.gateway.handle_unreachable(rig.now, at(RELAY));
        rig.answer(RELAY, *nonce, SAY);
    }
    assert_eq!((rig.counters().relay_changes, rig.gateway.relay()), (0, Some(at(RELAY))));
}

#[test]
fn many_groups_are_told_in_as_few_reports_as_it_takes() {
    let mut rig = Rig::new(direct(&[RELAY]));
    for number in 0..1000 {
        rig.join(&format!("232.1.{}.{}", number / 250, number % 250));
    }
    let nonce = rig.request(RELAY);
    rig.answer(RELAY, nonce, SAY);
    let sent = rig.sent();
    let lines: usize = sent.iter().map(|(_, one)| if let Sent::Update(_, lines) = one { lines.len() } else { 0 }).sum();
    assert_eq!((lines, sent.len()), (1000, 1000_usize.div_ceil((1400 - 24 - 8) / 8)));
}

#[test]
fn a_new_relay_is_told_everything_as_often_as_the_first() {
    let mut rig = Rig::new(direct(&[OTHER, RELAY]));
    rig.join(GROUP);
    let nonce = rig.request(OTHER);
    rig.answer(OTHER, nonce, SAY);
    rig.settle();
    rig.leave("232.9.9.9");
    // The first one dies.
    let nonce = loop {
        let (_, sent) = rig.next().unwrap();
        match sent.iter().find(|(to, _)| *to == at(RELAY)) {
            Some((_, Sent::Request(0, nonce))) => break *nonce,
            _ => assert!(sent.iter().all(|(to, _)| *to == at(OTHER))),
        }
    };
    assert_eq!(rig.gateway.state(), State::Requesting);
    rig.answer(RELAY, nonce, Say { mac: 4, ..SAY });
    assert_eq!(rig.settle(), [update(4, &["IsEx 232.1.2.3"]), update(4, &["ToEx 232.1.2.3"])]);
}

#[test]
fn a_gateway_that_moves_away_from_a_full_relay_needs_another() {
    let mut rig = Rig::new(direct(&[OTHER, RELAY]));
    let say = Say { endpoint: Some("203.0.113.7:4000"), ..SAY };
    rig.join(GROUP);
    let nonce = rig.request(OTHER);
    rig.answer(OTHER, nonce, say);
    rig.settle();
    let (_, sent) = rig.next().unwrap();
    let [(_, Sent::Request(0, nonce))] = sent.as_slice() else { panic!("{sent:?}") };
    rig.answer(OTHER, *nonce, Say { limited: true, endpoint: Some("203.0.113.7:4001"), ..say });
    // If the relay still sends to the old place, it is to stop.
    let sent = rig.sent();
    assert!(sent.iter().any(|(to, one)| *to == at(OTHER) && matches!(one, Sent::Teardown(1, ..))), "{sent:?}");
    assert!(matches!(sent.last(), Some((to, Sent::Request(0, _))) if *to == at(RELAY)), "{sent:?}");
}

#[test]
fn after_a_leave_the_relay_may_have_room_for_groups_of_which_nothing_came() {
    let mut rig = Rig::active();
    rig.join("232.1.2.4");
    rig.settle();
    assert_eq!(rig.gateway.silent_group_count(), 2);
    assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "here", 0)).is_some());
    assert_eq!(rig.gateway.silent_group_count(), 1);
    rig.leave(GROUP);
    rig.settle();
    let (_, sent) = rig.next().unwrap();
    assert_eq!(sent, [(at(RELAY), Sent::Update(1, vec!["IsEx 232.1.2.4".into()]))]);
    // Not where all bring something.
    assert!(rig.data(RELAY, &packet("192.0.2.1", "232.1.2.4", "here", 0)).is_some());
    rig.join(GROUP);
    assert!(rig.data(RELAY, &packet("192.0.2.1", GROUP, "here", 0)).is_some());
    rig.leave(GROUP);
    rig.settle();
    assert_eq!(rig.gateway.silent_group_count(), 0);
    let told = |sent: &[(SocketAddr, Sent)]| sent.iter().any(|(_, one)| matches!(one, Sent::Update(..)));
    assert!(!rig.next().is_some_and(|(waited, sent)| waited < SECOND * 4 && told(&sent)));
}
