//! The checkpointer moves most of the database's log into the file while commits go on.
//!
//! It also looks whether other processes commit so much that the log needs keeping while the writer rests,
//! or ask for a moment without queries.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::Connection;

use crate::log::Log;
use crate::os;
use crate::store::checkpoint::keeper::{Keeper, Kept, Report};
use crate::store::checkpoint::reader_gate::{ClosedGate, ReaderGate};
use crate::store::database::wal_bounds::DATABASE;
use crate::store::database::{connections, files, lock, wal};
use crate::store::read::epoch::Epochs;

/// How often it is asked whether another process commits, or asks for something.
const OTHERS_POLL: Duration = Duration::from_millis(50);
/// When a moment without queries has been asked for so long, those that are still running are given up.
const MOMENT_GRACE: Duration = Duration::from_secs(2);
/// A moment is no longer than this, even if whoever asked for it was stopped meanwhile.
const MAX_MOMENT: Duration = Duration::from_secs(5);
/// And queries have so long until the next.
const BETWEEN_MOMENTS: Duration = Duration::from_secs(1);

/// Moves what the database's log holds now. When it has been dropped its connection is closed.
pub(super) struct Checkpointer {
    gate: Arc<ReaderGate>,
    /// Bytes in the log after the writer's last commit.
    pub(super) writer_wal_bytes: Arc<AtomicU64>,
    report: Arc<Report>,
    /// `None` once it is to end.
    wake: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(
        database: &Path,
        gate: &Arc<ReaderGate>,
        epochs: Arc<Epochs>,
        log: Log,
    ) -> io::Result<Self> {
        let (wake, woken) = bounded(1);
        let (writer_wal_bytes, report) = (Arc::<AtomicU64>::default(), Report::new("database", log));
        let mut work = CheckpointLoop {
            database: database.to_owned(),
            writer_wal_bytes: Arc::clone(&writer_wal_bytes),
            keeper: Keeper::new(&DATABASE, gate, Arc::clone(&report)),
            gate: Arc::clone(gate),
            moment: Moment::default(),
            epochs,
            open: None,
        };
        let thread = thread::Builder::new().name("checkpointer".into()).spawn(move || {
            os::lower_priority_of_this_thread();
            // A panic costs the connection; the writer moves everything by itself meanwhile.
            while catch_unwind(AssertUnwindSafe(|| work.serve(&woken))).is_err() {
                work.open = None;
            }
        })?;
        Ok(Self { gate: Arc::clone(gate), writer_wal_bytes, report, wake: Some(wake), thread: Some(thread) })
    }

    /// Keeps the log for whoever commits.
    pub(super) fn keeper(&self) -> Keeper {
        Keeper::new(&DATABASE, &self.gate, Arc::clone(&self.report))
    }

    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // If one is waiting already it stands for both.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has ended nothing but its connection.
            let _ = thread.join();
        }
    }
}

struct CheckpointLoop {
    database: PathBuf,
    writer_wal_bytes: Arc<AtomicU64>,
    /// For commits of others.
    keeper: Keeper,
    gate: Arc<ReaderGate>,
    moment: Moment,
    epochs: Arc<Epochs>,
    /// Which files it belongs to (`Epochs::generation`), and the connection.
    open: Option<(u64, Connection)>,
}

impl CheckpointLoop {
    fn serve(&mut self, woken: &Receiver<()>) {
        loop {
            let is_woken = match woken.recv_timeout(OTHERS_POLL) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.moment.advance(lock::is_asked(&self.database), &self.gate, Instant::now());
            let wal = std::fs::metadata(files::wal_path(&self.database)).map_or(0, |file| file.len());
            // What fails here is met by the writer, who draws the conclusions.
            if (is_woken || wal >= DATABASE.passive) && self.checkpoint(is_woken).is_err() {
                self.open = None;
            }
        }
    }

    fn checkpoint(&mut self, is_woken: bool) -> rusqlite::Result<()> {
        let generation = self.epochs.generation();
        self.open = self.open.take().filter(|(of, _)| *of == generation);
        let (_, connection) = match &mut self.open {
            Some(open) => open,
            closed => closed.insert((generation, connections::open_for_reading(&self.database)?)),
        };
        if is_woken {
            wal::passive(connection)?;
            return Ok(());
        }
        let length = wal::length(connection)?;
        // What the writer knows is the writer's, and of what is moved there is nothing left to be done.
        if length.live == self.writer_wal_bytes.load(Relaxed) || length.checkpointed == length.live {
            self.keeper.rest();
        } else if self.keeper.keep(connection, length.live)? == Kept::PassiveIsDue {
            wal::passive(connection)?;
        }
        Ok(())
    }
}

/// A moment without queries, for another process that asks for it.
#[derive(Default)]
struct Moment {
    asked_since: Option<Instant>,
    closed: Option<ClosedGate>,
}

/// What is done for who has asked for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// New queries wait.
    Held,
    /// Long ones are given up as well.
    GivesUp,
}

impl Moment {
    fn advance(&mut self, is_asked: bool, gate: &Arc<ReaderGate>, now: Instant) -> Stage {
        self.asked_since = is_asked.then(|| self.asked_since.unwrap_or(now));
        let stage = self.asked_since.map_or(Stage::Open, |since| Stage::after(now - since));
        match stage {
            Stage::Open => self.closed = None,
            Stage::Held => {
                self.closed.get_or_insert_with(|| gate.close());
            }
            Stage::GivesUp => self.closed.get_or_insert_with(|| gate.close()).give_up_long_queries(),
        }
        stage
    }
}

impl Stage {
    fn after(asked_for: Duration) -> Self {
        let turn = (MAX_MOMENT + BETWEEN_MOMENTS).as_millis();
        match asked_for.as_millis() % turn {
            time if time < MOMENT_GRACE.as_millis() => Stage::Held,
            time if time < MAX_MOMENT.as_millis() => Stage::GivesUp,
            _ => Stage::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_given_as_long_as_it_is_asked_for_and_not_for_ever() {
        use Stage::{GivesUp, Held, Open};
        let gate = Arc::<ReaderGate>::default();
        let (mut moment, began) = (Moment::default(), Instant::now());
        for (milliseconds, is_asked, stage) in [
            (0, false, Open),
            (50, true, Held),
            (2000, true, Held),
            (2050, false, Open),
            // Asked for by one that was stopped in the middle of it.
            (2100, true, Held),
            (4150, true, GivesUp),
            (7000, true, GivesUp),
            (7150, true, Open),
            (8050, true, Open),
            (8150, true, Held),
            (8200, false, Open),
        ] {
            let now = began + Duration::from_millis(milliseconds);
            assert_eq!(moment.advance(is_asked, &gate, now), stage, "after {milliseconds} ms");
            assert_eq!(moment.closed.is_some(), stage != Open);
        }
    }
}
