//! Which relay: the candidates in turn, and Discovery where one leads to a relay by asking (RFC 7450,
//! section 5.2.3.4).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::candidates;
use super::counters::Dropped;
use super::handshake::Session;
use super::quiet::Quiet;
use super::{ATTEMPTS, Gateway, Phase};
use crate::tunnel::amt::wire::{Dialect, Message, Nonce};

/// A question for a relay.
pub(super) struct Discovery {
    pub candidate: usize,
    /// The same for each time that it is asked.
    pub nonce: Nonce,
    pub attempts: u32,
    pub next: Instant,
}

impl Gateway {
    /// Begins with the first candidate that doesn't rest.
    pub(super) fn look_for_relay(&mut self, now: Instant) {
        self.silent.1 = None;
        self.phase = match self.candidates.choose(now) {
            Err(Some(until)) => Phase::Waiting(until),
            Err(None) => Phase::Idle,
            Ok(index) => match self.candidates.get(index) {
                Some(candidate) if !candidate.discovery => {
                    self.begin_session(now, index, candidate.address);
                    return;
                }
                _ => {
                    let nonce = self.random.nonce();
                    Phase::Discovering(Discovery { candidate: index, nonce, attempts: 0, next: now })
                }
            },
        };
    }

    /// With a relay that knows nothing of this gateway.
    fn begin_session(&mut self, now: Instant, candidate: usize, relay: SocketAddr) {
        let session = Session::new(candidate, relay, self.random.nonce(), now);
        let times = session.robustness;
        self.phase = Phase::Connected(session);
        self.quiet = Quiet::default();
        self.groups.announce_all(times);
        (self.tell_again, self.tell_all) = (None, None);
    }

    /// Asks, once more.
    pub(super) fn discover(&mut self, now: Instant) {
        let Phase::Discovering(discovery) = &mut self.phase else { return };
        let (index, nonce) = (discovery.candidate, discovery.nonce);
        if self.groups.count() == 0 {
            self.phase = Phase::Idle;
            return;
        }
        if discovery.attempts >= ATTEMPTS && self.candidates.has_other(index, now) {
            return self.candidate_fails(now, index);
        }
        if discovery.attempts == ATTEMPTS {
            self.failures += 1;
        }
        discovery.attempts = discovery.attempts.saturating_add(1);
        discovery.next = now + self.random.patience(discovery.attempts);
        if let Some(candidate) = self.candidates.get(index) {
            self.counters.discoveries += 1;
            self.send(candidate.address, &Message::RelayDiscovery { nonce }, Dialect::Rfc);
        }
    }

    /// There is another one to go to.
    pub(super) fn candidate_fails(&mut self, now: Instant, index: usize) {
        let until = self.rest(now);
        self.candidates.rest(index, until);
        self.failures += 1;
        self.counters.relay_changes += 1;
        self.look_for_relay(now);
    }

    /// An Advertisement counts if it is from the address that was asked, with its nonce.
    pub(super) fn advertisement(&mut self, now: Instant, from: SocketAddr, nonce: Nonce, relay: IpAddr) {
        let Phase::Discovering(discovery) = &self.phase else { return self.counters.drop(Dropped::Unasked) };
        let (index, asked) = (discovery.candidate, discovery.nonce);
        let Some(candidate) = self.candidates.get(index) else { return };
        if candidate.address != from {
            return self.counters.drop(Dropped::Stranger);
        }
        if asked != nonce || discovery.attempts == 0 {
            return self.counters.drop(Dropped::Unasked);
        }
        let relay = relay.to_canonical();
        if !candidates::is_relay(relay) {
            return self.counters.drop(Dropped::Malformed);
        }
        self.counters.advertisements += 1;
        let relay = candidates::beside(candidate.address, relay);
        match self.candidates.rests(relay, now) {
            // It leads where nobody is, or nobody may be: another one, or the same later.
            Some(until) => {
                self.candidates.rest(index, until);
                self.failures += 1;
                self.look_for_relay(now);
            }
            None => self.begin_session(now, index, relay),
        }
    }

    /// The relay is left, and another one looked for; the same if there is no other.
    pub(super) fn relay_fails(&mut self, now: Instant) {
        let Phase::Connected(session) = &self.phase else { return };
        let (index, relay) = (session.candidate, session.relay);
        if self.candidates.has_other(index, now) {
            let until = self.rest(now);
            self.candidates.rest_relay(relay, until);
            self.candidates.rest(index, until);
            self.counters.relay_changes += 1;
        }
        self.failures += 1;
        self.quit(false);
        self.look_for_relay(now);
    }

    /// The relay has said that it takes nobody more. If it knows this gateway after all, it is told to stop.
    pub(super) fn relay_is_full(&mut self, now: Instant) {
        let Phase::Connected(session) = &self.phase else { return };
        let (index, relay) = (session.candidate, session.relay);
        let until = now + candidates::REST_FULL;
        self.candidates.rest_relay(relay, until);
        if self.candidates.get(index).is_none_or(|candidate| !candidate.discovery) {
            self.candidates.rest(index, until);
        }
        self.counters.relay_changes += 1;
        self.failures += 1;
        self.quit(false);
        self.look_for_relay(now);
    }
}
