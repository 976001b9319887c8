//! The two ends of a run, each a process of its own: a source as fast as it is let, and a receiver that
//! counts.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::Ordering::AcqRel;
use std::time::Duration;

use castio::datagram::receive::Receiver;
use castio::datagram::send::{Datagram, Datagrams, Manner, Options, Sender};
use castio::deadline::Deadline;
use castio::error::{Errno, Result};
use castio::ffi::tunnel::{self, castio_tunnel};
use castio::multicast::{membership, options};
use castio::sys::memory::Gather;
use castio::sys::mmsg::Destination;
use castio::sys::multicast::Target;
use castio::sys::option::IntOption;
use castio::sys::sockaddr::SocketAddress;
use castio::tunnel::ip::{udp, v4};
use libc::iovec;

use crate::tally::Shared;
use crate::window::Window;

pub const PORT: u16 = 7000;
/// For every program that can be told, and here.
pub const RECEIVE_BUFFER: i32 = 4 << 20;
/// How many packets a call is given.
pub const BATCH: usize = 128;
const TICK_MS: i32 = 20;

/// What an end is told on its command line.
pub struct End {
    /// What it sends and receives through.
    pub way: Way,
    /// The address that inner packets come from, and the group that they go to.
    pub source: Ipv4Addr,
    pub group: Ipv4Addr,
    /// Bytes in each packet's UDP payload.
    pub size: usize,
}

/// Sockets on a network device, or castio's tunnel from one address to the other.
pub enum Way {
    /// One datagram in a call, as most programs do.
    Single {
        device: String,
    },
    /// In trains, as far as the kernel takes them.
    Trains {
        device: String,
    },
    Castio {
        kind: i32,
        local: String,
        remote: String,
    },
}

pub fn source(end: &End, window: u64, time: Duration, shared: &Shared) {
    let payload: Vec<u8> = (0..end.size).map(|at| at as u8).collect();
    let mut window = Window::new(shared, window);
    match &end.way {
        Way::Single { device } => {
            let socket = sending_socket(device, end.source);
            let to = (end.group, PORT);
            window.run(time, 1, |_| {
                match socket.send_to(&payload, to) {
                    Ok(_) => 1,
                    // The device's queue is full.
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => 0,
                    Err(error) => panic!("sendto: {error}"),
                }
            });
        }
        Way::Trains { device } => {
            let socket = sending_socket(device, end.source);
            let sending = Options { segmentation: true, zerocopy: None, bytes_per_second: 0 };
            let mut sender = Sender::open(socket.as_fd(), sending).unwrap();
            let to = SocketAddress::from(SocketAddr::from((end.group, PORT)));
            let memory = payload.repeat(BATCH);
            let parts: Vec<[IoSlice<'_>; 1]> = memory.chunks(end.size).map(|part| [IoSlice::new(part)]).collect();
            window.run(time, BATCH as u64, |count| {
                let mut done = 0;
                match sender.send(&Load { parts: &parts[..count as usize], to: &to }, Deadline::Never, &mut done) {
                    Ok(_) | Err(Errno::ENOBUFS) => done as u64,
                    Err(error) => panic!("sending: {error:?}"),
                }
            });
        }
        Way::Castio { .. } => {
            let tunnel = end.open();
            let packet = inner_packet(end.source, end.group, &payload);
            let memory = packet.repeat(BATCH);
            let each = |part: &[u8]| iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            let packets: Vec<iovec> = memory.chunks(packet.len()).map(each).collect();
            window.run(time, BATCH as u64, |count| {
                // SAFETY: the packets stay as they are, and the tunnel is open.
                let sent = unsafe {
                    tunnel::castio_tunnel_send(tunnel, packets.as_ptr(), count as usize, -1, ptr::null_mut())
                };
                assert!(sent >= 0, "castio_tunnel_send: {sent}");
                sent as u64
            });
        }
    }
}

/// Counts what arrives until it is told that it is over.
pub fn receiver(end: &End, shared: &Shared) {
    match &end.way {
        Way::Single { device } => {
            let socket = receiving_socket(device, end.group);
            let mut place = [0; 2048];
            shared.ready.fetch_add(1, AcqRel);
            while !shared.is_over() {
                if let Ok(len) = socket.recv(&mut place) {
                    check(&place[..len], end.size);
                    shared.arrived(1, len as u64);
                }
            }
        }
        Way::Trains { device } => {
            let socket = receiving_socket(device, end.group);
            let mut receiver = Receiver::open(socket.as_fd(), 64, 1 << 16, true, false).unwrap();
            shared.ready.fetch_add(1, AcqRel);
            while !shared.is_over() {
                let (mut packets, mut bytes) = (0, 0);
                let deadline = Deadline::from_timeout_ms(TICK_MS);
                let _ = receiver.receive(1024, deadline, |view| {
                    check(view.bytes(), end.size);
                    packets += 1;
                    bytes += view.len as u64;
                });
                shared.arrived(packets, bytes);
            }
        }
        Way::Castio { .. } => {
            let tunnel = end.open();
            let mut places = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; 1024];
            shared.ready.fetch_add(1, AcqRel);
            while !shared.is_over() {
                // SAFETY: there are so many places, and the tunnel is open.
                let count =
                    unsafe { tunnel::castio_tunnel_receive(tunnel, places.as_mut_ptr(), places.len(), TICK_MS) };
                let mut bytes = 0;
                for place in places.iter().take(count.max(0) as usize) {
                    // SAFETY: it lies in the tunnel's memory until the next call.
                    let packet = unsafe { std::slice::from_raw_parts(place.iov_base.cast::<u8>(), place.iov_len) };
                    check(packet.get(v4::HEADER + udp::HEADER..).unwrap_or_default(), end.size);
                    bytes += packet.len() as u64;
                }
                shared.arrived(count.max(0) as u64, bytes);
            }
        }
    }
}

