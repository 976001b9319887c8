//! A relay and a gateway of ours, and a network between that loses, doubles and disorders: when that ends,
//! the one knows what the other wants.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tunnel::amt::gateway::{Candidate, Filter, Gateway, Options, Random, State};

const GROUPS: [&str; 3] = ["239.1.2.3", "239.1.2.4", "ff15::1234"];

#[derive(Clone, Debug)]
enum Step {
    /// A group, the sources of three that are listed, and whether they are left out.
    Want(usize, usize, bool),
    /// The gateway's port changes, as behind a NAT that has forgotten it.
    Move(u16),
    /// Milliseconds; what becomes of each message meanwhile.
    Pass(u64, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let fates = || vec(0..6_u8, 0..12);
    prop_oneof![
        2 => (0..GROUPS.len(), 0..8_usize, any::<bool>()).prop_map(|(group, bits, all)| Step::Want(group, bits, all)),
        1 => (5000..5003_u16).prop_map(Step::Move),
        3 => (prop_oneof![0..5000_u64, 0..400_000_u64], fates()).prop_map(|(time, fates)| Step::Pass(time, fates)),
    ]
}

struct Pair {
    world: World,
    gateway: Gateway,
    port: u16,
    to_relay: Vec<Vec<u8>>,
    to_gateway: Vec<(SocketAddr, Vec<u8>)>,
    wanted: BTreeMap<&'static str, Filter>,
}

fn source(group: &str, number: usize) -> IpAddr {
    ip(&format!("{}{number}", if group.contains(':') { "2001:db8::" } else { "10.0.0." }))
}

/// What arrives of what was sent.
fn arrive<T: Clone>(queue: &mut Vec<T>, fates: &mut Vec<u8>) -> Vec<T> {
    let mut all = std::mem::take(queue);
    match fates.pop() {
        Some(0) => all.clear(),
        Some(1) => all.extend(all.clone()),
        Some(2) => all.reverse(),
        // Late.
        Some(3) => queue.append(&mut all),
        _ => {}
    }
    all
}

impl Pair {
    fn here(&self) -> SocketAddr {
        endpoint(&format!("198.51.100.7:{}", self.port))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Want(group, bits, all) => {
                let group = GROUPS[*group];
                let listed = (0..3).filter(|number| bits >> number & 1 == 1).map(|number| source(group, number + 1));
                let filter = if *all { Filter::all_but(listed) } else { Filter::only(listed) };
                self.gateway.set_filter(self.world.now, ip(group), filter.clone());
                self.wanted.insert(group, filter);
            }
            Step::Move(port) => self.port = *port,
            Step::Pass(time, fates) => self.pass(Duration::from_millis(*time), &mut fates.clone()),
        }
    }

    fn pass(&mut self, time: Duration, fates: &mut Vec<u8>) {
        let end = self.world.now + time;
        loop {
            self.carry(fates);
            let next = self.gateway.timeout().into_iter().chain([self.world.relay.timeout()]).min().unwrap();
            if next > end {
                break;
            }
            self.world.now = self.world.now.max(next);
        }
        self.world.now = end;
    }

    /// They talk until they have nothing more to say now.
    fn carry(&mut self, fates: &mut Vec<u8>) {
        let (now, here) = (self.world.now, self.here());
        for _ in 0..50 {
            self.gateway.handle_timeout(now);
            self.world.relay.handle_timeout(now);
            self.to_relay.extend(std::iter::from_fn(|| self.gateway.poll_transmit()).map(|one| one.bytes));
            for bytes in arrive(&mut self.to_relay, fates) {
                self.world.put(&here.to_string(), &bytes);
            }
            let answers = std::iter::from_fn(|| self.world.relay.poll_transmit());
            self.to_gateway.extend(answers.map(|one| (one.to, one.bytes().to_vec())));
            let arrived = arrive(&mut self.to_gateway, fates);
            if arrived.is_empty() {
                return;
            }
            for (_, bytes) in arrived.iter().filter(|(to, _)| *to == here) {
                self.gateway.handle_input(now, endpoint("192.0.2.1:2268"), 0, bytes);
            }
        }
        panic!("they never stop talking");
    }
}

