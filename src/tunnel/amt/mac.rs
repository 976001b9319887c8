//! The response MAC: how a relay knows an answer to its own Query without keeping anything in
//! between (RFC 7450, sections 5.3.5 and 5.3.6).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::field::{Dialect, Gateway, Nonce, ResponseMac};
use super::siphash::siphash;

/// What keys the MAC, known to the relay alone.
pub type Secret = [u8; 16];

/// The longest that a secret is in use (RFC 7450, section 5.3.6).
pub const LIFETIME_MAX: Duration = Duration::from_secs(2 * 3600);

/// What a Request told of its gateway. The relay doesn't remember Requests, so the MAC carries it to
/// the Update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Nothing.
    Plain,
    /// The E flag: ECN is decapsulated as in RFC 6040.
    Ecn,
    /// Linux's flags.
    Linux,
}

impl Capability {
    const ALL: [Capability; 3] = [Capability::Plain, Capability::Ecn, Capability::Linux];

    /// From a Request's E flag and dialect.
    pub fn of_request(ecn: bool, dialect: Option<Dialect>) -> Capability {
        match dialect {
            Some(Dialect::Linux) => Capability::Linux,
            _ if ecn => Capability::Ecn,
            _ => Capability::Plain,
        }
    }

    /// For the answer to such a Request.
    pub fn dialect(self) -> Dialect {
        match self {
            Capability::Linux => Dialect::Linux,
            Capability::Plain | Capability::Ecn => Dialect::Rfc,
        }
    }
}

/// The MAC for a gateway at `endpoint`.
pub fn response_mac(secret: &Secret, endpoint: SocketAddr, nonce: Nonce, capability: Capability) -> ResponseMac {
    let mut message = [0; Gateway::LEN + 4 + 1];
    let gateway = Gateway::from(endpoint);
    // `::a.b.c.d` and `a.b.c.d` have the same bytes, and needn't be the same host.
    let family = if endpoint.ip().to_canonical().is_ipv6() { 0x80 } else { 0 };
    let bytes = gateway.bytes().iter().copied().chain(nonce.bytes()).chain([capability as u8 | family]);
    message.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    let [mac @ .., _, _] = siphash(secret, &message).to_le_bytes();
    ResponseMac(mac)
}

/// The secret in use and the one before it.
pub struct Secrets {
    current: Secret,
    /// When the next is due.
    due: Instant,
    /// The last one, and until when it is accepted.
    previous: Option<(Secret, Instant)>,
    lifetime: Duration,
    grace: Duration,
}

impl Secrets {
    /// With a fresh secret from now on. Each is in use for `lifetime` (at most [`LIFETIME_MAX`]) and
    /// accepted for `grace` after (no longer either): two query intervals, for a gateway that
    /// reports late (RFC 7450, section 5.3.3.4).
    pub fn new(fresh: Secret, lifetime: Duration, grace: Duration, now: Instant) -> Secrets {
        let (lifetime, grace) = (lifetime.min(LIFETIME_MAX), grace.min(LIFETIME_MAX));
        Secrets { current: fresh, due: now + lifetime, previous: None, lifetime, grace }
    }

    /// When the next secret is due: [`rotate`](Secrets::rotate) then.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Takes a fresh secret into use.
    pub fn rotate(&mut self, fresh: Secret, now: Instant) {
        let last = std::mem::replace(&mut self.current, fresh);
        // A secret that wasn't replaced in time isn't accepted for longer.
        self.previous = Some((last, now.min(self.due) + self.grace));
        self.due = now + self.lifetime;
    }

    /// For a Query to a gateway at `endpoint`.
    pub fn sign(&self, endpoint: SocketAddr, nonce: Nonce, capability: Capability) -> ResponseMac {
        response_mac(&self.current, endpoint, nonce, capability)
    }

