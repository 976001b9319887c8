//! `cargo bench --bench tunnels`: what castio's tunnels carry, beside what a user has instead, between
//! two network namespaces; and what a relay takes to copy a stream to up to 10,000 tunnels.
//!
//! Writes docs/tunnels.md and docs/tunnels.svg. `-- --test` is short and writes them into the target
//! folder; `-- --json` prints the figures for scripts; `-- --only WORD` runs the carriers that have the
//! word in their name, or "relay", and writes nothing.
//!
//! All of it takes `apt install socat openvpn wireguard-go wireguard-tools`; what isn't there is skipped.

mod aims;
mod carriers;
mod chart;
mod ends;
mod fanout;
mod figures;
mod flow;
#[path = "../common/network.rs"]
mod network;
#[path = "../common/plot.rs"]
mod plot;
mod relay;
mod report;
#[path = "../common/statistics.rs"]
mod statistics;
mod tally;
#[path = "../common/usage.rs"]
mod usage;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use carriers::{CARRIERS, Carrier, Running};
use figures::Figures;
use network::Network;

const USAGE: &str = "\
usage: cargo bench --bench tunnels [-- [--test] [--json] [--only WORD]]
What tunnels carry, castio's and others', and what a relay takes to copy a stream; about 5 minutes.
Writes docs/tunnels.md and docs/tunnels.svg.
  --test       takes seconds, and writes into the target folder
  --json       prints the figures as JSON
  --only WORD  the carriers that have the word in their name, or \"relay\"; writes nothing";

/// Bytes of payload inside.
const SIZES: [usize; 3] = [100, 512, 1400];
/// How many packets may be under way; each carrier gets what it does best with.
const WINDOWS: [u64; 3] = [64, 256, 1024];

/// How long it takes, and how often.
struct Effort {
    rounds: usize,
    flow: Duration,
    /// To find the window.
    trial: Duration,
    trials: usize,
    relay_rounds: usize,
    stream: Duration,
}

const FULL: Effort = Effort {
    rounds: 11,
    flow: Duration::from_millis(200),
    trial: Duration::from_millis(100),
    trials: 4,
    relay_rounds: 7,
    stream: Duration::from_millis(300),
};
const SHORT: Effort = Effort {
    rounds: 1,
    flow: Duration::from_millis(60),
    trial: Duration::from_millis(30),
    trials: 1,
    relay_rounds: 1,
    stream: Duration::from_millis(60),
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--role", role)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        match role.len() {
            4 => fanout::play(role),
            _ => flow::play(role),
        }
        return ExitCode::SUCCESS;
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if usage::is_asked_for(USAGE) {
        return ExitCode::SUCCESS;
    }
    if !has("--bench") {
        // `cargo test --all-targets` comes here.
        println!("tunnels: measures only as `cargo bench --bench tunnels`");
        return ExitCode::SUCCESS;
    }
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1).map(String::as_str);
    let effort = if has("--test") { SHORT } else { FULL };
    let network = Network::new();
    if let Err(reason) = network.other_end() {
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    let before = load();
    let mut figures = Figures::default();
    if only != Some("relay") {
        carry(&effort, &network, only.unwrap_or_default(), &mut figures);
    }
    if only.is_none_or(|word| word == "relay") {
        copy(&effort, &network, &mut figures);
    }
    eprint!("\r\x1b[K");
    let (rounds, loads) = ((effort.rounds, effort.relay_rounds), (before, load()));
    let report = report::Report { figures: &figures, rounds, load: loads };
    print!("{}", if has("--json") { report.json() } else { report.markdown() });
    if only.is_none() {
        write(&report, &folder(has("--test")));
    }
    if figures.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many processes want a processor, of late.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn folder(short: bool) -> PathBuf {
    if short {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("tunnels")
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
    }
}

fn write(report: &report::Report<'_>, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tunnels.md"), report.markdown()).unwrap();
    std::fs::write(folder.join("tunnels.svg"), chart::tunnels(report)).unwrap();
    eprintln!("written: tunnels.md, tunnels.svg in {}", folder.display());
}

/// Every carrier with every size, round by round; every other round backwards.
fn carry(effort: &Effort, network: &Network, only: &str, figures: &mut Figures) {
    let mut all: Vec<(usize, &Carrier, Running)> = Vec::new();
    for (number, carrier) in CARRIERS.iter().enumerate().filter(|(_, carrier)| carrier.name.contains(only)) {
        match carrier.start(number, network) {
            Ok(running) => all.push((number, carrier, running)),
            Err(reason) => {
                eprintln!("\r\x1b[Kskipped: {}: {reason}", carrier.title);
                figures.skipped.insert(carrier.name, reason);
            }
        }
    }
    let mut order: Vec<(usize, usize)> = Vec::new();
    for size in SIZES {
        order.extend((0..all.len()).map(|at| (at, size)));
    }
    for (at, size) in &order {
        let (number, carrier, running) = &all[*at];
        eprint!("\r\x1b[Kfinding the window: {}, {size} bytes", carrier.title);
        for (_, window) in (0..effort.trials).flat_map(|trial| WINDOWS.map(|window| (trial, window))) {
            let outcome = flow::run((*number, carrier), running, network, (*size, window), effort.trial);
            figures.tried(carrier.name, *size, window, outcome);
        }
    }
    for round in 0..effort.rounds {
        for (at, size) in &order {
            let (number, carrier, running) = &all[*at];
            eprint!("\r\x1b[Kround {}/{}: {}, {size} bytes", round + 1, effort.rounds, carrier.title);
            let window = figures.window(carrier.name, *size);
            let outcome = flow::run((*number, carrier), running, network, (*size, window), effort.flow);
            figures.carried(carrier.name, *size, round, outcome);
        }
        order.reverse();
    }
}

/// A relay with ever more tunnels, round by round.
fn copy(effort: &Effort, network: &Network, figures: &mut Figures) {
    if let Err(reason) = fanout::prepare(network) {
        figures.failures.insert("relay".to_owned(), reason);
        return;
    }
    for round in 0..effort.relay_rounds {
        let mut order = fanout::TUNNELS;
        if round % 2 == 1 {
            order.reverse();
        }
        for tunnels in order {
            eprint!("\r\x1b[Kround {}/{}: relay, {tunnels} tunnels", round + 1, effort.relay_rounds);
            let run = fanout::run(network, tunnels, 1, &fanout::BURSTS, effort.stream);
            figures.copied(tunnels, run);
        }
        eprint!("\r\x1b[Kround {}/{}: relay, 10,000 groups", round + 1, effort.relay_rounds);
        figures.listed(fanout::run(network, 100, 100, &[], effort.stream));
    }
}
