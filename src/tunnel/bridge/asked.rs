//! What the hosts behind the tunnel's other end ask for, by the reports that come through it.
//!
//! As a router keeps it (RFC 3376, section 6.4; RFC 3810, section 7.4), but for sources that are left
//! out: those come along, and their receivers leave them out themselves. The other end asks its hosts
//! after each leave, so what nobody confirms soon is over.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::policy::scope_of;
use crate::hash::HashMap;
use crate::multicast::manager::wish::Key;
use crate::tunnel::listener::{Kind, Record};

/// Twice the usual query interval and a response interval.
pub const LIFETIME: Duration = Duration::from_secs(260);
/// How long after a leave others have to say that they stay: the two queries of the other end, the
/// answers' time, and the way.
pub const LAST_CALL: Duration = Duration::from_secs(4);

/// From one look at everything to the next.
const LOOK_LEAST: Duration = Duration::from_secs(1);

/// As many as the kernel's limits let one join, roughly.
const GROUPS_MAX: usize = 10_000;
/// As many as one host asks for: so that it can't take the room of all others.
const GROUPS_EACH: usize = GROUPS_MAX / 4;
const SOURCES_MAX: usize = 64;

/// A group that is asked for.
struct Wanted {
    /// The host that has asked first, and when it last has.
    asker: IpAddr,
    said: Instant,
    /// Another one that has.
    other: Option<(IpAddr, Instant)>,
    /// Until when it is wanted whole.
    whole: Option<Instant>,
    sources: HashMap<IpAddr, Instant>,
}

/// Something to do for the one who joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Join this.
    Join(Key),
    /// Leave this.
    Leave(Key),
}

/// All of it.
#[derive(Default)]
pub struct Asked {
    groups: HashMap<IpAddr, Wanted>,
    /// The groups of each host, the one that it hasn't asked for for longest first.
    askers: HashMap<IpAddr, BTreeSet<(Instant, IpAddr)>>,
    changes: Vec<Change>,
    /// Nothing is over before.
    next: Option<Instant>,
    /// Groups and sources that there was no room for.
    pub refused: u64,
}

impl Asked {
    /// What a report says of a group. Unless it is said again, it is over after this time.
    pub fn record(&mut self, record: &Record<'_>, asker: IpAddr, lifetime: Duration, now: Instant) {
        let group = record.group;
        if scope_of(group) <= 2 {
            return;
        }
        let is_wish = match record.kind {
            Kind::ModeIsExclude | Kind::ChangeToExclude => true,
            Kind::BlockOldSources => false,
            _ => !record.sources.is_empty(),
        };
        if is_wish {
            self.make_room(group, asker, now);
        }
        let until = now + lifetime;
        match record.kind {
            Kind::ModeIsExclude | Kind::ChangeToExclude => self.want(Key { group, source: None }, until),
            Kind::ModeIsInclude | Kind::AllowNewSources => self.want_sources(record, until),
            Kind::ChangeToInclude => {
                self.last_call(group, |_| true, now);
                self.want_sources(record, until);
            }
            Kind::BlockOldSources => {
                self.last_call(group, |source| source.is_some_and(|source| contains(record, source)), now);
            }
        }
    }

    fn want_sources(&mut self, record: &Record<'_>, until: Instant) {
        for source in record.sources.iter() {
            self.want(Key { group: record.group, source: Some(source) }, until);
        }
    }

