//! A change is a row that was changed or deleted: the index takes it out as it was, then puts it in as it is.
//!
//! Triggers note in `messages_changes` what stood in a row before. Until a change is taken account of, the
//! index is not to be read ([`are_pending`]). Afterwards it is removed ([`remove`]); the number of the last one that
//! was removed is kept, so that an index which has not come so far is known to have missed some ([`were_missed`]).

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::top_senders::TopSenders;
use super::{Watermarks, order, rank, search, texts};
use crate::sort_key::{RawText, SortKey};
use crate::store::database::sort_columns::{INSTANT, MESSAGE_ID, SENDER, sort_key};

/// Changes that are kept while there is no index to take account of them, some 10 MB. With more of them they go, and
/// the index is made anew once it can be.
const MAX_CHANGES: usize = 100_000;

/// True if the index does not reflect every change that this state of the database knows of.
pub fn are_pending(messages: &Connection, watermarks: &Watermarks) -> rusqlite::Result<bool> {
    Ok(pending(messages, watermarks, 1)? > 0)
}

/// Changes that the index does not reflect, counted up to `most`.
pub fn pending(messages: &Connection, watermarks: &Watermarks, most: u32) -> rusqlite::Result<u32> {
    messages
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM messages_changes WHERE change > ?1 LIMIT ?2)")?
        .query_row((watermarks.changes_through, most), |row| row.get(0))
}

/// True if changes were removed that the index has not taken account of. It has to be made anew.
pub fn were_missed(messages: &Connection, watermarks: &Watermarks) -> rusqlite::Result<bool> {
    messages
        .prepare_cached("SELECT changes_removed_through > ?1 FROM messages_store")?
        .query_row([watermarks.changes_through], |row| row.get(0))
}

