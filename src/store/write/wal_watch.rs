//! A watch on the length of the log has it checkpointed between two commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::checkpointer::Checkpointer;
use crate::store::checkpoint::keeper::{Keeper, Kept};
use crate::store::database::wal;
use crate::store::database::wal_bounds::DATABASE;
use crate::store::read::queries::Queries;

/// What the writer knows of the log of its connection.
pub(super) struct WalWatch {
    known: Arc<AtomicU64>,
    keeper: Keeper,
}

impl WalWatch {
    /// Of a connection that commits, and has just moved all of its log.
    pub(super) fn new(
        connection: &mut Connection,
        queries: &Queries,
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<Self> {
        let frame = wal::frame_bytes(connection)?;
        let (known, seen) = (Arc::clone(&checkpointer.known), Arc::clone(&checkpointer.known));
        known.store(0, Relaxed);
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            seen.store(u64::try_from(frames).unwrap_or(0) * frame, Relaxed);
            Ok(())
        }))?;
        Ok(Self { known, keeper: Keeper::new(&DATABASE, queries.gate(), Arc::clone(&checkpointer.report)) })
    }

    pub(super) fn holds_queries(&self) -> bool {
        self.keeper.holds_queries()
    }

    /// The log was cut to nothing.
    pub(super) fn was_truncated(&self) {
        self.known.store(0, Relaxed);
    }

    /// To be called between two commits. Waits where the log is at its bound.
    pub(super) fn checkpoint_if_due(
        &mut self,
        connection: &Connection,
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<()> {
        match self.keeper.keep(connection, self.known.load(Relaxed))? {
            Kept::Nothing => {}
            Kept::PassiveIsDue => checkpointer.wake(),
            Kept::Restarted => self.known.store(0, Relaxed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::{prepare, schema};
    use std::cell::RefCell;
    use std::time::{Duration, Instant};

    use crate::log::{Level, Log};

    /// A writer's watch over a database, and what it is told of the length of the log.
    struct Watched {
        queries: Arc<Queries>,
        connection: Connection,
        checkpointer: Checkpointer,
        watch: Option<WalWatch>,
        _folder: tempfile::TempDir,
    }

    impl Watched {
        fn new() -> RefCell<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            drop(prepare::prepare(&path).unwrap());
            let queries = Arc::new(Queries::new(&path, Arc::default()));
            let log = Log::start(Level::Error).unwrap();
            let mut connection = schema::open_for_writing(&path).unwrap();
            let checkpointer = Checkpointer::start(&path, Arc::clone(&queries), log).unwrap();
            let watch = Some(WalWatch::new(&mut connection, &queries, &checkpointer).unwrap());
            RefCell::new(Self { queries, connection, checkpointer, watch, _folder: folder })
        }

        /// True if queries are held up at this length.
        fn look(&mut self, bytes: u64) -> bool {
            let watch = self.watch.as_mut().unwrap();
            watch.known.store(bytes, Relaxed);
            watch.checkpoint_if_due(&self.connection, &self.checkpointer).unwrap();
            watch.holds_queries()
        }
    }

    fn is_answered(queries: &Queries) -> bool {
        let long_ago = Instant::now() - crate::limits::QUERY_DEADLINE + Duration::from_millis(100);
        queries.with(long_ago, |_| Ok(())).is_ok()
    }

    #[test]
    fn queries_are_held_up_no_longer_than_the_log_is_long() {
        let watched = Watched::new();
        let queries = Arc::clone(&watched.borrow().queries);
        let query = |bytes| queries.with(Instant::now(), |_| Ok(watched.borrow_mut().look(bytes))).unwrap();
        assert!(!query(DATABASE.passive - 1));
        assert!(query(DATABASE.restart), "one is running");
        assert!(!watched.borrow_mut().look(1), "the log has started over by itself");
        assert!(query(DATABASE.restart));
        assert!(!is_answered(&queries));
        assert!(!watched.borrow_mut().look(DATABASE.restart), "it has ended, and was waited for");
        assert!(is_answered(&queries));
    }

    #[test]
    fn a_lost_connection_lets_queries_go_on() {
        let watched = Watched::new();
        let queries = Arc::clone(&watched.borrow().queries);
        let held = queries.with(Instant::now(), |_| Ok(watched.borrow_mut().look(DATABASE.restart)));
        assert!(held.unwrap() && !is_answered(&queries));
        watched.borrow_mut().watch = None;
        assert!(is_answered(&queries));
    }
}
