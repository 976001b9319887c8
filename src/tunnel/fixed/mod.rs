//! Tunnels between two ends that know each other: whole packets go in at one and come out at the other.

pub mod counters;
pub mod ends;
pub mod entry;
pub mod exit;
pub mod kind;
pub mod order;

mod inbox;
mod receive;
mod send;

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::datagram::receive::Reader;
use crate::datagram::send::{Options as SenderOptions, Sender};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::epoll::Readable;
use crate::sys::sockaddr::CompactAddress;
use crate::tunnel::ip::{udp, v4, v6};
use counters::Counters;
use ends::{Ends, Options};
use entry::Entry;
use exit::Exit;
use inbox::Inbox;
pub use inbox::Place;
use kind::Kind;

/// Slots as long as the longest packet, and as a train.
const SLOT_SIZE: usize = 65_536;

/// One end of a tunnel.
pub struct Tunnel {
    ends: Ends,
    options: Options,
    entry: Entry,
    exit: Exit,
    /// One for each socket.
    senders: Vec<Outlet>,
    /// What tells of several sockets.
    readable: Option<Readable>,
    destination: Option<CompactAddress>,
    /// The number of the next packet.
    sequence: u32,
    path_mtu: usize,
    inbox: Inbox,
    counters: Counters,
}

/// The way out of one socket.
struct Outlet {
    sender: Sender<'static>,
    /// As the socket is set now.
    may_fragment: bool,
}

/// How large packets can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The largest outer packet of the path.
    pub path_mtu: usize,
    /// What the tunnel puts before a packet.
    pub overhead: usize,
    /// The largest inner packet.
    pub mtu: usize,
    /// The largest inner packet that no router need fragment.
    pub whole: usize,
}

impl Sizes {
    /// The largest UDP payload that goes whole in IPv4.
    pub fn payload_v4(&self) -> usize {
        self.whole.saturating_sub(v4::HEADER + udp::HEADER)
    }

    /// Likewise in IPv6.
    pub fn payload_v6(&self) -> usize {
        self.whole.saturating_sub(v6::HEADER + udp::HEADER)
    }
}

impl Tunnel {
    /// Opens the sockets of one end, and allocates what sending and receiving takes: `slots` packets, or
    /// trains of them, at a time. Errors as [`Ends::open`].
    pub fn open(
        kind: Kind,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Options,
        slots: usize,
    ) -> Result<Tunnel> {
        let (ends, sockets) = Ends::open(kind, local, remote, &options)?;
        if options.mtu > ends.shape.largest() {
            return Err(Errno::EINVAL);
        }
        let sending = SenderOptions { segmentation: kind.is_udp(), zerocopy: None, bytes_per_second: 0 };
        let outlet = |socket: OwnedFd| Ok(Outlet { sender: Sender::open(socket, sending)?, may_fragment: false });
        let senders = sockets.into_iter().map(outlet).collect::<Result<Vec<_>>>()?;
        let mut readable = if senders.len() > 1 { Some(Readable::new(senders.len())?) } else { None };
        for (outlet, number) in senders.iter().zip(0..) {
            readable.as_mut().map_or(Ok(()), |readable| readable.add(outlet.sender.fd(), number))?;
        }
        let mut tunnel = Tunnel {
            entry: Entry { shape: ends.shape, remote: ends.remote.ip(), ecn: options.ecn, whole: 0, in_pieces: 0 },
            exit: Exit::new(ends.shape, ends.accepted()),
            senders,
            readable,
            destination: ends.destination(),
            ends,
            options,
            sequence: 0,
            path_mtu: 0,
            inbox: Inbox::new(Reader::new(slots, SLOT_SIZE)?),
            counters: Counters::default(),
        };
        tunnel.look_at_path()?;
        Ok(tunnel)
    }

    /// Asks the kernel what the path allows now.
    fn look_at_path(&mut self) -> Result<()> {
        self.path_mtu = self.ends.path_mtu()?;
        let shape = self.ends.shape;
        let limit = if self.options.mtu > 0 { self.options.mtu } else { shape.largest() };
        self.entry.whole = self.path_mtu.saturating_sub(shape.overhead()).min(limit);
        self.entry.in_pieces = if self.options.fragment { limit } else { self.entry.whole };
        Ok(())
    }

    /// As they are now.
    pub fn sizes(&mut self) -> Result<Sizes> {
        self.look_at_path()?;
        let Entry { whole, in_pieces, .. } = self.entry;
        Ok(Sizes { path_mtu: self.path_mtu, overhead: self.ends.shape.overhead(), mtu: in_pieces, whole })
    }

    /// The largest packet that goes in one piece, and the largest that goes at all if it may be cut: as
    /// they were when the path was last looked at.
    pub fn limits(&self) -> (usize, usize) {
        (self.entry.whole, self.entry.in_pieces)
    }

    /// What went through so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Both ends.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// To wait on.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.readable {
            Some(readable) => Some(readable.fd()),
            None => self.senders.first().map(|outlet| outlet.sender.fd()),
        }
    }
}

/// Whether an error is news of an earlier packet, told by ICMP: the socket is as it was, and takes and
/// gives the next one.
fn is_news(error: Errno) -> bool {
    matches!(
        error,
        Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETUNREACH
            | Errno::ENOPROTOOPT
            | Errno::EPROTO
            | Errno::ENONET
            | Errno::EOPNOTSUPP
    )
}

/// A call made of several waits once.
fn started(mut deadline: Deadline) -> Deadline {
    deadline.start()
}
