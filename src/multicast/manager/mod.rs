//! Memberships that are kept: a wish names groups and interfaces, and is made true again whatever
//! becomes of the interfaces.
//!
//! The kernel's traps that this absorbs: a membership goes silently with its interface; after a lost
//! carrier it stays, but no report goes out, so a switch that snoops stays silent; leaving and joining again
//! makes one go out only where no other socket of this host holds the group; a membership on an interface
//! that is gone still takes room.

mod alike;
mod announce;
mod follow;
mod hearing;
mod keep;
mod news;
mod querier;
mod receive;
mod report;
mod request;
mod sockets;
mod voice;

pub mod events;
pub mod links;
pub mod selector;
pub mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::hash::HashMap;
use crate::sys::descriptor::Descriptor;
use crate::sys::netlink::Netlink;
use events::Events;
use links::Links;
use news::{LOOK, News};
use receive::Inbox;
use selector::Selector;
use sockets::{OWN, Sockets};
use voice::Voices;
use wish::{Key, Membership, State, Status, Wishes};

const EVENTS: usize = 16_384;

/// Keeps wishes true on a socket.
pub struct Manager<'fd> {
    sockets: Sockets<'fd>,
    news: News,
    /// Answers which route leads to a group; made when it is first asked.
    requests: Option<Netlink>,
    links: Links,
    wishes: Vec<Wishes>,
    /// By interface.
    memberships: HashMap<u32, BTreeMap<Key, Membership>>,
    /// Whether a group is wished for by source, and how many wishes there are.
    groups: HashMap<IpAddr, (bool, usize)>,
    refused: BTreeSet<(u32, Key)>,
    /// Joined, and not to be heard.
    deaf: BTreeSet<(u32, Key)>,
    events: Events,
    announce: Option<(Duration, Instant)>,
    /// Says what is joined, where this process may.
    voices: Voices,
    /// Where it is to be said once more, and when.
    again: Option<(Instant, BTreeSet<u32>)>,
    retry: Option<(Duration, Instant)>,
    /// When to look at what nobody tells of: interfaces without rtnetlink, and where the caller binds his socket.
    look: Option<Instant>,
    /// Something that may change which way a route leads.
    routes_changed: bool,
    /// Changes were lost: everything is to be looked at anew.
    lost_track: bool,
    /// What was joined may be gone without a word.
    distrusts_kernel: bool,
    inbox: Option<Inbox>,
}

