//! The machine against a relay of the test's own, with a clock of the test's own.

mod discovery;
mod hostile;
mod membership;
mod properties;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;
use crate::tunnel::amt::wire::{self, Nonce, ResponseMac};
use crate::tunnel::ip::{Packet, udp, v4, v6};
use crate::tunnel::listener::{self, Kind, Query, Sources, Version};

const RELAY: &str = "198.51.100.1:2268";
const OTHER: &str = "198.51.100.2:2268";
const GROUP: &str = "232.1.2.3";
const GROUP6: &str = "ff3e::1234";
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A message that the gateway sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    Discovery(Nonce),
    /// The flags as they are on the wire.
    Request(u8, Nonce),
    /// The MAC's first byte, and what is reported: "ToEx 232.1.2.3 []".
    Update(u8, Vec<String>),
    Teardown(u8, Nonce, SocketAddr),
}

/// A gateway, and the time that passes for it.
struct Rig {
    gateway: Gateway,
    now: Instant,
}

fn direct(addresses: &[&str]) -> Vec<Candidate> {
    addresses.iter().map(|address| Candidate { address: at(address), discovery: false }).collect()
}

fn asking(addresses: &[&str]) -> Vec<Candidate> {
    addresses.iter().map(|address| Candidate { address: at(address), discovery: true }).collect()
}

/// What a relay's Query says beside its question.
#[derive(Clone, Copy)]
struct Say {
    mac: u8,
    limited: bool,
    endpoint: Option<&'static str>,
    dialect: Dialect,
    robustness: u8,
    interval: u64,
}

const SAY: Say = Say { mac: 1, limited: false, endpoint: None, dialect: Dialect::Rfc, robustness: 2, interval: 125 };

impl Rig {
    fn new(candidates: Vec<Candidate>) -> Rig {
        Rig::with(Options { candidates, ecn: false, leave_silent: false })
    }

    fn with(options: Options) -> Rig {
        Rig { gateway: Gateway::new(options, Random::new([7; 16])), now: Instant::now() }
    }

    /// Active at a relay, for one group.
    fn active() -> Rig {
        let mut rig = Rig::new(direct(&[RELAY]));
        rig.join(GROUP);
        let nonce = rig.request(RELAY);
        rig.answer(RELAY, nonce, SAY);
        rig.settle();
        rig
    }

    fn join(&mut self, group: &str) {
        self.set(group, Filter::any());
    }

    fn set(&mut self, group: &str, filter: Filter) {
        self.gateway.set_filter(self.now, ip(group), filter);
    }

    fn leave(&mut self, group: &str) {
        self.set(group, Filter::none());
    }

    /// What the gateway sends now.
    fn sent(&mut self) -> Vec<(SocketAddr, Sent)> {
        self.gateway.handle_timeout(self.now);
        std::iter::from_fn(|| self.gateway.poll_transmit()).map(|one| (one.to, read(&one.bytes))).collect()
    }

    /// Lets the time pass until the gateway has something to do, then what it sends; `None` if there is
    /// nothing to wait for.
    fn next(&mut self) -> Option<(Duration, Vec<(SocketAddr, Sent)>)> {
        let begun = self.now;
        loop {
            let next = self.gateway.timeout()?;
            self.now = self.now.max(next);
            let sent = self.sent();
            if !sent.is_empty() {
                return Some((self.now - begun, sent));
            }
        }
    }

    /// Sends what is to be sent within a second.
    fn settle(&mut self) -> Vec<(SocketAddr, Sent)> {
        let (mut all, end) = (self.sent(), self.now + SECOND);
        while self.gateway.timeout().is_some_and(|next| next <= end) {
            self.now = self.now.max(self.gateway.timeout().unwrap());
            all.extend(self.sent());
        }
        self.now = end;
        all
    }

    /// The nonce of the Request that goes out now, and nothing else.
    #[track_caller]
    fn request(&mut self, to: &str) -> Nonce {
        match self.sent().as_slice() {
            [(there, Sent::Request(0, nonce))] if *there == at(to) => *nonce,
            other => panic!("{other:?}"),
        }
    }

    /// The nonce of the Discovery that goes out now.
    #[track_caller]
    fn discovery(&mut self, to: &str) -> Nonce {
        match self.sent().as_slice() {
            [(there, Sent::Discovery(nonce))] if *there == at(to) => *nonce,
            other => panic!("{other:?}"),
        }
    }

    fn input(&mut self, from: &str, message: &Message<'_>, dialect: Dialect) {
        let mut bytes = Vec::new();
        message.append(dialect, &mut bytes);
        assert!(self.gateway.handle_input(self.now, at(from), 0, &bytes).is_none());
    }

    fn advertise(&mut self, from: &str, nonce: Nonce, relay: &str) {
        self.input(from, &Message::RelayAdvertisement { nonce, relay: ip(relay) }, Dialect::Rfc);
    }

