//! `check`: the structure of the files, what is counted, and the index against plain SQL.

use std::fs;

use serde_json::json;

use crate::fixtures::{message_with, open_database};
use crate::plain::{is_indexed, older_file};
use crate::setup::{Finished, Setup};

/// A service that has ended, of whose messages all are in the index.
fn indexed(rows: usize) -> Setup {
    let service = older_file(rows).start();
    is_indexed(&service);
    service.stop()
}

#[track_caller]
fn says(finished: &Finished, code: i32, said: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for part in said {
        assert!(finished.stdout.contains(part), "{part:?} is not in {}", finished.stdout);
    }
}

#[test]
fn a_sound_database_is_said_to_be_sound() {
    let mut setup = indexed(3000);
    let figures = "3000 messages from 12 senders, 2025-01-15T10:00:01Z to 2025-01-15T10:50:00Z";
    let all = [
        "structure: sound",
        figures,
        "feed: new messages come behind",
        "index: agrees with the 3000 messages",
    ];
    says(&setup.run(&["check"]), 0, &all);
    assert!(setup.path("app.db-index").exists());
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    says(&setup.run(&["check", "copy.db"]), 0, &["copy.db", "3000 messages", "index: there is none"]);
    says(&older_file(10).run(&["check"]), 0, &["schema version 0", "10 messages"]);
}

#[test]
fn a_database_is_checked_while_a_service_takes_messages_in() {
    let mut service = older_file(20_000).start();
    for round in 0..10 {
        for number in 0..20 {
            let id = format!("new {round} {number}");
            service.store(&message_with(&id, &json!({"from": "+3", "text": "Later of 77"})));
        }
        service.database().execute("DELETE FROM messages WHERE rowid = ?1", [round + 50]).unwrap();
        says(&service.setup().run(&["check"]), 0, &["structure: sound", "index: agrees"]);
    }
    is_indexed(&service);
    says(&service.setup().run(&["check"]), 0, &["index: agrees with the 20190 messages"]);
}

#[test]
fn every_part_of_the_index_is_compared_with_the_messages() {
    let setup = indexed(3000);
    let whole = fs::read(setup.path("app.db-index")).unwrap();
    let row = "(SELECT min(message_row) FROM messages_order)";
    let cases = [
        ("marks", "UPDATE messages_marks SET ordered = ordered + 1".to_owned(), "where it says"),
        ("senders", "UPDATE messages_marks SET senders = senders - 1".to_owned(), "the senders are"),
        (
            "order",
            format!("DELETE FROM messages_order WHERE message_row = {row}"),
            "1 messages are not in the order",
        ),
        (
            "order elsewhere",
            format!("UPDATE messages_order SET instant = '2024' WHERE message_row = {row}"),
            "1 messages are not in the order",
        ),
        (
            "sender",
            format!("UPDATE messages_of_sender SET sender = '+x' WHERE message_row = {row}"),
            "1 messages are not with their sender",
        ),
        (
            "counts",
            "UPDATE messages_senders SET messages = messages + 1 WHERE sender = '+3'".to_owned(),
            "1 senders have another count",
        ),
        ("nobody", "INSERT INTO messages_senders VALUES ('+none', 1)".to_owned(), "no messages"),
        ("top", "DELETE FROM messages_top WHERE sender = '+3'".to_owned(), "busiest"),
        (
            "ranks",
            "UPDATE messages_ranks SET messages = messages + 1 WHERE level = 1".to_owned(),
            "blocks of the order have another count",
        ),
        (
            "blocks",
            "UPDATE messages_ranks SET instant = '2025-01-15T10:00:30' WHERE level = 0
                AND instant = (SELECT max(instant) FROM messages_ranks)"
                .to_owned(),
            "another count",
        ),
        (
            "search",
            "INSERT INTO messages_search (messages_search) VALUES ('delete-all')".to_owned(),
            "are not found by a search",
        ),
        (
            "texts",
            "UPDATE messages_texts SET texts = x'61' WHERE block = 7".to_owned(),
            "1 blocks of texts are not",
        ),
        ("no texts", "DELETE FROM messages_texts WHERE block = 7".to_owned(), "1 blocks of texts are not"),
    ];
    for (case, statement, fault) in cases {
        let mut broken = Setup::new();
        for name in ["app.db", "app.db-index"] {
            fs::copy(setup.path(name), broken.path(name)).unwrap();
        }
        assert!(fs::read(broken.path("app.db-index")).unwrap() == whole);
        open_database(&broken.path("app.db-index")).execute_batch(&statement).expect(case);
        let finished = broken.run(&["check"]);
        says(&finished, 1, &["structure: sound", fault, "delete it"]);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        // As it says.
        fs::remove_file(broken.path("app.db-index")).unwrap();
        says(&broken.run(&["check"]), 0, &["structure: sound"]);
    }
}

#[test]
fn damage_is_found_in_either_file() {
    let setup = indexed(20_000);
    for name in ["app.db", "app.db-index"] {
        let mut broken = Setup::new();
        for name in ["app.db", "app.db-index"] {
            fs::copy(setup.path(name), broken.path(name)).unwrap();
        }
        let mut content = fs::read(broken.path(name)).unwrap();
        let half = content.len() / 2 / 4096 * 4096;
        content[half..half + 20 * 4096].fill(0xee);
        fs::write(broken.path(name), &content).unwrap();
        let finished = broken.run(&["check"]);
        assert_eq!(finished.code, Some(1), "{name}: {finished:?}");
        assert!(fs::read(broken.path(name)).unwrap() == content, "{name} is as it was");
    }
}

#[test]
fn an_index_of_another_state_is_no_fault_and_what_is_no_database_is_one() {
    let mut setup = indexed(1000);
    setup
        .database()
        .execute_batch("DELETE FROM messages_store; INSERT INTO messages_store VALUES (x'00', 0)")
        .unwrap();
    says(&setup.run(&["check"]), 0, &["index: it was made of another state"]);
    setup.file("text.db", "this is no database ".repeat(500));
    assert_eq!(setup.run(&["check", "text.db"]).code, Some(78));
    assert_eq!(setup.run(&["check", "missing.db"]).code, Some(69));
}
