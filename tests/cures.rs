//! What `castio_explain` says to do about an error, done: the same call then succeeds.

mod support;

use std::ffi::{CStr, c_int};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use castio::error;
use castio::ffi::broadcast::*;
use castio::ffi::explain::castio_explain;
use castio::ffi::multicast::endpoint::*;
use castio::ffi::multicast::filter::*;
use castio::ffi::multicast::membership::*;
use castio::ffi::multicast::options::*;
use libc::{EACCES, EADDRINUSE, EADDRNOTAVAIL, EMFILE, ENETUNREACH, ENODEV};
use support::datagrams::{List, Sender, Socket};
use support::descriptors::check;
use support::hosts::{self, Host, Network};

const GROUP: &CStr = c"239.1.2.3";
const SOURCE: &CStr = c"10.1.0.2";
const LINK: &CStr = c"eth0";

fn explained(code: c_int, function: &CStr) -> String {
    let mut text = [0_u8; 512];
    // SAFETY: text that ends in a NUL, and room.
    check(unsafe { castio_explain(code, function.as_ptr(), text.as_mut_ptr().cast(), text.len()) });
    CStr::from_bytes_until_nul(&text).unwrap().to_str().unwrap().to_owned()
}

/// The call fails with this error, whose explanation has these words; when they are followed it succeeds.
#[track_caller]
fn heals<T: TryInto<i64>>(function: &CStr, errno: c_int, words: &str, call: impl Fn() -> T, cure: impl FnOnce()) {
    let call = || call().try_into().ok().unwrap();
    let first = call();
    assert_eq!(error::name(first as c_int), error::name(errno), "{function:?}");
    let text = explained(errno, function);
    assert!(text.contains(words), "{text}");
    cure();
    let second = call();
    assert!(second >= 0, "after \"{text}\" {function:?} says {:?}", error::name(second as c_int));
}

fn lan(network: &Network, test: impl FnOnce(&Host) + Send) {
    let [host, _other] = network.lan();
    host.run(|| test(&host));
}

fn udp() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()
}

fn closed(fd: c_int) -> c_int {
    if fd >= 0 {
        // SAFETY: a new descriptor.
        check(unsafe { libc::close(fd) });
    }
    fd
}

#[test]
fn of_memberships() {
    hosts::test(|network| {
        lan(network, |_| {
            let socket = udp();
            let (fd, group, source, link) = (socket.as_raw_fd(), GROUP.as_ptr(), SOURCE.as_ptr(), LINK.as_ptr());
            // SAFETY, for all that follow: texts that end in a NUL.
            let join = || unsafe { castio_join_group(fd, group, link) };
            let leave = || unsafe { castio_leave_group(fd, group, link) };
            let join_source = || unsafe { castio_join_source(fd, group, source, link) };
            let block = || unsafe { castio_block_source(fd, group, source, link) };
            heals(c"leave_group", EADDRNOTAVAIL, "Join it first", leave, || _ = check(join()));
            heals(c"block_source", EADDRNOTAVAIL, "Join it first by castio_join_group", block, || _ = check(join()));
            heals(c"join_source", EADDRINUSE, "first with castio_leave_group", join_source, || _ = check(leave()));
            // Here what was wanted is so without the call.
            assert_eq!(join(), -EADDRINUSE);
            assert!(
                explained(EADDRINUSE, c"join_group").contains("castio_set_source_filter with CASTIO_FILTER_EXCLUDE")
            );
            check(unsafe { castio_set_source_filter(fd, group, link, CASTIO_FILTER_EXCLUDE, ptr::null(), 0) });
            let (mut mode, mut count) = (-1, 9);
            let (mode_at, none) = (&raw mut mode, ptr::null_mut());
            check(unsafe { castio_get_source_filter(fd, group, link, mode_at, none, 0, &raw mut count) });
            assert_eq!((mode, count), (CASTIO_FILTER_EXCLUDE, 0));
        });
    });
}

