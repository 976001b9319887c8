//! What one gateway wants of one group, as a router keeps it (RFC 3376, section 6; RFC 3810,
//! section 7 has the same for IPv6).
//!
//! A tunnel has one host at its end, and a relay can't ask it between its Requests (nor need it: RFC 7450,
//! section 5.3.1). So a change that a router would first query after is true at once, as if its last member
//! query time were 0, and a list of sources to leave out is the whole list. A list to listen to may come in
//! several parts (RFC 3376, section 4.2.16): such ones add up, and what isn't repeated runs out.

use std::net::IpAddr;

use super::clock::Tick;
use crate::tunnel::listener::{Kind, Sources};

/// One source of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    address: IpAddr,
    /// Until when it is listened to; 0 if it is left out.
    until: Tick,
}

/// The state of a group on a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Until when sources that aren't known are listened to as well (EXCLUDE); 0 if they aren't
    /// (INCLUDE).
    open_until: Tick,
    sources: Vec<Source>,
}

impl Filter {
    /// Whether packets from this source are wanted.
    pub fn wants(&self, source: IpAddr, now: Tick) -> bool {
        match self.sources.iter().find(|known| known.address == source) {
            Some(known) => known.until > now,
            None => self.open_until > now,
        }
    }

    /// Whether sources that aren't known are listened to.
    pub fn is_open(&self) -> bool {
        self.open_until > 0
    }

    /// Whether nothing is listened to.
    pub fn is_nothing(&self) -> bool {
        !self.is_open() && self.sources.is_empty()
    }

    /// How many sources are known.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// The sources listened to by name.
    pub fn included(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.sources.iter().filter(|source| source.until > 0).map(|source| source.address)
    }

    /// The sources left out.
    pub fn excluded(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.sources.iter().filter(|source| source.until == 0).map(|source| source.address)
    }

    /// What a record says, with at most `most` sources; those listened to are so until `until`. How
    /// many sources were refused: not listened to, or not left out.
    pub fn apply(&mut self, kind: Kind, sources: Sources<'_>, until: Tick, most: usize) -> usize {
        match kind {
            Kind::ModeIsExclude | Kind::ChangeToExclude => {
                self.sources.clear();
                self.open_until = until;
                self.put(sources, 0, most)
            }
            Kind::ChangeToInclude if self.is_open() || sources.is_empty() => {
                self.sources.clear();
                self.open_until = 0;
                self.put(sources, until, most)
            }
            Kind::ModeIsInclude | Kind::ChangeToInclude | Kind::AllowNewSources => self.put(sources, until, most),
            Kind::BlockOldSources if self.is_open() => self.put(sources, 0, most),
            Kind::BlockOldSources => {
                self.sources.retain(|known| !sources.iter().any(|source| source == known.address));
                0
            }
        }
    }

    fn put(&mut self, sources: Sources<'_>, until: Tick, most: usize) -> usize {
        let mut refused = 0;
        for address in sources.iter() {
            if let Some(known) = self.sources.iter_mut().find(|known| known.address == address) {
                known.until = until;
            } else if self.sources.len() < most && is_source(address) {
                // Room for one more and no other: there are many of these lists.
                self.sources.reserve_exact(1);
                self.sources.push(Source { address, until });
            } else {
                refused += 1;
            }
        }
        refused
    }

    /// Takes out what has run out; whether anything did.
    pub fn expire(&mut self, now: Tick) -> bool {
        let before = (self.open_until, self.sources.len());
        if self.open_until <= now {
            self.open_until = 0;
            self.sources.retain(|source| source.until > now);
        } else {
            // RFC 3376, section 6.3: a source whose time is over is one to leave out.
            self.sources.iter_mut().filter(|source| source.until <= now).for_each(|source| source.until = 0);
            self.sources.shrink_to_fit();
        }
        before != (self.open_until, self.sources.len())
    }

    /// When something runs out next.
    pub fn next(&self) -> Option<Tick> {
        let times = self.sources.iter().map(|source| source.until).chain([self.open_until]);
        times.filter(|until| *until > 0).min()
    }
}

