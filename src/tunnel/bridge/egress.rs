//! What comes out of the tunnel on its way onto an interface: as it is, by raw sockets, or without
//! privilege its payload as this host's own datagrams.

use std::array;
use std::ffi::CStr;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::counters::Counters;
use super::followed::{Followed, News};
use super::mark;
use super::workbench::{Place, Workbench};
use crate::datagram::buffer;
use crate::datagram::send::{Datagram, Datagrams, Manner, Options, Sender};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::multicast::options;
use crate::sys::memory::Gather;
use crate::sys::mmsg::Destination;
use crate::sys::option::{Family, IntOption};
use crate::sys::sockaddr::{CompactAddress, SocketAddress};
use crate::sys::socket;
use crate::tunnel::ip::Packet;
use crate::tunnel::ip::udp::{self, ZeroChecksum};

/// How many packets leave at a time, at most.
pub const BATCH: usize = 128;
const SEND_BUFFER: usize = 4 << 20;

/// The protocol of raw sockets for packets of any protocol (IPPROTO_RAW).
const ANY_PROTOCOL: u8 = 255;
/// The discard service's port (RFC 863).
const DISCARD: u16 = 9;

/// Sockets of both families.
pub struct Egress {
    v4: Sender<'static>,
    v6: Option<Sender<'static>>,
    followed: Followed,
    /// Where the sockets send; `None` while there is no such interface.
    interface: Option<u32>,
    /// Packets leave as they are.
    is_faithful: bool,
}

/// What leaves of one packet.
#[derive(Clone, Copy)]
struct Parcel<'a> {
    payload: &'a [u8],
    to: SocketAddr,
    manner: Manner,
}

impl Egress {
    /// Raw sockets, unless they are refused, or datagrams are asked for.
    pub fn open(text: &CStr, own_datagrams: bool) -> Result<Egress> {
        let followed = Followed::open(text)?;
        let interface = followed.index().ok_or(Errno::ENODEV)?;
        let is_faithful = !own_datagrams
            && match socket::raw_socket(Family::V4.domain(), ANY_PROTOCOL) {
                Err(Errno::EPERM) => false,
                result => result.map(|_| true)?,
            };
        let v6 = match sender(Family::V6, interface, is_faithful) {
            // A host without IPv6, or an interface.
            Err(Errno::EAFNOSUPPORT) => None,
            result => Some(result?),
        };
        let v4 = sender(Family::V4, interface, is_faithful)?;
        Ok(Egress { v4, v6, followed, interface: Some(interface), is_faithful })
    }

    /// Whether sources and ports stay as they are.
    pub fn is_faithful(&self) -> bool {
        self.is_faithful
    }

    /// The interface, if there is one now.
    pub fn interface(&self) -> Option<u32> {
        self.interface
    }

