//! Tunnel formats over all that can be said, and over what nobody should have said: what is built
//! comes back as it was, and no bytes are too strange to be refused.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use castio::tunnel::gre;
use castio::tunnel::ip::checksum::Checksum;
use castio::tunnel::ip::udp::{Datagram, ZeroChecksum};
use castio::tunnel::ip::{self, Packet, fragment};
use castio::tunnel::listener::{self, Kind, Query, Record, Report, Version, igmp, mld};
use castio::tunnel::malformed::Malformed;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use support::packets::Header;

type Said = Vec<(Kind, IpAddr, Vec<IpAddr>)>;

fn address(is_v6: bool) -> BoxedStrategy<IpAddr> {
    if is_v6 {
        any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
    } else {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    }
}

fn group(is_v6: bool) -> BoxedStrategy<IpAddr> {
    let group = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0x0fff_ffff | 0xe000_0000)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | 0xff << 120)),
    };
    address(is_v6).prop_map(group).boxed()
}

/// Who sends: in IPv6 link-local.
fn host(is_v6: bool) -> IpAddr {
    if is_v6 { "fe80::1".parse().unwrap() } else { "10.0.0.1".parse().unwrap() }
}

fn said(is_v6: bool) -> impl Strategy<Value = Said> {
    vec((prop::sample::select(&Kind::ALL[..]), group(is_v6), vec(address(is_v6), 0..40)), 0..20)
}

fn report(host: IpAddr, said: &[(Kind, IpAddr, Vec<IpAddr>)], mtu: usize) -> Vec<Vec<u8>> {
    let records: Vec<_> = said
        .iter()
        .map(|(kind, group, sources)| Record { kind: *kind, group: *group, sources: sources.as_slice().into() })
        .collect();
    let mut packets = Vec::new();
    listener::build_report(host, &records, mtu, &mut packets).unwrap();
    packets
}

fn heard(packet: &[u8]) -> Said {
    let report = listener::parse_report(&Packet::parse(packet).unwrap()).unwrap();
    report.records().map(|record| (record.kind, record.group, record.sources.iter().collect())).collect()
}

/// A UDP datagram in a packet of either family.
fn datagram(is_v6: bool, payload: &[u8], dont_fragment: bool, router_alert: bool) -> Vec<u8> {
    let [source, group] = if is_v6 { ["2001:db8::1", "ff3e::1234"] } else { ["192.0.2.1", "232.1.2.3"] };
    let header = Header {
        traffic_class: 0xb8,
        identification: 77,
        flow_label: 0x12345,
        dont_fragment,
        router_alert,
        ..Header::new(source.parse().unwrap(), group.parse().unwrap())
    };
    header.datagram([5000, 6000], payload)
}

fn query(version: Version, group: Option<IpAddr>, sources: &[IpAddr]) -> Query<'_> {
    Query {
        version,
        group,
        max_response: Duration::from_secs(10),
        sources: sources.into(),
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(125),
    }
}

/// Everything that reads, on the same bytes.
fn read_all(bytes: &[u8]) {
    let mut edited = bytes.to_vec();
    let _ = ip::decrement_ttl(&mut edited);
    let _ = ip::set_traffic_class(&mut edited, 3);
    let _ = (gre::parse(bytes), igmp::parse_query(bytes), mld::parse_query(bytes));
    for report in [igmp::parse_report(bytes), mld::parse_report(bytes)] {
        let records = report.iter().flat_map(Report::records);
        assert!(records.map(|record| record.sources.iter().count() * 4).sum::<usize>() <= bytes.len());
    }
    let Ok(packet) = Packet::parse(bytes) else { return };
    assert!(packet.bytes.len() <= bytes.len() && packet.header_len() <= packet.bytes.len());
    let _ = Datagram::parse(&packet, ZeroChecksum::Accepted);
    let _ = listener::parse_query(&packet);
    let _ = listener::parse_report(&packet);
    for mtu in [0, 28, 68, 576, 1500, usize::MAX] {
        let Ok(parts) = fragment::fragments(&packet, mtu) else { continue };
        let mut carried = 0;
        for (header, range) in parts {
            assert!(header.len() >= 20 && header.len() + range.len() <= mtu && range.start == carried);
            carried = range.end;
        }
        assert_eq!(carried, packet.payload.len());
    }
}

