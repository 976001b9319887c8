//! Multicast: memberships that are kept.

use std::ffi::{c_char, c_int, c_uint};
use std::time::Duration;

use libc::{sockaddr, socklen_t};

use super::super::convert::{self, Place, descriptor};
use super::super::guard::guard;
use super::super::handle::{self, Handle, enter, opaque};
use crate::address::Scoped;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::multicast::manager::Manager;
use crate::multicast::manager::selector::{self, Selector};
use crate::multicast::manager::wish::Key;

/// Keeps wishes for groups true on a socket: see castio_membership_open().
pub struct castio_membership(Handle<Manager<'static>>);
opaque!(castio_membership, Manager<'static>);

/// How memberships are kept: see castio_membership_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_membership_options {
    /// sizeof(struct castio_membership_options).
    pub struct_size: usize,
    /// Every so many seconds everything that is joined is reported anew, as castio_membership_open() says:
    /// for a switch with IGMP or MLD snooping on a network where nobody queries, which forgets a group after
    /// about 4 minutes. 0: never.
    pub reannounce_s: c_uint,
    /// How many events are kept until castio_membership_events takes them; 0 for 16,384.
    pub events: usize,
}

/// Makes a handle that joins groups on a socket and keeps them joined, whatever becomes of the
/// interfaces: one that is deleted and made again, renamed, or gets its first address; one that comes
/// later; one whose carrier returns, after which a switch knows nothing and the kernel doesn't tell it.
/// Follows the kernel by rtnetlink; without a thread: call castio_membership_process when
/// castio_membership_fd is readable or castio_membership_timeout_ms has passed, or let
/// castio_membership_wait or castio_membership_receive do it.
///
/// What a switch may have forgotten is reported anew: when a carrier returns, with an interface's first
/// IPv4 address, and every reannounce_s.
///
/// With CAP_NET_RAW the handle sends the reports itself, many groups in a packet, in the version of IGMP or
/// MLD that the interface's router asks in. Nothing is left for it, no datagram is missed, and the reports go
/// out also where other sockets of this host hold the same groups. What has a cause is reported once more
/// within a second. For this the handle opens a raw socket with the first group of IPv4 that it joins and
/// one with the first of IPv6, and keeps them if the process gives the capability up.
///
/// Without CAP_NET_RAW it leaves and joins again, so that the kernel reports: for the moment between
/// (microseconds) a datagram may be missed; IGMPv2 and MLDv1 say on the wire that the group is left, which
/// a switch with fast leave acts on; and where another socket of this host holds a group too, the kernel
/// reports nothing. With the capability this is so only where the kernel alone can report: IPv4 on an
/// interface without an IPv4 address, and IPv6 for some minutes where a router asked in MLDv1 before the
/// first group of IPv6 was joined. In either case it leaves and joins where the kernel itself may have
/// forgotten: after it told more by rtnetlink than there was room for.
///
/// Where a socket is full (net.ipv4.igmp_max_memberships, 20 groups; net.ipv4.igmp_max_msf, 10 sources;
/// net.core.optmem_max) the handle makes further sockets, of the same kind and bound alike, so that
/// 10,000 groups work; castio_membership_receive reads all of them. They have the options that the socket has when
/// they are made: its classic filter (SO_ATTACH_FILTER), interface, buffer sizes and the rest; where the process
/// may not set one that decides only how packets leave (SO_MARK), they go without. With an eBPF filter no further
/// socket is made (-EACCES in the event). For that the socket's port must be
/// shared: set SO_REUSEADDR before bind(), not SO_REUSEPORT, by which Linux hands IPv4 datagrams to sockets whose
/// source filters don't let them in. Unicast to the port may come to any of them.
///
/// IP_MULTICAST_ALL and IPV6_MULTICAST_ALL are off on the socket until castio_membership_close, which
/// puts them back: else it would get what the other sockets joined, too. Several handles of one process may work on
/// one socket: what one has set or joined stays as long as another needs it.
///
/// A membership is CASTIO_MEMBERSHIP_LIVE only while the socket can hear it. A socket that is bound to an interface
/// goes deaf when that is deleted and made again, which the handle can't cure for your socket; the sockets that it
/// made are bound anew, which requires CAP_NET_RAW.
///
/// Where the process may not open rtnetlink sockets (a service with RestrictAddressFamilies, a seccomp filter) the
/// handle works by timer: it looks at the interfaces every 3 seconds, castio_membership_timeout_ms tells when, and
/// castio_membership_fd is never readable. Alternative names of interfaces and ports of bridges aren't known then.
///
/// A handle belongs to the process that opened it. After fork() a child may close its copy.
///
/// - fd: a UDP or raw socket, which stays yours and must stay open as long as the handle.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_membership_close.
///
/// Returns 0.
///
/// Errors:
/// -EPROTO: a stream socket. -EAFNOSUPPORT: a socket without IP.
/// -EINVAL: struct_size is too small. -EFAULT: out is NULL.
/// -EMFILE, -ENFILE: no descriptor left. -ENOMEM: there isn't so much memory.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
/// -EPERM: this process may learn of interfaces neither by rtnetlink nor by ioctl().
///
/// A handle is for one thread at a time, in the socket's network namespace. Since 0.1.0. See
/// rtnetlink(7), ip(7), raw(7), capabilities(7), RFC 3376, RFC 3810, RFC 4541.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_open(
    fd: c_int,
    options: *const castio_membership_options,
    out: *mut *mut castio_membership,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        let default = castio_membership_options { struct_size: 0, reannounce_s: 0, events: 0 };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let chosen = unsafe { convert::options(options)? }.unwrap_or(default);
        let every = (chosen.reannounce_s > 0).then(|| Duration::from_secs(chosen.reannounce_s.into()));
        place.put(handle::open(Manager::open(descriptor(fd)?, every, chosen.events)?));
        Ok(())
    })
}

