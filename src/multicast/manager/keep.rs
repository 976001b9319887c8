//! One membership: made, lost, made again.

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
            was_live: false,
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
        let (socket, was_live) = (membership.socket, membership.was_live && membership.socket.is_some());
        memberships.remove(&key);
        if memberships.is_empty() {
            self.memberships.remove(&interface);
        }
        self.refused.remove(&(interface, key));
        if self.refused.is_empty() {
            self.retry = None;
        }
        if let Some(number) = socket {
            self.sockets.leave(number, key, interface);
        }
        if let Some(error) = why.filter(|_| was_live) {
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
                    becomes_live(&mut self.events, &self.links, interface, key, membership);
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

    /// The interface is down, or its carrier is gone.
    pub(super) fn goes_down(&mut self, interface: u32) {
        for (key, membership) in self.memberships.get_mut(&interface).into_iter().flatten() {
            if membership.state == State::Live {
                membership.state = State::Down;
                tell(&mut self.events, &self.links, interface, *key, What::Lost(Errno::ENETDOWN));
            }
        }
    }

    /// The interface is up again, and the kernel has reported its groups by itself.
    pub(super) fn comes_up(&mut self, interface: u32) {
        for (key, membership) in self.memberships.get_mut(&interface).into_iter().flatten() {
            if membership.state == State::Down {
                becomes_live(&mut self.events, &self.links, interface, *key, membership);
            }
        }
    }

    pub(super) fn name(&self, interface: u32) -> Name {
        name(&self.links, interface)
    }
}

pub(super) fn becomes_live(events: &mut Events, links: &Links, interface: u32, key: Key, membership: &mut Membership) {
    let what = if membership.was_joined { What::Rejoined } else { What::Joined };
    (membership.state, membership.was_live, membership.was_joined) = (State::Live, true, true);
    tell(events, links, interface, key, what);
}

pub(super) fn tell(events: &mut Events, links: &Links, interface: u32, key: Key, what: What) {
    events.push(Event { what, key: Some(key), interface, name: name(links, interface) });
}

fn name(links: &Links, interface: u32) -> Name {
    links.get(&interface).map_or([0; 16], |link| link.padded_name)
}
