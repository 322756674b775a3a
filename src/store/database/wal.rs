//! A write-ahead log has a length in bytes, whatever the size of a page; checkpoints move it into the file
//! (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_wal_checkpoint).

use std::time::Duration;

use rusqlite::Connection;

/// Before each page in the log (sqlite.org/fileformat2.html, 4.1).
const FRAME_HEADER_BYTES: u64 = 24;

/// How a checkpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpointed {
    /// All of the log is in the file. After [`restart`] the next transaction begins at its start.
    All,
    /// Somebody reads the log, or is committing.
    Part,
    /// Somebody else is at it.
    Elsewhere,
}

/// Bytes that one page takes in the log.
pub fn frame_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    Ok(page.unsigned_abs() + FRAME_HEADER_BYTES)
}

/// How long a log is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// What counts: what lies behind it in the file is from before the log restarted.
    pub live: u64,
    /// What is in the file already. Where it is all, the log is about to restart, if nobody reads it.
    pub checkpointed: u64,
}

/// Of the log of the connection's database; 0 where there is none. A connection inside a transaction is
/// not told.
pub fn length(connection: &Connection) -> rusqlite::Result<Length> {
    let frame = frame_bytes(connection)?;
    let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0).saturating_mul(frame);
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    statement.query_row([], |row| Ok(Length { live: bytes(row.get(1)?), checkpointed: bytes(row.get(2)?) }))
}

/// A log that has become longer is cut back to so many bytes when it restarts.
pub fn keep_at_most(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA journal_size_limit = {bytes}"), [], |_| Ok(()))
}

/// Has SQLite move the log after a commit that leaves it longer than so many bytes.
pub fn autocheckpoint_at(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let frames = bytes / frame_bytes(connection)?;
    connection.query_row(&format!("PRAGMA wal_autocheckpoint = {frames}"), [], |_| Ok(()))
}

/// Moves what can be moved now, while others go on. Waits for nobody.
pub fn passive(connection: &Connection) -> rusqlite::Result<Checkpointed> {
    checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
}

/// Moves everything and has the next transaction begin at the start of the log, if nobody commits and
/// nobody reads it just now. Waits for nobody.
pub fn restart(connection: &Connection) -> rusqlite::Result<Checkpointed> {
    waiting_for(Duration::ZERO, connection, "PRAGMA wal_checkpoint(RESTART)")
}

/// As [`restart`], and cuts the file to nothing. Waits for so long for those who commit or read.
pub fn truncate(connection: &Connection, patience: Duration) -> rusqlite::Result<Checkpointed> {
    waiting_for(patience, connection, "PRAGMA wal_checkpoint(TRUNCATE)")
}

fn waiting_for(patience: Duration, connection: &Connection, pragma: &str) -> rusqlite::Result<Checkpointed> {
    let before: i64 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
    connection.busy_timeout(patience)?;
    let outcome = checkpoint(connection, pragma);
    connection.busy_timeout(Duration::from_millis(before.unsigned_abs()))?;
    outcome
}

fn checkpoint(connection: &Connection, pragma: &str) -> rusqlite::Result<Checkpointed> {
    connection.query_row(pragma, [], |row| {
        let (is_busy, frames, moved): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(match (is_busy, frames) {
            (true, ..0) => Checkpointed::Elsewhere,
            (false, _) if moved == frames => Checkpointed::All,
            _ => Checkpointed::Part,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
        connection
    }

    #[test]
    fn the_length_is_in_bytes_and_tells_when_the_log_has_started_over() {
        for page_size in [512, 4096, 65_536] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("some.db");
            Connection::open(&path)
                .unwrap()
                .execute_batch(&format!("PRAGMA page_size = {page_size}; CREATE TABLE t (a)"))
                .unwrap();
            let writer = open(&path);
            let live_bytes = || length(&writer).unwrap().live;
            assert_eq!(live_bytes(), 0);
            let insert = || writer.execute_batch("INSERT INTO t VALUES (randomblob(200000))").unwrap();
            insert();
            let file = std::fs::metadata(folder.path().join("some.db-wal")).unwrap().len();
            let live = live_bytes();
            assert!(live <= file && live + 32 >= file && live > 200_000, "{live} of {file}");

            let reader = open(&path);
            reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
            assert_eq!(passive(&writer).unwrap(), Checkpointed::All);
            assert_eq!(restart(&writer).unwrap(), Checkpointed::Part, "somebody reads");
            insert();
            assert!(live_bytes() > live);
            reader.execute_batch("COMMIT").unwrap();
            assert_eq!(restart(&writer).unwrap(), Checkpointed::All);
            writer.execute_batch("DELETE FROM t").unwrap();
            assert!(live_bytes() < live);
            assert_eq!(truncate(&writer, Duration::ZERO).unwrap(), Checkpointed::All);
            assert_eq!(live_bytes(), 0);
        }
    }
}
