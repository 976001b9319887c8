//! Tunnels: native multicast or AMT, whichever there is

use std::ffi::{c_char, c_int, c_uint};
use std::net::IpAddr;
use std::time::Duration;

use libc::{sockaddr, socklen_t};

use super::amt::{self, castio_amt_options};
use super::convert::{self, Place};
use super::guard::guard;
use super::handle::{self, Handle, opaque};
use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::multicast::endpoint;
use crate::multicast::manager::selector::{self, Selector};
use crate::multicast::manager::wish::Key;
use crate::sys::multicast::Target;
use crate::tunnel::subscribe::Subscription;

/// Receives one group wherever it comes from: see castio_subscribe().
pub struct castio_subscription(Handle<Subscription<'static>>);
opaque!(castio_subscription, Subscription<'static>);

/// How a subscription works: see castio_subscribe(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_subscribe_options {
    /// sizeof(struct castio_subscribe_options).
    pub struct_size: usize,
    /// The relays, as in castio_amt_open; NULL for the anycast addresses.
    pub relays: *const c_char,
    /// How the gateway works, as in castio_amt_open; or NULL.
    pub amt: *const castio_amt_options,
    /// After so many milliseconds without native multicast the tunnel is tried; 0 for 4000.
    pub fallback_ms: c_uint,
}

/// Makes a handle that receives a multicast group: natively where the network carries it, through an AMT
/// relay where it doesn't. Joins natively on a socket of its own, as castio_membership_add does, and
/// stays joined. When nothing has come for 4 seconds it joins through the tunnel as well. When native
/// traffic comes beside it for 2 seconds without a break, and brings at least 95 % of what the tunnel brings
/// of each sender, it leaves there. In between both ways run side by side, are read in turn, and what comes by
/// both is received once. After a tunnel that brought nothing, though a relay had taken the join, because
/// nobody was sending, the next silence lasts 8 seconds, then 16, up to 120, before it joins again.
///
/// UDP has no serial numbers: what has the same sender and the same bytes within a second is taken for the
/// same if it comes by different ways, for another if it comes by the same way. The time that datagrams wait
/// for a slow reader doesn't count.
/// A group with several senders counts as a whole: any of them keeps it from the tunnel. Subscribe by
/// source to have that for each.
///
/// - group: "232.1.2.3", "ff3e::7".
/// - port: the port that the group is sent to, in host byte order.
/// - source: NULL for any source, or the one to receive from.
/// - interfaces: as in castio_membership_add; NULL is the interface of the route to the group.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_subscription_close.
///
/// Returns 0. That no interface is there, or the kernel refuses to join, is no failure: the tunnel is tried.
///
/// Errors:
/// -EINVAL: group or source isn't an address of its kind; source names another interface than interfaces; the
///   group never leaves its link or host; port is 0; interfaces is empty or too long; or as castio_amt_open.
/// -EADDRINUSE: a socket that doesn't share it has the port. -EACCES: a port below 1024 needs
///   CAP_NET_BIND_SERVICE.
/// -ENODEV: source names an interface behind % that isn't there; or interfaces is NULL, and the group means
///   nothing without one.
/// -EAFNOSUPPORT: families that disagree, or that this host doesn't have. -EADDRNOTAVAIL: the local address
///   in amt isn't one of this host.
/// -EFAULT: group or out is NULL. -ENOMEM: there isn't so much memory. -EMFILE, -ENFILE: no descriptor left.
/// -ENOSPC: fs.epoll.max_user_watches is reached.
///
/// A handle is for one thread at a time. Since 0.1.0. See castio_amt_open, RFC 8777.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscribe(
    group: *const c_char,
    port: u16,
    source: *const c_char,
    interfaces: *const c_char,
    options: *const castio_subscribe_options,
    out: *mut *mut castio_subscription,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (group, source, interfaces) =
            unsafe { (convert::text(group)?, convert::optional_text(source), convert::optional_text(interfaces)) };
        let (group, selector) = selector::of_text(group, interfaces)?;
        let (source, selector) = selector.with_source(source.map(Scoped::parse).transpose()?)?;
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        place.put(unsafe { open(group, port, source, selector, options)? });
        Ok(())
    })
}

/// castio_subscribe by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6 with the port.
/// - source, source_len: likewise, its port doesn't count; or NULL.
/// - ifindex: the interface's index; 0 is the interface of the route to the group.
///
/// Returns, errors, threads as castio_subscribe. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscribe_addr(
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
    options: *const castio_subscribe_options,
    out: *mut *mut castio_subscription,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (address, source) =
            unsafe { (convert::address(group, group_len)?, convert::optional_scoped(source, source_len)?) };
        let (group, selector) = selector::of_index(Scoped::from(address), ifindex)?;
        let (source, selector) = selector.with_source(source)?;
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        place.put(unsafe { open(group, address.port(), source, selector, options)? });
        Ok(())
    })
}

/// # Safety
/// NULL or a struct of the size that it says.
unsafe fn open(
    group: IpAddr,
    port: u16,
    source: Option<IpAddr>,
    selector: Selector,
    options: *const castio_subscribe_options,
) -> Result<*mut castio_subscription> {
    let (relays, amt) = (std::ptr::null(), std::ptr::null());
    let default = castio_subscribe_options { struct_size: 0, relays, amt, fallback_ms: 0 };
    // SAFETY: promised by the caller.
    let chosen = unsafe { convert::options(options)? }.unwrap_or(default);
    if port == 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: promised by the caller.
    let settings = unsafe { amt::settings(chosen.relays, chosen.amt)? };
    let wait = Duration::from_millis(if chosen.fallback_ms == 0 { 4000 } else { chosen.fallback_ms.into() });
    let socket = endpoint::open_bound(Target { group, interface: 0 }, port)?;
    let subscription = Subscription::open(socket, Key { group, source }, port, selector, settings, wait)?;
    Ok(handle::open(subscription))
}

/// Leaves the group by both ways, and frees the handle. In a child after fork() it only frees the child's copy.
/// NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_subscription_close(subscription: *mut castio_subscription) {
    // SAFETY: NULL or from castio_subscribe, and closed once, as the header asks.
    guard(|| unsafe { handle::close(subscription) });
}
