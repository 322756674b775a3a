//! Section 9: database files that others have made. One is served with every message as it is, or refused
//! and left as it was.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::fixtures::{message, message_with, open_database, sign};
use crate::service::Service;
use crate::setup::Setup;

const TABLE: &str = "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
    to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);";

const OLD_ROW: &str = "INSERT INTO messages (message_id, from_msisdn, to_msisdn, ts, text, created_at)
    VALUES ('old', '+9', '+8', '2024-01-01T00:00:00Z', 'from before', '2024-01-01T00:00:01Z');";

/// The table, with one thing said otherwise.
fn with(part: &str, instead: &str) -> String {
    assert!(TABLE.contains(part), "{part}");
    TABLE.replace(part, instead)
}

/// The table, and something more.
fn and(more: &str) -> String {
    format!("{TABLE}{more};")
}

/// What this service makes beside the table: as a dump would write it.
fn own() -> String {
    let setup = Service::start().stop();
    let database = setup.database();
    let mut statement = database
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE name LIKE 'messages\\_%' ESCAPE '\\' AND sql IS NOT NULL
                ORDER BY type = 'table' DESC",
        )
        .unwrap();
    let statements = statement.query_map([], |row| row.get(0)).unwrap();
    let statements: Vec<String> = statements.map(Result::unwrap).collect();
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
    for message in expected.values() {
        service.store(&message_with(message["message_id"].as_str().unwrap(), &json!({"text": "again"})));
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

/// The name, length and digest of everything in the folder.
fn folder(setup: &Setup) -> BTreeMap<String, (usize, String)> {
    let files = fs::read_dir(setup.folder.path()).expect("the folder is ours");
    let describe = |file: std::io::Result<fs::DirEntry>| {
        let file = file.expect("the folder is ours");
        let content = fs::read(file.path()).expect("the folder is ours");
        (file.file_name().to_string_lossy().into_owned(), (content.len(), sign("", &content)))
    };
    files.map(describe).collect()
}

#[track_caller]
fn is_refused_untouched(case: &str, setup: &mut Setup, said: &str) {
    let before = folder(setup);
    setup.is_refused(78, &["app.db", said]);
    assert_eq!(folder(setup), before, "{case}");
    for command in ["check", "export", "backup", "import", "erase"] {
        let arguments: &[&str] = match command {
            "backup" => &["backup", "copy.db"],
            "erase" => &["erase", "--sender", "+1"],
            _ => &[command],
        };
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(78), "{case}: {command}: {finished:?}");
        assert_eq!(folder(setup), before, "{case}: {command}");
    }
}

#[track_caller]
fn refused(case: &str, ddl: &str, version: i64, said: &str) {
    for journal in ["DELETE", "WAL"] {
        eprintln!("{case}, {journal}");
        let mut setup = Setup::new();
        setup
            .database()
            .execute_batch(&format!(
                "PRAGMA journal_mode = {journal}; {ddl} PRAGMA user_version = {version};"
            ))
            .expect(case);
        is_refused_untouched(&format!("{case}, {journal}"), &mut setup, said);
    }
}

