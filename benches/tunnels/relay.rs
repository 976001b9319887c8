//! An AMT relay in a process of its own, and gateways in another: all of them behind one socket, which
//! has as many addresses as there are gateways.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use castio::datagram::receive::Receiver;
use castio::datagram::send::{Datagram, Datagrams, Manner, Options, Sender};
use castio::deadline::Deadline;
use castio::error::{Errno, Result};
use castio::sys::memory::Gather;
use castio::sys::mmsg::Destination;
use castio::sys::option::IntOption;
use castio::sys::sockaddr::SocketAddress;
use castio::tunnel::amt::server::{Options as RelayOptions, Server};
use castio::tunnel::amt::wire::{Dialect, Message, Nonce, ResponseMac};
use castio::tunnel::listener::{self, Kind, Record, Sources};

use crate::ends::{Load, PORT, sending_socket};
use crate::tally::{Shared, Tally, cpu_of};

pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// What the gateways' addresses are in.
pub const GATEWAYS: &str = "10.50.0.0/16";
const GATEWAY_PORT: u16 = 2300;
const AMT_PORT: u16 = 2268;
/// The stream's payload.
const SIZE: usize = 1200;
/// What AMT, IPv4 and UDP put before it.
const HEADERS: usize = 2 + 20 + 8;
const TICK_MS: i32 = 5;

fn gateway(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 50, (number >> 8) as u8, number as u8)
}

fn group(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xe801_0000 + number as u32)
}

/// Relays until it is told that it is over.
pub fn relay(shared: &Shared) {
    let mut options = RelayOptions::default();
    let address = std::ffi::CString::new(RELAY.to_string()).unwrap();
    options.listen(Some(&address), AMT_PORT).unwrap();
    options.upstream(c"veth0").unwrap();
    options.ports(&[PORT]).unwrap();
    (options.settings.tunnels, options.settings.tunnels_per_address) = (12_000, 12_000);
    let mut server = Server::open(options).unwrap();
    shared.ready.fetch_add(1, AcqRel);
    while !shared.is_over() {
        match server.run(Deadline::from_timeout_ms(0)) {
            Err(Errno::EAGAIN) => {}
            result => result.unwrap(),
        }
        let counters = server.counters();
        shared.copies.store(counters.copies, Relaxed);
        shared.dropped.store(counters.dropped_no_room + counters.dropped_error + counters.dropped_rate, Relaxed);
        shared.forwarded.store(counters.packets, Release);
        shared.groups.store(server.relay().group_count() as u64, Relaxed);
        shared.tunnels.store(server.relay().tunnel_count() as u64, Release);
        // SAFETY: one entry, alive.
        unsafe {
            let mut wanted = libc::pollfd { fd: server.fd(), events: libc::POLLIN, revents: 0 };
            libc::poll(&raw mut wanted, 1, TICK_MS);
        }
    }
}

/// Brings so many tunnels up, each with so many groups, tells how long that took, and counts the copies
/// that arrive until it is over.
pub fn gateways(tunnels: usize, groups: usize, shared: &Shared) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GATEWAY_PORT)).unwrap();
    let fd = socket.as_fd();
    let set = IntOption::RECEIVE_BUFFER_FORCE.set(fd, 64 << 20);
    set.or_else(|_| IntOption::RECEIVE_BUFFER.set(fd, 64 << 20)).unwrap();
    let sending = Options { segmentation: false, zerocopy: None, bytes_per_second: 0 };
    let mut sender = Sender::open(fd, sending).unwrap();
    let mut receiver = Receiver::open(fd, 64, 1 << 16, true, true).unwrap();
    let to = SocketAddress::from(SocketAddr::from((RELAY, AMT_PORT)));
    let mut handshake = Handshake::new(tunnels, groups);
    let start = Instant::now();
    while shared.tunnels.load(Acquire) < tunnels as u64 || shared.groups.load(Relaxed) < handshake.groups() {
        handshake.messages.clear();
        handshake.ask();
        let _ = receiver.receive(1024, Deadline::from_timeout_ms(1), |view| {
            let told = view.packet.told.destination;
            if let Some((IpAddr::V4(address), _)) = told {
                handshake.answer(address, view.bytes());
            }
        });
        handshake.after_a_while();
        let messages = &handshake.messages;
        let parts: Vec<[IoSlice<'_>; 1]> = messages.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        sender.send(&Said { messages, parts: &parts, to: &to }, Deadline::Never, &mut 0).unwrap();
    }
    shared.ns.store(start.elapsed().as_nanos() as u64, Relaxed);
    shared.ready.fetch_add(1, AcqRel);
    let (mut packets, mut bytes) = (0, 0);
    while !shared.is_over() {
        let _ = receiver.receive(1024, Deadline::from_timeout_ms(TICK_MS), |view| {
            if view.bytes().first() == Some(&6) {
                assert_eq!(view.len, HEADERS + SIZE);
                packets += 1;
                bytes += view.len as u64;
            }
        });
        shared.received.store(packets, Relaxed);
        shared.bytes.store(bytes, Relaxed);
    }
}

/// What gateways know before they have a tunnel.
struct Handshake {
    macs: Vec<Option<ResponseMac>>,
    groups: usize,
    asked: usize,
    answered: usize,
    progress: (usize, Instant),
    /// What is to be sent, and from where.
    messages: Vec<(Ipv4Addr, Vec<u8>)>,
}

impl Handshake {
    /// The most that are under way.
    const WINDOW: usize = 256;

    fn new(tunnels: usize, groups: usize) -> Handshake {
        let progress = (0, Instant::now());
        Handshake { macs: vec![None; tunnels], groups, asked: 0, answered: 0, progress, messages: Vec::new() }
    }

