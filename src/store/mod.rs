//! The messages on disk: the one door to SQLite.
//!
//! - One thread owns the write connection ([`writer`]); queries borrow one of a few read
//!   connections ([`readers`]) and see one snapshot each.
//! - What queries need is derived from the messages, in a file of its own ([`mod@index`]), by a thread
//!   of its own ([`indexer`]); taking messages in waits for neither.
//! - What is old goes by a thread of its own ([`retention`]), through the writer.
//! - An insert is answered after its transaction was committed and synced, or with an error. There
//!   is no third way: a waiter that is dropped answers [`StoreError::Lost`].
//! - What another process or the machine does to the file is an error that names its cause.

mod acceptance;
mod backup;
mod check;
mod checkpoint;
mod column;
mod database_path;
mod erase;
#[cfg(test)]
mod exactness;
mod export;
mod files;
mod forgotten;
mod frozen;
mod ignored;
mod import;
mod index;
mod indexer;
mod insertion;
mod lag;
mod last_close;
mod lock;
mod log_bound;
mod logs;
mod matches;
mod migrations;
mod open_error;
mod page;
mod prepare;
mod pressure;
mod readers;
mod restore;
mod retention;
mod room;
mod schema;
mod search;
mod snapshot;
mod sort_columns;
mod source;
mod stats;
mod temporary;
mod total;
mod transactor;
mod trial;
mod vacuum;
mod wal;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::filter::PageQuery;
use crate::log::Log;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::timestamp::InstantKey;

pub use backup::backup;
pub use check::check;
pub use database_path::DatabasePath;
pub use erase::erase;
pub use export::Export;
pub use import::{Import, Incoming};
pub use insertion::Inserted;
pub use open_error::OpenError;
pub use page::{Page, StoredMessage};
pub use restore::restore;
pub use stats::Stats;
pub use writer::Waiter;

use indexer::Indexer;
use lock::Lock;
use readers::Readers;
use retention::Retention;
use writer::Writer;

/// An open store. Shared by every thread.
pub struct Store {
    path: PathBuf,
    writer: Writer,
    indexer: Indexer,
    retention: Retention,
    readers: Arc<Readers>,
    log: Log,
    /// Tells other processes that the database is in use, whatever becomes of the connections.
    _lock: Lock,
}

/// Sizes of the store's files.
pub struct Bytes {
    pub database: u64,
    /// The database's write-ahead log.
    pub wal: u64,
    pub index: u64,
}

/// The file system that the store is on.
pub struct Disk {
    pub bytes: u64,
    /// What is left for a user without privileges.
    pub free_bytes: u64,
}

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

impl Store {
    /// Opens the database, creating it and its parent folders if need be, migrates it and starts
    /// the writer. What is found wrong leaves the file untouched. A database that is there is served also
    /// where there is no room to write to it: the writer tries again. Messages stay for so many days, or
    /// for ever.
    pub fn open(
        path: &DatabasePath,
        retention_days: Option<u32>,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Result<Self, OpenError> {
        let (connection, lock) = prepare::claim(path)?;
        let connection = match connection {
            Ok(connection) => Ok(connection),
            Err(OpenError::Full(_)) => Err(StoreError::DiskFull),
            Err(error) => return Err(error),
        };
        let readers = Arc::new(Readers::new(path, Arc::clone(&metrics)));
        let unusable = |error: std::io::Error| open_error::no_thread(&error);
        let indexer = Indexer::start(path, Arc::clone(&readers), Arc::clone(&metrics), log.clone());
        let indexer = indexer.map_err(unusable)?;
        let writer = Writer::start(
            path,
            connection,
            Arc::clone(&readers),
            indexer.wake(),
            Arc::clone(&metrics),
            log.clone(),
        );
        let writer = writer.map_err(unusable)?;
        let retention = Retention::start(retention::Parts {
            database: path.to_path_buf(),
            days: retention_days,
            chores: writer.chores(),
            readers: Arc::clone(&readers),
            indexer: indexer.wake(),
            metrics,
            log: log.clone(),
        });
        let retention = retention.map_err(unusable)?;
        Ok(Self { path: path.to_path_buf(), writer, indexer, retention, readers, log, _lock: lock })
    }

    /// Queues a message. `waiter` hears what became of it, always and exactly once.
    pub fn insert(&self, message: Message, waiter: Waiter) {
        self.writer.insert(message, waiter);
    }

    /// One page and the exact total, from one snapshot.
    /// Given up when too much time has passed since `asked`.
    pub fn page(&self, query: &PageQuery, asked: Instant) -> Result<Page, StoreError> {
        let goes_through_texts = query.filter.q.is_some();
        self.readers.with(asked, goes_through_texts, |snapshot| page::read(snapshot, query))
    }

    /// The figures of `/stats`, and the messages since each of `instants`, from one snapshot.
    /// Given up when too much time has passed since `asked`.
    pub fn stats(&self, instants: &[InstantKey], asked: Instant) -> Result<Stats, StoreError> {
        self.readers.with(asked, false, |snapshot| stats::read(snapshot, instants))
    }

    /// Ok if the database answers with its schema applied and the writer can commit. Returns
    /// within a second whatever the database does.
    pub fn ready(&self) -> Result<(), StoreError> {
        self.writer.prove()?;
        self.readers.answer()
    }

    /// True if the writer is not stuck: it takes up its next batch in time, also where it cannot commit.
    pub fn makes_progress(&self, within: Duration) -> bool {
        self.writer.makes_progress(within)
    }

    /// Has the writer try to commit, and waits for nothing: [`Metrics::degraded`] says how it went.
    pub fn prove_soon(&self) {
        self.writer.prove_soon();
    }

    /// Messages that wait for the writer.
    pub fn queue_depth(&self) -> usize {
        self.writer.queue_depth()
    }

    /// How large the files are now.
    pub fn bytes(&self) -> Bytes {
        let size = |path: &Path| std::fs::metadata(path).map(|file| file.len()).unwrap_or(0);
        Bytes {
            database: size(&self.path),
            wal: size(&files::wal_path(&self.path)),
            index: size(&index::path_of(&self.path)),
        }
    }

    /// How much room there is. `None` if the folder is gone.
    pub fn disk(&self) -> Option<Disk> {
        let disk = rustix::fs::statvfs(files::folder_of(&self.path)).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Disk { bytes: bytes(disk.f_blocks), free_bytes: bytes(disk.f_bavail) })
    }

    /// Commits what waits, then closes every connection, the writer's last: so all messages are in the one
    /// file, and no log is beside it. Queries that are running are given up, within [`CLOSE_PATIENCE`];
    /// whatever comes after this is answered with an error.
    ///
    /// [`CLOSE_PATIENCE`]: readers::CLOSE_PATIENCE
    pub fn stop(&self) {
        self.retention.stop();
        let last = self.writer.stop();
        self.readers.close();
        self.indexer.stop();
        if let Some(last) = last {
            last.close(&self.log);
        }
    }
}

/// A start that fails behind the store ends like a stop.
impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The bundled SQLite's version.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}
