//! What is joined upstream: the union of what tunnels want.

use super::*;

#[test]
fn a_source_is_joined_once_and_left_with_the_last() {
    let mut world = World::new(Settings::default());
    world.report("198.51.100.1:1", ModeIsInclude, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.changes(), ["+232.1.2.3 10.0.0.1", "+232.1.2.3 10.0.0.2"]);
    world.report("198.51.100.2:1", ModeIsInclude, "232.1.2.3", &["10.0.0.2", "10.0.0.3"]);
    assert_eq!(world.changes(), ["+232.1.2.3 10.0.0.3"]);
    world.report("198.51.100.1:1", BlockOldSources, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.changes(), ["-232.1.2.3 10.0.0.1"]);
    world.report("198.51.100.2:1", ChangeToInclude, "232.1.2.3", &[]);
    assert_eq!(world.changes(), ["-232.1.2.3 10.0.0.2", "-232.1.2.3 10.0.0.3"]);
    assert_eq!(world.relay.group_count(), 0);
}

#[test]
fn whole_before_sources_go_and_back() {
    let mut world = World::new(Settings::default());
    world.report("198.51.100.1:1", ModeIsInclude, "239.1.2.3", &["10.0.0.1"]);
    world.changes();
    world.report("198.51.100.2:1", ModeIsExclude, "239.1.2.3", &["10.0.0.1"]);
    assert_eq!(world.changes(), ["+239.1.2.3", "-239.1.2.3 10.0.0.1"], "no gap between");
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), ["198.51.100.1:1"]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.9"), ["198.51.100.2:1"]);
    world.report("198.51.100.2:1", ChangeToInclude, "239.1.2.3", &[]);
    assert_eq!(world.changes(), ["+239.1.2.3 10.0.0.1", "-239.1.2.3"]);
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), ["198.51.100.1:1"]);
}

#[test]
fn groups_that_may_not_be_forwarded() {
    let mut world = World::new(Settings::default());
    for group in ["224.0.0.9", "ff02::9", "ff01::9", "ff12::9"] {
        world.report("198.51.100.1:1", ModeIsExclude, group, &[]);
        assert!(world.destinations(group, "10.0.0.1").is_empty());
    }
    assert_eq!((world.counters().refused_scope, world.relay.tunnel_count()), (4, 0));
    // RFC 4604: one for joining by source isn't joined whole.
    world.report("198.51.100.1:1", ModeIsExclude, "232.1.2.3", &[]);
    world.report("198.51.100.1:1", ModeIsExclude, "ff3e::9", &[]);
    assert_eq!((world.counters().refused_scope, world.changes().len()), (6, 0));
}

/// Says this in an Update.
fn say(world: &mut World, from: &str, packet: &[u8]) {
    let answer = world.request(from, false, Dialect::Rfc, 7).unwrap();
    let message = Message::MembershipUpdate { mac: answer.mac, nonce: answer.nonce, packet };
    world.say(from, Dialect::Rfc, &message);
}

#[test]
fn older_versions_say_nothing_of_groups_by_source() {
    let mut world = World::new(Settings::default());
    let (from, none) = ("198.51.100.1:1", ip("0.0.0.0"));
    world.report(from, ModeIsInclude, "232.1.2.3", &["10.0.0.1"]);
    world.changes();
    // RFC 4604, section 3.7: a leave of an older version; and 3.5: a report.
    say(&mut world, from, &listener::build_leave(Version::Igmp2, none, ip("232.1.2.3")).unwrap());
    say(&mut world, from, &listener::build_leave(Version::Mld1, ip("fe80::7"), ip("ff3e::9")).unwrap());
    say(&mut world, from, &listener::build_join(Version::Igmp2, none, ip("232.1.2.4")).unwrap());
    assert_eq!((world.changes().len(), world.counters().refused_scope), (0, 3));
    assert_eq!(world.destinations("232.1.2.3", "10.0.0.1"), [from]);
    // Of others they do.
    say(&mut world, from, &listener::build_join(Version::Igmp2, none, ip("239.1.2.3")).unwrap());
    assert_eq!(world.changes(), ["+239.1.2.3"]);
    say(&mut world, from, &listener::build_leave(Version::Igmp2, none, ip("239.1.2.3")).unwrap());
    assert_eq!(world.changes(), ["-239.1.2.3"]);
}

