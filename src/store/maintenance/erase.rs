//! An erasure removes one person's messages from the database as well as from what is derived from it, in a process of
//! its own, whether the service runs or not.
//!
//! - Small transactions, so that a running service waits a moment for each and no webhook for more.
//! - Texts are overwritten first, all of them ([`super::deletion`]), and what is deleted once more where it stood
//!   (`secure_delete`); the log is emptied, and the index is made anew. Unused places of the file can hold ids and
//!   numbers still, and of a file that was written without that care whole rows, so it is written anew on request
//!   (`VACUUM`).
//! - The ids stay known for a while as hashes ([`crate::store::write::tombstones`]): sent again, a message stays erased.
//! - Cut short it has erased a part; done again it erases the rest.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::deletion::{self, Target};
use super::retention::trusted_clock;
use super::wal_room;
use super::{DELETED_SLICE, FREE_POLL, items};
use crate::file::{file_id, id_of};
use crate::limits::REMOVAL_SLICE;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::files::{READ_WRITE, folder_of, open_regular};
use crate::store::database::lock::{self, Lock};
use crate::store::database::migrations::VERSION;
use crate::store::database::open_error::{OpenError, from_sqlite, is_held};
use crate::store::database::temporary;
use crate::store::database::transaction::in_transaction;
use crate::store::database::{connections, schema};
use crate::store::index::{self, changes};

/// How long it waits for the database to be free, and for a running service to let go of its index. A query that keeps the log
/// from being emptied is given up after ten seconds.
const ERASE_PATIENCE: Duration = Duration::from_secs(20);

/// What has to hold still of a message that is deleted (see [`deletion`]).
const SENT_BY: &str = "from_msisdn = ?2";
/// A message by its row, its sender and its id.
type ErasableRow = Target<String>;

/// How much was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    pub messages: u64,
    /// Of WhatsApp: messages, statuses, and whatever else named somebody.
    pub items: u64,
}

/// Erases every message of these senders that was stored before; `to_the_last_byte` also writes the file anew,
/// during which nobody can commit. Gives their numbers. `progress` hears of messages erased and messages found.
pub fn erase(
    database: &DatabasePath,
    senders: &[String],
    to_the_last_byte: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Erased, OpenError> {
    let failed = |error: rusqlite::Error| from_sqlite(database, &error);
    let version = schema::inspect(database)?.version;
    if version < VERSION {
        return Err(OpenError::Unusable(format!(
            "the database {} is from an earlier version of this program; start the service on it once",
            database.display()
        )));
    }
    let lock = lock::shared(database)?;
    let connection = connections::open_for_writing(database)?;
    // A service under load is at rest for moments only: they are looked for more often than SQLite would.
    connection.busy_timeout(Duration::ZERO).and_then(|()| wal_room::set_up(&connection)).map_err(failed)?;
    let last = "SELECT ifnull(max(rowid), 0) FROM messages";
    let last: i64 = patiently(|| connection.query_row(last, [], |row| row.get(0))).map_err(failed)?;
    let mut erased = 0;
    loop {
        let found = patiently(|| find(&connection, senders, last)).map_err(failed)?;
        if found.is_empty() {
            break;
        }
        let all = erased + found.len() as u64;
        for rows in found.chunks(DELETED_SLICE) {
            let overwrite = |connection: &Connection| deletion::overwrite_texts(connection, SENT_BY, rows);
            slice(&connection, &lock, overwrite).map_err(failed)?;
        }
        for rows in found.chunks(DELETED_SLICE) {
            erased += slice(&connection, &lock, |connection| delete(connection, rows)).map_err(failed)?;
            progress(erased, all);
        }
    }
    let items = erase_items(&connection, &lock, senders).map_err(failed)?;
    // From here on no index that knew the messages is read.
    let remove = |connection: &Connection| changes::remove(connection, i64::MAX, REMOVAL_SLICE);
    while slice(&connection, &lock, remove).map_err(failed)? {}
    if to_the_last_byte {
        rewrite(&connection).map_err(|error| {
            let advice = match is_held(&error) {
                true => "another process holds the database: end it",
                false => {
                    "it takes as much room as the database has, once beside it and once where TMPDIR points"
                }
            };
            unfinished(database, "it could not be written anew", &error, advice)
        })?;
    }
    let emptied = wal_room::truncate(&connection, &lock, ERASE_PATIENCE);
    drop(connection);
    remove_from_other_files(database, emptied)?;
    Ok(Erased { messages: erased, items })
}

/// The key of an item is hashed into its tombstone as the id of a message is.
fn erase_items(connection: &Connection, lock: &Lock, senders: &[String]) -> rusqlite::Result<u64> {
    let Some(last) = patiently(|| items::last(connection))? else {
        return Ok(0);
    };
    let (mut found, mut after) = (Vec::new(), 0);
    while let Some((some, through)) = patiently(|| items::find(connection, senders, after, last))? {
        found.extend(some);
        after = through;
    }
    for some in found.chunks(DELETED_SLICE) {
        slice(connection, lock, |connection| items::overwrite(connection, some))?;
    }
    let mut erased = 0;
    for some in found.chunks(DELETED_SLICE) {
        erased += slice(connection, lock, |connection| items::delete(connection, some, now(connection)?))?;
    }
    Ok(erased)
}

/// Removes what still holds the messages beside the database, as much of it as can be removed.
fn remove_from_other_files(database: &Path, emptied: rusqlite::Result<()>) -> Result<(), OpenError> {
    // Unfinished copies are left behind by commands that were killed.
    let copies = temporary::left_behind(folder_of(database))
        .and_then(|copies| copies.iter().try_for_each(|copy| temporary::remove(copy)));
    let index = remove_index(database);
    emptied.map_err(|error| {
        let advice = match is_held(&error) {
            true => {
                "another process reads the database all the time, as Litestream or an open sqlite3 does: end it"
            }
            false => "put that right",
        };
        unfinished(database, "its log still holds them", &error, advice)
    })?;
    for (what, removed) in [("its index", index), ("an unfinished copy beside it", copies)] {
        let what_is_left = format!("{what} still holds them, since it cannot be removed");
        removed.map_err(|error| unfinished(database, &what_is_left, &error, "put that right"))?;
    }
    Ok(())
}

/// What is said of messages that are deleted, and not gone yet.
fn unfinished(database: &Path, what_is_left: &str, error: &dyn Display, advice: &str) -> OpenError {
    OpenError::Unusable(format!(
        "the messages are deleted from {}, but {what_is_left} ({error}); {advice}, and run this again",
        database.display()
    ))
}

/// Tries until nobody else holds the database.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let began = Instant::now();
    loop {
        match work() {
            Err(error) if is_held(&error) && began.elapsed() < ERASE_PATIENCE => thread::sleep(FREE_POLL),
            done => return done,
        }
    }
}

