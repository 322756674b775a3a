//! A database that goes back to an earlier state, or is written anew by somebody else's tools, beside an index that
//! knows another one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::fixtures::{eventually, message_with};
use crate::index::{indexed, stays_exact};
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

const DATABASE: [&str; 3] = ["app.db", "app.db-wal", "app.db-shm"];

/// The database goes back to what it was, and the index stays.
fn restore(setup: &Setup, backup: &Path) {
    DATABASE.iter().for_each(|name| drop(fs::remove_file(setup.path(name))));
    fs::copy(backup, setup.path("app.db")).expect("the folder is ours");
}

fn backup(service: Service) -> Setup {
    let setup = service.stop();
    fs::copy(setup.path("app.db"), setup.path("backup")).expect("the folder is ours");
    setup
}

/// What somebody does to a database with SQL.
fn change(setup: &Setup, sql: &str) {
    setup.database().execute_batch(sql).expect("it is SQL");
}

const OTHER_ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    INSERT INTO messages SELECT 'other ' || i, '+3', '+9', '2025-01-15T10:30:00Z', 'Text of 77', '' FROM n";

/// A backup was made; `since` was done, and indexed; the backup is restored, and `then` is done to it.
fn is_exact_after_a_restore(since: &str, then: &str) {
    let setup = backup(indexed());
    change(&setup, since);
    let service = setup.start();
    is_indexed(&service);
    agrees(&service);
    let setup = service.stop();
    restore(&setup, &setup.path("backup"));
    change(&setup, then);
    let service = setup.start();
    agrees(&service);
    stays_exact(&service, "restored");
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn a_restored_database_is_not_read_by_the_index_of_what_came_after_it() {
    let deleted = "DELETE FROM messages WHERE rowid BETWEEN 100 AND 150";
    let newest = "DELETE FROM messages WHERE rowid > 2900";
    for (since, then) in [
        (OTHER_ROWS, ""),
        (deleted, ""),
        (newest, ""),
        (OTHER_ROWS, deleted),
        (OTHER_ROWS, newest),
        (deleted, "UPDATE messages SET text = 'Later', from_msisdn = '+3' WHERE rowid BETWEEN 500 AND 550"),
        (OTHER_ROWS, &OTHER_ROWS.replace("'other '", "'yet another '")),
    ] {
        is_exact_after_a_restore(since, then);
    }
}

#[test]
fn a_database_restored_while_it_runs_is_not_read_by_the_index_of_what_came_after_it() {
    let fields = json!({"from": "+3", "text": "Later of 77"});
    for is_asked_before in [true, false] {
        let service = backup(indexed()).start();
        (0..20).for_each(|number| service.store(&message_with(&format!("since {number}"), &fields)));
        is_indexed(&service);
        if is_asked_before {
            agrees(&service);
        }
        let backup = service.path("backup");
        DATABASE.iter().for_each(|name| drop(fs::remove_file(service.path(name))));
        fs::copy(&backup, service.path("new")).unwrap();
        fs::rename(service.path("new"), service.path("app.db")).unwrap();
        // Which of the two files is asked is a matter of the moment, but it is one of them.
        for _ in 0..6 {
            let page = service.get("/messages?limit=100&offset=2990").expect(200).json();
            let (total, rows) = (page["total"].as_u64().unwrap(), page["data"].as_array().unwrap().len());
            assert!(
                (total, rows) == (3020, 30) || (total, rows) == (3000, 10),
                "{total} messages, {rows} rows"
            );
        }
        let again = message_with("again", &fields);
        eventually("the message is taken", || (service.post(&again).status == 200).then_some(()));
        stays_exact(&service, "restored");
        is_indexed(&service);
        agrees_all_the_way(&service);
        ends_with_a_whole_index(service);
    }
}

#[test]
fn a_vacuum_by_somebody_else_leaves_the_index_right() {
    let service = indexed();
    let database = service.database();
    database.execute_batch("DELETE FROM messages WHERE rowid % 3 = 0; VACUUM").unwrap();
    drop(database);
    agrees(&service);
    stays_exact(&service, "vacuumed");
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn a_database_made_from_a_dump_is_read_by_an_index_of_its_own() {
    if !has(&["sqlite3"]) {
        return;
    }
    let setup = backup(indexed());
    change(&setup, "DELETE FROM messages WHERE rowid % 5 = 0");
    let script = "sqlite3 app.db .dump > dump && rm app.db && sqlite3 app.db < dump";
    let status = Command::new("sh").args(["-c", script]).current_dir(setup.folder.path()).status();
    assert!(status.unwrap().success());
    let service = setup.start();
    stays_exact(&service, "from a dump");
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}
