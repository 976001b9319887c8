//! The gateway's end of AMT (RFC 7450, section 5.2): finds a relay, tells it which groups are wanted,
//! and takes their packets out of the tunnel.
//!
//! A state machine without a socket, a clock or randomness of its own: what arrives goes into
//! [`Gateway::handle_input`], time into [`Gateway::handle_timeout`] (when [`Gateway::timeout`] says so, and
//! after each call that changes something), and what is to be sent comes out of
//! [`Gateway::poll_transmit`].

mod candidates;
mod data;
mod discovery;
mod filter;
mod groups;
mod handshake;
mod quiet;
mod random;
mod reassembly;
mod reports;

pub mod counters;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::wire::{Dialect, Message};
pub use candidates::Candidate;
use candidates::{Candidates, REST_DEAD};
use counters::{Counters, Dropped};
pub use data::{Inner, Payload};
use discovery::Discovery;
pub use filter::Filter;
use groups::Groups;
use handshake::Session;
use quiet::Quiet;
pub use random::Random;
use reassembly::Reassembly;
use reports::Teardown;

/// After so many questions without an answer another relay is looked for.
const ATTEMPTS: u32 = 4;

/// How a gateway works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The relays, or addresses to ask for one, in the order to try them.
    pub candidates: Vec<Candidate>,
    /// Asks the relay to carry congestion marks to the outside of the tunnel (RFC 9601).
    pub ecn: bool,
    /// Another relay is tried when one brings nothing at first (RFC 8777, section 3.3.4.1).
    pub leave_silent: bool,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: SocketAddr,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// How far a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No group is wanted.
    Idle,
    /// Asks for a relay.
    Discovering,
    /// Asks the relay what to report.
    Requesting,
    /// The relay knows what is wanted.
    Active,
    /// No relay has answered so far, or none takes any more gateways. Goes on trying.
    Failed,
}

enum Phase {
    Idle,
    Discovering(Discovery),
    Connected(Session),
    /// All relays rest.
    Waiting(Instant),
}

/// The machine.
pub struct Gateway {
    options: Options,
    random: Random,
    candidates: Candidates,
    phase: Phase,
    groups: Groups,
    /// When what has changed is told again.
    tell_again: Option<Instant>,
    /// When everything is told, after groups were left.
    tell_all: Option<Instant>,
    teardowns: Vec<Teardown>,
    outbox: VecDeque<Transmit>,
    reassembly: Reassembly,
    /// How many relays in a row haven't answered.
    failures: usize,
    /// How many relays in a row have brought nothing, and when this one is one of them.
    silent: (u32, Option<Instant>),
    quiet: Quiet,
    /// The source of reports, one for all.
    hosts: (IpAddr, IpAddr),
    counters: Counters,
}

impl Gateway {
    /// Wants nothing yet.
    pub fn new(options: Options, mut random: Random) -> Gateway {
        let identifier = u128::from(random.bits());
        let link_local = Ipv6Addr::from_bits(0xfe80 << 112 | identifier);
        Gateway {
            candidates: Candidates::new(options.candidates.clone()),
            options,
            random,
            phase: Phase::Idle,
            groups: Groups::default(),
            tell_again: None,
            tell_all: None,
            teardowns: Vec::new(),
            outbox: VecDeque::new(),
            reassembly: Reassembly::default(),
            failures: 0,
            silent: (0, None),
            quiet: Quiet::default(),
            hosts: (Ipv4Addr::UNSPECIFIED.into(), link_local.into()),
            counters: Counters::default(),
        }
    }

    /// Which sources of a group are wanted from now on; [`Filter::none`] leaves it.
    pub fn set_filter(&mut self, now: Instant, group: IpAddr, filter: Filter) {
        let times = self.robustness();
        if !self.groups.change(group, filter, times) {
            return;
        }
        let is_connected = match &mut self.phase {
            Phase::Connected(session) => {
                session.wake(now, group.is_ipv6());
                true
            }
            Phase::Discovering(_) | Phase::Waiting(_) => true,
            Phase::Idle => false,
        };
        if self.relay().is_none() {
            // Nobody has been told of it.
            self.groups.forget(group);
        }
        if !is_connected && self.groups.count() > 0 {
            self.look_for_relay(now);
        }
    }

    /// Which sources of a group are wanted.
    pub fn filter(&self, group: IpAddr) -> Option<&Filter> {
        self.groups.filter(group)
    }

    /// How many groups are wanted.
    pub fn group_count(&self) -> usize {
        self.groups.count()
    }

    /// Of how many of them nothing has ever come.
    pub fn silent_group_count(&self) -> usize {
        self.groups.silent()
    }

