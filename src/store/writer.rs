//! The writer thread: the only one that changes the database.
//!
//! It takes what waits, puts it into one transaction, and answers every waiter once `COMMIT` has
//! returned with the log synced (`synchronous=FULL` in WAL mode). Invariants:
//!
//! - A waiter hears [`Inserted`] only after the commit that holds its message, and only while the
//!   file at the path is still the one that was committed to.
//! - A failed transaction stores nothing and answers every waiter of its batch with the error;
//!   where one message alone could be at fault, each is tried once more by itself.
//! - After an error of the machine the connection is thrown away, and a new one starts from what is
//!   on disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::{Connection, params};

use super::{StoreError, schema};
use crate::clock::now_rfc3339;
use crate::limits::{
    COMMIT_BUSY_TIMEOUT, FAILURE_STANDS, MAX_BATCH, PROBE_BUSY_TIMEOUT, PROBE_TIMEOUT, PROOF_OF_COMMIT,
    REOPEN_PAUSE, WRITER_QUEUE,
};
use crate::log::{Level, Line, Log};
use crate::message::Message;
use crate::metrics::Metrics;

/// What became of a message that is in the store now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// This insert put it there.
    Created,
    /// A message with this id was there before, and is unchanged.
    Duplicate,
}

type Outcome = Result<Inserted, StoreError>;

/// Who waits for one message. Answered exactly once: if nobody does, dropping it answers
/// [`StoreError::Lost`].
pub struct Waiter(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Waiter {
    pub fn new(answer: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    fn answer(mut self, outcome: Outcome) {
        if let Some(answer) = self.0.take() {
            answer(outcome);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(StoreError::Lost));
        }
    }
}

enum Command {
    Insert(Message, Waiter),
    Prove(Sender<Result<(), StoreError>>),
    Stop,
}

/// The handle of the writer thread.
pub(super) struct Writer {
    commands: Sender<Command>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    proof: Proof,
    /// What the last prober heard, and when.
    last_proof: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

/// When the last commit succeeded, if nothing has failed since then.
type Proof = Arc<Mutex<Option<Instant>>>;

fn is_recent(proof: &Proof) -> bool {
    let last = *proof.lock().unwrap_or_else(PoisonError::into_inner);
    last.is_some_and(|commit| commit.elapsed() < PROOF_OF_COMMIT)
}

impl Writer {
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> io::Result<Self> {
        let (commands, inbox) = bounded(WRITER_QUEUE);
        let proof = Arc::new(Mutex::new(None));
        let mut transactor = Transactor {
            path: path.to_owned(),
            open: Some(Open::new(path, connection)),
            last_failure: None,
            proof: Arc::clone(&proof),
            metrics,
            log,
            degraded: false,
        };
        let thread = thread::Builder::new().name("writer".into()).spawn(move || {
            // A panic answers the batch it struck with `Lost` and costs the connection, not the service.
            while catch_unwind(AssertUnwindSafe(|| transactor.serve(&inbox))).is_err() {
                transactor.failed(&StoreError::Lost);
                transactor.open = None;
            }
        })?;
        Ok(Self { commands, thread: Mutex::new(Some(thread)), proof, last_proof: Mutex::new(None) })
    }

    pub(super) fn insert(&self, message: Message, waiter: Waiter) {
        match self.commands.try_send(Command::Insert(message, waiter)) {
            Ok(()) => {}
            Err(TrySendError::Full(Command::Insert(_, waiter))) => waiter.answer(Err(StoreError::Overloaded)),
            Err(TrySendError::Disconnected(Command::Insert(_, waiter))) => {
                waiter.answer(Err(StoreError::Stopping));
            }
            Err(_) => unreachable!("try_send gives back what it was given"),
        }
    }

    /// Ok if the last commit was a moment ago, or if one made now succeeds in time. Any number of
    /// callers share one answer, so that none waits for more than one try.
    pub(super) fn prove(&self) -> Result<(), StoreError> {
        let mut last = self.last_proof.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, Err(error))) = &*last
            && when.elapsed() < FAILURE_STANDS
        {
            return Err(error.clone());
        }
        let result = self.ask_for_proof();
        *last = Some((Instant::now(), result.clone()));
        result
    }

    fn ask_for_proof(&self) -> Result<(), StoreError> {
        if is_recent(&self.proof) {
            return Ok(());
        }
        let (answer, proof) = bounded(1);
        self.commands.try_send(Command::Prove(answer)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Stopping,
        })?;
        proof.recv_timeout(PROBE_TIMEOUT).unwrap_or(Err(StoreError::Locked))
    }

    pub(super) fn queue_depth(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn stop(&self) {
        // An error means that the thread is gone already.
        let _ = self.commands.send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// The write connection and which files it was opened on.
struct Open {
    connection: Connection,
    database: Option<FileId>,
    wal: Option<FileId>,
}

/// Device and inode: what a path names, whatever it is called.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Open {
    fn new(path: &Path, connection: Connection) -> Self {
        Self { connection, database: file_id(path), wal: file_id(&schema::wal_path(path)) }
    }

    /// True while the paths still name the files that commits go to.
    fn is_at(&mut self, path: &Path) -> bool {
        let wal = file_id(&schema::wal_path(path));
        // SQLite makes the WAL with the first write at the latest.
        self.wal = self.wal.or(wal);
        self.database.is_some() && self.database == file_id(path) && self.wal.is_some() && self.wal == wal
    }
}

/// What lives on the writer thread.
struct Transactor {
    path: PathBuf,
    /// `None` after an error of the machine, until it can be opened again.
    open: Option<Open>,
    last_failure: Option<(Instant, StoreError)>,
    proof: Proof,
    metrics: Arc<Metrics>,
    log: Log,
    /// The last attempt failed, and the log says so.
    degraded: bool,
}

#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    waiters: Vec<Waiter>,
    probes: Vec<Sender<Result<(), StoreError>>>,
    stop: bool,
}

