//! The upkeep of the index does one slice of what is due.
//!
//! A slice is one transaction of the index, taken from one state of the database.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::schedule::{Arrival, Due, LastSlice, ORDER_PAUSE, Part, Situation, SliceRows};
use super::{Watermarks, changes, integrity, order, search};
use crate::limits::ORDER_SLICE;
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::os;
use crate::store::database::kept_memory::{self, KeptMemory};
use crate::store::database::{connections, wal};

/// Page cache of the connection that reads the messages, in KiB: it reads each page once, and next to the last.
const MESSAGES_CACHE_KIB: i64 = 256;
/// So many messages since it was measured last mean that they come fast.
const BUSY_ROWS: i64 = 100;
/// A backlog of so many messages, as an older file brings along, is worth a line in the log.
const LOGGED_BACKLOG: i64 = 100_000;
/// How often the log says how far the work on a backlog has come.
const BACKLOG_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The connections, and how far the index is behind.
pub(super) struct Upkeep {
    messages: Connection,
    index: Connection,
    watermarks: Watermarks,
    /// The first and the last row of the messages.
    rows: Rows,
    /// The last change that is to be taken account of.
    changes: i64,
    /// The last slice of the order.
    order: LastSlice,
    /// The last slice of the search index.
    search: LastSlice,
    arrival: Arrival,
    /// The last row when it was measured how messages come, and when that was.
    measured_row: Option<i64>,
    measured_at: Instant,
    backlog: Option<Backlog>,
    /// What was taken out may still stand in the log.
    wal_holds_deleted: bool,
    memory: KeptMemory,
}

/// So much to do that the log tells of it.
struct Backlog {
    began: Instant,
    reported: Instant,
}

/// What is found when the index is compared with the messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IndexVerdict {
    Right,
    /// It has to be made anew.
    Wrong(&'static str),
    /// Changes are pending: first they have to be taken account of.
    Pending,
}

/// How a slice ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sliced {
    Done,
    /// Changes were removed before this index knew them: it can never be right again.
    MissedChanges,
}

impl Upkeep {
    /// Opens the index of a database, or makes it.
    pub(super) fn open(database: &Path) -> rusqlite::Result<Self> {
        let messages = connections::open_for_reading(database)?;
        let index = super::open(database, &messages)?;
        messages
            .execute_batch(&format!("PRAGMA query_only = ON; PRAGMA cache_size = -{MESSAGES_CACHE_KIB}"))?;
        let (watermarks, (rows, changes)) = (Watermarks::read(&index)?, state(&messages)?);
        let now = Instant::now();
        Ok(Self {
            messages,
            index,
            watermarks,
            rows,
            changes,
            order: LastSlice { ended: now, took: Duration::ZERO },
            search: LastSlice { ended: now, took: Duration::ZERO },
            arrival: Arrival::Slow,
            measured_row: rows.last,
            measured_at: now,
            backlog: None,
            wal_holds_deleted: true,
            memory: KeptMemory::default(),
        })
    }

    /// The index, and the bytes in its log.
    pub(super) fn wal(&self) -> rusqlite::Result<(&Connection, u64)> {
        Ok((&self.index, wal::length(&self.index)?.live))
    }

    pub(super) fn due(&self) -> Option<Due> {
        let situation = Situation {
            changes_are_pending: self.watermarks.changes_through < self.changes,
            unordered: self.unordered(),
            unsearchable: self.unsearchable(),
            arrival: self.arrival,
            has_backlog: self.backlog.is_some(),
            order: self.order,
            search: self.search,
        };
        situation.due(Instant::now())
    }

    pub(super) fn slice(&mut self, part: Part) -> rusqlite::Result<Sliced> {
        let began = Instant::now();
        self.memory = KeptMemory::Held(began);
        // The state of the index first: the database's is then never an older one.
        let transaction = self.index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut watermarks = Watermarks::read(&transaction)?;
        let messages = self.messages.unchecked_transaction()?;
        (self.rows, self.changes) = state(&messages)?;
        if changes::were_missed(&messages, &watermarks)? {
            return Ok(Sliced::MissedChanges);
        }
        let rows = SliceRows::of(self.arrival, self.backlog.is_some());
        // Nothing new may be taken in from a state of which a change is not known yet. And what is
        // read is read before anything is written, because the log cannot restart meanwhile.
        match part {
            _ if watermarks.changes_through < self.changes => {
                self.wal_holds_deleted = true;
                changes::apply(&messages, &transaction, &mut watermarks, ORDER_SLICE)?;
                drop(messages);
            }
            Part::Changes => drop(messages),
            Part::Order => {
                let entries = order::read(&messages, watermarks.ordered_through, rows.order)?;
                drop(messages);
                order::extend(&transaction, &mut watermarks, entries)?;
            }
            Part::Search => {
                let texts = search::read(&messages, watermarks.searchable_through, rows.search)?;
                drop(messages);
                search::extend(&transaction, &mut watermarks, &texts)?;
            }
        }
        transaction.commit()?;
        let slice = LastSlice { ended: Instant::now(), took: began.elapsed() };
        match part {
            Part::Changes => {}
            Part::Order => self.order = slice,
            Part::Search => self.search = slice,
        }
        self.watermarks = watermarks;
        self.measure();
        Ok(Sliced::Done)
    }

