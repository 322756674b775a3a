//! What plain SQL on the file says, which is what the service has to answer: for rows whose times have no fraction.

use serde_json::{Value, json};

use super::fixtures::{eventually, ids, open_database};
use super::service::Service;
use super::setup::Setup;

/// The filters that are asked, as parameters and as SQL.
const FILTERS: [(&str, &str); 10] = [
    ("", "1"),
    ("from=%2B3", "from_msisdn = '+3'"),
    ("since=2025-01-15T10:20:00Z", "ts >= '2025-01-15T10:20:00Z'"),
    ("from=%2B3&since=2025-01-15T10:20:00Z", "from_msisdn = '+3' AND ts >= '2025-01-15T10:20:00Z'"),
    ("q=TEXT+OF+77", "instr(lower(text), 'text of 77')"),
    ("q=tex", "instr(lower(text), 'tex')"),
    ("q=7", "instr(text, '7')"),
    ("q=later", "instr(lower(text), 'later')"),
    ("q=zebra", "0"),
    ("q=of+5&from=%2B3", "instr(lower(text), 'of 5') AND from_msisdn = '+3'"),
];

/// The table that earlier implementations have made, with rows in no order of time.
pub(crate) fn older_file(rows: usize) -> Setup {
    let setup = Setup::new();
    let statements = format!(
        "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
            to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO messages SELECT 'r' || i, '+' || (i * i % 23), '+9',
            strftime('2025-01-15T10:%M:%SZ', (i * 7919) % 3001, 'unixepoch'), 'Text of ' || i,
            '2025-01-15T11:00:00Z' FROM n;"
    );
    setup.database().execute_batch(&statements).expect("the statements are SQL");
    setup
}

/// Totals, pages at every depth and the figures, each compared with plain SQL. Nobody may be writing meanwhile.
#[track_caller]
pub(crate) fn agrees(service: &Service) {
    let database = service.database();
    for (filter, condition) in FILTERS {
        let count = format!("SELECT COUNT(*) FROM messages WHERE {condition}");
        let total: i64 = database.query_row(&count, [], |row| row.get(0)).expect("the file can be read");
        for offset in [0, total / 2, (total - 3).max(0)] {
            let page = service.get(&format!("/messages?limit=100&offset={offset}&{filter}"));
            assert_eq!(page.expect(200).json()["total"], total, "{filter} at {offset}");
            assert_eq!(ids(&page), in_order(&database, condition, 100, offset), "{filter} at {offset}");
        }
    }
    let since =
        ["2025-01-15T10:00:00Z", "2025-01-15T10:20:00Z", "2025-01-15T10:20:01Z", "2025-01-16T00:00:00Z"];
    let mut stats = service.get(&format!("/stats?messages_since={}", since.join(","))).expect(200).json();
    for (since, count) in since.iter().zip(stats["messages_since"].as_array().expect("they were asked for")) {
        // A fraction follows where the Z would.
        let sql = "SELECT COUNT(*) FROM messages WHERE rtrim(ts, 'Z') >= rtrim(?1, 'Z')";
        let plain: i64 = database.query_row(sql, [since], |row| row.get(0)).expect("the file can be read");
        assert_eq!(*count, plain, "since {since}");
    }
    stats.as_object_mut().expect("the figures are an object").remove("messages_since");
    assert_eq!(stats, figures(&database));
}

/// The same for every row on the way along the links.
#[track_caller]
pub(crate) fn agrees_all_the_way(service: &Service) {
    let mut met = Vec::new();
    let mut target = Some("/messages?limit=100".to_owned());
    while let Some(here) = target {
        let page = service.get(&here);
        met.extend(ids(&page));
        target = page.next_page();
    }
    assert!(met == in_order(&service.database(), "1", -1, 0), "the walk meets every row once, in order");
}

fn in_order(database: &rusqlite::Connection, condition: &str, limit: i64, offset: i64) -> Vec<String> {
    let rows = format!(
        "SELECT message_id FROM messages WHERE {condition} ORDER BY ts, message_id LIMIT ?1 OFFSET ?2"
    );
    let mut statement = database.prepare(&rows).expect("it is SQL");
    let ids = statement.query_map((limit, offset), |row| row.get(0)).expect("the file can be read");
    ids.map(|id| id.expect("an id is text")).collect()
}

fn figures(database: &rusqlite::Connection) -> Value {
    let mut statement = database
        .prepare("SELECT from_msisdn, COUNT(*) FROM messages GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10")
        .expect("it is SQL");
    let sender = |row: &rusqlite::Row<'_>| {
        let (from, count): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok(json!({"from": from, "from_msisdn": from, "count": count}))
    };
    let senders = statement.query_map([], sender).expect("the file can be read");
    let senders: Vec<Value> = senders.map(|sender| sender.expect("a sender is text")).collect();
    let all = "SELECT COUNT(*), COUNT(DISTINCT from_msisdn), min(ts), max(ts) FROM messages";
    let figures = database.query_row(all, [], |row| {
        let (total, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (first, last): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        Ok(json!({"total_messages": total, "senders_count": count, "messages_per_sender": senders,
            "first_message_ts": first, "last_message_ts": last}))
    });
    figures.expect("the file can be read")
}

pub(crate) fn unindexed(service: &Service, index: &str) -> f64 {
    service.metric(&format!("store_unindexed_messages{{index=\"{index}\"}}"))
}

/// Waits until the index knows every message.
#[track_caller]
pub(crate) fn is_indexed(service: &Service) {
    eventually("every message is indexed", || {
        (unindexed(service, "order") == 0.0 && unindexed(service, "search") == 0.0).then_some(())
    });
}

/// Of a service that has ended: both files are sound.
#[track_caller]
pub(crate) fn files_are_sound(setup: &Setup) {
    for name in ["app.db", "app.db-index"] {
        let path = setup.path(name);
        if path.exists() {
            let check =
                open_database(&path).query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
            assert_eq!(check.as_deref(), Ok("ok"), "{name}");
        }
    }
}

/// Waits until the index knows every message, and every one that was changed or deleted; then ends the service, whose
/// index is whole.
#[track_caller]
pub(crate) fn ends_with_a_whole_index(service: Service) -> Setup {
    is_indexed(&service);
    eventually("the index knows of every change", || {
        let known: rusqlite::Result<i64> =
            open_database(&service.path("app.db-index")).query_row(KNOWN, [], |row| row.get(0));
        (known.ok()? == stored(&service.database())).then_some(())
    });
    let setup = service.stop();
    index_is_whole(&setup);
    setup
}

const KNOWN: &str = "SELECT ordered FROM messages_marks";

fn stored(database: &rusqlite::Connection) -> i64 {
    let count = database.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0));
    count.expect("the messages can be counted")
}

/// Of a service that has ended: the index has every message.
#[track_caller]
pub(crate) fn index_is_whole(setup: &Setup) {
    files_are_sound(setup);
    let index = open_database(&setup.path("app.db-index"));
    let number = |sql| index.query_row(sql, [], |row| row.get::<_, i64>(0));
    let stored = stored(&setup.database());
    for sql in [
        KNOWN,
        "SELECT COUNT(*) FROM messages_order",
        "SELECT COUNT(*) FROM messages_of_sender",
        "SELECT SUM(messages) FROM messages_senders",
    ] {
        assert_eq!(number(sql), Ok(stored), "{sql}");
    }
}
