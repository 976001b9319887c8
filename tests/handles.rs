//! One call at a time is in a handle: what a second one gets, of another thread or of a signal handler, and
//! what becomes of a handle that is closed meanwhile.

mod support;

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering};
use std::{mem, ptr, thread};

use castio::ffi::amt::*;
use castio::ffi::amt_receive::*;
use castio::ffi::amt_relay::*;
use castio::ffi::amt_relay_info::*;
use castio::ffi::bridge::*;
use castio::ffi::datagram_receive::*;
use castio::ffi::datagram_send::*;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use castio::ffi::subscribe::*;
use castio::ffi::subscription::*;
use castio::ffi::tunnel::*;
use castio::ffi::tunnel_info::*;
use castio::sys::c_types::{castio_datagram, castio_datagram_view};
use libc::{EBUSY, iovec, sockaddr, sockaddr_in, sockaddr_storage};
use support::descriptors::{check, until};
use support::kept::for_ever;
use support::{declarations, hosts};

/// How long a call waits that is made again and again.
const SOME_MS: c_int = 200;
const GROUP: *const c_char = c"232.1.2.3".as_ptr();
const SOURCE: *const c_char = c"192.0.2.1".as_ptr();

/// A function of the header, and a call of it.
type Call<'a> = (&'static str, Box<dyn Fn() -> i64 + Sync + 'a>);

/// A struct with its size in front, and zeros.
fn sized<T>() -> T {
    // SAFETY: all of them are of integers and pointers, and begin with their size.
    unsafe {
        let mut one: T = mem::zeroed();
        (&raw mut one).cast::<usize>().write(size_of::<T>());
        one
    }
}

fn opened<H>(open: impl FnOnce(*mut *mut H) -> c_int) -> AtomicPtr<H> {
    let mut handle = ptr::null_mut();
    check(open(&raw mut handle));
    AtomicPtr::new(handle)
}

