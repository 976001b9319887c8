use super::*;

/// A packet to a group, with so many bytes of payload that count up.
fn packet(source: &str, protocol: u8, payload_len: usize) -> Vec<u8> {
    let header = v6::Header {
        source: source.parse().unwrap(),
        destination: "ff3e::1234".parse().unwrap(),
        protocol,
        hop_limit: 9,
        traffic_class: 0xb8,
        flow_label: 0x12345,
        router_alert: false,
        payload_len,
    };
    let payload: Vec<u8> = (0..payload_len).map(|number| number as u8).collect();
    [&header.build().unwrap(), &payload[..]].concat()
}

#[test]
fn the_message_is_these_bytes() {
    let invoking = packet("2001:db8::1", 17, 1441);
    let notice = Notice::on(&invoking, 1480).unwrap();
    assert_eq!(notice.source, "2001:db8::1".parse::<IpAddr>().unwrap());
    let message = notice.message();
    // Type 2, code 0, no checksum yet, MTU 1480; then the packet's header.
    let golden = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0xc8, 0x6b, 0x81, 0x23, 0x45, 0x05, 0xa1, 0x11, 0x09, 0x20, 0x01,
        0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x3e, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x34, 0x00, 0x01, 0x02, 0x03,
    ];
    assert_eq!(message[..52], golden);
    // With its own header it has the size that every link carries.
    assert_eq!(message.len() + v6::HEADER, 1280);
    assert_eq!(message[8..], invoking[..1232]);
}

#[test]
fn nobody_is_told_less_than_every_link_carries() {
    let mtu = |payload_len, fits| Notice::on(&packet("2001:db8::1", 17, payload_len), fits).map(|notice| notice.mtu);
    assert_eq!((mtu(1440, 1480), mtu(1441, 1480)), (None, Some(1480)));
    assert_eq!((mtu(1240, 1200), mtu(1241, 1200)), (None, Some(1280)));
    assert_eq!(mtu(65_000, 60_000), Some(60_000));
}

#[test]
fn only_a_host_of_its_own_is_told() {
    let told = |source| Notice::on(&packet(source, 17, 2000), 1480).is_some();
    assert!(told("2001:db8::1") && told("fd01::1"));
    for source in ["::", "::1", "ff15::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"] {
        assert!(!told(source), "{source}");
    }
}

#[test]
fn neither_errors_nor_what_is_no_packet_is_answered() {
    let told = |kind: u8| {
        let mut bytes = packet("2001:db8::1", protocol::ICMPV6, 2000);
        bytes[v6::HEADER] = kind;
        Notice::on(&bytes, 1480).is_some()
    };
    assert_eq!([1, 2, 127, 137].map(told), [false; 4]);
    // Echo requests, and MLD.
    assert_eq!([128, 129, 143].map(told), [true; 3]);
    let whole = packet("2001:db8::1", 17, 2000);
    for len in [0, 1, 39, 40, 2039] {
        assert_eq!(Notice::on(&whole[..len], 1480), None, "{len}");
    }
    // A later fragment doesn't say of which type it is.
    for (offset, is_told) in [(0_u16, true), (8, false)] {
        let mut bytes = packet("2001:db8::1", 44, 2000);
        let [high, low] = (offset | 1).to_be_bytes();
        bytes[v6::HEADER..v6::HEADER + 9].copy_from_slice(&[58, 0, high, low, 0, 0, 0, 7, 128]);
        assert_eq!(Notice::on(&bytes, 1480).is_some(), is_told, "{offset}");
    }
}

/// Like [`packet`], of IPv4, that mustn't be fragmented.
fn packet_v4(source: &str, group: &str, protocol: u8, payload_len: usize) -> Vec<u8> {
    let header = v4::Header {
        source: source.parse().unwrap(),
        destination: group.parse().unwrap(),
        protocol,
        ttl: 9,
        traffic_class: 0xb8,
        identification: 0,
        dont_fragment: true,
        router_alert: false,
        payload_len,
    };
    let payload: Vec<u8> = (0..payload_len).map(|number| number as u8).collect();
    [&header.build().unwrap(), &payload[..]].concat()
}

