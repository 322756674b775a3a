//! Why a database cannot be opened, and what the person who reads that can do about it.

use std::fmt;
use std::path::Path;

use rusqlite::ErrorCode;

/// Why a database cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file is not one of ours: another setting is needed. It was left untouched.
    Foreign(String),
    /// The file or its folder cannot be used as they are.
    Unusable(String),
    /// Another process is at it: it can be used when that is done.
    InUse(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(reason) => {
                write!(f, "{reason}; it was left as it is, set DATABASE_URL to another file")
            }
            Self::Unusable(reason) | Self::InUse(reason) => f.write_str(reason),
        }
    }
}

pub(super) fn unusable(path: &Path, what: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Unusable(format!(
        "cannot use the database {}: {}: {error}; {}",
        path.display(),
        what.display(),
        advice()
    ))
}

/// By its number, because a container's user often has no name, and a volume's owner is another one.
pub(super) fn advice() -> String {
    let user = rustix::process::geteuid().as_raw();
    format!("make the folder and the file writable for user {user}, or set DATABASE_URL")
}

pub(super) fn foreign(path: &Path, reason: &str) -> OpenError {
    OpenError::Foreign(format!("{} is not a database of this service: {reason}", path.display()))
}

pub(super) fn damaged(path: &Path, how: &str) -> OpenError {
    let how = how.replace('\n', " ");
    OpenError::Unusable(format!(
        "the database {} is damaged ({how}); restore a backup, or recover it with sqlite3's .recover",
        path.display()
    ))
}

pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => foreign(path, "it is not an SQLite file"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Unusable(format!(
            "the database {} is locked by another process; stop that process first",
            path.display()
        )),
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        _ => {
            OpenError::Unusable(format!("cannot use the database {}: {error}; {}", path.display(), advice()))
        }
    }
}
