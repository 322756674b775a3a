//! A statement that SQLite has ignored without saying why is an error.

use rusqlite::{Error, ErrorCode, ffi};

/// A trigger can do that, or a constraint's own conflict clause.
pub(in crate::store) fn ignored(what: &str) -> Error {
    let error = ffi::Error { code: ErrorCode::ConstraintViolation, extended_code: ffi::SQLITE_CONSTRAINT };
    Error::SqliteFailure(
        error,
        Some(format!("{what} was ignored: a constraint or a trigger in the file does that")),
    )
}
