use super::*;
use crate::tunnel::ip::udp::{Datagram, ZeroChecksum};

const FROM_V4: &str = "10.0.0.1:5000";
const TO_V4: &str = "239.1.2.3:6000";
const FROM_V6: &str = "[2001:db8::1]:5000";
const TO_V6: &str = "[ff15::7]:6000";
/// What stands before a packet in its slot.
const BEFORE: usize = 24;

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A packet in a slot, from a sender and to a group; TTL 9.
fn slot(from: &str, to: &str, payload: &[u8], dont_fragment: bool) -> Vec<u8> {
    let (from, to) = (endpoint(from), endpoint(to));
    let inner = Inner {
        source: from.ip(),
        group: to.ip(),
        ttl: 9,
        traffic_class: 0xb8,
        slot: 0,
        body: (0, payload.len()),
        form: Form::Whole { header_len: 0 },
    };
    let udp = udp::header(from, to, &[payload]).unwrap();
    let header = network_header(&inner, 0x1234, dont_fragment, udp.len() + payload.len()).unwrap();
    [&[0xee; BEFORE], &header[..], &udp, payload].concat()
}

/// What packets become.
struct Work {
    counters: Counters,
    keep_ttl: bool,
}

impl Work {
    fn new() -> Work {
        Work { counters: Counters::default(), keep_ttl: false }
    }

    fn take(&mut self, slot: &[u8], lack: Lack) -> Vec<Inner> {
        let mut inners = Vec::new();
        let mut intake = Intake { counters: &mut self.counters, keep_ttl: self.keep_ttl };
        intake.packet(slot, 3, BEFORE, lack, |inner| inners.push(inner));
        inners
    }

    /// The packets in the Data messages, put together, and what was made of the inner ones.
    fn make(&self, slot: &[u8], inners: &[Inner], limit: usize) -> (Vec<Vec<u8>>, Vec<Option<Made>>) {
        let (mut workshop, mut messages) = (Workshop::default(), Vec::new());
        let made = inners.iter().map(|inner| workshop.make(inner, slot, limit, &mut messages)).collect();
        let packets = messages.iter().map(|message| {
            let body = match message.body {
                Body::Slot(number, start, end) => {
                    assert_eq!(number, 3);
                    &slot[start..end]
                }
                Body::Copied(start, end) => &workshop.copied[start..end],
            };
            let bytes = [message.prefix(), body].concat();
            assert_eq!(bytes[..2], DATA_HEADER);
            bytes[2..].to_vec()
        });
        (packets.collect(), made)
    }
}

#[test]
fn a_whole_packet_loses_one_of_its_ttl_and_nothing_else() {
    for (from, to) in [(FROM_V4, TO_V4), (FROM_V6, TO_V6)] {
        for keep_ttl in [false, true] {
            let (slot, mut work) = (slot(from, to, b"payload", true), Work { keep_ttl, ..Work::new() });
            let inners = work.take(&slot, Lack::Nothing);
            let (packets, made) = work.make(&slot, &inners, 1450);
            assert_eq!(made, [Some(Made::Whole)]);
            let (before, after) = (Packet::parse(&slot[BEFORE..]).unwrap(), Packet::parse(&packets[0]).unwrap());
            assert_eq!(after.ttl, if keep_ttl { 9 } else { 8 });
            assert_eq!((after.payload, after.traffic_class), (before.payload, 0xb8));
            assert_eq!(
                (after.source, after.destination, after.dont_fragment),
                (before.source, before.destination, true)
            );
            assert_eq!(work.counters.packets, 1);
        }
    }
}

#[test]
fn options_and_extensions_stay() {
    // Router alert in IPv4, and destination options before UDP in IPv6.
    let mut v4 = slot(FROM_V4, TO_V4, b"payload", false);
    let header = v4::Header {
        source: [10, 0, 0, 1].into(),
        destination: [239, 1, 2, 3].into(),
        protocol: protocol::UDP,
        ttl: 9,
        traffic_class: 0,
        identification: 7,
        dont_fragment: false,
        router_alert: true,
        payload_len: 15,
    };
    v4.splice(BEFORE..BEFORE + v4::HEADER, header.build().unwrap().iter().copied());
    let mut v6 = slot(FROM_V6, TO_V6, b"payload", false);
    v6[BEFORE + 5] += 8;
    v6[BEFORE + 6] = 60;
    v6.splice(BEFORE + v6::HEADER..BEFORE + v6::HEADER, [17, 0, 1, 4, 0, 0, 0, 0]);
    for slot in [v4, v6] {
        let mut work = Work::new();
        let inners = work.take(&slot, Lack::Nothing);
        let (packets, _) = work.make(&slot, &inners, 1450);
        let (before, after) = (Packet::parse(&slot[BEFORE..]).unwrap(), Packet::parse(&packets[0]).unwrap());
        assert_eq!((after.header_len(), after.payload), (before.header_len(), before.payload));
        assert_eq!((after.protocol, after.ttl), (protocol::UDP, 8));
        // What is made anew would lose them.
        assert!(work.take(&slot, Lack::Checksum).is_empty());
        assert_eq!(work.counters.dropped_packet, 1);
    }
}

