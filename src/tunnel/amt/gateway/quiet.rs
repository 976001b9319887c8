//! A stream that stops: is its relay still there, and does it still know this gateway? A relay that died
//! or began anew says nothing, and its next regular question may be minutes away.

use std::time::{Duration, Instant};

/// Asked first after a silence of so long.
const FIRST: Duration = Duration::from_secs(5);
/// A silence longer than this is left to the regular questions.
const MOST: Duration = Duration::from_secs(80);
/// After so many looks in a row at a stream that flows, a shorter silence counts again.
const CALM: u32 = 16;

/// Watches the stream of one relay. Costs a comparison for each datagram, and a look at the clock now
/// and then.
pub(super) struct Quiet {
    heard: Option<Instant>,
    patience: Duration,
    look: Option<Instant>,
    calm: u32,
    is_silent: bool,
}

impl Default for Quiet {
    fn default() -> Quiet {
        Quiet { heard: None, patience: FIRST, look: None, calm: 0, is_silent: false }
    }
}

impl Quiet {
    /// A datagram has come.
    pub fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.is_silent = false;
        if self.look.is_none() {
            self.look = Some(now + self.patience);
        }
    }

    /// Whether data came a short while ago.
    pub fn has_heard_lately(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| heard + FIRST > now)
    }

    /// Whether data has come, and no pause since was too long.
    pub fn is_flowing(&self) -> bool {
        self.heard.is_some() && !self.is_silent
    }

    /// When to look.
    pub fn timeout(&self) -> Option<Instant> {
        self.look
    }

    /// Whether the relay is to be asked. Each time that it was in vain, because the source has paused, the
    /// next silence may be twice as long.
    pub fn is_too_long(&mut self, now: Instant) -> bool {
        if self.look.is_none_or(|look| look > now) {
            return false;
        }
        let end = self.heard.map_or(now, |heard| heard + self.patience);
        if end > now {
            self.look = Some(end);
            self.calm += 1;
            if self.calm >= CALM {
                (self.calm, self.patience) = (0, (self.patience / 2).max(FIRST));
            }
            return false;
        }
        (self.calm, self.is_silent) = (0, true);
        self.patience = (self.patience * 2).min(MOST);
        self.look = (self.patience < MOST).then(|| now + self.patience);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many seconds after the beginning the relay is asked, with a datagram at these seconds.
    fn asked(datagrams: impl Fn(u32) -> bool, seconds: u32) -> Vec<u32> {
        let (mut quiet, begun) = (Quiet::default(), Instant::now());
        let mut asked = Vec::new();
        for second in 0..seconds {
            let now = begun + SECOND * second;
            if datagrams(second) {
                quiet.heard(now);
            }
            if quiet.is_too_long(now) {
                asked.push(second);
            }
            assert!(quiet.timeout().is_none_or(|at| at > now), "always due at {second}");
        }
        asked
    }

    #[test]
    fn nothing_is_asked_while_it_flows_or_before() {
        assert!(asked(|_| false, 1000).is_empty());
        assert!(asked(|_| true, 1000).is_empty());
        assert!(asked(|second| second % 4 == 0, 1000).is_empty());
    }

    #[test]
    fn a_silence_is_asked_about_ever_more_rarely_and_then_no_more() {
        assert_eq!(asked(|second| second <= 20, 10_000), [25, 35, 55, 95]);
    }

    #[test]
    fn a_slow_source_costs_a_question_now_and_then() {
        let slow = asked(|second| second % 7 == 0, 1000);
        assert!(slow.len() < 12, "{slow:?}");
        let slower = asked(|second| second % 60 == 0, 10_000);
        assert!(slower.len() < 20, "{slower:?}");
    }

    #[test]
    fn after_a_pause_and_a_long_flow_it_is_quick_again() {
        let found = asked(|second| second < 10 || (1000..5000).contains(&second), 5010);
        assert_eq!(found.last(), Some(&5004), "{found:?}");
    }
}
