//! The pool lends read connections, each to one query at a time.
//!
//! A slot goes back whatever becomes of its borrower, so there are always as many as there may be queries at work.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::pooled_connection::PooledConnection;
use crate::limits::READ_CONNECTIONS;

pub(super) struct Pool {
    idle: Receiver<Slot>,
    give_back: Sender<Slot>,
    /// Kept apart for readiness probes, which must not queue behind long searches.
    for_probes: Mutex<Slot>,
}

/// The connections of one borrower: `None` is one not opened yet, or thrown away.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) with_index: Option<PooledConnection>,
    pub(super) without_index: Option<PooledConnection>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let (give_back, idle) = bounded(READ_CONNECTIONS);
        let pool = Self { idle, give_back, for_probes: Mutex::default() };
        (0..READ_CONNECTIONS).for_each(|_| pool.put(Slot::default()));
        pool
    }

    /// Waits for a slot. `None` if there is none until the deadline.
    pub(super) fn borrow(&self, deadline: Instant) -> Option<Borrowed<'_>> {
        let slot = self.idle.recv_deadline(deadline).ok()?;
        Some(Borrowed { pool: self, slot })
    }

    pub(super) fn for_probes(&self) -> MutexGuard<'_, Slot> {
        self.for_probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that are idle. Those in use are closed by whoever uses them, who finds that they are
    /// of another epoch.
    pub(super) fn clear(&self) {
        self.for_each_idle(|slot| *slot = Slot::default());
        *self.for_probes() = Slot::default();
    }

    /// Gives back the memory that idle connections hold.
    pub(super) fn shrink(&self) {
        self.for_each_idle(|slot| {
            [&mut slot.with_index, &mut slot.without_index]
                .into_iter()
                .flatten()
                .for_each(PooledConnection::shrink);
        });
    }

    /// Closes every connection, as far as they come back until the deadline.
    pub(super) fn close(&self, deadline: Instant) {
        // Held until all of them are here, so that none is borrowed again meanwhile.
        let slots: Vec<Slot> =
            (0..READ_CONNECTIONS).map_while(|_| self.idle.recv_deadline(deadline).ok()).collect();
        for slot in slots {
            drop(slot);
            // Whoever waits for it hears that the store is stopping.
            self.put(Slot::default());
        }
        *self.for_probes() = Slot::default();
    }

    fn for_each_idle(&self, change: impl Fn(&mut Slot)) {
        for _ in 0..READ_CONNECTIONS {
            let Ok(mut slot) = self.idle.try_recv() else {
                break;
            };
            change(&mut slot);
            self.put(slot);
        }
    }

    fn put(&self, slot: Slot) {
        // There is a place for every slot, so this never waits; both ends are here.
        let _ = self.give_back.send(slot);
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
        self.pool.put(std::mem::take(&mut self.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn every_slot_comes_back_whatever_was_done_with_it() {
        let (pool, at_once) = (Pool::new(), Instant::now());
        let borrowed: Vec<_> = (0..READ_CONNECTIONS).map(|_| pool.borrow(at_once).unwrap()).collect();
        assert!(pool.borrow(at_once).is_none(), "all are lent");
        drop(borrowed);
        let failing = catch_unwind(AssertUnwindSafe(|| {
            let _borrowed = pool.borrow(at_once);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(failing.is_err());
        pool.clear();
        pool.shrink();
        pool.close(at_once);
        assert_eq!(pool.idle.len(), READ_CONNECTIONS);
    }
}
