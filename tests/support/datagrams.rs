//! Both ends of a batch: the handles that send and receive it, and plain sockets that look at what
//! arrived or send what is to arrive.

use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use castio::ffi::datagram_receive::*;
use castio::ffi::datagram_send::*;
use castio::sys::c_types::{castio_datagram, castio_datagram_view};
use castio::sys::sockaddr;
use libc::{c_int, iovec, sockaddr_storage, socklen_t};

use super::tools;

/// How long anything that must happen may take: far longer than it does.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const PATIENCE_MS: c_int = 20_000;

pub const UDP_SEGMENT: c_int = 103;
pub const UDP_GRO: c_int = 104;

/// What is sent when nothing more is to come.
const END: &[u8] = b"that was all";

/// An address of each family on this host, with any port.
pub fn loopbacks() -> Vec<SocketAddr> {
    let mut found = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => found.push((Ipv6Addr::LOCALHOST, 0).into()),
        Err(error) => tools::skip(&format!("no IPv6 on loopback: {error}")),
    }
    found
}

/// An IPv4 address as an IPv6 socket has it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        v6 => v6,
    }
}

/// Bytes that tell which they are: no two numbers have the same ones.
pub fn numbered(number: usize, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
    let head = (number as u32).to_be_bytes();
    let kept = len.min(head.len());
    bytes[..kept].copy_from_slice(&head[..kept]);
    bytes
}

/// The calling thread stays on one processor, so that what it sends over a virtual device isn't
/// queued on two, and overtaken.
pub fn stay_on_one_processor() {
    // SAFETY: a set of its own size, all zero but for one processor, which this thread runs on.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// A datagram as a plain recvmsg(2) saw it, or a view, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub bytes: Vec<u8>,
    pub true_len: usize,
    pub from: Option<SocketAddr>,
    pub to: Option<IpAddr>,
    pub interface: u32,
    pub ttl: c_int,
    pub class: c_int,
    /// Of a train that the kernel hands over as one.
    pub segment_size: Option<c_int>,
    /// What only a view tells.
    pub time_ns: u64,
    pub drops: u32,
    pub flags: u32,
}

/// The payloads alone.
pub fn payloads(arrivals: &[Arrival]) -> Vec<Vec<u8>> {
    arrivals.iter().map(|arrival| arrival.bytes.clone()).collect()
}

/// These payloads came, in this order and nothing else.
#[track_caller]
pub fn assert_came(arrivals: &[Arrival], expected: &[Vec<u8>]) {
    let same = arrivals.iter().zip(expected).take_while(|(arrival, payload)| arrival.bytes == **payload).count();
    let (came, sent) = (arrivals.len(), expected.len());
    assert!(same == came && same == sent, "{came} came of {sent}; the first {same} are the same");
}

/// A plain UDP socket.
#[derive(Debug)]
pub struct Socket(UdpSocket);

