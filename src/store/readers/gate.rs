//! The reader gate keeps new queries back while a log has to start over: a query that runs keeps it from
//! that.
//!
//! - Any number of those who keep a log may have it closed. It is open again when the last of them has
//!   dropped its [`Closed`], so whoever fails opens it.
//! - Whoever closes it can wait until no query is running, and have long ones given up.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
pub(in super::super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// What `state` says, for queries that are running and look at it all the time.
    is_closed: AtomicBool,
    gives_up: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Those who have it closed, and those of them who want long queries to be given up.
    closed: usize,
    giving_up: usize,
    /// Queries that have passed and not ended.
    running: usize,
}

impl Gate {
    /// Waits until it is open. `None` if it is not until the deadline.
    pub(super) fn pass(&self, deadline: Instant) -> Option<Running<'_>> {
        let mut state = self.state();
        while state.closed > 0 {
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running += 1;
        Some(Running(self))
    }

    /// True while new queries wait for those that are running: these should take no rest.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// True while queries that are running for long are to be given up.
    pub(super) fn gives_up_long_queries(&self) -> bool {
        self.gives_up.load(Relaxed)
    }

    pub(in super::super) fn close(self: &Arc<Self>) -> Closed {
        self.change(|state| state.closed += 1);
        Closed { gate: Arc::clone(self), gives_up: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.is_closed.store(state.closed > 0, Relaxed);
        self.gives_up.store(state.giving_up > 0, Relaxed);
        drop(state);
        self.changed.notify_all();
    }
}

/// A query that has passed.
pub(super) struct Running<'a>(&'a Gate);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        if state.closed > 0 && state.running == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// As long as it is there, no new query passes.
pub(in super::super) struct Closed {
    gate: Arc<Gate>,
    gives_up: bool,
}

impl Closed {
    /// True when no query is running.
    pub(in super::super) fn is_quiet(&self) -> bool {
        self.gate.state().running == 0
    }

    /// True as soon as no query is running; false if one is still at the deadline.
    pub(in super::super) fn wait_until_quiet(&self, deadline: Instant) -> bool {
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
    pub(in super::super) fn give_up_long_queries(&mut self) {
        if !std::mem::replace(&mut self.gives_up, true) {
            self.gate.change(|state| state.giving_up += 1);
        }
    }
}

impl Drop for Closed {
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

    use crossbeam_channel::bounded;

    use super::super::super::{StoreError, prepare};
    use super::super::{Readers, Snapshot};
    use crate::limits::QUERY_DEADLINE;

    #[test]
    fn a_running_query_is_given_up_when_the_log_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        prepare::prepare(&path).unwrap();
        let readers = Arc::new(Readers::new(&path, Arc::default()));
        let long_before_its_deadline = Instant::now() + 6 * QUERY_DEADLINE;
        let (begins, has_begun) = bounded(1);
        let asking = Arc::clone(&readers);
        let query = thread::spawn(move || {
            asking.with(long_before_its_deadline, false, |Snapshot { connection, .. }| {
                let _ = begins.try_send(());
                let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                               SELECT max(i) FROM n";
                Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            })
        });
        has_begun.recv().unwrap();
        let mut closed = readers.gate().close();
        assert!(!closed.is_quiet(), "one is running");
        closed.give_up_long_queries();
        assert!(closed.wait_until_quiet(long_before_its_deadline));
        assert!(matches!(query.join().unwrap(), Err(StoreError::TooSlow)));
        drop(closed);
        let another = readers.with(Instant::now(), false, |Snapshot { connection, .. }| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert!(matches!(another, Ok(1)));
    }

    #[test]
    fn it_is_open_when_the_last_who_closed_it_is_gone() {
        let gate = Arc::<Gate>::default();
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
