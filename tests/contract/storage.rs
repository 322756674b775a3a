//! Section 9: the database file, those of earlier implementations and what becomes of them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::fixtures::{ids, message, message_with, open_database};
use crate::service::Service;
use crate::setup::Setup;

const TABLE: &str = "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
    to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);";

const VARCHAR_TABLE: &str =
    "CREATE TABLE messages (message_id VARCHAR NOT NULL, from_msisdn VARCHAR NOT NULL,
    to_msisdn VARCHAR NOT NULL, ts VARCHAR NOT NULL, text VARCHAR, created_at VARCHAR NOT NULL,
    PRIMARY KEY (message_id));";

type Row = (String, String, String, String, Option<String>, String);

fn rows(path: &Path) -> BTreeSet<Row> {
    let database = open_database(path);
    let mut statement = database
        .prepare("SELECT message_id, from_msisdn, to_msisdn, ts, text, created_at FROM messages")
        .expect("the table is there");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .expect("the table can be read");
    rows.map(|row| row.expect("a row has these types")).collect()
}

fn pragma<T: rusqlite::types::FromSql>(path: &Path, name: &str) -> T {
    open_database(path).pragma_query_value(None, name, |row| row.get(0)).expect("SQLite knows the pragma")
}

/// Opens a file made by these statements, uses it, and checks that what it held is still there.
#[track_caller]
fn lives_on(case: &str, statements: &str, created_at: &str) -> Setup {
    let setup = Setup::new();
    let path = setup.path("app.db");
    let old = open_database(&path);
    old.execute_batch(statements).expect("the statements are SQL");
    for (id, from, ts, text) in [
        ("old1", "+1", "2025-01-15T10:00:00Z", Some("first")),
        ("old2", "+2", "2025-01-15T10:00:00.5Z", None),
        ("old3", "+1", "2025-01-16T10:00:00Z", Some("école %_\"")),
        ("old4", "+3", "2025-01-17T10:00:00Z", Some("")),
    ] {
        old.execute(
            "INSERT INTO messages VALUES (?1, ?2, '+9', ?3, ?4, ?5)",
            (id, from, ts, text, created_at),
        )
        .expect("a row goes in");
    }
    drop(old);
    let before = rows(&path);

    let service = setup.start();
    service.get("/health/ready").expect(200);
    let page = service.get("/messages");
    assert_eq!(ids(&page), ["old1", "old2", "old3", "old4"], "{case}");
    let page = page.json();
    assert_eq!(page["data"][1]["text"], json!(null), "{case}");
    assert_eq!(page["data"][2]["from"], "+1", "{case}");
    assert_eq!(ids(&service.get("/messages?q=%C3%89COLE")), ["old3"], "{case}");
    assert_eq!(ids(&service.get("/messages?from=%2B1&since=2025-01-16")), ["old3"], "{case}");
    let stats = service.get("/stats").json();
    assert_eq!(stats["total_messages"], 4, "{case}");
    assert_eq!(
        stats["messages_per_sender"][0],
        json!({"from": "+1", "from_msisdn": "+1", "count": 2}),
        "{case}"
    );

    service.store(&message_with("old1", &json!({"from": "+777"})));
    service.store(&message_with("new", &json!({"ts": "2025-01-15T10:00:00.25Z", "from": "+3"})));
    assert_eq!(ids(&service.get("/messages")), ["old1", "new", "old2", "old3", "old4"], "{case}");
    assert_eq!(service.get("/stats").json()["total_messages"], 5, "{case}");

    let service = service.restart();
    assert_eq!(service.get("/messages").json()["total"], 5, "{case}");
    let setup = service.stop();
    let after = rows(&path);
    assert!(after.is_superset(&before) && after.len() == 5, "{case}: {after:?}");
    assert_eq!(pragma::<String>(&path, "integrity_check"), "ok", "{case}");
    setup
}

