//! Diagnosis: why multicast doesn't arrive.

use std::ffi::{c_char, c_int, c_uint};

use libc::{sockaddr, socklen_t, ssize_t};

use super::convert::{self, Filled, descriptor};
use super::guard::guard;
use crate::address::Scoped;
use crate::diagnose::{self, Finding, Named, Question, findings, question};
use crate::error::{Errno, Result};

/// castio_diagnose_multicast: why the group doesn't arrive. The default when flags is 0.
pub const CASTIO_DIAGNOSE_RECEIVER: c_uint = 1;
/// castio_diagnose_multicast: why what the socket sends doesn't get out.
pub const CASTIO_DIAGNOSE_SENDER: c_uint = 2;

/// castio_finding: nothing can arrive, or leave, so long as this is so.
pub const CASTIO_SEVERITY_BROKEN: c_int = 3;
/// castio_finding: most likely a reason.
pub const CASTIO_SEVERITY_LIKELY: c_int = 2;
/// castio_finding: it works now, and will surprise.
pub const CASTIO_SEVERITY_RISK: c_int = 1;
/// castio_finding: it couldn't be checked; the cause says why, and the cure how it could be.
pub const CASTIO_SEVERITY_UNCHECKED: c_int = 0;

/// castio_finding: an IPv6 group, and an IPv4 socket.
pub const CASTIO_FINDING_WRONG_FAMILY: c_int = 1;
/// castio_finding: a stream socket, which has no multicast.
pub const CASTIO_FINDING_NOT_DATAGRAM: c_int = 2;
/// castio_finding: an IPv4 group, and an IPv6 socket with IPV6_V6ONLY.
pub const CASTIO_FINDING_IPV6_ONLY: c_int = 3;
/// castio_finding: this host has no interface of that name, address or index.
pub const CASTIO_FINDING_INTERFACE_MISSING: c_int = 4;
/// castio_finding: the interface is switched off.
pub const CASTIO_FINDING_INTERFACE_DOWN: c_int = 5;
/// castio_finding: disable_ipv6 is set on the interface.
pub const CASTIO_FINDING_IPV6_DISABLED: c_int = 6;
/// castio_finding: the interface has no carrier: no cable, or nobody at the other end.
pub const CASTIO_FINDING_NO_CARRIER: c_int = 7;
/// castio_finding: the interface hasn't the flag MULTICAST.
pub const CASTIO_FINDING_INTERFACE_NOT_MULTICAST: c_int = 8;
/// castio_finding: the interface has no IPv4 address, or no IPv6 link-local one, for its reports.
pub const CASTIO_FINDING_NO_ADDRESS: c_int = 9;
/// castio_finding: the socket isn't bound to any port.
pub const CASTIO_FINDING_NOT_BOUND: c_int = 10;
/// castio_finding: the socket is bound to another port.
pub const CASTIO_FINDING_PORT_MISMATCH: c_int = 11;
/// castio_finding: the socket is bound to an address of one host, and gets what is sent to that.
pub const CASTIO_FINDING_BOUND_TO_UNICAST: c_int = 12;
/// castio_finding: the socket is bound to another group's address.
pub const CASTIO_FINDING_BOUND_TO_OTHER_GROUP: c_int = 13;
/// castio_finding: the socket is connected to a group, and would get only what comes from its address.
pub const CASTIO_FINDING_CONNECTED_TO_GROUP: c_int = 14;
/// castio_finding: the socket is connected, and gets from its peer alone, or sends to it.
pub const CASTIO_FINDING_CONNECTED_ELSEWHERE: c_int = 15;
/// castio_finding: the socket is bound to another interface (SO_BINDTODEVICE).
pub const CASTIO_FINDING_BOUND_TO_DEVICE: c_int = 16;
/// castio_finding: another socket has the port, and SO_REUSEADDR or SO_REUSEPORT don't agree.
pub const CASTIO_FINDING_REUSE_MIX: c_int = 17;
/// castio_finding: unicast to the port is shared out among several sockets (SO_REUSEPORT).
pub const CASTIO_FINDING_UNICAST_BALANCED: c_int = 18;
/// castio_finding: the socket hasn't joined the group, and no other has.
pub const CASTIO_FINDING_NOT_JOINED: c_int = 19;
/// castio_finding: the socket has joined the group on another interface.
pub const CASTIO_FINDING_JOINED_ELSEWHERE: c_int = 20;
/// castio_finding: another socket of this host has joined the group, this one hasn't.
pub const CASTIO_FINDING_JOINED_BY_ANOTHER: c_int = 21;
/// castio_finding: the socket's source filter keeps the source out.
pub const CASTIO_FINDING_SOURCE_EXCLUDED: c_int = 22;
/// castio_finding: a group of the range for source-specific multicast, joined without a source.
pub const CASTIO_FINDING_SSM_RANGE: c_int = 23;
/// castio_finding: a group outside that range, joined by source.
pub const CASTIO_FINDING_SOURCE_OUTSIDE_SSM: c_int = 24;
/// castio_finding: the socket gets groups that other sockets joined (MULTICAST_ALL).
pub const CASTIO_FINDING_MULTICAST_ALL_LEAK: c_int = 25;
/// castio_finding: net.ipv4.igmp_max_memberships is reached.
pub const CASTIO_FINDING_GROUP_LIMIT: c_int = 26;
/// castio_finding: net.ipv4.igmp_max_msf or net.ipv6.mld_max_msf is reached.
pub const CASTIO_FINDING_SOURCE_LIMIT: c_int = 27;
/// castio_finding: net.core.optmem_max is reached.
pub const CASTIO_FINDING_OPTMEM_LIMIT: c_int = 28;
/// castio_finding: force_igmp_version or force_mld_version is set to one that knows no sources.
pub const CASTIO_FINDING_FORCED_IGMP_VERSION: c_int = 29;
/// castio_finding: a bridge of this host snoops on IGMP or MLD, and nobody queries.
pub const CASTIO_FINDING_SNOOPING_WITHOUT_QUERIER: c_int = 30;
/// castio_finding: rp_filter is on, and there is no route back to the source by this interface.
pub const CASTIO_FINDING_NO_ROUTE_BACK: c_int = 31;
/// castio_finding: the receive queue is full.
pub const CASTIO_FINDING_QUEUE_FULL: c_int = 32;
/// castio_finding: the socket has dropped datagrams.
pub const CASTIO_FINDING_DROPS: c_int = 33;
/// castio_finding: the multicast TTL is 0: nothing leaves this host.
pub const CASTIO_FINDING_TTL_ZERO: c_int = 34;
/// castio_finding: the multicast TTL is 1: nothing crosses a router.
pub const CASTIO_FINDING_TTL_ONE: c_int = 35;
/// castio_finding: MULTICAST_LOOP is off: receivers on this host get nothing.
pub const CASTIO_FINDING_LOOP_OFF: c_int = 36;
/// castio_finding: no route to the group, and no interface chosen.
pub const CASTIO_FINDING_NO_MULTICAST_ROUTE: c_int = 37;
/// castio_finding: what is sent leaves by another interface.
pub const CASTIO_FINDING_WRONG_OUTGOING_INTERFACE: c_int = 38;
/// castio_finding: there is no address to send from.
pub const CASTIO_FINDING_NO_SOURCE_ADDRESS: c_int = 39;
/// castio_finding: nftables has dropped packets that may have been the group's.
pub const CASTIO_FINDING_FIREWALL_DROPS: c_int = 40;
/// castio_finding: there may be a firewall, and what it drops can't be told.
pub const CASTIO_FINDING_FIREWALL_UNCHECKED: c_int = 41;
/// castio_finding: the socket is of another network namespace than the calling thread.
pub const CASTIO_FINDING_OTHER_NAMESPACE: c_int = 42;
/// castio_finding: /proc can't be read, and what is found there wasn't looked at.
pub const CASTIO_FINDING_PROC_UNCHECKED: c_int = 43;
/// castio_finding: a filter on the socket (SO_ATTACH_FILTER, SO_ATTACH_BPF) drops datagrams, or may.
pub const CASTIO_FINDING_SOCKET_FILTER: c_int = 44;
/// castio_finding: the interface is a port of a bridge, bond or team, and what arrives is that one's.
pub const CASTIO_FINDING_PORT_OF_MASTER: c_int = 45;
/// castio_finding: no interface has the address any more that the socket sends from.
pub const CASTIO_FINDING_SOURCE_ADDRESS_GONE: c_int = 46;
/// castio_finding: sockets share the port by SO_REUSEPORT and their source filters differ: Linux hands datagrams to
/// the wrong one.
pub const CASTIO_FINDING_REUSEPORT_GROUP: c_int = 47;

