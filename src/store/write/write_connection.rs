//! The write connection knows the files it was opened on, the length of their log, what others have committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::batch::InsertedBatch;
use super::checkpointer::Checkpointer;
use super::feed_order::EpochState;
use crate::store::checkpoint::keeper::{Keeper, Kept};
use crate::store::database::files::{FileId, file_id, wal_path};
use crate::store::database::migrations::VERSION;
use crate::store::database::open_error::OpenError;
use crate::store::database::transaction::{begin, data_version, end, schema_version};
use crate::store::database::wal_bounds::DATABASE;
use crate::store::database::{schema, wal};
use crate::store::error::StoreError;
use crate::store::read::queries::Queries;

pub(super) struct WriteConnection {
    pub(super) connection: Connection,
    pub(super) epoch: EpochState,
    path: PathBuf,
    /// The files at the paths when it was opened.
    database: Option<FileId>,
    wal: Option<FileId>,
    /// Of what was looked at ([`schema_version`]).
    schema: i64,
    /// SQLite's count of the commits of others when it was compared last.
    last_seen: Option<i64>,
    /// The count that the last batch found, until it is compared: inside a transaction, to ask takes no lock of its
    /// own.
    from_last_batch: Option<i64>,
    /// Bytes in the log after the last commit.
    wal_bytes: Arc<AtomicU64>,
    keeper: Keeper,
}

/// What a transaction finds of the schema that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    AsItWas,
    Changed,
}

impl WriteConnection {
    /// Of a connection that has just moved all of its log.
    pub(super) fn new(
        path: &Path,
        mut connection: Connection,
        queries: &Queries,
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<Self> {
        let frame = wal::frame_bytes(&connection)?;
        let (wal_bytes, seen) =
            (Arc::clone(&checkpointer.writer_wal_bytes), Arc::clone(&checkpointer.writer_wal_bytes));
        wal_bytes.store(0, Relaxed);
        connection.wal_hook(Some(move |_: &mut Wal, frames| {
            seen.store(u64::try_from(frames).unwrap_or(0) * frame, Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            epoch: EpochState::Due,
            database: file_id(path),
            wal: file_id(&wal_path(path)),
            path: path.to_owned(),
            schema: schema_version(&connection)?,
            last_seen: None,
            from_last_batch: None,
            wal_bytes,
            keeper: Keeper::new(&DATABASE, queries.gate(), Arc::clone(&checkpointer.report)),
            connection,
        })
    }

    /// A connection to the file that is at the path now, if it is a database of ours. Another file than the
    /// known one is that only if it has all its tables: none is made in it.
    pub(super) fn reopen(
        path: &Path,
        known: Option<FileId>,
        queries: &Queries,
        checkpointer: &Checkpointer,
    ) -> Result<Self, StoreError> {
        let found = file_id(path).ok_or(StoreError::Replaced)?;
        if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            return Err(StoreError::Corrupt("the file was cut to nothing".to_owned()));
        }
        let failed = |error: OpenError| match error {
            OpenError::Refused(reason) => StoreError::Foreign(reason),
            OpenError::InUse(_) => StoreError::Locked,
            OpenError::Full(_) => StoreError::DiskFull,
            OpenError::Unusable(reason) => StoreError::Io(reason),
        };
        // Before it is opened for writing, which changes the header of a file that is not in WAL mode.
        let version = schema::inspect(path).map_err(failed)?;
        if version < VERSION && known != Some(found) {
            return Err(StoreError::Replaced);
        }
        let connection = schema::connect(path, version).map_err(failed)?;
        if version < VERSION {
            // What was derived from it is of no use any more.
            queries.end_epoch();
        }
        Ok(Self::new(path, connection, queries, checkpointer)?)
    }

    /// Begins a transaction, waiting so long for others who commit.
    pub(super) fn begin(&self, patience: Duration) -> rusqlite::Result<Schema> {
        self.connection.busy_timeout(patience)?;
        begin(&self.connection)?;
        let schema = schema_version(&self.connection).or_else(|error| end(&self.connection, Err(error)))?;
        Ok(if schema == self.schema { Schema::AsItWas } else { Schema::Changed })
    }

    /// True while the paths still name the files that commits go to.
    pub(super) fn is_at_its_paths(&mut self) -> bool {
        let wal = file_id(&wal_path(&self.path));
        // SQLite makes the WAL with the first write at the latest.
        self.wal = self.wal.or(wal);
        self.database.is_some()
            && self.database == file_id(&self.path)
            && self.wal.is_some()
            && self.wal == wal
    }

    pub(super) fn has_committed(&mut self, batch: &InsertedBatch<'_>) {
        self.epoch = EpochState::Begun;
        self.from_last_batch = Some(batch.data_version);
        self.schema = batch.schema_version.unwrap_or(self.schema);
    }

    /// True if another process has committed since this was asked last, or may have.
    pub(super) fn others_have_committed(&mut self) -> bool {
        let now = self.from_last_batch.take().or_else(|| data_version(&self.connection).ok());
        std::mem::replace(&mut self.last_seen, now) != now
    }

    pub(super) fn holds_queries(&self) -> bool {
        self.keeper.holds_queries()
    }

    /// To be called between two commits. Waits where the log is at its bound.
    pub(super) fn checkpoint_if_due(&mut self, checkpointer: &Checkpointer) -> rusqlite::Result<()> {
        match self.keeper.keep(&self.connection, self.wal_bytes.load(Relaxed))? {
            Kept::Nothing => {}
            Kept::PassiveIsDue => checkpointer.wake(),
            Kept::Restarted => self.wal_bytes.store(0, Relaxed),
        }
        Ok(())
    }

    /// False if somebody reads the log just now.
    pub(super) fn truncate_wal(&self) -> rusqlite::Result<bool> {
        let is_empty = wal::truncate(&self.connection, Duration::ZERO)? == wal::Checkpointed::All;
        if is_empty {
            self.wal_bytes.store(0, Relaxed);
        }
        Ok(is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::prepare;
    use std::cell::RefCell;
    use std::time::Instant;

    use crate::log::{Level, Log};

    /// A write connection, and what it is told of the length of the log.
    struct Watched {
        queries: Arc<Queries>,
        checkpointer: Checkpointer,
        open: Option<WriteConnection>,
        _folder: tempfile::TempDir,
    }

    impl Watched {
        fn new() -> RefCell<Self> {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            drop(prepare::prepare(&path).unwrap());
            let queries = Arc::new(Queries::new(&path, Arc::default()));
            let log = Log::start(Level::Error).unwrap();
            let connection = schema::open_for_writing(&path).unwrap();
            let checkpointer = Checkpointer::start(&path, Arc::clone(&queries), log).unwrap();
            let open = WriteConnection::new(&path, connection, &queries, &checkpointer).unwrap();
            RefCell::new(Self { queries, checkpointer, open: Some(open), _folder: folder })
        }

        /// True if queries are held up at this length.
        fn holds_queries_at(&mut self, bytes: u64) -> bool {
            let open = self.open.as_mut().unwrap();
            open.wal_bytes.store(bytes, Relaxed);
            open.checkpoint_if_due(&self.checkpointer).unwrap();
            open.holds_queries()
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
        watched.borrow_mut().open = None;
        assert!(is_answered(&queries));
    }
}
