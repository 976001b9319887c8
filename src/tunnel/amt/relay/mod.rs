//! A relay (RFC 7450, section 5.3), without sockets or clock: messages and times go in; answers, data's
//! destinations and the groups to join come out.
//!
//! Nothing is kept of a gateway before an Update with the right MAC has come from it. What is sent
//! before that is larger than what asked for it, as the RFC has it: an Advertisement is 12 bytes (24
//! with IPv6) for 8, a Query 66 (IGMP) or 106 (MLD) for 8; with IP's and UDP's headers 40 for 36, and
//! 94 or 134 for 36. So answers to strangers are limited for each address, and one who forges a
//! victim's address can make no more than `answers_per_second` of them go there, nor more than `answers_in_all`
//! to any number of victims.

mod answer;
mod channels;
mod clock;
mod counters;
mod filter;
mod membership;
mod settings;
mod throttle;
mod tunnels;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use answer::Queries;
pub use answer::{Local, Transmit};
use channels::Channels;
pub use channels::{Change, Channel, Member};
use clock::{Allowance, Clock};
pub use counters::Counters;
pub use settings::{Settings, is_by_source, may_leave_link, may_leave_link_from};
use throttle::Throttle;
pub use tunnels::Tunnel;
use tunnels::{Tunnels, canonical};

use super::mac::{Capability, LIFETIME_MAX, Secret, Secrets};
use super::siphash::siphash;
use super::wire::{Dialect, Gateway, Message, Nonce, ResponseMac};
use crate::error::Result;

/// Answers that wait to be fetched, at most.
const ANSWERS_MAX: usize = 1024;
/// What a gateway with a tunnel may ask for with the nonce of its last Update, which only those on the path
/// know besides.
const ANSWERS_PER_SECOND: u64 = 4;
const ANSWERS_BURST: u64 = 16;
/// And with any other nonce, as each new cycle has one: anybody can send such a Request in its name. Linux
/// asks twice every 2 seconds.
const ANSWERS_UNPROVED_PER_SECOND: u64 = 2;
const ANSWERS_UNPROVED_BURST: u64 = 8;

/// The length of VLC's Request, with a byte too many at its end. It takes no Query with a gateway's address in it.
const VLC_REQUEST: usize = 9;

/// The machine.
pub struct Relay {
    settings: Settings,
    clock: Clock,
    secrets: Secrets,
    /// Where further secrets come from.
    seed: Secret,
    rotations: u64,
    throttle: Throttle,
    queries: Queries,
    tunnels: Tunnels,
    channels: Channels,
    /// The relay's addresses that tunnels use, by number.
    locals: Vec<Local>,
    answers: VecDeque<Transmit>,
    counters: Counters,
}

impl Relay {
    /// A relay without tunnels. `seed` is random and secret: all of its secrets come from it.
    pub fn new(settings: Settings, seed: Secret, now: Instant) -> Result<Relay> {
        let grace = settings.query_interval * 2;
        Ok(Relay {
            settings,
            clock: Clock::new(now),
            secrets: Secrets::new(derive(&seed, 0), LIFETIME_MAX, grace, now),
            seed,
            rotations: 1,
            throttle: Throttle::new(derive(&seed, u64::MAX), settings.answers_per_second, settings.answers_in_all),
            queries: Queries::new(&settings)?,
            tunnels: Tunnels::default(),
            channels: Channels::default(),
            locals: Vec::new(),
            answers: VecDeque::with_capacity(64),
            counters: Counters::default(),
        })
    }

