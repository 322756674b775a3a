//! A few read connections, borrowed for one query and given back.
//!
//! A query sees one snapshot, is given up at its deadline, and never waits for the writer (WAL). It
//! is answered with the index, or, where that is not to be had, from the messages alone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::snapshot::{Snapshot, Tails};
use crate::limits::{
    DELETION_LOOK, DELETION_PATIENCE, EXPIRY_SLICE, LOG_HELD_BY_QUERY, PROBE_TIMEOUT, QUERY_DEADLINE,
    QUERY_DEADLINE_CHECK_OPS, QUERY_IS_RECENT, QUERY_WITHOUT_REST, READ_CONNECTIONS,
};
use crate::metrics::Metrics;
use crate::store::database::files::FileId;
use crate::store::database::frozen::Stamp;
use crate::store::database::schema;
use crate::store::error::StoreError;
use crate::store::index::{self, Marks, changes};
use crate::{os, pace};

use crate::store::checkpoint::reader_gate::Gate;

/// At a stop, how long a query that was told to end may take for it: it hears of it after a millisecond of
/// work, but a disk may keep it waiting.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// No generation has this number.
const NONE: u64 = u64::MAX;

/// The read connections of one database.
pub(in crate::store) struct Readers {
    path: PathBuf,
    metrics: Arc<Metrics>,
    started: Instant,
    /// Raised when the path names other files than before: older connections are not used again.
    generation: AtomicU64,
    /// The generation whose index is in order.
    indexed: AtomicU64,
    /// The file that is this index.
    index_file: Mutex<Option<FileId>>,
    /// The last change that it takes account of.
    index_changes: AtomicI64,
    /// Messages are being deleted: the index takes account of it in a moment.
    deleting: AtomicBool,
    /// Has the indexer look what became of its index.
    wake_indexer: OnceLock<Sender<()>>,
    /// What was found wrong with the index, which is not to be used again.
    index_condemned: Mutex<Option<String>>,
    /// Milliseconds after `started` at which the last query came.
    asked: AtomicU64,
    /// The query after which memory was given back.
    rested_after: AtomicU64,
    /// Closed while a log has to start over.
    gate: Arc<Gate>,
    /// The store is stopping: no connection is opened any more, and queries end.
    closing: Arc<AtomicBool>,
    /// As many places as there may be connections.
    idle: Receiver<Place>,
    give_back: Sender<Place>,
    /// Kept apart for readiness probes, which must not queue behind long searches.
    for_probes: Mutex<Place>,
}

/// The connections of one borrower: `None` is one not opened yet, or thrown away.
#[derive(Default)]
struct Place {
    with_index: Option<Reader>,
    without: Option<Reader>,
}

struct Reader {
    connection: Connection,
    generation: u64,
    /// The one state of the file that it can read, where it takes part in no locks.
    frozen: Option<Stamp>,
    tails: Tails,
    times: Arc<Times>,
}

/// Of the running query, in milliseconds after `Readers::started`.
#[derive(Default)]
struct Times {
    began: AtomicU64,
    /// When it is given up.
    deadline: AtomicU64,
}

impl Readers {
    pub(in crate::store) fn new(path: &Path, metrics: Arc<Metrics>) -> Self {
        let (give_back, idle) = bounded(READ_CONNECTIONS);
        for _ in 0..READ_CONNECTIONS {
            // The channel has exactly this many places and both ends are in our hands.
            let _ = give_back.send(Place::default());
        }
        Self {
            path: path.to_owned(),
            metrics,
            started: Instant::now(),
            generation: AtomicU64::new(0),
            indexed: AtomicU64::new(NONE),
            index_file: Mutex::default(),
            index_changes: AtomicI64::new(0),
            deleting: AtomicBool::new(false),
            wake_indexer: OnceLock::new(),
            index_condemned: Mutex::default(),
            asked: AtomicU64::new(0),
            rested_after: AtomicU64::new(0),
            gate: Arc::default(),
            closing: Arc::default(),
            idle,
            give_back,
            for_probes: Mutex::default(),
        }
    }

