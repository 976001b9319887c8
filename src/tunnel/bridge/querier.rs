//! Asks the hosts of an interface what they listen to, and passes their reports on.
//!
//! It is no router, and leaves the asking to one that is there: whoever else asks is heard for as long
//! as RFC 3376 (section 8.5) lets another querier be missed, by the interval that its query tells.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::asked::{Asked, LIFETIME};
use super::counters::Counters;
use super::policy::scope_of;
use crate::datagram::buffer;
use crate::datagram::receive::Reader;
use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::option::{Family, IntOption};
use crate::sys::packet::{self, OFFLOAD_HEADER, Protocol, Wanted};
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Kind, Query, Sources, Version};
use crate::tunnel::malformed::Malformed;

/// RFC 3376, section 8: how often to ask, how soon at first, and how long others may be missed.
const INTERVAL: Duration = Duration::from_secs(125);
const STARTUP_INTERVAL: Duration = Duration::from_secs(31);
const ROBUSTNESS: u8 = 2;
const RESPONSE: Duration = Duration::from_secs(10);
/// Sections 8.8 and 8.9, for a group that somebody has left.
const LAST_RESPONSE: Duration = Duration::from_secs(1);
const LAST_COUNT: u32 = 2;
/// Questions that wait, at most. What isn't asked ends without the last call.
const QUESTIONS_MAX: usize = 1000;

/// Room for the answers of many hosts at once, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
const SLOTS: usize = 32;
const SLOT_SIZE: usize = 9216;

/// The state for one family.
#[derive(Clone, Copy)]
struct Side {
    next: Instant,
    asked: u32,
    other_until: Option<Instant>,
    /// How long after a report a host is still there.
    lifetime: Duration,
    /// When to tell the other end of the tunnel again what is asked for: whoever asks here does so too seldom.
    repeat: Option<Instant>,
    /// The last query couldn't be sent.
    has_failed: bool,
}

impl Side {
    fn new(now: Instant) -> Side {
        Side { next: now, asked: 0, other_until: None, lifetime: LIFETIME, repeat: None, has_failed: false }
    }

    /// Somebody else asks, who says how often (RFC 3376, sections 8.4 and 8.5).
    fn hear(&mut self, query: &Query<'_>, now: Instant) {
        let interval = if query.interval.is_zero() { INTERVAL } else { query.interval };
        let robustness = if query.robustness == 0 { ROBUSTNESS } else { query.robustness };
        let response = if query.group.is_none() { query.max_response } else { RESPONSE };
        let until = now + interval * robustness.into() + response / 2;
        (self.other_until, self.next) = (Some(until), until);
        self.lifetime = interval * robustness.into() + response;
        self.repeat = if self.lifetime > LIFETIME { self.repeat.or(Some(now + INTERVAL)) } else { None };
    }
}

/// What came from the interface.
pub enum Heard<'a> {
    /// A packet with a report.
    Report(&'a [u8]),
    /// A packet that is neither report nor query, but should be.
    Malformed,
    /// The kernel has dropped so many packets, for want of room in the socket.
    Dropped(u32),
}

/// Asks and listens.
pub struct Querier {
    sockets: [OwnedFd; 2],
    /// How many packets the kernel has dropped at each.
    drops: [u32; 2],
    /// The interface, `None` while there is none.
    interface: Option<u32>,
    reader: Reader,
    v4: Side,
    v6: Side,
    questions: VecDeque<(Instant, IpAddr)>,
    /// What the hosts ask for, to tell an end of the tunnel that begins anew.
    mirror: Asked,
}

impl Querier {
    /// `EPERM` without CAP_NET_RAW.
    pub fn open(interface: Option<u32>, now: Instant) -> Result<Querier> {
        let socket = |protocol| -> Result<OwnedFd> {
            let socket = packet::socket(protocol, Wanted::Reports)?;
            // The system's limit may grant less, and older kernels don't tell of drops.
            let _ = buffer::set_receive(socket.as_fd(), RECEIVE_BUFFER);
            let _ = IntOption::DROPS.set(socket.as_fd(), 1);
            Ok(socket)
        };
        let sockets = [socket(Protocol::V4)?, socket(Protocol::V6)?];
        let (side, reader) = (Side::new(now), Reader::new(SLOTS, SLOT_SIZE)?);
        let (drops, questions, mirror) = ([0; 2], VecDeque::new(), Asked::default());
        let mut querier = Querier { sockets, drops, interface: None, reader, v4: side, v6: side, questions, mirror };
        querier.move_to(interface, now)?;
        Ok(querier)
    }

