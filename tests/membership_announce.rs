//! Memberships that are kept: what is said on the wire when they are announced anew, by reports of the
//! library's own and without the privilege for them.

mod support;

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use castio::multicast::manager::Manager;
use castio::multicast::manager::selector::of_text;
use castio::multicast::manager::wish::Key;
use castio::tunnel::listener::{Kind, Version};
use support::announce::{Said, announced, announcer, is_leave, newest, own_address, reports_in, whole};
use support::face::text;
use support::hosts;
use support::pair::{JOIN, Pair, leave_by, shared};
use support::tunnels::without_privilege;
use support::udp::{FAMILIES, Family, Udp};

/// More groups than a packet holds, whole and by source; another socket of the host holds all of them.
#[test]
fn what_is_joined_is_said_in_few_packets_whoever_else_holds_it() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (watch, host) = (pair.watch("eth0"), own_address(&pair, family));
            let (other, keeper) = (pair.keeper(family), announcer(&pair, family));
            let groups: Vec<String> = (1..=300).map(|number| family.group(number)).collect();
            let (by_source, sources) = (family.group(400), [1, 8].map(|number| family.host(number)));
            for keeper in [&other, &keeper] {
                groups.iter().for_each(|group| assert_eq!(keeper.wish(group, "eth0"), 1));
                for source in &sources {
                    assert_eq!(keeper.add(&by_source, Some(source), Some("eth0")), Ok(1));
                }
                keeper.events();
            }
            let mut expected: HashSet<Said> =
                groups.iter().map(|group| whole(newest(family), Kind::ChangeToExclude, group)).collect();
            expected.insert((newest(family), Kind::AllowNewSources, by_source, sources.into_iter().collect()));
            // In the first two seconds the kernel repeats what it has said of the joins.
            for _ in 0..3 {
                announced(&keeper, &watch, &host, |said| expected.is_subset(said));
            }
            let reports = announced(&keeper, &watch, &host, |said| expected.is_subset(said));
            // 8 bytes for a group of IPv4, 20 of IPv6.
            let most = if family == Family::V4 { 2 } else { 5 };
            assert!((2..=most).contains(&reports.len()), "{} reports", reports.len());
            let said: Vec<Said> = reports.into_iter().flatten().collect();
            assert_eq!((said.len(), said.into_iter().collect()), (301, expected));
        }
    });
}

/// Neither when the carrier returns nor by time; and of the kernel's membership nothing changes.
#[test]
fn nothing_is_left_to_be_announced() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (group, by_source, source) = (family.group(1), family.group(2), family.host(1));
            let (watch, keeper, host) = (pair.watch("eth0"), announcer(&pair, family), own_address(&pair, family));
            keeper.wish(&group, "eth0");
            assert_eq!(keeper.add(&by_source, Some(&source), Some("eth0")), Ok(1));
            keeper.tells(&["joined eth0"; 2]);
            let mut said = Vec::new();
            for _ in 0..3 {
                let has = |said: &HashSet<Said>, group: &String| said.iter().any(|(_, _, about, _)| about == group);
                said.extend(announced(&keeper, &watch, &host, |said| has(said, &group) && has(said, &by_source)));
            }
            pair.carrier(false);
            keeper.tells(&["lost eth0 ENETDOWN"; 2]);
            pair.carrier(true);
            keeper.tells(&["rejoined eth0"; 2]);
            said.extend(announced(&keeper, &watch, &host, |said| !said.is_empty()));
            let left: Vec<&Said> = said.iter().flatten().filter(|said| is_leave(said)).collect();
            assert!(left.is_empty(), "{left:?}");
            pair.reaches(&keeper, &group);
        }
    });
}

/// Of IPv4 the kernel itself says nothing: both are the library's, and then it is at rest.
#[test]
fn what_is_said_when_the_carrier_returns_is_said_twice() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let (keeper, group) = pair.settled(Family::V4);
        let watch = pair.watch("eth0");
        pair.carrier(false);
        keeper.tells(&["lost eth0 ENETDOWN"]);
        watch.packets();
        pair.carrier(true);
        keeper.tells(&["rejoined eth0"]);
        assert!((0..=1000).contains(&keeper.timeout_ms()));
        keeper.comes_to_rest();
        let reports = reports_in(&watch.packets(), Family::V4, "10.1.0.2");
        assert_eq!(reports, vec![[whole(Version::Igmp3, Kind::ChangeToExclude, &group)]; 2]);
    });
}

/// How many datagrams are on their way, at most.
const WINDOW: usize = 16;

#[test]
fn no_datagram_is_lost_by_a_thousand_announcements() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (socket, group) = (pair.host.run(|| shared(family)), family.group(1));
            let (watch, sender) = (pair.watch("eth0"), pair.neighbour.run(|| Udp::new(family)));
            pair.neighbour.run(|| leave_by(&sender, "eth0"));
            pair.host.run(|| {
                // Each time that it is called.
                let every = Some(Duration::from_nanos(1));
                let mut manager = Manager::open(socket.as_fd(), every, 0).unwrap();
                let (ip, selector) = of_text(&text(&group), Some(c"eth0")).unwrap();
                assert_eq!(manager.add(Key { group: ip, source: None }, selector), Ok(1));
                watch.sees(JOIN, &group, None);
                let mut records = Vec::new();
                let mut take = || records.extend(watch.waiting().into_iter().filter(|record| record.group == group));
                let sent = sent_meanwhile(&sender, &group, &socket, || {
                    for _ in 0..1000 {
                        manager.process().unwrap();
                        // So that there is room for those that come.
                        take();
                    }
                });
                assert!(sent > WINDOW, "{sent} datagrams");
                take();
                assert!(records.len() > 20, "{} reports", records.len());
                assert!(records.iter().all(|record| JOIN.contains(&record.kind)), "{records:?}");
            });
        }
    });
}

