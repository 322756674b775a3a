//! The worker pool answers requests on a fixed number of threads.
//!
//! Each thread takes the next one by its [`super::priorities`], and of these the sources in turn.
//!
//! The reactor queues what one wait for its sockets has brought, then wakes one thread, which wakes the next one
//! where that is worth it. A full queue gives the request back at once.

use std::array;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use threadpool::ThreadPool;

use super::fair_queue::FairQueue;
use super::priorities::{Counts, Role, Threads, is_worth_waking, next};
use super::request_context::RequestContext;
use super::sources::SourceId;
use crate::app::App;
use crate::http::Request;
use crate::metrics::Metrics;
use crate::mutex::{lock, wait};
use crate::os::{self, processor_time_of_this_thread};
use crate::priority::Priority;
use crate::routes::{Answer, Resolved};
use crate::throttle;

/// Stack of a pool thread. The deepest path is `serde_json` (128 levels) inside a handler.
const WORKER_STACK_BYTES: usize = 512 << 10;

/// A query that took so long may have sorted a whole table, or a body was split into a hundred thousand pieces: the
/// memory for that goes back to the system. The longest body that Meta sends takes some 20 ms.
const LONG_WORK: Duration = Duration::from_millis(50);

/// Requests of one source that may wait for a thread; past it they are shed. Of all sources together twice as
/// many may. Webhooks, what costs next to nothing, and consumers of the feed who ask again when all have been woken, are
/// gone through in a moment.
fn bound(priority: Priority) -> usize {
    match priority {
        Priority::Ingest | Priority::Immediate | Priority::Feed => 8192,
        Priority::Read | Priority::Probe | Priority::Scrape | Priority::Bulk => 1024,
    }
}

/// The pool. Dropping it lets the threads finish what is queued and end.
pub(super) struct WorkerPool {
    shared: Arc<Shared>,
    _threads: ThreadPool,
}

struct Shared {
    queues: Mutex<Queues>,
    /// By role.
    wake_up: [Condvar; Role::ALL.len()],
    metrics: Arc<Metrics>,
    threads: Threads,
    routes: Routes,
}

/// What answers a request.
type Routes = fn(&App, &Request, Resolved) -> Answer;

#[derive(Default)]
struct Queues {
    waiting: [FairQueue<Box<RequestContext>>; Priority::ALL.len()],
    at_work: Counts,
    sleep: [Sleep; Role::ALL.len()],
    is_closed: bool,
}

/// The threads of one role that wait for something to do.
#[derive(Default)]
struct Sleep {
    threads: usize,
    /// One of them was woken and has not come to look yet.
    is_one_woken: bool,
}

impl Queues {
    fn counts(&self) -> Counts {
        array::from_fn(|priority| self.waiting[priority].len())
    }

    /// Gives the request back if there is no place for it.
    fn push(&mut self, priority: Priority, context: Box<RequestContext>) -> Result<(), Box<RequestContext>> {
        // All that comes through proxies counts as of one source.
        let source = match context.source {
            SourceId::Proxy(_) => 0,
            SourceId::Direct(number) => number + 1,
        };
        let bound = bound(priority);
        let queue = &mut self.waiting[priority as usize];
        if queue.len_of(source) >= bound || queue.len() >= 2 * bound {
            return Err(context);
        }
        queue.push(source, context);
        Ok(())
    }
}

impl WorkerPool {
    /// Starts `workers` threads, and one for each kind of work at the least. Fails if the system does not
    /// allow that many.
    pub(super) fn start(workers: usize, metrics: &Arc<Metrics>, routes: Routes) -> io::Result<Self> {
        let threads = Threads::of(workers);
        let shared = Arc::new(Shared {
            queues: Mutex::default(),
            wake_up: array::from_fn(|_| Condvar::new()),
            metrics: Arc::clone(metrics),
            threads,
            routes,
        });
        // Each thread runs one job, our loop: the crate, which is required, has one queue and no priorities.
        let pool = threadpool::Builder::new()
            .num_threads(Role::ALL.iter().map(|role| threads.count(*role)).sum())
            .thread_name("worker".into())
            .thread_stack_size(WORKER_STACK_BYTES);
        // The crate panics where a thread cannot be started.
        let pool = catch_unwind(AssertUnwindSafe(|| pool.build())).map_err(|_| {
            io::Error::other("the system allows no more threads; raise the limit or lower WORKERS")
        })?;
        for role in Role::ALL {
            for _ in 0..threads.count(role) {
                let shared = Arc::clone(&shared);
                pool.execute(move || shared.work(role));
            }
        }
        Ok(Self { shared, _threads: pool })
    }

    /// Queues a request, or gives it back if its queue is full. It is taken up after [`Self::wake`].
    pub(super) fn submit(&self, context: Box<RequestContext>) -> Result<(), Box<RequestContext>> {
        let priority = context.priority();
        let mut queues = lock(&self.shared.queues);
        queues.push(priority, context)?;
        self.shared.metrics.waiting(priority).fetch_add(1, Relaxed);
        Ok(())
    }

