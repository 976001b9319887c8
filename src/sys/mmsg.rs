//! Batches of messages: sendmmsg(2) and recvmmsg(2), with everything they point to allocated once.

use std::ffi::c_uint;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{iovec, mmsghdr, sockaddr_storage, socklen_t};

use super::control::{self, ControlBuffer, Told};
use super::memory::{Gather, IOV_MAX, Source};
use super::packet::LinkAddress;
use super::slots::Slots;
use super::sockaddr::{CompactAddress, SocketAddress};
use super::socket::{Flags, empty_message};
use super::{length, mmsg_calls, sockaddr};
use crate::error::Result;

/// The most messages that one system call takes (`UIO_MAXIOV`).
pub const MESSAGES_MAX: usize = 1024;

/// Where a message goes: an address of the caller's, as it stands there.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    address: *const libc::sockaddr,
    len: socklen_t,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> Destination<'a> {
    /// The connected peer.
    pub const PEER: Destination<'static> = Destination { address: std::ptr::null(), len: 0, memory: PhantomData };

    /// # Safety
    /// `len` bytes can be read at `address` and stay the same for `'a`, or it is NULL.
    pub unsafe fn from_raw(address: *const libc::sockaddr, len: socklen_t) -> Self {
        if address.is_null() { Destination::PEER } else { Destination { address, len, memory: PhantomData } }
    }

    /// The address, unless it is the peer or no IP address.
    pub fn address(&self) -> Option<SocketAddr> {
        if self.address.is_null() {
            return None;
        }
        // SAFETY: promised in `from_raw`.
        unsafe { sockaddr::from_raw(self.address, self.len) }.ok()
    }

    /// Whether it is the address of something else than an IP host.
    pub fn is_of_another_family(&self) -> bool {
        let family = match self.bytes() {
            [first, second, ..] => u16::from_ne_bytes([*first, *second]),
            _ => return false,
        };
        ![libc::AF_UNSPEC, libc::AF_INET, libc::AF_INET6].contains(&family.into())
    }

    /// An address of our own, of a list.
    pub fn to(address: &'a CompactAddress) -> Self {
        let (address, len) = address.as_raw();
        Destination { address, len, memory: PhantomData }
    }

    /// The bytes of an address of our own.
    pub fn of(address: &'a SocketAddress) -> Self {
        let (address, len) = address.as_raw();
        Destination { address, len, memory: PhantomData }
    }

    /// Whether both are the same bytes; the same place is the common case.
    pub fn is_same(&self, other: &Destination<'_>) -> bool {
        self.len == other.len && (self.address == other.address || self.bytes() == other.bytes())
    }

    fn bytes(&self) -> &'a [u8] {
        if self.address.is_null() {
            return &[];
        }
        // SAFETY: promised in `from_raw`.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.len as usize) }
    }
}

/// sendto(2): one datagram of one buffer, without more.
pub fn send_to(fd: BorrowedFd<'_>, bytes: Source<'_>, to: Destination<'_>, flags: Flags) -> Result<usize> {
    let (fd, flags) = (fd.as_raw_fd(), flags.raw());
    // SAFETY: a Source is memory that the kernel may read, and so is a destination.
    length(unsafe { libc::sendto(fd, bytes.base(), bytes.len(), flags, to.address, to.len) })
}

/// Room for messages to send in one go. It is kept from call to call; the messages, which point to the
/// caller's memory, exist only while a [`Filling`] borrows it.
pub struct SendBatch {
    messages: Vec<mmsghdr>,
    controls: Vec<ControlBuffer>,
    lists: Vec<iovec>,
}

