//! A forwarder between gateways and a relay: it changes addresses and ports as a NAT does, and it loses,
//! delays and repeats messages. It keeps the last of each type, for a test to say it again.
//!
//! What becomes of a message depends on the seed, its direction, its type and its number among those of
//! its type: on nothing that takes its time.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::hosts::Host;

/// The types of messages that tests name (RFC 7450, section 5.1): the low half of the first byte.
pub const REQUEST: u8 = 3;
pub const QUERY: u8 = 4;
pub const UPDATE: u8 = 5;
pub const DATA: u8 = 6;

/// How much later a message comes that is overtaken.
const DELAY: Duration = Duration::from_millis(5);

/// What becomes of messages, in percent of each type.
#[derive(Clone, Copy, Default)]
pub struct Rules {
    pub seed: u64,
    /// Never two of a type in a row.
    pub lose: u64,
    pub delay: u64,
    /// Anything but data comes twice.
    pub repeat: u64,
}

/// How many messages of a type came, and what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub seen: u64,
    pub lost: u64,
    pub delayed: u64,
    pub repeated: u64,
    lost_last: bool,
}

#[derive(Default)]
struct Shared {
    rules: Rules,
    counts: HashMap<u8, Count>,
    last: HashMap<u8, Vec<u8>>,
    /// To say to the relay, as if it came from the first gateway.
    inject: Vec<Vec<u8>>,
    wants_other_ports: bool,
    is_over: bool,
}

/// On a host until it goes.
pub struct Forwarder {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Takes at `near`, port 2268, what gateways say, and says it from `far` to the relay.
    pub fn new(host: &Host, near: &str, far: &str, relay: &str, rules: Rules) -> Forwarder {
        let [near, far, relay]: [IpAddr; 3] = [near, far, relay].map(|address| address.parse().unwrap());
        let shared = Arc::new(Mutex::new(Shared { rules, ..Shared::default() }));
        let its = Arc::clone(&shared);
        // A thread has the namespace of the one that made it.
        let thread = host.run(move || {
            let near = bound(near, 2268);
            let work =
                Work { shared: its, near, far, relay: SocketAddr::new(relay, 2268), paths: vec![], late: vec![] };
            thread::spawn(move || work.run())
        });
        Forwarder { shared, thread: Some(thread) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub fn count(&self, kind: u8) -> Count {
        self.shared().counts.get(&kind).copied().unwrap_or_default()
    }

    /// The last message of a type.
    pub fn last(&self, kind: u8) -> Option<Vec<u8>> {
        self.shared().last.get(&kind).cloned()
    }

    /// Says something to the relay from where the first gateway's messages come from.
    pub fn inject(&self, bytes: Vec<u8>) {
        self.shared().inject.push(bytes);
    }

    /// From now on gateways seem to be at other ports; what still comes for the old ones is lost.
    pub fn change_ports(&self) {
        self.shared().wants_other_ports = true;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared().is_over = true;
        let result = self.thread.take().unwrap().join();
        assert!(result.is_ok() || thread::panicking(), "the forwarder has failed");
    }
}

fn bound(ip: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(ip, port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Where a gateway is, and where the relay sees it.
struct Path {
    gateway: SocketAddr,
    outside: UdpSocket,
    /// Open, so that nobody says that there is nobody.
    _before: Option<UdpSocket>,
}

/// A message on its way: on which path, and whether to the relay.
#[derive(Clone)]
struct Message {
    path: usize,
    to_relay: bool,
    bytes: Vec<u8>,
}

struct Work {
    shared: Arc<Mutex<Shared>>,
    near: UdpSocket,
    far: IpAddr,
    relay: SocketAddr,
    paths: Vec<Path>,
    late: Vec<(Instant, Message)>,
}

impl Work {
    fn run(mut self) {
        while !self.shared.lock().unwrap().is_over {
            self.wait();
            self.orders();
            for message in self.arrived() {
                self.handle(message);
            }
            let now = Instant::now();
            let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
            self.late = late;
            let due: Vec<(Instant, Message)> = due;
            due.iter().for_each(|(_, message)| self.send(message));
        }
    }

    /// Until something is there, or for as long as orders may wait.
    fn wait(&self) {
        let sockets = self.paths.iter().map(|path| &path.outside).chain([&self.near]);
        let mut wanted: Vec<libc::pollfd> =
            sockets.map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: an array with its length.
        unsafe { libc::poll(wanted.as_mut_ptr(), wanted.len() as libc::nfds_t, 2) };
    }

    fn orders(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        if std::mem::take(&mut shared.wants_other_ports) {
            for path in &mut self.paths {
                path._before = Some(std::mem::replace(&mut path.outside, bound(self.far, 0)));
            }
        }
        if let Some(path) = self.paths.first() {
            for bytes in shared.inject.drain(..) {
                path.outside.send_to(&bytes, self.relay).unwrap();
            }
        }
    }

    fn arrived(&mut self) -> Vec<Message> {
        let (mut all, mut bytes) = (Vec::new(), [0; 2048]);
        while let Ok((len, gateway)) = self.near.recv_from(&mut bytes) {
            let known = self.paths.iter().position(|path| path.gateway == gateway);
            let path = known.unwrap_or_else(|| {
                self.paths.push(Path { gateway, outside: bound(self.far, 0), _before: None });
                self.paths.len() - 1
            });
            all.push(Message { path, to_relay: true, bytes: bytes[..len].to_vec() });
        }
        for (path, its) in self.paths.iter().enumerate() {
            while let Ok((len, _)) = its.outside.recv_from(&mut bytes) {
                all.push(Message { path, to_relay: false, bytes: bytes[..len].to_vec() });
            }
        }
        all
    }

    fn handle(&mut self, message: Message) {
        let kind = message.bytes[0] & 15;
        let [lose, delay, repeat] = {
            let mut shared = self.shared.lock().unwrap();
            let rules = shared.rules;
            shared.last.insert(kind, message.bytes.clone());
            let count = shared.counts.entry(kind).or_default();
            count.seen += 1;
            let chance = |salt: u64| mixed(mixed(rules.seed ^ salt << 32 ^ u64::from(kind) << 40) ^ count.seen) % 100;
            let lose = !count.lost_last && chance(1) < rules.lose;
            count.lost_last = lose;
            let delay = !lose && chance(2) < rules.delay;
            let repeat = !lose && kind != DATA && chance(3) < rules.repeat;
            count.lost += u64::from(lose);
            count.delayed += u64::from(delay);
            count.repeated += u64::from(repeat);
            [lose, delay, repeat]
        };
        if delay || repeat {
            self.late.push((Instant::now() + DELAY, message.clone()));
        }
        if !lose && !delay {
            self.send(&message);
        }
    }

    fn send(&self, message: &Message) {
        let path = &self.paths[message.path];
        // A relay that isn't there makes errors of the next calls.
        let _ = match message.to_relay {
            true => path.outside.send_to(&message.bytes, self.relay),
            false => self.near.send_to(&message.bytes, path.gateway),
        };
    }
}

/// A number that looks like none that is near (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
