//! The tunnels, by number and by the gateway's address and port.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::clock::{Allowance, SECOND, Tick};
use super::throttle::network;
use crate::hash::HashMap;
use crate::tunnel::amt::mac::Capability;
use crate::tunnel::amt::wire::Nonce;

/// Where a tunnel's memberships are: which channel, and where among its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The channel's number.
    pub channel: u32,
    /// The member's.
    pub member: u32,
}

/// One gateway's tunnel.
#[derive(Debug)]
pub struct Tunnel {
    /// The gateway.
    pub endpoint: SocketAddr,
    /// Which of the relay's addresses it talks to.
    pub local: u16,
    /// What the gateway told of itself.
    pub capability: Capability,
    /// Until when it is kept without a report.
    pub until: Tick,
    /// Of the newest Update.
    pub nonce: Nonce,
    /// Of the newest Query, which may have come where its Update couldn't be sent from any more.
    pub offered: Nonce,
    /// Data that it may still get.
    pub data: Allowance,
    /// Answers that it may still get to Requests with `nonce`.
    pub answers: Allowance,
    /// And to Requests with other nonces, which may be forged.
    pub unproved_answers: Allowance,
    /// What it listens to.
    pub places: Vec<Place>,
}

/// What the tunnels of an address, or its /64, have together.
#[derive(Debug, Default)]
pub struct Share {
    tunnels: usize,
    /// Their groups.
    pub groups: usize,
    /// Their groups and the sources of these.
    pub entries: usize,
    /// Records that may still come.
    pub records: Allowance,
}

/// Beyond twice as many as there are tunnels, and these, shares of those without a tunnel are looked for.
const SHARES_SPARE: usize = 64;

/// All tunnels.
#[derive(Default)]
pub struct Tunnels {
    slots: Vec<Option<Tunnel>>,
    free: Vec<u32>,
    by_endpoint: HashMap<SocketAddr, u32>,
    /// What is from where. A share stays for a while when its last tunnel is over, with what it has used.
    by_network: HashMap<[u8; 8], Share>,
    /// No tunnel runs out before.
    next: Option<Tick>,
}

impl Tunnels {
    /// How many.
    pub fn len(&self) -> usize {
        self.by_endpoint.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are from an address, or its /64.
    pub fn len_from(&self, address: IpAddr) -> usize {
        self.by_network.get(&network(address)).map_or(0, |share| share.tunnels)
    }

    /// The number of a gateway's tunnel.
    pub fn find(&self, endpoint: SocketAddr) -> Option<u32> {
        self.by_endpoint.get(&endpoint).copied()
    }

    /// One of them.
    pub fn get(&self, number: u32) -> Option<&Tunnel> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// One of them, to change.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Tunnel> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Tunnel> {
        self.slots.iter().flatten()
    }

    /// What the tunnels from where this one is have together.
    pub fn share(&mut self, number: u32) -> Option<&mut Share> {
        let endpoint = self.get(number)?.endpoint;
        self.by_network.get_mut(&network(endpoint.ip()))
    }

    /// What all shares have.
    #[cfg(test)]
    pub fn shared(&self) -> (usize, usize) {
        let shares = self.by_network.values();
        shares.fold((0, 0), |(groups, entries), share| (groups + share.groups, entries + share.entries))
    }

    /// One more.
    pub fn insert(&mut self, tunnel: Tunnel, now: u64) -> u32 {
        if self.by_network.len() > self.len() * 2 + SHARES_SPARE {
            self.by_network.retain(|_, share| share.tunnels > 0 || !share.records.is_whole(now));
        }
        let endpoint = tunnel.endpoint;
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(tunnel),
            None => self.slots.push(Some(tunnel)),
        }
        self.by_endpoint.insert(endpoint, number);
        self.by_network.entry(network(endpoint.ip())).or_default().tunnels += 1;
        number
    }

    /// One less.
    pub fn remove(&mut self, number: u32, now: u64) -> Option<Tunnel> {
        let tunnel = self.slots.get_mut(number as usize)?.take()?;
        self.by_endpoint.remove(&tunnel.endpoint);
        if let Some(share) = self.by_network.get_mut(&network(tunnel.endpoint.ip())) {
            share.tunnels -= 1;
        }
        self.free.push(number);
        if self.is_empty() {
            // As little as at the beginning, but for what addresses have used.
            let mut by_network = std::mem::take(&mut self.by_network);
            by_network.retain(|_, share| !share.records.is_whole(now));
            by_network.shrink_to_fit();
            *self = Tunnels { by_network, ..Tunnels::default() };
        }
        Some(tunnel)
    }

    /// A tunnel lives until then.
    pub fn renew(&mut self, number: u32, until: Tick) {
        if let Some(tunnel) = self.get_mut(number) {
            tunnel.until = until;
            self.next = Some(self.next.map_or(until, |next| next.min(until)));
        }
    }

    /// When to look for those that have run out.
    pub fn next(&self) -> Option<Tick> {
        self.next
    }

    /// The numbers of those that have run out. All are looked at, once a second at most.
    pub fn expired(&mut self, now: Tick) -> Vec<u32> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let of_tunnels = || self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?.until)));
        self.next = of_tunnels().map(|(_, until)| until).filter(|until| *until > now).min();
        let expired = of_tunnels().filter(|(_, until)| *until <= now).map(|(at, _)| at as u32).collect();
        self.next = self.next.map(|next| next.max(now + SECOND));
        expired
    }
}

/// The one way to write an address: IPv4 as IPv4, no flow label.
pub fn canonical(endpoint: SocketAddr) -> SocketAddr {
    match endpoint {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()))
        }
        _ => SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port()),
    }
}
