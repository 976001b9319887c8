//! The functions that wait on sockets of a handle's own, and the one that waits for what was sent.

use std::ffi::c_int;
use std::net::UdpSocket;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use castio::ffi::amt_discovery::castio_amt_find_relays;
use castio::ffi::datagram_send::*;
use castio::ffi::subscribe::*;
use castio::ffi::subscription::*;
use castio::ffi::tunnel::{CASTIO_TUNNEL_UDP, castio_tunnel_fd};

use super::calls::{datagram, with_sender};
use super::{SHORT_MS, faults_of_time, faults_of_waiting, timed};
use crate::support::amt::{self, Gateway, packet};
use crate::support::bridges::{Bridge, Wish};
use crate::support::datagrams::empty_view;
use crate::support::descriptors::{buffer, pattern, set_nonblocking, set_option, wait_for};
use crate::support::face::{Outcome, call, storage};
use crate::support::hosts::{self, Host};
use crate::support::relay::{Relay, Wanted};
use crate::support::tunnels::{OPTIONS as TUNNEL, Tunnel};

pub const NAMES: [&str; 9] = [
    "castio_send_to_many",
    "castio_sender_wait",
    "castio_tunnel_send",
    "castio_tunnel_receive",
    "castio_bridge_run",
    "castio_amt_receive",
    "castio_amt_relay_run",
    "castio_amt_find_relays",
    "castio_subscription_receive",
];

/// What is on the host's network: nobody answers there.
const NOBODY: &str = "10.1.0.77";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    IcmpError,
    ShutRead,
}

/// A call that has nothing to do but wait.
fn waits(what: &str, work: impl Fn(c_int) -> Outcome) {
    for timeout_ms in [0, SHORT_MS] {
        let (result, took) = timed(|| work(timeout_ms));
        assert_eq!(faults_of_waiting(timeout_ms, result, &took), None, "{what}, timeout {timeout_ms}");
    }
}

/// A call that works for so long.
fn runs(what: &str, work: impl Fn(c_int) -> Outcome) {
    for timeout_ms in [0, SHORT_MS] {
        let (result, took) = timed(|| work(timeout_ms));
        assert_eq!(result, Ok(0), "{what}");
        let least = Duration::from_millis(timeout_ms as u64);
        assert_eq!(faults_of_time(least, &took), None, "{what}, timeout {timeout_ms}");
    }
}

#[test]
fn a_handle_waits_in_time_and_asleep() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        host.run(|| {
            what_was_sent();
            [false, true].into_iter().for_each(a_full_socket);
            [State::Plain, State::IcmpError, State::ShutRead].into_iter().for_each(|state| a_tunnel(&host, state));
            a_gateway(&host);
            a_relay(&host);
            a_subscription();
            a_search();
        });
    });
}

/// A datagram that is held until its neighbour's address is known keeps its memory.
fn what_was_sent() {
    let socket = UdpSocket::bind("10.1.0.1:0").unwrap();
    socket.connect((NOBODY, 9)).unwrap();
    let socket = OwnedFd::from(socket);
    for is_nonblocking in [false, true] {
        set_nonblocking(&socket, is_nonblocking);
        let options = castio_sender_options {
            struct_size: size_of::<castio_sender_options>(),
            bytes_per_second: 0,
            flags: CASTIO_SENDER_ZEROCOPY,
        };
        let bytes = pattern(20_000);
        let list = buffer(&bytes);
        let one = datagram(&list);
        let result = with_sender(&socket, &raw const options, |sender| {
            // SAFETY: a handle, and one datagram.
            let sent = unsafe { castio_send_datagrams(sender, &raw const one, 1, 1_000, ptr::null_mut()) };
            assert_eq!(sent, 1);
            let mut token = 0;
            // SAFETY: a handle, and a place.
            assert_eq!(unsafe { castio_sender_token(sender, &raw mut token) }, 0);
            waits("castio_sender_wait", |timeout_ms| {
                // SAFETY: a handle.
                call(|| unsafe { castio_sender_wait(sender, token, timeout_ms, ptr::null_mut()) })
            });
            0
        });
        assert_eq!(result, Ok(0));
    }
}

