//! When to use the tunnel: native multicast first, the tunnel when nothing comes, and back when native
//! multicast brings as much of each source as the tunnel does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::hash::HashMap;

use super::duplicates::{Path, WINDOW};

/// Native traffic comes beside the tunnel for so long before the tunnel ends.
const SETTLE: Duration = Duration::from_secs(2);
/// The longest that silence is waited through (RFC 8777, section 3.3.4.1).
const WAIT_MOST: Duration = Duration::from_secs(120);
/// With more senders than this the tunnel stays.
const SENDERS: usize = 64;
/// The part of a source's datagrams that may be missing natively when the tunnel ends. It covers what is
/// under way when the tunnel is faster: in 2 seconds, 5 % is a difference in delay of 100 ms.
const MISSING: u32 = 20;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Join through the tunnel.
    Join,
    /// Leave there.
    Leave,
}

/// Decides.
pub struct Switch {
    wait: Duration,
    /// Since when nothing has come natively.
    quiet_since: Instant,
    /// The tunnel is in use.
    tunnel: Option<Tunnel>,
    /// How often in a row the tunnel proved that nobody was sending.
    fruitless: u32,
}

/// The tunnel, from its join to its leave.
#[derive(Default)]
struct Tunnel {
    /// When a relay took the join.
    stands: Option<Instant>,
    first_native: Option<Instant>,
    first_tunnel: Option<Instant>,
    /// When the comparison of both ways began, with a native datagram.
    compared_since: Option<Instant>,
    /// What each sender brought since.
    senders: HashMap<IpAddr, Brought>,
}

/// How many datagrams of a sender came by each way.
#[derive(Default)]
struct Brought {
    native: u32,
    tunnel: u32,
}

impl Tunnel {
    fn count(&mut self, path: Path, from: IpAddr) {
        if self.compared_since.is_none() || self.senders.len() > SENDERS {
            return;
        }
        let Brought { native, tunnel } = self.senders.entry(from).or_default();
        let count = match path {
            Path::Native => native,
            Path::Tunnel => tunnel,
        };
        *count = count.saturating_add(1);
    }

    /// Whether native multicast brings what the tunnel brings, of each sender.
    fn is_covered(&self) -> bool {
        let is_covered = |brought: &Brought| brought.native >= brought.tunnel - brought.tunnel / MISSING;
        self.senders.len() <= SENDERS && self.senders.values().all(is_covered)
    }

    /// Begins the comparison anew.
    fn compare_since(&mut self, since: Option<Instant>) {
        self.compared_since = since;
        self.senders.clear();
    }

    /// Whether the tunnel was needed: it brought something before native multicast did. `Some(false)` if
    /// nobody was sending: a relay had taken the join, and nothing came by either way for as long as makes
    /// silence. `None` if neither is known, because native multicast came back before the tunnel could tell.
    fn was_needed(&self, wait: Duration) -> Option<bool> {
        let lead = match (self.first_tunnel, self.first_native) {
            (Some(tunnel), Some(native)) => native.checked_duration_since(tunnel),
            _ => None,
        };
        let first = self.first_tunnel.into_iter().chain(self.first_native).min();
        let was_silent = self.stands.zip(first).is_some_and(|(stands, first)| stands + wait <= first);
        match lead {
            // A sender begins anew: both ways bring it, one somewhat earlier.
            Some(lead) if was_silent && lead <= WINDOW => Some(false),
            Some(lead) if !lead.is_zero() => Some(true),
            _ => was_silent.then_some(false),
        }
    }
}

impl Switch {
    /// Waits so long for native traffic.
    pub fn new(now: Instant, wait: Duration) -> Switch {
        Switch { wait, quiet_since: now, tunnel: None, fruitless: 0 }
    }

    /// Whether the tunnel is in use.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Whether native traffic has come lately.
    pub fn is_native(&self, now: Instant) -> bool {
        match &self.tunnel {
            None => true,
            Some(tunnel) => tunnel.compared_since.is_some() && self.quiet_since + SETTLE > now,
        }
    }

