//! The fixed pool of threads, in three shares with a queue each, so that none can starve another:
//! webhooks, which never wait; queries, which may take seconds; probes, which are always answered.
//!
//! Threads pull from their queue instead of being handed a closure for each request, which was
//! measured to take a fifth less time. A full queue gives the request back at once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender, unbounded};
use threadpool::ThreadPool;

use super::exchange::Exchange;
use crate::limits::{
    INGEST_QUEUE, INGEST_WORKERS, PROBE_QUEUE, PROBE_WORKERS, READ_QUEUE, WORKER_STACK_BYTES,
};
use crate::metrics::{Lane, Metrics};
use crate::store::{Inserted, StoreError};

enum Job {
    Run(Box<Exchange>),
    /// The second half of a webhook.
    Committed(Box<Exchange>, String, Result<Inserted, StoreError>),
}

/// The pool. Dropping it lets the threads finish what is queued and end.
pub(super) struct Pool {
    queues: [Queue; Lane::ALL.len()],
    metrics: Arc<Metrics>,
    _threads: ThreadPool,
}

struct Queue {
    jobs: Sender<Job>,
    /// Requests it may hold. The channel itself is unbounded, because the second half of a webhook
    /// must never be refused; there are no more of those than webhooks that were let in.
    bound: usize,
}

/// The way of a committed message back into the pool.
#[derive(Clone)]
pub(super) struct Completions(Sender<Job>);

impl Completions {
    pub(super) fn send(
        &self,
        exchange: Box<Exchange>,
        message_id: String,
        outcome: Result<Inserted, StoreError>,
    ) {
        // If the pool is gone the exchange is dropped, and answers for itself.
        let _ = self.0.send(Job::Committed(exchange, message_id, outcome));
    }
}

impl Pool {
    /// Starts `workers` threads, and one for each share at the least.
    pub(super) fn start(workers: usize, metrics: &Arc<Metrics>) -> Self {
        let probe = PROBE_WORKERS.min(workers.div_ceil(4));
        let ingest = INGEST_WORKERS.min(workers.div_ceil(4));
        let read = workers.saturating_sub(probe + ingest).max(1);
        let threads = threadpool::Builder::new()
            .num_threads(probe + ingest + read)
            .thread_name("worker".into())
            .thread_stack_size(WORKER_STACK_BYTES)
            .build();
        let (completions, ingest_jobs) = unbounded();
        let completions = Completions(completions);
        let queue = |lane: Lane, share: usize, bound: usize, channel: (Sender<Job>, Receiver<Job>)| {
            for _ in 0..share {
                let (jobs, completions, metrics) =
                    (channel.1.clone(), completions.clone(), Arc::clone(metrics));
                threads.execute(move || work(lane, &jobs, &completions, &metrics));
            }
            Queue { jobs: channel.0, bound }
        };
        let queues = [
            queue(Lane::Ingest, ingest, INGEST_QUEUE, (completions.0.clone(), ingest_jobs)),
            queue(Lane::Read, read, READ_QUEUE, unbounded()),
            queue(Lane::Probe, probe, PROBE_QUEUE, unbounded()),
        ];
        Self { queues, metrics: Arc::clone(metrics), _threads: threads }
    }

    /// Queues a request, or gives it back if its queue is full.
    pub(super) fn submit(&self, exchange: Box<Exchange>) -> Result<(), Box<Exchange>> {
        let lane = exchange.lane();
        let queue = &self.queues[lane as usize];
        let waiting = self.metrics.waiting(lane);
        if waiting.fetch_add(1, Relaxed) >= queue.bound as i64 {
            waiting.fetch_sub(1, Relaxed);
            return Err(exchange);
        }
        queue.jobs.send(Job::Run(exchange)).map_err(|unsent| match unsent.0 {
            Job::Run(exchange) | Job::Committed(exchange, ..) => exchange,
        })
    }
}

fn work(lane: Lane, jobs: &Receiver<Job>, completions: &Completions, metrics: &Metrics) {
    for job in jobs {
        match job {
            Job::Run(exchange) => {
                metrics.waiting(lane).fetch_sub(1, Relaxed);
                exchange.run(completions);
            }
            Job::Committed(exchange, message_id, outcome) => exchange.committed(message_id, &outcome),
        }
    }
}
