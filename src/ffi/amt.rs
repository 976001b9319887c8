//! Tunnels: AMT gateway

use std::ffi::{c_char, c_int, c_uint};
use std::net::IpAddr;

use libc::{sockaddr, sockaddr_storage, socklen_t};

use super::convert::{self, Place};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use super::multicast::filter::{CASTIO_FILTER_EXCLUDE, CASTIO_FILTER_INCLUDE};
use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::tunnel::amt::client::{Client, Settings, text};
use crate::tunnel::amt::gateway::{Candidate, Filter};

/// Receives multicast groups through a relay: see castio_amt_open().
pub struct castio_amt(Handle<Client>);
opaque!(castio_amt, Client);

/// castio_amt_options: the relays given are asked for a relay first (Discovery), as anycast addresses
/// always are; the one that they name is used.
pub const CASTIO_AMT_DISCOVER: c_uint = 1;
/// castio_amt_options: the relay is told that this end understands congestion marks on the outside of the
/// tunnel, and shows them there if it knows how (RFC 9601). Linux's relays don't answer when they are told:
/// they cost a second or two more at first.
pub const CASTIO_AMT_ECN: c_uint = 2;
/// castio_amt_options: a relay that brings nothing within 4 seconds is left for the next one, if there is
/// one (RFC 8777).
pub const CASTIO_AMT_LEAVE_SILENT: c_uint = 4;

const FLAGS: c_uint = CASTIO_AMT_DISCOVER | CASTIO_AMT_ECN | CASTIO_AMT_LEAVE_SILENT;

/// How a gateway works: see castio_amt_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_amt_options {
    /// sizeof(struct castio_amt_options).
    pub struct_size: usize,
    /// The address to send from, "192.0.2.2", where relays of its family are concerned; NULL for the
    /// kernel's choice, which follows the routes as they change.
    pub local: *const c_char,
    /// How many datagrams (or coalesced runs of them) one call takes from the kernel at most, 1 to 1024;
    /// 0 for 64.
    pub slots: usize,
    /// CASTIO_AMT_*.
    pub flags: c_uint,
    /// The UDP port to send from; 0 for the kernel's choice.
    pub port: u16,
}

/// Makes a handle that receives multicast through a network that only carries unicast: the gateway's end
/// of AMT (RFC 7450). A relay that the multicast reaches sends it on, by UDP, to this program alone; no
/// privilege is needed. Nothing is sent before castio_amt_join.
///
/// A relay that doesn't answer is asked ever more slowly, up to every two minutes; after four questions the
/// next one is tried (after two, if ICMP says that the relay can't be reached), and the first rests for 3 to
/// 10 minutes. One that says that it is full is left alone for 10 minutes.
///
/// A relay that has died or begun anew is noticed before its next regular question: when a stream stops for
/// 5 seconds the relay is asked at once. If the source had only paused, the next silence may be twice as long.
///
/// - relays: "192.0.2.1", "2001:db8::1", with a port other than 2268 "192.0.2.1:99" or "[2001:db8::1]:99";
///   several, separated by commas or spaces, are tried in this order. NULL: whichever relay is nearest by
///   the anycast addresses 192.52.193.1 and 2001:3::1. castio_amt_find_relays asks DNS.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_amt_close.
///
/// Returns 0.
///
/// Errors:
/// -EINVAL: relays isn't a list of addresses, or has more than 64; struct_size is too small; local isn't an
///   address; more than 1024 slots; a flag isn't known.
/// -ENODEV: local names an interface behind % that isn't there.
/// -EADDRNOTAVAIL: local isn't an address of this host. -EADDRINUSE: the port is taken.
/// -EACCES: a port below 1024 needs CAP_NET_BIND_SERVICE.
/// -EAFNOSUPPORT: this host has no address family that a relay is of.
/// -EFAULT: out is NULL. -ENOMEM: there isn't so much memory. -EMFILE, -ENFILE: no descriptor left.
/// -ENOSPC: fs.epoll.max_user_watches is reached.
///
/// A handle is for one thread at a time. Since 0.1.0. See RFC 7450.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_open(
    relays: *const c_char,
    options: *const castio_amt_options,
    out: *mut *mut castio_amt,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or text that ends in a NUL, NULL or a struct of the size that it says, as the header asks.
        let settings = unsafe { settings(relays, options)? };
        place.put(handle::open(Client::open(settings)?));
        Ok(())
    })
}

