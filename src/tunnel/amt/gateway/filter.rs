//! Which sources of a group are listened to, and how a change of that is told (RFC 3376, section 5.1;
//! RFC 3810, section 6.1, is the same).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::tunnel::listener::Kind;

/// The sources of one group that are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    exclude: bool,
    sources: BTreeSet<IpAddr>,
}

impl Filter {
    /// No source: the group isn't joined.
    pub fn none() -> Filter {
        Filter { exclude: false, sources: BTreeSet::new() }
    }

    /// Every source.
    pub fn any() -> Filter {
        Filter::all_but([])
    }

    /// These sources alone.
    pub fn only(sources: impl IntoIterator<Item = IpAddr>) -> Filter {
        Filter { exclude: false, sources: sources.into_iter().collect() }
    }

    /// All sources but these.
    pub fn all_but(sources: impl IntoIterator<Item = IpAddr>) -> Filter {
        Filter { exclude: true, sources: sources.into_iter().collect() }
    }

    /// Whether nothing can pass.
    pub fn is_none(&self) -> bool {
        !self.exclude && self.sources.is_empty()
    }

    /// Whether sources are listed that don't pass, not those that do.
    pub fn is_exclude(&self) -> bool {
        self.exclude
    }

    /// Those listed.
    pub fn sources(&self) -> &BTreeSet<IpAddr> {
        &self.sources
    }

    /// Whether a source is listened to.
    pub fn passes(&self, source: IpAddr) -> bool {
        self.sources.contains(&source) != self.exclude
    }
}

/// What a report says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub kind: Kind,
    pub group: IpAddr,
    pub sources: Vec<IpAddr>,
}

/// A group's filter, and what of its last changes is still to be told.
pub(super) struct Group {
    pub filter: Filter,
    /// Something has come of it since it was joined.
    pub is_heard: bool,
    /// How often a change from listed to unlisted, or back, is still to be told.
    mode_left: u8,
    /// The same for single sources.
    sources_left: BTreeMap<IpAddr, u8>,
}

impl Group {
    pub fn new() -> Group {
        Group { filter: Filter::none(), is_heard: false, mode_left: 0, sources_left: BTreeMap::new() }
    }

    /// Another filter, to be told so many times.
    pub fn change(&mut self, filter: Filter, times: u8) {
        let old = std::mem::replace(&mut self.filter, filter);
        if old.exclude != self.filter.exclude {
            self.mode_left = times;
            self.sources_left.clear();
        } else {
            self.sources_left.extend(old.sources.symmetric_difference(&self.filter.sources).map(|one| (*one, times)));
        }
    }

    /// Somebody who knows nothing of the group is to be told so many times.
    pub fn announce(&mut self, times: u8) {
        self.sources_left.clear();
        if self.filter.exclude {
            self.mode_left = times;
        } else {
            self.mode_left = 0;
            self.sources_left.extend(self.filter.sources.iter().map(|one| (*one, times)));
        }
    }

    /// Whether there is something left to tell.
    pub fn is_pending(&self) -> bool {
        self.mode_left > 0 || !self.sources_left.is_empty()
    }

    /// Counts one telling.
    pub fn told(&mut self) {
        self.mode_left = self.mode_left.saturating_sub(1);
        self.sources_left.values_mut().for_each(|left| *left = left.saturating_sub(1));
        self.sources_left.retain(|_, left| *left > 0);
    }

    /// What has changed.
    pub fn changes(&self, group: IpAddr) -> Vec<Saying> {
        if self.mode_left > 0 {
            let kind = if self.filter.exclude { Kind::ChangeToExclude } else { Kind::ChangeToInclude };
            return vec![Saying { kind, group, sources: self.filter.sources.iter().copied().collect() }];
        }
        let (allow, block): (Vec<_>, Vec<_>) =
            self.sources_left.keys().copied().partition(|source| self.filter.passes(*source));
        [(Kind::AllowNewSources, allow), (Kind::BlockOldSources, block)]
            .into_iter()
            .filter(|(_, sources)| !sources.is_empty())
            .map(|(kind, sources)| Saying { kind, group, sources })
            .collect()
    }

    /// What is so now; nothing if the group isn't joined.
    pub fn state(&self, group: IpAddr) -> Option<Saying> {
        let kind = if self.filter.exclude { Kind::ModeIsExclude } else { Kind::ModeIsInclude };
        let sources = self.filter.sources.iter().copied().collect();
        (!self.filter.is_none()).then_some(Saying { kind, group, sources })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(232, 1, 2, 3));

    fn ips(numbers: &[u8]) -> Vec<IpAddr> {
        numbers.iter().map(|number| IpAddr::from([192, 0, 2, *number])).collect()
    }

    /// What is told once of a change from one filter to another.
    fn told(from: Filter, to: Filter) -> Vec<(Kind, Vec<IpAddr>)> {
        let mut group = Group::new();
        group.change(from, 1);
        group.told();
        assert!(!group.is_pending());
        group.change(to, 1);
        group.changes(GROUP).into_iter().map(|saying| (saying.kind, saying.sources)).collect()
    }

    #[test]
    fn a_change_is_told_as_rfc_3376_section_5_1_says() {
        let (a, b) = (ips(&[1, 2]), ips(&[2, 3]));
        let only = |list: &[IpAddr]| Filter::only(list.iter().copied());
        let all_but = |list: &[IpAddr]| Filter::all_but(list.iter().copied());
        let (allow, block) = (Kind::AllowNewSources, Kind::BlockOldSources);
        assert_eq!(told(only(&a), only(&b)), [(allow, ips(&[3])), (block, ips(&[1]))]);
        assert_eq!(told(all_but(&a), all_but(&b)), [(allow, ips(&[1])), (block, ips(&[3]))]);
        assert_eq!(told(only(&a), all_but(&b)), [(Kind::ChangeToExclude, b.clone())]);
        assert_eq!(told(all_but(&a), only(&b)), [(Kind::ChangeToInclude, b)]);
        assert_eq!(told(Filter::any(), Filter::none()), [(Kind::ChangeToInclude, ips(&[]))]);
        assert_eq!(told(only(&a), Filter::none()), [(block, a)]);
    }

    #[test]
    fn each_change_is_told_so_many_times() {
        let mut group = Group::new();
        group.change(Filter::only(ips(&[1])), 2);
        group.told();
        group.change(Filter::only(ips(&[1, 2])), 2);
        assert_eq!(group.changes(GROUP)[0].sources, ips(&[1, 2]));
        group.told();
        assert_eq!(group.changes(GROUP)[0].sources, ips(&[2]));
        group.told();
        assert!(!group.is_pending() && group.changes(GROUP).is_empty());
        // A source that came and went again is told as gone.
        group.change(Filter::only(ips(&[1, 2, 3])), 2);
        group.change(Filter::only(ips(&[1, 2])), 2);
        assert_eq!(group.changes(GROUP), [Saying { kind: Kind::BlockOldSources, group: GROUP, sources: ips(&[3]) }]);
    }

    #[test]
    fn a_filter_lets_pass_what_it_says() {
        let [one, two] = [1, 2].map(|number| ips(&[number])[0]);
        assert!(Filter::any().passes(one) && !Filter::none().passes(one));
        assert!(Filter::only([one]).passes(one) && !Filter::only([one]).passes(two));
        assert!(!Filter::all_but([one]).passes(one) && Filter::all_but([one]).passes(two));
    }
}
