//! The schedule of the index decides which part of it is due, or when one will be.
//!
//! - While messages keep coming they gather for a while, so that they share pages; while they come
//!   fast and nobody asks anything, until very many have.
//! - The order goes before the search.

use std::time::{Duration, Instant};

use crate::limits::ORDER_SLICE;

/// While messages keep coming, how long they gather before they are put in order together. Every
/// query goes through those that are not.
pub(super) const ORDER_PAUSE: Duration = Duration::from_millis(100);
/// Messages that wait to be put in order while the service is busy and nobody asks anything: putting
/// them in order would take a fifth of what taking them in takes.
const MAX_UNORDERED: i64 = 16_384;
/// How long texts gather before they are indexed together: to index one takes longer than to search it.
const SEARCH_PAUSE: Duration = Duration::from_millis(500);
/// While the service is busy, putting messages in order pauses for so many times as long as it took.
const ORDER_PAUSE_FACTOR: u32 = 2;
/// A large backlog, as an older file brings along, gives way for so many times as long: to work it off
/// takes minutes in any case.
const BACKLOG_PAUSE_FACTOR: u32 = 9;
/// To index a text takes as much as to take the message in. While the service is busy, indexing
/// texts pauses for so many times as long as it took.
const SEARCH_PAUSE_FACTOR: u32 = 15;
/// Texts indexed at once.
const SEARCH_SLICE: usize = 1024;

/// Messages taken in by one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SliceRows {
    pub(super) order: usize,
    pub(super) search: usize,
}

impl SliceRows {
    const USUAL: Self = Self { order: ORDER_SLICE, search: SEARCH_SLICE };
    /// The more share a page, the less is written: of 1,000,000 messages 2 GB instead of 3.9, in 0.72 of the
    /// processor time. A change waits for a slice, which takes a fifth of a second.
    const OF_BACKLOG: Self = Self { order: 32_768, search: 8192 };

    pub(super) fn of(arrival: Arrival, has_backlog: bool) -> Self {
        if has_backlog && arrival == Arrival::Slow { Self::OF_BACKLOG } else { Self::USUAL }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Changes,
    Order,
    Search,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now(Part),
    In(Duration),
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    Slow,
    Fast,
    FastAndNobodyAsks,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LastSlice {
    pub(super) ended: Instant,
    pub(super) took: Duration,
}

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) changes_are_pending: bool,
    /// Rows behind the watermark of the order.
    pub(super) unordered: i64,
    /// Rows behind the watermark of the search index.
    pub(super) unsearchable: i64,
    pub(super) arrival: Arrival,
    /// There is so much to do that the log tells of it.
    pub(super) has_backlog: bool,
    pub(super) order: LastSlice,
    pub(super) search: LastSlice,
}

