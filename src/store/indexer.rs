//! The thread that keeps the index up: it takes in what was committed, many messages at a time, and
//! nobody waits for it.
//!
//! - While messages keep coming it waits until some have gathered, so that they share pages; while
//!   they come fast and nobody asks anything, until very many have.
//! - The order goes before the search.
//! - A slice is one transaction of the index, taken from one state of the database.
//! - An index that fails is put out of use, and made anew.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::index;
use super::index::upkeep::{Due, Sliced, Upkeep};
use super::readers::Readers;
use crate::limits::INDEX_RETRY;
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::os;

/// The handle of the thread.
pub(super) struct Indexer {
    wake: Wake,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Tells the indexer that something was committed. Never waits.
#[derive(Clone)]
pub(super) struct Wake {
    committed: Sender<()>,
    changed: Sender<()>,
}

impl Wake {
    pub(super) fn wake(&self) {
        // If one is waiting already it stands for both.
        let _ = self.committed.try_send(());
    }

    /// Messages were deleted, and queries go without the index until it knows: nothing else may wait first.
    pub(super) fn changed(&self) {
        let _ = self.changed.try_send(());
        self.wake();
    }
}

impl Indexer {
    /// Opens the index, so that the first query can use it, and starts the thread. Without an index
    /// the service works as well, more slowly.
    pub(super) fn start(
        database: &Path,
        readers: Arc<Readers>,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> io::Result<Self> {
        let (committed, woken) = bounded(1);
        let (changed, woken_for_changes) = bounded(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            database: database.to_owned(),
            readers,
            stopping: Arc::clone(&stopping),
            woken,
            woken_for_changes,
            metrics,
            log,
            generation: 0,
            failing: false,
        };
        let first = work.open();
        let thread = thread::Builder::new().name("indexer".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            work.run(first);
        })?;
        Ok(Self { wake: Wake { committed, changed }, stopping, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn wake(&self) -> Wake {
        self.wake.clone()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.wake.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Work {
    database: PathBuf,
    readers: Arc<Readers>,
    stopping: Arc<AtomicBool>,
    woken: Receiver<()>,
    woken_for_changes: Receiver<()>,
    metrics: Arc<Metrics>,
    log: Log,
    /// What the connections belong to (`Readers::generation`).
    generation: u64,
    /// The last try failed, and the log says so.
    failing: bool,
}

impl Work {
    fn run(&mut self, mut first: Option<Upkeep>) {
        while !self.stopping.load(Relaxed) {
            let Some(mut upkeep) = first.take().or_else(|| self.open()) else {
                let _ = self.woken.recv_timeout(INDEX_RETRY);
                continue;
            };
            let kept_up = catch_unwind(AssertUnwindSafe(|| self.keep_up(&mut upkeep)));
            match kept_up {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed(Some(&error)),
                Err(_) => self.failed(None),
            }
        }
    }

    fn open(&mut self) -> Option<Upkeep> {
        let generation = self.readers.generation();
        let known = self.readers.index_file();
        let is_other = known.is_some() && index::file_of(&self.database) != known;
        // Another file cannot be opened beside the log of the one that was there.
        if self.readers.index_was_condemned() || is_other {
            // If it cannot be removed it is tried again with the next query that fails.
            let _ = index::remove(&self.database);
        }
        match Upkeep::open(&self.database) {
            Ok(mut upkeep) => {
                self.readers.use_index(generation, index::file_of(&self.database));
                self.readers.index_knows_changes(upkeep.changes_through());
                upkeep.tell(&self.log);
                upkeep.show(&self.metrics);
                self.generation = generation;
                Some(upkeep)
            }
            Err(error) => {
                self.failed(Some(&error));
                None
            }
        }
    }

    /// Works until told to stop, or until the index is of no use any more.
    fn keep_up(&mut self, upkeep: &mut Upkeep) -> rusqlite::Result<()> {
        while !self.stopping.load(Relaxed) && self.readers.uses_index(self.generation) {
            if index::file_of(&self.database) != self.readers.index_file() {
                self.readers.forget_index();
                break;
            }
            self.readers.rest_if_not_asked();
            match upkeep.due() {
                Some(Due::Now(part)) => {
                    if upkeep.slice(part)? == Sliced::MissedChanges {
                        self.readers.forget_index();
                        break;
                    }
                    self.readers.index_knows_changes(upkeep.changes_through());
                    upkeep.show(&self.metrics);
                    upkeep.tell(&self.log);
                    self.failing = false;
                }
                Some(Due::In(wait)) => {
                    // What comes meanwhile is why it waits; what goes is not.
                    let _ = self.woken_for_changes.recv_timeout(wait);
                    upkeep.look(self.readers.was_asked_recently())?;
                    upkeep.show(&self.metrics);
                }
                None => {
                    upkeep.empty_log()?;
                    let _ = self.woken.recv_timeout(INDEX_RETRY);
                    upkeep.look(self.readers.was_asked_recently())?;
                    upkeep.show(&self.metrics);
                }
            }
        }
        Ok(())
    }

    /// Queries go without the index until there is a new one.
    fn failed(&mut self, error: Option<&rusqlite::Error>) {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, NotADatabase};
        if !std::mem::replace(&mut self.failing, true) {
            let cause = error.map_or_else(|| "panic".to_owned(), ToString::to_string);
            self.log.write(&Line::event(Level::Warning, "index_unavailable").text("cause", &cause));
        }
        match error.and_then(rusqlite::Error::sqlite_error_code) {
            Some(DatabaseBusy) => {}
            Some(DatabaseCorrupt | NotADatabase) | None => {
                self.readers.forget_index();
                // If it cannot be removed it is tried again with the next failure.
                let _ = index::remove(&self.database);
            }
            Some(_) => self.readers.forget_index(),
        }
        let _ = self.woken.recv_timeout(INDEX_RETRY);
    }
}