impl Deref for Socket {
    type Target = UdpSocket;
    fn deref(&self) -> &UdpSocket {
        &self.0
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Socket {
    /// With nothing set. An IPv6 one takes IPv4 too when it is bound to the wildcard.
    pub fn bound(at: impl Into<SocketAddr>) -> Socket {
        Socket(UdpSocket::bind(at.into()).unwrap())
    }

    /// Lets the kernel tell of each datagram what a test looks at.
    pub fn telling(at: impl Into<SocketAddr>) -> Socket {
        let socket = Socket::bound(at);
        for name in [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS] {
            socket.set(libc::IPPROTO_IP, name, 1);
        }
        if socket.address().is_ipv6() {
            for name in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVTCLASS] {
                socket.set(libc::IPPROTO_IPV6, name, 1);
            }
        }
        socket
    }

    /// Hands trains over as one.
    pub fn coalescing(at: impl Into<SocketAddr>) -> Socket {
        let socket = Socket::telling(at);
        socket.set(libc::SOL_UDP, UDP_GRO, 1);
        socket
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn set(&self, level: c_int, name: c_int, value: c_int) {
        let len = size_of::<c_int>() as socklen_t;
        // SAFETY: an int and its length.
        let result = unsafe { libc::setsockopt(self.as_raw_fd(), level, name, (&raw const value).cast(), len) };
        assert_eq!(result, 0, "option {level} {name}: {}", io::Error::last_os_error());
    }

    pub fn get(&self, level: c_int, name: c_int) -> c_int {
        let (mut value, mut len): (c_int, _) = (0, size_of::<c_int>() as socklen_t);
        let at = (&raw mut value).cast();
        // SAFETY: room for an int, as its length says.
        let result = unsafe { libc::getsockopt(self.as_raw_fd(), level, name, at, &raw mut len) };
        assert_eq!(result, 0, "option {level} {name}: {}", io::Error::last_os_error());
        value
    }

    /// Sends the datagram that nothing comes after.
    pub fn end(&self, to: SocketAddr) {
        self.0.send_to(END, to).unwrap();
    }

    /// Everything before the end.
    pub fn arrivals(&self) -> Vec<Arrival> {
        std::iter::from_fn(|| Some(self.arrival()).filter(|arrival| arrival.bytes != END)).collect()
    }

    /// The next datagram, or train of them; a failure if none comes.
    pub fn arrival(&self) -> Arrival {
        let mut wanted = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, PATIENCE_MS) };
        assert_eq!(ready, 1, "nothing has come to {}", self.address());
        self.take().unwrap_or_else(|error| panic!("{}: {error}", self.address()))
    }

    /// What waits now.
    pub fn take(&self) -> io::Result<Arrival> {
        let (mut bytes, mut control) = (vec![0_u8; 65_536], [0_u64; 64]);
        let mut from = sockaddr::unspecified();
        let mut part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zero is a message without anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of_val(&from) as socklen_t;
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
        // SAFETY: the message names memory of ours, with its lengths.
        let len = unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        bytes.truncate(usize::try_from(len).map_err(|_| io::Error::last_os_error())?);
        let mut arrival = Arrival { true_len: bytes.len(), bytes, from: sockaddr::from_storage(&from), ..NOTHING };
        // SAFETY: a message that the kernel has filled in.
        unsafe { read_control(&message, &mut arrival) };
        Ok(arrival)
    }
}

const NOTHING: Arrival = Arrival {
    bytes: Vec::new(),
    true_len: 0,
    from: None,
    to: None,
    interface: 0,
    ttl: -1,
    class: -1,
    segment_size: None,
    time_ns: 0,
    drops: 0,
    flags: 0,
};