#[test]
fn tables_that_hold_every_message_are_served() {
    let cases: [(&str, String, i64); 22] = [
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
        ("an id that replaces", with("PRIMARY KEY", "PRIMARY KEY ON CONFLICT REPLACE"), 0),
        ("an id that ignores", with("PRIMARY KEY", "PRIMARY KEY ON CONFLICT IGNORE"), 0),
        ("a default", with("text TEXT", "text TEXT DEFAULT 'none'"), 0),
        (
            "constraints that every message meets",
            with("message_id TEXT", "message_id TEXT CHECK (message_id <> '')"),
            0,
        ),
        (
            "indexes of every kind",
            and("CREATE INDEX idx_ts ON messages (ts); \
            CREATE INDEX i1 ON messages (lower(text)); CREATE INDEX i2 ON messages (from_msisdn COLLATE NOCASE); \
            CREATE INDEX i3 ON messages (ts) WHERE text IS NOT NULL; CREATE INDEX messages_by_sender ON messages (to_msisdn)"),
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
    refused("a newer version", &format!("{TABLE}{own}"), 4, "upgrade");
    refused("a part of a newer version", &without("TABLE messages_changes"), 9999, "upgrade");
    refused(
        "a newer version of another shape",
        &format!("{TABLE}{own} ALTER TABLE messages_store ADD COLUMN more;"),
        4,
        "upgrade",
    );
    refused("its messages are gone", &without("TABLE messages"), 3, "missing");
}

#[test]
fn tables_that_would_change_a_message_are_refused_and_untouched() {
    let cases: [(&str, String, &str); 13] = [
        ("NOCASE ids", with("message_id TEXT", "message_id TEXT COLLATE NOCASE"), "ignored"),
        ("RTRIM ids", with("message_id TEXT", "message_id TEXT COLLATE RTRIM"), "ignored"),
        ("NOCASE senders", with("from_msisdn TEXT", "from_msisdn TEXT COLLATE NOCASE"), "from_msisdn"),
        ("ids compared by another collation than stored", "CREATE TABLE messages (message_id TEXT COLLATE NOCASE, \
            from_msisdn TEXT, to_msisdn TEXT, ts TEXT, text TEXT, created_at TEXT, PRIMARY KEY (message_id COLLATE BINARY));".to_owned(), "message_id"),
        ("STRING numbers", TABLE.replace("_msisdn TEXT", "_msisdn STRING"), "from_msisdn"),
        ("NUMERIC text", with("text TEXT", "text NUMERIC"), "text"),
        ("INTEGER text", with("text TEXT", "text INTEGER"), "text"),
        ("REAL receivers", with("to_msisdn TEXT", "to_msisdn REAL"), "to_msisdn"),
        ("INT ids", with("message_id TEXT", "message_id INT"), "ignored"),
        ("INTEGER PRIMARY KEY", with("message_id TEXT", "message_id INTEGER"), "refuses"),
        ("WITHOUT ROWID", TABLE.replace(");", ") WITHOUT ROWID;"), "WITHOUT ROWID"),
        ("NULL becomes a default", with("text TEXT", "text TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'none'"), "text"),
        ("a generated column", with("text TEXT", "text TEXT AS (ts)"), "refuses"),
    ];
    for (case, ddl, said) in cases {
        refused(case, &ddl, 0, said);
    }
}

/// The SQLite of this program makes none, so a file is only said to be one (sqlite.org/fileformat.html, 1.3.13).
#[test]
fn a_file_of_utf_16_is_refused_and_untouched() {
    for (ddl, encoding) in [(TABLE, 2), (TABLE, 3), ("CREATE TABLE t (a); DROP TABLE t;", 2)] {
        for journal in ["DELETE", "WAL"] {
            let mut setup = Setup::new();
            setup.database().execute_batch(&format!("PRAGMA journal_mode = {journal}; {ddl}")).unwrap();
            let mut content = fs::read(setup.path("app.db")).unwrap();
            content[59] = encoding;
            setup.file("app.db", content);
            is_refused_untouched(&format!("{ddl}, {encoding}, {journal}"), &mut setup, "UTF-16");
        }
    }
}

#[test]
fn tables_that_would_refuse_a_message_are_refused_and_untouched() {
    let cases: [(&str, String, &str); 22] = [
        ("NOT NULL text", with("text TEXT", "text TEXT NOT NULL"), "NOT NULL"),
        ("NOT NULL text that ignores", with("text TEXT", "text TEXT NOT NULL ON CONFLICT IGNORE"), "ignored"),
        ("short texts", with("text TEXT", "text TEXT CHECK (length(text) <= 160)"), "CHECK"),
        ("texts that are not empty", with("text TEXT", "text TEXT CHECK (text <> '')"), "CHECK"),
        ("texts of one form", with("text TEXT", "text TEXT CHECK (text LIKE 'H%')"), "CHECK"),
        (
            "short numbers",
            with("from_msisdn TEXT", "from_msisdn TEXT CHECK (length(from_msisdn) < 17)"),
            "CHECK",
        ),
        ("whole seconds", with("ts TEXT", "ts TEXT CHECK (length(ts) = 20)"), "CHECK"),
        ("a sender and a time once", and("CREATE UNIQUE INDEX u ON messages (from_msisdn, ts)"), "ignored"),
        ("a text once", with("text TEXT", "text TEXT UNIQUE"), "ignored"),
        (
            "a sender once, the last",
            with("from_msisdn TEXT", "from_msisdn TEXT UNIQUE ON CONFLICT REPLACE"),
            "ignored",
        ),
        ("ids in one case", and("CREATE UNIQUE INDEX u ON messages (message_id COLLATE NOCASE)"), "ignored"),
        (
            "an index that fails",
            and("CREATE INDEX i ON messages (abs(CAST(text AS INTEGER) - 9223372036854775807 - 1))"),
            "overflow",
        ),
        (
            "a foreign key",
            and("CREATE TABLE senders (id TEXT PRIMARY KEY); INSERT INTO senders VALUES ('+1')")
                .replace("from_msisdn TEXT", "from_msisdn TEXT REFERENCES senders (id)"),
            "senders",
        ),
        ("STRICT numbers", with("text TEXT", "text INTEGER").replace(");", ") STRICT;"), "INTEGER"),
        ("no unique id", with("TEXT PRIMARY KEY", "TEXT"), "twice"),
        (
            "ids unique in part",
            with("TEXT PRIMARY KEY", "TEXT")
                + "CREATE UNIQUE INDEX u ON messages (message_id) WHERE text IS NOT NULL;",
            "twice",
        ),
        (
            "a key of two columns",
            "CREATE TABLE messages (message_id TEXT, from_msisdn TEXT, to_msisdn TEXT, ts TEXT, \
            text TEXT, created_at TEXT, PRIMARY KEY (message_id, from_msisdn));"
                .to_owned(),
            "twice",
        ),
        (
            "other columns",
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT);".to_owned(),
            "other columns",
        ),
        ("a column less", with(", created_at TEXT NOT NULL", ""), "other columns"),
        ("a column more", with("created_at TEXT", "extra TEXT, created_at TEXT"), "other columns"),
        (
            "a hidden column more",
            with("created_at TEXT", "extra TEXT AS (ts), created_at TEXT"),
            "other columns",
        ),
        ("a column by another name", with("from_msisdn", "sender"), "other columns"),
    ];
    for (case, ddl, said) in cases {
        refused(case, &ddl, 0, said);
    }
}

#[test]
fn triggers_and_things_by_our_names_that_others_made_are_refused_and_untouched() {
    let on_messages = |what: &str| and(&format!("CREATE TRIGGER t {what}; END"));
    let own = own();
    let cases: [(&str, String, i64, &str); 16] = [
        ("a trigger that ignores", on_messages("BEFORE INSERT ON messages BEGIN SELECT RAISE(IGNORE)"), 0, "trigger t"),
        ("a trigger that refuses", on_messages("BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no')"), 0, "trigger t"),
        ("a trigger that refuses one text", on_messages("AFTER INSERT ON messages WHEN new.text = 'no' \
            BEGIN SELECT RAISE(ABORT, 'no')"), 0, "trigger t"),
        ("a trigger that changes", on_messages("AFTER INSERT ON messages BEGIN UPDATE messages SET text = 'x'"), 0, "trigger t"),
        ("a view of messages", "CREATE TABLE m (message_id, from_msisdn, to_msisdn, ts, text, created_at); \
            CREATE VIEW messages AS SELECT * FROM m;".to_owned(), 0, "ordinary table"),
        ("a virtual table", "CREATE VIRTUAL TABLE messages USING fts5 (message_id, from_msisdn, to_msisdn, ts, text, created_at);"
            .to_owned(), 0, "ordinary table"),
        ("their messages_store", and("CREATE TABLE messages_store (a); INSERT INTO messages_store VALUES ('theirs')"), 0, "messages_store"),
        ("their messages_changes", and("CREATE TABLE messages_changes (a); INSERT INTO messages_changes VALUES ('theirs')"), 0, "messages_changes"),
        ("their messages_forgotten", and("CREATE TABLE messages_forgotten (id)"), 3, "messages_forgotten"),
        ("their messages_retention", and("CREATE TABLE messages_retention (days)"), 2, "messages_retention"),
        ("their view messages_store", and("CREATE VIEW messages_store AS SELECT 1 AS id"), -1, "messages_store"),
        ("their index messages_changes", and("CREATE INDEX messages_changes ON messages (ts)"), 0, "messages_changes"),
        ("their trigger messages_deleted", and("CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN SELECT 1; END"), 0, "messages_deleted"),
        ("their trigger messages_updated elsewhere", and("CREATE TABLE u (a); \
            CREATE TRIGGER messages_updated AFTER UPDATE ON u BEGIN SELECT 1; END"), 0, "messages_updated"),
        ("their trigger on ours", format!("{TABLE}{own} CREATE TRIGGER t BEFORE INSERT ON messages_forgotten BEGIN SELECT RAISE(IGNORE); END;"), 3, "trigger t"),
        ("their index on ours", format!("{TABLE}{own} CREATE UNIQUE INDEX i ON messages_changes (message_row);"), 3, "index i"),
    ];
    for (case, ddl, version, said) in cases {
        refused(case, &ddl, version, said);
    }
}

/// Copied while it is open, as a kill would leave it: everything still stands in the log.
#[test]
fn a_refused_file_whose_log_was_never_written_back_is_untouched() {
    let crashed = Setup::new();
    let database = crashed.database();
    let ddl = with("message_id TEXT", "message_id TEXT COLLATE NOCASE");
    database.execute_batch(&format!("PRAGMA journal_mode = WAL; {ddl}")).unwrap();
    for beside in [&["app.db", "app.db-wal"][..], &["app.db", "app.db-wal", "app.db-shm"]] {
        let mut setup = Setup::new();
        for name in beside {
            setup.file(name, fs::read(crashed.path(name)).unwrap());
        }
        let before = folder(&setup);
        setup.is_refused(78, &["app.db", "ignored"]);
        let mut after = folder(&setup);
        if let Some(shared) = before.get("app.db-shm") {
            // What processes share is no content: who looks writes into it.
            after.insert("app.db-shm".to_owned(), shared.clone());
        }
        assert_eq!(after, before);
    }
}

#[test]
fn what_is_no_database_is_refused_and_untouched() {
    let header_then_rubbish = [b"SQLite format 3\0".as_slice(), &[0xff; 5000]].concat();
    for content in [
        b"this is a text file, long enough to hold a header ".repeat(50),
        vec![0xff; 8192],
        header_then_rubbish,
    ] {
        let mut setup = Setup::new();
        setup.file("app.db", &content);
        is_refused_untouched("no database", &mut setup, "no");
    }
}

/// A file whose writer was killed in the middle of a transaction that had reached the file: 100 rows are
/// committed, and behind them more are not.
fn killed_in_a_transaction() -> Setup {
    let crashed = Setup::new();
    let database = crashed.database();
    let rows = |from: i64, to: i64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to})
            INSERT INTO messages SELECT 'r' || i, '+1', '+2', '2025-01-15T10:00:00Z', hex(randomblob(500)), '2025' FROM n;"
        )
    };
    database
        .execute_batch(&format!(
            "{TABLE} {} PRAGMA cache_size = 5; BEGIN; UPDATE messages SET text = 'half done'; {}",
            rows(1, 100),
            rows(101, 2000)
        ))
        .unwrap();
    let setup = Setup::new();
    for name in ["app.db", "app.db-journal"] {
        setup.file(name, fs::read(crashed.path(name)).unwrap());
    }
    assert!(
        fs::metadata(setup.path("app.db")).unwrap().len() > 500_000,
        "the transaction has reached the file"
    );
    setup
}

