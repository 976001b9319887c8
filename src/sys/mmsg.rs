//! Batches of messages: sendmmsg(2) and recvmmsg(2), with everything they point to allocated once.

use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{iovec, mmsghdr, sockaddr_storage, socklen_t};

use super::control::{self, ControlBuffer, Told};
use super::memory::{Gather, IOV_MAX, Source};
use super::packet::LinkAddress;
use super::sockaddr::{CompactAddress, SocketAddress};
use super::socket::{Flags, empty_message};
use super::{length, mmsg_calls, sockaddr};
use crate::error::{Errno, Result};

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

/// Messages to send in one go. What they point to is the caller's memory, for as long as `'a`.
pub struct SendBatch<'a> {
    messages: Vec<mmsghdr>,
    controls: Vec<ControlBuffer>,
    lists: Vec<iovec>,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: the pointers in it are used only through `&mut self`, whichever thread has it.
unsafe impl Send for SendBatch<'_> {}

impl<'a> SendBatch<'a> {
    /// Room for as many messages as a system call takes. Nothing is allocated after this.
    pub fn new() -> Self {
        SendBatch {
            messages: Vec::with_capacity(MESSAGES_MAX),
            controls: vec![ControlBuffer::EMPTY; MESSAGES_MAX],
            lists: Vec::with_capacity(2 * IOV_MAX),
            memory: PhantomData,
        }
    }

