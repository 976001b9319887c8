//! Both ends of AMT: a gateway by the C face, and a relay that does what a test's script says.

use std::ffi::{c_char, c_int};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant};

use castio::Errno;
use castio::ffi::amt::*;
use castio::ffi::amt_receive::*;
use castio::sys::c_types::castio_datagram_view;
use castio::sys::sockaddr;
use castio::tunnel::amt::wire::{self, Dialect, Message, Nonce, ResponseMac};
use castio::tunnel::ip::Packet;
use castio::tunnel::listener::{self, Kind, Query, Sources, Version};

use super::datagrams::{empty_view, payload_of};
use super::face::{Outcome, call, pointer, storage, text};
use super::hosts::{self, Host};
use super::packets::Header;

/// A datagram that came out of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub text: String,
    pub from: String,
    pub to: String,
    pub ttl: c_int,
    pub class: c_int,
}

/// The default, but for struct_size.
pub const OPTIONS: castio_amt_options = castio_amt_options {
    struct_size: size_of::<castio_amt_options>(),
    local: ptr::null(),
    slots: 0,
    flags: 0,
    port: 0,
};

/// A gateway on a host.
pub struct Gateway<'h> {
    host: &'h Host,
    handle: *mut castio_amt,
}

// SAFETY: used by one thread at a time.
unsafe impl Sync for Gateway<'_> {}

/// A handle that goes to another thread and back.
#[derive(Clone, Copy)]
struct Carried(*mut castio_amt);
// SAFETY: used by one thread at a time.
unsafe impl Send for Carried {}

impl<'h> Gateway<'h> {
    pub fn open(host: &'h Host, relays: Option<&str>, options: castio_amt_options) -> Gateway<'h> {
        let relays = relays.map(text);
        let (flags, port) = (options.flags, options.port);
        let handle = host.run(move || {
            let (mut handle, options) = (ptr::null_mut(), castio_amt_options { flags, port, ..OPTIONS });
            // SAFETY: text, options with their size, and a place.
            let result = call(|| unsafe { castio_amt_open(pointer(&relays), &raw const options, &raw mut handle) });
            assert_eq!(result, Ok(0));
            Carried(handle)
        });
        Gateway { host, handle: handle.0 }
    }

    /// For a call in another process.
    pub fn raw(&self) -> usize {
        self.handle as usize
    }

    fn run<T: Send>(&self, work: impl FnOnce(*mut castio_amt) -> T + Send) -> T {
        let carried = Carried(self.handle);
        self.host.run(move || {
            let carried = carried;
            work(carried.0)
        })
    }

    pub fn join(&self, group: &str, source: Option<&str>) -> Outcome {
        self.by_text(castio_amt_join, group, source)
    }

    pub fn leave(&self, group: &str, source: Option<&str>) -> Outcome {
        self.by_text(castio_amt_leave, group, source)
    }

    fn by_text(
        &self,
        function: unsafe extern "C" fn(*mut castio_amt, *const c_char, *const c_char) -> c_int,
        group: &str,
        source: Option<&str>,
    ) -> Outcome {
        let (group, source) = (text(group), source.map(text));
        // SAFETY: a handle, and text.
        self.run(|handle| call(|| unsafe { function(handle, group.as_ptr(), pointer(&source)) }))
    }

    pub fn join_addr(&self, group: &str, source: Option<&str>) -> Outcome {
        let ((group, len), source) = (storage(group), source.map(storage));
        self.run(|handle| {
            let (at, source_len) =
                source.as_ref().map_or((ptr::null(), 0), |(at, len)| (ptr::from_ref(at).cast(), *len));
            // SAFETY: a handle, and addresses with their lengths.
            call(|| unsafe { castio_amt_join_addr(handle, (&raw const group).cast(), len, at, source_len) })
        })
    }

    pub fn leave_addr(&self, group: &str, source: Option<&str>) -> Outcome {
        let ((group, len), source) = (storage(group), source.map(storage));
        self.run(|handle| {
            let (at, source_len) =
                source.as_ref().map_or((ptr::null(), 0), |(at, len)| (ptr::from_ref(at).cast(), *len));
            // SAFETY: a handle, and addresses with their lengths.
            call(|| unsafe { castio_amt_leave_addr(handle, (&raw const group).cast(), len, at, source_len) })
        })
    }

    pub fn filter(&self, group: &str, mode: c_int, sources: &[&str]) -> Outcome {
        let (group, sources): (_, Vec<_>) = (text(group), sources.iter().map(|source| text(source)).collect());
        self.run(|handle| {
            let list: Vec<*const c_char> = sources.iter().map(|source| source.as_ptr()).collect();
            // SAFETY: a handle, text, and an array of text.
            call(|| unsafe { castio_amt_set_source_filter(handle, group.as_ptr(), mode, list.as_ptr(), list.len()) })
        })
    }

    pub fn filter_addr(&self, group: &str, mode: c_int, sources: &[&str]) -> Outcome {
        let ((group, len), sources): (_, Vec<_>) = (storage(group), sources.iter().map(|one| storage(one).0).collect());
        self.run(|handle| {
            let (group, list) = ((&raw const group).cast(), sources.as_ptr());
            // SAFETY: a handle, an address of this length, and an array of addresses.
            call(|| unsafe { castio_amt_set_source_filter_addr(handle, group, len, mode, list, sources.len()) })
        })
    }

    pub fn fd(&self) -> c_int {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_amt_fd(handle) })).unwrap() as c_int
    }

    pub fn timeout_ms(&self) -> c_int {
        let mut timeout_ms = c_int::MIN;
        let place = &mut timeout_ms;
        // SAFETY: a handle and a place.
        assert_eq!(self.run(|handle| call(|| unsafe { castio_amt_timeout_ms(handle, place) })), Ok(0));
        timeout_ms
    }

    pub fn process(&self) -> Outcome {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_amt_process(handle) }))
    }

    pub fn receive(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<Arrived>, Errno> {
        self.run(|handle| {
            let mut views = vec![empty_view(); capacity];
            let at = views.as_mut_ptr();
            // SAFETY: a handle and an array.
            let count = call(|| unsafe { castio_amt_receive(handle, at, capacity, timeout_ms) as i64 })?;
            Ok(views[..count as usize].iter().map(arrived).collect())
        })
    }

    pub fn info(&self) -> castio_amt_info {
        self.run(|handle| {
            // SAFETY: all zero is an info of nothing.
            let mut info: castio_amt_info = unsafe { std::mem::zeroed() };
            info.struct_size = size_of::<castio_amt_info>();
            // SAFETY: a handle, and a struct with its size.
            assert_eq!(call(|| unsafe { castio_amt_info(handle, &raw mut info) }), Ok(0));
            info
        })
    }

    /// The relay's address, as text.
    pub fn relay(&self) -> String {
        sockaddr::from_storage(&self.info().relay).map_or(String::new(), |relay| relay.to_string())
    }

    /// Keeps the gateway going until it is so.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        hosts::until(what, || {
            self.process().unwrap();
            is_so()
        });
    }

    /// The next datagrams, so many.
    #[track_caller]
    pub fn arrivals(&self, count: usize) -> Vec<Arrived> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.receive(64, 20_000).unwrap_or_else(|error| panic!("{error:?} after {}", all.len())));
        }
        assert_eq!(all.len(), count);
        all
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        // SAFETY: a handle, for the last time.
        self.run(|handle| unsafe { castio_amt_close(handle) });
    }
}