// SAFETY: the pointers in it are followed only by a `Filling`, which borrows the batch, isn't `Send`, and
// begins with no messages: none that another thread left behind is ever sent.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// Room for as many messages as a system call takes. Nothing is allocated after this.
    pub fn new() -> Self {
        SendBatch {
            messages: Vec::with_capacity(MESSAGES_MAX),
            controls: vec![ControlBuffer::EMPTY; MESSAGES_MAX],
            lists: Vec::with_capacity(2 * IOV_MAX),
        }
    }

    /// Takes messages out of memory that stays valid for `'a`.
    pub fn filling<'a>(&mut self) -> Filling<'_, 'a> {
        self.messages.clear();
        self.lists.clear();
        Filling { batch: self, memory: PhantomData }
    }

    /// Sends them, in order; how many went out. An error is the first one's.
    fn send(&mut self, fd: BorrowedFd<'_>, flags: Flags) -> Result<usize> {
        for (message, control) in self.messages.iter_mut().zip(&mut self.controls) {
            control.attach(&mut message.msg_hdr);
        }
        let flags = flags.raw();
        if let [only] = self.messages.as_slice() {
            // SAFETY: the message points to memory of the caller's and of ours, all alive.
            return length(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const only.msg_hdr, flags) }).map(|_| 1);
        }
        // SAFETY: as above, for each message.
        unsafe { mmsg_calls::send(fd, &mut self.messages, flags) }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        SendBatch::new()
    }
}

/// The messages in a [`SendBatch`]. What they point to stays valid for `'a`, and so for as long as this is
/// used: the batch can't be filled for another caller meanwhile.
pub struct Filling<'batch, 'a> {
    batch: &'batch mut SendBatch,
    memory: PhantomData<*const &'a [u8]>,
}

impl<'a> Filling<'_, 'a> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batch.messages.is_empty()
    }

    /// Whether there is room for one more message of so many buffers.
    pub fn has_room(&self, buffers: usize) -> bool {
        let SendBatch { messages, lists, .. } = &*self.batch;
        let is_message = buffers <= IOV_MAX && messages.len() < MESSAGES_MAX;
        is_message && lists.len() + buffers <= lists.capacity()
    }

    /// Begins a message; `false` if there is no room for it.
    pub fn begin(&mut self, to: Destination<'a>, payload: Gather<'a>) -> bool {
        if !self.has_room(payload.count()) {
            return false;
        }
        // SAFETY: all zero is a message without address, buffers or control data.
        let mut message: mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_hdr = empty_message();
        message.msg_hdr.msg_name = to.address.cast_mut().cast();
        message.msg_hdr.msg_namelen = to.len;
        let SendBatch { messages, lists, .. } = &mut *self.batch;
        message.msg_hdr.msg_iov = lists.as_mut_ptr().wrapping_add(lists.len());
        messages.push(message);
        if let Some(control) = self.control() {
            control.clear();
        }
        self.append(payload)
    }

    /// Puts more payload behind the last message's; `false` if there is no room for it. Buffers that
    /// follow each other in memory become one.
    pub fn append(&mut self, payload: Gather<'a>) -> bool {
        let SendBatch { messages, lists, .. } = &mut *self.batch;
        let Some(message) = messages.last_mut() else {
            return false;
        };
        let buffers = payload.count();
        #[allow(clippy::unnecessary_cast, reason = "an int in other C libraries")]
        let mut count = message.msg_hdr.msg_iovlen as usize;
        if count + buffers > IOV_MAX || lists.len() + buffers > lists.capacity() {
            return false;
        }
        for entry in payload.entries() {
            match lists.last_mut() {
                Some(last) if count > 0 && last.iov_base.wrapping_byte_add(last.iov_len) == entry.iov_base => {
                    last.iov_len += entry.iov_len;
                }
                _ => {
                    lists.push(entry);
                    count += 1;
                }
            }
        }
        message.msg_hdr.msg_iovlen = count as _;
        true
    }

    /// The control data of the last message.
    pub fn control(&mut self) -> Option<&mut ControlBuffer> {
        let SendBatch { messages, controls, .. } = &mut *self.batch;
        controls.get_mut(messages.len().checked_sub(1)?)
    }

    /// Sends them, in order; how many went out. An error is the first one's.
    pub fn send(&mut self, fd: BorrowedFd<'_>, flags: Flags) -> Result<usize> {
        self.batch.send(fd, flags)
    }
}

