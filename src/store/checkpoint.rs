//! Checkpoints keep a write-ahead log within its bounds: it is moved into the database file, and starts over.
//!
//! - A [`Keeper`] does what the [`Pressure`] of its log asks for, between two transactions of whoever commits
//!   to it: the writer for the database, the indexer for the index.
//! - The [`Mover`] is a thread that moves most of the database's log while commits go on. It also looks
//!   whether other processes commit, or ask for a moment without queries.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::pressure::{Action, DATABASE, Outcome, Pressure};
use super::readers::{Closed, Gate, Readers};
use super::wal::{self, Folded};
use super::{files, lock, schema};
use crate::limits::LOG_HELD_BY_QUERY;
use crate::log::{Level, Line, Log};
use crate::os;

/// How long a transaction waits for the log to be moved, and then for queries to end. They are given up when
/// they are at work for [`LOG_HELD_BY_QUERY`], and notice it a moment later.
const QUIET_PATIENCE: Duration = Duration::from_millis(LOG_HELD_BY_QUERY.as_millis() as u64 + 200);
/// How long the log may take to start over when no query is running: other processes commit as well, and our
/// own threads read for some milliseconds. Who is in the way for longer reads in another process.
const RESTART_PATIENCE: Duration = Duration::from_millis(200);
/// How often it is tried meanwhile.
const RESTART_LOOK: Duration = Duration::from_millis(2);
/// How often it is looked whether another process commits, or asks for something.
const OTHERS_LOOK: Duration = Duration::from_millis(50);
/// A moment without queries is no longer than this, even if whoever asked for it was stopped meanwhile.
const LONGEST_MOMENT: Duration = Duration::from_secs(3);
/// And queries have so long until the next.
const BETWEEN_MOMENTS: Duration = Duration::from_secs(1);

/// Keeps one log within its bounds.
pub(super) struct Keeper {
    /// What the log belongs to, for the line that says that it is held.
    name: &'static str,
    pressure: Pressure,
    gate: Arc<Gate>,
    /// New queries wait. Whoever loses the keeper lets them go on.
    closed: Option<Closed>,
    /// The log was said to be held.
    is_held: bool,
    log: Log,
}

/// What is left to be done, or known, after a look at a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    /// It is worth moving in the background.
    ToBeMoved,
    /// The next transaction begins at its start.
    StartsOver,
}

impl Keeper {
    pub(super) fn new(name: &'static str, pressure: Pressure, gate: &Arc<Gate>, log: Log) -> Self {
        Self { name, pressure, gate: Arc::clone(gate), closed: None, is_held: false, log }
    }

    /// True while queries wait until others have ended: the next look must not wait for a transaction.
    pub(super) fn holds_queries(&self) -> bool {
        self.closed.is_some()
    }

    /// To be called between two transactions, with the bytes in the log. Waits where these are too many.
    pub(super) fn keep(&mut self, connection: &Connection, live: u64) -> rusqlite::Result<Kept> {
        if self.pressure.observe(live) {
            self.started_over();
        }
        let kept = self.act(connection, live);
        // What fails is no reason to keep queries back.
        if kept.is_err() {
            self.closed = None;
        }
        kept
    }

    fn act(&mut self, connection: &Connection, live: u64) -> rusqlite::Result<Kept> {
        let outcome = match self.pressure.action(Instant::now()) {
            Action::Nothing => {
                self.closed = None;
                return Ok(Kept::Nothing);
            }
            Action::Move => {
                self.closed = None;
                self.pressure.is_being_moved();
                return Ok(Kept::ToBeMoved);
            }
            Action::Fold => {
                wal::passive(connection)?;
                Outcome::Tried
            }
            Action::HoldQueries => {
                let closed = self.closed.get_or_insert_with(|| self.gate.close());
                if !closed.is_quiet() {
                    return Ok(Kept::Nothing);
                }
                if wal::restart(connection)? == Folded::All { Outcome::StartsOver } else { Outcome::Tried }
            }
            Action::GiveUpQueries => self.start_over(connection)?,
        };
        self.closed = None;
        self.pressure.ended(outcome, Instant::now());
        match outcome {
            Outcome::StartsOver => {
                self.started_over();
                return Ok(Kept::StartsOver);
            }
            Outcome::Held => self.tell_held(live),
            Outcome::Tried => {}
        }
        Ok(Kept::Nothing)
    }

