//! The charts for the README, drawn from the run's own results: plain SVG that reads on light and on
//! dark, with nothing in it but lines and text.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::figures::{rows as shown, thousands};
use crate::report::{Report, progress};
use crate::{Bench, Failure};

/// Medians of one kind of request.
pub(crate) struct Read {
    pub(crate) name: &'static str,
    /// Rows, and milliseconds where the service answered.
    pub(crate) served: Vec<(u64, Option<f64>)>,
    pub(crate) sql: Option<(u64, f64)>,
}

/// Rates at one number of connections.
pub(crate) struct Ingest {
    pub(crate) connections: u32,
    pub(crate) service: f64,
    pub(crate) bare: f64,
}

/// Middle tones, which stand out from white and from black.
const COLOURS: [&str; 13] = [
    "#3b82f6", "#ef7d22", "#22a06b", "#e05252", "#9b6dd6", "#a8763e", "#d65fa8", "#7f8ea3", "#9aa520",
    "#1fa9c0", "#5b6ee1", "#c9a227", "#4f9d5d",
];
const INK: &str = "#808890";
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;
/// Between the axis and the lowest line.
const CLEARANCE: f64 = 16.0;
/// Between two labels at the ends of lines.
const LABEL_HEIGHT: f64 = 15.0;

/// Writes a chart: where the caller wants all of them, or beside the README if the run was `whole`.
pub(crate) fn save(
    bench: &Bench,
    name: &str,
    whole: bool,
    draw: impl FnOnce(&Report) -> String,
) -> Result<(), Failure> {
    if bench.report.is_void() {
        return Ok(());
    }
    let folder = match &bench.options.charts {
        Some(folder) => folder.clone(),
        None if whole => Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/charts"),
        None => return Ok(()),
    };
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, draw(&bench.report))?;
    progress(format!("drew {}", path.display()));
    Ok(())
}

/// Median latency over the size of the store, both by powers of ten.
pub(crate) fn reads(lines: &[Read], report: &Report) -> String {
    let sizes: Vec<u64> = lines.iter().flat_map(|line| line.served.iter().map(|(rows, _)| *rows)).collect();
    let latencies = lines
        .iter()
        .flat_map(|line| line.served.iter().filter_map(|(_, p50)| *p50).chain(line.sql.map(|(_, p50)| p50)));
    let x = Scale::powers(sizes.iter().map(|rows| *rows as f64), LEFT, WIDTH - RIGHT);
    let y = Scale::powers(latencies, HEIGHT - BOTTOM - CLEARANCE, TOP);
    let mut svg = begin("Median latency of one request, ms", report);
    for power in y.powers_inside() {
        grid(&mut svg, y.at(power), &decimal(power));
    }
    for rows in &sizes[..lines.first().map_or(0, |line| line.served.len())] {
        tick(&mut svg, x.at(*rows as f64), &shown(*rows));
    }
    axis_title(&mut svg, "messages in the store; hollow: plain SQL, and an exchange over HTTP");
    let mut ends = Vec::new();
    for (line, colour) in lines.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> =
            line.served.iter().filter_map(|(rows, p50)| Some((x.at(*rows as f64), y.at((*p50)?)))).collect();
        polyline(&mut svg, &points, colour);
        if let Some((rows, p50)) = line.sql {
            let (x, y) = (x.at(rows as f64), y.at(p50));
            // Writing into a String does not fail, here and below.
            let _ = writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="none" stroke="{colour}" stroke-width="1.5"/>"#
            );
        }
        if let Some((_, y)) = points.last() {
            ends.push((*y, line.name, colour));
        }
    }
    labels(&mut svg, ends);
    end(svg)
}

/// Messages a second over the number of connections, by powers of two.
pub(crate) fn ingest(points: &[Ingest], report: &Report) -> String {
    let x = Scale::powers(points.iter().map(|point| f64::from(point.connections)), LEFT, WIDTH - RIGHT);
    let highest = points.iter().map(|point| point.service.max(point.bare)).fold(0.0, f64::max);
    let (step, y) = Scale::from_zero(highest, HEIGHT - BOTTOM, TOP);
    let mut svg = begin("Durable messages a second", report);
    let mut rate = 0.0;
    while rate <= y.last {
        grid(&mut svg, y.at(rate), &thousands(rate));
        rate += step;
    }
    for point in points {
        tick(&mut svg, x.at(f64::from(point.connections)), &point.connections.to_string());
    }
    axis_title(&mut svg, "connections");
    let mut draw = |name, rate: fn(&Ingest) -> f64, colour| {
        let line: Vec<(f64, f64)> =
            points.iter().map(|point| (x.at(f64::from(point.connections)), y.at(rate(point)))).collect();
        polyline(&mut svg, &line, colour);
        line.last().map(|(_, y)| (*y, name, colour))
    };
    let service = draw("the service, over HTTP", |point| point.service, COLOURS[0]);
    let bare = draw("SQLite alone, batches of 64", |point| point.bare, COLOURS[1]);
    let ends = service.into_iter().chain(bare).collect();
    labels(&mut svg, ends);
    end(svg)
}

