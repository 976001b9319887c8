//! Tunnels: what arrives at a subscription

use std::ffi::{c_int, c_uint};

use libc::{sockaddr_storage, ssize_t};

use super::amt_receive;
use super::convert::{Filled, Place};
use super::datagram_receive;
use super::guard::guard;
use super::handle::enter;
use super::subscribe::castio_subscription;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::sys::c_types::castio_datagram_view;
use crate::sys::sockaddr;
use crate::tunnel::subscribe::{Arrival, Subscription};

/// castio_subscription_info: native multicast is awaited or comes.
pub const CASTIO_SUBSCRIPTION_NATIVE: c_uint = 1;
/// castio_subscription_info: the tunnel is in use.
pub const CASTIO_SUBSCRIPTION_TUNNEL: c_uint = 2;

/// What a subscription does, and what it has done: see castio_subscription_info().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_subscription_info {
    /// sizeof(struct castio_subscription_info), set by the caller.
    pub struct_size: usize,
    /// The ways in use: CASTIO_SUBSCRIPTION_*; both while one takes over from the other.
    pub paths: c_uint,
    /// The gateway's state: one of CASTIO_AMT_IDLE and the others there.
    pub amt_state: c_int,
    /// The relay's address and port; family AF_UNSPEC while there is none.
    pub relay: sockaddr_storage,
    /// Datagrams received that came natively, first.
    pub native: u64,
    /// Datagrams received that came through the tunnel, first.
    pub tunnel: u64,
    /// Those that came once more by the other way, and were dropped.
    pub duplicates: u64,
    /// How often the tunnel was joined.
    pub fallbacks: u64,
}

/// The descriptor to poll() for POLLIN: call castio_subscription_receive when it is readable. It belongs to
/// the handle: don't read from it, don't close it.
///
/// - subscription: from castio_subscribe.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: subscription is NULL.
///
/// Since 0.1.0. See poll(2), epoll(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_fd(subscription: *mut castio_subscription) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(subscription)? }.raw_fd()))
}

/// When to call castio_subscription_receive although the descriptor isn't readable: to change the way, for
/// what castio_amt_timeout_ms tells of, or because datagrams that were taken from the kernel wait. Made for
/// poll().
///
/// - subscription: from castio_subscribe.
/// - timeout_ms: written with the time in milliseconds, -1 if there is nothing to do until the descriptor
///   is readable.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: subscription or timeout_ms is NULL.
///
/// One thread at a time. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_timeout_ms(
    subscription: *mut castio_subscription,
    timeout_ms: *mut c_int,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let subscription = unsafe { enter(subscription)? };
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(timeout_ms)? };
        place.put(subscription.timer().map_or(-1, |at| Deadline::At(at).remaining_ms()));
        Result::Ok(())
    })
}

/// Does what there is to do, without waiting and without giving any datagram: castio_subscription_receive
/// does this, too. Harmless when there is nothing to do.
///
/// - subscription: from castio_subscribe.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: subscription is NULL. -ENOMEM, -ENOBUFS, -EMFILE, -ENFILE: the kernel had no room; the next call
///   tries again.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_process(subscription: *mut castio_subscription) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| unsafe { enter(subscription)? }.process())
}

/// Receives datagrams, by whichever way they come, as castio_receive_datagrams does from a socket, and
/// changes the way while it waits. Each view's to is the group with the port; ifindex is the interface that
/// it came in by, 0 for the tunnel; ttl and traffic_class as castio_receive_datagrams and
/// castio_amt_receive tell them.
///
/// - subscription: from castio_subscribe.
/// - views, capacity: an array to fill; views[0].struct_size set to sizeof views[0]. They point into the
///   handle's memory, until the next call of this function or of castio_subscription_process.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many views are filled.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is nothing. -ETIMEDOUT: the time has passed.
/// -EINVAL: struct_size is too small, misaligned, or over SSIZE_MAX in all. -EFAULT: subscription is NULL,
/// or views with a capacity. Others as castio_subscription_process.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_receive(
    subscription: *mut castio_subscription,
    views: *mut castio_datagram_view,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut subscription = unsafe { enter(subscription)? };
        // SAFETY: NULL or so many views of the size that the first one says, as the header asks.
        let mut views = unsafe { Filled::new(views, capacity)? };
        let size = views.struct_size();
        let (to, to_len) = subscription.to().as_raw();
        subscription.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |arrival| {
            let view = match arrival {
                Arrival::Native(view) => datagram_receive::filled(&view, size),
                Arrival::Tunnel(delivered) => amt_receive::filled(delivered, size),
            };
            views.push(castio_datagram_view { to, to_len, ..view });
        })
    })
}

/// Tells which way is in use, and what came by each.
///
/// - subscription: from castio_subscribe.
/// - info: its struct_size set; the rest is written.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EINVAL: struct_size is too small. -EFAULT: subscription or info is NULL.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_info(
    subscription: *mut castio_subscription,
    info: *mut castio_subscription_info,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let subscription = unsafe { enter(subscription)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let (place, struct_size) = unsafe { Place::sized(info)? };
        place.put(info_of(&subscription, struct_size));
        Ok(())
    })
}

fn info_of(subscription: &Subscription<'_>, struct_size: usize) -> castio_subscription_info {
    let (counters, client) = (subscription.counters(), subscription.client());
    let (native, tunnel) = subscription.paths();
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    castio_subscription_info {
        struct_size,
        paths: flag(native, CASTIO_SUBSCRIPTION_NATIVE) | flag(tunnel, CASTIO_SUBSCRIPTION_TUNNEL),
        amt_state: amt_receive::state_of(client.state()),
        relay: client.relay().map_or(sockaddr::unspecified(), sockaddr::to_storage),
        native: counters.native,
        tunnel: counters.tunnel,
        duplicates: counters.duplicates,
        fallbacks: counters.fallbacks,
    }
}