/// With good checksums in the IPv4 header and in the message behind it, so that it gets past them.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let header_len = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    if header_len >= 20 && header_len + 4 <= bytes.len() {
        put_checksum(&mut bytes[..header_len], 10);
        put_checksum(&mut bytes[header_len..], 2);
    }
    bytes
}

fn put_checksum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].copy_from_slice(&[0, 0]);
    let checksum = Checksum::new().with(bytes).value();
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

proptest! {
    #[test]
    fn reports_come_back_as_they_were_built(is_v6 in any::<bool>(), said in said(false), said6 in said(true)) {
        let said = if is_v6 { said6 } else { said };
        let packets = report(host(is_v6), &said, 65_535);
        let heard: Said = packets.iter().flat_map(|packet| heard(packet)).collect();
        prop_assert_eq!(heard, said);
    }

    #[test]
    fn reports_of_any_mtu_say_the_same(is_v6 in any::<bool>(), said in said(false), said6 in said(true), mtu in 100_usize..1500) {
        let said = if is_v6 { said6 } else { said };
        let packets = report(host(is_v6), &said, mtu);
        prop_assert!(packets.iter().all(|packet| packet.len() <= mtu));
        let mut heard = packets.iter().flat_map(|packet| heard(packet)).peekable();
        for (kind, group, sources) in said {
            let is_exclude = matches!(kind, Kind::ModeIsExclude | Kind::ChangeToExclude);
            let (part_kind, part_group, mut together) = heard.next().unwrap();
            prop_assert_eq!((part_kind, part_group), (kind, group));
            while together.len() < sources.len() && !is_exclude {
                let (part_kind, part_group, part) = heard.next().unwrap();
                prop_assert_eq!((part_kind, part_group), (kind, group));
                together.extend(part);
            }
            let len = together.len();
            prop_assert_eq!(&together[..], &sources[..len]);
            prop_assert!(is_exclude || len == sources.len());
        }
        prop_assert_eq!(heard.next(), None);
    }

    #[test]
    fn queries_come_back_as_they_were_built(
        is_v6 in any::<bool>(),
        groups in option::of((group(false), group(true))),
        lists in (vec(address(false), 0..50), vec(address(true), 0..50)),
        (suppress, robustness, tenths, seconds) in (any::<bool>(), 0_u8..8, 0_u64..128, 0_u64..128),
    ) {
        let version = if is_v6 { Version::Mld2 } else { Version::Igmp3 };
        let group = groups.map(|(v4, v6)| if is_v6 { v6 } else { v4 });
        let query = Query {
            max_response: Duration::from_millis(tenths * 100),
            suppress,
            robustness,
            interval: Duration::from_secs(seconds),
            ..query(version, group, if is_v6 { &lists.1 } else { &lists.0 })
        };
        let packet = listener::build_query(host(is_v6), &query).unwrap();
        let packet = Packet::parse(&packet).unwrap();
        prop_assert_eq!(listener::parse_query(&packet), Ok(query));
    }

    #[test]
    fn datagrams_come_back_as_they_were_built(
        is_v6 in any::<bool>(),
        payload in vec(any::<u8>(), 0..2000),
        flags in any::<(bool, bool)>(),
    ) {
        let bytes = datagram(is_v6, &payload, flags.0, flags.1);
        let packet = Packet::parse(&bytes).unwrap();
        prop_assert_eq!((packet.ttl, packet.traffic_class, packet.router_alert), (64, 0xb8, flags.1));
        prop_assert_eq!(packet.dont_fragment, is_v6 || flags.0);
        prop_assert_eq!(Datagram::parse(&packet, ZeroChecksum::Refused).unwrap().payload, &payload);
    }

    #[test]
    fn fragments_carry_the_payload_in_order(
        payload in vec(any::<u8>(), 0..5000),
        router_alert in any::<bool>(),
        mtu in 68_usize..1600,
    ) {
        let bytes = datagram(false, &payload, false, router_alert);
        let packet = Packet::parse(&bytes).unwrap();
        let mut together: Vec<u8> = Vec::new();
        for (header, range) in fragment::fragments(&packet, mtu).unwrap() {
            let part = [&header, &packet.payload[range]].concat();
            prop_assert!(part.len() <= mtu);
            let part = Packet::parse(&part).unwrap();
            let offset = part.fragment.map_or(0, |fragment| usize::from(fragment.offset));
            prop_assert_eq!(offset, together.len());
            together.extend(part.payload);
            let more = part.fragment.is_some_and(|fragment| fragment.more);
            prop_assert_eq!(more, together.len() < packet.payload.len());
        }
        prop_assert_eq!(together, packet.payload);
    }

    #[test]
    fn gre_comes_back_as_it_was_built(
        protocol in any::<u16>(),
        checksum in any::<bool>(),
        key in option::of(any::<u32>()),
        sequence in option::of(any::<u32>()),
        payload in vec(any::<u8>(), 0..100),
        cut in 0_usize..100,
    ) {
        let header = gre::Header { protocol, checksum, key, sequence };
        let (first, second) = payload.split_at(cut.min(payload.len()));
        let bytes = [&header.build(&[first, second]), &payload[..]].concat();
        prop_assert_eq!(gre::parse(&bytes), Ok((header, &payload[..])));
    }

    #[test]
    fn random_bytes_are_read_without_harm(first in 0x40_u8..0x70, bytes in vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        read_all(&bytes);
        bytes.insert(0, first);
        read_all(&bytes);
        read_all(&with_checksums(bytes));
    }

    #[test]
    fn valid_packets_with_a_few_bytes_changed_are_read_without_harm(
        is_v6 in any::<bool>(),
        said in said(false),
        said6 in said(true),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let said = if is_v6 { said6 } else { said };
        let mut packets = report(host(is_v6), &said, 1500);
        packets.push(datagram(is_v6, b"payload", false, true));
        let list: Vec<_> = said.into_iter().flat_map(|(_, _, sources)| sources).collect();
        let version = if is_v6 { Version::Mld2 } else { Version::Igmp3 };
        packets.push(listener::build_query(host(is_v6), &query(version, None, &list)).unwrap());
        for mut packet in packets {
            for (index, byte) in &changes {
                let at = index.index(packet.len());
                packet[at] = *byte;
            }
            read_all(&packet);
            let packet = with_checksums(packet);
            read_all(&packet);
            read_all(&packet[if is_v6 { 48 } else { 24 }..]);
        }
    }
}

