//! A gateway and a relay with a network between that loses, doubles, delays and disorders, a gateway that
//! changes its address and its mind: when that ends, the relay knows what is wanted.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use castio::tunnel::amt::gateway::{Candidate, Filter, Gateway, Options, Random, State};
use castio::tunnel::amt::relay::{Local, Relay, Settings};
use castio_fuzz::{Feed, ip};
use libfuzzer_sys::fuzz_target;

const RELAY: &str = "198.51.100.1:2268";
const PLACES: [&str; 3] = ["192.0.2.7:5000", "192.0.2.7:5001", "192.0.2.8:5000"];
const GROUPS: [&str; 4] = ["239.1.2.3", "239.1.2.4", "ff15::1234", "ff15::1235"];
const V4: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
const V6: [&str; 3] = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];

struct World {
    gateway: Gateway,
    relay: Relay,
    now: Instant,
    /// Where the gateway is.
    place: SocketAddr,
    to_relay: VecDeque<Vec<u8>>,
    to_gateway: VecDeque<(SocketAddr, Vec<u8>)>,
    wanted: BTreeMap<IpAddr, Filter>,
    /// Losses and the like still happen.
    is_rough: bool,
}

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    let now = Instant::now();
    let settings = Settings {
        query_interval: Duration::from_secs(feed.choose(&[5, 30, 125])),
        robustness: 1 + feed.u8() % 7,
        answers_per_second: feed.choose(&[0, 1, 16]),
        ..Settings::default()
    };
    let candidates = vec![Candidate { address: RELAY.parse().unwrap(), discovery: feed.bool() }];
    let options = Options { candidates, ecn: feed.bool(), leave_silent: false };
    let mut world = World {
        gateway: Gateway::new(options, Random::new([feed.u8(); 16])),
        relay: Relay::new(settings, [9; 16], now).unwrap(),
        now,
        place: PLACES[0].parse().unwrap(),
        to_relay: VecDeque::new(),
        to_gateway: VecDeque::new(),
        wanted: BTreeMap::new(),
        is_rough: true,
    };
    while !feed.is_empty() {
        world.step(&mut feed);
    }
    world.is_rough = false;
    // The longest pause between questions, and what was reported before runs out.
    world.pass(Duration::from_secs(300) + settings.query_interval + settings.lifetime(), &mut feed);
    world.compare();
    world.gateway.close();
    world.carry(&mut feed);
    world.pass(Duration::from_secs(30), &mut feed);
    assert!(world.relay.tunnels().all(|tunnel| tunnel.places.is_empty()), "what was left stays");
    world.pass(settings.lifetime() * 2, &mut feed);
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (0, 0));
});

impl World {
    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.below(6) {
            0 | 1 => {
                let group = ip(feed.choose(&GROUPS));
                let list = if group.is_ipv4() { V4 } else { V6 };
                let bits = feed.u8();
                let sources = list.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, text)| ip(text));
                let filter = if bits & 0x80 != 0 { Filter::all_but(sources) } else { Filter::only(sources) };
                self.gateway.set_filter(self.now, group, filter.clone());
                match filter.is_none() {
                    true => drop(self.wanted.remove(&group)),
                    false => drop(self.wanted.insert(group, filter)),
                }
            }
            2 => self.place = feed.choose(&PLACES).parse().unwrap(),
            3 => {
                let time = Duration::from_secs(feed.u8().into());
                self.pass(time, feed);
            }
            4 => {
                let time = Duration::from_millis(u64::from(feed.u8()) * 10);
                self.pass(time, feed);
            }
            _ => self.now += Duration::from_secs(feed.u8().into()),
        }
        self.carry(feed);
    }

    fn pass(&mut self, time: Duration, feed: &mut Feed<'_>) {
        let end = self.now + time;
        loop {
            let next = self.gateway.timeout().into_iter().chain([self.relay.timeout()]).min().unwrap();
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.carry(feed);
        }
        self.now = end;
        self.carry(feed);
    }

    fn carry(&mut self, feed: &mut Feed<'_>) {
        let here = Local { socket: 0, address: ip("198.51.100.1") };
        for _ in 0..100 {
            self.gateway.handle_timeout(self.now);
            self.relay.handle_timeout(self.now);
            while let Some(one) = self.gateway.poll_transmit() {
                assert_eq!(one.to, RELAY.parse().unwrap());
                self.to_relay.push_back(one.bytes);
            }
            if self.to_relay.is_empty() && self.to_gateway.is_empty() {
                return;
            }
            let count = self.to_relay.len();
            for _ in 0..count {
                let Some(bytes) = take(&mut self.to_relay, self.is_rough, feed) else { continue };
                self.relay.handle_input(self.now, here, self.place, &bytes);
            }
            while let Some(answer) = self.relay.poll_transmit() {
                self.to_gateway.push_back((answer.to, answer.bytes().to_vec()));
            }
            while self.relay.poll_change().is_some() {}
            let count = self.to_gateway.len();
            for _ in 0..count {
                let Some((to, bytes)) = take(&mut self.to_gateway, self.is_rough, feed) else { continue };
                if to == self.place {
                    self.gateway.handle_input(self.now, RELAY.parse().unwrap(), 0, &bytes);
                }
            }
            if self.is_rough {
                return;
            }
        }
        panic!("they never stop talking");
    }

    /// Whether the relay gives to the gateway what that wants.
    fn compare(&mut self) {
        if !self.wanted.is_empty() {
            assert_eq!(self.gateway.state(), State::Active);
        }
        for group in GROUPS.map(ip) {
            let list = if group.is_ipv4() { V4 } else { V6 };
            for source in list.map(ip) {
                let mut to = Vec::new();
                self.relay.each_destination(self.now, (group, source), (1, 1), |tunnel, _| to.push(tunnel.endpoint));
                let is_wanted = self.wanted.get(&group).is_some_and(|filter| filter.passes(source));
                assert_eq!(to, if is_wanted { vec![self.place] } else { vec![] }, "{group} {source}");
            }
        }
    }
}

/// The next message, or another one; `None` if it is lost, or late.
fn take<T: Clone>(queue: &mut VecDeque<T>, is_rough: bool, feed: &mut Feed<'_>) -> Option<T> {
    if !is_rough {
        return queue.pop_front();
    }
    match feed.u8() {
        0..=159 => queue.pop_front(),
        160..=191 => {
            queue.pop_front();
            None
        }
        192..=223 => queue.pop_back(),
        224..=239 => queue.front().cloned(),
        _ => None,
    }
}
