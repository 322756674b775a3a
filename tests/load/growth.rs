//! The part `growth`: whether messages come in as fast into a large store as into an empty one.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::figures::{median, optional, ratio, rows as shown, short, thousands};
use crate::options::Part;
use crate::post::Load;
use crate::report::{Bar, Judged, Table, progress};
use crate::{Bench, Failure, files};

/// Of the rate into an empty store: into the store that plain SQL is compared at, and into larger ones.
const INTO_COMPARED: Bar = Bar::AtLeast(0.75);
const INTO_LARGER: Bar = Bar::AtLeast(0.6);
const CONNECTIONS: u32 = 64;

/// A store that grows.
#[derive(Default)]
struct Growing {
    rows: u64,
    path: PathBuf,
    stored: u64,
    rates: Vec<f64>,
    ratios: Vec<f64>,
    p99_ms: Vec<f64>,
    /// After the load, until all of it was in the derived tables; for 100,000 messages.
    catch_up: Vec<f64>,
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let compared = bench.options.compared();
    let mut all = Vec::new();
    for rows in [0].into_iter().chain(bench.options.sizes().into_iter().filter(|rows| *rows >= compared)) {
        let path = bench.copy_path(&format!("growing-{rows}.db"))?;
        if rows > 0 {
            let served = bench.stores.served(rows)?;
            progress(format!("copying {} rows", shown(rows)));
            files::copy(&served.path, &path)?;
        }
        all.push(Growing { rows, path, stored: rows, ..Growing::default() });
    }
    for number in 1..=bench.options.rounds {
        let mut into_empty = 0.0;
        for growing in &mut all {
            progress(format!("growth from {}, round {number}", shown(growing.rows)));
            let rate = grow(bench, growing)?;
            if growing.rows == 0 {
                into_empty = rate;
            }
            growing.ratios.extend(ratio(rate, into_empty));
        }
    }

    let mut table = Table::new(&["into", "messages/s", "p99 ms", "of empty", "bar", "", "catch-up s/100k"]);
    for growing in &all {
        files::remove(&growing.path)?;
        record(bench, growing)?;
        let (rate, value) = (median(&growing.rates).unwrap_or_default(), median(&growing.ratios));
        let p99 = short(median(&growing.p99_ms).unwrap_or_default());
        let mut cells = vec![shown(growing.rows), thousands(rate), p99, optional(value)];
        if growing.rows == 0 {
            cells.extend([String::new(), String::new()]);
        } else {
            let bar = if growing.rows == compared { INTO_COMPARED } else { INTO_LARGER };
            let figure = format!("{}: {}/s", optional(value), thousands(rate));
            let judged = Judged { name: "of an empty store", value, shown: figure, bar };
            cells.extend([bar.to_string(), judged.verdict().to_owned()]);
            let what = format!("ingest into {} rows, of its rate into an empty store", shown(growing.rows));
            bench.report.judge(Part::Growth, &what, vec![judged])?;
        }
        cells.push(optional(median(&growing.catch_up)));
        table.row(cells);
    }
    bench.report.print(format!("## Growth\n\n{table}"))
}

fn record(bench: &mut Bench, growing: &Growing) -> Result<(), Failure> {
    let figures = json!({
        "rows": growing.rows,
        "messages_per_second": growing.rates,
        "ratios": growing.ratios,
        "p99_ms": growing.p99_ms,
        "catch_up_seconds_per_100k": growing.catch_up,
    });
    bench.report.record(Part::Growth, &format!("into {}", shown(growing.rows)), &figures)
}

/// One load; its rate.
fn grow(bench: &mut Bench, growing: &mut Growing) -> Result<f64, Failure> {
    if growing.rows == 0 {
        files::remove(&growing.path)?;
        growing.stored = 0;
    }
    let service = bench.start(&growing.path)?;
    service.wait_until_indexed()?;
    let messages = bench.new_messages(bench.options.messages)?;
    let seconds = bench.options.seconds;
    let load = Load { connections: CONNECTIONS, seconds, messages: &messages, again: false };
    let (posted, catch_up) = thread::scope(|scope| {
        let watched = scope.spawn(|| {
            // The load ends some seconds later than its sending does.
            thread::sleep(Duration::from_secs(seconds));
            service.wait_until_indexed()
        });
        let posted = load.run(service.address(), &mut bench.report);
        (posted, watched.join().unwrap_or_else(|_| Err("the watch over a load panicked".into())))
    });
    let (posted, catch_up) = (posted?, catch_up?);
    service.stop()?;
    growing.stored += posted.acknowledged;
    bench.check_rows(&format!("growth from {}", shown(growing.rows)), &growing.path, growing.stored)?;
    growing.rates.push(posted.rate);
    growing.p99_ms.push(posted.p99_ms);
    growing.catch_up.extend(ratio(catch_up.as_secs_f64() * 1e5, posted.acknowledged as f64));
    Ok(posted.rate)
}
