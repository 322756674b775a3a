//! Watermarks tell how far the index has come: it covers the rows up to them, none behind.

use rusqlite::Connection;

/// How far the index has come, as one snapshot of it shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// The last row whose place in the order is known ([`order`]); `None` before the first.
    pub ordered_through: Option<i64>,
    /// Messages in the order.
    pub ordered: u64,
    /// Senders of those messages.
    pub senders: u64,
    /// The last row that the search index knows ([`search`]).
    pub searchable_through: Option<i64>,
    /// The last change of a message by somebody else that is taken account of ([`changes`]).
    pub changes_through: i64,
}

impl Watermarks {
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT ordered_through, ordered, senders, searchable_through, changes_through FROM messages_marks",
        )?;
        statement.query_row([], |row| {
            Ok(Self {
                ordered_through: row.get(0)?,
                ordered: row.get::<_, i64>(1)?.unsigned_abs(),
                senders: row.get::<_, i64>(2)?.unsigned_abs(),
                searchable_through: row.get(3)?,
                changes_through: row.get(4)?,
            })
        })
    }

    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "UPDATE messages_marks SET ordered_through = ?1, ordered = ?2, senders = ?3, \
             searchable_through = ?4, changes_through = ?5",
        )?;
        let counts = (self.ordered as i64, self.senders as i64);
        statement.execute((
            self.ordered_through,
            counts.0,
            counts.1,
            self.searchable_through,
            self.changes_through,
        ))?;
        Ok(())
    }
}

/// The first row behind a watermark. A watermark is never [`LAST_ROW`].
pub fn first_behind(watermark: Option<i64>) -> i64 {
    watermark.map_or(i64::MIN, |row| row.saturating_add(1))
}

/// A table with a message in this row gives out the numbers of others by chance: no watermark is of any use then, and
/// queries go without the index.
pub const LAST_ROW: Option<i64> = Some(i64::MAX);

/// True if a message is in that row.
pub fn is_at_last_row(messages: &Connection) -> rusqlite::Result<bool> {
    let mut last = messages.prepare_cached("SELECT max(rowid) FROM messages")?;
    last.query_row([], |row| Ok(row.get::<_, Option<i64>>(0)? == LAST_ROW))
}
