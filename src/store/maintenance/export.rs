//! An export reads every message that matches a filter in the order in which they arrived, a slice at a time.
//!
//! - A slice is read in a snapshot of its own, which ends before anything is done with it: so the log can
//!   restart however long an export takes, and a few megabytes hold it all.
//! - What was stored when it began is in it, unless it was deleted since; what comes later is not.

use std::path::PathBuf;

use rusqlite::{Connection, Row};

use super::SLICE_BYTES;
use crate::filter::Filter;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::lock::{self, Lock};
use crate::store::database::open_error::{OpenError, from_sqlite};
use crate::store::database::{connections, schema};
use crate::store::read::page::{COLUMNS, StoredMessage, stored_message};
use crate::store::read::selection::{Selection, Window};

/// Rows gone through by `export` in one snapshot: some tens of milliseconds, so that the log can restart.
const EXPORT_ROWS: i64 = 10_000;

/// A database that is read beside whoever is using it.
pub(super) struct ExportSource {
    path: PathBuf,
    pub(super) connection: Connection,
    _lock: Option<Lock>,
}

impl ExportSource {
    pub(super) fn open(path: &DatabasePath) -> Result<Self, OpenError> {
        let lock = lock::shared_if_there(path)?;
        schema::inspect(path)?;
        let connection = connections::open_for_reading(path).and_then(|connection| {
            connection.execute_batch("PRAGMA query_only = ON")?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| from_sqlite(path, &error))?;
        Ok(Self { path: path.to_path_buf(), connection, _lock: lock })
    }

    pub(super) fn failed(&self, error: &rusqlite::Error) -> OpenError {
        from_sqlite(&self.path, error)
    }
}

/// An export on its way.
pub struct Export {
    source: ExportSource,
    filter: Filter,
    /// The first row that is yet to be looked at, and the last one. `None` when there are no more.
    left: Option<(i64, i64)>,
}

impl Export {
    /// Of the database at `path`, whoever is using it.
    pub fn open(path: &DatabasePath, filter: Filter) -> Result<Self, OpenError> {
        let source = ExportSource::open(path)?;
        let rows = "SELECT (SELECT min(rowid) FROM messages), (SELECT max(rowid) FROM messages)";
        let range = |row: &Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?));
        let left = source.connection.query_row(rows, [], range).map_err(|error| source.failed(&error))?;
        Ok(Self { source, filter, left })
    }

    /// The next messages; of a selective filter they can be none. `None` when there are no more.
    pub fn next_slice(&mut self) -> Result<Option<Vec<StoredMessage>>, OpenError> {
        self.slice().map_err(|error| self.source.failed(&error))
    }

    fn slice(&mut self) -> rusqlite::Result<Option<Vec<StoredMessage>>> {
        let Some((first, end)) = self.left else {
            return Ok(None);
        };
        let snapshot = self.source.connection.unchecked_transaction()?;
        let last: Option<i64> = snapshot
            .prepare_cached(
                "SELECT max(number) FROM (SELECT rowid AS number FROM messages \
                 WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid LIMIT ?3)",
            )?
            .query_row((first, end, EXPORT_ROWS), |row| row.get(0))?;
        let Some(last) = last else {
            return Ok(None);
        };
        let selection = Selection::new(&self.filter, None);
        let window = Window { rows: first..=last, ..selection.all() };
        let rows = selection.in_table(COLUMNS, "m.rowid BETWEEN :from_row AND :through", &window);
        let mut statement = selection.prepare(&snapshot, &format!("{rows} ORDER BY m.rowid"), &window)?;
        let (mut slice, mut bytes) = (Vec::new(), 0);
        let mut found = statement.raw_query();
        let behind = |row: i64| row.checked_add(1).map(|next| (next, end));
        self.left = behind(last);
        while let Some(row) = found.next()? {
            let message = stored_message(row)?;
            bytes += message.message_id.len() + message.text.as_ref().map_or(0, String::len);
            slice.push(message);
            if bytes >= SLICE_BYTES {
                self.left = behind(row.get(6)?);
                break;
            }
        }
        Ok(Some(slice))
    }
}
