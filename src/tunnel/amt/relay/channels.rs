//! The groups that tunnels want: who wants them, and what to join for all.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::clock::{SECOND, Tick};
use super::filter::Filter;
use crate::hash::HashMap;

/// A group, or one source of it, to join or to leave upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on.
    Join(IpAddr, Option<IpAddr>),
    /// No longer.
    Leave(IpAddr, Option<IpAddr>),
}

/// What a tunnel wants of a group.
#[derive(Debug)]
pub struct Member {
    /// The tunnel's number.
    pub tunnel: u32,
    /// What it wants.
    pub filter: Filter,
}

/// With more changes that wait than this, a group's next ones wait for these: then they are what is left
/// of all that has happened in between. So what waits is no more than there is to join and to leave,
/// however often a report changes its mind.
const CHANGES_MAX: usize = 1024;

/// How many want a source by name.
#[derive(Debug, Default)]
struct Want {
    count: u32,
    is_joined: bool,
}

/// A group.
#[derive(Debug)]
pub struct Channel {
    /// Its address.
    pub group: IpAddr,
    members: Vec<Member>,
    /// How many want it whole.
    open: u32,
    is_joined: bool,
    wants: HashMap<IpAddr, Want>,
    /// It is among those to settle when there is room for their changes.
    is_late: bool,
    /// Nothing runs out before.
    next: Option<Tick>,
}

impl Channel {
    fn new(group: IpAddr) -> Channel {
        let (members, wants) = (Vec::new(), HashMap::default());
        Channel { group, members, open: 0, is_joined: false, wants, is_late: false, next: None }
    }

    /// Who wants it.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One of them.
    pub fn member(&self, member: u32) -> Option<&Member> {
        self.members.get(member as usize)
    }

    /// Counts what a member wants, or wanted; which sources it is about goes into `touched`.
    fn count(&mut self, member: u32, is_more: bool, touched: &mut Vec<IpAddr>) {
        let Channel { members, open, wants, .. } = self;
        let Some(Member { filter, .. }) = members.get(member as usize) else { return };
        let change = |count: &mut u32| *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        if filter.is_open() {
            return change(open);
        }
        for source in filter.included() {
            touched.push(source);
            match wants.get_mut(&source) {
                Some(want) => change(&mut want.count),
                None if is_more => drop(wants.insert(source, Want { count: 1, is_joined: false })),
                None => {}
            }
        }
    }

    /// Tells what is to be joined and left so that all get what they want: what is new comes first.
    /// `touched`: the sources to look at, if the group wasn't wanted whole before and isn't now.
    fn settle(&mut self, touched: &mut Vec<IpAddr>, changes: &mut VecDeque<Change>) {
        let (group, is_open, was_open) = (self.group, self.open > 0, self.is_joined);
        if is_open != was_open || self.is_late {
            touched.clear();
            touched.extend(self.wants.keys());
            touched.sort_unstable();
        }
        if is_open && !was_open {
            changes.push_back(Change::Join(group, None));
        }
        for source in touched.iter() {
            let Some(want) = self.wants.get_mut(source).filter(|want| !want.is_joined) else { continue };
            if !is_open && want.count > 0 {
                want.is_joined = true;
                changes.push_back(Change::Join(group, Some(*source)));
            }
        }
        if !is_open && was_open {
            changes.push_back(Change::Leave(group, None));
        }
        for source in touched.drain(..) {
            let Some(want) = self.wants.get_mut(&source) else { continue };
            if want.is_joined && (is_open || want.count == 0) {
                want.is_joined = false;
                changes.push_back(Change::Leave(group, Some(source)));
            }
            if want.count == 0 {
                self.wants.remove(&source);
            }
        }
        (self.is_joined, self.is_late) = (is_open, false);
    }

    /// Forgets sources that nobody wants any more, and that aren't joined.
    fn forget(&mut self, touched: &mut Vec<IpAddr>) {
        for source in touched.drain(..) {
            if self.wants.get(&source).is_some_and(|want| want.count == 0 && !want.is_joined) {
                self.wants.remove(&source);
            }
        }
    }
}

/// All groups that tunnels want.
#[derive(Default)]
pub struct Channels {
    by_group: HashMap<IpAddr, u32>,
    slots: Vec<Option<Channel>>,
    free: Vec<u32>,
    next: Option<Tick>,
    /// How many members there are, and sources that they know.
    held: usize,
    /// What is to be done upstream.
    changes: VecDeque<Change>,
    /// The channels to settle when that is done.
    late: Vec<u32>,
    /// Room for sources.
    touched: Vec<IpAddr>,
}

impl Channels {
    /// How many.
    pub fn len(&self) -> usize {
        self.by_group.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many members and sources are remembered: what most of the memory is for.
    pub fn held(&self) -> usize {
        self.held
    }

    /// A group's.
    pub fn of_group(&self, group: IpAddr) -> Option<&Channel> {
        self.get(self.find(group)?)
    }

    /// The number of a group's.
    pub fn find(&self, group: IpAddr) -> Option<u32> {
        self.by_group.get(&group).copied()
    }

    /// By number.
    pub fn get(&self, number: u32) -> Option<&Channel> {
        self.slots.get(number as usize)?.as_ref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Channel> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().flatten()
    }

    /// A group's, made if need be.
    pub fn find_or_make(&mut self, group: IpAddr) -> u32 {
        if let Some(number) = self.find(group) {
            return number;
        }
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(Channel::new(group)),
            None => self.slots.push(Some(Channel::new(group))),
        }
        self.by_group.insert(group, number);
        number
    }

