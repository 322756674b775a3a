//! `VACUUM INTO` writes a copy of a database that is in use: the state of one moment, with every row under its
//! number.
//!
//! It runs on a thread of its own, and is looked after meanwhile: what is written is synced a little at a time,
//! and the copy is given up when its snapshot has kept the log from restarting for too long.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::wal_limit::WalLimit;
use crate::limits::READ_BUSY_TIMEOUT;
use crate::store::database::files::READ_WRITE;
use crate::store::database::open_error::OpenError;
use crate::store::database::temporary::Temporary;

/// Bytes written to a copy between two syncs. A disk that gets much at once keeps commits waiting.
const SYNC_BYTES: u64 = 8 << 20;
/// How often it is looked how far the copy has come.
const COPY_POLL: Duration = Duration::from_millis(20);

/// Makes `target` a copy of the database at `source`, without a log. What fails is said of `what` was to be done.
/// `progress` hears of bytes done and bytes in all.
pub(super) fn vacuum_into(
    source: &Path,
    target: &Temporary,
    what: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    let open = || -> rusqlite::Result<(Connection, u64, WalLimit)> {
        let connection = Connection::open_with_flags(source, READ_WRITE)?;
        connection.busy_timeout(READ_BUSY_TIMEOUT)?;
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let all = number("PRAGMA page_size")? * number("PRAGMA page_count")?;
        Ok((connection, all, WalLimit::of(source)?))
    };
    // Reading, or writing: SQLite does not say which.
    let (connection, all, limit) = open().map_err(|error| failed("copying", &error))?;
    let mut watch = Watch { limit, target: target.file(), synced: 0, all, progress };
    let interrupt = connection.get_interrupt_handle();
    let path = target.path().to_string_lossy().into_owned();
    let watching = thread::current();
    let (vacuumed, watched) = thread::scope(|scope| {
        let vacuum = scope.spawn(move || {
            let done = connection.execute("VACUUM INTO ?1", [path]);
            watching.unpark();
            done
        });
        let mut watched = Ok(());
        while !vacuum.is_finished() {
            if watched.is_ok() {
                watched = watch.sync_some().map_err(|error| failed("writing the copy", &error));
            }
            if watched.is_ok() && watch.limit.is_exceeded() {
                watched = Err(OpenError::InUse(format!(
                    "{what}: messages come too fast for it to end; run it again when there is less to do"
                )));
            }
            if watched.is_err() {
                // Until it has ended: what comes before the statement begins has no effect.
                interrupt.interrupt();
            }
            thread::park_timeout(COPY_POLL);
        }
        (vacuum.join(), watched)
    });
    watched?;
    let vacuumed = vacuumed.map_err(|_| failed("copying", &"the thread that copies has ended"))?;
    vacuumed.map_err(|error| failed("copying", &error))?;
    (watch.progress)(all, all);
    Ok(())
}

struct Watch<'a> {
    limit: WalLimit,
    target: &'a File,
    synced: u64,
    all: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Watch<'_> {
    fn sync_some(&mut self) -> io::Result<()> {
        let written = self.target.metadata()?.len();
        (self.progress)(written.min(self.all), self.all);
        // Little at a time: a disk that is busy with much at once keeps every commit waiting. The error of a
        // sync is told once, to whoever asks first.
        if written >= self.synced + SYNC_BYTES {
            self.target.sync_data()?;
            self.synced = written;
        }
        Ok(())
    }
}
