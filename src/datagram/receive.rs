//! Receiving datagrams in batches.
//!
//! A train that was coalesced comes apart without copying: each of its datagrams is a view into the
//! slot. Views that a caller had no room for are handed out by the next call, before the socket is
//! asked again.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::borrowed::Borrowed;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::mmsg::{Control, Location, MESSAGES_MAX, Packet, ReceiveRing};
use crate::sys::option::{self, Family, IntOption, SocketType};
use crate::sys::packet::LinkAddress;
use crate::sys::poll::{self, Events};
use crate::waiter::Waiter;

/// A train can be as long as a datagram: a smaller slot would cut it.
const TRAIN_BYTES: usize = 65_536;

/// One datagram in a slot.
pub struct View<'r> {
    /// The slot that it is in.
    pub packet: &'r Packet,
    /// Where it starts in the slot, in bytes.
    pub offset: usize,
    /// Its length in the slot.
    pub len: usize,
    /// The length that was sent.
    pub true_len: usize,
    /// Datagrams dropped since the one before.
    pub drops: u32,
    slots: &'r ReceiveRing,
    slot: usize,
}

impl<'r> View<'r> {
    /// What of it is in the slot.
    pub fn bytes(&self) -> &'r [u8] {
        let bytes = self.slots.bytes(self.slot).and_then(|bytes| bytes.get(self.offset..)?.get(..self.len));
        bytes.unwrap_or_default()
    }

    /// Where its slot lies, for C.
    pub fn location(&self) -> Location {
        self.slots.location(self.slot, self.packet)
    }

    /// Who sent it, if that is an IP address.
    pub fn source(&self) -> Option<SocketAddr> {
        self.slots.source(self.slot)
    }
}

/// Slots that datagrams are received into, and come apart from.
pub struct Reader {
    ring: ReceiveRing,
    slots: usize,
    /// Slots that were filled since they were all free, and the next one to look at.
    filled: usize,
    next: usize,
    /// What is in the slot before that one, whether there is more of it to hand out, and from where on.
    packet: Packet,
    has_rest: bool,
    offset: usize,
}

impl Reader {
    /// Allocates the slots.
    pub fn new(slots: usize, slot_size: usize) -> Result<Self> {
        if slots == 0 || slots > MESSAGES_MAX || slot_size == 0 {
            return Err(Errno::EINVAL);
        }
        let ring = ReceiveRing::new(slots, slot_size)?;
        Ok(Reader { ring, slots, filled: 0, next: 0, packet: Packet::default(), has_rest: false, offset: 0 })
    }

    /// Whether there is something to hand out.
    pub fn has_more(&self) -> bool {
        self.has_rest || self.next < self.filled
    }

    /// Whether a slot is free.
    pub fn has_room(&self) -> bool {
        self.filled < self.slots
    }

    /// How many slots are filled.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// The slot that the next view is in.
    pub fn position(&self) -> usize {
        if self.has_rest { self.next.saturating_sub(1) } else { self.next }
    }

    /// A part of a slot, where a view was.
    pub fn bytes(&self, slot: usize, offset: usize, len: usize) -> Option<&[u8]> {
        self.ring.bytes(slot)?.get(offset..)?.get(..len)
    }

    /// All that is in a slot.
    pub fn slot(&self, slot: usize) -> &[u8] {
        self.ring.bytes(slot).unwrap_or_default()
    }

    /// How what is in a slot came, on a packet socket.
    pub fn link(&self, slot: usize) -> Option<LinkAddress> {
        self.ring.link(slot)
    }

    /// Who sent what is in a slot.
    pub fn source(&self, slot: usize) -> Option<SocketAddr> {
        self.ring.source(slot)
    }

    /// A part of a slot that a view told of, to read and change.
    pub fn bytes_mut(&mut self, slot: usize, offset: usize, len: usize) -> Option<&mut [u8]> {
        self.ring.bytes_mut(slot)?.get_mut(offset..)?.get_mut(..len)
    }

