//! The writer is a queue of commands for the one thread that changes the database ([`super::writer_thread`]).
//!
//! To stop is a state and no command, so no panic loses it: the thread ends when nothing waits any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::checkpointer::Checkpointer;
use super::command_queue::{CommandSender, command_queue};
use super::commit_signal::CommitSignal;
use super::last_close::LastConnection;
use super::last_commit::LastCommit;
use super::transactor::Transactor;
use super::waiter::Waiter;
use super::writer_thread::serve;
use crate::limits::{MAX_BATCH, PROBE_TIMEOUT};
use crate::log::Log;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::mutex::lock;
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;
use crate::store::read::queries::Queries;
use crate::whatsapp::Delivery;

/// Messages and items waiting for the writer; past it they are answered 503.
const WRITER_QUEUE: usize = 8192;
const _: () = assert!(MAX_BATCH <= WRITER_QUEUE);

/// A failure to commit is reported to probes for this long before another try.
const FAILURE_STANDS: Duration = Duration::from_millis(500);

pub(super) enum WriteCommand {
    /// Boxed, because the queue allocates places of this size many at a time.
    Insert(Box<Message>, Waiter),
    Deliver(Box<WaitingDelivery>, Waiter),
    ProbeCommit(Sender<Result<(), StoreError>>),
    Job(Job),
    /// Answered by being dropped, as soon as it is taken up.
    Ping(Sender<()>),
}

/// A body that waits for the writer. It counts as its items, until it is taken up.
pub(super) struct WaitingDelivery {
    pub(super) delivery: Delivery,
    /// Kept for its drop.
    _places: Places,
}

/// Places in the queue beyond the one that a command takes by itself.
struct Places {
    taken: Arc<AtomicUsize>,
    count: usize,
}

impl Places {
    /// `None` where there are not so many left: `waiting` commands are in the queue. One larger than a batch counts
    /// as one, which it will be.
    fn take(taken: &Arc<AtomicUsize>, waiting: usize, items: usize) -> Option<Self> {
        let count = items.clamp(1, MAX_BATCH) - 1;
        let left = WRITER_QUEUE.saturating_sub(waiting + 1);
        let more = |others: usize| others.checked_add(count).filter(|all| *all <= left);
        taken.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Self { taken: Arc::clone(taken), count })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.count, SeqCst);
    }
}

/// Something small that is done in a transaction of its own.
pub(super) type Job = Box<dyn FnOnce(&mut Transactor) + Send>;

/// The way to have the writer do something between two batches.
pub struct Jobs(CommandSender<WriteCommand>);

impl Jobs {
    /// Waits until it is done and committed. Only one job at a time is to be under way, so that no
    /// message waits for more than one.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(|transactor| transactor.transact(work))
    }

    /// Truncates the log, between two transactions. False if somebody reads it just now.
    pub fn truncate_wal(&self) -> Result<bool, StoreError> {
        self.ask(Transactor::truncate_wal)
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transactor) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, heard) = bounded(1);
        let job = move |transactor: &mut Transactor| {
            // Whoever asked may have panicked meanwhile.
            let _ = answer.send(work(transactor));
        };
        self.0.send(WriteCommand::Job(Box::new(job))).map_err(|_| StoreError::Stopping)?;
        heard.recv().unwrap_or(Err(StoreError::Lost))
    }
}

