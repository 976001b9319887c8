//! Descriptors of every kind, and numbers that are none.

use std::fs::{File, OpenOptions};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::support::descriptors::{self, EVERY_KIND, Kind, STREAM_SOCKETS, check};

/// A number that stays closed: far above what the sweep opens.
const CLOSED: RawFd = 900;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Closed,
    /// Open with O_PATH: for most of the kernel's calls it is as good as closed.
    PathOnly,
    NoSocket,
    Stream,
    Message,
}

pub struct Animal {
    pub label: String,
    pub fd: RawFd,
    pub sort: Sort,
}

/// All of them, open until the process ends.
pub fn open() -> Vec<Animal> {
    let mut all: Vec<Animal> =
        [-1, i32::MIN, CLOSED].map(|fd| Animal { label: format!("{fd} (not open)"), fd, sort: Sort::Closed }).into();
    let mut add = |label: String, fd: OwnedFd, sort: Sort| {
        all.push(Animal { label, fd: fd.as_raw_fd(), sort });
        std::mem::forget(fd);
    };
    for kind in EVERY_KIND {
        let pair = descriptors::pair(kind);
        let sort = match kind.is_socket() {
            true if STREAM_SOCKETS.contains(&kind) => Sort::Stream,
            true => Sort::Message,
            false => Sort::NoSocket,
        };
        add(format!("{kind:?} writer"), pair.writer, sort);
        add(format!("{kind:?} reader"), pair.reader, sort);
    }
    let domains = [(libc::AF_INET, "4"), (libc::AF_INET6, "6"), (libc::AF_UNIX, " UNIX")];
    let types = [(libc::SOCK_STREAM, "stream", Sort::Stream), (libc::SOCK_DGRAM, "datagram", Sort::Message)];
    for (domain, domain_name) in domains {
        for (kind, kind_name, sort) in types {
            add(format!("unconnected {kind_name} socket{domain_name}"), socket(domain, kind), sort);
        }
    }
    add("listening TCP socket".into(), TcpListener::bind("127.0.0.1:0").unwrap().into(), Sort::Stream);
    let wildcard = UdpSocket::bind("0.0.0.0:0").unwrap();
    wildcard.set_broadcast(true).unwrap();
    add("wildcard UDP socket".into(), wildcard.into(), Sort::Message);
    let (orphan, _) = UnixStream::pair().unwrap();
    add("UNIX stream whose peer has closed".into(), orphan.into(), Sort::Stream);
    unusual(&mut add);
    let pipe = descriptors::pair(Kind::Pipe);
    drop(pipe.reader);
    add("pipe without a reader".into(), pipe.writer, Sort::NoSocket);
    let (nonblocking, peer) = UnixStream::pair().unwrap();
    nonblocking.set_nonblocking(true).unwrap();
    add("non-blocking UNIX stream".into(), nonblocking.into(), Sort::Stream);
    std::mem::forget(peer);

    add("directory".into(), File::open("/").unwrap().into(), Sort::NoSocket);
    add(
        "/dev/null".into(),
        OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into(),
        Sort::NoSocket,
    );
    let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/").unwrap();
    // SAFETY: no pointers.
    let (event, epoll) = unsafe { (libc::eventfd(0, libc::EFD_CLOEXEC), libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
    add("eventfd".into(), owned(event), Sort::NoSocket);
    add("epoll".into(), owned(epoll), Sort::NoSocket);
    add("O_PATH".into(), path.into(), Sort::PathOnly);
    all
}

/// Sockets of which few programs have one, with their domain, type and protocol.
const UNUSUAL: [(&str, [i32; 3]); 9] = [
    ("unconnected seqpacket socket", [libc::AF_UNIX, libc::SOCK_SEQPACKET, 0]),
    ("MPTCP socket", [libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP]),
    ("MPTCP socket for IPv6", [libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_MPTCP]),
    ("netlink socket", [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE]),
    ("packet socket", [libc::AF_PACKET, libc::SOCK_RAW, 0]),
    ("raw socket", [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP]),
    ("raw socket for IPv6", [libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6]),
    ("vsock stream", [libc::AF_VSOCK, libc::SOCK_STREAM, 0]),
    ("vsock datagram socket", [libc::AF_VSOCK, libc::SOCK_DGRAM, 0]),
];

fn unusual(add: &mut impl FnMut(String, OwnedFd, Sort)) {
    for kind in [Kind::Tcp4, Kind::SeqPacket, Kind::UnixDatagram, Kind::Terminal] {
        let sort = match kind {
            Kind::Tcp4 => Sort::Stream,
            _ if kind.is_socket() => Sort::Message,
            _ => Sort::NoSocket,
        };
        let pair = descriptors::pair(kind);
        // Unread bytes make TCP say it by a reset.
        descriptors::put(&pair.writer, b"unread");
        drop(pair.reader);
        add(format!("{kind:?} whose other end has closed"), pair.writer, sort);
    }
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    add("listening UNIX socket".into(), listener.into(), Sort::Stream);
    for (label, [domain, kind, protocol]) in UNUSUAL {
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
        // Some kernels have no MPTCP or no vsock, and raw sockets take a privilege.
        if fd >= 0 {
            add(label.into(), owned(fd), if kind == libc::SOCK_STREAM { Sort::Stream } else { Sort::Message });
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"text").unwrap();
    let open = |options: &mut OpenOptions| options.open(file.path()).unwrap().into();
    add("file for reading only".into(), open(OpenOptions::new().read(true)), Sort::NoSocket);
    add("file for writing only".into(), open(OpenOptions::new().write(true)), Sort::NoSocket);
    add("/dev/full".into(), OpenOptions::new().write(true).open("/dev/full").unwrap().into(), Sort::NoSocket);
}

fn socket(domain: i32, kind: i32) -> OwnedFd {
    // SAFETY: no pointers.
    owned(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, 0) })
}

fn owned(fd: RawFd) -> OwnedFd {
    check(fd);
    // SAFETY: open, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
