//! Structs of the C face that the rooms read and write in place, because there are many of them:
//! one for each datagram of a batch.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, sockaddr, socklen_t};

/// castio_datagram: `ttl` holds a value.
pub const CASTIO_DATAGRAM_TTL: c_uint = 1;
/// castio_datagram: `traffic_class` holds a value.
pub const CASTIO_DATAGRAM_TRAFFIC_CLASS: c_uint = 2;

/// One datagram to send: see castio_send_datagrams(). All zero but struct_size and iov is a datagram
/// to the peer that the socket is connected to, sent as the socket's options say.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_datagram {
    /// sizeof(struct castio_datagram), in the first element of an array.
    pub struct_size: usize,
    /// The payload, gathered from these buffers.
    pub iov: *const iovec,
    /// How many buffers; at most 1024.
    pub iovcnt: c_int,
    /// Which of the members ttl and traffic_class hold a value: CASTIO_DATAGRAM_*.
    pub flags: c_uint,
    /// Where it goes, or NULL for the connected peer.
    pub to: *const sockaddr,
    /// The address it comes from, one of this host's, or NULL for the kernel's choice. The port
    /// doesn't count.
    pub from: *const sockaddr,
    /// The length of to.
    pub to_len: socklen_t,
    /// The length of from.
    pub from_len: socklen_t,
    /// The interface it leaves by, or 0 for the routes' choice.
    pub ifindex: c_uint,
    /// TTL or hop limit, with CASTIO_DATAGRAM_TTL: 1 to 255, with IPv6 also 0.
    pub ttl: c_int,
    /// Traffic class (TOS: DSCP and ECN), with CASTIO_DATAGRAM_TRAFFIC_CLASS.
    pub traffic_class: c_int,
}

/// castio_datagram_view: the datagram was longer than the slot; `true_len` is its length.
pub const CASTIO_VIEW_TRUNCATED: c_uint = 1;
/// castio_datagram_view: the kernel had more to tell of it than there was room for, so that members
/// may be missing.
pub const CASTIO_VIEW_CONTROL_TRUNCATED: c_uint = 2;

/// One datagram received: see castio_receive_datagrams(). Its pointers are into the receiver's own
/// memory, valid until the next call on it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_datagram_view {
    /// sizeof(struct castio_datagram_view), set by the caller in the first element, by the library in
    /// the others.
    pub struct_size: usize,
    /// The payload.
    pub data: *const c_void,
    /// Its length in bytes.
    pub len: usize,
    /// The length that was sent; more than len if it was cut.
    pub true_len: usize,
    /// The sender's address and port.
    pub from: *const sockaddr,
    /// The address it was sent to: one of this host's, a group, a broadcast address. Its port is 0.
    pub to: *const sockaddr,
    /// The length of from.
    pub from_len: socklen_t,
    /// The length of to; 0 if it isn't known.
    pub to_len: socklen_t,
    /// When the kernel received it, in nanoseconds since 1970; 0 if it isn't known.
    pub time_ns: u64,
    /// The interface it came in by; 0 if it isn't known.
    pub ifindex: c_uint,
    /// Datagrams that the socket dropped for want of room since the one before. A run that the kernel
    /// had coalesced counts as one.
    pub drops: u32,
    /// TTL or hop limit as it arrived; -1 if it isn't known.
    pub ttl: c_int,
    /// Traffic class (TOS: DSCP and ECN) as it arrived; -1 if it isn't known.
    pub traffic_class: c_int,
    /// CASTIO_VIEW_*.
    pub flags: c_uint,
}
