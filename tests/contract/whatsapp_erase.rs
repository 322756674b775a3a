//! `erase --sender` reaches what WhatsApp sent of a person, as does `RETENTION_DAYS` what is old.

use std::fs;

use crate::fixtures::{eventually, message};
use crate::service::Service;
use crate::setup::Setup;

const ITEMS: &str = include_str!("../../src/store/database/migration_5.sql");

/// A message of a person, a status about one to them, their contact entry, a user id's message; and of somebody else one
/// that shows their card.
const ORIGINALS: [(&str, &str); 6] = [
    (
        "message",
        r#"{"value":{"messages":[{"from":"4915207777777","id":"xylophone","text":{"body":"zugzwang"}}]},"field":"messages"}"#,
    ),
    (
        "status",
        r#"{"value":{"statuses":[{"id":"xylophone","recipient_id":"4915207777777"}]},"field":"messages"}"#,
    ),
    (
        "other",
        r#"{"value":{"state_sync":[{"contact":{"full_name":"zugzwang","phone_number":"4915207777777"}}]},"field":"smb_app_state_sync"}"#,
    ),
    (
        "message",
        r#"{"value":{"messages":[{"from_user_id":"US.777","id":"xylophone","text":{"body":"zugzwang"}}]},"field":"messages"}"#,
    ),
    (
        "message",
        r#"{"value":{"messages":[{"from":"49152088","id":"wamid.other","context":{"from":"4915207777777"}}]},"field":"messages"}"#,
    ),
    ("other", "no JSON, and 4915207777777 in it"),
];

fn with_items() -> Setup {
    let service = Service::start();
    service.store(&message("m1"));
    let setup = service.stop();
    let database = setup.database();
    database.execute_batch(&format!("{ITEMS} PRAGMA user_version = 5")).expect("the file is ours");
    for (number, (kind, original)) in ORIGINALS.iter().enumerate() {
        let insert = "INSERT INTO messages_items (id_hash, content_hash, kind, message_id, mapping, created_at, original) \
             VALUES (zeroblob(8), CAST(printf('%016d', ?1) AS BLOB), ?2, iif(?1 >= 4, 'wamid.other', 'xylophone'), 'none', '2025', CAST(?3 AS BLOB))";
        database.execute(insert, (number as i64, kind, original)).expect("the file is ours");
    }
    setup
}

fn count(setup: &Setup, table: &str) -> i64 {
    let count = format!("SELECT COUNT(*) FROM {table}");
    setup.database().query_row(&count, [], |row| row.get(0)).expect("the file is ours")
}

#[test]
fn items_that_name_somebody_are_gone_from_the_file_and_do_not_come_back() {
    let mut setup = with_items();
    let finished = setup.run(&["erase", "--sender", "+4915207777777", "--sender", "US.777"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, "0 messages, and 4 items of WhatsApp erased\n");
    assert_eq!((count(&setup, "messages_items"), count(&setup, "messages_forgotten")), (2, 4));
    for file in fs::read_dir(setup.folder.path()).expect("the folder is ours") {
        let path = file.expect("the folder is ours").path();
        let content = fs::read(&path).expect("the folder is ours");
        for word in ["xylo", "zugz", "US.777"] {
            let at = content.windows(word.len()).position(|part| part == word.as_bytes());
            assert!(at.is_none(), "{word} in {}", path.display());
        }
    }
    let again = setup.run(&["erase", "--sender", "+4915207777777"]);
    assert_eq!(again.stdout, "0 messages erased\n", "it may be done again");
}

#[test]
fn items_go_with_their_time_and_those_behind_stay() {
    let setup = with_items();
    let dated = "UPDATE messages_items SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(item <= 4, '-9 days', '-1 days'));
         UPDATE messages_retention SET believed_clock = strftime('%s', 'now') - 3600";
    setup.database().execute_batch(dated).expect("the file is ours");
    let service = setup.with("RETENTION_DAYS", "7").start();
    let left = eventually("the old ones are gone", || {
        let items =
            service.database().query_row("SELECT COUNT(*), min(item) FROM messages_items", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            });
        items.ok().filter(|(count, _)| *count < 6)
    });
    assert_eq!(left, (2, 5));
    assert_eq!(count(&service.stop(), "messages_forgotten"), 4);
}

#[test]
fn many_items_of_no_known_age_keep_no_old_one() {
    let setup = with_items();
    setup
        .database()
        .execute_batch(
            "UPDATE messages_retention SET believed_clock = strftime('%s', 'now') - 3600;
             UPDATE messages_items SET item = item + 1000, created_at = iif(item = 1, '2025-01-01T00:00:00Z', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO messages_items (item, id_hash, content_hash, kind, message_id, mapping, created_at, original)
                 SELECT i, zeroblob(8), CAST(printf('%016d', 1000 + i) AS BLOB), 'other', NULL, 'none', 'some day', x'31' FROM n",
        )
        .expect("the file is ours");
    let service = setup.with("RETENTION_DAYS", "7").start();
    eventually("all up to the old one are gone", || {
        let count = "SELECT COUNT(*) FROM messages_items";
        let left = service.database().query_row(count, [], |row| row.get::<_, i64>(0));
        (left == Ok(5)).then_some(())
    });
}
