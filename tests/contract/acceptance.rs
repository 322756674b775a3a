//! Section 9: database files that others have made, or worked on, and whose every message is served as it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fixtures::message_with;
use crate::service::Service;
use crate::setup::Setup;

pub(crate) const TABLE: &str =
    "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
    to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);";

const OLD_ROW: &str = "INSERT INTO messages (message_id, from_msisdn, to_msisdn, ts, text, created_at)
    VALUES ('old', '+9', '+8', '2024-01-01T00:00:00Z', 'from before', '2024-01-01T00:00:01Z');";

/// The table, with one thing said otherwise.
pub(crate) fn with(part: &str, instead: &str) -> String {
    assert!(TABLE.contains(part), "{part}");
    TABLE.replace(part, instead)
}

/// The table, and something more.
pub(crate) fn and(more: &str) -> String {
    format!("{TABLE}{more};")
}

/// What this service makes beside the table: as a dump would write it.
pub(crate) fn own() -> String {
    let setup = Service::start().stop();
    let database = setup.database();
    let mut statement = database
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE name LIKE 'messages\\_%' ESCAPE '\\' AND sql IS NOT NULL
                ORDER BY type = 'table' DESC",
        )
        .expect("it is SQL");
    let statements = statement.query_map([], |row| row.get(0)).expect("the file can be read");
    let statements: Vec<String> = statements.map(|sql| sql.expect("it is text")).collect();
    assert!(statements.len() >= 6, "{statements:?}");
    statements.join(";\n")
        + ";INSERT INTO messages_store VALUES (x'01', 0); INSERT INTO messages_retention VALUES (x'02', NULL);"
}

/// Messages of which no two are the same, though some table takes them for it.
fn tricky() -> Vec<Value> {
    let mut messages = Vec::new();
    let ids = ["A", "a", "a ", "007", "7", "1e5", "100000", "\u{0}", "x\u{0}y", "x\u{0}z", "é", "🎉", "null"];
    let texts = [
        json!(null),
        json!(""),
        json!("007"),
        json!("1e5"),
        json!(" 7 "),
        json!("Hello"),
        json!("hello"),
        json!("\u{0}"),
        json!("{\"a\":"),
        json!("🎉".repeat(4096)),
    ];
    for (number, id) in ids.iter().enumerate() {
        let from = ["+1", "+01", "+919876543210999"][number % 3];
        let ts = ["2025-01-15T10:00:00Z", "2025-01-15T10:00:00.000000001Z"][number / 7];
        messages.push(message_with(
            id,
            &json!({"from": from, "to": "+007", "ts": ts, "text": texts[number % texts.len()]}),
        ));
    }
    messages
}

/// The fields that were sent, by id.
fn sent<'a>(messages: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, Value> {
    let fields = |message: &Value| {
        let mut sent = message.clone();
        sent.as_object_mut().expect("a message is an object").remove("created_at");
        (message["message_id"].as_str().expect("a message has an id").to_owned(), sent)
    };
    messages.into_iter().map(fields).collect()
}

#[track_caller]
fn holds(case: &str, service: &mut Service, expected: &BTreeMap<String, Value>) {
    let page = service.get("/messages?limit=100").expect(200).json();
    let shown = page["data"].as_array().expect("a page has rows");
    assert_eq!(
        (shown.len(), page["total"].as_u64()),
        (expected.len(), Some(expected.len() as u64)),
        "{case}"
    );
    assert_eq!(&sent(shown), expected, "{case}");
    let exported = service.setup().run(&["export"]);
    assert_eq!(exported.code, Some(0), "{case}: {exported:?}");
    let lines: Vec<Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(&sent(&lines), expected, "{case}");
}

#[track_caller]
fn works(case: &str, ddl: &str, version: i64) {
    let setup = Setup::new();
    let old = setup.database();
    old.execute_batch(&format!("{ddl} {OLD_ROW} PRAGMA user_version = {version}")).expect(case);
    drop(old);
    let mut service = setup.start();
    let mut expected = sent(&tricky());
    for message in expected.values() {
        service.store(message);
    }
    for id in expected.keys() {
        service.store(&message_with(id, &json!({"text": "again"})));
    }
    assert_eq!(service.results("created"), expected.len() as f64, "{case}");
    assert_eq!(service.results("duplicate"), expected.len() as f64, "{case}");
    let old = json!({"from": "+9", "to": "+8", "ts": "2024-01-01T00:00:00Z", "text": "from before"});
    expected.insert("old".to_owned(), message_with("old", &old));
    holds(case, &mut service, &expected);
    let mut service = service.restart();
    service.get("/health/ready").expect(200);
    holds(case, &mut service, &expected);
    let mut setup = service.stop();
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{case}: {checked:?}");
}

