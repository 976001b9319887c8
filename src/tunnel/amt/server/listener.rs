//! The addresses that gateways talk to.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::ingress::grow;
use crate::datagram::receive::{self, Reader};
use crate::datagram::send::{Datagram, Datagrams, Manner, Options, Sender};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::sys::errqueue;
use crate::sys::memory::Gather;
use crate::sys::mmsg::Destination;
use crate::sys::option::{Family, IntOption};
use crate::sys::sockaddr::{CompactAddress, SocketAddress};
use crate::sys::socket;
use crate::tunnel::amt::relay::{Local, Relay, Transmit};

/// What AMT, UDP and IP put around a packet.
const OVERHEAD_V4: usize = 2 + 8 + 20;
const OVERHEAD_V6: usize = 2 + 8 + 40;
/// What is asked for, for messages that wait to leave.
const SEND_BUFFER: i32 = 4 << 20;

/// So many of ICMP's errors are read in one go.
const ERRORS_MAX: usize = 64;

/// One address.
pub(super) struct Listener {
    sender: Sender<'static>,
    /// Where it is bound.
    pub address: SocketAddr,
    /// The largest packet that fits into a tunnel from here.
    pub limit: usize,
    /// The kernel's count of drops, as last told.
    drops: u32,
}

impl Listener {
    /// `mtu` is that of the networks on the way.
    pub fn open(address: SocketAddr, mtu: usize) -> Result<Listener> {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = socket::udp_socket(family.domain())?;
        let options = Options { segmentation: true, zerocopy: None, bytes_per_second: 0 };
        let sender = Sender::open(socket, options)?;
        let fd = sender.fd();
        let discover = match family {
            Family::V4 => IntOption::IPV4_MTU_DISCOVER,
            Family::V6 => {
                IntOption::IPV6_ONLY.set(fd, 1)?;
                IntOption::IPV6_MTU_DISCOVER
            }
        };
        // What ICMP says of gateways comes by the error queue.
        let errors = match family {
            Family::V4 => IntOption::IPV4_RECEIVE_ERRORS,
            Family::V6 => IntOption::IPV6_RECEIVE_ERRORS,
        };
        errors.set(fd, 1)?;
        // A message that doesn't fit isn't fragmented: the packet in it may be. What fits is the owner's word,
        // not ICMP's, which anybody can send (RFC 7450, section 6.1).
        discover.set(fd, IntOption::MTU_DISCOVER_PROBE)?;
        let _ = IntOption::SEND_BUFFER.set(fd, SEND_BUFFER);
        // Thousands of gateways may come at once, when a relay has begun anew.
        grow(fd);
        receive::tell(fd, false, true);
        socket::bind(fd, &SocketAddress::from(address))?;
        let overhead = if address.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        let address = socket::local_address(fd)?;
        Ok(Listener { sender, address, limit: mtu.saturating_sub(overhead), drops: 0 })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.sender.fd()
    }

    pub fn sender(&mut self) -> &mut Sender<'static> {
        &mut self.sender
    }

    /// What to send from, where the socket itself doesn't say.
    pub fn source(&self, address: IpAddr) -> Option<IpAddr> {
        self.address.ip().is_unspecified().then_some(address)
    }

    /// Hands a batch of what gateways say to the relay; how many messages.
    pub fn read(&mut self, number: u16, now: Instant, relay: &mut Relay, reader: &mut Reader) -> Result<usize> {
        self.read_errors(now, relay);
        reader.clear();
        match reader.fill(self.sender.fd()) {
            // Of ICMP's errors each is told here too, or when something is sent: whose it is isn't.
            Err(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => return Ok(0),
            Err(Errno::EMSGSIZE | Errno::EACCES | Errno::EPROTO | Errno::ENOPROTOOPT) => return Ok(0),
            result => result?,
        }
        let mut count = 0;
        loop {
            let slot = reader.position();
            let Some(view) = reader.next_view(&mut self.drops) else { return Ok(count) };
            count += 1;
            let address = view.packet.told.destination.map_or(self.address.ip(), |(address, _)| address);
            // One that was cut is too long for any message: it is malformed as it is.
            let Some(from) = reader.source(slot) else { continue };
            // RFC 7450 knows no multicast to a relay: many would answer.
            if address.is_multicast() {
                relay.counters_mut().dropped_malformed += 1;
                continue;
            }
            relay.handle_input(now, Local { socket: number, address }, from, reader.slot(slot));
        }
    }

    /// Tells the relay of gateways that ICMP says are unreachable.
    fn read_errors(&self, now: Instant, relay: &mut Relay) {
        for _ in 0..ERRORS_MAX {
            match errqueue::take_unreachable(self.sender.fd()) {
                Ok(Some((gateway, Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH))) => {
                    relay.handle_unreachable(now, gateway);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Sends answers; how many were sent.
    pub fn answer(&mut self, answers: &[Transmit]) -> usize {
        let own = self.address.ip().is_unspecified();
        let mut sent = 0;
        for transmit in answers {
            let parts = [std::io::IoSlice::new(transmit.bytes())];
            let to = CompactAddress::from(transmit.to);
            let from = own.then_some(transmit.from.address);
            let one = One { to: &to, parts: &parts, from };
            let mut send = || self.sender.send(&one, Deadline::Now, &mut 0);
            // The first error may be one that ICMP told of another gateway. Whoever isn't answered asks
            // again.
            sent += usize::from(send().or_else(|_| send()).is_ok());
        }
        sent
    }
}

/// A list of one.
struct One<'a> {
    to: &'a CompactAddress,
    parts: &'a [std::io::IoSlice<'a>; 1],
    from: Option<IpAddr>,
}

impl<'a> Datagrams<'a> for One<'a> {
    fn count(&self) -> usize {
        1
    }

    fn get(&self, _: usize) -> Result<Datagram<'a>> {
        let manner = Manner { from: self.from, ..Manner::default() };
        Ok(Datagram { to: Destination::to(self.to), payload: Gather::from(self.parts.as_slice()), manner })
    }

    fn payload_beside(&self, _: usize, _: usize) -> Option<Gather<'a>> {
        None
    }
}
