//! Tunnel formats as somebody else reads them: every kind of message in a capture, through tshark.

mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use castio::tunnel::gre;
use castio::tunnel::ip::{Packet, fragment, protocol, udp};
use castio::tunnel::listener::{self, Kind, Query, Record, Sources, Version};
use support::packets::Header;
use support::tools::{self, Tool};

/// A packet, and what tshark is to read in it: fields and values, outer before inner.
struct Case {
    packet: Vec<u8>,
    fields: Vec<(&'static str, String)>,
}

fn case(packet: Vec<u8>, fields: &[(&'static str, &str)]) -> Case {
    let fields = fields.iter().map(|(name, value)| (*name, value.to_string())).collect();
    Case { packet, fields }
}

/// A capture file (pcap-savefile(5)) of packets without a link header.
fn capture(path: &Path, cases: &[Case]) {
    const LINKTYPE_RAW: u32 = 101;
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    file.extend([2_u16, 4].map(u16::to_ne_bytes).concat());
    file.extend([0, 0, 65_535, LINKTYPE_RAW].map(u32::to_ne_bytes).concat());
    for case in cases {
        let len = case.packet.len() as u32;
        file.extend([1, 0, len, len].map(u32::to_ne_bytes).concat());
        file.extend(&case.packet);
    }
    std::fs::write(path, file).unwrap();
}

/// Reads the packets by tshark and compares; nothing malformed, and nothing that it warns of.
fn check(tshark: &Tool, cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packets.pcap");
    capture(&path, cases);
    let names: BTreeSet<_> = cases.iter().flat_map(|case| &case.fields).map(|(name, _)| *name).collect();
    let names: Vec<_> = names.into_iter().chain(["_ws.malformed", "_ws.expert.message"]).collect();
    let mut command = tshark.command();
    command.arg("-n").arg("-r").arg(&path).args(["-T", "fields", "-E", "separator=|"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ip.defragment:FALSE"]);
    command.args(names.iter().flat_map(|name| ["-e", name]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), cases.len(), "{text}");
    for (case, line) in cases.iter().zip(text.lines()) {
        let values: Vec<_> = line.split('|').collect();
        assert_eq!(values.len(), names.len(), "{line}");
        let read = |name: &str| names.iter().position(|other| *other == name).map(|index| values[index]).unwrap();
        for (name, expected) in &case.fields {
            assert_eq!(read(name), expected, "{name} of {line}");
        }
        assert_eq!((read("_ws.malformed"), read("_ws.expert.message")), ("", ""), "{line}");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A packet between these two, of their family.
fn packet(source: IpAddr, destination: IpAddr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let header = Header::new(source, destination);
    let header = Header { protocol, ttl, traffic_class: 0xb9, identification: 7, flow_label: 0x12345, ..header };
    header.packet(payload)
}

fn datagram(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    let udp = udp::header(source, destination, &[payload]).unwrap();
    packet(source.ip(), destination.ip(), protocol::UDP, 64, &[&udp, payload].concat())
}

fn v4_datagram() -> Vec<u8> {
    datagram("192.0.2.1:5000", "232.1.2.3:6000", b"multicast")
}

fn v6_datagram() -> Vec<u8> {
    datagram("[2001:db8::1]:5000", "[ff3e::1234]:6000", b"multicast")
}

#[test]
fn packets_datagrams_and_fragments() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let whole = datagram("192.0.2.1:5000", "232.1.2.3:6000", &[7; 3000]);
    let view = Packet::parse(&whole).unwrap();
    let parts = fragment::fragments(&view, 1500).unwrap();
    let parts: Vec<_> = parts.map(|(header, range)| [&header, &view.payload[range]].concat()).collect();
    let mut cases = vec![
        case(
            v4_datagram(),
            &[
                ("frame.protocols", "raw:ip:udp:data"),
                ("ip.src", "192.0.2.1"),
                ("ip.dst", "232.1.2.3"),
                ("ip.ttl", "64"),
                ("ip.dsfield", "0xb9"),
                ("ip.checksum.status", "1"),
                ("udp.dstport", "6000"),
                ("udp.checksum.status", "1"),
                ("udp.payload", "6d756c746963617374"),
            ],
        ),
        case(
            v6_datagram(),
            &[
                ("frame.protocols", "raw:ipv6:udp:data"),
                ("ipv6.src", "2001:db8::1"),
                ("ipv6.dst", "ff3e::1234"),
                ("ipv6.hlim", "64"),
                ("ipv6.tclass", "0x000000b9"),
                ("ipv6.flow", "0x012345"),
                ("udp.srcport", "5000"),
                ("udp.checksum.status", "1"),
                ("udp.payload", "6d756c746963617374"),
            ],
        ),
    ];
    assert_eq!(parts.len(), 3);
    for (part, (offset, more, len)) in
        parts.into_iter().zip([("0", "1", "1500"), ("185", "1", "1500"), ("370", "0", "68")])
    {
        let fields = [("ip.frag_offset", offset), ("ip.flags.mf", more), ("ip.len", len), ("ip.checksum.status", "1")];
        cases.push(case(part, &fields));
    }
    check(&tshark, &cases);
}

#[test]
fn packets_in_packets_of_both_families() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let (v4, v6) = ([address("10.0.0.1"), address("10.0.0.2")], [address("2001:db8:1::1"), address("2001:db8:2::2")]);
    let wrap = |ends: [IpAddr; 2], protocol, inner: &[u8]| packet(ends[0], ends[1], protocol, 9, inner);
    let mut in_v4 = v4_datagram();
    castio::tunnel::ip::decrement_ttl(&mut in_v4).unwrap();
    castio::tunnel::ip::set_traffic_class(&mut in_v4, 3).unwrap();
    let cases = [
        case(
            wrap(v4, protocol::IPV4, &in_v4),
            &[
                ("frame.protocols", "raw:ip:ip:udp:data"),
                ("ip.dst", "10.0.0.2,232.1.2.3"),
                ("ip.ttl", "9,63"),
                ("ip.dsfield", "0xb9,0x03"),
                ("ip.checksum.status", "1,1"),
                ("udp.checksum.status", "1"),
            ],
        ),
        case(
            wrap(v4, protocol::IPV6, &v6_datagram()),
            &[("frame.protocols", "raw:ip:ipv6:udp:data"), ("ipv6.dst", "ff3e::1234"), ("udp.checksum.status", "1")],
        ),
        case(
            wrap(v6, protocol::IPV4, &v4_datagram()),
            &[("frame.protocols", "raw:ipv6:ip:udp:data"), ("ipv6.hlim", "9"), ("ip.checksum.status", "1")],
        ),
        case(
            wrap(v6, protocol::IPV6, &v6_datagram()),
            &[("frame.protocols", "raw:ipv6:ipv6:udp:data"), ("ipv6.dst", "2001:db8:2::2,ff3e::1234")],
        ),
    ];
    check(&tshark, &cases);
}

#[test]
fn gre_in_every_form_over_ip_and_udp() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let mut cases = Vec::new();
    let forms =
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true), (true, true, true)];
    for (protocol, inner, layer) in [(gre::IPV4, v4_datagram(), "ip"), (gre::IPV6, v6_datagram(), "ipv6")] {
        for (checksum, key, sequence) in forms {
            let header =
                gre::Header { protocol, checksum, key: key.then_some(0x0102_0304), sequence: sequence.then_some(9) };
            let (first, second) = inner.split_at(21);
            let carried = [&header.build(&[first, second]), &inner[..]].concat();
            let flags = u16::from(checksum) << 15 | u16::from(key) << 13 | u16::from(sequence) << 12;
            let fields = |protocols: String| {
                vec![
                    ("frame.protocols", protocols),
                    ("gre.flags_and_version", format!("0x{flags:04x}")),
                    ("gre.proto", format!("0x{protocol:04x}")),
                    ("gre.key", if key { "0x01020304".into() } else { String::new() }),
                    ("gre.sequence_number", if sequence { "9".into() } else { String::new() }),
                    ("gre.checksum.status", if checksum { "1".into() } else { String::new() }),
                ]
            };
            let over_ip = packet(address("10.0.0.1"), address("10.0.0.2"), protocol::GRE, 9, &carried);
            cases.push(Case { packet: over_ip, fields: fields(format!("raw:ip:gre:{layer}:udp:data")) });
            // Port 4754 is GRE's own (RFC 8086).
            let over_udp = datagram("10.0.0.1:50000", "10.0.0.2:4754", &carried);
            cases.push(Case { packet: over_udp, fields: fields(format!("raw:ip:udp:gre:{layer}:udp:data")) });
        }
    }
    check(&tshark, &cases);
}

fn query(version: Version, group: Option<IpAddr>, sources: &[IpAddr]) -> Query<'_> {
    Query {
        version,
        group,
        max_response: Duration::from_secs(20),
        sources: sources.into(),
        suppress: group.is_some(),
        robustness: 2,
        // The field has 137 for 200 and 138 for 208.
        interval: Duration::from_secs(207),
    }
}

/// A report with every kind of record, the even ones with these sources.
fn report(host: IpAddr, group: IpAddr, sources: &[IpAddr]) -> Vec<u8> {
    let record = |(index, kind)| {
        let sources = if index % 2 == 0 { sources.into() } else { Sources::NONE };
        Record { kind, group, sources }
    };
    let records: Vec<_> = Kind::ALL.into_iter().enumerate().map(record).collect();
    let mut packets = Vec::new();
    listener::build_report(host, &records, 1500, &mut packets).unwrap();
    assert_eq!(packets.len(), 1);
    packets.remove(0)
}

#[test]
fn igmp_of_versions_1_and_2() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let (host, group) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), address("232.1.2.3"));
    let older = |packet: castio::Result<Vec<u8>>, to, kind, version| {
        let fields = [("ip.dst", to), ("igmp.type", kind), ("igmp.version", version), ("igmp.checksum.status", "1")];
        case(packet.unwrap(), &[&fields[..], &[("ip.ttl", "1"), ("ip.checksum.status", "1")]].concat())
    };
    let cases = [
        older(listener::build_query(host, &query(Version::Igmp1, None, &[])), "224.0.0.1", "0x11", "1"),
        older(listener::build_query(host, &query(Version::Igmp2, None, &[])), "224.0.0.1", "0x11", "2"),
        older(listener::build_query(host, &query(Version::Igmp2, Some(group), &[])), "232.1.2.3", "0x11", "2"),
        older(listener::build_join(Version::Igmp1, host, group), "232.1.2.3", "0x12", "1"),
        older(listener::build_join(Version::Igmp2, host, group), "232.1.2.3", "0x16", "2"),
        older(listener::build_leave(Version::Igmp2, host, group), "224.0.0.2", "0x17", "2"),
    ];
    check(&tshark, &cases);
}

