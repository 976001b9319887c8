//! Request and Query (RFC 7450, section 5.2.3.5): how the relay learns that this gateway is where it says,
//! again and again, as often as the Query tells.
//!
//! What Linux's driver does differently: it has its flags at the other end of their byte and ignores a
//! Request with any other bit set, so that of four Requests two are in its dialect until one is answered;
//! and it takes Updates only for the last nonce that it saw, so that both families ask with one nonce.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::counters::Dropped;
use super::{ATTEMPTS, Gateway, Phase};
use crate::tunnel::amt::wire::{self, Dialect, Message, Nonce, ResponseMac};
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Query};

/// What RFC 3376 (section 8) and RFC 3810 (section 9) have where the Query says nothing.
const ROBUSTNESS: u8 = 2;
const INTERVAL: Duration = Duration::from_secs(125);
/// After so many Requests a relay is left for another when the network says, too, that it isn't there.
const ATTEMPTS_UNREACHABLE: u32 = 2;
/// The least time between two cycles that nothing but the network's word asks for.
const VERIFY_LEAST: Duration = Duration::from_secs(10);

/// What a relay's Query gave for one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tunnel {
    pub mac: ResponseMac,
    pub nonce: Nonce,
}

/// Where the relay sees this gateway, and how to prove that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    pub mac: ResponseMac,
    pub nonce: Nonce,
    pub gateway: wire::Gateway,
}

/// One family's part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// Asked in this cycle.
    asked: bool,
    /// And answered.
    answered: bool,
    pub tunnel: Option<Tunnel>,
}

/// What goes on with one relay.
pub(super) struct Session {
    pub candidate: usize,
    pub relay: SocketAddr,
    /// Of this cycle.
    nonce: Nonce,
    /// Of the last Query: the relay knows this gateway by it.
    proved: Option<Nonce>,
    /// How often it was asked in this cycle.
    attempts: u32,
    /// The network says that nobody is there, after it was asked in this cycle.
    unreachable: bool,
    /// When to ask again, or to begin the next cycle.
    pub next: Option<Instant>,
    begun: Instant,
    pub v4: Part,
    pub v6: Part,
    pub endpoint: Option<Endpoint>,
    /// The relay's, once an answer has told.
    pub dialect: Option<Dialect>,
    tried: Dialect,
    pub robustness: u8,
    interval: Duration,
}

/// A Membership Query as it came.
pub(super) struct Answer<'a> {
    pub limited: bool,
    pub mac: ResponseMac,
    pub nonce: Nonce,
    pub packet: &'a [u8],
    pub gateway: Option<wire::Gateway>,
    pub dialect: Option<Dialect>,
}

impl Session {
    pub fn new(candidate: usize, relay: SocketAddr, nonce: Nonce, now: Instant) -> Session {
        Session {
            candidate,
            relay,
            nonce,
            proved: None,
            attempts: 0,
            unreachable: false,
            next: Some(now),
            begun: now,
            v4: Part::default(),
            v6: Part::default(),
            endpoint: None,
            dialect: None,
            tried: Dialect::Rfc,
            robustness: ROBUSTNESS,
            interval: INTERVAL,
        }
    }

    pub fn part(&self, mld: bool) -> &Part {
        if mld { &self.v6 } else { &self.v4 }
    }

    fn part_mut(&mut self, mld: bool) -> &mut Part {
        if mld { &mut self.v6 } else { &mut self.v4 }
    }

    /// Whether the relay has answered at all.
    pub fn is_active(&self) -> bool {
        self.v4.tunnel.is_some() || self.v6.tunnel.is_some()
    }

    /// Whether it is being asked now.
    fn is_asking(&self) -> bool {
        self.attempts > 0
    }

    /// A group of a family has come or changed: the relay is asked now if it wasn't for this family.
    pub fn wake(&mut self, now: Instant, mld: bool) {
        if self.next.is_none() || (self.part(mld).tunnel.is_none() && !self.part(mld).asked) {
            self.next = Some(now);
        }
    }

    /// Asks now, or as soon as that isn't too often.
    pub fn verify(&mut self, now: Instant) {
        if !self.is_asking() {
            let soon = now.max(self.begun + VERIFY_LEAST);
            self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        }
    }

    /// The network's word against a relay that works: if it is asked and doesn't answer, it isn't waited
    /// for as long.
    pub fn doubt(&mut self, now: Instant) {
        self.unreachable |= self.is_asking();
        self.verify(now);
    }

