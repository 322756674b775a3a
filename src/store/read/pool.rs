//! The pool lends read connections, each to one query at a time.
//!
//! A slot goes back whatever becomes of its borrower, so there are always as many as there may be queries at work.

use std::mem::take;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::pooled_connection::PooledConnection;
use crate::limits::READ_CONNECTIONS;
use crate::mutex::{lock, wait_while};

/// One pool for each kind of reading that must not queue behind another.
pub(super) struct Pools {
    pub(super) queries: Pool,
    /// The feed's one thread has one.
    pub(super) feed: Pool,
    /// Readiness probes, which take their turns.
    pub(super) probes: Pool,
    /// Scrapes, of which there is one at a time.
    pub(super) scrapes: Pool,
}

impl Pools {
    pub(super) fn new() -> Self {
        let one = || Pool::new(1);
        Self { queries: Pool::new(READ_CONNECTIONS), feed: one(), probes: one(), scrapes: one() }
    }

    /// Closes the connections that are idle. Those in use are closed by whoever uses them, who finds that they are
    /// of another epoch.
    pub(super) fn clear(&self) {
        self.all().iter().for_each(|pool| pool.for_each_idle(|slot| *slot = Slot::default()));
    }

    /// Gives back the memory that idle connections hold.
    pub(super) fn shrink(&self) {
        self.all().iter().for_each(|pool| {
            pool.for_each_idle(|slot| {
                let connections = [&mut slot.with_index, &mut slot.without_index];
                connections.into_iter().flatten().for_each(PooledConnection::shrink);
            });
        });
    }

    /// Closes every connection, as far as they come back until the deadline.
    pub(super) fn close(&self, deadline: Instant) {
        self.all().iter().for_each(|pool| pool.close(deadline));
    }

    fn all(&self) -> [&Pool; 4] {
        [&self.queries, &self.feed, &self.probes, &self.scrapes]
    }
}

/// The connections for one kind of reading. The one given back last is lent first: it remembers what was asked.
pub(super) struct Pool {
    idle: Mutex<Vec<Slot>>,
    given_back: Condvar,
    slots: usize,
}

/// The connections of one borrower: `None` is one not opened yet, or thrown away.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) with_index: Option<PooledConnection>,
    pub(super) without_index: Option<PooledConnection>,
}

impl Pool {
    fn new(slots: usize) -> Self {
        let idle = (0..slots).map(|_| Slot::default()).collect();
        Self { idle: Mutex::new(idle), given_back: Condvar::new(), slots }
    }

    /// Waits for a slot. `None` if there is none until the deadline.
    pub(super) fn borrow(&self, deadline: Instant) -> Option<Borrowed<'_>> {
        Some(Borrowed { pool: self, slot: self.take(deadline)? })
    }

    fn take(&self, deadline: Instant) -> Option<Slot> {
        wait_while(&self.given_back, lock(&self.idle), deadline, |idle| idle.is_empty())?.pop()
    }

    fn close(&self, deadline: Instant) {
        // Held until all of them are here, so that none is borrowed again meanwhile.
        let slots: Vec<Slot> = (0..self.slots).map_while(|_| self.take(deadline)).collect();
        for slot in slots {
            drop(slot);
            // Whoever waits for it hears that the store is stopping.
            self.put(Slot::default());
        }
    }

    /// Not under the lock: a connection may take as long to close as its disk stalls, and whoever wants to borrow one
    /// meanwhile waits until its own deadline.
    fn for_each_idle(&self, change: impl Fn(&mut Slot)) {
        let idle = take(&mut *lock(&self.idle));
        for mut slot in idle {
            change(&mut slot);
            self.put(slot);
        }
    }

    fn put(&self, slot: Slot) {
        lock(&self.idle).push(slot);
        self.given_back.notify_one();
    }
}

/// A slot taken out of the pool, which goes back whatever happens.
pub(super) struct Borrowed<'a> {
    pool: &'a Pool,
    slot: Slot,
}

impl Deref for Borrowed<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.pool.put(take(&mut self.slot));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn every_slot_comes_back_whatever_was_done_with_it() {
        let (pools, at_once) = (Pools::new(), Instant::now());
        let pool = &pools.queries;
        let borrowed: Vec<_> = (0..READ_CONNECTIONS).map(|_| pool.borrow(at_once).unwrap()).collect();
        assert!(pool.borrow(at_once).is_none(), "all are lent");
        assert!(pools.feed.borrow(at_once).is_some(), "which keeps nobody else waiting");
        drop(borrowed);
        let failing = catch_unwind(AssertUnwindSafe(|| {
            let _borrowed = pool.borrow(at_once);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(failing.is_err());
        pools.clear();
        pools.shrink();
        pools.close(at_once);
        assert_eq!(lock(&pool.idle).len(), READ_CONNECTIONS);
    }

    #[test]
    fn whoever_borrows_while_connections_are_slow_to_close_is_held_to_the_deadline() {
        const LONG: Duration = Duration::from_secs(5);
        let pool = Pool::new(1);
        let (begins, has_begun) = bounded(1);
        let (ends, may_end) = bounded::<()>(1);
        thread::scope(|scope| {
            scope.spawn(|| {
                pool.for_each_idle(|_| {
                    begins.send(()).unwrap();
                    let _ = may_end.recv_timeout(LONG);
                });
            });
            has_begun.recv().unwrap();
            assert!(pool.borrow(Instant::now()).is_none(), "it is being closed");
            ends.send(()).unwrap();
            assert!(pool.borrow(Instant::now() + LONG).is_some(), "it came back");
        });
    }
}
