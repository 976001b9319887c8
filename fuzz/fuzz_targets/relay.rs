//! A relay among gateways and strangers: no state without a verified Update, no more of it than the
//! settings allow, upstream what tunnels want, and nothing at the end.
#![no_main]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use castio::tunnel::amt::relay::{Change, Local, Relay, Settings};
use castio::tunnel::amt::wire::{self, Dialect, Message, Nonce, ResponseMac};
use castio::tunnel::listener::{self, Kind, Record, Sources};
use castio_fuzz::{Feed, ip, packet};
use libfuzzer_sys::fuzz_target;

const ENDPOINTS: [&str; 8] = [
    "198.51.100.7:40000",
    "198.51.100.7:40001",
    "[2001:db8::7]:40000",
    "[fe80::7%2]:40000",
    "[::ffff:198.51.100.8]:40000",
    // What looks like an IPv4 address and isn't one, and that one.
    "[::198.51.100.9]:40000",
    "198.51.100.9:40000",
    "198.51.100.10:40000",
];
const GROUPS: [&str; 8] =
    ["239.1.2.3", "239.1.2.4", "232.1.2.3", "224.0.0.9", "ff35::7", "ff3e::7", "ff02::9", "239.1.2.5"];
const SOURCES: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "224.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "10.0.0.4"];
const KINDS: [Kind; 6] = [
    Kind::ModeIsInclude,
    Kind::ModeIsExclude,
    Kind::ChangeToInclude,
    Kind::ChangeToExclude,
    Kind::AllowNewSources,
    Kind::BlockOldSources,
];

/// What a gateway knows of its Query.
#[derive(Clone, Copy)]
struct Ticket {
    endpoint: SocketAddr,
    mac: ResponseMac,
    nonce: Nonce,
    gateway: Option<wire::Gateway>,
}

struct World {
    relay: Relay,
    now: Instant,
    tickets: Vec<Ticket>,
    /// Who has shown a MAC that was sent to that very endpoint.
    verified: BTreeSet<SocketAddr>,
    joined: BTreeSet<(IpAddr, Option<IpAddr>)>,
    limits: Settings,
}

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    let limits = Settings {
        robustness: 1 + feed.u8() % 7,
        query_interval: Duration::from_secs(feed.choose(&[1, 10, 125, 31_744])),
        tunnels: 1 + feed.below(8),
        groups: 1 + feed.below(4),
        sources: 1 + feed.below(4),
        channels: 1 + feed.below(6),
        bytes_per_second: u64::from(feed.u8()) * 1000,
        answers_per_second: feed.choose(&[0, 1, 16]),
        ..Settings::default()
    };
    let now = Instant::now();
    let relay = Relay::new(limits, [9; 16], now).unwrap();
    let mut world =
        World { relay, now, tickets: Vec::new(), verified: BTreeSet::new(), joined: BTreeSet::new(), limits };
    while !feed.is_empty() {
        world.step(&mut feed);
        world.check();
    }
    world.pass(limits.lifetime() * 2 + Duration::from_secs(3));
    world.check();
    assert_eq!((world.relay.tunnel_count(), world.relay.group_count()), (0, 0));
    assert!(world.joined.is_empty());
});

fn canonical(endpoint: SocketAddr) -> SocketAddr {
    match endpoint.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), endpoint.port()),
        IpAddr::V6(_) => endpoint,
    }
}

impl World {
    fn step(&mut self, feed: &mut Feed<'_>) {
        let from: SocketAddr = feed.choose(&ENDPOINTS).parse().unwrap();
        match feed.below(9) {
            0 | 1 => self.ask(feed, from),
            2 | 3 => self.report(feed),
            4 => {
                let packet = packet(feed);
                let Some(ticket) = self.ticket(feed) else { return };
                self.update(ticket.endpoint, ticket, &packet);
            }
            5 => {
                let bytes = feed.some();
                self.put(from, bytes);
            }
            6 => {
                let long = feed.choose(&[1, 100, 10_000, 1_000_000, 100_000_000]);
                let time = Duration::from_millis(u64::from(feed.u8()) * long / 10);
                // One that sleeps misses its timers.
                if feed.bool() { self.now += time } else { self.pass(time) }
            }
            7 => {
                let Some(ticket) = self.ticket(feed) else { return };
                let gateway = ticket.gateway.unwrap_or(wire::Gateway::from(ticket.endpoint));
                self.say(from, &Message::Teardown { mac: ticket.mac, nonce: ticket.nonce, gateway });
            }
            _ if feed.bool() => self.relay.handle_unreachable(self.now, from),
            _ => self.data(feed),
        }
    }

