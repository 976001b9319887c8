//! `cargo bench --bench ratios`: castio and the bare system call in turn, A B B A, so that both see
//! the same machine; medians of each and their ratio. `-- --json` prints the same for scripts.

mod fixtures;
#[path = "common/usage.rs"]
mod usage;

use std::time::Instant;

use fixtures::{CASES, Case};

/// Runs of each, and how many make one figure.
const ROUNDS: usize = 20_000;
const SLOW_ROUNDS: usize = 2_000;

struct Figures {
    castio_ns: u64,
    bare_ns: u64,
    /// The median of the ratios of runs that stood beside each other, in blocks.
    ratio: f64,
}

fn main() {
    if usage::is_asked_for(
        "usage: cargo bench --bench ratios [-- --json]\n\
         Each hot function and the bare system call in turn: medians, and their ratio.",
    ) {
        return;
    }
    // `cargo test --benches` only wants to know that it runs.
    let short = std::env::args().any(|argument| argument == "--test");
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("{:26} {:>10} {:>10} {:>8}", "median of each, ns", "castio", "bare", "ratio");
    }
    for (name, make) in CASES {
        let rounds = match name {
            _ if short => 10,
            _ if name.contains("1024x") || name.contains("getline") => SLOW_ROUNDS,
            _ => ROUNDS,
        };
        let Figures { castio_ns, bare_ns, ratio } = measure(&make(), rounds);
        if json {
            println!(r#"{{"case":"{name}","castio_ns":{castio_ns},"bare_ns":{bare_ns},"ratio":{ratio:.4}}}"#);
        } else {
            println!("{name:26} {castio_ns:>10} {bare_ns:>10} {ratio:>8.3}");
        }
    }
}

fn measure(case: &Case, rounds: usize) -> Figures {
    let (mut castio, mut bare) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        if round % 2 == 0 {
            castio.push(time(case, &case.castio));
            bare.push(time(case, &case.bare));
        } else {
            bare.push(time(case, &case.bare));
            castio.push(time(case, &case.castio));
        }
    }
    let block = (rounds / 20).max(1);
    let blocks = castio.chunks(block).zip(bare.chunks(block));
    let mut ratios: Vec<f64> = blocks.map(|(a, b)| median(a) as f64 / median(b) as f64).collect();
    ratios.sort_by(f64::total_cmp);
    Figures { castio_ns: median(&castio), bare_ns: median(&bare), ratio: ratios[ratios.len() / 2] }
}

fn time(case: &Case, step: &dyn Fn()) -> u64 {
    (case.prepare)();
    let start = Instant::now();
    step();
    start.elapsed().as_nanos() as u64
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