#[test]
fn igmp_of_version_3() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let (host, group) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), address("232.1.2.3"));
    let sources = [address("192.0.2.1"), address("192.0.2.2")];
    let cases = [
        case(
            listener::build_query(host, &query(Version::Igmp3, None, &[])).unwrap(),
            &[
                ("ip.dst", "224.0.0.1"),
                ("ip.opt.ra", "0"),
                ("ip.dsfield", "0xc0"),
                ("igmp.version", "3"),
                ("igmp.max_resp", "200"),
                ("igmp.maddr", "0.0.0.0"),
                ("igmp.s", "0"),
                ("igmp.qrv", "2"),
                ("igmp.qqic", "137"),
                ("igmp.num_src", "0"),
                ("igmp.checksum.status", "1"),
            ],
        ),
        case(
            listener::build_query(host, &query(Version::Igmp3, Some(group), &sources)).unwrap(),
            &[
                ("ip.dst", "232.1.2.3"),
                ("igmp.maddr", "232.1.2.3"),
                ("igmp.s", "1"),
                ("igmp.num_src", "2"),
                ("igmp.saddr", "192.0.2.1,192.0.2.2"),
                ("igmp.checksum.status", "1"),
            ],
        ),
        case(
            report(host, group, &sources[..1]),
            &[
                ("ip.dst", "224.0.0.22"),
                ("ip.ttl", "1"),
                ("ip.opt.ra", "0"),
                ("igmp.type", "0x22"),
                ("igmp.num_grp_recs", "6"),
                ("igmp.record_type", "1,2,3,4,5,6"),
                ("igmp.num_src", "1,0,1,0,1,0"),
                ("igmp.saddr", "192.0.2.1,192.0.2.1,192.0.2.1"),
                ("igmp.checksum.status", "1"),
            ],
        ),
    ];
    check(&tshark, &cases);
}

