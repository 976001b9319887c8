//! All groups that are joined, and those that were left and not yet told so.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::filter::{Filter, Group, Saying};
use crate::hash::HashMap;
use crate::tunnel::listener::Kind;

/// Which groups a part of the work is about: both families apart.
pub(super) fn is_of(mld: bool, group: IpAddr) -> bool {
    group.is_ipv6() == mld
}

#[derive(Default)]
pub(super) struct Groups {
    all: HashMap<IpAddr, Group>,
    /// Changed, and not told at all.
    fresh: BTreeSet<IpAddr>,
    /// Told, and to be told again.
    again: BTreeSet<IpAddr>,
    /// How many of each family are joined.
    joined: [usize; 2],
    /// Of how many of them something has come.
    heard: usize,
}

impl Groups {
    /// The filter of a group that is joined.
    pub fn filter(&self, group: IpAddr) -> Option<&Filter> {
        self.all.get(&group).map(|group| &group.filter).filter(|filter| !filter.is_none())
    }

    /// How many groups are joined.
    pub fn count(&self) -> usize {
        self.joined.iter().sum()
    }

    /// Of how many of them nothing has come.
    pub fn silent(&self) -> usize {
        self.count().saturating_sub(self.heard)
    }

    /// Whether a source of a group is listened to; `None` if the group isn't joined. What passes is noted.
    pub fn hear(&mut self, group: IpAddr, source: IpAddr) -> Option<bool> {
        let one = self.all.get_mut(&group).filter(|one| !one.filter.is_none())?;
        let passes = one.filter.passes(source);
        if passes && !one.is_heard {
            one.is_heard = true;
            self.heard += 1;
        }
        Some(passes)
    }

    /// How many are kept in mind.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.all.len()
    }

    /// Those joined, in no order.
    pub fn each(&self) -> impl Iterator<Item = (IpAddr, &Filter)> {
        self.all.iter().map(|(group, one)| (*group, &one.filter)).filter(|(_, filter)| !filter.is_none())
    }

    /// Whether a family has a group that is joined, or left and not yet told so.
    pub fn needs(&self, mld: bool) -> bool {
        let [v4, v6] = self.joined;
        let is_any = |set: &BTreeSet<IpAddr>| set.iter().any(|group| is_of(mld, *group));
        (if mld { v6 } else { v4 }) > 0 || is_any(&self.fresh) || is_any(&self.again)
    }

    /// Whether it changed anything.
    pub fn change(&mut self, group: IpAddr, filter: Filter, times: u8) -> bool {
        let entry = self.all.entry(group).or_insert_with(Group::new);
        let (was, is) = (!entry.filter.is_none(), !filter.is_none());
        let differs = entry.filter != filter;
        if differs {
            entry.change(filter, times);
            self.fresh.insert(group);
            self.again.remove(&group);
            if !is && std::mem::take(&mut entry.is_heard) {
                self.heard -= 1;
            }
        } else if !is && !entry.is_pending() {
            self.all.remove(&group);
        }
        let [v4, v6] = &mut self.joined;
        let joined = if group.is_ipv6() { v6 } else { v4 };
        *joined = *joined + usize::from(is) - usize::from(was);
        differs
    }

    /// For a relay that knows nothing: what was left is forgotten, the rest is to be told anew.
    pub fn announce_all(&mut self, times: u8) {
        self.all.retain(|_, group| !group.filter.is_none());
        self.all.values_mut().for_each(|group| group.announce(times));
        self.fresh = self.all.keys().copied().collect();
        self.again.clear();
    }

    /// For a family of which the relay knows nothing: what was left needn't be told.
    pub fn forget_left(&mut self, mld: bool) {
        for group in
            self.fresh.iter().chain(&self.again).copied().filter(|group| is_of(mld, *group)).collect::<Vec<_>>()
        {
            self.forget(group);
        }
    }

    /// If a group was left, that needn't be told.
    pub fn forget(&mut self, group: IpAddr) {
        if self.filter(group).is_none() {
            self.all.remove(&group);
            self.fresh.remove(&group);
            self.again.remove(&group);
        }
    }

    /// Whether something waits to be told for the first time.
    pub fn has_fresh(&self, mld: bool) -> bool {
        self.fresh.iter().any(|group| is_of(mld, *group))
    }

    /// Whether something waits to be told again.
    pub fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// What has changed since the last telling, as told now.
    pub fn tell_fresh(&mut self, mld: bool) -> Told {
        let groups = self.fresh.iter().copied().filter(|group| is_of(mld, *group)).collect();
        self.tell(groups)
    }

    /// What was told already, again.
    pub fn tell_again(&mut self, mld: bool) -> Told {
        let groups = self.again.iter().copied().filter(|group| is_of(mld, *group)).collect();
        self.tell(groups)
    }

    /// That all groups are left, for a relay that is left.
    pub fn goodbye(&self, mld: bool) -> Told {
        let left: Vec<IpAddr> = self.each().map(|(group, _)| group).filter(|group| is_of(mld, *group)).collect();
        let leave = |group: &IpAddr| Saying { kind: Kind::ChangeToInclude, group: *group, sources: Vec::new() };
        Told { sayings: left.iter().map(leave).collect(), left }
    }

    fn tell(&mut self, groups: Vec<IpAddr>) -> Told {
        let mut told = Told::default();
        for group in groups {
            self.fresh.remove(&group);
            let Some(entry) = self.all.get_mut(&group) else { continue };
            told.sayings.extend(entry.changes(group));
            if entry.filter.is_none() {
                told.left.push(group);
            }
            entry.told();
            if entry.is_pending() {
                self.again.insert(group);
            } else {
                self.again.remove(&group);
                if entry.filter.is_none() {
                    self.all.remove(&group);
                }
            }
        }
        told
    }

    /// What is so now, for a router that asks. What has changed is told by this too.
    pub fn tell_state(&mut self, mld: bool) -> Told {
        let joined = self.all.iter().filter(|(group, _)| is_of(mld, **group));
        let sayings = joined.filter_map(|(group, entry)| entry.state(*group)).collect();
        let is_joined = |group: &&IpAddr| is_of(mld, **group) && self.filter(**group).is_some();
        for group in self.fresh.iter().filter(is_joined).copied().collect::<Vec<_>>() {
            let Some(entry) = self.all.get_mut(&group) else { continue };
            // That a source is no longer listened to shows only in a list of those that aren't.
            let is_told = |saying: &Saying| entry.filter.is_exclude() || saying.kind != Kind::BlockOldSources;
            if entry.changes(group).iter().all(is_told) {
                self.fresh.remove(&group);
                entry.told();
                if entry.is_pending() {
                    self.again.insert(group);
                }
            }
        }
        Told { sayings, left: Vec::new() }
    }
}

