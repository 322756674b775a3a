//! Sort columns are the sort key of a message ([`crate::sort_key`]) in SQL: how it is computed, compared, read, bound.
//!
//! This is its one definition. Statements name the table of messages `m`, and the columns of a key `instant`,
//! `message_id` and `message_row`. In the index each stands as it is: text as text, a BLOB as a BLOB, and in the
//! place of an id that is missing the number 0, because SQLite sorts numbers before text and compares NULL with
//! nothing.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::sort_key::{MessageId, RawText, SortKey};

/// The instant of a message: SQL for what [`crate::timestamp::InstantKey`] does.
pub const INSTANT: &str = "ifnull(rtrim(m.ts, 'Z.0'), '')";

/// The id of a message, as it sorts.
pub const MESSAGE_ID: &str =
    "iif(typeof(m.message_id) = 'blob', m.message_id, ifnull(CAST(m.message_id AS TEXT), 0))";

/// The sender of a message: a BLOB counts as the text that it holds.
pub const SENDER: &str = "ifnull(CAST(m.from_msisdn AS TEXT), '')";

/// The columns of a key, in the order in which [`sort_key`] reads them.
pub const KEY: &str = "instant, message_id, message_row";

/// What computes them of a row of messages.
pub fn key_of_message() -> String {
    format!("{INSTANT} AS instant, {MESSAGE_ID} AS message_id, m.rowid AS message_row")
}

/// The key whose columns begin at `first`.
pub fn sort_key(row: &Row<'_>, first: usize) -> rusqlite::Result<SortKey> {
    Ok(SortKey { instant: row.get(first)?, message_id: row.get(first + 1)?, row: row.get(first + 2)? })
}

/// The key of the message in a row now.
pub fn sort_key_at(messages: &Connection, row: i64) -> rusqlite::Result<Option<SortKey>> {
    messages
        .prepare_cached(&format!("SELECT {} FROM messages AS m WHERE m.rowid = ?1", key_of_message()))?
        .query_row([row], |row| sort_key(row, 0))
        .optional()
}

/// True if a message whose `ts` and id stand in these columns has this key, its row aside. Compares without
/// copying, for every row of every page.
pub fn is_key_of(key: &SortKey, ts: ValueRef<'_>, message_id: ValueRef<'_>) -> bool {
    let instant = match ts {
        ValueRef::Null => &[],
        ValueRef::Text(ts) | ValueRef::Blob(ts) => trimmed(ts),
        // Shown in SQLite's own way, and met in files of hand-made dates only.
        ValueRef::Integer(_) | ValueRef::Real(_) => key.instant.0.as_slice(),
    };
    let has_id = match (&key.message_id, message_id) {
        (MessageId::Missing, ValueRef::Null) => true,
        (MessageId::Text(RawText(id)), ValueRef::Text(other)) => id == other,
        (MessageId::Text(_), ValueRef::Integer(_) | ValueRef::Real(_)) => true,
        (MessageId::Blob(id), ValueRef::Blob(other)) => id == other,
        _ => false,
    };
    has_id && instant == key.instant.0
}

fn trimmed(ts: &[u8]) -> &[u8] {
    let end = ts.iter().rposition(|byte| !b"Z.0".contains(byte)).map_or(0, |last| last + 1);
    &ts[..end]
}

impl FromSql for RawText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(value.as_bytes()?.to_vec()))
    }
}

impl ToSql for RawText {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

impl FromSql for MessageId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Text(id) => Self::Text(RawText(id.to_vec())),
            ValueRef::Blob(id) => Self::Blob(id.to_vec()),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Self::Missing,
        })
    }
}

impl ToSql for MessageId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Missing => ValueRef::Integer(0),
            Self::Text(RawText(id)) => ValueRef::Text(id),
            Self::Blob(id) => ValueRef::Blob(id),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::InstantKey;

    /// Values for a column, as SQL.
    const VALUES: [&str; 14] = [
        "NULL",
        "''",
        "'0'",
        "'a'",
        "'a0'",
        "'Z'",
        "'é'",
        "'2025-01-15T10:00:00.500Z'",
        "CAST(x'ff' AS TEXT)",
        "CAST(x'610061' AS TEXT)",
        "x''",
        "x'61'",
        "x'ff'",
        "x'3030'",
    ];

    #[test]
    fn sql_and_rust_have_the_same_order() {
        let messages = Connection::open_in_memory().unwrap();
        messages.execute_batch("CREATE TABLE messages (message_id TEXT, ts TEXT, from_msisdn TEXT)").unwrap();
        for ts in VALUES {
            for id in VALUES {
                messages.execute_batch(&format!("INSERT INTO messages VALUES ({id}, {ts}, '+1')")).unwrap();
            }
        }
        let sql =
            format!("SELECT {}, m.ts, m.message_id FROM messages AS m ORDER BY {KEY}", key_of_message());
        let mut statement = messages.prepare(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut keys = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let key = sort_key(row, 0).unwrap();
            assert!(is_key_of(&key, row.get_ref(3).unwrap(), row.get_ref(4).unwrap()), "{key:?}");
            if let Ok(ts) = row.get::<_, String>(3) {
                assert_eq!(InstantKey::of(&ts).as_str().as_bytes(), key.instant.0);
            }
            keys.push(key);
        }
        assert_eq!(keys.len(), VALUES.len() * VALUES.len());
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        let behind = format!(
            "SELECT COUNT(*) FROM (SELECT {} FROM messages AS m) WHERE ({KEY}) > (?1, ?2, ?3)",
            key_of_message()
        );
        for (at, key) in keys.iter().enumerate() {
            let values = (&key.instant, &key.message_id, key.row);
            let behind: i64 = messages.query_row(&behind, values, |row| row.get(0)).unwrap();
            assert_eq!(behind, (keys.len() - at - 1) as i64, "{key:?}");
            assert_eq!(sort_key_at(&messages, key.row).unwrap().as_ref(), Some(key));
        }
    }
}
