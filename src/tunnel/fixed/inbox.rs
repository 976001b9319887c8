//! Where the kernel puts a tunnel's packets.

use crate::datagram::receive::Reader;

/// Slots that are filled from the tunnel's sockets, of which there are two at most.
pub(super) struct Inbox {
    pub reader: Reader,
    /// Which socket is asked first, by turns, and how many slots are filled from it.
    pub first: usize,
    pub filled: usize,
    /// The kernel's counts of drops, as last told.
    pub drops: [u32; 2],
}

impl Inbox {
    pub fn new(reader: Reader) -> Inbox {
        Inbox { reader, first: 0, filled: 0, drops: [0; 2] }
    }

    /// Which socket a slot was filled from.
    pub fn socket_of(&self, slot: usize) -> usize {
        if slot < self.filled { self.first } else { 1 - self.first }
    }
}

/// Where a received packet lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slot.
    pub slot: usize,
    /// The packet's first byte there.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
}
