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

/// A channel remembers up to this many sources to look at; beyond that it looks at all of them.
const TOUCHED_MAX: usize = 64;

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
    /// It waits to be settled.
    is_dirty: bool,
    /// The sources to look at then; `None` for all of them.
    touched: Option<Vec<IpAddr>>,
    /// Nothing runs out before.
    next: Option<Tick>,
}

impl Channel {
    fn new(group: IpAddr) -> Channel {
        let (members, wants, touched) = (Vec::new(), HashMap::default(), Some(Vec::new()));
        Channel { group, members, open: 0, is_joined: false, wants, is_dirty: false, touched, next: None }
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
        let Channel { members, open, wants, touched, .. } = self;
        let Some(Member { filter, .. }) = members.get(member as usize) else { return };
        let change = |count: &mut u32| *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        if filter.is_open() {
            return change(open);
        }
        for source in filter.included() {
            let want = wants.entry(source).or_default();
            change(&mut want.count);
            // A report that changes its mind again and again takes no memory.
            if want.count == 0 && !want.is_joined {
                wants.remove(&source);
            }
            match touched {
                Some(sources) if sources.len() < TOUCHED_MAX => sources.push(source),
                _ => *touched = None,
            }
        }
    }

    /// Whether something of it is joined upstream.
    fn holds(&self) -> bool {
        self.is_joined || self.wants.values().any(|want| want.is_joined)
    }

    /// Tells what is to be joined and left so that all get what they want: what is new comes first, so that
    /// nothing is lost between.
    fn settle(&mut self, changes: &mut VecDeque<Change>) {
        let (group, is_open, was_open) = (self.group, self.open > 0, self.is_joined);
        let is_about_all = self.touched.is_none() || is_open != was_open;
        let mut sources = self.touched.take().unwrap_or_default();
        if is_about_all {
            sources.clear();
            sources.extend(self.wants.keys());
        }
        sources.sort_unstable();
        sources.dedup();
        if is_open && !was_open {
            changes.push_back(Change::Join(group, None));
        }
        for source in &sources {
            let Some(want) = self.wants.get_mut(source).filter(|want| !want.is_joined) else { continue };
            if !is_open && want.count > 0 {
                want.is_joined = true;
                changes.push_back(Change::Join(group, Some(*source)));
            }
        }
        if !is_open && was_open {
            changes.push_back(Change::Leave(group, None));
        }
        for source in sources.drain(..) {
            let Some(want) = self.wants.get_mut(&source) else { continue };
            if want.is_joined && (is_open || want.count == 0) {
                want.is_joined = false;
                changes.push_back(Change::Leave(group, Some(source)));
            }
            if want.count == 0 {
                self.wants.remove(&source);
            }
        }
        // The room is used again, unless it is much.
        sources.shrink_to(TOUCHED_MAX);
        (self.is_joined, self.is_dirty, self.touched) = (is_open, false, Some(sources));
    }
}

/// All groups that tunnels want. What is to be joined and left for a channel is found when it is asked for, not
/// when a report comes: a join that a leave follows before costs nothing upstream, nor the reverse. A channel
/// that nobody wants any more stays until it has been left.
#[derive(Default)]
pub struct Channels {
    by_group: HashMap<IpAddr, u32>,
    slots: Vec<Option<Channel>>,
    free: Vec<u32>,
    next: Option<Tick>,
    /// How many channels have members.
    wanted: usize,
    /// How many members there are, and sources that they know.
    held: usize,
    /// What is to be done upstream for the channel that was settled last.
    changes: VecDeque<Change>,
    /// The channels to settle, in the order in which they changed.
    dirty: VecDeque<u32>,
}

impl Channels {
    /// How many are wanted.
    pub fn len(&self) -> usize {
        self.wanted
    }

    /// Whether there are so many that no other group is taken. Those that aren't left yet don't stand in the way,
    /// unless there are as many of them again.
    pub fn is_full(&self, most: usize) -> bool {
        self.wanted >= most || self.by_group.len() >= most.saturating_mul(2)
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

    /// All that are wanted.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().flatten().filter(|channel| !channel.members.is_empty())
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
        self.wanted += usize::from(member == 0);
        member
    }