    /// Whether the MAC is one of ours for `endpoint`, and what the Request told. `None`: drop the
    /// message silently.
    pub fn verify(&self, endpoint: SocketAddr, nonce: Nonce, mac: ResponseMac, now: Instant) -> Option<Capability> {
        let current = (now <= self.due + self.grace).then_some(&self.current);
        let previous = self.previous.as_ref().filter(|(_, until)| now <= *until).map(|(secret, _)| secret);
        let mut known = None;
        for secret in [current, previous].into_iter().flatten() {
            for capability in Capability::ALL {
                // All are computed, found or not: the time tells nothing.
                if response_mac(secret, endpoint, nonce, capability) == mac {
                    known = Some(capability);
                }
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const GRACE: Duration = Duration::from_secs(250);
    const SECOND: Duration = Duration::from_secs(1);

    fn endpoint(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nonce(number: u32) -> Nonce {
        Nonce::new(number.to_be_bytes()).unwrap()
    }

    #[test]
    fn mac_binds_everything() {
        let now = Instant::now();
        let secrets = Secrets::new([7; 16], HOUR, GRACE, now);
        let here = endpoint("192.0.2.1:5000");
        let mac = secrets.sign(here, nonce(1), Capability::Plain);
        assert_eq!(secrets.verify(here, nonce(1), mac, now), Some(Capability::Plain));
        for other in ["192.0.2.2:5000", "192.0.2.1:5001", "[2001:db8::1]:5000", "[::192.0.2.1]:5000"] {
            assert_eq!(secrets.verify(endpoint(other), nonce(1), mac, now), None, "{other}");
        }
        assert_eq!(secrets.verify(here, nonce(2), mac, now), None);
        assert_eq!(Secrets::new([8; 16], HOUR, GRACE, now).verify(here, nonce(1), mac, now), None);
        for bit in 0..48 {
            let mut forged = mac;
            forged.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(secrets.verify(here, nonce(1), forged, now), None, "bit {bit}");
        }
    }

    #[test]
    fn mac_carries_capability() {
        let now = Instant::now();
        let secrets = Secrets::new([7; 16], HOUR, GRACE, now);
        let here = endpoint("[2001:db8::1]:5000");
        for capability in Capability::ALL {
            let mac = secrets.sign(here, nonce(9), capability);
            assert_eq!(secrets.verify(here, nonce(9), mac, now), Some(capability));
            let ecn = capability == Capability::Ecn;
            assert_eq!(Capability::of_request(ecn, Some(capability.dialect())), capability);
        }
        assert_eq!(Capability::of_request(false, None).dialect(), Dialect::Rfc);
    }

    #[test]
    fn mac_as_in_a_teardown() {
        let (now, gateway) = (Instant::now(), Gateway::from(endpoint("192.0.2.1:5000")));
        let secrets = Secrets::new([7; 16], HOUR, GRACE, now);
        let mac = secrets.sign(endpoint("[::ffff:192.0.2.1]:5000"), nonce(1), Capability::Plain);
        assert_eq!(secrets.verify(gateway.address(), nonce(1), mac, now), Some(Capability::Plain));
    }

    #[test]
    fn mac_over_rotation() {
        let (start, here) = (Instant::now(), endpoint("192.0.2.1:5000"));
        let mut secrets = Secrets::new([1; 16], HOUR * 9, GRACE, start);
        assert_eq!(secrets.due(), start + LIFETIME_MAX);
        let first = secrets.sign(here, nonce(1), Capability::Linux);
        let now = secrets.due();
        secrets.rotate([2; 16], now);
        assert_eq!(secrets.due(), now + LIFETIME_MAX);
        assert_eq!(secrets.verify(here, nonce(1), first, now + GRACE), Some(Capability::Linux));
        assert_eq!(secrets.verify(here, nonce(1), first, now + GRACE + SECOND), None);
        let second = secrets.sign(here, nonce(1), Capability::Linux);
        assert_ne!(first, second);
        assert_eq!(secrets.verify(here, nonce(1), second, now + GRACE + SECOND), Some(Capability::Linux));
        secrets.rotate([3; 16], now + SECOND);
        assert_eq!(secrets.verify(here, nonce(1), first, now + SECOND), None, "two before");
    }

    #[test]
    fn mac_of_a_relay_that_slept() {
        let (start, here) = (Instant::now(), endpoint("192.0.2.1:5000"));
        let mut secrets = Secrets::new([1; 16], HOUR, GRACE, start);
        let mac = secrets.sign(here, nonce(1), Capability::Plain);
        let late = start + HOUR * 3;
        assert_eq!(secrets.verify(here, nonce(1), mac, late), None);
        secrets.rotate([2; 16], late);
        assert_eq!(secrets.verify(here, nonce(1), mac, late), None);
    }
}