/// The handle of the writer thread.
pub struct Writer {
    commands: CommandSender<WriteCommand>,
    /// By bodies that wait, beyond one place for each.
    taken_by_items: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<thread::JoinHandle<LastConnection>>>,
    last_commit: LastCommit,
    /// What the last prober heard, and when.
    last_probed: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Writer {
    /// On a connection from [`crate::store::database::prepare::claim`], or without one for a reason that may pass. To
    /// have made the database counts as its first commit.
    pub fn start(
        path: &Path,
        connection: Result<Connection, StoreError>,
        made: Option<Instant>,
        queries: &Queries,
        (wake, signal): (Wake, Arc<CommitSignal>),
        metrics: Arc<Metrics>,
        log: Log,
    ) -> io::Result<Self> {
        let (commands, inbox) = command_queue(WRITER_QUEUE);
        let last_commit = LastCommit::default();
        last_commit.set(made);
        let epochs = Arc::clone(queries.epochs());
        let checkpointer = Checkpointer::start(path, queries.gate(), Arc::clone(&epochs), log.clone())?;
        let mut transactor =
            Transactor::new(path, connection, epochs, checkpointer, last_commit.clone(), metrics, log);
        let stopping = Arc::<AtomicBool>::default();
        let is_stopping = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("writer".into()).spawn(move || {
            // A panic answers the batch it struck with `Lost` and costs the connection, not the service.
            while catch_unwind(AssertUnwindSafe(|| {
                serve(&mut transactor, &inbox, &is_stopping, &wake, &signal);
            }))
            .is_err()
            {
                transactor.give_up_connection();
            }
            transactor.retire()
        })?;
        let thread = Mutex::new(Some(thread));
        let taken_by_items = Arc::default();
        Ok(Self { commands, taken_by_items, stopping, thread, last_commit, last_probed: Mutex::new(None) })
    }

    pub fn jobs(&self) -> Jobs {
        Jobs(self.commands.clone())
    }

    pub fn insert(&self, message: Message, waiter: Waiter) {
        let taken = self.taken_by_items.load(SeqCst);
        if taken > 0 && taken + self.commands.len() >= WRITER_QUEUE {
            return waiter.answer(Err(StoreError::Overloaded));
        }
        self.queue(WriteCommand::Insert(Box::new(message), waiter));
    }

    pub fn deliver(&self, delivery: Delivery, waiter: Waiter) {
        let items = delivery.items.len();
        let Some(places) = Places::take(&self.taken_by_items, self.commands.len(), items) else {
            return waiter.answer(Err(StoreError::Overloaded));
        };
        let waiting = WaitingDelivery { delivery, _places: places };
        self.queue(WriteCommand::Deliver(Box::new(waiting), waiter));
    }

    fn queue(&self, command: WriteCommand) {
        let (command, error) = match self.commands.try_send(command) {
            Ok(()) => return,
            Err(TrySendError::Full(command)) => (command, StoreError::Overloaded),
            Err(TrySendError::Disconnected(command)) => (command, StoreError::Stopping),
        };
        if let WriteCommand::Insert(_, waiter) | WriteCommand::Deliver(_, waiter) = command {
            waiter.answer(Err(error));
        }
    }

    /// Ok if the last commit was a moment ago, or if one made now succeeds in time. Any number of
    /// callers share one answer, so that none waits for more than one try.
    pub fn probe_commit(&self) -> Result<(), StoreError> {
        let mut last = lock(&self.last_probed);
        if let Some((when, Err(error))) = &*last
            && when.elapsed() < FAILURE_STANDS
            && !self.last_commit.is_recent()
        {
            return Err(error.clone());
        }
        let result = self.ask_to_commit();
        *last = Some((Instant::now(), result.clone()));
        result
    }

    fn ask_to_commit(&self) -> Result<(), StoreError> {
        if self.last_commit.is_recent() {
            return Ok(());
        }
        let (answer, outcome) = bounded(1);
        self.commands.try_send(WriteCommand::ProbeCommit(answer)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Stopping,
        })?;
        outcome.recv_timeout(PROBE_TIMEOUT).unwrap_or(Err(StoreError::Locked))
    }

    /// True if the thread takes up its next batch in time, whatever becomes of it.
    pub fn makes_progress(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (ping, taken_up) = bounded(0);
        // Where it is gone already there is nothing left to be done.
        self.commands.send(WriteCommand::Ping(ping)).is_err()
            || taken_up.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
    }

    /// Has the writer prove by itself that it can commit. What it finds is in the metrics.
    pub fn probe_commit_soon(&self) {
        if self.last_commit.is_recent() {
            return;
        }
        let (answer, _) = bounded(1);
        // A writer that has no time is at work, and one that is gone needs no probe.
        let _ = self.commands.try_send(WriteCommand::ProbeCommit(answer));
    }

    pub fn queue_depth(&self) -> usize {
        self.commands.len() + self.taken_by_items.load(SeqCst)
    }

