//! What doesn't fit into a relay's tunnels and may not be fragmented: a source of IPv4 is told what would, if
//! its group is a source-specific one.

mod support;

use std::os::fd::{AsFd, AsRawFd};

use castio::Errno;
use castio::sys::errqueue;
use castio::sys::memory::Source;
use castio::sys::mmsg::{self, Destination};
use castio::sys::option::IntOption;
use castio::sys::sockaddr::CompactAddress;
use castio::sys::socket::{Flags, raw_socket};
use castio::tunnel::ip::Packet;
use castio::tunnel::ip::checksum::Checksum;
use castio::tunnel::listener::Kind::{ModeIsExclude, ModeIsInclude};
use support::far::{say, sender};
use support::hosts::{self, Host};
use support::icmp::{Icmp, assert_quotes, text, unteachable};
use support::packets::Header;
use support::relay::{Gateway, Relay, Wanted, row};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

const GROUP: &str = "232.1.2.3";
const SOURCE: &str = "10.1.0.1";
/// Both ways into a tunnel: 1,470 bytes fit into the one, 1,450 into the other.
const RELAYS: [&str; 2] = ["10.2.0.1", "fd02::1"];

fn open<'h>(host: &'h Host, ports: &[u16]) -> Relay<'h> {
    Relay::open(host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() })
}

#[test]
fn a_source_of_a_source_specific_group_is_told_once_what_fits_all() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let (icmp, relay) = (Icmp::new(source, Family::V4), open(relay_host, &[]));
        let gateways = RELAYS.map(|outer| Gateway::new(far, outer));
        let any = Family::V4.group(1);
        gateways[0].report(&relay, ModeIsInclude, GROUP, &[SOURCE]);
        let from = unteachable(sender(source, SOURCE, 9), Family::V4);
        let send = |len, group: &str| say(source, &from, &text(Family::V4, len), group);
        let counted = || (relay.info().dropped_too_large, relay.info().told_too_large, relay.info().fragmented);
        // What fits.
        send(1470, GROUP);
        assert_eq!(gateways[0].packet(&relay).len(), 1470);
        assert_eq!(counted(), (0, 0, 0));
        // What doesn't fit into the one tunnel that there is.
        send(1471, GROUP);
        let told = icmp.waits_for_too_big(SOURCE, || relay.settle());
        assert_eq!((told.mtu, &*told.from), (1470, "10.1.0.2"));
        assert_quotes(&told, 1471, SOURCE, GROUP);
        assert_eq!(counted(), (1, 1, 0));
        // Of two, into neither: the smaller counts for both.
        gateways[1].report(&relay, ModeIsInclude, GROUP, &[SOURCE]);
        gateways.iter().for_each(|gateway| _ = gateway.report(&relay, ModeIsExclude, &any, &[]));
        send(1471, GROUP);
        assert_eq!(icmp.waits_for_too_big(SOURCE, || relay.settle()).mtu, 1450);
        assert_eq!(counted(), (3, 2, 0));
        // To another group nobody is told, nor of what is fragmented. What is told of comes after it.
        send(1500, &any);
        from.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT).unwrap();
        send(1460, GROUP);
        relay.until("it is fragmented", || relay.info().fragmented == 1);
        assert_eq!(counted(), (5, 2, 1));
        let from = unteachable(from, Family::V4);
        say(source, &from, &text(Family::V4, 1451), GROUP);
        let told = icmp.waits_for_too_big(SOURCE, || relay.settle());
        assert_quotes(&told, 1451, SOURCE, GROUP);
        assert_eq!((told.mtu, counted()), (1450, (6, 3, 1)));
    });
}

/// A UDP socket doesn't say whether a packet may be fragmented.
#[test]
fn what_comes_by_a_udp_socket_is_fragmented() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let relay = open(relay_host, &[PORT]);
        let gateway = Gateway::new(far, RELAYS[1]);
        gateway.report(&relay, ModeIsInclude, GROUP, &[SOURCE]);
        relay.settle();
        let from = unteachable(sender(source, SOURCE, 9), Family::V4);
        say(source, &from, &text(Family::V4, 1500), GROUP);
        relay.until("it is fragmented", || relay.info().fragmented == 1);
        assert_eq!((relay.info().dropped_too_large, relay.info().told_too_large), (0, 0));
    });
}

/// Multicast leaves by this interface, whatever address the socket has.
fn leave_by(host: &Host, udp: &Udp, interface: &str) {
    let nobody = libc::in_addr { s_addr: 0 };
    let request =
        libc::ip_mreqn { imr_multiaddr: nobody, imr_address: nobody, imr_ifindex: host.index(interface) as i32 };
    let (at, len) = ((&raw const request).cast(), size_of_val(&request) as u32);
    // SAFETY: a request and its length.
    let result = unsafe { libc::setsockopt(udp.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, at, len) };
    assert_eq!(result, 0);
}

