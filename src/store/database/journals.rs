//! A log beside a database is what SQLite would take for a part of whatever file has the name.
//!
//! None that holds something is ever removed. It is moved into the database that it belongs to, or whoever
//! has moved that away is asked to put the two together again.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::files::{READ_WRITE, file_id, folder_of, open_regular, sync_folder, wal_path, with_suffix};
use super::open_error::{OpenError, is_held, unusable};
use super::temporary::COMPANIONS;

/// Without a frame behind its header a write-ahead log is empty (sqlite.org/fileformat.html, 4.1).
const WAL_HEADER: u64 = 32;

/// Fails if something that is no file has a name that SQLite would open: it would wait for a pipe for ever.
pub fn are_regular(database: &Path) -> Result<(), OpenError> {
    let files = [database.to_owned(), with_suffix(database, "-index")];
    for path in files.iter().flat_map(|file| COMPANIONS.map(|suffix| with_suffix(file, suffix))) {
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(OpenError::Refused(format!(
                "cannot use the database {}: {} is no regular file, and SQLite would take it for its own; move it \
                 away; nothing was touched",
                database.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// Fails if there is no database, but a log of one: it would be taken for that of a new file.
pub fn none_without_a_database(database: &Path) -> Result<(), OpenError> {
    are_regular(database)?;
    match full(database).map_err(|error| unreadable(database, &error))? {
        // Looked at last: another process that creates a database does so before it has a log.
        Some(log) if file_id(database).is_none() => Err(OpenError::Refused(format!(
            "there is no database {}, but its log {} holds messages: put the file back, or move the log to where the \
             file is now, under that file's name; nothing was touched",
            database.display(),
            log.display()
        ))),
        _ => Ok(()),
    }
}

/// Moves what the database at `target` has in its logs into its file, so that no log of the one stays
/// beside another that takes its place. SQLite removes a log that is all in the file; an empty one does no harm.
/// [`OpenError::InUse`] if somebody is using it.
pub fn checkpoint_and_remove(target: &Path) -> Result<(), OpenError> {
    none_without_a_database(target)?;
    let logs = [wal_path(target), journal_path(target)];
    if file_id(target).is_none() || logs.iter().all(|log| file_id(log).is_none()) {
        return Ok(());
    }
    let checkpoint = || -> rusqlite::Result<()> {
        let connection = Connection::open_with_flags(target, READ_WRITE)?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
    };
    let result = checkpoint();
    if result.as_ref().is_err_and(is_held) {
        return Err(OpenError::InUse(format!(
            "another process has the database {} open; end it first",
            target.display()
        )));
    }
    if let Some(log) = full(target).map_err(|error| unreadable(target, &error))? {
        let why = result.err().map_or_else(|| "SQLite has left it".to_owned(), |error| error.to_string());
        return Err(OpenError::Unusable(format!(
            "what {} holds cannot be moved into {} ({why}); move the two away together, to keep it, and try again",
            log.display(),
            target.display()
        )));
    }
    // None of them may come back with a power cut when another file is there.
    sync_folder(folder_of(target)).map_err(|error| unreadable(target, &error))
}

fn unreadable(database: &Path, error: &io::Error) -> OpenError {
    unusable(database, &wal_path(database), error)
}

fn journal_path(database: &Path) -> PathBuf {
    with_suffix(database, "-journal")
}

/// A log that holds something which may not be in the database yet.
fn full(database: &Path) -> io::Result<Option<PathBuf>> {
    let wal = wal_path(database);
    if found(fs::symlink_metadata(&wal))?.is_some_and(|log| log.len() > WAL_HEADER) {
        return Ok(Some(wal));
    }
    // One that was committed and kept begins with zeros (sqlite.org/pragma.html#pragma_journal_mode).
    let journal = journal_path(database);
    let mut first = [0];
    let begins = match found(open_regular(&journal))? {
        Some(mut file) => file.read(&mut first)?,
        None => 0,
    };
    Ok((begins > 0 && first != [0]).then_some(journal))
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
