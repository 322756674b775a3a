//! SQLite with nothing else in the way: the machine's own limit, which ingest is measured against.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::Failure;
use crate::corpus::Row;
use crate::plain;

/// Rows of one transaction: as many as there are connections in the run that matters most.
const BATCH: usize = 64;

/// Stores the rows in a new file, every transaction synced; rows per second.
pub(crate) fn rate(database: &Path, rows: &[Row]) -> Result<f64, Failure> {
    let connection = Connection::open(database)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(plain::TABLE)?;
    connection.execute_batch(plain::INDEXES)?;
    let mut insert = connection.prepare(plain::INSERT)?;
    let began = Instant::now();
    for batch in rows.chunks(BATCH) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for row in batch {
            plain::insert(&mut insert, row)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    let took = began.elapsed();
    let stored = plain::count(&connection)?;
    if stored != rows.len() as u64 {
        return Err(format!("{} rows went into SQLite alone, {stored} are there", rows.len()).into());
    }
    Ok(rows.len() as f64 / took.as_secs_f64())
}