    fn look_at(&mut self, time: Instant) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// A place for a group, which others give up if need be: the host's own, or those of whoever has most.
    fn make_room(&mut self, group: IpAddr, asker: IpAddr, now: Instant) {
        if let Some(wanted) = self.groups.get_mut(&group) {
            if wanted.asker != asker {
                wanted.other = Some((asker, now));
                return;
            }
            let own = self.askers.entry(asker).or_default();
            own.remove(&(wanted.said, group));
            own.insert((now, group));
            wanted.said = now;
            return;
        }
        // Without an address it is the other end itself, which tells what several have asked for.
        if !asker.is_unspecified() && self.askers.get(&asker).is_some_and(|own| own.len() >= GROUPS_EACH) {
            self.give_up_oldest(asker, true, now);
        }
        while self.groups.len() >= GROUPS_MAX {
            let most = self.askers.iter().max_by_key(|(_, own)| own.len()).map(|(host, _)| *host);
            let Some(host) = most else { break };
            self.give_up_oldest(host, false, now);
        }
        self.askers.entry(asker).or_default().insert((now, group));
        let wanted = Wanted { asker, said: now, other: None, whole: None, sources: HashMap::default() };
        self.groups.insert(group, wanted);
    }

    /// Gives up what a host hasn't asked for for longest. What another asks for, too, may be left to that one.
    fn give_up_oldest(&mut self, asker: IpAddr, may_be_left: bool, now: Instant) {
        let Some((_, group)) = self.askers.get_mut(&asker).and_then(BTreeSet::pop_first) else { return };
        let Some(wanted) = self.groups.get_mut(&group) else { return };
        let other = wanted.other.take().filter(|(_, said)| may_be_left && now < *said + LIFETIME);
        if let Some((host, said)) = other {
            (wanted.asker, wanted.said) = (host, said);
            self.askers.entry(host).or_default().insert((said, group));
            return;
        }
        self.refused += 1;
        let Some(wanted) = self.groups.remove(&group) else { return };
        let whole = wanted.whole.map(|_| None);
        let sources = wanted.sources.into_keys().map(Some);
        self.changes.extend(whole.into_iter().chain(sources).map(|source| Change::Leave(Key { group, source })));
    }

    fn want(&mut self, key: Key, until: Instant) {
        self.look_at(until);
        let Some(wanted) = self.groups.get_mut(&key.group) else { return };
        let is_new = match key.source {
            None => wanted.whole.replace(until).is_none(),
            Some(source) if wanted.sources.contains_key(&source) || wanted.sources.len() < SOURCES_MAX => {
                wanted.sources.insert(source, until).is_none()
            }
            Some(_) => {
                self.refused += 1;
                false
            }
        };
        if is_new {
            self.changes.push(Change::Join(key));
        }
    }

    /// Those that are meant are over soon.
    fn last_call(&mut self, group: IpAddr, is_meant: impl Fn(Option<IpAddr>) -> bool, now: Instant) {
        let soon = now + LAST_CALL;
        self.look_at(soon);
        let Some(wanted) = self.groups.get_mut(&group) else { return };
        if let Some(until) = wanted.whole.as_mut().filter(|_| is_meant(None)) {
            *until = soon.min(*until);
        }
        for (_, until) in wanted.sources.iter_mut().filter(|(source, _)| is_meant(Some(**source))) {
            *until = soon.min(*until);
        }
    }

    /// When something may be over.
    pub fn timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Ends what is over. All is looked at, once a second at most.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Asked { groups, changes, askers, .. } = self;
        groups.retain(|group, wanted| {
            if wanted.whole.is_some_and(|until| until <= now) {
                wanted.whole = None;
                changes.push(Change::Leave(Key { group: *group, source: None }));
            }
            wanted.sources.retain(|source, until| {
                let stays = *until > now;
                if !stays {
                    changes.push(Change::Leave(Key { group: *group, source: Some(*source) }));
                }
                stays
            });
            let stays = wanted.whole.is_some() || !wanted.sources.is_empty();
            if let Some(own) = askers.get_mut(&wanted.asker).filter(|_| !stays) {
                own.remove(&(wanted.said, *group));
            }
            stays
        });
        askers.retain(|_, own| !own.is_empty());
        let times = groups.values().flat_map(|wanted| wanted.sources.values().chain(&wanted.whole));
        self.next = times.min().map(|next| *next.max(&(now + LOOK_LEAST)));
    }

    /// What to do since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Whether a packet is asked for.
    pub fn wants(&self, group: IpAddr, source: IpAddr) -> bool {
        self.groups.get(&group).is_some_and(|wanted| wanted.whole.is_some() || wanted.sources.contains_key(&source))
    }

    /// What is asked for of one family: each group, whether it is wanted whole, and its sources. Without what
    /// somebody has left, unless others have said since that they stay.
    pub fn current(&self, is_v4: bool, now: Instant) -> Vec<(IpAddr, bool, Vec<IpAddr>)> {
        let stays = |until: &Instant| *until > now + LAST_CALL;
        let of_family = self.groups.iter().filter(|(group, _)| group.is_ipv4() == is_v4);
        of_family
            .map(|(group, wanted)| {
                let sources = wanted.sources.iter().filter(|(_, until)| stays(until)).map(|(source, _)| *source);
                (*group, wanted.whole.as_ref().is_some_and(stays), sources.collect())
            })
            .collect()
    }

    /// How many groups are asked for.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }
}

