//! When to use the tunnel: native multicast first, the tunnel when nothing comes, and back when it does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::hash::HashMap;

use super::duplicates::{Path, WINDOW};

/// Both ways run side by side so long before the tunnel ends.
const SETTLE: Duration = Duration::from_secs(2);
/// The longest that silence is waited through (RFC 8777, section 3.3.4.1).
const WAIT_MOST: Duration = Duration::from_secs(120);
/// With more senders than this the tunnel stays.
const SENDERS: usize = 64;

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
    /// How often in a row the tunnel brought nothing that didn't come natively.
    fruitless: u32,
}

struct Tunnel {
    /// Since when there is native traffic beside it.
    native_since: Option<Instant>,
    /// When it brought something first.
    first: Option<Instant>,
    /// Who sent by which way since both run: natively, through the tunnel.
    senders: HashMap<IpAddr, (bool, bool)>,
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
            Some(tunnel) => tunnel.native_since.is_some() && self.quiet_since + SETTLE > now,
        }
    }

    /// Something has come.
    pub fn arrived(&mut self, now: Instant, path: Path, from: IpAddr) {
        if path == Path::Native {
            self.quiet_since = now;
        }
        let Some(tunnel) = &mut self.tunnel else { return };
        match path {
            Path::Native if tunnel.native_since.is_none() => tunnel.native_since = Some(now),
            Path::Tunnel if tunnel.first.is_none() => tunnel.first = Some(now),
            _ => {}
        }
        if tunnel.native_since.is_some() && tunnel.senders.len() <= SENDERS {
            let (native, tunnelled) = tunnel.senders.entry(from).or_default();
            match path {
                Path::Native => *native = true,
                Path::Tunnel => *tunnelled = true,
            }
        }
    }

    /// How long silence lasts before the tunnel is tried.
    fn patience(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.fruitless.min(16)).unwrap_or(1);
        self.wait.saturating_mul(factor).min(WAIT_MOST.max(self.wait))
    }

    /// When to look again.
    pub fn timeout(&self) -> Option<Instant> {
        match &self.tunnel {
            None => Some(self.quiet_since + self.patience()),
            Some(tunnel) => tunnel.native_since.map(|since| since + SETTLE),
        }
    }

    /// Looks whether something is to be done.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        if self.timeout().is_none_or(|at| at > now) {
            return None;
        }
        let Some(tunnel) = &mut self.tunnel else {
            self.tunnel = Some(Tunnel { native_since: None, first: None, senders: HashMap::default() });
            return Some(Action::Join);
        };
        // Whoever comes through the tunnel has to come natively, too.
        let is_covered = tunnel.senders.values().all(|(native, _)| *native) && tunnel.senders.len() <= SENDERS;
        let is_flowing = self.quiet_since + SETTLE / 2 > now;
        if !is_covered || !is_flowing {
            tunnel.native_since = is_flowing.then_some(now);
            tunnel.senders.clear();
            return None;
        }
        let was_needed = tunnel.first.zip(tunnel.native_since).is_some_and(|(first, since)| first + WINDOW < since);
        self.fruitless = if was_needed { 0 } else { self.fruitless.saturating_add(1) };
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
}
