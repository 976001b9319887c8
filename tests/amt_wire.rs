//! Every AMT message in a capture file, read by tshark: nothing malformed, and the values meant.

mod support;

use std::net::{IpAddr, SocketAddr};

use castio::tunnel::amt::PORT;
use castio::tunnel::amt::wire::{Dialect, Gateway, Message, Nonce, ResponseMac};
use support::tools;

/// What is asked of tshark, in this order.
const FIELDS: [&str; 20] = [
    "frame.protocols",
    "amt.version",
    "amt.type",
    "amt.discovery_nonce",
    "amt.relay_address.ipv4",
    "amt.relay_address.ipv6",
    "amt.request.reserved",
    "amt.request.p",
    "amt.request_nonce",
    "amt.membership_query.l",
    "amt.membership_query.g",
    "amt.response_mac",
    "amt.gateway.port_number",
    "amt.gateway.ip_address",
    "amt.relay_address.unknown",
    "amt.unknown",
    "igmp.type",
    "icmpv6.type",
    "udp.checksum.status",
    "_ws.expert.message",
];

/// The internet checksum, RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

/// An IPv4 packet; of IGMP, with TTL 1 and router alert.
fn v4(protocol: u8, [from, to]: [[u8; 4]; 2], payload: &[u8]) -> Vec<u8> {
    let (ttl, options): (u8, &[u8]) = if protocol == 2 { (1, &[0x94, 4, 0, 0]) } else { (64, &[]) };
    let words = 5 + options.len() as u8 / 4;
    let len = (usize::from(words) * 4 + payload.len()) as u16;
    let mut header =
        [&[0x40 | words, 0xc0][..], &len.to_be_bytes(), &[0, 0, 0x40, 0, ttl, protocol, 0, 0], &from, &to, options]
            .concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [&header, payload].concat()
}

fn v6(next: u8, [from, to]: [[u8; 16]; 2], payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0][..], &len, &[next, if next == 17 { 64 } else { 1 }], &from, &to, payload].concat()
}

/// A UDP datagram in an IP packet, checksum included.
fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len() as u16).to_be_bytes();
    let mut udp = [&from.port().to_be_bytes()[..], &to.port().to_be_bytes(), &len, &[0, 0], payload].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let ends = [from.octets(), to.octets()];
            let sum = checksum(&[&ends.concat(), &[0, 17], &len, &udp]);
            udp[6..8].copy_from_slice(&sum);
            v4(17, ends, &udp)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let ends = [from.octets(), to.octets()];
            let sum = checksum(&[&ends.concat(), &[0, 17], &len, &udp]);
            udp[6..8].copy_from_slice(&sum);
            v6(17, ends, &udp)
        }
        ends => panic!("{ends:?}"),
    }
}

/// A general query of IGMPv3, and a report of one source.
fn igmp() -> [Vec<u8>; 2] {
    let seal = |mut body: Vec<u8>, to| {
        let sum = checksum(&[&body]);
        body[2..4].copy_from_slice(&sum);
        v4(2, [[0; 4], to], &body)
    };
    let report = [0x22, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 1, 232, 1, 2, 3, 192, 0, 2, 5];
    [seal(vec![0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0], [224, 0, 0, 1]), seal(report.into(), [224, 0, 0, 22])]
}

/// The same of MLDv2.
fn mld() -> [Vec<u8>; 2] {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let seal = |mut body: Vec<u8>, to: &str| {
        let ends = [address("fe80::1"), address(to)];
        let sum = checksum(&[&ends.concat(), &(body.len() as u32).to_be_bytes(), &[0, 0, 0, 58], &body]);
        body[2..4].copy_from_slice(&sum);
        // Hop-by-hop options: router alert for MLD (RFC 2711).
        v6(0, ends, &[&[58, 0, 5, 2, 0, 0, 1, 0], body.as_slice()].concat())
    };
    let query = [&[130, 0, 0, 0, 0x27, 0x10, 0, 0][..], &[0; 16], &[2, 125, 0, 0]].concat();
    let record = [&[5, 0, 0, 1][..], &address("ff3e::8000:1"), &address("2001:db8::5")].concat();
    let report = [&[143, 0, 0, 0, 0, 0, 0, 1], record.as_slice()].concat();
    [seal(query, "ff02::1"), seal(report, "ff02::16")]
}