    /// A datagram has arrived, with this traffic class on its outside: one for the application, if it
    /// holds one. Group and source have been checked.
    pub fn handle_input<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        traffic_class: u8,
        bytes: &'a [u8],
    ) -> Option<Inner<'a>> {
        // First what there is most of.
        let relay = self.relay();
        let (message, dialect) = match Message::decode(bytes) {
            Ok(message) => message,
            Err(_) => return self.dropped(Dropped::Malformed),
        };
        match message {
            Message::MulticastData { packet } if relay == Some(from) => return self.data(now, traffic_class, packet),
            Message::MulticastData { .. } => return self.dropped(Dropped::Stranger),
            Message::RelayAdvertisement { nonce, relay } => self.advertisement(now, from, nonce, relay),
            Message::MembershipQuery { .. } if relay != Some(from) => self.counters.drop(Dropped::Stranger),
            Message::MembershipQuery { limited, mac, nonce, packet, gateway } => {
                let answer = handshake::Answer { limited, mac, nonce, packet, gateway, dialect };
                self.query(now, &answer);
            }
            // What only gateways send.
            _ => self.counters.drop(Dropped::Unasked),
        }
        None
    }

    fn dropped<'a>(&mut self, why: Dropped) -> Option<Inner<'a>> {
        self.counters.drop(why);
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ask_when_quiet(now);
        match &self.phase {
            Phase::Idle => {}
            Phase::Waiting(until) if *until > now => {}
            Phase::Waiting(_) if self.groups.count() == 0 => self.phase = Phase::Idle,
            Phase::Waiting(_) => self.look_for_relay(now),
            Phase::Discovering(discovery) if discovery.next > now => {}
            Phase::Discovering(_) => self.discover(now),
            Phase::Connected(_) => self.keep_session(now),
        }
        self.tell(now);
        self.repeat_teardowns(now);
        self.leave_silent(now);
        self.counters.fragment += self.reassembly.expire(now);
    }

    /// When to call [`Gateway::handle_timeout`] next; at once, if that is past.
    pub fn timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Idle => None,
            Phase::Waiting(until) => Some(*until),
            Phase::Discovering(discovery) => Some(discovery.next),
            Phase::Connected(session) => session.next,
        };
        let teardown = self.teardowns.iter().map(|teardown| teardown.next).min();
        let silence = self.silent.1.into_iter().chain(self.quiet.timeout()).min();
        [phase, self.tell_timer(), teardown, silence, self.reassembly.timeout()].into_iter().flatten().min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    fn send(&mut self, to: SocketAddr, message: &Message<'_>, dialect: Dialect) {
        let mut bytes = Vec::new();
        message.append(dialect, &mut bytes);
        self.outbox.push_back(Transmit { to, bytes });
    }

    /// The network says that what was sent there doesn't arrive. Anybody can say so: a relay that works
    /// is asked, and only left when it doesn't answer.
    pub fn handle_unreachable(&mut self, now: Instant, to: SocketAddr) {
        self.counters.unreachable += 1;
        let asked = match &self.phase {
            Phase::Discovering(discovery) => self.candidates.get(discovery.candidate).map(|one| one.address),
            Phase::Connected(session) => Some(session.relay),
            _ => None,
        };
        if asked != Some(to) {
            return;
        }
        match &mut self.phase {
            Phase::Discovering(discovery) => {
                let candidate = discovery.candidate;
                if self.candidates.has_other(candidate, now) {
                    self.candidate_fails(now, candidate);
                }
            }
            Phase::Connected(session) if session.is_active() => session.doubt(now),
            Phase::Connected(session) => {
                let candidate = session.candidate;
                if self.candidates.has_other(candidate, now) {
                    self.candidate_fails(now, candidate);
                }
            }
            _ => {}
        }
    }

    /// Leaves every group, and the relay; what is to be sent for that comes out of
    /// [`Gateway::poll_transmit`], as often as is sensible at once.
    pub fn close(&mut self) {
        self.quit(true);
    }

    fn heard(&mut self, now: Instant) {
        self.silent = (0, None);
        self.quiet.heard(now);
    }

    /// Data has come, and comes no more.
    fn ask_when_quiet(&mut self, now: Instant) {
        if self.quiet.is_too_long(now) && self.groups.count() > 0 {
            if let Phase::Connected(session) = &mut self.phase {
                session.verify(now);
            }
        }
    }

    /// A relay that has brought nothing yet.
    fn leave_silent(&mut self, now: Instant) {
        if self.silent.1.is_none_or(|at| at > now) {
            return;
        }
        self.silent.1 = None;
        let Phase::Connected(session) = &self.phase else { return };
        let candidate = session.candidate;
        if self.groups.count() > 0 && self.candidates.has_other(candidate, now) {
            self.silent.0 += 1;
            self.relay_fails(now);
        }
    }

    /// RFC 8777, section 3.3.4.1.
    fn expect_traffic(&mut self, now: Instant) {
        if self.options.leave_silent {
            let least = Duration::from_secs(4);
            let most = Duration::from_secs(4_u64.checked_shl(self.silent.0.min(32)).unwrap_or(120).clamp(4, 120));
            self.silent.1 = Some(now + self.random.between(least, most));
        }
    }

    /// Between three and ten minutes.
    fn rest(&mut self, now: Instant) -> Instant {
        let [least, most] = REST_DEAD;
        now + self.random.between(least, most)
    }

    /// How far it is.
    pub fn state(&self) -> State {
        let is_failing = self.failures >= self.candidates.len().max(1);
        match &self.phase {
            Phase::Idle => State::Idle,
            Phase::Connected(session) if session.is_active() && self.groups.count() == 0 => State::Idle,
            Phase::Connected(session) if session.is_active() => State::Active,
            Phase::Waiting(_) => State::Failed,
            _ if is_failing => State::Failed,
            Phase::Discovering(_) => State::Discovering,
            Phase::Connected(_) => State::Requesting,
        }
    }

    /// The relay, once there is one.
    pub fn relay(&self) -> Option<SocketAddr> {
        match &self.phase {
            Phase::Connected(session) => Some(session.relay),
            _ => None,
        }
    }

    /// What was done and dropped so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
