//! Datagrams in batches: receiving

use std::ffi::{c_char, c_int, c_uint};

use libc::{iovec, ssize_t};

use super::convert::{self, Filled, Place, descriptor};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use crate::datagram::buffer;
use crate::datagram::receive::{Receiver, View};
use crate::deadline::Deadline;
use crate::error::Errno;
use crate::sys::c_types::{CASTIO_VIEW_CONTROL_TRUNCATED, CASTIO_VIEW_TRUNCATED, castio_datagram_view};
use crate::sys::memory::In;
use crate::sys::mmsg::Location;

/// Receives datagrams in batches on one socket: see castio_receiver_open().
pub struct castio_receiver(Handle<Receiver<'static>>);
opaque!(castio_receiver, Receiver<'static>);

/// castio_receiver_options: the kernel may coalesce a run of datagrams (UDP_GRO), which then cost one
/// pass through its stack. They come apart again.
pub const CASTIO_RECEIVER_COALESCE: c_uint = 1;
/// castio_receiver_options: no details are asked for, which saves the kernel the telling: a view's to,
/// ifindex, ttl, traffic_class, time_ns and drops stay unknown, unless the socket's options were set so
/// before.
pub const CASTIO_RECEIVER_NO_DETAILS: c_uint = 2;

/// How a receiver works: see castio_receiver_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_receiver_options {
    /// sizeof(struct castio_receiver_options).
    pub struct_size: usize,
    /// How many datagrams (or coalesced runs of them) one call takes from the kernel at most, 1 to
    /// 1024; 0 for 64.
    pub slots: usize,
    /// The longest datagram in bytes; longer ones are cut. 0 for 65,536, the least with coalescing.
    pub slot_size: usize,
    /// CASTIO_RECEIVER_*.
    pub flags: c_uint,
}

/// Makes a handle that receives datagrams on a socket in batches: allocates slots, once, and makes the
/// kernel tell what it knows of each datagram: setsockopt() of IP_PKTINFO, IP_RECVTTL, IP_RECVTOS and
/// their IPv6 twins, SO_TIMESTAMPNS (unless SO_TIMESTAMP or another format of times is on), SO_RXQ_OVFL, and with
/// CASTIO_RECEIVER_COALESCE UDP_GRO. Those that were off are off again after castio_receiver_close, or, where
/// several handles need them on one socket, after the last one's close.
///
/// - fd: a datagram, seqpacket or raw socket, which stays yours and must stay open as long as the handle.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_receiver_close.
///
/// Of a UNIX socket a view tells the time and the sender. Descriptors and credentials that a peer sends
/// along aren't received, and the view says CASTIO_VIEW_CONTROL_TRUNCATED.
///
/// Returns 0.
///
/// Errors:
/// -EPROTOTYPE: a stream socket.
/// -EINVAL: struct_size is too small, more than 1024 slots, or a flag isn't known. -ENOMEM: there isn't
///   so much memory.
/// -EFAULT: out is NULL. -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// A handle is for one thread at a time. Since 0.1.0. See recvmmsg(2), ip(7), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_receiver_open(
    fd: c_int,
    options: *const castio_receiver_options,
    out: *mut *mut castio_receiver,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        let default = castio_receiver_options { struct_size: 0, slots: 0, slot_size: 0, flags: 0 };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let chosen = unsafe { convert::options(options)? }.unwrap_or(default);
        if chosen.flags & !(CASTIO_RECEIVER_COALESCE | CASTIO_RECEIVER_NO_DETAILS) != 0 {
            return Err(Errno::EINVAL);
        }
        let or = |value, default| if value == 0 { default } else { value };
        let (slots, slot_size) = (or(chosen.slots, 64), or(chosen.slot_size, 65_536));
        let coalesce = chosen.flags & CASTIO_RECEIVER_COALESCE != 0;
        let details = chosen.flags & CASTIO_RECEIVER_NO_DETAILS == 0;
        place.put(handle::open(Receiver::open(descriptor(fd)?, slots, slot_size, coalesce, details)?));
        Ok(())
    })
}

/// Frees a receiver, and puts the socket's options back. The socket stays open; datagrams that the
/// handle had taken and not yet given are gone. In a child after fork() it only frees the child's copy. If the
/// socket was closed before, nothing is done to what has its number now. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_receiver_close(receiver: *mut castio_receiver) {
    // SAFETY: NULL or from castio_receiver_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(receiver) });
}