#[test]
fn every_prefix_of_a_valid_packet_is_refused_with_a_reason() {
    let sources = [IpAddr::from([192, 0, 2, 1])];
    let (v4, v6) = (host(false), host(true));
    let groups = [IpAddr::from([232, 1, 2, 3]), "ff3e::1".parse().unwrap()];
    let mut packets = vec![datagram(false, b"payload", true, true), datagram(true, b"payload", true, true)];
    packets.extend(report(v4, &[(Kind::AllowNewSources, groups[0], sources.to_vec())], 1500));
    packets.extend(report(v6, &[(Kind::AllowNewSources, groups[1], vec![groups[1]])], 1500));
    packets.push(listener::build_query(v4, &query(Version::Igmp3, Some(groups[0]), &sources)).unwrap());
    packets.push(listener::build_query(v6, &query(Version::Mld2, None, &[])).unwrap());
    packets.push(listener::build_join(Version::Igmp2, v4, groups[0]).unwrap());
    packets.push(listener::build_leave(Version::Mld1, v6, groups[1]).unwrap());
    assert_eq!(packets.len(), 8);
    for packet in packets {
        assert!(Packet::parse(&packet).is_ok());
        for len in 0..packet.len() {
            assert_eq!(Packet::parse(&packet[..len]), Err(Malformed::Truncated), "{len} of {packet:02x?}");
            let _ = (ip::decrement_ttl(&mut packet[..len].to_vec()), read_all(&packet[..len]));
        }
    }
}
