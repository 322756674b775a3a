//! The writer thread: the only one that changes the database.
//!
//! It takes what waits, has it put into one transaction ([`super::transactor`]), and answers every
//! waiter once that is committed and synced. Invariants:
//!
//! - A waiter hears [`Inserted`](crate::store::Inserted) only after the commit that holds its message.
//! - A failed transaction answers every waiter of its batch with the error; where one message alone
//!   could be at fault, each is tried once more by itself.
//! - A panic answers its batch with [`StoreError::Lost`], and the thread goes on.
//! - To stop is a state and no command, so no panic loses it: the thread ends when nothing waits any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::last_close::LastConnection;
use super::mover::Mover;
use super::transactor::{Proof, Transactor};
use super::waiter::Waiter;
use crate::limits::{FAILURE_STANDS, HELD_QUERY_LOOK, MAX_BATCH, PROBE_TIMEOUT, WRITER_QUEUE};
use crate::log::Log;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;
use crate::store::read::readers::Readers;

/// How often an idle writer looks whether another process has committed: so long may a total be wrong that
/// somebody has made wrong past the triggers.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(1);

enum Command {
    /// Boxed, because the queue holds a place of this size for every message that may ever wait.
    Insert(Box<Message>, Waiter),
    Prove(Sender<Result<(), StoreError>>),
    Chore(Chore),
    /// Answered by being dropped, as soon as it is taken up.
    Look(Sender<()>),
}

/// Something small that is done in a transaction of its own.
type Chore = Box<dyn FnOnce(&mut Transactor) + Send>;

/// The way to have the writer do something between two batches.
pub(in crate::store) struct Chores(Sender<Command>);

impl Chores {
    /// Waits until it is done and committed. Only one chore at a time is to be under way, so that no
    /// message waits for more than one.
    pub(in crate::store) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, heard) = bounded(1);
        let chore = move |transactor: &mut Transactor| {
            // Whoever asked may have panicked meanwhile.
            let _ = answer.send(transactor.transact(work));
        };
        self.0.send(Command::Chore(Box::new(chore))).map_err(|_| StoreError::Stopping)?;
        heard.recv().unwrap_or(Err(StoreError::Lost))
    }

    /// Cuts the log to nothing, between two transactions. False if somebody reads it just now.
    pub(in crate::store) fn empty_log(&self) -> Result<bool, StoreError> {
        let (answer, heard) = bounded(1);
        let chore = move |transactor: &mut Transactor| {
            let _ = answer.send(transactor.empty_log());
        };
        self.0.send(Command::Chore(Box::new(chore))).map_err(|_| StoreError::Stopping)?;
        heard.recv().unwrap_or(Err(StoreError::Lost))
    }
}

/// The handle of the writer thread.
pub(in crate::store) struct Writer {
    commands: Sender<Command>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<thread::JoinHandle<LastConnection>>>,
    proof: Proof,
    /// What the last prober heard, and when.
    last_proof: Mutex<Option<(Instant, Result<(), StoreError>)>>,
}

impl Writer {
    pub(in crate::store) fn start(
        path: &Path,
        connection: Result<Connection, StoreError>,
        readers: Arc<Readers>,
        wake: Wake,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> io::Result<Self> {
        let (commands, inbox) = bounded(WRITER_QUEUE);
        let proof = Proof::default();
        let mover = Mover::start(path, Arc::clone(&readers), log.clone())?;
        let mut transactor = Transactor::new(path, connection, readers, mover, proof.clone(), metrics, log);
        let stopping = Arc::<AtomicBool>::default();
        let is_stopping = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("writer".into()).spawn(move || {
            // A panic answers the batch it struck with `Lost` and costs the connection, not the service.
            while catch_unwind(AssertUnwindSafe(|| serve(&mut transactor, &inbox, &is_stopping, &wake)))
                .is_err()
            {
                transactor.give_up_connection();
            }
            transactor.retire()
        })?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { commands, stopping, thread, proof, last_proof: Mutex::new(None) })
    }