/// While `blocked` is in a handle, each of the others is refused. None changes anything if it comes between
/// two rounds.
fn refused_meanwhile(blocked: Call<'_>, others: &[Call<'_>]) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                blocked.1();
            }
        });
        for (name, call) in others.iter().chain([&blocked]) {
            until(&format!("-EBUSY from {name} during {}", blocked.0), || call() == -i64::from(EBUSY));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// `call!(function(arguments))`, made while the handle is open.
macro_rules! call {
    ($function:ident($($argument:expr),*)) => {
        // SAFETY: the handle is open, and the other arguments are what the header asks for.
        (stringify!($function), Box::new(move || unsafe { $function($($argument),*) as i64 }) as Box<dyn Fn() -> i64 + Sync>)
    };
}

/// An address of this file's own, as C has it.
fn group() -> sockaddr_storage {
    // SAFETY: all zero is an address, and there is room for one of IPv4.
    unsafe {
        let mut storage: sockaddr_storage = mem::zeroed();
        let at = (&raw mut storage).cast::<sockaddr_in>();
        (*at).sin_family = libc::AF_INET as _;
        (*at).sin_addr.s_addr = u32::from_ne_bytes([232, 1, 2, 3]);
        storage
    }
}

const ADDRESS: u32 = size_of::<sockaddr_in>() as u32;

/// Every function that takes a handle, by what the call waits in that is in it meanwhile.
fn table() -> Vec<(Call<'static>, Vec<Call<'static>>)> {
    let at = |address: sockaddr_storage| for_ever(address) as *const sockaddr_storage as usize;
    let group = at(group());
    let group_at = move || group as *const sockaddr;
    let mut all = Vec::new();

    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    while one.send(b"full").is_ok() {}
    let (one, _) = (for_ever(one), for_ever(other));
    // SAFETY: a descriptor that stays open, and a place.
    let sender = opened(|out| unsafe { castio_sender_open(one.as_raw_fd(), ptr::null(), out) });
    let sender = for_ever(sender);
    let get = || sender.load(Ordering::Relaxed);
    let datagram = || {
        let text = iovec { iov_base: c"text".as_ptr().cast_mut().cast(), iov_len: 4 };
        castio_datagram { iov: for_ever(text), iovcnt: 1, ..sized() }
    };
    all.push((
        call!(castio_send_datagrams(get(), &datagram(), 1, SOME_MS, ptr::null_mut())),
        vec![
            call!(castio_send_to_many(get(), ptr::null(), 0, ptr::null(), 0, 0, ptr::null_mut())),
            call!(castio_sender_token(get(), &mut 0)),
            call!(castio_sender_wait(get(), 0, 0, ptr::null_mut())),
        ],
    ));

    let socket = for_ever(UdpSocket::bind("127.0.0.1:0").unwrap());
    // SAFETY: likewise.
    let receiver = opened(|out| unsafe { castio_receiver_open(socket.as_raw_fd(), ptr::null(), out) });
    let receiver = for_ever(receiver);
    let get = || receiver.load(Ordering::Relaxed);
    all.push((
        call!(castio_receive_datagrams(get(), &mut sized(), 1, SOME_MS)),
        vec![call!(castio_receive_copies(get(), ptr::null(), ptr::null_mut::<castio_datagram_view>(), 0, 0))],
    ));

    let socket = for_ever(UdpSocket::bind("0.0.0.0:0").unwrap());
    // SAFETY: likewise.
    let membership = opened(|out| unsafe { castio_membership_open(socket.as_raw_fd(), ptr::null(), out) });
    let membership = for_ever(membership);
    let get = || membership.load(Ordering::Relaxed);
    all.push((
        call!(castio_membership_wait(get(), SOME_MS)),
        vec![
            call!(castio_membership_add(get(), GROUP, ptr::null(), c"nowhere".as_ptr())),
            call!(castio_membership_add_addr(get(), group_at(), ADDRESS, ptr::null(), 0, 77)),
            call!(castio_membership_remove(get(), GROUP, ptr::null(), c"nowhere".as_ptr())),
            call!(castio_membership_remove_addr(get(), group_at(), ADDRESS, ptr::null(), 0, 77)),
            call!(castio_membership_fd(get())),
            call!(castio_membership_timeout_ms(get(), &mut 0)),
            call!(castio_membership_process(get())),
            call!(castio_membership_events(get(), ptr::null_mut(), 0)),
            call!(castio_membership_list(get(), ptr::null_mut(), 0)),
            call!(castio_membership_sockets(get(), ptr::null_mut(), 0)),
            call!(castio_membership_receive_fd(get())),
            call!(castio_membership_receive(get(), ptr::null_mut(), 0, 0)),
        ],
    ));

    let tunnel = || {
        let (local, remote) = (c"127.0.0.1:2101".as_ptr(), c"127.0.0.1:2102".as_ptr());
        // SAFETY: texts, and a place.
        opened(|out| unsafe { castio_tunnel_open(CASTIO_TUNNEL_UDP, local, remote, ptr::null(), out) })
    };
    let tunnel = for_ever(tunnel());
    let get = || tunnel.load(Ordering::Relaxed);
    let options = || castio_bridge_options { egress: c"lo".as_ptr(), ..sized() };
    let of_tunnel = || {
        vec![
            call!(castio_tunnel_receive(get(), &mut mem::zeroed(), 1, SOME_MS)),
            call!(castio_tunnel_send(get(), ptr::null(), 0, 0, ptr::null_mut())),
            call!(castio_tunnel_fd(get())),
            call!(castio_tunnel_info(get(), &mut sized())),
        ]
    };
    let mut others = of_tunnel();
    let blocked = others.remove(0);
    others.push(call!(castio_bridge_open(get(), &options(), &mut ptr::null_mut())));
    all.push((blocked, others));

    // SAFETY: an open tunnel, options, and a place.
    let bridge = opened(|out| unsafe { castio_bridge_open(get(), &options(), out) });
    let bridge = for_ever(bridge);
    let get = || bridge.load(Ordering::Relaxed);
    let of_bridge = vec![
        call!(castio_bridge_fd(get())),
        call!(castio_bridge_timeout_ms(get(), &mut 0)),
        call!(castio_bridge_process(get())),
        call!(castio_bridge_info(get(), &mut sized())),
    ];
    // And whatever is in the tunnel of a bridge is in the way of both.
    all.push((call!(castio_bridge_run(get(), SOME_MS)), of_bridge.into_iter().chain(of_tunnel()).collect()));

    // SAFETY: text, and a place.
    let amt = opened(|out| unsafe { castio_amt_open(c"127.0.0.1".as_ptr(), ptr::null(), out) });
    let amt = for_ever(amt);
    let get = || amt.load(Ordering::Relaxed);
    all.push((
        call!(castio_amt_receive(get(), &mut sized(), 1, SOME_MS)),
        vec![
            call!(castio_amt_join(get(), GROUP, SOURCE)),
            call!(castio_amt_leave(get(), GROUP, SOURCE)),
            call!(castio_amt_join_addr(get(), group_at(), ADDRESS, ptr::null(), 0)),
            call!(castio_amt_leave_addr(get(), group_at(), ADDRESS, ptr::null(), 0)),
            call!(castio_amt_set_source_filter(get(), GROUP, 0, ptr::null(), 0)),
            call!(castio_amt_set_source_filter_addr(get(), group_at(), ADDRESS, 0, ptr::null(), 0)),
            call!(castio_amt_fd(get())),
            call!(castio_amt_timeout_ms(get(), &mut 0)),
            call!(castio_amt_process(get())),
            call!(castio_amt_info(get(), &mut sized())),
        ],
    ));

    let options = castio_amt_relay_options { listen: c"127.0.0.1".as_ptr(), ..sized() };
    // SAFETY: options, and a place.
    let relay = opened(|out| unsafe { castio_amt_relay_open(&raw const options, out) });
    let relay = for_ever(relay);
    let get = || relay.load(Ordering::Relaxed);
    all.push((
        call!(castio_amt_relay_run(get(), SOME_MS)),
        vec![
            call!(castio_amt_relay_fd(get())),
            call!(castio_amt_relay_timeout_ms(get(), &mut 0)),
            call!(castio_amt_relay_process(get())),
            call!(castio_amt_relay_info(get(), &mut sized())),
            call!(castio_amt_relay_json(get(), ptr::null_mut(), 0)),
        ],
    ));

    let options = castio_subscribe_options { relays: c"127.0.0.1".as_ptr(), ..sized() };
    // SAFETY: texts, options, and a place.
    let subscription =
        opened(|out| unsafe { castio_subscribe(GROUP, 5000, SOURCE, c"lo".as_ptr(), &raw const options, out) });
    let subscription = for_ever(subscription);
    let get = || subscription.load(Ordering::Relaxed);
    all.push((
        call!(castio_subscription_receive(get(), &mut sized(), 1, SOME_MS)),
        vec![
            call!(castio_subscription_fd(get())),
            call!(castio_subscription_timeout_ms(get(), &mut 0)),
            call!(castio_subscription_process(get())),
            call!(castio_subscription_info(get(), &mut sized())),
        ],
    ));
    all
}

/// The functions of the header that take a handle and may fail.
fn with_handles() -> BTreeSet<String> {
    let functions = declarations::castio_h().functions.into_iter();
    let opaque = ["sender", "receiver", "membership", "tunnel", "bridge", "amt", "amt_relay", "subscription"];
    let is_handle = |text: &str| opaque.iter().any(|kind| text.starts_with(&format!("struct castio_{kind} *")));
    let all = functions.filter(|function| function.parameters.first().is_some_and(|first| is_handle(&first.ctype)));
    all.map(|function| function.name).filter(|name| !name.ends_with("_close")).collect()
}

#[test]
fn a_second_call_is_refused_at_once_whatever_it_is() {
    hosts::test(|network| {
        let host = network.host("one");
        host.ip("link set lo multicast on\nroute add 224.0.0.0/4 dev lo");
        host.run(|| {
            let mut tried = BTreeSet::new();
            for (blocked, others) in table() {
                tried.extend(others.iter().chain([&blocked]).map(|(name, _)| name.to_string()));
                refused_meanwhile(blocked, &others);
            }
            assert_eq!(tried, with_handles());
        });
    });
}

/// A receiver on a UDP socket, and who sends there.
fn receiver() -> (UdpSocket, UdpSocket, &'static AtomicPtr<castio_receiver>) {
    let (socket, from) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    from.connect(socket.local_addr().unwrap()).unwrap();
    // SAFETY: an open descriptor, and a place.
    let handle = opened(|out| unsafe { castio_receiver_open(socket.as_raw_fd(), ptr::null(), out) });
    (socket, from, for_ever(handle))
}

fn receive(handle: *mut castio_receiver, timeout_ms: c_int) -> i64 {
    let mut view: castio_datagram_view = sized();
    // SAFETY: an open handle, and one view.
    unsafe { castio_receive_datagrams(handle, &raw mut view, 1, timeout_ms) as i64 }
}

#[test]
fn a_refused_call_writes_no_view_and_the_first_ones_views_stay() {
    let (_socket, from, handle) = receiver();
    let get = || handle.load(Ordering::Relaxed);
    from.send(b"first").unwrap();
    let mut view: castio_datagram_view = sized();
    // SAFETY: an open handle, and one view.
    assert_eq!(unsafe { castio_receive_copies(get(), &iovec_of(&mut [0; 8]), &raw mut view, 1, 30_000) }, 1);
    let waits = thread::spawn(move || receive(get(), 30_000));
    let mut other: castio_datagram_view = sized();
    until("a call is in the handle", || {
        // SAFETY: likewise.
        unsafe { castio_receive_datagrams(get(), &raw mut other, 1, 0) == -(EBUSY as isize) }
    });
    assert!(other.data.is_null() && other.len == 0 && other.from.is_null());
    from.send(b"second").unwrap();
    assert_eq!(waits.join().unwrap(), 1);
    // SAFETY: opened above, and no call is in it.
    unsafe { castio_receiver_close(get()) };
}

fn iovec_of(bytes: &mut [u8]) -> iovec {
    iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

static HANDLE: AtomicPtr<castio_receiver> = AtomicPtr::new(ptr::null_mut());
static IN_HANDLER: AtomicI64 = AtomicI64::new(0);

extern "C" fn handler(_: c_int) {
    IN_HANDLER.store(receive(HANDLE.load(Ordering::Relaxed), -1), Ordering::Relaxed);
}

#[test]
fn a_signal_handler_that_calls_the_same_handle_is_refused_and_the_call_goes_on() {
    let (_socket, from, handle) = receiver();
    HANDLE.store(handle.load(Ordering::Relaxed), Ordering::Relaxed);
    // SAFETY: the handler calls one function and stores a number.
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    let waits = thread::spawn(|| receive(HANDLE.load(Ordering::Relaxed), 30_000));
    until("a call is in the handle", || receive(HANDLE.load(Ordering::Relaxed), 0) == -i64::from(EBUSY));
    // SAFETY: the thread runs until it is joined.
    check(unsafe { libc::pthread_kill(waits.as_pthread_t(), libc::SIGUSR1) });
    until("the handler has called", || IN_HANDLER.load(Ordering::Relaxed) != 0);
    assert_eq!(IN_HANDLER.load(Ordering::Relaxed), -i64::from(EBUSY));
    from.send(b"text").unwrap();
    assert_eq!(waits.join().unwrap(), 1);
    // SAFETY: opened above, and no call is in it.
    unsafe { castio_receiver_close(HANDLE.load(Ordering::Relaxed)) };
}

#[test]
fn a_handle_that_is_closed_during_a_call_goes_when_that_returns() {
    let (socket, from, handle) = receiver();
    let get = || handle.load(Ordering::Relaxed);
    let tells = || {
        let (mut on, mut len): (c_int, _) = (0, 4);
        let at = (&raw mut on).cast();
        // SAFETY: room for an int.
        check(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, at, &raw mut len) });
        on
    };
    let waits = thread::spawn(move || receive(get(), 30_000));
    until("a call is in the handle", || receive(get(), 0) == -i64::from(EBUSY));
    // SAFETY: opened above; only the call that is in it goes on.
    unsafe { castio_receiver_close(get()) };
    assert_eq!(tells(), 1, "the call still has it");
    from.send(b"text").unwrap();
    assert_eq!((waits.join().unwrap(), tells()), (1, 0), "the options are put back");
}
