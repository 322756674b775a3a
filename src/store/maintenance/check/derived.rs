//! The check of the index compares it with plain SQL on the messages, as far as its watermarks go.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{is_damage, structure};
use crate::folding::fold;
use crate::limits::TOP_SENDERS;
use crate::sort_key::RawText;
use crate::store::database::open_error::is_held;
use crate::store::database::sort_columns::{INSTANT, KEY, MESSAGE_ID, SENDER};
use crate::store::index::search::Question;
use crate::store::index::{self, Watermarks, changes, texts};

/// Rows whose words a check asks the search index for, spread over the table.
const CHECKED_SEARCHES: i64 = 1000;
/// Trigrams that are looked up for each of these rows.
const CHECKED_TRIGRAMS: usize = 3;
/// How long a check waits for a service to have its index take account of changes by others.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const CHECK_POLL: Duration = Duration::from_millis(100);

/// What is to be done about an index that is of no use.
const REMEDY: &str = "delete it, and the service makes it anew";

/// True if nothing is wrong with the index. Without one there is nothing to be wrong.
pub(super) fn agrees(
    connection: &Connection,
    database: &Path,
    say: &mut dyn FnMut(&str),
) -> rusqlite::Result<bool> {
    let file = index::file_of(database);
    if file.is_none() {
        say("index: there is none; the service makes it");
        return Ok(true);
    }
    match index::attach(connection, database, file) {
        Ok(()) => {}
        Err(error) if is_damage(&error) => {
            say(&format!("index: {error}; {REMEDY}"));
            return Ok(false);
        }
        Err(error) if is_passing(&error) => return Err(error),
        Err(_) => {
            say("index: it was made of another state of the database; the service makes it anew");
            return Ok(true);
        }
    }
    if !structure(connection, "idx", say)? {
        say(&format!("index: it is damaged; {REMEDY}"));
        return Ok(false);
    }
    let began = Instant::now();
    let (snapshot, watermarks) = loop {
        let snapshot = connection.unchecked_transaction()?;
        // The index first: what it covers is in every later state of the messages.
        let watermarks = Watermarks::read(&snapshot)?;
        if !changes::are_pending(&snapshot, &watermarks)? {
            break (snapshot, watermarks);
        }
        if began.elapsed() > CHECK_PATIENCE {
            say(
                "index: it has yet to take account of changes, and was not compared; the service does so when it runs",
            );
            return Ok(true);
        }
        drop(snapshot);
        thread::sleep(CHECK_POLL);
    };
    let mut faults = disagreements(&snapshot, &watermarks)?;
    faults.extend(unsearchable(&snapshot, &watermarks)?);
    let blocks = texts::faults(&snapshot, watermarks.searchable_through)?;
    faults.extend((blocks > 0).then(|| format!("{blocks} blocks of texts are not what the messages have")));
    for fault in &faults {
        say(&format!("index: {fault}"));
    }
    if faults.is_empty() {
        say(&format!("index: agrees with the {} messages that it knows", watermarks.ordered));
    } else {
        say(&format!("index: it is wrong; {REMEDY}"));
    }
    Ok(faults.is_empty())
}