    /// Has threads take up what was queued.
    pub(super) fn wake(&self) {
        for role in Role::ALL {
            self.shared.wake_one(lock(&self.shared.queues), role);
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        lock(&self.shared.queues).is_closed = true;
        for wake_up in &self.shared.wake_up {
            wake_up.notify_all();
        }
    }
}

impl Shared {
    fn work(&self, role: Role) {
        let mut done = None;
        while let Some((priority, context)) = self.take(role, done) {
            let before = (priority != Priority::Ingest).then(processor_time_of_this_thread);
            // A panic has been counted and answered; the thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| context.run(self.routes)));
            if before.is_some_and(|before| processor_time_of_this_thread() - before >= LONG_WORK) {
                os::give_back_free_memory();
            }
            if role != Role::Prompt {
                throttle::throttle(&self.metrics, Duration::ZERO);
            }
            done = Some(priority);
        }
    }

    /// Waits for the next request, after one of this priority. `None` when the pool is gone and nothing
    /// is left to do.
    fn take(&self, role: Role, done: Option<Priority>) -> Option<(Priority, Box<RequestContext>)> {
        let mut queues = lock(&self.queues);
        if let Some(priority) = done {
            queues.at_work[priority as usize] -= 1;
        }
        loop {
            if let Some(priority) = self.next(&queues, role)
                && let Some(context) = queues.waiting[priority as usize].pop()
            {
                queues.at_work[priority as usize] += 1;
                self.metrics.waiting(priority).fetch_sub(1, Relaxed);
                self.wake_one(queues, role);
                return Some((priority, context));
            }
            if queues.is_closed {
                return None;
            }
            queues.sleep[role as usize].threads += 1;
            queues = wait(&self.wake_up[role as usize], queues);
            let sleep = &mut queues.sleep[role as usize];
            *sleep = Sleep { threads: sleep.threads - 1, is_one_woken: false };
        }
    }

    fn next(&self, queues: &Queues, role: Role) -> Option<Priority> {
        next(role, &queues.counts(), &queues.at_work, self.threads)
    }

    /// Wakes a thread if there is something for it to do, and none was woken that will do it or wake the next one.
    fn wake_one(&self, mut queues: MutexGuard<'_, Queues>, role: Role) {
        let sleep = &queues.sleep[role as usize];
        let wakes = sleep.threads > 0
            && !sleep.is_one_woken
            && self
                .next(&queues, role)
                .is_some_and(|next| is_worth_waking(next, &queues.counts(), &queues.at_work));
        queues.sleep[role as usize].is_one_woken |= wakes;
        drop(queues);
        if wakes {
            self.wake_up[role as usize].notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

    use super::super::completions::CompletionQueue;
    use super::super::request_context::tests::{answers, app, asking};
    use super::*;
    use crate::http::Response;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What has begun, and what ends it.
    static BEGUN: LazyLock<(Sender<String>, Receiver<String>)> = LazyLock::new(unbounded);
    static GO_ON: LazyLock<(Sender<()>, Receiver<()>)> = LazyLock::new(|| bounded(0));

    /// Answers when it is told to.
    fn slowly(_: &App, request: &Request, _: Resolved) -> Answer {
        BEGUN.0.send(request.path.clone()).unwrap();
        GO_ON.1.recv_timeout(PATIENCE).unwrap();
        Answer::Now(Response::json(200, b"{}".as_slice()).into())
    }

    /// The paths of so many that have begun, in the order of the alphabet.
    fn begun(count: usize) -> Vec<String> {
        let mut paths: Vec<_> = (0..count).map(|_| BEGUN.1.recv_timeout(PATIENCE).unwrap()).collect();
        paths.sort();
        assert!(BEGUN.1.is_empty(), "{paths:?} and more");
        paths
    }

    #[test]
    fn every_thread_can_be_at_work_and_no_kind_keeps_another_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let queue = CompletionQueue::new().unwrap();
        let pool = WorkerPool::start(8, &app.metrics, slowly).unwrap();
        let submit = |path: &str| {
            assert!(pool.submit(asking(&app, "GET", path, &queue)).is_ok());
            pool.wake();
        };
        // Two searches have both threads of queries, and more of them wait.
        for _ in 0..4 {
            submit("/messages");
        }
        assert_eq!(begun(2), ["/messages", "/messages"]);
        for path in ["/nowhere", "/docs", "/metrics", "/metrics", "/health/ready", "/health/live"] {
            submit(path);
        }
        // The second scrape waits for the first one, and nobody else does.
        assert_eq!(begun(5), ["/docs", "/health/live", "/health/ready", "/metrics", "/nowhere"]);
        submit("/feed");
        assert_eq!(begun(1), ["/feed"]);
        // All eight are at work.
        submit("/openapi.json");
        assert_eq!((BEGUN.1.len(), app.metrics.waiting(Priority::Immediate).load(Relaxed)), (0, 1));
        for _ in 0..12 {
            GO_ON.0.send_timeout((), PATIENCE).unwrap();
        }
        assert_eq!(begun(4), ["/messages", "/messages", "/metrics", "/openapi.json"]);
        drop(pool);
        let mut answered = 0;
        while answered < 12 {
            answered += answers(&queue).len();
        }
        assert!(Priority::ALL.iter().all(|priority| app.metrics.waiting(*priority).load(Relaxed) == 0));
    }
}
