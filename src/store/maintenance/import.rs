//! An import puts messages from elsewhere into a database by the rules of the writer.
//!
//! A message that is there stays as it is; what was put is committed, synced, when [`Import::put`] returns.
//!
//! A service may be using the database: then it has its turn after every batch.

use std::cell::Cell;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::remap::{self, RemapStep};
use super::wal_room;
use crate::clock::now_rfc3339;
use crate::message::Message;
use crate::store::database::database_path::DatabasePath;
use crate::store::database::files::{FileId, file_id};
use crate::store::database::insertion::Inserted;
use crate::store::database::lock::Lock;
use crate::store::database::open_error::{OpenError, from_sqlite, is_held};
use crate::store::database::prepare::prepare;
use crate::store::database::schema;
use crate::store::database::transaction::{data_version, in_transaction};
use crate::store::error::StoreError;
use crate::store::write::batch::{Insert, Stored, insert_all, insert_batch};
use crate::store::write::feed_order::EpochState;
use crate::whatsapp::{Delivery, ItemCounts};

/// How long `import` waits for a service that commits all the time: its turn is a matter of chance.
const IMPORT_BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// A message, and when it was stored elsewhere, if that is known.
pub struct Incoming {
    pub message: Message,
    pub created_at: Option<String>,
}

/// A database that is being filled.
pub struct Import {
    path: PathBuf,
    file: Option<FileId>,
    connection: Connection,
    /// SQLite's count of commits by others.
    version: i64,
    epoch: Cell<EpochState>,
    lock: Lock,
}

impl Import {
    /// Opens the database as the service does: makes it if need be, refuses a foreign one, migrates an
    /// older one.
    pub fn open(path: &DatabasePath) -> Result<Self, OpenError> {
        let (connection, lock) = prepare(path)?;
        let file = file_id(path);
        let set_up = || -> rusqlite::Result<i64> {
            connection.busy_timeout(IMPORT_BUSY_TIMEOUT)?;
            wal_room::set_up(&connection)?;
            data_version(&connection)
        };
        let version = set_up().map_err(|error| from_sqlite(path, &error))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            connection,
            version,
            epoch: Cell::new(EpochState::Due),
            lock,
        })
    }

    /// The same of a database that is there.
    pub fn open_existing(path: &DatabasePath) -> Result<Self, OpenError> {
        schema::inspect(path)?;
        Self::open(path)
    }

    /// One transaction. On `Ok` it is committed and synced, and says for each message what became of it:
    /// an error is SQLite's refusal of that one, say by a constraint that an old file brought along.
    pub fn put(&mut self, batch: &[Incoming]) -> Result<Vec<Result<Inserted, StoreError>>, StoreError> {
        self.take_turn(|import| import.commit_each(batch))
    }

    /// What one body of WhatsApp holds, in one transaction. On `Ok` it is committed and synced.
    pub fn put_delivery(&mut self, delivery: Delivery) -> Result<ItemCounts, StoreError> {
        let insert = [Insert::Delivery(delivery)];
        let outcome = self.take_turn(|import| {
            import.transact(|connection| {
                let batch = insert_batch(connection, import.epoch.get(), insert.iter())?;
                Ok(batch.into_outcomes().pop())
            })
        })?;
        match outcome {
            Some(Stored::Delivery(counts)) => Ok(*counts),
            _ => Err(StoreError::Lost),
        }
    }

    /// Maps the next items that are not mapped, behind this one, in one transaction. On `Ok` it is committed and synced.
    /// `None` where there are no more.
    pub fn remap(&mut self, after: i64) -> Result<Option<RemapStep>, StoreError> {
        self.take_turn(|import| {
            import.transact(|connection| remap::step(connection, import.epoch.get(), after))
        })
    }

    /// Half of the time is for others who commit.
    fn take_turn<T>(&mut self, work: impl FnOnce(&Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        wal_room::make(&self.connection, &self.lock, IMPORT_BUSY_TIMEOUT)
            .map_err(|error| if is_held(&error) { StoreError::LogHeld } else { error.into() })?;
        let began = Instant::now();
        let done = work(self)?;
        let version = data_version(&self.connection)?;
        if version != std::mem::replace(&mut self.version, version) {
            thread::sleep(began.elapsed());
        }
        Ok(done)
    }

    /// All of them at once, or each by itself where one is refused.
    fn commit_each(&self, batch: &[Incoming]) -> Result<Vec<Result<Inserted, StoreError>>, StoreError> {
        match self.commit(batch) {
            Err(StoreError::Refused(_)) if batch.len() > 1 => {
                let each = batch.chunks(1).map(|one| self.commit_each(one));
                Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            Err(refused @ StoreError::Refused(_)) => Ok(vec![Err(refused)]),
            committed => Ok(committed?.into_iter().map(Ok).collect()),
        }
    }

    fn commit(&self, batch: &[Incoming]) -> Result<Vec<Inserted>, StoreError> {
        self.transact(|connection| {
            let now = now_rfc3339();
            let rows = batch.iter().map(|one| (&one.message, one.created_at.as_deref().unwrap_or(&now)));
            insert_all(connection, self.epoch.get(), rows)
        })
    }

    fn transact<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let done = in_transaction(&self.connection, work)?;
        self.epoch.set(EpochState::Begun);
        // What was committed to a file that lost its name is nowhere.
        if self.file.is_none() || self.file != file_id(&self.path) {
            return Err(StoreError::Replaced);
        }
        Ok(done)
    }
}