#[test]
fn of_descriptors() {
    hosts::test(|network| {
        lan(network, |_| {
            let socket = udp();
            socket.set_broadcast(true).unwrap();
            let (fd, group, link) = (socket.as_raw_fd(), GROUP.as_ptr(), LINK.as_ptr());
            // SAFETY, for all that follow: texts that end in a NUL, NULL, and places for results.
            check(unsafe { castio_join_group(fd, group, link) });
            let index = unsafe { libc::if_nametoindex(link) };
            let (null, none) = (ptr::null(), ptr::null_mut());
            let bytes = b"text".as_ptr().cast();
            at_a_full_table(c"set_multicast_interface_index", || unsafe {
                castio_set_multicast_interface_index(fd, index)
            });
            let filter = || unsafe { castio_get_source_filter(fd, group, null, &mut 0, none, 0, ptr::null_mut()) };
            at_a_full_table(c"get_source_filter", filter);
            let directed = || unsafe { castio_send_broadcast(fd, bytes, 4, 9, null, ptr::null_mut()) };
            at_a_full_table(c"send_broadcast", || directed() as c_int);
            let limited = || unsafe { castio_send_limited_broadcast(fd, bytes, 4, 9, null, ptr::null_mut()) };
            at_a_full_table(c"send_limited_broadcast", || limited() as c_int);
        });
    });
}

/// Without a descriptor left a call says so, or needs none.
#[track_caller]
fn at_a_full_table(function: &CStr, call: impl Fn() -> c_int) {
    let full = Full::new();
    let result = call();
    if result < 0 {
        assert_eq!(result, -EMFILE, "{function:?}");
        assert!(explained(result, function).contains("Close those that are done with"));
    }
    drop(full);
    let after = call();
    assert!(after >= 0, "{function:?}: {after}");
}

/// Every descriptor that this process may have is open.
struct Full(Vec<RawFd>, libc::rlimit);

impl Full {
    fn new() -> Full {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let mut opened = Vec::new();
        // SAFETY: there is room for the limits, and no other pointers.
        unsafe {
            check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before));
            let limit = libc::rlimit { rlim_cur: 100, rlim_max: before.rlim_max };
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit));
            while let fd @ 0.. = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 0) {
                opened.push(fd);
            }
        }
        Full(opened, before)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        // SAFETY: the copies are ours.
        unsafe {
            self.0.iter().for_each(|fd| _ = libc::close(*fd));
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const self.1));
        }
    }
}

#[test]
fn of_broadcasts_and_senders() {
    hosts::test(|network| {
        lan(network, |host| {
            let socket = udp();
            let (fd, link) = (socket.as_raw_fd(), LINK.as_ptr());
            let bytes = b"text".as_ptr().cast();
            // SAFETY, for all that follow: texts that end in a NUL, four bytes, NULL.
            let send = || unsafe { castio_send_broadcast(fd, bytes, 4, 9, link, ptr::null_mut()) };
            let enable = || _ = check(unsafe { castio_enable_broadcast(fd, 1) });
            heals(c"send_broadcast", EACCES, "castio_enable_broadcast(fd, 1)", send, enable);
            host.ip("link set eth0 down");
            let up = || host.ip("link set eth0 up");
            heals(c"send_broadcast", ENETUNREACH, "ip link set INTERFACE up", send, up);
            let open = || closed(unsafe { castio_open_sender(GROUP.as_ptr(), 9, ptr::null(), 1) });
            let route = || host.ip("route add 224.0.0.0/4 dev eth0");
            heals(c"open_sender", ENETUNREACH, "ip route add 224.0.0.0/4 dev INTERFACE", open, route);
        });
    });
}

#[test]
fn of_datagrams() {
    for (to, elsewhere) in [("127.0.0.1:9", "192.0.2.1"), ("[::1]:9", "2001:db8::1")] {
        let to: SocketAddr = to.parse().unwrap();
        let socket = Socket::bound((to.ip(), 0));
        let sender = Sender::open(&socket);
        let mut list = List::new();
        list.add(&[b"text"], Some(to));
        list.from(elsewhere.parse().unwrap());
        assert_eq!(sender.send(&list, 0), (Err(EADDRNOTAVAIL), 0));
        assert!(explained(EADDRNOTAVAIL, c"send_datagrams").contains("or NULL for the kernel's choice"));
        let mut list = List::new();
        list.add(&[b"text"], Some(to)).ifindex = 0x7fff_fff0;
        assert_eq!(sender.send(&list, 0), (Err(ENODEV), 0));
        assert!(explained(ENODEV, c"send_datagrams").contains("or give 0 for the routes' choice"));
        let mut list = List::new();
        list.add(&[b"text"], Some(to));
        assert_eq!(sender.send(&list, 0), (Ok(1), 1));
    }
}
