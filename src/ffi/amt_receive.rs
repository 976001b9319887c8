//! Tunnels: what arrives at an AMT gateway

use std::ffi::c_int;

use libc::{sockaddr_storage, ssize_t};

use super::amt::castio_amt;
use super::convert::{Filled, Place};
use super::guard::guard;
use super::handle::enter;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::sys::c_types::castio_datagram_view;
use crate::sys::sockaddr;
use crate::tunnel::amt::client::{Client, Delivered};
use crate::tunnel::amt::gateway::State;

/// castio_amt_info: no group is joined.
pub const CASTIO_AMT_IDLE: c_int = 1;
/// castio_amt_info: asks for a relay (Discovery).
pub const CASTIO_AMT_DISCOVERING: c_int = 2;
/// castio_amt_info: has asked the relay for a tunnel (Request), which hasn't answered yet.
pub const CASTIO_AMT_REQUESTING: c_int = 3;
/// castio_amt_info: the relay has answered and was told the groups.
pub const CASTIO_AMT_ACTIVE: c_int = 4;
/// castio_amt_info: no relay answers, or all are full. It goes on trying.
pub const CASTIO_AMT_FAILED: c_int = 5;

/// What a gateway does, and what it has done: see castio_amt_info(). Counters start at
/// castio_amt_open.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_amt_info {
    /// sizeof(struct castio_amt_info), set by the caller.
    pub struct_size: usize,
    /// One of CASTIO_AMT_IDLE, CASTIO_AMT_DISCOVERING, CASTIO_AMT_REQUESTING, CASTIO_AMT_ACTIVE,
    /// CASTIO_AMT_FAILED.
    pub state: c_int,
    /// 0; nothing yet.
    pub reserved: c_int,
    /// The relay's address and port; family AF_UNSPEC while there is none.
    pub relay: sockaddr_storage,
    /// How many groups are joined.
    pub groups: u64,
    /// Relay Discovery messages sent.
    pub discoveries: u64,
    /// Relay Advertisements that answered them.
    pub advertisements: u64,
    /// Request messages sent.
    pub requests: u64,
    /// Membership Queries that answered them.
    pub queries: u64,
    /// Membership Update messages sent.
    pub updates: u64,
    /// Teardown messages sent.
    pub teardowns: u64,
    /// How often one relay was left for another.
    pub relay_changes: u64,
    /// Errors of the network (ICMP) for what was sent.
    pub unreachable: u64,
    /// Datagrams received through the tunnel.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Of them, those that came in fragments.
    pub reassembled: u64,
    /// Dropped by the kernel, for want of room in the socket.
    pub dropped_by_socket: u64,
    /// Dropped: no AMT message.
    pub dropped_malformed: u64,
    /// Dropped: not from the relay.
    pub dropped_stranger: u64,
    /// Dropped: an answer to nothing that was asked.
    pub dropped_unasked: u64,
    /// Dropped: no IP packet in it, or one with a wrong length or checksum.
    pub dropped_packet: u64,
    /// Dropped: a wrong UDP checksum in it.
    pub dropped_checksum: u64,
    /// Dropped: another protocol than UDP in it.
    pub dropped_protocol: u64,
    /// Dropped: for a group that isn't joined.
    pub dropped_not_joined: u64,
    /// Dropped: from a source that isn't.
    pub dropped_filtered: u64,
    /// Dropped: marked as congested on the way, and the sender doesn't understand marks (RFC 6040).
    pub dropped_congested: u64,
    /// Dropped: fragments that overlap, or of which the others didn't come within 5 seconds, or of more
    /// than 16 packets at once.
    pub dropped_fragment: u64,
    /// Of the groups joined, those of which nothing has come since. A relay refuses without a word: when it has
    /// no room for the group, or for a group of 232.0.0.0/8 or ff3x::/32 that is joined without a source
    /// (RFC 4607). Or nobody sends.
    pub silent_groups: u64,
}

/// The descriptor to poll() for POLLIN: call castio_amt_receive when it is readable. It belongs to the
/// handle: don't read from it, don't close it.
///
/// - amt: from castio_amt_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: amt is NULL.
///
/// Since 0.1.0. See poll(2), epoll(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_fd(amt: *mut castio_amt) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(amt)? }.raw_fd()))
}

/// When to call castio_amt_receive or castio_amt_process although the descriptor isn't readable: to ask or
/// tell the relay something, or because datagrams that were taken from the kernel wait. Made for poll().
///
/// - amt: from castio_amt_open.
/// - timeout_ms: written with the time in milliseconds, -1 if there is nothing to do until the descriptor
///   is readable.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: amt or timeout_ms is NULL.
///
/// One thread at a time. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_timeout_ms(amt: *mut castio_amt, timeout_ms: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let client = unsafe { enter(amt)? };
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(timeout_ms)? };
        place.put(client.timer().map_or(-1, |at| Deadline::At(at).remaining_ms()));
        Result::Ok(())
    })
}

