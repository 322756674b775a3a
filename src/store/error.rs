//! An error of the store names the cause for which it could not do what was asked.

use std::fmt;

use super::database::open_error::is_held;

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
    /// Another process reads the database, so that the log cannot restart, and it has become too long.
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
    /// The query was at work, or waited for its turn, for longer than it may.
    TooSlow,
    /// The page lies deeper than can be sorted in memory, and the index cannot tell where yet.
    TooDeep,
    /// The writer ended without an answer: what became of the message is unknown.
    Lost,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().0)
    }
}

impl StoreError {
    /// What is the matter, and what somebody who runs a command can do about it.
    fn texts(&self) -> (&'static str, &'static str) {
        const WAIT: &str = "wait a moment";
        const CLEAN: &str = "take away what others have put into the file";
        match self {
            Self::Overloaded => ("too many messages are waiting to be stored", WAIT),
            Self::Stopping => ("the service is stopping", WAIT),
            Self::Locked => ("the database is locked by another process", WAIT),
            Self::LogHeld => (
                "another process reads the database without end, so that its write-ahead log cannot start over; \
                 end it, as an open sqlite3 is",
                "end what reads the database beside the service",
            ),
            Self::DiskFull => ("the disk is full", "make room on its file system"),
            Self::ReadOnly => (
                "the database cannot be written to",
                "make the folder and the files in it writable for this user",
            ),
            Self::Replaced => {
                ("the database file was moved, deleted or replaced", "see that nobody moves it")
            }
            Self::Foreign(_) => ("the database is not one that every message can be stored in", CLEAN),
            Self::Corrupt(_) => ("the database file is damaged", "restore a backup"),
            Self::Io(_) => {
                ("the database cannot be read or written", "look at the kernel's log for what the disk says")
            }
            Self::Refused(_) => ("the database refused the message", CLEAN),
            Self::TooSlow => ("the query took too long", WAIT),
            Self::TooDeep => ("the page lies too deep to be found before the index is complete", WAIT),
            Self::Lost => ("the message may not have been stored", WAIT),
        }
    }

    /// What somebody who runs a command can do about it.
    pub fn advice(&self) -> &'static str {
        self.texts().1
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
            _ if is_held(&error) => Self::Locked,
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
