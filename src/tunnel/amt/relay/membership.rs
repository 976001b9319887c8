//! Updates, and what follows from them: who gets what.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::clock::Tick;
use super::tunnels::Place;
use super::{Allowance, Channel, Local, Relay, Tunnel, burst, is_by_source, may_leave_link};
use crate::tunnel::amt::mac::Capability;
use crate::tunnel::amt::wire::Nonce;
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Kind, Record, Report, Version};

/// A gateway tells all its groups at once, with its neighbours behind a NAT: so many seconds' worth.
const RECORDS_BURST_SECONDS: u64 = 8;

impl Relay {
    /// An Update with the right MAC. RFC 7450, section 5.3.3.4, asks for no IGMPv1 and for the IP header of a
    /// report; but gateways that are in use send it, leave out the router alert, have another TTL, or report to
    /// all hosts, and who they are the MAC has told. IGMPv1's reports are as IGMPv2's, and it has no leave (RFC
    /// 3376, section 7.3.2).
    pub(super) fn update(
        &mut self,
        now: Instant,
        local: Local,
        from: SocketAddr,
        nonce: Nonce,
        capability: Capability,
        packet: &[u8],
    ) {
        self.counters.updates += 1;
        let report = Packet::parse(packet).and_then(|packet| listener::parse_report(&packet));
        let Ok(report) = report else {
            self.counters.dropped_report += 1;
            return;
        };
        let until = self.clock.after(now, self.settings.lifetime());
        let number = match self.tunnels.find(from) {
            Some(number) => number,
            None if !asks_for_something(&report) => return,
            None if !self.has_room(from.ip()) => {
                self.counters.refused_tunnels += 1;
                return;
            }
            None => self.open(now, from, nonce, capability),
        };
        let local = self.intern(local);
        if let Some(tunnel) = self.tunnels.get_mut(number) {
            (tunnel.nonce, tunnel.capability, tunnel.local) = (nonce, capability, local);
        }
        let is_older = matches!(report.version, Version::Igmp1 | Version::Igmp2 | Version::Mld1);
        for record in report.records() {
            if !self.may_count(number, now) {
                self.counters.dropped_records += 1;
                continue;
            }
            if is_older && is_by_source(record.group) {
                // These know no sources: neither report nor leave counts (RFC 4604, sections 3.5 and 3.7).
                self.counters.refused_scope += 1;
                continue;
            }
            self.apply(number, &record, until);
        }
        if self.tunnels.get(number).is_some_and(|tunnel| tunnel.until == 0 && tunnel.places.is_empty()) {
            // Everything that it asked for was refused.
            self.tunnels.remove(number, self.clock.nanoseconds(now));
            self.counters.opened -= 1;
        } else {
            self.tunnels.renew(number, until);
        }
    }

    fn has_room(&self, address: IpAddr) -> bool {
        self.tunnels.len() < self.settings.tunnels && self.tunnels.len_from(address) < self.settings.tunnels_per_address
    }

    /// Whether one more record counts from where this tunnel is.
    fn may_count(&mut self, number: u32, now: Instant) -> bool {
        let (rate, now) = (u64::from(self.settings.records_per_second), self.clock.nanoseconds(now));
        let share = self.tunnels.share(number).filter(|_| rate > 0);
        share.is_none_or(|share| share.records.take(1, rate, rate.saturating_mul(RECORDS_BURST_SECONDS), now))
    }

    fn open(&mut self, now: Instant, endpoint: SocketAddr, nonce: Nonce, capability: Capability) -> u32 {
        self.counters.opened += 1;
        let now = self.clock.nanoseconds(now);
        let tunnel = Tunnel {
            endpoint,
            local: 0,
            capability,
            until: 0,
            nonce,
            offered: nonce,
            data: Allowance::default(),
            answers: Allowance::default(),
            unproved_answers: Allowance::default(),
            places: Vec::new(),
        };
        self.tunnels.insert(tunnel, now)
    }