/// Datagrams that wait for their neighbour's address fill the socket.
fn a_full_socket(has_icmp_error: bool) {
    let socket = UdpSocket::bind("10.1.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let own = OwnedFd::from(socket.try_clone().unwrap());
    if has_icmp_error {
        set_option(&own, libc::IPPROTO_IP, libc::IP_RECVERR, 1);
        socket.send_to(b"anybody?", "10.1.0.2:9").unwrap();
        wait_for(&own, libc::POLLERR);
        assert!(socket.take_error().unwrap().is_some());
    }
    set_option(&own, libc::SOL_SOCKET, libc::SO_SNDBUF, 8_000);
    let neighbour = if has_icmp_error { "10.1.0.79" } else { "10.1.0.78" };
    while socket.send_to(&pattern(1_000), (neighbour, 9)).is_ok() {}
    let (to, _) = storage_with_port(neighbour);
    let bytes = pattern(1_000);
    let list = buffer(&bytes);
    let result = with_sender(&own, ptr::null(), |sender| {
        waits(&format!("castio_send_to_many, ICMP error: {has_icmp_error}"), |timeout_ms| {
            let done = ptr::null_mut();
            // SAFETY: a handle, a buffer and an address.
            call(|| unsafe {
                castio_send_to_many(sender, &raw const list, 1, &raw const to, 1, timeout_ms, done) as i64
            })
        });
        0
    });
    assert_eq!(result, Ok(0));
}

fn storage_with_port(ip: &str) -> (libc::sockaddr_storage, libc::socklen_t) {
    let (mut to, len) = storage(ip);
    // SAFETY: it holds an IPv4 address.
    unsafe { (*(&raw mut to).cast::<libc::sockaddr_in>()).sin_port = 9_u16.to_be() };
    (to, len)
}

/// The descriptor that a program waits on is the tunnel's only socket.
fn a_tunnel(host: &Host, state: State) {
    let tunnel = Tunnel::open(host, CASTIO_TUNNEL_UDP, "10.1.0.1:5000", "10.1.0.2:5000", &TUNNEL);
    // SAFETY: a handle; its descriptor is open for as long as it is.
    let fd = unsafe { BorrowedFd::borrow_raw(castio_tunnel_fd(tunnel.raw())) };
    let inner = packet("10.9.0.1", "239.1.2.3", 5_000, "nobody listens");
    match state {
        State::Plain => {}
        State::IcmpError => {
            let own = fd.try_clone_to_owned().unwrap();
            set_option(&own, libc::IPPROTO_IP, libc::IP_RECVERR, 1);
            tunnel.send(&[&inner]);
            wait_for(&own, libc::POLLERR);
            // News of that packet, told once.
            let _ = tunnel.try_receive(1, 0);
        }
        State::ShutRead => {
            // SAFETY: takes no pointer.
            assert_eq!(unsafe { libc::shutdown(castio_tunnel_fd(tunnel.raw()), libc::SHUT_RD) }, 0);
            for timeout_ms in [0, SHORT_MS] {
                let result = tunnel.try_receive(1, timeout_ms);
                assert_eq!(result.unwrap_err(), castio::Errno::ESHUTDOWN, "timeout {timeout_ms}");
            }
            return;
        }
    }
    waits(&format!("castio_tunnel_receive, {state:?}"), |timeout_ms| {
        tunnel.try_receive(1, timeout_ms).map(|packets| packets.len() as i64)
    });
    let wish = Wish { egress: Some("eth0"), ..Wish::default() };
    let bridge = Bridge::open(host, tunnel, &wish);
    bridge.settle();
    runs(&format!("castio_bridge_run, {state:?}"), |timeout_ms| bridge.run(timeout_ms));
    let ((sent, result), took) = timed(|| bridge.tunnel.try_send(&[&inner], SHORT_MS));
    assert!(result.is_ok() && sent == 1, "{state:?}: {result:?}");
    assert_eq!(faults_of_time(Duration::ZERO, &took), None, "castio_tunnel_send, {state:?}");
}

fn a_gateway(host: &Host) {
    let gateway = Gateway::open(host, Some(NOBODY), amt::OPTIONS);
    assert_eq!(gateway.join("239.1.2.3", None), Ok(0));
    waits("castio_amt_receive", |timeout_ms| gateway.receive(4, timeout_ms).map(|list| list.len() as i64));
}

fn a_relay(host: &Host) {
    let relay = Relay::open(host, Wanted { ports: &[5_000], upstream: Some("eth0"), ..Wanted::default() });
    runs("castio_amt_relay_run", |timeout_ms| relay.run_for(timeout_ms));
}

fn a_subscription() {
    let (mut handle, relays) = (ptr::null_mut(), c"10.1.0.77");
    let options = castio_subscribe_options {
        struct_size: size_of::<castio_subscribe_options>(),
        relays: relays.as_ptr(),
        amt: ptr::null(),
        fallback_ms: 1,
    };
    let (group, interfaces) = (c"239.1.2.3".as_ptr(), c"eth0".as_ptr());
    // SAFETY: text, options with their size, and a place.
    let opened = call(|| unsafe {
        castio_subscribe(group, 5_001, ptr::null(), interfaces, &raw const options, &raw mut handle)
    });
    assert_eq!(opened, Ok(0));
    let mut views = [empty_view(); 4];
    let at = views.as_mut_ptr();
    waits("castio_subscription_receive", |timeout_ms| {
        // SAFETY: a handle, and views.
        call(|| unsafe { castio_subscription_receive(handle, at, 4, timeout_ms) as i64 })
    });
    // SAFETY: a handle, for the last time.
    unsafe { castio_subscription_close(handle) };
}

/// Whatever name servers this machine has, they aren't reached from here.
fn a_search() {
    let mut found = [0; 100];
    let (source, at) = (c"10.1.0.1".as_ptr(), found.as_mut_ptr());
    for timeout_ms in [0, SHORT_MS] {
        // SAFETY: text, and room for so many bytes.
        let search = || call(|| unsafe { castio_amt_find_relays(source, timeout_ms, at, 100) as i64 });
        let (result, took) = timed(search);
        assert!(result.is_err());
        assert_eq!(faults_of_time(Duration::ZERO, &took), None, "castio_amt_find_relays");
    }
}
