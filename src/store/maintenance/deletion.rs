//! Deletion takes messages out of the table with nothing of their texts left behind.
//!
//! `secure_delete` overwrites a row where it stood. But where pages grow empty SQLite moves rows together, and
//! what a moved row leaves in its old place is overwritten by nobody. So each text is overwritten in place, by
//! one of the same length (SQLite then writes to the same bytes of the same pages), before any row beside it
//! goes.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ToSql};

use crate::store::write::tombstones;

/// What every byte of a text becomes before its row goes: a digit, as `printf` of SQLite repeats it below.
pub(super) const OVERWRITTEN: u8 = b'0';

/// A message that is to go: its row, what tells that this still is the same message, and its id.
pub(super) type Target<K> = (i64, K, Option<Vec<u8>>);

/// Deletes the messages of which `tells`, a condition on `?2`, still holds, and puts a tombstone for each,
/// with `at` as its second. To be called in a transaction. Gives their number.
pub(super) fn delete<K: ToSql>(
    connection: &Connection,
    tells: &str,
    messages: &[Target<K>],
    at: i64,
) -> rusqlite::Result<u64> {
    let is_same = is_same(tells);
    let salt = tombstones::Salt::read(connection)?;
    let mut delete = connection.prepare_cached(&format!("DELETE FROM messages WHERE {is_same}"))?;
    let mut deleted = 0;
    for (row, known, message_id) in messages {
        if delete.execute((row, known, message_id))? == 0 {
            continue;
        }
        deleted += 1;
        if let Some(message_id) = message_id {
            tombstones::put(connection, &salt, message_id, at)?;
        }
    }
    Ok(deleted)
}

/// Overwrites the texts of messages that are about to be deleted, under the same condition.
pub(super) fn overwrite_texts<K: ToSql>(
    connection: &Connection,
    tells: &str,
    messages: &[Target<K>],
) -> rusqlite::Result<()> {
    let is_same = is_same(tells);
    let overwrite = || {
        let mut overwrite = connection.prepare(&format!(
            "UPDATE messages SET text = printf('%.*c', octet_length(text), '0') \
             WHERE typeof(text) = 'text' AND text <> '' AND {is_same}"
        ))?;
        messages.iter().try_for_each(|(row, known, id)| overwrite.execute((row, known, id)).map(drop))
    };
    // The index need not hear of a text that is on its way out: it hears of the deletion.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    let overwritten = overwrite();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    overwritten
}

fn is_same(tells: &str) -> String {
    format!("rowid = ?1 AND {tells} AND CAST(message_id AS BLOB) IS ?3")
}