/// A capture of whole IP packets (LINKTYPE_RAW), as pcap-savefile(5) says.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65535, 101].iter().for_each(|word| file.extend(word.to_be_bytes()));
    for packet in packets {
        let len = packet.len() as u32;
        [0, 0, len, len].iter().for_each(|word| file.extend(word.to_be_bytes()));
        file.extend(packet);
    }
    file
}

/// What tshark reads in each packet: the fields that it has, by name.
fn read(packets: &[Vec<u8>]) -> Option<Vec<Vec<(&'static str, String)>>> {
    let tshark = tools::find("tshark", "tshark")?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("amt.pcap");
    std::fs::write(&file, capture(packets)).unwrap();
    let mut command = tshark.command();
    command.env("HOME", folder.path()).arg("-n").arg("-r").arg(&file);
    command.args([
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
        "-E",
        "separator=|",
    ]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.output().unwrap();
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    let fields = |line: &str| {
        let values = line.split('|').map(str::to_owned);
        FIELDS.into_iter().zip(values).filter(|(_, value)| !value.is_empty()).collect()
    };
    Some(said.lines().map(fields).collect())
}

/// A message, its flags' dialect, and what tshark has to say of it: protocols after UDP, and fields.
struct Case<'a>(Message<'a>, Dialect, &'static str, Vec<(&'static str, &'static str)>);

/// tshark's IGMP dissector names itself and its version.
const IGMP: &str = ":ip:igmp:igmp";
/// IPv6 comes by way of the dissector for IPv4, which looks at the version.
const MLD: &str = ":ip:ipv6:ipv6.hopopts:icmpv6";
const NONCE: (&str, &str) = ("amt.request_nonce", "0xdeadbeef");
const MAC: (&str, &str) = ("amt.response_mac", "0x0000010203040506");

fn nonce() -> Nonce {
    Nonce::new([0xde, 0xad, 0xbe, 0xef]).unwrap()
}

fn gateway(text: &str) -> Gateway {
    Gateway::from(text.parse::<SocketAddr>().unwrap())
}

fn messages<'a>(igmp: &'a [Vec<u8>; 2], mld: &'a [Vec<u8>; 2], data: &'a [Vec<u8>; 2]) -> Vec<Case<'a>> {
    use Dialect::Rfc;
    let (mac, nonce) = (ResponseMac([1, 2, 3, 4, 5, 6]), nonce());
    let advertisement = |relay: &str| Message::RelayAdvertisement { nonce, relay: relay.parse().unwrap() };
    let request = |mld, ecn| Message::Request { mld, ecn, nonce };
    let query = |limited, packet, gateway| Message::MembershipQuery { limited, mac, nonce, packet, gateway };
    let flags = |l, g| [("amt.membership_query.l", l), ("amt.membership_query.g", g)];
    let at_v4 = [("amt.gateway.port_number", "1025"), ("amt.gateway.ip_address", "::192.0.2.9")];
    let at_v6 = [("amt.gateway.port_number", "65535"), ("amt.gateway.ip_address", "2001:db8::9")];
    let (v4, v6) = (gateway("192.0.2.9:1025"), gateway("[2001:db8::9]:65535"));
    let discovery = ("amt.discovery_nonce", "0xdeadbeef");
    vec![
        Case(Message::RelayDiscovery { nonce }, Rfc, "", vec![discovery]),
        Case(advertisement("192.0.2.1"), Rfc, "", vec![discovery, ("amt.relay_address.ipv4", "192.0.2.1")]),
        Case(advertisement("2001:db8::1"), Rfc, "", vec![discovery, ("amt.relay_address.ipv6", "2001:db8::1")]),
        Case(request(false, false), Rfc, "", vec![("amt.request.reserved", "0x00"), ("amt.request.p", "0"), NONCE]),
        Case(request(true, false), Rfc, "", vec![("amt.request.reserved", "0x00"), ("amt.request.p", "1"), NONCE]),
        // The seven bits above P: E is the lowest of them.
        Case(request(true, true), Rfc, "", vec![("amt.request.reserved", "0x01"), ("amt.request.p", "1"), NONCE]),
        Case(query(false, &igmp[0], None), Rfc, IGMP, [&flags("0", "0")[..], &[MAC, NONCE]].concat()),
        Case(query(true, &mld[0], None), Rfc, MLD, [&flags("1", "0")[..], &[MAC, NONCE]].concat()),
        Case(query(false, &igmp[0], Some(v4)), Rfc, IGMP, [&flags("0", "1")[..], &[MAC, NONCE], &at_v4].concat()),
        Case(query(true, &mld[0], Some(v6)), Rfc, MLD, [&flags("1", "1")[..], &[MAC, NONCE], &at_v6].concat()),
        Case(Message::MembershipUpdate { mac, nonce, packet: &igmp[1] }, Rfc, IGMP, vec![MAC, NONCE]),
        Case(Message::MembershipUpdate { mac, nonce, packet: &mld[1] }, Rfc, MLD, vec![MAC, NONCE]),
        Case(Message::MulticastData { packet: &data[0] }, Rfc, ":ip:udp:data", vec![]),
        Case(Message::MulticastData { packet: &data[1] }, Rfc, ":ip:ipv6:udp:data", vec![]),
        Case(Message::Teardown { mac, nonce, gateway: v4 }, Rfc, "", [&[MAC, NONCE][..], &at_v4].concat()),
        Case(Message::Teardown { mac, nonce, gateway: v6 }, Rfc, "", [&[MAC, NONCE][..], &at_v6].concat()),
    ]
}

