//! An error of the store names the cause for which it could not do what was asked.

use std::fmt;

/// Why the store could not do what was asked. Each is a cause that an operator can act on; to a
/// client all of them mean: not now, try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// More messages wait for the writer than are allowed to.
    Overloaded,
    /// The service is stopping.
    Stopping,
    /// Another process holds the database.
    Locked,
    /// Another process reads the database, so that the log cannot start over, and it has become too long.
    LogHeld,
    /// The file system has no room left.
    DiskFull,
    /// The database is on a file system, or has permissions, that forbid writing.
    ReadOnly,
    /// The file at the path is gone or is another one than was opened.
    Replaced,
    /// The file is not one that messages can be stored in, or has become one.
    Foreign(String),
    /// The file's content is damaged.
    Corrupt(String),
    /// The machine failed to read, write or sync.
    Io(String),
    /// SQLite refused this one message, say by a constraint that an old file brought along.
    Refused(String),
    /// The query ran longer than it may.
    TooSlow,
    /// The writer ended without an answer: what became of the message is unknown.
    Lost,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too many messages are waiting to be stored"),
            Self::Stopping => f.write_str("the service is stopping"),
            Self::Locked => f.write_str("the database is locked by another process"),
            Self::LogHeld => f.write_str(
                "another process reads the database without end, so that its write-ahead log cannot start over; \
                 end it, as an open sqlite3 is",
            ),
            Self::DiskFull => f.write_str("the disk is full"),
            Self::ReadOnly => f.write_str("the database cannot be written to"),
            Self::Replaced => f.write_str("the database file was moved, deleted or replaced"),
            Self::Foreign(_) => f.write_str("the database is not one that every message can be stored in"),
            Self::Corrupt(_) => f.write_str("the database file is damaged"),
            Self::Io(_) => f.write_str("the database cannot be read or written"),
            Self::Refused(_) => f.write_str("the database refused the message"),
            Self::TooSlow => f.write_str("the query took too long"),
            Self::Lost => f.write_str("the message may not have been stored"),
        }
    }
}

impl StoreError {
    /// What somebody who runs a command can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Overloaded | Self::Stopping | Self::Locked | Self::TooSlow | Self::Lost => "wait a moment",
            Self::LogHeld => "end what reads the database beside the service",
            Self::DiskFull => "make room on its file system",
            Self::ReadOnly => "make the folder and the files in it writable for this user",
            Self::Replaced => "see that nobody moves it",
            Self::Foreign(_) | Self::Refused(_) => "take away what others have put into the file",
            Self::Corrupt(_) => "restore a backup",
            Self::Io(_) => "look at the kernel's log for what the disk says",
        }
    }

    /// What SQLite said, for the operator's log; never shown to a client.
    pub fn cause(&self) -> String {
        match self {
            Self::Foreign(cause) | Self::Corrupt(cause) | Self::Io(cause) | Self::Refused(cause) => {
                cause.clone()
            }
            other => other.to_string(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::OperationInterrupted) => Self::TooSlow,
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Self::Refused(error.to_string())
            }
            _ => Self::Io(error.to_string()),
        }
    }
}
