//! What a bridge knows: what the other end asks for, what has come round, and what becomes of packets.
#![no_main]

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use castio::tunnel::bridge::asked::{Asked, Change, LAST_CALL, LIFETIME};
use castio::tunnel::bridge::counters::Counters;
use castio::tunnel::bridge::course::Course;
use castio::tunnel::bridge::policy::Policy;
use castio::tunnel::bridge::recent::{Recent, Side};
use castio::tunnel::bridge::workbench::{Lack, Place, Workbench};
use castio::tunnel::ip::Packet;
use castio::tunnel::listener::{self, Kind, Record, Sources};
use castio::tunnel::subscribe::duplicates::{Duplicates, Path};
use castio::tunnel::subscribe::switch::Switch;
use castio_fuzz::{Feed, ip, packet};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 6] = [
    Kind::ModeIsInclude,
    Kind::ModeIsExclude,
    Kind::ChangeToInclude,
    Kind::ChangeToExclude,
    Kind::AllowNewSources,
    Kind::BlockOldSources,
];

type Key = (IpAddr, Option<IpAddr>);

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    match feed.below(3) {
        0 => asked(&mut feed),
        1 => course(&mut feed),
        _ => ways(&mut feed),
    }
});

/// Against the plainest way to keep the same.
fn asked(feed: &mut Feed<'_>) {
    let (mut asked, mut now) = (Asked::default(), Instant::now());
    let mut model: BTreeMap<Key, Instant> = BTreeMap::new();
    let mut joined = BTreeMap::new();
    while !feed.is_empty() {
        match feed.below(4) {
            0 => {
                now += Duration::from_millis(u64::from(feed.u8()) * feed.choose(&[1, 10, 100, 1000]));
                asked.handle_timeout(now);
                assert!(asked.timeout().is_none_or(|next| next > now), "a timer that is always due");
                model.retain(|_, until| *until > now);
            }
            1 => {
                let bytes = packet(feed);
                let Some(report) = Packet::parse(&bytes).ok().and_then(|packet| listener::parse_report(&packet).ok())
                else {
                    continue;
                };
                report.records().for_each(|record| say(&mut asked, &mut model, &record, now));
            }
            _ => {
                let group = [239, 1, 2, feed.u8() & 3].into();
                let sources: Vec<IpAddr> = (0..feed.below(5)).map(|_| [10, 0, 0, feed.u8() & 3].into()).collect();
                let record = Record { kind: feed.choose(&KINDS), group, sources: Sources::from(&sources[..]) };
                say(&mut asked, &mut model, &record, now);
            }
        }
        for change in asked.take_changes() {
            match change {
                Change::Join(key) => assert!(joined.insert((key.group, key.source), ()).is_none(), "joined twice"),
                Change::Leave(key) => assert!(joined.remove(&(key.group, key.source)).is_some(), "left twice"),
            }
        }
        assert!(joined.keys().eq(model.keys()));
        assert!(model.values().min().is_none_or(|first| asked.timeout().is_some_and(|at| at <= *first + SECOND)));
    }
    asked.handle_timeout(now + LIFETIME);
    assert_eq!((asked.timeout(), asked.group_count()), (None, 0));
}

const SECOND: Duration = Duration::from_secs(1);

fn say(asked: &mut Asked, model: &mut BTreeMap<Key, Instant>, record: &Record<'_>, now: Instant) {
    asked.record(record, now);
    let (group, until, soon) = (record.group, now + LIFETIME, now + LAST_CALL);
    let reaches = match group {
        IpAddr::V4(v4) => !v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.octets()[1] & 15 > 2,
    };
    if !reaches {
        return;
    }
    let is_listed = |source: IpAddr| record.sources.iter().any(|listed| listed == source);
    let ends = |source: Option<IpAddr>| match record.kind {
        Kind::ChangeToInclude => true,
        Kind::BlockOldSources => source.is_some_and(is_listed),
        _ => false,
    };
    for ((_, _), end) in model.iter_mut().filter(|((its, source), _)| *its == group && ends(*source)) {
        *end = soon.min(*end);
    }
    match record.kind {
        Kind::ModeIsExclude | Kind::ChangeToExclude => drop(model.insert((group, None), until)),
        Kind::BlockOldSources => {}
        _ => {
            for source in record.sources.iter() {
                let count = model.keys().filter(|(its, source)| *its == group && source.is_some()).count();
                if count < 64 || model.contains_key(&(group, Some(source))) {
                    model.insert((group, Some(source)), until);
                }
            }
        }
    }
}

