//! The transactor runs transactions on one connection until that is no longer to be trusted.
//!
//! - `Ok` means that `COMMIT` has returned with the log synced, and that the paths still name the
//!   files that were written to.
//! - After an error of the machine the connection is thrown away; a new one starts from what is on
//!   disk, and writes and syncs that once more before anything is acknowledged on top of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::batch::{Insert, InsertedBatch, insert_batch};
use super::checkpointer::Checkpointer;
use super::lag;
use super::last_close::LastConnection;
use super::last_commit::LastCommit;
use super::open_files::reopen;
use super::write_connection::{Schema, WriteConnection};
use crate::limits::{COMMIT_BUSY_TIMEOUT, PROBE_TIMEOUT};
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::os;
use crate::store::database::files::{FileId, file_id};
use crate::store::database::kept_memory::{self, KeptMemory};
use crate::store::database::transaction::end;
use crate::store::database::wal;
use crate::store::error::StoreError;
use crate::store::read::epoch::Epochs;

/// How long a probe's own commit waits for another process that holds the database.
const PROBE_BUSY_TIMEOUT: Duration = Duration::from_millis(300);
const _: () = assert!(PROBE_BUSY_TIMEOUT.as_millis() < PROBE_TIMEOUT.as_millis());

/// Pause of the writer between two tries to open a database that failed.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// The write connection, and what is known of its health. Lives on the writer thread.
pub(super) struct Transactor {
    path: PathBuf,
    epochs: Arc<Epochs>,
    checkpointer: Checkpointer,
    /// `None` after an error of the machine, until it can be opened again.
    open: Option<WriteConnection>,
    /// The file that was opened last, or is to be opened first.
    known: Option<FileId>,
    last_failure: Option<(Instant, StoreError)>,
    last_commit: LastCommit,
    memory: KeptMemory,
    metrics: Arc<Metrics>,
    log: Log,
}

impl Transactor {
    /// On a connection from [`crate::store::database::prepare::claim`], or without one for a reason that may pass.
    pub(super) fn new(
        path: &Path,
        connection: Result<Connection, StoreError>,
        epochs: Arc<Epochs>,
        checkpointer: Checkpointer,
        last_commit: LastCommit,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Self {
        // What cannot be opened now is opened with the first batch.
        let opened =
            connection.and_then(|connection| Ok(WriteConnection::new(path, connection, &checkpointer)?));
        let (path, known) = (path.to_owned(), file_id(path));
        let mut transactor = Self {
            path,
            epochs,
            checkpointer,
            open: None,
            known,
            last_failure: None,
            last_commit,
            memory: KeptMemory::default(),
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
    pub(super) fn commit<'a>(
        &mut self,
        inserts: impl Iterator<Item = &'a Insert> + Clone,
    ) -> Result<InsertedBatch<'a>, StoreError> {
        let (began, stored_at) = (Instant::now(), SystemTime::now());
        self.memory = KeptMemory::Held(began);
        let batch = self.attempt(COMMIT_BUSY_TIMEOUT, |open| {
            insert_batch(&open.connection, open.epoch, inserts.clone())
        })?;
        if let Some(open) = &mut self.open {
            open.has_committed(&batch);
        }
        let weight: usize = inserts.map(Insert::weight).sum();
        self.metrics.histograms.batch_messages.observe(weight as u64);
        self.metrics.histograms.commit_seconds.observe_time(began.elapsed());
        self.metrics.messages_stored.fetch_add(batch.created.len() as u64, Relaxed);
        lag::observe(&self.metrics, &batch.created, stored_at);
        Ok(batch)
    }

    /// A transaction of another kind. On `Ok` it is committed and synced.
    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.attempt(COMMIT_BUSY_TIMEOUT, |open| work(&open.connection))
    }

    /// A commit that changes nothing but is written and synced like any other.
    pub(super) fn probe_commit(&mut self) -> Result<(), StoreError> {
        if self.last_commit.is_recent() {
            return Ok(());
        }
        self.attempt(PROBE_BUSY_TIMEOUT, |WriteConnection { connection, .. }| {
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            connection.pragma_update(None, "user_version", version)
        })
    }