/// # Safety
/// The message is as recvmsg(2) leaves it.
unsafe fn read_control(message: &libc::msghdr, arrival: &mut Arrival) {
    // SAFETY: passed on; each kind of message holds what is read from it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => arrival.segment_size = Some(data.cast::<c_int>().read_unaligned()),
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    arrival.ttl = data.cast::<c_int>().read_unaligned();
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => arrival.class = data.read().into(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => arrival.class = data.cast::<c_int>().read_unaligned(),
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    arrival.to = Some(sockaddr::from_in_addr(info.ipi_addr).into());
                    arrival.interface = info.ipi_ifindex as u32;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    arrival.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    arrival.interface = info.ipi6_ifindex;
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// Datagrams to send, with the memory that they point to.
#[derive(Default)]
pub struct List<'a> {
    entries: Vec<castio_datagram>,
    buffers: Vec<Vec<iovec>>,
    /// Each at a place of its own, where it stays.
    addresses: Vec<Rc<sockaddr_storage>>,
    payloads: PhantomData<&'a [u8]>,
}

impl<'a> List<'a> {
    pub fn new() -> List<'a> {
        List::default()
    }

    /// All of them to one destination.
    pub fn of(payloads: &'a [Vec<u8>], to: Option<SocketAddr>) -> List<'a> {
        let mut list = List::new();
        for payload in payloads {
            list.add(&[payload], to);
        }
        list
    }

    /// One more, gathered from pieces; what it is made of can still be changed.
    pub fn add(&mut self, pieces: &[&'a [u8]], to: Option<SocketAddr>) -> &mut castio_datagram {
        let iovec = |piece: &&[u8]| iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
        let buffers: Vec<iovec> = pieces.iter().map(iovec).collect();
        // SAFETY: all zero is a datagram without anything.
        let mut entry: castio_datagram = unsafe { std::mem::zeroed() };
        entry.struct_size = size_of::<castio_datagram>();
        (entry.iov, entry.iovcnt) = (buffers.as_ptr(), buffers.len() as c_int);
        if let Some(to) = to {
            (entry.to, entry.to_len) = self.address(to);
        }
        self.buffers.push(buffers);
        self.entries.push(entry);
        self.entries.last_mut().unwrap()
    }

    /// The last one comes from there.
    pub fn from(&mut self, ip: IpAddr) {
        let (from, from_len) = self.address((ip, 0).into());
        let last = self.entries.last_mut().unwrap();
        (last.from, last.from_len) = (from, from_len);
    }

    fn address(&mut self, address: SocketAddr) -> (*const libc::sockaddr, socklen_t) {
        self.addresses.push(Rc::new(sockaddr::to_storage(address)));
        let len = if address.is_ipv4() { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() };
        (ptr::from_ref(&**self.addresses.last().unwrap()).cast(), len as socklen_t)
    }
}

impl Deref for List<'_> {
    type Target = [castio_datagram];
    fn deref(&self) -> &[castio_datagram] {
        &self.entries
    }
}

/// What a call came to: a count or an errno, and how many it says went out.
pub type Sent = (Result<usize, c_int>, usize);

/// The result of a function, whose errno has to match.
pub fn outcome(result: isize) -> Result<usize, c_int> {
    let errno = io::Error::last_os_error().raw_os_error().unwrap();
    let outcome = usize::try_from(result).map_err(|_| -result as c_int);
    if let Err(code) = outcome {
        assert_eq!(code, errno, "errno isn't what was returned");
    }
    outcome
}

/// A handle that sends, on a socket that is somebody else's.
pub struct Sender(pub *mut castio_sender);

// SAFETY: a handle is for one thread at a time.
unsafe impl Send for Sender {}

impl Sender {
    pub fn open(socket: &impl AsRawFd) -> Sender {
        Sender::with(socket, 0, 0)
    }

    pub fn with(socket: &impl AsRawFd, flags: u32, bytes_per_second: u64) -> Sender {
        let struct_size = size_of::<castio_sender_options>();
        let options = castio_sender_options { struct_size, bytes_per_second, flags };
        let mut handle = ptr::null_mut();
        // SAFETY: options and a place.
        let result = unsafe { castio_sender_open(socket.as_raw_fd(), &raw const options, &raw mut handle) };
        assert_eq!(result, 0);
        Sender(handle)
    }

    pub fn send(&self, list: &[castio_datagram], timeout_ms: c_int) -> Sent {
        let mut done = usize::MAX;
        // SAFETY: a handle, an array, and a place.
        let result = unsafe { castio_send_datagrams(self.0, list.as_ptr(), list.len(), timeout_ms, &raw mut done) };
        (outcome(result), done)
    }

    pub fn send_to_many(&self, pieces: &[&[u8]], to: &[sockaddr_storage], timeout_ms: c_int) -> Sent {
        let (payload, mut done) = (io_slices(pieces), usize::MAX);
        let (iov, count) = (payload.as_ptr().cast(), payload.len() as c_int);
        // SAFETY: a handle, arrays, and a place; an IoSlice has the layout of an iovec.
        let result =
            unsafe { castio_send_to_many(self.0, iov, count, to.as_ptr(), to.len(), timeout_ms, &raw mut done) };
        (outcome(result), done)
    }

    /// All of them go out, in one call.
    #[track_caller]
    pub fn sends(&self, list: &[castio_datagram]) {
        assert_eq!(self.send(list, PATIENCE_MS), (Ok(list.len()), list.len()));
    }
}

fn io_slices<'a>(pieces: &[&'a [u8]]) -> Vec<io::IoSlice<'a>> {
    pieces.iter().map(|piece| io::IoSlice::new(piece)).collect()
}

