//! What has become of memberships, kept until the caller asks.

use std::collections::VecDeque;

use super::wish::Key;
use crate::error::Errno;
use crate::sys::interface::Name;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Joined for the first time.
    Joined,
    /// Nothing can arrive any more, and why.
    Lost(Errno),
    /// Joined again.
    Rejoined,
    /// Joined, but the socket can't hear it, and why.
    Deaf(Errno),
    /// The kernel's refusal.
    Refused(Errno),
    /// Events before this one were dropped.
    Overflow,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What became of it.
    pub what: What,
    /// Of what; `None` with `Overflow`.
    pub key: Option<Key>,
    /// The interface's index.
    pub interface: u32,
    /// Its name.
    pub name: Name,
}

const OVERFLOW: Event = Event { what: What::Overflow, key: None, interface: 0, name: [0; 16] };

/// The events that nobody has taken yet, the oldest first. Of too many the newest are kept.
pub struct Events {
    queue: VecDeque<Event>,
    capacity: usize,
    dropped: bool,
}

impl Events {
    /// Keeps at most so many.
    pub fn new(capacity: usize) -> Events {
        Events { queue: VecDeque::new(), capacity: capacity.max(1), dropped: false }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.queue.len() >= self.capacity {
            self.queue.pop_front();
            self.dropped = true;
        }
        self.queue.push_back(event);
    }

    /// Takes the oldest, and before it `Overflow` if older ones were dropped.
    pub fn pop(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.dropped) {
            return Some(OVERFLOW);
        }
        self.queue.pop_front()
    }

    /// How many there are to take.
    pub fn len(&self) -> usize {
        self.queue.len() + usize::from(self.dropped)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_newest_are_kept_and_it_is_told() {
        let mut events = Events::new(2);
        for interface in 1..=4 {
            events.push(Event { what: What::Joined, key: None, interface, name: [0; 16] });
        }
        assert_eq!(events.len(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| events.pop()).map(|event| (event.what, event.interface)).collect();
        assert_eq!(taken, [(What::Overflow, 0), (What::Joined, 3), (What::Joined, 4)]);
        assert!(events.is_empty());
    }
}
