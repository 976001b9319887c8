//! How often strangers are answered.
//!
//! An answer to a Discovery or a Request is larger than what asked for it, and where it came from
//! isn't known for sure: whoever forges the source's address makes the relay send to it. So each
//! address, not each port, gets only so many answers, and so do all together: a forger has any number of
//! addresses. Gateways with a tunnel aren't counted among these. The table has a fixed size, and its places
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
    per_second_in_all: u64,
    in_all: Allowance,
    addresses: Vec<Place>,
    /// By endpoint: who sent Linux's flags; 0 for nobody.
    linux: Vec<u32>,
}

impl Throttle {
    /// 0 a second is no limit, for an address or for all.
    pub fn new(key: Secret, per_second: u32, in_all: u32) -> Throttle {
        Throttle {
            key,
            per_second: per_second.into(),
            per_second_in_all: in_all.into(),
            in_all: Allowance::default(),
            addresses: vec![Place::default(); PLACES],
            linux: vec![0; PLACES],
        }
    }

    /// Whether an address gets one more answer.
    pub fn allows(&mut self, address: IpAddr, now: u64) -> bool {
        let in_all = self.per_second_in_all;
        // What an address may not have takes nothing from the others.
        self.allows_one(address, now) && (in_all == 0 || self.in_all.take(1, in_all, in_all, now))
    }

    fn allows_one(&mut self, address: IpAddr, now: u64) -> bool {
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
        let mut throttle = Throttle::new([1; 16], 16, 0);
        assert_eq!(answers(&mut throttle, "192.0.2.1", 9 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "192.0.2.1", 10 * SECOND), 16);
        assert_eq!(answers(&mut throttle, "192.0.2.2", 10 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "2001:db8::1", 10 * SECOND), 32);
        assert_eq!(answers(&mut throttle, "2001:db8::2", 10 * SECOND), 0, "the same /64");
        assert_eq!(answers(&mut Throttle::new([1; 16], 0, 0), "192.0.2.1", 0), 1000);
    }

    #[test]
    fn a_flood_gains_one_answer_for_each_address() {
        let mut throttle = Throttle::new([1; 16], 16, 0);
        let flood = |count: u32| (0..count).map(|number| IpAddr::from(number.to_be_bytes()));
        assert!(flood(1_000_000).all(|address| throttle.allows(address, SECOND)));
        for address in flood(1000).skip(500) {
            assert!(throttle.allows(address, SECOND), "one answer");
            assert!(!throttle.allows(address, SECOND), "and no more");
        }
    }

    #[test]
    fn so_many_for_all_together() {
        let mut throttle = Throttle::new([1; 16], 16, 100);
        let flood = |throttle: &mut Throttle, now| {
            (0..100_000_u32).filter(|number| throttle.allows(IpAddr::from(number.to_be_bytes()), now)).count()
        };
        assert_eq!(answers(&mut throttle, "192.0.2.1", 9 * SECOND), 32);
        assert_eq!(flood(&mut throttle, 9 * SECOND), 68, "what one may not have is left for others");
        assert_eq!(flood(&mut throttle, 10 * SECOND), 100);
        assert_eq!(answers(&mut throttle, "192.0.2.2", 10 * SECOND), 0);
    }

    #[test]
    fn linux_is_remembered() {
        let mut throttle = Throttle::new([1; 16], 16, 0);
        let endpoint: SocketAddr = "192.0.2.1:2268".parse().unwrap();
        assert!(!throttle.is_linux(endpoint));
        throttle.remember_linux(endpoint);
        assert!(throttle.is_linux(endpoint));
        assert!(!throttle.is_linux("192.0.2.1:2269".parse().unwrap()));
    }
}