#[test]
fn files_of_earlier_implementations_open_as_they_are() {
    let indexes = |ts: &str, from: &str| {
        format!("CREATE INDEX {ts} ON messages (ts); CREATE INDEX {from} ON messages (from_msisdn);")
    };
    // The names are taken, and by indexes over something that nobody would expect.
    let misleading = "CREATE INDEX idx_ts ON messages (text); CREATE INDEX idx_from_msisdn ON messages (to_msisdn);
        CREATE INDEX idx_messages_ts ON messages (created_at); CREATE INDEX idx_messages_from ON messages (text);
        CREATE INDEX idx_created_at ON messages (ts);";
    let named =
        indexes("idx_ts", "idx_from_msisdn") + "CREATE INDEX idx_created_at ON messages (created_at);";
    let zoned = "2025-01-15T10:00:01.123456+00:00";
    let micros = "2025-01-15T10:00:01.123456Z";
    let plain = "2025-01-15T10:00:01Z";
    let cases = [
        ("a plain table", TABLE.to_owned(), zoned),
        ("microseconds", TABLE.to_owned(), micros),
        ("whole seconds", TABLE.to_owned(), plain),
        ("named indexes", format!("{TABLE}{named}"), plain),
        ("other index names", TABLE.to_owned() + &indexes("idx_messages_ts", "idx_messages_from"), micros),
        ("misleading index names", format!("{TABLE}{misleading}"), zoned),
        ("VARCHAR columns", VARCHAR_TABLE.to_owned(), zoned),
        ("VARCHAR columns with indexes", format!("{VARCHAR_TABLE}{named}"), micros),
        ("written in lower case", TABLE.to_lowercase(), plain),
        ("a WAL file", format!("PRAGMA journal_mode = WAL; {TABLE}"), plain),
    ];
    for (case, statements, created_at) in cases {
        lives_on(case, &statements, created_at);
    }
}

#[test]
fn tables_of_litestream_are_left_alone() {
    let statements = format!(
        "{TABLE}
        CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
        CREATE TABLE _litestream_lock (id INTEGER);
        INSERT INTO _litestream_seq VALUES (1, 42);"
    );
    let setup = lives_on("litestream", &statements, "2025-01-15T10:00:01Z");
    let database = setup.database();
    let seq: i64 =
        database.query_row("SELECT seq FROM _litestream_seq WHERE id = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(seq, 42);
    database.execute_batch("SELECT id FROM _litestream_lock").unwrap();
}

#[test]
fn rows_of_old_files_whose_time_has_another_form_are_kept() {
    let setup = Setup::new();
    let old = setup.database();
    old.execute_batch(TABLE).unwrap();
    for (id, ts) in
        [("a", "2025-01-15T10:00:00+00:00"), ("b", "2025-01-15 10:00:00"), ("c", "yesterday"), ("d", "")]
    {
        old.execute("INSERT INTO messages VALUES (?1, '+1', '+2', ?2, 'text', 'whenever')", (id, ts))
            .unwrap();
    }
    drop(old);
    let service = setup.start();
    service.store(&message("e"));
    let mut found = ids(&service.get("/messages"));
    found.sort();
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
    let mut met = Vec::new();
    let mut target = Some("/messages?limit=1".to_owned());
    while let Some(here) = target {
        let page = service.get(&here);
        met.extend(ids(&page));
        assert!(met.len() <= 5, "the walk ends: {met:?}");
        target = page.next_page();
    }
    met.sort();
    assert_eq!(met, found);
    assert_eq!(service.get("/stats").json()["total_messages"], 5);
}

#[test]
fn an_empty_file_is_filled() {
    let setup = Setup::new();
    setup.file("app.db", "");
    let service = setup.start();
    service.store(&message("m1"));
    assert_eq!(service.get("/messages").json()["total"], 1);
}

#[test]
fn a_new_file_has_the_table_that_others_know() {
    let service = Service::start();
    service.store(&message("m1"));
    let database = service.database();
    let row: Row = database
        .query_row(
            "SELECT message_id, from_msisdn, to_msisdn, ts, text, created_at FROM messages",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
        )
        .unwrap();
    assert_eq!(row.0, "m1");
    assert_eq!(row.3, "2025-01-15T10:00:00Z");
    let mut statement =
        database.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info('messages')").unwrap();
    let columns: Vec<(String, String, bool, bool)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let column = |name: &str, not_null, key| (name.to_owned(), "TEXT".to_owned(), not_null, key);
    assert_eq!(
        columns,
        [
            column("message_id", false, true),
            column("from_msisdn", true, false),
            column("to_msisdn", true, false),
            column("ts", true, false),
            column("text", false, false),
            column("created_at", true, false),
        ]
    );
    let path = service.path("app.db");
    assert_eq!(pragma::<String>(&path, "journal_mode"), "wal");
    assert!(pragma::<i64>(&path, "user_version") > 0);
}

#[test]
fn a_file_is_opened_again_and_again() {
    let mut service = Service::start();
    for round in 0..4 {
        service.store(&message(&format!("m{round}")));
        service = if round % 2 == 0 { service.restart() } else { service.kill().start() };
        assert_eq!(service.get("/messages").json()["total"], round + 1);
    }
}