#[test]
fn version_1_joins_and_does_not_leave() {
    let mut world = World::new(Settings::default());
    for group in ["239.1.2.3", "232.1.2.3"] {
        let report = listener::build_join(Version::Igmp1, ip("0.0.0.0"), ip(group)).unwrap();
        say(&mut world, "198.51.100.1:1", &report);
    }
    assert_eq!((world.changes(), world.counters().refused_scope), (vec!["+239.1.2.3".to_owned()], 1));
    assert_eq!(world.destinations("239.1.2.3", "10.0.0.1"), ["198.51.100.1:1"]);
    world.pass(300.0);
    assert_eq!((world.changes(), world.counters().dropped_report), (vec!["-239.1.2.3".to_owned()], 0));
}

#[test]
fn reports_of_gateways_that_are_less_exact() {
    let mut world = World::new(Settings::default());
    let records = [Record { kind: ModeIsExclude, group: ip("239.1.2.3"), sources: Sources::NONE }];
    let mut packets = Vec::new();
    listener::build_report(ip("0.0.0.0"), &records, 1400, &mut packets).unwrap();
    // Without the router alert, to all hosts, with the usual TTL.
    let change: [(usize, &[u8]); 3] = [(20, &[0; 4]), (16, &[224, 0, 0, 1]), (8, &[64])];
    for (number, (at, bytes)) in change.into_iter().enumerate() {
        let mut packet = packets[0].clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet[10..12].fill(0);
        let sum = crate::tunnel::ip::checksum::Checksum::new().with(&packet[..24]).value();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        say(&mut world, &format!("198.51.100.{}:1", number + 1), &packet);
        assert_eq!(world.relay.tunnel_count(), number + 1);
    }
    assert_eq!((world.changes().len(), world.counters().dropped_report), (1, 0));
}

