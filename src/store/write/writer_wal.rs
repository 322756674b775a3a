//! The write-ahead log of the writer is kept within its bounds between two commits, by its length after the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::checkpointer::Checkpointer;
use crate::store::checkpoint::keeper::{Keeper, Kept};
use crate::store::database::wal;

pub(super) struct WriterWal {
    /// In the log after the last commit.
    bytes: Arc<AtomicU64>,
    keeper: Keeper,
}

impl WriterWal {
    /// Of a connection that has just moved all of its log.
    pub(super) fn of(connection: &mut Connection, checkpointer: &Checkpointer) -> rusqlite::Result<Self> {
        let frame = wal::frame_bytes(connection)?;
        let bytes = Arc::clone(&checkpointer.writer_wal_bytes);
        bytes.store(0, Relaxed);
        let committed = Arc::clone(&bytes);
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            committed.store(u64::try_from(frames).unwrap_or(0) * frame, Relaxed);
            Ok(())
        }))?;
        Ok(Self { bytes, keeper: checkpointer.keeper() })
    }

    pub(super) fn holds_queries(&self) -> bool {
        self.keeper.holds_queries()
    }

    /// To be called between two commits. Waits where the log is at its bound.
    pub(super) fn checkpoint_if_due(
        &mut self,
        connection: &Connection,
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<()> {
        match self.keeper.keep(connection, self.bytes.load(Relaxed))? {
            Kept::Nothing => {}
            Kept::PassiveIsDue => checkpointer.wake(),
            Kept::Restarted => self.bytes.store(0, Relaxed),
        }
        Ok(())
    }

    /// False if somebody reads the log just now.
    pub(super) fn truncate(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let is_empty = wal::truncate(connection, Duration::ZERO)? == wal::Checkpointed::All;
        if is_empty {
            self.bytes.store(0, Relaxed);
        }
        Ok(is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::wal_bounds::DATABASE;
    use crate::store::database::{connections, prepare};
    use crate::store::read::queries::Queries;
    use std::cell::RefCell;
    use std::time::Instant;

    use crate::log::{Level, Log};

    /// A write connection, and what it is told of the length of its log.
    struct Watched {
        queries: Arc<Queries>,
        checkpointer: Checkpointer,
        connection: Connection,
        wal: Option<WriterWal>,
        _folder: tempfile::TempDir,
    }

    impl Watched {
        fn new() -> RefCell<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            drop(prepare::prepare(&path).unwrap());
            let queries = Arc::new(Queries::new(&path, Arc::default()));
            let log = Log::start(Level::Error).unwrap();
            let mut connection = connections::open_for_writing(&path).unwrap();
            let epochs = Arc::clone(queries.epochs());
            let checkpointer = Checkpointer::start(&path, queries.gate(), epochs, log).unwrap();
            let wal = Some(WriterWal::of(&mut connection, &checkpointer).unwrap());
            RefCell::new(Self { queries, checkpointer, connection, wal, _folder: folder })
        }

        /// True if queries are held up at this length.
        fn holds_queries_at(&mut self, bytes: u64) -> bool {
            let wal = self.wal.as_mut().unwrap();
            wal.bytes.store(bytes, Relaxed);
            wal.checkpoint_if_due(&self.connection, &self.checkpointer).unwrap();
            wal.holds_queries()
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
        let query = |bytes| {
            queries.with(Instant::now(), |_| Ok(watched.borrow_mut().holds_queries_at(bytes))).unwrap()
        };
        assert!(!query(DATABASE.passive - 1));
        assert!(query(DATABASE.restart), "one is running");
        assert!(!watched.borrow_mut().holds_queries_at(1), "the log has started over by itself");
        assert!(query(DATABASE.restart));
        assert!(!is_answered(&queries));
        assert!(!watched.borrow_mut().holds_queries_at(DATABASE.restart), "it has ended, and was waited for");
        assert!(is_answered(&queries));
    }

    #[test]
    fn a_lost_connection_lets_queries_go_on() {
        let watched = Watched::new();
        let queries = Arc::clone(&watched.borrow().queries);
        let held =
            queries.with(Instant::now(), |_| Ok(watched.borrow_mut().holds_queries_at(DATABASE.restart)));
        assert!(held.unwrap() && !is_answered(&queries));
        watched.borrow_mut().wal = None;
        assert!(is_answered(&queries));
    }
}
