//! Asks DNS servers for relays: over UDP, and over TCP what UDP has no room for.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::dns::{self, Answer, Data, Failure, Type};
use super::driad::{self, Relay, Shuffle};
use super::name::Name;
use super::{PORT, resolv_conf};
use crate::error::{Errno, Result};
use crate::sys::random;

/// How often each server is asked.
const ROUNDS: usize = 2;
/// The longest wait for one server, as the C library's.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many names in a row are followed that a server left at an alias.
const ALIASES_MAX: usize = 8;
/// More than anybody has, fewer than would keep a host busy.
const RELAYS_MAX: usize = 32;
/// Room for a response over UDP: more than is asked for.
const UDP_ROOM: usize = 4096;

/// What a server said.
type Asked = std::result::Result<Answer, Failure>;

/// A relay to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its address and port.
    pub endpoint: SocketAddr,
    /// Whether a Request may go there without a Discovery.
    pub discovery_optional: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// In the order to try them.
    pub relays: Vec<Candidate>,
    /// Whether no other relay is to be used for this source (RFC 8777, section 4.2.4).
    pub no_others: bool,
    /// How many seconds this is good for.
    pub ttl: u32,
}

/// The relays for a source, from the servers in the text of resolv.conf(5): see
/// [`Resolver::relays_of`].
pub fn resolve(source: IpAddr, timeout: Duration, resolv_conf: &str) -> Result<Candidates> {
    Resolver::new(resolv_conf::servers(resolv_conf), timeout).relays_of(source)
}

/// Servers, and until when they are asked.
pub struct Resolver {
    servers: Vec<SocketAddr>,
    deadline: Option<Instant>,
}

impl Resolver {
    /// Asks these, one after the other, for so long from now on.
    pub fn new(servers: Vec<SocketAddr>, timeout: Duration) -> Resolver {
        Resolver { servers, deadline: Instant::now().checked_add(timeout) }
    }

    /// The relays that carry a source (RFC 8777): the AMTRELAY records of its reverse name, by
    /// precedence, names made addresses. None after a record that says that there is none.
    ///
    /// `ENOENT` if there is no such name, `ETIMEDOUT` if nobody answers in time, `EIO` if the servers
    /// couldn't find out or answer nonsense.
    pub fn relays_of(&self, source: IpAddr) -> Result<Candidates> {
        let answer = self.lookup(&Name::reverse(source), Type::AMTRELAY)?;
        let mut found = Candidates { ttl: answer.ttl, ..Candidates::default() };
        let mut relays: Vec<_> = answer.records.into_iter().filter_map(relay).collect();
        driad::sort(&mut relays, &mut shuffle());
        for relay in relays.into_iter().take(RELAYS_MAX) {
            let optional = relay.discovery_optional;
            match relay.relay {
                Relay::None => {
                    found.no_others = true;
                    break;
                }
                Relay::Address(ip) => found.push(ip, PORT, optional),
                Relay::Name(name) => self.addresses(&name, PORT, optional, &mut found)?,
            }
        }
        Ok(found)
    }

    /// The relays that a network offers in its domain by service discovery (RFC 8777, section 3.1.2;
    /// RFC 6763): the instances of `_amt._udp`, by priority and weight.
    ///
    /// Errors as for [`relays_of`](Resolver::relays_of); `EINVAL` if the domain is too long.
    pub fn relays_in(&self, domain: &Name) -> Result<Candidates> {
        let answer = self.lookup(&Name::service(domain).ok_or(Errno::EINVAL)?, Type::PTR)?;
        let mut found = Candidates { ttl: answer.ttl, ..Candidates::default() };
        let mut servers = Vec::new();
        for record in answer.records.into_iter().take(RELAYS_MAX) {
            if let Data::Pointer(instance) = record {
                let services = found.part(self.lookup(&instance, Type::SRV))?;
                servers.extend(services.into_iter().filter_map(|record| match record {
                    Data::Service(server) => Some(server),
                    _ => None,
                }));
            }
        }
        driad::sort_servers(&mut servers, &mut shuffle());
        for server in servers.iter().take(RELAYS_MAX) {
            self.addresses(&server.target, server.port, false, &mut found)?;
        }
        Ok(found)
    }

    fn addresses(&self, name: &Name, port: u16, optional: bool, found: &mut Candidates) -> Result<()> {
        for kind in [Type::AAAA, Type::A] {
            for record in found.part(self.lookup(name, kind))? {
                if let Data::Address(ip) = record {
                    found.push(ip, port, optional);
                }
            }
        }
        Ok(())
    }

