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
    assert_eq!(notice.source, "2001:db8::1".parse::<Ipv6Addr>().unwrap());
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
fn neither_ipv4_nor_errors_nor_what_is_no_packet_is_answered() {
    assert_eq!(Notice::on(&packet_v4(), 1480), None);
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

/// IPv4 that mustn't be fragmented.
fn packet_v4() -> Vec<u8> {
    let header = crate::tunnel::ip::v4::Header {
        source: [192, 0, 2, 1].into(),
        destination: [239, 1, 2, 3].into(),
        protocol: 17,
        ttl: 9,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
        router_alert: false,
        payload_len: 2000,
    };
    [&header.build().unwrap(), &[0; 2000][..]].concat()
}

#[test]
fn a_flood_is_told_ten_times_and_then_ten_times_a_second() {
    let start = Instant::now();
    let mut rates = Rates::new(start, RandomState::new());
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
    let mut rates = Rates::new(start, RandomState::new());
    let source = |number: u16| Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 1);
    assert_eq!((0..1000).filter(|_| rates.allow(source(0), start)).count(), 10);
    // All of a link are one, whatever addresses it takes.
    let neighbours = (0..1000).map(|number| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, number));
    assert_eq!(neighbours.filter(|source| rates.allow(*source, start)).count(), 0);
    assert_eq!((1..=1000).filter(|number| rates.allow(source(*number), start)).count(), 90);
}
