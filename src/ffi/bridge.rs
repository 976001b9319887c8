//! Multicast through a tunnel

use std::ffi::{c_char, c_int, c_uint};

use super::convert::{self, Place};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use super::tunnel::castio_tunnel;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::tunnel::bridge::groups::Groups;
use crate::tunnel::bridge::policy::Policy;
use crate::tunnel::bridge::{Bridge, Options};

/// Carries multicast between an interface and a tunnel: see castio_bridge_open().
pub struct castio_bridge(Handle<OnTunnel>);
opaque!(castio_bridge, OnTunnel);

/// The tunnel is entered for each call, as any other call on it is.
pub(super) struct OnTunnel {
    bridge: Bridge,
    tunnel: *mut castio_tunnel,
}

// SAFETY: the tunnel is reached by `enter` alone, from any thread.
unsafe impl Send for OnTunnel {}

/// castio_bridge_options: what comes out of the tunnel leaves as this host's own datagrams, from a port of
/// its own, also where the privilege to keep source and port is there.
pub const CASTIO_BRIDGE_OWN_DATAGRAMS: c_uint = 1;
/// castio_bridge_options: asks the hosts of the egress interface what they listen to, and passes their
/// reports (IGMP, MLD) into the tunnel, for a bridge at the other end whose groups are NULL. Where another
/// router asks already, it is left to that one. Takes CAP_NET_RAW.
pub const CASTIO_BRIDGE_ASK: c_uint = 2;

/// What a bridge does: see castio_bridge_open(). All zero but struct_size, and an interface, is the
/// least.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_bridge_options {
    /// sizeof(struct castio_bridge_options).
    pub struct_size: usize,
    /// The interface whose multicast goes into the tunnel, as in castio_interface_index. NULL: nothing goes in.
    pub ingress: *const c_char,
    /// Which groups, joined as with castio_membership_add: a list "239.1.2.3 232.1.2.3@192.0.2.1 ff15::7" of
    /// groups, "group@source" for one source of a group, "239.1.2.3:5000" or "[ff15::7]:5000" for one port
    /// of it. "*": all that comes by (on a switch that snoops, that is what is joined otherwise). NULL:
    /// what the hosts behind the other end ask for; see CASTIO_BRIDGE_ASK.
    pub groups: *const c_char,
    /// The interface that gets what comes out of the tunnel, likewise. NULL: nothing does.
    pub egress: *const c_char,
    /// CASTIO_BRIDGE_*.
    pub flags: c_uint,
    /// The least TTL or hop limit, as a packet arrives, with which it goes on; 0 for 2, which is the least
    /// that leaves something for the next router.
    pub least_ttl: c_uint,
    /// The least scope of groups that go on, in IPv6's numbers: 3 for all but what stays on its link,
    /// 4 also without 239.255.0.0/16, 5 for site-local and more, 9 also without 239.0.0.0/8 (RFC 2365), 14
    /// for global ones. 0 for 3. 224.0.0.0/24, ff01:: and ff02:: never go on.
    pub least_scope: c_uint,
}