    /// To be called when nothing is due: what was taken out is not to stand in the log any longer than a moment. If a
    /// query reads it just now, the next call does it. After a while the memory for the next slice is given back.
    pub(super) fn rest(&mut self) -> rusqlite::Result<()> {
        if self.memory.is_due(Instant::now()) {
            kept_memory::give_back(&self.messages);
            kept_memory::give_back(&self.index);
            os::give_back_free_memory();
        }
        if self.wal_holds_deleted {
            self.wal_holds_deleted = wal::truncate(&self.index, Duration::ZERO)? != wal::Checkpointed::All;
        }
        Ok(())
    }

    /// Compares the index with the messages, as far as that is cheap.
    pub(super) fn verify(&mut self) -> rusqlite::Result<IndexVerdict> {
        // The state of the index first: the database's is then never an older one.
        let index = self.index.unchecked_transaction()?;
        let watermarks = Watermarks::read(&index)?;
        let messages = self.messages.unchecked_transaction()?;
        (self.rows, self.changes) = state(&messages)?;
        if watermarks.changes_through < self.changes {
            return Ok(IndexVerdict::Pending);
        }
        Ok(integrity::fault(&messages, &index, &watermarks)?.map_or(IndexVerdict::Right, IndexVerdict::Wrong))
    }

    /// No watermark means anything any more.
    pub(super) fn is_at_last_row(&self) -> bool {
        self.rows.last == super::LAST_ROW
    }

    /// The last change that is taken account of.
    pub(super) fn changes_through(&self) -> i64 {
        self.watermarks.changes_through
    }

    /// Reads anew what there is to do.
    pub(super) fn refresh(&mut self, asked_recently: bool) -> rusqlite::Result<()> {
        (self.rows, self.changes) = state(&self.messages)?;
        self.measure();
        if self.arrival != Arrival::Slow {
            self.arrival = if asked_recently { Arrival::Fast } else { Arrival::FastAndNobodyAsks };
        }
        Ok(())
    }

    /// Do messages come fast? To look right after another time would tell nothing of the rate.
    fn measure(&mut self) {
        if self.measured_at.elapsed() >= ORDER_PAUSE / 2 {
            let is_fast = self.rows.behind(self.measured_row) >= BUSY_ROWS;
            self.arrival = match self.arrival {
                _ if !is_fast => Arrival::Slow,
                Arrival::Slow => Arrival::Fast,
                fast => fast,
            };
            (self.measured_row, self.measured_at) = (self.rows.last, Instant::now());
        }
    }

    fn unordered(&self) -> i64 {
        self.rows.behind(self.watermarks.ordered_through)
    }

    fn unsearchable(&self) -> i64 {
        self.rows.behind(self.watermarks.searchable_through)
    }

    pub(super) fn show(&self, metrics: &Metrics) {
        metrics.unordered.store(self.unordered().max(0), Relaxed);
        metrics.unsearchable.store(self.unsearchable().max(0), Relaxed);
    }

    /// The index is of no use any more: every message is one that it does not know.
    pub(super) fn show_lost(&self, metrics: &Metrics) {
        let all = self.rows.behind(None);
        metrics.unordered.store(all, Relaxed);
        metrics.unsearchable.store(all, Relaxed);
    }

    pub(super) fn tell(&mut self, log: &Log) {
        let done = self.unordered() <= 0 && self.unsearchable() <= 0;
        if self.backlog.is_none() && self.arrival == Arrival::Slow && self.unsearchable() >= LOGGED_BACKLOG {
            let now = Instant::now();
            self.backlog = Some(Backlog { began: now, reported: now });
            self.report(log);
        }
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

/// Where the messages begin and end; in both cases `None` if there are none.
#[derive(Clone, Copy)]
struct Rows {
    first: Option<i64>,
    last: Option<i64>,
}

impl Rows {
    /// How many rows there can be behind a watermark.
    fn behind(self, watermark: Option<i64>) -> i64 {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return 0;
        };
        let watermark =
            watermark.map_or(first.saturating_sub(1), |watermark| watermark.max(first.saturating_sub(1)));
        last.saturating_sub(watermark).max(0)
    }
}

/// Where the messages begin and end, and the last change.
fn state(messages: &Connection) -> rusqlite::Result<(Rows, i64)> {
    let mut statement = messages.prepare_cached(
        "SELECT (SELECT min(rowid) FROM messages), (SELECT max(rowid) FROM messages), \
            (SELECT ifnull(max(change), 0) FROM messages_changes)",
    )?;
    statement.query_row([], |row| Ok((Rows { first: row.get(0)?, last: row.get(1)? }, row.get(2)?)))
}
