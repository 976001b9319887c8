//! The plot as SVG: what each carrier delivers, and what a relay's copies cost.

use std::fmt::Write;

use crate::SIZES;
use crate::carriers::{CARRIERS, Carrier, Kind};
use crate::fanout::{BURSTS, TUNNELS};
use crate::plot::{AXIS, BOLD, GRID, Plot, Scale, decade_above, decade_below};
use crate::report::Report;

const CASTIO: &str = "#c0392b";
const KERNEL: &str = "#777777";
const PEER: &str = "#1f77b4";

const WIDTH: f64 = 900.0;
const BAR: f64 = 15.0;

fn colour(carrier: &Carrier) -> &'static str {
    match carrier.kind {
        Kind::Castio(_) => CASTIO,
        _ if carrier.is_peer => PEER,
        _ => KERNEL,
    }
}

pub fn tunnels(report: &Report<'_>) -> String {
    let bars = SIZES.len() as f64 * (CARRIERS.len() as f64 * BAR + 40.0);
    let mut plot = Plot::new(WIDTH, 90.0 + bars + 360.0);
    plot.title(26.0, "Thousand packets delivered in a second (longer is better)");
    let legend = [(CASTIO, "castio"), (KERNEL, "the kernel"), (PEER, "programs in user space")];
    for (at, (colour, text)) in legend.iter().enumerate() {
        let x = 20.0 + at as f64 * 130.0;
        plot.rectangle(x, 38.0, 10.0, 10.0, colour);
        plot.text(x + 14.0, 47.0, "start", 11, "", text);
    }
    delivered(&mut plot, report, 64.0);
    copies(&mut plot, report, 90.0 + bars);
    plot.finish()
}

fn delivered(plot: &mut Plot, report: &Report<'_>, top: f64) {
    let rates = |size| CARRIERS.iter().filter_map(move |one| Some((one, report.figures.flow(one.name, size)?)));
    let all = || SIZES.iter().flat_map(|size| rates(*size)).map(|(_, flow)| flow.rate / 1e3);
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(1.0, f64::max));
    if low > high {
        return;
    }
    let scale = Scale { low: decade_below(low), high: decade_above(high), from: 200.0, to: 820.0 };
    let mut y = top;
    for size in SIZES {
        y += 24.0;
        plot.text(20.0, y, "start", 12, BOLD, &format!("{size} bytes"));
        let height = rates(size).count() as f64 * BAR;
        for tick in [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0] {
            if tick > scale.low && tick < scale.high {
                plot.line((scale.at(tick), y + 4.0), (scale.at(tick), y + 8.0 + height), GRID);
                plot.text(scale.at(tick), y, "middle", 10, "", &tick.to_string());
            }
        }
        y += 8.0;
        for (carrier, flow) in rates(size) {
            let end = scale.at(flow.rate / 1e3);
            plot.text(scale.from - 6.0, y + 11.0, "end", 11, "", carrier.title);
            plot.rectangle(scale.from, y, (end - scale.from).max(1.0), BAR - 3.0, colour(carrier));
            let told = format!("{:.0}, {:.2} µs", flow.rate / 1e3, flow.cpu);
            plot.text(end + 4.0, y + 10.0, "start", 10, "", &told);
            y += BAR;
        }
        y += 8.0;
    }
}

fn copies(plot: &mut Plot, report: &Report<'_>, top: f64) {
    let title = "A relay: microseconds of processor time for a copy, by how many tunnels there are";
    plot.title(top, title);
    let points = |at: usize| -> Vec<(f64, f64)> {
        let one = |tunnels| Some((tunnels as f64, report.figures.fanout(tunnels)?.streams[at].0));
        TUNNELS.into_iter().filter_map(one).collect()
    };
    let all: Vec<f64> = (0..BURSTS.len()).flat_map(points).map(|(_, cost)| cost).collect();
    let (low, high) = (all.iter().copied().fold(1.0, f64::min), all.iter().copied().fold(1.0, f64::max));
    let (bottom, ceiling) = (top + 290.0, top + 24.0);
    let across = Scale { low: 1.0, high: 10_000.0, from: 80.0, to: 820.0 };
    let up = Scale { low: decade_below(low), high: decade_above(high), from: bottom, to: ceiling };
    for tunnels in TUNNELS {
        let x = across.at(tunnels as f64);
        plot.line((x, ceiling), (x, bottom), GRID);
        plot.text(x, bottom + 18.0, "middle", 11, "", &tunnels.to_string());
    }
    for tick in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0] {
        if tick >= up.low && tick <= up.high {
            // A million copies in a second.
            let style = if tick == 1.0 { "stroke='#555' stroke-dasharray='6 4'" } else { GRID };
            plot.line((80.0, up.at(tick)), (820.0, up.at(tick)), style);
            plot.text(72.0, up.at(tick) + 4.0, "end", 11, "", &tick.to_string());
        }
    }
    plot.text(816.0, up.at(1.0) - 5.0, "end", 11, "", "a million copies in a second of one processor");
    plot.line((80.0, bottom), (820.0, bottom), AXIS);
    plot.line((80.0, ceiling), (80.0, bottom), AXIS);
    plot.text(450.0, bottom + 40.0, "middle", 12, "", "tunnels");
    let names = ["packets that come on their own", "64 that have waited"];
    for (at, (name, colour)) in names.iter().zip([KERNEL, CASTIO]).enumerate() {
        let mut path = String::new();
        for (tunnels, cost) in points(at) {
            let (x, y) = (across.at(tunnels), up.at(cost));
            let _ = write!(path, "{x:.1},{y:.1} ");
            plot.text(x + 6.0, y - 7.0, "start", 10, &format!("style='fill:{colour}'"), &format!("{cost:.2}"));
        }
        let _ = writeln!(plot.body, "<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2.5'/>");
        if let Some((tunnels, cost)) = points(at).get(1) {
            let style = format!("{BOLD} style='fill:{colour}'");
            plot.text(across.at(*tunnels) + 40.0, up.at(*cost) - 10.0, "start", 12, &style, name);
        }
    }
}
