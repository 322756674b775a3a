//! Checkpoints: the write-ahead log is moved into the database file before it grows too long.
//!
//! - Most of it is moved by a thread of its own while commits go on. The log starts over only when
//!   nothing in it is left to be moved, so the last of it is moved by the writer, between two commits.
//! - A query that began earlier keeps the log from starting over, and overlapping queries could do so
//!   for ever. When it has grown too long, new queries wait until those that run have ended; those that
//!   take long are given up then.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::readers::{Held, Readers};
use super::schema;
use crate::limits::{CHECKPOINT_PAGES, CHECKPOINT_REST_PAGES, LONG_WAL_PAGES, MOST_WAL_PAGES};
use crate::os;

/// Moves what the log holds now. When it has been dropped its connection is closed.
pub(super) struct Mover {
    /// `None` once it is to end.
    wake: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Mover {
    pub(super) fn start(database: &Path, readers: Arc<Readers>) -> io::Result<Self> {
        let (wake, woken) = bounded(1);
        let database = database.to_owned();
        let thread = thread::Builder::new().name("checkpointer".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            // A panic costs the connection; the writer moves everything by itself meanwhile.
            while catch_unwind(AssertUnwindSafe(|| serve(&database, &readers, &woken))).is_err() {}
        })?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If one is waiting already it stands for both.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has ended nothing but its connection.
            let _ = thread.join();
        }
    }
}

fn serve(database: &Path, readers: &Readers, woken: &Receiver<()>) {
    let mut open: Option<(u64, Connection)> = None;
    while woken.recv().is_ok() {
        let generation = readers.generation();
        open = open.filter(|(of, _)| *of == generation);
        if open.is_none() {
            open = schema::open_for_reading(database).ok().map(|connection| (generation, connection));
        }
        // What fails here is met by the writer, who draws the conclusions.
        if let Some((_, connection)) = &open
            && passive(connection).is_err()
        {
            open = None;
        }
    }
}

/// Pages in the log, and how many of them were moved; `None` if somebody else is at it.
fn passive(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(0)? == 0).then_some((row.get(1)?, row.get(2)?)))
    })
}

/// What the writer knows of the log of its connection.
pub(super) struct LogWatch {
    /// Pages in it after the last commit.
    pages: Arc<AtomicI64>,
    pages_before: i64,
    /// As many pages are worth waking the mover.
    wake_at: i64,
    /// As many pages bring the writer's own checkpoint.
    checkpoint_at: i64,
    held: Held,
}

impl LogWatch {
    /// Of a connection that commits, and has just moved all of its log.
    pub(super) fn new(connection: &mut Connection, readers: &Arc<Readers>) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI64::new(0));
        let seen = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut Wal, pages| {
            seen.store(i64::from(pages), Relaxed);
            Ok(())
        }))?;
        let held = Held::none(readers);
        Ok(Self {
            pages,
            pages_before: 0,
            wake_at: CHECKPOINT_PAGES / 2,
            checkpoint_at: CHECKPOINT_PAGES,
            held,
        })
    }

    /// True while queries are held up until others have ended: the next look must not wait for a message.
    pub(super) fn holds_queries_up(&self) -> bool {
        self.held.holds_any()
    }

    /// To be called between two commits.
    pub(super) fn checkpoint_if_due(
        &mut self,
        connection: &Connection,
        mover: &Mover,
    ) -> rusqlite::Result<()> {
        let pages = self.pages.load(Relaxed);
        if pages < self.pages_before {
            // It has started over.
            (self.wake_at, self.checkpoint_at) = (CHECKPOINT_PAGES / 2, CHECKPOINT_PAGES);
            self.held.give_up_long_ones(false);
            self.held.release();
        }
        self.pages_before = pages;
        if pages >= self.wake_at {
            mover.wake();
            let last_time = self.checkpoint_at - CHECKPOINT_REST_PAGES;
            self.wake_at = if pages < last_time { last_time } else { pages + CHECKPOINT_PAGES };
        }
        if pages < self.checkpoint_at {
            return Ok(());
        }
        self.held.give_up_long_ones(pages >= LONG_WAL_PAGES);
        if pages >= MOST_WAL_PAGES && !self.held.hold() {
            return Ok(());
        }
        // If the log does not start over now, or the mover is at it, there is time until it has
        // grown by some more.
        let done = passive(connection);
        self.held.release();
        self.checkpoint_at = pages + CHECKPOINT_REST_PAGES;
        if let Some((in_log, moved)) = done?
            && moved < in_log
            // When no query runs any more it is another process that reads, a backup say, and to hold
            // queries up all the time would not make it end.
            && !(MOST_WAL_PAGES..LONG_WAL_PAGES).contains(&pages)
        {
            self.held.give_up_long_ones(false);
            self.checkpoint_at = pages + CHECKPOINT_PAGES / 4;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::*;
    use std::cell::RefCell;
    use std::time::Instant;

    #[test]
    fn queries_are_held_up_no_longer_than_the_log_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(prepare::prepare(&path).unwrap());
        let readers = Arc::new(Readers::new(&path, Arc::default()));
        let mut connection = schema::open_for_writing(&path).unwrap();
        let mover = Mover::start(&path, Arc::clone(&readers)).unwrap();
        let watch = RefCell::new(LogWatch::new(&mut connection, &readers).unwrap());
        let look = |pages| {
            let mut watch = watch.borrow_mut();
            watch.pages.store(pages, Relaxed);
            watch.checkpoint_if_due(&connection, &mover).unwrap();
            watch.holds_queries_up()
        };
        let query = |pages| readers.with(Instant::now(), false, |_| Ok(look(pages))).unwrap();
        assert!(!query(CHECKPOINT_PAGES - 1));
        assert!(query(MOST_WAL_PAGES), "one is running");
        assert!(!query(1), "the log has started over by itself");
        assert!(query(MOST_WAL_PAGES));
        assert!(!look(MOST_WAL_PAGES), "it has ended, and was waited for");
    }
}
