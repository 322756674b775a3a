//! Retention deletes what is old: messages after `RETENTION_DAYS`, their tombstones some days later, changes that the
//! index has taken account of.
//!
//! - It decides, on a connection for reading ([`age`], [`trusted_clock`]); the writer deletes, between two batches
//!   of messages, one small slice at a time. A webhook never waits for more than one slice.
//! - The next slice waits until the index knows of the last, because queries do, and rests for several
//!   times as long as a slice took while webhooks come.
//! - What was deleted still stands in the write-ahead log, which is truncated as soon as nobody reads it.
//! - What fails is tried again a moment later, from what the file then holds.

pub mod age;
mod removal;
pub(super) mod trusted_clock;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{DELETED_SLICE, deletion, items};
use crate::limits::{BUSY_WEBHOOKS, CHANGES_POLL};
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::mutex::lock;
use crate::os;
use crate::priority::Priority;
use crate::store::database::migrations::has_items;
use crate::store::database::{connections, wal};
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;
use crate::store::index::{Watermarks, changes};
use crate::store::read::epoch::Epochs;
use crate::store::write::tombstones;
use crate::store::write::writer::Jobs;
use crate::timestamp::InstantKey;
use age::{Calendar, ExpiredMessage};
use trusted_clock::{ClockVerdict, EXPIRY_INTERVAL};

/// Deletion rests for so many times as long as a slice took, so that it has half of the writer at most.
const EXPIRY_REST: u32 = 1;
/// While webhooks come it has a twentieth, unless it is at it for longer than [`EXPIRY_INTERVAL`].
const BUSY_EXPIRY_REST: u32 = 19;
/// How long the next slice waits for the index to know of the last one; queries wait with it. An index that
/// takes longer is behind for other reasons.
const EXPIRY_INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// How often the service looks whether a look for old messages is due, and at changes that the index knows. A change is
/// removed at the second look, so that the disk has most likely taken the index in.
const RETENTION_INTERVAL: Duration = Duration::from_secs(5);
/// How often tombstones are gone through for those that have stayed for longer.
const TOMBSTONES_INTERVAL: Duration = Duration::from_secs(86_400);

/// Messages whose age is looked at in one snapshot, before the first of them is deleted: some milliseconds.
const EXPIRY_SCAN: usize = 4096;

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
            // A panic costs one look.
            while catch_unwind(AssertUnwindSafe(|| work.run())).is_err() && !work.pause(RETENTION_INTERVAL) {}
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

/// Deletes those messages that are still what they were, and puts their tombstones. To be called in a
/// transaction. Gives their number.
pub fn delete(connection: &Connection, expired: &[ExpiredMessage], at: i64) -> rusqlite::Result<u64> {
    const TELLS: &str = "CAST(created_at AS BLOB) IS ?2";
    // The index need not hear of a text that is on its way out: it hears of the deletion in the same transaction.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    let overwritten = deletion::overwrite_texts(connection, TELLS, expired);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    overwritten?;
    deletion::delete(connection, TELLS, expired, at)
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

    /// Whether something could be too old, and the clock is one to go by. What follows from this look is kept.
    fn may_delete(&mut self) -> Result<bool, StoreError> {
        let messages = self.messages()?;
        if self.parts.days.is_none() && !tombstones::are_any(&messages)? {
            return Ok(false);
        }
        self.now = trusted_clock::now();
        let calendar = Calendar::new(self.now, 0);
        let ahead = age::newest(&messages)?.filter(|date| calendar.is_future(date));
        let is_before_newest = ahead.is_some() && ahead != self.doubted_for;
        let verdict = trusted_clock::verdict(trusted_clock::read(&messages)?, is_before_newest, self.now);
        let not_before = trusted_clock::not_before(verdict, self.now);
        if let Some(not_before) = not_before {
            self.parts.jobs.run(move |connection| trusted_clock::write(connection, not_before))?;
        }
        if let (ClockVerdict::Doubt(doubt), Some(until), true) =
            (verdict, not_before, self.parts.days.is_some())
        {
            let line =
                Line::event(Level::Warning, "expiry_waits").text("until", &trusted_clock::rfc3339(until));
            self.parts.log.write(&line.text("detail", doubt.text()));
        }
        // The day that is waited for is for this as well; garbage must not hold everything up for ever.
        self.doubted_for = ahead;
        Ok(verdict == ClockVerdict::Delete)
    }

    /// Deletes every message that is too old, as far as it comes before the next look. Gives their number, and
    /// whether that was all.
    fn expire(&mut self, days: u32) -> Result<(u64, bool), StoreError> {
        let calendar = Calendar::new(self.now, days);
        let messages = self.messages()?;
        let (mut expired, pass_began) = (0, Instant::now());
        while let Some(last) = age::last_too_old(&messages, &calendar, EXPIRY_SCAN)? {
            loop {
                if self.stopping || pass_began.elapsed() >= EXPIRY_INTERVAL {
                    return Ok((expired, false));
                }
                let slice = age::first(&messages, &calendar, last, DELETED_SLICE)?;
                if slice.is_empty() {
                    break;
                }
                expired += self.expire_slice(&messages, slice)?;
            }
        }
        Ok((expired, self.expire_items(&messages, &calendar, pass_began)?))
    }

    /// Deletes every item of WhatsApp that is too old, as far as it comes before the next look. Whether that was all.
    fn expire_items(
        &mut self,
        messages: &Connection,
        calendar: &Calendar,
        pass_began: Instant,
    ) -> Result<bool, StoreError> {
        let at = self.now;
        while has_items(messages)? {
            let expired = age::first_items(messages, calendar, DELETED_SLICE)?;
            if expired.is_empty() {
                break;
            }
            if self.stopping || pass_began.elapsed() >= EXPIRY_INTERVAL {
                return Ok(false);
            }
            self.slice(EXPIRY_REST, move |connection| {
                items::overwrite(connection, &expired)?;
                items::delete(connection, &expired, at)
            })?;
        }
        Ok(true)
    }

    fn expire_slice(
        &mut self,
        messages: &Connection,
        expired: Vec<ExpiredMessage>,
    ) -> Result<u64, StoreError> {
        let at = self.now;
        let is_busy = self.parts.metrics.in_flight(Priority::Ingest).load(Relaxed) >= BUSY_WEBHOOKS;
        // Where messages come faster than they go, the file would grow for ever.
        let rest = match self.last_pass {
            LastPass::Never | LastPass::FinishedAt(_) if is_busy => BUSY_EXPIRY_REST,
            _ => EXPIRY_REST,
        };
        let deleted = self.slice(rest, move |connection| delete(connection, &expired, at))?;
        self.parts.metrics.messages_expired.fetch_add(deleted, Relaxed);
        self.wait_for_index(messages)?;
        self.remove_changes()?;
        Ok(deleted)
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

    fn wait_for_index(&self, messages: &Connection) -> Result<(), StoreError> {
        let began = Instant::now();
        while began.elapsed() < EXPIRY_INDEX_PATIENCE
            && let Some(changes_through) = self.changes_known_to_index()
            && changes::are_pending(messages, &Watermarks { changes_through, ..Watermarks::default() })?
        {
            thread::sleep(CHANGES_POLL);
        }
        Ok(())
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
