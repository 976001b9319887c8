//! Tunnels: what an AMT relay has done.

use std::ffi::{c_char, c_int};

use super::amt_relay::castio_amt_relay;
use super::convert::{self, Place};
use super::guard::guard;
use super::handle::enter;
use crate::tunnel::amt::server::Server;

/// What a relay has done so far, and what it hasn't and why: see castio_amt_relay_info().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_amt_relay_info {
    /// sizeof(struct castio_amt_relay_info), set by the caller.
    pub struct_size: usize,
    /// Tunnels now.
    pub tunnels: u64,
    /// Groups that they listen to now.
    pub groups: u64,
    /// Groups or sources that couldn't be joined upstream. It is tried again.
    pub refused_joins: u64,
    /// Discoveries received.
    pub discoveries: u64,
    /// Advertisements sent.
    pub advertisements: u64,
    /// Requests received.
    pub requests: u64,
    /// Queries sent.
    pub queries: u64,
    /// Updates whose MAC was right.
    pub updates: u64,
    /// Teardowns whose MAC was right.
    pub teardowns: u64,
    /// Tunnels that began.
    pub opened: u64,
    /// Tunnels that ended by a Teardown.
    pub closed: u64,
    /// Tunnels whose gateway reported no more.
    pub expired: u64,
    /// Destinations said to be unreachable by ICMP.
    pub unreachable: u64,
    /// Messages dropped: not AMT, cut, or too long.
    pub dropped_malformed: u64,
    /// Messages dropped: of a type that only a relay sends.
    pub dropped_unexpected: u64,
    /// Updates and Teardowns dropped: a wrong MAC, or one that is too old.
    pub dropped_forged: u64,
    /// Updates dropped: no good report in them.
    pub dropped_report: u64,
    /// Discoveries and Requests not answered: too many from there, or from everywhere.
    pub dropped_throttled: u64,
    /// Answers dropped: nobody fetched them.
    pub dropped_answer: u64,
    /// Updates refused: no room for another tunnel, or for another from that address.
    pub refused_tunnels: u64,
    /// Records refused: no room for another group.
    pub refused_groups: u64,
    /// Sources refused: no room for them, or they aren't any.
    pub refused_sources: u64,
    /// Records refused: a group that doesn't leave its link, or one for joining by source wanted whole.
    pub refused_scope: u64,
    /// Multicast packets that came in.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets dropped: no tunnel wants them.
    pub dropped_unwanted: u64,
    /// Packets dropped: no good IP packet, or one that is no multicast.
    pub dropped_packet: u64,
    /// Packets dropped: to a group that doesn't leave its link, or from a link-local address.
    pub dropped_scope: u64,
    /// Packets dropped: the TTL or hop limit was used up.
    pub dropped_ttl: u64,
    /// Packets dropped: too large for a tunnel, and not to be fragmented.
    pub dropped_too_large: u64,
    /// Packets that were fragmented.
    pub fragmented: u64,
    /// Packets dropped in the kernel, which had no room left.
    pub dropped_by_socket: u64,
    /// Data messages sent.
    pub copies: u64,
    /// Their bytes, AMT's header included.
    pub copied_bytes: u64,
    /// Data messages dropped: over the tunnel's bytes per second.
    pub dropped_rate: u64,
    /// Data messages dropped: the kernel had no room to send.
    pub dropped_no_room: u64,
    /// Data messages dropped: the kernel refused to send them there.
    pub dropped_error: u64,
    /// How often a source was told that its packet is too large (ICMPv6; ICMP for groups in 232.0.0.0/8).
    pub told_too_large: u64,
    /// Records refused: their address has as many groups, or groups and sources, as one may have.
    pub refused_address: u64,
    /// Records dropped: too many in a second from their address.
    pub dropped_records: u64,
}

/// Tells how many tunnels and groups there are, and what has been done so far.
///
/// - relay: from castio_amt_relay_open.
/// - info: its struct_size set; the rest is written.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay or info is NULL. -EINVAL: struct_size is too small.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_info(
    relay: *mut castio_amt_relay,
    info: *mut castio_amt_relay_info,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let server = unsafe { enter(relay)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (place, struct_size) = unsafe { Place::sized(info)? };
        place.put(filled(&server, struct_size));
        Ok(())
    })
}

fn filled(server: &Server, struct_size: usize) -> castio_amt_relay_info {
    let counters = server.counters();
    castio_amt_relay_info {
        struct_size,
        tunnels: server.relay().tunnel_count() as u64,
        groups: server.relay().group_count() as u64,
        refused_joins: server.refused_joins(),
        discoveries: counters.discoveries,
        advertisements: counters.advertisements,
        requests: counters.requests,
        queries: counters.queries,
        updates: counters.updates,
        teardowns: counters.teardowns,
        opened: counters.opened,
        closed: counters.closed,
        expired: counters.expired,
        unreachable: counters.unreachable,
        dropped_malformed: counters.dropped_malformed,
        dropped_unexpected: counters.dropped_unexpected,
        dropped_forged: counters.dropped_forged,
        dropped_report: counters.dropped_report,
        dropped_throttled: counters.dropped_throttled,
        dropped_answer: counters.dropped_answer,
        refused_tunnels: counters.refused_tunnels,
        refused_groups: counters.refused_groups,
        refused_sources: counters.refused_sources,
        refused_scope: counters.refused_scope,
        packets: counters.packets,
        bytes: counters.bytes,
        dropped_unwanted: counters.dropped_unwanted,
        dropped_packet: counters.dropped_packet,
        dropped_scope: counters.dropped_scope,
        dropped_ttl: counters.dropped_ttl,
        dropped_too_large: counters.dropped_too_large,
        fragmented: counters.fragmented,
        dropped_by_socket: counters.dropped_by_socket,
        copies: counters.copies,
        copied_bytes: counters.copied_bytes,
        dropped_rate: counters.dropped_rate,
        dropped_no_room: counters.dropped_no_room,
        dropped_error: counters.dropped_error,
        told_too_large: counters.told_too_large,
        refused_address: counters.refused_address,
        dropped_records: counters.dropped_records,
    }
}

/// Writes the relay's state as JSON on one line: "listen", "counters", "tunnels" with the "groups" of each
/// ("all" of a group's sources or only "sources", "without" some), and "groups" with how many tunnels
/// want each.
///
/// - relay: from castio_amt_relay_open.
/// - buf, len: where to; cut to fit and ended by a NUL. With len 0 nothing is written.
///
/// Returns the length of the whole text in bytes, without the NUL.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay is NULL, or buf with a length. -EOVERFLOW: longer than an int can tell.
///
/// One thread at a time. Since 0.1.0. See RFC 8259.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_json(relay: *mut castio_amt_relay, buf: *mut c_char, len: usize) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let server = unsafe { enter(relay)? };
        // SAFETY: NULL or room for so many bytes, as the header asks.
        unsafe { convert::put_display(buf, len, &server.report()) }
    })
}
