//! An AMT gateway for one program: the machine of [`super::gateway`] with sockets and a clock.
//!
//! Plain UDP sockets, one for each family, unconnected: the address to send from may change while the
//! tunnel is up, and answers to a Discovery come from another address than the relay's.

mod socket;
pub mod text;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use super::gateway::{Candidate, Filter, Gateway, Options, Payload, Random, State, Transmit, counters::Counters};
use crate::datagram::receive::Reader;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::epoll::Readable;
use crate::sys::poll::Events;
use crate::sys::random;
use crate::sys::sockaddr::SocketAddress;
use socket::Socket;

/// As long as a datagram, or a coalesced run of them, can be.
const SLOT_SIZE: usize = 65_536;
/// How often the slots are filled in one go.
const FILLS_MAX: usize = 16;
/// The most pairs of addresses that one call tells of; the others come with the next.
const ADDRESSES: usize = 256;

/// How a client works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The relays, or addresses to ask for one.
    pub candidates: Vec<Candidate>,
    /// The address to send from; unspecified for the kernel's choice. Only the socket of its family is
    /// bound to it.
    pub local: Option<IpAddr>,
    /// The port to send from; 0 for the kernel's choice.
    pub port: u16,
    /// How many datagrams, or runs, are taken from the kernel at once.
    pub slots: usize,
    /// See [`Options`].
    pub ecn: bool,
    /// See [`Options`].
    pub leave_silent: bool,
}

/// A datagram for the application.
pub struct Delivered<'c> {
    /// Its bytes.
    pub payload: &'c [u8],
    /// The multicast sender.
    pub from: &'c SocketAddress,
    /// The group, and the port.
    pub to: &'c SocketAddress,
    /// The same as addresses.
    pub ends: (SocketAddr, SocketAddr),
    /// TTL or hop limit, as the relay had it.
    pub ttl: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// When the kernel received it, in nanoseconds since 1970; 0 if it isn't known.
    pub time_ns: u64,
    /// Datagrams dropped by the socket since the one before.
    pub drops: u32,
}

/// A datagram that waits to be handed out.
#[derive(Clone, Copy)]
struct Ready {
    ends: (SocketAddr, SocketAddr),
    place: Place,
    ttl: u8,
    traffic_class: u8,
    time_ns: u64,
    drops: u32,
}

#[derive(Clone, Copy)]
enum Place {
    Slot { slot: usize, offset: usize, len: usize },
    Assembled(usize),
}

/// The shell.
pub struct Client {
    gateway: Gateway,
    v4: Option<Socket>,
    v6: Option<Socket>,
    settings: Settings,
    readable: Readable,
    reader: Reader,
    /// The first slots are from the IPv4 socket.
    v4_slots: usize,
    held: Option<Ready>,
    addresses: Vec<(SocketAddr, SocketAddress, SocketAddr, SocketAddress)>,
    socket_drops: u64,
}

impl Client {
    /// Opens the sockets that the candidates need. `EINVAL` without a candidate or with more than 1,024
    /// slots.
    pub fn open(settings: Settings) -> Result<Client> {
        if settings.candidates.is_empty() {
            return Err(Errno::EINVAL);
        }
        let options =
            Options { candidates: settings.candidates.clone(), ecn: settings.ecn, leave_silent: settings.leave_silent };
        let mut client = Client {
            gateway: Gateway::new(options, Random::new(random::bytes()?)),
            v4: None,
            v6: None,
            readable: Readable::new(2)?,
            reader: Reader::new(settings.slots, SLOT_SIZE)?,
            v4_slots: 0,
            held: None,
            addresses: Vec::with_capacity(ADDRESSES),
            socket_drops: 0,
            settings,
        };
        client.open_sockets()?;
        Ok(client)
    }