/// Room for the control data of a received message, with what programs usually ask for besides.
const RECEIVE_ROOM: usize = 512;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ReceiveControl([MaybeUninit<u8>; RECEIVE_ROOM]);

/// Which control data is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// All that the socket's options make the kernel tell.
    All,
    /// The time alone. On a UNIX socket the room for more would be filled with descriptors that the peer
    /// chooses (unix(7), SCM_RIGHTS): even to close one changes this process, which loses its record locks
    /// on that file (fcntl_locking(2)). The time is put before them.
    Time,
    /// None: the kernel drops it.
    None,
}

impl Control {
    fn room(self) -> usize {
        match self {
            Control::All => RECEIVE_ROOM,
            // SAFETY: arithmetic on a size.
            Control::Time => unsafe { libc::CMSG_SPACE(size_of::<libc::timespec>() as c_uint) as usize },
            Control::None => 0,
        }
    }
}

/// Slots that datagrams are received into, and what each was filled with.
pub struct ReceiveRing {
    messages: Vec<mmsghdr>,
    names: Vec<sockaddr_storage>,
    destinations: Vec<sockaddr_storage>,
    lists: Vec<iovec>,
    controls: Vec<ReceiveControl>,
    slots: Slots,
    control: Control,
    /// How many of the first messages the kernel has written to.
    used: usize,
    receiver: mmsg_calls::Receiver,
}

// SAFETY: the pointers in it are to memory on the heap that belongs to it, and moves with it.
unsafe impl Send for ReceiveRing {}

/// What came into a slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// Bytes in the slot.
    pub len: usize,
    /// Bytes that were sent.
    pub true_len: usize,
    /// What its control data tells.
    pub told: Told,
    /// There was more control data than room (`MSG_CTRUNC`).
    pub control_truncated: bool,
    from_len: socklen_t,
}

/// Where it lies, for C: in the ring's memory, until the slot is filled anew.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    /// Where the slot starts.
    pub data: *const libc::c_void,
    /// The sender's address.
    pub from: *const libc::sockaddr,
    /// Its length.
    pub from_len: socklen_t,
    /// The address that it was sent to, NULL where it isn't known.
    pub to: *const libc::sockaddr,
    /// Its length.
    pub to_len: socklen_t,
}

impl ReceiveRing {
    /// `slots` of `slot_size` bytes. Nothing is allocated after this. `ENOMEM` if there isn't so much.
    pub fn new(slots: usize, slot_size: usize) -> Result<Self> {
        let memory = Slots::new(slots, slot_size)?;
        let mut ring = ReceiveRing {
            messages: Vec::with_capacity(slots),
            names: vec![sockaddr::unspecified(); slots],
            destinations: vec![sockaddr::unspecified(); slots],
            lists: Vec::with_capacity(slots),
            controls: vec![ReceiveControl([MaybeUninit::zeroed(); RECEIVE_ROOM]); slots],
            slots: memory,
            control: Control::All,
            used: slots,
            receiver: mmsg_calls::Receiver::default(),
        };
        for index in 0..slots {
            ring.lists.push(iovec { iov_base: ring.slots.start(index).cast(), iov_len: slot_size });
            // SAFETY: all zero is a message without address, buffers or control data.
            ring.messages.push(unsafe { MaybeUninit::zeroed().assume_init() });
        }
        Ok(ring)
    }

    /// Receives this much control data from now on.
    pub fn set_control(&mut self, control: Control) {
        (self.control, self.used) = (control, self.messages.len());
    }