    /// Runs a query inside one read transaction. It is given up, wherever it is, when the time for
    /// queries has passed since `asked`: waiting for a turn is part of it. It is run once more if
    /// the index fails.
    pub(in crate::store) fn with<T>(
        &self,
        asked: Instant,
        goes_through_texts: bool,
        query: impl Fn(Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.asked.store(self.millis(asked), Relaxed);
        let given_up_at = asked + QUERY_DEADLINE;
        if Instant::now() >= given_up_at {
            return Err(StoreError::TooSlow);
        }
        let place = self.idle.recv_deadline(given_up_at).map_err(|_| StoreError::TooSlow)?;
        let mut place = Borrowed { readers: self, place };
        // Behind the turn: whoever still waits for one keeps no log from starting over.
        let _running = self.gate.pass(given_up_at).ok_or(StoreError::TooSlow)?;
        if self.closing.load(SeqCst) {
            return Err(StoreError::Stopping);
        }
        let Place { with_index, without } = &mut place.place;
        let generation = self.generation();
        if self.uses_index(generation) {
            let indexed = |connection: &Connection, tails: &mut Tails| {
                // The index first: what it covers is in every later state of the messages.
                let marks = Marks::read(connection)?;
                if changes::are_pending(connection, &marks)? {
                    let soon = self.deleting.load(Relaxed)
                        && changes::are_at_most(connection, &marks, 2 * EXPIRY_SLICE)?;
                    return Ok(Err(soon));
                }
                match tails.follow(connection, &marks, goes_through_texts)? {
                    Some(snapshot) => query(snapshot).map(Ok),
                    None => Ok(Err(false)),
                }
            };
            let attach = |reader: &Connection, path: &Path| index::attach(reader, path, self.index_file());
            let patience = given_up_at.min(Instant::now() + DELETION_PATIENCE);
            let mut found = self.run(with_index, attach, given_up_at, indexed);
            while matches!(found, Ok(Err(true))) && Instant::now() < patience {
                thread::sleep(DELETION_LOOK);
                found = self.run(with_index, attach, given_up_at, indexed);
            }
            match found {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(_)) => {}
                Err(error @ (StoreError::TooSlow | StoreError::Locked)) => return Err(error),
                // Whichever of the two files it was, the other connection tells.
                Err(error) if self.uses_index(generation) => match error {
                    StoreError::Corrupt(cause) => self.condemn_index(cause),
                    _ => self.forget_index(),
                },
                // That index is out of use already.
                Err(_) => {}
            }
        }
        self.run(
            without,
            |reader, _| index::attach_none(reader),
            given_up_at,
            |connection, _| query(Snapshot::without_tails(connection, &Marks::read(connection)?)),
        )
    }

    /// Ok if the database answers and has its schema.
    pub(in crate::store) fn answer(&self) -> Result<(), StoreError> {
        let mut place = self.for_probes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closing.load(SeqCst) {
            return Err(StoreError::Stopping);
        }
        self.run(
            &mut place.without,
            |_, _| Ok(()),
            Instant::now() + PROBE_TIMEOUT / 2,
            |connection, _| {
                connection.prepare_cached("SELECT 1 FROM messages LIMIT 1")?.exists([])?;
                Ok(())
            },
        )
    }

