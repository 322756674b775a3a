//! A limit on the write-ahead log ends a command whose snapshot keeps that from restarting.
//!
//! The service gives up its own queries for that, and cannot give up another process's.

use std::path::Path;

use rusqlite::Connection;

use crate::store::database::wal_bounds::DATABASE;
use crate::store::database::{connections, wal};

/// A command that reads for long beside a service keeps the log from restarting, and gives up when it
/// has become as long as this meanwhile.
const MAX_BYTES_FOR_A_COMMAND: u64 = 1 << 30;

const _: () = assert!(DATABASE.most < MAX_BYTES_FOR_A_COMMAND);

/// Watches the log from the moment when the snapshot begins.
pub(super) struct WalLimit {
    /// Of its own: one inside a transaction is not told.
    connection: Connection,
    bytes_at_first: u64,
}

impl WalLimit {
    pub(super) fn of(database: &Path) -> rusqlite::Result<Self> {
        let connection = connections::open_for_reading(database)?;
        let bytes_at_first = bytes(&connection);
        Ok(Self { connection, bytes_at_first })
    }

    /// The log has grown, and beyond what a command may have it grow to.
    pub(super) fn is_exceeded(&self) -> bool {
        let bytes = bytes(&self.connection);
        bytes > self.bytes_at_first && bytes > MAX_BYTES_FOR_A_COMMAND
    }
}

/// 0 where there is none, or nobody can write to it.
fn bytes(connection: &Connection) -> u64 {
    wal::length(connection).map_or(0, |length| length.live)
}
