//! Section 3 for messages that no client has sent: what old files hold, and what a person with sqlite3 puts in, beside the
//! running service and while it is stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::fixtures::{eventually, message, message_with, open_database};
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed, older_file};
use crate::properties::Random;
use crate::service::Service;
use crate::setup::Setup;

/// What each message is known by in these tests, whatever its id: its text, in the order of the contract.
fn in_order(database: &rusqlite::Connection, condition: &str) -> Vec<String> {
    let sql = format!(
        "SELECT text FROM messages WHERE {condition} ORDER BY rtrim(CAST(ts AS TEXT), 'Z.0'), message_id, rowid"
    );
    let mut statement = database.prepare(&sql).expect("it is SQL");
    let texts = statement.query_map([], |row| row.get(0)).expect("the file can be read");
    texts.map(|text| text.expect("each has a text")).collect()
}

fn texts(page: &crate::http_client::Answer) -> Vec<String> {
    let rows = page.expect(200).json()["data"].as_array().expect("a page has rows").clone();
    rows.iter().map(|row| row["text"].as_str().expect("each has a text").to_owned()).collect()
}

/// Follows every link, and has something done after each page with what it showed.
#[track_caller]
fn walk(service: &Service, first: &str, mut between: impl FnMut(&[String])) -> Vec<String> {
    let (mut met, mut target, mut pages) = (Vec::new(), Some(first.to_owned()), 0);
    while let Some(here) = target {
        let page = service.get(&here);
        let rows = texts(&page);
        target = page.next_page();
        assert!(target.is_none() || !rows.is_empty(), "an empty page leads nowhere: {here}");
        between(&rows);
        met.extend(rows);
        pages += 1;
        assert!(pages < 5000, "the walk ends");
    }
    met
}

#[track_caller]
fn walks_are_whole(service: &Service, limits: &[usize]) {
    let database = service.database();
    for (filter, condition) in
        [("", "1"), ("&from=%2B3", "CAST(from_msisdn AS TEXT) = '+3'"), ("&q=of+7", "instr(text, 'of 7')")]
    {
        let expected = in_order(&database, condition);
        for limit in limits {
            let met = walk(service, &format!("/messages?limit={limit}{filter}"), |_| ());
            assert!(met == expected, "limit={limit}{filter}: {met:?} instead of {expected:?}");
        }
    }
}

/// The same once the service has noticed, as totals need.
#[track_caller]
fn agrees_soon(service: &Service) {
    let database = service.database();
    let count: i64 =
        database.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).expect("it can be counted");
    eventually("the total is right", || {
        (service.get("/stats").expect(200).json()["total_messages"] == count).then_some(())
    });
    agrees(service);
    is_indexed(service);
    agrees(service);
    agrees_all_the_way(service);
}

/// A service that has all of it in its index.
fn indexed(rows: usize) -> Service {
    let service = older_file(rows).start();
    is_indexed(&service);
    agrees(&service);
    service
}

/// Which file the index is; it is kept, so that another one cannot be given its number.
fn index_file(service: &Service) -> Option<u64> {
    let path = service.path("app.db-index");
    let _ = fs::hard_link(&path, service.path("kept"));
    fs::metadata(path).ok().map(|file| file.ino())
}

