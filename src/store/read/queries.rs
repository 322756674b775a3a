//! A query is answered with the index or, where that is not to be had, from the messages alone.
//!
//! It sees one snapshot, is given up at its deadline, and never waits for the writer (WAL).

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Snapshot;
use super::epoch::{Epochs, PublishedIndex};
use super::freshness::{Freshness, NextMove};
use super::interrupt::Interrupt;
use super::pool::{Pool, Pools, Slot};
use super::pooled_connection::{Connector, PooledConnection};
use super::query_activity::QueryActivity;
use crate::limits::{CHANGES_POLL, PROBE_TIMEOUT, QUERY_DEADLINE};
use crate::metrics::Metrics;
use crate::os;
use crate::store::checkpoint::reader_gate::ReaderGate;
use crate::store::error::StoreError;
use crate::store::index::{self, Watermarks};

/// At a stop, how long a query that was told to end may take for it: it hears of it after a millisecond of
/// work, but a disk may keep it waiting.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The queries of one database.
pub struct Queries {
    connector: Connector,
    pools: Arc<Pools>,
    activity: QueryActivity,
}

impl Queries {
    pub fn new(path: &Path, metrics: Arc<Metrics>) -> Self {
        let started = Instant::now();
        let interrupt = Interrupt { gate: Arc::default(), closing: Arc::default(), metrics, started };
        let pools = Arc::new(Pools::new());
        let epochs = Arc::new(Epochs::new(Arc::clone(&pools)));
        let connector = Connector { path: path.to_owned(), epochs, interrupt };
        Self { connector, pools, activity: QueryActivity::new(started) }
    }

