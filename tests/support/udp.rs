//! UDP sockets that tell where a datagram came from, where it went and how far, and what differs
//! between the families, so that a test is told once for both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::{io, mem};

use castio::sys::sockaddr;

/// A port for namespaces where nobody else is.
pub const PORT: u16 = 5000;
/// The text of the datagram after which nothing more is expected.
const END: &str = "that was all";

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub fn domain(self) -> i32 {
        if self == Family::V4 { libc::AF_INET } else { libc::AF_INET6 }
    }

    pub fn wildcard(self) -> IpAddr {
        if self == Family::V4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
    }

    pub fn loopback(self) -> &'static str {
        if self == Family::V4 { "127.0.0.1" } else { "::1" }
    }

    /// A group, one of many.
    pub fn group(self, number: usize) -> String {
        if self == Family::V4 {
            format!("239.1.{}.{}", number / 250, number % 250)
        } else {
            format!("ff15::{number:x}")
        }
    }

    /// The address of a host on the LAN, counted from 1.
    pub fn host(self, number: usize) -> String {
        if self == Family::V4 { format!("10.1.0.{number}") } else { format!("fd01::{number}") }
    }
}

/// An address with a port; the scope of an IPv6 address is a number, "ff02::7%3".
pub fn address(ip: &str, port: u16) -> SocketAddr {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }.parse().unwrap()
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub text: String,
    pub from: SocketAddr,
    pub to: IpAddr,
    pub ttl: i32,
    pub interface: u32,
}

/// A UDP socket, closed when it goes.
#[derive(Debug)]
pub struct Udp(UdpSocket);

impl Deref for Udp {
    type Target = UdpSocket;
    fn deref(&self) -> &UdpSocket {
        &self.0
    }
}

impl AsRawFd for Udp {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Udp {
    /// Unbound. An IPv6 socket takes IPv4 too, as Linux has it by default.
    pub fn new(family: Family) -> Udp {
        // SAFETY: no memory involved.
        let fd = unsafe { libc::socket(family.domain(), libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a socket just made.
        Udp::take(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Takes a socket over, and lets it tell about each datagram.
    pub fn take(fd: OwnedFd) -> Udp {
        let udp = Udp(UdpSocket::from(fd));
        udp.set(libc::IPPROTO_IP, libc::IP_RECVTTL, 1).unwrap();
        udp.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1).unwrap();
        if udp.set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1).is_ok() {
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1).unwrap();
        }
        udp
    }

    /// Bound to the wildcard address and [`PORT`].
    pub fn receiver(family: Family) -> Udp {
        Udp::bound(SocketAddr::new(family.wildcard(), PORT))
    }

    pub fn bound(at: SocketAddr) -> Udp {
        let udp = Udp::new(if at.is_ipv4() { Family::V4 } else { Family::V6 });
        udp.bind(at).unwrap();
        udp
    }

    pub fn bind(&self, at: SocketAddr) -> io::Result<()> {
        let storage = sockaddr::to_storage(at);
        let len = if at.is_ipv4() { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() };
        // SAFETY: the storage holds an address of this length.
        let result = unsafe { libc::bind(self.as_raw_fd(), (&raw const storage).cast(), len as u32) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// setsockopt(2) with an int.
    pub fn set(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        let at = (&raw const value).cast();
        // SAFETY: an int and its length.
        let result = unsafe { libc::setsockopt(self.as_raw_fd(), level, name, at, size_of::<i32>() as u32) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends text to [`PORT`].
    pub fn send(&self, text: &str, ip: &str) {
        self.try_send(text, ip).unwrap_or_else(|error| panic!("to {ip}: {error}"));
    }

    pub fn try_send(&self, text: &str, ip: &str) -> io::Result<usize> {
        self.0.send_to(text.as_bytes(), address(ip, PORT))
    }

    /// Sends text to where the socket is connected.
    pub fn say(&self, text: &str) {
        assert_eq!(self.0.send(text.as_bytes()).unwrap(), text.len());
    }

    /// As [`Udp::end`], to where the socket is connected.
    pub fn say_end(&self) {
        self.say(END);
    }

    /// Says to a receiver that no more will come: what it gets before this is all it gets.
    pub fn end(&self, ip: &str) {
        self.send(END, ip);
    }

    /// The next datagram; a failure if none comes.
    pub fn receive(&self) -> Datagram {
        self.wait();
        self.take_one()
    }

    fn wait(&self) {
        let mut wanted = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, 10_000) };
        assert_eq!(ready, 1, "nothing has come to {:?}", self.local_addr());
    }

    fn take_one(&self) -> Datagram {
        let (mut bytes, mut control) = (vec![0_u8; 1 << 16], [0_u64; 64]);
        let mut from = sockaddr::unspecified();
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zero is a message without anything.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of_val(&from) as u32;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the message names memory of ours, with its lengths.
        let len = unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        assert!(len >= 0, "{}", io::Error::last_os_error());
        let text = String::from_utf8_lossy(&bytes[..len as usize]).into_owned();
        let from = sockaddr::from_storage(&from).unwrap();
        let mut datagram = Datagram { text, from, to: self.0.local_addr().unwrap().ip(), ttl: -1, interface: 0 };
        // SAFETY: a message that the kernel has filled in.
        unsafe { read_control(&message, &mut datagram) };
        datagram
    }

    /// All that comes before [`Udp::end`].
    pub fn all(&self) -> Vec<Datagram> {
        let next = || Some(self.receive()).filter(|datagram| datagram.text != END);
        std::iter::from_fn(next).collect()
    }

    /// The texts of what waits now.
    pub fn waiting(&self) -> Vec<String> {
        self.arrived().into_iter().map(|datagram| datagram.text).collect()
    }

    /// What waits now.
    pub fn arrived(&self) -> Vec<Datagram> {
        let is_there = || {
            let mut wanted = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd.
            unsafe { libc::poll(&raw mut wanted, 1, 0) == 1 }
        };
        std::iter::from_fn(|| is_there().then(|| self.take_one())).collect()
    }

    /// The texts of all that comes before [`Udp::end`].
    pub fn texts(&self) -> Vec<String> {
        self.all().into_iter().map(|datagram| datagram.text).collect()
    }
}

/// # Safety
/// The message is as recvmsg(2) leaves it.
unsafe fn read_control(message: &libc::msghdr, datagram: &mut Datagram) {
    // SAFETY: passed on; each kind of message holds what is read from it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    datagram.ttl = data.cast::<i32>().read_unaligned();
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    datagram.to = sockaddr::from_in_addr(info.ipi_addr).into();
                    datagram.interface = info.ipi_ifindex as u32;
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    datagram.to = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
                    datagram.interface = info.ipi6_ifindex;
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
