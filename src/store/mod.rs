//! The store keeps the messages on disk behind one door to SQLite.
//!
//! - One thread owns the write connection ([`mod@write`]); queries borrow one of a few read
//!   connections ([`read`]) and see one snapshot each.
//! - What queries need is derived from the messages, in a file of its own ([`mod@index`]), by a thread
//!   of its own; taking messages in waits for neither.
//! - What is old goes by a thread of its own ([`maintenance`]), through the writer.
//! - An insert is answered after its transaction was committed and synced, or with an error. There
//!   is no third way: a waiter that is dropped answers [`StoreError::Lost`].
//! - What another process or the machine does to the file is an error that names its cause.

mod checkpoint;
mod database;
#[cfg(test)]
mod delivery_crash_tests;
#[cfg(test)]
mod delivery_tests;
mod error;
mod index;
mod maintenance;
#[cfg(test)]
mod oracle;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::filter::PageQuery;
use crate::log::{Level, Line, Log};
use crate::message::Message;
use crate::metrics::Metrics;
use crate::timestamp::InstantKey;
use crate::waker::Waker;
use crate::whatsapp::Delivery;

pub use database::database_path::DatabasePath;
pub use database::insertion::Inserted;
pub use database::open_error::OpenError;
pub use error::StoreError;
pub use maintenance::backup::backup;
pub use maintenance::check::check;
pub use maintenance::erase::erase;
pub use maintenance::export::Export;
pub use maintenance::export_items::{ItemExport, StoredItem};
pub use maintenance::import::{Import, Incoming};
pub use maintenance::remap::RemapStep;
pub use maintenance::restore::restore;
pub use read::feed::{FeedRange, FeedRows, FeedStart, Unfit};
pub use read::page::{Page, StoredMessage};
pub use read::stats::Stats;
pub use write::batch::Stored;
pub use write::waiter::{Outcome, OutcomeSender, Waiter, outcomes};

use database::lock::Lock;
use database::prepare::Claim;
use database::{files, open_error, prepare};
use index::indexer::Indexer;
use maintenance::retention::{self, Retention};
use read::queries::Queries;
use read::{feed, page, stats};
use write::commit_signal::CommitSignal;
use write::writer::Writer;

/// An open store. Shared by every thread.
pub struct Store {
    path: PathBuf,
    writer: Writer,
    signal: Arc<CommitSignal>,
    indexer: Indexer,
    retention: Retention,
    queries: Arc<Queries>,
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
        let Claim { connection, made, lock } = prepare::claim(path)?;
        if files::has_other_names(path) {
            let line = Line::event(Level::Warning, "hard_linked");
            log.write(&line.text("database", &path.to_string_lossy()));
        }
        let connection = match connection {
            Ok(connection) => Ok(connection),
            Err(OpenError::Full(_)) => Err(StoreError::DiskFull),
            Err(error) => return Err(error),
        };
        let queries = Arc::new(Queries::new(path, Arc::clone(&metrics)));
        let unusable = |error: std::io::Error| open_error::no_thread(&error);
        let indexer = Indexer::start(path, Arc::clone(&queries), Arc::clone(&metrics), log.clone());
        let indexer = indexer.map_err(unusable)?;
        let signal = Arc::<CommitSignal>::default();
        let writer = Writer::start(
            path,
            connection,
            made,
            &queries,
            (indexer.wake(), Arc::clone(&signal)),
            Arc::clone(&metrics),
            log.clone(),
        );
        let writer = writer.map_err(unusable)?;
        let retention = Retention::start(retention::Parts {
            database: path.to_path_buf(),
            days: retention_days,
            jobs: writer.jobs(),
            epochs: Arc::clone(queries.epochs()),
            indexer: indexer.wake(),
            metrics,
            log: log.clone(),
        });
        let retention = retention.map_err(unusable)?;
        Ok(Self { path: path.to_path_buf(), writer, signal, indexer, retention, queries, log, _lock: lock })
    }

    /// Waits until the index has been opened, which goes on while the rest of a start does.
    pub fn wait_for_index(&self) {
        self.indexer.wait_until_open();
    }

    /// Queues a message. `waiter` hears what became of it, always and exactly once.
    pub fn insert(&self, message: Message, waiter: Waiter) {
        self.writer.insert(message, waiter);
    }

    /// Queues a body, which is stored in one transaction. `waiter` hears what became of its items, always and exactly
    /// once.
    pub fn insert_delivery(&self, delivery: Delivery, waiter: Waiter) {
        self.writer.deliver(delivery, waiter);
    }

    /// One page and the exact total, from one snapshot.
    /// Given up when too much time has passed since `asked`.
    pub fn page(&self, query: &PageQuery, asked: Instant) -> Result<Page, StoreError> {
        self.queries.with(asked, |snapshot| page::read(snapshot, query))
    }

    /// The figures of `/stats`, and the messages since each of `instants`, from one snapshot.
    /// Given up when too much time has passed since `asked`.
    pub fn stats(&self, instants: &[InstantKey], asked: Instant) -> Result<Stats, StoreError> {
        self.queries.with(asked, |snapshot| stats::read(snapshot, instants))
    }

    /// The messages from a place in the order in which they were stored, from one snapshot; or why that place is
    /// none here. Given up when too much time has passed since `asked`.
    pub fn feed(&self, range: FeedRange, asked: Instant) -> Result<Result<FeedRows, Unfit>, StoreError> {
        self.queries.for_feed(asked, |connection| feed::read(connection, range))
    }

    /// How often messages have been committed, by this process or by others: another number means that there may
    /// be more of them.
    pub fn commits(&self) -> u64 {
        self.signal.commits()
    }

    /// How many messages there are behind each of a few positions of the feed, exact up to a thousand. Waits for no
    /// query.
    pub fn feed_lags(&self, positions: &[i64]) -> Result<Vec<u64>, StoreError> {
        self.queries.for_scrape(|connection| feed::lags(connection, positions))
    }

    /// Has this waker wake its thread whenever [`Self::commits`] has changed. Once.
    pub fn wake_on_commit(&self, waker: Arc<Waker>) {
        self.signal.set_waker(waker);
    }

    /// Ok if the database answers with its schema applied and the writer can commit. Returns
    /// within a second whatever the database does.
    pub fn ready(&self) -> Result<(), StoreError> {
        self.writer.probe_commit()?;
        self.queries.ping()
    }

    /// True if the writer is not stuck: it takes up its next batch in time, also where it cannot commit.
    pub fn makes_progress(&self, within: Duration) -> bool {
        self.writer.makes_progress(within)
    }

    /// Has the writer try to commit, and waits for nothing: [`Metrics::degraded`] says how it went.
    pub fn probe_commit_soon(&self) {
        self.writer.probe_commit_soon();
    }

    /// Messages and items that wait for the writer.
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
    /// [`CLOSE_PATIENCE`]: read::queries::CLOSE_PATIENCE
    pub fn stop(&self) {
        self.retention.stop();
        let last = self.writer.stop();
        self.queries.close();
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
