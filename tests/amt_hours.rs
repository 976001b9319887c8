//! Gateway and relay without sockets, with a clock of the test's own: what takes hours.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use castio::tunnel::amt::gateway::{Candidate, Filter, Gateway, Options, Random, State};
use castio::tunnel::amt::mac::LIFETIME_MAX;
use castio::tunnel::amt::relay::{Local, Relay, Settings};
use castio::tunnel::amt::wire::Message;

const RELAY: &str = "192.0.2.1:2268";
const GATEWAY: &str = "198.51.100.7:40000";
const SOURCE: &str = "10.0.0.1";
const GROUPS: [&str; 3] = ["239.1.2.3", "232.1.2.3", "ff3e::7"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Both ends, a network between that may lose messages, and the time.
struct World {
    relay: Relay,
    gateway: Gateway,
    now: Instant,
    is_lossy: bool,
    /// Requests, Updates with IGMP in them, and with MLD.
    seen: [u32; 3],
    /// The last Update.
    update: Vec<u8>,
}

impl World {
    fn new(is_lossy: bool) -> World {
        let now = Instant::now();
        let candidates = vec![Candidate { address: at(RELAY), discovery: false }];
        let mut gateway = Gateway::new(Options { candidates, ecn: false, leave_silent: false }, Random::new([3; 16]));
        gateway.set_filter(now, ip(GROUPS[0]), Filter::any());
        gateway.set_filter(now, ip(GROUPS[1]), Filter::only([ip(SOURCE)]));
        gateway.set_filter(now, ip(GROUPS[2]), Filter::only([ip("2001:db8::1")]));
        let relay = Relay::new(Settings::default(), [9; 16], now).unwrap();
        World { relay, gateway, now, is_lossy, seen: [0; 3], update: Vec::new() }
    }

    /// Whether a message to the relay is lost: every third Request, and every second Update of a family.
    fn is_lost(&mut self, bytes: &[u8]) -> bool {
        let (kind, every) = match Message::decode(bytes).unwrap().0 {
            Message::MembershipUpdate { packet, .. } => {
                self.update = bytes.to_vec();
                (1 + usize::from(packet[0] >> 4 == 6), 2)
            }
            _ => (0, 3),
        };
        self.seen[kind] += 1;
        self.is_lossy && self.seen[kind] % every == 1
    }

    fn tell_relay(&mut self, bytes: &[u8]) {
        let local = Local { socket: 0, address: at(RELAY).ip() };
        self.relay.handle_input(self.now, local, at(GATEWAY), bytes);
    }

    /// What both have to say now.
    fn talk(&mut self) {
        self.relay.handle_timeout(self.now);
        self.gateway.handle_timeout(self.now);
        loop {
            if let Some(transmit) = self.gateway.poll_transmit() {
                if !self.is_lost(&transmit.bytes) {
                    self.tell_relay(&transmit.bytes);
                }
            } else if let Some(transmit) = self.relay.poll_transmit() {
                assert!(self.gateway.handle_input(self.now, at(RELAY), 0, transmit.bytes()).is_none());
            } else {
                break;
            }
        }
    }

    /// Lets the time pass from timer to timer; `each` sees every step.
    fn pass(&mut self, time: Duration, mut each: impl FnMut(&mut World)) {
        let end = self.now + time;
        self.talk();
        loop {
            let next = self.gateway.timeout().into_iter().chain([self.relay.timeout()]).min().unwrap();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.talk();
            each(self);
        }
        self.now = end;
    }

    /// How many of the groups' packets go to the gateway.
    fn wanted(&mut self) -> usize {
        let mut count = 0;
        for (group, source) in GROUPS.iter().zip([SOURCE, SOURCE, "2001:db8::1"]) {
            self.relay.each_destination(self.now, (ip(group), ip(source)), (1, 100), |tunnel, _| {
                assert_eq!(tunnel.endpoint, at(GATEWAY));
                count += 1;
            });
        }
        count
    }
}

#[test]
fn a_tunnel_outlives_the_relays_secrets() {
    let mut world = World::new(false);
    world.pass(Duration::from_secs(10), |_| {});
    for _ in 0..5 {
        let (old, begun) = (world.update.clone(), world.now);
        assert_eq!(world.wanted(), 3);
        world.pass(LIFETIME_MAX + Duration::from_secs(300), |world| assert_eq!(world.wanted(), 3));
        let (updates, forged) = (world.relay.counters().updates, world.relay.counters().dropped_forged);
        world.tell_relay(&old);
        assert_eq!(world.relay.counters().updates, updates, "signed {:?} ago", world.now - begun);
        assert_eq!(world.relay.counters().dropped_forged, forged + 1);
    }
    let counters = world.relay.counters();
    assert_eq!((counters.opened, counters.expired, counters.dropped_forged), (1, 0, 5));
    assert!(world.gateway.state() == State::Active);
}

/// With a robustness of 2 a report may be lost, and no two in a row.
#[test]
fn a_tunnel_outlives_loss() {
    let mut world = World::new(true);
    world.pass(Duration::from_secs(60), |_| {});
    world.pass(Duration::from_secs(12 * 3600), |world| assert_eq!(world.wanted(), 3));
    assert!(world.seen.iter().all(|seen| *seen > 300), "{:?}", world.seen);
    let counters = world.relay.counters();
    assert_eq!((counters.opened, counters.expired, counters.dropped_forged), (1, 0, 0));
}