    /// Without its messages, it can take those of another caller.
    pub fn cleared<'b>(&mut self) -> &mut SendBatch<'b> {
        self.messages.clear();
        self.lists.clear();
        // SAFETY: a lifetime is all that differs, and nothing of the old one is left in it.
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether there is room for one more message of so many buffers.
    pub fn has_room(&self, buffers: usize) -> bool {
        let is_message = buffers <= IOV_MAX && self.messages.len() < MESSAGES_MAX;
        is_message && self.lists.len() + buffers <= self.lists.capacity()
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
        message.msg_hdr.msg_iov = self.lists.as_mut_ptr().wrapping_add(self.lists.len());
        self.messages.push(message);
        if let Some(control) = self.control() {
            control.clear();
        }
        self.append(payload)
    }

    /// Puts more payload behind the last message's; `false` if there is no room for it. Buffers that
    /// follow each other in memory become one.
    pub fn append(&mut self, payload: Gather<'a>) -> bool {
        let Some(message) = self.messages.last_mut() else {
            return false;
        };
        let buffers = payload.count();
        #[allow(clippy::unnecessary_cast, reason = "an int in other C libraries")]
        let mut count = message.msg_hdr.msg_iovlen as usize;
        if count + buffers > IOV_MAX || self.lists.len() + buffers > self.lists.capacity() {
            return false;
        }
        for entry in payload.entries() {
            match self.lists.last_mut() {
                Some(last) if count > 0 && last.iov_base.wrapping_byte_add(last.iov_len) == entry.iov_base => {
                    last.iov_len += entry.iov_len;
                }
                _ => {
                    self.lists.push(*entry);
                    count += 1;
                }
            }
        }
        message.msg_hdr.msg_iovlen = count as _;
        true
    }

    /// The control data of the last message.
    pub fn control(&mut self) -> Option<&mut ControlBuffer> {
        self.controls.get_mut(self.messages.len().checked_sub(1)?)
    }

    /// Sends them, in order; how many went out. An error is the first one's.
    pub fn send(&mut self, fd: BorrowedFd<'_>, flags: Flags) -> Result<usize> {
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

impl Default for SendBatch<'_> {
    fn default() -> Self {
        SendBatch::new()
    }
}

/// Room for the control data of a received message, with what programs usually ask for besides.
const RECEIVE_ROOM: usize = 512;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ReceiveControl([MaybeUninit<u8>; RECEIVE_ROOM]);

/// Slots that datagrams are received into, and what each was filled with.
pub struct ReceiveRing {
    messages: Vec<mmsghdr>,
    names: Vec<sockaddr_storage>,
    destinations: Vec<sockaddr_storage>,
    lists: Vec<iovec>,
    controls: Vec<ReceiveControl>,
    memory: Vec<MaybeUninit<u8>>,
    slot_size: usize,
    /// How many of the first messages the kernel has written to.
    used: usize,
    receiver: mmsg_calls::Receiver,
}

// SAFETY: the pointers in it are to its own memory.
unsafe impl Send for ReceiveRing {}

/// What came into a slot.
pub struct Packet {
    /// Where the payload starts.
    pub data: *const libc::c_void,
    /// Bytes in the slot.
    pub len: usize,
    /// Bytes that were sent.
    pub true_len: usize,
    /// The sender's address.
    pub from: *const libc::sockaddr,
    /// Its length.
    pub from_len: socklen_t,
    /// The address that it was sent to, NULL where it isn't known.
    pub to: *const libc::sockaddr,
    /// Its length.
    pub to_len: socklen_t,
    /// What its control data tells.
    pub told: Told,
    /// There was more control data than room (`MSG_CTRUNC`).
    pub control_truncated: bool,
}

impl ReceiveRing {
    /// `slots` of `slot_size` bytes. Nothing is allocated after this. `ENOMEM` if there isn't so much.
    pub fn new(slots: usize, slot_size: usize) -> Result<Self> {
        let bytes = slots.checked_mul(slot_size).ok_or(Errno::ENOMEM)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: there is room for so many, and they may be uninitialised.
        unsafe { memory.set_len(bytes) };
        let mut ring = ReceiveRing {
            messages: Vec::with_capacity(slots),
            names: vec![sockaddr::unspecified(); slots],
            destinations: vec![sockaddr::unspecified(); slots],
            lists: Vec::with_capacity(slots),
            controls: vec![ReceiveControl([MaybeUninit::zeroed(); RECEIVE_ROOM]); slots],
            memory,
            slot_size,
            used: slots,
            receiver: mmsg_calls::Receiver::default(),
        };
        for index in 0..slots {
            let base = ring.memory.as_mut_ptr().wrapping_add(index * slot_size).cast();
            ring.lists.push(iovec { iov_base: base, iov_len: slot_size });
            // SAFETY: all zero is a message without address, buffers or control data.
            ring.messages.push(unsafe { MaybeUninit::zeroed().assume_init() });
        }
        Ok(ring)
    }

    /// Fills slots from `first` on without waiting; how many.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, first: usize) -> Result<usize> {
        let slots = self.names.iter_mut().zip(&mut self.lists).zip(&mut self.controls);
        let written = self.messages.iter_mut().zip(slots).take(self.used).skip(first);
        for (message, ((name, list), control)) in written {
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            header.msg_iov = list;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = RECEIVE_ROOM as _;
            header.msg_flags = 0;
        }
        let flags = Flags::DONTWAIT.and(Flags::TRUNC).raw();
        let free = self.messages.get_mut(first..).unwrap_or_default();
        // SAFETY: every message points to memory of this ring, which is alive and large enough.
        let filled = unsafe { self.receiver.receive(fd, free, flags) };
        self.used = first + filled.unwrap_or(0);
        filled
    }

    /// The bytes of a slot that was filled.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        let message = self.messages.get(index).filter(|_| index < self.used)?;
        let len = (message.msg_len as usize).min(self.slot_size);
        let slot = self.memory.get(index * self.slot_size..)?.get(..len)?;
        // SAFETY: the kernel has written so many bytes into the slot.
        Some(unsafe { std::slice::from_raw_parts(slot.as_ptr().cast(), len) })
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
        let len = (message.msg_len as usize).min(self.slot_size);
        let slot = self.memory.get_mut(index * self.slot_size..)?.get_mut(..len)?;
        // SAFETY: the kernel has written so many bytes into the slot.
        Some(unsafe { std::slice::from_raw_parts_mut(slot.as_mut_ptr().cast(), len) })
    }

    /// What came into a slot that the last `receive` filled.
    pub fn packet(&mut self, index: usize) -> Option<Packet> {
        let message = self.messages.get(index)?;
        let told = control::read(&message.msg_hdr);
        let (mut to, mut to_len) = (std::ptr::null(), 0);
        if let (Some((ip, _)), Some(place)) = (told.destination, self.destinations.get_mut(index)) {
            *place = sockaddr::ip_storage(ip);
            (to, to_len) = (std::ptr::from_ref(place).cast(), sockaddr::ip_len(ip) as socklen_t);
        }
        let (name, list) = (self.names.get(index)?, self.lists.get(index)?);
        let true_len = message.msg_len as usize;
        Some(Packet {
            data: list.iov_base,
            len: true_len.min(self.slot_size),
            true_len,
            from: std::ptr::from_ref(name).cast(),
            from_len: message.msg_hdr.msg_namelen,
            to,
            to_len,
            told,
            control_truncated: message.msg_hdr.msg_flags & libc::MSG_CTRUNC != 0,
        })
    }
}
