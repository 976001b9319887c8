//! Handles on a socket that isn't theirs: what they set and join there, and what becomes of it when one of them is
//! closed late, twice over, in a child after fork(2), or after the socket.

mod support;

use std::ffi::c_int;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use castio::ffi::amt::castio_amt_close;
use castio::ffi::bridge::castio_bridge_close;
use castio::ffi::datagram_receive::*;
use castio::ffi::datagram_send::*;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use support::amt::{Gateway, OPTIONS as AMT, Relay};
use support::bridges::{Bridge, Wish};
use support::descriptors::in_child;
use support::face::{Form, JOIN, call, text};
use support::hosts::{self, Host, Network};
use support::memberships::OPTIONS as MEMBERSHIP;
use support::options::{self, Options, differences};
use support::pair::{Pair, joined};
use support::tunnels::{OPTIONS as TUNNEL, Tunnel};
use support::udp::{FAMILIES, Family};

/// The kinds of handle that work on the caller's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Receiver,
    Sender,
    Membership,
}

const KINDS: [Kind; 3] = [Kind::Receiver, Kind::Sender, Kind::Membership];

/// An open handle. Nothing closes it but the test.
#[derive(Clone, Copy)]
struct Handle(Kind, usize);

impl Handle {
    /// With everything that it can set and join: a group whole and another by source.
    fn open(kind: Kind, fd: RawFd, family: Family) -> Handle {
        match kind {
            Kind::Receiver => {
                let flags = CASTIO_RECEIVER_COALESCE;
                let struct_size = size_of::<castio_receiver_options>();
                let options = castio_receiver_options { struct_size, slots: 1, slot_size: 0, flags };
                let mut handle = ptr::null_mut();
                // SAFETY: options and a place.
                call(|| unsafe { castio_receiver_open(fd, &raw const options, &raw mut handle) }).unwrap();
                Handle(kind, handle as usize)
            }
            Kind::Sender => {
                let flags = CASTIO_SENDER_ZEROCOPY;
                let struct_size = size_of::<castio_sender_options>();
                let options = castio_sender_options { struct_size, bytes_per_second: 0, flags };
                let mut handle = ptr::null_mut();
                // SAFETY: options and a place.
                call(|| unsafe { castio_sender_open(fd, &raw const options, &raw mut handle) }).unwrap();
                Handle(kind, handle as usize)
            }
            Kind::Membership => {
                let (options, mut handle) = (MEMBERSHIP, ptr::null_mut());
                // SAFETY: options and a place.
                call(|| unsafe { castio_membership_open(fd, &raw const options, &raw mut handle) }).unwrap();
                let (source, interface) = (text(&family.host(1)), text("eth0"));
                for (number, source) in [(1, ptr::null()), (2, source.as_ptr())] {
                    let group = text(&family.group(number));
                    // SAFETY: a handle, and text or NULL.
                    let added =
                        call(|| unsafe { castio_membership_add(handle, group.as_ptr(), source, interface.as_ptr()) });
                    assert_eq!(added, Ok(1), "{family:?} {number}");
                }
                // SAFETY: a handle.
                call(|| unsafe { castio_membership_receive_fd(handle) }).unwrap();
                Handle(kind, handle as usize)
            }
        }
    }

    fn close(self) {
        // SAFETY: each is closed once, in a process.
        unsafe {
            match self.0 {
                Kind::Receiver => castio_receiver_close(self.1 as *mut _),
                Kind::Sender => castio_sender_close(self.1 as *mut _),
                Kind::Membership => castio_membership_close(self.1 as *mut _),
            }
        }
    }
}

/// What others feel of a socket: its options, and what is joined on the host.
fn felt(pair: &Pair, socket: &UdpSocket, family: Family) -> (Options, Vec<String>) {
    (options::options(socket), joined(&pair.host, family, "eth0"))
}

#[track_caller]
fn assert_same(what: &str, before: &(Options, Vec<String>), now: &(Options, Vec<String>)) {
    assert_eq!(differences(&before.0, &now.0), [], "{what}: options");
    assert_eq!(before.1, now.1, "{what}: groups");
}

fn socket(host: &Host, family: Family) -> UdpSocket {
    host.run(|| UdpSocket::bind((family.wildcard(), 0)).unwrap())
}

/// Puts another file in a descriptor's place.
fn replace(fd: RawFd, other: RawFd) {
    // SAFETY: both are open.
    assert_eq!(unsafe { libc::dup2(other, fd) }, fd);
}

/// Runs a story for each kind and family, on a host with a cable.
fn each(network: &Network, story: impl Fn(&Pair, Kind, Family) + Sync) {
    let pair = Pair::with_cable(network);
    for (kind, family) in KINDS.into_iter().flat_map(|kind| FAMILIES.map(|family| (kind, family))) {
        pair.host.run(|| story(&pair, kind, family));
        assert_eq!(joined(&pair.host, family, "eth0"), [""; 0], "{kind:?} {family:?}");
    }
}

#[test]
fn one_handle_leaves_everything_as_it_was() {
    hosts::test(|network| {
        each(network, |pair, kind, family| {
            let socket = socket(&pair.host, family);
            let before = felt(pair, &socket, family);
            let handle = Handle::open(kind, socket.as_raw_fd(), family);
            assert_ne!(differences(&before.0, &options::options(&socket)), []);
            handle.close();
            assert_same(&format!("{kind:?} {family:?}"), &before, &felt(pair, &socket, family));
        });
    });
}

