//! A consistent copy of a database that is in use (sqlite.org/backup.html).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OpenError;
use super::schema::with_suffix;
use crate::limits::BACKUP_STEP_PAGES;

/// Copies the database at `source` to `target`, whoever is writing to it meanwhile: the copy is the
/// state of one moment. It appears under its name only when it is whole and synced, and takes the
/// place of an older file of that name. `progress` hears of pages done and pages in all.
pub fn backup(source: &Path, target: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), OpenError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        OpenError::Unusable(format!(
            "cannot back up {} to {}: {what}: {error}",
            source.display(),
            target.display()
        ))
    };
    let same =
        |a: &Path, b: &Path| fs::canonicalize(a).is_ok_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b));
    if same(source, target) {
        return Err(failed("the copy must be another file", &"choose another name"));
    }
    settle(target).map_err(|error| failed("a database of that name is in use", &error))?;
    let partial = with_suffix(target, ".partial");
    // What a backup that was cut short has left behind.
    let _ = fs::remove_file(&partial);
    create_private(&partial).map_err(|error| failed("creating the copy", &error))?;
    copy(source, &partial, &mut progress).map_err(|error| {
        let _ = fs::remove_file(&partial);
        failed("copying", &error)
    })?;
    let publish = || -> std::io::Result<()> {
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, target)?;
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    publish().map_err(|error| failed("keeping the copy", &error))
}

fn copy(source: &Path, partial: &Path, progress: &mut dyn FnMut(u64, u64)) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(source, flags)?;
    // An open read transaction pins the snapshot, so commits made meanwhile do not restart the copy.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut to = Connection::open(partial)?;
    {
        let backup = Backup::new(&from, &mut to)?;
        while let StepResult::More = backup.step(BACKUP_STEP_PAGES)? {
            let at = backup.progress();
            let (all, left) = (at.pagecount.unsigned_abs(), at.remaining.unsigned_abs());
            progress(u64::from(all.saturating_sub(left)), u64::from(all));
        }
    }
    // The copy says WAL in its header; opened once more here it leaves no -wal file beside it.
    to.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

/// Folds what an older database of that name has in its log into its file, so that no log of the one
/// stays beside the other. Fails if somebody is using it.
fn settle(target: &Path) -> rusqlite::Result<()> {
    let wal = with_suffix(target, "-wal");
    if !wal.exists() {
        return Ok(());
    }
    let fold = || Connection::open(target)?.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()));
    match fold() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(error),
        _ => {
            // There are none left, unless that was no database at all.
            let _ = fs::remove_file(wal);
            let _ = fs::remove_file(with_suffix(target, "-shm"));
            Ok(())
        }
    }
}

/// An empty file that its owner alone can read.
fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