fn mld(packet: Vec<u8>, fields: &[(&'static str, &str)]) -> Case {
    let fine =
        [("ipv6.src", "fe80::1"), ("ipv6.hlim", "1"), ("ipv6.opt.router_alert", "0"), ("icmpv6.checksum.status", "1")];
    case(packet, &[&fine[..], fields].concat())
}

#[test]
fn mld_of_version_1() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let (host, group) = (address("fe80::1"), address("ff3e::1234"));
    let cases = [
        mld(
            listener::build_query(host, &query(Version::Mld1, None, &[])).unwrap(),
            &[("ipv6.dst", "ff02::1"), ("icmpv6.type", "130"), ("icmpv6.mld.maximum_response_delay", "20000")],
        ),
        mld(
            listener::build_join(Version::Mld1, host, group).unwrap(),
            &[("ipv6.dst", "ff3e::1234"), ("icmpv6.type", "131"), ("icmpv6.mld.multicast_address", "ff3e::1234")],
        ),
        mld(
            listener::build_leave(Version::Mld1, host, group).unwrap(),
            &[("ipv6.dst", "ff02::2"), ("icmpv6.type", "132"), ("icmpv6.mld.multicast_address", "ff3e::1234")],
        ),
    ];
    check(&tshark, &cases);
}

#[test]
fn mld_of_version_2() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    let (host, group) = (address("fe80::1"), address("ff3e::1234"));
    let sources = [address("2001:db8::1"), address("2001:db8::2")];
    let cases = [
        mld(
            listener::build_query(host, &query(Version::Mld2, None, &[])).unwrap(),
            &[
                ("ipv6.dst", "ff02::1"),
                ("icmpv6.mld.maximum_response_code", "20000"),
                ("icmpv6.mld.flag.s", "0"),
                ("icmpv6.mld.flag.qrv", "2"),
                ("icmpv6.mld.qqi", "200"),
                ("icmpv6.mld.nb_sources", "0"),
            ],
        ),
        mld(
            listener::build_query(host, &query(Version::Mld2, Some(group), &sources)).unwrap(),
            &[
                ("ipv6.dst", "ff3e::1234"),
                ("icmpv6.mld.multicast_address", "ff3e::1234"),
                ("icmpv6.mld.flag.s", "1"),
                ("icmpv6.mld.nb_sources", "2"),
                ("icmpv6.mld.source_address", "2001:db8::1,2001:db8::2"),
            ],
        ),
        mld(
            report(host, group, &sources[..1]),
            &[
                ("ipv6.dst", "ff02::16"),
                ("icmpv6.type", "143"),
                ("icmpv6.mldr.nb_mcast_records", "6"),
                ("icmpv6.mldr.mar.record_type", "1,2,3,4,5,6"),
                ("icmpv6.mldr.mar.nb_sources", "1,0,1,0,1,0"),
                ("icmpv6.mldr.mar.multicast_address", ["ff3e::1234"; 6].join(",").as_str()),
                ("icmpv6.mldr.mar.source_address", ["2001:db8::1"; 3].join(",").as_str()),
            ],
        ),
    ];
    check(&tshark, &cases);
}
