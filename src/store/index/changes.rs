//! Messages that somebody else has changed or deleted: taken out of the index as they were, and put
//! in as they are.
//!
//! Triggers note in `messages_changes` what stood in a row before. Until it is taken account of, the
//! index is not to be read ([`are_pending`]).

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::page::text;
use super::rank::{self, Place};
use super::{Marks, order, search};

/// True if the index does not reflect every change that this state of the database knows of.
pub(in super::super) fn are_pending(messages: &Connection, marks: &Marks) -> rusqlite::Result<bool> {
    messages
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM messages_changes WHERE change > ?1)")?
        .query_row([marks.changes_through], |row| row.get(0))
}

/// What stood in a row.
struct Change {
    number: i64,
    row: i64,
    sender: String,
    place: Place,
}

/// Takes account of up to `most` changes. To be called in a transaction of each connection, before
/// anything else is taken in from that state of the database.
pub(in super::super) fn apply(
    messages: &Connection,
    index: &Connection,
    marks: &mut Marks,
    most: usize,
) -> rusqlite::Result<()> {
    let mut rows = BTreeSet::new();
    for change in read(messages, marks.changes_through, most)? {
        marks.changes_through = change.number;
        // Whatever the marks say: an earlier slice of these changes may have lowered them.
        take_out(index, marks, &change)?;
        rows.insert(change.row);
    }
    index.prepare_cached("DELETE FROM messages_top")?.execute([])?;
    // The number of a row at the end is given again, to a message that the marks must not cover.
    let last: Option<i64> =
        messages.query_row("SELECT max(rowid) FROM messages", [], |row| row.get(0)).optional()?.flatten();
    let last = last.unwrap_or(0);
    marks.ordered_through = marks.ordered_through.min(last);
    marks.searchable_through = marks.searchable_through.min(last);
    for row in rows {
        put_in(messages, index, marks, row)?;
    }
    marks.write(index)
}

fn read(messages: &Connection, after: i64, most: usize) -> rusqlite::Result<Vec<Change>> {
    let mut statement = messages.prepare_cached(
        "SELECT change, message_row, from_msisdn, rtrim(ts, 'Z.0'), message_id FROM messages_changes \
         WHERE change > ?1 ORDER BY change LIMIT ?2",
    )?;
    let change = |row: &Row<'_>| {
        let column = |column| text(row, column).map(Option::unwrap_or_default);
        let place = Place { instant: column(3)?, message_id: column(4)? };
        Ok(Change { number: row.get(0)?, row: row.get(1)?, sender: column(2)?, place })
    };
    statement.query_map((after, most as i64), change)?.collect()
}

fn take_out(index: &Connection, marks: &mut Marks, change: &Change) -> rusqlite::Result<()> {
    let Change { row, sender, place, .. } = change;
    // With its sender, because what stood there at another time may have had the same place.
    let gone = index
        .prepare_cached(
            "DELETE FROM messages_of_sender WHERE sender = ?1 AND instant = ?2 AND message_id = ?3 AND message_row = ?4",
        )?
        .execute((sender, &place.instant, &place.message_id, row))?;
    if gone == 0 {
        return Ok(());
    }
    index
        .prepare_cached(
            "DELETE FROM messages_order WHERE instant = ?1 AND message_id = ?2 AND message_row = ?3",
        )?
        .execute((&place.instant, &place.message_id, row))?;
    rank::remove(index, place)?;
    marks.ordered -= 1;
    let left: Option<i64> = index
        .prepare_cached(
            "UPDATE messages_senders SET messages = messages - 1 WHERE sender = ?1 RETURNING messages",
        )?
        .query_row([sender], |row| row.get(0))
        .optional()?;
    if left == Some(0) {
        index.prepare_cached("DELETE FROM messages_senders WHERE sender = ?1")?.execute([sender])?;
        marks.senders -= 1;
    }
    Ok(())
}

/// What stands in the row now, if anything does and the index does not have it.
fn put_in(messages: &Connection, index: &Connection, marks: &mut Marks, row: i64) -> rusqlite::Result<()> {
    if row <= marks.searchable_through {
        let mut now = search::read(messages, row - 1, 1)?;
        now.retain(|(number, _)| *number == row);
        search::put(index, &now)?;
    }
    if row > marks.ordered_through {
        return Ok(());
    }
    let mut now = order::read(messages, row - 1, 1)?;
    now.retain(|entry| entry.row == row);
    let Some(entry) = now.first() else {
        return Ok(());
    };
    let known: bool = index
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM messages_order WHERE instant = ?1 AND message_id = ?2 AND message_row = ?3)",
        )?
        .query_row((&entry.place.instant, &entry.place.message_id, row), |row| row.get(0))?;
    if !known {
        order::put(index, marks, now)?;
    }
    Ok(())
}
