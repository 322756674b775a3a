//! Write-ahead logs that clients, commands and other programs keep from starting over: both stay within their bounds,
//! and where they cannot, the service says why.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::json;

use crate::fixtures::{SetOnDrop, eventually, message_with};
use crate::http_client::Client;
use crate::load::{is_sound, scaled, tells};
use crate::plain::older_file;
use crate::service::Service;
use crate::setup::{Finished, Setup};

const MIB: u64 = 1 << 20;
/// Of the database's log, and the largest transaction of these tests.
const BOUND: u64 = (96 + 16) * MIB;
/// Of the index's log. One of its transactions may merge what it knows of many messages.
const INDEX_BOUND: u64 = (32 + 64) * MIB;
const SEARCHERS: usize = 4;

/// The table of an earlier implementation, with pages of this size.
fn store(page_size: u32, rows: usize) -> Setup {
    let setup = older_file(rows);
    let sql = format!("PRAGMA page_size = {page_size}; VACUUM");
    setup.database().execute_batch(&sql).expect("it is SQL");
    setup
}

/// How long both logs were at most.
#[derive(Debug, Default)]
struct Lengths {
    database: u64,
    index: u64,
}

/// Runs something while clients search a service without pause. Says how long both logs were meanwhile.
fn beside_searches<T>(service: &mut Service, work: impl FnOnce(&mut Service) -> T) -> (T, Lengths) {
    let (done, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let (address, folder) = (service.address.clone(), service.path(""));
    thread::scope(|scope| {
        let stop = SetOnDrop(&done);
        for _ in 0..SEARCHERS {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                while !done.load(Relaxed) {
                    // Too short for the index: it goes through all texts.
                    let page = client.get("/messages?limit=5&q=of");
                    refused.fetch_add(u64::from(page.status != 200), Relaxed);
                }
            });
        }
        let watch = scope.spawn(|| {
            let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
            let mut most = Lengths::default();
            while !done.load(Relaxed) {
                most.database = size("app.db-wal").max(most.database);
                most.index = size("app.db-index-wal").max(most.index);
                thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let worked = work(service);
        drop(stop);
        let most = watch.join().expect("it only looks");
        eprintln!("{most:?}, {} searches refused", refused.load(Relaxed));
        (worked, most)
    })
}

/// Runs a command to its end, which under load may take a while.
fn run(setup: &mut Setup, arguments: &[&str]) -> Finished {
    let output = setup.command(arguments).output().expect("the executable starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Messages as long as they may be, in lines: each fills four pages.
fn long_messages(count: usize) -> String {
    let text = "Text of 77 ".to_owned() + &"😀".repeat(4085);
    let line = |number| {
        // In no order, as ids are.
        let id = format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        message_with(&id, &json!({ "text": text })).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

#[track_caller]
fn stays_bounded(page_size: u32) {
    let mut service = store(page_size, 5000).start();
    let count = scaled(12_000, 200_000);
    let lines = service.setup().file("lines", long_messages(count));
    let (imported, most) = beside_searches(&mut service, |service| run(service.setup(), &["import", &lines]));
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(most.database <= BOUND && most.index <= INDEX_BOUND, "{most:?}");
    assert_eq!(service.get("/stats").expect(200).json()["total_messages"], 5000 + count);
    is_sound(&service);
}

#[test]
fn the_logs_stay_bounded_while_others_import_and_search() {
    stays_bounded(4096);
}

#[test]
fn the_logs_stay_bounded_with_large_pages() {
    stays_bounded(65_536);
}

#[test]
fn an_erase_ends_while_clients_search_without_pause() {
    let mut service = store(4096, scaled(60_000, 1_000_000)).start();
    let (erased, _) =
        beside_searches(&mut service, |service| run(service.setup(), &["erase", "--sender", "+3"]));
    assert_eq!(erased.code, Some(0), "{erased:?}");
    assert_eq!(service.get("/messages?from=%2B3").expect(200).json()["total"], 0);
    is_sound(&service);
}

/// What a program that is not ours does, to which the service is a stranger.
fn writes_much(database: &rusqlite::Connection) {
    let sql = "CREATE TABLE IF NOT EXISTS somebody_elses (content BLOB);
        BEGIN; INSERT INTO somebody_elses
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 110)
            SELECT zeroblob(1048576) FROM n; COMMIT; DELETE FROM somebody_elses";
    database.execute_batch(sql).expect("the service lets others in");
}

#[test]
fn a_reader_in_another_process_is_said_and_not_waited_for() {
    let service = Service::start();
    let (reader, writer) = (service.database(), service.database());
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM messages").expect("the service lets others in");
    writes_much(&writer);
    tells(&service, "log_held");
    service.store(&message_with("m1", &json!({})));
    assert_eq!(service.get("/messages").expect(200).json()["total"], 1);
    reader.execute_batch("COMMIT").expect("it was begun");
    // Somebody else's commit is the first after that.
    eventually("the log has started over", || {
        writer.execute_batch("DELETE FROM somebody_elses").expect("the service lets others in");
        service.store(&message_with("m1", &json!({})));
        service.stdout.json().iter().any(|line| line["event"] == "log_released").then_some(())
    });
    let said = service.stdout.json().iter().filter(|line| line["event"] == "log_held").count();
    assert_eq!(said, 1, "once is enough");
    is_sound(&service);
}

#[test]
fn who_asks_for_a_moment_without_end_does_not_keep_queries_from_being_answered() {
    let service = Service::start();
    let file = fs::File::options().append(true).open(service.path("app.db-lock")).expect("it is there");
    fcntl_lock(&file, FlockOperation::LockExclusive).expect("nobody else asks");
    for _ in 0..3 {
        service.get("/messages").expect(200);
        thread::sleep(scaled(Duration::from_millis(100), Duration::from_secs(4)));
    }
    is_sound(&service);
}

#[test]
fn a_check_gives_way_to_who_asks_for_a_moment() {
    let mut setup = store(4096, 30_000).start().stop();
    let file = fs::File::options().append(true).open(setup.path("app.db-lock")).expect("it is there");
    fcntl_lock(&file, FlockOperation::LockExclusive).expect("nobody else asks");
    let checked = run(&mut setup, &["check"]);
    assert_eq!(checked.code, Some(75), "{checked:?}");
    assert!(checked.stderr.contains("another command"), "{checked:?}");
    fcntl_lock(&file, FlockOperation::Unlock).expect("it is ours");
    let checked = run(&mut setup, &["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
