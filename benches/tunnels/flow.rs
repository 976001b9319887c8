//! One run: a source at one end, a receiver at the other, a carrier in between.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::carriers::{self, Carrier, Kind, Running};
use crate::ends::{End, Way, receiver, source};
use crate::network::Network;
use crate::tally::Shared;

const DEADLINE: Duration = Duration::from_secs(20);

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Packets that arrived, in one second.
    pub rate: f64,
    /// Microseconds of processor time for each, of all processes.
    pub cpu: f64,
    pub sent: u64,
    pub lost: u64,
}

/// Runs it once with so many packets under way at most.
pub fn run(
    (number, carrier): (usize, &Carrier),
    running: &Running,
    network: &Network,
    (size, window): (usize, u64),
    time: Duration,
) -> Result<Outcome, String> {
    let shared = Shared::new().map_err(|error| error.to_string())?;
    for child in &running.processes {
        shared.count_process(child.id());
    }
    let start = |role: &str, end: usize| {
        let way = match carrier.kind {
            Kind::Castio(kind) => {
                let port = |address: String| match kind {
                    castio::ffi::tunnel::CASTIO_TUNNEL_UDP | castio::ffi::tunnel::CASTIO_TUNNEL_GRE_UDP => {
                        format!("{address}:4{number:03}")
                    }
                    _ => address,
                };
                let (own, other) = (carriers::outer(number, end), carriers::outer(number, 1 - end));
                format!("castio:{kind}:{}:{}", port(own).replace(':', "/"), port(other).replace(':', "/"))
            }
            Kind::Plain | Kind::Vxlan => format!("single:{}", running.devices[end]),
            _ => format!("trains:{}", running.devices[end]),
        };
        let arguments = [
            role.to_owned(),
            shared.number().to_string(),
            way,
            carriers::inner(number, 0),
            format!("239.77.0.{}", number + 1),
            size.to_string(),
            window.to_string(),
            time.as_millis().to_string(),
        ];
        role_process(&arguments, carriers::namespace(network, end)?)
    };
    let receiver = start("receiver", 1)?;
    shared.count_process(receiver.0.id());
    wait_until(&shared, "the receiver", |shared| shared.ready.load(Relaxed) > 0)?;
    let source = start("source", 0)?;
    shared.count_process(source.0.id());
    wait_until(&shared, "the source", |shared| shared.is_over())?;
    for mut child in [source, receiver] {
        let status = child.0.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{}: {status}", carrier.title));
        }
    }
    let packets = shared.packets.load(Relaxed) as f64;
    if packets == 0.0 {
        return Err("nothing arrived".to_owned());
    }
    Ok(Outcome {
        rate: packets * 1e9 / shared.ns.load(Relaxed) as f64,
        cpu: shared.cpu.load(Relaxed) as f64 / packets / 1e3,
        sent: shared.sent.load(Relaxed),
        lost: shared.lost.load(Relaxed),
    })
}

/// A process that ends with what holds it.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program again, in another role.
pub fn role_process(arguments: &[String], namespace: Option<&str>) -> Result<Process, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.arg("--role").args(arguments).stdin(Stdio::null());
    let mut command = carriers::in_namespace(command, namespace)?;
    command.spawn().map(Process).map_err(|error| error.to_string())
}

pub fn wait_until(shared: &Shared, whom: &str, is_so: impl Fn(&Shared) -> bool) -> Result<(), String> {
    let until = Instant::now() + DEADLINE;
    while !is_so(shared) {
        if Instant::now() > until {
            return Err(format!("{whom} isn't done after {DEADLINE:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What the process does whose arguments `run` made.
pub fn play(arguments: &[String]) {
    let [role, fd, way, from, group, size, window, ms] = arguments else { panic!("{arguments:?}") };
    let shared = Shared::inherited(fd.parse().unwrap()).unwrap();
    let way = match way.split(':').collect::<Vec<_>>()[..] {
        ["single", device] => Way::Single { device: device.to_owned() },
        ["trains", device] => Way::Trains { device: device.to_owned() },
        ["castio", kind, local, remote] => Way::Castio {
            kind: kind.parse().unwrap(),
            local: local.replace('/', ":"),
            remote: remote.replace('/', ":"),
        },
        _ => panic!("{way}"),
    };
    let end = End { way, source: from.parse().unwrap(), group: group.parse().unwrap(), size: size.parse().unwrap() };
    let time = Duration::from_millis(ms.parse().unwrap());
    match role.as_str() {
        "source" => source(&end, window.parse().unwrap(), time, &shared),
        _ => receiver(&end, &shared),
    }
}
