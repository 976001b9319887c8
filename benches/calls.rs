//! `cargo bench --bench calls`: each hot function, and the bare system call, by themselves.
//!
//! Every iteration is timed alone, because the other end is drained or filled in between. For
//! ratios on a machine whose speed drifts, see the benchmark `ratios`.

mod fixtures;

use divan::Bencher;
use fixtures::{CASES, Case};

fn main() {
    divan::main();
}

fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

fn case(wanted: &'static str) -> Case {
    CASES.iter().find(|(name, _)| *name == wanted).map(|(_, make)| make()).unwrap()
}

#[divan::bench(args = names(), sample_size = 1, sample_count = 5_000)]
fn castio(bencher: Bencher, name: &'static str) {
    let case = case(name);
    bencher.with_inputs(|| (case.prepare)()).bench_local_values(|()| (case.castio)());
}

#[divan::bench(args = names(), sample_size = 1, sample_count = 5_000)]
fn bare(bencher: Bencher, name: &'static str) {
    let case = case(name);
    bencher.with_inputs(|| (case.prepare)()).bench_local_values(|()| (case.bare)());
}