/// How many datagrams have come while some work was done, each of them and in order.
fn sent_meanwhile(sender: &Udp, group: &str, receiver: &Udp, work: impl FnOnce()) -> usize {
    let (is_done, received) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent: usize = 0;
            while !is_done.load(Ordering::Relaxed) {
                sender.send(&sent.to_string(), group);
                sent += 1;
                come_up_to(sent.saturating_sub(WINDOW), &received);
            }
            come_up_to(sent, &received);
            sent
        });
        let receiving = scope.spawn(|| {
            // What is lost is missed by the sender, too.
            while received.load(Ordering::Relaxed) != usize::MAX {
                for text in receiver.waiting() {
                    assert_eq!(text, received.fetch_add(1, Ordering::Relaxed).to_string());
                }
            }
        });
        work();
        is_done.store(true, Ordering::Relaxed);
        let sent = sending.join();
        received.store(usize::MAX, Ordering::Relaxed);
        receiving.join().unwrap();
        sent.unwrap()
    })
}

fn come_up_to(count: usize, received: &AtomicUsize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while received.load(Ordering::Relaxed) < count {
        assert!(Instant::now() < deadline, "{} of {count} have come", received.load(Ordering::Relaxed));
        std::thread::yield_now();
    }
}

/// The kernel reports from 0.0.0.0, which nobody else can.
#[test]
fn an_interface_without_an_address_is_left_to_the_kernel() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        pair.host.ip("address flush dev eth0 scope global");
        let (keeper, group) = (announcer(&pair, Family::V4), Family::V4.group(1));
        keeper.wish(&group, "eth0");
        keeper.tells(&["joined eth0"]);
        let (watch, join) = (pair.watch("eth0"), whole(Version::Igmp3, Kind::ChangeToExclude, &group));
        for _ in 0..3 {
            announced(&keeper, &watch, "0.0.0.0", |said| said.contains(&join));
        }
    });
}

/// Whether the kernel has a timer for a group, as it has after a join in the older versions: for 10 seconds.
fn is_to_be_repeated(group: &str) -> bool {
    let (table, name) = match group.parse().unwrap() {
        IpAddr::V4(v4) => ("igmp", format!("{:08X}", u32::from_ne_bytes(v4.octets()))),
        IpAddr::V6(v6) => ("igmp6", format!("{:032x}", v6.to_bits())),
    };
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
    let line = text.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{group}: {text}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    // "020001EF 2 1:0000010A 0", and "26 eth0 ff15... 2 00000006 512".
    if table == "igmp" { fields[2].starts_with("1:") } else { fields[5] != "0" }
}

/// Left and joined again, and silent where others hold it. A leave of the newest versions the kernel takes
/// back when the join comes at once.
#[test]
fn without_privilege_it_is_left_and_joined() {
    hosts::test(|network| {
        for version in [Version::Igmp2, Version::Igmp3, Version::Mld1, Version::Mld2] {
            let family = if matches!(version, Version::Igmp2 | Version::Igmp3) { Family::V4 } else { Family::V6 };
            let pair = Pair::with_cable(network);
            let host = own_address(&pair, family);
            match version {
                Version::Igmp2 => pair.host.set("net/ipv4/conf/all/force_igmp_version", "2"),
                Version::Mld1 => pair.host.set("net/ipv6/conf/eth0/force_mld_version", "1"),
                _ => {}
            }
            pair.host.run(without_privilege);
            let (other, keeper) = (pair.keeper(family), announcer(&pair, family));
            let [alone, shared] = [1, 2].map(|number| family.group(number));
            other.wish(&shared, "eth0");
            keeper.wish(&shared, "eth0");
            keeper.wish(&alone, "eth0");
            keeper.tells(&["joined eth0"; 2]);
            hosts::until("the kernel has said often enough what it joined", || {
                !pair.host.run(|| is_to_be_repeated(&shared))
            });
            let watch = pair.watch("eth0");
            let expected: HashSet<Said> = match version {
                Version::Igmp3 | Version::Mld2 => [whole(version, Kind::ChangeToExclude, &alone)].into(),
                _ => [Kind::ChangeToInclude, Kind::ModeIsExclude].map(|kind| whole(version, kind, &alone)).into(),
            };
            let rounds: Vec<Vec<Vec<Said>>> =
                (0..5).map(|_| announced(&keeper, &watch, &host, |said| expected.is_subset(said))).collect();
            // Of the newest versions it doesn't tell that, but repeats it within a second or two.
            assert!(rounds[4].iter().flatten().all(|(_, _, group, _)| *group == alone), "{:?}", rounds[4]);
            pair.carrier(false);
            keeper.tells(&["lost eth0 ENETDOWN"; 2]);
            pair.carrier(true);
            keeper.tells(&["rejoined eth0"; 2]);
            pair.reaches(&keeper, &alone);
        }
    });
}

/// As with a program that is started by root and gives its privileges up.
#[test]
fn what_was_opened_with_privilege_goes_on_without() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (watch, host) = (pair.watch("eth0"), own_address(&pair, family));
            let (other, keeper, group) = (pair.keeper(family), announcer(&pair, family), family.group(1));
            for keeper in [&other, &keeper] {
                keeper.wish(&group, "eth0");
                keeper.tells(&["joined eth0"]);
            }
            pair.host.run(without_privilege);
            let report = whole(newest(family), Kind::ChangeToExclude, &group);
            // More often than the kernel repeats what it has said of the join.
            for _ in 0..4 {
                announced(&keeper, &watch, &host, |said| said.contains(&report));
            }
        }
    });
}