    /// Runs a query inside one read transaction. It is given up, wherever it is, when the time for
    /// queries has passed since `asked`: waiting for a turn is part of it. It is run once more if
    /// the index fails.
    pub fn with<T>(
        &self,
        asked: Instant,
        query: impl Fn(Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.in_turn(&self.pools.queries, asked, |slot, deadline| {
            let epoch = self.epochs().current();
            if let Some(index) = epoch.index {
                let mut answer = self.with_index(&mut slot.with_index, index, deadline, &query);
                if let Err(StoreError::Corrupt(_)) = answer {
                    // By a connection that remembers nothing: that one is closed.
                    answer = self.with_index(&mut slot.with_index, index, deadline, &query);
                }
                match answer {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => {}
                    Err(error @ (StoreError::TooSlow | StoreError::TooDeep | StoreError::Locked)) => {
                        return Err(error);
                    }
                    // That index is out of use already.
                    Err(_) if !self.epochs().has_index(epoch.generation) => {}
                    Err(StoreError::Corrupt(cause)) => self.epochs().condemn_index(cause),
                    // Whichever of the two files it was, the other connection tells.
                    Err(_) => self.epochs().end(),
                }
            }
            // Nothing tells it of changes, so it remembers nothing.
            self.ask_messages(slot, deadline, |PooledConnection { connection, .. }| {
                let memory = &RefCell::default();
                query(Snapshot { connection, watermarks: &Watermarks::read(connection)?, memory })
            })
        })
    }

    /// The same for the feed, which asks for no index and waits for no search.
    pub fn for_feed<T>(
        &self,
        asked: Instant,
        query: impl Fn(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.in_turn(&self.pools.feed, asked, |slot, deadline| {
            self.ask_messages(slot, deadline, |pooled| query(&pooled.connection))
        })
    }

    fn in_turn<T>(
        &self,
        pool: &Pool,
        asked: Instant,
        work: impl FnOnce(&mut Slot, Instant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.activity.query_came(asked);
        let deadline = asked + QUERY_DEADLINE;
        if Instant::now() >= deadline {
            return Err(StoreError::TooSlow);
        }
        let mut slot = pool.borrow(deadline).ok_or(StoreError::TooSlow)?;
        // Behind the turn: whoever still waits for one keeps no log from restarting.
        let _running = self.gate().pass(deadline).ok_or(StoreError::TooSlow)?;
        if self.connector.is_closing() {
            return Err(StoreError::Stopping);
        }
        work(&mut slot, deadline)
    }

    fn ask_messages<T>(
        &self,
        slot: &mut Slot,
        deadline: Instant,
        query: impl Fn(&PooledConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let attach = |connection: &Connection, _: &Path| index::attach_none(connection);
        self.connector.run(&mut slot.without_index, attach, deadline, query)
    }

    /// `None` if the index cannot tell.
    fn with_index<T>(
        &self,
        slot: &mut Option<PooledConnection>,
        index: PublishedIndex,
        deadline: Instant,
        query: &impl Fn(Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let began = Instant::now();
        let indexed = |PooledConnection { connection, memory, .. }: &PooledConnection| {
            // The index first: what it covers is in every later state of the messages.
            let watermarks = Watermarks::read(connection)?;
            match Freshness::of(connection, &watermarks)?.next_move(began.elapsed()) {
                NextMove::Ask => {
                    memory.borrow_mut().begin(connection, &watermarks, index.compared)?;
                    query(Snapshot { connection, watermarks: &watermarks, memory }).map(Ok)
                }
                instead => Ok(Err(instead)),
            }
        };
        let attach = |connection: &Connection, path: &Path| index::attach(connection, path, index.file);
        loop {
            match self.connector.run(slot, attach, deadline, indexed)? {
                Ok(answer) => return Ok(Some(answer)),
                Err(instead) => {
                    self.epochs().wake_indexer();
                    if instead == NextMove::GoWithout {
                        return Ok(None);
                    }
                    thread::sleep(CHANGES_POLL);
                }
            }
        }
    }

    /// Ok if the database answers and has its schema.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.at_once(&self.pools.probes, |connection| {
            connection.prepare_cached("SELECT 1 FROM messages LIMIT 1")?.exists([])?;
            Ok(())
        })
    }

    /// Runs a query for a scrape, which takes next to no time and which nobody else waits for.
    pub fn for_scrape<T>(
        &self,
        query: impl Fn(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.at_once(&self.pools.scrapes, query)
    }

    /// Runs what is over in a moment, or given up.
    fn at_once<T>(
        &self,
        pool: &Pool,
        query: impl Fn(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + PROBE_TIMEOUT / 2;
        let mut slot = pool.borrow(deadline).ok_or(StoreError::TooSlow)?;
        if self.connector.is_closing() {
            return Err(StoreError::Stopping);
        }
        self.connector.run(
            &mut slot.without_index,
            |_, _| Ok(()),
            deadline,
            |pooled| query(&pooled.connection),
        )
    }

    /// What keeps queries back while a log has to restart.
    pub fn gate(&self) -> &Arc<ReaderGate> {
        &self.connector.interrupt.gate
    }

    /// Which files the path names, and which index is in order.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.connector.epochs
    }

    pub fn activity(&self) -> &QueryActivity {
        &self.activity
    }

    /// Gives back the memory that connections hold for the next query, once, when nobody asks anything
    /// any more.
    pub fn rest_if_not_asked(&self) {
        if self.activity.takes_memory_back(Instant::now()) {
            self.pools.shrink();
            os::give_back_free_memory();
        }
    }

    /// Closes every connection. Queries that are running are given up; those that come are refused.
    pub fn close(&self) {
        self.connector.interrupt.closing.store(true, SeqCst);
        self.pools.close(Instant::now() + CLOSE_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use crossbeam_channel::{Sender, bounded};

    use super::*;
    use crate::limits::READ_CONNECTIONS;
    use crate::store::database::prepare;
    use crate::store::read::epoch::Epoch;

    #[test]
    fn a_store_that_stops_gives_running_queries_up_and_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(prepare::prepare(&path).unwrap());
        let queries = Arc::new(Queries::new(&path, Arc::default()));
        let asked_for_a_minute = Instant::now() + 6 * QUERY_DEADLINE;
        let (begins, has_begun) = bounded(READ_CONNECTIONS);
        let query = |queries: Arc<Queries>, begins: Sender<()>| {
            thread::spawn(move || {
                queries.with(asked_for_a_minute, |Snapshot { connection, .. }| {
                    begins.send(()).unwrap();
                    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                                   SELECT max(i) FROM n";
                    Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
                })
            })
        };
        let running: Vec<_> =
            (0..READ_CONNECTIONS).map(|_| query(Arc::clone(&queries), begins.clone())).collect();
        running.iter().for_each(|_| has_begun.recv().unwrap());
        let waiting = query(Arc::clone(&queries), begins);
        queries.ping().unwrap();
        queries.close();
        for query in running.into_iter().chain([waiting]) {
            assert_eq!(query.join().unwrap(), Err(StoreError::Stopping));
        }
        assert!(has_begun.try_recv().is_err(), "the one that waited has not begun");
        assert_eq!(queries.with(Instant::now(), |_| Ok(())), Err(StoreError::Stopping));
        assert_eq!(queries.ping(), Err(StoreError::Stopping));
        // Theirs was the last connection, so there is no log any more.
        assert!(!crate::store::database::files::wal_path(&path).exists());
    }

    #[test]
    fn an_index_is_held_to_be_wrong_when_a_connection_that_remembers_nothing_finds_it_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let (messages, _lock) = prepare::prepare(&path).unwrap();
        let _index = index::open(&path, &messages).unwrap();
        let queries = Queries::new(&path, Arc::default());
        let published = PublishedIndex { file: index::file_of(&path), changes_through: 0, compared: 1 };
        queries.epochs().publish(Epoch { generation: 0, index: Some(published) });
        messages.execute_batch("INSERT INTO messages VALUES ('m1', '+1', '+2', '2025', NULL, '')").unwrap();
        let remembered = |snapshot: Snapshot<'_>| snapshot.memory.borrow().tail.entries().count();
        let ask = |faults: usize| {
            let asked = Cell::new(0);
            queries.with(Instant::now(), |snapshot| {
                asked.set(asked.get() + 1);
                if asked.get() <= faults { Err(index::is_wrong("a test")) } else { Ok(remembered(snapshot)) }
            })
        };
        assert_eq!(ask(0), Ok(1));
        assert_eq!(ask(1), Ok(1));
        assert!(queries.epochs().has_index(0), "it was the memory");
        assert_eq!(ask(2), Ok(0), "from the messages alone");
        assert_eq!(queries.epochs().take_condemned().as_deref(), Some("the index is wrong: a test"));
    }

    #[test]
    fn a_running_query_is_given_up_when_the_log_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        prepare::prepare(&path).unwrap();
        let queries = Arc::new(Queries::new(&path, Arc::default()));
        let long_before_its_deadline = Instant::now() + 6 * QUERY_DEADLINE;
        let (begins, has_begun) = bounded(1);
        let asking = Arc::clone(&queries);
        let query = thread::spawn(move || {
            asking.with(long_before_its_deadline, |Snapshot { connection, .. }| {
                let _ = begins.try_send(());
                let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                               SELECT max(i) FROM n";
                Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            })
        });
        has_begun.recv().unwrap();
        let mut closed = queries.gate().close();
        assert!(!closed.is_quiet(), "one is running");
        closed.give_up_long_queries();
        assert!(closed.wait_until_quiet(long_before_its_deadline));
        assert!(matches!(query.join().unwrap(), Err(StoreError::TooSlow)));
        drop(closed);
        let another = queries.with(Instant::now(), |Snapshot { connection, .. }| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert!(matches!(another, Ok(1)));
    }
}