/// Removes up to `most` changes, from the first on and none behind `through`. To be called in a transaction of
/// whoever may write to the database. Gives true if more could be removed.
pub fn remove(messages: &Connection, through: i64, most: usize) -> rusqlite::Result<bool> {
    // The last one stays, without what it held, so that its number is not given again.
    let most = most as i64;
    let (last, found): (Option<i64>, i64) = messages
        .prepare_cached(
            "SELECT max(change), count(*) \
             FROM (SELECT change FROM messages_changes WHERE change <= ?1 ORDER BY change LIMIT ?2)",
        )?
        .query_row((through, most + 1), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(last) = last else {
        return Ok(false);
    };
    messages.prepare_cached("DELETE FROM messages_changes WHERE change < ?1")?.execute([last])?;
    messages
        .prepare_cached(
            "UPDATE messages_changes SET message_id = NULL, from_msisdn = NULL, ts = NULL WHERE change = ?1",
        )?
        .execute([last])?;
    messages.prepare_cached("UPDATE messages_store SET changes_removed_through = ?1")?.execute([last])?;
    Ok(found > most)
}

/// What stood in a row.
struct Change {
    number: i64,
    sender: RawText,
    key: SortKey,
}

/// Takes account of up to `most` changes. To be called in a transaction of each connection, before
/// anything else is taken in from that state of the database.
pub fn apply(
    messages: &Connection,
    index: &Connection,
    watermarks: &mut Watermarks,
    most: usize,
) -> rusqlite::Result<()> {
    // Numbers of rows at the end are given again, to messages that the watermarks must not cover: also by
    // changes of a later slice, which this state of the database has been through already.
    let (last, after_deletion): (Option<i64>, Option<i64>) = messages
        .prepare_cached(
            "SELECT (SELECT max(rowid) FROM messages), \
                (SELECT min(last_row) FROM messages_changes WHERE change > ?1)",
        )?
        .query_row([watermarks.changes_through], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Where nothing was deleted, the end is where the messages end; `None` is before all of them.
    let last = after_deletion.map_or(last, |row| last.min(Some(row)));
    watermarks.ordered_through = watermarks.ordered_through.min(last);
    watermarks.searchable_through = watermarks.searchable_through.min(last);
    texts::cut(index, watermarks.searchable_through)?;
    let mut rows = BTreeSet::new();
    let mut top = TopSenders::kept(index)?;
    for change in read(messages, watermarks.changes_through, most)? {
        watermarks.changes_through = change.number;
        // Whatever the watermarks say: an earlier slice of these changes may have lowered them.
        take_out(index, watermarks, &mut top, &change)?;
        rows.insert(change.key.row);
    }
    top.write(index)?;
    for row in &rows {
        search::take_out(index, *row)?;
        put_in(messages, index, watermarks, *row)?;
    }
    texts::renew(messages, index, watermarks.searchable_through, rows.into_iter())?;
    // By what stands at the watermark the index is known again after a start, so something has to.
    watermarks.ordered_through = messages
        .prepare_cached("SELECT max(rowid) FROM messages WHERE rowid <= ?1")?
        .query_row([watermarks.ordered_through], |row| row.get(0))?;
    watermarks.write(index)
}

fn read(messages: &Connection, after: i64, most: usize) -> rusqlite::Result<Vec<Change>> {
    let mut statement = messages.prepare_cached(&format!(
        "SELECT {INSTANT}, {MESSAGE_ID}, m.message_row, {SENDER}, m.change FROM messages_changes AS m \
         WHERE m.change > ?1 ORDER BY m.change LIMIT ?2"
    ))?;
    let change =
        |row: &Row<'_>| Ok(Change { number: row.get(4)?, sender: row.get(3)?, key: sort_key(row, 0)? });
    statement.query_map((after, most as i64), change)?.collect()
}

fn take_out(
    index: &Connection,
    watermarks: &mut Watermarks,
    top: &mut TopSenders,
    change: &Change,
) -> rusqlite::Result<()> {
    let Change { sender, key, .. } = change;
    // With its sender, because what stood there at another time may have had the same place.
    let gone = index
        .prepare_cached(
            "DELETE FROM messages_of_sender WHERE sender = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4",
        )?
        .execute((sender, &key.instant, &key.message_id, key.row))?;
    if gone == 0 {
        return Ok(());
    }
    index
        .prepare_cached(
            "DELETE FROM messages_order WHERE instant = ?1 AND message_id = ?2 AND message_row = ?3",
        )?
        .execute((&key.instant, &key.message_id, key.row))?;
    rank::remove(index, key)?;
    watermarks.ordered = watermarks.ordered.saturating_sub(1);
    let left: Option<i64> = index
        .prepare_cached(
            "UPDATE messages_senders SET messages = messages - 1 WHERE sender = ?1 RETURNING messages",
        )?
        .query_row([sender], |row| row.get(0))
        .optional()?;
    top.lower(sender, left.unwrap_or(0).unsigned_abs());
    if left == Some(0) {
        index.prepare_cached("DELETE FROM messages_senders WHERE sender = ?1")?.execute([sender])?;
        watermarks.senders = watermarks.senders.saturating_sub(1);
    }
    Ok(())
}

/// What stands in the row now, if anything does and the index does not have it.
fn put_in(
    messages: &Connection,
    index: &Connection,
    watermarks: &mut Watermarks,
    row: i64,
) -> rusqlite::Result<()> {
    if Some(row) <= watermarks.searchable_through {
        let now = search::read_row(messages, row)?;
        search::put(index, now.as_slice())?;
    }
    if Some(row) > watermarks.ordered_through {
        return Ok(());
    }
    match order::read_row(messages, row)? {
        Some(entry) if !order::has(index, &entry.key)? => order::put(index, watermarks, vec![entry]),
        _ => Ok(()),
    }
}

/// The last change, if there are more than [`MAX_CHANGES`].
pub fn too_many(messages: &Connection) -> rusqlite::Result<Option<i64>> {
    messages.query_row(
        "SELECT max(change) FROM messages_changes \
         WHERE EXISTS (SELECT 1 FROM messages_changes LIMIT 1 OFFSET ?1)",
        [MAX_CHANGES as i64],
        |row| row.get(0),
    )
}
