//! A restore puts a backup in the place of the database.

use std::fmt::Display;
use std::path::Path;

use rusqlite::Connection;

use super::backup::is_same;
use super::vacuum::vacuum_into;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::files::{READ_ONLY, folder_of, make_folder, owner_of};
use crate::store::database::open_error::OpenError;
use crate::store::database::temporary::Temporary;
use crate::store::database::{journals, lock, schema};
use crate::store::index;
use crate::store::write::feed_order;

/// Puts a copy of `backup` in the place of `database`, at once and synced, after its content was
/// checked. Where it fails, the database is what it was.
///
/// [`OpenError::InUse`] if anybody has the database open; nobody can open it meanwhile.
/// `progress` hears of bytes copied and bytes in all.
pub fn restore(
    backup: &Path,
    database: &DatabasePath,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let what = format!("cannot restore {} to {}", backup.display(), database.display());
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    let looked_at = DatabasePath::resolve(backup).and_then(|backup| {
        schema::inspect(&backup)?;
        Ok(backup)
    });
    let backup = looked_at.map_err(|error| match error {
        OpenError::Refused(reason) => OpenError::Unusable(format!("{what}: {reason}")),
        other => other,
    })?;
    if is_same(&backup, database) {
        return Err(failed("the backup is the database", &"name another file"));
    }
    make_folder(folder_of(database)).map_err(|error| failed("making its folder", &error))?;
    let _alone = lock::alone(database)?;
    journals::none_without_a_database(database)?;
    match verdict(&backup) {
        Ok(None) => {}
        Ok(Some(wrong)) => return Err(failed("the backup is damaged", &wrong.replace('\n', " "))),
        Err(error) => return Err(failed("the backup is damaged", &error)),
    }
    let temporary = Temporary::of(database).map_err(|error| failed("creating the copy", &error))?;
    vacuum_into(&backup, &temporary, &what, progress)?;
    // What has read the feed of either cannot tell where it stands in this one.
    feed_order::begin_store(temporary.path()).map_err(|error| failed("naming the copy anew", &error))?;
    // A program that takes no lock of ours may have opened it meanwhile.
    lock::nobody_has_open(database)?;
    journals::checkpoint_and_remove(database)?;
    let put = || {
        index::remove(database)?;
        temporary.give_to(owner_of(database)?)?;
        temporary.publish()
    };
    put().map_err(|error| failed("putting it in place", &error))
}

/// What is wrong with a backup, if anything is.
fn verdict(backup: &Path) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open_with_flags(backup, READ_ONLY)?;
    let has_messages: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND lower(name) = 'messages')",
        [],
        |row| row.get(0),
    )?;
    if !has_messages {
        return Ok(Some("it has no table of messages".to_owned()));
    }
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Some(verdict).filter(|verdict| verdict != "ok"))
}