/// Packets of all sorts: what goes on is a packet that may.
fn course(feed: &mut Feed<'_>) {
    let now = Instant::now();
    let policy = Policy { least_scope: 3 + feed.u8() % 12, least_ttl: 2 + feed.u8() % 8 };
    let recent = Recent::new(feed.bool(), RandomState::new(), now);
    let mut course =
        Course { policy, recent, counters: Counters::default(), bench: Workbench::default(), places: Vec::new(), side: Side::Tunnel };
    let mtu = usize::from(feed.u16());
    while !feed.is_empty() {
        course.begin(Side::Tunnel);
        let lack = match feed.below(3) {
            0 => Lack::Nothing,
            1 => Lack::Checksum,
            _ => Lack::Segments(feed.u8().into()),
        };
        let original = packet(feed);
        let mut slot = original.clone();
        course.take((0, 0), &mut slot, lack, now);
        let places = course.places.clone();
        for place in &places {
            let bytes = match *place {
                Place::Slot(_, start, end) => &slot[start..end],
                Place::Made(start, end) => course.bench.get(start, end),
            };
            let packet = Packet::parse(bytes).unwrap();
            assert_eq!(packet.bytes.len(), bytes.len());
            assert!(packet.destination.is_multicast() && packet.ttl + 1 >= policy.least_ttl);
            assert_eq!(packet.ttl + 1, Packet::parse(&original).unwrap().ttl);
        }
        course.fit(mtu, |_, start, end| &slot[start..end]);
        // The same once more, after a router: it isn't new.
        let mut again = original.clone();
        let _ = castio::tunnel::ip::decrement_ttl(&mut again);
        let before = course.places.len();
        course.take((1, 0), &mut again, Lack::Nothing, now);
        if lack == Lack::Nothing && !places.is_empty() {
            assert_eq!(course.places.len(), before, "it has come round");
        }
    }
}

/// Two ways to the same datagrams.
fn ways(feed: &mut Feed<'_>) {
    let mut now = Instant::now();
    let (mut duplicates, mut switch) = (Duplicates::new(7), Switch::new(now, SECOND * feed.u8().into()));
    let mut handed = [0_i64; 4];
    let mut sent = [[0_i64; 4]; 2];
    while !feed.is_empty() {
        let step = feed.u8();
        now += Duration::from_millis(feed.u8().into());
        let (path, side) = if step & 1 == 0 { (Path::Native, 0) } else { (Path::Tunnel, 1) };
        let number = usize::from(step >> 1 & 3);
        if duplicates.is_new(now, path, "10.0.0.1:5".parse().unwrap(), &[number as u8]) {
            handed[number] += 1;
        }
        sent[side][number] += 1;
        assert!(handed[number] >= sent[0][number].max(sent[1][number]) || handed[number] > 0);
        assert!(handed[number] <= sent[0][number] + sent[1][number]);
        switch.arrived(now, path, ip("10.0.0.1"));
        if let Some(at) = switch.timeout().filter(|at| *at <= now) {
            assert!(at <= now);
            let _ = switch.handle_timeout(now);
        }
        if step & 0x80 != 0 {
            duplicates.tunnel_ends();
        }
    }
    duplicates.expire(now + SECOND * 2);
    assert!(duplicates.is_empty());
}
