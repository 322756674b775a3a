//! The writer thread takes what waits, has it committed, then answers every waiter.
//!
//! - A waiter hears [`Stored`] only after the commit that holds its message, or all of its body.
//! - A failed transaction answers every waiter of its batch with the error; where one message or body
//!   alone could be at fault, each is tried once more by itself.
//! - A panic answers its batch with [`StoreError::Lost`], and the thread goes on.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TryRecvError};

use super::batch::{Insert, InsertedBatch, Stored};
use super::command_queue::CommandQueue;
use super::commit_signal::CommitSignal;
use super::group_delay::GroupDelay;
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
    /// Waits for one command, then for the delay, and takes what is there. Waits for a moment only where queries are
    /// held up, and in any case no longer than until somebody else's commits are looked for. `None` when nothing
    /// waits and nothing more is to come.
    fn take(
        inbox: &CommandQueue<WriteCommand>,
        stopping: &AtomicBool,
        queries_are_held_up: bool,
        delay: GroupDelay,
    ) -> Option<Self> {
        if !stopping.load(SeqCst) {
            let patience = if queries_are_held_up { HELD_QUERY_POLL } else { IDLE_POLL };
            inbox.wait_for(1, Instant::now() + patience);
            inbox.wait_for(delay.count, delay.until);
        }
        let mut batch = Self::default();
        loop {
            match inbox.try_recv() {
                Ok(WriteCommand::Insert(message, waiter)) => batch.push(Insert::Message(*message), waiter),
                Ok(WriteCommand::Deliver(waiting, waiter)) => {
                    batch.push(Insert::Delivery(waiting.delivery), waiter);
                }
                Ok(WriteCommand::ProbeCommit(probe)) => batch.probes.push(probe),
                Ok(WriteCommand::Job(job)) => batch.jobs.push(job),
                Ok(WriteCommand::Ping(ping)) => drop(ping),
                Err(TryRecvError::Disconnected) if batch.is_empty() => return None,
                Err(TryRecvError::Empty) if batch.is_empty() && stopping.load(SeqCst) => return None,
                Err(_) => break,
            }
            if batch.weight >= MAX_BATCH {
                break;
            }
        }
        Some(batch)
    }

    fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.probes.is_empty() && self.jobs.is_empty()
    }

    fn push(&mut self, insert: Insert, waiter: Waiter) {
        self.weight += insert.weight();
        self.inserts.push((insert, waiter));
    }
}

/// Works until told to stop, and commits everything that is queued then.
pub(super) fn serve(
    transactor: &mut Transactor,
    inbox: &CommandQueue<WriteCommand>,
    stopping: &AtomicBool,
    indexer: &Wake,
    signal: &CommitSignal,
) {
    let mut delay = GroupDelay { count: 0, until: Instant::now() };
    while let Some(batch) = Batch::take(inbox, stopping, transactor.holds_queries_up(), delay) {
        let Batch { inserts, probes, jobs, .. } = batch;
        if !inserts.is_empty() {
            let (began, answered) = (Instant::now(), inserts.len());
            commit_all(transactor, signal, inserts);
            delay = GroupDelay::after(answered, inbox.len(), began, Instant::now());
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
        transactor.rest_if_idle();
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
