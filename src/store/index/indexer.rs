//! The indexer takes into the index what was committed, many messages at a time, while nobody waits for it.
//!
//! - What is due, and when, is in [`super::schedule`]; how it is done, in [`super::upkeep`].
//! - An index that fails is put out of use, and made anew. It is not used before it was compared with the messages,
//!   and compared again when somebody else has committed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::schedule::{Due, Part};
use super::upkeep::{IndexVerdict, Sliced, Upkeep};
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::mutex::lock;
use crate::os;
use crate::store::checkpoint::keeper::{Keeper, Report};
use crate::store::database::files::FileId;
use crate::store::database::wal_bounds::INDEX;
use crate::store::index;
use crate::store::read::epoch::{Epoch, Epochs, PublishedIndex};
use crate::store::read::queries::Queries;

/// How long until an index that failed is tried again, and how often the indexer looks around unasked.
const INDEX_RETRY: Duration = Duration::from_secs(1);

/// While somebody else keeps committing, a comparison of the index with the messages is followed by a pause of so many
/// times as long: it has a tenth of the time.
const VERIFICATION_PAUSE_FACTOR: u32 = 9;

/// Where the write-ahead log of the index has no room, how long queries go on until it is tried again to make some.
const ROOM_PAUSE: Duration = Duration::from_millis(500);

/// The handle of the thread.
pub struct Indexer {
    wake: Wake,
    /// Its other end goes once the index has been opened.
    opening: Receiver<()>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Tells the indexer that something was committed. Never waits.
#[derive(Clone)]
pub struct Wake {
    committed: Sender<()>,
    changed: Sender<()>,
    by_others: Arc<AtomicBool>,
}

impl Wake {
    pub fn wake(&self) {
        // If one is waiting already it stands for both.
        let _ = self.committed.try_send(());
    }

    /// Messages were deleted, and queries go without the index until it knows: nothing else may wait first.
    pub fn changed(&self) {
        let _ = self.changed.try_send(());
        self.wake();
    }

