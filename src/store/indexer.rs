//! The thread that keeps the index up: it takes in what was committed, many messages at a time, and
//! nobody waits for it.
//!
//! - While messages keep coming it waits until some have gathered, so that they share pages; the
//!   order goes before the search.
//! - A slice is one transaction of the index, taken from one state of the database.
//! - An index that fails is put out of use, and made anew.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::{Connection, TransactionBehavior};

use super::index::{self, Marks, changes, order, search};
use super::readers::Readers;
use super::schema;
use crate::limits::{
    BACKLOG_REPORT_INTERVAL, INDEX_RETRY, LOGGED_BACKLOG, ORDER_PAUSE, ORDER_SLICE, SEARCH_PAUSE, SEARCH_SLICE,
};
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
pub(super) struct Wake(Sender<()>);

impl Wake {
    pub(super) fn wake(&self) {
        // If one is waiting already it stands for both.
        let _ = self.0.try_send(());
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
        let (wake, woken) = bounded(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            database: database.to_owned(),
            readers,
            stopping: Arc::clone(&stopping),
            woken,
            metrics,
            log,
            failing: false,
        };
        let first = work.open();
        let thread = thread::Builder::new().name("indexer".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            work.run(first);
        })?;
        Ok(Self { wake: Wake(wake), stopping, thread: Mutex::new(Some(thread)) })
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
    metrics: Arc<Metrics>,
    log: Log,
    /// The last try failed, and the log says so.
    failing: bool,
}

/// The connections, and how far the index is behind.
struct Open {
    messages: Connection,
    index: Connection,
    /// Of the database that they belong to (`Readers::generation`).
    generation: u64,
    marks: Marks,
    last_row: i64,
    /// The last change that is to be taken account of.
    changes: i64,
    ordered_at: Instant,
    searchable_at: Instant,
    backlog: Option<Backlog>,
}

/// So much to do that the log tells of it.
struct Backlog {
    began: Instant,
    reported: Instant,
}

impl Work {
    fn run(&mut self, mut first: Option<Open>) {
        while !self.stopping.load(Relaxed) {
            let Some(mut open) = first.take().or_else(|| self.open()) else {
                let _ = self.woken.recv_timeout(INDEX_RETRY);
                continue;
            };
            let kept_up = catch_unwind(AssertUnwindSafe(|| self.keep_up(&mut open)));
            match kept_up {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed(Some(&error)),
                Err(_) => self.failed(None),
            }
        }
    }

    fn open(&mut self) -> Option<Open> {
        let generation = self.readers.generation();
        let open = || -> rusqlite::Result<Open> {
            let messages = schema::open_for_reading(&self.database)?;
            let index = index::open(&self.database, &messages)?;
            messages.execute_batch("PRAGMA query_only = ON")?;
            let (marks, (last_row, changes)) = (Marks::read(&index)?, state(&messages)?);
            let long_ago = Instant::now();
            let backlog = None;
            Ok(Open {
                messages,
                index,
                generation,
                marks,
                last_row,
                changes,
                ordered_at: long_ago,
                searchable_at: long_ago,
                backlog,
            })
        };
        match open() {
            Ok(mut open) => {
                self.readers.use_index(generation);
                if open.unsearchable() >= LOGGED_BACKLOG {
                    let now = Instant::now();
                    open.backlog = Some(Backlog { began: now, reported: now });
                    open.report(&self.log);
                }
                open.show(&self.metrics);
                Some(open)
            }
            Err(error) => {
                self.failed(Some(&error));
                None
            }
        }
    }