    pub(in crate::store) fn chores(&self) -> Chores {
        Chores(self.commands.clone())
    }

    pub(in crate::store) fn insert(&self, message: Message, waiter: Waiter) {
        match self.commands.try_send(Command::Insert(Box::new(message), waiter)) {
            Ok(()) => {}
            Err(TrySendError::Full(Command::Insert(_, waiter))) => waiter.answer(Err(StoreError::Overloaded)),
            Err(TrySendError::Disconnected(Command::Insert(_, waiter))) => {
                waiter.answer(Err(StoreError::Stopping));
            }
            Err(_) => unreachable!("try_send gives back what it was given"),
        }
    }

    /// Ok if the last commit was a moment ago, or if one made now succeeds in time. Any number of
    /// callers share one answer, so that none waits for more than one try.
    pub(in crate::store) fn prove(&self) -> Result<(), StoreError> {
        let mut last = self.last_proof.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, Err(error))) = &*last
            && when.elapsed() < FAILURE_STANDS
            && !self.proof.is_recent()
        {
            return Err(error.clone());
        }
        let result = self.ask_for_proof();
        *last = Some((Instant::now(), result.clone()));
        result
    }

    fn ask_for_proof(&self) -> Result<(), StoreError> {
        if self.proof.is_recent() {
            return Ok(());
        }
        let (answer, proof) = bounded(1);
        self.commands.try_send(Command::Prove(answer)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => StoreError::Stopping,
        })?;
        proof.recv_timeout(PROBE_TIMEOUT).unwrap_or(Err(StoreError::Locked))
    }

    /// True if the thread takes up its next batch in time, whatever becomes of it.
    pub(in crate::store) fn makes_progress(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (look, taken_up) = bounded(0);
        match self.commands.send_timeout(Command::Look(look), within) {
            // There is nothing left to be done.
            Err(SendTimeoutError::Disconnected(_)) => true,
            Err(SendTimeoutError::Timeout(_)) => false,
            Ok(()) => taken_up.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected),
        }
    }

    /// Has the writer prove by itself that it can commit. What it finds is in the metrics.
    pub(in crate::store) fn prove_soon(&self) {
        let (answer, _) = bounded(1);
        // A writer that has no time is at work, and one that is gone needs no proof.
        let _ = self.commands.try_send(Command::Prove(answer));
    }

    pub(in crate::store) fn queue_depth(&self) -> usize {
        self.commands.len()
    }

    /// Waits until everything that was queued is committed, and answered. Gives the connection that
    /// did it, once.
    pub(in crate::store) fn stop(&self) -> Option<LastConnection> {
        self.stopping.store(true, SeqCst);
        // It may be waiting for something to do. An error means that the thread has ended already.
        let _ = self.commands.send(Command::Look(bounded(0).0));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread?.join().ok()
    }
}

#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    waiters: Vec<Waiter>,
    probes: Vec<Sender<Result<(), StoreError>>>,
    chores: Vec<Chore>,
}

impl Batch {
    /// Waits for one command, then takes what else is there. Waits for a moment only where queries are
    /// held up, and in any case no longer than until somebody else's commits are looked for. `None` when nothing
    /// waits and nothing more is to come.
    fn take(inbox: &Receiver<Command>, stopping: &AtomicBool, queries_are_held_up: bool) -> Option<Self> {
        let mut batch = Self::default();
        let first = match queries_are_held_up {
            // Whoever sets it sends something afterwards.
            _ if stopping.load(SeqCst) => inbox.try_recv().map_err(|_| RecvTimeoutError::Disconnected),
            true => inbox.recv_timeout(HELD_QUERY_LOOK),
            false => inbox.recv_timeout(LOOK_FOR_OTHERS),
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) {
            return None;
        }
        let mut next = first.ok();
        while let Some(command) = next {
            match command {
                Command::Insert(message, waiter) => {
                    batch.messages.push(*message);
                    batch.waiters.push(waiter);
                }
                Command::Prove(probe) => batch.probes.push(probe),
                Command::Chore(chore) => batch.chores.push(chore),
                Command::Look(look) => drop(look),
            }
            if batch.messages.len() >= MAX_BATCH {
                break;
            }
            next = inbox.try_recv().ok();
        }
        Some(batch)
    }
}

