//! Power cuts in miniature: `kill -9` under load, again and again on one file, and nothing acknowledged is missing.

#[allow(dead_code, reason = "other suites use the rest")]
mod support;

use support::*;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::fixtures::{eventually, message_with};
use crate::http_client::{Address, Client};
use crate::plain::{
    agrees, agrees_all_the_way, ends_with_a_whole_index, files_are_sound, is_indexed, older_file, unindexed,
};
use crate::service::Service;
use crate::setup::Setup;

const CLIENTS: usize = 16;

/// Posts until the service is gone, and gives the ids that were acknowledged.
fn post_until_the_end(address: &Address, name: &str, acknowledged: &AtomicUsize) -> Vec<String> {
    let mut ids = Vec::new();
    let Ok(mut client) = Client::try_connect(address) else {
        return ids;
    };
    for number in 0.. {
        let id = format!("{name} m{number}");
        let sender = format!("+{}", number % 7);
        match client.try_post(&message_with(&id, &json!({"from": sender, "text": format!("text of {id}")}))) {
            Ok(answer) if answer.status == 200 => {
                ids.push(id);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
            Err(_) => break,
        }
    }
    ids
}

/// One life: load from many clients, an end in the midst of it. Gives back what was acknowledged.
fn live_and_die(setup: Setup, round: usize) -> (Setup, Vec<String>) {
    let service = setup.start();
    let address = service.address.clone();
    let acknowledged = AtomicUsize::new(0);
    // Rounds end at different depths of the log, some before anything was committed.
    let enough = round * 97 % 400;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, acknowledged) = (&address, &acknowledged);
                let name = format!("round {round} client {client}");
                scope.spawn(move || post_until_the_end(address, &name, acknowledged))
            })
            .collect();
        eventually("enough is acknowledged", || {
            (acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
        let setup = service.kill();
        let ids =
            clients.into_iter().flat_map(|client| client.join().expect("a client does not panic")).collect();
        (setup, ids)
    })
}

fn stored_ids(database: &rusqlite::Connection) -> HashSet<String> {
    let mut statement = database.prepare("SELECT message_id FROM messages").expect("the table is there");
    let ids = statement.query_map([], |row| row.get(0)).expect("the table can be read");
    ids.map(|id| id.expect("an id is text")).collect()
}

/// What the service says about itself after it came back must be what its table holds.
fn agrees_with_its_table(service: &Service, stored: usize) {
    let stats = service.get("/stats").expect(200).json();
    assert_eq!(stats["total_messages"], stored);
    let counts = stats["messages_per_sender"].as_array().expect("a list of senders").iter();
    let sum: u64 = counts.map(|row| row["count"].as_u64().expect("a count")).sum();
    assert_eq!(sum, stored as u64);
    assert_eq!(service.get("/messages?limit=1").json()["total"], stored);
    assert_eq!(service.get("/messages?limit=1&q=TEXT+OF+ROUND").json()["total"], stored);
}

#[test]
fn nothing_acknowledged_is_missing_after_kill_9_under_load() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let mut setup = Setup::new();
    let mut acknowledged: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        let (after, ids) = live_and_die(setup, round);
        acknowledged.extend(ids);

        let service = after.start();
        service.get("/health/ready").expect(200);
        let database = service.database();
        let stored = stored_ids(&database);
        let missing: Vec<_> = acknowledged.difference(&stored).take(10).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} were acknowledged and are gone");
        agrees_with_its_table(&service, stored.len());
        drop(database);
        setup = service.kill();

        let check: String =
            setup.database().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(rounds < 2 || !acknowledged.is_empty(), "the load has done nothing");
    eprintln!("{rounds} rounds, {} messages acknowledged, none missing", acknowledged.len());
}

