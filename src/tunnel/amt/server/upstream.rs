//! The groups that tunnels want, joined on the interfaces upstream.
//!
//! One handle holds the groups that are wanted whole and another those wanted by source: a socket
//! can't hold both of one group, and for a moment both are needed, so that nothing is lost between.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::error::{Errno, Result};
use crate::multicast::manager::Manager;
use crate::multicast::manager::events::What;
use crate::multicast::manager::selector::Selector;
use crate::multicast::manager::wish::Key;
use crate::sys::option::Family;
use crate::sys::socket;
use crate::tunnel::amt::relay::{Change, Relay};

/// Events that wait until the next call, at most: they are only counted.
const EVENTS: usize = 1024;

/// What is joined.
pub(super) struct Upstream {
    whole: Manager<'static>,
    by_source: Manager<'static>,
    selectors: Vec<Selector>,
    /// Joins that failed, or were refused by the kernel.
    pub refused: u64,
}

impl Upstream {
    pub fn open(selectors: Vec<Selector>) -> Result<Upstream> {
        let (whole, by_source) = (manager()?, manager()?);
        Ok(Upstream { whole, by_source, selectors, refused: 0 })
    }

    /// To wait on.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.whole.netlink_fd(), self.by_source.netlink_fd()]
    }

    pub fn timer(&self) -> Option<Instant> {
        [self.whole.timer(), self.by_source.timer()].into_iter().flatten().min()
    }

    /// Keeps everything joined as interfaces come and go.
    pub fn process(&mut self) -> Result<()> {
        for manager in [&mut self.whole, &mut self.by_source] {
            manager.process()?;
            while let Some(event) = manager.events_mut().pop() {
                self.refused += u64::from(matches!(event.what, What::Refused(_)));
            }
        }
        Ok(())
    }

    /// Does what the relay wants, one change at least, until the time has come.
    pub fn follow(&mut self, relay: &mut Relay, until: Instant) {
        while let Some(change) = relay.poll_change() {
            let (group, source, is_join) = match change {
                Change::Join(group, source) => (group, source, true),
                Change::Leave(group, source) => (group, source, false),
            };
            let (key, manager) =
                (Key { group, source }, if source.is_some() { &mut self.by_source } else { &mut self.whole });
            for selector in &self.selectors {
                let result = match is_join {
                    true => manager.add(key, selector.clone()).map(drop),
                    false => manager.remove(key, selector),
                };
                self.refused += u64::from(is_join && result.is_err());
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Whether packets that come in by an interface are meant.
    pub fn is_upstream(&self, interface: u32) -> bool {
        self.whole.is_joined_on(interface) || self.by_source.is_joined_on(interface)
    }
}

/// On a socket that receives nothing: it has no port.
fn manager() -> Result<Manager<'static>> {
    Manager::open(unbound()?, None, EVENTS)
}

/// One of IPv6 takes groups of both families, where there is IPv6.
fn unbound() -> Result<OwnedFd> {
    match socket::udp_socket(Family::V6.domain()) {
        Err(Errno::EAFNOSUPPORT) => socket::udp_socket(Family::V4.domain()),
        result => result,
    }
}