/// Makes a bridge of a tunnel's end: multicast packets of the ingress interface go into the tunnel, and
/// those that come out go onto the egress interface, of both families. As a router does, it takes 1 from
/// the TTL on each side, so that 3 is the least for a way through two bridges.
///
/// With CAP_NET_RAW whole packets are taken by packet sockets (packet(7)) and leave by raw sockets, with
/// the source and port that they came with; what this host sends itself doesn't go in. Without, the groups
/// must be a list and each have a port, and what comes out leaves as this host's own datagrams.
///
/// Circles are broken: what a bridge has put on an interface it doesn't take in, and a packet that comes
/// again within 3 seconds, with less TTL than before, has come round and is dropped. A sender whose datagrams are
/// all equal (heartbeats) and have no IPv4 identification loses one when its TTL at arrival shrinks: that looks
/// the same. Datagrams that bridges send as their own leave from ports 0xc0c5, 0xc1c5 and so on to 0xffc5, by
/// which other bridges know them; of those, equal ones that several hosts have sent can't be told apart. IPv4 packets that are
/// too big and may be fragmented are (before they go in, unless the tunnel has CASTIO_TUNNEL_FRAGMENT).
///
/// Other packets that are too big are dropped and counted. With CAP_NET_RAW the source of one of IPv6 that
/// doesn't fit into the tunnel is told what fits, 1,280 bytes at the least (ICMPv6's Packet Too Big): Linux
/// then fragments what it sends to that group, and the sender may hear of it by IPV6_RECVERR. A /64 is told
/// 10 times at once and 10 times a second at most, all together 100 times. IPv4 has no such message for what
/// goes to a group, but from an AMT relay, and of what is too big for the egress interface nobody is told.
///
/// With groups NULL the other end is asked at once what its hosts listen to, and again, 125 seconds apart at the
/// most, until it answers. It knows what they have reported to it. One that has itself just begun asks them
/// first, which takes up to 10 seconds. What no report tells can't be known: a host that has gone without a word
/// counts for 260 seconds, or longer where another querier asks more seldom.
///
/// Interfaces may go and come. One that is made anew, with whatever index, that goes down and up, or gets
/// its name back, is used again from the next castio_bridge_process on: groups are joined, and hosts asked,
/// anew. One that is renamed is used no more, and another that gets its name is; likewise with an address.
/// While there is none, nothing goes in by it, and what should leave by it is counted as failed.
///
/// - tunnel: from castio_tunnel_open. It stays yours, but for receiving from it; close the bridge first.
/// - options: its struct_size set.
/// - out: written with the handle, for castio_bridge_close.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the tunnel.
/// -EINVAL: neither ingress nor egress; groups isn't such a list; CASTIO_BRIDGE_ASK without egress, or with
///   CASTIO_BRIDGE_OWN_DATAGRAMS; a flag, least_ttl or least_scope isn't valid; struct_size is too small.
/// -EPERM: this takes CAP_NET_RAW: all groups, those asked for, a group without a port, CASTIO_BRIDGE_ASK.
/// -EADDRNOTAVAIL: several interfaces have the address that ingress or egress is.
/// -EAFNOSUPPORT: this process may open no netlink socket, which tells of interfaces (a seccomp filter).
/// -ENODEV: there is no such interface. -EADDRINUSE: a group is listed whole and by source with one port;
///   without privilege, a port is another program's.
/// -EFAULT: tunnel, options or out is NULL. -ENOMEM: there isn't so much memory.
/// -EMFILE, -ENFILE: no descriptor left. -ENOSPC: fs.epoll.max_user_watches is reached.
/// -EAFNOSUPPORT: this process may not ask the kernel for its interfaces (rtnetlink).
///
/// A handle is for one thread at a time, the tunnel's. Since 0.1.0. See packet(7), raw(7), RFC 2365,
/// RFC 4443.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_open(
    tunnel: *mut castio_tunnel,
    options: *const castio_bridge_options,
    out: *mut *mut castio_bridge,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or an open handle, as the header asks.
        let entered = unsafe { enter(tunnel)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let options = unsafe { convert::options(options)? }.ok_or(Errno::EFAULT)?;
        // SAFETY: NULL or text that ends in a NUL in each, as the header asks.
        let bridge = Bridge::open(&entered, unsafe { chosen(&options)? })?;
        place.put(handle::open(OnTunnel { bridge, tunnel }));
        Ok(())
    })
}

/// # Safety
/// Its texts are NULL or end in a NUL.
unsafe fn chosen<'call>(options: &castio_bridge_options) -> Result<Options<'call>> {
    // SAFETY: promised by the caller.
    let [ingress, groups, egress] =
        unsafe { [options.ingress, options.groups, options.egress].map(|text| convert::optional_text(text)) };
    let has = |flag| options.flags & flag != 0;
    if has(!(CASTIO_BRIDGE_OWN_DATAGRAMS | CASTIO_BRIDGE_ASK)) {
        return Err(Errno::EINVAL);
    }
    let least = |value: c_uint, least: u8, most: u8| match u8::try_from(value) {
        Ok(0) => Ok(least),
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(Errno::EINVAL),
    };
    let least_ttl = least(options.least_ttl, 2, 255)?;
    let policy = Policy { least_scope: least(options.least_scope, 3, 15)?, least_ttl };
    Ok(Options {
        ingress: ingress.map(|text| Groups::parse(groups).map(|groups| (text, groups))).transpose()?,
        egress,
        own_datagrams: has(CASTIO_BRIDGE_OWN_DATAGRAMS),
        ask: has(CASTIO_BRIDGE_ASK),
        policy,
    })
}

/// Leaves what the bridge joined, closes its sockets and frees it. The tunnel stays open. In a child after fork()
/// it only frees the child's copy. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_close(bridge: *mut castio_bridge) {
    // SAFETY: NULL or from castio_bridge_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(bridge) });
}

/// The descriptor to poll() for POLLIN: call castio_bridge_process when it is readable. It belongs to the
/// handle: don't read from it, don't close it.
///
/// - bridge: from castio_bridge_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: bridge is NULL.
///
/// Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_fd(bridge: *mut castio_bridge) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(bridge)? }.bridge.fd()))
}

/// When to call castio_bridge_process although the descriptor isn't readable. Made for poll().
///
/// - bridge: from castio_bridge_open.
/// - timeout_ms: written with the time in milliseconds, -1 if there is nothing to do until the
///   descriptor is readable.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: bridge or timeout_ms is NULL.
///
/// One thread at a time. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_timeout_ms(bridge: *mut castio_bridge, timeout_ms: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let entered = unsafe { enter(bridge)? };
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(timeout_ms)? };
        place.put(entered.bridge.timer().map_or(-1, |at| Deadline::At(at).remaining_ms()));
        Result::Ok(())
    })
}