fn contains(record: &Record<'_>, source: IpAddr) -> bool {
    record.sources.iter().any(|listed| listed == source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::listener::Sources;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 3));

    fn source(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    fn say(asked: &mut Asked, kind: Kind, numbers: &[u8], now: Instant) -> Vec<Change> {
        let sources: Vec<IpAddr> = numbers.iter().map(|number| source(*number)).collect();
        asked.record(&Record { kind, group: GROUP, sources: Sources::from(sources.as_slice()) }, HOST, LIFETIME, now);
        asked.take_changes()
    }

    fn at(asked: &mut Asked, now: Instant) -> Vec<Change> {
        asked.handle_timeout(now);
        let mut changes = asked.take_changes();
        changes.sort_by_key(|change| match change {
            Change::Join(key) | Change::Leave(key) => *key,
        });
        changes
    }

    fn join(source: Option<IpAddr>) -> Change {
        Change::Join(Key { group: GROUP, source })
    }

    fn leave(source: Option<IpAddr>) -> Change {
        Change::Leave(Key { group: GROUP, source })
    }

    #[test]
    fn a_group_is_joined_once_and_left_when_nobody_stays() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        assert_eq!(say(&mut asked, Kind::ChangeToExclude, &[], now), [join(None)]);
        assert_eq!(say(&mut asked, Kind::ModeIsExclude, &[5], now), []);
        assert!(asked.wants(GROUP, source(5)));
        assert_eq!(say(&mut asked, Kind::ChangeToInclude, &[], now), []);
        // Another host stays.
        assert_eq!(say(&mut asked, Kind::ModeIsExclude, &[], now), []);
        assert_eq!(at(&mut asked, now + LAST_CALL), []);
        assert_eq!(say(&mut asked, Kind::ChangeToInclude, &[], now), []);
        assert_eq!(asked.timeout(), Some(now + LAST_CALL));
        assert_eq!(at(&mut asked, now + LAST_CALL), [leave(None)]);
        assert_eq!((asked.timeout(), asked.group_count(), asked.wants(GROUP, source(5))), (None, 0, false));
    }

    #[test]
    fn another_is_told_what_stays_and_not_what_was_left() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        say(&mut asked, Kind::ModeIsExclude, &[], now);
        say(&mut asked, Kind::AllowNewSources, &[1, 2], now);
        assert_eq!(asked.current(false, now), []);
        say(&mut asked, Kind::BlockOldSources, &[1], now);
        assert_eq!(asked.current(true, now), [(GROUP, true, vec![source(2)])]);
        say(&mut asked, Kind::ChangeToInclude, &[], now);
        assert_eq!(asked.current(true, now), [(GROUP, false, vec![])]);
        say(&mut asked, Kind::ModeIsExclude, &[], now);
        assert_eq!(asked.current(true, now), [(GROUP, true, vec![])]);
    }

    #[test]
    fn sources_come_and_go_one_by_one() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        assert_eq!(say(&mut asked, Kind::AllowNewSources, &[1, 2], now).len(), 2);
        assert!(asked.wants(GROUP, source(1)) && !asked.wants(GROUP, source(3)));
        assert_eq!(say(&mut asked, Kind::BlockOldSources, &[1], now), []);
        assert_eq!(at(&mut asked, now + LAST_CALL), [leave(Some(source(1)))]);
        assert_eq!(say(&mut asked, Kind::ChangeToInclude, &[3], now), [join(Some(source(3)))]);
        assert_eq!(at(&mut asked, now + LAST_CALL), [leave(Some(source(2)))]);
        assert_eq!(at(&mut asked, now + LIFETIME), [leave(Some(source(3)))]);
    }

    #[test]
    fn many_that_end_one_after_the_other_are_looked_at_once_a_second() {
        let (mut asked, mut now) = (Asked::default(), Instant::now());
        let end = now + LIFETIME + Duration::from_secs(7);
        for number in 0..2000_u16 {
            let [high, low] = number.to_be_bytes();
            let group = [239, 2, high, low].into();
            asked.record(&Record { kind: Kind::ModeIsExclude, group, sources: Sources::NONE }, HOST, LIFETIME, now);
            now += Duration::from_millis(1);
        }
        let mut looks = 0;
        while let Some(next) = asked.timeout().filter(|next| *next <= end) {
            asked.handle_timeout(next);
            looks += 1;
        }
        assert_eq!((asked.group_count(), asked.take_changes().len()), (0, 4000));
        assert!(looks < 10, "{looks}");
    }

    #[test]
    fn what_does_not_leave_its_link_or_is_too_much_is_refused() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        let local = Record { kind: Kind::ModeIsExclude, group: [224, 0, 0, 251].into(), sources: Sources::NONE };
        asked.record(&local, HOST, LIFETIME, now);
        assert_eq!(asked.group_count(), 0);
        let many: Vec<u8> = (0..100).collect();
        assert_eq!(say(&mut asked, Kind::AllowNewSources, &many, now).len(), 64);
        assert_eq!(asked.refused, 36);
    }

    #[test]
    fn a_host_that_asks_for_too_much_loses_its_own_oldest() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        let group = |number: usize| -> IpAddr { [239, 2, (number / 256) as u8, number as u8].into() };
        let ask = |asked: &mut Asked, number, host, at| {
            let record = Record { kind: Kind::ModeIsExclude, group: group(number), sources: Sources::NONE };
            asked.record(&record, host, LIFETIME, now + Duration::from_millis(at));
        };
        ask(&mut asked, 60_000, OTHER, 0);
        for number in 0..20_000 {
            ask(&mut asked, number, HOST, number as u64);
            if number == 0 {
                ask(&mut asked, 0, OTHER, 1);
            }
        }
        // The other host's two stay, though one of them was the first host's at first.
        assert_eq!((asked.group_count(), asked.refused as usize), (GROUPS_EACH + 2, 20_000 - GROUPS_EACH - 1));
        for (number, is_wanted) in [(60_000, true), (0, true), (1, false), (20_000 - GROUPS_EACH, true)] {
            assert_eq!(asked.wants(group(number), source(1)), is_wanted, "{number}");
        }
        let leaves = asked.take_changes().into_iter().filter(|change| matches!(change, Change::Leave(_))).count();
        assert_eq!(leaves as u64, asked.refused);
        // With all room taken, whoever has most gives way.
        for host in 10..20_u8 {
            for number in 0..GROUPS_EACH {
                ask(
                    &mut asked,
                    20_000 + usize::from(host - 10) * GROUPS_EACH + number,
                    [10, 0, 0, host].into(),
                    30_000,
                );
            }
        }
        assert_eq!(asked.group_count(), GROUPS_MAX);
        assert!(asked.wants(group(60_000), source(1)));
    }
}