    fn put(&mut self, from: SocketAddr, bytes: &[u8]) {
        let local = Local { socket: 0, address: if from.is_ipv4() { ip("192.0.2.1") } else { ip("2001:db8::ff") } };
        self.relay.handle_input(self.now, local, from, bytes);
        let mut answers = 0;
        while let Some(answer) = self.relay.poll_transmit() {
            answers += 1;
            assert_eq!((answer.to, answer.from), (canonical(from), local), "to who asked alone");
            match Message::decode(answer.bytes()).unwrap().0 {
                Message::RelayAdvertisement { relay, .. } => assert_eq!(relay, local.address),
                Message::MembershipQuery { mac, nonce, gateway, .. } => {
                    self.tickets.push(Ticket { endpoint: answer.to, mac, nonce, gateway });
                    if self.tickets.len() > 32 {
                        self.tickets.remove(0);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(answers <= 1);
    }

    fn say(&mut self, from: SocketAddr, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.append(Dialect::Rfc, &mut bytes);
        self.put(from, &bytes);
    }

    fn ask(&mut self, feed: &mut Feed<'_>, from: SocketAddr) {
        let mut bytes = Vec::new();
        let nonce = Nonce::new([feed.u8() | 1, 0, 0, 0]).unwrap();
        let dialect = feed.choose(&[Dialect::Rfc, Dialect::Linux]);
        Message::Request { mld: feed.bool(), ecn: feed.bool(), nonce }.append(dialect, &mut bytes);
        self.put(from, &bytes);
    }

    fn ticket(&mut self, feed: &mut Feed<'_>) -> Option<Ticket> {
        let number = feed.below(32);
        self.tickets.get(number % self.tickets.len().max(1)).copied()
    }

    fn report(&mut self, feed: &mut Feed<'_>) {
        let Some(ticket) = self.ticket(feed) else { return };
        let is_v6 = feed.bool();
        let of_family = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| ip(text)).filter(|ip| ip.is_ipv6() == is_v6).collect()
        };
        let (groups, all) = (of_family(&GROUPS), of_family(&SOURCES));
        let said: Vec<(Kind, IpAddr, Vec<IpAddr>)> = (0..=feed.below(4))
            .map(|_| {
                let (kind, group) = (feed.choose(&KINDS), feed.choose(&groups));
                (kind, group, (0..feed.below(6)).map(|_| feed.choose(&all)).collect())
            })
            .collect();
        let records: Vec<Record<'_>> = said
            .iter()
            .map(|(kind, group, sources)| Record { kind: *kind, group: *group, sources: Sources::from(&sources[..]) })
            .collect();
        let mut packets = Vec::new();
        listener::build_report(ip(if is_v6 { "fe80::7" } else { "0.0.0.0" }), &records, 1400, &mut packets).unwrap();
        // From where the Query went to, mostly.
        let from = match feed.u8() {
            255 => feed.choose(&ENDPOINTS).parse().unwrap(),
            _ => ticket.endpoint,
        };
        packets.iter().for_each(|packet| self.update(from, ticket, packet));
    }

    fn update(&mut self, from: SocketAddr, ticket: Ticket, packet: &[u8]) {
        if canonical(from) == ticket.endpoint {
            self.verified.insert(ticket.endpoint);
        }
        self.say(from, &Message::MembershipUpdate { mac: ticket.mac, nonce: ticket.nonce, packet });
    }

    fn data(&mut self, feed: &mut Feed<'_>) {
        let flow = (ip(feed.choose(&GROUPS)), ip(feed.choose(&SOURCES)));
        let mut to = Vec::new();
        self.relay.each_destination(self.now, flow, (1, 100), |tunnel, _| to.push(tunnel.endpoint));
        for endpoint in to {
            let tunnel = self.relay.tunnels().find(|tunnel| tunnel.endpoint == endpoint).unwrap();
            let mut of_tunnel = self.relay.groups_of(tunnel).filter(|(group, _)| *group == flow.0);
            let (_, member) = of_tunnel.next().unwrap();
            assert!(member.filter.is_open() || member.filter.included().any(|source| source == flow.1));
            assert!(member.filter.excluded().all(|source| source != flow.1));
        }
    }

    /// Time passes, and the relay does what is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.relay.timeout() <= end {
            self.now = self.now.max(self.relay.timeout());
            self.relay.handle_timeout(self.now);
            assert!(self.relay.timeout() > self.now, "a timer that is always due");
            self.check();
        }
        self.now = end;
    }

    fn check(&mut self) {
        while let Some(change) = self.relay.poll_change() {
            match change {
                Change::Join(group, source) => assert!(self.joined.insert((group, source)), "joined twice"),
                Change::Leave(group, source) => assert!(self.joined.remove(&(group, source)), "left twice"),
            }
        }
        let mut wanted = BTreeSet::new();
        let mut members = 0;
        for channel in self.relay.channels() {
            assert!(!channel.members().is_empty());
            members += channel.members().len();
            let filters = || channel.members().iter().map(|member| &member.filter);
            assert!(
                filters().all(|filter| filter.included().count() + filter.excluded().count() <= self.limits.sources)
            );
            match filters().any(|filter| filter.is_open()) {
                true => drop(wanted.insert((channel.group, None))),
                false => {
                    wanted.extend(filters().flat_map(|filter| filter.included()).map(|one| (channel.group, Some(one))));
                }
            }
        }
        assert_eq!(self.joined, wanted);
        let mut of_tunnels = 0;
        for tunnel in self.relay.tunnels() {
            assert!(self.verified.contains(&tunnel.endpoint), "{}", tunnel.endpoint);
            let groups: Vec<IpAddr> = self.relay.groups_of(tunnel).map(|(group, _)| group).collect();
            assert!(groups.len() == tunnel.places.len() && groups.len() <= self.limits.groups);
            assert_eq!(groups.iter().collect::<BTreeSet<_>>().len(), groups.len());
            of_tunnels += groups.len();
        }
        assert_eq!(members, of_tunnels);
        assert!(self.relay.tunnel_count() <= self.limits.tunnels && self.relay.group_count() <= self.limits.channels);
    }
}
