//! Groups joined on an interface, for packet sockets to see what comes.
//!
//! One handle holds the groups that are wanted whole and another those wanted by source: a socket can't
//! hold both of one group.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use super::asked::Change;
use crate::error::{Errno, Result};
use crate::multicast::manager::Manager;
use crate::multicast::manager::events::What;
use crate::multicast::manager::selector::Selector;
use crate::multicast::manager::wish::Key;
use crate::sys::option::Family;
use crate::sys::socket;

/// Events that wait until the next call, at most: they are only counted.
const EVENTS: usize = 1024;

/// What is joined.
pub struct Joins {
    whole: Manager<'static>,
    by_source: Manager<'static>,
    selector: Selector,
    /// Joins that the kernel has refused.
    pub refused: u64,
}

impl Joins {
    /// Nothing yet.
    pub fn open(selector: Selector) -> Result<Joins> {
        Ok(Joins { whole: manager()?, by_source: manager()?, selector, refused: 0 })
    }

    /// Joins or leaves.
    pub fn change(&mut self, change: Change) {
        let (Change::Join(key) | Change::Leave(key)) = change;
        let selector = self.selector.clone();
        let manager = self.manager_of(key);
        let is_refused = match change {
            Change::Join(key) => manager.add(key, selector).is_err(),
            Change::Leave(key) => {
                // What was refused isn't there to leave.
                let _ = manager.remove(key, &selector);
                false
            }
        };
        self.refused += u64::from(is_refused);
    }

    fn manager_of(&mut self, key: Key) -> &mut Manager<'static> {
        if key.source.is_some() { &mut self.by_source } else { &mut self.whole }
    }

    /// To wait on.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.whole.netlink_fd(), self.by_source.netlink_fd()]
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        [self.whole.timer(), self.by_source.timer()].into_iter().flatten().min()
    }

    /// Keeps everything joined as the interface comes and goes.
    pub fn process(&mut self) -> Result<()> {
        for manager in [&mut self.whole, &mut self.by_source] {
            manager.process()?;
            while let Some(event) = manager.events_mut().pop() {
                self.refused += u64::from(matches!(event.what, What::Refused(_)));
            }
        }
        Ok(())
    }
}

/// On a socket that receives nothing: it has no port.
fn manager() -> Result<Manager<'static>> {
    Manager::open(unbound()?, None, EVENTS)
}

/// One of IPv6 takes groups of both families, where there is IPv6.
pub fn unbound() -> Result<OwnedFd> {
    match socket::udp_socket(Family::V6.domain()) {
        Err(Errno::EAFNOSUPPORT) => socket::udp_socket(Family::V4.domain()),
        result => result,
    }
}
