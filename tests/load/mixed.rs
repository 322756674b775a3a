//! The part `mixed`: queries while messages come in, and messages while queries come in.

use serde_json::json;

use crate::clients::{Heard, ask_during, ask_quietly};
use crate::corpus::RARE_WORD;
use crate::figures::{median, milliseconds, optional, ratio, rows as shown, short, thousands};
use crate::options::Part;
use crate::post::{Load, Posted};
use crate::report::{Bar, Judged, Table, progress};
use crate::service::Service;
use crate::{Bench, Failure, files};

/// The p99 of a query while messages come in, over that without.
const SLOWER: Bar = Bar::AtMost(5.0);
/// The rate of messages while queries come in, over that without.
const KEPT: Bar = Bar::AtLeast(0.8);
const CONNECTIONS: u32 = 64;
const FEWEST_ROUNDS: usize = 3;

/// The rounds of one query.
#[derive(Default)]
struct Query {
    quiet: Vec<f64>,
    loaded: Vec<f64>,
    ratios: Vec<f64>,
    refused: usize,
}

impl Query {
    fn add(&mut self, quiet: &Heard, loaded: &Heard) {
        self.refused += quiet.refused + loaded.refused;
        let p99 = |heard: &Heard| heard.samples.p99().map(milliseconds);
        self.quiet.extend(p99(quiet));
        self.loaded.extend(p99(loaded));
        if let (Some(quiet), Some(loaded)) = (p99(quiet), p99(loaded)) {
            self.ratios.extend(ratio(loaded, quiet));
        }
    }
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let rows = bench.options.compared();
    let search = format!("/messages?q={RARE_WORD}");
    let targets = ["/messages", "/stats", &search];
    let path = bench.copy_path("mixed.db")?;
    files::copy(&bench.stores.served(rows)?.path, &path)?;
    let service = bench.start(&path)?;
    let seconds = bench.options.seconds;
    let mut queries: Vec<Query> = targets.iter().map(|_| Query::default()).collect();
    let (mut alone, mut beside, mut kept, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 1..=bench.options.rounds.max(FEWEST_ROUNDS) {
        progress(format!("mixed, round {number}"));
        service.wait_until_indexed()?;
        let quiet = ask_quietly(service.address(), &targets, seconds)?;
        // Which of the two comes first changes with every round: the store grows meanwhile.
        let (without, (with, loaded)) = if number % 2 == 1 {
            let without = post(bench, &service, &[])?.0;
            (without, post(bench, &service, &targets)?)
        } else {
            let with = post(bench, &service, &targets)?;
            (post(bench, &service, &[])?.0, with)
        };
        acknowledged += without.acknowledged + with.acknowledged;
        kept.extend(ratio(with.rate, without.rate));
        alone.push(without.rate);
        beside.push(with.rate);
        for (query, (quiet, loaded)) in queries.iter_mut().zip(quiet.iter().zip(&loaded)) {
            query.add(quiet, loaded);
        }
    }
    service.stop()?;
    bench.check_rows("mixed", &path, rows + acknowledged)?;
    files::remove(&path)?;

    let mut table =
        Table::new(&["", "p99 quiet ms", "p99 beside 64 posting ms", "ratio", "bar", "", "not 200"]);
    for (target, query) in targets.iter().zip(&queries) {
        let value = median(&query.ratios);
        let of = |values: &[f64]| short(median(values).unwrap_or_default());
        let (quiet, loaded) = (of(&query.quiet), of(&query.loaded));
        let judged = Judged {
            name: "p99 over quiet p99",
            value,
            shown: format!("×{}: {quiet} ms to {loaded}", optional(value)),
            bar: SLOWER,
        };
        let cells =
            [target, quiet.as_str(), &loaded, &optional(value), &SLOWER.to_string(), judged.verdict()];
        table.row(cells.into_iter().map(str::to_owned).chain([query.refused.to_string()]));
        let figures = json!({ "quiet_p99_ms": query.quiet, "loaded_p99_ms": query.loaded,
            "ratios": query.ratios, "not_200": query.refused });
        bench.report.record(Part::Mixed, target, &figures)?;
        let what = format!("p99 of {target} at {} while 64 connections post", shown(rows));
        bench.report.judge(Part::Mixed, &what, vec![judged])?;
    }
    let value = median(&kept);
    let rate = |rates: &[f64]| thousands(median(rates).unwrap_or_default());
    let figure = format!("{}: {}/s to {}", optional(value), rate(&beside), rate(&alone));
    let figures = json!({ "alone_per_second": alone, "beside_per_second": beside, "ratios": kept });
    bench.report.record(Part::Mixed, "ingest beside queries", &figures)?;
    let judged = Judged { name: "kept", value, shown: figure.clone(), bar: KEPT };
    let verdict = judged.verdict();
    bench.report.judge(
        Part::Mixed,
        "ingest beside three clients that query, of its rate alone",
        vec![judged],
    )?;
    bench.report.print(format!("## Mixed\n\n{table}\nIngest keeps {figure} ({KEPT} {verdict}).\n"))
}

/// Posts new messages while clients ask.
fn post(bench: &mut Bench, service: &Service, targets: &[&str]) -> Result<(Posted, Vec<Heard>), Failure> {
    service.wait_until_indexed()?;
    let messages = bench.new_messages(bench.options.messages)?;
    let seconds = bench.options.seconds;
    let load = Load { connections: CONNECTIONS, seconds, messages: &messages, again: false };
    let address = service.address();
    ask_during(address, targets, seconds, || load.run(address, &mut bench.report))
}