/// One thing that is wrong: see castio_diagnose_multicast().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_finding {
    /// sizeof(struct castio_finding), set by the caller in the first element, by the library in the
    /// others.
    pub struct_size: usize,
    /// What: one of CASTIO_FINDING_*.
    pub code: c_int,
    /// How bad: one of CASTIO_SEVERITY_*; a larger one is worse.
    pub severity: c_int,
    /// One sentence in English of what was seen, with its figures; ends in a NUL.
    pub cause: [c_char; 320],
    /// The command or the call that heals it; ends in a NUL. Words in capitals are yours to choose.
    pub cure: [c_char; 320],
}

/// Looks for the reasons why a multicast group doesn't arrive at a socket, or why what a socket sends
/// doesn't get out, as an expert would: at the socket's options, its memberships, the interface,
/// the routes, the kernel's settings, the firewall. Changes nothing and sends nothing.
///
/// - fd: a UDP or raw socket, as the program uses it.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0".
/// - port: in host byte order; 0 is the one that the socket is bound to.
/// - source: who sends, if it is known; NULL if it isn't, and then its route and the source filter
///   aren't looked at, except for sources that the socket has joined.
/// - interface: where it should come in or leave: a name "eth0", one of its addresses "192.0.2.2", or
///   its index "3". NULL is the one on which the socket has joined the group, or which the routes
///   choose. One that doesn't exist is a finding.
/// - flags: CASTIO_DIAGNOSE_RECEIVER, CASTIO_DIAGNOSE_SENDER, or both; 0 is a receiver.
/// - out: an array; out[0].struct_size set to sizeof out[0]. NULL with capacity 0 asks for the
///   number alone.
/// - capacity: how many elements there is room for.
///
/// Returns how many findings there are, which may be more than the capacity; the worst ones are filled
/// in, the worst first. 0 says that nothing wrong was found. What couldn't be checked is a finding
/// too, of severity CASTIO_SEVERITY_UNCHECKED.
///
/// Errors:
/// -EINVAL: group isn't a multicast address, source isn't a host's address, interface is an empty text,
///   or group or source names another interface; an unknown flag; struct_size is too small, or capacity times
///   struct_size over SSIZE_MAX.
/// -EAFNOSUPPORT: a source of another family than the group, or a socket without IP.
/// -EFAULT: group is NULL, or out is and capacity isn't 0.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
/// -EADDRNOTAVAIL: several interfaces have the address that interface is.
/// -EPERM: as castio_interface_index. -ENOMEM: there isn't enough memory. -EMFILE, -ENFILE: no descriptor left.
///
/// Any thread, in the socket's network namespace. Allocates, reads /proc and asks by rtnetlink: not for
/// a hot path. Since 0.1.0. See ip(7), ipv6(7), igmp's and rp_filter's settings in
/// https://docs.kernel.org/networking/ip-sysctl.html.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_diagnose_multicast(
    fd: c_int,
    group: *const c_char,
    port: u16,
    source: *const c_char,
    interface: *const c_char,
    flags: c_uint,
    out: *mut castio_finding,
    capacity: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let out = unsafe { Filled::new(out, capacity)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (group, source, interface) =
            unsafe { (convert::text(group)?, convert::optional_text(source), convert::optional_text(interface)) };
        let (group, zone) = question::scoped(group)?;
        let named = Named::parse(interface)?.or(zone)?;
        let source = source.map(question::scoped).transpose()?;
        let (source, named) = match source {
            None => (None, named),
            Some((source, zone)) => (Some(source), named.or(zone)?),
        };
        let question = Question::new(group, port, source, named)?.about(role(flags)?);
        Ok(fill(out, &diagnose::diagnose(descriptor(fd)?, &question)?))
    })
}