#[test]
fn a_checksum_is_finished_and_a_train_is_cut() {
    for (from, to) in [(FROM_V4, TO_V4), (FROM_V6, TO_V6)] {
        let payload: Vec<u8> = (0..250).collect();
        let mut slot = slot(from, to, &payload, true);
        let checksum = slot.len() - payload.len() - 2;
        slot[checksum..checksum + 2].copy_from_slice(&[0x12, 0x34]);
        for (lack, sizes) in
            [(Lack::Checksum, &[250][..]), (Lack::Segments(100), &[100, 100, 50]), (Lack::Segments(250), &[250])]
        {
            let mut work = Work::new();
            let inners = work.take(&slot, lack);
            let (packets, _) = work.make(&slot, &inners, 1450);
            let mut joined = Vec::new();
            for (bytes, size) in packets.iter().zip(sizes) {
                let packet = Packet::parse(bytes).unwrap();
                let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
                assert_eq!((datagram.source, datagram.destination), (endpoint(from), endpoint(to)));
                assert_eq!((datagram.payload.len(), packet.ttl, packet.dont_fragment), (*size, 8, true));
                joined.extend_from_slice(datagram.payload);
            }
            assert_eq!((packets.len(), joined), (sizes.len(), payload.clone()));
        }
    }
}

#[test]
fn too_large_for_a_tunnel() {
    let payload = vec![7; 3000];
    for (from, to, dont_fragment, made) in [
        (FROM_V4, TO_V4, false, Made::Fragmented),
        (FROM_V4, TO_V4, true, Made::TooLarge),
        (FROM_V6, TO_V6, false, Made::TooLarge),
    ] {
        let (slot, mut work) = (slot(from, to, &payload, dont_fragment), Work::new());
        let inners = work.take(&slot, Lack::Nothing);
        let (packets, found) = work.make(&slot, &inners, 1450);
        assert_eq!(found, [Some(made)]);
        assert_eq!(packets.len(), if made == Made::Fragmented { 3 } else { 0 });
        let mut joined = Vec::new();
        for bytes in &packets {
            let packet = Packet::parse(bytes).unwrap();
            assert!(bytes.len() <= 1450 && packet.ttl == 8);
            assert_eq!(packet.fragment.unwrap().identification, 0x1234);
            assert_eq!(usize::from(packet.fragment.unwrap().offset), joined.len());
            joined.extend_from_slice(packet.payload);
        }
        assert!(packets.is_empty() || joined[udp::HEADER..] == payload);
    }
}

#[test]
fn a_datagram_gets_headers() {
    for (from, to) in [(FROM_V4, TO_V4), (FROM_V6, TO_V6)] {
        let (slot, mut work) = ([&[0xee; BEFORE][..], &[5; 3000]].concat(), Work::new());
        let mut intake = Intake { counters: &mut work.counters, keep_ttl: false };
        let mut inner = |len: usize| intake.datagram(endpoint(from), endpoint(to), 4, 0x20, 3, BEFORE..BEFORE + len);
        let (small, large) = (inner(1000).unwrap(), inner(3000).unwrap());
        let (packets, made) = work.make(&slot, &[small, small], 1450);
        assert_eq!(made, [Some(Made::Whole); 2]);
        for bytes in &packets {
            let packet = Packet::parse(bytes).unwrap();
            let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
            assert_eq!((datagram.source, datagram.destination), (endpoint(from), endpoint(to)));
            assert_eq!((datagram.payload, packet.ttl, packet.traffic_class), (&[5; 1000][..], 3, 0x20));
        }
        if from == FROM_V4 {
            assert_ne!(packets[0][4..6], packets[1][4..6], "what may be fragmented is told apart");
        }
        let (packets, _) = work.make(&slot, &[large], 1450);
        assert_eq!(packets.len(), if from == FROM_V4 { 3 } else { 0 });
    }
}

#[test]
fn what_goes_no_further() {
    let mut work = Work::new();
    let ttl_1 = |mut slot: Vec<u8>| {
        while slot[BEFORE + 8] > 1 {
            ip::decrement_ttl(&mut slot[BEFORE..]).unwrap();
        }
        slot
    };
    assert!(work.take(&ttl_1(slot(FROM_V4, TO_V4, b"", false)), Lack::Nothing).is_empty());
    assert_eq!(work.counters.dropped_ttl, 1);
    for (from, to) in [(FROM_V4, "224.0.0.251:1"), (FROM_V6, "[ff02::fb]:1")] {
        assert!(work.take(&slot(from, to, b"", false), Lack::Nothing).is_empty());
    }
    assert_eq!(work.counters.dropped_scope, 2);
    for (from, to) in [("169.254.7.7:9", TO_V4), ("[fe80::7]:9", TO_V6), ("[febf::7]:9", TO_V6)] {
        assert!(work.take(&slot(from, to, b"", false), Lack::Nothing).is_empty());
        let mut intake = Intake { counters: &mut work.counters, keep_ttl: true };
        assert_eq!(intake.datagram(endpoint(from), endpoint(to), 9, 0, 0, 0..10), None);
    }
    assert_eq!(work.counters.dropped_scope, 2 + 6, "from what has an address of its link alone");
    for (from, to) in [(FROM_V4, "10.0.0.9:1"), (FROM_V6, "[2001:db8::9]:1")] {
        assert!(work.take(&slot(from, to, b"", false), Lack::Nothing).is_empty());
    }
    assert_eq!(work.counters.dropped_packet, 2);
}

#[test]
fn every_beginning_and_every_damage() {
    for (from, to) in [(FROM_V4, TO_V4), (FROM_V6, TO_V6)] {
        let whole = slot(from, to, b"some payload", false);
        for lack in [Lack::Nothing, Lack::Checksum, Lack::Segments(5)] {
            for len in 0..whole.len() {
                assert!(Work::new().take(&whole[..len], lack).is_empty(), "{len}");
            }
            for at in BEFORE..whole.len() {
                for value in [0, 1, 0x45, 0x60, 0x80, 0xff] {
                    let (mut slot, mut work) = (whole.clone(), Work::new());
                    slot[at] = value;
                    let inners = work.take(&slot, lack);
                    work.make(&slot, &inners, 1280);
                }
            }
        }
    }
}