impl Pair {
    fn new(settings: Settings, discovery: bool) -> Pair {
        let candidates = vec![Candidate { address: endpoint("192.0.2.1:2268"), discovery }];
        let options = Options { candidates, ecn: false, leave_silent: false };
        Pair {
            world: World::new(settings),
            gateway: Gateway::new(options, Random::new([1; 16])),
            port: 5000,
            to_relay: Vec::new(),
            to_gateway: Vec::new(),
            wanted: BTreeMap::new(),
        }
    }

    /// Requests and Discoveries that have the gateway's address and port, and are somebody else's.
    fn forge(&mut self, number: u32) {
        let here = self.here().to_string();
        let nonce = nonce(number + 1);
        self.world.say(&here, Dialect::Rfc, &Message::RelayDiscovery { nonce });
        self.world.say(&here, Dialect::Linux, &Message::Request { mld: true, ecn: false, nonce });
        self.world.say(&here, Dialect::Rfc, &Message::Request { mld: false, ecn: false, nonce });
    }
}

/// What isn't proved takes nothing from a gateway that is: for longer than any secret lives.
#[test]
fn a_flood_in_a_gateways_name_changes_nothing_for_it() {
    for (groups, robustness, seconds) in [(&["239.1.2.3"][..], 2, 125), (&["239.1.2.3", "ff15::1234"], 1, 20)] {
        let query_interval = Duration::from_secs(seconds);
        let mut pair = Pair::new(Settings { query_interval, robustness, ..Settings::default() }, false);
        for group in groups {
            pair.gateway.set_filter(pair.world.now, ip(group), Filter::any());
        }
        pair.pass(Duration::from_secs(1), &mut Vec::new());
        let here = pair.here().to_string();
        let end = pair.world.now + Duration::from_secs(9000);
        let mut number = 0;
        while pair.world.now < end {
            number += 1;
            // Just before the gateway says something.
            let next =
                pair.gateway.timeout().map_or(Duration::MAX, |next| next.saturating_duration_since(pair.world.now));
            pair.world.now += next.clamp(Duration::from_millis(1), Duration::from_millis(200));
            pair.forge(number);
            pair.pass(Duration::ZERO, &mut Vec::new());
            for group in groups {
                assert_eq!(pair.world.destinations(group, &source(group, 1).to_string()), std::slice::from_ref(&here));
            }
        }
        let counters = pair.world.counters();
        assert_eq!((pair.gateway.state(), counters.opened), (State::Active, 1));
        assert!(counters.queries < counters.requests / 4, "{counters:?}");
        assert_eq!(pair.world.relay.tunnels().next().unwrap().capability, Capability::Plain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_relay_knows_what_the_gateway_wants(
        discovery in any::<bool>(),
        robustness in 1..8_u8,
        seconds in prop::sample::select(&[5_u64, 125][..]),
        steps in vec(step(), 1..25),
    ) {
        let query_interval = Duration::from_secs(seconds);
        let settings = Settings { query_interval, robustness, ..Settings::default() };
        let mut pair = Pair::new(settings, discovery);
        steps.iter().for_each(|step| pair.step(step));
        // The longest pause between two questions, and what the relay was told before runs out.
        pair.pass(Duration::from_secs(300) + query_interval + settings.lifetime(), &mut Vec::new());
        let here = pair.here().to_string();
        for (group, filter) in pair.wanted.clone() {
            for source in (1..=3).map(|number| source(group, number)).filter(|one| one.is_ipv6() == group.contains(':')) {
                let expected = if filter.passes(source) { vec![here.clone()] } else { vec![] };
                prop_assert_eq!(pair.world.destinations(group, &source.to_string()), expected, "{} {}", group, source);
            }
        }
        let is_wanted = pair.wanted.values().any(|filter| !filter.is_none());
        prop_assert!(!is_wanted || pair.gateway.state() == State::Active);
        pair.gateway.close();
        pair.pass(settings.lifetime() * 2, &mut Vec::new());
        prop_assert_eq!((pair.world.relay.tunnel_count(), pair.world.relay.group_count()), (0, 0));
        let changes = pair.world.changes();
        let of = |sign: char| changes.iter().filter(|change| change.starts_with(sign)).count();
        prop_assert_eq!(of('+'), of('-'), "what was joined is left");
    }
}