    /// Somebody else has written to the database: the index is compared with what is there now.
    pub fn committed_by_others(&self) {
        self.by_others.store(true, Relaxed);
        self.wake();
    }
}

impl Indexer {
    /// Starts the thread, which opens the index first.
    pub fn start(
        database: &Path,
        queries: Arc<Queries>,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> io::Result<Self> {
        let (committed, woken) = queries.epochs().wake();
        let (changed, woken_for_changes) = bounded(1);
        let (stopping, by_others) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let keeper = Keeper::new(&INDEX, queries.gate(), Report::new("index", log.clone()));
        let mut work = IndexLoop {
            database: database.to_owned(),
            queries,
            stopping: Arc::clone(&stopping),
            woken,
            woken_for_changes,
            by_others: Arc::clone(&by_others),
            verified: None,
            compared: 0,
            metrics,
            keeper,
            log,
            generation: 0,
            file: None,
            failing: false,
        };
        let (opened, opening) = bounded(0);
        let thread = thread::Builder::new().name("indexer".into()).spawn(move || {
            let first = work.open();
            drop(opened);
            os::lower_priority_of_this_thread();
            work.run(first);
        })?;
        let wake = Wake { committed, changed, by_others };
        Ok(Self { wake, opening, stopping, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until the index is open, so that the first query can use it, or is known not to be had. Without one the
    /// service works as well, more slowly.
    pub fn wait_until_open(&self) {
        // Nothing is ever sent.
        let _ = self.opening.recv();
    }

    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.wake.wake();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct IndexLoop {
    database: PathBuf,
    queries: Arc<Queries>,
    stopping: Arc<AtomicBool>,
    woken: Receiver<()>,
    woken_for_changes: Receiver<()>,
    by_others: Arc<AtomicBool>,
    /// When the index was last compared with the messages, and how long that took.
    verified: Option<(Instant, Duration)>,
    /// How often.
    compared: u64,
    metrics: Arc<Metrics>,
    log: Log,
    /// Of the write-ahead log of the index.
    keeper: Keeper,
    /// What the connections belong to (`Epochs::generation`).
    generation: u64,
    /// The file that is the index.
    file: Option<FileId>,
    /// The last try failed, and the log says so.
    failing: bool,
}

impl IndexLoop {
    fn epochs(&self) -> &Epochs {
        self.queries.epochs()
    }

    fn run(&mut self, mut first: Option<Upkeep>) {
        while !self.stopping.load(Relaxed) {
            let Some(mut upkeep) = first.take().or_else(|| self.open()) else {
                let _ = self.woken.recv_timeout(INDEX_RETRY);
                continue;
            };
            let kept_up = catch_unwind(AssertUnwindSafe(|| self.keep_up(&mut upkeep)));
            if !self.stopping.load(Relaxed) {
                upkeep.show_lost(&self.metrics);
            }
            match kept_up {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => self.failed(Some(&error)),
                Err(_) => self.failed(None),
            }
            let _ = self.woken.recv_timeout(INDEX_RETRY);
        }
    }

    fn open(&mut self) -> Option<Upkeep> {
        let generation = self.epochs().generation();
        let known = self.epochs().last_file();
        let is_other = known.is_some() && index::file_of(&self.database) != known;
        // Another file cannot be opened beside the log of the one that was there.
        let condemned = self.epochs().take_condemned();
        if let Some(cause) = &condemned {
            self.log.write(&Line::event(Level::Warning, "index_wrong").text("cause", cause));
        }
        if condemned.is_some() || is_other {
            // If it cannot be removed it is tried again with the next query that fails.
            let _ = index::remove(&self.database);
        }
        match Upkeep::open(&self.database) {
            Ok(mut upkeep) => {
                self.file = index::file_of(&self.database);
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
        if !self.is_right(upkeep)? {
            return Ok(());
        }
        self.publish(upkeep);
        while !self.stopping.load(Relaxed) && self.epochs().has_index(self.generation) {
            if index::file_of(&self.database) != self.epochs().last_file() {
                self.epochs().end();
                break;
            }
            if self.is_to_be_verified(upkeep) {
                if !self.is_right(upkeep)? {
                    break;
                }
                self.publish(upkeep);
            }
            self.queries.rest_if_not_asked();
            match upkeep.due() {
                Some(Due::Now(_)) if !self.try_to_make_room(upkeep)? => {
                    let _ = self.woken_for_changes.recv_timeout(ROOM_PAUSE);
                }
                Some(Due::Now(part)) => {
                    if upkeep.slice(part)? == Sliced::MissedChanges {
                        self.epochs().end();
                        break;
                    }
                    self.publish(upkeep);
                    upkeep.show(&self.metrics);
                    upkeep.tell(&self.log);
                    self.failing = false;
                }
                Some(Due::In(wait)) => {
                    // What comes meanwhile is why it waits; what goes is not.
                    let _ = self.woken_for_changes.recv_timeout(wait);
                    upkeep.refresh(self.queries.activity().is_recent(Instant::now()))?;
                    upkeep.show(&self.metrics);
                }
                None => {
                    upkeep.rest()?;
                    let _ = self.woken.recv_timeout(INDEX_RETRY);
                    upkeep.refresh(self.queries.activity().is_recent(Instant::now()))?;
                    upkeep.show(&self.metrics);
                }
            }
        }
        Ok(())
    }

    fn publish(&self, upkeep: &Upkeep) {
        let (changes_through, compared) = (upkeep.changes_through(), self.compared);
        let index = PublishedIndex { file: self.file, changes_through, compared };
        self.epochs().publish(Epoch { generation: self.generation, index: Some(index) });
    }

    fn is_to_be_verified(&self, upkeep: &Upkeep) -> bool {
        // Somebody who commits all the time is not to keep this thread at it.
        let is_rested =
            self.verified.is_none_or(|(at, took)| at.elapsed() >= took * VERIFICATION_PAUSE_FACTOR);
        upkeep.is_at_last_row() || is_rested && self.by_others.load(Relaxed)
    }

    /// Compares the index with the messages. One that is wrong is made anew.
    fn is_right(&mut self, upkeep: &mut Upkeep) -> rusqlite::Result<bool> {
        // Before it is looked: what comes meanwhile is looked at once more.
        self.by_others.store(false, Relaxed);
        let began = Instant::now();
        while !self.stopping.load(Relaxed) {
            let wrong = match upkeep.verify()? {
                IndexVerdict::Right => {
                    self.verified = Some((Instant::now(), began.elapsed()));
                    self.compared += 1;
                    upkeep.show(&self.metrics);
                    return Ok(true);
                }
                IndexVerdict::Pending if !self.try_to_make_room(upkeep)? => {
                    thread::sleep(ROOM_PAUSE);
                    continue;
                }
                IndexVerdict::Pending if upkeep.slice(Part::Changes)? == Sliced::Done => continue,
                IndexVerdict::Pending => "changes were removed that it has not taken account of",
                IndexVerdict::Wrong(wrong) => wrong,
            };
            self.epochs().condemn_index(wrong.to_owned());
            return Ok(false);
        }
        Ok(false)
    }

    fn try_to_make_room(&mut self, upkeep: &Upkeep) -> rusqlite::Result<bool> {
        let (index, live) = upkeep.wal()?;
        self.keeper.try_to_make_room(index, live)
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
                self.epochs().end();
                // If it cannot be removed it is tried again with the next failure.
                let _ = index::remove(&self.database);
            }
            Some(_) => self.epochs().end(),
        }
    }
}