    /// Asks and listens on another interface, or on the one that is in its place.
    pub fn move_to(&mut self, interface: Option<u32>, now: Instant) -> Result<()> {
        self.start_over(now);
        let before = std::mem::replace(&mut self.interface, interface);
        for socket in &self.sockets {
            if let Some(before) = before {
                // If it is gone, the kernel has taken it back.
                let _ = packet::leave_all_groups(socket.as_fd(), before);
            }
            match interface.map(|interface| packet::take_all_groups(socket.as_fd(), interface)) {
                // One that is gone already is told as such next.
                None | Some(Err(Errno::ENODEV)) => {}
                // Reports go to groups: of the old versions to those that they are about.
                Some(result) => result?,
            }
        }
        Ok(())
    }

    /// Asks as at the beginning: who is there now isn't known.
    pub fn start_over(&mut self, now: Instant) {
        (self.v4, self.v6) = (Side::new(now), Side::new(now));
        self.questions.clear();
        self.mirror = Asked::default();
    }

    /// The interface has an address, which may be what a query had lacked.
    pub fn try_again(&mut self, now: Instant) {
        [&mut self.v4, &mut self.v6].into_iter().filter(|side| side.has_failed).for_each(|side| side.next = now);
    }

    /// To wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// When there is something to ask.
    pub fn timer(&self) -> Instant {
        let question = self.questions.front().map(|(at, _)| *at);
        let repeats = [self.v4.repeat, self.v6.repeat].into_iter().flatten();
        [self.v4.next, self.v6.next].into_iter().chain(question).chain(repeats).min().unwrap_or(self.v4.next)
    }

    /// What the hosts ask for now: see [`Asked::current`].
    pub fn current(&self, is_v4: bool, now: Instant) -> Vec<(IpAddr, bool, Vec<IpAddr>)> {
        self.mirror.current(is_v4, now)
    }

    /// Of which families the other end of the tunnel is due to be told again.
    pub fn repeats(&mut self, now: Instant) -> [bool; 2] {
        [&mut self.v4, &mut self.v6].map(|side| {
            let is_due = side.repeat.is_some_and(|at| at <= now);
            if is_due {
                side.repeat = Some(now + INTERVAL);
            }
            is_due
        })
    }

