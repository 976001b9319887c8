//! One run of a relay: it comes up, gateways open their tunnels, and a stream goes to all of them.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::carriers::{namespace, run_ip};
use crate::flow::{role_process, wait_until};
use crate::network::Network;
use crate::relay::{self, GATEWAYS, SOURCE};
use crate::tally::{Shared, cpu_of};

/// To how many tunnels.
pub const TUNNELS: [usize; 5] = [1, 10, 100, 1000, 10_000];
/// Packets that come at a time: one on its own, or what waits when the relay is busy.
pub const BURSTS: [usize; 2] = [1, 64];

/// What a stream has shown.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// Microseconds of the relay's processor time for each copy.
    pub cpu: f64,
    /// Copies in one second.
    pub rate: f64,
    pub copies: u64,
    /// Copies that arrived, of those.
    pub arrived: u64,
    pub dropped: u64,
}

/// What a relay has shown.
pub struct Run {
    /// For each of [`BURSTS`].
    pub streams: Vec<Outcome>,
    /// Handshakes in one second, and microseconds of the relay's time for each.
    pub handshakes: f64,
    pub handshake_cpu: f64,
    /// The relay's memory when all tunnels were up, in bytes.
    pub memory: u64,
}

/// Gateways' addresses are at the other end.
pub fn prepare(network: &Network) -> Result<(), String> {
    run_ip(network, 0, &format!("route add {GATEWAYS} via {SOURCE}"))?;
    run_ip(network, 1, &format!("route add local {GATEWAYS} dev lo"))
}

pub fn run(network: &Network, tunnels: usize, groups: usize, bursts: &[usize], time: Duration) -> Result<Run, String> {
    let shared = Shared::new().map_err(|error| error.to_string())?;
    let start = |role: &str, end: usize, arguments: [String; 2]| {
        let [first, second] = arguments;
        role_process(&[role.to_owned(), shared.number().to_string(), first, second], namespace(network, end)?)
    };
    let relay = start("relay", 0, Default::default())?;
    let pid = relay.0.id();
    shared.count_process(pid);
    wait_until(&shared, "the relay", |shared| shared.ready.load(Acquire) >= 1)?;
    let cpu = cpu_of(pid as libc::pid_t);
    let _gateways = start("gateways", 1, [tunnels.to_string(), groups.to_string()])?;
    wait_until(&shared, "the handshake", |shared| shared.ready.load(Acquire) >= 2)?;
    let handshake_cpu = (cpu_of(pid as libc::pid_t) - cpu) as f64 / tunnels as f64 / 1e3;
    let handshakes = tunnels as f64 * 1e9 / shared.ns.load(Relaxed) as f64;
    let memory = resident(pid).ok_or("no /proc of the relay")?;
    let mut streams = Vec::new();
    for burst in bursts {
        let before = [&shared.copies, &shared.received, &shared.dropped].map(|count| count.load(Acquire));
        shared.sent.store(0, Release);
        let _stream = start("stream", 1, [burst.to_string(), time.as_millis().to_string()])?;
        wait_until(&shared, "the stream", |shared| shared.sent.load(Acquire) > 0)?;
        // What is in the gateways' socket.
        let mut seen = u64::MAX;
        while seen != shared.received.load(Acquire) {
            seen = shared.received.load(Acquire);
            std::thread::sleep(Duration::from_millis(30));
        }
        let after = [&shared.copies, &shared.received, &shared.dropped].map(|count| count.load(Acquire));
        let copies = shared.packets.load(Relaxed) as f64;
        if copies == 0.0 {
            return Err("no copies".to_owned());
        }
        streams.push(Outcome {
            cpu: shared.cpu.load(Relaxed) as f64 / copies / 1e3,
            rate: copies * 1e9 / shared.ns.load(Relaxed) as f64,
            copies: after[0] - before[0],
            arrived: after[1] - before[1],
            dropped: after[2] - before[2],
        });
    }
    shared.stop.store(1, Release);
    Ok(Run { streams, handshakes, handshake_cpu, memory })
}

/// The memory that a process has now.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

/// What the process does whose arguments `run` made.
pub fn play(arguments: &[String]) {
    let [role, fd, first, second] = arguments else { panic!("{arguments:?}") };
    let shared = Shared::inherited(fd.parse().unwrap()).unwrap();
    let number = |text: &str| text.parse::<usize>().unwrap();
    match role.as_str() {
        "relay" => relay::relay(&shared),
        "gateways" => relay::gateways(number(first), number(second), &shared),
        _ => relay::stream(number(first), Duration::from_millis(number(second) as u64), &shared),
    }
}