#[test]
fn a_start_that_is_killed_harms_nothing() {
    let mut setup = Setup::new();
    for round in 0..5 {
        let service = setup.start();
        let id = format!("m{round}");
        service.store(&message_with(&id, &json!({})));
        setup = service.kill();
        // Killed while it recovers, migrates or binds: as early as the machine can.
        for _ in 0..3 {
            let mut child = setup.command(&["serve"]).spawn().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let service = setup.start();
    assert_eq!(service.get("/messages").json()["total"], 5);
}

#[test]
fn a_migration_that_is_killed_harms_nothing() {
    const ROWS: usize = 20_000;
    let old = Setup::new();
    let database = old.database();
    let statements = format!(
        "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
            to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
        INSERT INTO messages SELECT 'm' || i, '+' || i % 7, '+9', '2025-01-15T10:00:00Z', 'text of round',
            '2025-01-15T10:00:01Z' FROM n;"
    );
    database.execute_batch(&statements).unwrap();
    drop(database);
    let content = std::fs::read(old.path("app.db")).unwrap();

    for round in 0..6 {
        let mut setup = Setup::new();
        setup.file("app.db", &content);
        let address = format!("127.0.0.1:{}", setup::free_port());
        setup.variables.insert("LISTEN_ADDR".to_owned(), address);
        let mut child = setup.command(&["serve"]).spawn().unwrap();
        let (file, log) = (setup.path("app.db"), setup.path("app.db-wal"));
        eventually("the migration has written that much", || {
            let grown =
                |path: &Path, bytes: u64| std::fs::metadata(path).is_ok_and(|file| file.len() >= bytes);
            // A migration that has ended has moved its log into the file.
            (grown(&log, round * 150_000) || grown(&file, content.len() as u64 + 1)).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();

        let service = setup.start();
        agrees_with_its_table(&service, ROWS);
        let setup = service.kill();
        let check: String =
            setup.database().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
}

/// One life while the index is being built: it ends when a share of the work is done, or, with clients who post,
/// when they were told so many times that a message is stored.
fn index_and_die(setup: Setup, round: usize) -> (Setup, Vec<String>) {
    let service = setup.start();
    let address = service.address.clone();
    if !round.is_multiple_of(3) {
        let part = ["order", "search"][round % 2];
        let left = unindexed(&service, part) * ((round * 37 % 100) as f64 / 100.0);
        eventually("a share of the work is done", || (unindexed(&service, part) <= left).then_some(()));
        return (service.kill(), Vec::new());
    }
    let acknowledged = AtomicUsize::new(0);
    thread::scope(|scope| {
        let client = scope.spawn(|| post_until_the_end(&address, &format!("round {round}"), &acknowledged));
        let enough = round * 17 % 200;
        eventually("enough is acknowledged", || {
            (acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        });
        let setup = service.kill();
        (setup, client.join().expect("a client does not panic"))
    })
}

#[test]
fn answers_are_exact_after_kill_9_while_the_index_is_being_built() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap());
    let mut setup = older_file(30_000);
    let mut acknowledged: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        if round % 4 == 3 {
            // From the beginning again.
            for name in ["app.db-index", "app.db-index-wal", "app.db-index-shm"] {
                drop(std::fs::remove_file(setup.path(name)));
            }
        }
        let (after, ids) = index_and_die(setup, round);
        acknowledged.extend(ids);
        files_are_sound(&after);
        let service = after.start();
        agrees(&service);
        let stored = stored_ids(&service.database());
        assert!(acknowledged.is_subset(&stored), "round {round}: acknowledged messages are gone");
        setup = service.kill();
    }
    let service = setup.start();
    is_indexed(&service);
    agrees(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

/// Of 15,000 messages that are too old and 3,000 that are not.
fn file_with_old_messages() -> Setup {
    let mut setup = older_file(18_000);
    let dated = "UPDATE messages SET created_at =
        strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(rowid <= 15000, '-31 days', '-1 days'))";
    setup.database().execute_batch(dated).expect("it is SQL");
    // To import nothing brings the file up to date; and old messages were looked for a moment ago.
    assert_eq!(setup.run(&["import"]).code, Some(0));
    let looked = "UPDATE messages_retention SET believed_clock = strftime('%s', 'now')";
    setup.database().execute_batch(looked).expect("it is SQL");
    setup
}

#[test]
fn no_other_message_is_missing_after_kill_9_while_old_ones_go() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let mut setup = file_with_old_messages().with("RETENTION_DAYS", "30");
    let mut kept: HashSet<String> = (15_001..=18_000).map(|number| format!("r{number}")).collect();
    let left = |setup: &Setup| -> i64 {
        let old = "SELECT COUNT(*) FROM messages WHERE message_id GLOB 'r[0-9]*' AND CAST(substr(message_id, 2) AS INTEGER) <= 15000";
        setup.database().query_row(old, [], |row| row.get(0)).unwrap()
    };
    for round in 0..rounds {
        let before = left(&setup);
        let service = setup.start();
        let address = service.address.clone();
        let acknowledged = AtomicUsize::new(0);
        // Somewhere in the middle of it, if there is something left.
        let some = (before as usize).min(1 + round * 353 % 2500) as f64;
        let name = format!("round {round}");
        let (after, ids) = thread::scope(|scope| {
            let client = scope.spawn(|| post_until_the_end(&address, &name, &acknowledged));
            eventually("some have gone", || {
                (service.metric("store_messages_expired_total") >= some).then_some(())
            });
            let setup = service.kill();
            (setup, client.join().expect("a client does not panic"))
        });
        kept.extend(ids);
        files_are_sound(&after);
        let database = after.database();
        let stored = stored_ids(&database);
        let missing: Vec<_> = kept.difference(&stored).take(10).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?}");
        let remembered: i64 =
            database.query_row("SELECT COUNT(*) FROM messages_forgotten", [], |row| row.get(0)).unwrap();
        assert_eq!(remembered + left(&after), 15_000, "what is gone is remembered, and nothing else");
        setup = after;
    }
    let service = setup.start();
    eventually("all have gone", || {
        let total = service.get("/stats").json()["total_messages"].as_u64().unwrap() as usize;
        (total == stored_ids(&service.database()).len()
            && !stored_ids(&service.database()).contains("r15000"))
        .then_some(())
    });
    agrees(&service);
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn an_erasure_that_is_killed_is_finished_by_the_next() {
    let mut setup = older_file(9000);
    for round in 0..6 {
        let service = setup.start();
        is_indexed(&service);
        let setup_of_service = service.kill();
        setup = setup_of_service;
        let mut child = setup.command(&["erase", "--sender", "+3"]).spawn().unwrap();
        thread::sleep(std::time::Duration::from_millis(round * 15));
        child.kill().unwrap();
        child.wait().unwrap();
        files_are_sound(&setup);
        let service = setup.start();
        agrees(&service);
        setup = service.stop();
    }
    assert_eq!(setup.run(&["erase", "--sender", "+3"]).code, Some(0));
    files_are_sound(&setup);
    let service = setup.start();
    assert_eq!(service.get("/messages?from=%2B3").json()["total"], 0);
    agrees(&service);
    is_indexed(&service);
    ends_with_a_whole_index(service);
}
