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

impl Relay {
    /// An Update with the right MAC. IGMPv1 isn't spoken here (RFC 7450, section 5.3.3.4). That section asks
    /// for the IP header of a report, too; but gateways that are in use leave out the router alert, have
    /// another TTL, or report to all hosts, and who they are the MAC has told.
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
        let Some(report) = report.ok().filter(|report| report.version != Version::Igmp1) else {
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
            None => self.open(from, nonce, capability),
        };
        let local = self.intern(local);
        if let Some(tunnel) = self.tunnels.get_mut(number) {
            (tunnel.nonce, tunnel.capability, tunnel.local) = (nonce, capability, local);
        }
        let is_older = matches!(report.version, Version::Igmp2 | Version::Mld1);
        for record in report.records() {
            if is_older && is_by_source(record.group) {
                // These know no sources: neither report nor leave counts (RFC 4604, sections 3.5 and 3.7).
                self.counters.refused_scope += 1;
                continue;
            }
            self.apply(number, &record, until);
        }
        if self.tunnels.get(number).is_some_and(|tunnel| tunnel.until == 0 && tunnel.places.is_empty()) {
            // Everything that it asked for was refused.
            self.tunnels.remove(number);
            self.counters.opened -= 1;
        } else {
            self.tunnels.renew(number, until);
        }
    }

    fn has_room(&self, address: IpAddr) -> bool {
        self.tunnels.len() < self.settings.tunnels && self.tunnels.len_from(address) < self.settings.tunnels_per_address
    }

    fn open(&mut self, endpoint: SocketAddr, nonce: Nonce, capability: Capability) -> u32 {
        self.counters.opened += 1;
        self.tunnels.insert(Tunnel {
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
        })
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
            None => match self.add_place(number, record.group) {
                Some(place) => place,
                None => {
                    self.counters.refused_groups += 1;
                    return;
                }
            },
        };
        let (most, room) = (self.settings.sources, self.settings.entries.saturating_sub(self.channels.held()));
        let change = |filter: &mut super::filter::Filter| {
            let refused = filter.apply(record.kind, record.sources, until, most.min(filter.len() + room));
            (refused, filter.is_nothing())
        };
        let Some((refused, is_over)) = self.channels.change(place.channel, place.member, change) else { return };
        self.counters.refused_sources += refused as u64;
        if is_over {
            self.leave(number, place.channel);
        }
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
        Some(place)
    }

    /// A tunnel leaves a channel. The channel's last member takes the place, and its tunnel has to know.
    fn leave(&mut self, number: u32, channel: u32) {
        let Some(tunnel) = self.tunnels.get_mut(number) else { return };
        let Some(at) = tunnel.places.iter().position(|place| place.channel == channel) else { return };
        let place = tunnel.places.swap_remove(at);
        self.give_up(place);
    }

    fn give_up(&mut self, place: Place) {
        let Some(moved) = self.channels.remove_member(place.channel, place.member) else { return };
        let Some(tunnel) = self.tunnels.get_mut(moved) else { return };
        let its = tunnel.places.iter_mut().find(|its| its.channel == place.channel);
        its.into_iter().for_each(|its| its.member = place.member);
    }

    pub(super) fn remove_tunnel(&mut self, number: u32) {
        let Some(tunnel) = self.tunnels.remove(number) else { return };
        tunnel.places.into_iter().for_each(|place| self.give_up(place));
        if self.tunnels.is_empty() {
            self.locals = Vec::new();
        }
    }

    pub(super) fn expire(&mut self, now: Tick) {
        for number in self.tunnels.expired(now) {
            self.remove_tunnel(number);
            self.counters.expired += 1;
        }
        let mut over = Vec::new();
        self.channels.expire(now, |channel, tunnel| over.push((channel, tunnel)));
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
