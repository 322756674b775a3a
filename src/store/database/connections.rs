//! A connection is opened for what it is used for: commits, queries, or reading alone.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::files::READ_WRITE;
use super::frozen::{self, Stamp};
use super::open_error::{OpenError, from_sqlite};
use super::wal_bounds::DATABASE;
use super::{wal, word_function};
use crate::limits::{COMMIT_BUSY_TIMEOUT, READ_BUSY_TIMEOUT, READ_CACHE_KIB};

/// Page cache of the write connection, in KiB: the upper levels of the index of a hundred million ids.
const WRITE_CACHE_KIB: i64 = 6 << 10;
/// Prepared statements that a connection keeps: every form of query that it is asked, several times over.
const CACHED_STATEMENTS: usize = 64;

/// A connection that commits: WAL, and every commit synced before it returns. The file must exist.
pub fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<(Connection, String)> {
        let connection = open(path)?;
        connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -{WRITE_CACHE_KIB}; PRAGMA temp_store = MEMORY;"
        ))?;
        wal::keep_at_most(&connection, DATABASE.most)?;
        // What is deleted is people's messages. To insert costs nothing more.
        connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
        Ok((connection, mode))
    };
    match open() {
        Ok((connection, mode)) if mode.eq_ignore_ascii_case("wal") => Ok(connection),
        Ok(_) => Err(OpenError::Unusable(format!(
            "the file system of {} does not support SQLite's write-ahead log; put the database on a local disk",
            path.display()
        ))),
        Err(error) => Err(from_sqlite(path, &error)),
    }
}

/// A connection for queries. Where there is no room for what connections share it reads the file alone, as
/// long as that has the stamp.
pub fn open_for_queries(path: &Path) -> rusqlite::Result<(Connection, Option<Stamp>)> {
    // It reads the schema, and so has all that it needs, or fails.
    let error = match open_for_reading(path) {
        Ok(connection) => return Ok((connection, None)),
        Err(error) => error,
    };
    if !matches!(from_sqlite(path, &error), OpenError::Full(_)) {
        return Err(error);
    }
    let (connection, stamp) = frozen::open(path)?.ok_or(error)?;
    keep_statements(&connection)?;
    set_up_for_reading(&connection)?;
    Ok((connection, Some(stamp)))
}

/// A connection that reads.
pub fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    set_up_for_reading(&connection)?;
    Ok(connection)
}

fn set_up_for_reading(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(READ_BUSY_TIMEOUT)?;
    connection
        .execute_batch(&format!("PRAGMA cache_size = -{READ_CACHE_KIB}; PRAGMA temp_store = MEMORY;"))?;
    word_function::register(connection)?;
    // Numbers of rows are a table where a statement wants them: `rarray(:rows)`.
    rusqlite::vtab::array::load_module(connection)
}

/// Has a connection journal what it writes in this way, or in the one that it can.
pub fn set_journal(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))
}

pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, READ_WRITE)?;
    keep_statements(&connection)?;
    keep_to_one_table(&connection)?;
    Ok(connection)
}

/// Has a connection that writes to messages mind no other table: one that refers to messages must not keep them
/// from being erased. So it is with SQLite as it comes, which the owner of such a table has lived with; the
/// bundled one is built otherwise (<https://sqlite.org/foreignkeys.html#fk_enable>).
pub(super) fn keep_to_one_table(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).map(|_| ())
}

/// Has a connection compile each statement once. Unless told otherwise SQLite looks at some of the
/// values that are bound, and compiles the statement anew whenever one of these is bound again
/// (`SQLITE_DBCONFIG_ENABLE_QPSG`, <https://sqlite.org/c3ref/c_dbconfig_defensive.html>).
pub fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