    /// Does what it takes, and waits for it.
    fn start_over(&mut self, connection: &Connection) -> rusqlite::Result<Outcome> {
        // Most of it is moved while queries go on.
        let deadline = Instant::now() + QUIET_PATIENCE;
        while wal::passive(connection)? == Folded::Elsewhere {
            if Instant::now() >= deadline {
                return Ok(Outcome::Tried);
            }
            thread::sleep(RESTART_LOOK);
        }
        let closed = self.closed.get_or_insert_with(|| self.gate.close());
        closed.give_up_long_queries();
        let is_quiet = closed.wait_until_quiet(Instant::now() + QUIET_PATIENCE);
        restart(connection, is_quiet)
    }

    /// True if the log has room for a transaction of somebody who has time. Otherwise it was tried for a
    /// moment to make some, in which queries had to wait; no query is given up for it.
    pub(super) fn has_room(&mut self, connection: &Connection, live: u64) -> rusqlite::Result<bool> {
        if self.pressure.observe(live) {
            self.started_over();
        }
        if self.pressure.action(Instant::now()) != Action::GiveUpQueries {
            return Ok(true);
        }
        let closed = self.gate.close();
        let outcome = match closed.wait_until_quiet(Instant::now() + QUIET_PATIENCE) {
            true => restart(connection, true)?,
            false => Outcome::Tried,
        };
        drop(closed);
        self.pressure.ended(outcome, Instant::now());
        match outcome {
            Outcome::Tried => return Ok(false),
            Outcome::Held => self.tell_held(live),
            Outcome::StartsOver => self.started_over(),
        }
        Ok(true)
    }

    fn started_over(&mut self) {
        if std::mem::replace(&mut self.is_held, false) {
            self.log.write(&Line::event(Level::Info, "log_released").text("of", self.name));
        }
    }

    fn tell_held(&mut self, live: u64) {
        if !std::mem::replace(&mut self.is_held, true) {
            let line = Line::event(Level::Warning, "log_held").text("of", self.name).number("bytes", live);
            let detail = "another process reads it, so that its write-ahead log grows until that ends";
            self.log.write(&line.text("detail", detail));
        }
    }
}

/// Tries for a while. When no query of ours is running, it is somebody else who is in the way.
fn restart(connection: &Connection, is_quiet: bool) -> rusqlite::Result<Outcome> {
    let deadline = Instant::now() + RESTART_PATIENCE;
    loop {
        match wal::restart(connection)? {
            Folded::All => return Ok(Outcome::StartsOver),
            Folded::Part if is_quiet && Instant::now() >= deadline => return Ok(Outcome::Held),
            _ if Instant::now() >= deadline => return Ok(Outcome::Tried),
            _ => thread::sleep(RESTART_LOOK),
        }
    }
}

/// What the writer knows of the log of its connection.
pub(super) struct LogWatch {
    known: Arc<AtomicU64>,
    keeper: Keeper,
}