    /// To wait on, for news of the interface.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.followed.fd()
    }

    /// Reads the news, and sends by what has the interface's name now.
    pub fn follow(&mut self) -> Result<News> {
        let news = self.followed.process()?;
        if news == News::Moved {
            // One that is gone already is told as such next.
            self.interface = self.followed.index().filter(|index| self.set_interface(*index).is_ok());
        }
        Ok(news)
    }

    fn set_interface(&self, index: u32) -> Result<()> {
        let v6 = self.v6.as_ref().map(|v6| (v6.fd(), Family::V6));
        let mut sockets = [Some((self.v4.fd(), Family::V4)), v6].into_iter().flatten();
        sockets.try_for_each(|(fd, family)| set_interface(fd, family, index, self.is_faithful))
    }

    /// Programs on this host don't get what leaves.
    pub fn dont_loop(&self) -> Result<()> {
        options::set_loop(self.v4.fd(), false)?;
        self.v6.as_ref().map_or(Ok(()), |v6| options::set_loop(v6.fd(), false))
    }

    /// Sends packets, of which `BATCH` at most are looked at.
    pub fn send(&mut self, packets: &[&[u8]], counters: &mut Counters, bench: &mut Workbench) {
        if self.interface.is_none() {
            // The index that the sockets still have may be another's by now.
            counters.failed += packets.len() as u64;
            return;
        }
        let mut rest = packets;
        while let Some(first) = rest.first() {
            let is_v4 = first.first().is_some_and(|byte| byte >> 4 == 4);
            let same =
                rest.iter().take(BATCH).take_while(|one| one.first().is_some_and(|byte| (byte >> 4 == 4) == is_v4));
            let count = same.count().max(1);
            let (run, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            self.send_run(is_v4, run, counters, bench);
            rest = others;
        }
    }

    /// Packets of one family.
    fn send_run(&mut self, is_v4: bool, packets: &[&[u8]], counters: &mut Counters, bench: &mut Workbench) {
        let nothing = Parcel { payload: &[], to: (Ipv4Addr::UNSPECIFIED, 0).into(), manner: Manner::default() };
        let (mut parcels, mut sources, mut count) = ([nothing; BATCH], [0; BATCH], 0);
        for (index, packet) in packets.iter().enumerate() {
            match self.parcel(packet) {
                Some(parcel) => {
                    let places = parcels.get_mut(count).zip(sources.get_mut(count));
                    let Some((place, source)) = places else { break };
                    (*place, *source) = (parcel, index);
                    count += 1;
                }
                None => counters.not_udp += 1,
            }
        }
        let addresses: [CompactAddress; BATCH] =
            array::from_fn(|index| parcels.get(index).map_or(nothing.to, |parcel| parcel.to).into());
        let pieces: [IoSlice<'_>; BATCH] =
            array::from_fn(|index| IoSlice::new(parcels.get(index).map_or(&[], |parcel| parcel.payload)));
        let mut next = 0;
        while next < count {
            let range = next..count;
            let emission = Emission {
                parcels: parcels.get(range.clone()).unwrap_or_default(),
                pieces: pieces.get(range.clone()).unwrap_or_default(),
                addresses: addresses.get(range).unwrap_or_default(),
            };
            let sender = if is_v4 { Some(&mut self.v4) } else { self.v6.as_mut() };
            let Some(sender) = sender else {
                counters.failed += (count - next) as u64;
                return;
            };
            let mut done = 0;
            let result = sender.send(&emission, Deadline::Now, &mut done);
            let packet = |at: usize| sources.get(at).and_then(|index| packets.get(*index).copied()).unwrap_or_default();
            (next..next + done).for_each(|at| counters.out.add(packet(at).len()));
            next += done;
            match result {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    counters.no_room += (count - next) as u64;
                    return;
                }
                Err(Errno::EMSGSIZE) => {
                    self.send_cut(packet(next), counters, bench);
                    next += 1;
                }
                Err(_) => {
                    counters.failed += 1;
                    next += 1;
                }
            }
        }
    }

    fn parcel<'a>(&self, bytes: &'a [u8]) -> Option<Parcel<'a>> {
        let packet = Packet::parse(bytes).ok()?;
        if self.is_faithful {
            // A raw socket of IPv6 wants no port.
            let to = SocketAddr::new(packet.destination, 0);
            return Some(Parcel { payload: bytes, to, manner: Manner::default() });
        }
        let datagram = udp::Datagram::parse(&packet, ZeroChecksum::Refused).ok()?;
        let class = (packet.traffic_class > 0).then_some(packet.traffic_class.into());
        let manner = Manner { ttl: Some(packet.ttl.into()), traffic_class: class, ..Manner::default() };
        Some(Parcel { payload: datagram.payload, to: datagram.destination, manner })
    }

    /// A packet that is larger than the interface's MTU, in pieces if it may be cut.
    #[cold]
    fn send_cut(&mut self, bytes: &[u8], counters: &mut Counters, bench: &mut Workbench) {
        let group = Packet::parse(bytes).map(|packet| packet.destination);
        let mut pieces = Vec::new();
        let cut = group.map_err(Errno::from).and_then(|group| {
            let mtu = self.mtu(group)?;
            bench.cut_to(bytes, mtu, |place| pieces.push(place))
        });
        if cut.is_err() || pieces.len() < 2 || !self.is_faithful {
            counters.too_big += 1;
            return;
        }
        let is_sent = pieces.iter().all(|place| {
            let Place::Made(start, end) = *place else { return false };
            self.send_one(bench.get(start, end)).is_ok()
        });
        if is_sent {
            counters.cut += 1;
            counters.out.add(bytes.len());
        } else {
            counters.failed += 1;
        }
    }

    /// Sends one whole packet, of any protocol. Only where packets leave as they are.
    pub fn send_one(&mut self, bytes: &[u8]) -> Result<()> {
        self.interface.ok_or(Errno::ENODEV)?;
        let parcel = self.parcel(bytes).ok_or(Errno::EBADMSG)?;
        let (pieces, addresses) = ([IoSlice::new(parcel.payload)], [CompactAddress::from(parcel.to)]);
        let emission = Emission { parcels: &[parcel], pieces: &pieces, addresses: &addresses };
        let sender = if parcel.to.is_ipv4() { Some(&mut self.v4) } else { self.v6.as_mut() };
        sender.ok_or(Errno::EAFNOSUPPORT)?.send(&emission, Deadline::Now, &mut 0).map(drop)
    }

    /// The interface's MTU, on the way to a group.
    fn mtu(&self, group: IpAddr) -> Result<usize> {
        let (family, option) = match group {
            IpAddr::V4(_) => (Family::V4, IntOption::IPV4_PATH_MTU),
            IpAddr::V6(_) => (Family::V6, IntOption::IPV6_PATH_MTU),
        };
        let asker = socket::udp_socket(family.domain())?;
        options::set_interface(asker.as_fd(), self.interface.ok_or(Errno::ENODEV)?)?;
        socket::connect(asker.as_fd(), &SocketAddress::from(SocketAddr::new(group, DISCARD)))?;
        usize::try_from(option.get(asker.as_fd())?).map_err(|_| Errno::EINVAL)
    }
}

