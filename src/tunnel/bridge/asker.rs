//! Asks the bridge at the other end of the tunnel what its hosts listen to. An end that has just begun knows
//! nothing, and the hosts there answer only when they are asked next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::querier::query;
use crate::tunnel::listener::Version;

/// How long an answer may take before the question is repeated, at first and at most.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(125);
/// How often it is asked at least: an answer may be lost in part.
const LEAST: u32 = 2;

/// A sender between the two ends: the message needs one of the link.
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The state for one family.
#[derive(Clone, Copy)]
struct Side {
    next: Option<Instant>,
    patience: Duration,
    asked: u32,
    is_answered: bool,
}

/// The questions of both families, IPv4's first.
pub struct Asker([Side; 2]);

impl Asker {
    /// To be asked at once.
    pub fn new(now: Instant) -> Asker {
        Asker([Side { next: Some(now), patience: PATIENCE, asked: 0, is_answered: false }; 2])
    }

    /// When to ask.
    pub fn timer(&self) -> Option<Instant> {
        self.0.iter().filter_map(|side| side.next).min()
    }

    /// A report has come.
    pub fn heard(&mut self, is_v4: bool) {
        let [v4, v6] = &mut self.0;
        let side = if is_v4 { v4 } else { v6 };
        side.is_answered = true;
        if side.asked >= LEAST {
            side.next = None;
        }
    }

    /// Asks what is due; `send` sends a packet into the tunnel.
    pub fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let routers = [(Version::Igmp3, Ipv4Addr::UNSPECIFIED.into()), (Version::Mld2, IpAddr::V6(ROUTER_V6))];
        for (side, (version, router)) in self.0.iter_mut().zip(routers) {
            if side.next.is_none_or(|next| next > now) {
                continue;
            }
            if let Ok(packet) = query(version, router, None) {
                send(&packet);
            }
            side.asked += 1;
            let is_done = side.is_answered && side.asked >= LEAST;
            side.next = if is_done { None } else { Some(now + side.patience) };
            side.patience = (side.patience * 2).min(PATIENCE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::Packet;
    use crate::tunnel::listener::parse_query;

    #[test]
    fn each_family_is_asked_until_an_answer_comes_and_twice_at_least() {
        let begin = Instant::now();
        let (mut asker, mut asked) = (Asker::new(begin), [0, 0]);
        asker.heard(true);
        let end = begin + Duration::from_secs(40);
        while let Some(now) = asker.timer().filter(|now| *now <= end) {
            asker.handle_timeout(now, |packet| {
                let packet = Packet::parse(packet).unwrap();
                assert_eq!(parse_query(&packet).unwrap().group, None);
                asked[usize::from(packet.source.is_ipv6())] += 1;
            });
        }
        // After 0, 1, 3, 7, 15 and 31 seconds.
        assert_eq!(asked, [2, 6]);
        asker.heard(false);
        assert_eq!(asker.timer(), None);
    }
}
