//! The groups that tunnels want: who wants them, and what to join for all.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::clock::{SECOND, Tick};
use super::filter::Filter;

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

/// A source wanted by name, and by how many.
#[derive(Debug)]
struct Want {
    source: IpAddr,
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
    wants: Vec<Want>,
    /// Nothing runs out before.
    next: Option<Tick>,
}

impl Channel {
    fn new(group: IpAddr) -> Channel {
        Channel { group, members: Vec::new(), open: 0, is_joined: false, wants: Vec::new(), next: None }
    }

    /// Who wants it.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One of them.
    pub fn member(&self, member: u32) -> Option<&Member> {
        self.members.get(member as usize)
    }

    /// Counts what a member wants, or wanted.
    fn count(&mut self, member: u32, is_more: bool) {
        let Channel { members, open, wants, .. } = self;
        let Some(Member { filter, .. }) = members.get(member as usize) else { return };
        let change = |count: &mut u32| *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        if filter.is_open() {
            return change(open);
        }
        for source in filter.included() {
            match wants.iter_mut().find(|want| want.source == source) {
                Some(want) => change(&mut want.count),
                None if is_more => wants.push(Want { source, count: 1, is_joined: false }),
                None => {}
            }
        }
    }

    /// Tells what is to be joined and left so that all get what they want: what is new comes first.
    fn settle(&mut self, changes: &mut VecDeque<Change>) {
        let (group, is_open) = (self.group, self.open > 0);
        if is_open && !self.is_joined {
            changes.push_back(Change::Join(group, None));
        }
        let is_wanted = |want: &Want| !is_open && want.count > 0;
        for want in self.wants.iter().filter(|want| is_wanted(want) && !want.is_joined) {
            changes.push_back(Change::Join(group, Some(want.source)));
        }
        if !is_open && self.is_joined {
            changes.push_back(Change::Leave(group, None));
        }
        for want in self.wants.iter().filter(|want| !is_wanted(want) && want.is_joined) {
            changes.push_back(Change::Leave(group, Some(want.source)));
        }
        self.is_joined = is_open;
        self.wants.iter_mut().for_each(|want| want.is_joined = is_wanted(want));
        self.wants.retain(|want| want.count > 0);
    }
}

/// All groups that tunnels want.
#[derive(Default)]
pub struct Channels {
    by_group: HashMap<IpAddr, u32>,
    slots: Vec<Option<Channel>>,
    free: Vec<u32>,
    next: Option<Tick>,
    /// What is to be done upstream.
    pub changes: VecDeque<Change>,
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
        channel.members.len() as u32 - 1
    }

    /// Changes what a member wants.
    pub fn change<T>(&mut self, number: u32, member: u32, change: impl FnOnce(&mut Filter) -> T) -> Option<T> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false);
        let filter = channel.members.get_mut(member as usize).map(|member| &mut member.filter)?;
        let result = change(filter);
        let next = filter.next();
        channel.count(member, true);
        channel.settle(&mut self.changes);
        channel.next = earlier(channel.next, next);
        self.next = earlier(self.next, next);
        Some(result)
    }

    /// Takes a member out. The last one takes its place: that one's tunnel, if there is one.
    pub fn remove_member(&mut self, number: u32, member: u32) -> Option<u32> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false);
        channel.settle(&mut self.changes);
        if (member as usize) < channel.members.len() {
            channel.members.swap_remove(member as usize);
        }
        let moved = channel.members.get(member as usize).map(|member| member.tunnel);
        if channel.members.is_empty() {
            self.remove(number);
        }
        moved
    }

    fn remove(&mut self, number: u32) {
        let Some(channel) = self.slots.get_mut(number as usize).and_then(Option::take) else { return };
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
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(channel) = slot else { continue };
            if channel.next.is_some_and(|next| next <= now) {
                channel.next = None;
                for member in 0..channel.members.len() as u32 {
                    channel.expire(member, now, |tunnel| each(number as u32, tunnel));
                }
                channel.settle(&mut self.changes);
            }
            self.next = earlier(self.next, channel.next);
        }
        self.next = self.next.map(|next| next.max(now + SECOND));
    }
}

impl Channel {
    fn expire(&mut self, member: u32, now: Tick, each: impl FnOnce(u32)) {
        let next = |channel: &Channel| channel.members.get(member as usize).and_then(|member| member.filter.next());
        if next(self).is_some_and(|next| next <= now) {
            self.count(member, false);
            if let Some(member) = self.members.get_mut(member as usize) {
                member.filter.expire(now);
                if member.filter.is_nothing() {
                    each(member.tunnel);
                }
            }
            self.count(member, true);
        }
        self.next = earlier(self.next, next(self));
    }
}

fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    [one, other].into_iter().flatten().min()
}