#[test]
fn the_first_of_two_handles_takes_nothing_from_the_second() {
    hosts::test(|network| {
        each(network, |pair, kind, family| {
            let socket = socket(&pair.host, family);
            let before = felt(pair, &socket, family);
            for first in [0, 1] {
                let handles = [(); 2].map(|()| Handle::open(kind, socket.as_raw_fd(), family));
                let during = felt(pair, &socket, family);
                handles[first].close();
                assert_same(&format!("{kind:?} {family:?}, {first} is closed"), &during, &felt(pair, &socket, family));
                handles[1 - first].close();
                assert_same(&format!("{kind:?} {family:?}, both are closed"), &before, &felt(pair, &socket, family));
            }
        });
    });
}

#[test]
fn a_child_that_closes_its_copy_changes_nothing() {
    hosts::test(|network| {
        each(network, |pair, kind, family| {
            let socket = socket(&pair.host, family);
            let before = felt(pair, &socket, family);
            let handle = Handle::open(kind, socket.as_raw_fd(), family);
            let during = felt(pair, &socket, family);
            let status = in_child(|| {
                handle.close();
                0
            });
            assert_eq!(status, 0);
            assert_same(&format!("{kind:?} {family:?}, child"), &during, &felt(pair, &socket, family));
            handle.close();
            assert_same(&format!("{kind:?} {family:?}, parent"), &before, &felt(pair, &socket, family));
        });
    });
}

#[test]
fn a_handle_that_is_closed_after_its_socket_touches_nothing_else() {
    hosts::test(|network| {
        each(network, |pair, kind, family| {
            let other = socket(&pair.host, family);
            let holder = Handle::open(kind, other.as_raw_fd(), family);
            let before = felt(pair, &other, family);
            for place in ["nothing", "a file", "another socket"] {
                let socket = socket(&pair.host, family);
                let handle = Handle::open(kind, socket.as_raw_fd(), family);
                let file = File::open("/dev/null").unwrap();
                match place {
                    "a file" => replace(socket.as_raw_fd(), file.as_raw_fd()),
                    "another socket" => replace(socket.as_raw_fd(), other.as_raw_fd()),
                    _ => drop(socket.try_clone().unwrap()),
                }
                if place == "nothing" {
                    drop(socket);
                    handle.close();
                } else {
                    handle.close();
                    drop(socket);
                }
                assert_same(&format!("{kind:?} {family:?}, {place}"), &before, &felt(pair, &other, family));
            }
            holder.close();
        });
    });
}

#[test]
fn groups_that_the_caller_has_joined_himself_stay() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            pair.host.run(|| {
                let (socket, group) = (socket(&pair.host, family), family.group(7));
                Form::Text.group(JOIN, &socket, &group, Some("eth0")).unwrap();
                Handle::open(Kind::Membership, socket.as_raw_fd(), family).close();
                assert_eq!(joined(&pair.host, family, "eth0"), [group]);
            });
        }
    });
}

/// One by source is made whole by the caller, and is his from then on.
#[test]
fn a_group_that_the_caller_has_changed_stays() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            pair.host.run(|| {
                let socket = socket(&pair.host, family);
                let handle = Handle::open(Kind::Membership, socket.as_raw_fd(), family);
                let (group, interface) = (text(&family.group(2)), text("eth0"));
                let fd = socket.as_raw_fd();
                // SAFETY: text, and no sources.
                let result = call(|| unsafe {
                    castio::ffi::multicast::filter::castio_set_source_filter(
                        fd,
                        group.as_ptr(),
                        interface.as_ptr(),
                        castio::ffi::multicast::filter::CASTIO_FILTER_EXCLUDE,
                        ptr::null(),
                        0,
                    )
                });
                assert_eq!(result, Ok(0));
                handle.close();
                assert_eq!(joined(&pair.host, family, "eth0"), [family.group(2)]);
                assert_eq!(Form::Text.filter(&socket, &family.group(2), Some("eth0"), 4).unwrap().0, 0);
            });
        }
    });
}

/// Handles with sockets of their own, which a child has copies of too.
#[test]
fn a_child_that_closes_its_copy_of_a_tunnel_or_gateway_changes_nothing() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        let relay = Relay::on(&pair.neighbour, "10.1.0.1");
        let gateway = Gateway::open(&pair.host, Some("10.1.0.1"), AMT);
        gateway.join("239.1.2.3", None).unwrap();
        relay.hears(&gateway, &["IsEx 239.1.2.3"]);
        let raw = gateway.raw();
        // SAFETY: the child's copy, closed once there.
        assert_eq!(
            pair.host.run(|| in_child(|| unsafe {
                castio_amt_close(raw as *mut _);
                0
            })),
            0
        );
        // What it would say is there when it has ended.
        assert!(relay.heard().is_empty());

        let tunnel = Tunnel::open(&pair.host, TUNNEL_KIND, "10.1.0.2", "10.1.0.1", &TUNNEL);
        let wish = Wish { ingress: Some("eth0"), groups: Some("239.1.2.4"), ..Wish::default() };
        let bridge = Bridge::open(&pair.host, tunnel, &wish);
        assert_eq!(joined(&pair.host, Family::V4, "eth0"), ["239.1.2.4"]);
        let raw = bridge.raw();
        // SAFETY: the child's copy, closed once there.
        assert_eq!(
            pair.host.run(|| in_child(|| unsafe {
                castio_bridge_close(raw as *mut _);
                0
            })),
            0
        );
        assert_eq!(joined(&pair.host, Family::V4, "eth0"), ["239.1.2.4"]);
    });
}

const TUNNEL_KIND: c_int = castio::ffi::tunnel::CASTIO_TUNNEL_UDP;