fn sender(family: Family, interface: u32, is_raw: bool) -> Result<Sender<'static>> {
    let owned = open_socket(family, interface, is_raw)?;
    let options = Options { segmentation: !is_raw, zerocopy: None, bytes_per_second: 0 };
    Sender::open(owned, options)
}

fn open_socket(family: Family, interface: u32, is_raw: bool) -> Result<OwnedFd> {
    let owned = match is_raw {
        true => socket::raw_socket(family.domain(), ANY_PROTOCOL)?,
        false => socket::udp_socket(family.domain())?,
    };
    let fd = owned.as_fd();
    match family {
        // Of IPv6 such a socket has it by itself.
        Family::V4 if is_raw => IntOption::IPV4_HEADER_INCLUDED.set(fd, 1)?,
        Family::V6 if !is_raw => IntOption::IPV6_ONLY.set(fd, 1)?,
        _ => {}
    }
    if !is_raw {
        let any = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        mark::bind(fd, any)?;
    }
    set_interface(fd, family, interface, is_raw)?;
    let _ = buffer::set_send(fd, SEND_BUFFER);
    // A raw socket that sends takes nothing in: there is no such protocol on the wire.
    Ok(owned)
}

/// A raw socket of IPv6 knows nothing of IPv4.
fn set_interface(fd: BorrowedFd<'_>, family: Family, interface: u32, is_raw: bool) -> Result<()> {
    match family {
        Family::V6 if is_raw => {
            IntOption::IPV6_MULTICAST_IF.set(fd, i32::try_from(interface).map_err(|_| Errno::ENODEV)?)
        }
        _ => options::set_interface(fd, interface),
    }
}

/// Packets that leave by one socket.
struct Emission<'a> {
    parcels: &'a [Parcel<'a>],
    pieces: &'a [IoSlice<'a>],
    addresses: &'a [CompactAddress],
}

impl<'a> Emission<'a> {
    fn payload(&self, index: usize) -> Option<Gather<'a>> {
        self.pieces.get(index..index + 1).map(Gather::from)
    }
}

impl<'a> Datagrams<'a> for Emission<'a> {
    fn count(&self) -> usize {
        self.parcels.len()
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let parts = (self.addresses.get(index), self.payload(index), self.parcels.get(index));
        let (Some(to), Some(payload), Some(parcel)) = parts else { return Err(Errno::EINVAL) };
        Ok(Datagram { to: Destination::to(to), payload, manner: parcel.manner })
    }

    fn payload_beside(&self, first: usize, index: usize) -> Option<Gather<'a>> {
        let (one, other) = (self.parcels.get(first)?, self.parcels.get(index)?);
        if one.to == other.to && one.manner == other.manner { self.payload(index) } else { None }
    }
}
