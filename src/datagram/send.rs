//! Sending datagrams in batches.
//!
//! A batch is planned from the datagrams that are left: a run of them to one destination, of one
//! size but for a shorter last one, becomes a train that the kernel or the device cuts up again;
//! anything else a message of its own. What the kernel takes is counted off, and the rest planned
//! anew, so that nothing is sent twice and nothing skipped.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::pace::Pace;
use super::refusal;
use super::segment::{Route, Segmentation};
use super::zerocopy::ZeroCopy;
use crate::borrowed::Borrowed;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::Gather;
use crate::sys::mmsg::{self, Destination, Filling, MESSAGES_MAX, SendBatch};
use crate::sys::option::{self, Family, IntOption, SocketType};
use crate::sys::socket::{self, Flags, KeptMemory};
use crate::waiter::Waiter;

/// How a datagram leaves, where the socket's options don't say.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// The source address; `None` for the kernel's choice.
    pub from: Option<IpAddr>,
    /// The interface; 0 for the routes' choice.
    pub interface: u32,
    /// TTL or hop limit.
    pub ttl: Option<i32>,
    /// TOS or traffic class.
    pub traffic_class: Option<i32>,
}

/// One datagram.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    /// Where it goes.
    pub to: Destination<'a>,
    /// What is in it.
    pub payload: Gather<'a>,
    /// How it leaves.
    pub manner: Manner,
}

/// A list of datagrams, made as they are asked for.
pub trait Datagrams<'a> {
    /// How many.
    fn count(&self) -> usize;
    /// One of them.
    fn get(&self, index: usize) -> Result<Datagram<'a>>;
    /// The payload of one that goes where `first` goes, in the same manner; `None` for any other. Asked
    /// for each datagram of a train, so it should be quick.
    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>>;
}

/// Sends on one socket, and remembers what segmentation is good for there.
pub struct Sender<'fd> {
    /// Puts SO_ZEROCOPY back.
    socket: Borrowed<'fd>,
    is_ipv6: bool,
    segmentation: Segmentation,
    pace: Pace,
    zerocopy: ZeroCopy,
    batch: SendBatch,
    /// How many datagrams each message of the batch carries.
    trains: Vec<Train>,
    /// For the rest of this call each datagram goes alone, so that the one that fails is found.
    alone: bool,
}

/// What a sender may do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Segments (UDP_SEGMENT).
    pub segmentation: bool,
    /// Sends large messages without copying (MSG_ZEROCOPY), whose memory the caller keeps.
    pub zerocopy: Option<KeptMemory>,
    /// The most payload that leaves in a second; 0 is no limit.
    pub bytes_per_second: u64,
}

#[derive(Clone, Copy)]
struct Train {
    length: usize,
    /// The size of its datagrams; the last one's may be less.
    size: usize,
    bytes: usize,
}

impl<'fd> Sender<'fd> {
    /// `EPROTOTYPE` on a stream; `EBUSY` if zero-copy sending can't have the error queue.
    pub fn open(socket: impl Into<Descriptor<'fd>>, options: Options) -> Result<Self> {
        let mut socket = Borrowed::new(socket)?;
        let Options { segmentation, zerocopy, bytes_per_second } = options;
        if option::socket_type(socket.fd())? == SocketType::Stream {
            return Err(Errno::EPROTOTYPE);
        }
        let zerocopy = zerocopy.map_or_else(|| Ok(ZeroCopy::off()), |memory| ZeroCopy::on(&mut socket, memory))?;
        if bytes_per_second > 0 {
            option::set_pacing_rate(socket.fd(), bytes_per_second)?;
        }
        // A kernel that doesn't know the option might ignore the control message and send a train as
        // one large datagram.
        let works = segmentation && IntOption::UDP_SEGMENT.get(socket.fd()).is_ok();
        Ok(Sender {
            is_ipv6: option::family(socket.fd()) == Ok(Family::V6),
            segmentation: Segmentation::new(works),
            pace: Pace::new(bytes_per_second),
            zerocopy,
            batch: SendBatch::new(),
            trains: Vec::with_capacity(MESSAGES_MAX),
            alone: false,
            socket,
        })
    }

