//! A process beside the service makes room in the write-ahead log before each of its own transactions.
//!
//! Queries of the service overlap, and keep the log from restarting; so it is asked for a moment without
//! any ([`Lock::ask_for_a_moment`]). Another program that reads cannot be asked, and is waited for.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::FREE_POLL;
use crate::store::database::lock::Lock;
use crate::store::database::open_error::is_held;
use crate::store::database::wal::{self, Checkpointed};
use crate::store::database::wal_bounds::DATABASE;

/// How long the service is asked at a time: it looks every 50 ms, and gives up long queries after two seconds.
const ASKING_TIME: Duration = Duration::from_secs(4);
/// How long its queries have until it is asked again: somebody else is in the way then.
const PAUSE_BETWEEN_ASKS: Duration = Duration::from_secs(3);

/// Has SQLite itself move the log at a length in bytes, whatever the size of a page.
pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    wal::autocheckpoint_at(connection, DATABASE.passive)
}

/// Returns when the log has room for another transaction; an error that says that it is held if it has none in time.
pub(super) fn make(connection: &Connection, lock: &Lock, patience: Duration) -> rusqlite::Result<()> {
    if wal::length(connection)?.live < DATABASE.restart {
        return Ok(());
    }
    until_all_is_checkpointed(lock, patience, || wal::restart(connection))
}

/// Moves all of the log into the database and cuts it to nothing.
pub(super) fn truncate(connection: &Connection, lock: &Lock, patience: Duration) -> rusqlite::Result<()> {
    // Most of it, while others go on.
    wal::passive(connection)?;
    until_all_is_checkpointed(lock, patience, || wal::truncate(connection, Duration::ZERO))
}

fn until_all_is_checkpointed(
    lock: &Lock,
    patience: Duration,
    mut checkpoint: impl FnMut() -> rusqlite::Result<Checkpointed>,
) -> rusqlite::Result<()> {
    let began = Instant::now();
    let mut asking = None;
    loop {
        match checkpoint() {
            Ok(Checkpointed::All) => return Ok(()),
            Ok(Checkpointed::Part | Checkpointed::Elsewhere) => {}
            Err(error) if is_held(&error) => {}
            Err(error) => return Err(error),
        }
        if began.elapsed() >= patience {
            return Err(held());
        }
        asking = match is_time_to_ask(began.elapsed()) {
            true => asking.or_else(|| lock.ask_for_a_moment()),
            false => None,
        };
        thread::sleep(FREE_POLL);
    }
}

fn is_time_to_ask(waited: Duration) -> bool {
    waited.as_millis() % (ASKING_TIME + PAUSE_BETWEEN_ASKS).as_millis() < ASKING_TIME.as_millis()
}

fn held() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    let why = "another process reads the database, so that its write-ahead log cannot start over";
    rusqlite::Error::SqliteFailure(code, Some(why.to_owned()))
}
