//! How large the write-ahead logs become while messages come in and queries, which keep them from
//! starting over, never pause. Belongs to the part `growth`.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::clients::ask_during;
use crate::corpus::TWO_LETTERS;
use crate::figures::{megabytes, rows as shown};
use crate::options::Part;
use crate::post::Load;
use crate::report::progress;
use crate::{Bench, Failure, files};

const CONNECTIONS: u32 = 64;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let rows = bench.options.compared();
    progress("the write-ahead log under messages and queries");
    let path = bench.copy_path("wal.db")?;
    files::copy(&bench.stores.served(rows)?.path, &path)?;
    let service = bench.start(&path)?;
    service.wait_until_indexed()?;
    // Too few letters for any index: it reads every text.
    let scan = format!("/messages?q={TWO_LETTERS}");
    let targets = ["/messages", "/stats", &scan];
    let messages = bench.new_messages(bench.options.messages)?;
    let (seconds, address) = (bench.options.seconds, service.address());
    let load = Load { connections: CONNECTIONS, seconds, messages: &messages, again: false };
    let (logs, over) = (service.logs(), AtomicBool::new(false));
    let highest: [AtomicU64; 2] = Default::default();
    let (posted, heard) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (log, highest) in logs.iter().zip(&highest) {
                    let bytes = fs::metadata(log).map_or(0, |log| log.len());
                    highest.fetch_max(bytes, Ordering::Relaxed);
                }
                thread::sleep(LOOK_INTERVAL);
            }
        });
        let done = ask_during(address, &targets, seconds, || load.run(address, &mut bench.report));
        over.store(true, Ordering::Relaxed);
        done
    })?;
    service.stop()?;
    bench.check_rows("posts beside scans", &path, rows + posted.acknowledged)?;
    files::remove(&path)?;

    let [highest, of_index] = highest.map(AtomicU64::into_inner);
    let asked: Vec<_> = heard.iter().map(|heard| heard.samples.count()).collect();
    let refused: usize = heard.iter().map(|heard| heard.refused).sum();
    bench.report.record(
        Part::Growth,
        "write-ahead log",
        &json!({ "rows": rows, "highest_bytes": highest, "index_highest_bytes": of_index, "stored": posted.acknowledged,
            "queries": asked, "not_200": refused }),
    )?;
    let what = format!("write-ahead log at its highest, 64 connections posting into {}", shown(rows));
    let figure = format!(
        "{} MB, that of the index {} MB; {} messages and {} queries in {seconds} s",
        megabytes(highest),
        megabytes(of_index),
        posted.acknowledged,
        asked.iter().sum::<usize>()
    );
    bench.report.print(format!("The {what} beside three clients that query: {figure}.\n"))?;
    bench.report.note(what, figure);
    Ok(())
}