    /// A datagram that came to one of the relay's addresses.
    pub fn handle_input(&mut self, now: Instant, local: Local, from: SocketAddr, bytes: &[u8]) {
        let from = canonical(from);
        // A source port of 0 can't be answered, nor an address that isn't one host's.
        if from.port() == 0 || from.ip().is_unspecified() || from.ip().is_multicast() {
            self.counters.dropped_malformed += 1;
            return;
        }
        let Ok((message, dialect)) = Message::decode(bytes) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        match message {
            Message::RelayDiscovery { nonce } => self.discovery(now, local, from, nonce),
            Message::Request { mld, ecn, nonce } => {
                if dialect == Some(Dialect::Linux) {
                    self.throttle.remember_linux(from);
                }
                let (capability, is_vlc) = (Capability::of_request(ecn, dialect), bytes.len() == VLC_REQUEST);
                self.request(now, local, from, Asked { mld, nonce, capability, is_vlc });
            }
            Message::MembershipUpdate { mac, nonce, packet } => match self.secrets.verify(from, nonce, mac, now) {
                Some(capability) => self.update(now, local, from, nonce, capability, packet),
                None => self.counters.dropped_forged += 1,
            },
            Message::Teardown { mac, nonce, gateway } => self.teardown(now, mac, nonce, gateway),
            _ => self.counters.dropped_unexpected += 1,
        }
    }

    fn discovery(&mut self, now: Instant, local: Local, from: SocketAddr, nonce: Nonce) {
        self.counters.discoveries += 1;
        if !self.throttle.allows(from.ip(), self.clock.nanoseconds(now)) {
            self.counters.dropped_throttled += 1;
            return;
        }
        let relay = self.settings.advertised(local.address);
        let answer = Transmit::new(local, from, &Message::RelayAdvertisement { nonce, relay }, Dialect::Rfc);
        self.counters.advertisements += self.push(answer);
    }

    fn request(&mut self, now: Instant, local: Local, from: SocketAddr, asked: Asked) {
        self.counters.requests += 1;
        let tunnel = self.tunnels.find(from);
        if !self.may_answer(tunnel, from.ip(), asked.nonce, now) {
            self.counters.dropped_throttled += 1;
            return;
        }
        // Linux's gateway asks once with a flag that only it has and once without any, and drops every
        // answer with flags that it doesn't have.
        let known = tunnel.and_then(|number| self.tunnels.get(number)).map(|tunnel| tunnel.capability);
        // What the tunnel's Update proved counts before flags that anybody can have sent.
        let is_linux = known.map_or_else(|| self.throttle.is_linux(from), |known| known == Capability::Linux);
        let capability = match asked.capability {
            Capability::Plain if is_linux => Capability::Linux,
            told => told,
        };
        let dialect = capability.dialect();
        let message = Message::MembershipQuery {
            limited: tunnel.is_none() && self.is_nearly_full(from.ip()),
            mac: self.secrets.sign(from, asked.nonce, capability),
            nonce: asked.nonce,
            packet: if asked.mld { self.queries.mld() } else { self.queries.igmp(local.address) },
            gateway: (dialect == Dialect::Rfc && !asked.is_vlc).then(|| Gateway::from(from)),
        };
        let answer = Transmit::new(local, from, &message, dialect);
        self.counters.queries += self.push(answer);
        if let Some(tunnel) = tunnel.and_then(|number| self.tunnels.get_mut(number)) {
            tunnel.offered = asked.nonce;
        }
    }

    /// Full, or so nearly that those whose handshake is under way may take what is left.
    fn is_nearly_full(&self, address: IpAddr) -> bool {
        self.tunnels.len() >= nearly(self.settings.tunnels)
            || self.tunnels.len_from(address) >= nearly(self.settings.tunnels_per_address)
    }

    /// A Request in a tunnel's name that doesn't have its nonce may be forged: such ones have an allowance of
    /// their own, so that a flood of them takes nothing from the gateway.
    fn may_answer(&mut self, tunnel: Option<u32>, address: IpAddr, nonce: Nonce, now: Instant) -> bool {
        let nanoseconds = self.clock.nanoseconds(now);
        match tunnel.and_then(|number| self.tunnels.get_mut(number)) {
            Some(tunnel) if tunnel.nonce == nonce => {
                tunnel.answers.take(1, ANSWERS_PER_SECOND, ANSWERS_BURST, nanoseconds)
            }
            Some(tunnel) => {
                let (rate, burst) = (ANSWERS_UNPROVED_PER_SECOND, ANSWERS_UNPROVED_BURST);
                tunnel.unproved_answers.take(1, rate, burst, nanoseconds)
            }
            None => self.throttle.allows(address, nanoseconds),
        }
    }

