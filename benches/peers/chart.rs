//! Plots as SVG: what each program takes beside castio, and the cost of a datagram by the batch.

use std::fmt::Write;

use crate::plot::{AXIS, GRID, Plot, Scale, decade_above, decade_below};
use crate::report::Report;
use crate::scenarios::{GROUPS, Scenario};

const CASTIO: &str = "#c0392b";

/// One colour for each program, in their order.
const COLOURS: [&str; 9] =
    [CASTIO, "#555555", "#888888", "#bbbbbb", "#1f77b4", "#2ca02c", "#9467bd", "#e6a117", "#17a2b8"];

/// Bars: how many times castio's time each takes.
pub fn peers(report: &Report<'_>) -> String {
    const BAR: f64 = 11.0;
    const LEFT: f64 = 250.0;
    const RIGHT: f64 = 830.0;
    let shown: Vec<(&str, Vec<&Scenario>)> =
        GROUPS.iter().map(|(group, title)| (*title, report.scenarios_of(*group))).collect();
    let bars = |scenario: &Scenario| -> Vec<(usize, f64)> {
        let all = report.programs.iter().enumerate();
        all.filter_map(|(at, program)| Some((at, report.ratio(scenario, program)?))).collect()
    };
    let rows: Vec<usize> = shown.iter().flat_map(|(_, list)| list.iter().map(|one| bars(one).len())).collect();
    let height = 134.0 + rows.iter().map(|count| *count as f64 * BAR + 12.0).sum::<f64>() + shown.len() as f64 * 28.0;
    let top = shown.iter().flat_map(|(_, list)| list).flat_map(|one| bars(one)).map(|(_, ratio)| ratio);
    let high = top.fold(4.0f64, f64::max).log2().ceil().exp2();
    let scale = Scale { low: 0.25, high, from: LEFT, to: RIGHT };
    let mut plot = Plot::new(900.0, height);
    plot.title(26.0, "How many times castio's time each takes (shorter is better, castio = 1)");
    legend(&mut plot, report);
    let ticks = std::iter::successors(Some(0.25), |tick| Some(tick * 2.0)).take_while(|tick| *tick <= high);
    for tick in ticks {
        let x = scale.at(tick);
        plot.line((x, 110.0), (x, height - 12.0), if tick == 1.0 { AXIS } else { GRID });
        plot.text(x, 104.0, "middle", 11, "", &tick.to_string());
    }
    let mut y = 114.0;
    for (title, scenarios) in &shown {
        y += 16.0;
        plot.text(
            20.0,
            y,
            "start",
            12,
            "font-weight='bold' stroke='white' stroke-width='5' paint-order='stroke'",
            title,
        );
        y += 12.0;
        for scenario in scenarios {
            let list = bars(scenario);
            let middle = y + list.len() as f64 * BAR / 2.0 + 4.0;
            plot.text(LEFT - 60.0, middle, "end", 11, "", scenario.name);
            if list.is_empty() {
                plot.text(LEFT + 4.0, middle, "start", 11, "font-style='italic'", "skipped");
            }
            for (at, ratio) in list {
                let (one, end) = (scale.at(1.0), scale.at(ratio));
                let width = (end - one).abs().max(1.5);
                plot.rectangle(one.min(end), y, width, BAR - 2.0, COLOURS[at % COLOURS.len()]);
                plot.text(one.max(end) + 4.0, y + 8.0, "start", 9, "", &number(ratio));
                y += BAR;
            }
            y += 12.0;
        }
    }
    plot.finish()
}

fn number(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

fn legend(plot: &mut Plot, report: &Report<'_>) {
    for (at, program) in report.programs.iter().enumerate() {
        let (x, y) = (20.0 + (at % 4) as f64 * 215.0, 46.0 + (at / 4) as f64 * 17.0);
        plot.rectangle(x, y - 9.0, 10.0, 10.0, COLOURS[at % COLOURS.len()]);
        let missing = if program.path.is_err() { " (missing)" } else { "" };
        plot.text(x + 14.0, y, "start", 11, "", &format!("{}{missing}", program.title));
    }
}

/// A line: nanoseconds for each datagram, by how many a call is given.
pub fn batch(report: &Report<'_>) -> String {
    let mut plot = Plot::new(760.0, 440.0);
    plot.title(26.0, "Sending 1,200 bytes on loopback: cost as the batch grows");
    let (Some(sendto), costs) = report.batch_costs() else { return plot.finish() };
    let lowest = costs.iter().map(|(_, cost)| *cost).fold(sendto, f64::min);
    let highest = costs.iter().map(|(_, cost)| *cost).fold(sendto, f64::max);
    let across = Scale { low: 1.0, high: 1024.0, from: 80.0, to: 720.0 };
    let up = Scale { low: decade_below(lowest), high: decade_above(highest), from: 380.0, to: 50.0 };
    for (batch, _) in &costs {
        let x = across.at(f64::from(*batch));
        plot.line((x, 50.0), (x, 380.0), GRID);
        plot.text(x, 398.0, "middle", 11, "", &batch.to_string());
    }
    let steps = [1.0, 2.0, 5.0].map(|step| step * 10.0);
    for tick in (0..6).flat_map(|power| steps.map(|step| step * 10f64.powi(power))) {
        if tick >= up.low && tick <= up.high {
            plot.line((80.0, up.at(tick)), (720.0, up.at(tick)), GRID);
            plot.text(72.0, up.at(tick) + 4.0, "end", 11, "", &tick.to_string());
        }
    }
    plot.line((80.0, 380.0), (720.0, 380.0), AXIS);
    plot.line((80.0, 50.0), (80.0, 380.0), AXIS);
    plot.text(400.0, 424.0, "middle", 12, "", "datagrams given to one call of castio_send_datagrams");
    plot.text(0.0, 0.0, "middle", 12, "transform='translate(24 215) rotate(-90)'", "nanoseconds for each datagram");

    let level = up.at(sendto);
    plot.line((80.0, level), (720.0, level), "stroke='#555' stroke-width='2' stroke-dasharray='6 4'");
    plot.text(716.0, level - 7.0, "end", 12, "", &format!("bare sendto: {sendto:.0} ns"));
    let mut path = String::new();
    for (batch, cost) in &costs {
        let _ = write!(path, "{:.1},{:.1} ", across.at(f64::from(*batch)), up.at(*cost));
    }
    let _ = writeln!(plot.body, "<polyline points='{path}' fill='none' stroke='{CASTIO}' stroke-width='2.5'/>");
    for (batch, cost) in &costs {
        let (x, y) = (across.at(f64::from(*batch)), up.at(*cost));
        let _ = writeln!(plot.body, "<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='{CASTIO}'/>");
        plot.text(x, y + 18.0, "middle", 10, &format!("style='fill:{CASTIO}'"), &format!("{cost:.0}"));
    }
    plot.text(96.0, 366.0, "start", 12, &format!("font-weight='bold' style='fill:{CASTIO}'"), "castio");
    plot.finish()
}
