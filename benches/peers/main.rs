//! `cargo bench --bench peers`: castio beside what a user would pick instead. Small programs in C and
//! C++ are built against libuv, GLib, libevent, APR and asio, and against no library at all; then all
//! of them run side by side, in turn, A B C ... C B A, and what arrived is counted.
//!
//! Writes docs/peers.md, docs/peers.svg and docs/batch.svg. `-- --short` takes less than a minute and
//! writes them into the target folder; `-- --json` prints the figures for scripts; `-- --only WORD`
//! runs the scenarios that have the word in their name, and writes nothing.

mod aims;
mod chart;
mod measure;
#[path = "../common/network.rs"]
mod network;
#[path = "../common/plot.rs"]
mod plot;
mod programs;
mod report;
mod scenarios;
#[path = "../common/statistics.rs"]
mod statistics;
#[path = "../common/usage.rs"]
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use measure::Figures;
use network::Network;
use programs::Program;
use scenarios::Scenario;

const USAGE: &str = "\
usage: cargo bench --bench peers [-- [--short] [--json] [--only WORD]]
Datagrams and gathering: castio beside libuv, GLib, libevent, APR, asio and bare system calls; about 5 minutes.
Writes docs/peers.md, docs/peers.svg and docs/batch.svg.
  --short      takes less than a minute, and writes into the target folder
  --json       prints the figures as JSON
  --only WORD  the scenarios that have the word in their name; writes nothing";

/// Rounds, and how long a program runs in one, in milliseconds.
const FULL: (usize, u32) = (11, 130);
const SHORT: (usize, u32) = (2, 40);

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOPPED.store(true, Ordering::Relaxed);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if usage::is_asked_for(USAGE) {
        return ExitCode::SUCCESS;
    }
    if !has("--bench") {
        // `cargo test --all-targets` comes here.
        println!("peers: measures only as `cargo bench --bench peers`");
        return ExitCode::SUCCESS;
    }
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let (rounds, ms) = if has("--short") { SHORT } else { FULL };
    // SAFETY: the handler does nothing but set a flag.
    unsafe { libc::signal(libc::SIGINT, stop as extern "C" fn(libc::c_int) as libc::sighandler_t) };

    // Before there is a second thread: it is this process that moves into the namespace.
    let network = Network::new();
    let programs = match programs::build() {
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("peers: {error}");
            return ExitCode::FAILURE;
        }
    };
    let scenarios: Vec<Scenario> =
        scenarios::all().into_iter().filter(|scenario| only.is_none_or(|word| scenario.name.contains(word))).collect();
    let start = Instant::now();
    let Some(figures) = run(&programs, &scenarios, &network, rounds, ms) else {
        eprintln!("\npeers: stopped; nothing is written");
        return ExitCode::from(130);
    };
    eprintln!("\r\x1b[Kmeasured in {:.0} s", start.elapsed().as_secs_f64());
    let report = report::Report { programs: &programs, scenarios: &scenarios, figures: &figures, network: &network };
    print!("{}", if has("--json") { report.json() } else { report.markdown(rounds, ms) });
    if only.is_none() {
        write(&report, rounds, ms, &folder(has("--short")));
    }
    if figures.failures().next().is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn folder(short: bool) -> PathBuf {
    if short {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers")
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
    }
}

fn write(report: &report::Report<'_>, rounds: usize, ms: u32, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("peers.md"), report.markdown(rounds, ms)).unwrap();
    std::fs::write(folder.join("peers.svg"), chart::peers(report)).unwrap();
    std::fs::write(folder.join("batch.svg"), chart::batch(report)).unwrap();
    eprintln!("written: peers.md, peers.svg, batch.svg in {}", folder.display());
}

/// Every program in every scenario, round by round; every other round backwards. `None` if stopped.
fn run(programs: &[Program], scenarios: &[Scenario], network: &Network, rounds: usize, ms: u32) -> Option<Figures> {
    let mut figures = Figures::default();
    for (number, scenario) in scenarios.iter().enumerate() {
        if let Err(reason) = scenario.is_possible(network) {
            eprintln!("\r\x1b[Kskipped: {}: {reason}", scenario.name);
            continue;
        }
        let mut order = scenario.runs(programs);
        for round in 0..rounds {
            for step in &order {
                eprint!(
                    "\r\x1b[K[{}/{}] {}, round {}/{rounds}: {}",
                    number + 1,
                    scenarios.len(),
                    scenario.name,
                    round + 1,
                    step.program.title
                );
                let _ = std::io::stderr().flush();
                if STOPPED.load(Ordering::Relaxed) {
                    return None;
                }
                let result = measure::run(step, scenario, network, ms);
                if STOPPED.load(Ordering::Relaxed) {
                    return None;
                }
                if let Err(error) = &result {
                    eprintln!("\r\x1b[K{}: {}: {error}", scenario.name, step.program.title);
                }
                figures.add(scenario.name, step.program.name, step.batch, round, result);
            }
            order.reverse();
        }
    }
    Some(figures)
}
