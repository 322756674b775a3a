//! Copies a database that is in use into a file, page by page: the state of one moment.
//!
//! - What the file holds already is compared and not written again. So a copy that was cut short goes on,
//!   and whatever the file held before, the copy is right.
//! - A snapshot keeps the log from starting over. It is let go when the log has grown too long meanwhile,
//!   and the copy goes on with the next one; what was copied is then of several moments, and is gone
//!   through once more. That writes little, and so is over soon.
//! - The copy is done when one snapshot has lasted from its first page to its last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use rusqlite::{Connection, OpenFlags};

use super::pressure::{DATABASE, MOST_FOR_A_COMMAND};
use super::wal;
use crate::limits::{COPY_LOOK, COPY_PAGES, COPY_PAUSE, COPY_SYNC_BYTES, COPY_TURNS, READ_BUSY_TIMEOUT};

/// Bytes 18 and 19 of a file say whether it has a log (sqlite.org/fileformat.html, 1.3.3).
const LOG_MODE: std::ops::Range<usize> = 18..20;
/// A file without a log.
const WITHOUT_LOG: u8 = 1;

/// Why a copy was not finished.
#[derive(Debug)]
pub(super) enum CopyError {
    Source(rusqlite::Error),
    Target(io::Error),
    /// Messages come so fast that the log would have grown without end.
    Busy,
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Target(error)
    }
}

/// Makes `target` a copy of the database at `source`, without a log, and syncs it. `progress` hears of
/// pages done and pages in all, again from the start when the copy is gone through once more.
pub(super) fn copy(
    source: &Path,
    target: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(source, flags)?;
        connection.busy_timeout(READ_BUSY_TIMEOUT)?;
        Ok(connection)
    };
    let (connection, log) = (open()?, Log(open()?));
    let mut target = Target { file: target, unsynced: 0, there: Vec::new() };
    for turn in 1.. {
        let may_rest = turn < COPY_TURNS;
        if one_turn(&connection, &log, &mut target, may_rest, progress)? {
            break;
        }
    }
    target.file.sync_all()?;
    Ok(())
}

/// Goes through all pages once. True if one snapshot lasted for all of them.
fn one_turn(
    connection: &Connection,
    log: &Log,
    target: &mut Target<'_>,
    may_rest: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<bool, CopyError> {
    let mut done = 0;
    let mut is_one_snapshot = true;
    loop {
        let snapshot = connection.unchecked_transaction()?;
        // The transaction begins with the first read.
        snapshot.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let number = |sql| snapshot.query_row(sql, [], |row| row.get::<_, i64>(0));
        let size = number("PRAGMA page_size")?.unsigned_abs();
        let all = number("PRAGMA page_count")?.unsigned_abs();
        let at_first = log.bytes();
        while done < all {
            let pages = done..all.min(done + COPY_PAGES);
            done = pages.end;
            target.put(pages.start * size, size as usize, &read(&snapshot, pages)?)?;
            progress(done, all);
            let now = log.bytes();
            if may_rest && now > DATABASE.folded && now > at_first + DATABASE.step {
                break;
            }
            if now > MOST_FOR_A_COMMAND && now > at_first {
                return Err(CopyError::Busy);
            }
        }
        drop(snapshot);
        if done >= all {
            if target.file.metadata()?.len() != all * size {
                target.file.set_len(all * size)?;
            }
            return Ok(is_one_snapshot);
        }
        is_one_snapshot = false;
        log.wait_until_it_starts_over();
    }
}

/// The content of some pages, numbered from 0.
fn read(snapshot: &Connection, pages: std::ops::Range<u64>) -> rusqlite::Result<Vec<u8>> {
    let mut page = snapshot.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
    let mut content = Vec::new();
    for number in pages.clone() {
        page.query_row([number as i64 + 1], |row| {
            content.extend_from_slice(row.get_ref(0)?.as_blob()?);
            Ok(())
        })?;
    }
    if pages.start == 0
        && let Some(mode) = content.get_mut(LOG_MODE)
    {
        mode.fill(WITHOUT_LOG);
    }
    Ok(content)
}

struct Target<'a> {
    file: &'a File,
    unsynced: usize,
    /// What the file holds where the pages belong.
    there: Vec<u8>,
}

impl Target<'_> {
    /// Writes those of the pages that are not in the file as they are.
    fn put(&mut self, offset: u64, size: usize, content: &[u8]) -> io::Result<()> {
        self.there.resize(content.len(), 0);
        let known = read_up_to(self.file, &mut self.there, offset)?;
        for (number, page) in content.chunks(size).enumerate() {
            let at = number * size;
            if at + page.len() <= known && page == &self.there[at..at + page.len()] {
                continue;
            }
            self.file.write_all_at(page, offset + at as u64)?;
            self.unsynced += page.len();
        }
        // Little at a time: a disk that is busy with much at once keeps every commit waiting.
        if self.unsynced >= COPY_SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

/// As much as there is.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A look at the log of a database, by a connection of its own: one inside a transaction is not told.
pub(super) struct Log(pub(super) Connection);

impl Log {
    /// 0 where there is none, or nobody can write to it.
    pub(super) fn bytes(&self) -> u64 {
        wal::length(&self.0).map_or(0, |length| length.live)
    }

    /// Waits until a commit has found the log free, which takes no longer than whoever commits needs to
    /// move it; or for a while, in case that nobody does.
    fn wait_until_it_starts_over(&self) {
        let looks = COPY_PAUSE.as_millis() / COPY_LOOK.as_millis();
        for _ in 0..looks {
            if self.bytes() < DATABASE.folded {
                return;
            }
            thread::sleep(COPY_LOOK);
        }
    }
}
