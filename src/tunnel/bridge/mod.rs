//! A bridge: multicast of an interface into a tunnel, and what comes out of the tunnel onto an interface.

pub mod asked;
pub mod counters;
pub mod course;
pub mod groups;
pub mod policy;
pub mod recent;
pub mod workbench;

mod asker;
mod egress;
mod followed;
mod ingress;
mod joins;
mod mark;
mod querier;
mod reports;

use std::array;
use std::ffi::CStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::hash::Keyed;
use crate::sys::epoll::Readable;
use crate::sys::option::Family;
use crate::tunnel::fixed::{self, Tunnel};
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Version};
use crate::tunnel::too_big::Teller;
use asker::Asker;
use counters::Counters;
use course::Course;
use egress::{BATCH, Egress};
use followed::News;
use groups::Groups;
use ingress::Ingress;
use policy::{Policy, scope_of};
use querier::{Heard, Querier};
use recent::{Recent, Side};
use workbench::{Lack, Place, Workbench};

/// Where a descriptor's number is from. Those with news of interfaces have the highest of theirs.
const TUNNEL: u64 = 0;
const QUERIER: u64 = 1 << 32;
const INGRESS: u64 = 2 << 32;
const EGRESS: u64 = 3 << 32;

/// How many batches at most are taken in before what has come out of the tunnel goes on: as many as a full
/// socket holds.
const CATCH_UP: usize = 128;
/// How often the other end is answered at most.
const ANSWER_INTERVAL: Duration = Duration::from_millis(500);

/// As many descriptors as are looked at in one go.
const READY: usize = 64;

/// What a bridge is to do.
pub struct Options<'o> {
    /// The interface to take multicast from, and which groups.
    pub ingress: Option<(&'o CStr, Groups)>,
    /// The interface to put on what comes out of the tunnel.
    pub egress: Option<&'o CStr>,
    /// It leaves as this host's own datagrams, whatever the privilege.
    pub own_datagrams: bool,
    /// Passes on what the hosts of that interface ask for.
    pub ask: bool,
    /// What passes.
    pub policy: Policy,
}

/// One end of a bridge.
pub struct Bridge {
    ingress: Option<Ingress>,
    egress: Option<Egress>,
    querier: Option<Querier>,
    /// Asks the other end, where what it asks for counts.
    asker: Option<Asker>,
    /// When the other end was last told all, of each family.
    told: [Option<Instant>; 2],
    /// Tells sources of what is too big to go in.
    teller: Option<Teller>,
    course: Course,
    /// What has come out of the tunnel.
    arrived: Vec<fixed::Place>,
    readable: Readable,
    ready: Vec<u64>,
}

impl Bridge {
    /// Opens all sockets. `EINVAL` if there is nothing to do.
    pub fn open(tunnel: &Tunnel, options: Options<'_>) -> Result<Bridge> {
        let now = Instant::now();
        let Options { ingress, egress, own_datagrams, ask, policy } = options;
        if (ingress.is_none() && egress.is_none()) || (ask && (egress.is_none() || own_datagrams)) {
            return Err(Errno::EINVAL);
        }
        let mut ingress = ingress.map(|(text, groups)| Ingress::open(text, groups)).transpose()?;
        let egress = egress.map(|text| Egress::open(text, own_datagrams)).transpose()?;
        let querier = match &egress {
            Some(egress) if ask => Some(Querier::open(egress.interface(), now)?),
            _ => None,
        };
        let teller = if ingress.is_some() { Some(Teller::open(&[Family::V6], now)?) } else { None };
        if let (Some(ingress), Some(egress)) = (&ingress, &egress) {
            if ingress.hears_itself() && ingress.interface() == egress.interface() {
                egress.dont_loop()?;
            }
        }
        let mut readable = Readable::new(READY)?;
        readable.add(tunnel.fd().ok_or(Errno::EBADF)?, TUNNEL)?;
        if let Some(ingress) = &mut ingress {
            for (fd, number) in ingress.fds()?.into_iter().zip(INGRESS..) {
                readable.add(fd, number)?;
            }
        }
        for (fd, number) in querier.iter().flat_map(Querier::fds).zip(QUERIER..) {
            readable.add(fd, number)?;
        }
        egress.as_ref().map_or(Ok(()), |egress| readable.add(egress.fd(), EGRESS))?;
        let rebuilds = ingress.as_ref().is_some_and(Ingress::hears_itself);
        let is_faithful = egress.as_ref().is_none_or(Egress::is_faithful) && !rebuilds;
        let recent = Recent::new(is_faithful, Keyed::new(), now);
        let (counters, bench, places) = (Counters::default(), Workbench::default(), Vec::with_capacity(BATCH));
        let course = Course { policy, recent, counters, bench, places, side: Side::Interface };
        let asker = ingress.as_mut().and_then(Ingress::asked).map(|_| Asker::new(now));
        let told = [None; 2];
        let (arrived, ready) = (Vec::with_capacity(BATCH), Vec::with_capacity(READY));
        Ok(Bridge { ingress, egress, querier, asker, told, teller, course, arrived, readable, ready })
    }

