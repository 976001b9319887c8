//! All formats of the tunnels, on the same bytes: none does harm, and what is read and written again
//! says the same.
#![no_main]

use std::net::SocketAddr;

use castio::sys::option::Family;
use castio::tunnel::amt::wire::{Dialect, Message};
use castio::tunnel::ecn::Mode;
use castio::tunnel::fixed::entry::Entry;
use castio::tunnel::fixed::exit::Exit;
use castio::tunnel::fixed::kind::{Kind, Shape};
use castio::tunnel::gre;
use castio::tunnel::ip::fragment::fragments;
use castio::tunnel::ip::udp::{Datagram, ZeroChecksum};
use castio::tunnel::ip::{self, Packet};
use castio::tunnel::listener::{self, Record, Report, igmp, mld};
use castio_fuzz::{Feed, ip, packet, with_checksums};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    let (kind, flags, mtu) = (feed.u8(), feed.u8(), usize::from(feed.u16()));
    let made = if kind & 8 == 0 { feed.rest().to_vec() } else { packet(&mut feed) };
    let bytes = made.as_slice();
    messages(bytes);
    greheader(bytes);
    let _ = (igmp::parse_query(bytes), mld::parse_query(bytes));
    igmp::parse_report(bytes).iter().chain(&mld::parse_report(bytes)).for_each(|report| count(report, bytes.len()));
    for bytes in [bytes, &with_checksums(bytes)] {
        edits(bytes, flags);
        if let Ok(packet) = Packet::parse(bytes) {
            inside(&packet);
            cut(&packet, mtu);
            tunnelled(&packet, kind, flags);
        }
        exits(bytes, kind, flags);
    }
});

fn messages(bytes: &[u8]) {
    let Ok((message, dialect)) = Message::decode(bytes) else { return };
    for dialect in dialect.map_or(vec![Dialect::Rfc, Dialect::Linux], |one| vec![one]) {
        let mut again = Vec::new();
        message.append(dialect, &mut again);
        let (same, told) = Message::decode(&again).unwrap();
        let has_ecn = matches!(message, Message::Request { ecn: true, .. });
        assert!(same == message || has_ecn && dialect == Dialect::Linux);
        assert!(told.is_none_or(|told| told == dialect));
        let mut room = vec![0; again.len()];
        assert_eq!(message.encode(dialect, &mut room), Some(again.len()));
        assert_eq!(room, again);
        assert_eq!(message.encode(dialect, &mut room[1..]), None);
    }
}

fn greheader(bytes: &[u8]) {
    let Ok((header, payload)) = gre::parse(bytes) else { return };
    assert_eq!(header.size() + payload.len(), bytes.len());
    let again = [&header.build(&[payload]), payload].concat();
    assert_eq!(gre::parse(&again), Ok((header, payload)));
}

fn count(report: &Report<'_>, len: usize) {
    assert!(report.records().map(|record| record.sources.iter().count() * 4).sum::<usize>() <= len);
}

fn edits(bytes: &[u8], class: u8) {
    let before = Packet::parse(bytes);
    let mut edited = bytes.to_vec();
    let results = (ip::set_traffic_class(&mut edited, class), ip::decrement_ttl(&mut edited));
    let Ok(before) = before else { return };
    assert!(results.0.is_ok() && results.1.is_ok());
    let after = Packet::parse(&edited).unwrap();
    let expected = Packet { ttl: before.ttl.saturating_sub(1), traffic_class: class, bytes: after.bytes, ..before };
    assert_eq!(after, expected);
}

