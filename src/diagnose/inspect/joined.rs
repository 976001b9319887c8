//! What a socket has joined. The kernel has no list of one socket's memberships: the host's are
//! gone through, and for each the socket is asked for its filter, which it has only if it has
//! joined that group there.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::diagnose::tables::{self, Membership};
use crate::error::Result;
use crate::multicast::state::TOO_MANY;
use crate::sys::multicast::{self, FilterMode, Target};
use crate::sys::option::Family;

/// A membership of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The membership as the host has it: how many hold it, this socket among them.
    pub host: Membership,
    /// Whether the sources are all that come in, or all that stay out.
    pub mode: FilterMode,
    /// The sources.
    pub sources: Vec<IpAddr>,
}

/// The memberships of a socket of this family in this thread's network. One whose interface is
/// gone isn't in the host's table, and so not here.
pub fn read(fd: BorrowedFd<'_>, family: Family) -> Result<Vec<Joined>> {
    let has = |membership: &Membership| membership.group.is_ipv4() || family == Family::V6;
    let all = tables::memberships()?;
    Ok(all.into_iter().filter(has).filter_map(|membership| joined(fd, membership)).collect())
}

fn joined(fd: BorrowedFd<'_>, host: Membership) -> Option<Joined> {
    let target = Target { group: host.group, interface: host.ifindex };
    let mut filter = multicast::filter(fd, target, 0).ok()?;
    if filter.count > 0 {
        filter = multicast::filter(fd, target, filter.count.min(TOO_MANY)).ok()?;
    }
    Some(Joined { host, mode: filter.mode, sources: filter.sources })
}
