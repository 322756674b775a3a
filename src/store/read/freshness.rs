//! The freshness of the index decides whether a query asks it, waits for it, or goes without it.

use std::time::Duration;

use rusqlite::Connection;

use crate::store::index::{self, Watermarks, changes};

/// What it takes the indexer to take account of one change, in a million messages and on a busy machine.
const CHANGE_TAKES: Duration = Duration::from_micros(100);
/// What it takes a query without the index to go through one message, on a quiet machine.
const MESSAGE_TAKES: Duration = Duration::from_micros(1);
/// Whatever there is to go through, an index that is not ready after so long is behind for other reasons; queries keep
/// a connection while they wait.
const MAX_PATIENCE: Duration = Duration::from_millis(500);
/// More changes than anybody waits for.
const TOO_MANY_CHANGES: u32 = (MAX_PATIENCE.as_micros() / CHANGE_TAKES.as_micros()) as u32 + 1;

/// What the index knows of one snapshot of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Every change.
    Fresh,
    /// All but so many changes, of which no more are counted than it takes to decide; it holds so many messages.
    Behind { changes: u32, messages: u64 },
    /// Nothing that could be relied on: a message is in the last row that there can be.
    Meaningless,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextMove {
    Ask,
    Wait,
    GoWithout,
}

impl Freshness {
    pub(super) fn of(snapshot: &Connection, watermarks: &Watermarks) -> rusqlite::Result<Self> {
        if index::is_at_last_row(snapshot)? {
            return Ok(Self::Meaningless);
        }
        Ok(match changes::pending(snapshot, watermarks, TOO_MANY_CHANGES)? {
            0 => Self::Fresh,
            changes => Self::Behind { changes, messages: watermarks.ordered },
        })
    }

    /// What a query does that has waited for so long: it waits for no longer than it takes to go through all messages,
    /// and only where the index will be ready by then.
    pub(super) fn next_move(self, waited: Duration) -> NextMove {
        match self {
            Self::Fresh => NextMove::Ask,
            Self::Behind { changes, messages } => {
                let scan = MESSAGE_TAKES.saturating_mul(u32::try_from(messages).unwrap_or(u32::MAX));
                let patience = scan.min(MAX_PATIENCE);
                let is_soon = CHANGE_TAKES * changes <= patience;
                if is_soon && waited < patience { NextMove::Wait } else { NextMove::GoWithout }
            }
            Self::Meaningless => NextMove::GoWithout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::connections;
    use crate::store::database::prepare;

    #[test]
    fn a_query_waits_for_the_index_where_that_takes_less_than_to_go_through_all_messages() {
        let behind = |changes, messages| Freshness::Behind { changes, messages };
        for (freshness, waited, expected) in [
            (Freshness::Fresh, 0, NextMove::Ask),
            (Freshness::Fresh, 9999, NextMove::Ask),
            (Freshness::Meaningless, 0, NextMove::GoWithout),
            // A slice of the retention, or of an erasure.
            (behind(128, 1_000_000), 0, NextMove::Wait),
            (behind(128, 1_000_000), 499, NextMove::Wait),
            (behind(128, 1_000_000), 500, NextMove::GoWithout),
            (behind(5000, 1_000_000), 0, NextMove::Wait),
            // Many were deleted at once.
            (behind(TOO_MANY_CHANGES, u64::MAX), 0, NextMove::GoWithout),
            // There is so little that it is gone through in no time.
            (behind(100, 10_000), 0, NextMove::Wait),
            (behind(100, 10_000), 10, NextMove::GoWithout),
            (behind(128, 10_000), 0, NextMove::GoWithout),
            (behind(1, 99), 0, NextMove::GoWithout),
            (behind(1, 0), 0, NextMove::GoWithout),
        ] {
            assert_eq!(
                freshness.next_move(Duration::from_millis(waited)),
                expected,
                "{freshness:?} after {waited} ms"
            );
        }
    }

    #[test]
    fn the_freshness_is_that_of_the_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(prepare::prepare(&path).unwrap());
        let database = connections::open_for_reading(&path).unwrap();
        let freshness = |watermarks: &Watermarks| Freshness::of(&database, watermarks).unwrap();
        let known = Watermarks { ordered: 9000, ..Watermarks::default() };
        database
            .execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
                 INSERT INTO messages SELECT 'm' || i, '+1', '+2', '2025-01-15T10:00:00Z', NULL, '' FROM n",
            )
            .unwrap();
        assert_eq!(freshness(&known), Freshness::Fresh);
        database.execute_batch("DELETE FROM messages WHERE rowid <= 3").unwrap();
        assert_eq!(freshness(&known), Freshness::Behind { changes: 3, messages: 9000 });
        database.execute_batch("DELETE FROM messages WHERE rowid <= 8000").unwrap();
        assert_eq!(freshness(&known), Freshness::Behind { changes: TOO_MANY_CHANGES, messages: 9000 });
        let last = "SELECT max(change) FROM messages_changes";
        let changes_through = database.query_row(last, [], |row| row.get(0)).unwrap();
        assert_eq!(freshness(&Watermarks { changes_through, ..known }), Freshness::Fresh);
        database.execute("UPDATE messages SET rowid = ?1 WHERE rowid = 8001", [i64::MAX]).unwrap();
        assert_eq!(freshness(&known), Freshness::Meaningless);
    }
}