fn inside(packet: &Packet<'_>) {
    assert!(packet.header_len() >= 20 && packet.header_len() <= packet.bytes.len());
    let _ = Datagram::parse(packet, ZeroChecksum::Accepted);
    if let Ok(query) = listener::parse_query(packet) {
        let router = if packet.source.is_ipv4() { ip("192.0.2.1") } else { ip("fe80::1") };
        let built = listener::build_query(router, &query).unwrap();
        // Times that don't fit a float's mantissa don't get here: they come from one.
        assert_eq!(listener::parse_query(&Packet::parse(&built).unwrap()), Ok(query));
    }
    if let Ok(report) = listener::parse_report(packet) {
        count(&report, packet.bytes.len());
        let host = if packet.source.is_ipv4() { ip("192.0.2.1") } else { ip("fe80::1") };
        let records: Vec<Record<'_>> = report.records().collect();
        let mut packets = Vec::new();
        listener::build_report(host, &records, 65_535, &mut packets).unwrap();
        let built: Vec<Packet<'_>> = packets.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
        let same = built.iter().flat_map(|packet| listener::parse_report(packet).unwrap().records());
        assert!(same.eq(records.iter().copied()));
    }
}

fn cut(packet: &Packet<'_>, mtu: usize) {
    let Ok(parts) = fragments(packet, mtu) else { return };
    let base = packet.fragment.map_or(0, |fragment| usize::from(fragment.offset));
    let last_more = packet.fragment.is_some_and(|fragment| fragment.more);
    let mut together = Vec::new();
    for (header, range) in parts {
        assert!(header.len() + range.len() <= mtu);
        let bytes = [&header, &packet.payload[range]].concat();
        let part = Packet::parse(&bytes).unwrap();
        assert_eq!(part.bytes.len(), bytes.len());
        assert_eq!(
            (part.source, part.destination, part.protocol),
            (packet.source, packet.destination, packet.protocol)
        );
        assert_eq!(part.router_alert, packet.router_alert, "an option that every part has");
        let place = part.fragment.map_or(0, |fragment| usize::from(fragment.offset));
        assert_eq!(place, base + together.len());
        together.extend_from_slice(part.payload);
        let more = part.fragment.is_some_and(|fragment| fragment.more);
        assert_eq!(more, last_more || together.len() < packet.payload.len());
    }
    assert_eq!(together, packet.payload);
}

const REMOTE: &str = "198.51.100.2:2268";

fn shape(kind: u8, flags: u8) -> Shape {
    Shape {
        kind: [Kind::IpIp, Kind::Gre, Kind::GreUdp, Kind::Udp][usize::from(kind & 3)],
        outer: if kind & 4 == 0 { Family::V6 } else { Family::V4 },
        key: (flags & 1 != 0).then_some(7),
        checksum: flags & 2 != 0,
        sequence: flags & 4 != 0,
    }
}

/// What goes in comes out.
fn tunnelled(packet: &Packet<'_>, kind: u8, flags: u8) {
    let shape = Shape { outer: Family::V6, ..shape(kind, flags) };
    let remote: SocketAddr = REMOTE.parse().unwrap();
    let entry = Entry { shape, remote: remote.ip(), ecn: Mode::Normal, whole: 65_575, in_pieces: 65_575 };
    let Ok(wrapped) = entry.wrap(packet.bytes, 5) else { return };
    assert_eq!(wrapped.header.len(), shape.header_len());
    let mut bytes = [&wrapped.header, wrapped.packet].concat();
    let result = Exit::new(shape, remote).unwrap(&mut bytes, Some(remote), Some(wrapped.traffic_class));
    match result {
        Ok(range) => assert_eq!(&bytes[range], packet.bytes),
        // Not marked by a sender that understands marks, yet marked.
        Err(reason) => assert!(packet.ttl == 0, "{reason:?}"),
    }
}

fn exits(bytes: &[u8], kind: u8, flags: u8) {
    let (mut bytes, remote) = (bytes.to_vec(), REMOTE.parse().unwrap());
    let mut exit = Exit::new(shape(kind, flags), remote);
    for _ in 0..2 {
        if let Ok(range) = exit.unwrap(&mut bytes, Some(remote), Some(flags)) {
            assert_eq!(Packet::parse(&bytes[range.clone()]).unwrap().bytes.len(), range.len());
        }
    }
}