    /// Its socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Sends them in order; how many. `done` holds it too, on failure as well: then it is the index of
    /// the datagram that failed, and all before it are out. Without time to wait it sends what there is
    /// room for, `EAGAIN` if that is none.
    pub fn send<'a>(&mut self, list: &impl Datagrams<'a>, deadline: Deadline, done: &mut usize) -> Result<usize> {
        *done = 0;
        self.alone = false;
        let flags = match deadline.is_never() {
            true => Flags::NOSIGNAL,
            false => Flags::NOSIGNAL.and(Flags::DONTWAIT),
        };
        if list.count() == 1 {
            let sent = self.send_plain(&list.get(0)?, flags);
            *done = sent.map_err(|error| self.named(list, 0, error))?.into();
        }
        let mut waiter = Waiter::to_write(deadline);
        while *done < list.count() {
            let result = self.allowance(waiter.deadline()).and_then(|bytes| self.step(list, *done, bytes, flags));
            match result {
                Ok(sent) => {
                    *done += sent;
                    waiter.progressed();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => match deadline {
                    Deadline::Now if *done > 0 => return Ok(*done),
                    Deadline::Now => return Err(Errno::EAGAIN),
                    _ => {
                        // Completions are told as POLLERR, and hold memory that the next send may need.
                        self.zerocopy.collect(self.socket.fd())?;
                        waiter.wait(self.socket.fd())?;
                    }
                },
                Err(error) => return Err(self.named(list, *done, error)),
            }
        }
        Ok(*done)
    }

    #[cold]
    fn named<'a>(&self, list: &impl Datagrams<'a>, failed: usize, error: Errno) -> Errno {
        list.get(failed).map_or(error, |datagram| refusal::named(self.fd(), error, &datagram))
    }

    /// Sends one datagram of one buffer, if that is all there is to it: a batch of one then costs what
    /// sendto(2) costs. Whether it is out; if not, it may have to wait.
    fn send_plain(&mut self, datagram: &Datagram<'_>, flags: Flags) -> Result<bool> {
        let is_plain = datagram.payload.count() == 1 && datagram.manner == Manner::default();
        if !is_plain || self.pace.is_limited() || !self.zerocopy.is_off() {
            return Ok(false);
        }
        match mmsg::send_to(self.fd(), datagram.payload.prefix(usize::MAX), datagram.to, flags) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Plans and sends one batch; how many datagrams of it went out.
    fn step<'a>(&mut self, list: &impl Datagrams<'a>, from: usize, bytes: usize, flags: Flags) -> Result<usize> {
        let Sender { socket, batch, trains, segmentation, .. } = self;
        let mut batch = batch.filling();
        trains.clear();
        let (fd, is_ipv6, alone) = (socket.fd(), self.is_ipv6, self.alone);
        let plan = Plan { list, segmentation, fd, is_ipv6, alone, peer_is_ipv4: OnceCell::new() };
        plan.fill(&mut batch, trains, from, bytes)?;
        let smallest = trains.iter().map(|train| train.bytes).min().unwrap_or(0);
        let result = match self.zerocopy.is_worthwhile(smallest) {
            true => send_uncopied(fd, &mut batch, &mut self.zerocopy, flags),
            false => batch.send(fd, flags),
        };
        match result {
            Ok(messages) => {
                let sent = trains.iter().take(messages);
                if self.pace.is_limited() {
                    self.pace.spend(sent.clone().map(|train| train.bytes).sum(), Instant::now());
                }
                Ok(sent.map(|train| train.length).sum())
            }
            Err(error) => self.refused(list, from, error),
        }
    }

    /// What is under way without copying.
    pub fn zerocopy(&mut self) -> (BorrowedFd<'_>, &mut ZeroCopy) {
        (self.socket.fd(), &mut self.zerocopy)
    }

    /// The first message of the batch was refused. A train is tried again in another way: none of its
    /// datagrams went out.
    #[cold]
    fn refused<'a>(&mut self, list: &impl Datagrams<'a>, from: usize, error: Errno) -> Result<usize> {
        let first = self.trains.first().copied().unwrap_or(Train { length: 1, size: 0, bytes: 0 });
        // One of them can't be read. Which one, the kernel doesn't say.
        if error == Errno::EFAULT && first.length > 1 {
            self.alone = true;
            return Ok(0);
        }
        let route = route(&list.get(from)?);
        match self.segmentation.refuse(error, first.length, first.size, route) {
            true => Ok(0),
            false => Err(error),
        }
    }

    /// How many bytes may leave now; waits for some if it has to.
    fn allowance(&self, deadline: &mut Deadline) -> Result<usize> {
        if !self.pace.is_limited() {
            return Ok(usize::MAX);
        }
        loop {
            match self.pace.allowance(Instant::now()) {
                Ok(bytes) => return Ok(bytes),
                Err(later) => deadline.sleep_until(later)?,
            }
        }
    }
}

/// `ENOBUFS` says that no more memory can be pinned now (net.core.optmem_max), `EMSGSIZE` perhaps that the
/// payload lies in more pages than one packet can point to: then the kernel copies.
fn send_uncopied(
    fd: BorrowedFd<'_>,
    batch: &mut Filling<'_, '_>,
    zerocopy: &mut ZeroCopy,
    flags: Flags,
) -> Result<usize> {
    match batch.send(fd, flags.and(zerocopy.flags())) {
        Ok(messages) => {
            zerocopy.count(messages);
            Ok(messages)
        }
        Err(Errno::ENOBUFS | Errno::EMSGSIZE) => {
            zerocopy.collect(fd)?;
            batch.send(fd, flags)
        }
        Err(error) => Err(error),
    }
}