    /// A relay has taken the join.
    pub fn stands(&mut self, now: Instant) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.stands.get_or_insert(now);
        }
    }

    /// Something has come.
    pub fn arrived(&mut self, now: Instant, path: Path, from: IpAddr) {
        if path == Path::Native {
            self.quiet_since = now;
        }
        let Some(tunnel) = &mut self.tunnel else { return };
        match path {
            Path::Native => {
                tunnel.first_native.get_or_insert(now);
                tunnel.compared_since.get_or_insert(now);
            }
            Path::Tunnel => {
                tunnel.first_tunnel.get_or_insert(now);
            }
        }
        tunnel.count(path, from);
    }

    /// How long silence lasts before the tunnel is tried.
    fn patience(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.fruitless.min(16)).unwrap_or(1);
        self.wait.saturating_mul(factor).min(WAIT_MOST.max(self.wait))
    }

    /// Native traffic with longer pauses isn't compared.
    fn pause_most(&self) -> Duration {
        self.wait.max(SETTLE)
    }

    /// When to look again.
    pub fn timeout(&self) -> Option<Instant> {
        let Some(tunnel) = &self.tunnel else { return Some(self.quiet_since + self.patience()) };
        let end = tunnel.compared_since? + SETTLE;
        // Only native traffic that still comes at the end has come all the time.
        Some(if self.quiet_since >= end { end } else { self.quiet_since + self.pause_most() })
    }

    /// Looks whether something is to be done.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        if self.timeout().is_none_or(|at| at > now) {
            return None;
        }
        let is_flowing = self.quiet_since + self.pause_most() > now;
        let Some(tunnel) = &mut self.tunnel else {
            self.tunnel = Some(Tunnel::default());
            return Some(Action::Join);
        };
        if !is_flowing || !tunnel.is_covered() {
            tunnel.compare_since(is_flowing.then_some(now));
            return None;
        }
        match tunnel.was_needed(self.wait) {
            Some(true) => self.fruitless = 0,
            Some(false) => self.fruitless = self.fruitless.saturating_add(1),
            None => {}
        }
        self.tunnel = None;
        Some(Action::Leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Path::{Native, Tunnel as Through};

    const MS: Duration = Duration::from_millis(1);

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    struct Rig {
        switch: Switch,
        now: Instant,
    }

    impl Rig {
        fn new() -> Rig {
            let now = Instant::now();
            Rig { switch: Switch::new(now, MS * 4000), now }
        }

        /// Each of these comes every 100 ms; what is done meanwhile, and after how many milliseconds.
        fn run(&mut self, ms: u32, coming: &[(Path, u8)]) -> Vec<(u32, Action)> {
            let mut done = Vec::new();
            for at in (0..ms).step_by(100) {
                for (path, from) in coming {
                    self.switch.arrived(self.now, *path, ip(*from));
                }
                done.extend(self.switch.handle_timeout(self.now).map(|action| (at, action)));
                self.switch.stands(self.now);
                self.now += MS * 100;
            }
            done
        }
    }

    #[test]
    fn native_traffic_needs_no_tunnel() {
        assert_eq!(Rig::new().run(60_000, &[(Native, 1)]), []);
    }

    #[test]
    fn silence_calls_for_the_tunnel_and_native_traffic_ends_it() {
        let mut rig = Rig::new();
        assert_eq!(rig.run(10_000, &[]), [(4000, Action::Join)]);
        assert_eq!(rig.run(10_000, &[(Through, 1)]), []);
        assert!(!rig.switch.is_native(rig.now));
        assert_eq!(rig.run(10_000, &[(Through, 1), (Native, 1)]), [(2000, Action::Leave)]);
        // When it stops, the tunnel is back after the same time: it had been needed.
        assert_eq!(rig.run(10_000, &[]), [(3900, Action::Join)]);
    }

    #[test]
    fn a_few_native_datagrams_dont_end_the_tunnel() {
        let mut rig = Rig::new();
        rig.run(5000, &[]);
        assert_eq!(rig.run(500, &[(Through, 1), (Native, 1)]), []);
        assert_eq!(rig.run(10_000, &[(Through, 1)]), []);
        assert!(rig.switch.is_tunnel());
        assert_eq!(rig.run(10_000, &[(Through, 1), (Native, 1)]), [(2000, Action::Leave)]);
    }

    #[test]
    fn a_sender_who_comes_through_the_tunnel_alone_keeps_it() {
        let mut rig = Rig::new();
        rig.run(5000, &[]);
        assert_eq!(rig.run(30_000, &[(Through, 1), (Through, 2), (Native, 1)]), []);
        assert_eq!(rig.run(10_000, &[(Through, 1), (Native, 1)]).len(), 1);
    }

    #[test]
    fn a_tunnel_that_is_never_needed_is_tried_more_and_more_seldom() {
        let mut rig = Rig::new();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let done = rig.run(130_000, &[]);
            assert_eq!(done.len(), 1);
            waits.push(done[0].0);
            assert_eq!(rig.run(4000, &[(Through, 1), (Native, 1)]).len(), 1);
        }
        assert_eq!(waits, [4000, 7900, 15_900, 31_900, 63_900, 119_900, 119_900, 119_900]);
    }

    #[test]
    fn outages_that_the_tunnel_bridges_for_a_moment_cost_the_same_time_each() {
        let mut rig = Rig::new();
        for _ in 0..6 {
            let done = rig.run(4200, &[]);
            assert!(matches!(done[..], [(3900..=4000, Action::Join)]), "{done:?}");
            assert_eq!(rig.run(100, &[(Through, 1)]), []);
            assert_eq!(rig.run(5000, &[(Through, 1), (Native, 1)]).len(), 1);
            rig.run(100, &[(Native, 1)]);
        }
        // Nor one that ends before the tunnel brings anything.
        for _ in 0..6 {
            assert_eq!(rig.run(4000, &[]), [(3900, Action::Join)]);
            assert_eq!(rig.run(5000, &[(Native, 1), (Through, 1)]).len(), 1);
        }
    }

    #[test]
    fn a_tunnel_that_no_relay_took_proves_no_silence() {
        let (mut switch, mut now) = (Switch::new(Instant::now(), MS * 4000), Instant::now());
        for _ in 0..4 {
            now += MS * 4100;
            assert_eq!(switch.handle_timeout(now), Some(Action::Join));
            now += MS * 60_000;
            let mut left = false;
            for _ in 0..30 {
                now += MS * 100;
                switch.arrived(now, Native, ip(1));
                left |= switch.handle_timeout(now) == Some(Action::Leave);
            }
            assert!(left);
        }
    }

    #[test]
    fn native_traffic_that_brings_less_than_the_tunnel_doesnt_end_it() {
        let mut rig = Rig::new();
        rig.run(5000, &[(Through, 1)]);
        for _ in 0..30 {
            // One of ten, and half.
            assert_eq!(rig.run(100, &[(Through, 1), (Native, 1)]), []);
            assert_eq!(rig.run(900, &[(Through, 1)]), []);
        }
        assert_eq!(rig.run(30_000, &[(Through, 1), (Through, 1), (Native, 1)]), []);
        assert_eq!(rig.run(10_000, &[(Through, 1), (Native, 1)]).len(), 1);
    }

    #[test]
    fn native_traffic_of_less_than_two_seconds_doesnt_end_the_tunnel() {
        for ms in [100, 1300, 1900] {
            let mut rig = Rig::new();
            rig.run(5000, &[(Through, 1)]);
            rig.run(ms, &[(Through, 1), (Native, 1)]);
            assert_eq!(rig.run(10_000, &[(Through, 1)]), [], "{ms}");
            assert!(rig.switch.is_tunnel());
        }
    }

    #[test]
    fn a_tunnel_that_is_somewhat_faster_or_loses_more_is_left() {
        let mut rig = Rig::new();
        rig.run(5000, &[(Through, 1)]);
        rig.run(100, &[(Native, 1)]);
        rig.run(100, &[(Through, 1), (Through, 1), (Native, 1)]);
        assert_eq!(rig.run(3000, &[(Native, 1), (Native, 1), (Through, 1)]).len(), 1);
    }
}