    /// All slots are free: what was in them is gone.
    pub fn clear(&mut self) {
        (self.filled, self.next, self.has_rest) = (0, 0, false);
    }

    /// Fills the free slots with what there is, without waiting.
    pub fn fill(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        loop {
            match self.ring.receive(fd, self.filled) {
                Err(Errno::EINTR) => {}
                filled => {
                    self.filled += filled?;
                    return Ok(());
                }
            }
        }
    }

    /// Which control data is received from now on.
    pub fn set_control(&mut self, control: Control) {
        self.ring.set_control(control);
    }

    /// The first filled slot with neither payload nor control data.
    fn first_blank(&self) -> Option<usize> {
        (0..self.filled).find(|slot| self.ring.is_blank(*slot))
    }

    /// Forgets what is in this slot and those behind it.
    fn cut_at(&mut self, slot: usize) {
        self.filled = slot;
    }

    /// The next datagram. `total` is its socket's count of drops, as last told.
    pub fn next_view(&mut self, total: &mut u32) -> Option<View<'_>> {
        let mut drops = 0;
        if !self.has_rest {
            if self.next == self.filled {
                return None;
            }
            let packet = self.ring.packet(self.next)?;
            self.ring.keep_destination(self.next, &packet);
            self.next += 1;
            self.offset = 0;
            // Those that waited when the receiver was opened may tell of a time before.
            if let Some(told) = packet.told.drops.filter(|told| (told.wrapping_sub(*total) as i32) > 0) {
                drops = told.wrapping_sub(*total);
                *total = told;
            }
            (self.packet, self.has_rest) = (packet, true);
        }
        self.cut(drops)
    }

    /// The next datagram of the current slot. The last one gives the slot up.
    fn cut(&mut self, drops: u32) -> Option<View<'_>> {
        let packet = &self.packet;
        let offset = self.offset;
        let size = packet.told.segment_size.unwrap_or(packet.true_len);
        let true_len = size.min(packet.true_len - offset);
        let len = true_len.min(packet.len - offset);
        self.offset += true_len;
        // What lies behind the end of the slot is gone, whole datagrams included.
        if self.offset >= packet.len {
            self.has_rest = false;
        }
        let slot = self.next.checked_sub(1)?;
        Some(View { packet, offset, len, true_len, drops, slots: &self.ring, slot })
    }
}

/// The options by which the kernel tells of each datagram what it knows.
pub fn telling(fd: BorrowedFd<'_>, coalesce: bool, details: bool) -> impl Iterator<Item = IntOption> + use<> {
    let family = option::family(fd);
    // The kernel has one format for all of a socket's times: ours would take the caller's away.
    let formats =
        [IntOption::TIMESTAMP, IntOption::TIMESTAMP_NEW, IntOption::TIMESTAMP_NS_NEW, IntOption::TIMESTAMPING_NEW];
    let has_time = details && formats.iter().any(|option| option.get(fd).is_ok_and(|on| on != 0));
    let groups: [(bool, &[IntOption]); 5] = [
        (details, &[IntOption::DROPS]),
        (details && !has_time, &[IntOption::TIMESTAMP_NS]),
        // IPv4 traffic on an IPv6 socket tells by IPv4's messages.
        (
            details && family.is_ok(),
            &[IntOption::IPV4_PACKET_INFO, IntOption::IPV4_RECEIVE_TTL, IntOption::IPV4_RECEIVE_CLASS],
        ),
        (
            details && family == Ok(Family::V6),
            &[IntOption::IPV6_PACKET_INFO, IntOption::IPV6_RECEIVE_HOPS, IntOption::IPV6_RECEIVE_CLASS],
        ),
        (coalesce && family.is_ok(), &[IntOption::UDP_GRO]),
    ];
    groups.into_iter().filter(|(wanted, _)| *wanted).flat_map(|(_, options)| options.iter().copied())
}

/// Sets them on a socket of the library's own, for good. Where the kernel doesn't know one it tells less.
pub fn tell(fd: BorrowedFd<'_>, coalesce: bool, details: bool) {
    for option in telling(fd, coalesce, details) {
        let _ = option.set(fd, 1);
    }
}