impl Drop for Sender {
    fn drop(&mut self) {
        // SAFETY: a handle, for the last time.
        unsafe { castio_sender_close(self.0) };
    }
}

/// A handle that receives, on a socket that is somebody else's.
pub struct Receiver(pub *mut castio_receiver);

// SAFETY: a handle is for one thread at a time.
unsafe impl Send for Receiver {}

/// The default.
pub const OPTIONS: castio_receiver_options =
    castio_receiver_options { struct_size: size_of::<castio_receiver_options>(), slots: 0, slot_size: 0, flags: 0 };

/// With coalescing.
pub const COALESCE: castio_receiver_options = castio_receiver_options { flags: CASTIO_RECEIVER_COALESCE, ..OPTIONS };

/// A view with nothing in it but its size.
pub fn empty_view() -> castio_datagram_view {
    // SAFETY: all zero is a view of nothing.
    let view: castio_datagram_view = unsafe { std::mem::zeroed() };
    castio_datagram_view { struct_size: size_of::<castio_datagram_view>(), ..view }
}

impl Receiver {
    pub fn open(socket: &impl AsRawFd, options: castio_receiver_options) -> Receiver {
        let mut handle = ptr::null_mut();
        // SAFETY: options and a place.
        let result = unsafe { castio_receiver_open(socket.as_raw_fd(), &raw const options, &raw mut handle) };
        assert_eq!(result, 0);
        Receiver(handle)
    }

    /// The views of one call, valid until the next.
    pub fn views(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<castio_datagram_view>, c_int> {
        let mut views = vec![empty_view(); capacity];
        // SAFETY: a handle and an array.
        let result = unsafe { castio_receive_datagrams(self.0, views.as_mut_ptr(), capacity, timeout_ms) };
        views.truncate(outcome(result)?);
        Ok(views)
    }

    /// What one call sees.
    pub fn receive(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<Arrival>, c_int> {
        Ok(self.views(capacity, timeout_ms)?.iter().map(arrival_of).collect())
    }

    /// As many calls as it takes to see so many.
    pub fn arrivals_until(&self, count: usize) -> Vec<Arrival> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.receive(count - all.len(), PATIENCE_MS).unwrap());
        }
        all
    }

    /// As many calls as it takes to see everything before the end.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut all: Vec<Arrival> = Vec::new();
        while all.last().is_none_or(|arrival| arrival.bytes != END) {
            all.extend(self.receive(64, PATIENCE_MS).unwrap());
        }
        all.pop();
        all
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // SAFETY: a handle, for the last time.
        unsafe { castio_receiver_close(self.0) };
    }
}

/// A copy of a view.
pub fn arrival_of(view: &castio_datagram_view) -> Arrival {
    assert_eq!(view.struct_size, size_of::<castio_datagram_view>());
    Arrival {
        bytes: payload_of(view).to_vec(),
        true_len: view.true_len,
        from: address_of(view.from, view.from_len),
        to: address_of(view.to, view.to_len).inspect(|to| assert_eq!(to.port(), 0)).map(|to| to.ip()),
        interface: view.ifindex,
        ttl: view.ttl,
        class: view.traffic_class,
        segment_size: None,
        time_ns: view.time_ns,
        drops: view.drops,
        flags: view.flags,
    }
}

/// The memory that a view points to.
pub fn payload_of(view: &castio_datagram_view) -> &[u8] {
    // SAFETY: a view that the library has filled, before the next call.
    unsafe { std::slice::from_raw_parts(view.data.cast(), view.len) }
}

fn address_of(address: *const libc::sockaddr, len: socklen_t) -> Option<SocketAddr> {
    // SAFETY: an address with its length.
    if len == 0 { None } else { unsafe { sockaddr::from_raw(address, len) }.ok() }
}