    /// Reads what came to one of the sockets.
    pub fn read(&mut self, number: usize, now: Instant, mut each: impl FnMut(Heard<'_>)) -> Result<()> {
        let Querier { sockets, drops, .. } = self;
        let (Some(socket), Some(drops)) = (sockets.get(number), drops.get_mut(number)) else { return Ok(()) };
        self.reader.clear();
        match self.reader.fill(socket.as_fd()) {
            Err(Errno::EAGAIN | Errno::EINVAL | Errno::ENETDOWN) => return Ok(()),
            result => result?,
        }
        loop {
            let slot = self.reader.position();
            let Some(view) = self.reader.next_view(drops) else { return Ok(()) };
            let (len, dropped) = (view.len, view.drops);
            if dropped > 0 {
                each(Heard::Dropped(dropped));
            }
            let link = self.reader.link(slot).filter(|link| Some(link.interface) == self.interface);
            let Some(at) = link.and_then(|link| link.header_len) else { continue };
            let bytes = self.reader.slot(slot).get(OFFLOAD_HEADER + at..len).unwrap_or_default();
            let Ok(packet) = Packet::parse(bytes) else {
                each(Heard::Malformed);
                continue;
            };
            match (listener::parse_report(&packet), listener::parse_query(&packet)) {
                (Ok(report), _) => {
                    let (questions, mirror) = (&mut self.questions, &mut self.mirror);
                    if mirror.timeout().is_some_and(|at| at <= now) {
                        mirror.handle_timeout(now);
                    }
                    let lifetime = if packet.source.is_ipv4() { self.v4.lifetime } else { self.v6.lifetime };
                    report.records().for_each(|record| mirror.record(&record, packet.source, lifetime, now));
                    mirror.take_changes();
                    for record in report.records().filter(|record| is_leave(record.kind) && scope_of(record.group) > 2)
                    {
                        ask_later(questions, record.group, now);
                    }
                    each(Heard::Report(packet.bytes));
                }
                // One without an address is a switch's, and stands for nobody (RFC 4541, section 2.1.1).
                (_, Ok(_)) if packet.source.is_unspecified() => {}
                (_, Ok(query)) => {
                    let side = if packet.source.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
                    side.hear(&query, now);
                }
                // Other messages have such options, too.
                (Err(Malformed::OtherType), Err(Malformed::OtherType)) => {}
                _ => each(Heard::Malformed),
            }
        }
    }

    /// Asks what is due; `send` sends a packet on the interface.
    pub fn handle_timeout(&mut self, now: Instant, counters: &mut Counters, mut send: impl FnMut(&[u8]) -> Result<()>) {
        let interface = self.interface.ok_or(Errno::ENODEV);
        let mut ask = |version, group| {
            let router = interface.and_then(|interface| router(interface, version));
            let is_sent = router.and_then(|router| send(&query(version, router, group)?)).is_ok();
            counters.queries += u64::from(is_sent);
            is_sent
        };
        for (side, version) in [(&mut self.v4, Version::Igmp3), (&mut self.v6, Version::Mld2)] {
            if side.next <= now {
                side.has_failed = !ask(version, None);
                side.asked += 1;
                (side.other_until, side.lifetime, side.repeat) = (None, LIFETIME, None);
                side.next = now + if side.asked < 2 { STARTUP_INTERVAL } else { INTERVAL };
            }
        }
        while let Some((_, group)) = self.questions.front().copied().filter(|(at, _)| *at <= now) {
            self.questions.pop_front();
            let (side, version) = if group.is_ipv4() { (&self.v4, Version::Igmp3) } else { (&self.v6, Version::Mld2) };
            if side.other_until.is_none() {
                ask(version, Some(group));
            }
        }
    }
}

fn is_leave(kind: Kind) -> bool {
    matches!(kind, Kind::ChangeToInclude | Kind::BlockOldSources)
}

fn ask_later(questions: &mut VecDeque<(Instant, IpAddr)>, group: IpAddr, now: Instant) {
    if questions.len() >= QUESTIONS_MAX || questions.iter().any(|(_, asked)| *asked == group) {
        return;
    }
    for number in 0..LAST_COUNT {
        let at = now + LAST_RESPONSE * number;
        let place = questions.partition_point(|(other, _)| *other <= at);
        questions.insert(place, (at, group));
    }
}

/// A query of this end's, to all groups or one.
pub fn query(version: Version, router: IpAddr, group: Option<IpAddr>) -> Result<Vec<u8>> {
    let max_response = if group.is_some() { LAST_RESPONSE } else { RESPONSE };
    let (sources, suppress, robustness, interval) = (Sources::NONE, false, ROBUSTNESS, INTERVAL);
    listener::build_query(router, &Query { version, group, max_response, sources, suppress, robustness, interval })
}

/// The interface's address to ask from. IPv4 hosts answer to one that has none.
fn router(interface: u32, version: Version) -> Result<IpAddr> {
    let family = if version == Version::Igmp3 { Family::V4 } else { Family::V6 };
    match interface::source_of(interface, family)? {
        Some(ip) => Ok(ip),
        None if family == Family::V4 => Ok(Ipv4Addr::UNSPECIFIED.into()),
        None => Err(Errno::EADDRNOTAVAIL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_somebody_left_is_asked_for_twice() {
        let (mut questions, now) = (VecDeque::new(), Instant::now());
        let groups: [IpAddr; 2] = [[239, 1, 2, 3].into(), [239, 1, 2, 4].into()];
        ask_later(&mut questions, groups[0], now);
        ask_later(&mut questions, groups[1], now);
        ask_later(&mut questions, groups[0], now);
        let later = now + LAST_RESPONSE;
        let expected = [(now, groups[0]), (now, groups[1]), (later, groups[0]), (later, groups[1])];
        assert_eq!(Vec::from(questions), expected);
    }

    #[test]
    fn queries_are_what_hosts_answer_to() {
        let general = query(Version::Igmp3, Ipv4Addr::UNSPECIFIED.into(), None).unwrap();
        let packet = Packet::parse(&general).unwrap();
        assert_eq!((packet.ttl, packet.router_alert), (1, true));
        let read = listener::parse_query(&packet).unwrap();
        assert_eq!((read.group, read.max_response, read.interval), (None, RESPONSE, INTERVAL));
        let group = "ff15::7".parse().unwrap();
        let specific = query(Version::Mld2, "fe80::1".parse().unwrap(), Some(group)).unwrap();
        let read = Packet::parse(&specific).and_then(|packet| listener::parse_query(&packet).map(|query| query.group));
        assert_eq!(read, Ok(Some(group)));
    }

    #[test]
    fn another_querier_is_missed_by_the_interval_that_it_tells() {
        let now = Instant::now();
        let other = |seconds, robustness| Query {
            version: Version::Igmp3,
            group: None,
            max_response: RESPONSE,
            sources: Sources::NONE,
            suppress: false,
            robustness,
            interval: Duration::from_secs(seconds),
        };
        // Older versions tell nothing.
        for (seconds, robustness, missed, lifetime) in
            [(20, 2, 45, 50), (0, 0, 255, 260), (600, 2, 1205, 1210), (600, 3, 1805, 1810)]
        {
            let mut side = Side::new(now);
            side.hear(&other(seconds, robustness), now);
            assert_eq!((side.next - now, side.lifetime), (Duration::from_secs(missed), Duration::from_secs(lifetime)));
            // One that asks too seldom for the other end of the tunnel is made up for.
            assert_eq!(side.repeat, (lifetime > 260).then_some(now + INTERVAL));
        }
    }
}
