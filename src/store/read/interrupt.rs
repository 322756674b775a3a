//! A query is interrupted at its deadline, at a stop, or when it has kept a long log from restarting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::limits::LOG_HELD_BY_QUERY;
use crate::metrics::Metrics;
use crate::store::checkpoint::reader_gate::ReaderGate;
use crate::throttle;

/// SQLite instructions between two looks at a query's deadline: about a millisecond of work.
const QUERY_DEADLINE_CHECK_OPS: i32 = 20_000;
/// A query that works for longer than this rests on its way as well.
const QUERY_SPELL: Duration = Duration::from_millis(20);

/// What the queries of all connections look at on their way.
#[derive(Clone)]
pub(super) struct Interrupt {
    pub(super) gate: Arc<ReaderGate>,
    /// The store is stopping.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) started: Instant,
}

/// Of a connection's running query, in milliseconds after `Interrupt::started`.
#[derive(Default)]
pub(super) struct QueryTimes {
    began: AtomicU64,
    /// When it is given up.
    deadline: AtomicU64,
}

impl Interrupt {
    /// Has the queries of a connection look.
    pub(super) fn watch(&self, connection: &mut Connection) -> rusqlite::Result<Arc<QueryTimes>> {
        let times = Arc::<QueryTimes>::default();
        let (seen, own) = (Arc::clone(&times), self.clone());
        connection.progress_handler(QUERY_DEADLINE_CHECK_OPS, Some(move || own.gives_up(&seen)))?;
        Ok(times)
    }

    pub(super) fn begins(&self, times: &QueryTimes, deadline: Instant) {
        times.began.store(self.millis(Instant::now()), Relaxed);
        times.deadline.store(self.millis(deadline), Relaxed);
    }

    /// True if the query is given up.
    fn gives_up(&self, times: &QueryTimes) -> bool {
        let now = self.millis(Instant::now());
        let at_work = Duration::from_millis(now.saturating_sub(times.began.load(Relaxed)));
        let is_closing = self.closing.load(Relaxed);
        if !is_closing && !self.gate.is_closed() {
            throttle::throttle(&self.metrics, QUERY_SPELL);
        }
        let is_late = now > times.deadline.load(Relaxed);
        is_closing || is_late || at_work > LOG_HELD_BY_QUERY && self.gate.gives_up_long_queries()
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }
}