    fn intern(&mut self, local: Local) -> u16 {
        let known = self.locals.iter().position(|known| *known == local);
        let number = known.unwrap_or_else(|| {
            // An address of this host: there can't be many. The last one stands for what is over.
            if self.locals.len() < usize::from(u16::MAX) {
                self.locals.push(local);
            }
            self.locals.len() - 1
        });
        number as u16
    }

    fn apply(&mut self, number: u32, record: &Record<'_>, until: Tick) {
        let wants_whole = matches!(record.kind, Kind::ModeIsExclude | Kind::ChangeToExclude);
        if !may_leave_link(record.group) || wants_whole && is_by_source(record.group) {
            self.counters.refused_scope += 1;
            return;
        }
        let place = match self.place(number, record.group) {
            Some(place) => place,
            None if !adds(record) => return,
            None if !self.has_share(number) => {
                self.counters.refused_address += 1;
                return;
            }
            None => match self.add_place(number, record.group) {
                Some(place) => place,
                None => {
                    self.counters.refused_groups += 1;
                    return;
                }
            },
        };
        let of_address = self.tunnels.share(number).map_or(0, |share| share.entries);
        let room = self.settings.entries.saturating_sub(self.channels.held());
        let room = room.min(self.settings.entries_of_address().saturating_sub(of_address));
        let most = self.settings.sources;
        let change = |filter: &mut super::filter::Filter| {
            let before = filter.len();
            let refused = filter.apply(record.kind, record.sources, until, most.min(before + room));
            (refused, filter.is_nothing(), before, filter.len())
        };
        let changed = self.channels.change(place.channel, place.member, change);
        let Some((refused, is_over, before, after)) = changed else { return };
        self.counters.refused_sources += refused as u64;
        if let Some(share) = self.tunnels.share(number) {
            share.entries = (share.entries + after).saturating_sub(before);
        }
        if is_over {
            self.leave(number, place.channel);
        }
    }

    /// Whether the address of a tunnel may have one more group.
    fn has_share(&mut self, number: u32) -> bool {
        let (groups, entries) = (self.settings.groups_of_address(), self.settings.entries_of_address());
        self.tunnels.share(number).is_some_and(|share| share.groups < groups && share.entries < entries)
    }

    fn place(&self, number: u32, group: IpAddr) -> Option<Place> {
        let channel = self.channels.find(group)?;
        self.tunnels.get(number)?.places.iter().find(|place| place.channel == channel).copied()
    }

    fn add_place(&mut self, number: u32, group: IpAddr) -> Option<Place> {
        let (groups, channels) = (self.settings.groups, self.settings.channels);
        let tunnel = self.tunnels.get_mut(number).filter(|tunnel| tunnel.places.len() < groups)?;
        let is_full = self.channels.find(group).is_none() && self.channels.is_full(channels);
        if is_full || self.channels.held() >= self.settings.entries {
            return None;
        }
        let channel = self.channels.find_or_make(group);
        let place = Place { channel, member: self.channels.add_member(channel, number) };
        if tunnel.places.len() < 4 {
            // Most tunnels carry few groups.
            tunnel.places.reserve_exact(1);
        }
        tunnel.places.push(place);
        if let Some(share) = self.tunnels.share(number) {
            share.groups += 1;
            share.entries += 1;
        }
        Some(place)
    }

    /// A tunnel leaves a channel. The channel's last member takes the place, and its tunnel has to know.
    fn leave(&mut self, number: u32, channel: u32) {
        let Some(tunnel) = self.tunnels.get_mut(number) else { return };
        let Some(at) = tunnel.places.iter().position(|place| place.channel == channel) else { return };
        let place = tunnel.places.swap_remove(at);
        self.give_up(number, place);
    }

    fn give_up(&mut self, number: u32, place: Place) {
        let member = self.channels.get(place.channel).and_then(|channel| channel.member(place.member));
        let sources = member.map_or(0, |member| member.filter.len());
        if let Some(share) = self.tunnels.share(number) {
            share.groups = share.groups.saturating_sub(1);
            share.entries = share.entries.saturating_sub(1 + sources);
        }
        let Some(moved) = self.channels.remove_member(place.channel, place.member) else { return };
        let Some(tunnel) = self.tunnels.get_mut(moved) else { return };
        let its = tunnel.places.iter_mut().find(|its| its.channel == place.channel);
        its.into_iter().for_each(|its| its.member = place.member);
    }