/// One small transaction, and a rest for those who use the database as well.
fn slice<T>(
    connection: &Connection,
    lock: &Lock,
    mut work: impl FnMut(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    wal_room::make(connection, lock, ERASE_PATIENCE)?;
    let mut took = Duration::ZERO;
    let done = patiently(|| {
        let began = Instant::now();
        let done = in_transaction(connection, &mut work);
        took = began.elapsed();
        done
    });
    thread::sleep(took);
    done
}

/// Writes the whole file anew, so that nothing is left in unused places. Nobody can commit meanwhile.
fn rewrite(connection: &Connection) -> rusqlite::Result<()> {
    // The copy that SQLite makes on the way may be larger than memory.
    connection.execute_batch("PRAGMA temp_store = FILE")?;
    patiently(|| connection.execute_batch("VACUUM"))
}

/// The messages of the senders, up to a row, also by another name that WhatsApp has for them.
fn find(connection: &Connection, senders: &[String], last: i64) -> rusqlite::Result<Vec<ErasableRow>> {
    let mut all = Vec::new();
    let mut statement = connection.prepare(
        "SELECT rowid, from_msisdn, CAST(message_id AS BLOB) FROM messages WHERE from_msisdn = ?1 AND rowid <= ?2",
    )?;
    for sender in senders {
        for message in statement.query_map((sender, last), |row| row.try_into())? {
            all.push(message?);
        }
    }
    all.extend(items::rows_of(connection, senders, last)?);
    Ok(all)
}

/// Deletes those that are still what they were, and puts their tombstones.
fn delete(connection: &Connection, rows: &[ErasableRow]) -> rusqlite::Result<u64> {
    deletion::delete(connection, SENT_BY, rows, now(connection)?)
}

/// The time of a tombstone. It is no earlier than retention has believed: where the clock was set back since, the
/// tombstone would be taken for an old one and go at once.
fn now(connection: &Connection) -> rusqlite::Result<i64> {
    Ok(trusted_clock::now().max(trusted_clock::read(connection)?.unwrap_or(0)))
}

/// Removes the index. One that a running service uses loses its name, and the service, which looks for it
/// all the time, makes another one.
fn remove_index(database: &Path) -> io::Result<()> {
    let path = index::path_of(database);
    let held = hold_index(&path);
    let before = index::file_of(database);
    let began = Instant::now();
    while held.is_some() && began.elapsed() < ERASE_PATIENCE {
        let now = index::file_of(database);
        if now.is_some() && now != before {
            return Ok(());
        }
        if now.is_some() && is_in_use(&path) {
            fs::remove_file(&path)?;
        } else if now.is_some() {
            break;
        }
        thread::sleep(FREE_POLL);
    }
    index::remove(database)
}

/// The index, if there is one, for one erasure at a time. Held open, so that the next file cannot be given its
/// number and be taken for it.
fn hold_index(path: &Path) -> Option<File> {
    loop {
        let file = open_regular(path).ok()?;
        // Where a file cannot be locked, two erasures at once are not kept apart.
        let is_locked = file.lock().is_ok();
        if !is_locked || file.metadata().ok().map(|file| id_of(&file)) == file_id(path) {
            return Some(file);
        }
    }
}

/// True if another process has the index open. Otherwise its log is in it now.
fn is_in_use(index: &Path) -> bool {
    let checkpoint = || {
        let index = Connection::open_with_flags(index, READ_WRITE)?;
        index.busy_timeout(Duration::ZERO)?;
        index.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    };
    checkpoint().is_err_and(|error| is_held(&error))
}
