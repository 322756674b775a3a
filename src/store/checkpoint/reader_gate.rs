//! The reader gate keeps new queries back while a log has to restart: a query that runs keeps it from that.
//!
//! - Any number of those who keep a log may have it closed. It is open again when the last of them has
//!   dropped its [`ClosedGate`], so whoever fails opens it.
//! - Whoever closes it can wait until no query is running, and have long ones given up.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub struct ReaderGate {
    /// Queries that have passed and not ended.
    running: Mutex<usize>,
    /// No query is running, or the gate is open.
    changed: Condvar,
    /// Those who have it closed. Changed under the lock of `running`, for those who wait.
    closed: AtomicUsize,
    /// Those who want long queries to be given up.
    giving_up: AtomicUsize,
}

impl ReaderGate {
    /// Waits until it is open. `None` if it is not until the deadline.
    pub fn pass(&self, deadline: Instant) -> Option<RunningQuery<'_>> {
        let mut running = self.wait_while(deadline, |_| self.is_closed())?;
        *running += 1;
        Some(RunningQuery(self))
    }

    /// True while new queries wait for those that are running: these should take no rest.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed) > 0
    }

    /// True while queries that are running for long are to be given up.
    pub fn gives_up_long_queries(&self) -> bool {
        self.giving_up.load(Relaxed) > 0
    }

    pub fn close(self: &Arc<Self>) -> ClosedGate {
        let _running = self.running();
        self.closed.fetch_add(1, Relaxed);
        ClosedGate { gate: Arc::clone(self), gives_up: false }
    }

    fn running(&self) -> MutexGuard<'_, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if it is still so at the deadline.
    fn wait_while(&self, deadline: Instant, is_so: impl Fn(usize) -> bool) -> Option<MutexGuard<'_, usize>> {
        let mut running = self.running();
        while is_so(*running) {
            let left = deadline.checked_duration_since(Instant::now())?;
            running = self.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(running)
    }
}

/// A query that has passed.
pub struct RunningQuery<'a>(&'a ReaderGate);

impl Drop for RunningQuery<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running();
        *running -= 1;
        if *running == 0 && self.0.is_closed() {
            self.0.changed.notify_all();
        }
    }
}

/// As long as it is there, no new query passes.
pub struct ClosedGate {
    gate: Arc<ReaderGate>,
    gives_up: bool,
}

impl ClosedGate {
    /// True when no query is running.
    pub fn is_quiet(&self) -> bool {
        *self.gate.running() == 0
    }

    /// True as soon as no query is running; false if one is still at the deadline.
    pub fn wait_until_quiet(&self, deadline: Instant) -> bool {
        self.gate.wait_while(deadline, |running| running > 0).is_some()
    }

    /// Has queries given up that are running for long, until this is dropped.
    pub fn give_up_long_queries(&mut self) {
        if !std::mem::replace(&mut self.gives_up, true) {
            self.gate.giving_up.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for ClosedGate {
    fn drop(&mut self) {
        let _running = self.gate.running();
        self.gate.giving_up.fetch_sub(usize::from(self.gives_up), Relaxed);
        self.gate.closed.fetch_sub(1, Relaxed);
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn it_is_open_when_the_last_who_closed_it_is_gone() {
        let gate = Arc::<ReaderGate>::default();
        let at_once = Instant::now();
        let (first, mut second) = (gate.close(), gate.close());
        second.give_up_long_queries();
        drop(first);
        assert!(gate.pass(at_once).is_none());
        assert!(gate.gives_up_long_queries());
        // A panic is no reason to keep it closed.
        let failing = thread::spawn(move || {
            let _closed = second;
            std::panic::resume_unwind(Box::new(()));
        });
        let waiting = thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.pass(at_once + Duration::from_secs(60)).is_some());
            assert!(failing.join().is_err());
            waiting.join().unwrap()
        });
        assert!(waiting && !gate.is_closed() && !gate.gives_up_long_queries());
        assert!(gate.close().is_quiet());
    }
}