impl LogWatch {
    /// Of a connection that commits, and has just moved all of its log.
    pub(super) fn new(
        connection: &mut Connection,
        readers: &Readers,
        mover: &Mover,
        log: Log,
    ) -> rusqlite::Result<Self> {
        let frame = wal::frame_bytes(connection)?;
        let (known, seen) = (Arc::clone(&mover.known), Arc::clone(&mover.known));
        known.store(0, Relaxed);
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            seen.store(u64::try_from(frames).unwrap_or(0) * frame, Relaxed);
            Ok(())
        }))?;
        Ok(Self { known, keeper: Keeper::new("database", Pressure::new(&DATABASE), readers.gate(), log) })
    }

    pub(super) fn holds_queries(&self) -> bool {
        self.keeper.holds_queries()
    }

    /// To be called between two commits. Waits where the log is at its bound.
    pub(super) fn checkpoint_if_due(
        &mut self,
        connection: &Connection,
        mover: &Mover,
    ) -> rusqlite::Result<()> {
        match self.keeper.keep(connection, self.known.load(Relaxed))? {
            Kept::Nothing => {}
            Kept::ToBeMoved => mover.wake(),
            Kept::StartsOver => self.known.store(0, Relaxed),
        }
        Ok(())
    }
}

/// Moves what the database's log holds now. When it has been dropped its connection is closed.
pub(super) struct Mover {
    /// Bytes in the log after the writer's last commit.
    known: Arc<AtomicU64>,
    /// `None` once it is to end.
    wake: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Mover {
    pub(super) fn start(database: &Path, readers: Arc<Readers>, log: Log) -> io::Result<Self> {
        let (wake, woken) = bounded(1);
        let known = Arc::<AtomicU64>::default();
        let mut work = Work {
            database: database.to_owned(),
            known: Arc::clone(&known),
            keeper: Keeper::new("database", Pressure::new(&DATABASE), readers.gate(), log),
            moment: Moment::default(),
            readers,
            open: None,
        };
        let thread = thread::Builder::new().name("checkpointer".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            // A panic costs the connection; the writer moves everything by itself meanwhile.
            while catch_unwind(AssertUnwindSafe(|| work.serve(&woken))).is_err() {
                work.open = None;
            }
        })?;
        Ok(Self { known, wake: Some(wake), thread: Some(thread) })
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If one is waiting already it stands for both.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has ended nothing but its connection.
            let _ = thread.join();
        }
    }
}

struct Work {
    database: PathBuf,
    known: Arc<AtomicU64>,
    /// For commits of others.
    keeper: Keeper,
    moment: Moment,
    readers: Arc<Readers>,
    /// Which files it belongs to (`Readers::generation`), and the connection.
    open: Option<(u64, Connection)>,
}

impl Work {
    fn serve(&mut self, woken: &Receiver<()>) {
        loop {
            let is_woken = match woken.recv_timeout(OTHERS_LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.moment.look(lock::is_asked(&self.database), self.readers.gate(), Instant::now());
            let wal = std::fs::metadata(files::wal_path(&self.database)).map_or(0, |file| file.len());
            // What fails here is met by the writer, who draws the conclusions.
            if (is_woken || wal >= DATABASE.folded) && self.look(is_woken).is_err() {
                self.open = None;
            }
        }
    }

    fn look(&mut self, is_woken: bool) -> rusqlite::Result<()> {
        let generation = self.readers.generation();
        self.open = self.open.take().filter(|(of, _)| *of == generation);
        let (_, connection) = match &mut self.open {
            Some(open) => open,
            closed => closed.insert((generation, schema::open_for_reading(&self.database)?)),
        };
        if is_woken {
            wal::passive(connection)?;
            return Ok(());
        }
        let length = wal::length(connection)?;
        // What the writer knows is the writer's, and of what is moved there is nothing left to be done.
        if length.live == self.known.load(Relaxed) || length.moved == length.live {
            self.keeper.keep(connection, 0)?;
        } else if self.keeper.keep(connection, length.live)? == Kept::ToBeMoved {
            wal::passive(connection)?;
        }
        Ok(())
    }
}

/// A moment without queries, for another process that asks for it.
#[derive(Default)]
struct Moment {
    asked_since: Option<Instant>,
    closed: Option<Closed>,
}

impl Moment {
    fn look(&mut self, is_asked: bool, gate: &Arc<Gate>, now: Instant) {
        self.asked_since = is_asked.then(|| self.asked_since.unwrap_or(now));
        let is_given = self.asked_since.is_some_and(|since| Self::is_given(now - since));
        match &self.closed {
            None if is_given => {
                let mut closed = gate.close();
                closed.give_up_long_queries();
                self.closed = Some(closed);
            }
            Some(_) if !is_given => self.closed = None,
            _ => {}
        }
    }