    /// How many groups the relay is to know.
    fn groups(&self) -> u64 {
        if self.groups == 1 { 1 } else { (self.groups * self.macs.len()) as u64 }
    }

    fn nonce(number: usize) -> Nonce {
        Nonce::new((number as u32 + 1).to_be_bytes()).unwrap()
    }

    fn request(&mut self, number: usize) {
        let mut bytes = Vec::new();
        Message::Request { mld: false, ecn: false, nonce: Self::nonce(number) }.append(Dialect::Rfc, &mut bytes);
        self.messages.push((gateway(number), bytes));
    }

    fn ask(&mut self) {
        while self.asked < self.macs.len() && self.asked < self.answered + Self::WINDOW {
            self.request(self.asked);
            self.asked += 1;
        }
    }

    /// The Update that a Query asks for.
    fn answer(&mut self, address: Ipv4Addr, bytes: &[u8]) {
        let [_, _, high, low] = address.octets();
        let number = usize::from(high) << 8 | usize::from(low);
        let Ok((Message::MembershipQuery { mac, .. }, _)) = Message::decode(bytes) else { return };
        let Some(place) = self.macs.get_mut(number) else { return };
        self.answered += usize::from(place.is_none());
        *place = Some(mac);
        self.update(number, mac);
    }

    fn update(&mut self, number: usize, mac: ResponseMac) {
        let source = [IpAddr::V4(SOURCE)];
        // The same for all, or for each its own.
        let first = if self.groups == 1 { 0 } else { number * self.groups };
        let record = |at: usize| Record {
            kind: Kind::AllowNewSources,
            group: group(first + at).into(),
            sources: Sources::from(&source[..]),
        };
        let records: Vec<Record<'_>> = (0..self.groups).map(record).collect();
        let mut packets = Vec::new();
        listener::build_report(gateway(number).into(), &records, 1460, &mut packets).unwrap();
        for packet in &packets {
            let mut bytes = Vec::new();
            let nonce = Self::nonce(number);
            Message::MembershipUpdate { mac, nonce, packet }.append(Dialect::Rfc, &mut bytes);
            self.messages.push((gateway(number), bytes));
        }
    }

    /// Says again what may have been lost.
    fn after_a_while(&mut self) {
        let (count, since) = self.progress;
        if self.answered > count {
            self.progress = (self.answered, Instant::now());
        } else if since.elapsed() > Duration::from_millis(300) {
            self.progress.1 = Instant::now();
            for number in 0..self.asked {
                match self.macs[number] {
                    None => self.request(number),
                    Some(mac) if self.answered == self.macs.len() => self.update(number, mac),
                    Some(_) => {}
                }
            }
        }
    }
}

/// Messages of many gateways.
struct Said<'a> {
    messages: &'a [(Ipv4Addr, Vec<u8>)],
    parts: &'a [[IoSlice<'a>; 1]],
    to: &'a SocketAddress,
}

impl<'a> Datagrams<'a> for Said<'a> {
    fn count(&self) -> usize {
        self.messages.len()
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let ((from, _), parts) = self.messages.get(index).zip(self.parts.get(index)).ok_or(Errno::EINVAL)?;
        let manner = Manner { from: Some((*from).into()), ..Manner::default() };
        Ok(Datagram { to: Destination::of(self.to), payload: Gather::from(parts.as_slice()), manner })
    }

    fn payload_beside(&self, _: usize, _: usize) -> Option<Gather<'a>> {
        None
    }
}

/// The stream: bursts of so many packets, as fast as the relay takes them, for so long.
pub fn stream(burst: usize, time: Duration, shared: &Shared) {
    let socket = sending_socket("veth1", SOURCE);
    let sending = Options { segmentation: true, zerocopy: None, bytes_per_second: 0 };
    let mut sender = Sender::open(socket.as_fd(), sending).unwrap();
    let to = SocketAddress::from(SocketAddr::from((group(0), PORT)));
    let memory = vec![7; SIZE * burst];
    let parts: Vec<[IoSlice<'_>; 1]> = memory.chunks(SIZE).map(|part| [IoSlice::new(part)]).collect();
    let pid = shared.processes[0].load(Acquire) as libc::pid_t;
    let before = shared.forwarded.load(Acquire);
    let mut sent = 0;
    let mut send = |ahead: u64| {
        let mut done = 0;
        sender.send(&Load { parts: &parts, to: &to }, Deadline::Never, &mut done).unwrap();
        sent += done as u64;
        wait(shared, before + sent - ahead.min(sent));
    };
    // So that nothing is done for the first time.
    send(0);
    let told = |tally: &Tally| (tally.copies.load(Relaxed), cpu_of(pid));
    let (start, (copies, cpu)) = (Instant::now(), told(shared));
    while start.elapsed() < time {
        // One burst is under way while the next one is made, unless each packet is to go alone.
        send(if burst > 1 { burst as u64 } else { 0 });
    }
    send(0);
    let elapsed = start.elapsed();
    let (copies_after, cpu_after) = told(shared);
    shared.packets.store(copies_after - copies, Relaxed);
    shared.cpu.store(cpu_after - cpu, Relaxed);
    shared.ns.store(elapsed.as_nanos() as u64, Relaxed);
    shared.sent.store(sent, Release);
}

/// Until the relay has forwarded so many.
fn wait(shared: &Tally, count: u64) {
    let start = Instant::now();
    while shared.forwarded.load(Acquire) < count {
        assert!(start.elapsed() < Duration::from_secs(20), "the relay has lost packets");
        std::thread::sleep(Duration::from_micros(5));
    }
}