impl Batch {
    /// Waits for one command, then takes what else is there.
    fn take(inbox: &Receiver<Command>) -> Self {
        let mut batch = Self::default();
        let mut next = inbox.recv().ok();
        while let Some(command) = next {
            match command {
                Command::Insert(message, waiter) => {
                    batch.messages.push(message);
                    batch.waiters.push(waiter);
                }
                Command::Prove(probe) => batch.probes.push(probe),
                Command::Stop => batch.stop = true,
            }
            if batch.stop || batch.messages.len() >= MAX_BATCH {
                return batch;
            }
            next = inbox.try_recv().ok();
        }
        // Without a single command every handle is gone.
        batch.stop = batch.messages.is_empty() && batch.probes.is_empty();
        batch
    }
}

impl Transactor {
    /// Works until told to stop, and commits everything that was queued before that.
    fn serve(&mut self, inbox: &Receiver<Command>) {
        loop {
            let batch = Batch::take(inbox);
            let stop = batch.stop;
            self.work(batch);
            if stop {
                self.open = None;
                return;
            }
        }
    }

    fn work(&mut self, batch: Batch) {
        let Batch { messages, waiters, probes, .. } = batch;
        if !messages.is_empty() {
            self.commit_all(&messages, waiters);
        }
        for probe in probes {
            // Whoever asked may have stopped waiting.
            let _ = probe.send(self.prove());
        }
    }