    /// Whether queries wait when it has been asked for so long.
    fn is_given(asked_for: Duration) -> bool {
        asked_for.as_millis() % (LONGEST_MOMENT + BETWEEN_MOMENTS).as_millis() < LONGEST_MOMENT.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A writer's watch over a database, and what it is told of the length of the log.
    struct Watched {
        readers: Arc<Readers>,
        connection: Connection,
        mover: Mover,
        watch: Option<LogWatch>,
        _folder: tempfile::TempDir,
    }

    impl Watched {
        fn new() -> RefCell<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            drop(schema::prepare(&path).unwrap());
            let readers = Arc::new(Readers::new(&path, Arc::default()));
            let log = Log::start(Level::Error).unwrap();
            let mut connection = schema::open_for_writing(&path).unwrap();
            let mover = Mover::start(&path, Arc::clone(&readers), log.clone()).unwrap();
            let watch = Some(LogWatch::new(&mut connection, &readers, &mover, log).unwrap());
            RefCell::new(Self { readers, connection, mover, watch, _folder: folder })
        }

        /// True if queries are held up at this length.
        fn look(&mut self, bytes: u64) -> bool {
            let watch = self.watch.as_mut().unwrap();
            watch.known.store(bytes, Relaxed);
            watch.checkpoint_if_due(&self.connection, &self.mover).unwrap();
            watch.holds_queries()
        }
    }

    fn is_answered(readers: &Readers) -> bool {
        let long_ago = Instant::now() - crate::limits::QUERY_DEADLINE + Duration::from_millis(100);
        readers.with(long_ago, false, |_| Ok(())).is_ok()
    }

    #[test]
    fn queries_are_held_up_no_longer_than_the_log_is_long() {
        let watched = Watched::new();
        let readers = Arc::clone(&watched.borrow().readers);
        let query = |bytes| readers.with(Instant::now(), false, |_| Ok(watched.borrow_mut().look(bytes))).unwrap();
        assert!(!query(DATABASE.folded - 1));
        assert!(query(DATABASE.held), "one is running");
        assert!(!watched.borrow_mut().look(1), "the log has started over by itself");
        assert!(query(DATABASE.held));
        assert!(!is_answered(&readers));
        assert!(!watched.borrow_mut().look(DATABASE.held), "it has ended, and was waited for");
        assert!(is_answered(&readers));
    }

    #[test]
    fn a_lost_connection_lets_queries_go_on() {
        let watched = Watched::new();
        let readers = Arc::clone(&watched.borrow().readers);
        let held = readers.with(Instant::now(), false, |_| Ok(watched.borrow_mut().look(DATABASE.held)));
        assert!(held.unwrap() && !is_answered(&readers));
        watched.borrow_mut().watch = None;
        assert!(is_answered(&readers));
    }

    #[test]
    fn a_moment_is_given_as_long_as_it_is_asked_for_and_not_for_ever() {
        let gate = Arc::<Gate>::default();
        let (mut moment, began) = (Moment::default(), Instant::now());
        for (milliseconds, is_asked, is_closed) in [
            (0, false, false),
            (50, true, true),
            (2000, true, true),
            (2050, false, false),
            // Asked for by one that was stopped in the middle of it.
            (2100, true, true),
            (5000, true, true),
            (5150, true, false),
            (6050, true, false),
            (6150, true, true),
            (6200, false, false),
        ] {
            moment.look(is_asked, &gate, began + Duration::from_millis(milliseconds));
            assert_eq!(moment.closed.is_some(), is_closed, "after {milliseconds} ms");
        }
    }
}
