//! The write connection knows the schema that was looked at, the epoch that it has begun, what others have committed.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::batch::InsertedBatch;
use super::checkpointer::Checkpointer;
use super::feed_order::EpochState;
use super::open_files::OpenFiles;
use super::writer_wal::WriterWal;
use crate::store::database::transaction::{begin, data_version, end, schema_version};

pub(super) struct WriteConnection {
    pub(super) connection: Connection,
    pub(super) files: OpenFiles,
    pub(super) wal: WriterWal,
    pub(super) epoch: EpochState,
    /// Of what was looked at ([`schema_version`]).
    schema: i64,
    /// SQLite's count of the commits of others when it was compared last.
    last_seen: Option<i64>,
    /// The count that the last batch found, until it is compared: inside a transaction, to ask takes no lock of its
    /// own.
    from_last_batch: Option<i64>,
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
        checkpointer: &Checkpointer,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            files: OpenFiles::at(path),
            wal: WriterWal::of(&mut connection, checkpointer)?,
            epoch: EpochState::Due,
            schema: schema_version(&connection)?,
            last_seen: None,
            from_last_batch: None,
            connection,
        })
    }

    /// Begins a transaction, waiting so long for others who commit.
    pub(super) fn begin(&self, patience: Duration) -> rusqlite::Result<Schema> {
        self.connection.busy_timeout(patience)?;
        begin(&self.connection)?;
        let schema = schema_version(&self.connection).or_else(|error| end(&self.connection, Err(error)))?;
        Ok(if schema == self.schema { Schema::AsItWas } else { Schema::Changed })
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
}