/// What a view tells.
pub fn arrived(view: &castio_datagram_view) -> Arrived {
    // SAFETY: addresses with their lengths.
    let read = |at, len| unsafe { sockaddr::from_raw(at, len) }.unwrap().to_string();
    Arrived {
        text: String::from_utf8_lossy(payload_of(view)).into_owned(),
        from: read(view.from, view.from_len),
        to: read(view.to, view.to_len),
        ttl: view.ttl,
        class: view.traffic_class,
    }
}

/// What a relay has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Discovery(Nonce),
    /// The flags as they are on the wire.
    Request(u8, Nonce),
    /// What is reported: "ToEx 232.1.2.3".
    Update(Vec<String>),
    Teardown(SocketAddr),
}

/// A relay that does nothing by itself.
pub struct Relay {
    socket: UdpSocket,
    /// The MAC that the next Queries give.
    pub mac: u8,
    pub dialect: Dialect,
    /// Whether Queries tell the gateway's address.
    pub tells: bool,
}

impl Relay {
    /// On port 2268 of this address.
    pub fn on(host: &Host, ip: &str) -> Relay {
        let ip: IpAddr = ip.parse().unwrap();
        let socket = host.run(|| UdpSocket::bind(SocketAddr::new(ip, 2268)).unwrap());
        socket.set_nonblocking(true).unwrap();
        Relay { socket, mac: 1, dialect: Dialect::Rfc, tells: false }
    }

    /// Over IPv6 its messages have no checksum from now on (UDP_NO_CHECK6_TX).
    pub fn leave_out_checksums(&self) {
        let one: libc::c_int = 1;
        let (at, len) = ((&raw const one).cast(), size_of_val(&one) as libc::socklen_t);
        // SAFETY: a number of the length told.
        let result = unsafe { libc::setsockopt(self.socket.as_raw_fd(), libc::SOL_UDP, 101, at, len) };
        assert_eq!(result, 0);
    }

