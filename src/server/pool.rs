//! The fixed pool of threads, in three shares with a queue each, so that none can starve another:
//! webhooks, which never wait; queries, which may take seconds; probes, which are always answered.
//!
//! Threads pull from their queue instead of being handed a closure for each request, which was
//! measured to take a fifth less time. A full queue gives the request back at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use threadpool::ThreadPool;

use super::exchange::Exchange;
use crate::limits::{
    INGEST_QUEUE, INGEST_WORKERS, LONG_QUERY, PROBE_QUEUE, PROBE_WORKERS, READ_CONNECTIONS, READ_QUEUE,
    WORKER_STACK_BYTES,
};
use crate::metrics::{Lane, Metrics};
use crate::routes;
use crate::{os, pace};

/// The pool. Dropping it lets the threads finish what is queued and end.
pub(super) struct Pool {
    queues: [Sender<Box<Exchange>>; Lane::ALL.len()],
    metrics: Arc<Metrics>,
    _threads: ThreadPool,
}

impl Pool {
    /// Starts `workers` threads, and one for each share at the least. Fails if the system does not
    /// allow that many.
    pub(super) fn start(workers: usize, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let probe = PROBE_WORKERS.min(workers.div_ceil(4));
        let ingest = INGEST_WORKERS.min(workers.div_ceil(4));
        let read = workers.saturating_sub(probe + ingest).max(1);
        let threads = threadpool::Builder::new()
            .num_threads(probe + ingest + read)
            .thread_name("worker".into())
            .thread_stack_size(WORKER_STACK_BYTES);
        // The crate panics where a thread cannot be started.
        let threads = catch_unwind(AssertUnwindSafe(|| threads.build())).map_err(|_| {
            io::Error::other("the system allows no more threads; raise the limit or set WORKERS")
        })?;
        let queue = |lane: Lane, share: usize, bound: usize| {
            let (sender, receiver) = bounded::<Box<Exchange>>(bound);
            let turns = turns(lane, share);
            for _ in 0..share {
                let (receiver, turns, metrics) = (receiver.clone(), turns.clone(), Arc::clone(metrics));
                threads.execute(move || work(lane, &receiver, &turns, &metrics));
            }
            sender
        };
        let queues = [
            queue(Lane::Ingest, ingest, INGEST_QUEUE),
            queue(Lane::Read, read, READ_QUEUE),
            queue(Lane::Probe, probe, PROBE_QUEUE),
        ];
        Ok(Self { queues, metrics: Arc::clone(metrics), _threads: threads })
    }

    /// Queues a request, or gives it back if its queue is full.
    pub(super) fn submit(&self, exchange: Box<Exchange>) -> Result<(), Box<Exchange>> {
        let lane = exchange.lane();
        // Before it is sent: the thread that takes it counts it off.
        self.metrics.waiting(lane).fetch_add(1, Relaxed);
        self.queues[lane as usize].try_send(exchange).map_err(|error| {
            self.metrics.waiting(lane).fetch_sub(1, Relaxed);
            match error {
                TrySendError::Full(exchange) | TrySendError::Disconnected(exchange) => exchange,
            }
        })
    }
}

/// How many threads of a lane may be at work at once. Queries are as many as there are read
/// connections, from taking one up to handing its answer over, so that no more than that many large
/// answers are being made at a time.
fn turns(lane: Lane, share: usize) -> (Sender<()>, Receiver<()>) {
    let count = if lane == Lane::Read { READ_CONNECTIONS.min(share) } else { share };
    let (give, take) = bounded(count);
    for _ in 0..count {
        // There is a place for each.
        let _ = give.send(());
    }
    (give, take)
}

fn work(lane: Lane, queue: &Receiver<Box<Exchange>>, turns: &(Sender<()>, Receiver<()>), metrics: &Metrics) {
    if lane == Lane::Read {
        // A search may take all it can get; taking messages in comes first.
        os::lower_priority_of_this_thread();
    }
    let (give, take) = turns;
    while take.recv().is_ok() {
        let Ok(exchange) = queue.recv() else {
            // The pool is gone; so that the others hear of it as well:
            let _ = give.send(());
            return;
        };
        metrics.waiting(lane).fetch_sub(1, Relaxed);
        // A panic has been counted and answered; the thread goes on.
        let began = Instant::now();
        let _ = catch_unwind(AssertUnwindSafe(|| exchange.run(routes::answer)));
        if lane == Lane::Read {
            if began.elapsed() >= LONG_QUERY {
                os::give_back_free_memory();
            }
            pace::make_way(metrics);
        }
        let _ = give.send(());
    }
}
