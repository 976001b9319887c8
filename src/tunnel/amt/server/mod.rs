//! A relay on sockets: reads what gateways say and what comes by multicast, and sends what the
//! machine in [`super::relay`] wants sent.

mod fanout;
mod ingress;
mod inner;
mod listener;
mod options;
mod report;
mod upstream;

use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::relay::{Counters, Relay, Transmit};
use crate::datagram::receive::Reader;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::epoll::Readable;
use crate::sys::option::Family;
use crate::sys::random;
use fanout::Fanout;
use ingress::Ingress;
use listener::Listener;
pub use options::Options;
use upstream::Upstream;

/// For messages of gateways, none of which is longer than what a network carries.
const SLOTS: usize = 128;
const SLOT_SIZE: usize = 9216;
/// As many sockets as are looked at in one go.
const READY: usize = 64;
/// How long one call joins and leaves groups upstream: each takes a system call, which is slow where there are
/// many, and gateways and data wait meanwhile. The rest is done by the next calls.
const UPSTREAM_TIME: Duration = Duration::from_millis(5);

/// Where a descriptor's number is from: gateways' sockets from 0, others from here on.
const INGRESS: u64 = 1 << 32;
const UPSTREAM: u64 = 2 << 32;

/// A relay.
pub struct Server {
    relay: Relay,
    listeners: Vec<Listener>,
    upstream: Upstream,
    ingress: Ingress,
    fanout: Fanout,
    /// What gateways say.
    reader: Reader,
    answers: Vec<Transmit>,
    readable: Readable,
    ready: Vec<u64>,
    keep_ttl: bool,
}

impl Server {
    /// Opens all sockets.
    pub fn open(options: Options) -> Result<Server> {
        let relay = Relay::new(options.settings, random::bytes(), Instant::now())?;
        let mut listeners = Vec::with_capacity(options.listen.len());
        for address in options.listen {
            match Listener::open(address, options.mtu) {
                // All addresses: a host without IPv6 has none of IPv6.
                Err(Errno::EAFNOSUPPORT) if address.ip().is_unspecified() => {}
                listener => listeners.push(listener?),
            }
        }
        let upstream = Upstream::open(options.upstream)?;
        let ingress = Ingress::open(&options.ports)?;
        // Of IPv4 nobody can be told where only packets' payloads come in: whether they may be fragmented isn't
        // seen, and so they are.
        let told = if options.ports.is_empty() { &[Family::V4, Family::V6][..] } else { &[Family::V6] };
        let mut readable = Readable::new(READY)?;
        for (listener, number) in listeners.iter().zip(0..) {
            readable.add(listener.fd(), number)?;
        }
        for (fd, number) in ingress.fds().zip(INGRESS..) {
            readable.add(fd, number)?;
        }
        for (fd, number) in upstream.fds().into_iter().zip(UPSTREAM..) {
            readable.add(fd, number)?;
        }
        Ok(Server {
            relay,
            fanout: Fanout::open(listeners.len(), told, Instant::now())?,
            listeners,
            upstream,
            ingress,
            reader: Reader::new(SLOTS, SLOT_SIZE)?,
            answers: Vec::with_capacity(SLOTS),
            readable,
            ready: Vec::with_capacity(READY),
            keep_ttl: options.keep_ttl,
        })
    }

    /// To wait on.
    pub fn fd(&self) -> RawFd {
        self.readable.fd().as_raw_fd()
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Instant {
        if self.relay.has_changes() {
            return Instant::now();
        }
        self.upstream.timer().map_or(self.relay.timeout(), |at| at.min(self.relay.timeout()))
    }

    /// Does what there is to do, one batch from each socket that has one; how many messages and packets
    /// came in.
    pub fn process(&mut self) -> Result<usize> {
        let now = Instant::now();
        if self.relay.timeout() <= now {
            self.relay.handle_timeout(now);
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        match self.readable.take() {
            Err(Errno::EINTR) => {}
            numbers => ready.extend(numbers?),
        }
        let mut result = Ok(0);
        for number in &ready {
            let one = self.read(*number, now);
            result = result.and_then(|count| Ok(count + one?));
        }
        self.ready = ready;
        if self.upstream.timer().is_some_and(|at| at <= now) {
            self.upstream.process()?;
        }
        self.upstream.follow(&mut self.relay, Instant::now() + UPSTREAM_TIME);
        result
    }

    fn read(&mut self, number: u64, now: Instant) -> Result<usize> {
        if number >= UPSTREAM {
            return self.upstream.process().map(|()| 0);
        }
        if number >= INGRESS {
            let door = (number - INGRESS) as usize;
            self.ingress.read(door, &mut self.upstream, self.relay.counters_mut(), self.keep_ttl)?;
            self.fanout.forward(now, &mut self.relay, &mut self.listeners, &self.ingress);
            return Ok(self.ingress.inners.len());
        }
        let Some(listener) = self.listeners.get_mut(number as usize) else { return Ok(0) };
        let count = listener.read(number as u16, now, &mut self.relay, &mut self.reader)?;
        self.answers.clear();
        self.answers.extend(std::iter::from_fn(|| self.relay.poll_transmit()));
        let sent = listener.answer(&self.answers);
        self.relay.counters_mut().dropped_answer += (self.answers.len() - sent) as u64;
        Ok(count)
    }

    /// [`Server::process`] again and again, until the time has passed.
    pub fn run(&mut self, mut deadline: Deadline) -> Result<()> {
        loop {
            self.process()?;
            let timer = self.timer();
            let until = match deadline.start() {
                Deadline::At(end) if end <= Instant::now() => return Ok(()),
                Deadline::Now => return Ok(()),
                Deadline::At(end) => end.min(timer),
                _ => timer,
            };
            match Deadline::At(until).wait(self.readable.fd()) {
                Ok(_) | Err(Errno::ETIMEDOUT) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        self.relay.counters()
    }

    /// How many joins upstream failed.
    pub fn refused_joins(&self) -> u64 {
        self.upstream.refused
    }

    /// The machine.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }
}
