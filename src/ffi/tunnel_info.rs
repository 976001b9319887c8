//! Tunnels between two ends: what fits, and what went through

use std::ffi::c_int;

use super::convert::Place;
use super::guard::guard;
use super::handle::enter;
use super::tunnel::castio_tunnel;
use crate::tunnel::fixed::{Sizes, Tunnel};

/// What fits into a tunnel and what went through it: see castio_tunnel_info().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_tunnel_info {
    /// sizeof(struct castio_tunnel_info); set before the call.
    pub struct_size: usize,
    /// The largest inner packet that castio_tunnel_send takes. With CASTIO_TUNNEL_FRAGMENT that is more
    /// than whole, for packets that may be cut.
    pub mtu: usize,
    /// The largest inner packet that goes in one piece.
    pub whole: usize,
    /// The largest payload of a UDP datagram inside that goes in one piece: behind an IPv4 header of 20
    /// bytes and UDP's.
    pub payload_v4: usize,
    /// Likewise behind an IPv6 header.
    pub payload_v6: usize,
    /// What the tunnel adds to each packet: the outer headers.
    pub overhead: usize,
    /// The largest outer packet, as far as the kernel knows the path now.
    pub path_mtu: usize,
    /// Inner packets sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Inner packets received.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Not sent, -EBADMSG: no packet.
    pub out_malformed: u64,
    /// Not sent, -EMSGSIZE: too big.
    pub out_too_big: u64,
    /// Not sent, -ELOOP: from the other end or to it.
    pub out_loop: u64,
    /// How often ICMP told that the other end isn't reached.
    pub unreachable: u64,
    /// Dropped: not from the other end.
    pub in_stranger: u64,
    /// Dropped: the tunnel's own header can't be.
    pub in_malformed: u64,
    /// Dropped: something other than an IP packet is inside.
    pub in_protocol: u64,
    /// Dropped: the GRE key of another tunnel.
    pub in_key: u64,
    /// Dropped: a GRE checksum that is wrong, or missing.
    pub in_checksum: u64,
    /// Dropped: after a later one, or without a number.
    pub in_sequence: u64,
    /// Dropped: the inner packet can't be.
    pub in_inner: u64,
    /// Dropped: marked for congestion, which its sender wouldn't understand (RFC 6040).
    pub in_congestion: u64,
    /// Dropped: the inner TTL is 0.
    pub in_ttl: u64,
    /// Dropped by the kernel: there was no more room in the socket.
    pub in_buffer: u64,
    /// Not sent, -EADDRNOTAVAIL: from a link-local address to beyond its link.
    pub out_link_local: u64,
    /// Dropped: from a link-local address to beyond its link.
    pub in_link_local: u64,
}

/// Tells what fits into a tunnel: connect() and getsockopt(IP_MTU) on a socket that the handle has for
/// this, so that it is what the kernel knows of the path now. Tells what went through it so far.
///
/// - tunnel: from castio_tunnel_open.
/// - info: written; its struct_size set to sizeof *info before.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: tunnel or info is NULL. -EINVAL: struct_size is too small.
/// -ENETUNREACH: there is no route to the other end any more.
/// -EAGAIN: no local port is left.
/// Others as connect(): -EACCES, -EHOSTUNREACH, -ENODEV.
///
/// One thread at a time. Since 0.1.0. See ip(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_info(tunnel: *mut castio_tunnel, info: *mut castio_tunnel_info) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut tunnel = unsafe { enter(tunnel)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (place, struct_size) = unsafe { Place::sized(info)? };
        let sizes = tunnel.sizes()?;
        place.put(filled(&tunnel, sizes, struct_size));
        Ok(())
    })
}

fn filled(tunnel: &Tunnel, sizes: Sizes, struct_size: usize) -> castio_tunnel_info {
    let counters = tunnel.counters();
    castio_tunnel_info {
        struct_size,
        mtu: sizes.mtu,
        whole: sizes.whole,
        payload_v4: sizes.payload_v4(),
        payload_v6: sizes.payload_v6(),
        overhead: sizes.overhead,
        path_mtu: sizes.path_mtu,
        packets_out: counters.out.packets,
        bytes_out: counters.out.bytes,
        packets_in: counters.received.packets,
        bytes_in: counters.received.bytes,
        out_malformed: counters.out_malformed,
        out_too_big: counters.out_too_big,
        out_loop: counters.out_loop,
        unreachable: counters.unreachable,
        in_stranger: counters.stranger,
        in_malformed: counters.malformed,
        in_protocol: counters.protocol,
        in_key: counters.key,
        in_checksum: counters.checksum,
        in_sequence: counters.sequence,
        in_inner: counters.inner,
        in_congestion: counters.congestion,
        in_ttl: counters.ttl,
        in_buffer: counters.buffer,
        out_link_local: counters.out_link_local,
        in_link_local: counters.link_local,
    }
}
