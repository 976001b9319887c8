//! A million datagrams of mixed sizes, in four flows of both families from host to host: each arrives
//! once, whole, and in the order of its flow, as long as the receiver keeps up.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use castio::sys::c_types::castio_datagram_view;
use support::datagrams::*;
use support::hosts;

const FLOWS: usize = 4;
const COUNT: usize = 1_000_000 / FLOWS;

/// So many datagrams of a flow may be under way: what a socket has room for by default.
const WINDOW: usize = 90;
/// And so many of them leave with one call.
const PART: usize = WINDOW / 2;

/// Flow and number.
const HEAD: usize = 12;

/// Where each flow goes: two ports of each family.
fn destination(flow: usize) -> SocketAddr {
    let ip: IpAddr = if flow < 2 { [10, 1, 0, 2].into() } else { "fd01::2".parse().unwrap() };
    (ip, 5000 + (flow % 2) as u16).into()
}

fn head(flow: usize, number: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&(flow as u32).to_be_bytes());
    head[4..].copy_from_slice(&(number as u64).to_be_bytes());
    head
}

/// What lies behind the head: runs of one size with a shorter last one, and sizes that change each time.
fn body(pattern: &[u8], number: usize) -> &[u8] {
    let len = match (number / 16 % 4, number % 16) {
        (0, 15) => 700,
        (0, _) => 1188,
        (1, _) => number * 37 % 1400,
        (2, _) => 52,
        _ => 400 + number % 2,
    };
    // Any two numbers that are near each other have other bytes.
    &pattern[number * 7 % 1009..][..len]
}

fn pattern() -> Vec<u8> {
    (0..1009 + 1460_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// How far the receiver of each flow has come.
type Progress = [AtomicUsize; FLOWS];

fn wait_for_window(progress: &Progress, flow: usize, sent: usize) {
    let start = Instant::now();
    while progress[flow].load(Ordering::Acquire) + WINDOW < sent + PART {
        assert!(start.elapsed() < PATIENCE, "flow {flow} stands at {:?} of {sent}", progress[flow]);
        thread::yield_now();
    }
}

/// Sends both flows of a family, in turns of a few.
fn send(family: usize, pattern: &[u8], sender: &Sender, sent: &mut [usize; FLOWS], progress: &Progress) {
    let flows = [family * 2, family * 2 + 1];
    flows.iter().for_each(|flow| wait_for_window(progress, *flow, sent[*flow]));
    let mut which = Vec::new();
    for turn in 0..PART * 2 {
        // Turns of 13 of them: a run of one size is cut in two now and then.
        let flow = flows[turn / 13 % 2];
        if sent[flow] < COUNT && which.iter().filter(|(of, _)| *of == flow).count() < PART {
            which.push((flow, sent[flow]));
            sent[flow] += 1;
        }
    }
    let heads: Vec<[u8; HEAD]> = which.iter().map(|(flow, number)| head(*flow, *number)).collect();
    let mut list = List::new();
    for (head, (flow, number)) in heads.iter().zip(&which) {
        list.add(&[head, body(pattern, *number)], Some(destination(*flow)));
    }
    sender.sends(&list);
}

/// Looks at a datagram; false at the end.
fn check(view: &castio_datagram_view, flow: usize, next: usize, pattern: &[u8]) -> bool {
    let payload = payload_of(view);
    if next == COUNT {
        assert_eq!(payload, b"that was all", "flow {flow}: more than was sent");
        return false;
    }
    assert!(payload.len() >= HEAD, "flow {flow}: {payload:?} instead of {next}");
    assert_eq!((view.drops, view.flags), (0, 0), "flow {flow} at {next}");
    assert_eq!(payload[..HEAD], head(flow, next), "flow {flow} at {next}");
    assert!(payload[HEAD..] == *body(pattern, next), "flow {flow} at {next}: other bytes");
    true
}

/// Takes what comes until all flows have ended.
fn receive(sockets: &[Socket], receivers: &[Receiver], pattern: &[u8], progress: &Progress) {
    let entry = |socket: &Socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut wanted: Vec<libc::pollfd> = sockets.iter().map(entry).collect();
    while wanted.iter().any(|entry| entry.fd >= 0) {
        // SAFETY: an array of so many entries; those with a negative descriptor are left out.
        let ready = unsafe { libc::poll(wanted.as_mut_ptr(), FLOWS as libc::nfds_t, PATIENCE_MS) };
        assert!(ready > 0, "nothing more has come after {progress:?}");
        for (flow, entry) in wanted.iter_mut().enumerate().filter(|(_, entry)| entry.revents != 0) {
            let mut next = progress[flow].load(Ordering::Relaxed);
            // Until it is empty: what a handle has taken and not given yet poll(2) doesn't know of.
            while let Ok(views) = receivers[flow].views(64, 0) {
                for view in &views {
                    if !check(view, flow, next, pattern) {
                        entry.fd = -1;
                        continue;
                    }
                    next += 1;
                }
                progress[flow].store(next, Ordering::Release);
            }
        }
    }
}

#[test]
fn a_million_datagrams_arrive_once_and_in_order() {
    hosts::test(|network| {
        let [one, two] = [network.host("one"), network.host("two")];
        network.link((&one, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&two, "eth0", &["10.1.0.2/24", "fd01::2/64"]));
        let receiving: Vec<Socket> = (0..FLOWS).map(|flow| two.run(|| Socket::bound(destination(flow)))).collect();
        // One of each family lets the kernel coalesce.
        let options = |flow| if flow % 2 == 0 { COALESCE } else { OPTIONS };
        let receivers: Vec<Receiver> =
            receiving.iter().enumerate().map(|(flow, socket)| Receiver::open(socket, options(flow))).collect();
        let (pattern, progress) = (pattern(), Progress::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                stay_on_one_processor();
                let sending =
                    ["10.1.0.1", "fd01::1"].map(|ip| one.run(|| Socket::bound((ip.parse::<IpAddr>().unwrap(), 0))));
                let senders = sending.each_ref().map(Sender::open);
                let mut sent = [0; FLOWS];
                while sent.iter().any(|sent| *sent < COUNT) {
                    for (family, sender) in senders.iter().enumerate() {
                        send(family, &pattern, sender, &mut sent, &progress);
                    }
                }
                (0..FLOWS).for_each(|flow| sending[flow / 2].end(destination(flow)));
            });
            receive(&receiving, &receivers, &pattern, &progress);
        });
        assert!(progress.iter().all(|progress| progress.load(Ordering::Relaxed) == COUNT));
    });
}
