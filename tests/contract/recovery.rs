//! Section 9: database files whose writer was killed, whose rows are odd, or that were worked on by hand.

use std::fs;

use crate::acceptance::TABLE;
use crate::fixtures::{eventually, message, open_database};
use crate::plain::is_indexed;
use crate::service::Service;
use crate::setup::Setup;

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
        .expect("the statements are SQL");
    let setup = Setup::new();
    for name in ["app.db", "app.db-journal"] {
        setup.file(name, fs::read(crashed.path(name)).expect("it was written"));
    }
    let bytes = fs::metadata(setup.path("app.db")).expect("it was written").len();
    assert!(bytes > 500_000, "the transaction has reached the file");
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
    is_indexed(&service);
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
    is_indexed(&service);
    assert_eq!(service.get("/messages?from=%2B77").json()["total"], 1);
    assert_eq!(service.get("/stats").json()["messages_per_sender"][1]["count"], 1);
    let triggers = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'messages'";
    assert_eq!(service.database().query_row(triggers, [], |row| row.get::<_, i64>(0)), Ok(3));
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
    is_indexed(&service);
    assert_eq!(service.get("/messages?q=hello").json()["total"], 2);
    let mut setup = service.stop();
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("2 messages"), "{checked:?}");
    assert!(checked.stdout.contains("feed: the last row number is in use"), "{checked:?}");
    assert_eq!(setup.run(&["export"]).stdout.lines().count(), 2);
}

/// What an outsider does to the schema while the service runs is seen before the next message is taken.
#[test]
fn a_schema_that_is_changed_while_the_service_runs_is_looked_at_anew() {
    let mut service = Service::start();
    for number in 0..20 {
        service.store(&message(&format!("m{number}")));
    }
    is_indexed(&service);
    let database = service.database();
    for (what, undo) in [
        ("TRIGGER t BEFORE INSERT ON messages BEGIN SELECT RAISE(IGNORE); END", "TRIGGER t"),
        (
            "TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM messages WHERE rowid = new.rowid; END",
            "TRIGGER t",
        ),
        ("UNIQUE INDEX u ON messages (from_msisdn, ts, message_id, created_at, text COLLATE NOCASE)", ""),
    ] {
        database.execute_batch(&format!("CREATE {what}")).unwrap();
        if !undo.is_empty() {
            assert_eq!(service.post(&message("refused")).status, 503, "{what}");
            service.get("/health/ready").expect(503);
            database.execute_batch(&format!("DROP {undo}")).unwrap();
            eventually("it is ready again", || (service.get("/health/ready").status == 200).then_some(()));
        }
    }
    service.store(&message("refused"));
    database
        .execute_batch(
            "BEGIN; DROP TRIGGER messages_updated; DROP TRIGGER messages_deleted;
            UPDATE messages SET from_msisdn = '+77' WHERE message_id = 'm7';
            DELETE FROM messages WHERE message_id = 'm8'; COMMIT;",
        )
        .unwrap();
    service.store(&message("after"));
    assert_eq!(service.get("/messages?from=%2B77").json()["total"], 1);
    assert_eq!(service.get("/messages").json()["total"], 21);
    is_indexed(&service);
    assert_eq!(service.get("/messages?from=%2B77").json()["total"], 1);
    database.execute_batch("DELETE FROM messages WHERE message_id = 'm9'").unwrap();
    assert_eq!(service.get("/messages").json()["total"], 20);
    let checked = service.setup().run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