/// What arrives is what was sent: its length, and its first and last byte.
fn check(payload: &[u8], size: usize) {
    let is_right = payload.len() == size && payload.first() == Some(&0) && payload.last() == Some(&((size - 1) as u8));
    assert!(is_right, "{} bytes arrived: not what was sent", payload.len());
}

impl End {
    fn open(&self) -> *mut castio_tunnel {
        let Way::Castio { kind, local, remote } = &self.way else { panic!("no tunnel of castio's") };
        let text = |text: &str| std::ffi::CString::new(text).unwrap();
        let (local, remote) = (text(local), text(remote));
        let mut handle = ptr::null_mut();
        // SAFETY: texts that end in a NUL, and a place.
        let result =
            unsafe { tunnel::castio_tunnel_open(*kind, local.as_ptr(), remote.as_ptr(), ptr::null(), &raw mut handle) };
        assert_eq!(result, 0, "castio_tunnel_open: {}", std::io::Error::from_raw_os_error(-result));
        handle
    }
}

/// An IPv4 packet with a UDP datagram.
pub fn inner_packet(source: Ipv4Addr, group: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let ends = (SocketAddr::from((source, PORT)), SocketAddr::from((group, PORT)));
    let datagram = udp::header(ends.0, ends.1, &[payload]).unwrap();
    let header = v4::Header {
        source,
        destination: group,
        protocol: 17,
        ttl: 8,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
        router_alert: false,
        payload_len: datagram.len() + payload.len(),
    };
    [&header.build().unwrap(), &*datagram, payload].concat()
}

/// From an address that the device has, so that routes back are found.
pub fn sending_socket(device: &str, source: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    let fd = socket.as_fd();
    options::set_interface(fd, castio::interface::index_of(device).unwrap()).unwrap();
    options::set_ttl(fd, 8).unwrap();
    options::set_loop(fd, false).unwrap();
    IntOption::SEND_BUFFER.set(fd, RECEIVE_BUFFER).unwrap();
    socket
}

fn receiving_socket(device: &str, group: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddrV4::new(group, PORT)).unwrap();
    let fd = socket.as_fd();
    let interface = castio::interface::index_of(device).unwrap();
    membership::join(fd, Target { group: group.into(), interface }).unwrap();
    let set = IntOption::RECEIVE_BUFFER_FORCE.set(fd, RECEIVE_BUFFER);
    set.or_else(|_| IntOption::RECEIVE_BUFFER.set(fd, RECEIVE_BUFFER)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(TICK_MS as u64))).unwrap();
    socket
}

/// Payloads to one address.
pub struct Load<'a> {
    pub parts: &'a [[IoSlice<'a>; 1]],
    pub to: &'a SocketAddress,
}

impl<'a> Datagrams<'a> for Load<'a> {
    fn count(&self) -> usize {
        self.parts.len()
    }

    fn get(&self, index: usize) -> Result<Datagram<'a>> {
        let payload = self.payload_beside(0, index).ok_or(Errno::EINVAL)?;
        Ok(Datagram { to: Destination::of(self.to), payload, manner: Manner::default() })
    }

    fn payload_beside(&self, _: usize, index: usize) -> Option<Gather<'a>> {
        Some(Gather::from(self.parts.get(index)?.as_slice()))
    }
}