    /// One family may be missing on this host, not both.
    fn open_sockets(&mut self) -> Result<()> {
        let mut result = Err(Errno::EAFNOSUPPORT);
        for v6 in [false, true] {
            if self.settings.candidates.iter().any(|candidate| candidate.address.is_ipv6() == v6) {
                match self.socket(v6) {
                    Ok(_) => result = Ok(()),
                    Err(Errno::EAFNOSUPPORT) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        result
    }

    fn socket(&mut self, v6: bool) -> Result<&Socket> {
        let place = if v6 { &mut self.v6 } else { &mut self.v4 };
        match place {
            Some(socket) => Ok(socket),
            none => {
                let socket = Socket::open(v6, self.settings.local, self.settings.port)?;
                self.readable.add(socket.fd(), u64::from(v6))?;
                Ok(none.insert(socket))
            }
        }
    }

    /// Listens to a group, or to one source of it. `EADDRINUSE` if it does already, or to the group in the
    /// other way.
    pub fn join(&mut self, group: IpAddr, source: Option<IpAddr>) -> Result<()> {
        check(group, source)?;
        let filter = match (self.gateway.filter(group), source) {
            (None, None) => Filter::any(),
            (None, Some(source)) => Filter::only([source]),
            (Some(old), Some(source)) if !old.is_exclude() && !old.passes(source) => {
                Filter::only(old.sources().iter().copied().chain([source]))
            }
            _ => return Err(Errno::EADDRINUSE),
        };
        self.apply(group, filter)
    }

    /// The reverse. `EADDRNOTAVAIL` if it doesn't listen in this way.
    pub fn leave(&mut self, group: IpAddr, source: Option<IpAddr>) -> Result<()> {
        check(group, source)?;
        let filter = match (self.gateway.filter(group), source) {
            (Some(old), None) if old.is_exclude() => Filter::none(),
            (Some(old), Some(source)) if !old.is_exclude() && old.passes(source) => {
                Filter::only(old.sources().iter().copied().filter(|one| *one != source))
            }
            _ => return Err(Errno::EADDRNOTAVAIL),
        };
        self.apply(group, filter)
    }

    /// Listens to these sources of a group from now on, whatever it was before.
    pub fn set_filter(&mut self, group: IpAddr, filter: Filter) -> Result<()> {
        check(group, None)?;
        filter.sources().iter().try_for_each(|source| check(group, Some(*source)))?;
        self.apply(group, filter)
    }

    fn apply(&mut self, group: IpAddr, filter: Filter) -> Result<()> {
        let now = Instant::now();
        self.gateway.set_filter(now, group, filter);
        self.service(now);
        Ok(())
    }

    /// Does what is due, and sends what is to be sent.
    fn service(&mut self, now: Instant) {
        self.gateway.handle_timeout(now);
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        while let Some(transmit) = self.gateway.poll_transmit() {
            // What finds no room is asked or told again in its time.
            if let Err(error) = self.send(now, &transmit) {
                if !matches!(error, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) {
                    self.gateway.handle_unreachable(now, transmit.to);
                }
            }
        }
    }

    fn send(&mut self, now: Instant, transmit: &Transmit) -> Result<()> {
        let v6 = transmit.to.is_ipv6();
        match self.socket(v6)?.send(transmit) {
            // It may be of one before: this is where a socket tells of ICMP.
            Err(error) if error != Errno::EAGAIN => {
                self.take_errors(now, v6);
                self.socket(v6)?.send(transmit)
            }
            result => result,
        }
    }

    /// What the network said of what was sent.
    fn take_errors(&mut self, now: Instant, v6: bool) {
        let Some(socket) = (if v6 { &self.v6 } else { &self.v4 }) else { return };
        while let Some(to) = socket.next_error() {
            self.gateway.handle_unreachable(now, to);
        }
    }

    /// Does what there is to do, without waiting; whether a datagram waits for [`Client::receive`].
    pub fn process(&mut self) -> Result<bool> {
        self.hold()?;
        self.service(Instant::now());
        Ok(self.held.is_some())
    }

    /// Reads until there is a datagram for the application, or nothing more.
    fn hold(&mut self) -> Result<()> {
        // A flood of what nobody wants mustn't keep the caller here.
        for _ in 0..FILLS_MAX {
            if self.held.is_some() {
                break;
            }
            if !self.reader.has_more() {
                self.fill(Instant::now())?;
                if !self.reader.has_more() {
                    break;
                }
            }
            self.held = self.next_ready(Instant::now());
        }
        Ok(())
    }

    /// Fills the slots with what there is.
    fn fill(&mut self, now: Instant) -> Result<()> {
        self.reader.clear();
        self.gateway.release();
        for v6 in [false, true] {
            let socket = if v6 { &self.v6 } else { &self.v4 };
            if let Some(socket) = socket.as_ref().filter(|_| self.reader.has_room()) {
                match self.reader.fill(socket.fd()) {
                    Ok(()) => {}
                    Err(error @ (Errno::ENOMEM | Errno::ENOBUFS | Errno::EBADF)) => return Err(error),
                    // Nothing, or the network's word on what was sent.
                    Err(_) => self.take_errors(now, v6),
                }
            }
            if !v6 {
                self.v4_slots = self.reader.filled();
            }
        }
        Ok(())
    }

    /// The next datagram for the application among those that were read.
    fn next_ready(&mut self, now: Instant) -> Option<Ready> {
        while self.reader.has_more() {
            let slot = self.reader.position();
            let socket = if slot < self.v4_slots { self.v4.as_mut() } else { self.v6.as_mut() };
            let Some(view) = self.reader.next_view(&mut socket?.drops) else { break };
            let class = view.packet.told.traffic_class.unwrap_or(0) as u8;
            let (time_ns, drops) = (view.packet.told.time_ns.unwrap_or(0), view.drops);
            self.socket_drops += u64::from(drops);
            let (Some(from), bytes) = (view.source(), view.bytes()) else { continue };
            let Some(inner) = self.gateway.handle_input(now, from, class, bytes) else { continue };
            let place = match inner.payload {
                Payload::Assembled(number) => Place::Assembled(number),
                Payload::Here(payload) => {
                    let before = payload.as_ptr().addr() - bytes.as_ptr().addr();
                    Place::Slot { slot, offset: view.offset + before, len: payload.len() }
                }
            };
            let ends = (inner.source, inner.destination);
            return Some(Ready { ends, place, ttl: inner.ttl, traffic_class: inner.traffic_class, time_ns, drops });
        }
        None
    }

    /// Waits until there is a datagram, keeping the tunnel up meanwhile, then calls `each` for at most
    /// `limit`; how many. Their memory stays as it is until the next call.
    pub fn receive(
        &mut self,
        limit: usize,
        mut deadline: Deadline,
        mut each: impl FnMut(&Delivered<'_>),
    ) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        loop {
            let count = self.take(limit, &mut each)?;
            if count > 0 {
                return Ok(count);
            }
            self.pause(&mut deadline)?;
        }
    }

    /// What there is now, without waiting.
    pub fn take(&mut self, limit: usize, each: &mut impl FnMut(&Delivered<'_>)) -> Result<usize> {
        self.addresses.clear();
        self.hold()?;
        let (now, mut count) = (Instant::now(), 0);
        while count < limit {
            let Some(ready) = self.held.take().or_else(|| self.next_ready(now)) else { break };
            if !self.has_addresses(ready.ends) {
                self.held = Some(ready);
                break;
            }
            self.give(&ready, each);
            count += 1;
        }
        self.service(now);
        Ok(count)
    }

    /// Room for another pair of addresses; a datagram between the same ends as the one before needs none.
    fn has_addresses(&mut self, (from, to): (SocketAddr, SocketAddr)) -> bool {
        let is_same = self.addresses.last().is_some_and(|last| last.0 == from && last.2 == to);
        let has_room = is_same || self.addresses.len() < ADDRESSES;
        if has_room && !is_same {
            self.addresses.push((from, from.into(), to, to.into()));
        }
        has_room
    }

    fn give(&self, ready: &Ready, each: &mut impl FnMut(&Delivered<'_>)) {
        let payload = match ready.place {
            Place::Assembled(number) => self.gateway.assembled(number),
            Place::Slot { slot, offset, len } => self.reader.bytes(slot, offset, len).unwrap_or_default(),
        };
        let Some((_, from, _, to)) = self.addresses.last() else { return };
        let Ready { ends, ttl, traffic_class, time_ns, drops, .. } = *ready;
        each(&Delivered { payload, from, to, ends, ttl, traffic_class, time_ns, drops });
    }

    /// Waits until something arrives or is due.
    fn pause(&self, deadline: &mut Deadline) -> Result<()> {
        wait(self.readable.fd(), self.timer(), deadline)
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        // What was read and not handed out doesn't make a descriptor readable.
        if self.held.is_some() || self.reader.has_more() { Some(Instant::now()) } else { self.gateway.timeout() }
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.readable.fd()
    }

    /// The same as a number.
    pub fn raw_fd(&self) -> i32 {
        self.readable.fd().as_raw_fd()
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.gateway.state()
    }

    /// The relay, once there is one.
    pub fn relay(&self) -> Option<SocketAddr> {
        self.gateway.relay()
    }

    /// How many groups are listened to.
    pub fn group_count(&self) -> usize {
        self.gateway.group_count()
    }

    /// What was done and dropped.
    pub fn counters(&self) -> &Counters {
        self.gateway.counters()
    }

    /// Datagrams that the sockets dropped for want of room.
    pub fn socket_drops(&self) -> u64 {
        self.socket_drops
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.gateway.close();
        self.flush(Instant::now());
    }
}

/// Waits until a descriptor is readable, a time has come, or the deadline has passed, which alone is an
/// error.
pub(crate) fn wait(fd: BorrowedFd<'_>, timer: Option<Instant>, deadline: &mut Deadline) -> Result<()> {
    let ends_first = match (timer, deadline.start()) {
        (Some(_), Deadline::Never) => true,
        (Some(timer), Deadline::At(end)) => timer < end,
        _ => false,
    };
    let Some(timer) = timer.filter(|_| ends_first) else { return deadline.wait(fd, Events::IN).map(drop) };
    match Deadline::At(timer).wait(fd, Events::IN) {
        Err(Errno::ETIMEDOUT | Errno::EAGAIN) => Ok(()),
        result => result.map(drop),
    }
}

/// `EINVAL` for what no relay carries, `EAFNOSUPPORT` for families that disagree.
pub(crate) fn check(group: IpAddr, source: Option<IpAddr>) -> Result<()> {
    let stays_here = match group {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(_) => crate::address::needs_interface(group),
    };
    if !group.is_multicast() || stays_here {
        return Err(Errno::EINVAL);
    }
    match source {
        Some(source) if source.is_ipv4() != group.is_ipv4() => Err(Errno::EAFNOSUPPORT),
        Some(source) if source.is_multicast() || source.is_unspecified() => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
