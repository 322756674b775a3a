//! What a run has to say: tables as the parts end, a JSON line for every result, and a summary that
//! a README can quote. A bar is met or missed; a wrong answer or a lost message voids the run.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::Failure;
use crate::moment;
use crate::options::Part;

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bounds are round numbers and need no rounding: 60, 1.5, 0.75.
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
        }
    }
}

/// A figure and its bar.
pub(crate) struct Judged {
    /// What is divided by what, or counted.
    pub(crate) name: &'static str,
    /// One that could not be had misses its bar.
    pub(crate) value: Option<f64>,
    /// As it reads best.
    pub(crate) shown: String,
    pub(crate) bar: Bar,
}

impl Judged {
    pub(crate) fn is_met(&self) -> bool {
        self.value.is_some_and(|value| self.bar.is_met(value))
    }

    pub(crate) fn verdict(&self) -> &'static str {
        if self.is_met() { "met" } else { "missed" }
    }
}

/// A line of the summary.
struct Line {
    what: String,
    figure: String,
    judged: Vec<Judged>,
}

pub(crate) struct Report {
    started: String,
    machine: String,
    results: File,
    lines: Vec<Line>,
    footnotes: Vec<String>,
    voids: Vec<String>,
}

impl Report {
    pub(crate) fn new(results: &Path, machine: String) -> Result<Self, Failure> {
        let results = OpenOptions::new()
            .create(true)
            .append(true)
            .open(results)
            .map_err(|error| format!("cannot write {}: {error}", results.display()))?;
        let started = moment::now();
        let (lines, footnotes, voids) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { started, machine, results, lines, footnotes, voids })
    }

    pub(crate) fn machine(&self) -> &str {
        &self.machine
    }

    /// The day of the run.
    pub(crate) fn date(&self) -> &str {
        self.started.split('T').next().unwrap_or_default()
    }

    pub(crate) fn is_void(&self) -> bool {
        !self.voids.is_empty()
    }

    /// One result for programs to read.
    pub(crate) fn record(&mut self, part: Part, name: &str, figures: &Value) -> Result<(), Failure> {
        let line = json!({
            "run": self.started,
            "machine": self.machine,
            "part": part.name(),
            "name": name,
            "figures": figures,
        });
        Ok(writeln!(self.results, "{line}")?)
    }

    pub(crate) fn print(&self, text: impl fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    /// A figure that no bar is set for.
    pub(crate) fn note(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.lines.push(Line { what: what.into(), figure: figure.into(), judged: Vec::new() });
    }

    /// Holds the figures of one thing against their bars.
    pub(crate) fn judge(&mut self, part: Part, what: &str, judged: Vec<Judged>) -> Result<(), Failure> {
        for Judged { name, value, bar, .. } in &judged {
            let met = value.is_some_and(|value| bar.is_met(value));
            let figures = json!({ "what": name, "value": value, "bar": bar.to_string(), "met": met });
            self.record(part, what, &figures)?;
        }
        let figure = joined(&judged, |judged| judged.shown.clone());
        self.lines.push(Line { what: what.to_owned(), figure, judged });
        Ok(())
    }

    /// How figures of the summary were come by.
    pub(crate) fn footnote(&mut self, text: &str) {
        self.footnotes.push(text.to_owned());
    }

    /// Something that makes the figures worthless: a wrong answer, a lost message.
    pub(crate) fn void(&mut self, reason: impl fmt::Display) {
        eprintln!("VOID: {reason}");
        self.voids.push(reason.to_string());
    }

    pub(crate) fn summary(&self) -> String {
        let mut table = Table::new(&["", "figure", "bar", ""]);
        for Line { what, figure, judged } in &self.lines {
            let bar = joined(judged, |judged| judged.bar.to_string());
            let verdict = match judged.iter().all(Judged::is_met) {
                true if judged.is_empty() => String::new(),
                true => "met".to_owned(),
                false => joined(judged, |judged| judged.verdict().to_owned()),
            };
            table.row([what.clone(), figure.clone(), bar, verdict]);
        }
        let judged: Vec<_> = self.lines.iter().flat_map(|line| &line.judged).collect();
        let met = judged.iter().filter(|judged| judged.is_met()).count();
        let (date, machine, missed) = (self.date(), &self.machine, judged.len() - met);
        let mut text =
            format!("Measured {date} on {machine}.\n\n{table:#}\n{met} bars met, {missed} missed.\n");
        for footnote in &self.footnotes {
            text.push_str(&format!("\n{footnote}\n"));
        }
        for reason in &self.voids {
            text.push_str(&format!("\nVOID: {reason}\n"));
        }
        text
    }
}

fn joined(judged: &[Judged], shown: impl Fn(&Judged) -> String) -> String {
    judged.iter().map(shown).collect::<Vec<_>>().join("; ")
}

/// A Markdown table whose columns also stand below each other in a terminal.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: AsRef<str>>(head: &[S]) -> Self {
        Self { rows: vec![head.iter().map(|cell| cell.as_ref().to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// `{:#}` leaves out what only makes columns stand below each other.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().filter(|_| !f.alternate()).unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                // Names stand left, figures right.
                if column == 0 {
                    write!(f, "| {cell:<width$} ")?;
                } else {
                    write!(f, "| {cell:>width$} ")?;
                }
            }
            f.write_str("|\n")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    let end = if column == 0 || f.alternate() { '-' } else { ':' };
                    write!(f, "|{dashes}{end}")?;
                }
                f.write_str("|\n")?;
            }
        }
        Ok(())
    }
}

/// Where the run is, for whoever waits for it.
pub(crate) fn progress(text: impl fmt::Display) {
    eprintln!("==> {text}");
}
