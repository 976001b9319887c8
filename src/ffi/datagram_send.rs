//! Datagrams in batches: sending

use std::ffi::{c_int, c_uint};
use std::marker::PhantomData;
use std::net::IpAddr;

use libc::{iovec, sockaddr_storage, socklen_t, ssize_t};

use super::convert::{self, Elements, Place, counted, descriptor};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use crate::datagram::send::{Datagram, Datagrams, Manner, Options, Sender};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::c_types::{CASTIO_DATAGRAM_TRAFFIC_CLASS, CASTIO_DATAGRAM_TTL, castio_datagram};
use crate::sys::memory::{Gather, Out};
use crate::sys::mmsg::Destination;
use crate::sys::socket::KeptMemory;

/// Sends datagrams in batches on one socket: see castio_sender_open().
pub struct castio_sender(Handle<Sender<'static>>);
opaque!(castio_sender, Sender<'static>);

/// castio_sender_options: never segments (UDP_SEGMENT).
pub const CASTIO_SENDER_NO_SEGMENTATION: c_uint = 1;
/// castio_sender_options: messages of 10,000 bytes and more (runs of datagrams, too) are sent without
/// copying (MSG_ZEROCOPY): their memory must stay as it is until castio_sender_wait says so. Stops by
/// itself when the kernel copies anyway, as it does on loopback.
pub const CASTIO_SENDER_ZEROCOPY: c_uint = 2;

/// How a sender works: see castio_sender_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_sender_options {
    /// sizeof(struct castio_sender_options).
    pub struct_size: usize,
    /// The most payload bytes that leave in a second, so that a burst doesn't overrun receivers; 0 for
    /// no limit. Sets SO_MAX_PACING_RATE on the socket too.
    pub bytes_per_second: u64,
    /// CASTIO_SENDER_*.
    pub flags: c_uint,
}

/// Makes a handle that sends datagrams on a socket in batches: allocates what that takes, once.
///
/// - fd: a datagram or raw socket, which stays yours and must stay open as long as the handle.
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_sender_close.
///
/// Returns 0.
///
/// Errors:
/// -EPROTOTYPE: a stream socket.
/// -EBUSY, -EOPNOTSUPP: CASTIO_SENDER_ZEROCOPY, and IP_RECVERR is on, or the socket can't.
/// -EINVAL: struct_size is too small, or a flag isn't known. -EFAULT: out is NULL.
/// -EBADF: fd isn't open. -ENOTSOCK: it isn't a socket.
///
/// A handle is for one thread at a time. Since 0.1.0. See sendmmsg(2), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_sender_open(
    fd: c_int,
    options: *const castio_sender_options,
    out: *mut *mut castio_sender,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let chosen = unsafe { convert::options(options)? };
        let (flags, bytes_per_second) = chosen.map_or((0, 0), |chosen| (chosen.flags, chosen.bytes_per_second));
        if flags & !(CASTIO_SENDER_NO_SEGMENTATION | CASTIO_SENDER_ZEROCOPY) != 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the header asks to keep what is sent until castio_sender_wait says so.
        let keeps_memory = || unsafe { KeptMemory::promised() };
        let options = Options {
            segmentation: flags & CASTIO_SENDER_NO_SEGMENTATION == 0,
            zerocopy: (flags & CASTIO_SENDER_ZEROCOPY != 0).then(keeps_memory),
            bytes_per_second,
        };
        place.put(handle::open(Sender::open(descriptor(fd)?, options)?));
        Ok(())
    })
}

/// Frees a sender. The socket stays open; SO_ZEROCOPY is off again if CASTIO_SENDER_ZEROCOPY has set it and no
/// other handle needs it, SO_MAX_PACING_RATE stays. In a child after fork() it only frees the child's copy. If the
/// socket was closed before, nothing is done to what has its number now. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_sender_close(sender: *mut castio_sender) {
    // SAFETY: NULL or from castio_sender_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(sender) });
}

