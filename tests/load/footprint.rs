//! The part `footprint`: the size of the binary, what it links, its memory, and how soon it is ready.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::figures::{median, megabytes, milliseconds, rows as shown, short};
use crate::options::Part;
use crate::report::{Bar, Judged, Table};
use crate::{Bench, Failure, files};

const BINARY_BYTES: f64 = 2.6e6;
const IDLE_BYTES: f64 = 5e6;
const LOADED_BYTES: f64 = 18e6;
const CONNECTIONS: u32 = 64;
const READY_EMPTY_MS: f64 = 15.0;
const READY_LARGEST_MS: f64 = 60.0;
const STARTS_EMPTY: usize = 15;
const STARTS_LARGEST: usize = 5;
/// Until what starting took has been given back.
const SETTLING: Duration = Duration::from_secs(2);

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let binary = bench.options.binary.clone();
    let mut lines = vec![size("the binary", fs::metadata(&binary)?.len(), Some(BINARY_BYTES))];
    lines.push(Line { what: "the binary links".to_owned(), figure: linkage(&binary)?, judged: None });
    memory(bench, &mut lines)?;
    starts(bench, &mut lines)?;

    let mut table = Table::new(&["", "figure", "bar", ""]);
    for Line { what, figure, judged } in lines {
        let (bar, verdict) = match &judged {
            Some(judged) => (judged.bar.to_string(), judged.verdict()),
            None => (String::new(), ""),
        };
        table.row([what.clone(), figure.clone(), bar, verdict.to_owned()]);
        match judged {
            Some(judged) => bench.report.judge(Part::Footprint, &what, vec![judged])?,
            None => bench.report.note(what, figure),
        }
    }
    bench.report.print(format!("## Footprint\n\n{table}"))
}

/// A line of the table.
struct Line {
    what: String,
    figure: String,
    judged: Option<Judged>,
}

fn memory(bench: &mut Bench, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let path = bench.copy_path("footprint.db")?;
    let service = bench.start(&path)?;
    thread::sleep(SETTLING);
    let (idle, _) = service.memory()?;
    let posted = bench.post_new(&service, CONNECTIONS)?;
    let (loaded, highest) = service.memory()?;
    service.stop()?;
    bench.check_rows("the load of footprint", &path, posted.acknowledged)?;
    files::remove(&path)?;
    let figures = json!({ "idle": idle, "loaded": loaded, "highest": highest });
    bench.report.record(Part::Footprint, "resident bytes", &figures)?;
    lines.push(size("resident memory, idle", idle, Some(IDLE_BYTES)));
    lines.push(size("resident memory, after 64 connections posted", loaded, Some(LOADED_BYTES)));
    lines.push(size("resident memory, at its highest meanwhile", highest, None));
    Ok(())
}

fn starts(bench: &mut Bench, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let mut empty = Vec::new();
    for _ in 0..STARTS_EMPTY {
        let path = bench.copy_path("footprint.db")?;
        let service = bench.start(&path)?;
        empty.push(milliseconds(service.ready_after));
        service.stop()?;
    }
    let largest = bench.options.largest;
    let served = bench.stores.served(largest)?;
    let mut full = Vec::new();
    for _ in 0..STARTS_LARGEST {
        let service = bench.start(&served.path)?;
        full.push(milliseconds(service.ready_after));
        service.stop()?;
    }
    let figures = json!({ "empty_ms": empty, "largest_ms": full, "rows": largest });
    bench.report.record(Part::Footprint, "from exec to ready", &figures)?;
    lines.push(ready("from exec to ready, empty store", &empty, READY_EMPTY_MS));
    let what = format!("from exec to ready, {} rows", shown(largest));
    lines.push(ready(&what, &full, READY_LARGEST_MS));
    Ok(())
}

fn size(what: &str, bytes: u64, bound: Option<f64>) -> Line {
    let figure = format!("{} MB", megabytes(bytes));
    let judged = bound.map(|bound| Judged {
        name: "MB",
        value: Some(bytes as f64 / 1e6),
        shown: figure.clone(),
        bar: Bar::AtMost(bound / 1e6),
    });
    Line { what: what.to_owned(), figure, judged }
}

fn ready(what: &str, starts: &[f64], bound: f64) -> Line {
    let value = median(starts);
    let figure = format!("{} ms, median of {}", short(value.unwrap_or_default()), starts.len());
    let judged = Judged { name: "ms", value, shown: figure.clone(), bar: Bar::AtMost(bound) };
    Line { what: what.to_owned(), figure, judged: Some(judged) }
}

/// What `ldd` says: nothing, of a program that needs nothing.
fn linkage(binary: &Path) -> Result<String, Failure> {
    let output =
        Command::new("ldd").arg(binary).output().map_err(|error| format!("cannot run ldd: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // A static-pie program is "statically linked", a plain static one "not a dynamic executable".
    let is_static = said.contains("statically linked") || said.contains("not a dynamic executable");
    Ok(if is_static { "nothing: it is static".to_owned() } else { said.trim().replace('\n', ", ") })
}