#[test]
fn a_file_whose_last_writer_was_killed_is_recovered_by_whoever_opens_it_first() {
    let service = killed_in_a_transaction().start();
    service.get("/health/ready").expect(200);
    assert_eq!(service.get("/messages").json()["total"], 100);
    assert_eq!(service.get("/messages?q=half+done").json()["total"], 0);
    service.store(&message("m1"));
    assert_eq!(service.restart().get("/messages").json()["total"], 101);
    for (command, said) in
        [("check", "100 messages"), ("export", "\"r100\""), ("backup copy.db", ""), ("import", "")]
    {
        let mut setup = killed_in_a_transaction();
        let finished = setup.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(finished.code, Some(0), "{command}: {finished:?}");
        assert!(finished.stdout.contains(said), "{command}: {finished:?}");
        assert!(!setup.path("app.db-journal").exists(), "{command}");
    }
    let backup = killed_in_a_transaction();
    let mut setup = Setup::new();
    let finished = setup.run(&["restore", backup.path("app.db").to_str().unwrap()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(setup.start().get("/messages").json()["total"], 100);
}

#[test]
fn rows_of_old_files_that_no_message_could_make_are_shown() {
    let setup = Setup::new();
    setup
        .database()
        .execute_batch(
            "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn, to_msisdn, ts, text, created_at);
            INSERT INTO messages VALUES ('a', '+1', '+2', '2025-01-15T10:00:00Z', NULL, NULL);
            INSERT INTO messages VALUES ('b', 1, x'2b32', '2025-01-15T10:00:01Z', 7, 1736935201);
            INSERT INTO messages VALUES (NULL, NULL, NULL, NULL, NULL, NULL);",
        )
        .unwrap();
    let mut service = setup.start();
    assert_eq!(service.get("/messages").expect(200).json()["total"], 3);
    assert_eq!(service.get("/stats").expect(200).json()["total_messages"], 3);
    let exported = service.setup().run(&["export"]);
    assert_eq!((exported.code, exported.stdout.lines().count()), (Some(0), 3), "{exported:?}");
}

/// What an outsider does to a table while the service is off goes unnoticed where the triggers are gone.
#[test]
fn an_index_is_not_believed_where_the_triggers_were_missing() {
    let mut service = Service::start();
    for number in 0..20 {
        service.store(&message(&format!("m{number}")));
    }
    crate::plain::is_indexed(&service);
    let setup = service.stop();
    // As SQLite's own documentation has a table rebuilt (sqlite.org/lang_altertable.html#otheralter).
    setup
        .database()
        .execute_batch(&format!(
            "BEGIN; {}
            INSERT INTO fresh SELECT * FROM messages ORDER BY message_id DESC;
            DROP TABLE messages; ALTER TABLE fresh RENAME TO messages;
            UPDATE messages SET from_msisdn = '+77' WHERE message_id = 'm7';
            DELETE FROM messages WHERE message_id = 'm8'; COMMIT;",
            TABLE.replace("messages", "fresh")
        ))
        .unwrap();
    service = setup.start();
    assert_eq!(service.get("/messages?from=%2B77").json()["total"], 1);
    assert_eq!(service.get("/messages").json()["total"], 19);
    crate::plain::is_indexed(&service);
    assert_eq!(service.get("/messages?from=%2B77").json()["total"], 1);
    assert_eq!(service.get("/stats").json()["messages_per_sender"][1]["count"], 1);
    let triggers = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'messages'";
    assert_eq!(service.database().query_row(triggers, [], |row| row.get::<_, i64>(0)), Ok(2));
    let checked = service.setup().run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn a_check_ends_where_the_row_numbers_do() {
    let setup = Setup::new();
    let database = open_database(&setup.path("app.db"));
    database.execute_batch(TABLE).unwrap();
    for row in [1, i64::MAX] {
        database
            .execute(
                "INSERT INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at)
                    VALUES (?1, 'r' || ?1, '+1', '+2', '2025-01-15T10:00:00Z', 'Hello world', '2025')",
                [row],
            )
            .unwrap();
    }
    drop(database);
    let service = setup.start();
    crate::plain::is_indexed(&service);
    assert_eq!(service.get("/messages?q=hello").json()["total"], 2);
    let mut setup = service.stop();
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("agrees with the 2 messages"), "{checked:?}");
    assert_eq!(setup.run(&["export"]).stdout.lines().count(), 2);
}
