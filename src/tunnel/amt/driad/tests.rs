//! Records after the examples of RFC 8777, section 4.3.2, and the order to try them in.

use super::*;

fn relay(precedence: u8, discovery_optional: bool, relay: Relay) -> AmtRelay {
    AmtRelay { precedence, discovery_optional, relay }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn golden_records() {
    let address = |text: &str| Relay::Address(text.parse().unwrap());
    for (record, hex) in [
        (relay(10, false, address("203.0.113.15")), "0a01cb00710f"),
        (relay(10, false, address("2001:db8::15")), "0a0220010db8000000000000000000000015"),
        (
            relay(128, true, Relay::Name(name("amtrelays.example.com"))),
            "808309616d7472656c617973076578616d706c6503636f6d00",
        ),
        (relay(0, true, Relay::None), "0080"),
        (relay(255, false, Relay::None), "ff00"),
    ] {
        let data = bytes(hex);
        assert_eq!(AmtRelay::decode(&data), Some(record.clone()));
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(encoded, data);
        for len in 0..data.len() {
            // A name may end behind any label; the record's length guards it.
            let is_name = matches!(record.relay, Relay::Name(_)) && [12, 20, 24].contains(&len);
            assert_eq!(AmtRelay::decode(&data[..len]).is_some(), is_name, "{len} bytes of {hex}");
        }
        assert_eq!(AmtRelay::decode(&[&data[..], &[0]].concat()), None, "{hex} and a byte");
    }
}

#[test]
fn name_without_its_root() {
    let data = bytes("808309616d7472656c617973076578616d706c6503636f6d");
    assert_eq!(AmtRelay::decode(&data), Some(relay(128, true, Relay::Name(name("amtrelays.example.com")))));
    for hex in ["8003", "800300", "8003c000", "8003016103c002", "800301610161c0"] {
        assert_eq!(AmtRelay::decode(&bytes(hex)), None, "{hex}");
    }
}

#[test]
fn unknown_types() {
    for kind in 4..=127 {
        assert_eq!(AmtRelay::decode(&[1, kind, 192, 0, 2, 1]), None);
    }
}

#[test]
fn sorted_by_precedence() {
    let of = |precedence, last| relay(precedence, false, Relay::Address(IpAddr::from([192, 0, 2, last])));
    let all: Vec<AmtRelay> = (0..9).map(|last| of([30, 10, 20][usize::from(last) % 3], last)).collect();
    let mut firsts = [0; 9];
    for seed in 0..300 {
        let mut relays = all.clone();
        sort(&mut relays, &mut Shuffle::new(seed));
        assert!(relays.is_sorted_by_key(|relay| relay.precedence));
        assert!(all.iter().all(|relay| relays.contains(relay)));
        firsts[all.iter().position(|relay| *relay == relays[0]).unwrap()] += 1;
        let mut again = all.clone();
        sort(&mut again, &mut Shuffle::new(seed));
        assert_eq!(relays, again, "the same seed, the same order");
    }
    for (index, count) in firsts.iter().enumerate() {
        assert_eq!(index % 3 == 1, *count > 60, "{firsts:?}");
    }
}

#[test]
fn none_comes_last_among_equals() {
    let address = || relay(10, false, Relay::Address(IpAddr::from([192, 0, 2, 1])));
    for seed in 0..20 {
        let mut relays = [relay(10, false, Relay::None), address(), relay(9, false, Relay::None)];
        sort(&mut relays, &mut Shuffle::new(seed));
        assert_eq!(relays, [relay(9, false, Relay::None), address(), relay(10, false, Relay::None)]);
    }
}

#[test]
fn sorted_by_weight() {
    let of = |priority, weight, target: &str| Server { priority, weight, port: 2268, target: name(target) };
    let all = vec![of(2, 0, "d"), of(1, 0, "a"), of(1, 90, "b"), of(1, 30, "c"), of(0, 5, "."), of(2, 0, "e")];
    let mut firsts = std::collections::BTreeMap::new();
    for seed in 0..1000 {
        let mut servers = all.clone();
        sort_servers(&mut servers, &mut Shuffle::new(seed));
        assert_eq!(servers.iter().map(|server| server.priority).collect::<Vec<_>>(), [1, 1, 1, 2, 2]);
        assert!(all.iter().filter(|server| !server.target.is_root()).all(|server| servers.contains(server)));
        *firsts.entry(servers[0].target.to_string()).or_insert(0) += 1;
    }
    // 90 of 121, 30 of 121, 1 of 121, of a thousand with these seeds.
    assert!((650..850).contains(&firsts["b."]) && (150..350).contains(&firsts["c."]), "{firsts:?}");
    assert!((1..50).contains(&firsts["a."]), "{firsts:?}");
}

#[test]
fn well_known_relays() {
    let inside = |address: u128, prefix: u128, bits: u32| (address ^ prefix) >> bits == 0;
    for relay in ANYCAST_RELAYS {
        assert!(match relay {
            IpAddr::V4(v4) => inside(v4.to_bits().into(), ANYCAST_V4.0.to_bits().into(), 32 - u32::from(ANYCAST_V4.1)),
            IpAddr::V6(v6) => inside(v6.to_bits(), ANYCAST_V6.0.to_bits(), 128 - u32::from(ANYCAST_V6.1)),
        });
    }
}