    /// Done when everybody has been answered. An error here is no batch's: the messages are safe in
    /// the log, and the next commit meets the same disk.
    pub(super) fn checkpoint_if_due(&mut self) {
        let checkpoint_if_due = |WriteConnection { connection, wal, .. }: &mut WriteConnection| {
            wal.checkpoint_if_due(connection, &self.checkpointer)
        };
        if let Err(error) = self.open.as_mut().map_or(Ok(()), checkpoint_if_due) {
            self.failed(&error.into());
        }
    }

    /// Gives back the memory that is held for the next batch, once, when none has come for a while.
    pub(super) fn rest_if_idle(&mut self) {
        if self.memory.is_due(Instant::now())
            && let Some(WriteConnection { connection, .. }) = &self.open
        {
            kept_memory::give_back(connection);
            os::give_back_free_memory();
        }
    }

    /// True if another process has committed since this was asked last, or may have.
    pub(super) fn others_have_committed(&mut self) -> bool {
        self.open.as_mut().is_some_and(WriteConnection::others_have_committed)
    }

    /// True if [`Self::checkpoint_if_due`] is to be called again soon, whether there are messages or not.
    pub(super) fn holds_queries_up(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.wal.holds_queries())
    }

    /// Truncates the log, between two transactions. False if somebody reads it just now.
    pub(super) fn truncate_wal(&mut self) -> Result<bool, StoreError> {
        let truncated = self.opened().and_then(|open| Ok(open.wal.truncate(&open.connection)?));
        truncated.inspect_err(|error| self.failed(error))
    }

    /// The connection alone, opened once more if need be: to be the last of this process.
    pub(super) fn retire(mut self) -> LastConnection {
        self.last_failure = None;
        let opened = self.opened().map(|_| ());
        let Self { path, open, checkpointer, .. } = self;
        drop(checkpointer);
        let connection = opened.and_then(|()| open.map(|open| open.connection).ok_or(StoreError::Lost));
        LastConnection { path, connection }
    }

    /// Runs a transaction on the open connection, opening one if need be, and draws the
    /// conclusions from how it ended. Waits so long for another process that commits.
    fn attempt<T>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&WriteConnection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self.begin(patience).and_then(|open| {
            let done = end(&open.connection, work(open))?;
            if open.files.are_at_their_paths() { Ok(done) } else { Err(StoreError::Replaced) }
        });
        match &result {
            Ok(_) => {
                self.last_failure = None;
                if self.metrics.degraded.swap(false, Relaxed) {
                    self.log.write(&Line::event(Level::Info, "recovered"));
                }
                self.last_commit.set(Some(Instant::now()));
            }
            Err(error) => {
                if *error == StoreError::Replaced {
                    self.let_go();
                }
                self.failed(error);
            }
        }
        result
    }

    /// The paths name other files now than are open. What was acknowledged may stand in a log that has lost its
    /// name: it is moved into its file while it is still open. No connection to the old files may
    /// stay: queries would be answered from them, and SQLite would share their index with the next.
    fn let_go(&mut self) {
        if let Some(open) = self.open.take() {
            // With a log on a disk that fails, there is nothing more to be done.
            let _ = wal::truncate(&open.connection, COMMIT_BUSY_TIMEOUT);
            self.epochs.end();
        }
    }

    /// A panic struck in the middle of something: nothing about the connection is certain.
    pub(super) fn give_up_connection(&mut self) {
        self.failed(&StoreError::Lost);
    }

    /// Begins a transaction on a connection that knows the schema. Where somebody else has changed that, perhaps with
    /// a trigger on the messages, perhaps its number alone, as VACUUM does, the database is looked at anew, once.
    fn begin(&mut self, patience: Duration) -> Result<&mut WriteConnection, StoreError> {
        for _ in 0..2 {
            if self.opened()?.begin(patience)? == Schema::AsItWas {
                return self.open.as_mut().ok_or(StoreError::Lost);
            }
            self.open = None;
        }
        Err(StoreError::Locked)
    }

    fn opened(&mut self) -> Result<&mut WriteConnection, StoreError> {
        if self.open.is_none() {
            if let Some((when, error)) = &self.last_failure
                && when.elapsed() < REOPEN_PAUSE
            {
                return Err(error.clone());
            }
            let connection = reopen(&self.path, self.known, &self.epochs)?;
            self.open = Some(WriteConnection::new(&self.path, connection, &self.checkpointer)?);
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