    /// What a name has of a type, at the end of its aliases.
    pub fn lookup(&self, name: &Name, kind: Type) -> Result<Answer> {
        let mut answer = self.ask_all(name, kind)?;
        for _ in 0..ALIASES_MAX {
            if !answer.records.is_empty() || answer.name == *name {
                return Ok(answer);
            }
            let (alias, ttl) = (answer.name, answer.ttl);
            answer = self.ask_all(&alias, kind)?;
            answer.ttl = answer.ttl.min(ttl);
            if answer.records.is_empty() && answer.name == alias {
                return Ok(answer);
            }
        }
        Err(Errno::EIO)
    }

    fn ask_all(&self, name: &Name, kind: Type) -> Result<Answer> {
        let mut tries = self.servers.len() * ROUNDS;
        let mut last = Errno::ETIMEDOUT;
        for server in self.servers.iter().cycle().take(tries) {
            let wait = self.left()? / u32::try_from(tries).unwrap_or(1).max(1);
            tries -= 1;
            match ask(*server, name, kind, Instant::now() + wait.min(WAIT_MAX)) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::NoName)) => return Err(Errno::ENOENT),
                Ok(Err(_)) => last = Errno::EIO,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn left(&self) -> Result<Duration> {
        let left = self.deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(Errno::ETIMEDOUT) } else { Ok(left) }
    }
}

impl Candidates {
    fn push(&mut self, ip: IpAddr, port: u16, discovery_optional: bool) {
        if self.relays.len() < RELAYS_MAX {
            self.relays.push(Candidate { endpoint: SocketAddr::new(ip, port), discovery_optional });
        }
    }

    /// What a name in an answer leads to; nothing if that name isn't there, or has nothing.
    fn part(&mut self, answer: Result<Answer>) -> Result<Vec<Data>> {
        match answer {
            Ok(answer) if answer.records.is_empty() => Ok(answer.records),
            Ok(answer) => {
                self.ttl = self.ttl.min(answer.ttl);
                Ok(answer.records)
            }
            // The other names may do.
            Err(Errno::ENOENT | Errno::EIO) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn relay(record: Data) -> Option<driad::AmtRelay> {
    match record {
        Data::Relay(relay) => Some(relay),
        _ => None,
    }
}

/// Asks one server, in as many ways as it takes.
fn ask(server: SocketAddr, name: &Name, kind: Type, until: Instant) -> Result<Asked> {
    let mut answer = over_udp(server, name, kind, true, until)?;
    if matches!(answer, Err(Failure::Format | Failure::Code(4))) {
        // A server from before EDNS.
        answer = over_udp(server, name, kind, false, until)?;
    }
    match answer {
        Err(Failure::Truncated) => over_tcp(server, name, kind, until),
        answer => Ok(answer),
    }
}

/// From a port that the kernel picks at random, and connected: nobody else's datagrams come.
fn over_udp(server: SocketAddr, name: &Name, kind: Type, edns: bool, until: Instant) -> Result<Asked> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).map_err(errno)?;
    socket.connect(server).map_err(errno)?;
    let id = u16::from_ne_bytes(random::bytes());
    socket.send(&dns::query(id, name, kind, edns)).map_err(errno)?;
    let mut buffer = vec![0; UDP_ROOM];
    loop {
        socket.set_read_timeout(Some(left(until)?)).map_err(errno)?;
        let len = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(errno)?,
        };
        match dns::answer(buffer.get(..len).unwrap_or_default(), id, name, kind) {
            Err(Failure::NotOurs) => {}
            answer => return Ok(answer),
        }
    }
}

fn over_tcp(server: SocketAddr, name: &Name, kind: Type, until: Instant) -> Result<Asked> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?).map_err(errno)?;
    let id = u16::from_ne_bytes(random::bytes());
    let query = dns::query(id, name, kind, true);
    let len = u16::try_from(query.len()).map_err(|_| Errno::EMSGSIZE)?;
    stream.set_write_timeout(Some(left(until)?)).map_err(errno)?;
    stream.write_all(&[&len.to_be_bytes(), query.as_slice()].concat()).map_err(errno)?;
    let mut len = [0; 2];
    read_all(&mut stream, &mut len, until)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    read_all(&mut stream, &mut message, until)?;
    Ok(dns::answer(&message, id, name, kind))
}

fn read_all(stream: &mut TcpStream, mut room: &mut [u8], until: Instant) -> Result<()> {
    while !room.is_empty() {
        stream.set_read_timeout(Some(left(until)?)).map_err(errno)?;
        match stream.read(room) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => room = room.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(error)),
        }
    }
    Ok(())
}

/// For a socket's time-out, which 0 would take away.
fn left(until: Instant) -> Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Errno::ETIMEDOUT) } else { Ok(left.max(Duration::from_millis(1))) }
}

fn errno(error: io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Errno::ETIMEDOUT,
        // A server that breaks off.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Errno::EIO,
        _ => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    }
}

fn shuffle() -> Shuffle {
    Shuffle::new(u64::from_ne_bytes(random::bytes()))
}
