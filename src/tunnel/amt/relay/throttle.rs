//! How often strangers are answered.
//!
//! An answer to a Discovery or a Request is larger than what asked for it, and where it came from
//! isn't known for sure: whoever forges the source's address makes the relay send to it. So each
//! address, not each port, gets only so many answers. The table has a fixed size, and its places
//! are chosen by a hash that nobody outside can compute.

use std::net::{IpAddr, SocketAddr};

use super::clock::Allowance;
use crate::tunnel::amt::mac::Secret;
use crate::tunnel::amt::siphash::siphash;

const PLACES: usize = 8192;
/// After a pause, so many seconds' worth at once.
const BURST_SECONDS: u64 = 2;

#[derive(Clone, Copy, Default)]
struct Place {
    whose: u32,
    allowance: Allowance,
}

/// What is remembered of those without a tunnel.
pub struct Throttle {
    key: Secret,
    per_second: u64,
    addresses: Vec<Place>,
    /// By endpoint: who sent Linux's flags; 0 for nobody.
    linux: Vec<u32>,
}

impl Throttle {
    /// 0 a second is no limit.
    pub fn new(key: Secret, per_second: u32) -> Throttle {
        let addresses = vec![Place::default(); PLACES];
        Throttle { key, per_second: per_second.into(), addresses, linux: vec![0; PLACES] }
    }

    /// Whether an address gets one more answer.
    pub fn allows(&mut self, address: IpAddr, now: u64) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let (index, whose) = self.place(&network(address));
        let Some(place) = self.addresses.get_mut(index) else { return false };
        let (rate, burst) = (self.per_second, self.per_second * BURST_SECONDS);
        let is_allowed = place.allowance.take(1, rate, burst, now);
        if place.whose == whose || is_allowed {
            place.whose = whose;
            return is_allowed;
        }
        // A place that changes hands isn't full again: else a flood from many addresses would give
        // each of them a burst. One answer there is, even in a flood.
        *place = Place { whose, allowance: Allowance::default() };
        place.allowance.take(burst, rate, burst, now)
    }

    /// That an endpoint has sent Linux's flags.
    pub fn remember_linux(&mut self, endpoint: SocketAddr) {
        let (index, whose) = self.place(&whole(endpoint));
        if let Some(place) = self.linux.get_mut(index) {
            *place = whose;
        }
    }

    /// Whether it has, as far as is known.
    pub fn is_linux(&self, endpoint: SocketAddr) -> bool {
        let (index, whose) = self.place(&whole(endpoint));
        self.linux.get(index) == Some(&whose)
    }

    fn place(&self, bytes: &[u8]) -> (usize, u32) {
        let hash = siphash(&self.key, bytes);
        (hash as usize % PLACES, ((hash >> 32) as u32).max(1))
    }
}

/// An IPv4 address, or the /64 that an IPv6 host can take any address of.
pub fn network(address: IpAddr) -> [u8; 8] {
    let bits = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    };
    bits.to_be_bytes()
}

fn whole(endpoint: SocketAddr) -> [u8; 18] {
    *crate::tunnel::amt::field::Gateway::from(endpoint).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn answers(throttle: &mut Throttle, address: &str, now: u64) -> usize {
        (0..1000).filter(|_| throttle.allows(ip(address), now)).count()
    }

    #[test]
    fn so_many_for_each_address() {
        let mut throttle = Throttle::new([1; 16], 16);
        assert_eq!(answers(&mut throttle, "192.0.2.1", 9 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "192.0.2.1", 10 * SECOND), 16);
        assert_eq!(answers(&mut throttle, "192.0.2.2", 10 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "2001:db8::1", 10 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "2001:db8::2", 10 * SECOND), 0, "the same /64");
        assert_eq!(answers(&mut Throttle::new([1; 16], 0), "192.0.2.1", 0), 1000);
    }

    #[test]
    fn a_flood_gains_one_answer_for_each_address() {
        let mut throttle = Throttle::new([1; 16], 16);
        let flood = |count: u32| (0..count).map(|number| IpAddr::from(number.to_be_bytes()));
        assert!(flood(1_000_000).all(|address| throttle.allows(address, SECOND)));
        for address in flood(1000).skip(500) {
            assert!(throttle.allows(address, SECOND), "one answer");
            assert!(!throttle.allows(address, SECOND), "and no more");
        }
    }

    #[test]
    fn linux_is_remembered() {
        let mut throttle = Throttle::new([1; 16], 16);
        let endpoint: SocketAddr = "192.0.2.1:2268".parse().unwrap();
        assert!(!throttle.is_linux(endpoint));
        throttle.remember_linux(endpoint);
        assert!(throttle.is_linux(endpoint));
        assert!(!throttle.is_linux("192.0.2.1:2269".parse().unwrap()));
    }
}
