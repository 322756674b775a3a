//! The last close of a database moves its log into the file.
//!
//! SQLite does so, and removes the log, when a connection closes while no other one is open, of this process
//! or of any. What is left behind by the last one of this process is therefore another process's, or the
//! machine refused to move it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use crate::log::{Level, Line, Log};
use crate::store::database::{files, wal};
use crate::store::error::StoreError;

/// How long the last close waits for another process that is in the middle of something: an export is over
/// in that time, and Litestream never is.
const LAST_CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// The last connection of this process, or why there is none.
pub struct LastConnection {
    pub(super) path: PathBuf,
    pub(super) connection: Result<Connection, StoreError>,
}

impl LastConnection {
    /// To be called when every other connection of this process has been closed. A log that stays is said.
    pub fn close(self, log: &Log) {
        let truncated = self.connection.and_then(truncate_and_close);
        // What counts is what lies there, whatever was said.
        let left = fs::metadata(files::wal_path(&self.path)).map_or(0, |file| file.len());
        if left > 0 {
            let detail = truncated.map_or_else(|error| error.to_string(), |()| OTHERS.to_owned());
            let line = Line::event(Level::Warning, "log_left").number("bytes", left);
            log.write(&line.text("detail", &detail));
        }
    }
}

/// What another process has open is its own to move.
const OTHERS: &str = "another process has the database open: copy it only with its log, or with backup";

fn truncate_and_close(connection: Connection) -> Result<(), StoreError> {
    // By itself the close would say nothing of what fails.
    let truncated = wal::truncate(&connection, LAST_CLOSE_PATIENCE);
    connection.close().map_err(|(_, error)| error)?;
    truncated?;
    Ok(())
}