fn is_passing(error: &rusqlite::Error) -> bool {
    is_held(error) || error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// What is counted and how; each has to be what the watermarks say. `?1` is the last row in the order.
const COUNTS: [(&str, &str); 3] = [
    ("the messages", "SELECT COUNT(*) FROM messages WHERE rowid <= ?1"),
    ("the entries of the order", "SELECT COUNT(*) FROM messages_order WHERE ?1 IS NOT NULL"),
    ("the entries of the senders", "SELECT COUNT(*) FROM messages_of_sender WHERE ?1 IS NOT NULL"),
];

/// Each counts what should not be there. With equal counts, entries for all messages are all entries.
fn possible_faults() -> [(&'static str, String); 7] {
    let has_key =
        format!("d.instant = {INSTANT} AND d.message_id = {MESSAGE_ID} AND d.message_row = m.rowid");
    [
        (
            "messages are not in the order",
            format!(
                "SELECT COUNT(*) FROM messages AS m WHERE m.rowid <= ?1 AND NOT EXISTS (\
                    SELECT 1 FROM messages_order AS d WHERE {has_key})"
            ),
        ),
        (
            "messages are not with their sender",
            format!(
                "SELECT COUNT(*) FROM messages AS m WHERE m.rowid <= ?1 AND NOT EXISTS (\
                    SELECT 1 FROM messages_of_sender AS d WHERE d.sender = {SENDER} AND {has_key})"
            ),
        ),
        (
            "senders have another count",
            "SELECT COUNT(*) FROM (\
                SELECT sender, COUNT(*) AS messages FROM messages_of_sender GROUP BY sender) AS d \
                LEFT JOIN messages_senders AS s ON s.sender = d.sender \
                WHERE ?1 IS NOT NULL AND s.messages IS NOT d.messages"
                .to_owned(),
        ),
        (
            "senders have a count and no messages",
            "SELECT COUNT(*) FROM messages_senders AS s WHERE ?1 IS NOT NULL \
                AND NOT EXISTS (SELECT 1 FROM messages_of_sender AS d WHERE d.sender = s.sender)"
                .to_owned(),
        ),
        (
            "blocks of the order have another count",
            format!(
                "SELECT COUNT(*) FROM (SELECT messages, {KEY}, lead(instant) OVER blocks AS next_instant, \
                        lead(message_id) OVER blocks AS next_id, lead(message_row) OVER blocks AS next_row \
                        FROM messages_ranks WINDOW blocks AS (PARTITION BY level ORDER BY {KEY})) AS r \
                    WHERE ?1 IS NOT NULL AND r.messages <> iif(r.next_instant IS NULL, \
                        (SELECT COUNT(*) FROM messages_order \
                            WHERE ({KEY}) >= (r.instant, r.message_id, r.message_row)), \
                        (SELECT COUNT(*) FROM messages_order \
                            WHERE ({KEY}) >= (r.instant, r.message_id, r.message_row) \
                            AND ({KEY}) < (r.next_instant, r.next_id, r.next_row)))"
            ),
        ),
        (
            "blocks of the order start inside another",
            "SELECT COUNT(*) FROM messages_ranks AS r WHERE ?1 IS NOT NULL AND r.level > 0 AND NOT EXISTS (\
                SELECT 1 FROM messages_ranks AS d WHERE d.level = r.level - 1 AND d.instant = r.instant \
                    AND d.message_id = r.message_id AND d.message_row = r.message_row)"
                .to_owned(),
        ),
        (
            "blocks of the order start where no message is",
            "SELECT COUNT(*) FROM messages_ranks AS r WHERE ?1 IS NOT NULL AND r.instant <> '' \
                AND NOT EXISTS (SELECT 1 FROM messages_order AS d WHERE d.instant = r.instant \
                    AND d.message_id = r.message_id AND d.message_row = r.message_row)"
                .to_owned(),
        ),
    ]
}

fn disagreements(snapshot: &Connection, watermarks: &Watermarks) -> rusqlite::Result<Vec<String>> {
    let mut faults = Vec::new();
    let count = |sql: &str| {
        let through = watermarks.ordered_through.unwrap_or(i64::MIN);
        snapshot.query_row(sql, [through], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    };
    for (what, sql) in COUNTS {
        let counted = count(sql)?;
        if counted != watermarks.ordered {
            faults.push(format!("{what} are {counted}, where it says {}", watermarks.ordered));
        }
    }
    for (what, sql) in possible_faults() {
        let counted = count(&sql)?;
        if counted > 0 {
            faults.push(format!("{counted} {what}"));
        }
    }
    let senders = count("SELECT COUNT(*) FROM messages_senders WHERE ?1 IS NOT NULL")?;
    if senders != watermarks.senders {
        faults.push(format!("the senders are {senders}, where it says {}", watermarks.senders));
    }
    // After changes by others the list is empty until it is kept again.
    let list = |table: &str| -> rusqlite::Result<Vec<(RawText, i64)>> {
        let sql = format!("SELECT sender, messages FROM {table} ORDER BY messages DESC, sender LIMIT ?1");
        snapshot.prepare(&sql)?.query_map([TOP_SENDERS], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let top = list("messages_top")?;
    if !top.is_empty() && top != list("messages_senders")? {
        faults.push("the busiest senders are others".to_owned());
    }
    Ok(faults)
}

/// Asks the search index for some of the words of messages all over the table.
fn unsearchable(snapshot: &Connection, watermarks: &Watermarks) -> rusqlite::Result<Option<String>> {
    let first: Option<i64> = snapshot.query_row("SELECT min(rowid) FROM messages", [], |row| row.get(0))?;
    let (Some(first), Some(through)) = (first, watermarks.searchable_through) else {
        return Ok(None);
    };
    let step = (through.saturating_sub(first) / CHECKED_SEARCHES).max(1);
    let mut message = snapshot.prepare(
        "SELECT rowid, text FROM messages WHERE rowid >= ?1 AND rowid <= ?2 ORDER BY rowid LIMIT 1",
    )?;
    let mut asked = snapshot.prepare(
        "SELECT EXISTS (SELECT 1 FROM messages_search WHERE messages_search MATCH ?1 AND rowid = ?2)",
    )?;
    let (mut from, mut missed, mut checked) = (first, 0, 0);
    loop {
        let found = message.query_row((from, through), |row| {
            let text = match row.get_ref(1)? {
                ValueRef::Text(text) | ValueRef::Blob(text) => fold(&String::from_utf8_lossy(text)),
                _ => String::new(),
            };
            Ok((row.get::<_, i64>(0)?, text))
        });
        let Some((row, text)) = found.optional()? else {
            break;
        };
        let trigrams = Question::new(&text).map_or(Vec::new(), |question| question.trigrams);
        for trigram in trigrams.iter().take(CHECKED_TRIGRAMS) {
            let is_found: bool = asked.query_row((trigram, row), |row| row.get(0))?;
            missed += i64::from(!is_found);
        }
        checked += 1;
        // Behind the last number that there is, nothing can stand.
        let Some(next) = row.checked_add(step) else {
            break;
        };
        from = next;
    }
    Ok((missed > 0).then(|| format!("{missed} words of {checked} messages are not found by a search")))
}
