//! Searches through a large store: they may be slow, and they may not slow down what comes in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::fixtures::{SetOnDrop, message, open_database};
use crate::footprint::rows;
use crate::http_client::{Client, request};
use crate::row::{Report, Row, scaled};
use crate::service::Service;
use crate::setup::Setup;

const SEARCHERS: usize = 20;
const POSTERS: usize = 16;
const TURNS: usize = 4;

/// A store that somebody else has filled: the schema is the service's own, the rows go in by SQL.
fn filled(setup: Setup) -> Setup {
    let setup = setup.start().stop();
    let database = open_database(&setup.path("app.db"));
    let rows: u32 = scaled(1_000_000, 20_000);
    database
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO messages SELECT 'old-' || i, '+91' || (i % 10000), '+1',
                 strftime('%Y-%m-%dT%H:%M:%SZ', 1735689600 + i / 100, 'unixepoch'),
                 'message number ' || i || ' of many, with some words to look through',
                 '2025-01-15T10:00:00.000Z' FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .expect("the table takes rows");
    setup
}

#[derive(Debug, Default)]
struct Found {
    complete: AtomicU64,
    given_up: AtomicU64,
}

/// Posts as fast as answers come, for so long; how many were stored.
fn ingest(service: &Service, name: &str, time: Duration) -> u64 {
    let stored = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for poster in 0..POSTERS {
            let stored = &stored;
            scope.spawn(move || {
                let mut client = service.connect();
                let end = Instant::now() + time;
                for n in 0.. {
                    if Instant::now() > end {
                        return;
                    }
                    let answer = client.post(&message(&format!("{name}-{poster}-{n}")));
                    stored.fetch_add(u64::from(answer.status == 200), Relaxed);
                }
            });
        }
    });
    stored.load(Relaxed)
}

fn search(service: &Service, targets: &[String], found: &Found, stop: &AtomicBool) -> Result<(), String> {
    let mut client = service.connect();
    client.set_patience(Duration::from_secs(60));
    let mut turn = 0;
    while !stop.load(Relaxed) {
        let target = &targets[turn % targets.len()];
        turn += 1;
        match client.try_request("GET", target, &[], None) {
            Ok(answer) if answer.status == 200 => found.complete.fetch_add(1, Relaxed),
            Ok(answer) if answer.status == 503 && answer.header("Retry-After").is_some() => {
                found.given_up.fetch_add(1, Relaxed)
            }
            other => return Err(format!("{target}: {other:?}")),
        };
    }
    Ok(())
}

/// What was stored while the searchers searched; the last of them has its answer when this returns.
fn searched_ingest(
    service: &Service,
    name: &str,
    time: Duration,
    targets: &[String],
    found: &Found,
) -> (u64, Vec<String>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stops = SetOnDrop(&stop);
        let searchers: Vec<_> =
            (0..SEARCHERS).map(|_| scope.spawn(|| search(service, targets, found, &stop))).collect();
        std::thread::sleep(time / 10);
        let searched = ingest(service, name, time);
        drop(stops);
        let results = searchers.into_iter().map(|searcher| searcher.join().expect("no searcher panics"));
        (searched, results.filter_map(Result::err).collect())
    })
}

/// Quiet and searched slices take turns: the speed of a shared disk drifts within a minute, and two
/// long halves would compare its hours instead of the service.
fn attack(service: &Service, targets: &[String]) -> Report {
    let time = slice();
    let found = Found::default();
    let mut report = Report::default();
    let (mut quiet, mut searched) = (0, 0);
    let mut kept: Vec<String> = Vec::new();
    for turn in 0..TURNS {
        let alone = ingest(service, &format!("quiet-{turn}"), time);
        let (along, faults) = searched_ingest(service, &format!("searched-{turn}"), time, targets, &found);
        quiet += alone;
        searched += along;
        kept.push(format!("{:.0}", percent(along, alone)));
        report.faults.extend(faults);
    }
    report.acknowledged = quiet + searched;
    report.sent = format!(
        "{SEARCHERS} searchers: {} answered 200, {} 503; ingest {quiet} -> {searched}, {:.0} % kept ({})",
        found.complete.into_inner(),
        found.given_up.into_inner(),
        percent(searched, quiet),
        kept.join(", ")
    );
    report
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Rows that were there before the row began are not the row's, and page caches that a store of this
/// size fills to their bound are full before it begins.
fn rows_with_full_caches(service: &Service) -> u64 {
    let (_, faults) = searched_ingest(service, "fill", slice(), &targets(), &Found::default());
    assert!(faults.is_empty(), "{faults:?}");
    rows(&service.database())
}

fn targets() -> [String; 4] {
    let deep = format!("/messages?limit=100&offset={}", scaled(999_000, 19_000));
    ["/messages?q=nothing-like-this".into(), deep, "/messages?q=ZAHL%20%C3%9F".into(), "/stats".into()]
}

fn slice() -> Duration {
    scaled(Duration::from_secs(3), Duration::from_millis(300))
}

#[test]
fn searches_and_deep_pages_leave_ingest_its_share() {
    Row::new("concurrent searches and deep offsets")
        .setup(filled)
        .prepare(rows_with_full_caches)
        .attack(|service| attack(service, &targets()));
}

#[test]
fn a_search_queued_for_long_is_given_up_in_time() {
    Row::new("more searches than threads").setup(filled).prepare(rows_with_full_caches).attack(|service| {
        let count = scaled(1_000, 150);
        let get = request("GET", "/messages?q=nothing-like-this", &[], None);
        let began = Instant::now();
        let answers: Vec<(u16, Duration)> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..count).map(|_| scope.spawn(|| one_search(service, &get, began))).collect();
            clients.into_iter().filter_map(|client| client.join().expect("no client panics")).collect()
        });
        let slowest = answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let served = answers.iter().filter(|(status, _)| *status == 200).count();
        let shed = answers.iter().filter(|(status, _)| *status == 503).count();
        let mut report = Report::of(format!(
            "{count} searches at once: {served} answered 200, {shed} 503, the last after {:.0} s",
            slowest.as_secs_f64()
        ));
        report.expect(served + shed == count, || {
            format!("{} were not answered within 60 s", count - served - shed)
        });
        report
    });
}

fn one_search(service: &Service, get: &[u8], began: Instant) -> Option<(u16, Duration)> {
    let mut client = Client::try_connect(&service.address).ok()?;
    client.set_patience(Duration::from_secs(60));
    client.try_send(get).ok()?;
    let answer = client.try_receive("GET").ok()?;
    Some((answer.status, began.elapsed()))
}
