//! Times in four bytes, for what a relay has many of.

use std::time::{Duration, Instant};

/// Tenths of a second since the relay began: enough for 13 years.
pub type Tick = u32;

/// So many ticks are a second.
pub const SECOND: Tick = 10;

/// Between instants and ticks.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Ticks are counted from `start`. None is 0, which says "never" elsewhere.
    pub fn new(start: Instant) -> Clock {
        Clock(start)
    }

    /// The tick that an instant is in.
    pub fn tick(self, at: Instant) -> Tick {
        let tenths = at.saturating_duration_since(self.0).as_millis() / 100 + 1;
        Tick::try_from(tenths).unwrap_or(Tick::MAX)
    }

    /// The first tick that isn't before the end of this time.
    pub fn after(self, at: Instant, time: Duration) -> Tick {
        self.tick(at + time).saturating_add(1)
    }

    /// When a tick begins.
    pub fn instant(self, tick: Tick) -> Instant {
        self.0 + Duration::from_millis(u64::from(tick.saturating_sub(1)) * 100)
    }
}

/// A rate without a queue: a time up to which everything is paid for (the generic cell rate
/// algorithm, ITU-T I.371). Eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    /// In nanoseconds of the clock.
    paid_until: u64,
}

impl Allowance {
    /// Whether nothing of it is used.
    pub fn is_whole(&self, now: u64) -> bool {
        self.paid_until <= now
    }

    /// Takes `amount` at `per_second` if there is so much; after a pause there is at most `burst`.
    pub fn take(&mut self, amount: u64, per_second: u64, burst: u64, now: u64) -> bool {
        let time_of = |amount: u64| {
            let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(per_second.max(1));
            u64::try_from(nanoseconds).unwrap_or(u64::MAX)
        };
        let paid = self.paid_until.max(now).saturating_add(time_of(amount));
        let fits = paid <= now.saturating_add(time_of(burst));
        if fits {
            self.paid_until = paid;
        }
        fits
    }
}

impl Clock {
    /// For an [`Allowance`].
    pub fn nanoseconds(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks() {
        let start = Instant::now();
        let clock = Clock::new(start);
        assert_eq!(clock.tick(start), 1);
        assert_eq!(clock.tick(start + Duration::from_millis(99)), 1);
        assert_eq!(clock.tick(start + Duration::from_secs(1)), 11);
        let end = clock.after(start, Duration::from_secs(260));
        assert!(clock.instant(end) >= start + Duration::from_secs(260));
        assert!(clock.instant(end) <= start + Duration::from_millis(260_200));
        assert_eq!(clock.tick(clock.instant(77)), 77);
    }

    #[test]
    fn allowance() {
        let (mut one, second) = (Allowance::default(), 1_000_000_000);
        assert!(one.take(600, 1000, 1000, second));
        assert!(one.take(400, 1000, 1000, second));
        assert!(!one.take(1, 1000, 1000, second), "the burst is used up");
        assert!(!one.take(101, 1000, 1000, second + second / 10));
        assert!(one.take(100, 1000, 1000, second + second / 10));
        assert!(!one.take(1001, 1000, 1000, 9 * second), "no more than a burst after a pause");
        assert!(one.take(1000, 1000, 1000, 9 * second));
        assert!(!one.take(u64::MAX, 1, 1, 9 * second), "no overflow");
    }
}
