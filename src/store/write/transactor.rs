//! The transactor runs transactions on one connection until that is no longer to be trusted.
//!
//! - `Ok` means that `COMMIT` has returned with the log synced, and that the paths still name the
//!   files that were written to.
//! - After an error of the machine the connection is thrown away; a new one starts from what is on
//!   disk, and writes and syncs that once more before anything is acknowledged on top of it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::batch::{InsertedBatch, insert_batch};
use super::checkpointer::Checkpointer;
use super::feed_order::{EpochState, OrderEnd};
use super::lag;
use super::last_close::LastConnection;
use super::last_commit::LastCommit;
use super::wal_watch::WalWatch;
use crate::limits::{COMMIT_BUSY_TIMEOUT, PROBE_TIMEOUT};
use crate::log::{Level, Line, Log};
use crate::message::Message;
use crate::metrics::Metrics;
use crate::store::database::files::{FileId, file_id};
use crate::store::database::insertion::Inserted;
use crate::store::database::migrations::VERSION;
use crate::store::database::open_error::OpenError;
use crate::store::database::transaction::{data_version, in_transaction, schema_version};
use crate::store::database::{files, schema, wal};
use crate::store::error::StoreError;
use crate::store::read::queries::Queries;

/// How long a probe's own commit waits for another process that holds the database.
const PROBE_BUSY_TIMEOUT: Duration = Duration::from_millis(300);
const _: () = assert!(PROBE_BUSY_TIMEOUT.as_millis() < PROBE_TIMEOUT.as_millis());

/// Pause of the writer between two tries to open a database that failed.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// The write connection, and what is known of its health. Lives on the writer thread.
pub(super) struct Transactor {
    path: PathBuf,
    queries: Arc<Queries>,
    checkpointer: Checkpointer,
    /// `None` after an error of the machine, until it can be opened again.
    open: Option<Open>,
    /// The file that was opened last, or is to be opened first.
    known: Option<FileId>,
    last_failure: Option<(Instant, StoreError)>,
    last_commit: LastCommit,
    metrics: Arc<Metrics>,
    log: Log,
}

impl Transactor {
    /// On a connection from [`crate::store::database::prepare::claim`], or without one for a reason that may pass.
    pub(super) fn new(
        path: &Path,
        connection: Result<Connection, StoreError>,
        queries: Arc<Queries>,
        checkpointer: Checkpointer,
        last_commit: LastCommit,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Self {
        // What cannot be opened now is opened with the first batch.
        let opened =
            connection.and_then(|connection| Ok(Open::new(path, connection, &queries, &checkpointer)?));
        let (path, known) = (path.to_owned(), file_id(path));
        let mut transactor = Self {
            path,
            queries,
            checkpointer,
            open: None,
            known,
            last_failure: None,
            last_commit,
            metrics,
            log,
        };
        match opened {
            Ok(open) => transactor.open = Some(open),
            Err(error) => transactor.failed(&error),
        }
        transactor
    }

    /// One transaction. On `Ok` it is committed and synced.
    pub(super) fn commit(&mut self, messages: &[Message]) -> Result<InsertedBatch, StoreError> {
        let (began, stored_at) = (Instant::now(), SystemTime::now());
        let mut inserted =
            self.attempt(|open| insert_batch(&open.connection, open.schema, &open.epoch, messages))?;
        if inserted.is_none() {
            // Somebody has changed the schema, if only its number, as VACUUM does. It is looked at anew before the
            // batch is tried once more.
            self.open = None;
            inserted =
                self.attempt(|open| insert_batch(&open.connection, open.schema, &open.epoch, messages))?;
        }
        let Some(inserted) = inserted else {
            // A transaction that wrote nothing proves nothing.
            self.last_commit.set(None);
            return Err(StoreError::Locked);
        };
        if let Some(open) = &mut self.open {
            open.data_version = Some(inserted.data_version);
        }
        let outcomes = &inserted.outcomes;
        assert_eq!(outcomes.len(), messages.len(), "every message of a batch has an outcome");
        let created = outcomes.iter().filter(|outcome| **outcome == Inserted::Created).count();
        self.metrics.histograms.batch_messages.observe(messages.len() as u64);
        self.metrics.histograms.commit_seconds.observe_time(began.elapsed());
        self.metrics.messages_stored.fetch_add(created as u64, Relaxed);
        lag::observe(&self.metrics, messages, outcomes, stored_at);
        Ok(inserted)
    }

    /// A transaction of another kind. On `Ok` it is committed and synced.
    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.look_at_schema()?;
        self.attempt(|open| in_transaction(&open.connection, work))
    }

