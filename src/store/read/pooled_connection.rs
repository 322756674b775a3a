//! A pooled connection reads the files of one epoch, one snapshot after the other.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use rusqlite::Connection;

use super::epoch::Epochs;
use super::interrupt::{Interrupt, QueryTimes};
use super::memory::Memory;
use crate::store::database::connections;
use crate::store::database::frozen::Stamp;
use crate::store::database::kept_memory;
use crate::store::error::StoreError;

pub(super) struct PooledConnection {
    pub(super) connection: Connection,
    pub(super) memory: RefCell<Memory>,
    generation: u64,
    /// The one state of the file that it can read, where it takes part in no locks.
    frozen: Option<Stamp>,
    times: Arc<QueryTimes>,
}

impl PooledConnection {
    /// Gives back the memory that is held for the next query, to which that is a few milliseconds of reading.
    pub(super) fn shrink(&mut self) {
        kept_memory::give_back(&self.connection);
        self.memory.take();
    }
}

/// Opens connections, and runs queries on them.
pub(super) struct Connector {
    pub(super) path: PathBuf,
    pub(super) epochs: Arc<Epochs>,
    pub(super) interrupt: Interrupt,
}

impl Connector {
    /// Runs a query on the connection in a slot, or on a new one that the index is given to by `attach`. It stays in
    /// the slot for the next query if it is sound.
    pub(super) fn run<T>(
        &self,
        slot: &mut Option<PooledConnection>,
        attach: impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
        deadline: Instant,
        query: impl Fn(&PooledConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            // Somebody wrote to the file while it was read alone: it can be read as usual now.
            if let Some(result) = self.run_once(slot, &attach, deadline, &query) {
                return result;
            }
        }
    }

    /// `None` if what was read may be of no one state.
    fn run_once<T>(
        &self,
        slot: &mut Option<PooledConnection>,
        attach: &impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
        deadline: Instant,
        query: &impl Fn(&PooledConnection) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        // Taken out, so that a panic inside the query throws the connection away.
        let pooled = match slot.take().filter(|pooled| self.is_current(pooled)) {
            Some(pooled) => pooled,
            None => match self.open(attach) {
                Ok(pooled) => pooled,
                Err(error) => return Some(Err(error)),
            },
        };
        self.interrupt.begins(&pooled.times, deadline);
        let result = in_one_snapshot(&pooled, query);
        // After an error of the machine a fresh connection starts from the file, not from a cache. And a
        // snapshot that could not be ended would keep the log from ever restarting.
        let is_sound =
            matches!(result, Ok(_) | Err(StoreError::TooSlow | StoreError::TooDeep | StoreError::Locked))
                && pooled.connection.is_autocommit();
        let is_current = self.is_current(&pooled);
        if pooled.frozen.is_some() && !is_current {
            return (Instant::now() >= deadline).then_some(Err(StoreError::TooSlow));
        }
        if is_sound && is_current {
            *slot = Some(pooled);
        }
        Some(match result {
            Err(StoreError::TooSlow) if self.is_closing() => Err(StoreError::Stopping),
            result => result,
        })
    }

    fn open(
        &self,
        attach: &impl Fn(&Connection, &Path) -> rusqlite::Result<()>,
    ) -> Result<PooledConnection, StoreError> {
        let generation = self.epochs.generation();
        let (mut connection, frozen) = connections::open_for_queries(&self.path)?;
        attach(&connection, &self.path)?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        let times = self.interrupt.watch(&mut connection)?;
        Ok(PooledConnection { connection, memory: RefCell::default(), generation, frozen, times })
    }

    fn is_current(&self, pooled: &PooledConnection) -> bool {
        let is_there = |stamp: &Stamp| stamp.is_still_of(&self.path);
        pooled.generation == self.epochs.generation() && pooled.frozen.as_ref().is_none_or(is_there)
    }

    /// The store is stopping: no connection is opened any more, and queries end.
    pub(super) fn is_closing(&self) -> bool {
        self.interrupt.closing.load(SeqCst)
    }
}

fn in_one_snapshot<T>(
    pooled: &PooledConnection,
    query: impl FnOnce(&PooledConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let connection = &pooled.connection;
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = query(pooled);
    let ended = connection.prepare_cached(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?.execute([]);
    let result = result?;
    // A failed query has said more than a failed end of it could.
    ended?;
    Ok(result)
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
        let connection = connections::open_for_reading(&path).unwrap();
        for limit in [1, 50, 100] {
            let mut statement =
                connection.prepare_cached("SELECT rowid FROM messages ORDER BY rowid LIMIT ?1").unwrap();
            assert!(!statement.exists([limit]).unwrap());
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{limit}");
        }
    }
}