/// Receives datagrams: recvmmsg(). Waits until there is one, and takes as many as there are, without
/// copying: each view points into the handle's slots, until the next call on it. Runs that the kernel
/// coalesced come apart; what there are no views for comes with the next call.
///
/// - receiver: from castio_receiver_open.
/// - views, capacity: an array to fill; views[0].struct_size set to sizeof views[0].
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
///
/// Returns how many views are filled.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there is nothing. -ETIMEDOUT: the time has passed.
/// -ESHUTDOWN: reading has been ended by shutdown(SHUT_RD), and nothing is queued.
/// -EPIPE: the peer of a SOCK_SEQPACKET socket has closed, and all that it sent was received.
/// -ECONNREFUSED and the like: an error that was pending on the socket, told once; nothing is lost.
/// -EINVAL: struct_size is too small, misaligned, or over SSIZE_MAX in all. -EFAULT: receiver is NULL, or
/// views with a capacity.
/// Others as recvmsg(): -EBADF, -ENOTCONN.
///
/// One thread at a time for each handle. A signal handler that returns doesn't end the call. Since
/// 0.1.0. See recvmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_receive_datagrams(
    receiver: *mut castio_receiver,
    views: *mut castio_datagram_view,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut receiver = unsafe { enter(receiver)? };
        // SAFETY: NULL or so many views of the size that the first one says, as the header asks.
        let mut views = unsafe { Filled::new(views, capacity)? };
        let size = views.struct_size();
        receiver.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |view| views.push(filled(&view, size)))
    })
}

/// castio_receive_datagrams into buffers of your own: each datagram is copied into one, and its view's
/// data points there.
///
/// - buffers: an array of capacity buffers, the first for views[0] and so on. A datagram that is longer
///   is cut, and its view says so.
///
/// Returns, errors, threads as castio_receive_datagrams. -EFAULT also: buffers is NULL, or one of them
/// is and has a length; nothing is taken then. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_receive_copies(
    receiver: *mut castio_receiver,
    buffers: *const iovec,
    views: *mut castio_datagram_view,
    capacity: usize,
    timeout_ms: c_int,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut receiver = unsafe { enter(receiver)? };
        // SAFETY: NULL or so many buffers that may be written to, as the header asks.
        let buffers = unsafe { convert::elements(buffers, capacity)? };
        // All of them before anything is taken.
        for index in 0..buffers.count() {
            let buffer = buffers.get(index).ok_or(Errno::EINVAL)?;
            // SAFETY: likewise.
            unsafe { convert::region::<In>(buffer.iov_base, buffer.iov_len)? };
        }
        // SAFETY: NULL or so many views of the size that the first one says, as the header asks.
        let mut views = unsafe { Filled::new(views, capacity)? };
        let size = views.struct_size();
        receiver.receive(capacity, Deadline::from_timeout_ms(timeout_ms), |view| {
            let Some(buffer) = buffers.get(views.count()) else { return };
            views.push(copied(filled(&view, size), view.bytes(), buffer));
        })
    })
}

/// As much of the payload as there is room for in a buffer, which was checked.
fn copied(mut view: castio_datagram_view, bytes: &[u8], buffer: iovec) -> castio_datagram_view {
    if bytes.len() > buffer.iov_len {
        view.flags |= CASTIO_VIEW_TRUNCATED;
    }
    view.len = bytes.len().min(buffer.iov_len);
    if view.len > 0 {
        // SAFETY: so many bytes can be written there, as the header asks, and ours are elsewhere.
        unsafe { buffer.iov_base.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), view.len) };
    }
    view.data = buffer.iov_base;
    view
}

/// A view as C has it.
pub(super) fn filled(view: &View<'_>, struct_size: usize) -> castio_datagram_view {
    let View { packet, offset, len, true_len, drops, .. } = *view;
    let truncated = if len < true_len { CASTIO_VIEW_TRUNCATED } else { 0 };
    let control = if packet.control_truncated { CASTIO_VIEW_CONTROL_TRUNCATED } else { 0 };
    let Location { data, from, from_len, to, to_len } = view.location();
    castio_datagram_view {
        struct_size,
        data: data.wrapping_byte_add(offset),
        len,
        true_len,
        from,
        to,
        from_len,
        to_len,
        time_ns: packet.told.time_ns.unwrap_or(0),
        ifindex: packet.told.destination.map_or(0, |(_, interface)| interface),
        drops,
        ttl: packet.told.ttl.unwrap_or(-1),
        traffic_class: packet.told.traffic_class.unwrap_or(-1),
        flags: truncated | control,
    }
}

/// Makes room in a socket for what was received and not yet read: setsockopt(SO_RCVBUFFORCE) where the
/// process may, else setsockopt(SO_RCVBUF). A receiver that is too small drops datagrams in a burst.
///
/// - fd: a socket, such as castio_open_receiver gives.
/// - bytes: how much room is wanted.
/// - granted: written with how much there is now, which may be less. May be NULL.
/// - advice, len: a sentence that says what to raise, when less was granted than wanted; else an empty
///   one. Cut to fit. May be NULL with length 0.
///
/// Returns 0, also when less was granted.
///
/// Errors:
/// -EINVAL: bytes is over INT_MAX / 2. -EFAULT: advice is NULL and len isn't 0.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// Any thread. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_set_receive_buffer(
    fd: c_int,
    bytes: usize,
    granted: *mut usize,
    advice: *mut c_char,
    len: usize,
) -> c_int {
    let set = |granted: &mut usize| {
        if advice.is_null() && len > 0 {
            return Err(Errno::EFAULT);
        }
        *granted = buffer::set_receive(descriptor(fd)?, bytes)?;
        let text = if *granted < bytes { buffer::ADVICE } else { "" };
        // SAFETY: NULL or room for so many bytes, as the header asks.
        unsafe { convert::put_text(advice, len, text) }.map(drop)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { convert::counted(granted, set) })
}
