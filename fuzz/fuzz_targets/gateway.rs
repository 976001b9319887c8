//! A gateway among relays that say anything: it talks to candidates and to where they sent it alone, hands
//! out what is joined alone, and its timers move on.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use castio::tunnel::amt::gateway::{Candidate, Filter, Gateway, Options, Payload, Random};
use castio::tunnel::amt::wire::{self, DATA_HEADER, Dialect, Message, Nonce, ResponseMac};
use castio::tunnel::ip::Packet;
use castio::tunnel::listener::{self, Query, Sources, Version};
use castio_fuzz::{Feed, ip, packet, with_checksums};
use libfuzzer_sys::fuzz_target;

const PEERS: [&str; 6] = [
    "198.51.100.1:2268",
    "198.51.100.2:2268",
    "[2001:db8::2]:2268",
    "192.52.193.1:2268",
    "203.0.113.9:2268",
    "[::ffff:198.51.100.1]:2268",
];
const GROUPS: [&str; 5] = ["232.1.2.3", "239.1.2.3", "239.1.2.4", "ff3e::1234", "ff3e::1235"];
const V4: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
const V6: [&str; 3] = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];

struct World {
    gateway: Gateway,
    now: Instant,
    candidates: Vec<Candidate>,
    /// Where candidates sent it.
    advertised: BTreeSet<SocketAddr>,
    discovery: Option<(SocketAddr, Nonce)>,
    request: Option<(SocketAddr, Nonce)>,
    wanted: BTreeMap<IpAddr, Filter>,
}

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    let candidates: Vec<Candidate> = PEERS
        .iter()
        .take(feed.below(5))
        .map(|address| Candidate { address: address.parse().unwrap(), discovery: feed.bool() })
        .collect();
    let options = Options { candidates: candidates.clone(), ecn: feed.bool(), leave_silent: feed.bool() };
    let gateway = Gateway::new(options, Random::new([feed.u8(); 16]));
    let now = Instant::now();
    let (advertised, wanted) = (BTreeSet::new(), BTreeMap::new());
    let mut world = World { gateway, now, candidates, advertised, discovery: None, request: None, wanted };
    while !feed.is_empty() {
        world.step(&mut feed);
        world.settle();
    }
    world.gateway.close();
    world.sent();
    assert_eq!((world.gateway.group_count(), world.gateway.relay()), (0, None));
    // Old tunnels may still be ended, and parts wait for others.
    world.pass(Duration::from_secs(60));
    assert_eq!(world.gateway.timeout(), None, "nothing is left to do");
});

