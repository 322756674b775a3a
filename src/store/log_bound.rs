//! A bound on the log of a database for commands that keep it from starting over: their snapshot is one that the
//! service cannot end.

use std::path::Path;

use rusqlite::Connection;

use super::schema;
use crate::limits::{CHECKPOINT_PAGES, LONGEST_FOREIGN_WAL_PAGES};

/// Watches the log from the moment when the snapshot begins.
pub(super) struct LogBound {
    /// Of its own: one inside a transaction is not told.
    connection: Connection,
    pages_at_first: i64,
}

impl LogBound {
    pub(super) fn of(database: &Path) -> rusqlite::Result<Self> {
        let mut bound = Self { connection: schema::open_for_reading(database)?, pages_at_first: 0 };
        bound.pages_at_first = bound.pages().max(CHECKPOINT_PAGES);
        Ok(bound)
    }

    /// The log has grown, and beyond what a command may have it grow to.
    pub(super) fn is_exceeded(&self) -> bool {
        let pages = self.pages();
        pages > self.pages_at_first && pages > LONGEST_FOREIGN_WAL_PAGES
    }

    /// 0 where there is none, or nobody can write to it.
    fn pages(&self) -> i64 {
        self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).unwrap_or(0)
    }
}
