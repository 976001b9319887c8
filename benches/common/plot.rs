//! What plots as SVG are made of.

use std::fmt::Write;

const FONT: &str = "font-family='DejaVu Sans, Verdana, sans-serif'";

/// A plot to be, on white, so that it reads on dark pages too.
pub struct Plot {
    pub body: String,
    width: f64,
    height: f64,
}

impl Plot {
    pub fn new(width: f64, height: f64) -> Plot {
        Plot { body: String::new(), width, height }
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' font-size='{size}' {style}>{text}</text>"
        );
    }

    pub fn title(&mut self, y: f64, text: &str) {
        self.text(20.0, y, "start", 16, BOLD, text);
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(self.body, "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' {style}/>");
    }

    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' fill='{colour}'/>"
        );
    }

    pub fn finish(self) -> String {
        let Plot { body, width, height } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' \
             height='{height}' {FONT} fill='#222'>\n<rect width='{width}' height='{height}' fill='white'/>\n{body}</svg>\n"
        )
    }
}

pub const BOLD: &str = "font-weight='bold'";
pub const GRID: &str = "stroke='#ddd'";
pub const AXIS: &str = "stroke='#222'";

/// From a range of numbers onto a range of the plot, by their logarithms.
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).log2() / (self.high / self.low).log2();
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

/// 1, 2 or 5 times a power of ten.
pub fn decade_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|step| step * power).find(|tick| *tick < value * 0.8).unwrap_or(power / 2.0)
}

pub fn decade_above(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|tick| *tick > value * 1.2).unwrap_or(power * 20.0)
}
