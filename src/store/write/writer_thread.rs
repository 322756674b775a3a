//! The writer thread takes what waits, has it committed, then answers every waiter.
//!
//! - A waiter hears [`Inserted`] only after the commit that holds its message.
//! - A failed transaction answers every waiter of its batch with the error; where one message alone
//!   could be at fault, each is tried once more by itself.
//! - A panic answers its batch with [`StoreError::Lost`], and the thread goes on.
//!
//! [`Inserted`]: crate::store::Inserted

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::batch::InsertedBatch;
use super::commit_signal::CommitSignal;
use super::transactor::Transactor;
use super::waiter::{Waiter, answer_all};
use super::writer::{Job, WriteCommand};
use crate::limits::MAX_BATCH;
use crate::message::Message;
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;

/// While queries are held up for that, how often it is looked whether the others have ended.
const HELD_QUERY_LOOK: Duration = Duration::from_millis(20);
/// How often an idle writer looks whether another process has committed: so long may a total be wrong that
/// somebody has made wrong past the triggers.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    waiters: Vec<Waiter>,
    probes: Vec<Sender<Result<(), StoreError>>>,
    jobs: Vec<Job>,
}

impl Batch {
    /// Waits for one command, then takes what else is there. Waits for a moment only where queries are
    /// held up, and in any case no longer than until somebody else's commits are looked for. `None` when nothing
    /// waits and nothing more is to come.
    fn take(
        inbox: &Receiver<WriteCommand>,
        stopping: &AtomicBool,
        queries_are_held_up: bool,
    ) -> Option<Self> {
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
                WriteCommand::Insert(message, waiter) => {
                    batch.messages.push(*message);
                    batch.waiters.push(waiter);
                }
                WriteCommand::ProbeCommit(probe) => batch.probes.push(probe),
                WriteCommand::Job(job) => batch.jobs.push(job),
                WriteCommand::Ping(ping) => drop(ping),
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
pub(super) fn serve(
    transactor: &mut Transactor,
    inbox: &Receiver<WriteCommand>,
    stopping: &AtomicBool,
    indexer: &Wake,
    signal: &CommitSignal,
) {
    while let Some(batch) = Batch::take(inbox, stopping, transactor.holds_queries_up()) {
        let Batch { messages, waiters, probes, jobs } = batch;
        if !messages.is_empty() {
            commit_all(transactor, signal, &messages, waiters);
            indexer.wake();
        }
        for probe in probes {
            // Whoever asked may have stopped waiting.
            let _ = probe.send(transactor.probe_commit());
        }
        for job in jobs {
            job(transactor);
        }
        if transactor.others_have_committed() {
            indexer.committed_by_others();
            signal.committed_by_others(transactor.head().unwrap_or_else(|| signal.head()));
        }
        // After probes as well: each writes to the log, and for a month there may be nothing else.
        transactor.checkpoint_if_due();
    }
}

fn commit_all(
    transactor: &mut Transactor,
    signal: &CommitSignal,
    messages: &[Message],
    waiters: Vec<Waiter>,
) {
    debug_assert_eq!(messages.len(), waiters.len());
    let mut commit = |messages| {
        let InsertedBatch { outcomes, newest, .. } = transactor.commit(messages)?;
        if let Some(newest) = newest {
            signal.committed(newest);
        }
        Ok(outcomes)
    };
    match commit(messages) {
        Ok(outcomes) => answer_all(waiters.into_iter().zip(outcomes.into_iter().map(Ok))),
        Err(StoreError::Refused(_)) if messages.len() > 1 => {
            for (message, waiter) in messages.iter().zip(waiters) {
                let outcome = commit(std::slice::from_ref(message));
                waiter.answer(outcome.map(|outcomes| outcomes[0]));
            }
        }
        Err(error) => answer_all(waiters.into_iter().map(|waiter| (waiter, Err(error.clone())))),
    }
}