#[test]
fn every_message_by_tshark() {
    let data = [
        datagram("192.0.2.5:5000".parse().unwrap(), "232.1.2.3:5001".parse().unwrap(), b"hello"),
        datagram("[2001:db8::5]:5000".parse().unwrap(), "[ff3e::8000:1]:5001".parse().unwrap(), b"hello"),
    ];
    let (igmp, mld) = (igmp(), mld());
    let cases = messages(&igmp, &mld, &data);
    let outer = [["192.0.2.9:1025", "192.0.2.1:2268"], ["[2001:db8::9]:65535", "[2001:db8::1]:2268"]];
    for [gateway, relay] in outer.map(|ends| ends.map(|end| end.parse::<SocketAddr>().unwrap())) {
        assert_eq!(relay.port(), PORT);
        let packets: Vec<Vec<u8>> = cases
            .iter()
            .map(|Case(message, dialect, ..)| {
                let mut bytes = Vec::new();
                message.append(*dialect, &mut bytes);
                let to_relay = matches!(bytes[0], 1 | 3 | 5 | 7);
                let (from, to) = if to_relay { (gateway, relay) } else { (relay, gateway) };
                datagram(from, to, &bytes)
            })
            .collect();
        let Some(read) = read(&packets) else { return };
        assert_eq!(read.len(), cases.len());
        for (Case(message, _, inside, expected), found) in cases.iter().zip(read) {
            let value = |name| found.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str());
            let family = if relay.is_ipv4() { "raw:ip:udp:amt" } else { "raw:ipv6:udp:amt" };
            assert_eq!(value("frame.protocols"), Some(format!("{family}{inside}").as_str()), "{message:?}");
            for (field, expected) in expected {
                assert_eq!(value(field), Some(*expected), "{field} of {message:?}");
            }
            // Nothing else than that: no field of another message, and nothing to complain of.
            let others =
                ["frame.protocols", "amt.version", "amt.type", "igmp.type", "icmpv6.type", "udp.checksum.status"];
            for (field, value) in &found {
                let meant = others.contains(field) || expected.iter().any(|(name, _)| name == field);
                assert!(meant, "{field} = {value} in {message:?}");
            }
            assert!(value("udp.checksum.status").unwrap().split(',').all(|status| status == "1"), "{message:?}");
            assert_eq!(value("amt.version"), Some("0"));
        }
    }
}