    /// How many are on their way.
    fn push(&mut self, answer: Option<Transmit>) -> u64 {
        match answer.filter(|_| self.answers.len() < ANSWERS_MAX) {
            Some(answer) => {
                self.answers.push_back(answer);
                1
            }
            None => {
                self.counters.dropped_answer += 1;
                0
            }
        }
    }

    /// The MAC is that of the Query to the address in the message, which is no longer the sender's. It
    /// must be that of the newest Update or the newest Query: an older one may be a repetition by
    /// somebody else.
    fn teardown(&mut self, now: Instant, mac: ResponseMac, nonce: Nonce, gateway: Gateway) {
        let endpoint = gateway.address();
        if self.secrets.verify(endpoint, nonce, mac, now).is_none() {
            self.counters.dropped_forged += 1;
            return;
        }
        self.counters.teardowns += 1;
        let Some(number) = self.find_scoped(endpoint) else { return };
        if self.tunnels.get(number).is_some_and(|tunnel| [tunnel.nonce, tunnel.offered].contains(&nonce)) {
            self.remove_tunnel(now, number);
            self.counters.closed += 1;
        }
    }

    /// A link-local address in a message has no interface.
    fn find_scoped(&self, endpoint: SocketAddr) -> Option<u32> {
        self.tunnels.find(endpoint).or_else(|| match endpoint.ip() {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                let same = |tunnel: &&Tunnel| tunnel.endpoint.ip() == v6 && tunnel.endpoint.port() == endpoint.port();
                self.tunnels.iter().find(same).and_then(|tunnel| self.tunnels.find(tunnel.endpoint))
            }
            _ => None,
        })
    }

    /// ICMP said that data doesn't arrive there. That is easily forged, so it is no more than a hint: the
    /// tunnel ends unless its gateway reports within the next query interval, as it does anyway.
    pub fn handle_unreachable(&mut self, now: Instant, endpoint: SocketAddr) {
        self.counters.unreachable += 1;
        let Some(number) = self.find_scoped(canonical(endpoint)) else { return };
        let until = self.clock.after(now, self.settings.query_interval + settings::RESPONSE);
        let until = self.tunnels.get(number).map_or(until, |tunnel| tunnel.until.min(until));
        self.tunnels.renew(number, until);
    }

    /// When [`handle_timeout`](Relay::handle_timeout) has something to do.
    pub fn timeout(&self) -> Instant {
        let ticks = [self.tunnels.next(), self.channels.next()].into_iter().flatten();
        ticks.map(|tick| self.clock.instant(tick)).chain([self.secrets.due()]).min().unwrap_or(self.secrets.due())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.secrets.due() <= now {
            self.secrets.rotate(derive(&self.seed, self.rotations), now);
            self.rotations += 1;
        }
        self.expire(now);
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.answers.pop_front()
    }

    /// The next group to join or leave upstream.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.channels.poll_change()
    }

    /// Whether [`poll_change`](Relay::poll_change) may have something.
    pub fn has_changes(&self) -> bool {
        self.channels.has_changes()
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// For what the shell counts.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// What a Request wants.
struct Asked {
    mld: bool,
    nonce: Nonce,
    capability: Capability,
    is_vlc: bool,
}

/// From how many of so many on new gateways are told to look elsewhere.
fn nearly(most: usize) -> usize {
    most - most / 32
}

/// A secret from a secret, by number.
fn derive(seed: &Secret, number: u64) -> Secret {
    let mut secret = [0; 16];
    let halves = [0_u8, 1].map(|half| {
        let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
        siphash(seed, &[a, b, c, d, e, f, g, h, half]).to_le_bytes()
    });
    secret.iter_mut().zip(halves.into_iter().flatten()).for_each(|(place, byte)| *place = byte);
    secret
}

/// For a tunnel's bytes per second, at least a train of the largest packets.
const BURST_MIN: u64 = 131_072;

fn burst(bytes_per_second: u64) -> u64 {
    bytes_per_second.max(BURST_MIN)
}

#[cfg(test)]
mod tests;
