//! Tunnels between two ends

use std::ffi::{c_char, c_int, c_uint};
use std::io::IoSlice;

use libc::{iovec, ssize_t};

use super::convert::{self, Filled, Place, array, counted};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::memory::Out;
use crate::tunnel::ecn::Mode;
use crate::tunnel::fixed::Tunnel;
use crate::tunnel::fixed::ends::{self, Options};
use crate::tunnel::fixed::kind::Kind;

/// One end of a tunnel that carries whole IP packets: see castio_tunnel_open().
pub struct castio_tunnel(Handle<Tunnel>);
opaque!(castio_tunnel, Tunnel);

/// castio_tunnel_open: a packet in an IP packet, protocol 4, or 41 for IPv6 inside (RFC 2003, RFC 2473).
/// Takes CAP_NET_RAW.
pub const CASTIO_TUNNEL_IPIP: c_int = 1;
/// castio_tunnel_open: in GRE, protocol 47 (RFC 2784, RFC 2890). Takes CAP_NET_RAW.
pub const CASTIO_TUNNEL_GRE: c_int = 2;
/// castio_tunnel_open: in GRE in UDP, port 4754 (RFC 8086). Needs no privilege.
pub const CASTIO_TUNNEL_GRE_UDP: c_int = 3;
/// castio_tunnel_open: in UDP, port 2268, with the two bytes before it that AMT has before its data
/// (RFC 7450, section 5.1.6). Needs no privilege.
pub const CASTIO_TUNNEL_UDP: c_int = 4;

/// castio_tunnel_options: `key` tells this GRE tunnel from others between the same ends.
pub const CASTIO_TUNNEL_KEY: c_uint = 1;
/// castio_tunnel_options: a GRE checksum goes with each packet, and must come with each.
pub const CASTIO_TUNNEL_CHECKSUM: c_uint = 2;
/// castio_tunnel_options: GRE packets are numbered; one that comes after a later one is dropped, and one
/// without a number. When 32 come in order that is against the one before, the other end has begun anew.
pub const CASTIO_TUNNEL_SEQUENCE: c_uint = 4;
/// castio_tunnel_options: what is too large for the path goes in pieces (outer fragments), if the inner
/// packet allows: IPv4 without DF, or IPv6 of no more than 1280 bytes. Otherwise, and for all others,
/// too large is -EMSGSIZE.
pub const CASTIO_TUNNEL_FRAGMENT: c_uint = 8;
/// castio_tunnel_options: congestion marks (ECN) aren't copied to the outer header, for a far end that
/// doesn't know what to do with them (RFC 6040, compatibility mode).
pub const CASTIO_TUNNEL_NO_ECN: c_uint = 16;

const FLAGS: c_uint =
    CASTIO_TUNNEL_KEY | CASTIO_TUNNEL_CHECKSUM | CASTIO_TUNNEL_SEQUENCE | CASTIO_TUNNEL_FRAGMENT | CASTIO_TUNNEL_NO_ECN;

/// What a tunnel is like: see castio_tunnel_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_tunnel_options {
    /// sizeof(struct castio_tunnel_options).
    pub struct_size: usize,
    /// CASTIO_TUNNEL_KEY and others.
    pub flags: c_uint,
    /// The GRE key, with CASTIO_TUNNEL_KEY.
    pub key: u32,
    /// TTL or hop limit of the outer packets, 1 to 255; 0 for the system's, 64.
    pub ttl: c_uint,
    /// The largest inner packet in bytes; 0 for what fits.
    pub mtu: usize,
    /// How many packets (or coalesced runs of them) castio_tunnel_receive takes from the kernel at a
    /// time, 1 to 1024; 0 for 64.
    pub slots: usize,
}

