//! Multicast: what has become of kept memberships, and what arrives by them.

use std::ffi::{c_char, c_int, c_uint};

use libc::{sockaddr_storage, ssize_t};

use super::super::convert::Filled;
use super::super::datagram_receive;
use super::super::guard::guard;
use super::super::handle::enter;
use super::manager::castio_membership;
use crate::deadline::Deadline;
use crate::error::Errno;
use crate::multicast::manager::events::{Event, What};
use crate::multicast::manager::wish::{Key, State, Status};
use crate::sys::c_types::castio_datagram_view;
use crate::sys::interface::Name;
use crate::sys::sockaddr;

/// castio_membership_event: joined for the first time there.
pub const CASTIO_MEMBERSHIP_JOINED: c_int = 1;
/// castio_membership_event: nothing can arrive there any more; `error` says why.
pub const CASTIO_MEMBERSHIP_LOST: c_int = 2;
/// castio_membership_event: there again, and reported anew.
pub const CASTIO_MEMBERSHIP_REJOINED: c_int = 3;
/// castio_membership_event: the kernel refused to join; `error` says why. It is tried again.
pub const CASTIO_MEMBERSHIP_REFUSED: c_int = 4;
/// castio_membership_event: events before this one were dropped, because nobody took them: look at
/// castio_membership_list.
pub const CASTIO_MEMBERSHIP_OVERFLOW: c_int = 5;

/// castio_membership_event, castio_membership_state: joined, on an interface that is up and has a carrier, but the
/// socket can't hear it; `error` says why. -EXDEV: the socket is bound to another interface, by SO_BINDTODEVICE or
/// by a scope in its address (the kernel keeps the index: an interface that was deleted and made again is another
/// one), or the interface belongs to a VRF and the socket isn't bound to it. -EADDRNOTAVAIL: it is bound to
/// another address than the group. -EISCONN: it is connected, and its peer doesn't send to the group or isn't the
/// source. -EBUSY: the interface is a port of a bridge, bond or team, whose packets they are: join on that one.
/// -EAFNOSUPPORT: an IPv4 group, and IPV6_V6ONLY is on. castio_diagnose_multicast() tells more. When the cause is
/// gone, CASTIO_MEMBERSHIP_JOINED or CASTIO_MEMBERSHIP_REJOINED follows.
pub const CASTIO_MEMBERSHIP_DEAF: c_int = 6;

/// Something that has become of a membership: see castio_membership_events().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_membership_event {
    /// sizeof(struct castio_membership_event), set by the caller in the first element, by the library in
    /// the others.
    pub struct_size: usize,
    /// CASTIO_MEMBERSHIP_JOINED and so on.
    pub what: c_int,
    /// Why, a negative errno; 0 where nothing is wrong. -ENODEV: the interface is gone, or has another name
    /// now. -ENETDOWN: it is down or has no carrier; one that is deleted goes down first, so that both are
    /// told. -EADDRNOTAVAIL: it lost the address it was chosen by.
    /// -ENETUNREACH: the route leads elsewhere or nowhere. With CASTIO_MEMBERSHIP_DEAF see there. -EACCES with
    /// CASTIO_MEMBERSHIP_REFUSED: a further socket is needed, and the caller's has an eBPF filter, which can't be
    /// copied. Others as castio_join_group, castio_join_source.
    pub error: c_int,
    /// The interface's index; 0 with CASTIO_MEMBERSHIP_OVERFLOW.
    pub ifindex: c_uint,
    /// Its name; ends in a NUL.
    pub interface: [c_char; 16],
    /// The group.
    pub group: sockaddr_storage,
    /// The source, or family AF_UNSPEC for any.
    pub source: sockaddr_storage,
}

/// castio_membership_state: no interface that was wished for is there.
pub const CASTIO_MEMBERSHIP_WAITING: c_int = 1;
/// castio_membership_state: joined, on an interface that is up and has a carrier, for a group of IPv6 one where
/// IPv6 is ready, too, and the socket can hear it.
pub const CASTIO_MEMBERSHIP_LIVE: c_int = 2;
/// castio_membership_state: joined, on an interface that is down or has no carrier; for a group of IPv6 also
/// where IPv6 isn't ready yet, or disabled.
pub const CASTIO_MEMBERSHIP_DOWN: c_int = 3;
/// castio_membership_state: the kernel refused; `error` says why.
pub const CASTIO_MEMBERSHIP_FAILED: c_int = 4;