impl Situation {
    /// `None` if there is nothing to do.
    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        if self.changes_are_pending {
            return Some(Due::Now(Part::Changes));
        }
        let waits = self.arrival == Arrival::FastAndNobodyAsks;
        if waits && self.unordered < MAX_UNORDERED && self.unsearchable < 2 * MAX_UNORDERED {
            return Some(Due::In(ORDER_PAUSE));
        }
        let left = |pause: Duration, last: LastSlice| {
            pause.saturating_sub(now.saturating_duration_since(last.ended))
        };
        let order_in = left(self.order_pause(), self.order);
        if self.unordered > 0 && order_in.is_zero() {
            return Some(Due::Now(Part::Order));
        }
        let search_in = left(self.search_pause(), self.search);
        if self.unsearchable > 0 && search_in.is_zero() {
            return Some(Due::Now(Part::Search));
        }
        match (self.unordered > 0, self.unsearchable > 0) {
            (true, _) => Some(Due::In(order_in)),
            (false, true) => Some(Due::In(search_in.min(ORDER_PAUSE))),
            (false, false) => None,
        }
    }

    fn order_pause(&self) -> Duration {
        match self.arrival {
            Arrival::Slow if self.unordered >= ORDER_SLICE as i64 => Duration::ZERO,
            Arrival::Slow => ORDER_PAUSE,
            _ if self.has_backlog => self.order.took * BACKLOG_PAUSE_FACTOR,
            _ => ORDER_PAUSE.max(self.order.took * ORDER_PAUSE_FACTOR),
        }
    }

    fn search_pause(&self) -> Duration {
        match self.arrival {
            Arrival::Slow if self.unsearchable >= SEARCH_SLICE as i64 => Duration::ZERO,
            Arrival::Slow => SEARCH_PAUSE,
            _ => SEARCH_PAUSE.max(self.search.took * SEARCH_PAUSE_FACTOR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_taken_in_at_once_where_much_is_due_and_nothing_comes() {
        for (arrival, has_backlog, rows) in [
            (Arrival::Slow, true, SliceRows::OF_BACKLOG),
            (Arrival::Slow, false, SliceRows::USUAL),
            (Arrival::Fast, true, SliceRows::USUAL),
            (Arrival::FastAndNobodyAsks, true, SliceRows::USUAL),
        ] {
            assert_eq!(SliceRows::of(arrival, has_backlog), rows, "{arrival:?} {has_backlog}");
        }
    }

    #[test]
    fn what_is_due_follows_from_how_far_behind_it_is_and_how_messages_come() {
        use Arrival::{Fast, FastAndNobodyAsks, Slow};
        let now = Due::Now;
        let after = |millis| Due::In(Duration::from_millis(millis));
        let slice = ORDER_SLICE as i64;
        // Rows behind in the order and in the search, milliseconds since the last slice of each, and what it took.
        for (behind, arrival, ago, took, expected) in [
            ([0, 0], Slow, 0, 0, None),
            ([0, 0], Fast, 0, 0, None),
            ([1, 1], Slow, 40, 0, Some(after(60))),
            ([1, 1], Slow, 100, 0, Some(now(Part::Order))),
            ([0, 1], Slow, 300, 0, Some(after(100))),
            ([0, 1], Slow, 450, 0, Some(after(50))),
            ([0, 1], Slow, 500, 0, Some(now(Part::Search))),
            ([slice, 9], Slow, 0, 9, Some(now(Part::Order))),
            ([0, SEARCH_SLICE as i64], Slow, 0, 9, Some(now(Part::Search))),
            ([slice, 9], Fast, 0, 10, Some(after(100))),
            ([slice, 9], Fast, 0, 200, Some(after(400))),
            ([slice, 9], Fast, 400, 200, Some(now(Part::Order))),
            ([0, 5000], Fast, 500, 40, Some(after(100))),
            ([0, 5000], Fast, 600, 40, Some(now(Part::Search))),
            ([MAX_UNORDERED - 1, 9], FastAndNobodyAsks, 9999, 0, Some(after(100))),
            ([MAX_UNORDERED, 9], FastAndNobodyAsks, 9999, 0, Some(now(Part::Order))),
            ([0, 2 * MAX_UNORDERED], FastAndNobodyAsks, 9999, 0, Some(now(Part::Search))),
        ] {
            let began = Instant::now();
            let last = LastSlice { ended: began, took: Duration::from_millis(took) };
            let [unordered, unsearchable] = behind;
            let mut situation = Situation {
                changes_are_pending: false,
                unordered,
                unsearchable,
                arrival,
                has_backlog: false,
                order: last,
                search: last,
            };
            let at = began + Duration::from_millis(ago);
            assert_eq!(situation.due(at), expected, "{situation:?} after {ago} ms");
            situation.changes_are_pending = true;
            assert_eq!(situation.due(at), Some(now(Part::Changes)), "changes go first");
            (situation.changes_are_pending, situation.has_backlog) = (false, true);
            if arrival == Fast && unordered > 0 {
                let rest = Duration::from_millis(9 * took).saturating_sub(Duration::from_millis(ago));
                assert_eq!(situation.due(at), Some(Due::In(rest)), "a backlog gives way for longer");
            }
        }
    }
}