    /// Changes what a member wants.
    pub fn change<T>(&mut self, number: u32, member: u32, change: impl FnOnce(&mut Filter) -> T) -> Option<T> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false);
        let filter = channel.members.get_mut(member as usize).map(|member| &mut member.filter)?;
        let before = filter.len();
        let result = change(filter);
        self.held = (self.held + filter.len()).saturating_sub(before);
        let next = filter.next();
        channel.count(member, true);
        channel.next = earlier(channel.next, next);
        self.next = earlier(self.next, next);
        self.mark(number);
        Some(result)
    }

    /// A channel is to be settled.
    fn mark(&mut self, number: u32) {
        let Some(channel) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { return };
        if !channel.is_dirty {
            channel.is_dirty = true;
            self.dirty.push_back(number);
        }
    }

    /// Whether there may be something to do upstream.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty() || !self.dirty.is_empty()
    }

    /// How many channels wait to be settled, and changes of the one that is.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.changes.len() + self.dirty.len()
    }

    /// The next thing to do upstream.
    pub fn poll_change(&mut self) -> Option<Change> {
        while self.changes.is_empty() {
            let number = self.dirty.pop_front()?;
            let Some(channel) = self.slots.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            // Another channel may have that number by now.
            if channel.is_dirty {
                channel.settle(&mut self.changes);
                self.remove_if_over(number);
            }
        }
        self.changes.pop_front()
    }

    /// Takes a member out. The last one takes its place: that one's tunnel, if there is one.
    pub fn remove_member(&mut self, number: u32, member: u32) -> Option<u32> {
        let channel = self.slots.get_mut(number as usize)?.as_mut()?;
        channel.count(member, false);
        if (member as usize) < channel.members.len() {
            let gone = channel.members.swap_remove(member as usize);
            self.held = self.held.saturating_sub(1 + gone.filter.len());
            self.wanted -= usize::from(channel.members.is_empty());
        }
        let moved = channel.members.get(member as usize).map(|member| member.tunnel);
        self.mark(number);
        moved
    }

    /// Takes a channel out that nobody wants and of which nothing is joined.
    fn remove_if_over(&mut self, number: u32) {
        let is_over = |channel: &Channel| channel.members.is_empty() && !channel.holds();
        let Some(channel) = self.slots.get_mut(number as usize).and_then(|slot| slot.take_if(|one| is_over(one)))
        else {
            return;
        };
        self.by_group.remove(&channel.group);
        self.free.push(number);
        if self.by_group.is_empty() {
            // As little as at the beginning.
            *self = Channels { changes: std::mem::take(&mut self.changes), ..Channels::default() };
        }
    }

    /// When to look for what has run out.
    pub fn next(&self) -> Option<Tick> {
        self.next
    }

    /// Takes out what has run out. Calls `each` for members that have lost sources or want nothing any more, by
    /// channel and tunnel: they are still there. A channel is looked at when something in it may have run out, all
    /// of them once a second at most.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(u32, u32, Lost)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.next = None;
        for number in 0..self.slots.len() as u32 {
            let Channels { slots, held, .. } = self;
            let Some(channel) = slots.get_mut(number as usize).and_then(Option::as_mut) else { continue };
            let is_due = channel.next.is_some_and(|next| next <= now);
            if is_due {
                channel.next = None;
                for member in 0..channel.members.len() as u32 {
                    if let Some((tunnel, lost)) = channel.expire(member, now) {
                        *held = held.saturating_sub(lost.sources);
                        each(number, tunnel, lost);
                    }
                }
            }
            self.next = earlier(self.next, channel.next);
            if is_due {
                self.mark(number);
            }
        }
        self.next = self.next.map(|next| next.max(now + SECOND));
    }
}

/// What has run out of what a member wants.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// So many sources.
    pub sources: usize,
    /// It wants nothing any more.
    pub is_over: bool,
}

impl Channel {
    /// A member's tunnel, and what it has lost.
    fn expire(&mut self, member: u32, now: Tick) -> Option<(u32, Lost)> {
        let mut result = None;
        let next = |channel: &Channel| channel.members.get(member as usize).and_then(|member| member.filter.next());
        if next(self).is_some_and(|next| next <= now) {
            self.count(member, false);
            if let Some(member) = self.members.get_mut(member as usize) {
                let before = member.filter.len();
                member.filter.expire(now);
                let lost = Lost { sources: before - member.filter.len(), is_over: member.filter.is_nothing() };
                result = Some((member.tunnel, lost));
            }
            self.count(member, true);
        }
        self.next = earlier(self.next, next(self));
        result
    }
}

fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    [one, other].into_iter().flatten().min()
}