/// A wish on one interface: see castio_membership_list().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_membership_state {
    /// sizeof(struct castio_membership_state), set by the caller in the first element, by the library in
    /// the others.
    pub struct_size: usize,
    /// CASTIO_MEMBERSHIP_WAITING, _LIVE, _DOWN, _FAILED or _DEAF.
    pub state: c_int,
    /// Why it isn't live, a negative errno, as in castio_membership_event; else 0.
    pub error: c_int,
    /// The socket on which it is joined: yours, or one of castio_membership_sockets; -1 if it isn't.
    pub fd: c_int,
    /// The interface's index; 0 if there is none.
    pub ifindex: c_uint,
    /// Its name; empty if there is none.
    pub interface: [c_char; 16],
    /// The interfaces as wished for; empty for those of the route. Ends in a NUL.
    pub wished: [c_char; 48],
    /// The group.
    pub group: sockaddr_storage,
    /// The source, or family AF_UNSPEC for any.
    pub source: sockaddr_storage,
}

/// Takes the oldest events.
///
/// - membership: from castio_membership_open.
/// - out, capacity: an array to fill; out[0].struct_size set to sizeof out[0].
///
/// Returns how many are filled in; 0 when no event waits.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL, or out with a capacity. -EINVAL: struct_size is too small, misaligned,
/// or over SSIZE_MAX in all.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_events(
    membership: *mut castio_membership,
    out: *mut castio_membership_event,
    capacity: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let mut out = unsafe { Filled::new(out, capacity)? };
        while out.has_room() {
            let Some(event) = manager.events_mut().pop() else { break };
            out.push(self::event(&event, out.struct_size()));
        }
        Ok(out.count())
    })
}

fn event(event: &Event, struct_size: usize) -> castio_membership_event {
    let (what, error) = match event.what {
        What::Joined => (CASTIO_MEMBERSHIP_JOINED, None),
        What::Lost(error) => (CASTIO_MEMBERSHIP_LOST, Some(error)),
        What::Rejoined => (CASTIO_MEMBERSHIP_REJOINED, None),
        What::Deaf(error) => (CASTIO_MEMBERSHIP_DEAF, Some(error)),
        What::Refused(error) => (CASTIO_MEMBERSHIP_REFUSED, Some(error)),
        What::Overflow => (CASTIO_MEMBERSHIP_OVERFLOW, None),
    };
    let (group, source) = match event.key {
        Some(key) => addresses(key),
        None => (sockaddr::unspecified(), sockaddr::unspecified()),
    };
    castio_membership_event {
        struct_size,
        what,
        error: code(error),
        ifindex: event.interface,
        interface: c_name(event.name),
        group,
        source,
    }
}

/// Lists every wish with what it is now, with one element for each interface that it reaches, or one
/// without if it reaches none.
///
/// - membership: from castio_membership_open.
/// - out, capacity: an array to fill; out[0].struct_size set to sizeof out[0]. NULL with capacity 0 asks
///   for the number alone.
///
/// Returns how many there are, which may be more than the capacity; the first ones are filled in.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL, or out with a capacity. -EINVAL: struct_size is too small, misaligned,
/// or over SSIZE_MAX in all.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_list(
    membership: *mut castio_membership,
    out: *mut castio_membership_state,
    capacity: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let mut out = unsafe { Filled::new(out, capacity)? };
        let mut count = 0usize;
        manager.look_at_hearing();
        manager.each_status(|status| {
            out.push(state(status, out.struct_size()));
            count += 1;
        });
        Ok(count)
    })
}