/// Leaves everything that the handle joined and nothing else, closes the sockets that it made, and frees
/// it. Your socket stays open, its options as they were. Groups that you have left and joined again yourself count
/// as the handle's; those whose list of sources you have changed from including to excluding or the reverse are
/// yours, and stay. In a child after fork() it only frees the child's copy: the parent's groups and options stay as
/// they are. If the socket was closed before, nothing is done to what has its number now. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_close(membership: *mut castio_membership) {
    // SAFETY: NULL or from castio_membership_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(membership) });
}

/// Wishes for a group, or for one source of it, on some interfaces: joins it on those that there are,
/// now, and on others when they come. Many wishes may stand at once, each by a call of its own.
///
/// - membership: from castio_membership_open.
/// - group: "239.1.2.3", "ff15::7", or with an interface "ff02::7%eth0" and interfaces NULL.
/// - source: NULL for any source, or the one to receive from.
/// - interfaces: one, as in castio_interface_index; a pattern of names with * and ?, "eth*"; "*" for all that are up
///   and capable of multicast. Each need not be there yet. NULL is the interface of the route to the group, as the routes change.
///
/// Returns on how many interfaces it is joined now. 0 isn't a failure: the wish stands and waits for an
/// interface, or was refused, which castio_membership_events tells, and is tried again.
///
/// Errors, upon which nothing is wished:
/// -EBUSY: another call is in the handle.
/// -EADDRINUSE: this is wished already; or the group is wished whole and now by source, or the reverse.
/// -EADDRNOTAVAIL: several interfaces have the address that interfaces is.
/// -EINVAL: group or source isn't an address of its kind; source names another interface than interfaces;
///   interfaces is empty or too long; an interface named twice.
/// -ENODEV: interfaces is NULL, and the group (ff01::, ff02::) means nothing without one; or source names
///   an interface that isn't there.
/// -EAFNOSUPPORT: families that disagree. -EFAULT: membership or group is NULL.
/// -EMFILE, -ENFILE: interfaces is NULL, and no descriptor is left to ask for the route. -ENOMEM, -ENOBUFS:
///   likewise, and the kernel had no room to answer.
///
/// One thread at a time. Since 0.1.0. See castio_join_group, castio_join_source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_add(
    membership: *mut castio_membership,
    group: *const c_char,
    source: *const c_char,
    interfaces: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (key, selector) = unsafe { wish(group, source, interfaces)? };
        manager.add(key, selector)
    })
}

/// castio_membership_add by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count.
/// - source, source_len: likewise, or NULL.
/// - ifindex: the interface's index; 0 is the interface of the route to the group.
///
/// Returns, errors, threads as castio_membership_add. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_add_addr(
    membership: *mut castio_membership,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (key, selector) = unsafe { wish_addr(group, group_len, source, source_len, ifindex)? };
        manager.add(key, selector)
    })
}

