//! The reader gate keeps new queries back while a log has to start over: a query that runs keeps it from that.
//!
//! - Any number of those who keep a log may have it closed. It is open again when the last of them has
//!   dropped its [`ClosedGate`], so whoever fails opens it.
//! - Whoever closes it can wait until no query is running, and have long ones given up.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub(in crate::store) struct ReaderGate {
    state: Mutex<GateState>,
    changed: Condvar,
    /// What `state` says, for queries that are running and look at it all the time.
    is_closed: AtomicBool,
    gives_up: AtomicBool,
}

#[derive(Default)]
struct GateState {
    /// Those who have it closed, and those of them who want long queries to be given up.
    closed: usize,
    giving_up: usize,
    /// Queries that have passed and not ended.
    running: usize,
}

impl ReaderGate {
    /// Waits until it is open. `None` if it is not until the deadline.
    pub(in crate::store) fn pass(&self, deadline: Instant) -> Option<RunningQuery<'_>> {
        let mut state = self.state();
        while state.closed > 0 {
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running += 1;
        Some(RunningQuery(self))
    }

    /// True while new queries wait for those that are running: these should take no rest.
    pub(in crate::store) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// True while queries that are running for long are to be given up.
    pub(in crate::store) fn gives_up_long_queries(&self) -> bool {
        self.gives_up.load(Relaxed)
    }

    pub(in crate::store) fn close(self: &Arc<Self>) -> ClosedGate {
        self.change(|state| state.closed += 1);
        ClosedGate { gate: Arc::clone(self), gives_up: false }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        let mut state = self.state();
        change(&mut state);
        self.is_closed.store(state.closed > 0, Relaxed);
        self.gives_up.store(state.giving_up > 0, Relaxed);
        drop(state);
        self.changed.notify_all();
    }
}

/// A query that has passed.
pub(in crate::store) struct RunningQuery<'a>(&'a ReaderGate);

impl Drop for RunningQuery<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        if state.closed > 0 && state.running == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// As long as it is there, no new query passes.
pub(in crate::store) struct ClosedGate {
    gate: Arc<ReaderGate>,
    gives_up: bool,
}

impl ClosedGate {
    /// True when no query is running.
    pub(in crate::store) fn is_quiet(&self) -> bool {
        self.gate.state().running == 0
    }

    /// True as soon as no query is running; false if one is still at the deadline.
    pub(in crate::store) fn wait_until_quiet(&self, deadline: Instant) -> bool {
        let mut state = self.gate.state();
        while state.running > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self.gate.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Has queries given up that are running for long, until this is dropped.
    pub(in crate::store) fn give_up_long_queries(&mut self) {
        if !std::mem::replace(&mut self.gives_up, true) {
            self.gate.change(|state| state.giving_up += 1);
        }
    }
}

impl Drop for ClosedGate {
    fn drop(&mut self) {
        let gave_up = usize::from(self.gives_up);
        self.gate.change(|state| {
            state.closed -= 1;
            state.giving_up -= gave_up;
        });
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