    /// What has come and wasn't taken yet, with who sent it.
    pub fn heard(&self) -> Vec<(SocketAddr, Heard)> {
        let mut bytes = [0; 4096];
        let mut all = Vec::new();
        while let Ok((len, from)) = self.socket.recv_from(&mut bytes) {
            all.push((from, read(&bytes[..len])));
        }
        all
    }

    /// Answers each Request that has come; what else has come.
    pub fn answer(&self) -> Vec<(SocketAddr, Heard)> {
        let mut all = self.heard();
        for (from, heard) in &all {
            if let Heard::Request(flags, nonce) = heard {
                self.query(*from, *flags != 0, *nonce, false);
            }
        }
        all.retain(|(_, heard)| !matches!(heard, Heard::Request(..)));
        all
    }

    pub fn send(&self, to: SocketAddr, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.append(self.dialect, &mut bytes);
        self.socket.send_to(&bytes, to).unwrap();
    }

    pub fn advertise(&self, to: SocketAddr, nonce: Nonce, relay: &str) {
        self.send(to, &Message::RelayAdvertisement { nonce, relay: relay.parse().unwrap() });
    }

    pub fn query(&self, to: SocketAddr, mld: bool, nonce: Nonce, limited: bool) {
        let (version, router) = if mld { (Version::Mld2, "fe80::9") } else { (Version::Igmp3, "192.0.2.254") };
        let query = Query {
            version,
            group: None,
            max_response: Duration::from_secs(1),
            sources: Sources::NONE,
            suppress: false,
            robustness: 2,
            interval: Duration::from_secs(125),
        };
        let packet = listener::build_query(router.parse().unwrap(), &query).unwrap();
        let gateway = self.tells.then(|| wire::Gateway::from(to));
        let mac = ResponseMac([self.mac; 6]);
        self.send(to, &Message::MembershipQuery { limited, mac, nonce, packet: &packet, gateway });
    }

    /// A datagram from a source's port 9 to a group's port 5000, through the tunnel.
    pub fn data(&self, to: SocketAddr, source: &str, group: &str, text: &str) {
        self.data_to_port(to, source, group, 5000, text);
    }

    pub fn data_to_port(&self, to: SocketAddr, source: &str, group: &str, port: u16, text: &str) {
        self.send(to, &Message::MulticastData { packet: &packet(source, group, port, text) });
    }

    /// Waits for a message, answering Requests meanwhile, while the gateway goes on; who sent it.
    #[track_caller]
    pub fn hears(&self, gateway: &Gateway<'_>, expected: &[&str]) -> SocketAddr {
        let (mut found, mut other) = (None, Vec::new());
        let end = Instant::now() + Duration::from_secs(20);
        while found.is_none() {
            assert!(Instant::now() < end, "{expected:?} didn't come, but {other:?}");
            gateway.process().unwrap();
            for (from, heard) in self.answer() {
                match heard {
                    Heard::Update(lines) if lines == expected => found = Some(from),
                    heard => other.push(heard),
                }
            }
        }
        found.unwrap()
    }
}

fn read(bytes: &[u8]) -> Heard {
    match Message::decode(bytes).unwrap().0 {
        Message::RelayDiscovery { nonce } => Heard::Discovery(nonce),
        Message::Request { nonce, .. } => Heard::Request(bytes[1], nonce),
        Message::MembershipUpdate { packet, .. } => Heard::Update(report(packet)),
        Message::Teardown { gateway, .. } => Heard::Teardown(gateway.address()),
        other => panic!("{other:?}"),
    }
}

/// The records of a report, as text.
pub fn report(packet: &[u8]) -> Vec<String> {
    let packet = Packet::parse(packet).unwrap();
    let report = listener::parse_report(&packet).unwrap();
    let is_old = matches!(report.version, Version::Igmp2 | Version::Mld1);
    let name = |kind| match kind {
        Kind::ChangeToInclude if is_old => "Leave",
        Kind::ModeIsInclude => "Is",
        Kind::ModeIsExclude => "IsEx",
        Kind::ChangeToInclude => "To",
        Kind::ChangeToExclude => "ToEx",
        Kind::AllowNewSources => "Allow",
        Kind::BlockOldSources => "Block",
    };
    let sources = |sources: Sources<'_>| sources.iter().map(|one| format!(" {one}")).collect::<String>();
    let line =
        |record: listener::Record<'_>| format!("{} {}{}", name(record.kind), record.group, sources(record.sources));
    let mut lines: Vec<String> = report.records().map(line).collect();
    lines.sort();
    lines
}

/// A datagram from a source's port 9 to a group's port, TTL 33, traffic class 0x20.
pub fn packet(source: &str, group: &str, port: u16, text: &str) -> Vec<u8> {
    let header = Header::new(source.parse().unwrap(), group.parse().unwrap());
    let header = Header { ttl: 33, traffic_class: 0x20, dont_fragment: true, ..header };
    header.datagram([9, port], text.as_bytes())
}