/// Takes a wish back: leaves what it joined, unless another wish wants the same.
///
/// - membership: from castio_membership_open.
/// - group, source, interfaces: the same as with castio_membership_add.
///
/// Returns 0. No event tells of it.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EADDRNOTAVAIL: there is no such wish.
/// -EINVAL, -ENODEV, -EAFNOSUPPORT: as castio_membership_add. -EFAULT: membership or group is NULL.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_remove(
    membership: *mut castio_membership,
    group: *const c_char,
    source: *const c_char,
    interfaces: *const c_char,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (key, selector) = unsafe { wish(group, source, interfaces)? };
        manager.remove(key, &selector)
    })
}

/// castio_membership_remove by socket address.
///
/// - group, group_len, source, source_len, ifindex: the same as with castio_membership_add_addr.
///
/// Returns, errors, threads as castio_membership_remove. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_remove_addr(
    membership: *mut castio_membership,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (key, selector) = unsafe { wish_addr(group, group_len, source, source_len, ifindex)? };
        manager.remove(key, &selector)
    })
}

/// The descriptor to poll() for POLLIN: call castio_membership_process when it is readable. It belongs
/// to the handle: don't read from it, don't close it.
///
/// - membership: from castio_membership_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL.
///
/// Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_fd(membership: *mut castio_membership) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(membership)? }.watch_fd()))
}

/// When to call castio_membership_process although the descriptor isn't readable: for the next
/// re-announcement, to try again what was refused, and every few seconds while the socket can't hear something or
/// without rtnetlink. Made for poll().
///
/// - membership: from castio_membership_open.
/// - timeout_ms: written with the time in milliseconds, -1 if there is nothing to do until the
///   descriptor is readable.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership or timeout_ms is NULL.
///
/// One thread at a time. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_timeout_ms(
    membership: *mut castio_membership,
    timeout_ms: *mut c_int,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let manager = unsafe { enter(membership)? };
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(timeout_ms)? };
        place.put(manager.timer().map_or(-1, |at| Deadline::At(at).remaining_ms()));
        Result::Ok(())
    })
}

/// Does what there is to do, without waiting: reads what the kernel tells of interfaces, joins and leaves
/// accordingly, and does what is due by time. Harmless when there is nothing to do. Reads a bounded amount of news in
/// one call; while there is more, the descriptor stays readable.
///
/// - membership: from castio_membership_open.
///
/// Returns how many events wait for castio_membership_events.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL. -ENOMEM, -ENOBUFS, -EMFILE, -ENFILE: the kernel had no room to tell what
///   there is; the next call tries again.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_process(membership: *mut castio_membership) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        manager.process()?;
        Ok(i32::try_from(manager.events().len()).unwrap_or(i32::MAX))
    })
}

/// castio_membership_process again and again, until there is an event.
///
/// - membership: from castio_membership_open.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many events wait for castio_membership_events.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is no event. -ETIMEDOUT: the time has passed.
/// Others as castio_membership_process.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_wait(membership: *mut castio_membership, timeout_ms: c_int) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        manager.wait(Deadline::from_timeout_ms(timeout_ms))?;
        Ok(i32::try_from(manager.events().len()).unwrap_or(i32::MAX))
    })
}

/// # Safety
/// Each is NULL or ends in a NUL.
unsafe fn wish(group: *const c_char, source: *const c_char, interfaces: *const c_char) -> Result<(Key, Selector)> {
    // SAFETY: promised by the caller.
    let (group, source, interfaces) =
        unsafe { (convert::text(group)?, convert::optional_text(source), convert::optional_text(interfaces)) };
    let (group, selector) = selector::of_text(group, interfaces)?;
    let (source, selector) = selector.with_source(source.map(Scoped::parse).transpose()?)?;
    Ok((Key { group, source }, selector))
}

/// # Safety
/// Each address can be read for its length, or is NULL.
unsafe fn wish_addr(
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> Result<(Key, Selector)> {
    // SAFETY: promised by the caller.
    let group = Scoped::from(unsafe { convert::address(group, group_len)? });
    let (group, selector) = selector::of_index(group, ifindex)?;
    // SAFETY: promised by the caller.
    let (source, selector) = selector.with_source(unsafe { convert::optional_scoped(source, source_len)? })?;
    Ok((Key { group, source }, selector))
}
