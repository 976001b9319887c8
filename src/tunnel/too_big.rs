//! What the source of an IPv6 packet is told that a tunnel can't take: ICMPv6's Packet Too Big.
//!
//! Sources of multicast are told too (RFC 4443, section 2.4, rule e.3; RFC 7450, section 5.3.3.6.2.2; RFC
//! 2473, section 7.1). IPv4 has nothing like it: no ICMP answers what goes to a group (RFC 1122, section
//! 3.2.2; RFC 1812, section 4.3.2.7).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::{Errno, Result};
use crate::sys::memory::Source;
use crate::sys::mmsg::{self, Destination};
use crate::sys::option::{self, Family};
use crate::sys::sockaddr::CompactAddress;
use crate::sys::socket::{self, Flags};
use crate::tunnel::ip::{Packet, protocol, v6};

/// What every link carries (RFC 8200, section 5): no source is told less, and what is no larger isn't
/// worth telling.
const LEAST_MTU: usize = 1280;
/// Type, code, checksum, and the MTU.
const HEADER: usize = 8;
const PACKET_TOO_BIG: u8 = 2;
/// The first type that is no error, and the one besides errors that isn't answered by any.
const FIRST_INFORMATION: u8 = 128;
const REDIRECT: u8 = 137;

/// What a source is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Who is told.
    pub source: Ipv6Addr,
    /// What fits.
    pub mtu: u32,
    /// As much of the packet as goes without a fragment anywhere.
    pub quoted: &'a [u8],
}

impl<'a> Notice<'a> {
    /// On a packet of which only `fits` bytes would fit; `None` if nobody may be told.
    pub fn on(bytes: &'a [u8], fits: usize) -> Option<Notice<'a>> {
        let packet = Packet::parse(bytes).ok()?;
        let mtu = fits.max(LEAST_MTU);
        let IpAddr::V6(source) = packet.source else { return None };
        if packet.bytes.len() <= mtu || !is_one_host(source) || is_error(&packet) {
            return None;
        }
        let quoted = packet.bytes.get(..LEAST_MTU - v6::HEADER - HEADER)?;
        Some(Notice { source, mtu: u32::try_from(mtu).ok()?, quoted })
    }

    /// The message, without the checksum, which the kernel writes.
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + self.quoted.len());
        message.extend_from_slice(&[PACKET_TOO_BIG, 0, 0, 0]);
        message.extend_from_slice(&self.mtu.to_be_bytes());
        message.extend_from_slice(self.quoted);
        message
    }
}

/// Whether an address names a host that can be reached from here (RFC 4443, section 2.4, rule e.6). A
/// link-local one doesn't say on which link.
fn is_one_host(source: Ipv6Addr) -> bool {
    !(source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.is_unicast_link_local()
        || source.to_ipv4_mapped().is_some())
}

/// Errors aren't answered by errors (rules e.1 and e.2), nor is what may be one.
fn is_error(packet: &Packet<'_>) -> bool {
    if packet.protocol != protocol::ICMPV6 {
        return false;
    }
    let is_first = packet.fragment.is_none_or(|fragment| fragment.offset == 0);
    let kind = packet.payload.first().filter(|_| is_first);
    kind.is_none_or(|kind| *kind < FIRST_INFORMATION || *kind == REDIRECT)
}

/// How many messages may leave at once, and how soon there may be one more (RFC 4443, section 2.4, rule f).
#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// To the sources that share a place.
const EACH: Rate = Rate { burst: 10, every: Duration::from_millis(100) };
/// To all.
const ALL: Rate = Rate { burst: 100, every: Duration::from_millis(10) };
/// So that one source's flood keeps few others from being told.
const PLACES: usize = 64;

/// A token bucket, as the time at which it is full again.
#[derive(Clone, Copy)]
struct Bucket(Instant);

impl Bucket {
    /// When it is full again with one token less, if it has one.
    fn without_one(self, rate: Rate, now: Instant) -> Option<Bucket> {
        let full = self.0.max(now) + rate.every;
        (full <= now + rate.every * rate.burst).then_some(Bucket(full))
    }
}

/// The rates of all sources.
struct Rates {
    all: Bucket,
    places: [Bucket; PLACES],
    hasher: RandomState,
}

impl Rates {
    fn new(now: Instant, hasher: RandomState) -> Rates {
        Rates { all: Bucket(now), places: [Bucket(now); PLACES], hasher }
    }

    /// Whether a source may be told once more now.
    fn allow(&mut self, source: Ipv6Addr, now: Instant) -> bool {
        // Who has one address may have all of its link's.
        let place = self.hasher.hash_one(source.to_bits() >> 64) as usize % PLACES;
        let Some(place) = self.places.get_mut(place) else { return false };
        let buckets = place.without_one(EACH, now).zip(self.all.without_one(ALL, now));
        if let Some((one, all)) = buckets {
            (*place, self.all) = (one, all);
        }
        buckets.is_some()
    }
}

/// Tells sources, as often as they may be told.
pub struct Teller {
    /// `None` without CAP_NET_RAW, or without IPv6: then nobody is told.
    socket: Option<OwnedFd>,
    rates: Rates,
}

impl Teller {
    /// Opens a raw socket, if that is allowed.
    pub fn open(now: Instant) -> Result<Teller> {
        let socket = match socket::raw_socket(Family::V6.domain(), protocol::ICMPV6) {
            Err(Errno::EPERM | Errno::EACCES | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => None,
            socket => Some(socket?),
        };
        socket.as_ref().map_or(Ok(()), |socket| option::take_no_icmpv6(socket.as_fd()))?;
        Ok(Teller { socket, rates: Rates::new(now, RandomState::new()) })
    }

    /// Tells the source of a packet that is too large what would fit; whether it was told.
    #[cold]
    pub fn tell(&mut self, packet: &[u8], fits: usize, now: Instant) -> bool {
        let Some(socket) = &self.socket else { return false };
        let notice = Notice::on(packet, fits).filter(|notice| self.rates.allow(notice.source, now));
        notice.is_some_and(|notice| send(socket, &notice).is_ok())
    }
}

fn send(socket: &OwnedFd, notice: &Notice<'_>) -> Result<usize> {
    let to = CompactAddress::from(SocketAddr::new(notice.source.into(), 0));
    let (message, to) = (notice.message(), Destination::to(&to));
    mmsg::send_to(socket.as_fd(), Source::from(message.as_slice()), to, Flags::DONTWAIT)
}

#[cfg(test)]
mod tests;
