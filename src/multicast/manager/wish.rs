//! What is wished for, and what has become of it on an interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::selector::Selector;
use crate::error::{Errno, Result};
use crate::hash::HashSet;
use crate::multicast::membership::check_source;
use crate::sys::interface::Name;
use crate::sys::multicast::Target;

/// A group, whole or by one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The group.
    pub group: IpAddr,
    /// The source; `None` for any.
    pub source: Option<IpAddr>,
}

impl Key {
    /// The group on an interface.
    pub(super) fn target(self, interface: u32) -> Target {
        Target { group: self.group, interface }
    }

    pub(super) fn check(self) -> Result<()> {
        self.source.map_or(Ok(()), |source| check_source(self.target(0), source))
    }
}

/// All wishes for the same interfaces.
pub(super) struct Wishes {
    pub selector: Selector,
    pub keys: BTreeSet<Key>,
    /// The interfaces that are meant now.
    pub on: BTreeSet<u32>,
    /// The names of those that were at any time.
    pub seen: HashSet<Name>,
    /// Of those for the interface of the route: which one it is.
    pub routes: BTreeMap<Key, u32>,
}

impl Wishes {
    pub fn new(selector: Selector) -> Wishes {
        let (keys, on, seen, routes) = Default::default();
        Wishes { selector, keys, on, seen, routes }
    }
}

/// What a wish is on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No interface that is meant is there: `ENODEV`, or `ENETUNREACH` for that of a route.
    Waiting(Errno),
    /// Joined, and something can arrive.
    Live,
    /// Joined, but the socket can't hear it: it is bound or connected elsewhere, or the interface's packets are
    /// its master's.
    Deaf(Errno),
    /// Joined, on an interface that is down or has no carrier.
    Down,
    /// The kernel refused.
    Refused(Errno),
}

/// A group on an interface, for as long as any wish means it.
pub(super) struct Membership {
    /// How many wishes mean it.
    pub wishes: u32,
    /// The number of the socket that has joined it.
    pub socket: Option<usize>,
    pub state: State,
    /// Whether the caller was told of it since it is on this interface.
    pub was_told: bool,
    /// Whether the caller was told that it was joined, now or before its interface went away.
    pub was_joined: bool,
}

/// A line of the list.
pub struct Status<'m> {
    /// What is wished for.
    pub key: Key,
    /// On which interfaces.
    pub wished: &'m str,
    /// The interface; 0 if there is none.
    pub interface: u32,
    /// Its name.
    pub name: Name,
    /// What has become of it.
    pub state: State,
    /// The socket that has joined it.
    pub fd: Option<i32>,
}
