//! The writer watches the length of its log and has it checkpointed between two commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::mover::Mover;
use crate::store::checkpoint::keeper::{Keeper, Kept};
use crate::store::database::log_bounds::DATABASE;
use crate::store::database::wal;
use crate::store::read::readers::Readers;

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
    ) -> rusqlite::Result<Self> {
        let frame = wal::frame_bytes(connection)?;
        let (known, seen) = (Arc::clone(&mover.known), Arc::clone(&mover.known));
        known.store(0, Relaxed);
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            seen.store(u64::try_from(frames).unwrap_or(0) * frame, Relaxed);
            Ok(())
        }))?;
        Ok(Self { known, keeper: Keeper::new(&DATABASE, readers.gate(), Arc::clone(&mover.report)) })
    }

    pub(super) fn holds_queries(&self) -> bool {
        self.keeper.holds_queries()
    }

    /// The log was cut to nothing.
    pub(super) fn was_emptied(&self) {
        self.known.store(0, Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::{prepare, schema};
    use std::cell::RefCell;
    use std::time::{Duration, Instant};

    use crate::log::{Level, Log};

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
            drop(prepare::prepare(&path).unwrap());
            let readers = Arc::new(Readers::new(&path, Arc::default()));
            let log = Log::start(Level::Error).unwrap();
            let mut connection = schema::open_for_writing(&path).unwrap();
            let mover = Mover::start(&path, Arc::clone(&readers), log).unwrap();
            let watch = Some(LogWatch::new(&mut connection, &readers, &mover).unwrap());
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
        let query =
            |bytes| readers.with(Instant::now(), false, |_| Ok(watched.borrow_mut().look(bytes))).unwrap();
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
}
