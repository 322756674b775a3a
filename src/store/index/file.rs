//! The file of the index is made, known again after a start, attached to a query's connection, or removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{Watermarks, changes, integrity, order};

use crate::limits::{READ_BUSY_TIMEOUT, READ_CACHE_KIB};
use crate::sort_key::SortKey;
use crate::store::database::connections::{self, set_journal};
use crate::store::database::files::FileId;
use crate::store::database::files::{READ_WRITE, file_id, with_suffix};
use crate::store::database::sort_columns::{INSTANT, MESSAGE_ID};
use crate::store::database::wal;
use crate::store::database::wal_bounds::INDEX;

/// Page cache of the connection that keeps the index up, in KiB.
const INDEX_CACHE_KIB: i64 = 2 << 10;

/// The version of the index's own schema. Another one is made anew.
const VERSION: i64 = 5;

/// Where the index of a database is.
pub fn path_of(database: &Path) -> PathBuf {
    with_suffix(database, "-index")
}

/// The index of the database that `messages` is a connection to, for keeping it up: the one that is
/// there if it belongs to it, or a new one.
pub fn open(database: &Path, messages: &Connection) -> rusqlite::Result<Connection> {
    let path = path_of(database);
    if let Some(obstacle) = integrity::obstacle(messages)? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH);
        return Err(rusqlite::Error::SqliteFailure(code, Some(obstacle.to_owned())));
    }
    let usable = |index: Connection| {
        let version: i64 = index.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let usable = version == VERSION && !index.is_readonly("main")? && belongs(&index, messages)?;
        Ok(usable.then_some(index))
    };
    match connect(&path).and_then(usable) {
        Ok(Some(index)) => Ok(index),
        // It is in use, say by the process that ours takes the place of.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(error),
        // Whatever it is, all that can be in it is in the database.
        Ok(None) | Err(_) => {
            remove(database).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            create(&path, messages)
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let index = open_file(path)?;
    set_up(&index)?;
    Ok(index)
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let index = Connection::open_with_flags(path, READ_WRITE)?;
    index.busy_timeout(READ_BUSY_TIMEOUT)?;
    connections::keep_statements(&index)?;
    Ok(index)
}

/// What is moved out of the log is synced. A commit never needs to be: what a machine that fails takes back is derived
/// again.
fn set_up(index: &Connection) -> rusqlite::Result<()> {
    set_journal(index, "WAL")?;
    index.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -{INDEX_CACHE_KIB}; PRAGMA temp_store = MEMORY;"
    ))?;
    wal::keep_at_most(index, INDEX.most)?;
    wal::autocheckpoint_at(index, INDEX.passive)?;
    // What was erased from the messages is not to be found here. To index costs a twentieth more.
    index.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))
}

/// True if the index was derived from this database, as far as it goes. The version has been looked at.
fn belongs(index: &Connection, messages: &Connection) -> rusqlite::Result<bool> {
    let of: Vec<u8> = index.query_row("SELECT store FROM messages_marks", [], |row| row.get(0))?;
    if of != identity(messages)? {
        return Ok(false);
    }
    // A copy of the database that was restored has the same name, but may have other rows: it has
    // not seen what the index has taken account of, or not what stands, or stood, at the watermark.
    let watermarks = Watermarks::read(index)?;
    let has_seen: bool = messages.query_row(
        "SELECT ?1 = 0 OR EXISTS (SELECT 1 FROM messages_changes WHERE change = ?1)",
        [watermarks.changes_through],
        |row| row.get(0),
    )?;
    if !has_seen || changes::were_missed(messages, &watermarks)? {
        return Ok(false);
    }
    let Some(row) = watermarks.ordered_through.filter(|_| watermarks.ordered > 0) else {
        return Ok(true);
    };
    let standing = messages
        .query_row(
            &format!(
                "SELECT {INSTANT}, {MESSAGE_ID} FROM (\
                    SELECT * FROM (SELECT ts, message_id FROM messages_changes \
                        WHERE change > ?2 AND message_row = ?1 ORDER BY change LIMIT 1) \
                    UNION ALL SELECT ts, message_id FROM messages WHERE rowid = ?1) AS m LIMIT 1"
            ),
            (row, watermarks.changes_through),
            |found| Ok(SortKey { instant: found.get(0)?, message_id: found.get(1)?, row }),
        )
        .optional()?;
    standing.map_or(Ok(false), |key| order::has(index, &key))
}

fn last_change(messages: &Connection) -> rusqlite::Result<i64> {
    messages.query_row("SELECT ifnull(max(change), 0) FROM messages_changes", [], |row| row.get(0))
}

fn identity(messages: &Connection) -> rusqlite::Result<Vec<u8>> {
    messages.query_row("SELECT id FROM messages_store", [], |row| row.get(0))
}

fn create(path: &Path, messages: &Connection) -> rusqlite::Result<Connection> {
    use std::os::unix::fs::OpenOptionsExt;
    // The senders are in it, which are nobody else's business.
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut index = open_file(path)?;
    // One that is not whole is made anew, so there is nothing to be taken back, and nothing to be synced.
    index.execute_batch("PRAGMA synchronous = OFF")?;
    set_journal(&index, "OFF")?;
    let transaction = index.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    let changes = last_change(messages)?;
    transaction.execute(
        "INSERT INTO messages_marks VALUES (?1, NULL, 0, 0, NULL, ?2)",
        (identity(messages)?, changes),
    )?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    set_up(&index)?;
    Ok(index)
}

/// Removes an index that is of no use.
pub fn remove(database: &Path) -> io::Result<()> {
    let path = path_of(database);
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(with_suffix(&path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The file that is the index of a database now. A link is none.
pub fn file_of(database: &Path) -> Option<FileId> {
    file_id(&path_of(database))
}

/// Gives a connection for queries the index of its database, which has to be this file. Another one
/// is not even opened: beside it lies the log of this one.
pub fn attach(reader: &Connection, database: &Path, file: Option<FileId>) -> rusqlite::Result<()> {
    let path = path_of(database);
    let is_other = || file.is_none() || file_of(database) != file;
    if is_other() {
        return Err(rusqlite::Error::InvalidPath(path));
    }
    reader.execute("ATTACH ?1 AS idx", [path.to_string_lossy()])?;
    reader.execute_batch(&format!("PRAGMA idx.cache_size = -{READ_CACHE_KIB};"))?;
    // The database may be another one than a moment ago, too.
    let snapshot = reader.unchecked_transaction()?;
    if is_other() || !belongs(&snapshot, &snapshot)? {
        return Err(rusqlite::Error::InvalidPath(path));
    }
    snapshot.commit()
}

/// Gives a connection for queries an empty index: every message is in the tail.
pub fn attach_none(reader: &Connection) -> rusqlite::Result<()> {
    reader.execute_batch("ATTACH ':memory:' AS idx")?;
    let schema = include_str!("schema.sql");
    let schema =
        schema.replace("CREATE TABLE ", "CREATE TABLE idx.").replace("VIRTUAL TABLE ", "VIRTUAL TABLE idx.");
    reader.execute_batch(&schema)?;
    reader.execute("INSERT INTO messages_marks VALUES (x'', NULL, 0, 0, NULL, ?1)", [i64::MAX])?;
    Ok(())
}
