//! The machine with a clock and a gateway of the test's own.

use std::time::Duration;

use super::*;
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Kind, Kind::*, Record, Sources, Version};

mod handshake;
mod hostile;
mod lifetime;
mod pair;
mod upstream;

const HERE: &str = "192.0.2.1";
const SEED: Secret = [9; 16];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nonce(number: u32) -> Nonce {
    Nonce::new(number.to_be_bytes()).unwrap()
}

/// A relay, and the time.
struct World {
    relay: Relay,
    now: Instant,
    here: Local,
}

/// What a Query said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    mac: ResponseMac,
    nonce: Nonce,
    limited: bool,
    gateway: Option<Gateway>,
    version: Version,
    dialect: Option<Dialect>,
}

impl World {
    fn new(settings: Settings) -> World {
        let now = Instant::now();
        let here = Local { socket: 0, address: ip(HERE) };
        World { relay: Relay::new(settings, SEED, now).unwrap(), now, here }
    }

    fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.relay.timeout() <= end {
            assert!(self.relay.timeout() > self.now || self.now == end, "a timer that is always due");
            self.now = self.relay.timeout().max(self.now);
            self.relay.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn put(&mut self, from: &str, bytes: &[u8]) {
        self.relay.handle_input(self.now, self.here, endpoint(from), bytes);
    }

    fn say(&mut self, from: &str, dialect: Dialect, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.append(dialect, &mut bytes);
        self.put(from, &bytes);
    }

    fn silence(&mut self) {
        assert!(self.relay.poll_transmit().is_none());
    }

    fn request(&mut self, from: &str, mld: bool, dialect: Dialect, number: u32) -> Option<Answer> {
        self.say(from, dialect, &Message::Request { mld, ecn: false, nonce: nonce(number) });
        let answer = self.relay.poll_transmit()?;
        assert_eq!((answer.to, answer.from), (canonical(endpoint(from)), self.here));
        let (message, dialect) = Message::decode(answer.bytes()).unwrap();
        let Message::MembershipQuery { limited, mac, nonce, packet, gateway } = message else {
            panic!("{message:?}");
        };
        let packet = Packet::parse(packet).unwrap();
        assert!(packet.router_alert && packet.ttl == 1);
        let query = listener::parse_query(&packet).unwrap();
        assert_eq!(query.interval, self.relay.settings().query_interval);
        let at_once = Duration::from_millis(if mld { 1 } else { 100 });
        assert_eq!(query.max_response, at_once, "RFC 7450, section 5.3.3.3: a code of 1");
        assert_eq!((query.robustness, query.group), (self.relay.settings().robustness, None));
        Some(Answer { mac, nonce, limited, gateway, version: query.version, dialect })
    }

    fn update(&mut self, from: &str, answer: &Answer, records: &[Record<'_>]) {
        let is_v6 = records.first().is_some_and(|record| record.group.is_ipv6());
        let host = if is_v6 { "fe80::7" } else { "0.0.0.0" };
        let mut packets = Vec::new();
        listener::build_report(ip(host), records, 1400, &mut packets).unwrap();
        for packet in &packets {
            let (mac, nonce) = (answer.mac, answer.nonce);
            self.say(from, Dialect::Rfc, &Message::MembershipUpdate { mac, nonce, packet });
        }
        self.silence();
    }

    /// The whole handshake, and a report of one record.
    fn report(&mut self, from: &str, kind: Kind, group: &str, sources: &[&str]) -> Answer {
        let answer = self.request(from, group.contains(':'), Dialect::Rfc, 7).unwrap();
        let sources: Vec<IpAddr> = sources.iter().map(|source| ip(source)).collect();
        self.update(from, &answer, &[Record { kind, group: ip(group), sources: Sources::from(sources.as_slice()) }]);
        answer
    }

    /// Where a packet goes.
    fn destinations(&mut self, group: &str, source: &str) -> Vec<String> {
        let mut found = Vec::new();
        let flow = (ip(group), ip(source));
        self.relay.each_destination(self.now, flow, (1, 100), |tunnel, _| found.push(tunnel.endpoint.to_string()));
        found.sort();
        found
    }

    /// What was to be done upstream since the last time: "+239.1.2.3", "-239.1.2.3 10.0.0.1".
    fn changes(&mut self) -> Vec<String> {
        let text = |group: IpAddr, source: Option<IpAddr>| match source {
            Some(source) => format!("{group} {source}"),
            None => group.to_string(),
        };
        std::iter::from_fn(|| self.relay.poll_change())
            .map(|change| match change {
                Change::Join(group, source) => format!("+{}", text(group, source)),
                Change::Leave(group, source) => format!("-{}", text(group, source)),
            })
            .collect()
    }

    fn counters(&self) -> Counters {
        *self.relay.counters()
    }
}