/// Sends datagrams, in order: sendmmsg(), and for runs of them to one destination and of one size (the
/// last may be shorter) UDP_SEGMENT, so that a run crosses the kernel's stack as one. Payloads aren't
/// copied. Where the kernel or the device refuses to segment, the same datagrams go out without it,
/// and the handle remembers.
///
/// - sender: from castio_sender_open.
/// - list, count: the datagrams; list[0].struct_size set to sizeof list[0].
/// - timeout_ms: for the whole call, as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: how many went out, written on failure too. May be NULL.
///
/// Returns how many went out: count, or fewer with timeout_ms 0 when the socket has no more room. On
/// failure datagram *done is the one that failed: all before it are out, it and those behind it aren't.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0 and there was room for none. -ETIMEDOUT: the time has passed.
/// -EMSGSIZE: a datagram is too long, or has more than 1024 buffers.
/// -ECONNREFUSED, -EHOSTUNREACH and the like: an earlier datagram was refused (told by ICMP); nothing
///   of this one went out. In the middle of a batch the kernel keeps it back for the next call.
/// -EINVAL: struct_size is too small, misaligned, or over SSIZE_MAX in all; iovcnt is negative; a flag or
///   an address isn't valid, or from is IPv6 on an IPv4 socket; ttl isn't in 1..255 (IPv6: 0..255), or traffic_class in 0..255.
/// -EADDRNOTAVAIL: from isn't an address of this host. -ENODEV: there is no interface of that index.
/// -EAFNOSUPPORT: from is neither IPv4 nor IPv6, or to isn't of a family that the socket sends to.
/// -EDESTADDRREQ: to is NULL and there is no peer.
/// -EFAULT: sender, list or a buffer is NULL or isn't readable.
/// Others as sendmsg(): -EACCES, -ENETUNREACH, -EPERM, -ENOBUFS, -EBADF.
///
/// One thread at a time for each handle; no SIGPIPE. A signal handler that returns doesn't end the
/// call. Since 0.1.0. See sendmmsg(2), udp(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_datagrams(
    sender: *mut castio_sender,
    list: *const castio_datagram,
    count: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let send = |done: &mut usize| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut sender = unsafe { enter(sender)? };
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let list = unsafe { Array::new(list, count)? };
        sender.send(&list, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, send) })
}

/// Sends one payload to many destinations, in order: what a relay does. sendmmsg(); the payload isn't
/// copied.
///
/// - sender: from castio_sender_open.
/// - iov, iovcnt: the payload; at most 1024 buffers.
/// - to, count: the destinations, an array of IPv4 or IPv6 addresses.
/// - timeout_ms, done: as in castio_send_datagrams.
///
/// Returns how many went out, as castio_send_datagrams.
///
/// Errors: as castio_send_datagrams except -EDESTADDRREQ, -EADDRNOTAVAIL, -ENODEV; -EAFNOSUPPORT: a
/// destination is neither IPv4 nor IPv6.
///
/// Threads and signals as castio_send_datagrams. Since 0.1.0. See sendmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_send_to_many(
    sender: *mut castio_sender,
    iov: *const iovec,
    iovcnt: c_int,
    to: *const sockaddr_storage,
    count: usize,
    timeout_ms: c_int,
    done: *mut usize,
) -> ssize_t {
    let send = |done: &mut usize| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut sender = unsafe { enter(sender)? };
        // SAFETY: NULL or so many buffers, as the header asks.
        let payload = unsafe { convert::list::<Out>(iov, iovcnt)? };
        payload.total()?;
        // SAFETY: NULL or so many addresses, as the header asks.
        let copies = Copies { payload, to: unsafe { convert::elements(to, count)? } };
        sender.send(&copies, Deadline::from_timeout_ms(timeout_ms), done)
    };
    // SAFETY: NULL or a place for the count, as the header asks.
    guard(|| unsafe { counted(done, send) })
}

/// Tells what was sent so far with CASTIO_SENDER_ZEROCOPY, as a token for castio_sender_wait. No system
/// call.
///
/// - sender: from castio_sender_open.
/// - token: written with the token. Later ones are greater.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: sender or token is NULL.
///
/// One thread at a time for each handle. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_sender_token(sender: *mut castio_sender, token: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(token)? };
        // SAFETY: NULL or an open handle, as the header asks.
        let mut sender = unsafe { enter(sender)? };
        place.put(sender.zerocopy().1.token());
        Ok(())
    })
}

/// Waits until the kernel is done with the memory of everything sent before a token was taken, so that
/// it may be written to or freed: recvmsg() with MSG_ERRQUEUE, and poll().
///
/// - sender: from castio_sender_open.
/// - token: from castio_sender_token.
/// - timeout_ms: as in poll(): -1 waits for ever, 0 doesn't wait.
/// - done: written, on failure too, with the token of what is done so far. May be NULL.
///
/// Returns 1 if sending without copying still goes on, 0 if it has stopped, because the kernel copies
/// anyway.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EAGAIN: timeout_ms is 0, and not all is done. -ETIMEDOUT: the time has passed.
/// -EFAULT: sender is NULL. -EINVAL: no such token was given. -EBADF: the socket isn't open.
///
/// One thread at a time for each handle. Since 0.1.0. See socket(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_sender_wait(
    sender: *mut castio_sender,
    token: u64,
    timeout_ms: c_int,
    done: *mut u64,
) -> c_int {
    let wait = |done: &mut u64| {
        // SAFETY: NULL or an open handle, as the header asks.
        let mut sender = unsafe { enter(sender)? };
        let (fd, zerocopy) = sender.zerocopy();
        let result = match token > zerocopy.token() {
            true => Err(Errno::EINVAL),
            false => zerocopy.wait(fd, token, Deadline::from_timeout_ms(timeout_ms)),
        };
        *done = zerocopy.done();
        result.map(|()| !zerocopy.is_off())
    };
    // SAFETY: NULL or a place for the token, as the header asks.
    guard(|| unsafe { counted(done, wait) })
}