/// From values to places on the paper.
struct Scale {
    first: f64,
    last: f64,
    from: f64,
    to: f64,
    by_powers: bool,
}

impl Scale {
    /// By powers, the values filling it from end to end.
    fn powers(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (first, last) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        // A single value stands in the middle.
        let (first, last) = if first < last { (first, last) } else { (first / 2.0, first * 2.0) };
        Self { first, last, from, to, by_powers: true }
    }

    /// From 0 to above the highest, and the step of its grid.
    fn from_zero(highest: f64, from: f64, to: f64) -> (f64, Self) {
        let power = 10_f64.powf(highest.max(1.0).log10().floor());
        let step =
            [0.2, 0.5, 1.0, 2.0].map(|part| part * power).into_iter().find(|step| highest / step <= 8.0);
        let step = step.unwrap_or(2.0 * power);
        let last = (highest / step).ceil() * step;
        (step, Self { first: 0.0, last, from, to, by_powers: false })
    }

    fn at(&self, value: f64) -> f64 {
        let share = if self.by_powers {
            (value / self.first).ln() / (self.last / self.first).ln()
        } else {
            (value - self.first) / (self.last - self.first)
        };
        self.from + share * (self.to - self.from)
    }

    fn powers_inside(&self) -> Vec<f64> {
        let (low, high) = (self.first.log10().ceil() as i32, self.last.log10().floor() as i32);
        (low..=high).map(|exponent| 10_f64.powi(exponent)).collect()
    }
}

fn begin(title: &str, report: &Report) -> String {
    let (machine, date) = (escaped(report.machine()), report.date());
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">
<text x="{LEFT}" y="22" font-size="16" font-weight="600">{title}</text>
<text x="{LEFT}" y="40" font-size="10">{date}, {machine}</text>
"#
    )
}

fn end(mut svg: String) -> String {
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, y: f64, label: &str) {
    let (right, text_x, text_y) = (WIDTH - RIGHT, LEFT - 8.0, y + 4.0);
    let _ = writeln!(
        svg,
        r#"<line x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="{INK}" stroke-opacity="0.3"/><text x="{text_x}" y="{text_y:.1}" text-anchor="end">{label}</text>"#
    );
}

fn tick(svg: &mut String, x: f64, label: &str) {
    let (top, bottom, text_y) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5.0, HEIGHT - BOTTOM + 20.0);
    let _ = writeln!(
        svg,
        r#"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}" stroke="{INK}"/><text x="{x:.1}" y="{text_y}" text-anchor="middle">{label}</text>"#
    );
}

fn axis_title(svg: &mut String, title: &str) {
    let (left, right, y, text_y) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - 12.0);
    let _ = writeln!(
        svg,
        r#"<line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="{INK}"/><text x="{x}" y="{text_y}" text-anchor="middle">{title}</text>"#,
        x = f64::midpoint(left, right),
    );
}

fn polyline(svg: &mut String, points: &[(f64, f64)], colour: &str) {
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
    }
}

/// Names at the ends of lines, moved apart where they would lie on each other.
fn labels(svg: &mut String, mut ends: Vec<(f64, &str, &str)>) {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut places: Vec<f64> = Vec::new();
    for (y, _, _) in &ends {
        let lowest = places.last().map_or(TOP, |above| above + LABEL_HEIGHT);
        places.push(y.max(lowest));
    }
    // What was pushed below the paper is pushed up again.
    let mut bound = HEIGHT - BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(bound);
        bound = *place - LABEL_HEIGHT;
    }
    let (from, elbow, x) = (WIDTH - RIGHT + 5.0, WIDTH - RIGHT + 22.0, WIDTH - RIGHT + 28.0);
    for ((y, name, colour), place) in ends.iter().zip(places) {
        let name = escaped(name);
        let text_y = place + 4.0;
        let _ = writeln!(
            svg,
            r#"<line x1="{from}" y1="{y:.1}" x2="{elbow}" y2="{place:.1}" stroke="{colour}" stroke-opacity="0.6"/><text x="{x}" y="{text_y:.1}" fill="{colour}">{name}</text>"#
        );
    }
}

fn decimal(value: f64) -> String {
    if value < 1.0 { value.to_string() } else { thousands(value) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
