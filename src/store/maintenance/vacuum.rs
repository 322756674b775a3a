//! `VACUUM INTO` writes a copy of a database that is in use: the state of one moment, with every row under its
//! number.
//!
//! It runs on a thread of its own, and is looked after meanwhile: what is written is synced a little at a time,
//! and the copy is given up when its snapshot has kept the log from starting over for too long.

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
const LOOK: Duration = Duration::from_millis(20);

/// Why a copy was not finished.
enum CopyError {
    /// Reading, or writing: SQLite does not say which.
    Sqlite(rusqlite::Error),
    Sync(io::Error),
    /// Messages come so fast that the log would have grown without end.
    Busy,
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Makes `target` a copy of the database at `source`, without a log. What fails is said of `what` was to be done.
/// `progress` hears of bytes done and bytes in all.
pub(super) fn vacuum_into(
    source: &Path,
    target: &Temporary,
    what: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), OpenError> {
    let failed = |why: &str, error: &dyn Display| OpenError::Unusable(format!("{what}: {why}: {error}"));
    copy(source, target, progress).map_err(|error| match error {
        CopyError::Sqlite(error) => failed("copying", &error),
        CopyError::Sync(error) => failed("writing the copy", &error),
        CopyError::Busy => OpenError::InUse(format!(
            "{what}: messages come too fast for it to end; run it again when there is less to do"
        )),
    })
}

fn copy(source: &Path, target: &Temporary, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CopyError> {
    let connection = Connection::open_with_flags(source, READ_WRITE)?;
    connection.busy_timeout(READ_BUSY_TIMEOUT)?;
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let all = number("PRAGMA page_size")? * number("PRAGMA page_count")?;
    let mut watch = Watch { log: WalLimit::of(source)?, target: target.file(), synced: 0, all, progress };
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
                watched = watch.look();
            }
            if watched.is_err() {
                // Until it has ended: what comes before the statement begins has no effect.
                interrupt.interrupt();
            }
            thread::park_timeout(LOOK);
        }
        (vacuum.join(), watched)
    });
    watched?;
    match vacuumed {
        Ok(done) => done?,
        Err(_) => return Err(CopyError::Sync(io::Error::other("the thread that copies has ended"))),
    };
    (watch.progress)(all, all);
    Ok(())
}

struct Watch<'a> {
    log: WalLimit,
    target: &'a File,
    synced: u64,
    all: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Watch<'_> {
    fn look(&mut self) -> Result<(), CopyError> {
        if self.log.is_exceeded() {
            return Err(CopyError::Busy);
        }
        let written = self.target.metadata().map_err(CopyError::Sync)?.len();
        (self.progress)(written.min(self.all), self.all);
        // Little at a time: a disk that is busy with much at once keeps every commit waiting. The error of a
        // sync is told once, to whoever asks first.
        if written >= self.synced + SYNC_BYTES {
            self.target.sync_data().map_err(CopyError::Sync)?;
            self.synced = written;
        }
        Ok(())
    }
}
