//! An AMT gateway for one program: the machine of [`super::gateway`] with sockets and a clock.
//!
//! Plain UDP sockets, one for each family, unconnected: the address to send from may change while the
//! tunnel is up, and answers to a Discovery come from another address than the relay's.

pub(crate) mod groups;
mod inbox;
mod receive;
mod socket;
pub mod text;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use super::gateway::{Candidate, Gateway, Options, Random, State, Transmit, counters::Counters};
use crate::borrowed::Origin;
use crate::error::{Errno, Result};
use crate::sys::epoll::Readable;
use crate::sys::random;
pub use inbox::Delivered;
use inbox::Inbox;
use socket::Socket;

/// How a client works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The relays, or addresses to ask for one.
    pub candidates: Vec<Candidate>,
    /// The address to send from; unspecified for the kernel's choice. Only the socket of its family is
    /// bound to it.
    pub local: Option<IpAddr>,
    /// The port to send from; 0 for the kernel's choice.
    pub port: u16,
    /// How many datagrams, or runs, are taken from the kernel at once.
    pub slots: usize,
    /// See [`Options`].
    pub ecn: bool,
    /// See [`Options`].
    pub leave_silent: bool,
}

/// The shell.
pub struct Client {
    gateway: Gateway,
    v4: Option<Socket>,
    v6: Option<Socket>,
    settings: Settings,
    readable: Readable,
    inbox: Inbox,
    socket_drops: u64,
    origin: Origin,
}

impl Client {
    /// Opens the sockets that the candidates need. `EINVAL` without a candidate or with more than 1,024
    /// slots.
    pub fn open(settings: Settings) -> Result<Client> {
        if settings.candidates.is_empty() {
            return Err(Errno::EINVAL);
        }
        let options =
            Options { candidates: settings.candidates.clone(), ecn: settings.ecn, leave_silent: settings.leave_silent };
        let mut client = Client {
            gateway: Gateway::new(options, Random::new(random::bytes())),
            v4: None,
            v6: None,
            readable: Readable::new(2)?,
            inbox: Inbox::new(settings.slots)?,
            socket_drops: 0,
            origin: Origin::here(),
            settings,
        };
        client.open_sockets()?;
        Ok(client)
    }

    /// One family may be missing on this host, not both.
    fn open_sockets(&mut self) -> Result<()> {
        let mut result = Err(Errno::EAFNOSUPPORT);
        for v6 in [false, true] {
            if self.settings.candidates.iter().any(|candidate| candidate.address.is_ipv6() == v6) {
                match self.socket(v6) {
                    Ok(_) => result = Ok(()),
                    Err(Errno::EAFNOSUPPORT) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        result
    }

    fn socket(&mut self, v6: bool) -> Result<&Socket> {
        let place = if v6 { &mut self.v6 } else { &mut self.v4 };
        match place {
            Some(socket) => Ok(socket),
            none => {
                let socket = Socket::open(v6, self.settings.local, self.settings.port)?;
                self.readable.add(socket.fd(), u64::from(v6))?;
                Ok(none.insert(socket))
            }
        }
    }

    /// Does what is due, and sends what is to be sent.
    fn service(&mut self, now: Instant) {
        self.gateway.handle_timeout(now);
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        while let Some(transmit) = self.gateway.poll_transmit() {
            // What finds no room is asked or told again in its time.
            if let Err(error) = self.send(now, &transmit) {
                if !matches!(error, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) {
                    self.gateway.handle_unreachable(now, transmit.to);
                }
            }
        }
    }

    fn send(&mut self, now: Instant, transmit: &Transmit) -> Result<()> {
        let v6 = transmit.to.is_ipv6();
        match self.socket(v6)?.send(transmit) {
            // It may be of one before: this is where a socket tells of ICMP.
            Err(error) if error != Errno::EAGAIN => {
                self.take_errors(now, v6);
                self.socket(v6)?.send(transmit)
            }
            result => result,
        }
    }

    /// What the network said of what was sent.
    fn take_errors(&mut self, now: Instant, v6: bool) {
        let Some(socket) = (if v6 { &self.v6 } else { &self.v4 }) else { return };
        while let Some(to) = socket.next_error() {
            self.gateway.handle_unreachable(now, to);
        }
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        // What was read and not handed out doesn't make a descriptor readable.
        if self.inbox.has_more() { Some(Instant::now()) } else { self.gateway.timeout() }
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.readable.fd()
    }

    /// The same as a number.
    pub fn raw_fd(&self) -> i32 {
        self.readable.fd().as_raw_fd()
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.gateway.state()
    }

    /// The relay, once there is one.
    pub fn relay(&self) -> Option<SocketAddr> {
        self.gateway.relay()
    }

    /// How many groups are listened to.
    pub fn group_count(&self) -> usize {
        self.gateway.group_count()
    }

    /// Of how many of them nothing has ever come.
    pub fn silent_group_count(&self) -> usize {
        self.gateway.silent_group_count()
    }

    /// What was done and dropped.
    pub fn counters(&self) -> &Counters {
        self.gateway.counters()
    }

    /// Datagrams that the sockets dropped for want of room.
    pub fn socket_drops(&self) -> u64 {
        self.socket_drops
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A child's copy must not leave the parent's groups.
        if self.origin.is_here() {
            self.gateway.close();
            self.flush(Instant::now());
        }
    }
}
