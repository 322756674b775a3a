//! The part `stores`: what the prepared databases take, and how the service behaves while it brings
//! an old file up to date.

use std::time::Duration;

use serde_json::json;

use crate::figures::{Samples, megabytes, milliseconds, ms, optional, ratio, rows as shown, short};
use crate::options::Part;
use crate::random::Random;
use crate::report::{Bar, Judged, Table};
use crate::supply::Signer;
use crate::{Bench, Failure, files};

/// Of the service's file over that of plain SQL.
const LARGEST_FILE: Bar = Bar::AtMost(1.7);
/// So many posts are timed even if there is nothing left to migrate.
const FEWEST_POSTS: usize = 20;

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "rows",
        "plain file MB",
        "with two indexes MB",
        "service's file MB",
        "ready after s",
        "all indexed after s",
        "made on",
    ]);
    let compared = bench.options.compared();
    for rows in bench.options.sizes() {
        bench.stores.answers(rows)?;
        let plain = bench.stores.plain(rows)?;
        // Larger ones are compared with nothing.
        let indexed = if rows <= compared { Some(bench.stores.indexed(rows)?.bytes()?) } else { None };
        let served = bench.stores.served(rows)?;
        let bytes = served.bytes()?;
        let made = served.notes["made"].as_str().unwrap_or_default().to_owned();
        table.row([
            shown(rows),
            megabytes(plain.bytes()?),
            indexed.map_or_else(|| "–".to_owned(), megabytes),
            megabytes(bytes),
            short(served.seconds("ready_seconds")),
            short(served.seconds("indexed_seconds")),
            made,
        ]);
        bench.report.record(
            Part::Stores,
            &format!("store of {}", shown(rows)),
            &json!({
                "rows": rows,
                "plain_bytes": plain.bytes()?,
                "indexed_bytes": indexed,
                "served_bytes": bytes,
                "making": plain.notes,
                "serving": served.notes,
            }),
        )?;
        if let Some(indexed) = indexed.filter(|_| rows == compared) {
            let value = ratio(bytes as f64, indexed as f64);
            let figure = format!("×{}: {} MB to {}", optional(value), megabytes(bytes), megabytes(indexed));
            let judged = Judged { name: "file size", value, shown: figure, bar: LARGEST_FILE };
            let what = format!("file size at {} to plain SQL's with its two indexes", shown(rows));
            bench.report.judge(Part::Stores, &what, vec![judged])?;
        }
    }
    bench.report.print(format!("## Stores\n\n{table}"))?;
    while_it_migrates(bench, compared)
}

/// On a copy that is thrown away, so that what is posted is in no store that others read.
fn while_it_migrates(bench: &mut Bench, rows: u64) -> Result<(), Failure> {
    let path = bench.copy_path("migrating.db")?;
    files::copy(&bench.stores.plain(rows)?.path, &path)?;
    let service = bench.start(&path)?;
    let signer = Signer::new()?;
    bench.loads += 1;
    let mut random = Random::new(bench.loads << 32);
    let (mut prober, mut poster) = (service.client()?, service.client()?);
    let (mut probes, mut posts, mut unready, mut refused) = (Vec::new(), Vec::new(), 0, 0);
    let mut probe_and_post = || -> Result<usize, Failure> {
        let probe = prober.get("/health/ready")?;
        probes.push(probe.took);
        unready += usize::from(probe.status != 200);
        let message = signer.sign(&bench.corpus.posted(posts.len() as u64, &mut random));
        let answer = poster.post(&message.signature, &message.body)?;
        refused += usize::from(answer.status != 200);
        posts.push(answer.took);
        Ok(posts.len())
    };
    let indexing = service.watch_indexing(&mut probe_and_post)?;
    for _ in 0..FEWEST_POSTS {
        probe_and_post()?;
    }
    let (probes, posts) = (Samples::from(probes), Samples::from(posts));
    let ready_after = service.ready_after;
    service.stop()?;
    bench.check_rows("posts during a migration", &path, rows + (posts.count() - refused) as u64)?;
    files::remove(&path)?;

    let millis = |duration: Option<Duration>| duration.map(milliseconds);
    bench.report.record(
        Part::Stores,
        "migration in service",
        &json!({
            "rows": rows,
            "ready_ms": milliseconds(ready_after),
            "indexed_seconds": (ready_after + indexing).as_secs_f64(),
            "probes": probes.count(),
            "probes_not_200": unready,
            "probe_longest_ms": millis(probes.longest()),
            "posts": posts.count(),
            "posts_not_200": refused,
            "post_p50_ms": millis(posts.p50()),
            "post_longest_ms": millis(posts.longest()),
        }),
    )?;
    let indexed_after = short((ready_after + indexing).as_secs_f64());
    let figure = format!(
        "ready after {} ms, all indexed after {indexed_after} s; meanwhile {unready} of {} probes \
         and {refused} of {} posts not 200, a post took {} ms, at most {} ms",
        ms(Some(ready_after)),
        probes.count(),
        posts.count(),
        ms(posts.p50()),
        ms(posts.longest()),
    );
    bench.report.print(format!("An old file of {}: {figure}.\n", shown(rows)))?;
    bench.report.note(format!("an old file of {} rows opened", shown(rows)), figure);
    Ok(())
}