/// # Safety
/// Text or NULL; NULL or a struct of the size that it says, with text or NULL in it.
pub(super) unsafe fn settings(relays: *const c_char, options: *const castio_amt_options) -> Result<Settings> {
    let default = castio_amt_options { struct_size: 0, local: std::ptr::null(), slots: 0, flags: 0, port: 0 };
    // SAFETY: promised by the caller.
    let chosen = unsafe { convert::options(options)? }.unwrap_or(default);
    if chosen.flags & !FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let has = |flag| chosen.flags & flag != 0;
    // SAFETY: promised by the caller.
    let (relays, local) = unsafe { (convert::optional_text(relays), convert::optional_text(chosen.local)) };
    let candidates = match relays {
        Some(relays) => text::relays(relays, has(CASTIO_AMT_DISCOVER))?,
        None => Candidate::anycast(),
    };
    Ok(Settings {
        candidates,
        local: local.map(Scoped::parse).transpose()?.map(|local| local.ip),
        port: chosen.port,
        slots: if chosen.slots == 0 { 64 } else { chosen.slots },
        ecn: has(CASTIO_AMT_ECN),
        leave_silent: has(CASTIO_AMT_LEAVE_SILENT),
    })
}

/// Leaves every group, tells the relay to end the tunnel (Teardown, where the relay offers it), and frees
/// the handle. Doesn't wait for an answer. In a child after fork() it only frees the child's copy: the parent's
/// groups and tunnel stay. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_close(amt: *mut castio_amt) {
    // SAFETY: NULL or from castio_amt_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(amt) });
}

/// Receives a group, or one source of it, from now on, and asks the relay for it, at once if there is one.
/// Any number of groups and sources, each by a call of its own. What wasn't joined isn't received, whatever
/// the relay sends.
///
/// - amt: from castio_amt_open.
/// - group: "232.1.2.3", "ff3e::7"; of either family, whatever the relay's is.
/// - source: NULL for any source, or the one to receive from.
///
/// Returns 0. castio_amt_info tells whether a relay has taken it.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EADDRINUSE: this is joined already; or the group is joined whole and now by source, or the reverse.
/// -EINVAL: group or source isn't an address of its kind; source names an interface, and a tunnel is none; or
///   the group never leaves its link or host (224.0.0.0/24, ff01::, ff02::).
/// -ENODEV: an address names an interface behind % that isn't there.
/// -EAFNOSUPPORT: families that disagree. -EFAULT: amt or group is NULL.
///
/// One thread at a time. Since 0.1.0. See RFC 7450.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_join(amt: *mut castio_amt, group: *const c_char, source: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (group, source) = unsafe { texts(group, source)? };
        client.join(group, source)
    })
}

/// castio_amt_join by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count.
/// - source, source_len: likewise, or NULL.
///
/// Returns, errors, threads as castio_amt_join. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_join_addr(
    amt: *mut castio_amt,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (group, source) = unsafe { addresses(group, group_len, source, source_len)? };
        client.join(group, source)
    })
}

/// Takes a castio_amt_join back: the relay is told, and what it still sends isn't received.
///
/// - amt: from castio_amt_open.
/// - group, source: the same as with castio_amt_join.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EADDRNOTAVAIL: this isn't joined.
/// -EINVAL, -ENODEV, -EAFNOSUPPORT: as castio_amt_join. -EFAULT: amt or group is NULL.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_leave(amt: *mut castio_amt, group: *const c_char, source: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let (group, source) = unsafe { texts(group, source)? };
        client.leave(group, source)
    })
}

