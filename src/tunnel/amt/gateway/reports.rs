//! Updates and Teardowns (RFC 7450, sections 5.2.3.6 and 5.2.3.7): what the relay is told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::groups::{Groups, Told};
use super::handshake::{Endpoint, Session, Tunnel};
use super::quiet::Quiet;
use super::{Gateway, Phase};
use crate::tunnel::amt::wire::{Dialect, Message};
use crate::tunnel::listener::{self, Record, Sources, Version};

/// The longest report, so that it passes with everything around it where 1,500 bytes pass.
const REPORT_MAX: usize = 1400;
/// What was told is told again within this time (RFC 3376, section 8.11; RFC 3810, section 9.11).
const AGAIN: Duration = Duration::from_secs(1);
/// After groups were left, and told so twice, the others are told again.
const AFTER_LEAVE: Duration = Duration::from_secs(2);
/// The most tunnels that are being ended at the same time.
const TEARDOWNS_MAX: usize = 4;

/// A Teardown that is sent more than once.
pub(super) struct Teardown {
    relay: SocketAddr,
    endpoint: Endpoint,
    left: u8,
    pub next: Instant,
}

impl Gateway {
    /// When there is something to tell.
    pub(super) fn tell_timer(&self) -> Option<Instant> {
        let Phase::Connected(session) = &self.phase else { return None };
        let can = |mld: bool| session.part(mld).tunnel.is_some() && self.groups.has_fresh(mld);
        // Long ago: at once.
        if can(false) || can(true) {
            return Some(session.begun());
        }
        self.tell_again.into_iter().chain(self.tell_all).min()
    }

    /// Tells what has changed, and once more what had changed before.
    pub(super) fn tell(&mut self, now: Instant) {
        for mld in [false, true] {
            let Some(tunnel) = self.tunnel(mld) else { continue };
            if self.groups.has_fresh(mld) {
                let told = self.groups.tell_fresh(mld);
                if !told.left.is_empty() && self.groups.silent() > 0 {
                    self.tell_all.get_or_insert(now + AFTER_LEAVE);
                }
                self.report(mld, tunnel, &told);
            }
        }
        if self.tell_again.is_some_and(|at| at <= now) {
            self.tell_again = None;
            for mld in [false, true] {
                let Some(tunnel) = self.tunnel(mld) else { continue };
                let told = self.groups.tell_again(mld);
                self.report(mld, tunnel, &told);
            }
        }
        self.tell_all(now);
        self.plan_again(now);
    }

    /// A relay that takes so many groups and no more ignores the others without a word (Linux's takes 32). After
    /// some were left there may be room for those of which nothing has come.
    fn tell_all(&mut self, now: Instant) {
        if self.tell_all.is_none_or(|at| at > now) {
            return;
        }
        self.tell_all = None;
        if self.groups.silent() > 0 {
            [false, true].into_iter().for_each(|mld| self.tell_state(now, mld));
        }
    }

    /// Answers the relay's Query.
    pub(super) fn tell_state(&mut self, now: Instant, mld: bool) {
        let Some(tunnel) = self.tunnel(mld) else { return };
        let told = self.groups.tell_state(mld);
        self.report(mld, tunnel, &told);
        self.plan_again(now);
    }

    fn plan_again(&mut self, now: Instant) {
        if self.groups.has_again() && self.tell_again.is_none() {
            let pause = self.random.between(Duration::ZERO, AGAIN);
            self.tell_again = Some(now + pause);
        }
    }

    fn tunnel(&self, mld: bool) -> Option<Tunnel> {
        match &self.phase {
            Phase::Connected(session) => session.part(mld).tunnel,
            _ => None,
        }
    }

    /// Sends what is told, in as many Updates as it takes.
    fn report(&mut self, mld: bool, tunnel: Tunnel, told: &Told) {
        let Phase::Connected(session) = &self.phase else { return };
        let (v4, v6) = self.hosts;
        let (host, relay, leaves_twice) =
            (if mld { v6 } else { v4 }, session.relay, session.dialect != Some(Dialect::Rfc));
        let records: Vec<Record<'_>> = told
            .sayings
            .iter()
            .map(|one| Record { kind: one.kind, group: one.group, sources: Sources::from(one.sources.as_slice()) })
            .collect();
        let mut packets = Vec::new();
        // Groups and sources were checked when they came: nothing can be refused.
        let _ = listener::build_report(host, &records, REPORT_MAX, &mut packets);
        if leaves_twice {
            // Linux's relay goes on sending for minutes, but for a leave in the old way. To others that
            // says what they know already.
            let version = if mld { Version::Mld1 } else { Version::Igmp2 };
            packets.extend(told.left.iter().filter_map(|group| listener::build_leave(version, host, *group).ok()));
        }
        for packet in packets {
            let message = Message::MembershipUpdate { mac: tunnel.mac, nonce: tunnel.nonce, packet: &packet };
            self.counters.updates += 1;
            self.send(relay, &message, Dialect::Rfc);
        }
    }

    /// Ends a tunnel to where this gateway was before.
    pub(super) fn tear_down(&mut self, now: Instant, relay: SocketAddr, endpoint: Endpoint, times: u8) {
        if self.teardowns.len() >= TEARDOWNS_MAX {
            self.teardowns.remove(0);
        }
        self.teardowns.push(Teardown { relay, endpoint, left: times.max(1), next: now });
    }

    pub(super) fn repeat_teardowns(&mut self, now: Instant) {
        let mut due = Vec::new();
        for teardown in self.teardowns.iter_mut().filter(|teardown| teardown.next <= now) {
            teardown.left -= 1;
            teardown.next = now + self.random.between(AGAIN / 2, AGAIN);
            due.push((teardown.relay, teardown.endpoint));
        }
        self.teardowns.retain(|teardown| teardown.left > 0);
        for (relay, endpoint) in due {
            self.send_teardown(relay, endpoint);
        }
    }

    fn send_teardown(&mut self, relay: SocketAddr, Endpoint { mac, nonce, gateway }: Endpoint) {
        self.counters.teardowns += 1;
        self.send(relay, &Message::Teardown { mac, nonce, gateway }, Dialect::Rfc);
    }

    /// Tells the relay that this gateway goes. `all`: every group is left for good.
    pub(super) fn quit(&mut self, all: bool) {
        for mld in [false, true] {
            let Some(tunnel) = self.tunnel(mld) else { continue };
            let told = self.groups.goodbye(mld);
            self.report(mld, tunnel, &told);
        }
        if all {
            self.groups = Groups::default();
        }
        if let Phase::Connected(Session { relay, endpoint: Some(endpoint), robustness, .. }) = self.phase {
            (0..robustness).for_each(|_| self.send_teardown(relay, endpoint));
        }
        self.silent.1 = None;
        (self.tell_again, self.tell_all) = (None, None);
        self.quiet = Quiet::default();
        self.phase = Phase::Idle;
    }
}
