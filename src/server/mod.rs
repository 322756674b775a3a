//! The server speaks HTTP to its clients: bytes become a [`crate::http::Request`], a
//! [`crate::http::Response`] becomes bytes.
//!
//! [`listener`] → [`reactor`] (all sockets, one thread) with one [`connection`] each, which speaks its
//! [`protocol`]; its bytes become requests in [`request_reader`] → a [`request_context`], for which the routes
//! choose the queue → [`worker_pool`], whose threads ask the routes → [`completions`] bring the answer back to the
//! reactor.
//!
//! The only home of `tiny_http` and `threadpool`, which this service is required to be built on. tiny_http's is the printing of a response
//! ([`response_writer`]). Binding, accepting and reading are done here: its own reader has no bound on time or size, hangs for ever on
//! HTTP/2.0, and trims away what tells a folded header from a smuggled one, and what its `Listener` accepts is
//! private to that reader.

mod access_log;
mod bounds;
mod buffered_bytes;
mod completions;
mod connection;
mod eviction_policy;
mod fair_queue;
mod listener;
mod priorities;
mod protocol;
mod reactor;
mod rejected_request;
mod request_context;
mod request_head;
mod request_id;
mod request_line;
mod request_reader;
mod response_writer;
mod sources;
mod unix_socket;
mod waiters;
mod worker_pool;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::app::App;
use crate::http::Body;
use crate::metrics::Metrics;
use crate::routes::{self, RequestError};
use crate::waker::Waker;

pub use bounds::Bounds;
pub use listener::{BindError, Listener};

use completions::CompletionQueue;
use reactor::Reactor;
use worker_pool::WorkerPool;

/// How often it is asked whether the reactor has come round, which takes it less than a millisecond.
const REACTOR_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running server.
pub struct Server {
    stopper: Stopper,
    reactor: thread::JoinHandle<()>,
}

/// Tells the server to stop, from any thread.
#[derive(Clone)]
pub struct Stopper {
    app: Arc<App>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Begins to drain: no new connections, requests that have begun are answered.
    pub fn stop(&self) {
        self.app.stopping.store(true, Relaxed);
        self.waker.wake();
    }

    /// True if the thread that owns the sockets takes up its next event in time.
    pub fn reactor_turns(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        self.waker.wake();
        while self.waker.is_pending() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(REACTOR_POLL_INTERVAL);
        }
        true
    }
}

/// The threads that answer requests.
pub struct Workers(WorkerPool);

impl Workers {
    /// So many, or as many as there are kinds of work. They come to be ready while whoever starts them goes on.
    pub fn start(count: usize, metrics: &Arc<Metrics>) -> io::Result<Self> {
        WorkerPool::start(count, metrics, routes::answer).map(Self)
    }
}

impl Server {
    /// Starts the thread that owns the sockets. Connections are served from here on.
    pub fn start(
        listener: Listener,
        app: Arc<App>,
        Workers(pool): Workers,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let completions = CompletionQueue::new()?;
        app.store.wake_on_commit(completions.waker());
        let stopper = Stopper { app: Arc::clone(&app), waker: completions.waker() };
        app.store.wait_for_index();
        let reactor = Reactor::new(listener, app, bounds, pool, completions)?;
        let reactor = thread::Builder::new().name("reactor".into()).spawn(move || reactor.run())?;
        Ok(Self { stopper, reactor })
    }

    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the server was stopped and has drained. False if it ended by itself, which is a fault
    /// of the program.
    pub fn wait(self) -> bool {
        self.reactor.join().is_ok() && self.stopper.app.stopping.load(Relaxed)
    }
}

/// A request as [`read_request`] found it.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Bytes that belong to it, and to empty lines before it.
    pub consumed: usize,
    pub method: String,
    pub path: String,
    pub body: Body,
}

/// The first request in bytes that arrive in these pieces, as a connection reads it: for fuzzers.
pub fn read_request(pieces: &[&[u8]], max_body_bytes: usize) -> Result<Option<ReadRequest>, RequestError> {
    let mut reader = request_reader::RequestReader::default();
    let mut pushed = 0;
    for piece in pieces {
        reader.push(piece);
        pushed += piece.len();
        match reader.advance(|_| max_body_bytes) {
            request_reader::Step::Request(head, body) => {
                let consumed = pushed - reader.len();
                return Ok(Some(ReadRequest { consumed, method: head.method, path: head.path, body }));
            }
            request_reader::Step::Rejected(rejected) => return Err(rejected.error),
            request_reader::Step::More | request_reader::Step::SayContinue => {}
        }
    }
    Ok(None)
}