/// The same packet with other flags and another offset.
fn with_flags(mut packet: Vec<u8>, flags: u16) -> Vec<u8> {
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    packet[10..12].copy_from_slice(&[0, 0]);
    let checksum = Checksum::new().with(&packet[..v4::HEADER]).value();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

const HOST: &str = "192.0.2.1";
const SSM_GROUP: &str = "232.1.2.3";

#[test]
fn the_message_of_ipv4_is_these_bytes() {
    let invoking = packet_v4(HOST, SSM_GROUP, 17, 1451);
    let notice = Notice::on(&invoking, 1470).unwrap();
    assert_eq!(notice.source, HOST.parse::<IpAddr>().unwrap());
    let message = notice.message();
    // Type 3, code 4, the checksum, MTU 1470; then the packet's header.
    let golden = [
        0x03, 0x04, 0x3e, 0x7e, 0x00, 0x00, 0x05, 0xbe, 0x45, 0xb8, 0x05, 0xbf, 0x00, 0x00, 0x40, 0x00, 0x09, 0x11,
        0xbf, 0x70, 0xc0, 0x00, 0x02, 0x01, 0xe8, 0x01, 0x02, 0x03, 0x00, 0x01, 0x02, 0x03,
    ];
    assert_eq!(message[..32], golden);
    assert!(Checksum::new().with(&message).is_good());
    // With its own header it has what every host takes.
    assert_eq!(message.len() + v4::HEADER, 576);
    assert_eq!(message[8..], invoking[..548]);
    // What is smaller is quoted whole, of whatever length.
    for payload_len in [481, 482] {
        let invoking = packet_v4(HOST, SSM_GROUP, 17, payload_len);
        let message = Notice::on(&invoking, 500).unwrap().message();
        assert_eq!((message[6..8].to_vec(), &message[8..]), (vec![1, 244], &*invoking));
        assert!(Checksum::new().with(&message).is_good());
    }
}

#[test]
fn of_ipv4_only_what_may_not_be_fragmented_and_is_source_specific_is_told_of() {
    let told = |packet: &[u8]| Notice::on(packet, 1470).map(|notice| notice.mtu);
    for (group, mtu) in [
        ("231.255.255.255", None),
        ("232.0.0.0", Some(1470)),
        ("232.255.255.255", Some(1470)),
        ("233.0.0.0", None),
        ("239.1.2.3", None),
        ("10.0.0.1", None),
    ] {
        assert_eq!(told(&packet_v4(HOST, group, 17, 1451)), mtu, "{group}");
    }
    assert_eq!(told(&packet_v4(HOST, SSM_GROUP, 17, 1450)), None, "it fits");
    // DF, more fragments, and the offset.
    for (flags, mtu) in [(0, None), (0x4000, Some(1470)), (0x6000, Some(1470)), (0x2000, None), (0x4001, None)] {
        assert_eq!(told(&with_flags(packet_v4(HOST, SSM_GROUP, 17, 1451), flags)), mtu, "{flags:x}");
    }
    // What every link carries.
    let mtu = |payload_len, fits| Notice::on(&packet_v4(HOST, SSM_GROUP, 17, payload_len), fits).map(|told| told.mtu);
    assert_eq!((mtu(48, 60), mtu(49, 60), mtu(65_000, 60_000)), (None, Some(68), Some(60_000)));
}

#[test]
fn only_a_host_of_its_own_is_told_in_ipv4() {
    let told = |source| Notice::on(&packet_v4(source, SSM_GROUP, 17, 2000), 1470).is_some();
    assert!(["1.0.0.1", "10.0.0.1", "126.0.0.1", "128.0.0.1", "192.0.2.1", "223.255.255.254"].into_iter().all(told));
    for source in ["0.0.0.0", "0.0.0.1", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"] {
        assert!(!told(source), "{source}");
    }
}

#[test]
fn errors_of_icmp_are_not_answered() {
    let told: Vec<u8> = (0..=255)
        .filter(|kind| {
            let mut bytes = packet_v4(HOST, SSM_GROUP, protocol::ICMP, 2000);
            bytes[v4::HEADER] = *kind;
            Notice::on(&bytes, 1470).is_some()
        })
        .collect();
    assert_eq!(told, [0, 8, 9, 10, 13, 14, 15, 16, 17, 18]);
    let whole = packet_v4(HOST, SSM_GROUP, 17, 2000);
    for len in [0, 1, 19, 20, 2019] {
        assert_eq!(Notice::on(&whole[..len], 1470), None, "{len}");
    }
}

#[test]
fn a_flood_is_told_ten_times_and_then_ten_times_a_second() {
    let start = Instant::now();
    let mut rates = Rates::new(start, Keyed::new());
    let source = "2001:db8::1".parse().unwrap();
    let mut count = |at| (0..1000).filter(|_| rates.allow(source, at)).count();
    assert_eq!(count(start), 10);
    assert_eq!(count(start + Duration::from_millis(99)), 0);
    assert_eq!(count(start + Duration::from_millis(100)), 1);
    assert_eq!(count(start + Duration::from_millis(400)), 3);
    // No more is saved up.
    assert_eq!(count(start + Duration::from_secs(3600)), 10);
    // A clock that stands, or goes back.
    assert_eq!(count(start), 0);
}

#[test]
fn many_sources_are_told_a_hundred_times_and_one_flood_is_not_all() {
    let start = Instant::now();
    let mut rates = Rates::new(start, Keyed::new());
    let source = |number: u16| IpAddr::from([0x2001, 0xdb8, number, 0, 0, 0, 0, 1]);
    assert_eq!((0..1000).filter(|_| rates.allow(source(0), start)).count(), 10);
    // All of a link are one, whatever addresses it takes.
    let neighbours = (0..1000).map(|number| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 1, number]));
    assert_eq!(neighbours.filter(|source| rates.allow(*source, start)).count(), 0);
    assert_eq!((1..=1000).filter(|number| rates.allow(source(*number), start)).count(), 90);
}

#[test]
fn of_ipv4_each_address_is_one() {
    let start = Instant::now();
    let mut rates = Rates::new(start, Keyed::new());
    let mut count = |source: [u8; 4]| (0..1000).filter(|_| rates.allow(source.into(), start)).count();
    assert_eq!(count([192, 0, 2, 1]), 10);
    assert_eq!(count([192, 0, 2, 1]), 0);
    // Few of them share a place.
    let neighbours: usize = (2..=255).map(|number| count([192, 0, 2, number])).sum();
    assert_eq!(neighbours, 90);
}
