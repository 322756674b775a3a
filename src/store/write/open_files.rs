//! The open files of a connection are those at its paths, until somebody moves or replaces one.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::database::files::{FileId, file_id, wal_path};
use crate::store::database::migrations::VERSION;
use crate::store::database::open_error::OpenError;
use crate::store::database::schema;
use crate::store::error::StoreError;
use crate::store::read::epoch::Epochs;

pub(super) struct OpenFiles {
    path: PathBuf,
    /// Those at the paths when they were opened.
    database: Option<FileId>,
    wal: Option<FileId>,
}

impl OpenFiles {
    /// Of a connection that was opened a moment ago.
    pub(super) fn at(path: &Path) -> Self {
        Self { database: file_id(path), wal: file_id(&wal_path(path)), path: path.to_owned() }
    }

    /// True while the paths still name the files that commits go to.
    pub(super) fn are_at_their_paths(&mut self) -> bool {
        let wal = file_id(&wal_path(&self.path));
        // SQLite makes the WAL with the first write at the latest.
        self.wal = self.wal.or(wal);
        self.database.is_some()
            && self.database == file_id(&self.path)
            && self.wal.is_some()
            && self.wal == wal
    }
}

/// A write connection to the file that is at the path now, if it is a database of ours. Another file than the known
/// one is that only if it has all its tables: none is made in it.
pub(super) fn reopen(path: &Path, known: Option<FileId>, epochs: &Epochs) -> Result<Connection, StoreError> {
    let found = file_id(path).ok_or(StoreError::Replaced)?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Err(StoreError::Corrupt("the file was cut to nothing".to_owned()));
    }
    let failed = |error: OpenError| match error {
        OpenError::Refused(reason) => StoreError::Foreign(reason),
        OpenError::InUse(_) => StoreError::Locked,
        OpenError::Full(_) => StoreError::DiskFull,
        OpenError::Unusable(reason) => StoreError::Io(reason),
    };
    // Before it is opened for writing, which changes the header of a file that is not in WAL mode.
    let inspected = schema::inspect(path).map_err(failed)?;
    let due_by = Some(inspected).filter(|inspected| inspected.version < VERSION);
    if due_by.is_some() && known != Some(found) {
        return Err(StoreError::Replaced);
    }
    let connection = schema::connect(path, due_by).map_err(failed)?;
    if due_by.is_some() {
        // What was derived from it is of no use any more.
        epochs.end();
    }
    Ok(connection)
}
