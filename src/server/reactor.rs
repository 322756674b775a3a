//! The reactor is the one thread that owns every client's socket.
//!
//! It accepts, reads requests until they are whole, hands them to the pool, and sends the answers.
//! It never waits for a client: a connection costs a descriptor and the bytes it has sent, not a
//! thread, and one that is too slow, too large or malformed is ended here without anybody else
//! noticing. Invariants:
//!
//! - Only this thread touches a connection's socket.
//! - Connections, bytes held, and the time each may take are bounded; past a bound a client gets an
//!   answer or is closed, and the cause is counted.
//! - No error of `accept` ends the loop, and no panic: it costs the one connection that it was about.

mod accept;
mod connection_io;
mod deadlines;
mod drain;
mod eviction;
mod waiting;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;

use eviction::Chosen;

use super::bounds::Bounds;
use super::completions::{CompletionQueue, ConnectionId};
use super::connection::Connection;
use super::listener::Listener;
use super::sources::Sources;
use super::waiters::Waiters;
use super::worker_pool::WorkerPool;
use crate::app::App;
use crate::limits::READ_CHUNK_BYTES;
use crate::metrics::CloseCause;

/// How often the memory that clients have left free is given back to the system, which takes a
/// millisecond.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// How often deadlines are looked at. Coarse, because they are seconds long.
const DEADLINE_TICK: Duration = Duration::from_millis(200);

/// Connections accepted before the ones already open get their turn again.
const ACCEPTS_PER_EVENT: usize = 64;

/// Events carry the key of their connection, or one of these.
const LISTENER: u64 = u64::MAX;
const COMPLETIONS: u64 = u64::MAX - 1;

pub(super) struct Reactor {
    app: Arc<App>,
    bounds: Bounds,
    pool: WorkerPool,
    /// `None` once the service is stopping.
    listener: Option<Listener>,
    /// Until when nothing is accepted, after the machine ran out of something.
    accept_pause: Option<Instant>,
    poll: OwnedFd,
    completions: CompletionQueue,
    connections: Slab<Connection>,
    sources: Sources,
    waiters: Waiters,
    /// Who gives way to the next ones that come.
    chosen: Chosen,
    next_serial: u64,
    /// Connections for which more can be done than their fair share was.
    unfinished: BTreeSet<usize>,
    /// When free memory is given back next; `None` while nothing happens.
    tidy_at: Option<Instant>,
    next_tick: Instant,
    /// Connections closed since the log was told, by cause.
    closed: [u64; CloseCause::ALL.len()],
    next_report: Instant,
    drain_until: Option<Instant>,
    buffer: Box<[u8; READ_CHUNK_BYTES]>,
}

