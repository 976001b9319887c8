//! A limit in bytes per second, so that a burst doesn't overrun receivers.
//!
//! The kernel paces a UDP socket only under a queueing discipline that can (fq, by
//! SO_MAX_PACING_RATE); this holds everywhere: bytes become available as time passes, and a little
//! may be saved up.

use std::time::{Duration, Instant};

/// How much time's worth of bytes may be saved up, and so leave at once.
const BURST: Duration = Duration::from_millis(2);

/// The limit, and what may leave now.
pub struct Pace {
    bytes_per_second: u64,
    /// When the bytes that were sent so far are paid for.
    paid_at: Option<Instant>,
}

impl Pace {
    /// 0 is no limit.
    pub fn new(bytes_per_second: u64) -> Self {
        Pace { bytes_per_second, paid_at: None }
    }

    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.bytes_per_second > 0
    }

    /// How many bytes may leave now; where it is none, when some may.
    pub fn allowance(&self, now: Instant) -> Result<usize, Instant> {
        match self.paid_at {
            Some(paid_at) if paid_at > now => Err(paid_at),
            _ => Ok(self.bytes_in(BURST).max(1)),
        }
    }

    /// Counts bytes that left.
    pub fn spend(&mut self, bytes: usize, now: Instant) {
        // Time that passed unused is kept for one burst and no more.
        let from = self.paid_at.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
        self.paid_at = Some(from + self.time_of(bytes));
    }

    fn bytes_in(&self, time: Duration) -> usize {
        let bytes = u128::from(self.bytes_per_second) * time.as_nanos() / 1_000_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn time_of(&self, bytes: usize) -> Duration {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_a_seconds_bytes_through() {
        let mut pace = Pace::new(1_000_000);
        let start = Instant::now();
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(1) {
            match pace.allowance(now) {
                Ok(bytes) => {
                    let step = bytes.min(1200);
                    pace.spend(step, now);
                    sent += step;
                }
                Err(later) => now = later,
            }
        }
        assert!((990_000..=1_010_000).contains(&sent), "{sent}");
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut pace = Pace::new(1_000_000);
        let start = Instant::now();
        pace.spend(1000, start);
        let later = start + Duration::from_secs(60);
        let mut sent = 0;
        while let Ok(bytes) = pace.allowance(later) {
            let step = bytes.min(100);
            pace.spend(step, later);
            sent += step;
        }
        assert!(sent <= 4200, "two milliseconds' worth and a step: {sent}");
    }
}