    /// Waits until everything that was queued is committed, and answered. Gives the connection that
    /// did it, once.
    pub fn stop(&self) -> Option<LastConnection> {
        self.stopping.store(true, SeqCst);
        // It may be waiting for something to do. An error means that the thread has ended already.
        let _ = self.commands.send(WriteCommand::Ping(bounded(0).0));
        let thread = lock(&self.thread).take();
        thread?.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::waiter::{Outcome, OutcomeSender, outcomes};
    use crossbeam_channel::Receiver;

    use super::super::batch::Stored;
    use super::*;
    use crate::store::database::insertion::Inserted;
    use crate::store::database::prepare;
    use crate::store::index::indexer::Indexer;
    use crate::waker::Waker;

    fn writer(path: &Path) -> Writer {
        let log = Log::start(crate::log::Level::Error).unwrap();
        let (connection, _lock) = prepare::prepare(path).unwrap();
        let metrics = Arc::<Metrics>::default();
        let queries = Arc::new(Queries::new(path, Arc::clone(&metrics)));
        let indexer = Indexer::start(path, Arc::clone(&queries), Arc::clone(&metrics), log.clone()).unwrap();
        Writer::start(path, Ok(connection), None, &queries, (indexer.wake(), Arc::default()), metrics, log)
            .unwrap()
    }

    fn message(id: &str) -> Message {
        let body = format!(r#"{{"message_id":"{id}","from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z"}}"#);
        Message::parse(body.as_bytes()).unwrap()
    }

    /// Something that panics on the writer's thread.
    fn panic(writer: &Writer) {
        writer.commands.send(WriteCommand::Job(Box::new(|_| panic!("on purpose")))).unwrap();
    }

    fn channel() -> (OutcomeSender, Receiver<Outcome>) {
        outcomes(Arc::new(Waker::new().unwrap()))
    }

    #[test]
    fn after_a_panic_in_the_writer_the_next_message_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder.path().join("app.db"));
        let (sender, heard) = channel();
        writer.insert(message("m1"), sender.waiter(1));
        panic(&writer);
        assert_eq!(heard.recv(), Ok(Outcome { ticket: 1, result: Ok(Stored::Message(Inserted::Created)) }));
        // The connection is opened anew after a pause; until then the answer is an error.
        let results = std::iter::repeat_with(|| {
            writer.insert(message("m2"), sender.waiter(2));
            heard.recv().unwrap().result
        });
        assert!(results.take(100_000_000).any(|result| result == Ok(Stored::Message(Inserted::Created))));
        writer.stop();
    }

    #[test]
    fn a_body_takes_the_place_of_its_items_until_it_is_taken_up() {
        // Commands that wait, places that bodies have taken beyond these, items; what is taken then.
        for (waiting, taken, items, expected) in [
            (0, 0, 1, Some(0)),
            (0, 0, 500, Some(499)),
            (0, 0, 131_072, Some(MAX_BATCH - 1)),
            (1, 499, 500, Some(998)),
            (WRITER_QUEUE - 1, 0, 1, Some(0)),
            (WRITER_QUEUE - 1, 0, 2, None),
            (WRITER_QUEUE, 0, 2, None),
            (10, WRITER_QUEUE - 20, 10, Some(WRITER_QUEUE - 11)),
            (10, WRITER_QUEUE - 20, 11, None),
        ] {
            let others = Arc::new(AtomicUsize::new(taken));
            let places = Places::take(&others, waiting, items);
            let after = places.as_ref().map(|_| others.load(SeqCst));
            assert_eq!(after, expected, "{waiting} {taken} {items}");
            drop(places);
            assert_eq!(others.load(SeqCst), taken);
        }
    }

    #[test]
    fn a_panic_in_the_last_batch_does_not_keep_the_writer_from_stopping() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Arc::new(writer(&folder.path().join("app.db")));
        let (go_on, gone_on) = bounded::<()>(0);
        let (begins, begun) = bounded(1);
        let hold_up = move |_: &mut Transactor| {
            begins.send(()).unwrap();
            let _ = gone_on.recv();
        };
        writer.commands.send(WriteCommand::Job(Box::new(hold_up))).unwrap();
        // While the writer is held up here, one that panics and the stop come to wait for it together.
        begun.recv().unwrap();
        panic(&writer);
        let (stopped, has_stopped) = bounded(1);
        let stopping = Arc::clone(&writer);
        thread::spawn(move || stopped.send(stopping.stop().is_some()).unwrap());
        while writer.queue_depth() < 2 {
            thread::yield_now();
        }
        drop(go_on);
        assert_eq!(has_stopped.recv_timeout(Duration::from_secs(60)), Ok(true));
    }
}
