//! Datagrams for the application, where the kernel or the gateway has put them.

use std::net::SocketAddr;

use super::super::gateway::Gateway;
use crate::datagram::receive::Reader;
use crate::error::Result;
use crate::sys::sockaddr::SocketAddress;

/// As long as a datagram, or a coalesced run of them, can be.
const SLOT_SIZE: usize = 65_536;
/// The most pairs of addresses that one call tells of; the others come with the next.
const ADDRESSES: usize = 256;

/// A datagram for the application.
pub struct Delivered<'c> {
    /// Its bytes.
    pub payload: &'c [u8],
    /// The multicast sender.
    pub from: &'c SocketAddress,
    /// The group, and the port.
    pub to: &'c SocketAddress,
    /// The same as addresses.
    pub ends: (SocketAddr, SocketAddr),
    /// TTL or hop limit, as the relay had it.
    pub ttl: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// When the kernel received it, in nanoseconds since 1970; 0 if it isn't known.
    pub time_ns: u64,
    /// Datagrams dropped by the socket since the one before.
    pub drops: u32,
}

/// A datagram that waits to be handed out.
#[derive(Clone, Copy)]
pub(super) struct Ready {
    pub ends: (SocketAddr, SocketAddr),
    pub place: Place,
    pub ttl: u8,
    pub traffic_class: u8,
    pub time_ns: u64,
    pub drops: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Place {
    Slot { slot: usize, offset: usize, len: usize },
    Assembled(usize),
}

/// What was read and not yet handed out.
pub(super) struct Inbox {
    pub reader: Reader,
    /// The first slots are from the IPv4 socket.
    pub v4_slots: usize,
    pub held: Option<Ready>,
    addresses: Vec<(SocketAddr, SocketAddress, SocketAddr, SocketAddress)>,
}

impl Inbox {
    pub fn new(slots: usize) -> Result<Inbox> {
        let reader = Reader::new(slots, SLOT_SIZE)?;
        Ok(Inbox { reader, v4_slots: 0, held: None, addresses: Vec::with_capacity(ADDRESSES) })
    }

    /// Whether there is something, or may be.
    pub fn has_more(&self) -> bool {
        self.held.is_some() || self.reader.has_more()
    }

    /// Forgets the addresses of what was handed out.
    pub fn clear_addresses(&mut self) {
        self.addresses.clear();
    }

    /// Room for another pair of addresses; a datagram between the same ends as the one before needs none.
    pub fn has_addresses(&mut self, (from, to): (SocketAddr, SocketAddr)) -> bool {
        let is_same = self.addresses.last().is_some_and(|last| last.0 == from && last.2 == to);
        let has_room = is_same || self.addresses.len() < ADDRESSES;
        if has_room && !is_same {
            self.addresses.push((from, from.into(), to, to.into()));
        }
        has_room
    }

    /// Hands out a datagram whose pair of addresses is the last one.
    pub fn give(&self, gateway: &Gateway, ready: &Ready, each: &mut impl FnMut(&Delivered<'_>)) {
        let payload = match ready.place {
            Place::Assembled(number) => gateway.assembled(number),
            Place::Slot { slot, offset, len } => self.reader.bytes(slot, offset, len).unwrap_or_default(),
        };
        let Some((_, from, _, to)) = self.addresses.last() else { return };
        let Ready { ends, ttl, traffic_class, time_ns, drops, .. } = *ready;
        each(&Delivered { payload, from, to, ends, ttl, traffic_class, time_ns, drops });
    }
}
