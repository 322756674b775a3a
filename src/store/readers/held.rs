//! Places kept back from queries, so that the log can start over: a query that runs keeps it from that.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Place, Readers};
use crate::limits::READ_CONNECTIONS;

/// Places that queries have to wait for. They go back whatever happens.
pub(in super::super) struct Held {
    readers: Arc<Readers>,
    places: Vec<Place>,
}

impl Held {
    pub(in super::super) fn none(readers: &Arc<Readers>) -> Self {
        Self { readers: Arc::clone(readers), places: Vec::new() }
    }

    /// Takes the places that are free. True when all are held: no query is running.
    pub(in super::super) fn hold(&mut self) -> bool {
        self.places.extend(self.readers.idle.try_iter());
        let all = self.places.len() == READ_CONNECTIONS;
        self.readers.log.is_waited_for.store(!all, Relaxed);
        all
    }

    /// True if there are places that queries cannot have.
    pub(in super::super) fn holds_any(&self) -> bool {
        !self.places.is_empty()
    }

    /// Gives up the queries that are running for long, from now on or no longer.
    pub(in super::super) fn give_up_long_ones(&self, log_is_too_long: bool) {
        self.readers.log.is_too_much.store(log_is_too_long, Relaxed);
    }

    pub(in super::super) fn release(&mut self) {
        self.readers.log.is_waited_for.store(false, Relaxed);
        for place in self.places.drain(..) {
            // There is a place for each.
            let _ = self.readers.give_back.send(place);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use crossbeam_channel::bounded;

    use super::super::super::{StoreError, prepare};
    use super::super::Snapshot;
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
        let query = std::thread::spawn(move || {
            asking.with(long_before_its_deadline, false, |Snapshot { connection, .. }| {
                let _ = begins.try_send(());
                let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                               SELECT max(i) FROM n";
                Ok(connection.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            })
        });
        has_begun.recv().unwrap();
        let mut held = Held::none(&readers);
        assert!(!held.hold(), "one is running");
        held.give_up_long_ones(true);
        assert!(matches!(query.join().unwrap(), Err(StoreError::TooSlow)));
        assert!(Instant::now() < long_before_its_deadline);
        held.give_up_long_ones(false);
        assert!(held.hold(), "nobody is running any more");
        held.release();
        let another = readers.with(Instant::now(), false, |Snapshot { connection, .. }| {
            Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)
        });
        assert!(matches!(another, Ok(1)));
    }
}