/// Opens one end of a tunnel, through which whole IP packets go from one host to another, IPv4 and IPv6,
/// over IPv4 or IPv6: socket(), bind(), connect(). The other end may be castio, or anything that speaks
/// the same: a router's or the kernel's GRE or IPIP tunnel. Makes its own descriptors, closed on exec;
/// castio_tunnel_close closes them.
///
/// The outer packet gets the inner one's DSCP and congestion marks, and a TTL of its own; what comes out
/// has the marks that it got on the way (RFC 6040). The inner TTL stays as it is: who forwards decrements.
/// DF is set on the outer packets unless CASTIO_TUNNEL_FRAGMENT is asked for and the inner packet allows
/// to be cut.
///
/// - kind: CASTIO_TUNNEL_IPIP and others.
/// - local: this end, "192.0.2.1", "2001:db8::1", with a port for the kinds over UDP,
///   "[fe80::1%eth0]:4754"; NULL for any address of this host and the kind's port. Each tunnel over UDP
///   needs a port of its own on this end.
/// - remote: the other end, likewise. Packets from others are dropped. With CASTIO_TUNNEL_GRE_UDP the
///   other end may send from any port (RFC 8086), with CASTIO_TUNNEL_UDP from this one only.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_tunnel_close.
///
/// Returns 0.
///
/// Errors:
/// -EINVAL: kind isn't one; an end isn't an address, or remote not one host's; a port with a kind that has
///   none; key, checksum or sequence with a kind without GRE; struct_size is too small; a flag, ttl, mtu or
///   slots isn't valid.
/// -EPERM: the kind takes CAP_NET_RAW.
/// -EADDRINUSE: the port is taken. -EADDRNOTAVAIL: local isn't an address of this host.
/// -EAFNOSUPPORT: one end is IPv4 and the other IPv6. -ENETUNREACH: there is no route to remote.
/// -ENODEV: no such interface. -EFAULT: remote or out is NULL. -ENOMEM: there isn't so much memory.
/// -EMFILE, -ENFILE: no descriptor left. -ENOSPC: fs.epoll.max_user_watches is reached.
/// -EAGAIN: no local port is left.
/// Others as connect(): -EACCES, -EHOSTUNREACH.
///
/// A handle is for one thread at a time. Since 0.1.0. See raw(7), udp(7), RFC 2003, RFC 2473, RFC 2784,
/// RFC 2890, RFC 8086.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_open(
    kind: c_int,
    local: *const c_char,
    remote: *const c_char,
    options: *const castio_tunnel_options,
    out: *mut *mut castio_tunnel,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        let kind = kind_of(kind)?;
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (local, remote) = unsafe { (convert::optional_text(local), convert::text(remote)?) };
        let remote = ends::parse(remote, kind)?;
        let local = local.map(|local| ends::parse(local, kind)).transpose()?;
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (options, slots) = unsafe { options_of(options)? };
        place.put(handle::open(Tunnel::open(kind, local, remote, options, slots)?));
        Ok(())
    })
}

fn kind_of(kind: c_int) -> Result<Kind> {
    match kind {
        CASTIO_TUNNEL_IPIP => Ok(Kind::IpIp),
        CASTIO_TUNNEL_GRE => Ok(Kind::Gre),
        CASTIO_TUNNEL_GRE_UDP => Ok(Kind::GreUdp),
        CASTIO_TUNNEL_UDP => Ok(Kind::Udp),
        _ => Err(Errno::EINVAL),
    }
}

/// # Safety
/// NULL, or a struct of the size that it says.
unsafe fn options_of(options: *const castio_tunnel_options) -> Result<(Options, usize)> {
    let default = castio_tunnel_options { struct_size: 0, flags: 0, key: 0, ttl: 0, mtu: 0, slots: 0 };
    // SAFETY: promised by the caller.
    let chosen = unsafe { convert::options(options)? }.unwrap_or(default);
    let has = |flag| chosen.flags & flag != 0;
    if has(!FLAGS) {
        return Err(Errno::EINVAL);
    }
    let options = Options {
        key: has(CASTIO_TUNNEL_KEY).then_some(chosen.key),
        checksum: has(CASTIO_TUNNEL_CHECKSUM),
        sequence: has(CASTIO_TUNNEL_SEQUENCE),
        fragment: has(CASTIO_TUNNEL_FRAGMENT),
        ecn: if has(CASTIO_TUNNEL_NO_ECN) { Mode::Compatibility } else { Mode::Normal },
        ttl: u8::try_from(chosen.ttl).map_err(|_| Errno::EINVAL)?,
        mtu: chosen.mtu,
    };
    Ok((options, if chosen.slots == 0 { 64 } else { chosen.slots }))
}

/// Closes a tunnel's descriptors and frees it. Packets that it had taken and not yet given are gone. In a child
/// after fork() it only frees the child's copy. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_close(tunnel: *mut castio_tunnel) {
    // SAFETY: NULL or from castio_tunnel_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(tunnel) });
}