    fn run<T>(
        &self,
        place: &mut Option<Reader>,
        attach: impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
        given_up_at: Instant,
        query: impl Fn(&Connection, &mut Tails) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let result = self.run_once(place, &attach, given_up_at, &query);
            // Somebody wrote to the file while it was read alone: it can be read as usual now.
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// `None` if what was read may be of no one state.
    fn run_once<T>(
        &self,
        place: &mut Option<Reader>,
        attach: &impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
        given_up_at: Instant,
        query: &impl Fn(&Connection, &mut Tails) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        // Taken out, so that a panic inside the query throws the connection away.
        let mut reader = match place.take().filter(|reader| self.is_current(reader)) {
            Some(reader) => reader,
            None => match self.open(attach) {
                Ok(reader) => reader,
                Err(error) => return Some(Err(error)),
            },
        };
        reader.times.began.store(self.millis(Instant::now()), Relaxed);
        reader.times.deadline.store(self.millis(given_up_at), Relaxed);
        let Reader { connection, tails, .. } = &mut reader;
        let result = in_one_snapshot(connection, |connection| query(connection, tails));
        // After an error of the machine a fresh connection starts from the file, not from a cache. And a
        // snapshot that could not be ended would keep the log from ever starting over.
        let is_sound = matches!(result, Ok(_) | Err(StoreError::TooSlow | StoreError::Locked))
            && reader.connection.is_autocommit();
        let is_current = self.is_current(&reader);
        if reader.frozen.is_some() && !is_current {
            return (Instant::now() >= given_up_at).then_some(Err(StoreError::TooSlow));
        }
        if is_sound && is_current {
            *place = Some(reader);
        }
        Some(match result {
            Err(StoreError::TooSlow) if self.closing.load(SeqCst) => Err(StoreError::Stopping),
            result => result,
        })
    }

    fn open(
        &self,
        attach: &impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
    ) -> Result<Reader, StoreError> {
        let generation = self.generation();
        let (mut connection, frozen) = schema::open_for_queries(&self.path)?;
        attach(&connection, &self.path)?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        let times = Arc::<Times>::default();
        let (seen, started, metrics) = (Arc::clone(&times), self.started, Arc::clone(&self.metrics));
        let (gate, closing) = (Arc::clone(&self.gate), Arc::clone(&self.closing));
        let at_intervals = move || {
            if closing.load(Relaxed) {
                return true;
            }
            let now = started.elapsed().as_millis() as u64;
            let at_work = Duration::from_millis(now.saturating_sub(seen.began.load(Relaxed)));
            if at_work > QUERY_WITHOUT_REST && !gate.is_closed() {
                pace::make_way(&metrics);
            }
            now > seen.deadline.load(Relaxed) || at_work > LOG_HELD_BY_QUERY && gate.gives_up_long_queries()
        };
        connection.progress_handler(QUERY_DEADLINE_CHECK_OPS, Some(at_intervals))?;
        Ok(Reader { connection, generation, frozen, tails: Tails::default(), times })
    }

    fn is_current(&self, reader: &Reader) -> bool {
        let is_there = |stamp: &Stamp| stamp.is_still_of(&self.path);
        reader.generation == self.generation() && reader.frozen.as_ref().is_none_or(is_there)
    }

    /// What keeps queries back while a log has to start over.
    pub(in crate::store) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Which files the path names: another number, other files.
    pub(in crate::store) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Somebody reads what is stored.
    pub(in crate::store) fn was_asked_recently(&self) -> bool {
        let asked = self.started + Duration::from_millis(self.asked.load(Relaxed));
        asked.elapsed() < QUERY_IS_RECENT
    }

    /// Gives back the memory that connections hold for the next query, once, when nobody asks anything
    /// any more. It is a few milliseconds of reading for who asks next.
    pub(in crate::store) fn rest_if_not_asked(&self) {
        let asked = self.asked.load(Relaxed);
        if self.was_asked_recently() || self.rested_after.swap(asked, Relaxed) == asked {
            return;
        }
        for _ in 0..READ_CONNECTIONS {
            let Ok(mut place) = self.idle.try_recv() else {
                break;
            };
            for reader in [&mut place.with_index, &mut place.without].into_iter().flatten() {
                reader.tails = Tails::default();
                // What fails here is met by the next query, who draws the conclusions.
                let _ = reader.connection.execute_batch("PRAGMA shrink_memory");
            }
            let _ = self.give_back.send(place);
        }
        os::give_back_free_memory();
    }

    /// The index of this generation is in order, and is this file.
    pub(in crate::store) fn use_index(&self, generation: u64, file: Option<FileId>) {
        *self.index_file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        self.indexed.store(generation, SeqCst);
    }

    /// The file that is the index, or was the last to be.
    pub(in crate::store) fn index_file(&self) -> Option<FileId> {
        *self.index_file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the index has taken account of changes.
    pub(in crate::store) fn index_knows_changes(&self, through: i64) {
        self.index_changes.store(through, SeqCst);
    }

    /// The last change that the index takes account of; `None` while there is no index.
    pub(in crate::store) fn changes_known_to_index(&self) -> Option<i64> {
        let through = self.index_changes.load(SeqCst);
        self.uses_index(self.generation()).then_some(through)
    }

    /// Messages are being deleted in small slices, or no longer.
    pub(in crate::store) fn set_deleting(&self, deleting: bool) {
        self.deleting.store(deleting, Relaxed);
    }

    /// True while the index of this generation is in order.
    pub(in crate::store) fn uses_index(&self, generation: u64) -> bool {
        self.generation() == generation && self.indexed.load(SeqCst) == generation
    }

    /// Whom to tell that the index was put out of use. Set once.
    pub(in crate::store) fn set_indexer(&self, wake: Sender<()>) {
        let _ = self.wake_indexer.set(wake);
    }

    /// The index is wrong: it is not to be used any more, and to be made anew.
    pub(in crate::store) fn condemn_index(&self, cause: String) {
        *self.index_condemned.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        self.forget_index();
    }

    /// Why the index has to be made anew, if it has to. Says so once.
    pub(in crate::store) fn take_index_condemned(&self) -> Option<String> {
        self.index_condemned.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The index is not to be used any more.
    pub(in crate::store) fn forget_index(&self) {
        self.indexed.store(NONE, SeqCst);
        self.forget();
        if let Some(wake) = self.wake_indexer.get() {
            // If one is waiting already it stands for both.
            let _ = wake.try_send(());
        }
    }

    /// Closes the connections to the files that the path named until now; one in use is closed by
    /// whoever uses it.
    pub(in crate::store) fn forget(&self) {
        self.generation.fetch_add(1, SeqCst);
        for _ in 0..READ_CONNECTIONS {
            let Ok(place) = self.idle.try_recv() else {
                break;
            };
            drop(place);
            let _ = self.give_back.send(Place::default());
        }
        *self.for_probes.lock().unwrap_or_else(PoisonError::into_inner) = Place::default();
    }

    /// Closes every connection. Queries that are running are given up; those that come are refused.
    pub(in crate::store) fn close(&self) {
        self.closing.store(true, SeqCst);
        let deadline = Instant::now() + CLOSE_PATIENCE;
        // Held until all of them are here, so that none is borrowed again meanwhile.
        let places: Vec<Place> =
            (0..READ_CONNECTIONS).map_while(|_| self.idle.recv_deadline(deadline).ok()).collect();
        for place in places {
            drop(place);
            // Whoever waits for it hears that the store is stopping.
            let _ = self.give_back.send(Place::default());
        }
        *self.for_probes.lock().unwrap_or_else(PoisonError::into_inner) = Place::default();
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}

fn in_one_snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = query(connection);
    let ended = connection.prepare_cached(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?.execute([]);
    let result = result?;
    // A failed query has said more than a failed end of it could.
    ended?;
    Ok(result)
}

/// A place taken out of the channel, which goes back whatever happens.
struct Borrowed<'a> {
    readers: &'a Readers,
    place: Place,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        // There is a place for every reader, so this never waits; both ends live in `Readers`.
        let _ = self.readers.give_back.send(std::mem::take(&mut self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::prepare;
    use rusqlite::StatementStatus;

    #[test]
    fn a_kept_statement_is_compiled_once_whatever_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        prepare::prepare(&path).unwrap();
        let connection = schema::open_for_reading(&path).unwrap();
        for limit in [1, 50, 100] {
            let mut statement =
                connection.prepare_cached("SELECT rowid FROM messages ORDER BY rowid LIMIT ?1").unwrap();
            assert!(!statement.exists([limit]).unwrap());
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{limit}");
        }
    }

    #[test]
    fn who_gives_memory_back_gives_every_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        prepare::prepare(&path).unwrap();
        let mut readers = Readers::new(&path, Arc::default());
        readers.started -= QUERY_IS_RECENT;
        readers.with(Instant::now(), false, |_| Ok(())).unwrap();
        readers.started -= QUERY_IS_RECENT;
        readers.rest_if_not_asked();
        assert_eq!(readers.rested_after.load(Relaxed), readers.asked.load(Relaxed));
        assert_eq!(readers.idle.try_iter().count(), READ_CONNECTIONS, "all are there");
    }

    #[test]
    fn a_store_that_stops_gives_running_queries_up_and_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(prepare::prepare(&path).unwrap());
        let readers = Arc::new(Readers::new(&path, Arc::default()));
        let asked_for_a_minute = Instant::now() + 6 * QUERY_DEADLINE;
        let (begins, has_begun) = bounded(READ_CONNECTIONS);
        let query = |readers: Arc<Readers>, begins: Sender<()>| {
            thread::spawn(move || {
                readers.with(asked_for_a_minute, false, |Snapshot { connection, .. }| {
                    begins.send(()).unwrap();
                    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                                   SELECT max(i) FROM n";
                    Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
                })
            })
        };
        let running: Vec<_> =
            (0..READ_CONNECTIONS).map(|_| query(Arc::clone(&readers), begins.clone())).collect();
        running.iter().for_each(|_| has_begun.recv().unwrap());
        let waiting = query(Arc::clone(&readers), begins);
        readers.answer().unwrap();
        readers.close();
        for query in running.into_iter().chain([waiting]) {
            assert_eq!(query.join().unwrap(), Err(StoreError::Stopping));
        }
        assert!(has_begun.try_recv().is_err(), "the one that waited has not begun");
        assert_eq!(readers.with(Instant::now(), false, |_| Ok(())), Err(StoreError::Stopping));
        assert_eq!(readers.answer(), Err(StoreError::Stopping));
        // Theirs was the last connection, so there is no log any more.
        assert!(!crate::store::database::files::wal_path(&path).exists());
    }

    #[test]
    fn a_running_query_is_given_up_when_the_log_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        prepare::prepare(&path).unwrap();
        let readers = Arc::new(Readers::new(&path, Arc::default()));
        let long_before_its_deadline = Instant::now() + 6 * QUERY_DEADLINE;
        let (begins, has_begun) = bounded(1);
        let asking = Arc::clone(&readers);
        let query = thread::spawn(move || {
            asking.with(long_before_its_deadline, false, |Snapshot { connection, .. }| {
                let _ = begins.try_send(());
                let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                               SELECT max(i) FROM n";
                Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            })
        });
        has_begun.recv().unwrap();
        let mut closed = readers.gate().close();
        assert!(!closed.is_quiet(), "one is running");
        closed.give_up_long_queries();
        assert!(closed.wait_until_quiet(long_before_its_deadline));
        assert!(matches!(query.join().unwrap(), Err(StoreError::TooSlow)));
        drop(closed);
        let another = readers.with(Instant::now(), false, |Snapshot { connection, .. }| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert!(matches!(another, Ok(1)));
    }
}
