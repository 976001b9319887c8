//! What the source of a packet is told that a tunnel can't take: ICMPv6's Packet Too Big, ICMP's
//! Fragmentation Needed.
//!
//! With IPv6 sources of multicast are told too (RFC 4443, section 2.4, rule e.3; RFC 7450, section
//! 5.3.3.6.2.2; RFC 2473, section 7.1). With IPv4 no ICMP answers what goes to a group (RFC 1122, section
//! 3.2.2; RFC 1812, section 4.3.2.7), but for this one, by a relay of AMT, of a source-specific group (RFC
//! 7450, section 5.3.3.6.2.1).

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::{Errno, Result};
use crate::hash::Keyed;
use crate::sys::icmp;
use crate::sys::memory::Source;
use crate::sys::mmsg::{self, Destination};
use crate::sys::option::Family;
use crate::sys::sockaddr::CompactAddress;
use crate::sys::socket::Flags;
use crate::tunnel::ip::checksum::Checksum;
use crate::tunnel::ip::{Packet, protocol, v4, v6};

/// Type, code, checksum, and the MTU: of ICMP its lower half (RFC 1191, section 4).
const HEADER: usize = 8;

/// What differs between the families.
struct Form {
    /// Type and code.
    start: [u8; 2],
    /// What every link carries: no source is told less, and what is no larger isn't worth telling.
    least_mtu: usize,
    /// How much is quoted at most.
    quoted_max: usize,
}

/// Destination Unreachable, of 576 bytes at most (RFC 1812, section 4.3.2.3). Links: RFC 791, section 3.2.
const V4: Form = Form { start: [3, 4], least_mtu: 68, quoted_max: 576 - v4::HEADER - HEADER };
/// Packet Too Big (RFC 4443, section 3.2), as large as every link carries (RFC 8200, section 5).
const V6: Form = Form { start: [2, 0], least_mtu: 1280, quoted_max: 1280 - v6::HEADER - HEADER };

/// The first octet of IPv4's source-specific groups (RFC 4607).
const SSM: u8 = 232;
/// ICMPv6's first type that is no error, and the one besides errors that isn't answered by any.
const FIRST_INFORMATION: u8 = 128;
const REDIRECT: u8 = 137;

/// What a source is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Who is told.
    pub source: IpAddr,
    /// What fits.
    pub mtu: u32,
    /// As much of the packet as goes without a fragment anywhere.
    pub quoted: &'a [u8],
}

impl<'a> Notice<'a> {
    /// On a packet of which only `fits` bytes would fit; `None` if nobody may be told.
    pub fn on(bytes: &'a [u8], fits: usize) -> Option<Notice<'a>> {
        let packet = Packet::parse(bytes).ok()?;
        let form = form(packet.source);
        let mtu = fits.max(form.least_mtu);
        if packet.bytes.len() <= mtu || !may_be_told(&packet) || is_error(&packet) {
            return None;
        }
        let quoted = packet.bytes.get(..packet.bytes.len().min(form.quoted_max))?;
        Some(Notice { source: packet.source, mtu: u32::try_from(mtu).ok()?, quoted })
    }

    /// The message. ICMPv6's checksum, in which the addresses are, the kernel writes.
    pub fn message(&self) -> Vec<u8> {
        let (start, mtu) = (form(self.source).start, self.mtu.to_be_bytes());
        let checksum = match self.source {
            IpAddr::V4(_) => Checksum::new().with_pieces(&[&start, &mtu, self.quoted]).value(),
            IpAddr::V6(_) => 0,
        };
        [&start[..], &checksum.to_be_bytes(), &mtu, self.quoted].concat()
    }
}

fn form(source: IpAddr) -> Form {
    if source.is_ipv4() { V4 } else { V6 }
}

fn may_be_told(packet: &Packet<'_>) -> bool {
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            // Only the first fragment may be told of (RFC 1122, section 3.2.2).
            let is_first = packet.fragment.is_none_or(|fragment| fragment.offset == 0);
            group.octets().starts_with(&[SSM]) && packet.dont_fragment && is_first && is_one_host_v4(source)
        }
        (IpAddr::V6(source), _) => is_one_host_v6(source),
        _ => false,
    }
}

/// Whether an address names a host (RFC 1122, section 3.2.2): it isn't in 0/8, 127/8, 224/4 or 240/4. To a
/// subnet's broadcast address the kernel doesn't send.
fn is_one_host_v4(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    !matches!(first, 0 | 127 | 224..)
}

/// Whether an address names a host that can be reached from here (RFC 4443, section 2.4, rule e.6). A
/// link-local one doesn't say on which link.
fn is_one_host_v6(source: Ipv6Addr) -> bool {
    !(source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.is_unicast_link_local()
        || source.to_ipv4_mapped().is_some())
}

/// Errors aren't answered by errors (RFC 1122, section 3.2.2; RFC 4443, section 2.4, rules e.1 and e.2), nor
/// is what may be one.
fn is_error(packet: &Packet<'_>) -> bool {
    let is_first = packet.fragment.is_none_or(|fragment| fragment.offset == 0);
    let kind = packet.payload.first().copied().filter(|_| is_first);
    match (packet.source, packet.protocol) {
        // Echo, routers, timestamps, information and masks: those that ask and those that answer.
        (IpAddr::V4(_), protocol::ICMP) => !matches!(kind, Some(0 | 8..=10 | 13..=18)),
        (IpAddr::V6(_), protocol::ICMPV6) => kind.is_none_or(|kind| kind < FIRST_INFORMATION || kind == REDIRECT),
        _ => false,
    }
}

/// How many messages may leave at once, and how soon there may be one more (RFC 4443, section 2.4, rule f; RFC
/// 1812, section 4.3.2.8).
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
    hasher: Keyed,
}

impl Rates {
    fn new(now: Instant, hasher: Keyed) -> Rates {
        Rates { all: Bucket(now), places: [Bucket(now); PLACES], hasher }
    }

    /// Whether a source may be told once more now.
    fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let who = match source {
            IpAddr::V4(source) => source.to_bits().into(),
            // Who has one address may have all of its link's.
            IpAddr::V6(source) => source.to_bits() >> 64,
        };
        let place = self.hasher.hash_one(who) as usize % PLACES;
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
    /// `None` without CAP_NET_RAW, or without the family: then nobody of it is told.
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
    rates: Rates,
}

impl Teller {
    /// For sources of these families. Opens raw sockets, if that is allowed.
    pub fn open(families: &[Family], now: Instant) -> Result<Teller> {
        let open = |family| match families.contains(&family).then(|| icmp::socket(family)).transpose() {
            Err(Errno::EPERM | Errno::EACCES | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => Ok(None),
            socket => socket,
        };
        Ok(Teller { v4: open(Family::V4)?, v6: open(Family::V6)?, rates: Rates::new(now, Keyed::new()) })
    }

    /// Tells the source of a packet that is too large what would fit; whether it was told.
    #[cold]
    pub fn tell(&mut self, packet: &[u8], fits: usize, now: Instant) -> bool {
        let Some(notice) = Notice::on(packet, fits) else { return false };
        let socket = if notice.source.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(socket) = socket else { return false };
        self.rates.allow(notice.source, now) && send(socket, &notice).is_ok()
    }
}

fn send(socket: &OwnedFd, notice: &Notice<'_>) -> Result<usize> {
    let to = CompactAddress::from(SocketAddr::new(notice.source, 0));
    let (message, to) = (notice.message(), Destination::to(&to));
    mmsg::send_to(socket.as_fd(), Source::from(message.as_slice()), to, Flags::DONTWAIT)
}

#[cfg(test)]
mod tests;