impl World {
    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.below(10) {
            0 | 1 => self.want(feed),
            2 => {
                let long = feed.choose(&[1, 100, 1000, 100_000]);
                let time = Duration::from_millis(u64::from(feed.u8()) * long / 10);
                if feed.bool() { self.now += time } else { self.pass(time) }
            }
            3 => self.advertise(feed),
            4 | 5 => self.answer(feed),
            6 => {
                let from = feed.choose(&PEERS).parse().unwrap();
                let bytes = feed.some();
                self.put(from, 0, bytes);
            }
            7 => {
                let from = self.gateway.relay().unwrap_or(PEERS[0].parse().unwrap());
                let class = feed.u8();
                let bytes = [&DATA_HEADER, &packet(feed)[..]].concat();
                self.put(from, class, &bytes);
            }
            8 => self.part(feed),
            _ if feed.bool() => self.gateway.release(),
            _ => self.gateway.handle_unreachable(self.now, feed.choose(&PEERS).parse().unwrap()),
        }
    }

    fn want(&mut self, feed: &mut Feed<'_>) {
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
        assert_eq!(self.gateway.group_count(), self.wanted.len());
    }

    fn put(&mut self, from: SocketAddr, class: u8, bytes: &[u8]) {
        let relay = self.gateway.relay();
        let Some(inner) = self.gateway.handle_input(self.now, from, class, bytes) else { return };
        assert_eq!(relay, Some(from), "from the relay alone");
        assert!(self.wanted.get(&inner.destination.ip()).is_some_and(|filter| filter.passes(inner.source.ip())));
        if let Payload::Assembled(number) = inner.payload {
            assert!(self.gateway.assembled(number).len() <= 65_527);
        }
    }

    fn say(&mut self, from: SocketAddr, message: &Message<'_>, dialect: Dialect) {
        let mut bytes = Vec::new();
        message.append(dialect, &mut bytes);
        self.put(from, 0, &bytes);
    }

    fn advertise(&mut self, feed: &mut Feed<'_>) {
        let Some((from, nonce)) = self.discovery else { return };
        let relay = match feed.below(4) {
            0 => IpAddr::from(<[u8; 4]>::try_from(feed.bytes(4)).unwrap_or_default()),
            1 => IpAddr::from(<[u8; 16]>::try_from(feed.bytes(16)).unwrap_or_default()),
            _ => feed.choose(&PEERS).parse::<SocketAddr>().unwrap().ip(),
        };
        let canonical = relay.to_canonical();
        let is_one = !canonical.is_unspecified() && !canonical.is_multicast() && canonical != ip("255.255.255.255");
        if is_one {
            self.advertised.insert(SocketAddr::new(canonical, from.port()));
        }
        self.say(from, &Message::RelayAdvertisement { nonce, relay }, Dialect::Rfc);
    }

    fn answer(&mut self, feed: &mut Feed<'_>) {
        let Some((from, nonce)) = self.request else { return };
        let mld = feed.bool();
        let flags = feed.u8();
        let query = Query {
            version: if mld { Version::Mld2 } else { Version::Igmp3 },
            group: None,
            max_response: Duration::from_secs(10),
            sources: Sources::NONE,
            suppress: false,
            robustness: flags & 7,
            interval: Duration::from_secs(feed.choose(&[0, 1, 10, 125, 31_744])),
        };
        let packet = match flags & 8 {
            0 => listener::build_query(ip(if mld { "fe80::9" } else { "192.0.2.254" }), &query).unwrap(),
            _ => packet(feed),
        };
        if packet.len() < 20 {
            return;
        }
        let gateway =
            (flags & 16 != 0).then(|| wire::Gateway::from(feed.choose(&PEERS).parse::<SocketAddr>().unwrap()));
        let dialect = if flags & 32 == 0 { Dialect::Rfc } else { Dialect::Linux };
        let (limited, mac) = (flags & 0xc0 == 0xc0, ResponseMac([feed.u8(); 6]));
        let from = if flags == 255 { feed.choose(&PEERS).parse().unwrap() } else { from };
        self.say(from, &Message::MembershipQuery { limited, mac, nonce, packet: &packet, gateway }, dialect);
    }

    /// A part of a packet.
    fn part(&mut self, feed: &mut Feed<'_>) {
        let from = self.gateway.relay().unwrap_or(PEERS[0].parse().unwrap());
        let (group, source) = (GROUPS[feed.below(3)], feed.choose(&V4));
        let (place, len, number) = (feed.u8(), usize::from(feed.u8()), feed.u8());
        let mut packet = vec![0x45, 0, 0, 0, 0, number & 31, (place >> 7) << 5, place & 0x7f, 9, 17, 0, 0];
        for address in [source, group] {
            let IpAddr::V4(v4) = ip(address) else { return };
            packet.extend(v4.octets());
        }
        packet.resize(20 + len * 8, 0);
        if len > 0 {
            packet[24..26].copy_from_slice(&feed.u16().to_be_bytes());
        }
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        let class = feed.u8();
        let bytes = [&DATA_HEADER, &with_checksums(&packet)[..]].concat();
        self.put(from, class, &bytes);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.gateway.timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Does what is due now: it comes to an end.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.gateway.handle_timeout(self.now);
            self.sent();
            if self.gateway.timeout().is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("a timer that is always due");
    }

    fn sent(&mut self) {
        let mut count = 0;
        while let Some(one) = self.gateway.poll_transmit() {
            count += 1;
            let asks = |discovery| self.candidates.iter().any(|it| it.address == one.to && it.discovery == discovery);
            let message = Message::decode(&one.bytes).unwrap().0;
            let may_get = match message {
                Message::RelayDiscovery { .. } => asks(true),
                _ => asks(false) || self.advertised.contains(&one.to),
            };
            assert!(may_get, "{} is no relay", one.to);
            match message {
                Message::RelayDiscovery { nonce } => {
                    self.discovery = Some((one.to, nonce));
                }
                Message::Request { nonce, .. } => {
                    self.request = Some((one.to, nonce));
                }
                Message::MembershipUpdate { packet, .. } => {
                    let packet = Packet::parse(packet).unwrap();
                    assert!(
                        listener::parse_report(&packet).unwrap().records().all(|record| record.group.is_multicast())
                    );
                }
                Message::Teardown { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(count <= 64, "{count} messages at once");
    }
}