#[test]
fn as_many_as_the_limits_allow() {
    let settings = Settings {
        groups: 3,
        sources: 2,
        channels: 4,
        groups_per_address: 4,
        answers_per_second: 0,
        ..Settings::default()
    };
    let mut world = World::new(settings);
    for last in 1..=5 {
        world.report("198.51.100.1:1", ModeIsExclude, &format!("239.1.2.{last}"), &[]);
    }
    assert_eq!((world.relay.group_count(), world.counters().refused_groups), (3, 2));
    // The others may still take what there is, and one more.
    world.report("198.51.100.2:1", ModeIsExclude, "239.1.2.1", &[]);
    world.report("198.51.100.2:1", ModeIsExclude, "239.1.2.8", &[]);
    world.report("198.51.100.2:1", ModeIsExclude, "239.1.2.9", &[]);
    assert_eq!((world.relay.group_count(), world.counters().refused_groups), (4, 3));
    world.changes();
    world.report("198.51.100.1:1", ChangeToInclude, "239.1.2.3", &[]);
    world.report("198.51.100.1:1", ModeIsInclude, "232.1.2.3", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(world.counters().refused_sources, 1);
    assert_eq!(world.changes(), ["-239.1.2.3", "+232.1.2.3 10.0.0.1", "+232.1.2.3 10.0.0.2"]);
}

#[test]
fn one_address_doesnt_take_all_groups() {
    for (mine, other) in [("198.51.100.1", "198.51.100.2"), ("[2001:db8::1]", "[2001:db8:0:1::1]")] {
        let mut world = World::new(Settings { groups: 8, channels: 32, answers_per_second: 0, ..Settings::default() });
        let groups = |world: &World| world.relay.group_count();
        for number in 0..40 {
            world.report(&format!("{mine}:{}", 1 + number / 5), ModeIsExclude, &format!("239.1.2.{number}"), &[]);
        }
        assert_eq!((groups(&world), world.counters().refused_address), (8, 32), "a quarter: what a tunnel may have");
        world.report(&format!("{other}:1"), ModeIsExclude, "239.1.3.1", &[]);
        assert_eq!((groups(&world), world.destinations("239.1.3.1", "10.0.0.1").len()), (9, 1));
        // What is left, or ends with its tunnel, makes room.
        world.report(&format!("{mine}:1"), ChangeToInclude, "239.1.2.0", &[]);
        world.report(&format!("{mine}:2"), ModeIsExclude, "239.1.4.0", &[]);
        world.report(&format!("{mine}:2"), ModeIsExclude, "239.1.4.1", &[]);
        assert_eq!((groups(&world), world.counters().refused_address), (9, 33));
        world.pass(300.0);
        assert_eq!(groups(&world), 0);
        for number in 0..9 {
            world.report(&format!("{mine}:{}", 1 + number), ModeIsExclude, &format!("239.1.2.{number}"), &[]);
        }
        assert_eq!((groups(&world), world.counters().refused_address), (8, 34));
    }
}

#[test]
fn one_address_doesnt_take_all_sources() {
    let settings = Settings { entries_per_address: 6, answers_per_second: 0, ..Settings::default() };
    let mut world = World::new(settings);
    let (one, same, other) = ("198.51.100.1:1", "198.51.100.1:2", "198.51.100.2:1");
    let sources = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    world.report(one, ModeIsInclude, "232.1.2.3", &sources);
    world.report(same, ModeIsInclude, "232.1.2.3", &sources);
    world.report(same, ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!((world.counters().refused_sources, world.counters().refused_address), (2, 1));
    world.report(other, ModeIsInclude, "232.1.2.3", &sources);
    assert_eq!(world.destinations("232.1.2.3", "10.0.0.3"), [one, other]);
    // Sources that aren't repeated make room, too.
    world.pass(200.0);
    world.report(one, ModeIsInclude, "232.1.2.3", &sources[..1]);
    world.report(same, ModeIsInclude, "232.1.2.3", &sources[..1]);
    world.pass(100.0);
    world.report(same, ModeIsInclude, "232.1.2.3", &sources);
    assert_eq!((world.destinations("232.1.2.3", "10.0.0.3"), world.counters().refused_sources), (vec![same.into()], 2));
    world.report(same, ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!(world.counters().refused_address, 2);
}

#[test]
fn so_many_records_in_a_second_from_an_address() {
    let mut world = World::new(Settings { records_per_second: 10, answers_per_second: 0, ..Settings::default() });
    let record = |kind| Record { kind, group: ip("239.1.2.3"), sources: Sources::NONE };
    let flips: Vec<_> = (0..150).map(|number| record([ChangeToExclude, ChangeToInclude][number % 2])).collect();
    let answer = world.request("198.51.100.1:1", false, Dialect::Rfc, 7).unwrap();
    world.update("198.51.100.1:1", &answer, &flips);
    assert_eq!(world.counters().dropped_records, 150 - 80);
    world.report("198.51.100.1:2", ModeIsExclude, "239.1.2.4", &[]);
    assert_eq!((world.counters().dropped_records, world.relay.group_count()), (150 - 80 + 1, 0), "a port doesn't help");
    world.report("198.51.100.2:1", ModeIsExclude, "239.1.2.4", &[]);
    assert_eq!(world.destinations("239.1.2.4", "10.0.0.1"), ["198.51.100.2:1"], "others have theirs");
    // Nor does a tunnel that is opened anew.
    let (mac, gateway) = (answer.mac, answer.gateway.unwrap());
    world.say("198.51.100.1:1", Dialect::Rfc, &Message::Teardown { mac, nonce: answer.nonce, gateway });
    world.pass(1.0);
    world.update("198.51.100.1:1", &answer, &flips);
    assert_eq!(world.counters().dropped_records, 150 - 80 + 1 + 140);
    world.pass(8.0);
    world.report("198.51.100.1:2", ModeIsExclude, "239.1.2.5", &[]);
    assert_eq!(world.destinations("239.1.2.5", "10.0.0.1"), ["198.51.100.1:2"]);
}

#[test]
fn memory_has_an_end_for_all_together() {
    let mut world =
        World::new(Settings { entries: 6, entries_per_address: 6, answers_per_second: 0, ..Settings::default() });
    let held = |world: &World| world.relay.channels.held();
    let (one, other) = ("198.51.100.1:1", "198.51.100.2:1");
    world.report(one, ModeIsInclude, "232.1.2.3", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    // A group and one more source is all that there is room for.
    world.report(other, ModeIsInclude, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]);
    world.report(other, ModeIsExclude, "239.1.2.3", &[]);
    assert_eq!((held(&world), world.counters().refused_sources, world.counters().refused_groups), (6, 1, 1));
    assert_eq!(world.destinations("232.1.2.3", "10.0.0.1"), [one, other]);
    assert_eq!(world.destinations("232.1.2.3", "10.0.0.2"), [one]);
    // What is left, runs out, or ends makes room.
    world.report(one, BlockOldSources, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(held(&world), 4);
    world.report(other, ModeIsInclude, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!((held(&world), world.destinations("232.1.2.3", "10.0.0.2")), (5, vec![other.to_owned()]));
    world.pass(200.0);
    world.report(other, ModeIsInclude, "232.1.2.3", &["10.0.0.1"]);
    world.pass(100.0);
    assert_eq!((held(&world), world.relay.tunnel_count()), (2, 1));
    world.report(one, ModeIsExclude, "239.1.2.3", &["10.0.0.4"]);
    assert_eq!(held(&world), 4);
    world.report(one, ChangeToInclude, "239.1.2.3", &[]);
    assert_eq!(held(&world), 2);
    world.pass(600.0);
    assert_eq!(held(&world), 0);
}

/// A few bytes that change the mind of many take no more room than those many.
#[test]
fn a_group_wanted_whole_and_not_and_again_in_one_report() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    for number in 0..50 {
        let sources: Vec<String> = (0..60).map(|last| format!("10.0.{number}.{last}")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        world.report(&format!("198.51.100.{number}:1"), ModeIsInclude, "239.1.2.3", &sources);
    }
    let mut joined = std::collections::BTreeSet::new();
    follow(&mut world, &mut joined);
    assert_eq!(joined.len(), 3000);
    let answer = world.request("198.51.100.99:1", false, Dialect::Rfc, 7).unwrap();
    let record = |kind| Record { kind, group: ip("239.1.2.3"), sources: Sources::NONE };
    let flips: Vec<_> = (0..150).map(|number| record([ChangeToExclude, ChangeToInclude][number % 2])).collect();
    for last in [ChangeToInclude, ChangeToExclude] {
        for _ in 0..10 {
            world.update("198.51.100.99:1", &answer, &flips);
        }
        world.update("198.51.100.99:1", &answer, &[record(last)]);
        assert_eq!(world.relay.channels.waiting(), 1, "the channel waits once");
        follow(&mut world, &mut joined);
        assert_eq!(joined, wanted(&world));
    }
    assert_eq!(joined.len(), 1);
    world.pass(600.0);
    follow(&mut world, &mut joined);
    assert!(joined.is_empty());
}

/// Random reports: what is joined is the union of what is wanted, always, and nothing is left over.
#[test]
fn the_union_holds_whatever_happens() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    let (mut joined, mut state) = (std::collections::BTreeSet::new(), 1_u64);
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % limit
    };
    let kinds = [ModeIsInclude, ModeIsExclude, ChangeToInclude, ChangeToExclude, AllowNewSources, BlockOldSources];
    for step in 0..6000 {
        let (gateway, group) = (format!("198.51.100.{}:1", random(8)), format!("239.1.2.{}", random(4)));
        let sources: Vec<String> = (0..random(3)).map(|_| format!("10.0.0.{}", random(4))).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        if random(20) == 0 {
            world.pass(random(150) as f64);
        }
        // Linux's share of answers has to come back.
        world.pass(1.0);
        world.report(&gateway, kinds[random(6) as usize], &group, &sources);
        follow(&mut world, &mut joined);
        assert_eq!(joined, wanted(&world), "{step}");
        let members = world.relay.channels().flat_map(Channel::members);
        let counted: usize = members.map(|member| 1 + member.filter.len()).sum();
        assert_eq!(world.relay.channels.held(), counted, "{step}");
        let groups = world.relay.channels().map(|channel| channel.members().len()).sum();
        assert_eq!(world.relay.tunnels.shared(), (groups, counted), "{step}");
    }
    world.pass(600.0);
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (0, 0));
    follow(&mut world, &mut joined);
    assert!(joined.is_empty());
}

/// A join that a leave follows before anything is done upstream costs nothing there, nor the reverse.
#[test]
fn what_is_taken_back_in_time_costs_nothing() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    let gateway = "198.51.100.1:1";
    for (kind, sources) in [(ChangeToExclude, &[][..]), (ChangeToInclude, &["10.0.0.1"])] {
        let group = if sources.is_empty() { "239.1.2.3" } else { "232.1.2.3" };
        world.report(gateway, kind, group, sources);
        world.report(gateway, ChangeToInclude, group, &[]);
        assert!(world.changes().is_empty(), "joined and left");
        world.report(gateway, kind, group, sources);
        assert_eq!(world.changes().len(), 1);
        world.report(gateway, ChangeToInclude, group, &[]);
        assert_eq!(world.relay.group_count(), 0, "nobody wants it");
        world.report(gateway, kind, group, sources);
        assert!(world.changes().is_empty(), "left and joined");
        world.report(gateway, ChangeToInclude, group, &[]);
        assert_eq!(world.changes().len(), 1);
    }
}

/// The same looked at now and then only.
#[test]
fn the_union_holds_however_late_it_is_looked_at() {
    let mut world = World::new(Settings { answers_per_second: 0, ..Settings::default() });
    let (mut joined, mut state) = (std::collections::BTreeSet::new(), 1_u64);
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % limit
    };
    let kinds = [ModeIsInclude, ModeIsExclude, ChangeToInclude, ChangeToExclude, AllowNewSources, BlockOldSources];
    for round in 0..100 {
        let answer = world.request("198.51.100.99:1", false, Dialect::Rfc, 7).unwrap();
        let record = |kind| Record { kind, group: ip("239.9.9.9"), sources: Sources::NONE };
        let flips: Vec<_> = (0..150).map(|number| record([ChangeToExclude, ChangeToInclude][number % 2])).collect();
        (0..7).for_each(|_| world.update("198.51.100.99:1", &answer, &flips));
        for _ in 0..random(40) {
            let (gateway, group) = (format!("198.51.100.{}:1", random(8)), format!("239.1.2.{}", random(4)));
            let sources: Vec<String> = (0..random(3)).map(|_| format!("10.0.0.{}", random(4))).collect();
            let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
            if random(20) == 0 {
                world.pass(random(300) as f64);
            }
            world.pass(1.0);
            world.report(&gateway, kinds[random(6) as usize], &group, &sources);
        }
        assert!(world.relay.channels.waiting() <= 5, "each channel waits once");
        follow(&mut world, &mut joined);
        assert_eq!(joined, wanted(&world), "{round}");
    }
    world.pass(600.0);
    follow(&mut world, &mut joined);
    assert!(joined.is_empty());
}

fn follow(world: &mut World, joined: &mut std::collections::BTreeSet<String>) {
    for change in world.changes() {
        let (sign, what) = change.split_at(1);
        let is_new = if sign == "+" { joined.insert(what.to_owned()) } else { joined.remove(what) };
        assert!(is_new, "{change}");
    }
}

fn wanted(world: &World) -> std::collections::BTreeSet<String> {
    let mut wanted = std::collections::BTreeSet::new();
    for group in world.relay.channels().map(|channel| channel.group) {
        let filters: Vec<_> = (world.relay.tunnels())
            .flat_map(|tunnel| world.relay.groups_of(tunnel))
            .filter(|(its, _)| *its == group)
            .map(|(_, member)| &member.filter)
            .collect();
        let channel = world.relay.channels().find(|channel| channel.group == group).unwrap();
        assert_eq!(filters.len(), channel.members().len(), "each member is where its tunnel thinks");
        if filters.iter().any(|filter| filter.is_open()) {
            wanted.insert(group.to_string());
        } else {
            wanted
                .extend(filters.iter().flat_map(|filter| filter.included()).map(|source| format!("{group} {source}")));
        }
    }
    wanted
}