fn route(datagram: &Datagram<'_>) -> Route {
    Route { to: datagram.to.address().map(|address| address.ip()), interface: datagram.manner.interface }
}

/// ::ffff:a.b.c.d counts as IPv4.
fn peer_is_ipv4(fd: BorrowedFd<'_>) -> bool {
    socket::peer_address(fd).is_ok_and(|peer| peer.ip().to_canonical().is_ipv4())
}

/// Turns datagrams into messages.
struct Plan<'p, List> {
    list: &'p List,
    segmentation: &'p Segmentation,
    fd: BorrowedFd<'p>,
    is_ipv6: bool,
    alone: bool,
    /// Asked for once, if at all.
    peer_is_ipv4: OnceCell<bool>,
}

impl<'a, List: Datagrams<'a>> Plan<'_, List> {
    /// As many messages as a system call takes and `bytes` allow, one at least. An invalid datagram
    /// ends the batch, and is an error when it comes first.
    fn fill(&self, batch: &mut Filling<'_, 'a>, trains: &mut Vec<Train>, from: usize, bytes: usize) -> Result<()> {
        let (mut next, mut left) = (from, bytes);
        while next < self.list.count() && left > 0 {
            match self.begin(batch, next, left) {
                Ok(Some(train)) => {
                    next += train.length;
                    left = left.saturating_sub(train.bytes);
                    trains.push(train);
                }
                Ok(None) => break,
                Err(_) if next > from => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One message: a datagram, and those behind it that can leave with it and are no more than `bytes`
    /// in all. `None` if the batch has no room for it.
    fn begin(&self, batch: &mut Filling<'_, 'a>, index: usize, bytes: usize) -> Result<Option<Train>> {
        let first = self.list.get(index)?;
        // The kernel would look over it, and choose a source itself.
        if !self.is_ipv6 && first.manner.from.is_some_and(|from| from.is_ipv6()) {
            return Err(Errno::EINVAL);
        }
        let size = first.payload.total()?;
        if !batch.begin(first.to, first.payload) {
            // More buffers than one message takes, or than are left in this batch.
            return if batch.is_empty() { Err(Errno::EMSGSIZE) } else { Ok(None) };
        }
        let left = self.list.count() - index;
        let limit = match self.alone {
            true => 1,
            false => self.segmentation.train_length(size, || route(&first)).min(left),
        };
        let mut train = Train { length: 1, size, bytes: size };
        while train.length < limit && train.bytes == train.length * size {
            let Some(payload) = self.list.payload_beside(index, index + train.length) else { break };
            let Ok(more) = payload.total() else { break };
            let fits = more > 0 && more <= size && Segmentation::has_room(train.bytes, more);
            let fits = fits && more <= bytes.saturating_sub(train.bytes);
            if !fits || !batch.append(payload) {
                break;
            }
            train.length += 1;
            train.bytes += more;
        }
        self.control(batch, &first, &train);
        Ok(Some(train))
    }

    fn control(&self, batch: &mut Filling<'_, 'a>, first: &Datagram<'a>, train: &Train) {
        let Some(control) = batch.control() else { return };
        if train.length > 1 {
            // At most half of 65,507.
            control.segment_size(train.size as u16);
        }
        let manner = &first.manner;
        if *manner == Manner::default() {
            return;
        }
        // An IPv6 socket sends to ::ffff:a.b.c.d by IPv6's own control messages, but for the last two.
        let v4_inside = match first.to.address() {
            Some(address) => address.ip().to_canonical().is_ipv4(),
            None => self.is_ipv6 && *self.peer_is_ipv4.get_or_init(|| peer_is_ipv4(self.fd)),
        };
        if manner.from.is_some() || manner.interface > 0 {
            let any: IpAddr = match self.is_ipv6 && !v4_inside {
                true => Ipv6Addr::UNSPECIFIED.into(),
                false => Ipv4Addr::UNSPECIFIED.into(),
            };
            let source = match manner.from.unwrap_or(any) {
                IpAddr::V4(v4) if self.is_ipv6 => v4.to_ipv6_mapped().into(),
                other => other,
            };
            control.packet_info(source, manner.interface);
        }
        if let Some(ttl) = manner.ttl {
            control.ttl(self.is_ipv6 && !v4_inside, ttl);
        }
        if let Some(class) = manner.traffic_class {
            control.traffic_class(self.is_ipv6 && !v4_inside, class);
        }
    }
}