/// Sets them on the caller's socket.
pub fn tell_on(socket: &mut Borrowed<'_>, coalesce: bool, details: bool) {
    for option in telling(socket.fd(), coalesce, details) {
        let _ = socket.require(option, 1);
    }
}

/// Receives on one socket.
pub struct Receiver<'fd> {
    fd: BorrowedFd<'fd>,
    reader: Reader,
    /// The kernel's count of drops, as last told.
    drops: u32,
    /// Puts the options back.
    _socket: Borrowed<'fd>,
    /// It is connected, and its end looks like an empty datagram.
    is_seqpacket: bool,
}

impl<'fd> Receiver<'fd> {
    /// Allocates the slots, and sets the socket's options so that the kernel tells what there is to
    /// tell; those that were off are off again when the last
    /// handle that needs them is dropped. `EPROTOTYPE` on a stream.
    pub fn open(fd: BorrowedFd<'fd>, slots: usize, slot_size: usize, coalesce: bool, details: bool) -> Result<Self> {
        let kind = option::socket_type(fd)?;
        if kind == SocketType::Stream {
            return Err(Errno::EPROTOTYPE);
        }
        let is_seqpacket = kind == SocketType::SeqPacket;
        // The caller may have switched coalescing on before.
        let coalesces = coalesce || IntOption::UDP_GRO.get(fd).is_ok_and(|on| on != 0);
        let slot_size = if coalesces && slot_size > 0 { slot_size.max(TRAIN_BYTES) } else { slot_size };
        let mut reader = Reader::new(slots, slot_size)?;
        let drops = option::drops(fd).unwrap_or(0);
        let mut socket = Borrowed::new(fd)?;
        // An empty message has a time, the end has none.
        tell_on(&mut socket, coalesce, details || is_seqpacket);
        if option::is_unix(fd) {
            let has_time = [IntOption::TIMESTAMP_NS, IntOption::TIMESTAMP].map(|option| option.get(fd).unwrap_or(0));
            reader.set_control(if has_time == [0, 0] { Control::None } else { Control::Time });
        }
        Ok(Receiver { fd, reader, drops, _socket: socket, is_seqpacket })
    }

    /// All that is in a slot.
    pub fn slot(&self, slot: usize) -> &[u8] {
        self.reader.slot(slot)
    }

    /// Waits until there is something, then calls `each` for at most `limit` datagrams; how many. Their
    /// memory stays as it is until the next call.
    pub fn receive(&mut self, limit: usize, deadline: Deadline, mut each: impl FnMut(View<'_>)) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        if !self.reader.has_more() {
            self.fill(deadline)?;
        }
        let mut count = 0;
        while count < limit {
            let Some(view) = self.reader.next_view(&mut self.drops) else { break };
            each(view);
            count += 1;
        }
        Ok(count)
    }

    /// recvmmsg(2)'s own time-out isn't looked at while it waits, and a signal in the middle of one that
    /// blocks is told by the next call as an error that is none: so poll(2) waits, and it doesn't.
    fn fill(&mut self, deadline: Deadline) -> Result<()> {
        self.reader.clear();
        let mut waiter = Waiter::to_read(deadline);
        loop {
            match self.reader.fill(self.fd) {
                Err(Errno::EAGAIN) => waiter.wait(self.fd).map(drop)?,
                result => return result.and_then(|()| self.stop_at_end()),
            }
        }
    }

    /// `EPIPE` if the end of a connection is all that came: the kernel gives an empty message for it, as
    /// often as it is asked.
    fn stop_at_end(&mut self) -> Result<()> {
        if !self.is_seqpacket {
            return Ok(());
        }
        let Some(blank) = self.reader.first_blank() else { return Ok(()) };
        if poll::poll(self.fd, Events::RDHUP, 0)?.has(Events::RDHUP.and(Events::HUP)) {
            self.reader.cut_at(blank);
        }
        if self.reader.has_more() { Ok(()) } else { Err(Errno::EPIPE) }
    }
}