    /// A member that wants nothing yet; where it is.
    pub fn add_member(&mut self, number: u32, tunnel: u32) -> u32 {
        let Some(channel) = self.get_mut(number) else { return 0 };
        channel.members.push(Member { tunnel, filter: Filter::default() });
        let member = channel.members.len() as u32 - 1;
        self.held += 1;
        member
    }

    /// Changes what a member wants.
    pub fn change<T>(&mut self, number: u32, member: u32, change: impl FnOnce(&mut Filter) -> T) -> Option<T> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false, &mut self.touched);
        let filter = channel.members.get_mut(member as usize).map(|member| &mut member.filter)?;
        let before = filter.len();
        let result = change(filter);
        self.held = (self.held + filter.len()).saturating_sub(before);
        let next = filter.next();
        channel.count(member, true, &mut self.touched);
        channel.next = earlier(channel.next, next);
        self.next = earlier(self.next, next);
        self.settle(number);
        Some(result)
    }

    /// Settles a channel, now or later.
    fn settle(&mut self, number: u32) {
        let Channels { slots, changes, late, touched, .. } = self;
        let Some(channel) = slots.get_mut(number as usize).and_then(Option::as_mut) else { return };
        if channel.is_late {
            channel.forget(touched);
        } else if changes.len() < CHANGES_MAX {
            channel.settle(touched, changes);
        } else {
            channel.forget(touched);
            channel.is_late = true;
            late.push(number);
        }
    }

    /// The next thing to do upstream.
    pub fn poll_change(&mut self) -> Option<Change> {
        while self.changes.is_empty() {
            let number = self.late.pop()?;
            let Some(channel) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            // Another channel of that number may be on time.
            if channel.is_late {
                channel.settle(&mut self.touched, &mut self.changes);
            }
        }
        self.changes.pop_front()
    }

    /// How many things to do upstream wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.changes.len()
    }

    /// Takes a member out. The last one takes its place: that one's tunnel, if there is one.
    pub fn remove_member(&mut self, number: u32, member: u32) -> Option<u32> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false, &mut self.touched);
        if (member as usize) < channel.members.len() {
            let gone = channel.members.swap_remove(member as usize);
            self.held = self.held.saturating_sub(1 + gone.filter.len());
        }
        let moved = channel.members.get(member as usize).map(|member| member.tunnel);
        if channel.members.is_empty() {
            self.remove(number);
        } else {
            self.settle(number);
        }
        moved
    }

    fn remove(&mut self, number: u32) {
        let Some(mut channel) = self.slots.get_mut(number as usize).and_then(Option::take) else { return };
        // Nobody will look at it later.
        channel.settle(&mut self.touched, &mut self.changes);
        self.by_group.remove(&channel.group);
        self.free.push(number);
        if self.is_empty() {
            *self = Channels { changes: std::mem::take(&mut self.changes), ..Channels::default() };
        }
    }

    /// When to look for what has run out.
    pub fn next(&self) -> Option<Tick> {
        self.next
    }

    /// Takes out what has run out. Calls `each` for members that want nothing any more, by channel and
    /// tunnel: they are still there. A channel is looked at when something in it may have run out, all
    /// of them once a second at most.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(u32, u32)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.next = None;
        for number in 0..self.slots.len() as u32 {
            let Channels { slots, touched, held, .. } = self;
            let Some(channel) = slots.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            let is_due = channel.next.is_some_and(|next| next <= now);
            if is_due {
                channel.next = None;
                for member in 0..channel.members.len() as u32 {
                    let gone = channel.expire(member, now, touched, |tunnel| each(number, tunnel));
                    *held = held.saturating_sub(gone);
                }
            }
            self.next = earlier(self.next, channel.next);
            if is_due {
                self.settle(number);
            }
        }
        self.next = self.next.map(|next| next.max(now + SECOND));
    }
}

impl Channel {
    /// How many sources are gone.
    fn expire(&mut self, member: u32, now: Tick, touched: &mut Vec<IpAddr>, each: impl FnOnce(u32)) -> usize {
        let mut gone = 0;
        let next = |channel: &Channel| channel.members.get(member as usize).and_then(|member| member.filter.next());
        if next(self).is_some_and(|next| next <= now) {
            self.count(member, false, touched);
            if let Some(member) = self.members.get_mut(member as usize) {
                let before = member.filter.len();
                member.filter.expire(now);
                gone = before - member.filter.len();
                if member.filter.is_nothing() {
                    each(member.tunnel);
                }
            }
            self.count(member, true, touched);
        }
        self.next = earlier(self.next, next(self));
        gone
    }
}

fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    [one, other].into_iter().flatten().min()
}
