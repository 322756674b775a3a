//! The integrity of the index is checked where somebody else has written to the database.
//!
//! The triggers note every change of a message and every deletion, but not a row that is replaced by
//! `INSERT OR REPLACE`, nor one that is put in behind the watermark under a chosen number; and a table that is made anew
//! has no triggers. So messages are counted, and some are looked up, whenever somebody else has committed: it
//! takes some milliseconds for a million messages. A page sees for itself that a message is not where it should be.

use rusqlite::Connection;

use super::{Watermarks, first_behind, is_at_last_row, order};
use crate::store::database::sort_columns::{key_of_message, sort_key};

/// Messages looked up, spread over all that the index knows.
const SAMPLED_ROWS: i64 = 64;

/// Why an index cannot be kept of this database, if so.
pub(super) fn obstacle(messages: &Connection) -> rusqlite::Result<Option<&'static str>> {
    let triggers: i64 = messages.query_row(
        "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = 'messages' \
            AND name IN ('messages_deleted', 'messages_updated')",
        [],
        |row| row.get(0),
    )?;
    if triggers != 2 {
        return Ok(Some("the triggers that note changes are gone; a restart makes them anew"));
    }
    Ok(is_at_last_row(messages)?
        .then_some("a message is in the last row that there can be; give it another number"))
}

/// What is wrong with an index, of one state of both files without a pending change.
pub(super) fn fault(
    messages: &Connection,
    index: &Connection,
    watermarks: &Watermarks,
) -> rusqlite::Result<Option<&'static str>> {
    if let Some(obstacle) = obstacle(messages)? {
        return Ok(Some(obstacle));
    }
    let (all, behind): (i64, i64) = messages.query_row(
        "SELECT (SELECT COUNT(*) FROM messages), (SELECT COUNT(*) FROM messages WHERE rowid >= ?1)",
        [first_behind(watermarks.ordered_through)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if all - behind != watermarks.ordered as i64 {
        return Ok(Some("messages were put in or replaced behind its back"));
    }
    let first: Option<i64> = messages.query_row("SELECT min(rowid) FROM messages", [], |row| row.get(0))?;
    let (Some(first), Some(last)) = (first, watermarks.ordered_through) else {
        return Ok(None);
    };
    let mut standing = messages.prepare_cached(&format!(
        "SELECT {} FROM messages AS m WHERE m.rowid BETWEEN ?1 AND ?2 ORDER BY m.rowid LIMIT 1",
        key_of_message()
    ))?;
    let step = (i128::from(last) - i128::from(first)) / i128::from(SAMPLED_ROWS);
    for number in 0..SAMPLED_ROWS {
        let from = i128::from(first) + step * i128::from(number);
        let mut rows = standing.query((i64::try_from(from).unwrap_or(last), last))?;
        if let Some(row) = rows.next()?
            && !order::has(index, &sort_key(row, 0)?)?
        {
            return Ok(Some("messages have other row numbers than before"));
        }
    }
    Ok(None)
}
