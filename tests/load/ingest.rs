//! The part `ingest`: durable messages a second over some numbers of connections, beside what SQLite
//! alone does with the same rows on the same disk in the same minutes; and duplicates.

use serde_json::json;

use crate::figures::{median, optional, ratio, short, thousands};
use crate::options::Part;
use crate::post::Load;
use crate::report::{Bar, Judged, Table, progress};
use crate::{Bench, Failure, bare, chart, files, supply};

/// Of what SQLite alone does, from so many connections on: fewer cannot fill its batches of 64.
const OF_BARE: Bar = Bar::AtLeast(0.75);
const JUDGED_FROM: u32 = 64;
/// Duplicates over new messages.
const DUPLICATES: Bar = Bar::AtLeast(2.0);
const DUPLICATE_IDS: u64 = 1_000;
const DUPLICATE_CONNECTIONS: u32 = 64;

/// One load and what SQLite alone did after it.
struct Round {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_ms_per_thousand: f64,
    peak_bytes: u64,
    bare: f64,
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "connections",
        "messages/s",
        "p50 ms",
        "p99 ms",
        "CPU ms/1,000",
        "peak MB",
        "SQLite alone/s",
        "ratio",
        "bar",
    ]);
    let mut points = Vec::new();
    for connections in bench.options.connections.clone() {
        let mut rounds = Vec::new();
        for number in 1..=bench.options.rounds {
            progress(format!("{connections} connections, round {number}"));
            rounds.push(round(bench, connections)?);
        }
        let of = |figure: fn(&Round) -> f64| {
            median(&rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let ratio = median(&rounds.iter().map(|round| round.rate / round.bare).collect::<Vec<_>>());
        let (rate, bare) = (of(|round| round.rate), of(|round| round.bare));
        points.push(chart::Ingest { connections, service: rate, bare });
        let figure = format!("{}: {}/s to {}", optional(ratio), thousands(rate), thousands(bare));
        let what = format!("ingest at {connections} connections, of SQLite alone");
        let judged = Judged { name: "of SQLite alone", value: ratio, shown: figure.clone(), bar: OF_BARE };
        let mut bar = String::new();
        if connections >= JUDGED_FROM {
            bar = format!("{OF_BARE} {}", judged.verdict());
            bench.report.judge(Part::Ingest, &what, vec![judged])?;
        } else {
            bench.report.note(what, figure);
        }
        table.row([
            connections.to_string(),
            thousands(rate),
            short(of(|round| round.p50_ms)),
            short(of(|round| round.p99_ms)),
            short(of(|round| round.cpu_ms_per_thousand)),
            short(of(|round| round.peak_bytes as f64 / 1e6)),
            thousands(bare),
            optional(ratio),
            bar,
        ]);
    }
    bench.report.print(format!("## Ingest\n\n{table}"))?;
    let whole = bench.options.is_full_load();
    chart::save(bench, "ingest.svg", whole, |report| chart::ingest(&points, report))?;
    duplicates(bench)
}

fn round(bench: &mut Bench, connections: u32) -> Result<Round, Failure> {
    let path = bench.copy_path("ingest.db")?;
    let service = bench.start(&path)?;
    let messages = bench.new_messages(bench.options.messages)?;
    let load = Load { connections, seconds: bench.options.seconds, messages: &messages, again: false };
    let cpu_before = service.cpu_seconds()?;
    let posted = load.run(service.address(), &mut bench.report)?;
    let cpu_seconds = service.cpu_seconds()? - cpu_before;
    let (_, peak_bytes) = service.memory()?;
    service.stop()?;
    bench.check_rows(&format!("{connections} connections"), &path, posted.acknowledged)?;
    files::remove(&path)?;

    let rows = supply::read(&messages, usize::try_from(posted.acknowledged)?)?;
    let alone = bench.copy_path("alone.db")?;
    let bare = bare::rate(&alone, &rows)?;
    files::remove(&alone)?;
    let round = Round {
        rate: posted.rate,
        p50_ms: posted.p50_ms,
        p99_ms: posted.p99_ms,
        cpu_ms_per_thousand: cpu_seconds * 1e6 / posted.acknowledged as f64,
        peak_bytes,
        bare,
    };
    bench.report.record(
        Part::Ingest,
        &format!("{connections} connections"),
        &json!({
            "messages_per_second": round.rate,
            "p50_ms": round.p50_ms,
            "p99_ms": round.p99_ms,
            "cpu_ms_per_thousand": round.cpu_ms_per_thousand,
            "peak_bytes": peak_bytes,
            "stored": posted.acknowledged,
            "bare_per_second": bare,
        }),
    )?;
    Ok(round)
}

/// The same messages over and over, in turns with new ones.
fn duplicates(bench: &mut Bench) -> Result<(), Failure> {
    let (mut new, mut again, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=bench.options.rounds {
        progress(format!("duplicates, round {number}"));
        let path = bench.copy_path("ingest.db")?;
        let service = bench.start(&path)?;
        let first = bench.post_new(&service, DUPLICATE_CONNECTIONS)?;
        service.stop()?;
        bench.check_rows("new messages", &path, first.acknowledged)?;

        let path = bench.copy_path("ingest.db")?;
        let service = bench.start(&path)?;
        let messages = bench.new_messages(DUPLICATE_IDS)?;
        let load = Load {
            connections: DUPLICATE_CONNECTIONS,
            seconds: bench.options.seconds,
            messages: &messages,
            again: true,
        };
        let second = load.run(service.address(), &mut bench.report)?;
        service.stop()?;
        bench.check_rows("duplicates", &path, DUPLICATE_IDS)?;
        files::remove(&path)?;

        new.push(first.rate);
        again.push(second.rate);
        ratios.extend(ratio(second.rate, first.rate));
    }
    let value = median(&ratios);
    let rate = |rates: &[f64]| thousands(median(rates).unwrap_or_default());
    let figure = format!("{}: {}/s to {}", optional(value), rate(&again), rate(&new));
    let figures = json!({ "new_per_second": new, "duplicates_per_second": again, "ratios": ratios });
    bench.report.record(Part::Ingest, "duplicates", &figures)?;
    let judged = Judged { name: "of new messages", value, shown: figure.clone(), bar: DUPLICATES };
    let verdict = judged.verdict();
    let what = format!("duplicates at {DUPLICATE_CONNECTIONS} connections, of new messages");
    bench.report.judge(Part::Ingest, &what, vec![judged])?;
    bench
        .report
        .print(format!("Duplicates of {DUPLICATE_IDS} messages: {figure} ({DUPLICATES} {verdict}).\n"))
}
