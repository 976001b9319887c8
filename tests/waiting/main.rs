//! Every function that waits, on a socket in every state that it may be in before the call: the right
//! result, in the right time, asleep, and the socket as it was.
//!
//! The functions are those of the header that take a `timeout_ms`: one that is added is in a table here,
//! or this fails.

mod calls;
mod handles;
mod states;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use castio::ffi::vectored::castio_write_all;

use calls::{CALLS, Call, For, LEN, expected};
use states::{Ends, LOW_WATER, STATES, State};
use support::declarations;
use support::descriptors::{Kind, UnixDatagram, check, fill, is_empty, set_option, state as options_of, take};
use support::face::{Outcome, call};
use support::hosts;

const SHORT_MS: c_int = 150;
const LONG_MS: c_int = 60_000;
/// For what ends by itself: far less than [`LONG_MS`], far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A call that spins for [`SHORT_MS`] takes that much of the processor; an unoptimised build that doesn't,
/// some milliseconds.
const PROCESSOR: Duration = Duration::from_millis(75);

/// What a call took: on the clock, and of the processor.
struct Took {
    clock: Duration,
    processor: Duration,
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (clock, processor) = (Instant::now(), processor_time());
    let result = work();
    (result, Took { clock: clock.elapsed(), processor: processor_time() - processor })
}

/// Of the calling thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    check(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) });
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What is wrong with a call that has nothing to do but wait.
fn faults_of_waiting(timeout_ms: c_int, result: Outcome, took: &Took) -> Option<String> {
    let errno = castio::Errno::from_raw(if timeout_ms == 0 { libc::EAGAIN } else { libc::ETIMEDOUT });
    let least = Duration::from_millis(timeout_ms as u64);
    if result != Err(errno) {
        return Some(format!("{result:?} and not {errno:?}"));
    }
    faults_of_time(least, took)
}

fn faults_of_time(least: Duration, took: &Took) -> Option<String> {
    match took {
        Took { clock, .. } if *clock < least || *clock > least + PATIENCE => Some(format!("came back after {clock:?}")),
        Took { processor, .. } if *processor > PROCESSOR => Some(format!("took {processor:?} of the processor")),
        _ => None,
    }
}

/// Reading: nothing is there. Writing: there is no room.
fn prepared(call: &Call, state: State, kind: Kind) -> (Ends, usize) {
    let mut ends = Ends::new(kind);
    let is_full_before = matches!(state, State::PendingError | State::PeerGone | State::NonBlocking);
    let fill_up = |ends: &Ends, now: bool| match call.waits_for {
        For::Room if now => fill(&ends.own),
        _ => 0,
    };
    let filled = fill_up(&ends, is_full_before);
    ends.put_into(state);
    let filled = filled + fill_up(&ends, !is_full_before);
    (ends, filled)
}

