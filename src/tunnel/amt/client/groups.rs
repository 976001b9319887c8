//! What a program listens to through the tunnel.

use std::net::IpAddr;
use std::time::Instant;

use super::super::gateway::Filter;
use super::Client;
use crate::error::{Errno, Result};

impl Client {
    /// Listens to a group, or to one source of it. `EADDRINUSE` if it does already, or to the group in the
    /// other way.
    pub fn join(&mut self, group: IpAddr, source: Option<IpAddr>) -> Result<()> {
        check(group, source)?;
        let filter = match (self.gateway.filter(group), source) {
            (None, None) => Filter::any(),
            (None, Some(source)) => Filter::only([source]),
            (Some(old), Some(source)) if !old.is_exclude() && !old.passes(source) => {
                Filter::only(old.sources().iter().copied().chain([source]))
            }
            _ => return Err(Errno::EADDRINUSE),
        };
        self.apply(group, filter)
    }

    /// The reverse. `EADDRNOTAVAIL` if it doesn't listen in this way.
    pub fn leave(&mut self, group: IpAddr, source: Option<IpAddr>) -> Result<()> {
        check(group, source)?;
        let filter = match (self.gateway.filter(group), source) {
            (Some(old), None) if old.is_exclude() => Filter::none(),
            (Some(old), Some(source)) if !old.is_exclude() && old.passes(source) => {
                Filter::only(old.sources().iter().copied().filter(|one| *one != source))
            }
            _ => return Err(Errno::EADDRNOTAVAIL),
        };
        self.apply(group, filter)
    }

    /// Listens to these sources of a group from now on, whatever it was before.
    pub fn set_filter(&mut self, group: IpAddr, filter: Filter) -> Result<()> {
        check(group, None)?;
        filter.sources().iter().try_for_each(|source| check(group, Some(*source)))?;
        self.apply(group, filter)
    }

    fn apply(&mut self, group: IpAddr, filter: Filter) -> Result<()> {
        let now = Instant::now();
        self.gateway.set_filter(now, group, filter);
        self.service(now);
        Ok(())
    }
}

/// `EINVAL` for what no relay carries, `EAFNOSUPPORT` for families that disagree.
pub(crate) fn check(group: IpAddr, source: Option<IpAddr>) -> Result<()> {
    let stays_here = match group {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(_) => crate::address::needs_interface(group),
    };
    if !group.is_multicast() || stays_here {
        return Err(Errno::EINVAL);
    }
    match source {
        Some(source) if source.is_ipv4() != group.is_ipv4() => Err(Errno::EAFNOSUPPORT),
        Some(source) if source.is_multicast() || source.is_unspecified() => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
