//! What a relay's tunnels take of memory, and that forwarding takes none.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use castio::tunnel::amt::relay::{Local, Relay as Machine, Settings};
use castio::tunnel::amt::wire::{Dialect, Message, Nonce};
use castio::tunnel::listener::{self, Kind, Record, Sources};
use support::hosts;
use support::relay::*;
use support::udp::{Family, PORT, Udp};

/// Counts what each thread asks for, and what it holds.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// What the C library's allocator makes of a size: 8 bytes more, in steps of 16, 32 at least.
fn real(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + real(layout.size()));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - real(layout.size()));
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + real(size) - real(layout.size()));
        // SAFETY: passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const TUNNELS: usize = 10_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn here() -> Local {
    Local { socket: 0, address: ip("2001:db8::1") }
}

fn gateway(number: usize) -> SocketAddr {
    SocketAddr::new(ip("2001:db8:1::7"), 2000 + number as u16)
}

/// Request and Update.
fn open(relay: &mut Machine, now: Instant, number: usize, packet: &[u8]) {
    let nonce = Nonce::new((number as u32 + 1).to_be_bytes()).unwrap();
    let mut bytes = [0; 200];
    let len = Message::Request { mld: true, ecn: false, nonce }.encode(Dialect::Rfc, &mut bytes).unwrap();
    relay.handle_input(now, here(), gateway(number), &bytes[..len]);
    let answer = relay.poll_transmit().unwrap();
    let Message::MembershipQuery { mac, .. } = Message::decode(answer.bytes()).unwrap().0 else { panic!("no Query") };
    let len = Message::MembershipUpdate { mac, nonce, packet }.encode(Dialect::Rfc, &mut bytes).unwrap();
    relay.handle_input(now, here(), gateway(number), &bytes[..len]);
    while relay.poll_change().is_some() {}
}

#[test]
fn ten_thousand_tunnels_opened_and_dropped() {
    let sources = [ip("2001:db8:2::1")];
    let record = Record { kind: Kind::ModeIsInclude, group: ip("ff3e::8000:1"), sources: Sources::from(&sources[..]) };
    let mut packets = Vec::new();
    listener::build_report(ip("fe80::7"), &[record], 1400, &mut packets).unwrap();
    let settings = Settings {
        tunnels: TUNNELS,
        tunnels_per_address: TUNNELS,
        groups_per_address: TUNNELS,
        records_per_second: 0,
        answers_per_second: 0,
        answers_in_all: 0,
        ..Settings::default()
    };
    let mut now = Instant::now();
    let mut relay = Machine::new(settings, [3; 16], now).unwrap();
    let empty = HELD.get();
    for round in 0..3 {
        (0..TUNNELS).for_each(|number| open(&mut relay, now, number, &packets[0]));
        assert_eq!(relay.tunnel_count(), TUNNELS);
        let each = (HELD.get() - empty) / TUNNELS as isize;
        println!("{each} bytes for a tunnel with a source of a group");
        assert!(each < 512, "{each}");

        // Neither finding out where packets go nor an Update that changes nothing takes memory.
        let before = ALLOCATIONS.get();
        let mut found = 0;
        relay.each_destination(now, (record.group, sources[0]), (1, 1000), |_, _| found += 1);
        relay.each_destination(now, (record.group, ip("2001:db8:2::2")), (1, 1000), |_, _| found += 1);
        (0..100).for_each(|number| open(&mut relay, now, number, &packets[0]));
        assert_eq!((found, ALLOCATIONS.get() - before), (TUNNELS, 0));

        let end = now + Duration::from_secs(600);
        while relay.timeout() < end && relay.tunnel_count() > 0 {
            now = relay.timeout().max(now);
            relay.handle_timeout(now);
        }
        while relay.poll_change().is_some() {}
        assert_eq!((relay.tunnel_count(), relay.group_count()), (0, 0));
        let left = HELD.get() - empty;
        assert!(left < 4096, "{left} bytes are left after round {round}");
    }
}

#[test]
fn strangers_take_nothing() {
    let settings = Settings { answers_per_second: 0, answers_in_all: 0, ..Settings::default() };
    let now = Instant::now();
    let mut relay = Machine::new(settings, [3; 16], now).unwrap();
    let mut ask = |number: u32| {
        let nonce = Nonce::new([1; 4]).unwrap();
        let mut bytes = [0; 8];
        Message::Request { mld: number % 2 == 0, ecn: false, nonce }.encode(Dialect::Linux, &mut bytes).unwrap();
        relay.handle_input(now, here(), SocketAddr::new(number.to_be_bytes().into(), 9), &bytes);
        assert!(relay.poll_transmit().is_some());
    };
    ask(1 << 24 | 1);
    let (allocations, held) = (ALLOCATIONS.get(), HELD.get());
    ((1 << 24)..(1 << 24) + 100_000).for_each(&mut ask);
    assert_eq!((ALLOCATIONS.get() - allocations, HELD.get() - held), (0, 0));
}

#[test]
fn forwarding_allocates_nothing() {
    hosts::test(|network| {
        let hosts = row(network);
        let [source, relay_host, _, far] = &hosts;
        for ports in [&[PORT][..], &[]] {
            let relay = Relay::open(relay_host, Wanted { ports, upstream: Some("in0"), ..Wanted::default() });
            let gateways: Vec<Gateway> = (0..20).map(|_| Gateway::new(far, "10.2.0.1")).collect();
            for gateway in &gateways {
                gateway.report(&relay, Kind::ModeIsExclude, "239.1.2.3", &[]);
            }
            let udp = source.run(|| {
                let udp = Udp::new(Family::V4);
                udp.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, 5).unwrap();
                udp
            });
            for round in 0..3 {
                source.run(|| (0..50).for_each(|_| udp.send(&"x".repeat(1000), "239.1.2.3")));
                let expected = (round + 1) * 50 * 20;
                let mut allocations = 0;
                hosts::until("all is forwarded", || {
                    allocations += relay_host.run(|| {
                        let before = ALLOCATIONS.get();
                        relay.process();
                        ALLOCATIONS.get() - before
                    });
                    relay.info().copies == expected
                });
                assert!(round == 0 || allocations == 0, "{allocations} allocations");
                for gateway in &gateways {
                    assert_eq!(std::iter::from_fn(|| gateway.next()).count(), 50);
                }
            }
        }
    });
}
