//! The part `reads`: every kind of request at every size, one after the other over one connection,
//! beside the same question in plain SQL. All take turns, so that noise hits all, and every answer
//! must say what plain SQL says.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::asked::{Asked, interleave};
use crate::figures::{Samples, milliseconds, ms, optional, ratio, rows as shown};
use crate::options::Part;
use crate::report::{Bar, Judged, Table, progress};
use crate::requests::{KINDS, Kind, Question};
use crate::service::Service;
use crate::{Bench, Failure, chart, files};

const HOW_COMPARED: &str = "\
Reads: medians of sequential requests over one connection. Plain SQL is the queries alone, asked in
the same turns, and the median of `/health/live`: an exchange over HTTP, which every service costs.";
const GROWTH: &str = "largest ÷ smallest";
const SPEED: &str = "plain SQL ÷ service";

/// What is asked: the service at each size, and plain SQL at one of them.
struct Field {
    /// Ascending.
    sizes: Vec<u64>,
    services: Vec<Service>,
    /// For each size, what plain SQL says to each kind.
    answers: Vec<Value>,
    /// Which of the sizes plain SQL is asked at.
    compared: usize,
    sql: Connection,
}

impl Field {
    fn size(&self, at: usize) -> String {
        self.sizes.get(at).map(|rows| shown(*rows)).unwrap_or_default()
    }

    fn largest(&self) -> usize {
        self.sizes.len() - 1
    }
}

/// What one kind came to.
struct Outcome {
    /// For each size; empty where the service gave up.
    served: Vec<Samples>,
    sql: Samples,
    /// The least that the service can be asked.
    exchange: Samples,
}

impl Outcome {
    fn p50(&self, at: usize) -> Option<f64> {
        self.served.get(at)?.p50().map(milliseconds)
    }

    /// Whoever asks a service, of plain SQL or not, waits for an exchange over HTTP besides.
    fn sql_over_http(&self) -> Option<f64> {
        Some(milliseconds(self.sql.p50()?) + milliseconds(self.exchange.p50()?))
    }

    /// The median at the largest size over that at the smallest.
    fn growth(&self, field: &Field) -> Option<f64> {
        ratio(self.p50(field.largest())?, self.p50(0)?)
    }

    /// The median of plain SQL over that of the service at the same size.
    fn speed(&self, field: &Field) -> Option<f64> {
        ratio(self.sql_over_http()?, self.p50(field.compared)?)
    }
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let field = prepare(bench)?;
    let (smallest, largest, compared) =
        (field.size(0), field.size(field.largest()), field.size(field.compared));
    let mut head = vec!["p50 / p99 ms".to_owned()];
    head.extend(field.sizes.iter().map(|rows| shown(*rows)));
    head.extend([format!("plain SQL, {compared}"), format!("{largest} ÷ {smallest}"), "bar".to_owned()]);
    head.extend([String::new(), "SQL ÷ service".to_owned(), "bar".to_owned(), String::new()]);
    let mut table = Table::new(&head);
    let mut lines = Vec::new();
    for kind in &KINDS {
        progress(kind.name);
        let outcome = measure(&field, kind, bench)?;
        record(bench, &field, kind, &outcome)?;
        let judged = judge(&field, kind, &outcome);
        table.row(cells(&field, kind, &outcome, &judged));
        let served = field.sizes.iter().enumerate().map(|(at, rows)| (*rows, outcome.p50(at))).collect();
        let sql = outcome.sql_over_http().map(|p50| (field.sizes[field.compared], p50));
        lines.push(chart::Read { name: kind.name, served, sql });
        if judged.is_empty() {
            let p50s: Vec<_> = outcome.served.iter().map(|samples| ms(samples.p50())).collect();
            bench.report.note(kind.name, format!("{} ms", p50s.join(", ")));
        } else {
            bench.report.judge(Part::Reads, kind.name, judged)?;
        }
    }
    for service in field.services {
        service.stop()?;
    }
    bench.report.print(format!("## Reads\n\n{table}"))?;
    bench.report.footnote(HOW_COMPARED);
    chart::save(bench, "reads.svg", bench.options.is_full_size(), |report| chart::reads(&lines, report))
}

fn prepare(bench: &Bench) -> Result<Field, Failure> {
    let sizes = bench.options.sizes();
    let rows = bench.options.compared();
    let sql = files::open(&bench.stores.indexed(rows)?.path)?;
    let compared = sizes.iter().position(|size| *size == rows).ok_or("no size to compare at")?;
    let answers = sizes.iter().map(|rows| bench.stores.answers(*rows)).collect::<Result<_, _>>()?;
    let serve = |rows: &u64| -> Result<Service, Failure> {
        let service = bench.start(&bench.stores.served(*rows)?.path)?;
        service.wait_until_indexed()?;
        Ok(service)
    };
    let services = sizes.iter().map(serve).collect::<Result<_, _>>()?;
    Ok(Field { sizes, services, answers, compared, sql })
}

