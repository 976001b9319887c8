//! What the kernel tells of interfaces, and what follows from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::Manager;
use super::links::{Link, Links, RT_SCOPE_LINK};
use super::news;
use super::selector::Selector;
use super::wish::Key;
use crate::error::{Errno, Result};
use crate::sys::interface::Flags;
use crate::sys::netlink::{Change, Netlink};

/// How often news is read in one go, a message each time: more than the queue of 4 MiB has room for.
const READS_MAX: usize = 8192;

impl Manager<'_> {
    /// Reads what waits, and no more than so much at a time: another part of this host may make changes for ever.
    pub(super) fn follow(&mut self, now: Instant) -> Result<()> {
        let (mut changes, mut is_drained) = (Vec::new(), false);
        for _ in 0..READS_MAX {
            match self.news.changes(|change| changes.push(change)) {
                Ok(()) => changes.drain(..).for_each(|change| self.apply(change)),
                Err(Errno::EAGAIN) => {
                    is_drained = true;
                    break;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => self.lost_track = true,
                Err(error) => return Err(error),
            }
        }
        // News that still waits is older than what a look would find, and would be taken for a change of it.
        if self.lost_track && is_drained {
            self.look_at_everything()?;
        } else if !self.news.is_told() && self.look.is_some_and(|at| at <= now) {
            self.look_for_changes()?;
        }
        if self.routes_changed {
            self.follow_routes()?;
            self.routes_changed = false;
        }
        Ok(())
    }

    /// All there is, at the beginning and after changes were lost. What was joined is joined anew: an
    /// interface may have gone and come back with the same index.
    pub(super) fn look_at_everything(&mut self) -> Result<()> {
        if !self.news.is_told() {
            return self.look_for_changes();
        }
        self.lost_track = true;
        let mut found = Vec::new();
        Netlink::connect()?.everything(|change| found.push(change))?;
        self.lost_track = false;
        let mut there = Links::new();
        for change in &found {
            record(&mut there, change);
        }
        for (index, link) in std::mem::take(&mut self.links) {
            match there.get(&index) {
                None => {
                    self.links.insert(index, link);
                    self.apply(Change::LinkGone { index });
                }
                Some(now) => {
                    let carrier_changes = now.carrier_changes.wrapping_sub(1);
                    let addresses = link.addresses.iter().filter(|ip| now.addresses.contains(ip)).copied().collect();
                    self.links.insert(index, Link { carrier_changes, addresses, ..link });
                }
            }
        }
        self.distrusts_kernel = true;
        found.into_iter().for_each(|change| self.apply(change));
        self.distrusts_kernel = false;
        Ok(())
    }

    /// Without rtnetlink.
    fn look_for_changes(&mut self) -> Result<()> {
        let changes = news::look(&self.links)?;
        let is_new = |index: &u32| !self.links.contains_key(index);
        let new: Vec<&Change> = changes
            .iter()
            .filter(
                |change| matches!(change, Change::Link { index, .. } | Change::Address { index, .. } if is_new(index)),
            )
            .collect();
        // A new interface has had its addresses from the beginning: what is joined there is reported once.
        new.into_iter().for_each(|change| record(&mut self.links, change));
        changes.into_iter().for_each(|change| self.apply(change));
        self.routes_changed = true;
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        self.routes_changed = true;
        match change {
            Change::Route => {}
            Change::Link { index, name, .. } => {
                let before = self.links.get(&index).map(|link| (link.is_live(), link.carrier_changes));
                let ipv6_was_ready = self.links.get(&index).is_some_and(|link| link.is_ipv6_ready);
                record(&mut self.links, &change);
                self.sockets.follow_device(index, name);
                if ipv6_was_ready {
                    self.ipv6_goes_down(index);
                }
                self.link_changed(index, before);
            }
            Change::LinkGone { index } => self.link_gone(index),
            Change::Address { index, ip, .. } => {
                let had_ipv4 = self.links.get(&index).is_some_and(Link::has_ipv4);
                record(&mut self.links, &change);
                self.reselect(index);
                // Until now its reports came from 0.0.0.0, which a router may ignore.
                if ip.is_ipv4() && !had_ipv4 {
                    self.announce_on(index, |key| key.group.is_ipv4(), true);
                }
                if ip.is_ipv6() {
                    self.look_at_ipv6(index);
                }
                self.try_refused_on(index);
            }
            Change::AddressGone { index, ip } => {
                if let Some(link) = self.links.get_mut(&index) {
                    link.addresses.retain(|other| *other != ip);
                    link.near.retain(|other| *other != ip);
                    self.reselect(index);
                    if ip.is_ipv6() {
                        self.look_at_ipv6(index);
                    }
                }
            }
        }
    }

    fn link_changed(&mut self, index: u32, before: Option<(bool, u32)>) {
        let Some(link) = self.links.get(&index) else { return };
        let (is_live, carrier_changes) = (link.is_live(), link.carrier_changes);
        if let Some((was_live, changes_before)) = before {
            if was_live && !is_live {
                self.goes_down(index, |_| true);
            } else if is_live && carrier_changes != changes_before {
                // It may have come and gone more often than was told.
                self.announce_on(index, |_| true, true);
            }
        }
        self.hearing_changed(index);
        self.reselect(index);
        self.try_refused_on(index);
    }

    fn ipv6_goes_down(&mut self, index: u32) {
        if self.links.get(&index).is_some_and(|link| !link.is_ipv6_ready) {
            self.goes_down(index, |key| key.group.is_ipv6());
        }
    }

    /// After an IPv6 address has come or gone: that the host disables or enables IPv6 shows in nothing else.
    fn look_at_ipv6(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(&index) else { return };
        link.is_ipv6_ready = link.flags.has(Flags::RUNNING) && !news::is_ipv6_disabled(link.name());
        self.ipv6_goes_down(index);
        self.hearing_changed(index);
    }

    fn link_gone(&mut self, index: u32) {
        for number in 0..self.wishes.len() {
            let Some(wishes) = self.wishes.get_mut(number) else { break };
            let mut keys: Vec<Key> = Vec::new();
            if wishes.on.remove(&index) {
                keys.extend(&wishes.keys);
            }
            keys.extend(wishes.routes.iter().filter(|(_, at)| **at == index).map(|(key, _)| *key));
            wishes.routes.retain(|_, at| *at != index);
            keys.into_iter().for_each(|key| self.unwant(index, key, Some(Errno::ENODEV)));
        }
        self.links.remove(&index);
        self.reselect(index);
    }

    /// Which wishes mean this interface, as it is now; and which mean another by what has become of this one.
    fn reselect(&mut self, changed: u32) {
        for number in 0..self.wishes.len() {
            let Some(wishes) = self.wishes.get(number) else { break };
            for (index, is_meant) in wishes.selector.changes(changed, &self.links, &wishes.on) {
                self.select(number, index, is_meant);
            }
        }
    }

    fn select(&mut self, number: usize, index: u32, is_meant: bool) {
        let Some(wishes) = self.wishes.get_mut(number) else { return };
        let keys: Vec<Key> = wishes.keys.iter().copied().collect();
        if is_meant {
            let Some(link) = self.links.get(&index) else { return };
            wishes.on.insert(index);
            let again = !wishes.seen.insert(link.padded_name);
            keys.into_iter().for_each(|key| self.want(index, key, again));
        } else {
            wishes.on.remove(&index);
            let why = if wishes.selector.is_address() { Errno::EADDRNOTAVAIL } else { Errno::ENODEV };
            keys.into_iter().for_each(|key| self.unwant(index, key, Some(why)));
        }
    }

    fn follow_routes(&mut self) -> Result<()> {
        let Some(number) = self.wishes.iter().position(|wishes| wishes.selector == Selector::Route) else {
            return Ok(());
        };
        let keys: BTreeSet<Key> = self.wishes.get(number).map(|wishes| wishes.keys.clone()).unwrap_or_default();
        for key in keys {
            let route = self.route_to(key.group)?;
            self.follow_route(number, key, route, false);
        }
        Ok(())
    }

    /// Joins where the route to a group leads now, and leaves where it led before.
    pub(super) fn follow_route(&mut self, number: usize, key: Key, now: Option<u32>, is_new: bool) {
        let Some(wishes) = self.wishes.get_mut(number) else { return };
        let before = wishes.routes.get(&key).copied();
        if now == before {
            return;
        }
        let name = now.and_then(|now| self.links.get(&now)).map(|link| link.padded_name);
        let again = name.is_some_and(|name| !wishes.seen.insert(name)) && !is_new;
        match now {
            Some(interface) => wishes.routes.insert(key, interface),
            None => wishes.routes.remove(&key),
        };
        if let Some(before) = before {
            self.unwant(before, key, Some(Errno::ENETUNREACH));
        }
        if let Some(now) = now {
            self.want(now, key, again);
        }
    }

    /// The interface that the route to a group leads to, if there is a route.
    pub(super) fn route_to(&mut self, group: IpAddr) -> Result<Option<u32>> {
        if !self.news.is_told() {
            return news::route_by_connecting(group);
        }
        let requests = match &mut self.requests {
            Some(requests) => requests,
            none => none.insert(Netlink::connect()?),
        };
        match requests.route(group, None, 0) {
            Ok(route) => Ok(Some(route.interface).filter(|index| self.links.contains_key(index))),
            Err(error @ (Errno::ENOBUFS | Errno::ENOMEM)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

fn record(links: &mut Links, change: &Change) {
    match change.clone() {
        Change::Link { index, name, other_names, flags, carrier_changes, mtu, master, is_ipv6_ready } => {
            let before = links.remove(&index).map(|link| (link.addresses, link.near));
            let (addresses, near) = before.unwrap_or_default();
            let link = Link {
                padded_name: name,
                other_names,
                flags,
                carrier_changes,
                mtu,
                master,
                is_ipv6_ready,
                addresses,
                near,
            };
            links.insert(index, link);
        }
        Change::Address { index, ip, scope, .. } => {
            if let Some(link) = links.get_mut(&index).filter(|link| !link.addresses.contains(&ip)) {
                link.addresses.push(ip);
                link.near.extend(Some(ip).filter(|_| scope >= RT_SCOPE_LINK));
            }
        }
        _ => {}
    }
}
