//! What a bridge has forwarded, and what not, and why.

use super::policy::Stop;
use crate::error::Errno;
use crate::tunnel::fixed::counters::Traffic;

/// Counts, from the opening on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the interface into the tunnel.
    pub into: Traffic,
    /// Out of the tunnel onto the interface.
    pub out: Traffic,
    /// To no group.
    pub not_multicast: u64,
    /// To a group that doesn't reach so far.
    pub scope: u64,
    /// From a link-local address.
    pub link_local: u64,
    /// With too little TTL left.
    pub ttl: u64,
    /// That had come round.
    pub back: u64,
    /// Of groups that nobody wants: on the interface for other reasons.
    pub unwanted: u64,
    /// That can't be.
    pub malformed: u64,
    /// Too big for the tunnel or the interface, and not to be cut.
    pub too_big: u64,
    /// Cut, to fit.
    pub cut: u64,
    /// No whole UDP datagrams, where only those can go on.
    pub not_udp: u64,
    /// For which a socket had no room.
    pub no_room: u64,
    /// That the kernel refused.
    pub failed: u64,
    /// Dropped by the kernel, before they were read.
    pub buffer: u64,
    /// Reports passed on, or followed.
    pub reports: u64,
    /// Queries sent.
    pub queries: u64,
    /// Joins that failed.
    pub refused_joins: u64,
    /// Sources that were told that a packet was too big.
    pub told_too_big: u64,
}

impl Counters {
    /// A packet isn't forwarded.
    pub fn stopped(&mut self, stop: Stop) {
        *match stop {
            Stop::NotMulticast => &mut self.not_multicast,
            Stop::Scope => &mut self.scope,
            Stop::LinkLocal => &mut self.link_local,
            Stop::Ttl => &mut self.ttl,
        } += 1;
    }

    /// A packet that the tunnel or the kernel has refused.
    pub fn lost(&mut self, error: Errno) {
        *match error {
            Errno::EMSGSIZE => &mut self.too_big,
            Errno::EBADMSG => &mut self.malformed,
            Errno::ELOOP => &mut self.back,
            Errno::EADDRNOTAVAIL => &mut self.link_local,
            Errno::EAGAIN | Errno::ENOBUFS => &mut self.no_room,
            _ => &mut self.failed,
        } += 1;
    }
}
