//! Golden bytes after the figures of RFC 7450, section 5.1; round trips; hostile input.

use std::net::SocketAddr;

use super::super::siphash::siphash;
use super::*;

const NONCE: Nonce = match Nonce::new([0xde, 0xad, 0xbe, 0xef]) {
    Some(nonce) => nonce,
    None => panic!(),
};
const MAC: ResponseMac = ResponseMac([1, 2, 3, 4, 5, 6]);
const PACKET: [u8; 20] = [0x46; 20];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn gateway(text: &str) -> Gateway {
    Gateway::from(text.parse::<SocketAddr>().unwrap())
}

fn query(limited: bool, gateway: Option<Gateway>) -> Message<'static> {
    Message::MembershipQuery { limited, mac: MAC, nonce: NONCE, packet: &PACKET, gateway }
}

fn request(mld: bool, ecn: bool) -> Message<'static> {
    Message::Request { mld, ecn, nonce: NONCE }
}

/// Each message, the dialect to write, the dialect to be told, and its bytes.
fn golden() -> Vec<(Message<'static>, Dialect, Option<Dialect>, Vec<u8>)> {
    use Dialect::{Linux, Rfc};
    let packet = "46".repeat(20);
    let (v4, v6) = (gateway("192.0.2.9:1025"), gateway("[2001:db8::9]:1025"));
    let v4_bytes = "0401 000000000000000000000000 c0000209";
    let v6_bytes = "0401 20010db8000000000000000000000009";
    let advertisement = |text: &str| Message::RelayAdvertisement { nonce: NONCE, relay: text.parse().unwrap() };
    [
        (Message::RelayDiscovery { nonce: NONCE }, Rfc, None, "01000000 deadbeef".into()),
        (advertisement("192.0.2.1"), Rfc, None, "02000000 deadbeef c0000201".into()),
        (advertisement("2001:db8::1"), Rfc, None, "02000000 deadbeef 20010db8000000000000000000000001".into()),
        (request(false, false), Rfc, None, "03000000 deadbeef".into()),
        (request(true, false), Rfc, Some(Rfc), "03010000 deadbeef".into()),
        (request(false, true), Rfc, Some(Rfc), "03020000 deadbeef".into()),
        (request(true, true), Rfc, Some(Rfc), "03030000 deadbeef".into()),
        (request(false, false), Linux, None, "03000000 deadbeef".into()),
        (request(true, false), Linux, Some(Linux), "03800000 deadbeef".into()),
        (query(false, None), Rfc, None, format!("0400 010203040506 deadbeef {packet}")),
        (query(true, None), Rfc, Some(Rfc), format!("0402 010203040506 deadbeef {packet}")),
        (query(false, Some(v4)), Rfc, Some(Rfc), format!("0401 010203040506 deadbeef {packet} {v4_bytes}")),
        (query(true, Some(v6)), Rfc, Some(Rfc), format!("0403 010203040506 deadbeef {packet} {v6_bytes}")),
        (query(true, None), Linux, Some(Linux), format!("0440 010203040506 deadbeef {packet}")),
        (query(false, Some(v6)), Linux, Some(Linux), format!("0480 010203040506 deadbeef {packet} {v6_bytes}")),
        (query(true, Some(v4)), Linux, Some(Linux), format!("04c0 010203040506 deadbeef {packet} {v4_bytes}")),
        (
            Message::MembershipUpdate { mac: MAC, nonce: NONCE, packet: &PACKET },
            Rfc,
            None,
            format!("0500 010203040506 deadbeef {packet}"),
        ),
        (Message::MulticastData { packet: &PACKET }, Rfc, None, format!("0600 {packet}")),
        (
            Message::Teardown { mac: MAC, nonce: NONCE, gateway: v4 },
            Rfc,
            None,
            format!("0700 010203040506 deadbeef {v4_bytes}"),
        ),
        (
            Message::Teardown { mac: MAC, nonce: NONCE, gateway: v6 },
            Rfc,
            None,
            format!("0700 010203040506 deadbeef {v6_bytes}"),
        ),
    ]
    .map(|(message, written, told, hex): (_, _, _, String)| (message, written, told, bytes(&hex)))
    .into()
}

#[test]
fn golden_bytes() {
    for (message, written, told, expected) in golden() {
        let mut buffer = vec![0xaa; expected.len() + 3];
        assert_eq!(message.encode(written, &mut buffer), Some(expected.len()), "{message:?}");
        assert_eq!(buffer[..expected.len()], expected, "{message:?}");
        assert_eq!(buffer[expected.len()..], [0xaa; 3]);
        assert_eq!(Message::decode(&expected), Ok((message, told)));

        let mut appended = vec![1];
        message.append(written, &mut appended);
        assert_eq!(appended[1..], expected);

        let mut small = vec![0xaa; expected.len() - 1];
        assert_eq!(message.encode(written, &mut small), None);
        assert!(small.iter().all(|byte| *byte == 0xaa));
    }
}

