//! The wall clock, as far as it is believed ([`super::belief`]), from one run to the next.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::super::{StoreError, files};
use super::belief::Belief;
use crate::log::{Level, Line, Log};

/// What the clock has shown in this run, and where an earlier one left off. All times are seconds since
/// the Unix epoch.
pub(super) struct Clock {
    last_write: Option<i64>,
    /// `None` until the database could be asked.
    belief: Option<Belief>,
    looked_at: Instant,
    doubting: bool,
}

impl Clock {
    /// Where nobody has believed anything yet, the file system is a witness: it knows when somebody has
    /// written to the database last.
    pub(super) fn new(last_write: Option<i64>) -> Self {
        Self { last_write, belief: None, looked_at: Instant::now(), doubting: false }
    }

    /// The time by which messages may be deleted. `log` hears of doubts.
    pub(super) fn look(&mut self, messages: &Connection, log: Option<&Log>) -> Result<i64, StoreError> {
        if self.belief.is_none() {
            let earlier = read(messages)?;
            self.belief = Some(Belief::new(earlier.or(self.last_write).unwrap_or_else(now)));
            self.looked_at = Instant::now();
        }
        let passed = self.looked_at.elapsed().as_secs();
        self.looked_at += Duration::from_secs(passed);
        let clock = now();
        let Some(belief) = &mut self.belief else {
            return Ok(0);
        };
        let by = belief.look(clock, i64::try_from(passed).unwrap_or(i64::MAX));
        let was_doubting = std::mem::replace(&mut self.doubting, belief.doubts());
        match (log, was_doubting, self.doubting) {
            (Some(log), false, true) => log.write(&Line::event(Level::Warning, "clock_doubted").text(
                "detail",
                "the clock was set, or the service was off for more than a day: nothing is deleted by the new time until it has stood for a day",
            )),
            (Some(log), true, false) => log.write(&Line::event(Level::Info, "clock_believed")),
            _ => {}
        }
        Ok(by)
    }

    pub(super) fn believed(&self) -> Option<i64> {
        self.belief.as_ref().map(Belief::believed)
    }
}

/// What the clock says. One set before 1970 says 1970.
pub(in super::super) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// What an earlier run believed last.
pub(in super::super) fn read(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT believed_clock FROM messages_retention", [], |row| row.get(0))
}

/// Keeps it for a later run.
pub(super) fn write(connection: &Connection, believed: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE messages_retention SET believed_clock = ?1", [believed])?;
    Ok(())
}

/// When the database, or its log, was written to last.
pub(in super::super) fn last_write(database: &Path) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    let files = [database.to_owned(), files::wal_path(database)];
    let written = files.iter().filter_map(|path| std::fs::metadata(path).ok());
    written.filter(|file| file.len() > 0).map(|file| file.mtime()).max()
}
