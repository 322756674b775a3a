//! A backup takes the place of the database.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::backup::is_same;
use super::copy::{CopyError, copy};
use super::files::folder_of;
use super::replace::{Partial, settle};
use super::{OpenError, index, lock, schema};

/// Puts a copy of `backup` in the place of `database`, at once and synced, after its content was
/// checked. Where it fails, the database is what it was.
///
/// [`OpenError::InUse`] if anybody has the database open; nobody can open it meanwhile.
/// `progress` hears of pages copied and pages in all.
pub fn restore(backup: &Path, database: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), OpenError> {
    let what = format!("cannot restore {} to {}", backup.display(), database.display());
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    schema::inspect(backup).map_err(|error| match error {
        OpenError::Foreign(reason) => OpenError::Unusable(format!("{what}: {reason}")),
        other => other,
    })?;
    if is_same(backup, database) {
        return Err(failed("the backup is the database", &"name another file"));
    }
    fs::create_dir_all(folder_of(database)).map_err(|error| failed("making its folder", &error))?;
    // Where the name is a link, the file that it leads to is replaced: SQLite's other files are there.
    let target = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let _alone = lock::alone(&target)?;
    let partial = Partial::open(&target)
        .map_err(|error| failed("creating the copy", &error))?
        .ok_or_else(|| OpenError::InUse(format!("{what}: another process is making the copy")))?;
    let copied = copy(backup, &partial.file, progress).map_err(|error| match error {
        CopyError::Source(error) => failed("reading the backup", &error),
        CopyError::Target(error) => failed("writing the copy", &error),
        CopyError::Busy => OpenError::InUse(format!("{what}: the backup is being written to")),
    });
    let checked = copied.and_then(|()| match verdict(&partial.path) {
        Ok(None) => Ok(()),
        Ok(Some(wrong)) => Err(failed("the backup is damaged", &wrong.replace('\n', " "))),
        Err(error) => Err(failed("the backup is damaged", &error)),
    });
    if let Err(error) = checked {
        partial.discard();
        return Err(error);
    }
    settle(&target).map_err(|error| failed("the log of the database cannot be put away", &error))?;
    let put = || {
        index::remove(&target)?;
        index::remove(database)?;
        partial.belongs_like(&target)?;
        partial.publish(&target)
    };
    put().map_err(|error| failed("putting it in place", &error))
}

/// What is wrong with a copy, if anything is.
fn verdict(copy: &Path) -> rusqlite::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags)?;
    let has_messages: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'messages')",
        [],
        |row| row.get(0),
    )?;
    if !has_messages {
        return Ok(Some("it has no table of messages".to_owned()));
    }
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Some(verdict).filter(|verdict| verdict != "ok"))
}
