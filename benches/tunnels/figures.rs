//! What all runs have shown.

use std::collections::BTreeMap;

use crate::fanout::{self, BURSTS};
use crate::flow;
use crate::statistics::median;

type Runs = BTreeMap<usize, flow::Outcome>;

#[derive(Default)]
pub struct Figures {
    /// By carrier and size; then by round.
    runs: BTreeMap<(&'static str, usize), Runs>,
    /// By carrier, size and window.
    trials: BTreeMap<(&'static str, usize, u64), Vec<f64>>,
    /// By how many tunnels there are.
    relays: BTreeMap<usize, Vec<fanout::Run>>,
    /// With 100 groups for each of 100 tunnels.
    lists: Vec<fanout::Run>,
    /// Carriers that couldn't be measured here, and why.
    pub skipped: BTreeMap<&'static str, String>,
    pub failures: BTreeMap<String, String>,
}

/// A carrier with a size.
#[derive(Clone, Copy)]
pub struct Flow {
    pub rate: f64,
    pub cpu: f64,
    pub sent: u64,
    pub lost: u64,
    pub window: u64,
}

/// A relay with so many tunnels.
pub struct Fanout {
    /// For each of [`BURSTS`]: microseconds for a copy, and copies in a second.
    pub streams: [(f64, f64); BURSTS.len()],
    pub copies: u64,
    pub arrived: u64,
    pub dropped: u64,
    pub handshakes: f64,
    pub handshake_cpu: f64,
}

impl Figures {
    pub fn tried(&mut self, name: &'static str, size: usize, window: u64, outcome: Result<flow::Outcome, String>) {
        // What fails here fails again when it counts.
        self.trials.entry((name, size, window)).or_default().push(outcome.map_or(0.0, |outcome| outcome.rate));
    }

    /// The window that most came through with.
    pub fn window(&self, name: &'static str, size: usize) -> u64 {
        let of_this = self.trials.range((name, size, 0)..=(name, size, u64::MAX));
        let best = |rates: &Vec<f64>| rates.iter().copied().fold(0.0, f64::max);
        of_this
            .max_by(|(_, one), (_, other)| best(one).total_cmp(&best(other)))
            .map_or(256, |((.., window), _)| *window)
    }

    pub fn carried(&mut self, name: &'static str, size: usize, round: usize, outcome: Result<flow::Outcome, String>) {
        match outcome {
            Ok(outcome) => drop(self.runs.entry((name, size)).or_default().insert(round, outcome)),
            Err(error) => drop(self.failures.insert(format!("{name} {size}"), error)),
        }
    }

    pub fn flow(&self, name: &'static str, size: usize) -> Option<Flow> {
        let runs = self.runs.get(&(name, size))?;
        Some(Flow {
            rate: median(runs.values().map(|run| run.rate).collect())?,
            cpu: median(runs.values().map(|run| run.cpu).collect())?,
            sent: runs.values().map(|run| run.sent).sum(),
            lost: runs.values().map(|run| run.lost).sum(),
            window: self.window(name, size),
        })
    }

    /// How many times the second one's packets the first one carries, and how many times the first one's
    /// processor time the second one takes: medians of ratios within a round.
    pub fn ratio(&self, size: usize, first: &'static str, second: &'static str) -> Option<(f64, f64)> {
        let (first, second) = (self.runs.get(&(first, size))?, self.runs.get(&(second, size))?);
        let both = || first.iter().filter_map(|(round, run)| Some((run, second.get(round)?)));
        Some((
            median(both().map(|(a, b)| a.rate / b.rate).collect())?,
            median(both().map(|(a, b)| b.cpu / a.cpu).collect())?,
        ))
    }

    pub fn copied(&mut self, tunnels: usize, run: Result<fanout::Run, String>) {
        match run {
            Ok(run) => self.relays.entry(tunnels).or_default().push(run),
            Err(error) => drop(self.failures.insert(format!("relay {tunnels}"), error)),
        }
    }

    pub fn listed(&mut self, run: Result<fanout::Run, String>) {
        match run {
            Ok(run) => self.lists.push(run),
            Err(error) => drop(self.failures.insert("relay with 10,000 groups".to_owned(), error)),
        }
    }

    pub fn fanout(&self, tunnels: usize) -> Option<Fanout> {
        let runs = self.relays.get(&tunnels)?;
        let of = |figure: &dyn Fn(&fanout::Run) -> Option<f64>| median(runs.iter().filter_map(figure).collect());
        let mut streams = [(0.0, 0.0); BURSTS.len()];
        for (at, place) in streams.iter_mut().enumerate() {
            let cpu = of(&|run| Some(run.streams.get(at)?.cpu))?;
            *place = (cpu, of(&|run| Some(run.streams.get(at)?.rate))?);
        }
        let all = || runs.iter().flat_map(|run| &run.streams);
        Some(Fanout {
            streams,
            copies: all().map(|stream| stream.copies).sum(),
            arrived: all().map(|stream| stream.arrived).sum(),
            dropped: all().map(|stream| stream.dropped).sum(),
            handshakes: of(&|run| Some(run.handshakes))?,
            handshake_cpu: of(&|run| Some(run.handshake_cpu))?,
        })
    }

    fn memory(runs: &[fanout::Run]) -> Option<f64> {
        median(runs.iter().map(|run| run.memory as f64).collect())
    }

    /// Bytes for a tunnel with one group, from the difference that 9,900 make.
    pub fn bytes_per_tunnel(&self) -> Option<f64> {
        let (many, few) = (self.relays.get(&10_000)?, self.relays.get(&100)?);
        Some((Self::memory(many)? - Self::memory(few)?) / 9_900.0)
    }

    /// Bytes for a source and group, from the difference that 9,999 make.
    pub fn bytes_per_group(&self) -> Option<f64> {
        let few = self.relays.get(&100)?;
        Some((Self::memory(&self.lists)? - Self::memory(few)?) / 9_999.0)
    }
}
