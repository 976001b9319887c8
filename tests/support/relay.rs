//! An AMT relay as a test calls it, and a gateway that says what the test has it say.

use std::ffi::{CString, c_int};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use castio::Errno;
use castio::datagram::receive::{Receiver, View};
use castio::deadline::Deadline;
use castio::ffi::amt_relay::*;
use castio::ffi::amt_relay_info::*;
use castio::tunnel::amt::wire::{Dialect, Gateway as Endpoint, Message, Nonce, ResponseMac};
use castio::tunnel::ip::Packet;
use castio::tunnel::listener::{self, Kind, Record, Sources};

use super::face::{Outcome, call, pointer, text};
use super::hosts::{self, Host, Network};

/// The default.
// SAFETY: all zero is the default.
pub const OPTIONS: castio_amt_relay_options =
    castio_amt_relay_options { struct_size: size_of::<castio_amt_relay_options>(), ..unsafe { std::mem::zeroed() } };

/// What a relay is opened with, where the test doesn't want the default.
#[derive(Clone, Default)]
pub struct Wanted<'a> {
    pub listen: Option<&'a str>,
    pub advertise: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub ports: &'a [u16],
}

/// A relay on a host, closed when it goes.
pub struct Relay<'host> {
    host: &'host Host,
    handle: *mut castio_amt_relay,
}

// SAFETY: a handle is for one thread at a time, and the host's is the one.
unsafe impl Send for Relay<'_> {}
// SAFETY: as above.
unsafe impl Sync for Relay<'_> {}

impl<'host> Relay<'host> {
    pub fn open(host: &'host Host, wanted: Wanted<'_>) -> Relay<'host> {
        Relay::try_open(host, wanted, |_| {}).unwrap()
    }

    pub fn try_open(
        host: &'host Host,
        wanted: Wanted<'_>,
        change: impl FnOnce(&mut castio_amt_relay_options) + Send,
    ) -> Result<Relay<'host>, Errno> {
        let [listen, advertise, upstream] =
            [wanted.listen, wanted.advertise, wanted.upstream].map(|part| part.map(text));
        host.run(|| {
            let mut options = castio_amt_relay_options {
                listen: pointer(&listen),
                advertise: pointer(&advertise),
                upstream: pointer(&upstream),
                ports: wanted.ports.as_ptr(),
                port_count: wanted.ports.len(),
                ..OPTIONS
            };
            change(&mut options);
            let mut handle = ptr::null_mut();
            // SAFETY: options and a place.
            call(|| unsafe { castio_amt_relay_open(&raw const options, &raw mut handle) })?;
            Ok(Relay { host, handle })
        })
    }

    fn run<T: Send>(&self, work: impl FnOnce(*mut castio_amt_relay) -> T + Send) -> T {
        self.host.run(|| work(self.handle))
    }

    /// Does what there is to do.
    pub fn process(&self) -> i64 {
        // SAFETY: an open handle.
        self.run(|handle| call(|| unsafe { castio_amt_relay_process(handle) })).unwrap()
    }

    /// Works until something is so.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        hosts::until(what, || {
            self.process();
            is_so()
        });
    }

    /// Works until nothing comes in any more.
    pub fn settle(&self) {
        while self.process() > 0 {}
    }

    pub fn run_for(&self, timeout_ms: c_int) -> Outcome {
        // SAFETY: an open handle.
        self.run(|handle| call(|| unsafe { castio_amt_relay_run(handle, timeout_ms) }))
    }

    /// Whether the descriptor is readable.
    pub fn is_readable(&self) -> bool {
        self.run(|handle| {
            // SAFETY: an open handle.
            let fd = unsafe { castio_amt_relay_fd(handle) };
            let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd.
            unsafe { libc::poll(&raw mut wanted, 1, 0) == 1 }
        })
    }

    pub fn timeout_ms(&self) -> c_int {
        let mut found = -7;
        // SAFETY: an open handle and a place.
        self.run(|handle| call(|| unsafe { castio_amt_relay_timeout_ms(handle, &raw mut found) })).unwrap();
        found
    }

    pub fn info(&self) -> castio_amt_relay_info {
        self.run(|handle| {
            // SAFETY: all zero is one to be filled.
            let mut info: castio_amt_relay_info = unsafe { std::mem::zeroed() };
            info.struct_size = size_of::<castio_amt_relay_info>();
            // SAFETY: an open handle and a place.
            assert_eq!(call(|| unsafe { castio_amt_relay_info(handle, &raw mut info) }), Ok(0));
            info
        })
    }

    pub fn json(&self) -> serde_json::Value {
        self.run(|handle| {
            // SAFETY: an open handle; nothing is written.
            let len = call(|| unsafe { castio_amt_relay_json(handle, ptr::null_mut(), 0) }).unwrap() as usize;
            let mut bytes = vec![0_u8; len + 1];
            // SAFETY: an open handle and room.
            let again = call(|| unsafe { castio_amt_relay_json(handle, bytes.as_mut_ptr().cast(), bytes.len()) });
            assert_eq!(again, Ok(len as i64));
            let text = CString::from_vec_with_nul(bytes).unwrap();
            serde_json::from_str(text.to_str().unwrap()).unwrap()
        })
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        // SAFETY: an open handle, closed once.
        self.run(|handle| unsafe { castio_amt_relay_close(handle) });
    }
}

/// What a Query said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub mac: ResponseMac,
    pub nonce: Nonce,
    pub limited: bool,
    pub gateway: Option<Endpoint>,
    pub dialect: Option<Dialect>,
}

/// A gateway's socket.
pub struct Gateway {
    socket: UdpSocket,
    relay: SocketAddr,
}

