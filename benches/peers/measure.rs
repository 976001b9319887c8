//! Running a program once, and the figures of all runs.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::scenarios::{Needs, Scenario, Step};
use crate::statistics::median;

/// Longer than a run takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a program printed.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub ns: u64,
    pub sent: u64,
    pub expected: u64,
    pub received: u64,
    pub bytes: u64,
}

impl Outcome {
    /// Nanoseconds for each datagram (or write) that arrived, at every receiver.
    fn cost(&self) -> f64 {
        let receivers = self.expected as f64 / self.sent as f64;
        self.ns as f64 * receivers / self.received as f64
    }

    fn parse(text: &str) -> Option<Outcome> {
        let number = |name: &str| -> Option<u64> {
            let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
            rest.split([',', '}']).next()?.trim().parse().ok()
        };
        Some(Outcome {
            ns: number("ns")?,
            sent: number("sent")?,
            expected: number("expected")?,
            received: number("received")?,
            bytes: number("bytes")?,
        })
    }
}

/// Runs a program to its end, or kills it at the deadline. Its own children die with it.
pub fn run(step: &Step<'_>, scenario: &Scenario, network: &Network, ms: u32) -> Result<Outcome, String> {
    let mut command = Command::new(step.program.path.as_ref()?);
    command.args(scenario.arguments.split(' ')).arg(format!("ms={ms}"));
    if step.batch > 0 {
        command.arg(format!("batch={}", step.batch));
    }
    if scenario.needs == Needs::VethPair {
        command.arg(format!("netns={}", network.other_end()?));
    }
    // SAFETY: one system call, between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("no output")?;
    let in_time = wait_for_end(&output);
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let (mut said, mut told) = (String::new(), String::new());
    let mut errors = child.stderr.take().ok_or("no errors")?;
    // A pipe has room for the line that there is.
    { output }.read_to_string(&mut said).map_err(|error| error.to_string())?;
    errors.read_to_string(&mut told).map_err(|error| error.to_string())?;
    if !in_time {
        return Err(format!("killed: not done after {DEADLINE:?}"));
    }
    if !status.success() {
        return Err(format!("{status}: {}", told.trim()));
    }
    let outcome = Outcome::parse(&said).ok_or_else(|| format!("printed {said:?}"))?;
    if outcome.received == 0 || outcome.ns == 0 {
        return Err("nothing arrived".to_owned());
    }
    Ok(outcome)
}

/// Waits until there is output, without waking up in between: there are few processors. The line is
/// the last thing that a program does.
fn wait_for_end(output: &impl AsRawFd) -> bool {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as libc::c_int;
        let mut wanted = libc::pollfd { fd: output.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, alive.
        match unsafe { libc::poll(&raw mut wanted, 1, left) } {
            0 => return false,
            count if count > 0 => return true,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
}

/// What a figure is about: scenario, program, batch.
type Key = (&'static str, &'static str, u32);

/// Every run's outcome, by round.
#[derive(Default)]
pub struct Figures {
    outcomes: BTreeMap<Key, BTreeMap<usize, Outcome>>,
    failures: BTreeMap<Key, String>,
}

impl Figures {
    pub fn add(
        &mut self,
        scenario: &'static str,
        program: &'static str,
        batch: u32,
        round: usize,
        result: Result<Outcome, String>,
    ) {
        let key = (scenario, program, batch);
        match result {
            Ok(outcome) => drop(self.outcomes.entry(key).or_default().insert(round, outcome)),
            Err(error) => drop(self.failures.insert(key, error)),
        }
    }

    /// The median of its cost, in nanoseconds for each datagram or write.
    pub fn cost(&self, scenario: &'static str, program: &'static str, batch: u32) -> Option<f64> {
        median(self.outcomes.get(&(scenario, program, batch))?.values().map(Outcome::cost).collect())
    }

    /// The median of how many times longer the first takes than the second, in runs of the same round.
    pub fn ratio(
        &self,
        scenario: &'static str,
        first: (&'static str, u32),
        second: (&'static str, u32),
    ) -> Option<f64> {
        let first = self.outcomes.get(&(scenario, first.0, first.1))?;
        let second = self.outcomes.get(&(scenario, second.0, second.1))?;
        let both = first.iter().filter_map(|(round, a)| Some(a.cost() / second.get(round)?.cost()));
        median(both.collect())
    }

    /// How much of what was sent didn't arrive, over all runs: datagrams sent, and lost.
    pub fn lost(&self, scenario: &'static str, program: &'static str, batch: u32) -> Option<(u64, u64)> {
        let runs = self.outcomes.get(&(scenario, program, batch))?;
        let expected: u64 = runs.values().map(|run| run.expected).sum();
        let received: u64 = runs.values().map(|run| run.received).sum();
        Some((expected, expected.saturating_sub(received)))
    }

    /// How many bytes arrived in all runs.
    pub fn bytes(&self, scenario: &'static str, program: &'static str, batch: u32) -> Option<u64> {
        Some(self.outcomes.get(&(scenario, program, batch))?.values().map(|run| run.bytes).sum())
    }

    pub fn failure(&self, scenario: &'static str, program: &'static str, batch: u32) -> Option<&str> {
        self.failures.get(&(scenario, program, batch)).map(String::as_str)
    }

    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.failures.values().map(String::as_str)
    }
}
