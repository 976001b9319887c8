//! Packets to tunnels: each to many, in trains where sizes are equal.

use std::io::IoSlice;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ingress::Ingress;
use super::inner::{Body, Inner, Made, Message, Workshop};
use super::listener::Listener;
use crate::datagram::send::{Datagram, Datagrams, Manner};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::memory::Gather;
use crate::sys::mmsg::Destination;
use crate::sys::option::Family;
use crate::sys::sockaddr::CompactAddress;
use crate::tunnel::amt::mac::Capability;
use crate::tunnel::amt::relay::{Counters, Relay};
use crate::tunnel::ecn;
use crate::tunnel::too_big::Teller;

/// As many packets as go to a tunnel in one go.
const CHUNK: usize = 64;
/// How long the kernel gets to make room for what is to be sent.
const PATIENCE: Duration = Duration::from_millis(2);

/// A tunnel that is to get packets.
#[derive(Clone, Copy)]
struct Receiver {
    address: CompactAddress,
    /// The relay's address, where the socket has more than one.
    from: Option<IpAddr>,
    /// Congestion marks go outside too (RFC 9601, section 6.1.4.2).
    ecn: ecn::Mode,
}

/// Room for what is under way, so that nothing is allocated for a packet.
pub(super) struct Fanout {
    /// By socket.
    receivers: Vec<Vec<Receiver>>,
    messages: Vec<Message>,
    workshop: Workshop,
    /// Tells sources of what is too large.
    teller: Teller,
}

impl Fanout {
    /// `told` are the families whose sources are told of what is too large.
    pub fn open(sockets: usize, told: &[Family], now: Instant) -> Result<Fanout> {
        let (receivers, teller) = ((0..sockets).map(|_| Vec::new()).collect(), Teller::open(told, now)?);
        Ok(Fanout { receivers, messages: Vec::new(), workshop: Workshop::default(), teller })
    }

    /// Sends what has come in to all who want it.
    pub fn forward(&mut self, now: Instant, relay: &mut Relay, listeners: &mut [Listener], ingress: &Ingress) {
        let same_flow = |one: &Inner, other: &Inner| one.group == other.group && one.source == other.source;
        for flow in ingress.inners.chunk_by(same_flow) {
            for run in flow.chunks(CHUNK) {
                self.find_receivers(now, relay, listeners, run);
                let narrowest = self.narrowest(listeners);
                for (number, (listener, receivers)) in listeners.iter_mut().zip(&self.receivers).enumerate() {
                    if receivers.is_empty() {
                        continue;
                    }
                    let counters = relay.counters_mut();
                    self.messages.clear();
                    self.workshop.copied.clear();
                    for inner in run {
                        let made =
                            self.workshop.make(inner, ingress.slot(inner.slot), listener.limit, &mut self.messages);
                        match made {
                            Some(Made::Whole) => {}
                            Some(Made::Fragmented) => counters.fragmented += 1,
                            Some(Made::TooLarge) => {
                                counters.dropped_too_large += receivers.len() as u64;
                                let is_told = narrowest == Some(number)
                                    && self.teller.tell(&self.workshop.too_large, listener.limit, now);
                                counters.told_too_large += u64::from(is_told);
                            }
                            None => counters.dropped_packet += 1,
                        }
                    }
                    for messages in self.messages.chunks(CHUNK) {
                        let mut parts = [[IoSlice::new(&[]); 2]; CHUNK];
                        for (part, message) in parts.iter_mut().zip(messages) {
                            let body = match message.body {
                                Body::Slot(slot, start, end) => ingress.slot(slot).get(start..end),
                                Body::Copied(start, end) => self.workshop.copied.get(start..end),
                            };
                            *part = [IoSlice::new(message.prefix()), IoSlice::new(body.unwrap_or_default())];
                        }
                        let mut copies = Copies { messages, parts: &parts, receivers, skip: 0 };
                        send(listener, &mut copies, counters);
                    }
                }
            }
        }
    }

    /// The first socket of those with the smallest limit of all that have receivers: what is too large for any
    /// is for this one, and its limit is what the source is told, once (RFC 7450, section 5.3.3.6.2).
    fn narrowest(&self, listeners: &[Listener]) -> Option<usize> {
        let all = listeners.iter().zip(&self.receivers).enumerate();
        let wanted = all.filter(|(_, (_, receivers))| !receivers.is_empty());
        wanted.min_by_key(|(_, (listener, _))| listener.limit).map(|(number, _)| number)
    }

