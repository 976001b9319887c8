//! `cargo bench --bench memberships`: what it costs to keep memberships, beside a bare loop of
//! setsockopt(2) that joins the same groups, each in a network namespace of its own: what others left
//! behind would slow the next one down. `-- --json` prints the same for scripts.

#[path = "common/usage.rs"]
mod usage;

use std::ffi::CString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use castio::multicast::manager::Manager;
use castio::multicast::manager::selector::of_text;
use castio::multicast::manager::wish::Key;
use castio::multicast::{membership, options};
use castio::sys::multicast::Target;
use castio::sys::option::IntOption;
use castio::sys::sockaddr::SocketAddress;
use castio::sys::socket;

const ROUNDS: usize = 7;
/// What one socket takes (net.ipv4.igmp_max_memberships).
const A_SOCKET: usize = 20;

fn main() {
    if usage::is_asked_for(
        "usage: cargo bench --bench memberships [-- --json]\n\
         10,000 groups kept joined, beside a bare loop of setsockopt; and what an event costs. About a minute.",
    ) {
        return;
    }
    let short = std::env::args().any(|argument| argument == "--test");
    let json = std::env::args().any(|argument| argument == "--json");
    let (rounds, groups) = if short { (1, 100) } else { (ROUNDS, 10_000) };
    if let Err(error) = enter_a_namespace(true) {
        println!("skipped: network namespaces are refused here: {error}");
        return;
    }
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..rounds {
        let figures = [join_bare(groups), join_kept(groups), event(groups, 10), event(10, 10)];
        times.iter_mut().zip(figures).for_each(|(times, figure)| times.push(figure));
    }
    let [bare, kept, among_many, among_few] = times.map(median);
    let joining = kept.as_secs_f64() / bare.as_secs_f64();
    let following = among_many.as_secs_f64() / among_few.as_secs_f64();
    if json {
        println!(
            r#"{{"groups":{groups},"bare_us":{},"castio_us":{},"ratio":{joining:.3}}}"#,
            bare.as_micros(),
            kept.as_micros()
        );
        println!(
            r#"{{"event_among":{groups},"us":{},"event_alone_us":{},"ratio":{following:.3}}}"#,
            among_many.as_micros(),
            among_few.as_micros()
        );
        return;
    }
    println!("joining {groups} groups: setsockopt {bare:.1?}, castio {kept:.1?}, ratio {joining:.2}");
    println!(
        "a carrier that returns to 10 groups: {among_many:.1?} beside {groups} others, {among_few:.1?} beside 10, \
         ratio {following:.2}"
    );
}

fn group(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xef01_0000 + number as u32)
}

fn bound_socket(port: u16) -> UdpSocket {
    let owned = socket::udp_socket(libc::AF_INET).unwrap();
    IntOption::REUSE_ADDRESS.set(owned.as_fd(), 1).unwrap();
    options::set_all(owned.as_fd(), false).unwrap();
    socket::bind(owned.as_fd(), &SocketAddress::from(std::net::SocketAddr::from(([0, 0, 0, 0], port)))).unwrap();
    UdpSocket::from(owned)
}

/// As a program would that knows the limit.
fn join_bare(groups: usize) -> Duration {
    enter_a_namespace(false).unwrap();
    let interface = index("eth0");
    let start = Instant::now();
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for number in 0..groups {
        if number % A_SOCKET == 0 {
            sockets.push(bound_socket(5000));
        }
        let target = Target { group: group(number).into(), interface };
        membership::join(sockets.last().unwrap().as_fd(), target).unwrap();
    }
    start.elapsed()
}

fn join_kept(groups: usize) -> Duration {
    enter_a_namespace(false).unwrap();
    let socket = bound_socket(5000);
    let start = Instant::now();
    let manager = kept(&socket, groups, "eth0");
    let time = start.elapsed();
    let mut live = 0;
    manager.each_status(|status| live += usize::from(status.fd.is_some()));
    assert_eq!(live, groups);
    time
}

fn kept<'s>(socket: &'s UdpSocket, groups: usize, interface: &str) -> Manager<'s> {
    let mut manager = Manager::open(socket.as_fd(), None, 1 << 20).unwrap();
    add(&mut manager, 0..groups, interface);
    manager
}

fn add(manager: &mut Manager<'_>, groups: std::ops::Range<usize>, interface: &str) {
    let interface = CString::new(interface).unwrap();
    for number in groups {
        let text = CString::new(group(number).to_string()).unwrap();
        let (group, selector) = of_text(&text, Some(&interface)).unwrap();
        manager.add(Key { group, source: None }, selector).unwrap();
    }
}

/// The time to follow the carrier of an interface with some groups, beside `others` on another one.
fn event(others: usize, groups: usize) -> Duration {
    enter_a_namespace(false).unwrap();
    let socket = bound_socket(5000);
    let mut manager = kept(&socket, others, "eth0");
    add(&mut manager, others..others + groups, "eth1");
    manager.process().unwrap();
    ip("link set peer1 down\nlink set peer1 up");
    while manager.events_mut().pop().is_some() {}
    let mut time = Duration::ZERO;
    let end = Instant::now() + Duration::from_secs(10);
    // The kernel tells of a carrier in its own time.
    while manager.events().len() < 2 * groups && Instant::now() < end {
        let start = Instant::now();
        manager.process().unwrap();
        time += start.elapsed() * u32::from(!manager.events().is_empty());
    }
    time
}

/// A namespace with two veth pairs. The first time with a user namespace, so that no privilege is needed.
fn enter_a_namespace(first: bool) -> io::Result<()> {
    // SAFETY: no memory involved.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let flags = libc::CLONE_NEWNET | if first { libc::CLONE_NEWUSER } else { 0 };
    // SAFETY: no memory involved.
    if unsafe { libc::unshare(flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if first {
        std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let pair = |n| format!("link add eth{n} type veth peer name peer{n}\nlink set eth{n} up\nlink set peer{n} up\n");
    ip(&format!("{}{}address add 10.1.0.1/24 dev eth0\naddress add 10.2.0.1/24 dev eth1", pair(0), pair(1)));
    Ok(())
}

fn index(name: &str) -> u32 {
    castio::interface::index_of(name).unwrap()
}

fn ip(commands: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip {commands}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