static NONCE: AtomicU32 = AtomicU32::new(1);

impl Gateway {
    /// On a host, for the relay at an address.
    pub fn new(host: &Host, relay: &str) -> Gateway {
        let relay = SocketAddr::new(relay.parse().unwrap(), 2268);
        let any = if relay.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = host.run(|| UdpSocket::bind(any).unwrap());
        socket.set_nonblocking(true).unwrap();
        Gateway { socket, relay }
    }

    pub fn say(&self, message: &Message<'_>, dialect: Dialect) {
        let mut bytes = Vec::new();
        message.append(dialect, &mut bytes);
        self.say_bytes(&bytes);
    }

    pub fn say_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.relay).unwrap();
    }

    /// What has arrived and waits: from where, and the bytes.
    pub fn next(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let mut bytes = vec![0; 65_536];
        let (len, from) = self.socket.recv_from(&mut bytes).ok()?;
        bytes.truncate(len);
        Some((from, bytes))
    }

    /// The relay's next message, while it works.
    pub fn wait(&self, relay: &Relay<'_>) -> Vec<u8> {
        let mut found = None;
        relay.until("the relay says something", || {
            found = self.next();
            found.is_some()
        });
        let (from, bytes) = found.unwrap();
        assert_eq!(from, self.relay, "from where it was asked");
        bytes
    }

    pub fn request(&self, relay: &Relay<'_>, mld: bool, dialect: Dialect) -> Answer {
        self.request_with(relay, mld, false, dialect)
    }

    pub fn request_with(&self, relay: &Relay<'_>, mld: bool, ecn: bool, dialect: Dialect) -> Answer {
        let nonce = Nonce::new(NONCE.fetch_add(1, Ordering::Relaxed).to_be_bytes()).unwrap();
        self.say(&Message::Request { mld, ecn, nonce }, dialect);
        let bytes = self.wait(relay);
        let (message, dialect) = Message::decode(&bytes).unwrap();
        let Message::MembershipQuery { limited, mac, nonce: again, packet, gateway } = message else {
            panic!("{message:?}");
        };
        assert_eq!(again, nonce);
        let query = Packet::parse(packet).unwrap();
        assert_eq!(query.source.is_ipv6(), mld);
        listener::parse_query(&query).unwrap();
        Answer { mac, nonce, limited, gateway, dialect }
    }

    pub fn update(&self, answer: &Answer, kind: Kind, group: &str, sources: &[&str]) {
        let sources: Vec<IpAddr> = sources.iter().map(|source| source.parse().unwrap()).collect();
        let record = Record { kind, group: group.parse().unwrap(), sources: Sources::from(sources.as_slice()) };
        let host = if record.group.is_ipv4() { "0.0.0.0" } else { "fe80::9" };
        let mut packets = Vec::new();
        listener::build_report(host.parse().unwrap(), &[record], 1400, &mut packets).unwrap();
        let (mac, nonce) = (answer.mac, answer.nonce);
        for packet in &packets {
            self.say(&Message::MembershipUpdate { mac, nonce, packet }, Dialect::Rfc);
        }
    }

    /// The whole handshake with one record; returns when the relay has read it.
    pub fn report(&self, relay: &Relay<'_>, kind: Kind, group: &str, sources: &[&str]) -> Answer {
        let answer = self.request(relay, group.contains(':'), Dialect::Rfc);
        let before = relay.info().updates;
        self.update(&answer, kind, group, sources);
        relay.until("the Update is read", || relay.info().updates > before);
        answer
    }

    /// The packet in the next Data message.
    pub fn packet(&self, relay: &Relay<'_>) -> Vec<u8> {
        let bytes = self.wait(relay);
        match Message::decode(&bytes).unwrap().0 {
            Message::MulticastData { packet } => packet.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// The traffic class of the next message, and the packet in it.
    pub fn marked(&self, relay: &Relay<'_>) -> (i32, Vec<u8>) {
        let mut found = None;
        let mut receiver = Receiver::open(self.socket.as_fd(), 1, 2048, false, true).unwrap();
        relay.until("the relay says something", || {
            let take = |view: View<'_>| found = view.packet.told.traffic_class;
            receiver.receive(1, Deadline::Now, take).is_ok()
        });
        (found.unwrap(), receiver.slot(0)[2..].to_vec())
    }
}

/// Source, relay, router and gateway in a row: multicast between the first two, unicast only behind.
/// The relay's addresses are 10.2.0.1 and fd02::1, the source's 10.1.0.1 and fd01::1.
pub fn row(network: &Network) -> [Host; 4] {
    let hosts = ["source", "relay", "router", "gateway"].map(|name| network.host(name));
    let [source, relay, router, gateway] = &hosts;
    network.link((source, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (relay, "in0", &["10.1.0.2/24", "fd01::2/64"]));
    network.link((relay, "out0", &["10.2.0.1/24", "fd02::1/64"]), (router, "r0", &["10.2.0.2/24", "fd02::2/64"]));
    network.link((router, "r1", &["10.3.0.1/24", "fd03::1/64"]), (gateway, "eth0", &["10.3.0.2/24", "fd03::2/64"]));
    router.set("net/ipv4/ip_forward", "1");
    router.set("net/ipv6/conf/all/forwarding", "1");
    source.ip("route add 224.0.0.0/4 dev eth0");
    relay.ip("route add 224.0.0.0/4 dev in0\nroute add 10.3.0.0/24 via 10.2.0.2\nroute add fd03::/64 via fd02::2");
    gateway.ip("route add default via 10.3.0.1\nroute add default via fd03::1");
    hosts
}
