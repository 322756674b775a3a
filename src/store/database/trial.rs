//! A trial finds out whether somebody else's table of messages holds every message as it is.
//!
//! Its own statements make it once more in memory, where messages of every kind are put into it and read back.
//! No list of declarations could say it: affinity, collation, conflict clauses, constraints and unique or
//! partial indexes meet in one insert. What a trigger does is not tried: it may depend on anything.

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::connections::keep_to_one_table;
use super::insertion::{INSERT, Inserted, Row, insert_row};
use super::migrations::Object;
use crate::limits::MAX_TEXT_CHARS;

/// More than fits into a body by default, and so into an id.
const LONG_ID_BYTES: usize = 100_000;
/// More than any number has.
const LONG_NUMBER_DIGITS: usize = 1000;

/// Ids that differ, though not by every way of comparing or converting them.
const IDS: [&str; 25] = [
    "m1",
    "M1",
    "m1 ",
    "\tm1",
    "é",
    "É",
    "e\u{301}",
    "🎉",
    "\0",
    "a\0b",
    "a\0c",
    "7",
    "007",
    "7.0",
    "+7",
    "1e5",
    "100000",
    "0x10",
    "9223372036854775808",
    "-0",
    "null",
    "nan",
    "inf",
    "'",
    "%",
];

/// A caller who hides his number is known by a name (contract, section 14).
const SENDERS: [&str; 5] = ["+1", "+01", "+919876543210", "US.probe", "us.PROBE"];

const TIMES: [&str; 5] = [
    "2025-01-15T10:00:00Z",
    "2025-01-15T10:00:00.000000001Z",
    "2024-02-29T23:59:59.5Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
];

const TEXTS: [&str; 14] = [
    "Hello",
    "hello",
    "",
    " ",
    "7",
    "007",
    "1e5",
    "0x10",
    " 12 ",
    "\0",
    "a\0b",
    "{\"a\":1",
    "\u{feff}\r\n",
    "שלום 🎉",
];

/// What the table does to messages that it should not, or nothing.
pub(super) fn fault(schema: &[Object]) -> Option<String> {
    tried(schema).unwrap_or_else(|error| Some(format!("it refuses messages: {error}")))
}

fn tried(schema: &[Object]) -> rusqlite::Result<Option<String>> {
    let trial = Connection::open_in_memory()?;
    keep_to_one_table(&trial)?;
    // As where a schema is read from a file: what old programs wrote counts.
    trial.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, true)?;
    for object in schema.iter().filter(|object| object.table == "messages" && object.kind != "trigger") {
        trial.prepare(&object.sql)?.execute([])?;
    }
    let longest = [
        "x".repeat(LONG_ID_BYTES),
        "🎉".repeat(MAX_TEXT_CHARS),
        "+".to_owned() + &"9".repeat(LONG_NUMBER_DIGITS),
    ];
    let probes = probes(&longest);
    let mut insert = trial.prepare(INSERT)?;
    for probe in &probes {
        if insert_row(&trial, &mut insert, probe, None)? != Inserted::Created {
            return Ok(Some("it says of a message that is not there that it is".to_owned()));
        }
    }
    if let Some(changed) = changed(&trial, &probes)? {
        return Ok(Some(changed));
    }
    for probe in &probes {
        let again = Row { from: "+2", to: "+3", ts: "2026-01-01T00:00:00Z", text: Some("again"), ..*probe };
        if insert_row(&trial, &mut insert, &again, None)? != Inserted::Duplicate {
            return Ok(Some("it stores messages with one id twice".to_owned()));
        }
    }
    if let Some(changed) = changed(&trial, &probes)? {
        return Ok(Some(changed));
    }
    for (column, other) in
        [("message_id", "hidden PROBE"), ("message_id", "Hidden probe "), ("from_msisdn", "US.PROBE")]
    {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM messages WHERE {column} = ?1)");
        if trial.query_row(&sql, [other], |found| found.get(0))? {
            return Ok(Some(format!("its column {column} takes what differs for equal")));
        }
    }
    Ok(None)
}

fn probes(longest: &[String; 3]) -> Vec<Row<'_>> {
    let [id, text, number] = longest;
    let created_at = "2025-01-15T10:00:01.123Z";
    let plain =
        Row { message_id: "Hidden probe", from: "+1", to: "+2", ts: TIMES[0], text: None, created_at };
    let mut probes =
        vec![Row { ..plain }, Row { message_id: id, text: Some(text), from: number, to: number, ..plain }];
    // Each beside another text, so that every value of one meets several of the other.
    let others = IDS.iter().enumerate().map(|(turn, id)| Row {
        message_id: id,
        from: SENDERS[turn % SENDERS.len()],
        ts: TIMES[turn / 2 % TIMES.len()],
        text: (turn % 3 > 0).then(|| TEXTS[turn % TEXTS.len()]),
        ..plain
    });
    probes.extend(others);
    probes
}

/// Which column of the table is not what was put there, if any.
fn changed(trial: &Connection, probes: &[Row<'_>]) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT from_msisdn, to_msisdn, ts, text, created_at, message_id FROM messages \
         WHERE CAST(message_id AS BLOB) = CAST(?1 AS BLOB)";
    let mut read = trial.prepare(sql)?;
    for probe in probes {
        let columns = [
            ("from_msisdn", Some(probe.from)),
            ("to_msisdn", Some(probe.to)),
            ("ts", Some(probe.ts)),
            ("text", probe.text),
            ("created_at", Some(probe.created_at)),
            ("message_id", Some(probe.message_id)),
        ];
        let mut rows = read.query(params![probe.message_id])?;
        let Some(row) = rows.next()? else {
            return Ok(Some("it does not keep every message_id as it is".to_owned()));
        };
        for (place, (column, put)) in columns.into_iter().enumerate() {
            let is_kept = match (row.get_ref(place)?, put) {
                (ValueRef::Null, None) => true,
                (ValueRef::Text(found), Some(put)) => found == put.as_bytes(),
                _ => false,
            };
            if !is_kept {
                return Ok(Some(format!("its column {column} changes what is put there")));
            }
        }
    }
    let count: i64 = trial.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0))?;
    Ok((count != probes.len() as i64).then(|| "it does not keep every message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::migrations::{Shapes, apply, objects};
    use super::*;

    #[test]
    fn the_table_of_this_service_holds_every_message_and_is_known_to() {
        let shapes = Shapes::new().unwrap();
        let database = Connection::open_in_memory().unwrap();
        apply(&database, 0).unwrap();
        let schema = objects(&database).unwrap();
        assert_eq!(fault(&schema), None);
        assert!(shapes.have_messages(&schema));
        for (change, expected) in [
            ("CREATE TRIGGER t AFTER INSERT ON messages BEGIN SELECT 1; END", true),
            ("CREATE UNIQUE INDEX i ON messages (ts)", false),
            ("ALTER TABLE messages ADD COLUMN more", false),
            ("ALTER TABLE messages RENAME TO m; ALTER TABLE m RENAME TO messages", false),
            ("DROP TABLE messages", false),
        ] {
            let transaction = database.unchecked_transaction().unwrap();
            database.execute_batch(change).unwrap();
            assert_eq!(shapes.have_messages(&objects(&database).unwrap()), expected, "{change}");
            transaction.rollback().unwrap();
        }
    }
}