/// castio_amt_leave by socket address.
///
/// - group, group_len, source, source_len: the same as with castio_amt_join_addr.
///
/// Returns, errors, threads as castio_amt_leave. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_leave_addr(
    amt: *mut castio_amt,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (group, source) = unsafe { addresses(group, group_len, source, source_len)? };
        client.leave(group, source)
    })
}

/// Makes a group's source filter what is given, whatever it was, and joins the group if need be.
///
/// - amt: from castio_amt_open.
/// - group: as in castio_amt_join.
/// - mode: CASTIO_FILTER_EXCLUDE (with no source: from any) or CASTIO_FILTER_INCLUDE (with no source:
///   leaves the group).
/// - sources, count: addresses in text, of the group's family.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EINVAL: mode is neither; group or a source isn't an address of its kind, or a source names an interface.
/// -ENODEV: an address names an interface behind % that isn't there.
/// -EAFNOSUPPORT: families that disagree. -EFAULT: amt, group, sources or one of them is NULL.
///
/// One thread at a time. Since 0.1.0. See castio_set_source_filter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_set_source_filter(
    amt: *mut castio_amt,
    group: *const c_char,
    mode: c_int,
    sources: *const *const c_char,
    count: usize,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: text that ends in a NUL, as the header asks, and so many such texts.
        let ((group, _), sources) = unsafe { (texts(group, std::ptr::null())?, convert::ip_texts(sources, count)?) };
        client.set_filter(group, filter(mode, without_interfaces(sources)?)?)
    })
}

/// castio_amt_set_source_filter by socket address.
///
/// - group, group_len: as in castio_amt_join_addr.
/// - sources, count: an array of addresses.
///
/// Returns 0. Errors, threads as castio_amt_set_source_filter. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_set_source_filter_addr(
    amt: *mut castio_amt,
    group: *const sockaddr,
    group_len: socklen_t,
    mode: c_int,
    sources: *const sockaddr_storage,
    count: usize,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut client = unsafe { enter(amt)? };
        // SAFETY: an address of this length, as the header asks, and so many addresses.
        let ((group, _), sources) =
            unsafe { (addresses(group, group_len, std::ptr::null(), 0)?, convert::ip_addresses(sources, count)?) };
        client.set_filter(group, filter(mode, without_interfaces(sources)?)?)
    })
}

/// Through a relay no interface can be named.
fn without_interfaces(sources: Vec<Scoped>) -> Result<Vec<IpAddr>> {
    sources.into_iter().map(Scoped::without_interface).collect()
}

fn filter(mode: c_int, sources: Vec<IpAddr>) -> Result<Filter> {
    match mode {
        CASTIO_FILTER_EXCLUDE => Ok(Filter::all_but(sources)),
        CASTIO_FILTER_INCLUDE => Ok(Filter::only(sources)),
        _ => Err(Errno::EINVAL),
    }
}

/// # Safety
/// Each is NULL or ends in a NUL.
unsafe fn texts(group: *const c_char, source: *const c_char) -> Result<(IpAddr, Option<IpAddr>)> {
    // SAFETY: promised by the caller.
    let (group, source) = unsafe { (convert::text(group)?, convert::optional_text(source)) };
    let source = source.map(|source| Scoped::parse(source)?.without_interface()).transpose()?;
    Ok((Scoped::parse(group)?.ip, source))
}

/// # Safety
/// Each address can be read for its length, or is NULL.
unsafe fn addresses(
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
) -> Result<(IpAddr, Option<IpAddr>)> {
    // SAFETY: promised by the caller.
    let group = unsafe { convert::address(group, group_len)? }.ip().to_canonical();
    // SAFETY: promised by the caller.
    let source = unsafe { convert::optional_scoped(source, source_len)? };
    Ok((group, source.map(Scoped::without_interface).transpose()?))
}
