//! Deletion takes messages out of the table with nothing of their texts left behind.
//!
//! `secure_delete` overwrites a row where it stood. But where pages grow empty SQLite moves rows together, and
//! what a moved row leaves in its old place is overwritten by nobody. So each text is overwritten in place, by
//! one of the same length (SQLite then writes to the same bytes of the same pages), before any row beside it
//! goes.

use rusqlite::{Connection, ToSql};

use crate::store::write::tombstones;

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

/// Overwrites the texts of messages that are about to be deleted with zeros, under the same condition.
pub(super) fn overwrite_texts<K: ToSql>(
    connection: &Connection,
    tells: &str,
    messages: &[Target<K>],
) -> rusqlite::Result<()> {
    let is_same = is_same(tells);
    let mut overwrite = connection.prepare(&format!(
        "UPDATE messages SET text = printf('%.*c', octet_length(text), '0') \
         WHERE typeof(text) = 'text' AND text <> '' AND {is_same}"
    ))?;
    messages.iter().try_for_each(|(row, known, id)| overwrite.execute((row, known, id)).map(drop))
}

fn is_same(tells: &str) -> String {
    format!("rowid = ?1 AND {tells} AND CAST(message_id AS BLOB) IS ?3")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::prepare;
    use crate::store::index::Watermarks;
    use crate::store::index::changes::are_pending;

    #[test]
    fn an_index_hears_of_texts_that_are_overwritten_before_their_rows_go() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _lock) = prepare::prepare(&folder.path().join("app.db")).unwrap();
        let message = "INSERT INTO messages VALUES ('m', '+1', '+2', '2025-01-15T10:00:00Z', 'Hello', '')";
        connection.execute_batch(message).unwrap();
        assert!(!are_pending(&connection, &Watermarks::default()).unwrap());
        let targets = [(1, "+1".to_owned(), Some(b"m".to_vec()))];
        overwrite_texts(&connection, "from_msisdn = ?2", &targets).unwrap();
        let text = connection.query_row("SELECT text FROM messages", [], |row| row.get::<_, String>(0));
        assert_eq!(text.as_deref(), Ok("00000"));
        assert!(are_pending(&connection, &Watermarks::default()).unwrap());
    }
}