/// castio_diagnose_multicast by socket address and interface index.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6 with the port. A sin6_scope_id must agree
///   with ifindex.
/// - source, source_len: likewise, its port doesn't count; or NULL.
/// - ifindex: the interface's index; 0 as interface NULL there. One that doesn't exist is a finding.
/// - flags, out, capacity: as there.
///
/// Returns, errors, threads as castio_diagnose_multicast; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_diagnose_multicast_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
    flags: c_uint,
    out: *mut castio_finding,
    capacity: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let out = unsafe { Filled::new(out, capacity)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (address, source) =
            unsafe { (convert::address(group, group_len)?, convert::optional_scoped(source, source_len)?) };
        let group = Scoped::from(address);
        let scope = source.map_or(0, |source| source.scope);
        let named = Named::index(ifindex).or(Named::index(group.scope))?.or(Named::index(scope))?;
        let source = source.map(|source| source.ip);
        let question = Question::new(group.ip, address.port(), source, named)?.about(role(flags)?);
        Ok(fill(out, &diagnose::diagnose(descriptor(fd)?, &question)?))
    })
}

/// Whether it receives, and whether it sends.
fn role(flags: c_uint) -> Result<(bool, bool)> {
    if flags & !(CASTIO_DIAGNOSE_RECEIVER | CASTIO_DIAGNOSE_SENDER) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((flags != CASTIO_DIAGNOSE_SENDER, flags & CASTIO_DIAGNOSE_SENDER != 0))
}

fn fill(mut out: Filled<castio_finding>, found: &[Finding]) -> usize {
    for finding in found {
        out.push(castio_finding {
            struct_size: out.struct_size(),
            code: finding.code as c_int,
            severity: finding.severity as c_int,
            cause: chars(&finding.cause),
            cure: chars(&finding.cure),
        });
    }
    found.len()
}

/// Text in its place, cut where a character begins.
fn chars<const SIZE: usize>(text: &str) -> [c_char; SIZE] {
    let mut end = text.len().min(SIZE - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut place = [0; SIZE];
    for (to, from) in place.iter_mut().zip(text.bytes().take(end)) {
        // A NUL would end it early.
        *to = if from == 0 { b'?' } else { from } as c_char;
    }
    place
}

/// The name of a finding, "NOT_JOINED", a static string.
///
/// - code: one of CASTIO_FINDING_*.
///
/// Returns "UNKNOWN" for a number that is none.
///
/// Never fails. Any thread, any signal handler. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn castio_finding_name(code: c_int) -> *const c_char {
    findings::name(code).as_ptr()
}
