//! Retention deletes what is old: messages after `RETENTION_DAYS`, their tombstones some days later, changes that the
//! index has taken account of.
//!
//! - It decides on a connection for reading ([`expiry`], by [`age`] and [`trusted_clock`]); the writer deletes, between
//!   two batches of messages, one small slice at a time. A webhook never waits for more than one slice.
//! - The next slice waits until the index knows of the last, because queries do, and rests for several
//!   times as long as a slice took while webhooks come.
//! - What was deleted still stands in the write-ahead log, which is truncated as soon as nobody reads it.
//! - What fails is tried again a moment later, from what the file then holds.

pub mod age;
pub mod expiry;
mod removal;
pub(super) mod trusted_clock;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::Connection;

use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::mutex::lock;
use crate::os;
use crate::store::database::{connections, wal};
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;
use crate::store::read::epoch::Epochs;
use crate::store::write::writer::Jobs;
use crate::timestamp::InstantKey;
use trusted_clock::EXPIRY_INTERVAL;

/// Deletion rests for so many times as long as a slice took, so that it has half of the writer at most.
const EXPIRY_REST: u32 = 1;
/// How often the service looks whether a look for old messages is due, and at changes that the index knows. A change is
/// removed at the second look, so that the disk has most likely taken the index in.
const RETENTION_INTERVAL: Duration = Duration::from_secs(5);
/// How long after a start it looks for the first time: a start is over by then, which it would share the processors with.
const FIRST_LOOK_AFTER: Duration = Duration::from_millis(250);
/// How often tombstones are gone through for those that have stayed for longer.
const TOMBSTONES_INTERVAL: Duration = Duration::from_secs(86_400);

/// The handle of the thread.
pub struct Retention {
    stop: Sender<()>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the thread works with.
pub struct Parts {
    pub database: PathBuf,
    /// Messages stay for so many days; `None` for ever.
    pub days: Option<u32>,
    pub jobs: Jobs,
    pub epochs: Arc<Epochs>,
    pub indexer: Wake,
    pub metrics: Arc<Metrics>,
    pub log: Log,
}

impl Retention {
    pub fn start(parts: Parts) -> io::Result<Self> {
        let (stop, stopped) = bounded(1);
        let thread = thread::Builder::new().name("retention".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            let mut work = RetentionLoop::new(parts, stopped);
            let mut pause = FIRST_LOOK_AFTER;
            // A panic costs one look.
            while !work.pause(pause) && catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                pause = RETENTION_INTERVAL;
            }
        })?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// To be called before the writer is stopped.
    pub fn stop(&self) {
        // If one is waiting already it stands for both.
        let _ = self.stop.try_send(());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// How the last pass through what is too old went.
enum LastPass {
    Never,
    FinishedAt(Instant),
    /// Messages came faster than they went.
    CutShort,
}

struct RetentionLoop {
    parts: Parts,
    /// Which files it belongs to (`Epochs::generation`), and the connection. It stays open: while SQLite
    /// holds a lock it cannot let go of a file, and keeps one for every connection that is closed.
    open: Option<(u64, Rc<Connection>)>,
    stopped: Receiver<()>,
    /// The service is stopping.
    stopping: bool,
    /// By which messages may be deleted: seconds since the Unix epoch.
    now: i64,
    /// When the newest message was stored by which the clock was doubted last.
    doubted_for: Option<InstantKey>,
    last_pass: LastPass,
    tombstones_at: Option<Instant>,
    /// The last change that the index knew, and when.
    known: Option<(i64, Instant)>,
    /// The last change that was removed.
    removed: i64,
    /// Something was deleted since the log was empty.
    wal_holds_deleted: bool,
    /// The last look failed, and the log says so.
    failing: bool,
}

impl RetentionLoop {
    fn new(parts: Parts, stopped: Receiver<()>) -> Self {
        Self {
            parts,
            open: None,
            stopped,
            stopping: false,
            now: 0,
            doubted_for: None,
            last_pass: LastPass::Never,
            tombstones_at: None,
            known: None,
            removed: 0,
            wal_holds_deleted: false,
            failing: false,
        }
    }

    fn run(&mut self) {
        loop {
            let done = self.do_what_is_due().and_then(|()| self.truncate_wal());
            if done.is_err() {
                self.open = None;
            }
            self.tell(done.err().as_ref());
            if self.pause(RETENTION_INTERVAL) {
                return;
            }
        }
    }

    /// True when the service is stopping. To be called in everything that may take long.
    fn pause(&mut self, time: Duration) -> bool {
        self.stopping = self.stopping || self.stopped.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
        self.stopping
    }

    fn messages(&mut self) -> Result<Rc<Connection>, StoreError> {
        let generation = self.parts.epochs.generation();
        let (_, messages) = match self.open.take().filter(|(of, _)| *of == generation) {
            Some(open) => self.open.insert(open),
            None => {
                let messages = connections::open_for_reading(&self.parts.database)?;
                self.open.insert((generation, Rc::new(messages)))
            }
        };
        Ok(Rc::clone(messages))
    }

    fn do_what_is_due(&mut self) -> Result<(), StoreError> {
        self.remove_changes()?;
        if matches!(self.last_pass, LastPass::FinishedAt(at) if at.elapsed() < EXPIRY_INTERVAL)
            || !self.may_delete()?
        {
            return Ok(());
        }
        let mut is_done = true;
        if let Some(days) = self.parts.days {
            let began = Instant::now();
            let (expired, is_finished) = self.expire(days)?;
            is_done = is_finished;
            if expired > 0 {
                let took = began.elapsed().as_millis() as u64;
                let line = Line::event(Level::Info, "expired").number("messages", expired);
                self.parts.log.write(&line.thousandths("seconds", took));
            }
        }
        if self.tombstones_at.is_none_or(|at| at.elapsed() >= TOMBSTONES_INTERVAL) {
            self.remove_tombstones()?;
            self.tombstones_at = Some(Instant::now());
        }
        self.last_pass = if is_done { LastPass::FinishedAt(Instant::now()) } else { LastPass::CutShort };
        Ok(())
    }

    fn truncate_wal(&mut self) -> Result<(), StoreError> {
        if self.wal_holds_deleted && !self.stopping {
            // Most of it is moved from here, so that the writer is not kept for long.
            wal::passive(&*self.messages()?)?;
            self.wal_holds_deleted = !self.parts.jobs.truncate_wal()?;
        }
        Ok(())
    }

    /// One slice by the writer, and a rest of so many times as long.
    fn slice<T: Send + 'static>(
        &mut self,
        rest: u32,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let done = self.parts.jobs.run(work)?;
        self.wal_holds_deleted = true;
        self.parts.indexer.changed();
        self.pause(began.elapsed() * rest);
        Ok(done)
    }

    fn tell(&mut self, error: Option<&StoreError>) {
        let failing = error.is_some();
        if let Some(error) = error.filter(|_| !self.failing && !self.stopping) {
            let line = Line::event(Level::Warning, "retention_failed").text("detail", &error.to_string());
            self.parts.log.write(&line.text("cause", &error.cause()));
        }
        self.failing = failing;
    }
}