/// Carries what there is, without waiting: a batch from each socket that has one. Harmless when there is
/// nothing. What can't go on is dropped and counted, as a router does.
///
/// - bridge: from castio_bridge_open.
///
/// Returns how many packets went on, in both directions.
///
/// Errors:
/// -EBUSY: another call is in the bridge or in its tunnel.
/// -EFAULT: bridge is NULL. -ESHUTDOWN: somebody has called shutdown(SHUT_RD) for the tunnel's descriptor.
/// -ENETDOWN, -ENOMEM, -ENOBUFS, -EMFILE, -ENFILE: a socket, or the kernel's news of
///   interfaces, can't be read now; the next call tries again.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_process(bridge: *mut castio_bridge) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut entered = unsafe { enter(bridge)? };
        // SAFETY: the header asks to close the bridge before its tunnel.
        let mut tunnel = unsafe { enter(entered.tunnel)? };
        let packets = entered.bridge.process(&mut tunnel)?;
        Ok(c_int::try_from(packets).unwrap_or(c_int::MAX))
    })
}

/// castio_bridge_process again and again, until the time has passed.
///
/// - bridge: from castio_bridge_open.
/// - timeout_ms: as in poll(): -1 goes on for ever, 0 does what there is to do now.
///
/// Returns 0 when the time has passed.
///
/// Errors: as castio_bridge_process.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_run(bridge: *mut castio_bridge, timeout_ms: c_int) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut entered = unsafe { enter(bridge)? };
        // SAFETY: the header asks to close the bridge before its tunnel.
        let mut tunnel = unsafe { enter(entered.tunnel)? };
        entered.bridge.run(&mut tunnel, Deadline::from_timeout_ms(timeout_ms))
    })
}

/// What a bridge has carried: see castio_bridge_info().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_bridge_info {
    /// sizeof(struct castio_bridge_info); set before the call.
    pub struct_size: usize,
    /// 1 if what leaves has the source and port that it came with, else 0.
    pub keeps_source: c_int,
    /// How many groups the other end asks for, where that counts.
    pub asked_groups: c_uint,
    /// Packets from the interface into the tunnel.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Packets out of the tunnel onto the interface.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Dropped: to no group.
    pub not_multicast: u64,
    /// Dropped: to a group that doesn't reach so far.
    pub scope: u64,
    /// Dropped: too little TTL. Senders leave it at 1 unless told otherwise: castio_set_ttl.
    pub ttl: u64,
    /// Dropped: had come round.
    pub back: u64,
    /// Not taken: of groups that aren't listed or asked for.
    pub unwanted: u64,
    /// Dropped: can't be.
    pub malformed: u64,
    /// Dropped: too big, and not to be fragmented. A report (IGMP, MLD) is split by its records instead.
    pub too_big: u64,
    /// Fragmented, to fit.
    pub cut: u64,
    /// Dropped: no whole UDP datagram, which alone can leave as one of this host's own.
    pub not_udp: u64,
    /// Dropped: a socket had no room.
    pub no_room: u64,
    /// Dropped: the kernel refused to send it.
    pub failed: u64,
    /// Dropped by the kernel, before it could be taken.
    pub buffer: u64,
    /// Reports passed on, or followed.
    pub reports: u64,
    /// Queries sent.
    pub queries: u64,
    /// Joins that were refused, or given up for newer ones: one host behind the other end has 2,500 groups at
    /// most, and all together 10,000.
    pub refused_joins: u64,
    /// How often a source was told that its packet is too big (ICMPv6).
    pub told_too_big: u64,
    /// Dropped: from a link-local address, which no router forwards (RFC 3927, RFC 4291).
    pub link_local: u64,
}

/// Tells what a bridge has carried so far, and what not, and why. No system call.
///
/// - bridge: from castio_bridge_open.
/// - info: written; its struct_size set to sizeof *info before.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: bridge or info is NULL. -EINVAL: struct_size is too small.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_bridge_info(bridge: *mut castio_bridge, info: *mut castio_bridge_info) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut entered = unsafe { enter(bridge)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (place, struct_size) = unsafe { Place::sized(info)? };
        place.put(filled(&mut entered.bridge, struct_size));
        Ok(())
    })
}

fn filled(bridge: &mut Bridge, struct_size: usize) -> castio_bridge_info {
    let (counters, asked) = (bridge.counters(), bridge.asked_groups());
    castio_bridge_info {
        struct_size,
        keeps_source: bridge.is_faithful().into(),
        asked_groups: c_uint::try_from(asked).unwrap_or(c_uint::MAX),
        packets_in: counters.into.packets,
        bytes_in: counters.into.bytes,
        packets_out: counters.out.packets,
        bytes_out: counters.out.bytes,
        not_multicast: counters.not_multicast,
        scope: counters.scope,
        ttl: counters.ttl,
        back: counters.back,
        unwanted: counters.unwanted,
        malformed: counters.malformed,
        too_big: counters.too_big,
        cut: counters.cut,
        not_udp: counters.not_udp,
        no_room: counters.no_room,
        failed: counters.failed,
        buffer: counters.buffer,
        reports: counters.reports,
        queries: counters.queries,
        refused_joins: counters.refused_joins,
        told_too_big: counters.told_too_big,
        link_local: counters.link_local,
    }
}