    /// To wait on.
    pub fn fd(&self) -> RawFd {
        self.readable.fd().as_raw_fd()
    }

    /// The same.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.fd()
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        let ingress = self.ingress.as_ref().and_then(Ingress::timer);
        let asker = self.asker.as_ref().and_then(Asker::timer);
        ingress.into_iter().chain(self.querier.as_ref().map(Querier::timer)).chain(asker).min()
    }

    /// Whether what leaves has the source and port that it came with.
    pub fn is_faithful(&self) -> bool {
        self.egress.as_ref().is_some_and(Egress::is_faithful)
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let refused_joins = self.ingress.as_ref().map_or(0, Ingress::refused);
        Counters { refused_joins, ..self.course.counters }
    }

    /// How many groups the other end asks for.
    pub fn asked_groups(&mut self) -> usize {
        self.ingress.as_mut().and_then(Ingress::asked).map_or(0, |asked| asked.group_count())
    }

    /// Does what there is to do, one batch from each socket that has one; how many packets went on.
    pub fn process(&mut self, tunnel: &mut Tunnel) -> Result<usize> {
        let now = Instant::now();
        let before = self.course.counters;
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        match self.readable.take() {
            Err(Errno::EINTR) => {}
            numbers => ready.extend(numbers?),
        }
        // What goes on shall go where the interfaces are now.
        ready.sort_unstable_by(|one, other| other.cmp(one));
        let mut result = Ok(());
        for number in &ready {
            let one = match *number {
                EGRESS.. => self.follow_egress(now),
                INGRESS.. => self.go_in(tunnel, (number - INGRESS) as usize, now).map(drop),
                QUERIER.. => self.hear_reports(tunnel, (number - QUERIER) as usize, now),
                _ => self.come_out(tunnel, now).map(|came| self.readable.settle(TUNNEL, came)),
            };
            result = result.and(one);
        }
        self.ready = ready;
        if let (Some(querier), Some(egress)) = (&mut self.querier, &mut self.egress) {
            if querier.timer() <= now {
                querier.handle_timeout(now, &mut self.course.counters, |packet| egress.send_one(packet));
            }
        }
        let repeats = self.querier.as_mut().map_or([false; 2], |querier| querier.repeats(now));
        self.tell_all(tunnel, repeats, now);
        if let Some(asker) = &mut self.asker {
            // What isn't sent is asked again later.
            asker.handle_timeout(now, |query| {
                let _ = tunnel.send(&[IoSlice::new(query)], Deadline::Now, &mut 0);
            });
        }
        if let Some(ingress) = &mut self.ingress {
            result = result.and(ingress.follow(now));
        }
        let after = &self.course.counters;
        let packets = after.into.packets + after.out.packets - before.into.packets - before.out.packets;
        result.map(|()| packets as usize)
    }

    /// [`Bridge::process`] again and again, until the time has passed.
    pub fn run(&mut self, tunnel: &mut Tunnel, mut deadline: Deadline) -> Result<()> {
        loop {
            self.process(tunnel)?;
            let until = match (deadline.start(), self.timer()) {
                (Deadline::At(end), _) if end <= Instant::now() => return Ok(()),
                (Deadline::Now, _) => return Ok(()),
                (Deadline::At(end), Some(timer)) => Deadline::At(end.min(timer)),
                (_, Some(timer)) => Deadline::At(timer),
                (deadline, None) => deadline,
            };
            match { until }.wait(self.readable.fd()) {
                Ok(_) | Err(Errno::ETIMEDOUT) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// From the interface into the tunnel; how many packets were read.
    fn go_in(&mut self, tunnel: &mut Tunnel, number: usize, now: Instant) -> Result<usize> {
        let Bridge { ingress: Some(ingress), teller: Some(teller), course, .. } = self else { return Ok(0) };
        let count = ingress.read(number, course, now)?;
        let (whole, in_pieces) = tunnel.limits();
        // Where the tunnel doesn't cut outer packets, inner ones are.
        if in_pieces == whole {
            course.fit(whole, |slot, start, end| ingress.bytes(slot, start, end));
        }
        let Course { places, bench, counters, .. } = course;
        let get = |place: Place| match place {
            Place::Slot(slot, start, end) => ingress.bytes(slot, start, end),
            Place::Made(start, end) => bench.get(start, end),
        };
        send_into(tunnel, places, get, counters, |packet, fits| teller.tell(packet, fits, now));
        Ok(count)
    }

    /// Takes in what waits at the interface. What comes out of the tunnel may have been there before, and
    /// only shows as such when that is known.
    fn catch_up(&mut self, tunnel: &mut Tunnel, now: Instant) -> Result<()> {
        let doors = self.ingress.as_ref().map_or(0, Ingress::door_count);
        for number in 0..doors {
            // A batch that isn't full was all that there was.
            for _ in 0..CATCH_UP {
                if self.go_in(tunnel, number, now)? < ingress::SLOTS {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Out of the tunnel onto the interface; whether anything came.
    fn come_out(&mut self, tunnel: &mut Tunnel, now: Instant) -> Result<bool> {
        let mut came = false;
        loop {
            let Bridge { course, ingress, arrived, querier, asker, .. } = self;
            let mut queried = [false; 2];
            arrived.clear();
            let result = tunnel.receive(BATCH, Deadline::Now, |place, bytes| {
                let asked = ingress.as_mut().and_then(Ingress::asked);
                if (asked.is_none() && querier.is_none()) || !is_to_link(bytes) {
                    return arrived.push(place);
                }
                match (asks(bytes), asked) {
                    (Some(families), _) if querier.is_some() => {
                        let ([v4, v6], [also_v4, also_v6]) = (queried, families);
                        queried = [v4 || also_v4, v6 || also_v6];
                    }
                    (None, Some(asked)) => hear(asked, asker, bytes, now, &mut course.counters),
                    _ => course.counters.scope += 1,
                }
            });
            match result {
                Ok(_) => came = true,
                Err(Errno::EAGAIN) => return Ok(came),
                Err(error) => return Err(error),
            }
            self.answer(tunnel, queried, now);
            let caught_up = if self.arrived.is_empty() { Ok(()) } else { self.catch_up(tunnel, now) };
            self.course.begin(Side::Tunnel);
            for fixed::Place { slot, start, end } in self.arrived.drain(..) {
                let Some(bytes) = tunnel.bytes_mut(slot, start, end) else { continue };
                self.course.take((slot, start), bytes, Lack::Nothing, now);
            }
            self.put_on(tunnel);
            caught_up?;
            // What is taken from the kernel doesn't show in the descriptor.
            if !tunnel.has_more() {
                return Ok(came);
            }
        }
    }

    /// The other end asks, of some families.
    fn answer(&mut self, tunnel: &mut Tunnel, queried: [bool; 2], now: Instant) {
        let [v4, v6] = queried;
        let [v4_told, v6_told] = self.told.map(|told| told.is_some_and(|told| now < told + ANSWER_INTERVAL));
        self.tell_all(tunnel, [v4 && !v4_told, v6 && !v6_told], now);
    }

    /// Tells the other end what the hosts here ask for.
    fn tell_all(&mut self, tunnel: &mut Tunnel, families: [bool; 2], now: Instant) {
        let Bridge { querier: Some(querier), told, course, .. } = self else { return };
        for ((is_due, told), is_v4) in families.into_iter().zip(told).zip([true, false]) {
            if is_due {
                *told = Some(now);
                reports::tell_all(tunnel, &querier.current(is_v4, now), is_v4, &mut course.counters);
            }
        }
    }

    fn put_on(&mut self, tunnel: &Tunnel) {
        let Bridge { course, egress: Some(egress), .. } = self else { return };
        let Course { places, bench, counters, .. } = course;
        let packets: [&[u8]; BATCH] = array::from_fn(|index| match places.get(index) {
            Some(Place::Slot(slot, start, end)) => tunnel.bytes(*slot, *start, *end),
            _ => &[],
        });
        egress.send(packets.get(..places.len()).unwrap_or_default(), counters, bench);
    }

    /// The interface that packets leave by may be another.
    fn follow_egress(&mut self, now: Instant) -> Result<()> {
        let Bridge { querier, egress: Some(egress), .. } = self else { return Ok(()) };
        let news = egress.follow()?;
        let Some(querier) = querier else { return Ok(()) };
        match news {
            News::Nothing => {}
            News::Address => querier.try_again(now),
            News::Up => querier.start_over(now),
            News::Moved => querier.move_to(egress.interface(), now)?,
        }
        Ok(())
    }

    fn hear_reports(&mut self, tunnel: &mut Tunnel, number: usize, now: Instant) -> Result<()> {
        let Bridge { querier: Some(querier), course, .. } = self else { return Ok(()) };
        let counters = &mut course.counters;
        querier.read(number, now, |heard| match heard {
            Heard::Report(report) => reports::pass_on(tunnel, report, counters),
            Heard::Malformed => counters.malformed += 1,
            Heard::Dropped(count) => counters.buffer += u64::from(count),
        })
    }
}

/// Sends packets into the tunnel, but for those that it refuses. `tell` tells the source of one that is too
/// big what would fit, if it may.
fn send_into<'b>(
    tunnel: &mut Tunnel,
    places: &[Place],
    get: impl Fn(Place) -> &'b [u8],
    counters: &mut Counters,
    mut tell: impl FnMut(&[u8], usize) -> bool,
) {
    for batch in places.chunks(BATCH) {
        let slices: [IoSlice<'_>; BATCH] =
            array::from_fn(|index| IoSlice::new(batch.get(index).map_or(&[], |place| get(*place))));
        let mut next = 0;
        while next < batch.len() {
            let mut done = 0;
            let rest = slices.get(next..batch.len()).unwrap_or_default();
            let result = tunnel.send(rest, Deadline::Now, &mut done);
            rest.iter().take(done).for_each(|packet| counters.into.add(packet.len()));
            next += done;
            match result {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    counters.no_room += (batch.len() - next) as u64;
                    break;
                }
                Err(error) => {
                    let packet = rest.get(done).filter(|_| error == Errno::EMSGSIZE);
                    let is_told = packet.is_some_and(|packet| tell(packet, tunnel.limits().0));
                    counters.told_too_big += u64::from(is_told);
                    counters.lost(error);
                    next += 1;
                }
            }
        }
    }
}

/// Whether a packet goes to a group that doesn't leave its link, as reports do, or is IGMP, or MLD of an
/// old version: those go to the group that they are about.
fn is_to_link(bytes: &[u8]) -> bool {
    Packet::parse(bytes).is_ok_and(|packet| {
        packet.destination.is_multicast() && (packet.is_group_management() || scope_of(packet.destination) <= 2)
    })
}

/// Of which family a general query is, if it is one.
fn asks(bytes: &[u8]) -> Option<[bool; 2]> {
    let packet = Packet::parse(bytes).ok()?;
    let query = listener::parse_query(&packet).ok()?;
    let is_v4 = packet.source.is_ipv4();
    query.group.is_none().then_some([is_v4, !is_v4])
}

/// A report from behind the other end.
fn hear(asked: &mut asked::Asked, asker: &mut Option<Asker>, bytes: &[u8], now: Instant, counters: &mut Counters) {
    match Packet::parse(bytes).and_then(|packet| Ok((packet.source, listener::parse_report(&packet)?))) {
        Ok((host, report)) => {
            counters.reports += 1;
            if let Some(asker) = asker {
                asker.heard(matches!(report.version, Version::Igmp1 | Version::Igmp2 | Version::Igmp3));
            }
            report.records().for_each(|record| asked.record(&record, host, asked::LIFETIME, now));
        }
        Err(_) => counters.scope += 1,
    }
}
