//! What went through a tunnel, and what became of the rest.

use super::entry::Refusal;
use super::exit::Reason;

/// Counts, from the opening on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Inner packets sent, and their bytes.
    pub out: Traffic,
    /// Inner packets received, and their bytes.
    pub received: Traffic,
    /// Refused: no packets.
    pub out_malformed: u64,
    /// Refused: from the other end, or to it.
    pub out_loop: u64,
    /// Refused: too big.
    pub out_too_big: u64,
    /// Refused: from a link-local address to beyond the link.
    pub out_link_local: u64,
    /// How often ICMP told that the other end isn't reached.
    pub unreachable: u64,
    /// See [`Reason`].
    pub stranger: u64,
    /// See [`Reason`].
    pub malformed: u64,
    /// See [`Reason`].
    pub protocol: u64,
    /// See [`Reason`].
    pub key: u64,
    /// See [`Reason`].
    pub checksum: u64,
    /// See [`Reason`].
    pub sequence: u64,
    /// See [`Reason`].
    pub inner: u64,
    /// See [`Reason`].
    pub congestion: u64,
    /// See [`Reason`].
    pub ttl: u64,
    /// See [`Reason`].
    pub link_local: u64,
    /// Dropped by the kernel, for want of room in the socket.
    pub buffer: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many packets.
    pub packets: u64,
    /// How many bytes they have in all.
    pub bytes: u64,
}

impl Traffic {
    /// One more.
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

impl Counters {
    /// A packet wasn't sent.
    pub fn refused(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::Malformed => &mut self.out_malformed,
            Refusal::Loop => &mut self.out_loop,
            Refusal::TooBig => &mut self.out_too_big,
            Refusal::LinkLocal => &mut self.out_link_local,
        } += 1;
    }

    /// A packet from the network was dropped.
    pub fn dropped(&mut self, reason: Reason) {
        *match reason {
            Reason::Stranger => &mut self.stranger,
            Reason::Malformed => &mut self.malformed,
            Reason::Protocol => &mut self.protocol,
            Reason::Key => &mut self.key,
            Reason::Checksum => &mut self.checksum,
            Reason::Sequence => &mut self.sequence,
            Reason::Inner => &mut self.inner,
            Reason::Congestion => &mut self.congestion,
            Reason::Ttl => &mut self.ttl,
            Reason::LinkLocal => &mut self.link_local,
        } += 1;
    }
}
