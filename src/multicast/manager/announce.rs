//! What is joined is told anew to whom may have forgotten it.
//!
//! By a report of our own, where this process may send one: nothing is left for it, and it goes out also
//! where other sockets of this host hold the same groups. Else by leaving and joining again.

use std::time::{Duration, Instant};

use super::Manager;
use super::events::What;
use super::keep::{RETRY_FIRST, tell};
use super::links::Link;
use super::wish::{Key, State};
use crate::sys::option::Family;

/// A report may be lost, or come before a switch's port is ready: within this time it is repeated (RFC 3376,
/// section 8.11; RFC 3810, section 9.11), once, as by the default of section 8.1.
const AGAIN: Duration = Duration::from_secs(1);

/// What has become of a report.
enum Said {
    /// It is out.
    Aloud,
    /// There is nothing to say, or nobody to hear it.
    Needless,
    /// It is the kernel's to say.
    ByTheKernel,
}

impl Manager<'_> {
    /// Reports anew what is joined on an interface.
    pub(super) fn announce_on(&mut self, interface: u32, of: impl Fn(Key) -> bool, is_told: bool) {
        for family in [Family::V4, Family::V6] {
            let of = |key: Key| is_of(family, key) && of(key);
            let said = if self.distrusts_kernel { Said::ByTheKernel } else { self.report_on(interface, family, of) };
            match said {
                Said::ByTheKernel => self.rejoin_on(interface, of, is_told),
                Said::Aloud if is_told => {
                    let (_, on) = self.again.get_or_insert_with(|| (Instant::now() + AGAIN, [interface].into()));
                    on.insert(interface);
                    self.report(interface, of);
                }
                Said::Aloud | Said::Needless => {}
            }
        }
    }

    fn report_on(&mut self, interface: u32, family: Family, of: impl Fn(Key) -> bool) -> Said {
        let (Some(link), Some(memberships)) = (self.links.get(&interface), self.memberships.get(&interface)) else {
            return Said::Needless;
        };
        let joined = memberships.iter().filter(|(key, membership)| membership.socket.is_some() && of(**key));
        let keys: Vec<Key> = joined.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return Said::Needless;
        }
        match self.voices.get(family) {
            None => Said::ByTheKernel,
            // It is said with the carrier.
            Some(_) if !link.is_live() => Said::Needless,
            Some(voice) => voice.report(interface, link, &keys).map_or(Said::ByTheKernel, |()| Said::Aloud),
        }
    }

    /// Leaves and joins again what is joined on an interface, so that the kernel reports it, and has it if
    /// it hadn't.
    fn rejoin_on(&mut self, interface: u32, of: impl Fn(Key) -> bool, is_told: bool) {
        // All sources of a group go before one comes again: the kernel adds those that come to the group
        // that others hold, even where that was on an interface that is gone, whose index is used again.
        for (key, membership) in self.memberships.get(&interface).into_iter().flatten() {
            if let Some(number) = membership.socket.filter(|_| key.source.is_some() && of(*key)) {
                self.sockets.request_leave(number, *key, interface);
            }
        }
        for (key, membership) in self.memberships.get_mut(&interface).into_iter().flatten() {
            let Some(number) = membership.socket.filter(|_| of(*key)) else { continue };
            match self.sockets.rejoin(number, *key, interface) {
                Ok(()) => {}
                Err(error) => {
                    // It has left, and its room with it.
                    self.sockets.leave(number, *key, interface);
                    self.deaf.remove(&(interface, *key));
                    (membership.socket, membership.state) = (None, State::Refused(error));
                    tell(&mut self.events, &self.links, interface, *key, What::Refused(error));
                    self.refused.insert((interface, *key));
                    self.retry.get_or_insert_with(|| (RETRY_FIRST, Instant::now() + RETRY_FIRST));
                }
            }
        }
        if is_told && self.links.get(&interface).is_some_and(Link::is_live) {
            self.report(interface, of);
        }
    }

    /// By time.
    pub(super) fn announce_all(&mut self, now: Instant) {
        for interface in self.memberships.keys().copied().collect::<Vec<_>>() {
            self.announce_on(interface, |_| true, false);
        }
        self.announce = self.announce.map(|(every, _)| (every, now + every));
    }

    /// What was reported for a reason is reported once more.
    pub(super) fn say_again(&mut self) {
        let Some((_, on)) = self.again.take() else { return };
        for (interface, family) in on.into_iter().flat_map(|at| [(at, Family::V4), (at, Family::V6)]) {
            self.report_on(interface, family, |key| is_of(family, key));
        }
    }
}

fn is_of(family: Family, key: Key) -> bool {
    key.group.is_ipv4() == (family == Family::V4)
}