    /// A Query for IGMP.
    fn answer(&mut self, from: &str, nonce: Nonce, say: Say) {
        self.answer_for(false, from, nonce, say);
    }

    fn answer_for(&mut self, mld: bool, from: &str, nonce: Nonce, say: Say) {
        let packet = query(mld, say.robustness, say.interval);
        let message = Message::MembershipQuery {
            limited: say.limited,
            mac: ResponseMac([say.mac, 0, 0, 0, 0, 0]),
            nonce,
            packet: &packet,
            gateway: say.endpoint.map(|endpoint| wire::Gateway::from(at(endpoint))),
        };
        self.input(from, &message, say.dialect);
    }

    /// Data with this text from a source's port 9 to a group's port 5000.
    fn data(&mut self, from: &str, packet: &[u8]) -> Option<(String, SocketAddr, SocketAddr, u8, u8)> {
        self.marked_data(from, 0, packet)
    }

    fn marked_data(
        &mut self,
        from: &str,
        class: u8,
        packet: &[u8],
    ) -> Option<(String, SocketAddr, SocketAddr, u8, u8)> {
        let bytes = [&wire::DATA_HEADER, packet].concat();
        let inner = self.gateway.handle_input(self.now, at(from), class, &bytes)?;
        let payload = match inner.payload {
            Payload::Here(bytes) => bytes,
            Payload::Assembled(number) => self.gateway.assembled(number),
        };
        let text = String::from_utf8_lossy(payload).into_owned();
        Some((text, inner.source, inner.destination, inner.ttl, inner.traffic_class))
    }

    fn counters(&self) -> Counters {
        *self.gateway.counters()
    }
}

fn read(bytes: &[u8]) -> Sent {
    match Message::decode(bytes).unwrap().0 {
        Message::RelayDiscovery { nonce } => Sent::Discovery(nonce),
        Message::Request { nonce, .. } => Sent::Request(bytes[1], nonce),
        Message::MembershipUpdate { mac, packet, .. } => Sent::Update(mac.0[0], report(packet)),
        Message::Teardown { mac, nonce, gateway } => Sent::Teardown(mac.0[0], nonce, gateway.address()),
        other => panic!("{other:?}"),
    }
}

fn report(packet: &[u8]) -> Vec<String> {
    let packet = Packet::parse(packet).unwrap();
    assert_eq!((packet.ttl, packet.router_alert), (1, true));
    let report = listener::parse_report(&packet).unwrap();
    if matches!(report.version, Version::Igmp2 | Version::Mld1) {
        return report.records().map(|record| format!("Leave {}", record.group)).collect();
    }
    let name = |kind| match kind {
        Kind::ModeIsInclude => "Is",
        Kind::ModeIsExclude => "IsEx",
        Kind::ChangeToInclude => "To",
        Kind::ChangeToExclude => "ToEx",
        Kind::AllowNewSources => "Allow",
        Kind::BlockOldSources => "Block",
    };
    let sources = |sources: Sources<'_>| sources.iter().map(|one| format!(" {one}")).collect::<String>();
    let one =
        |record: listener::Record<'_>| format!("{} {}{}", name(record.kind), record.group, sources(record.sources));
    let mut lines: Vec<String> = report.records().map(one).collect();
    lines.sort();
    lines
}

fn query(mld: bool, robustness: u8, interval: u64) -> Vec<u8> {
    let query = Query {
        version: if mld { Version::Mld2 } else { Version::Igmp3 },
        group: None,
        max_response: SECOND * 10,
        sources: Sources::NONE,
        suppress: false,
        robustness,
        interval: Duration::from_secs(interval),
    };
    listener::build_query(ip(if mld { "fe80::9" } else { "192.0.2.254" }), &query).unwrap()
}

/// A multicast datagram as a relay has it.
fn packet(source: &str, group: &str, text: &str, class: u8) -> Vec<u8> {
    let (source, group) = (SocketAddr::new(ip(source), 9), SocketAddr::new(ip(group), 5000));
    let header = udp::header(source, group, &[text.as_bytes()]).unwrap();
    let payload_len = header.len() + text.len();
    let front = match (source.ip(), group.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => v4::Header {
            source,
            destination,
            protocol: 17,
            ttl: 33,
            traffic_class: class,
            identification: 77,
            dont_fragment: false,
            router_alert: false,
            payload_len,
        }
        .build()
        .unwrap()
        .to_vec(),
        (IpAddr::V6(source), IpAddr::V6(destination)) => v6::Header {
            source,
            destination,
            protocol: 17,
            hop_limit: 33,
            traffic_class: class,
            flow_label: 0,
            router_alert: false,
            payload_len,
        }
        .build()
        .unwrap()
        .to_vec(),
        _ => panic!("{source} {group}"),
    };
    [front.as_slice(), &header, text.as_bytes()].concat()
}
