//! The order of the list holds the messages for everybody, for each sender, with how many each has sent.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::top_senders::TopSenders;
use super::{Watermarks, first_behind, rank};
use crate::sort_key::{RawText, SortKey};
use crate::store::database::sort_columns::{SENDER, key_of_message, sort_key};

/// One message's place.
pub struct OrderEntry {
    pub key: SortKey,
    pub sender: RawText,
}

/// Takes in what was read from behind the watermark. To be called in a transaction.
pub fn extend(
    index: &Connection,
    watermarks: &mut Watermarks,
    entries: Vec<OrderEntry>,
) -> rusqlite::Result<()> {
    if let Some(last) = entries.last() {
        watermarks.ordered_through = Some(last.key.row);
        put(index, watermarks, entries)?;
        watermarks.write(index)?;
    }
    Ok(())
}

/// Up to `rows` messages behind a watermark.
pub fn read(messages: &Connection, watermark: Option<i64>, rows: usize) -> rusqlite::Result<Vec<OrderEntry>> {
    let key = key_of_message();
    let mut statement = messages.prepare_cached(&format!(
        "SELECT {key}, {SENDER} FROM messages AS m WHERE m.rowid >= ?1 ORDER BY m.rowid LIMIT ?2"
    ))?;
    statement.query_map((first_behind(watermark), rows as i64), entry)?.collect()
}

/// The message in a row, if there is one.
pub(super) fn read_row(messages: &Connection, row: i64) -> rusqlite::Result<Option<OrderEntry>> {
    let key = key_of_message();
    messages
        .prepare_cached(&format!("SELECT {key}, {SENDER} FROM messages AS m WHERE m.rowid = ?1"))?
        .query_row([row], entry)
        .optional()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<OrderEntry> {
    Ok(OrderEntry { key: sort_key(row, 0)?, sender: row.get(3)? })
}

/// True if a message has its place.
pub(super) fn has(index: &Connection, key: &SortKey) -> rusqlite::Result<bool> {
    index
        .prepare_cached(
            "SELECT 1 FROM messages_order WHERE instant = ?1 AND message_id = ?2 AND message_row = ?3",
        )?
        .exists((&key.instant, &key.message_id, key.row))
}

/// Gives messages their places. Sorted, because neighbours share pages.
pub(super) fn put(
    index: &Connection,
    watermarks: &mut Watermarks,
    mut entries: Vec<OrderEntry>,
) -> rusqlite::Result<()> {
    watermarks.ordered += entries.len() as u64;
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut put = index.prepare_cached(
        "INSERT INTO messages_order (instant, message_id, message_row) VALUES (?1, ?2, ?3)",
    )?;
    for OrderEntry { key, .. } in &entries {
        put.execute((&key.instant, &key.message_id, key.row))?;
    }

    // Stable, so that each sender's entries stay in their order.
    entries.sort_by(|a, b| a.sender.cmp(&b.sender));
    let mut put = index.prepare_cached(
        "INSERT INTO messages_of_sender (sender, instant, message_id, message_row) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut senders = BTreeMap::<&RawText, i64>::new();
    for OrderEntry { key, sender } in &entries {
        put.execute((sender, &key.instant, &key.message_id, key.row))?;
        *senders.entry(sender).or_default() += 1;
    }
    let mut count = index.prepare_cached(
        "INSERT INTO messages_senders (sender, messages) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET messages = messages + excluded.messages RETURNING messages",
    )?;
    let mut top = TopSenders::read(index)?;
    for (sender, messages) in senders {
        let in_all: i64 = count.query_row((sender, messages), |row| row.get(0))?;
        watermarks.senders += u64::from(in_all == messages);
        top.raise(sender, in_all.unsigned_abs());
    }
    top.write(index)?;

    let mut keys: Vec<SortKey> = entries.into_iter().map(|entry| entry.key).collect();
    keys.sort_unstable();
    rank::add(index, &keys)
}