    /// So many questions without an answer are enough.
    fn attempts_max(&self) -> u32 {
        if self.unreachable { ATTEMPTS_UNREACHABLE } else { ATTEMPTS }
    }

    /// When this cycle began: a time that is past.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The nonce to ask with. A relay that gets many Requests in this gateway's name may tell it from the others
    /// by a nonce that it knows, so a question that isn't answered has that. Linux's relay needs no such help,
    /// and takes Updates only for the nonce that it saw last.
    fn nonce_to_ask(&self) -> Nonce {
        let proved = self.proved.filter(|_| self.attempts > 1 && self.dialect == Some(Dialect::Rfc));
        proved.unwrap_or(self.nonce)
    }

    /// Whether a Query has a nonce of this cycle's Requests.
    fn has_asked_with(&self, nonce: Nonce) -> bool {
        nonce == self.nonce || self.attempts > 1 && self.proved == Some(nonce)
    }

    fn has_open_question(&self) -> bool {
        [self.v4, self.v6].iter().any(|part| part.asked && !part.answered)
    }

    fn has_answer(&self) -> bool {
        self.v4.answered || self.v6.answered
    }

    /// In which dialect to ask next. Twice in the one that is known, then twice in the other: a question
    /// that is lost doesn't make it another relay's, but one that isn't answered again may be.
    fn choose_dialect(&self) -> Dialect {
        match (self.dialect.unwrap_or(Dialect::Rfc), self.attempts % 4 < 2) {
            (dialect, true) => dialect,
            (Dialect::Rfc, false) => Dialect::Linux,
            (Dialect::Linux, false) => Dialect::Rfc,
        }
    }
}

impl Gateway {
    pub(super) fn robustness(&self) -> u8 {
        match &self.phase {
            Phase::Connected(session) => session.robustness,
            _ => ROBUSTNESS,
        }
    }

    /// Asks, asks again, or gives the relay up.
    pub(super) fn keep_session(&mut self, now: Instant) {
        let Phase::Connected(session) = &mut self.phase else { return };
        if session.next.is_none_or(|next| next > now) {
            return;
        }
        for mld in [false, true].into_iter().filter(|mld| session.part(*mld).tunnel.is_none()) {
            self.groups.forget_left(mld);
        }
        let needs = [false, true].map(|mld| self.groups.needs(mld));
        if needs == [false, false] {
            // Until somebody wants something again.
            session.next = None;
            return;
        }
        let index = session.candidate;
        if session.is_asking() && session.attempts >= session.attempts_max() {
            // It answers for the other family, or it is there and its answers are taken by others: later.
            if session.has_answer() || session.is_active() && self.quiet.has_heard_lately(now) {
                session.attempts = 0;
                session.next = Some(session.begun + session.interval);
                return;
            }
            if self.candidates.has_elsewhere(index, now) {
                return self.relay_fails(now);
            }
            if session.attempts == ATTEMPTS {
                // What it knew is doubtful now: if it comes back, it is told everything.
                self.failures += 1;
                (session.v4.tunnel, session.v6.tunnel) = (None, None);
                self.groups.announce_all(session.robustness);
            }
        }
        let [v4, v6] = needs;
        if !session.is_asking() || !session.has_open_question() {
            session.nonce = self.random.nonce();
            session.begun = now;
            (session.attempts, session.unreachable) = (0, false);
            (session.v4.answered, session.v6.answered) = (false, false);
            (session.v4.asked, session.v6.asked) = (false, false);
        }
        let new = [v4 && !session.v4.asked, v6 && !session.v6.asked];
        session.v4.asked |= v4;
        session.v6.asked |= v6;
        if session.is_asking() && new == [false, false] {
            self.renew(now);
        }
        self.request(now, new);
    }

    /// The relay hasn't answered: an Update with the MAC at hand keeps the tunnel meanwhile, and tells the relay
    /// the nonce to know the next Request by. Linux's takes none for a nonce before its last.
    fn renew(&mut self, now: Instant) {
        for mld in [false, true] {
            let Phase::Connected(session) = &self.phase else { return };
            let part = session.part(mld);
            if part.asked && !part.answered && session.dialect != Some(Dialect::Linux) {
                self.tell_state(now, mld);
            }
        }
    }