fn is_source(address: IpAddr) -> bool {
    !(address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::*;

    const NOW: Tick = 100;
    const LATER: Tick = 200;

    fn ips(names: &str) -> Vec<IpAddr> {
        names.bytes().map(|name| IpAddr::from([192, 0, 2, name])).collect()
    }

    /// A filter from text: "+ab" listens to a and b, "*-ab" to all others, "*+c-ab" also to c by name.
    fn shown(filter: &Filter) -> String {
        let name = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => char::from(v4.octets()[3]),
            IpAddr::V6(_) => '?',
        };
        let sorted = |sources: &mut dyn Iterator<Item = IpAddr>| {
            let mut names: Vec<char> = sources.map(name).collect();
            names.sort_unstable();
            names.into_iter().collect::<String>()
        };
        let mut text = String::from(if filter.is_open() { "*" } else { "" });
        for (sign, names) in [("+", sorted(&mut filter.included())), ("-", sorted(&mut filter.excluded()))] {
            if !names.is_empty() {
                text += &format!("{sign}{names}");
            }
        }
        text
    }

    fn after(records: &[(Kind, &str)]) -> Filter {
        let mut filter = Filter::default();
        for (kind, names) in records {
            assert_eq!(filter.apply(*kind, Sources::from(ips(names).as_slice()), LATER, 10), 0);
        }
        filter
    }

    /// The state before, a record, and the state after.
    type Row = (&'static [(Kind, &'static str)], Kind, &'static str, &'static str);

    /// RFC 3376, sections 6.4.1 and 6.4.2, with what queries would take away taken away.
    #[test]
    fn every_record_in_every_state() {
        let table: &[Row] = &[
            (&[], ModeIsInclude, "ab", "+ab"),
            (&[], ModeIsInclude, "", ""),
            (&[], ModeIsExclude, "", "*"),
            (&[], ModeIsExclude, "ab", "*-ab"),
            (&[], ChangeToInclude, "a", "+a"),
            (&[], ChangeToExclude, "a", "*-a"),
            (&[], AllowNewSources, "a", "+a"),
            (&[], BlockOldSources, "a", ""),
            (&[(ModeIsInclude, "ab")], ModeIsInclude, "bc", "+abc"),
            (&[(ModeIsInclude, "ab")], ModeIsExclude, "bc", "*-bc"),
            (&[(ModeIsInclude, "ab")], AllowNewSources, "c", "+abc"),
            (&[(ModeIsInclude, "ab")], BlockOldSources, "bc", "+a"),
            (&[(ModeIsInclude, "ab")], BlockOldSources, "ab", ""),
            (&[(ModeIsInclude, "ab")], ChangeToExclude, "bc", "*-bc"),
            (&[(ModeIsInclude, "ab")], ChangeToInclude, "bc", "+abc"),
            (&[(ModeIsInclude, "ab")], ChangeToInclude, "", ""),
            (&[(ModeIsExclude, "ab")], ModeIsInclude, "bc", "*+bc-a"),
            (&[(ModeIsExclude, "ab")], ModeIsExclude, "bc", "*-bc"),
            (&[(ModeIsExclude, "ab")], AllowNewSources, "bc", "*+bc-a"),
            (&[(ModeIsExclude, "ab")], BlockOldSources, "c", "*-abc"),
            (&[(ModeIsExclude, "ab")], ChangeToExclude, "c", "*-c"),
            (&[(ModeIsExclude, "ab")], ChangeToInclude, "bc", "+bc"),
            (&[(ModeIsExclude, "ab")], ChangeToInclude, "", ""),
        ];
        for (before, kind, names, expected) in table {
            let mut filter = after(before);
            filter.apply(*kind, Sources::from(ips(names).as_slice()), LATER, 10);
            assert_eq!(shown(&filter), *expected, "{before:?}, then {kind:?} {names}");
            for name in "abcd".chars() {
                let is_open = expected.starts_with('*');
                let (plus, minus) = expected.split_once('-').unwrap_or((expected, ""));
                let wanted = plus.contains(name) || is_open && !minus.contains(name);
                assert_eq!(filter.wants(ips(&name.to_string())[0], NOW), wanted, "{name} of {expected}");
            }
            assert_eq!(filter.is_nothing(), expected.is_empty());
        }
    }

    #[test]
    fn a_list_in_parts_adds_up() {
        let filter = after(&[(ModeIsExclude, ""), (ChangeToInclude, "ab"), (ChangeToInclude, "cd")]);
        assert_eq!(shown(&filter), "+abcd");
    }

    #[test]
    fn what_is_not_repeated_runs_out() {
        let mut filter = after(&[(ModeIsInclude, "ab")]);
        filter.apply(ModeIsInclude, Sources::from(ips("b").as_slice()), LATER + 50, 10);
        assert_eq!(filter.next(), Some(LATER));
        assert!(!filter.expire(LATER - 1));
        assert!(!filter.wants(ips("a")[0], LATER), "before anybody looks");
        assert!(filter.expire(LATER));
        assert_eq!((shown(&filter).as_str(), filter.next()), ("+b", Some(LATER + 50)));
        assert!(filter.expire(LATER + 50) && filter.is_nothing());
        assert_eq!(filter.next(), None);

        // Section 6.5: at the end of EXCLUDE those listened to by name stay.
        let mut filter = after(&[(ModeIsExclude, "ab")]);
        filter.apply(AllowNewSources, Sources::from(ips("c").as_slice()), LATER + 50, 10);
        assert!(filter.expire(LATER));
        assert_eq!(shown(&filter), "+c");

        // In EXCLUDE a source whose time is over is left out.
        let mut filter = after(&[(AllowNewSources, "a")]);
        filter.apply(ModeIsExclude, Sources::NONE, LATER + 50, 10);
        filter.apply(AllowNewSources, Sources::from(ips("a").as_slice()), LATER, 10);
        filter.expire(LATER);
        assert_eq!(shown(&filter), "*-a");
    }

    #[test]
    fn no_more_sources_than_may_be() {
        let mut filter = Filter::default();
        assert_eq!(filter.apply(ModeIsInclude, Sources::from(ips("abcd").as_slice()), LATER, 3), 1);
        assert_eq!(shown(&filter), "+abc");
        assert_eq!(filter.apply(ModeIsInclude, Sources::from(ips("ca").as_slice()), LATER, 3), 0, "known ones");
        assert_eq!(filter.apply(ModeIsExclude, Sources::from(ips("abcd").as_slice()), LATER, 3), 1);
        assert_eq!(shown(&filter), "*-abc", "forwarded rather than lost");
        let nonsense: Vec<IpAddr> = ["0.0.0.0", "239.1.2.3"].map(|text| text.parse().unwrap()).into();
        assert_eq!(Filter::default().apply(ModeIsInclude, Sources::from(nonsense.as_slice()), LATER, 9), 2);
    }
}
