//! What a program may have done with a socket, or what may lie on it, before a call waits on it.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram as Datagram};
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void};

use crate::support::descriptors::*;

const SO_TIMESTAMPING: c_int = 37;
const SOF_TIMESTAMPING_TX_SOFTWARE: c_int = 1 << 1;
const SOF_TIMESTAMPING_SOFTWARE: c_int = 1 << 4;

/// A low-water mark above what any call here asks for.
pub const LOW_WATER: c_int = 100;
/// Shorter than the calls' own time.
const SOCKET_TIMEOUT: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 30_000 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Plain,
    /// An ICMP error on the error queue (IP_RECVERR), the pending error told already.
    IcmpError,
    /// SO_ERROR: a refused datagram, a reset connection.
    PendingError,
    TransmitTimestamp,
    ZeroCopyCompletion,
    ShutRead,
    LowWater,
    NonBlocking,
    PeekOffset,
    /// SO_RCVTIMEO and SO_SNDTIMEO.
    Timeouts,
    /// An urgent byte and nothing else.
    UrgentMark,
    PeerGone,
}

use State::*;

pub const STATES: [State; 12] = [
    Plain,
    IcmpError,
    PendingError,
    TransmitTimestamp,
    ZeroCopyCompletion,
    ShutRead,
    LowWater,
    NonBlocking,
    PeekOffset,
    Timeouts,
    UrgentMark,
    PeerGone,
];

impl State {
    pub fn can_be_of(self, kind: Kind) -> bool {
        match self {
            Plain | NonBlocking | Timeouts => true,
            LowWater | UrgentMark | PeerGone => kind == Tcp4,
            IcmpError => kind == Udp4,
            PendingError | TransmitTimestamp | ZeroCopyCompletion => kind != UnixDatagram,
            ShutRead | PeekOffset => true,
        }
    }

    /// Whether something lies on the error queue, and has to lie there afterwards.
    pub fn is_on_error_queue(self) -> bool {
        matches!(self, IcmpError | TransmitTimestamp | ZeroCopyCompletion)
    }
}

/// A socket and the one at its other end.
pub struct Ends {
    pub own: OwnedFd,
    /// `None` when it is gone.
    pub peer: Option<OwnedFd>,
    pub kind: Kind,
}

impl Ends {
    pub fn new(kind: Kind) -> Ends {
        let (own, peer) = match kind {
            Udp4 => udp(),
            UnixDatagram => unix(),
            kind => {
                let Pair { writer, reader, .. } = pair(kind);
                (reader, writer)
            }
        };
        Ends { own, peer: Some(peer), kind }
    }

    pub fn peer(&self) -> &OwnedFd {
        self.peer.as_ref().unwrap()
    }

    /// Brings the socket into a state.
    pub fn put_into(&mut self, state: State) {
        let own = &self.own;
        match state {
            Plain => {}
            IcmpError => {
                set_option(own, libc::IPPROTO_IP, libc::IP_RECVERR, 1);
                send_to(own, b"anybody?", closed_port(), 0);
                wait_for(own, libc::POLLERR);
                assert_eq!(pending_error(own), libc::ECONNREFUSED);
            }
            PendingError if self.kind == Udp4 => {
                let socket = UdpSocket::from(own.try_clone().unwrap());
                socket.connect(closed_port()).unwrap();
                socket.send(b"anybody?").unwrap();
                wait_for(own, libc::POLLERR);
            }
            PendingError => {
                reset(self.peer.take().unwrap());
                wait_for(own, libc::POLLERR);
            }
            TransmitTimestamp => {
                let flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
                set_option(own, libc::SOL_SOCKET, SO_TIMESTAMPING, flags);
                self.send(b"when?", 0);
                wait_for(own, libc::POLLERR);
            }
            ZeroCopyCompletion => {
                set_option(own, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1);
                let bytes = pattern(20_000);
                self.send(&bytes, libc::MSG_ZEROCOPY);
                take_exact(self.peer(), bytes.len());
                wait_for(own, libc::POLLERR);
            }
            ShutRead => {
                // SAFETY: takes no pointer. A socket without a peer says ENOTCONN, and is shut down all the same.
                let result = unsafe { libc::shutdown(own.as_raw_fd(), libc::SHUT_RD) };
                assert!(result == 0 || errno() == libc::ENOTCONN);
            }
            LowWater => set_option(own, libc::SOL_SOCKET, libc::SO_RCVLOWAT, LOW_WATER),
            NonBlocking => set_nonblocking(own, true),
            // TCP knows it since Linux 6.9.
            PeekOffset if self.kind == Tcp4 => {
                let (zero, len) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
                let (level, name, at) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF, (&raw const zero).cast());
                // SAFETY: the value is readable for its size.
                unsafe { libc::setsockopt(own.as_raw_fd(), level, name, at, len) };
            }
            PeekOffset => set_option(own, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0),
            Timeouts => {
                set_option(own, libc::SOL_SOCKET, libc::SO_RCVTIMEO, SOCKET_TIMEOUT);
                set_option(own, libc::SOL_SOCKET, libc::SO_SNDTIMEO, SOCKET_TIMEOUT);
            }
            UrgentMark => {
                self.send_urgent();
                wait_for(own, libc::POLLPRI);
            }
            PeerGone => {
                drop(self.peer.take());
                wait_for(own, libc::POLLRDHUP);
            }
        }
    }

    /// From the socket to its peer.
    fn send(&self, bytes: &[u8], flags: c_int) {
        match self.kind {
            Udp4 => {
                let peer = UdpSocket::from(self.peer().try_clone().unwrap()).local_addr().unwrap();
                send_to(&self.own, bytes, peer, flags);
            }
            // SAFETY: the bytes are readable.
            _ => drop(check(unsafe { libc::send(self.own.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })),
        }
    }

    /// From the peer to the socket.
    pub fn feed(&self, bytes: &[u8]) {
        match self.kind {
            UnixDatagram => {
                let own = Datagram::from(self.own.try_clone().unwrap()).local_addr().unwrap();
                Datagram::from(self.peer().try_clone().unwrap()).send_to_addr(bytes, &own).unwrap();
            }
            _ => put(self.peer(), bytes),
        }
    }

    pub fn send_urgent(&self) {
        // SAFETY: one byte.
        check(unsafe { libc::send(self.peer().as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) });
    }
}

/// The peer sends to the socket, which is connected to nobody: so it hears of every error.
fn udp() -> (OwnedFd, OwnedFd) {
    let (own, peer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    peer.connect(own.local_addr().unwrap()).unwrap();
    (own.into(), peer.into())
}

/// The socket sends to the peer, whose queue is soon full.
fn unix() -> (OwnedFd, OwnedFd) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let bind = || {
        let name = format!("castio-waiting-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Datagram::bind_addr(&UnixAddress::from_abstract_name(name).unwrap()).unwrap()
    };
    let (own, peer) = (bind(), bind());
    own.connect_addr(&peer.local_addr().unwrap()).unwrap();
    (own.into(), peer.into())
}

fn closed_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn send_to(fd: &OwnedFd, bytes: &[u8], to: SocketAddr, flags: c_int) {
    let to = castio::sys::sockaddr::SocketAddress::from(to);
    let (at, len) = to.as_raw();
    // SAFETY: the bytes and the address are readable.
    check(unsafe { libc::sendto(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags, at, len) });
}

/// SO_ERROR, which this takes away.
fn pending_error(fd: &OwnedFd) -> c_int {
    let (mut error, mut len) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
    let at = (&raw mut error).cast::<c_void>();
    // SAFETY: there is room for an int.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, at, &raw mut len) });
    error
}