fn measure(field: &Field, kind: &Kind, bench: &mut Bench) -> Result<Outcome, Failure> {
    let (mut asked, mut names) = (Vec::new(), Vec::new());
    for ((rows, service), answers) in field.sizes.iter().zip(&field.services).zip(&field.answers) {
        let question = (kind.question)(*rows);
        asked.push(Asked::service(service.client()?, question, answers[kind.name].clone())?);
        names.push(format!("{} at {}", kind.name, shown(*rows)));
    }
    let expected = field.answers[field.compared][kind.name].clone();
    asked.push(Asked::sql(&field.sql, (kind.question)(field.sizes[field.compared]), expected));
    names.push(format!("{} by plain SQL", kind.name));
    let client = field.services[field.compared].client()?;
    asked.push(Asked::service(client, Question::Probe("/health/live"), Value::Null)?);
    names.push("/health/live".to_owned());

    let turns = asked.iter_mut().map(Asked::prepare).collect::<Result<Vec<_>, _>>()?;
    interleave(&turns, |one| asked[one].take_turn())?;
    for (one, name) in asked.iter().zip(names) {
        if let Some(wrong) = one.wrong() {
            bench.report.void(format!("{name}: {wrong}"));
        } else if let Some(status) = one.given_up() {
            progress(format!("{name}: answered {status}"));
        }
    }
    let mut served: Vec<Samples> = asked.into_iter().map(Asked::into_samples).collect();
    let exchange = served.pop().unwrap_or_default();
    let sql = served.pop().unwrap_or_default();
    Ok(Outcome { served, sql, exchange })
}

fn judge(field: &Field, kind: &Kind, outcome: &Outcome) -> Vec<Judged> {
    let mut judged = Vec::new();
    if let Some(bound) = kind.growth.filter(|_| field.sizes.len() > 1) {
        let value = outcome.growth(field);
        let (first, last) = (optional(outcome.p50(0)), optional(outcome.p50(field.largest())));
        let (from, to) = (field.size(0), field.size(field.largest()));
        let figure = format!("×{} from {from} to {to} ({first} to {last} ms)", optional(value));
        judged.push(Judged { name: GROWTH, value, shown: figure, bar: Bar::AtMost(bound) });
    }
    if let Some(bound) = kind.speed {
        let value = outcome.speed(field);
        let (service, sql) = (optional(outcome.p50(field.compared)), optional(outcome.sql_over_http()));
        let rows = field.size(field.compared);
        let figure = format!("×{} as fast as plain SQL at {rows} ({service} to {sql} ms)", optional(value));
        judged.push(Judged { name: SPEED, value, shown: figure, bar: Bar::AtLeast(bound) });
    }
    judged
}

/// A row of the table.
fn cells(field: &Field, kind: &Kind, outcome: &Outcome, judged: &[Judged]) -> Vec<String> {
    let both = |samples: &Samples| match samples.p50() {
        Some(p50) => format!("{} / {}", ms(Some(p50)), ms(samples.p99())),
        None => "–".to_owned(),
    };
    let mut cells = vec![kind.name.to_owned()];
    cells.extend(outcome.served.iter().map(both));
    cells.push(both(&outcome.sql));
    for (name, value) in [(GROWTH, outcome.growth(field)), (SPEED, outcome.speed(field))] {
        cells.push(optional(value));
        let bar = judged.iter().find(|judged| judged.name == name);
        cells.push(bar.map_or_else(String::new, |judged| judged.bar.to_string()));
        cells.push(bar.map_or_else(String::new, |judged| judged.verdict().to_owned()));
    }
    cells
}

fn record(bench: &mut Bench, field: &Field, kind: &Kind, outcome: &Outcome) -> Result<(), Failure> {
    let rows: Vec<_> = field.sizes.iter().map(|rows| (format!("at {}", shown(*rows)), Some(*rows))).collect();
    let beside = ["by plain SQL", "/health/live in the same turns"].map(|name| (name.to_owned(), None));
    let all = outcome.served.iter().chain([&outcome.sql, &outcome.exchange]);
    for ((name, rows), samples) in rows.into_iter().chain(beside).zip(all) {
        let figures = json!({
            "rows": rows,
            "requests": samples.count(),
            "p50_ms": samples.p50().map(milliseconds),
            "p99_ms": samples.p99().map(milliseconds),
        });
        bench.report.record(Part::Reads, &format!("{}, {name}", kind.name), &figures)?;
    }
    Ok(())
}