/// Works until told to stop, and commits everything that is queued then.
fn serve(transactor: &mut Transactor, inbox: &Receiver<Command>, stopping: &AtomicBool, indexer: &Wake) {
    while let Some(batch) = Batch::take(inbox, stopping, transactor.holds_queries_up()) {
        let Batch { messages, waiters, probes, chores } = batch;
        if !messages.is_empty() {
            commit_all(transactor, &messages, waiters);
            indexer.wake();
        }
        for probe in probes {
            // Whoever asked may have stopped waiting.
            let _ = probe.send(transactor.prove());
        }
        for chore in chores {
            chore(transactor);
        }
        if transactor.others_have_committed() {
            indexer.committed_by_others();
        }
        // After probes as well: each writes to the log, and for a month there may be nothing else.
        transactor.checkpoint_if_due();
    }
}

fn commit_all(transactor: &mut Transactor, messages: &[Message], waiters: Vec<Waiter>) {
    debug_assert_eq!(messages.len(), waiters.len());
    match transactor.commit(messages) {
        Ok(outcomes) => {
            for (waiter, inserted) in waiters.into_iter().zip(outcomes) {
                waiter.answer(Ok(inserted));
            }
        }
        Err(StoreError::Refused(_)) if messages.len() > 1 => {
            for (message, waiter) in messages.iter().zip(waiters) {
                let outcome = transactor.commit(std::slice::from_ref(message));
                waiter.answer(outcome.map(|outcomes| outcomes[0]));
            }
        }
        Err(error) => {
            for waiter in waiters {
                waiter.answer(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::waiter::{Heard, OutcomeSender, outcomes};
    use super::*;
    use crate::store::database::insertion::Inserted;
    use crate::store::database::prepare;
    use crate::store::index::indexer::Indexer;
    use crate::waker::Waker;

    fn writer(path: &Path) -> Writer {
        let log = Log::start(crate::log::Level::Error).unwrap();
        let (connection, _lock) = prepare::prepare(path).unwrap();
        let metrics = Arc::<Metrics>::default();
        let readers = Arc::new(Readers::new(path, Arc::clone(&metrics)));
        let indexer = Indexer::start(path, Arc::clone(&readers), Arc::clone(&metrics), log.clone()).unwrap();
        Writer::start(path, Ok(connection), readers, indexer.wake(), metrics, log).unwrap()
    }

    fn message(id: &str) -> Message {
        let body = format!(r#"{{"message_id":"{id}","from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z"}}"#);
        Message::parse(body.as_bytes()).unwrap()
    }

    /// Something that panics on the writer's thread.
    fn panic(writer: &Writer) {
        writer.commands.send(Command::Chore(Box::new(|_| panic!("on purpose")))).unwrap();
    }

    fn channel() -> (OutcomeSender, Receiver<Heard>) {
        outcomes(Arc::new(Waker::new().unwrap()))
    }

    #[test]
    fn after_a_panic_in_the_writer_the_next_message_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder.path().join("app.db"));
        let (sender, heard) = channel();
        writer.insert(message("m1"), sender.waiter(1));
        panic(&writer);
        assert_eq!(heard.recv(), Ok((1, Ok(Inserted::Created))));
        // The connection is opened anew after a pause; until then the answer is an error.
        let outcome = std::iter::repeat_with(|| {
            writer.insert(message("m2"), sender.waiter(2));
            heard.recv().unwrap()
        });
        assert!(outcome.take(100_000_000).any(|outcome| outcome == (2, Ok(Inserted::Created))));
        writer.stop();
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
        writer.commands.send(Command::Chore(Box::new(hold_up))).unwrap();
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