#[test]
fn data_header_and_parts() {
    let message = Message::MulticastData { packet: &PACKET };
    let parts = message.parts(Dialect::Rfc);
    assert_eq!(parts.header(), DATA_HEADER);
    assert!(std::ptr::eq(parts.packet, &PACKET[..]), "not a copy");
    assert_eq!((parts.trailer(), parts.len(), parts.is_empty()), (&[][..], 22, false));
    let parts = query(false, Some(gateway("192.0.2.9:1025"))).parts(Dialect::Rfc);
    assert_eq!((parts.header().len(), parts.trailer().len(), parts.len()), (12, 18, 50));
}

#[test]
fn reserved_bits_ignored() {
    for (message, _, told, mut bytes) in golden() {
        match bytes[0] {
            // Bits that mean nothing in either dialect.
            1 | 2 => bytes[1..4].fill(0xff),
            3 => {
                bytes[1] |= if told == Some(Dialect::Rfc) { 0xfc } else { 0x7c };
                bytes[2..4].fill(0xff);
            }
            4 => bytes[1] |= if told == Some(Dialect::Rfc) { 0xfc } else { 0x3c },
            _ => bytes[1] = 0xff,
        }
        assert_eq!(Message::decode(&bytes), Ok((message, told)));
    }
}

#[test]
fn lengths_are_exact() {
    for (message, _, _, whole) in golden() {
        // An Advertisement of an IPv6 address starts with that of an IPv4 address.
        for len in (0..whole.len()).filter(|len| (whole[0], *len) != (2, 12)) {
            let cut = Message::decode(&whole[..len]);
            assert_eq!(cut, Err(Malformed::Length), "{len} bytes of {message:?}");
        }
        let longer = [&whole[..], &[0]].concat();
        match message {
            // A packet takes what there is; where a gateway stands at the end, it moves.
            Message::MembershipQuery { .. } | Message::MembershipUpdate { .. } | Message::MulticastData { .. } => {
                assert!(Message::decode(&longer).is_ok_and(|(found, _)| found != message));
            }
            // What follows these is of no use, and does no harm.
            Message::RelayDiscovery { .. } | Message::Request { .. } => {
                let much = [&whole[..], &[7; 1000]].concat();
                assert!(Message::decode(&much).is_ok_and(|(found, _)| found == message));
                assert!(Message::decode(&longer).is_ok_and(|(found, _)| found == message));
            }
            _ => assert_eq!(Message::decode(&longer), Err(Malformed::Length), "{message:?}"),
        }
    }
}

#[test]
fn wrong_version_type_and_nonce() {
    for (_, _, _, bytes) in golden() {
        for version in 1..16 {
            let mut wrong = bytes.clone();
            wrong[0] |= version << 4;
            assert_eq!(Message::decode(&wrong), Err(Malformed::Version(version)));
        }
        for kind in [0, 8, 9, 10, 11, 12, 13, 14, 15] {
            let mut wrong = bytes.clone();
            wrong[0] = kind;
            assert_eq!(Message::decode(&wrong), Err(Malformed::Type(kind)));
        }
        if let Some(at) = bytes.windows(4).position(|four| four == NONCE.bytes()) {
            let mut wrong = bytes.clone();
            wrong[at..at + 4].fill(0);
            // A Request's may be 0 (RFC 7450, section 5.2.3.5.6), a Discovery's not (5.2.3.4.5).
            let found = Message::decode(&wrong);
            assert_eq!(found == Err(Malformed::Nonce), bytes[0] <= 2, "{found:?}");
            assert_eq!(found.is_ok(), bytes[0] > 2, "{found:?}");
        }
    }
}

/// The same random bytes in each run.
fn random(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|index| siphash(&[3; 16], &[seed.to_le_bytes(), index.to_le_bytes()].concat()) as u8).collect()
}

#[test]
fn round_trips() {
    let mut seen = [0; 8];
    for seed in 0..4000 {
        let mut bytes = random(seed, 8 + seed as usize % 90);
        bytes[0] &= 7;
        match bytes[0] {
            1 | 3 => bytes.truncate(8),
            2 => bytes.resize(if seed % 2 == 0 { 12 } else { 24 }, 9),
            7 => bytes.resize(30, 9),
            _ => {}
        }
        let Ok((message, told)) = Message::decode(&bytes) else { continue };
        seen[usize::from(bytes[0])] += 1;
        let mut again = Vec::new();
        let dialect = told.unwrap_or(Dialect::Rfc);
        message.append(dialect, &mut again);
        assert_eq!(again.len(), bytes.len());
        assert_eq!(Message::decode(&again), Ok((message, told)));
    }
    assert!(seen[1..].iter().all(|count| *count > 200), "{seen:?}");
    assert_eq!(seen[0], 0);
}

#[test]
fn random_bytes_and_damage() {
    for seed in 0..20_000 {
        let _ = Message::decode(&random(seed, seed as usize % 64));
    }
    for (_, _, _, whole) in golden() {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = Message::decode(&bytes);
            }
        }
    }
}
