//! Sections 3 and 4 whatever the index knows so far: an older file while it is being indexed, and changes that others
//! make to the file while the service runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::fixtures::{SetOnDrop, eventually, ids, message_with, open_database};
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed, older_file, unindexed};
use crate::service::Service;

#[test]
fn an_older_file_is_answered_exactly_while_it_is_being_indexed_and_afterwards() {
    let service = older_file(20_000).start();
    let mut asked = 0;
    while asked == 0 || (unindexed(&service, "search") > 0.0 && asked < 50) {
        agrees(&service);
        asked += 1;
    }
    agrees_all_the_way(&service);
    is_indexed(&service);
    agrees(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn what_is_not_indexed_yet_is_answered_and_counted_until_it_is() {
    let service = older_file(3000).start();
    let page = service.get("/metrics").expect(200).text();
    for index in ["order", "search"] {
        assert!(page.contains(&format!("\nstore_unindexed_messages{{index=\"{index}\"}} ")), "{page}");
    }
    is_indexed(&service);
    // Somebody else's lock on the index keeps the service from writing to it.
    let index = open_database(&service.path("app.db-index"));
    index.execute_batch("BEGIN IMMEDIATE").expect("the index can be locked");
    for id in ["m1", "m2", "m3"] {
        service.store(&message_with(id, &json!({"from": "+3", "text": "Later of 77"})));
        agrees(&service);
    }
    eventually("three messages are not indexed", || {
        (unindexed(&service, "order") == 3.0 && unindexed(&service, "search") == 3.0).then_some(())
    });
    agrees(&service);
    index.execute_batch("ROLLBACK").expect("the lock is ours");
    is_indexed(&service);
    agrees(&service);
}

/// The statements of somebody with sqlite3: the answer after each is that of the file as it is then.
fn shows_at_once(service: &Service, statements: &[&str]) {
    let database = service.database();
    for statement in statements {
        database.execute_batch(statement).expect("it is SQL");
        agrees(service);
        service.store(&message_with(statement, &json!({"from": "+3", "text": "Later of 77"})));
        agrees(service);
    }
}

#[test]
fn what_somebody_else_changes_or_deletes_shows_at_once() {
    let service = older_file(3000).start();
    let statements = [
        "DELETE FROM messages WHERE message_id = 'r77'",
        "DELETE FROM messages WHERE rowid > (SELECT max(rowid) - 5 FROM messages)",
        "UPDATE messages SET text = 'Later' WHERE message_id = 'r5'",
        "UPDATE messages SET from_msisdn = '+3' WHERE rowid BETWEEN 100 AND 200",
        "UPDATE messages SET ts = '2025-01-15T10:30:00Z' WHERE rowid % 50 = 0",
        "UPDATE messages SET message_id = 'a' || message_id WHERE rowid % 60 = 0",
        "BEGIN; DELETE FROM messages WHERE from_msisdn = '+4'; UPDATE messages SET from_msisdn = '+4'
            WHERE from_msisdn = '+3'; COMMIT",
    ];
    shows_at_once(&service, &statements);
    is_indexed(&service);
    shows_at_once(
        &service,
        &["UPDATE messages SET text = 'Later' WHERE rowid % 7 = 0", "DELETE FROM messages WHERE rowid < 40"],
    );
    is_indexed(&service);
    agrees_all_the_way(&service);
}

#[test]
fn more_changes_by_somebody_else_than_are_taken_account_of_at_once_show_at_once() {
    let service = older_file(20_000).start();
    is_indexed(&service);
    shows_at_once(
        &service,
        &[
            "BEGIN; UPDATE messages SET from_msisdn = '+3'; UPDATE messages SET from_msisdn = '+' || rowid % 9; COMMIT",
            "DELETE FROM messages WHERE rowid > 5000",
            "DELETE FROM messages",
        ],
    );
    is_indexed(&service);
    agrees_all_the_way(&service);
    let service = service.restart();
    agrees(&service);
}

#[test]
fn pages_and_totals_agree_while_somebody_else_deletes() {
    let service = older_file(3000).start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let path = service.path("app.db");
        let done = &done;
        scope.spawn(move || {
            let database = open_database(&path);
            for row in (1..3000).rev().step_by(3) {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                database.execute("DELETE FROM messages WHERE rowid = ?1", [row]).expect("it is SQL");
            }
        });
        let _stop = SetOnDrop(done);
        for _ in 0..100 {
            // The last page tells both: were they of two states, one of them would be off.
            let page = service.get("/messages?limit=100&offset=1950");
            let total = page.expect(200).json()["total"].as_u64().expect("a number");
            let rows = ids(&page).len() as u64;
            assert_eq!(rows, total.saturating_sub(1950).min(100), "of {total}");
        }
    });
    agrees(&service);
}