    /// `new`: the families that are asked for the first time since the answer to the last question.
    fn request(&mut self, now: Instant, new: [bool; 2]) {
        let Phase::Connected(session) = &mut self.phase else { return };
        let mut open = [session.v4, session.v6].map(|part| part.asked && !part.answered);
        if session.is_asking() && new.contains(&true) {
            // One that joins in while the other's answer is awaited: that isn't asked again for it.
            open = new;
        } else {
            session.tried = session.choose_dialect();
            session.attempts = session.attempts.saturating_add(1);
        }
        session.next = Some(now + self.random.patience(session.attempts));
        let (relay, nonce, dialect) = (session.relay, session.nonce_to_ask(), session.tried);
        for (mld, _) in [false, true].into_iter().zip(open).filter(|(_, open)| *open) {
            let ecn = self.options.ecn && dialect == Dialect::Rfc;
            self.counters.requests += 1;
            self.send(relay, &Message::Request { mld, ecn, nonce }, dialect);
        }
    }

    /// The relay's Query: it knows where this gateway is, and wants to know what it listens to.
    pub(super) fn query(&mut self, now: Instant, answer: &Answer<'_>) {
        let Ok(packet) = Packet::parse(answer.packet) else { return self.counters.drop(Dropped::Packet) };
        let mld = packet.source.is_ipv6();
        let query = match listener::parse_query(&packet) {
            Ok(query) if query.group.is_none() => query,
            _ => return self.counters.drop(Dropped::Packet),
        };
        let Phase::Connected(session) = &mut self.phase else { return };
        let part = session.part(mld);
        if !session.has_asked_with(answer.nonce) || !part.asked || part.answered {
            return self.counters.drop(Dropped::Unasked);
        }
        self.counters.queries += 1;
        // A full relay keeps the gateways that it knows. Nothing in the Query says whether it knows this one:
        // it may have begun anew since. Only data that flows proves that it does.
        let has_moved = session.endpoint.is_some_and(|old| answer.gateway.is_some_and(|new| old.gateway != new));
        let (was_active, index) = (session.is_active(), session.candidate);
        let is_unknown = has_moved || !was_active;
        if answer.limited && (is_unknown || (!self.quiet.is_flowing() && self.candidates.has_elsewhere(index, now))) {
            return self.relay_is_full(now);
        }
        let Phase::Connected(session) = &mut self.phase else { return };
        session.learn(mld, answer, &query, self.options.ecn);
        self.failures = 0;
        self.note_endpoint(now, answer);
        if !was_active {
            self.expect_traffic(now);
        }
        self.tell_state(now, mld);
    }

    /// When the relay sees this gateway elsewhere than before, the old tunnel is to end (section 5.2.3.7).
    fn note_endpoint(&mut self, now: Instant, answer: &Answer<'_>) {
        let Phase::Connected(session) = &mut self.phase else { return };
        let Some(gateway) = answer.gateway else { return };
        let (relay, robustness) = (session.relay, session.robustness);
        let endpoint = Endpoint { mac: answer.mac, nonce: answer.nonce, gateway };
        let old = session.endpoint.replace(endpoint).filter(|old| old.gateway != gateway);
        if let Some(old) = old {
            // It knows nothing of this place.
            self.groups.announce_all(robustness);
            self.tear_down(now, relay, old, robustness);
        }
    }
}

impl Session {
    fn learn(&mut self, mld: bool, answer: &Answer<'_>, query: &Query<'_>, ecn: bool) {
        let tunnel = Tunnel { mac: answer.mac, nonce: answer.nonce };
        let part = self.part_mut(mld);
        (part.answered, part.tunnel) = (true, Some(tunnel));
        self.proved = Some(answer.nonce);
        // A MAC is for a nonce, not for a family: the newest serves both, and the relay sees one nonce.
        let other = self.part_mut(!mld);
        other.tunnel = other.tunnel.map(|_| tunnel);
        self.unreachable = false;
        // Only a flag tells for sure; that a question with a flag in it was understood tells, too.
        if answer.dialect.is_some() || mld || ecn {
            self.dialect = answer.dialect.or(Some(self.tried));
        }
        if query.robustness > 0 {
            self.robustness = query.robustness;
        }
        let interval = if query.interval.is_zero() { INTERVAL } else { query.interval };
        // With two families, as often as the one wants that asks more often.
        let is_first = !self.v4.answered || !self.v6.answered;
        self.interval = if is_first { interval } else { interval.min(self.interval) };
        if !self.has_open_question() {
            self.attempts = 0;
            self.next = Some(self.begun + self.interval);
        }
    }
}
