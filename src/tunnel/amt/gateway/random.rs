//! Random numbers from a seed: nobody who doesn't know it can tell the next nonce.

use std::time::Duration;

use super::super::siphash::siphash;
use super::super::wire::Nonce;

/// The hash of 1, 2, 3, ... under a secret key.
pub struct Random {
    key: [u8; 16],
    count: u64,
}

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: [u8; 16]) -> Random {
        Random { key: seed, count: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.count += 1;
        siphash(&self.key, &self.count.to_le_bytes())
    }

    /// A nonce that isn't the one before but once in 2^32.
    pub fn nonce(&mut self) -> Nonce {
        loop {
            let [first, second, third, fourth, ..] = self.bits().to_le_bytes();
            if let Some(nonce) = Nonce::new([first, second, third, fourth]) {
                return nonce;
            }
        }
    }

    /// A time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_nanos();
        let part = (range * u128::from(self.bits())) >> 64;
        least + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// How long to wait for an answer to the n-th question: RFC 7450 (section 5.2.3.4.3) has the time grow
    /// twofold up to two minutes, with a random part so that gateways don't ask in step.
    pub fn patience(&mut self, attempts: u32) -> Duration {
        let most = Duration::from_secs(1_u64.checked_shl(attempts).unwrap_or(u64::MAX).clamp(1, 120));
        self.between(Duration::from_secs(1), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_twofold_and_no_further_than_two_minutes() {
        let mut random = Random::new([1; 16]);
        for (attempts, most) in [(0, 1), (1, 2), (2, 4), (6, 64), (7, 120), (63, 120), (64, 120), (u32::MAX, 120)] {
            let times: Vec<Duration> = (0..200).map(|_| random.patience(attempts)).collect();
            assert!(times.iter().all(|time| (1.0..=f64::from(most)).contains(&time.as_secs_f64())), "{attempts}");
            let middle = Duration::from_millis(500 + 500 * u64::from(most as u32));
            assert!(most == 1 || times.iter().any(|time| *time < middle) && times.iter().any(|time| *time > middle));
        }
    }

    #[test]
    fn a_seed_gives_its_own_numbers() {
        let numbers = |seed| {
            std::iter::repeat_with({
                let mut random = Random::new([seed; 16]);
                move || random.bits()
            })
        };
        assert!(numbers(1).take(9).eq(numbers(1).take(9)));
        assert!(numbers(1).zip(numbers(2)).take(9).all(|(one, two)| one != two));
    }
}
