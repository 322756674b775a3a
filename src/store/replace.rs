//! A file takes the place of a database: whole, synced, and with nothing beside it that belonged to the
//! one before.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::files::{folder_of, with_suffix};

/// A file under another name, on its way to being `target`. What was there when an earlier try was
/// cut short is kept.
pub(super) struct Partial {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Partial {
    /// `None` if another process is at it.
    pub(super) fn open(target: &Path) -> io::Result<Option<Self>> {
        let path = with_suffix(target, ".partial");
        // People's messages are nobody else's business.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The other process may have finished in between: then this is its result.
        let id = |file: fs::Metadata| (file.dev(), file.ino());
        let is_there =
            fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|f| id(f) == id(there)));
        Ok(is_there.then_some(Self { path, file }))
    }

    /// Gives it the owner and the rights of what it replaces, as far as this user may; of a first
    /// file, the owner of the folder.
    pub(super) fn belongs_like(&self, target: &Path) -> io::Result<()> {
        let (owner, mode) = match fs::metadata(target) {
            Ok(before) => (before.clone(), before.mode() & 0o777),
            Err(_) => (fs::metadata(folder_of(target))?, 0o600),
        };
        let ours = self.file.metadata()?;
        if (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) {
            // Only root may.
            let _ = chown(&self.path, Some(owner.uid()), Some(owner.gid()));
        }
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    /// From here on it has its name, also after a power cut.
    pub(super) fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        File::open(folder_of(target))?.sync_all()
    }

    pub(super) fn discard(self) {
        // What stays is overwritten by the next try.
        let _ = fs::remove_file(&self.path);
    }
}

/// Folds what the database at `target` has in its log into its file, so that no log of the one stays
/// beside the other: SQLite would take it for the new one's. Fails if somebody is using it.
pub(super) fn settle(target: &Path) -> rusqlite::Result<()> {
    let beside = ["-wal", "-shm", "-journal"].map(|suffix| with_suffix(target, suffix));
    if !beside.iter().any(|path| path.exists()) {
        return Ok(());
    }
    let fold = || {
        let connection = Connection::open(target)?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
    };
    if target.exists() {
        match fold() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Err(error),
            // There are none left, unless that was no database at all.
            _ => {}
        }
    }
    for path in beside {
        let _ = fs::remove_file(path);
    }
    // None of them may come back with a power cut when the new file is there.
    File::open(folder_of(target))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