    /// Works until told to stop, or until the index is of no use any more.
    fn keep_up(&mut self, open: &mut Open) -> rusqlite::Result<()> {
        while !self.stopping.load(Relaxed) && self.readers.uses_index(open.generation) {
            match open.due() {
                Some(Due::Now(part)) => {
                    open.slice(part)?;
                    open.show(&self.metrics);
                    open.tell(&self.log);
                    self.failing = false;
                }
                Some(Due::In(wait)) => {
                    // What comes meanwhile is why it waits.
                    thread::sleep(wait);
                    open.look()?;
                }
                None => {
                    let _ = self.woken.recv_timeout(INDEX_RETRY);
                    open.look()?;
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

enum Part {
    Changes,
    Order,
    Search,
}

enum Due {
    Now(Part),
    In(Duration),
}

impl Open {
    fn due(&self) -> Option<Due> {
        if self.marks.changes_through < self.changes {
            return Some(Due::Now(Part::Changes));
        }
        let (unordered, unsearchable) = (self.unordered(), self.unsearchable());
        let order_in = ORDER_PAUSE.saturating_sub(self.ordered_at.elapsed());
        if unordered > 0 && (order_in.is_zero() || unordered >= ORDER_SLICE as i64) {
            return Some(Due::Now(Part::Order));
        }
        let search_in = SEARCH_PAUSE.saturating_sub(self.searchable_at.elapsed());
        if unsearchable > 0 && (search_in.is_zero() || unsearchable >= SEARCH_SLICE as i64) {
            return Some(Due::Now(Part::Search));
        }
        match (unordered > 0, unsearchable > 0) {
            (true, _) => Some(Due::In(order_in)),
            (false, true) => Some(Due::In(search_in.min(ORDER_PAUSE))),
            (false, false) => None,
        }
    }

    fn slice(&mut self, part: Part) -> rusqlite::Result<()> {
        // The state of the index first: the database's is then never an older one.
        let transaction = self.index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut marks = Marks::read(&transaction)?;
        let messages = self.messages.unchecked_transaction()?;
        match part {
            Part::Changes => changes::apply(&messages, &transaction, &mut marks, ORDER_SLICE)?,
            // Nothing new may be taken in from a state of which a change is not known yet.
            _ if changes::are_pending(&messages, &marks)? => {}
            Part::Order => {
                order::extend(&messages, &transaction, &mut marks, ORDER_SLICE)?;
                self.ordered_at = Instant::now();
            }
            Part::Search => {
                search::extend(&messages, &transaction, &mut marks, SEARCH_SLICE)?;
                self.searchable_at = Instant::now();
            }
        }
        (self.last_row, self.changes) = state(&messages)?;
        transaction.commit()?;
        self.marks = marks;
        Ok(())
    }

    /// What is there to do?
    fn look(&mut self) -> rusqlite::Result<()> {
        (self.last_row, self.changes) = state(&self.messages)?;
        Ok(())
    }

    fn unordered(&self) -> i64 {
        self.last_row.saturating_sub(self.marks.ordered_through)
    }

    fn unsearchable(&self) -> i64 {
        self.last_row.saturating_sub(self.marks.searchable_through)
    }

    fn show(&self, metrics: &Metrics) {
        metrics.unordered.store(self.unordered().max(0), Relaxed);
        metrics.unsearchable.store(self.unsearchable().max(0), Relaxed);
    }

    fn tell(&mut self, log: &Log) {
        let done = self.unordered() <= 0 && self.unsearchable() <= 0;
        match &mut self.backlog {
            None => {}
            Some(backlog) if done => {
                let seconds = backlog.began.elapsed().as_millis() as u64;
                log.write(&Line::event(Level::Info, "indexed").thousandths("seconds", seconds));
                self.backlog = None;
            }
            Some(backlog) if backlog.reported.elapsed() >= BACKLOG_REPORT_INTERVAL => {
                backlog.reported = Instant::now();
                self.report(log);
            }
            Some(_) => {}
        }
    }

    fn report(&self, log: &Log) {
        let left = |rows: i64| u64::try_from(rows).unwrap_or(0);
        log.write(
            &Line::event(Level::Info, "indexing")
                .number("unordered", left(self.unordered()))
                .number("unsearchable", left(self.unsearchable())),
        );
    }
}

/// The last row of the messages, and the last change.
fn state(messages: &Connection) -> rusqlite::Result<(i64, i64)> {
    let mut statement = messages.prepare_cached(
        "SELECT (SELECT max(rowid) FROM messages), (SELECT max(change) FROM messages_changes)",
    )?;
    statement.query_row([], |row| {
        Ok((row.get::<_, Option<i64>>(0)?.unwrap_or(i64::MIN), row.get::<_, Option<i64>>(1)?.unwrap_or(0)))
    })
}
