//! What castio is held to, and whether these figures show it.

use crate::report::Report;

/// An aim, what was measured, and whether that meets it. `None` where it couldn't be measured.
pub struct Aim {
    pub text: &'static str,
    pub measured: Option<String>,
    pub met: bool,
}

const CASTIO: (&str, u32) = ("castio", 0);

pub fn all(report: &Report<'_>) -> Vec<Aim> {
    let times = |scenario, program, least: f64, text| {
        let ratio = report.figures.ratio(scenario, (program, 0), CASTIO);
        at_least(text, ratio, least)
    };
    vec![
        times("loopback 1200", "sendto", 20.0, "end to end at 1,200 bytes on loopback: at least 20 times sendto"),
        times("veth 1200", "sendto", 8.0, "end to end at 1,200 bytes on a veth pair: at least 8 times sendto"),
        nothing_lost(report, "loopback 1200", "nothing lost in it on loopback"),
        nothing_lost(report, "veth 1200", "nothing lost in it on the veth pair"),
        at_least("at least 5 times the best peer library, on loopback", best_peer(report, "loopback 1200"), 5.0),
        at_least("at least 5 times the best peer library, on the veth pair", best_peer(report, "veth 1200"), 5.0),
        close_to(report, "send 1200", CASTIO, ("segment", 0), 1.03, "send: within 3 % of the bare UDP_SEGMENT loop"),
        close_to(report, "loopback 1200", CASTIO, ("segment", 0), 1.03, "end to end on loopback: within 3 % of it"),
        close_to(report, "veth 1200", CASTIO, ("segment", 0), 1.03, "end to end on the veth pair: within 3 % of it"),
        close_to(report, "batch", ("castio", 1), ("sendto", 1), 1.05, "a batch of one: within 5 % of sendto"),
    ]
}

fn at_least(text: &'static str, ratio: Option<f64>, least: f64) -> Aim {
    Aim {
        text,
        measured: ratio.map(|ratio| format!("{ratio:.1} times")),
        met: ratio.is_some_and(|ratio| ratio >= least),
    }
}

/// How many times the cheapest of the peers' cost is castio's.
fn best_peer(report: &Report<'_>, scenario: &'static str) -> Option<f64> {
    let peers = report.programs.iter().filter(|program| program.is_peer);
    peers.filter_map(|peer| report.figures.ratio(scenario, (peer.name, 0), CASTIO)).min_by(f64::total_cmp)
}

fn nothing_lost(report: &Report<'_>, scenario: &'static str, text: &'static str) -> Aim {
    let counts = report.figures.lost(scenario, CASTIO.0, CASTIO.1);
    let measured = counts.map(|(sent, lost)| format!("{lost} of {sent} lost"));
    Aim { text, measured, met: counts.is_some_and(|(_, lost)| lost == 0) }
}

fn close_to(
    report: &Report<'_>,
    scenario: &'static str,
    first: (&'static str, u32),
    second: (&'static str, u32),
    most: f64,
    text: &'static str,
) -> Aim {
    let ratio = report.figures.ratio(scenario, first, second);
    let measured = ratio.map(|ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0));
    Aim { text, measured, met: ratio.is_some_and(|ratio| ratio <= most) }
}
