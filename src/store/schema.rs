//! The file's shape: what is accepted, how it is migrated, and how connections to it are opened.
//!
//! A file is looked at before it is written to. One that is not ours, or is newer than this
//! program, is refused and stays as it was, to the byte.

use std::fs;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::files::{READ_ONLY, READ_WRITE};
use super::open_error::{OpenError, damaged, foreign, from_sqlite};
use super::search;
use crate::limits::{
    CACHED_STATEMENTS, COMMIT_BUSY_TIMEOUT, LARGEST_CHECKED_BYTES, READ_BUSY_TIMEOUT, READ_CACHE_KIB,
    START_BUSY_TIMEOUT, WAL_KEEP_BYTES, WRITE_AGAIN_BUSY_TIMEOUT, WRITE_CACHE_KIB,
};

/// The columns of `messages`, which earlier implementations of the contract share (section 9).
const COLUMNS: [&str; 6] = ["created_at", "from_msisdn", "message_id", "text", "to_msisdn", "ts"];

/// What brings a file from version n to n + 1, where n is the place in this list. Each runs in one
/// transaction with the change of `PRAGMA user_version`. Names are our own (`messages_by_…`):
/// earlier implementations have taken `idx_ts` and its like.
const MIGRATIONS: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS messages (
        message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL, to_msisdn TEXT NOT NULL,
        ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);",
    include_str!("migration_2.sql"),
    include_str!("migration_3.sql"),
];

/// The version of a file that this program has brought up to date.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Looks at the file without changing it. Gives its version.
pub(super) fn inspect(path: &Path) -> Result<i64, OpenError> {
    let failed = |error: rusqlite::Error| from_sqlite(path, &error);
    let connection = Connection::open_with_flags(path, READ_ONLY).map_err(failed)?;
    connection.busy_timeout(COMMIT_BUSY_TIMEOUT).map_err(failed)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if version > VERSION {
        return Err(foreign(
            path,
            &format!("its schema version is {version}, this program knows {VERSION}: upgrade it"),
        ));
    }
    let mut statement = connection
        .prepare("SELECT name, pk FROM pragma_table_xinfo('messages') ORDER BY name")
        .map_err(failed)?;
    let columns: Vec<(String, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(failed)?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    if columns.is_empty() && version == 0 {
        return Ok(version);
    }
    if names != COLUMNS {
        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(foreign(path, &format!("its table messages has other columns ({found})")));
    }
    let key: Vec<&str> = columns.iter().filter(|(_, pk)| *pk > 0).map(|(name, _)| name.as_str()).collect();
    if key != ["message_id"] {
        return Err(foreign(path, "its table messages has another primary key than message_id"));
    }
    if version < VERSION && fs::metadata(path).is_ok_and(|file| file.len() <= LARGEST_CHECKED_BYTES) {
        // Damage of a file that was never in our care must show before the first change to it.
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
    }
    Ok(version)
}

pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(START_BUSY_TIMEOUT)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (from, sql) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", from as i64 + 1)?;
    }
    transaction.commit()?;
    write_again(connection)
}

/// What an earlier run wrote and the kernel may have failed to sync is written and synced again, so that
/// everything visible from now on is also on disk: all that no other process is reading.
pub(super) fn write_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WRITE_AGAIN_BUSY_TIMEOUT)?;
    let result = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
    result
}

/// A connection that commits: WAL, and every commit synced before it returns. The file must exist.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<(Connection, String)> {
        let connection = open(path)?;
        connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -{WRITE_CACHE_KIB}; PRAGMA temp_store = MEMORY;"
        ))?;
        connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_KEEP_BYTES}"), [], |_| Ok(()))?;
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

/// A connection for queries.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.busy_timeout(READ_BUSY_TIMEOUT)?;
    connection
        .execute_batch(&format!("PRAGMA cache_size = -{READ_CACHE_KIB}; PRAGMA temp_store = MEMORY;"))?;
    search::register(&connection)?;
    Ok(connection)
}

pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, READ_WRITE)?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Has a connection compile each statement once. Unless told otherwise SQLite looks at some of the
/// values that are bound, and compiles the statement anew whenever one of these is bound again
/// (`SQLITE_DBCONFIG_ENABLE_QPSG`, <https://sqlite.org/c3ref/c_dbconfig_defensive.html>).
pub(super) fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