/// What stands for an element that there isn't.
const EMPTY: castio_datagram = castio_datagram {
    struct_size: 0,
    iov: std::ptr::null(),
    iovcnt: 0,
    flags: 0,
    to: std::ptr::null(),
    from: std::ptr::null(),
    to_len: 0,
    from_len: 0,
    ifindex: 0,
    ttl: 0,
    traffic_class: 0,
};

/// The caller's array, its elements as far apart as the caller's header says.
struct Array<'a> {
    first: *const castio_datagram,
    count: usize,
    stride: usize,
    memory: PhantomData<&'a [castio_datagram]>,
}

impl Array<'_> {
    /// # Safety
    /// NULL or `count` structs of the size that the first one says, which stay the same for `'a`, and so does
    /// all that they point to.
    unsafe fn new(first: *const castio_datagram, count: usize) -> Result<Self> {
        // SAFETY: promised by the caller.
        let stride = unsafe { convert::stride(first, count)? };
        Ok(Array { first, count, stride, memory: PhantomData })
    }

    /// One of them, copied out; the empty one behind the end.
    #[inline(always)]
    fn element(&self, index: usize) -> castio_datagram {
        if index >= self.count {
            return EMPTY;
        }
        // SAFETY: promised in `new`.
        unsafe { self.first.byte_add(index * self.stride).read() }
    }
}

impl<'a> Datagrams<'a> for Array<'a> {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)] // Once for each datagram of a train.
    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>> {
        let (one, other) = (self.element(first), self.element(index));
        let plain = |raw: &castio_datagram| (raw.flags, raw.ifindex, raw.ttl, raw.traffic_class);
        // SAFETY: promised in `new` for all that an element points to.
        let address = |at, len| unsafe { Destination::from_raw(at, len) };
        let beside = plain(&one) == plain(&other)
            && address(one.to, one.to_len).is_same(&address(other.to, other.to_len))
            && address(one.from, one.from_len).is_same(&address(other.from, other.from_len));
        // SAFETY: likewise.
        if beside { unsafe { convert::list(other.iov, other.iovcnt) }.ok() } else { None }
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let raw = self.element(index);
        // SAFETY: promised in `new` for all that an element points to.
        let (to, payload) = unsafe { (Destination::from_raw(raw.to, raw.to_len), convert::list(raw.iov, raw.iovcnt)?) };
        // SAFETY: likewise.
        Ok(Datagram { to, payload, manner: unsafe { manner(&raw)? } })
    }
}

/// # Safety
/// `raw.from` is NULL or has its length.
unsafe fn manner(raw: &castio_datagram) -> Result<Manner> {
    if raw.flags == 0 && raw.from.is_null() {
        return Ok(Manner { interface: raw.ifindex, ..Manner::default() });
    }
    let from: Option<IpAddr> = match raw.from.is_null() {
        true => None,
        // SAFETY: passed on.
        false => Some(unsafe { convert::address(raw.from, raw.from_len)? }.ip().to_canonical()),
    };
    if raw.flags & !(CASTIO_DATAGRAM_TTL | CASTIO_DATAGRAM_TRAFFIC_CLASS) != 0 {
        return Err(Errno::EINVAL);
    }
    let given = |flag: c_uint, value: c_int| match raw.flags & flag {
        0 => Ok(None),
        _ if (0..=255).contains(&value) => Ok(Some(value)),
        _ => Err(Errno::EINVAL),
    };
    Ok(Manner {
        from,
        interface: raw.ifindex,
        ttl: given(CASTIO_DATAGRAM_TTL, raw.ttl)?,
        traffic_class: given(CASTIO_DATAGRAM_TRAFFIC_CLASS, raw.traffic_class)?,
    })
}

/// One payload, and an array of destinations.
struct Copies<'a> {
    payload: Gather<'a>,
    to: Elements<'a, sockaddr_storage>,
}

impl<'a> Datagrams<'a> for Copies<'a> {
    fn count(&self) -> usize {
        self.to.count()
    }

    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>> {
        // One destination rarely follows itself.
        let same = self.get(first).ok()?.to.is_same(&self.get(index).ok()?.to);
        same.then_some(self.payload)
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let to = self.to.at(index).ok_or(Errno::EINVAL)?;
        // SAFETY: an address that stays the same during the call, as the header asks; it is longer than the
        // ones of IP are.
        let to = unsafe {
            let len = match i32::from((&raw const (*to).ss_family).read()) {
                libc::AF_INET => size_of::<libc::sockaddr_in>(),
                libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
                _ => return Err(Errno::EAFNOSUPPORT),
            };
            Destination::from_raw(to.cast(), len as socklen_t)
        };
        Ok(Datagram { to, payload: self.payload, manner: Manner::default() })
    }
}