impl Reactor {
    pub(super) fn new(
        listener: Listener,
        app: Arc<App>,
        bounds: Bounds,
        pool: WorkerPool,
        completions: CompletionQueue,
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&poll, &completions, epoll::EventData::new_u64(COMPLETIONS), epoll::EventFlags::IN)?;
        Ok(Self {
            app,
            bounds,
            pool,
            listener: Some(listener),
            accept_pause: None,
            poll,
            completions,
            connections: Slab::new(),
            sources: Sources::default(),
            waiters: Waiters::default(),
            chosen: Chosen::default(),
            next_serial: 0,
            unfinished: BTreeSet::new(),
            tidy_at: None,
            next_tick: Instant::now(),
            closed: [0; CloseCause::ALL.len()],
            next_report: Instant::now(),
            drain_until: None,
            buffer: Box::new([0; READ_CHUNK_BYTES]),
        })
    }

    /// Serves until the service is told to stop and the last request is answered.
    pub(super) fn run(mut self) {
        // Room for everybody, so that one wait reports all that has arrived.
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.bounds.max_connections + 2);
        while !self.is_drained() {
            events.clear();
            // Deadlines are held against this: what had arrived by then, this wait reports. However long the process
            // is suspended behind the wait, nobody is late for it.
            let looked = Instant::now();
            let timeout =
                self.longest_wait().map(|wait| Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 });
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    unreachable!("epoll_wait(2) fails on a bad descriptor only, and ours is open: {error}")
                }
            }
            for event in &events {
                self.handle(event.data.u64(), event.flags);
            }
            for key in std::mem::take(&mut self.unfinished) {
                self.guarded(self.id_of(key), |reactor| reactor.drive(key));
            }
            self.pool.wake();
            if self.drain_until.is_none() && self.app.stopping.load(Relaxed) {
                self.guarded(None, Self::begin_to_drain);
            }
            let now = Instant::now();
            self.tend_waiters(now);
            if !events.is_empty() {
                self.tidy_at.get_or_insert(now + TIDY_INTERVAL);
            }
            if now >= self.next_tick {
                self.next_tick = now + DEADLINE_TICK;
                self.enforce_deadlines(looked);
                self.allow_scans_again();
                self.end_quiet_connections(now);
                self.end_accept_pause(now);
                self.report_closings(now);
                self.tidy_up(now);
            }
            let held = self.completions.buffered().held();
            self.app.metrics.buffered_bytes.store(held as i64, Relaxed);
        }
    }

    fn handle(&mut self, data: u64, flags: epoll::EventFlags) {
        match data {
            LISTENER => self.guarded(None, |reactor| reactor.accept(ACCEPTS_PER_EVENT)),
            COMPLETIONS => self.take_completions(),
            key => {
                let key = key as usize;
                self.guarded(self.id_of(key), |reactor| reactor.awake(key, flags));
            }
        }
    }

    /// Does something, which may be about one connection. A panic ends that connection, has been logged, and
    /// is nobody else's business.
    fn guarded(&mut self, about: Option<ConnectionId>, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.app.metrics.panics.fetch_add(1, Relaxed);
        if let Some(to) = about.filter(|to| self.id_of(to.key) == Some(*to)) {
            self.close(to.key, CloseCause::Error);
        }
    }

    /// Who is in this place now.
    fn id_of(&self, key: usize) -> Option<ConnectionId> {
        self.connections.get(key).map(|connection| connection.id)
    }

    /// `None` if only an event can make anything happen.
    fn longest_wait(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let has_deadlines =
            !self.connections.is_empty() || self.accept_pause.is_some() || self.drain_until.is_some();
        let has_news = self.tidy_at.is_some() || self.closed.iter().any(|count| *count > 0);
        let tick = (has_deadlines || has_news).then_some(DEADLINE_TICK);
        let now = Instant::now();
        let waiters_due = self.waiters.next_due(self.app.store.commits(), now);
        let until_due = waiters_due.map(|due| due.saturating_duration_since(now));
        tick.into_iter().chain(until_due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::super::request_context::tests::app;
    use super::*;
    use crate::config::ListenAddr;
    use crate::routes;

    #[test]
    fn a_panic_ends_the_connection_that_it_is_about_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let listener = Listener::open(&ListenAddr::Tcp("127.0.0.1:0".parse().unwrap()), 0o600).unwrap();
        let address = listener.address().to_owned();
        let pool = WorkerPool::start(1, &app.metrics, routes::answer).unwrap();
        let bounds = Bounds {
            max_body_bytes: 100,
            max_connections: 2,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
        };
        let mut reactor =
            Reactor::new(listener, Arc::clone(&app), bounds, pool, CompletionQueue::new().unwrap()).unwrap();
        let mut clients: Vec<_> = (0..2).map(|_| TcpStream::connect(&address).unwrap()).collect();
        reactor.accept(2);
        let first = reactor.id_of(0);
        reactor.guarded(first, |_| panic!("on purpose"));
        assert_eq!((reactor.connections.len(), app.metrics.panics.load(Relaxed)), (1, 1));
        assert_eq!(clients[0].read(&mut [0]).unwrap(), 0, "it was closed");
        // Of one that is gone already nothing is left to be closed, whoever has its place.
        clients[0] = TcpStream::connect(&address).unwrap();
        reactor.accept(1);
        reactor.guarded(first, |_| panic!("on purpose"));
        reactor.guarded(None, |_| panic!("on purpose"));
        assert_eq!((reactor.connections.len(), app.metrics.panics.load(Relaxed)), (2, 3));
    }
}
