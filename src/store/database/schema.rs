//! The schema of a file is looked at, then brought up to date.
//!
//! A file is looked at before it is written to. One that is not ours, or is newer than this
//! program, is refused and stays as it was, to the byte.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, TransactionBehavior};

use super::acceptance::{Verdict, examine};
use super::connections::{open, open_for_writing};
use super::files::{folder_of, wal_path, with_suffix};
use super::journals;
use super::lock;
use super::migrations::{self, VERSION};
use super::open_error::{OpenError, damaged, foreign, from_sqlite};
use super::transaction::schema_version;
use super::wal;
use crate::limits::COMMIT_BUSY_TIMEOUT;

/// A file of an earlier implementation up to this size is checked for damage before it is migrated,
/// which takes two seconds for that many bytes.
const MAX_CHECKED_BYTES: u64 = 1 << 30;
/// How long a start waits for another process that holds the database, say one that has not ended yet on
/// a disk that stalls.
const START_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits for another process that reads the log. One that replicates does so for ever.
const WRITE_AGAIN_BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// How long it is waited to be alone with a database that nobody seems to have open.
const ALONE_BUSY_TIMEOUT: Duration = Duration::from_millis(50);

/// What a look at a schema has found that is fit to be served.
#[derive(Debug, Clone, Copy)]
pub struct Inspected {
    /// From which migrations are due.
    pub version: i64,
    /// Every change of the schema changes it (sqlite.org/pragma.html#pragma_schema_version).
    cookie: i64,
}

/// Looks at a database that is there, and leaves it as it is, also where it is refused.
///
/// It is read as its owner would read it: what a killed writer has left half done is taken back first,
/// which SQLite does only where it may write.
pub fn inspect(path: &Path) -> Result<Inspected, OpenError> {
    journals::are_regular(path)?;
    // Two that look at once would keep each other from it.
    let _turn = lock::turn_in(folder_of(path));
    let company = Company::of(path);
    let inspected = match examine_beside(path, company) {
        // Somebody has opened it in between.
        Err(OpenError::InUse(_)) if company == Company::None => examine_beside(path, Company::Others),
        verdict => verdict,
    }?;
    if inspected.version < VERSION && fs::metadata(path).is_ok_and(|file| file.len() <= MAX_CHECKED_BYTES) {
        // Damage of a file that was never in our care must show before the first change to it.
        let quick_check = || {
            let connection = open(path)?;
            connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        };
        let verdict: rusqlite::Result<String> = quick_check();
        match verdict.map_err(|error| from_sqlite(path, &error)) {
            Ok(verdict) if verdict != "ok" => return Err(damaged(path, &verdict)),
            // Then there is no room for a change either. It is looked at again before one is tried.
            Ok(_) | Err(OpenError::Full(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(inspected)
}

/// Who else may have a database open while it is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// Nobody, as far as can be seen by the files beside it.
    None,
    Others,
}

impl Company {
    fn of(path: &Path) -> Self {
        let is_there = |suffix| with_suffix(path, suffix).exists();
        if is_there("-shm") || is_there("-journal") { Self::Others } else { Self::None }
    }
}

fn examine_beside(path: &Path, company: Company) -> Result<Inspected, OpenError> {
    let examine_unchanged = || -> rusqlite::Result<(Verdict, i64)> {
        if !is_utf8(path, company)? {
            return Ok((Verdict::Foreign("its text is UTF-16, not UTF-8".to_owned()), 0));
        }
        let connection = open(path)?;
        leave_nothing(&connection, path, company)?;
        let snapshot = connection.unchecked_transaction()?;
        Ok((examine(&snapshot)?, schema_version(&snapshot)?))
    };
    let (verdict, cookie) = examine_unchanged().map_err(|error| from_sqlite(path, &error))?;
    Ok(Inspected { version: accepted(path, verdict)?, cookie })
}

fn accepted(path: &Path, verdict: Verdict) -> Result<i64, OpenError> {
    match verdict {
        Verdict::Ours(version) => Ok(version),
        Verdict::Foreign(why) => Err(foreign(path, &why)),
    }
}

/// SQLite as it is built here would take one for the other, but for a database beside another one.
fn is_utf8(path: &Path, company: Company) -> rusqlite::Result<bool> {
    let utf8 = open(Path::new(":memory:"))?;
    leave_nothing(&utf8, path, company)?;
    let name = ToSqlOutput::Borrowed(ValueRef::Text(path.as_os_str().as_bytes()));
    match utf8.execute("ATTACH ?1 AS file", [name]) {
        Err(error) if error.to_string().contains("text encoding") => Ok(false),
        attached => attached.map(|_| true),
    }
}

/// Has a connection to this database leave nothing behind: a log that was there stays as it was, one that was
/// not there goes with the connection. Nor does it make the file of shared memory where nobody uses one: for
/// that it has to be alone.
fn leave_nothing(connection: &Connection, path: &Path, company: Company) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wal_path(path).exists())?;
    match company {
        Company::Others => connection.busy_timeout(COMMIT_BUSY_TIMEOUT),
        Company::None => {
            connection.busy_timeout(ALONE_BUSY_TIMEOUT)?;
            connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))
        }
    }
}

/// The write connection to a database, brought up to date where that may be due by what was found.
pub fn connect(path: &Path, due_by: Option<Inspected>) -> Result<Connection, OpenError> {
    let mut connection = open_for_writing(path)?;
    if let Some(inspected) = due_by {
        migrate(path, &mut connection, inspected)?;
    }
    // What an earlier run wrote and the kernel may have failed to sync is written and synced again, so that
    // everything visible from now on is also on disk: all that no other process is reading.
    let written = wal::truncate(&connection, WRITE_AGAIN_BUSY_TIMEOUT);
    written
        .and_then(|_| connection.busy_timeout(COMMIT_BUSY_TIMEOUT))
        .map_err(|error| from_sqlite(path, &error))?;
    Ok(connection)
}

/// Brings a database up to date that has been looked at.
fn migrate(path: &Path, connection: &mut Connection, inspected: Inspected) -> Result<(), OpenError> {
    let mut migrate = || -> rusqlite::Result<Verdict> {
        connection.busy_timeout(START_BUSY_TIMEOUT)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have changed it since.
        let verdict = match schema_version(&transaction)? == inspected.cookie {
            true => Verdict::Ours(inspected.version),
            false => examine(&transaction)?,
        };
        if let Verdict::Ours(version @ ..VERSION) = verdict {
            migrations::apply(&transaction, version)?;
        }
        transaction.commit()?;
        Ok(verdict)
    };
    accepted(path, migrate().map_err(|error| from_sqlite(path, &error))?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::*;

    #[test]
    fn what_was_changed_since_the_look_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(prepare::prepare(&path).unwrap());
        let change = |sql: &str| open(&path).unwrap().execute_batch(sql).unwrap();
        let has_trigger = |connection: &Connection| {
            connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'messages_deleted'")?.exists([])
        };
        let inspected = inspect(&path).unwrap();
        assert_eq!(inspected.version, VERSION);
        change("DROP TRIGGER messages_deleted");
        let connection = connect(&path, Some(inspected)).unwrap();
        assert_eq!(has_trigger(&connection), Ok(true));
        drop(connection);

        let inspected = inspect(&path).unwrap();
        change("ALTER TABLE messages ADD COLUMN more");
        assert!(matches!(connect(&path, Some(inspected)), Err(OpenError::Refused(_))));
    }
}
