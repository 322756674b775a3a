//! A database is created where there is none, or brought up to date, under a lock that says which of the two.
//!
//! - Creating is exclusive: of two processes that start at once on an empty folder one creates, and the
//!   other finds what it has made.
//! - A new database appears whole or not at all, and only where nothing is.
//! - A log without its database holds what was acknowledged. It is never taken for that of a new one, nor
//!   removed: the start is refused until somebody says where it belongs.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use super::connections::{self, set_journal};
use super::files::{FileId, file_id, folder_of, make_folder, owner_of};
use super::journals;
use super::lock::{self, Lock};
use super::migrations;
use super::open_error::{OpenError, from_sqlite, unusable};
use super::schema::{self, inspect};
use super::temporary::Temporary;

/// Below this, a checkpoint can corrupt a WAL database (sqlite.org/wal.html#walresetbug).
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;
// It is built in.
const _: () = assert!(rusqlite::ffi::SQLITE_VERSION_NUMBER >= OLDEST_SAFE_SQLITE);
/// So often a database that vanishes, or is replaced, while it is being opened is looked for again.
const TRIES: usize = 5;

/// The write connection to a database that is there and up to date, and the lock that tells others so.
/// Makes the folder and the file if need be, refuses a foreign file, and migrates an older one.
pub fn prepare(path: &Path) -> Result<(Connection, Lock), OpenError> {
    let Claim { connection, lock, .. } = claim(path)?;
    Ok((connection?, lock))
}

/// A database that was looked at, and is locked.
pub struct Claim {
    /// Where it cannot be written to now, the write connection is to be had later, by [`schema::connect`].
    pub connection: Result<Connection, OpenError>,
    /// When it was made, committed and synced, if it was not there.
    pub made: Option<Instant>,
    pub lock: Lock,
}

/// As [`prepare`], but a database that is there may be used though it cannot be written to now.
pub fn claim(path: &Path) -> Result<Claim, OpenError> {
    let folder = folder_of(path);
    make_folder(folder).map_err(|error| unusable(path, folder, &error))?;
    for _ in 0..TRIES {
        let (known, due_by, made) = if let Some(found) = file_id(path) {
            // SQLite's own message does not say what the system said.
            let could_be_written = OpenOptions::new().read(true).append(true).open(path);
            could_be_written.map_err(|error| unusable(path, path, &error))?;
            // Whether it is still so is asked under the lock that a change takes: another process may have been
            // faster, or holds it for so long that somebody should know.
            (found, Some(inspect(path)?), None)
        } else if let Some(made) = create(path)? {
            (made, None, Some(Instant::now()))
        } else {
            continue;
        };
        // A file that is refused gets no company either.
        let lock = lock::shared(path)?;
        // Before the lock was ours it may have been replaced by one that nobody has looked at.
        if file_id(path) == Some(known) {
            return Ok(Claim { connection: schema::connect(path, due_by), made, lock });
        }
    }
    Err(OpenError::InUse(format!("the database {} is replaced by others again and again", path.display())))
}

/// Makes the database where nothing is. `None` if another process was faster: what is there is looked at like any
/// other.
///
/// It is made under another name, so it needs two syncs and not the ten that SQLite would spend on getting there step
/// by step.
fn create(path: &Path) -> Result<Option<FileId>, OpenError> {
    let Some(_alone) = lock::to_create(path)? else {
        return Ok(None);
    };
    // Before the lock was ours.
    if file_id(path).is_some() {
        return Ok(None);
    }
    journals::none_without_a_database(path)?;
    let failed = |error: io::Error| unusable(path, folder_of(path), &error);
    let temporary = Temporary::of(path).map_err(failed)?;
    fill(temporary.path()).map_err(|error| from_sqlite(temporary.path(), &error))?;
    owner_of(path).and_then(|owner| temporary.give_to(owner)).map_err(failed)?;
    temporary.publish_new().map_err(failed)
}

/// Nobody else sees the file before it is whole, and one that is not is thrown away: it needs no journal.
fn fill(unborn: &Path) -> rusqlite::Result<()> {
    let mut connection = connections::open(unborn)?;
    connection.execute_batch("PRAGMA synchronous = OFF")?;
    set_journal(&connection, "OFF")?;
    let transaction = connection.transaction()?;
    migrations::apply(&transaction, 0)?;
    transaction.commit()?;
    set_journal(&connection, "WAL")?;
    connection.close().map_err(|(_, error)| error)
}
