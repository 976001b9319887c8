//! One membership: made, lost, made again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Manager;
use super::events::{Event, Events, What};
use super::links::{Link, Links};
use super::wish::{Key, Membership, State};
use crate::error::Errno;
use crate::sys::interface::Name;

/// How long until what was refused is tried again: at first, and at most.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

impl Manager<'_> {
    /// One wish more for a group on an interface. `again`: it was wished for there before.
    pub(super) fn want(&mut self, interface: u32, key: Key, again: bool) {
        let memberships = self.memberships.entry(interface).or_default();
        let membership = memberships.entry(key).or_insert(Membership {
            wishes: 0,
            socket: None,
            state: State::Waiting(Errno::ENODEV),
            was_told: false,
            was_joined: again,
        });
        membership.wishes += 1;
        if membership.wishes == 1 {
            self.attempt(interface, key);
        }
    }

    /// One wish less; the last one leaves. `why` it can't be there any more, unless the caller said so.
    pub(super) fn unwant(&mut self, interface: u32, key: Key, why: Option<Errno>) {
        let Some(memberships) = self.memberships.get_mut(&interface) else { return };
        let Some(membership) = memberships.get_mut(&key) else { return };
        membership.wishes -= 1;
        if membership.wishes > 0 {
            return;
        }
        // One that is down was told as such; that it doesn't come up again is news.
        let (socket, was_told) = (membership.socket, membership.was_told && membership.socket.is_some());
        memberships.remove(&key);
        if memberships.is_empty() {
            self.memberships.remove(&interface);
        }
        self.deaf.remove(&(interface, key));
        self.refused.remove(&(interface, key));
        if self.refused.is_empty() {
            self.retry = None;
        }
        if let Some(number) = socket {
            self.sockets.leave(number, key, interface);
        }
        if let Some(error) = why.filter(|_| was_told) {
            tell(&mut self.events, &self.links, interface, key, What::Lost(error));
        }
    }

    /// Joins, or says why not and tries again later.
    fn attempt(&mut self, interface: u32, key: Key) {
        let Some(membership) = self.memberships.get_mut(&interface).and_then(|all| all.get_mut(&key)) else { return };
        match self.sockets.join(key, interface) {
            Ok(number) => {
                membership.socket = Some(number);
                membership.state = State::Down;
                self.voices.open(key.group);
                self.refused.remove(&(interface, key));
                if self.refused.is_empty() {
                    self.retry = None;
                }
                if self.links.get(&interface).is_some_and(Link::is_live) {
                    self.report_one(interface, key);
                }
            }
            Err(error) => {
                if membership.state != State::Refused(error) {
                    membership.state = State::Refused(error);
                    tell(&mut self.events, &self.links, interface, key, What::Refused(error));
                }
                self.refused.insert((interface, key));
                self.retry.get_or_insert_with(|| (RETRY_FIRST, Instant::now() + RETRY_FIRST));
            }
        }
    }

    pub(super) fn try_refused_again(&mut self, now: Instant) {
        let pause = self.retry.map_or(RETRY_FIRST, |(pause, _)| pause);
        for (interface, key) in self.refused.clone() {
            self.attempt(interface, key);
        }
        let pause = (pause * 2).min(RETRY_MOST);
        self.retry = (!self.refused.is_empty()).then(|| (pause, now + pause));
    }

    /// What was refused on an interface, after something has become of it.
    pub(super) fn try_refused_on(&mut self, interface: u32) {
        let Some(memberships) = self.memberships.get(&interface).filter(|_| !self.refused.is_empty()) else { return };
        let is_refused = |membership: &Membership| matches!(membership.state, State::Refused(_));
        let refused = memberships.iter().filter(|(_, membership)| is_refused(membership));
        for key in refused.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.attempt(interface, key);
        }
    }

    /// Nothing arrives on the interface any more: it is down, its carrier is gone, or IPv6 isn't ready.
    pub(super) fn goes_down(&mut self, interface: u32, of: impl Fn(Key) -> bool) {
        for (key, membership) in self.memberships.get_mut(&interface).into_iter().flatten().filter(|(key, _)| of(**key))
        {
            match membership.state {
                State::Live => tell(&mut self.events, &self.links, interface, *key, What::Lost(Errno::ENETDOWN)),
                State::Deaf(_) => drop(self.deaf.remove(&(interface, *key))),
                _ => continue,
            }
            membership.state = State::Down;
        }
    }

    /// What is joined on an interface that is live is there, as far as its sockets can hear it.
    pub(super) fn report(&mut self, interface: u32, of: impl Fn(Key) -> bool) {
        let keys = self.memberships.get(&interface).into_iter().flat_map(BTreeMap::keys).copied();
        let keys: Vec<Key> = keys.filter(|key| of(*key)).collect();
        keys.into_iter().for_each(|key| self.report_one(interface, key));
    }

    fn report_one(&mut self, interface: u32, key: Key) {
        let Some(membership) = self.memberships.get_mut(&interface).and_then(|all| all.get_mut(&key)) else { return };
        let (Some(number), Some(link)) = (membership.socket, self.links.get(&interface)) else { return };
        let Some(hearing) = self.sockets.hearing(number).filter(|_| link.is_live_for(key.group)) else { return };
        let what = match hearing.deafness(key, interface, link) {
            None => {
                self.deaf.remove(&(interface, key));
                membership.state = State::Live;
                if std::mem::replace(&mut membership.was_joined, true) { What::Rejoined } else { What::Joined }
            }
            Some(error) if membership.state == State::Deaf(error) => return,
            Some(error) => {
                self.deaf.insert((interface, key));
                membership.state = State::Deaf(error);
                What::Deaf(error)
            }
        };
        membership.was_told = true;
        tell(&mut self.events, &self.links, interface, key, what);
    }

    /// Looks whether the sockets hear more or less than before: the caller may bind or connect his own at any time.
    pub fn look_at_hearing(&mut self) {
        if self.sockets.look_at_own(&self.links) {
            self.memberships.keys().copied().collect::<Vec<_>>().into_iter().for_each(|at| self.hearing_changed(at));
            self.plan_look(Instant::now());
        }
    }

    /// Tells what is live and was deaf or down, or has become deaf. The kernel itself has reported the groups of
    /// an interface that is up again.
    pub(super) fn hearing_changed(&mut self, interface: u32) {
        let (Some(link), Some(memberships)) = (self.links.get(&interface), self.memberships.get(&interface)) else {
            return;
        };
        let is_news = |(key, found): &(&Key, &Membership)| {
            let hearing = found.socket.and_then(|number| self.sockets.hearing(number));
            let now = hearing.and_then(|hearing| hearing.deafness(**key, interface, link));
            match found.state {
                State::Live => now.is_some(),
                State::Deaf(before) => now != Some(before),
                State::Down => link.is_live_for(key.group),
                _ => false,
            }
        };
        let news: Vec<Key> = memberships.iter().filter(is_news).map(|(key, _)| *key).collect();
        news.into_iter().for_each(|key| self.report_one(interface, key));
    }

    pub(super) fn name(&self, interface: u32) -> Name {
        name(&self.links, interface)
    }
}

pub(super) fn tell(events: &mut Events, links: &Links, interface: u32, key: Key, what: What) {
    events.push(Event { what, key: Some(key), interface, name: name(links, interface) });
}

fn name(links: &Links, interface: u32) -> Name {
    links.get(&interface).map_or([0; 16], |link| link.padded_name)
}