fn state(status: &Status<'_>, struct_size: usize) -> castio_membership_state {
    let (state, error) = match status.state {
        State::Waiting(error) => (CASTIO_MEMBERSHIP_WAITING, Some(error)),
        State::Live => (CASTIO_MEMBERSHIP_LIVE, None),
        State::Deaf(error) => (CASTIO_MEMBERSHIP_DEAF, Some(error)),
        State::Down => (CASTIO_MEMBERSHIP_DOWN, Some(Errno::ENETDOWN)),
        State::Refused(error) => (CASTIO_MEMBERSHIP_FAILED, Some(error)),
    };
    let mut wished = [0; 48];
    for (to, from) in wished.iter_mut().zip(status.wished.bytes().take(47)) {
        *to = from as c_char;
    }
    let (group, source) = addresses(status.key);
    castio_membership_state {
        struct_size,
        state,
        error: code(error),
        fd: status.fd.unwrap_or(-1),
        ifindex: status.interface,
        interface: c_name(status.name),
        wished,
        group,
        source,
    }
}

/// The sockets on which groups are joined: yours first, then those that the handle made, which belong to
/// it: read from them, or let castio_membership_receive, but don't close them.
///
/// - membership: from castio_membership_open.
/// - out, capacity: an array of descriptors to fill. NULL with capacity 0 asks for the number alone.
///
/// Returns how many there are, which may be more than the capacity. Each call that joins may make more.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL, or out with a capacity. -EINVAL: a capacity over SSIZE_MAX.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_sockets(
    membership: *mut castio_membership,
    out: *mut c_int,
    capacity: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let manager = unsafe { enter(membership)? };
        // SAFETY: NULL or so many places, as the header asks.
        let mut out = unsafe { Filled::plain(out, capacity)? };
        let mut count = 0usize;
        for fd in manager.sockets() {
            out.push(fd);
            count += 1;
        }
        Ok(count)
    })
}

/// The descriptor to poll() for POLLIN by a program that calls castio_membership_receive: readable when a
/// datagram waits on any of the sockets, or when there is something to do as with castio_membership_fd.
/// It belongs to the handle: don't read from it, don't close it.
///
/// - membership: from castio_membership_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: membership is NULL. -EMFILE, -ENFILE: no descriptor left. -ENOMEM: there isn't so much memory.
///
/// One thread at a time. Since 0.1.0. See epoll(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_receive_fd(membership: *mut castio_membership) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| unsafe { enter(membership)? }.receive_fd())
}

/// Receives datagrams from all the sockets at once, as castio_receive_datagrams does from one, and does
/// the work of castio_membership_process while it waits. Each view tells its group in `to`. The first call
/// allocates slots (64 of 65,536 bytes) and makes the kernel tell what it knows of each datagram, on all
/// the sockets, by the options that castio_receiver_open names; what was off is off again after
/// castio_membership_close.
///
/// - membership: from castio_membership_open.
/// - views, capacity: an array to fill; views[0].struct_size set to sizeof views[0]. They point into the
///   handle's memory, until the next call of this function.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many views are filled.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is nothing. -ETIMEDOUT: the time has passed.
/// -ESHUTDOWN: reading has been ended by shutdown(SHUT_RD) on your socket, and nothing is queued.
/// -EINVAL: struct_size is too small, misaligned, or over SSIZE_MAX in all. -EFAULT: membership is NULL,
/// or views with a capacity.
/// -ECONNREFUSED and the like: an error that was pending on a socket, told once; nothing is lost.
/// Others as castio_membership_process.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0. See recvmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_membership_receive(
    membership: *mut castio_membership,
    views: *mut castio_datagram_view,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut manager = unsafe { enter(membership)? };
        // SAFETY: NULL or so many views of the size that the first one says, as the header asks.
        let mut views = unsafe { Filled::new(views, capacity)? };
        let size = views.struct_size();
        manager.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |view| {
            views.push(datagram_receive::filled(&view, size));
        })
    })
}

fn addresses(key: Key) -> (sockaddr_storage, sockaddr_storage) {
    (sockaddr::ip_storage(key.group), key.source.map_or(sockaddr::unspecified(), sockaddr::ip_storage))
}

fn code(error: Option<Errno>) -> c_int {
    error.map_or(0, |error| -error.raw())
}

fn c_name(name: Name) -> [c_char; 16] {
    name.map(|byte| byte as c_char)
}
