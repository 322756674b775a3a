//! A keeper holds a write-ahead log within its bounds: it is moved into the database file, then restarts.
//!
//! - A [`Keeper`] does what the [`Pressure`] of its log asks for, between two transactions of whoever commits
//!   to it: the writer for the database, the indexer for the index.
//! - Queries that keep it from restarting wait, or are given up ([`super::reader_gate`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::pressure::{Action, CheckpointOutcome, Pressure};
use super::reader_gate::{ClosedGate, ReaderGate};
use crate::limits::LOG_HELD_BY_QUERY;
use crate::log::{Level, Line, Log};
use crate::store::database::wal::{self, Checkpointed};
use crate::store::database::wal_bounds::WalBounds;

/// How long a transaction waits for the log to be moved, and then for queries to end. They are given up when
/// they are at work for [`LOG_HELD_BY_QUERY`], and notice it a moment later.
const QUIET_PATIENCE: Duration = Duration::from_millis(LOG_HELD_BY_QUERY.as_millis() as u64 + 200);
/// How long the log may take to restart when no query is running: other processes commit as well, and our
/// own threads read for some milliseconds. Who is in the way for longer reads in another process.
const RESTART_PATIENCE: Duration = Duration::from_millis(200);
/// How often it is tried meanwhile.
const RESTART_POLL: Duration = Duration::from_millis(2);

/// Keeps one log within its bounds.
pub struct Keeper {
    pressure: Pressure,
    gate: Arc<ReaderGate>,
    /// New queries wait. Whoever loses the keeper lets them go on.
    closed: Option<ClosedGate>,
    report: Arc<Report>,
}

/// Says once that somebody else holds a log, and once that it has restarted.
pub struct Report {
    /// What the log belongs to.
    of: &'static str,
    is_held: AtomicBool,
    log: Log,
}

impl Report {
    pub fn new(of: &'static str, log: Log) -> Arc<Self> {
        Arc::new(Self { of, is_held: AtomicBool::new(false), log })
    }

    fn held(&self, live: u64) {
        if !self.is_held.swap(true, Relaxed) {
            let line = Line::event(Level::Warning, "log_held").text("of", self.of).number("bytes", live);
            let detail = "another process reads it, so that its write-ahead log grows until that ends";
            self.log.write(&line.text("detail", detail));
        }
    }

    fn restarted(&self) {
        if self.is_held.swap(false, Relaxed) {
            self.log.write(&Line::event(Level::Info, "log_released").text("of", self.of));
        }
    }
}

/// What is left to be done, or known, after a look at a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    /// It is worth moving in the background.
    PassiveIsDue,
    /// The next transaction begins at its start.
    Restarted,
}

impl Keeper {
    pub fn new(bounds: &'static WalBounds, gate: &Arc<ReaderGate>, report: Arc<Report>) -> Self {
        Self { pressure: Pressure::new(bounds), gate: Arc::clone(gate), closed: None, report }
    }

    /// True while queries wait until others have ended: the next look must not wait for a transaction.
    pub fn holds_queries(&self) -> bool {
        self.closed.is_some()
    }

    /// Somebody else keeps the log for now.
    pub fn rest(&mut self) {
        self.closed = None;
        self.pressure.observe(0);
    }

    /// To be called between two transactions, with the bytes in the log. Waits where these are too many.
    pub fn keep(&mut self, connection: &Connection, live: u64) -> rusqlite::Result<Kept> {
        self.observe(live);
        // Whatever comes of it, and whatever fails, queries go on behind it, unless they are waited for.
        let closed = self.closed.take();
        let outcome = match self.pressure.action(Instant::now()) {
            Action::Nothing => return Ok(Kept::Nothing),
            Action::PassiveInBackground => {
                self.pressure.passive_has_begun();
                return Ok(Kept::PassiveIsDue);
            }
            Action::Passive => {
                wal::passive(connection)?;
                CheckpointOutcome::Tried
            }
            Action::HoldQueries => {
                let closed = closed.unwrap_or_else(|| self.gate.close());
                if !closed.is_quiet() {
                    self.closed = Some(closed);
                    return Ok(Kept::Nothing);
                }
                match wal::restart(connection)? {
                    Checkpointed::All => CheckpointOutcome::Restarted,
                    _ => CheckpointOutcome::Tried,
                }
            }
            Action::GiveUpQueries => self.force_restart(connection, closed)?,
        };
        self.ended(outcome);
        Ok(if outcome == CheckpointOutcome::Restarted { Kept::Restarted } else { Kept::Nothing })
    }

    /// Does what it takes, and waits for it.
    fn force_restart(
        &self,
        connection: &Connection,
        closed: Option<ClosedGate>,
    ) -> rusqlite::Result<CheckpointOutcome> {
        // Most of it is moved while queries go on.
        let deadline = Instant::now() + QUIET_PATIENCE;
        while wal::passive(connection)? == Checkpointed::Elsewhere {
            if Instant::now() >= deadline {
                return Ok(CheckpointOutcome::Tried);
            }
            thread::sleep(RESTART_POLL);
        }
        let mut closed = closed.unwrap_or_else(|| self.gate.close());
        closed.give_up_long_queries();
        let is_quiet = closed.wait_until_quiet(Instant::now() + QUIET_PATIENCE);
        restart(connection, is_quiet)
    }

    /// True if the log has room for a transaction of somebody who has time. Otherwise it was tried for a
    /// moment to make some, in which queries had to wait; no query is given up for it.
    pub fn try_to_make_room(&mut self, connection: &Connection, live: u64) -> rusqlite::Result<bool> {
        self.observe(live);
        if self.pressure.action(Instant::now()) != Action::GiveUpQueries {
            return Ok(true);
        }
        let closed = self.gate.close();
        let outcome = match closed.wait_until_quiet(Instant::now() + QUIET_PATIENCE) {
            true => restart(connection, true)?,
            false => CheckpointOutcome::Tried,
        };
        self.ended(outcome);
        Ok(outcome != CheckpointOutcome::Tried)
    }

    fn observe(&mut self, live: u64) {
        if self.pressure.observe(live) {
            self.report.restarted();
        }
    }

    fn ended(&mut self, outcome: CheckpointOutcome) {
        match outcome {
            CheckpointOutcome::Restarted => self.report.restarted(),
            CheckpointOutcome::Held => self.report.held(self.pressure.live),
            CheckpointOutcome::Tried => {}
        }
        self.pressure.ended(outcome, Instant::now());
    }
}

/// Tries for a while. When no query of ours is running, it is somebody else who is in the way.
fn restart(connection: &Connection, is_quiet: bool) -> rusqlite::Result<CheckpointOutcome> {
    let deadline = Instant::now() + RESTART_PATIENCE;
    loop {
        match wal::restart(connection)? {
            Checkpointed::All => return Ok(CheckpointOutcome::Restarted),
            Checkpointed::Part if is_quiet && Instant::now() >= deadline => {
                return Ok(CheckpointOutcome::Held);
            }
            _ if Instant::now() >= deadline => return Ok(CheckpointOutcome::Tried),
            _ => thread::sleep(RESTART_POLL),
        }
    }
}