    /// A commit that changes nothing but is written and synced like any other.
    pub(super) fn probe_commit(&mut self) -> Result<(), StoreError> {
        if self.last_commit.is_recent() {
            return Ok(());
        }
        self.look_at_schema()?;
        self.attempt(|Open { connection, .. }| {
            connection.busy_timeout(PROBE_BUSY_TIMEOUT)?;
            let result = in_transaction(connection, |connection| {
                let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                connection.pragma_update(None, "user_version", version)
            });
            connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
            result
        })
    }

    /// Done when everybody has been answered. An error here is no batch's: the messages are safe in
    /// the log, and the next commit meets the same disk.
    pub(super) fn checkpoint_if_due(&mut self) {
        let Some(Open { connection, watch, .. }) = &mut self.open else {
            return;
        };
        if let Err(error) = watch.checkpoint_if_due(connection, &self.checkpointer) {
            self.failed(&error.into());
        }
    }

    /// True if another process has committed since this was asked last, or may have.
    pub(super) fn others_have_committed(&mut self) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let now = open.data_version.take().or_else(|| data_version(&open.connection).ok());
        std::mem::replace(&mut open.commits_of_others, now) != now
    }

    /// Where the order of the feed ends, whoever has committed last.
    pub(super) fn head(&self) -> Option<i64> {
        let end = OrderEnd::read(&self.open.as_ref()?.connection);
        end.ok().map(OrderEnd::head)
    }

    /// True if [`Self::checkpoint_if_due`] is to be called again soon, whether there are messages or not.
    pub(super) fn holds_queries_up(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.watch.holds_queries())
    }

    /// Moves what is left of the log and cuts it to nothing. False if somebody reads it just now.
    pub(super) fn truncate_wal(&mut self) -> Result<bool, StoreError> {
        let open = self.opened()?;
        let is_empty = wal::truncate(&open.connection)? == wal::Checkpointed::All;
        if is_empty {
            open.watch.was_truncated();
        }
        Ok(is_empty)
    }

    /// The connection alone, opened once more if need be: to be the last of this process.
    pub(super) fn retire(mut self) -> LastConnection {
        self.last_failure = None;
        let opened = self.opened().map(|_| ());
        let Self { path, open, checkpointer, .. } = self;
        drop(checkpointer);
        let connection = opened.and_then(|()| open.map(|open| open.connection).ok_or(StoreError::Lost));
        LastConnection::new(path, connection)
    }

    /// Runs a transaction on the open connection, opening one if need be, and draws the
    /// conclusions from how it ended.
    fn attempt<T>(
        &mut self,
        transaction: impl FnOnce(&Open) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self.opened().and_then(|open| Ok(transaction(open)?));
        let result = result.and_then(|done| {
            let in_place = self.open.as_mut().is_some_and(|open| open.is_at(&self.path));
            if in_place {
                return Ok(done);
            }
            self.let_go();
            Err(StoreError::Replaced)
        });
        match &result {
            Ok(_) => {
                self.last_failure = None;
                if self.metrics.degraded.swap(false, Relaxed) {
                    self.log.write(&Line::event(Level::Info, "recovered"));
                }
                self.last_commit.set(Some(Instant::now()));
            }
            Err(error) => self.failed(error),
        }
        result
    }

    /// The paths name other files now. What was acknowledged may stand in a log that has lost its
    /// name: it is moved into its file while it is still open. No connection to the old files may
    /// stay: queries would be answered from them, and SQLite would share their index with the next.
    fn let_go(&mut self) {
        if let Some(open) = self.open.take() {
            // With a log on a disk that fails, there is nothing more to be done.
            let _ = open.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        self.queries.end_epoch();
    }

    /// A panic struck in the middle of something: nothing about the connection is certain.
    pub(super) fn give_up_connection(&mut self) {
        self.failed(&StoreError::Lost);
    }

    /// Somebody else may have put a trigger on the messages, or taken ours away: then it is opened anew. A batch
    /// of messages asks in its own transaction.
    fn look_at_schema(&mut self) -> Result<(), StoreError> {
        let is_as_it_was = |open: &Open| schema_version(&open.connection).map(|now| now == open.schema);
        if !self.open.as_ref().map_or(Ok(true), is_as_it_was)? {
            self.open = None;
        }
        Ok(())
    }

    fn opened(&mut self) -> Result<&mut Open, StoreError> {
        if self.open.is_none() {
            if let Some((when, error)) = &self.last_failure
                && when.elapsed() < REOPEN_PAUSE
            {
                return Err(error.clone());
            }
            self.open = Some(reopen(&self.path, self.known, &self.queries, &self.checkpointer)?);
            self.known = file_id(&self.path);
        }
        self.open.as_mut().ok_or(StoreError::Lost)
    }

    fn failed(&mut self, error: &StoreError) {
        self.metrics.commit_failures.fetch_add(1, Relaxed);
        if !self.metrics.degraded.swap(true, Relaxed) {
            let line = Line::event(Level::Error, "degraded").text("detail", &error.to_string());
            self.log.write(&line.text("cause", &error.cause()));
        }
        self.last_commit.set(None);
        match error {
            // Nothing is wrong with the connection.
            StoreError::Refused(_) | StoreError::Locked | StoreError::DiskFull if self.open.is_some() => {}
            _ => {
                let since = self.last_failure.take().filter(|(when, _)| when.elapsed() < REOPEN_PAUSE);
                let when = since.map_or_else(Instant::now, |(when, _)| when);
                self.last_failure = Some((when, error.clone()));
                self.open = None;
            }
        }
    }
}

