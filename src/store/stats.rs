//! The figures of `/stats`, exact, from one snapshot (contract, section 4): the index, and the
//! rows behind its mark.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use super::column::text;
use super::index::Marks;
use super::index::rank;
use super::index::top::Top;
use super::source::Start;
use crate::timestamp::InstantKey;

/// Counts over the whole store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub total_messages: u64,
    pub senders_count: u64,
    /// Busiest senders first, by name where they are equally busy; ten at most.
    pub top_senders: Vec<(String, u64)>,
    /// `ts`, as sent, of the earliest and of the latest instant.
    pub first_ts: Option<String>,
    pub last_ts: Option<String>,
    /// For each instant that was asked for, the messages at it or later.
    pub messages_since: Vec<u64>,
}

/// Reads the figures, and how many messages there are since each of `instants`. They agree with each
/// other if the connection is inside a transaction.
pub(super) fn read(
    connection: &Connection,
    marks: &Marks,
    instants: &[InstantKey],
) -> Result<Stats, StoreError> {
    let mut stats = Stats {
        total_messages: marks.ordered,
        senders_count: marks.senders,
        first_ts: one_ts(connection, marks, "ASC")?,
        last_ts: one_ts(connection, marks, "DESC")?,
        messages_since: since(connection, marks, instants)?,
        ..Stats::default()
    };
    let mut top = Top::read(connection)?;
    let mut tail = connection.prepare_cached(
        "SELECT tail.sender, tail.messages, before.messages FROM \
         (SELECT from_msisdn AS sender, COUNT(*) AS messages FROM messages WHERE rowid > ?1 GROUP BY from_msisdn) AS tail \
         LEFT JOIN messages_senders AS before ON before.sender = tail.sender",
    )?;
    let mut tail = tail.query([marks.ordered_through])?;
    while let Some(row) = tail.next()? {
        let sender = text(row, 0)?.unwrap_or_default();
        let messages = row.get::<_, i64>(1)?.unsigned_abs();
        let before = row.get::<_, Option<i64>>(2)?;
        stats.total_messages += messages;
        stats.senders_count += u64::from(before.is_none());
        top.raise(&sender, messages + before.unwrap_or(0).unsigned_abs());
    }
    stats.top_senders = top.into_senders();
    Ok(stats)
}

/// The tail is gone through once, however many instants there are.
fn since(connection: &Connection, marks: &Marks, instants: &[InstantKey]) -> Result<Vec<u64>, StoreError> {
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let indexed = |instant: &InstantKey| {
        rank::before(connection, &Start::at(instant.as_str()).place).map(|before| marks.ordered - before)
    };
    let mut counts = instants.iter().map(indexed).collect::<Result<Vec<_>, _>>()?;
    let mut tail = connection.prepare_cached("SELECT rtrim(ts, 'Z.0') FROM messages WHERE rowid > ?1")?;
    let mut tail = tail.query([marks.ordered_through])?;
    while let Some(row) = tail.next()? {
        let ValueRef::Text(ts) = row.get_ref(0)? else {
            // NULL is no text and, as in SQL, not at or after anything.
            continue;
        };
        for (count, instant) in counts.iter_mut().zip(instants) {
            *count += u64::from(ts >= instant.as_str().as_bytes());
        }
    }
    Ok(counts)
}

fn one_ts(connection: &Connection, marks: &Marks, direction: &str) -> Result<Option<String>, StoreError> {
    let sql = format!(
        "SELECT m.ts FROM (\
            SELECT * FROM (SELECT instant, message_id, message_row FROM messages_order \
                ORDER BY instant {direction}, message_id {direction} LIMIT 1) \
            UNION ALL \
            SELECT * FROM (SELECT rtrim(ts, 'Z.0') AS instant, ifnull(message_id, '') AS message_id, rowid AS message_row \
                FROM messages WHERE rowid > ?1 ORDER BY instant {direction}, message_id {direction} LIMIT 1) \
            ORDER BY instant {direction}, message_id {direction} LIMIT 1) AS place \
         CROSS JOIN messages AS m ON m.rowid = place.message_row"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let ts = statement.query_row([marks.ordered_through], |row| text(row, 0)).optional()?;
    Ok(ts.flatten())
}