/// Sends whole IP packets to the other end, in order: sendmmsg(), and for runs of one size over UDP
/// UDP_SEGMENT. Packets aren't copied. Each is looked at: an IPv4 or IPv6 header must be there, its
/// lengths and IPv4's checksum must be right; what lies behind its end isn't sent.
///
/// - tunnel: from castio_tunnel_open.
/// - packets, count: an array of packets, each in one piece. They must stay as they are during the call.
/// - timeout_ms: for the whole call, as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: how many went out, written on failure too. May be NULL.
///
/// Returns how many went out: count, or fewer with timeout_ms 0 when there is no more room. On failure
/// packet *done is the one that failed: all before it are out, it and those behind it aren't; go on behind
/// it to leave it out.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EBADMSG: it isn't a packet, or its TTL or hop limit is 0.
/// -EMSGSIZE: it is too big: castio_tunnel_info tells what fits.
/// -EADDRNOTAVAIL: it comes from a link-local address and goes beyond its link, as no router lets it (RFC 3927,
///   section 2.7; RFC 4291, section 2.5.6). IGMP, MLD and what goes to an address of the link itself may.
/// -ELOOP: it comes from the other end's address or goes to it, and would go in circles (RFC 2003).
/// -EAGAIN: timeout_ms is 0 and there was room for none. -ETIMEDOUT: the time has passed.
/// -EFAULT: tunnel or packets is NULL, or a packet with a length is. -EINVAL: a length is over SSIZE_MAX.
/// -ENETUNREACH, -EHOSTUNREACH: there is no route to the other end any more. That ICMP tells of an earlier
///   packet isn't an error here, but counted.
/// Others as sendmsg(): -EACCES, -EPERM, -ENOBUFS, -ENETDOWN.
///
/// One thread at a time for each handle; no SIGPIPE. A signal handler that returns doesn't end the call.
/// Since 0.1.0. See sendmmsg(2), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_send(
    tunnel: *mut castio_tunnel,
    packets: *const iovec,
    count: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let send = |done: &mut usize| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut tunnel = unsafe { enter(tunnel)? };
        // SAFETY: NULL or so many packets that can be read and stay the same, as the header asks.
        let packets = unsafe { packets_of(packets, count)? };
        tunnel.send(packets, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, send) })
}

/// # Safety
/// `count` iovecs, each naming memory that can be read and stays as it is for the call, or NULL.
unsafe fn packets_of<'call>(first: *const iovec, count: usize) -> Result<&'call [IoSlice<'call>]> {
    let count = array(first, count)?;
    for index in 0..count {
        // SAFETY: promised by the caller.
        let packet = unsafe { first.add(index).read() };
        // SAFETY: likewise. A slice can't be at NULL, not even an empty one.
        match unsafe { convert::region::<Out>(packet.iov_base, packet.iov_len)? } {
            _ if packet.iov_base.is_null() => return Err(Errno::EBADMSG),
            _ => {}
        }
    }
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: IoSlice is documented to have the layout of iovec, and each was looked at.
    Ok(unsafe { std::slice::from_raw_parts(first.cast(), count) })
}

/// Receives packets from the other end, whole and without what the tunnel put around them: recvmmsg().
/// Waits until there is one, and takes as many as there are. Packets aren't copied: each lies in the
/// handle's memory, until the next call of castio_tunnel_receive, and may be written to. What isn't from
/// the other end, or isn't right, is dropped and counted, see castio_tunnel_info.
///
/// - tunnel: from castio_tunnel_open.
/// - packets, capacity: an array to fill with where each packet lies and its length.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many packets there are. What there was no room for in the array comes with the next call.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is nothing. -ETIMEDOUT: the time has passed.
/// -ESHUTDOWN: somebody has called shutdown(SHUT_RD) for the tunnel's descriptor, and nothing is queued.
/// -EFAULT: tunnel is NULL, or packets with a capacity. -EINVAL: capacity is over SSIZE_MAX in bytes.
/// Others as recvmsg(): -ENETDOWN.
///
/// One thread at a time for each handle. A signal handler that returns doesn't end the call. Since 0.1.0.
/// See recvmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_receive(
    tunnel: *mut castio_tunnel,
    packets: *mut iovec,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut tunnel = unsafe { enter(tunnel)? };
        // SAFETY: NULL or so many places, as the header asks.
        let mut packets = unsafe { Filled::plain(packets, capacity)? };
        tunnel.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |_, packet| {
            packets.push(iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() });
        })
    })
}

/// The descriptor to poll() for POLLIN: call castio_tunnel_receive when it is readable, with timeout_ms 0
/// until it returns -EAGAIN. It belongs to the handle: don't read from it, don't close it.
///
/// - tunnel: from castio_tunnel_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: tunnel is NULL.
///
/// Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_tunnel_fd(tunnel: *mut castio_tunnel) -> c_int {
    use std::os::fd::AsRawFd;
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(tunnel)? }.fd().ok_or(Errno::EBADF)?.as_raw_fd()))
}
