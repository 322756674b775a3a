//! Section 9: database files that others have made, and that are refused and left as they were.

use std::collections::BTreeMap;
use std::fs;

use crate::acceptance::{TABLE, and, own, with};
use crate::fixtures::sign;
use crate::setup::Setup;

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
fn newer_versions_and_files_without_their_messages_are_refused_and_untouched() {
    let own = own();
    let without = |object: &str| format!("{TABLE}{own} DROP {object};");
    refused("a newer version", &format!("{TABLE}{own}"), 6, "upgrade");
    refused("a part of a newer version", &without("TABLE messages_changes"), 9999, "upgrade");
    refused(
        "a newer version of another shape",
        &format!("{TABLE}{own} ALTER TABLE messages_store ADD COLUMN more;"),
        6,
        "upgrade",
    );
    refused("its messages are gone", &without("TABLE messages"), 4, "missing");
}

#[test]
fn tables_that_would_change_a_message_are_refused_and_untouched() {
    let cases: [(&str, String, &str); 13] = [
        ("NOCASE ids", with("message_id TEXT", "message_id TEXT COLLATE NOCASE"), "sqlite_autoindex_messages_1"),
        ("RTRIM ids", with("message_id TEXT", "message_id TEXT COLLATE RTRIM"), "sqlite_autoindex_messages_1"),
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
    let cases: [(&str, String, &str); 28] = [
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
        ("a sender and a time once", and("CREATE UNIQUE INDEX u ON messages (from_msisdn, ts)"), "index u "),
        ("a text once", with("text TEXT", "text TEXT UNIQUE"), "sqlite_autoindex_messages_2"),
        (
            "all but the id once",
            with(
                "created_at TEXT NOT NULL",
                "created_at TEXT NOT NULL, UNIQUE (from_msisdn, to_msisdn, ts, text)",
            ),
            "sqlite_autoindex_messages_2",
        ),
        (
            "a time once for one receiver",
            and("CREATE UNIQUE INDEX u ON messages (from_msisdn, ts) WHERE to_msisdn = '+6'"),
            "index u ",
        ),
        (
            "a receiver once for one text",
            and("CREATE UNIQUE INDEX u ON messages (to_msisdn) WHERE text = 'same'"),
            "index u ",
        ),
        ("a link once", and("CREATE UNIQUE INDEX u ON messages (text) WHERE text LIKE 'http%'"), "index u "),
        (
            "a part of the id once",
            and("CREATE UNIQUE INDEX u ON messages (substr(message_id, 1, 3), text)"),
            "index u ",
        ),
        (
            "an index that fails for one text",
            and("CREATE INDEX u ON messages (abs(CAST(text AS INTEGER)))"),
            "index u ",
        ),
        ("a condition", and("CREATE INDEX u ON messages (ts) WHERE abs(text) > 0"), "index u "),
        (
            "a sender once, the last",
            with("from_msisdn TEXT", "from_msisdn TEXT UNIQUE ON CONFLICT REPLACE"),
            "unique",
        ),
        ("ids in one case", and("CREATE UNIQUE INDEX u ON messages (message_id COLLATE NOCASE)"), "index u "),
        (
            "an index that fails",
            and("CREATE INDEX i ON messages (abs(CAST(text AS INTEGER) - 9223372036854775807 - 1))"),
            "index i ",
        ),
        ("STRICT numbers", with("text TEXT", "text INTEGER").replace(");", ") STRICT;"), "INTEGER"),
        ("no unique id", with("TEXT PRIMARY KEY", "TEXT"), "twice"),
        (
            "ids unique in part",
            with("TEXT PRIMARY KEY", "TEXT")
                + "CREATE UNIQUE INDEX u ON messages (message_id) WHERE text IS NOT NULL;",
            "index u ",
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
        setup.is_refused(78, &["app.db", "autoindex"]);
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
