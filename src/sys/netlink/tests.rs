use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn every_host_has_a_loopback_interface_with_its_address() {
    let mut found = Vec::new();
    Netlink::connect().unwrap().everything(|change| found.push(change)).unwrap();
    let is_loopback = |change: &&Change| matches!(change, Change::Link { name, .. } if name.starts_with(b"lo\0"));
    let Some(Change::Link { index, .. }) = found.iter().find(is_loopback) else {
        panic!("no loopback interface in {found:?}");
    };
    let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
    let is_address = |change: &Change| {
        matches!(change, Change::Address { index: on, ip, network, prefix: 8, .. }
            if on == index && *ip == localhost && *network == localhost)
    };
    assert!(found.iter().any(is_address), "{found:?}");
}

#[test]
fn the_route_to_this_host_ends_here() {
    let localhost = Ipv4Addr::LOCALHOST.into();
    let route = Netlink::connect().unwrap().route(localhost, None, 0).unwrap();
    assert!(route.is_local && route.gateway.is_none() && route.source == Some(localhost), "{route:?}");
}

/// Attributes in attributes, of lengths that are right or wrong.
fn attributes_of(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let bytes = vec(any::<u8>(), 0..24).boxed();
    let value = if depth == 0 { bytes } else { prop_oneof![bytes, attributes_of(depth - 1)].boxed() };
    let wrong = prop_oneof![8 => Just(0_u16), 1 => any::<u16>(), 1 => Just(u16::MAX)];
    let one = (0_u16..50, value, wrong).prop_map(|(kind, value, wrong)| {
        let len = (4 + value.len() as u16).wrapping_add(wrong);
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    });
    vec(one, 0..6).prop_map(|all| all.concat()).boxed()
}

proptest! {
    #[test]
    fn no_message_does_harm(
        kinds in vec((0_u16..120, vec(any::<u8>(), 0..20), attributes_of(3), any::<bool>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (kind, fixed, rest, is_right) in kinds {
            let len = HEADER_BYTES + fixed.len() + rest.len();
            bytes.extend(if is_right { len as u32 } else { u32::from(kind) }.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(bytes.len() + HEADER_BYTES - 6, 0);
            bytes.extend(fixed);
            bytes.extend(rest);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let mut sum = 0;
            for message in messages(bytes) {
                sum += HEADER_BYTES + message.body.len();
                let _ = (message.change(), message.route(), message.error());
                let values: usize = attributes(message.body).map(|(_, value)| value.len()).sum();
                prop_assert!(values <= message.body.len());
                bridge::read(&message);
                firewall::read(&message);
            }
            prop_assert!(sum <= bytes.len());
        }
    }
}

#[test]
fn a_message_that_ends_early_is_none() {
    assert_eq!(messages(&[]).count(), 0);
    assert_eq!(messages(&[200, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
    let short = Message { kind: libc::RTM_NEWLINK, flags: 0, sequence: 0, body: &[0; 10] };
    assert_eq!(short.change(), None);
}