impl<'fd> Manager<'fd> {
    /// Wishes for nothing yet. `announce`: how often to report everything anew.
    pub fn open(socket: impl Into<Descriptor<'fd>>, announce: Option<Duration>, events: usize) -> Result<Manager<'fd>> {
        let mut manager = Manager {
            sockets: Sockets::open(socket.into())?,
            // Before looking, so that nothing is missed between.
            news: News::open()?,
            requests: None,
            links: Links::new(),
            wishes: Vec::new(),
            memberships: HashMap::default(),
            groups: HashMap::default(),
            refused: BTreeSet::new(),
            deaf: BTreeSet::new(),
            events: Events::new(if events == 0 { EVENTS } else { events }),
            announce: announce.map(|every| (every, Instant::now() + every)),
            voices: Voices::default(),
            again: None,
            retry: None,
            look: None,
            routes_changed: false,
            lost_track: false,
            distrusts_kernel: false,
            inbox: None,
        };
        manager.look_at_everything()?;
        manager.sockets.look_at_own(&manager.links);
        manager.plan_look(Instant::now());
        Ok(manager)
    }

    /// One wish more; on how many interfaces it is joined now. `EADDRINUSE` if there is such a wish, or one
    /// for the group whole where this is by source, or the reverse: a socket can't hold both.
    pub fn add(&mut self, key: Key, selector: Selector) -> Result<i32> {
        key.check()?;
        self.sockets.check(key)?;
        let by_source = key.source.is_some();
        if self.groups.get(&key.group).is_some_and(|(other, _)| *other != by_source) {
            return Err(Errno::EADDRINUSE);
        }
        selector.check(&self.links)?;
        // What may fail comes before anything is noted.
        let route = match selector {
            Selector::Route => {
                self.news.watch_routes()?;
                self.route_to(key.group)?
            }
            _ => None,
        };
        let number = self.wishes_for(selector);
        let Some(wishes) = self.wishes.get_mut(number) else { return Err(Errno::EINVAL) };
        if !wishes.keys.insert(key) {
            return Err(Errno::EADDRINUSE);
        }
        self.groups.entry(key.group).or_insert((by_source, 0)).1 += 1;
        for interface in wishes.on.clone() {
            self.want(interface, key, false);
        }
        self.follow_route(number, key, route, true);
        self.plan_look(Instant::now());
        self.watch_sockets();
        let joined = |memberships: &BTreeMap<Key, Membership>| memberships.get(&key)?.socket;
        let on = self.interfaces_of(number, key);
        Ok(on.filter(|at| self.memberships.get(at).and_then(joined).is_some()).count() as i32)
    }

    /// The wishes for these interfaces.
    fn wishes_for(&mut self, selector: Selector) -> usize {
        if let Some(number) = self.wishes.iter().position(|wishes| wishes.selector == selector) {
            return number;
        }
        let mut wishes = Wishes::new(selector);
        wishes.on = wishes.selector.all(&self.links);
        let meant = wishes.on.iter().filter_map(|index| self.links.get(index));
        wishes.seen.extend(meant.map(|link| link.padded_name));
        self.wishes.push(wishes);
        self.wishes.len() - 1
    }

    /// The interfaces that a wish reaches now.
    fn interfaces_of(&self, number: usize, key: Key) -> impl Iterator<Item = u32> + '_ {
        let wishes = self.wishes.get(number);
        let route = wishes.and_then(|wishes| wishes.routes.get(&key).copied());
        wishes.into_iter().flat_map(|wishes| wishes.on.iter().copied()).chain(route)
    }