fn has_error_event(ends: &Ends) -> bool {
    let mut entry = libc::pollfd { fd: ends.own.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one entry.
    check(unsafe { libc::poll(&raw mut entry, 1, 0) });
    entry.revents & libc::POLLERR != 0
}

fn without_time_and_with_little(call: &Call, state: State, kind: Kind) -> Option<String> {
    for timeout_ms in [0, SHORT_MS] {
        let (ends, _) = prepared(call, state, kind);
        let options = options_of(&ends.own);
        let (result, took) = timed(|| (call.make)(&ends, timeout_ms));
        let fault = match expected(call, state, kind) {
            Some(outcome) if result != outcome => Some(format!("{result:?} and not {outcome:?}")),
            Some(_) => faults_of_time(Duration::ZERO, &took),
            None => faults_of_waiting(timeout_ms, result, &took),
        };
        let fault = fault.or_else(|| (options_of(&ends.own) != options).then(|| "left other options".to_owned()));
        let is_gone = state.is_on_error_queue() && !has_error_event(&ends);
        let fault = fault.or_else(|| is_gone.then(|| "took what lay on the error queue".to_owned()));
        if let Some(fault) = fault {
            return Some(format!("timeout {timeout_ms}: {fault}"));
        }
    }
    None
}

/// What is waited for comes while the call waits.
fn until_it_comes(call: &Call, state: State, kind: Kind) -> Option<String> {
    for timeout_ms in [LONG_MS, -1] {
        let (ends, filled) = prepared(call, state, kind);
        let is_over = AtomicBool::new(false);
        let (result, took) = thread::scope(|scope| {
            scope.spawn(|| {
                // So that the call sleeps by now; if not, it has less to do.
                thread::sleep(Duration::from_millis(100));
                match call.waits_for {
                    For::UrgentByte => ends.send_urgent(),
                    For::Room => drain(&ends, filled, &is_over),
                    _ if state == State::LowWater => ends.feed(&[b'd'; LOW_WATER as usize]),
                    _ => ends.feed(&[b'd'; LEN]),
                }
            });
            let result = timed(|| (call.make)(&ends, timeout_ms));
            is_over.store(true, Ordering::Relaxed);
            result
        });
        let is_well = match call.waits_for {
            For::UrgentByte => result == Ok(0),
            _ => result.is_ok_and(|count| count > 0),
        };
        if !is_well || took.clock > PATIENCE || took.processor > PROCESSOR {
            let Took { clock, processor } = took;
            return Some(format!("timeout {timeout_ms}: {result:?} after {clock:?}, {processor:?} of the processor"));
        }
    }
    None
}

/// Reads at the other end until the call is over.
fn drain(ends: &Ends, filled: usize, is_over: &AtomicBool) {
    let mut bytes = vec![0_u8; filled.max(1 << 16)];
    while !is_over.load(Ordering::Relaxed) {
        let (fd, at) = (ends.peer().as_raw_fd(), bytes.as_mut_ptr().cast());
        // SAFETY: the bytes are writable.
        if unsafe { libc::recv(fd, at, bytes.len(), libc::MSG_DONTWAIT) } < 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs a test of each cell of the table, a thread for each function and kind of socket.
fn each_cell(test: impl Fn(&Call, State, Kind) -> Option<String> + Sync) {
    let (failures, test) = (&Mutex::new(Vec::new()), &test);
    thread::scope(|scope| {
        for call in &CALLS {
            for kind in call.kinds {
                scope.spawn(move || {
                    for state in STATES.into_iter().filter(|state| state.can_be_of(*kind)) {
                        if let Some(fault) = test(call, state, *kind) {
                            failures.lock().unwrap().push(format!("{} {kind:?} {state:?}: {fault}", call.name));
                        }
                    }
                });
            }
        }
    });
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_function_that_waits_is_in_a_table() {
    let waits = |function: &declarations::Function| {
        function.parameters.iter().any(|one| one.name == "timeout_ms" && one.ctype == "int")
    };
    let declared = declarations::castio_h().functions.into_iter().filter(waits).map(|function| function.name);
    let tables = CALLS.iter().map(|call| call.name).chain(handles::NAMES);
    let (declared, tables): (BTreeSet<String>, BTreeSet<String>) =
        (declared.collect(), tables.map(Into::into).collect());
    assert_eq!(tables, declared);
}

#[test]
fn a_call_ends_in_time_asleep_and_leaves_the_socket_as_it_was() {
    hosts::test(|network| network.host("alone").run(|| each_cell(without_time_and_with_little)));
}

#[test]
fn what_comes_at_last_wakes_the_call() {
    hosts::test(|network| {
        network.host("alone").run(|| {
            each_cell(|call, state, kind| {
                let ends_before = expected(call, state, kind).is_some() || call.waits_for == For::News;
                if ends_before { None } else { until_it_comes(call, state, kind) }
            });
        });
    });
}

/// What was queued before the end is delivered first, and an empty datagram isn't the end.
#[test]
fn the_end_of_reading_comes_behind_what_is_queued() {
    for kind in [Kind::Udp4, UnixDatagram] {
        for call in CALLS.iter().filter(|call| call.waits_for == For::Data && call.kinds.contains(&kind)) {
            let mut ends = Ends::new(kind);
            ends.feed(b"queued");
            ends.put_into(State::ShutRead);
            assert!((call.make)(&ends, LONG_MS).is_ok_and(|count| count > 0), "{} {kind:?}", call.name);
            if call.name.contains("peek") {
                continue;
            }
            assert_eq!((call.make)(&ends, LONG_MS), expected(call, State::ShutRead, kind).unwrap(), "{}", call.name);
            if call.name.contains("receive") && kind == Kind::Udp4 {
                ends.feed(b"");
                assert_eq!((call.make)(&ends, LONG_MS), Ok(1), "{}: an empty datagram is one", call.name);
            }
        }
    }
}

/// The socket has room, and its destination has none: nothing on the socket tells of that, nor when it has.
#[test]
fn a_full_netlink_peer_is_waited_for_asleep() {
    let (own, peer) = netlink();
    set_option(&peer, libc::SOL_SOCKET, libc::SO_RCVBUF, 10_000);
    let bytes = [b'n'; 1_000];
    let write = |timeout_ms| {
        // SAFETY: the bytes are readable.
        call(|| unsafe {
            castio_write_all(own.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), timeout_ms, ptr::null_mut()) as i64
        })
    };
    while write(0).is_ok() {}
    for timeout_ms in [0, SHORT_MS] {
        let (result, took) = timed(|| write(timeout_ms));
        assert_eq!(faults_of_waiting(timeout_ms, result, &took), None, "timeout {timeout_ms}");
    }
    let (result, took) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            while !is_empty(&peer) {
                take(&peer, bytes.len());
            }
        });
        timed(|| write(LONG_MS))
    });
    assert_eq!((result, faults_of_time(Duration::ZERO, &took)), (Ok(1_000), None));
}

/// Two sockets for messages between programs, the first connected to the second.
fn netlink() -> (OwnedFd, OwnedFd) {
    let socket = || {
        // SAFETY: takes no pointer; then a descriptor that nobody else has.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            OwnedFd::from_raw_fd(check(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_USERSOCK)) as c_int)
        }
    };
    let (own, peer) = (socket(), socket());
    // SAFETY: all zero asks the kernel for an address; there is room for what it chose.
    unsafe {
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        let mut len = size_of_val(&address) as libc::socklen_t;
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        check(libc::bind(peer.as_raw_fd(), (&raw const address).cast(), len));
        check(libc::getsockname(peer.as_raw_fd(), (&raw mut address).cast(), &raw mut len));
        check(libc::connect(own.as_raw_fd(), (&raw const address).cast(), len));
    }
    (own, peer)
}