    pub(super) fn remove_tunnel(&mut self, now: Instant, number: u32) {
        let Some(tunnel) = self.tunnels.get_mut(number) else { return };
        let places = std::mem::take(&mut tunnel.places);
        places.into_iter().for_each(|place| self.give_up(number, place));
        self.tunnels.remove(number, self.clock.nanoseconds(now));
        if self.tunnels.is_empty() {
            self.locals = Vec::new();
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let tick = self.clock.tick(now);
        for number in self.tunnels.expired(tick) {
            self.remove_tunnel(now, number);
            self.counters.expired += 1;
        }
        let mut over = Vec::new();
        let tunnels = &mut self.tunnels;
        self.channels.expire(tick, |channel, tunnel, lost| {
            if let Some(share) = tunnels.share(tunnel) {
                share.entries = share.entries.saturating_sub(lost.sources);
            }
            if lost.is_over {
                over.push((channel, tunnel));
            }
        });
        over.into_iter().for_each(|(channel, tunnel)| self.leave(tunnel, channel));
    }

    /// The tunnels that a packet of this group and source goes to, and the address that each is from.
    /// Those whose bytes per second are used up are left out, and counted.
    pub fn each_destination(
        &mut self,
        now: Instant,
        (group, source): (IpAddr, IpAddr),
        (packets, bytes): (u64, u64),
        mut each: impl FnMut(&Tunnel, Local),
    ) {
        let (tick, nanoseconds) = (self.clock.tick(now), self.clock.nanoseconds(now));
        let Relay { channels, tunnels, locals, counters, settings, .. } = self;
        let Some(channel) = channels.of_group(group).filter(|_| may_leave_link(group)) else {
            counters.dropped_unwanted += packets;
            return;
        };
        let (rate, mut is_wanted) = (settings.bytes_per_second, false);
        for member in channel.members().iter().filter(|member| member.filter.wants(source, tick)) {
            let Some(tunnel) = tunnels.get_mut(member.tunnel).filter(|tunnel| tunnel.until > tick) else { continue };
            let Some(local) = locals.get(usize::from(tunnel.local)) else { continue };
            is_wanted = true;
            if rate > 0 && !tunnel.data.take(bytes, rate, burst(rate), nanoseconds) {
                counters.dropped_rate += packets;
                continue;
            }
            each(tunnel, *local);
        }
        counters.dropped_unwanted += if is_wanted { 0 } else { packets };
    }

    /// How many tunnels there are.
    pub fn tunnel_count(&self) -> usize {
        self.tunnels.len()
    }

    /// How many groups they listen to.
    pub fn group_count(&self) -> usize {
        self.channels.len()
    }

    /// All tunnels.
    pub fn tunnels(&self) -> impl Iterator<Item = &Tunnel> {
        self.tunnels.iter()
    }

    /// All groups.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter()
    }

    /// A tunnel's groups.
    pub fn groups_of(&self, tunnel: &Tunnel) -> impl Iterator<Item = (IpAddr, &super::Member)> {
        let places = tunnel.places.iter();
        places.filter_map(|place| {
            let channel = self.channels.get(place.channel)?;
            Some((channel.group, channel.member(place.member)?))
        })
    }
}

/// Whether a record makes a group listened to that wasn't.
fn adds(record: &Record<'_>) -> bool {
    match record.kind {
        Kind::ModeIsExclude | Kind::ChangeToExclude => true,
        Kind::ModeIsInclude | Kind::ChangeToInclude | Kind::AllowNewSources => !record.sources.is_empty(),
        Kind::BlockOldSources => false,
    }
}

fn asks_for_something(report: &Report<'_>) -> bool {
    report.records().any(|record| adds(&record))
}