    /// One wish less. `EADDRNOTAVAIL` if there is none.
    pub fn remove(&mut self, key: Key, selector: &Selector) -> Result<()> {
        key.check()?;
        let found = self.wishes.iter().position(|wishes| wishes.selector == *selector);
        let number = found.ok_or(Errno::EADDRNOTAVAIL)?;
        let on: Vec<u32> = self.interfaces_of(number, key).collect();
        let wishes = self.wishes.get_mut(number).ok_or(Errno::EADDRNOTAVAIL)?;
        if !wishes.keys.remove(&key) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        wishes.routes.remove(&key);
        if wishes.keys.is_empty() {
            self.wishes.swap_remove(number);
        }
        for interface in on {
            self.unwant(interface, key, None);
        }
        if let Some((_, count)) = self.groups.get_mut(&key.group) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&key.group);
            }
        }
        Ok(())
    }

    /// Does what there is to do, without waiting.
    pub fn process(&mut self) -> Result<()> {
        let now = Instant::now();
        self.follow(now)?;
        self.look_at_hearing();
        if self.retry.is_some_and(|(_, at)| at <= now) {
            self.try_refused_again(now);
        }
        if self.announce.is_some_and(|(_, at)| at <= now) {
            self.announce_all(now);
        }
        if self.again.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.say_again();
        }
        self.plan_look(now);
        self.watch_sockets();
        Ok(())
    }

    pub(super) fn plan_look(&mut self, now: Instant) {
        if self.news.is_told() && self.deaf.is_empty() {
            self.look = None;
        } else if self.look.is_none_or(|at| at <= now) {
            self.look = Some(now + LOOK);
        }
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        let announce = self.announce.filter(|_| !self.memberships.is_empty());
        let again = self.again.as_ref().map(|(at, _)| *at);
        [announce, self.retry].into_iter().flatten().map(|(_, at)| at).chain(again).chain(self.look).min()
    }

    /// [`Manager::process`] until there is an event.
    pub fn wait(&mut self, mut deadline: Deadline) -> Result<()> {
        loop {
            self.process()?;
            if !self.events.is_empty() {
                return Ok(());
            }
            self.pause(self.news.fd(), &mut deadline)?;
        }
    }

    /// Waits until a descriptor is readable, or there is something to do by time.
    fn pause(&self, fd: BorrowedFd<'_>, deadline: &mut Deadline) -> Result<()> {
        let timer = self.timer().map(Deadline::At);
        match (timer, deadline.start()) {
            (Some(mut timer), Deadline::Never) => ignore_timeout(timer.wait(fd)),
            (Some(Deadline::At(timer)), Deadline::At(end)) if timer < end => {
                ignore_timeout(Deadline::At(timer).wait(fd))
            }
            _ => deadline.wait(fd),
        }
    }

    /// Calls `each` for every wish on every interface that it reaches.
    pub fn each_status(&self, mut each: impl FnMut(&Status<'_>)) {
        for (number, wishes) in self.wishes.iter().enumerate() {
            let wished = wishes.selector.text();
            for key in &wishes.keys {
                let mut is_anywhere = false;
                for interface in self.interfaces_of(number, *key) {
                    let memberships = self.memberships.get(&interface);
                    let Some(membership) = memberships.and_then(|memberships| memberships.get(key)) else { continue };
                    let fd = membership.socket.and_then(|number| self.sockets.get(number)).map(|fd| fd.as_raw_fd());
                    let (name, state) = (self.name(interface), membership.state);
                    each(&Status { key: *key, wished: &wished, interface, name, state, fd });
                    is_anywhere = true;
                }
                if !is_anywhere {
                    let route = wishes.selector == Selector::Route;
                    let state = State::Waiting(if route { Errno::ENETUNREACH } else { Errno::ENODEV });
                    each(&Status { key: *key, wished: &wished, interface: 0, name: [0; 16], state, fd: None });
                }
            }
        }
    }

    /// Whether anything is wished for on an interface that is there.
    pub fn is_joined_on(&self, interface: u32) -> bool {
        self.memberships.get(&interface).is_some_and(|memberships| !memberships.is_empty())
    }

    /// The caller's socket, then those that were made.
    pub fn sockets(&self) -> impl Iterator<Item = i32> + '_ {
        (OWN..self.sockets.count()).filter_map(|number| self.sockets.get(number)).map(|fd| fd.as_raw_fd())
    }

    /// To wait on.
    pub fn watch_fd(&self) -> i32 {
        self.news.fd().as_raw_fd()
    }

    /// To wait on, too.
    pub fn netlink_fd(&self) -> BorrowedFd<'_> {
        self.news.fd()
    }

    /// What has become of memberships.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// To take them.
    pub fn events_mut(&mut self) -> &mut Events {
        &mut self.events
    }
}

fn ignore_timeout(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::ETIMEDOUT | Errno::EAGAIN) => Ok(()),
        result => result,
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        // In a child it is a copy: what it holds is the parent's.
        if !self.sockets.is_here() {
            return;
        }
        // Those of the sockets that were made go with them.
        for (interface, memberships) in &self.memberships {
            for (key, membership) in memberships {
                if membership.socket == Some(OWN) {
                    self.sockets.leave(OWN, *key, *interface);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_source_that_cannot_be_is_told_as_such_whether_wished_or_taken_back() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut manager = Manager::open(socket.as_fd(), None, 0).unwrap();
        for (source, error) in
            [("fd01::9", Errno::EAFNOSUPPORT), ("239.1.2.4", Errno::EINVAL), ("0.0.0.0", Errno::EINVAL)]
        {
            let key = Key { group: "239.1.2.3".parse().unwrap(), source: Some(source.parse().unwrap()) };
            assert_eq!(manager.add(key, Selector::All), Err(error), "{source}");
            assert_eq!(manager.remove(key, &Selector::All), Err(error), "{source}");
        }
    }
}