#[test]
fn tables_that_hold_every_message_are_served() {
    let cases: [(&str, String, i64); 25] = [
        ("plain", TABLE.to_owned(), 0),
        ("VARCHAR", TABLE.replace("TEXT", "VARCHAR(32)"), 0),
        (
            "DATETIME for the times",
            with("ts TEXT", "ts DATETIME").replace("created_at TEXT", "created_at DATETIME"),
            0,
        ),
        (
            "TIMESTAMP for the times",
            with("ts TEXT", "ts TIMESTAMP").replace("created_at TEXT", "created_at DATE"),
            0,
        ),
        ("no types", TABLE.replace(" TEXT", ""), 0),
        ("BLOB", TABLE.replace("TEXT", "BLOB"), 0),
        ("STRICT", TABLE.replace(");", ") STRICT;"), 0),
        (
            "columns in another order",
            "CREATE TABLE messages (created_at TEXT, text TEXT, ts TEXT, to_msisdn TEXT, \
            from_msisdn TEXT, message_id TEXT PRIMARY KEY);"
                .to_owned(),
            0,
        ),
        ("names in capitals", TABLE.to_uppercase(), 0),
        ("UNIQUE instead of PRIMARY KEY", with("TEXT PRIMARY KEY", "TEXT UNIQUE NOT NULL"), 0),
        (
            "a second unique index on the id",
            and("CREATE UNIQUE INDEX ix_messages_message_id ON messages (message_id)"),
            0,
        ),
        (
            "a unique index with the id in it",
            and("CREATE UNIQUE INDEX u ON messages (from_msisdn COLLATE NOCASE, message_id)"),
            0,
        ),
        (
            "an index of an earlier version",
            and("CREATE INDEX messages_by_instant ON messages (rtrim(ts, 'Z.0'), message_id)"),
            0,
        ),
        (
            "a foreign key, as SQLite minds it unless it is asked to",
            and("PRAGMA foreign_keys = OFF; CREATE TABLE senders (id TEXT PRIMARY KEY)")
                .replace("from_msisdn TEXT", "from_msisdn TEXT REFERENCES senders (id)"),
            0,
        ),
        ("an id that replaces", with("PRIMARY KEY", "PRIMARY KEY ON CONFLICT REPLACE"), 0),
        ("an id that ignores", with("PRIMARY KEY", "PRIMARY KEY ON CONFLICT IGNORE"), 0),
        ("a default", with("text TEXT", "text TEXT DEFAULT 'none'"), 0),
        (
            "constraints that every message meets",
            with("message_id TEXT", "message_id TEXT CHECK (message_id <> '')"),
            0,
        ),
        (
            "indexes on columns",
            and("CREATE INDEX idx_ts ON messages (ts DESC); \
            CREATE INDEX i1 ON messages (text, ts); CREATE INDEX i2 ON messages (from_msisdn COLLATE NOCASE); \
            CREATE INDEX messages_by_sender ON messages (to_msisdn)"),
            0,
        ),
        (
            "a view and other tables",
            and("CREATE VIEW recent AS SELECT * FROM messages; CREATE TABLE users (id); \
            CREATE TABLE messages_archive (id); CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END"),
            0,
        ),
        ("version 1 of somebody else", TABLE.to_owned(), 1),
        ("version 2 of somebody else", TABLE.to_owned(), 2),
        ("version 3 of somebody else", TABLE.to_owned(), 3),
        ("version -1 of somebody else", TABLE.to_owned(), -1),
        ("version 9999 of somebody else", TABLE.to_owned(), 9999),
    ];
    for (case, ddl, version) in cases {
        works(case, &ddl, version);
    }
}

#[test]
fn what_this_service_has_made_is_known_by_what_is_there() {
    let own = own();
    let without = |object: &str| format!("{TABLE}{own} DROP {object};");
    for version in [0, 1, 2, 3, -1] {
        works(&format!("all of it, version {version}"), &format!("{TABLE}{own}"), version);
    }
    for lost in [
        "TRIGGER messages_deleted",
        "TRIGGER messages_updated",
        "TABLE messages_changes",
        "TABLE messages_store",
        "TABLE messages_forgotten",
        "TABLE messages_retention",
    ] {
        works(&format!("without {lost}"), &without(lost), 3);
    }
    works(
        "without its names",
        &format!("{TABLE}{own} DELETE FROM messages_store; DELETE FROM messages_retention;"),
        3,
    );
}
