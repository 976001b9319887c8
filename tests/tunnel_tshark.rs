//! What fixed tunnels and bridges put on the wire, as tshark reads it.

mod support;

use std::path::Path as File;

use castio::ffi::tunnel::*;
use castio::tunnel::listener::Kind::ModeIsInclude;
use support::bridges::{Lans, Wish, pump};
use support::far::{say, sender};
use support::hosts;
use support::relay::{Gateway, Relay, Wanted, row};
use support::tools::{self, Tool};
use support::tunnels::{Capture, Inner, KINDS, OPTIONS, Path};
use support::udp::{FAMILIES, Family};

/// A capture file (pcap-savefile(5)) of packets without a link header.
fn write_capture(file: &File, packets: &[Vec<u8>]) {
    const LINKTYPE_RAW: u32 = 101;
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_c3d4_u32.to_ne_bytes());
    bytes.extend([2_u16, 4].map(u16::to_ne_bytes).concat());
    bytes.extend([0, 0, 65_535, LINKTYPE_RAW].map(u32::to_ne_bytes).concat());
    for packet in packets {
        let len = packet.len() as u32;
        bytes.extend([1, 0, len, len].map(u32::to_ne_bytes).concat());
        bytes.extend(packet);
    }
    std::fs::write(file, bytes).unwrap();
}

const FIELDS: [&str; 9] = [
    "frame.protocols",
    "udp.dstport",
    "amt.type",
    "gre.key",
    "gre.sequence_number",
    "gre.checksum.status",
    "udp.checksum.status",
    "_ws.malformed",
    "_ws.expert.message",
];

#[test]
fn every_kind_is_read_as_what_it_is() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    hosts::test(|network| {
        let path = Path::new(network);
        if !path.is_plain() {
            return;
        }
        let capture = Capture::new(&path.router, "left");
        let (mut packets, mut expected) = (Vec::new(), Vec::new());
        for (kind, outer, inner) in KINDS
            .into_iter()
            .flat_map(|kind| FAMILIES.map(|outer| FAMILIES.map(|inner| (kind, outer, inner))))
            .flatten()
        {
            let is_gre = [CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP].contains(&kind);
            let flags = CASTIO_TUNNEL_KEY | CASTIO_TUNNEL_CHECKSUM | CASTIO_TUNNEL_SEQUENCE;
            let options = castio_tunnel_options { flags: if is_gre { flags } else { 0 }, key: 0xabcd, ..OPTIONS };
            let (a, b) = path.tunnel(kind, outer, &options);
            a.send(&[Inner { number: b'x', ..Inner::new(inner) }.packet()]);
            b.receive(1);
            packets.extend(capture.packets());
            expected.push(line(kind, outer, inner));
        }
        assert_eq!(read(&tshark, &packets, &FIELDS), expected);
    });
}

/// A line of these fields for each packet.
fn read(tshark: &Tool, packets: &[Vec<u8>], fields: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packets.pcap");
    write_capture(&file, packets);
    let mut command = tshark.command();
    command.arg("-n").arg("-r").arg(&file).args(["-T", "fields", "-E", "separator=|"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_source_is_told_what_it_understands() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    hosts::test(|network| {
        let lans = Lans::new(network);
        let capture = Capture::new(&lans.source, "eth0");
        let wish = Wish { ingress: Some("lan"), groups: Some("*"), ..Wish::default() };
        let (a, _b) =
            lans.bridges(CASTIO_TUNNEL_UDP, Family::V6, &wish, &Wish { egress: Some("lan"), ..Wish::default() });
        lans.sender(Family::V6, 9).send(&"x".repeat(1452), "ff15::1");
        pump(&[&a], "the source is told", || a.info().told_too_big == 1);
        let is_told = |packet: &Vec<u8>| packet[0] >> 4 == 6 && packet[6] == 58 && packet[40] == 2;
        let packets: Vec<_> = std::iter::from_fn(|| capture.packet()).filter(is_told).collect();
        let fields = [
            "frame.len",
            "ipv6.src",
            "ipv6.dst",
            "icmpv6.type",
            "icmpv6.code",
            "icmpv6.mtu",
            "icmpv6.checksum.status",
            "udp.dstport",
            "_ws.malformed",
        ];
        // What it quotes comes behind the comma.
        let line = "1280|fd21::1,fd21::9|fd21::9,ff15::1|2|0|1450|1|5000|";
        assert_eq!(read(&tshark, &packets, &fields), [line]);
    });
}

#[test]
fn a_source_of_ipv4_is_told_what_it_understands() {
    let Some(tshark) = tools::find("tshark", "tshark") else { return };
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let capture = Capture::new(source, "eth0");
        let relay = Relay::open(relay_host, Wanted { upstream: Some("in0"), ..Wanted::default() });
        Gateway::new(far, "10.2.0.1").report(&relay, ModeIsInclude, "232.1.2.3", &["10.1.0.1"]);
        relay.settle();
        say(source, &sender(source, "10.1.0.1", 9), &"x".repeat(1472), "232.1.2.3");
        relay.until("the source is told", || relay.info().told_too_large == 1);
        let is_told = |packet: &Vec<u8>| packet[0] == 0x45 && packet[9] == 1;
        let packets: Vec<_> = std::iter::from_fn(|| capture.packet()).filter(is_told).collect();
        let fields = [
            "frame.len",
            "ip.src",
            "ip.dst",
            "ip.dsfield.dscp",
            "ip.checksum.status",
            "icmp.type",
            "icmp.code",
            "icmp.mtu",
            "icmp.checksum.status",
            "udp.dstport",
            "_ws.malformed",
            "_ws.expert.message",
        ];
        // What it quotes comes behind the comma.
        let line = "576|10.1.0.2,10.1.0.1|10.1.0.1,232.1.2.3|48,0|1,1|3|4|1470|1|5000||";
        assert_eq!(read(&tshark, &packets, &fields), [line]);
    });
}

/// The fields, outer before inner.
fn line(kind: i32, outer: Family, inner: Family) -> String {
    let name = |family| if family == Family::V4 { "ip" } else { "ipv6" };
    let (inside, port, amt) = match kind {
        CASTIO_TUNNEL_IPIP => ("", "", ""),
        CASTIO_TUNNEL_GRE => ("gre:", "", ""),
        CASTIO_TUNNEL_GRE_UDP => ("udp:gre:", "4754,", ""),
        _ => ("udp:amt:", "2268,", "6"),
    };
    // tshark's first protocol is the link's, which there is none of.
    // Its dissector for AMT names IPv4 before either.
    let inside = if kind == CASTIO_TUNNEL_UDP && inner == Family::V6 { "udp:amt:ip:" } else { inside };
    let protocols = format!("raw:{}:{inside}{}:udp:data", name(outer), name(inner));
    let gre = if inside.contains("gre") { "0x0000abcd|0|1" } else { "||" };
    let checksums = if port.is_empty() { "1" } else { "1,1" };
    format!("{protocols}|{port}5000|{amt}|{gre}|{checksums}||")
}
