//! An AMT relay whose interfaces upstream go, and come back.

mod support;

use castio::tunnel::ip::Packet;
use castio::tunnel::ip::udp::{Datagram, ZeroChecksum};
use castio::tunnel::listener::Kind::ModeIsExclude;
use support::far::{say, sender};
use support::hosts::{self, Host, Network};
use support::link::{Kind, Watch};
use support::relay::{Gateway, Relay, Wanted, row};
use support::udp::{FAMILIES, Family, PORT};

/// Both ways in: a UDP socket, and whole packets.
const WAYS: [&[u16]; 2] = [&[PORT], &[]];

const SOURCES: [(Family, &str); 2] = [(Family::V4, "10.1.0.1"), (Family::V6, "fd01::1")];

/// A new cable between source and relay.
fn plug_in(network: &Network, source: &Host, relay: &Host) {
    network.link((source, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (relay, "in0", &["10.1.0.2/24", "fd01::2/64"]));
    source.ip("route add 224.0.0.0/4 dev eth0");
    relay.ip("route add 224.0.0.0/4 dev in0\nroute add ff15::/16 dev in0 table local");
}

/// What the source sends gets to the gateway.
fn goes_through(source: &Host, relay: &Relay<'_>, gateway: &Gateway, text: &str) {
    for (family, from) in SOURCES {
        say(source, &sender(source, from, 9), text, &family.group(1));
        let bytes = gateway.packet(relay);
        let packet = Packet::parse(&bytes).unwrap();
        let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).unwrap();
        assert_eq!(datagram.payload, text.as_bytes(), "{family:?}");
        assert_eq!(packet.source.to_string(), from);
    }
}

#[test]
fn an_upstream_interface_that_is_made_anew_goes_on() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        relay_host.ip("route add ff15::/16 dev in0 table local");
        for (ports, upstream) in
            [(WAYS[0], Some("in0")), (WAYS[1], Some("in0")), (WAYS[0], Some("in*")), (WAYS[1], None)]
        {
            let relay = Relay::open(relay_host, Wanted { ports, upstream, ..Wanted::default() });
            let gateway = Gateway::new(far, "10.2.0.1");
            for family in FAMILIES {
                gateway.report(&relay, ModeIsExclude, &family.group(1), &[]);
            }
            relay.settle();
            goes_through(source, &relay, &gateway, "before");
            let index = relay_host.index("in0");
            relay_host.ip("link del in0");
            relay.settle();
            plug_in(network, source, relay_host);
            assert_ne!(relay_host.index("in0"), index);
            // One for each, since to look is to take.
            for (family, watch) in FAMILIES.map(|family| (family, Watch::new(source, "eth0"))) {
                relay.until(&format!("{family:?} is joined again: {upstream:?}"), || {
                    watch.has_seen(&[Kind::ChangeToExclude], &family.group(1), None)
                });
            }
            relay.settle();
            goes_through(source, &relay, &gateway, "after");
            // Down, and up again.
            relay_host.ip("link set in0 down");
            relay.settle();
            relay_host
                .ip("link set in0 up\naddress replace fd01::2/64 dev in0 nodad\nroute replace 224.0.0.0/4 dev in0\n\
                 route replace ff15::/16 dev in0 table local");
            relay_host.wait_for_link("in0");
            relay.settle();
            goes_through(source, &relay, &gateway, "up again");
            let info = relay.info();
            assert_eq!((info.copies, info.refused_joins, info.dropped_unwanted), (6, 0, 0), "{upstream:?} {ports:?}");
        }
    });
}

#[test]
fn an_upstream_interface_goes_with_its_name() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in WAYS {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            let gateway = Gateway::new(far, "fd02::1");
            for family in FAMILIES {
                gateway.report(&relay, ModeIsExclude, &family.group(1), &[]);
            }
            relay.settle();
            goes_through(source, &relay, &gateway, "before");
            let rename = |from: &str, to: &str| {
                relay_host.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up"));
                relay_host.wait_for_link(to);
                relay.settle();
            };
            rename("in0", "old");
            for (family, from) in SOURCES {
                say(source, &sender(source, from, 9), "of another name", &family.group(1));
            }
            relay.settle();
            rename("old", "in0");
            goes_through(source, &relay, &gateway, "of its name");
            assert!(gateway.next().is_none());
        }
    });
}