    /// Fills slots from `first` on without waiting; how many.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, first: usize) -> Result<usize> {
        let room = self.control.room();
        let slots = self.names.iter_mut().zip(&mut self.lists).zip(&mut self.controls);
        let written = self.messages.iter_mut().zip(slots).take(self.used).skip(first);
        for (message, ((name, list), control)) in written {
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_iov = list;
            header.msg_iovlen = 1;
            header.msg_control = if room > 0 { control.0.as_mut_ptr().cast() } else { std::ptr::null_mut() };
            header.msg_controllen = room as _;
            header.msg_flags = 0;
        }
        // A packet socket refuses the flag, so it is only where descriptors can come.
        let on_exec = if self.control == Control::All { Flags::NONE } else { Flags::CLOSE_ON_EXEC };
        let flags = Flags::DONTWAIT.and(Flags::TRUNC).and(on_exec).raw();
        let free = self.messages.get_mut(first..).unwrap_or_default();
        // SAFETY: every message points to memory of this ring, which is alive and large enough.
        let filled = unsafe { self.receiver.receive(fd, free, flags) };
        self.used = first + filled.unwrap_or(0);
        self.close_descriptors(first);
        filled
    }

    /// Descriptors that came although there is no room for them: somebody has switched the time off since.
    fn close_descriptors(&self, first: usize) {
        if self.control != Control::All {
            let filled = self.messages.iter().take(self.used).skip(first);
            filled.for_each(|message| control::close_descriptors(&message.msg_hdr));
        }
    }

    /// Whether a slot that was filled has neither payload nor control data.
    pub fn is_blank(&self, index: usize) -> bool {
        let message = self.messages.get(index).filter(|_| index < self.used);
        message.is_some_and(|message| message.msg_len == 0 && message.msg_hdr.msg_controllen == 0)
    }

    /// The bytes of a slot that was filled.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        let message = self.messages.get(index).filter(|_| index < self.used)?;
        // SAFETY: the kernel has written so many bytes into the slot, or all of it.
        unsafe { self.slots.bytes(index, message.msg_len as usize) }
    }

    /// Who sent what is in a slot.
    pub fn source(&self, index: usize) -> Option<SocketAddr> {
        sockaddr::from_storage(self.names.get(index).filter(|_| index < self.used)?)
    }

    /// How what is in a slot came, on a packet socket.
    pub fn link(&self, index: usize) -> Option<LinkAddress> {
        LinkAddress::from_storage(self.names.get(index).filter(|_| index < self.used)?)
    }

    /// The bytes of a slot that was filled, to read and change.
    pub fn bytes_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let message = self.messages.get(index).filter(|_| index < self.used)?;
        // SAFETY: the kernel has written so many bytes into the slot, or all of it.
        unsafe { self.slots.bytes_mut(index, message.msg_len as usize) }
    }

    /// What came into a slot that was filled.
    pub fn packet(&self, index: usize) -> Option<Packet> {
        let message = self.messages.get(index).filter(|_| index < self.used)?;
        let true_len = message.msg_len as usize;
        Some(Packet {
            len: true_len.min(self.slots.size()),
            true_len,
            told: control::read(&message.msg_hdr),
            control_truncated: message.msg_hdr.msg_flags & libc::MSG_CTRUNC != 0,
            from_len: message.msg_hdr.msg_namelen,
        })
    }

    /// Keeps the address that the packet in a slot was sent to, for [`ReceiveRing::location`].
    pub fn keep_destination(&mut self, index: usize, packet: &Packet) {
        if let (Some(place), Some((ip, _))) = (self.destinations.get_mut(index), packet.told.destination) {
            *place = sockaddr::ip_storage(ip);
        }
    }

    /// Where the packet in a slot lies.
    pub fn location(&self, index: usize, packet: &Packet) -> Location {
        let (to, to_len) = match packet.told.destination {
            Some((ip, _)) => (self.destinations.as_ptr().wrapping_add(index), sockaddr::ip_len(ip)),
            None => (std::ptr::null(), 0),
        };
        Location {
            data: self.slots.start(index).cast_const().cast(),
            from: self.names.as_ptr().wrapping_add(index).cast(),
            from_len: packet.from_len,
            to: to.cast(),
            to_len: to_len as socklen_t,
        }
    }
}