    fn commit_all(&mut self, messages: &[Message], waiters: Vec<Waiter>) {
        debug_assert_eq!(messages.len(), waiters.len());
        match self.commit(messages) {
            Ok(outcomes) => {
                for (waiter, inserted) in waiters.into_iter().zip(outcomes) {
                    waiter.answer(Ok(inserted));
                }
            }
            Err(StoreError::Refused(_)) if messages.len() > 1 => {
                for (message, waiter) in messages.iter().zip(waiters) {
                    let outcome = self.commit(std::slice::from_ref(message));
                    waiter.answer(outcome.map(|outcomes| outcomes[0]));
                }
            }
            Err(error) => {
                for waiter in waiters {
                    waiter.answer(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction. On `Ok` it is committed and synced.
    fn commit(&mut self, messages: &[Message]) -> Result<Vec<Inserted>, StoreError> {
        let began = Instant::now();
        let outcomes = self.attempt(|connection| insert_all(connection, messages))?;
        assert_eq!(outcomes.len(), messages.len(), "every message of a batch has an outcome");
        let created = outcomes.iter().filter(|outcome| **outcome == Inserted::Created).count();
        self.metrics.batch_messages.observe(messages.len() as u64);
        self.metrics.commit_seconds.observe_time(began.elapsed());
        self.metrics.messages_stored.fetch_add(created as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(outcomes)
    }

    /// A commit that changes nothing but is written and synced like any other.
    fn prove(&mut self) -> Result<(), StoreError> {
        if is_recent(&self.proof) {
            return Ok(());
        }
        self.attempt(|connection| {
            connection.busy_timeout(PROBE_BUSY_TIMEOUT)?;
            let result = in_transaction(connection, |connection| {
                let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                connection.pragma_update(None, "user_version", version)
            });
            connection.busy_timeout(COMMIT_BUSY_TIMEOUT)?;
            result
        })
    }

    /// Runs a transaction on the open connection, opening one if need be, and draws the
    /// conclusions from how it ended.
    fn attempt<T>(
        &mut self,
        transaction: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self.opened().and_then(|open| Ok(transaction(&open.connection)?));
        let result = result.and_then(|done| {
            let in_place = self.open.as_mut().is_some_and(|open| open.is_at(&self.path));
            if in_place { Ok(done) } else { Err(StoreError::Replaced) }
        });
        match &result {
            Ok(_) => {
                self.last_failure = None;
                if std::mem::take(&mut self.degraded) {
                    self.log.write(&Line::event(Level::Info, "recovered"));
                }
                *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            Err(error) => self.failed(error),
        }
        result
    }

    fn opened(&mut self) -> Result<&mut Open, StoreError> {
        if self.open.is_none() {
            if let Some((when, error)) = &self.last_failure
                && when.elapsed() < REOPEN_PAUSE
            {
                return Err(error.clone());
            }
            self.open = Some(reopen(&self.path)?);
        }
        self.open.as_mut().ok_or(StoreError::Lost)
    }

    fn failed(&mut self, error: &StoreError) {
        self.metrics.commit_failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if !std::mem::replace(&mut self.degraded, true) {
            let line = Line::event(Level::Error, "degraded").text("detail", &error.to_string());
            self.log.write(&line.text("cause", &error.cause()));
        }
        *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match error {
            // Nothing is wrong with the connection.
            StoreError::Refused(_) | StoreError::Locked | StoreError::DiskFull => {}
            _ => {
                let since = self.last_failure.take().filter(|(when, _)| when.elapsed() < REOPEN_PAUSE);
                let when = since.map_or_else(Instant::now, |(when, _)| when);
                self.last_failure = Some((when, error.clone()));
                self.open = None;
            }
        }
    }
}

/// A connection to the file that is at the path now, if it is a database of ours.
fn reopen(path: &Path) -> Result<Open, StoreError> {
    if file_id(path).is_none() {
        return Err(StoreError::Replaced);
    }
    let connection = schema::open_for_writing(path).map_err(|error| StoreError::Io(error.to_string()))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != schema::VERSION {
        return Err(StoreError::Replaced);
    }
    // What the failed commit left in the log is either visible now, and then written to the
    // database file and synced here, or gone.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(Open::new(path, connection))
}

fn insert_all(connection: &Connection, messages: &[Message]) -> rusqlite::Result<Vec<Inserted>> {
    in_transaction(connection, |connection| {
        let created_at = now_rfc3339();
        let mut insert = connection.prepare_cached(
            "INSERT INTO messages (message_id, from_msisdn, to_msisdn, ts, text, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (message_id) DO NOTHING",
        )?;
        let mut one = |message: &Message| {
            let values = params![
                message.message_id(),
                message.from(),
                message.to(),
                message.ts(),
                message.text(),
                created_at
            ];
            Ok(if insert.execute(values)? == 1 { Inserted::Created } else { Inserted::Duplicate })
        };
        messages.iter().map(&mut one).collect()
    })
}

/// `COMMIT` is inside: on `Ok` it has returned. On an error nothing of the transaction is kept.
fn in_transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let result = work(connection).and_then(|done| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    });
    if result.is_err() && !connection.is_autocommit() {
        // Some errors have rolled back by themselves; if this one fails too, the connection is
        // thrown away or the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}