    fn find_receivers(&mut self, now: Instant, relay: &mut Relay, listeners: &[Listener], run: &[Inner]) {
        self.receivers.iter_mut().for_each(Vec::clear);
        let Some(first) = run.first() else { return };
        let bytes = run.iter().map(|inner| (inner.body.1 - inner.body.0) as u64).sum();
        let receivers = &mut self.receivers;
        relay.each_destination(now, (first.group, first.source), (run.len() as u64, bytes), |tunnel, local| {
            let number = usize::from(local.socket);
            let (Some(list), Some(listener)) = (receivers.get_mut(number), listeners.get(number)) else { return };
            list.push(Receiver {
                address: CompactAddress::from(tunnel.endpoint),
                from: listener.source(local.address),
                ecn: match tunnel.capability {
                    Capability::Ecn => ecn::Mode::Normal,
                    _ => ecn::Mode::Compatibility,
                },
            });
        });
    }
}

/// Each message to each receiver, one receiver after the other.
struct Copies<'a> {
    messages: &'a [Message],
    parts: &'a [[IoSlice<'a>; 2]; CHUNK],
    receivers: &'a [Receiver],
    /// What is done.
    skip: usize,
}

impl<'a> Copies<'a> {
    fn find(&self, index: usize) -> Option<(&'a Receiver, &'a Message, &'a [IoSlice<'a>; 2])> {
        let index = index + self.skip;
        let message = index % self.messages.len();
        Some((self.receivers.get(index / self.messages.len())?, self.messages.get(message)?, self.parts.get(message)?))
    }

    fn all(&self) -> usize {
        self.messages.len() * self.receivers.len()
    }

    fn bytes(&self, copies: std::ops::Range<usize>) -> u64 {
        let len = |index: usize| self.parts.get(index % self.messages.len()).map_or(0, |[a, b]| a.len() + b.len());
        copies.map(|index| len(index) as u64).sum()
    }
}

impl<'a> Datagrams<'a> for Copies<'a> {
    fn count(&self) -> usize {
        self.all() - self.skip
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let (receiver, message, parts) = self.find(index).ok_or(Errno::EINVAL)?;
        let class = ecn::encapsulate(message.traffic_class, receiver.ecn);
        let traffic_class = (class != 0).then_some(i32::from(class));
        let manner = Manner { from: receiver.from, traffic_class, ..Manner::default() };
        Ok(Datagram { to: Destination::to(&receiver.address), payload: Gather::from(parts.as_slice()), manner })
    }

    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>> {
        let (one, lead, _) = self.find(first)?;
        let (other, message, parts) = self.find(index)?;
        let is_beside = std::ptr::eq(one, other) && lead.traffic_class == message.traffic_class;
        is_beside.then(|| Gather::from(parts.as_slice()))
    }
}

/// Sends what can be sent. One tunnel's failure is no other's.
fn send(listener: &mut Listener, copies: &mut Copies<'_>, counters: &mut Counters) {
    // Where it failed last.
    let mut failed = None;
    while copies.skip < copies.all() {
        let mut done = 0;
        let result = listener.sender().send(copies, Deadline::After(PATIENCE), &mut done);
        counters.copies += done as u64;
        counters.copied_bytes += copies.bytes(copies.skip..copies.skip + done);
        copies.skip += done;
        match result {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::ETIMEDOUT | Errno::ENOBUFS | Errno::ENOMEM) => {
                counters.dropped_no_room += (copies.all() - copies.skip) as u64;
                return;
            }
            // Perhaps an ICMP error of another destination's, which is told to whoever sends next.
            Err(_) if failed != Some(copies.skip) => failed = Some(copies.skip),
            Err(Errno::EMSGSIZE) => {
                counters.dropped_too_large += 1;
                copies.skip += 1;
            }
            Err(_) => {
                // Nothing of the rest would get there either.
                let rest = copies.messages.len() - copies.skip % copies.messages.len();
                counters.dropped_error += rest as u64;
                copies.skip += rest;
            }
        }
    }
}
