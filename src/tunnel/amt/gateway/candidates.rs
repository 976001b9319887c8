//! The relays to try, in turn, and those to leave alone for a while.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use super::super::PORT;
use super::super::driad::ANYCAST_RELAYS;

/// A relay that told it is full is left alone so long (RFC 8777, section 3.3.5).
pub(super) const REST_FULL: Duration = Duration::from_secs(600);
/// One that doesn't answer, or brings nothing, between these (RFC 8777, section 3.3.4.1).
pub(super) const REST_DEAD: [Duration; 2] = [Duration::from_secs(180), Duration::from_secs(600)];

/// The most relays found by discovery that are remembered as resting.
const RESTING_MAX: usize = 32;

/// An address to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to send the first message.
    pub address: SocketAddr,
    /// Whether to ask there for a relay (Discovery), or to take it for one.
    pub discovery: bool,
}

impl Candidate {
    /// The addresses at which every network may have a relay.
    pub fn anycast() -> Vec<Candidate> {
        ANYCAST_RELAYS.map(|ip| Candidate { address: SocketAddr::new(ip, PORT), discovery: true }).to_vec()
    }
}

/// The candidates in their order.
pub(super) struct Candidates {
    list: Vec<(Candidate, Option<Instant>)>,
    /// Relays that candidates led to.
    resting: Vec<(SocketAddr, Instant)>,
}

impl Candidates {
    pub fn new(list: Vec<Candidate>) -> Candidates {
        Candidates { list: list.into_iter().map(|candidate| (candidate, None)).collect(), resting: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn get(&self, index: usize) -> Option<Candidate> {
        self.list.get(index).map(|(candidate, _)| *candidate)
    }

    /// The first that doesn't rest, or when the first of them wakes up.
    pub fn choose(&self, now: Instant) -> Result<usize, Option<Instant>> {
        let is_awake = |until: &Option<Instant>| until.is_none_or(|until| until <= now);
        let found = self.list.iter().position(|(_, until)| is_awake(until));
        found.ok_or_else(|| self.list.iter().filter_map(|(_, until)| *until).min())
    }

    /// Whether there is another one to go to now.
    pub fn has_other(&self, index: usize, now: Instant) -> bool {
        let is_awake = |until: &Option<Instant>| until.is_none_or(|until| until <= now);
        self.list.iter().enumerate().any(|(other, (_, until))| other != index && is_awake(until))
    }

    /// Whether there may be another relay: the next candidate, or what asking the same one leads to.
    pub fn has_elsewhere(&self, index: usize, now: Instant) -> bool {
        self.get(index).is_some_and(|candidate| candidate.discovery) || self.has_other(index, now)
    }

    pub fn rest(&mut self, index: usize, until: Instant) {
        if let Some((_, place)) = self.list.get_mut(index) {
            *place = Some(until);
        }
    }

    pub fn rest_relay(&mut self, relay: SocketAddr, until: Instant) {
        self.resting.retain(|(other, _)| *other != relay);
        if self.resting.len() >= RESTING_MAX {
            self.resting.remove(0);
        }
        self.resting.push((relay, until));
    }

    /// Until when a relay rests, if it does.
    pub fn rests(&self, relay: SocketAddr, now: Instant) -> Option<Instant> {
        self.resting.iter().find(|(other, until)| *other == relay && *until > now).map(|(_, until)| *until)
    }
}

/// A relay's address at the port of the one that was asked for it, and on its link if it is of a link.
pub(super) fn beside(asked: SocketAddr, relay: IpAddr) -> SocketAddr {
    match (relay, asked) {
        (IpAddr::V6(v6), SocketAddr::V6(asked)) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, asked.port(), 0, asked.scope_id()).into()
        }
        _ => SocketAddr::new(relay, asked.port()),
    }
}

/// Whether an address can be a relay's: what an Advertisement may not send a gateway to.
pub(super) fn is_relay(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}
