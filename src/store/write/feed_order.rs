//! The feed order gives every message a row number that no message before it ever had.
//!
//! - SQLite gives the number behind the last row, and so the number of a last row that was deleted once more. The
//!   transaction that deletes keeps a floor (the trigger `messages_floor`), under which nothing is stored again: one
//!   look for each batch, nothing for each message.
//! - Others who insert know nothing of the floor. What they have put under it would be missed by a cursor above it, so
//!   the next batch makes such cursors unfit ([`settle`]).
//! - Whoever has opened the database to write to it begins an epoch with its first batch (`messages_epochs`).

use std::path::Path;

use rusqlite::Connection;

use crate::store::database::files::READ_WRITE;
use crate::store::database::insertion::ignored;
use crate::store::read::feed::OrderEnd;

/// What a connection that inserts knows of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochState {
    /// To be begun with the next batch.
    Due,
    Begun,
}

/// The number for the next message, where SQLite would give one that was given before. Behind the last number that there
/// is nothing is left to be said.
pub(super) fn explicit(end: &OrderEnd) -> Option<i64> {
    if end.last.unwrap_or(0) < end.floor { end.floor.checked_add(1) } else { None }
}

/// Makes every cursor unfit that may stand behind a row that others have put under the floor. To be called in the
/// transaction that inserts.
pub(super) fn settle(end: &OrderEnd, connection: &Connection) -> rusqlite::Result<()> {
    if !end.has_intruders {
        return Ok(());
    }
    connection.execute("DELETE FROM messages_epochs WHERE first_row > ?1", [end.standing])?;
    begin_epoch_at(connection, end.standing.saturating_add(1))?;
    let settled = connection.execute("UPDATE messages_feed SET standing = ?1", [end.last.unwrap_or(0)])?;
    if settled == 1 { Ok(()) } else { Err(ignored("the end of the feed")) }
}

/// Begins an epoch behind all that is there. To be called in the transaction that inserts. One in which nothing was
/// stored is replaced.
pub(super) fn begin_epoch(connection: &Connection, end: &OrderEnd) -> rusqlite::Result<()> {
    begin_epoch_at(connection, end.head().saturating_add(1))
}

fn begin_epoch_at(connection: &Connection, first_row: i64) -> rusqlite::Result<()> {
    let begun = connection
        .prepare_cached("INSERT OR REPLACE INTO messages_epochs VALUES (?1, random())")?
        .execute([first_row])?;
    if begun == 1 { Ok(()) } else { Err(ignored("an epoch of the feed")) }
}

/// Makes another store of a database that nobody has open, as far as cursors go: those of before do not fit any more.
/// A backup of an earlier version has no feed yet. Not synced.
pub fn begin_store(database: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(database, READ_WRITE)?;
    // Nothing may stand beside it.
    connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")?;
    let has_feed =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'messages_feed')";
    if connection.query_row(has_feed, [], |row| row.get(0))? {
        connection.execute("UPDATE messages_feed SET store = random()", [])?;
    }
    connection.close().map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_said_where_sqlite_would_give_one_again() {
        // The last row, the floor, the head, what is said.
        for (last, floor, head, explicit) in [
            (None, 0, 0, None),
            (Some(7), 0, 7, None),
            (Some(7), 7, 7, None),
            (Some(7), 9, 9, Some(10)),
            (None, 3, 3, Some(4)),
            (Some(-5), 0, 0, Some(1)),
            (Some(i64::MAX), 0, i64::MAX, None),
        ] {
            let end = OrderEnd { store: 1, last, floor, standing: 0, has_intruders: false };
            assert_eq!((end.head(), super::explicit(&end)), (head, explicit), "{end:?}");
        }
    }
}
