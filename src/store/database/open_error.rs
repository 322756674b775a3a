//! An error at opening says why a database cannot be used, with what to do about that cause.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};
use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::files::{folder_of, with_suffix};
use super::temporary::COMPANIONS;
use crate::advice;

/// SQLite needs 32 KiB for the memory that connections share, and a page or two of its log. With less than
/// this, what fails is taken to fail for want of room: it is not always told so.
const SCARCE_BYTES: u64 = 128 << 10;

/// Why a database cannot be opened. Each says in a line what is the matter and what to do about it.
#[derive(Debug)]
pub enum OpenError {
    /// What is there is not touched, and trying again does not help: another setting is needed, or somebody has to
    /// put the files right.
    Refused(String),
    /// The file or its folder cannot be used as they are.
    Unusable(String),
    /// There is no room for what has to be written.
    Full(String),
    /// Another process is at it: it can be used when that is done.
    InUse(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(reason) | Self::Unusable(reason) | Self::Full(reason) | Self::InUse(reason)) =
            self;
        f.write_str(reason)
    }
}

/// What the system said of `what`, which belongs to the database at `path`.
pub(super) fn unusable(path: &Path, what: &Path, error: &io::Error) -> OpenError {
    let path = path.display();
    let whose =
        if Path::new(&path.to_string()) == what { String::new() } else { format!("{}: ", what.display()) };
    let reason = format!("cannot use the database {path}: {whose}{error}; {}", advice::on_file(error));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full(reason),
        // No file can have such a name: trying again does not help.
        io::ErrorKind::InvalidFilename => OpenError::Refused(reason),
        _ => OpenError::Unusable(reason),
    }
}

pub fn no_thread(error: &io::Error) -> OpenError {
    OpenError::Unusable(format!("cannot start a thread: {error}; {}", advice::on_thread(error)))
}

pub(super) fn foreign(path: &Path, reason: &str) -> OpenError {
    OpenError::Refused(format!(
        "{} is not a database of this service: {reason}; it was left as it is, name another file",
        path.display()
    ))
}

pub(super) fn damaged(path: &Path, how: &str) -> OpenError {
    let how = how.replace('\n', " ");
    OpenError::Unusable(format!(
        "the database {} is damaged ({how}); restore a backup, or recover it with sqlite3's .recover",
        path.display()
    ))
}

/// Another process is at the database. To find one at its log for ten seconds, in the middle of setting that up,
/// is the same, by the name of a failure of the locking protocol (sqlite.org/rescode.html#protocol).
pub fn is_held(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed};
    let held = [DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed];
    error.sqlite_error_code().is_some_and(|code| held.contains(&code))
}

pub fn from_sqlite(path: &Path, error: &rusqlite::Error) -> OpenError {
    let shown = path.display();
    match error.sqlite_error_code() {
        _ if is_held(error) => OpenError::InUse(format!(
            "the database {shown} is locked by another process; stop that process first"
        )),
        Some(ErrorCode::NotADatabase) => foreign(path, "it is not an SQLite file"),
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        Some(ErrorCode::DiskFull) => unusable(path, path, &Errno::NOSPC.into()),
        Some(ErrorCode::OutOfMemory) => unusable(path, path, &Errno::NOMEM.into()),
        _ => match obstacle(path, error) {
            Some(obstacle) => unusable(path, folder_of(path), &obstacle),
            None => OpenError::Unusable(format!("cannot use the database {shown}: {error}")),
        },
    }
}

/// What the system would have said, where SQLite says only that it could not. Opens nothing: closing a
/// file would let go of the locks that this process has on it.
fn obstacle(path: &Path, error: &rusqlite::Error) -> Option<io::Error> {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error()?;
    if !matches!(code.code, CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure) {
        return None;
    }
    let folder = folder_of(path);
    let obstacle = access(path, Access::READ_OK | Access::WRITE_OK)
        .and_then(|()| access(folder, Access::WRITE_OK | Access::EXEC_OK))
        .err();
    let is_full =
        || statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < SCARCE_BYTES);
    let failed_to_read = code.extended_code == ffi::SQLITE_IOERR_READ;
    let is_limited = code.code == SystemIoFailure && !failed_to_read && is_at_its_limit(path);
    let obstacle = obstacle.or_else(|| is_limited.then_some(Errno::FBIG));
    let obstacle = obstacle.or_else(|| (!failed_to_read && is_full()).then_some(Errno::NOSPC));
    obstacle.or_else(|| (code.code == SystemIoFailure).then_some(Errno::IO)).map(io::Error::from)
}

/// Whether the next page of the database, or of what SQLite has beside it, may be beyond the largest size that
/// this process may give to a file (setrlimit(2), `RLIMIT_FSIZE`).
fn is_at_its_limit(path: &Path) -> bool {
    let Some(largest) = getrlimit(Resource::Fsize).current else {
        return false;
    };
    let files = COMPANIONS.into_iter().chain([""]).map(|suffix| with_suffix(path, suffix));
    let bytes = files.filter_map(|file| fs::symlink_metadata(file).ok()).map(|file| file.len()).max();
    bytes.unwrap_or(0).saturating_add(SCARCE_BYTES) > largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::StoreError;

    #[test]
    fn what_another_process_holds_is_in_use_by_whatever_name_sqlite_says_so() {
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_PROTOCOL,
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let at_start = from_sqlite(Path::new("app.db"), &error);
            assert!(matches!(at_start, OpenError::InUse(_)), "{error}: {at_start}");
            assert_eq!(StoreError::from(error), StoreError::Locked);
        }
    }
}
