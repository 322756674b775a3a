//! The writer thread takes what waits, has it committed, then answers every waiter.
//!
//! - A waiter hears [`Stored`] only after the commit that holds its message, or all of its body.
//! - A failed transaction answers every waiter of its batch with the error; where one message or body
//!   alone could be at fault, each is tried once more by itself.
//! - A panic answers its batch with [`StoreError::Lost`], and the thread goes on.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::batch::{Insert, InsertedBatch, Stored};
use super::commit_signal::CommitSignal;
use super::transactor::Transactor;
use super::waiter::{Waiter, answer_all};
use super::writer::{Job, WriteCommand};
use crate::limits::MAX_BATCH;
use crate::store::error::StoreError;
use crate::store::index::indexer::Wake;

/// While new queries are held up because the log has to restart, how often it is looked whether the others have ended.
const HELD_QUERY_POLL: Duration = Duration::from_millis(20);
/// How often an idle writer looks whether another process has committed: so long may a total be wrong that
/// somebody has made wrong past the triggers.
const IDLE_POLL: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Batch {
    inserts: Vec<(Insert, Waiter)>,
    /// Messages, and items of bodies.
    weight: usize,
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
        let first = if stopping.load(SeqCst) {
            // Whoever sets it sends something afterwards.
            inbox.try_recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(if queries_are_held_up { HELD_QUERY_POLL } else { IDLE_POLL })
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) {
            return None;
        }
        let mut next = first.ok();
        while let Some(command) = next {
            match command {
                WriteCommand::Insert(message, waiter) => batch.push(Insert::Message(*message), waiter),
                WriteCommand::Deliver(waiting, waiter) => {
                    batch.push(Insert::Delivery(waiting.delivery), waiter);
                }
                WriteCommand::ProbeCommit(probe) => batch.probes.push(probe),
                WriteCommand::Job(job) => batch.jobs.push(job),
                WriteCommand::Ping(ping) => drop(ping),
            }
            if batch.weight >= MAX_BATCH {
                break;
            }
            next = inbox.try_recv().ok();
        }
        Some(batch)
    }

    fn push(&mut self, insert: Insert, waiter: Waiter) {
        self.weight += insert.weight();
        self.inserts.push((insert, waiter));
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
        let Batch { inserts, probes, jobs, .. } = batch;
        if !inserts.is_empty() {
            commit_all(transactor, signal, inserts);
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
            signal.committed_by_others();
        }
        // After probes as well: each writes to the log, and for a month there may be nothing else.
        transactor.checkpoint_if_due();
    }
}

fn commit_all(transactor: &mut Transactor, signal: &CommitSignal, inserts: Vec<(Insert, Waiter)>) {
    match commit(transactor, signal, inserts.iter().map(|(insert, _)| insert)) {
        Ok(outcomes) => {
            answer_all(inserts.into_iter().zip(outcomes).map(|((_, waiter), outcome)| (waiter, Ok(outcome))));
        }
        Err(StoreError::Refused(_)) if inserts.len() > 1 => {
            for (insert, waiter) in inserts {
                let outcome = commit(transactor, signal, std::iter::once(&insert));
                waiter.answer(outcome.and_then(|mut outcomes| outcomes.pop().ok_or(StoreError::Lost)));
            }
        }
        Err(error) => answer_all(inserts.into_iter().map(|(_, waiter)| (waiter, Err(error.clone())))),
    }
}

fn commit<'a>(
    transactor: &mut Transactor,
    signal: &CommitSignal,
    inserts: impl Iterator<Item = &'a Insert> + Clone,
) -> Result<Vec<Stored>, StoreError> {
    let InsertedBatch { outcomes, created, .. } = transactor.commit(inserts)?;
    if !created.is_empty() {
        signal.committed();
    }
    Ok(outcomes)
}