/// A connection to the file that is at the path now, if it is a database of ours. Another file than the
/// known one is that only if it has all its tables: none is made in it.
fn reopen(
    path: &Path,
    known: Option<FileId>,
    queries: &Queries,
    checkpointer: &Checkpointer,
) -> Result<Open, StoreError> {
    let found = file_id(path).ok_or(StoreError::Replaced)?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Err(StoreError::Corrupt("the file was cut to nothing".to_owned()));
    }
    let failed = |error: OpenError| match error {
        OpenError::Foreign(reason) => StoreError::Foreign(reason),
        OpenError::InUse(_) => StoreError::Locked,
        OpenError::Full(_) => StoreError::DiskFull,
        OpenError::Unusable(reason) => StoreError::Io(reason),
    };
    // Before it is opened for writing, which changes the header of a file that is not in WAL mode.
    let version = schema::inspect(path).map_err(failed)?;
    if version < VERSION && known != Some(found) {
        return Err(StoreError::Replaced);
    }
    let connection = schema::connect(path, version).map_err(failed)?;
    if version < VERSION {
        // What was derived from it is of no use any more.
        queries.end_epoch();
    }
    Ok(Open::new(path, connection, queries, checkpointer)?)
}

/// The write connection and which files it was opened on.
struct Open {
    connection: Connection,
    /// SQLite's count of them, if it was asked for already.
    commits_of_others: Option<i64>,
    /// The same as the last batch has found it, until it was looked at.
    data_version: Option<i64>,
    watch: WalWatch,
    epoch: Cell<EpochState>,
    /// Of what was looked at ([`schema_version`]).
    schema: i64,
    database: Option<FileId>,
    wal: Option<FileId>,
}

impl Open {
    fn new(
        path: &Path,
        mut connection: Connection,
        queries: &Queries,
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<Self> {
        let watch = WalWatch::new(&mut connection, queries, checkpointer)?;
        let (database, wal) = (file_id(path), file_id(&files::wal_path(path)));
        let schema = schema_version(&connection)?;
        let epoch = Cell::new(EpochState::Due);
        Ok(Self {
            connection,
            commits_of_others: None,
            data_version: None,
            watch,
            epoch,
            schema,
            database,
            wal,
        })
    }

    /// True while the paths still name the files that commits go to.
    fn is_at(&mut self, path: &Path) -> bool {
        let wal = file_id(&files::wal_path(path));
        // SQLite makes the WAL with the first write at the latest.
        self.wal = self.wal.or(wal);
        self.database.is_some() && self.database == file_id(path) && self.wal.is_some() && self.wal == wal
    }
}
