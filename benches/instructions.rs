//! `cargo bench --bench instructions`: how many instructions of user space one call takes, counted by
//! callgrind (valgrind), which gives the same number every time. Kernel time isn't in it.
//!
//! The benchmark runs itself under callgrind, once for each function, with counting switched on
//! while that function runs. Fails when a count is over its aim.

#[allow(dead_code, reason = "counts what castio does, not what the bare call does")]
mod fixtures;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use fixtures::{CASES, Case};

/// The case to run, the function to count, calls of it in one run of the case, and the most
/// instructions that a call may take (0: told, not judged). Some 70 of each are pthread_setcancelstate(3),
/// twice, and the frame in which panics are caught.
const COUNTS: [(&str, &str, u64, u64); 7] = [
    ("writev_all 16x64", "castio_writev_all", 1, 250),
    ("writev_all 1024x64", "castio_writev_all", 1, 0),
    ("readv_all 16x64", "castio_readv_all", 1, 0),
    ("peek_available 40", "castio_peek_available", 1, 120),
    ("peek_available 4000", "castio_peek_available", 1, 0),
    ("send_nowait 64", "castio_send_nowait", 1, 140),
    ("join_group + leave_group", "castio_join_group_addr", 1, 0),
];

const RUNS: u64 = 100;

fn main() -> ExitCode {
    if let Ok(name) = std::env::var("CASTIO_COUNTED_CASE") {
        run(&name);
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("instructions: valgrind isn't installed; apt install valgrind");
        return ExitCode::from(77);
    }
    println!("{:26} {:24} {:>14} {:>8}", "case", "function", "instructions", "aim");
    let mut met = true;
    for (case, function, calls, aim) in COUNTS {
        let count = count(case, function) / RUNS / calls;
        let judged = if aim > 0 { format!("<= {aim}") } else { String::new() };
        println!("{case:26} {function:24} {count:>14} {judged:>8}");
        met &= aim == 0 || count <= aim;
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(name: &str) {
    let (_, make) = CASES.into_iter().find(|(case, _)| *case == name).unwrap();
    let Case { prepare, castio, .. } = make();
    for _ in 0..RUNS {
        prepare();
        castio();
    }
}

/// What callgrind collects while the function runs.
fn count(case: &str, function: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={function}"))
        .arg(std::env::current_exe().unwrap())
        .env("CASTIO_COUNTED_CASE", case)
        // Binding symbols at the first call would be counted too.
        .env("LD_BIND_NOW", "1")
        .arg0("valgrind")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count: {said}"))
}