/// A kernel that looks for a route, since the socket names an interface, learns it of that route, and
/// fragments what it sends to the group. The sender hears of it either way.
#[test]
fn the_sender_hears_of_it_and_what_is_sent_after_that_arrives() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let (relay, gateway) = (open(relay_host, &[]), Gateway::new(far, RELAYS[0]));
        gateway.report(&relay, ModeIsInclude, GROUP, &[SOURCE]);
        relay.settle();
        let from = sender(source, SOURCE, 9);
        leave_by(source, &from, "eth0");
        IntOption::IPV4_RECEIVE_ERRORS.set(from.as_fd(), 1).unwrap();
        let large = text(Family::V4, 1500);
        say(source, &from, &large, GROUP);
        relay.until("it is told", || relay.info().told_too_large == 1);
        let mut heard = None;
        hosts::until("the sender hears of it", || {
            heard = errqueue::take_unreachable(from.as_fd()).unwrap_or(None);
            heard.is_some()
        });
        assert_eq!(heard, Some((address(GROUP, PORT), Errno::EMSGSIZE)));
        // The error that waits is told once.
        let _ = from.take_error();
        say(source, &from, &large, GROUP);
        let parts = [gateway.packet(&relay), gateway.packet(&relay)];
        let parts = parts.each_ref().map(|part| Packet::parse(part).unwrap());
        assert!(parts.iter().all(|part| part.bytes.len() <= 1470 && part.fragment.is_some() && !part.dont_fragment));
        let joined = parts.map(|part| part.payload).concat();
        assert_eq!(joined[8..], *large.as_bytes());
        let info = relay.info();
        assert_eq!((info.dropped_too_large, info.told_too_large, info.fragmented), (1, 1, 0));
    });
}

/// Sends by a raw socket.
fn send_raw(host: &Host, family: Family, protocol: i32, to: &str, bytes: &[u8]) {
    host.run(|| {
        let socket = raw_socket(family.domain(), protocol as u8).unwrap();
        let to = CompactAddress::from(address(to, 0));
        let sent = mmsg::send_to(socket.as_fd(), Source::from(bytes), Destination::to(&to), Flags::DONTWAIT);
        assert_eq!(sent, Ok(bytes.len()));
    });
}

#[test]
fn a_broadcast_address_is_no_source() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        let (icmp, relay, gateway) =
            (Icmp::new(source, Family::V4), open(relay_host, &[]), Gateway::new(far, RELAYS[0]));
        let sources = ["10.1.0.255", SOURCE];
        gateway.report(&relay, ModeIsInclude, GROUP, &sources);
        relay.settle();
        for (from, count) in sources.into_iter().zip(1..) {
            let header = Header::new(from.parse().unwrap(), GROUP.parse().unwrap());
            let packet = Header { dont_fragment: true, ..header }.datagram([PORT; 2], &[b'x'; 1472]);
            send_raw(source, Family::V4, libc::IPPROTO_RAW, GROUP, &packet);
            relay.until("it is dropped", || relay.info().dropped_too_large == count);
        }
        assert_quotes(&icmp.waits_for_too_big(SOURCE, || relay.settle()), 1500, SOURCE, GROUP);
        assert_eq!(relay.info().told_too_large, 1);
    });
}

/// What the sockets that tell sources have in their queues, of those of a protocol of raw(7).
fn queued(host: &Host, table: &str, protocol: &str) -> Vec<String> {
    let text = host.run(|| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap());
    let rows = text.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(protocol)).map(|row| row[4].to_owned()).collect()
}

#[test]
fn the_sockets_that_tell_keep_nothing_of_what_comes_in() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, ..] = &hosts;
        let _relay = open(relay_host, &[]);
        for family in FAMILIES {
            // One that is sure not to be answered, and an echo.
            let (protocol, to, kinds, reply) = match family {
                Family::V4 => (libc::IPPROTO_ICMP, "10.1.0.2", [200, 8], 0),
                Family::V6 => (libc::IPPROTO_ICMPV6, "fd01::2", [200, 128], 129),
            };
            let icmp = Icmp::new(source, family);
            for kind in kinds {
                let [high, low] = Checksum::new().with(&[kind, 0, 0, 0, 0, 1, 0, 1]).value().to_be_bytes();
                send_raw(source, family, protocol, to, &[kind, 0, high, low, 0, 1, 0, 1]);
            }
            hosts::until("the echo comes back", || {
                let is_reply = |bytes: &[u8]| bytes[if family == Family::V4 { 20 } else { 0 }] == reply;
                std::iter::from_fn(|| icmp.next()).any(|(_, bytes)| is_reply(&bytes))
            });
        }
        assert_eq!(queued(relay_host, "raw", ":0001"), ["00000000:00000000"]);
        assert_eq!(queued(relay_host, "raw6", ":003A"), ["00000000:00000000"]);
    });
}