/// What goes into a report.
#[derive(Default)]
pub(super) struct Told {
    pub sayings: Vec<Saying>,
    /// Groups that are left altogether.
    pub left: Vec<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_group_that_is_left_is_forgotten_when_it_is_told() {
        let (mut groups, group) = (Groups::default(), ip("232.1.1.1"));
        assert!(groups.change(group, Filter::any(), 2) && !groups.change(group, Filter::any(), 2));
        assert_eq!((groups.count(), groups.needs(false), groups.needs(true)), (1, true, false));
        assert_eq!(groups.tell_fresh(false).sayings.len(), 1);
        assert_eq!(groups.tell_again(false).sayings.len(), 1);
        assert!(!groups.has_again() && groups.needs(false));
        groups.change(group, Filter::none(), 2);
        assert_eq!((groups.count(), groups.needs(false)), (0, true));
        assert_eq!(groups.tell_fresh(false).left, [group]);
        assert_eq!(groups.tell_again(false).left, [group]);
        assert!(!groups.needs(false) && groups.all.is_empty());
        assert!(!groups.change(group, Filter::none(), 2) && groups.all.is_empty());
    }

    #[test]
    fn the_state_tells_what_was_joined_and_not_what_was_left() {
        let (mut groups, one, two) = (Groups::default(), ip("232.1.1.1"), ip("ff3e::1"));
        groups.change(one, Filter::only([ip("192.0.2.1")]), 2);
        groups.change(two, Filter::any(), 1);
        assert_eq!(groups.tell_state(false).sayings.len(), 1);
        assert!(!groups.has_fresh(false) && groups.has_again() && groups.has_fresh(true));
        groups.change(one, Filter::only([ip("192.0.2.2")]), 2);
        groups.tell_state(false);
        assert!(groups.has_fresh(false), "that 192.0.2.1 went isn't told");
        assert_eq!(groups.tell_fresh(false).sayings.len(), 2);
    }
}