#[test]
fn a_message_replaced_by_hand_ends_no_walk_and_is_counted_once() {
    let service = indexed(2000);
    let replace = "INSERT OR REPLACE INTO messages
        SELECT message_id, from_msisdn, to_msisdn, '2025-01-15T10:30:00Z', text, created_at
        FROM messages WHERE message_id IN ('r77', 'r1500')";
    let before = index_file(&service);
    service.database().execute_batch(replace).expect("it is SQL");
    agrees_all_the_way(&service);
    eventually("the index is made anew", || (index_file(&service) != before).then_some(()));
    walks_are_whole(&service, &[7]);
    agrees_soon(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn messages_put_in_under_chosen_row_numbers_are_found() {
    let service = indexed(2000);
    let database = service.database();
    database
        .execute_batch(
            "CREATE TEMP TABLE kept AS SELECT rowid AS number, * FROM messages WHERE rowid BETWEEN 400 AND 450;
             DELETE FROM messages WHERE rowid BETWEEN 400 AND 450",
        )
        .expect("it is SQL");
    agrees(&service);
    // What comes back before the index has let go of it is put in with that.
    let index = open_database(&service.path("app.db-index"));
    eventually("the index has let go of them", || {
        let ordered = index.query_row("SELECT ordered FROM messages_marks", [], |row| row.get::<_, i64>(0));
        (ordered == Ok(1949)).then_some(())
    });
    drop(index);
    database
        .execute_batch(
            "INSERT INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at)
                SELECT * FROM kept",
        )
        .expect("it is SQL");
    agrees_soon(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn row_numbers_at_both_ends_and_around_nought_hide_no_message() {
    let service = indexed(300);
    for (at, number) in [0, -1, i64::MIN, i64::MAX - 100, i64::MAX].into_iter().enumerate() {
        let sql = "INSERT INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at)
             VALUES (?1, ?2, '+3', '+9', '2025-01-15T10:20:00Z', ?2, '')";
        service.database().execute(sql, (number, format!("chosen {at}"))).expect("it is SQL");
        eventually("it is counted", || {
            (service.get("/stats").expect(200).json()["total_messages"] == 301 + 11 * at).then_some(())
        });
        agrees(&service);
        // Behind the last row that there can be, SQLite gives numbers by chance.
        for later in 0..10 {
            service.store(&message_with(&format!("later {at} {later}"), &json!({"text": "Later of 77"})));
            agrees(&service);
        }
        agrees_all_the_way(&service);
    }
    let service = service.restart();
    agrees(&service);
    service.database().execute("DELETE FROM messages WHERE rowid = ?1", [i64::MAX]).expect("it is SQL");
    is_indexed(&service);
    agrees(&service);
    agrees_all_the_way(&service);
}

/// As `.recover`, a dump, or a change of a column by hand leave the table: other row numbers, no triggers.
const MADE_ANEW: &str =
    "BEGIN; CREATE TABLE made_anew (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
        to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
    INSERT INTO made_anew SELECT * FROM messages WHERE rowid % 50 > 0 ORDER BY text;
    DROP TABLE messages; ALTER TABLE made_anew RENAME TO messages; COMMIT";

#[test]
fn a_table_made_anew_beside_the_service_is_read_as_it_is() {
    let service = indexed(2000);
    service.database().execute_batch(MADE_ANEW).expect("it is SQL");
    eventually("the total is right", || {
        (service.get("/stats").expect(200).json()["total_messages"] == 1960).then_some(())
    });
    agrees(&service);
    agrees_all_the_way(&service);
    service
        .database()
        .execute_batch("UPDATE messages SET from_msisdn = '+3' WHERE rowid % 9 = 0")
        .expect("it is SQL");
    agrees(&service);
    let service = service.restart();
    agrees(&service);
    is_indexed(&service);
    agrees(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn a_table_made_anew_while_the_service_is_stopped_is_read_as_it_is() {
    let setup = indexed(2000).stop();
    setup.database().execute_batch(MADE_ANEW).expect("it is SQL");
    let service = setup.start();
    agrees(&service);
    is_indexed(&service);
    agrees_all_the_way(&service);
    let setup = service.stop();
    // What is changed where nobody notes it.
    setup
        .database()
        .execute_batch(
            "DROP TRIGGER messages_updated; DROP TRIGGER messages_deleted;
             UPDATE messages SET from_msisdn = '+3', ts = '2025-01-15T10:20:00Z' WHERE rowid % 3 = 0;
             DELETE FROM messages WHERE rowid % 7 = 0",
        )
        .expect("it is SQL");
    let service = setup.start();
    agrees(&service);
    is_indexed(&service);
    agrees(&service);
    ends_with_a_whole_index(service);
}

/// Ids that are NULL, BLOBs and text that is no UTF-8, many at one instant.
fn file_of_odd_ids() -> Setup {
    let setup = older_file(20);
    let statement = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
        INSERT INTO messages SELECT
            CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN CAST('b' || i AS BLOB) WHEN 2 THEN CAST(x'ff' || CAST(i AS BLOB) AS TEXT)
                WHEN 3 THEN '�' || i WHEN 4 THEN CAST(x'fffe' || CAST(i AS BLOB) AS BLOB) ELSE 'b' || (i - 4) END,
            '+' || (i % 3 + 2), '+9', iif(i % 5 = 0, '2025-01-15T10:10:00.50Z', '2025-01-15T10:10:00Z'),
            'Odd of ' || i, '2025-01-15T11:00:00Z' FROM n;
        INSERT INTO messages VALUES ('', '+3', '+9', '2025-01-15T10:10:00Z', 'Odd of 70', '');
        INSERT INTO messages VALUES (x'', CAST('+3' AS BLOB), '+9', '2025-01-15T10:10:00Z', 'Odd of 71', '');
        INSERT INTO messages VALUES ('blob time', '+3', '+9', CAST('2025-01-15T10:10:00Z' AS BLOB), 'Odd of 72', '')";
    setup.database().execute_batch(statement).expect("it is SQL");
    setup
}

#[test]
fn ids_that_are_missing_or_no_text_have_places_of_their_own() {
    let service = file_of_odd_ids().start();
    walks_are_whole(&service, &[1, 2, 7, 100]);
    is_indexed(&service);
    walks_are_whole(&service, &[1, 2, 7, 100]);
    ends_with_a_whole_index(service);
    // A folder in its place, and there is no index.
    let setup = file_of_odd_ids();
    fs::create_dir(setup.path("app.db-index")).expect("a folder");
    walks_are_whole(&setup.start(), &[1, 2, 7]);
}

#[test]
fn a_walk_goes_on_where_the_message_with_a_long_id_was() {
    // Ids that differ in their first bytes, and ids that differ in their last.
    for long in
        [|n: usize| format!("{n:03}{}", "l".repeat(3000)), |n: usize| format!("{}{n:03}", "l".repeat(3000))]
    {
        for gone in [0..1, 0..2, 1..2] {
            let service = Service::start();
            for number in 0..30 {
                let text = format!("{number:03}");
                service.store(&message_with(&long(number), &json!({"text": text})));
            }
            is_indexed(&service);
            let database = service.database();
            let expected = in_order(&database, "1");
            let mut lost = Vec::new();
            let met = walk(&service, "/messages?limit=4", |rows| {
                // The last one that was met, the first that was not, or both.
                let Some(last) = rows.last() else { return };
                let at = expected.iter().position(|text| text == last).expect("it is known");
                for text in expected.iter().skip(at).take(gone.end).skip(gone.start) {
                    database.execute("DELETE FROM messages WHERE text = ?1", [text]).expect("it is SQL");
                    lost.extend(Some(text.clone()).filter(|text| !rows.contains(text)));
                }
            });
            let stay: Vec<String> = expected.iter().filter(|text| !lost.contains(text)).cloned().collect();
            let mut distinct = met.clone();
            distinct.dedup();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct, stay, "{gone:?}: {}", long(0).starts_with('l'));
            // Only where both are gone, and what is left begins alike, is a message met twice.
            assert!(
                met.len() == stay.len() || gone == (0..2) && long(0).starts_with('l'),
                "{gone:?} {met:?}"
            );
        }
    }
}

#[test]
fn a_cursor_of_the_version_before_goes_on_or_is_refused() {
    let service = Service::start();
    for id in ["m1", "m2", "m3"] {
        service.store(&message(id));
    }
    let page = service.get("/messages?limit=2&after=16~2025-01-15T10:00m1");
    assert_eq!(crate::fixtures::ids(&page), ["m1", "m2"], "an instant of that day comes before them");
    let page = service.get("/messages?limit=2&after=15~2025-01-15T10:0m2");
    assert_eq!(crate::fixtures::ids(&page), ["m1", "m2"]);
    let instant = "2025-01-15T10:00:00".trim_end_matches(['0', ':']);
    let page = service.get(&format!("/messages?limit=2&after={}~{instant}m2", instant.len()));
    page.expect(200);
    for refused in ["~2", "19~2025-01-15T10:00:00", "nonsense"] {
        let answer = service.get(&format!("/messages?after={refused}")).expect(422).json();
        assert_eq!(answer["detail"][0]["loc"], json!(["query", "after"]), "{refused}");
    }
}

/// What a person with sqlite3 does beside the service, each with a text that nobody has, and how many of them may
/// be noticed a moment later only: those that put a row in behind what the index knows.
const ACTS: [(&str, bool); 9] = [
    ("DELETE FROM messages WHERE rowid % 40 = ?1 % 40", false),
    ("UPDATE messages SET ts = '2025-01-15T10:10:00.50Z' WHERE rowid % 40 = ?1 % 40", false),
    ("UPDATE messages SET message_id = NULL WHERE rowid % 50 = ?1 % 50", false),
    ("UPDATE OR REPLACE messages SET message_id = CAST('b' || rowid % 9 AS BLOB) WHERE rowid % 60 = ?1 % 60", false),
    (
        "INSERT OR REPLACE INTO messages SELECT message_id, from_msisdn, to_msisdn, '2025-01-15T10:40:00Z', 'new ' || ?1, ''
            FROM messages WHERE message_id IS NOT NULL ORDER BY rowid LIMIT 1 OFFSET ?1 % 30",
        false,
    ),
    (
        "INSERT INTO messages VALUES (iif(?1 % 2, NULL, hex(zeroblob(300)) || ?1), '+3', '+9', '2025-01-15T10:10:00Z',
            'of 7 new ' || ?1, '')",
        false,
    ),
    (
        "INSERT OR IGNORE INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at)
            VALUES (-?1, 'chosen ' || ?1, '+3', '+9', '2025-01-15T10:00:30Z', 'chosen ' || ?1, '')",
        true,
    ),
    (
        "INSERT OR IGNORE INTO messages (rowid, message_id, from_msisdn, to_msisdn, ts, text, created_at)
            SELECT min(rowid) + 1, 'between ' || ?1, '+3', '+9', '2025-01-15T10:20:00Z', 'between ' || ?1, ''
            FROM messages WHERE rowid > ?1 % 150 AND rowid + 1 NOT IN (SELECT rowid FROM messages)",
        true,
    ),
    ("DELETE FROM messages WHERE rowid = (SELECT max(rowid) FROM messages) AND ?1", false),
];

#[test]
fn whatever_others_do_to_the_file_a_walk_meets_every_message_once() {
    let mut random = Random::new();
    let mut service = file_of_odd_ids().start();
    for number in 1..30_i64 {
        let (act, is_behind) = *random.one_of(&ACTS);
        let stopped = random.chance(15);
        if stopped {
            let setup = service.stop();
            // Where nobody notes it.
            let sql = if random.chance(50) { MADE_ANEW } else { "DROP TRIGGER messages_deleted" };
            setup.database().execute_batch(sql).expect("it is SQL");
            setup.database().execute(act, [number]).expect("it is SQL");
            service = setup.start();
        } else {
            service.database().execute(act, [number]).expect("it is SQL");
        }
        let limit = *random.one_of(&[1, 2, 7, 100]);
        let (filter, condition) =
            *random.one_of(&[("", "1"), ("&from=%2B3", "CAST(from_msisdn AS TEXT) = '+3'")]);
        let target = format!("/messages?limit={limit}{filter}");
        let expected = in_order(&service.database(), condition);
        if is_behind && !stopped {
            eventually(act, || (walk(&service, &target, |_| ()) == expected).then_some(()));
        }
        assert!(walk(&service, &target, |_| ()) == expected, "{number}: {act} {stopped} {target}");
        if random.chance(50) {
            is_indexed(&service);
        }
        let count: i64 = service
            .database()
            .query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0))
            .expect("it can be counted");
        eventually("the total is right", || {
            (service.get("/stats").expect(200).json()["total_messages"] == count).then_some(())
        });
        service.store(&message_with(&format!("m{number}"), &json!({"text": format!("posted {number}")})));
    }
}