/// Does what there is to do, without waiting: reads and answers what the relay says, and asks and tells it
/// what is due. Stops at the first datagram for the program: that waits for castio_amt_receive, which does
/// all this, too. Harmless when there is nothing to do.
///
/// - amt: from castio_amt_open.
///
/// Returns 1 if castio_amt_receive has something to give, else 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: amt is NULL. -ENOMEM, -ENOBUFS: the kernel had no room; the next call tries again.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_process(amt: *mut castio_amt) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| unsafe { enter(amt)? }.process())
}

/// Receives datagrams that came through the tunnel, as castio_receive_datagrams does from a socket, and
/// keeps the tunnel up while it waits. Each view's payload is what the multicast sender sent; from is the
/// sender's address and port; to the group, here with the port; ttl as it was at the relay; traffic_class
/// with the tunnel's congestion marks (RFC 6040); ifindex 0.
///
/// - amt: from castio_amt_open.
/// - views, capacity: an array to fill; views[0].struct_size set to sizeof views[0]. They point into the
///   handle's memory, until the next call of this function or of castio_amt_process.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many views are filled.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is nothing. -ETIMEDOUT: the time has passed. Whether the relay
///   answers at all castio_amt_info tells.
/// -EINVAL: struct_size is too small, misaligned, or over SSIZE_MAX in all. -EFAULT: amt is NULL, or views
/// with a capacity. -ENOMEM, -ENOBUFS: the kernel had no room; the next call tries again.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0. See RFC 7450.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_receive(
    amt: *mut castio_amt,
    views: *mut castio_datagram_view,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: NULL or so many views of the size that the first one says, as the header asks.
        let mut views = unsafe { Filled::new(views, capacity)? };
        let size = views.struct_size();
        client.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |delivered| {
            views.push(filled(delivered, size));
        })
    })
}

/// A view as C has it.
pub(super) fn filled(delivered: &Delivered<'_>, struct_size: usize) -> castio_datagram_view {
    let ((from, from_len), (to, to_len)) = (delivered.from.as_raw(), delivered.to.as_raw());
    castio_datagram_view {
        struct_size,
        data: delivered.payload.as_ptr().cast(),
        len: delivered.payload.len(),
        true_len: delivered.payload.len(),
        from,
        to,
        from_len,
        to_len,
        time_ns: delivered.time_ns,
        ifindex: 0,
        drops: delivered.drops,
        ttl: delivered.ttl.into(),
        traffic_class: delivered.traffic_class.into(),
        flags: 0,
    }
}

/// Tells how far a gateway is, which relay it uses, and what it has done and dropped.
///
/// - amt: from castio_amt_open.
/// - info: its struct_size set; the rest is written.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EINVAL: struct_size is too small. -EFAULT: amt or info is NULL.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_info(amt: *mut castio_amt, info: *mut castio_amt_info) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let client = unsafe { enter(amt)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (place, struct_size) = unsafe { Place::sized(info)? };
        place.put(info_of(&client, struct_size));
        Ok(())
    })
}

pub(super) fn state_of(state: State) -> c_int {
    match state {
        State::Idle => CASTIO_AMT_IDLE,
        State::Discovering => CASTIO_AMT_DISCOVERING,
        State::Requesting => CASTIO_AMT_REQUESTING,
        State::Active => CASTIO_AMT_ACTIVE,
        State::Failed => CASTIO_AMT_FAILED,
    }
}

fn info_of(client: &Client, struct_size: usize) -> castio_amt_info {
    let counters = client.counters();
    castio_amt_info {
        struct_size,
        state: state_of(client.state()),
        reserved: 0,
        relay: client.relay().map_or(sockaddr::unspecified(), sockaddr::to_storage),
        groups: client.group_count() as u64,
        discoveries: counters.discoveries,
        advertisements: counters.advertisements,
        requests: counters.requests,
        queries: counters.queries,
        updates: counters.updates,
        teardowns: counters.teardowns,
        relay_changes: counters.relay_changes,
        unreachable: counters.unreachable,
        delivered: counters.delivered,
        delivered_bytes: counters.delivered_bytes,
        reassembled: counters.reassembled,
        dropped_by_socket: client.socket_drops(),
        dropped_malformed: counters.malformed,
        dropped_stranger: counters.stranger,
        dropped_unasked: counters.unasked,
        dropped_packet: counters.packet,
        dropped_checksum: counters.checksum,
        dropped_protocol: counters.protocol,
        dropped_not_joined: counters.not_joined,
        dropped_filtered: counters.filtered,
        dropped_congested: counters.congested,
        dropped_fragment: counters.fragment,
        silent_groups: client.silent_group_count() as u64,
    }
}
