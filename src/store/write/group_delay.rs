//! A group delay has a batch wait a moment for those who are likely to follow, so that they share its sync.
//!
//! Who was answered by one commit sends the next message right away, while the next commit is under way for those who
//! came during the first. So two groups would take turns, each waiting for two syncs where one could hold them all.
//! Under a load that comes whoever was answered, the delay passes in vain: it costs a fraction of what a commit takes,
//! and nothing where messages come one by one.

use std::time::{Duration, Instant};

/// A part of what the last commit took: of 8 connections a quarter brings 6.9 together, a half 7.6, the whole 7.8,
/// and without any delay there are 4.2.
const SHARE: u32 = 2;
/// So many share a sync well enough: with more of them a commit takes longer by what is in it, and meanwhile the next
/// are on their way. With 64 connections a wait for all of them was within the noise of one for so many, and
/// with 32 one for twice as many cost a tenth of the rate.
const ENOUGH: usize = 16;
/// What takes longer was no sync: another process held the database, or the disk was busy with something else.
const MAX_DELAY: Duration = Duration::from_millis(5);

/// For how many commands a batch waits, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupDelay {
    pub(super) count: usize,
    pub(super) until: Instant,
}

impl GroupDelay {
    /// Behind a commit that so many were waiting for, and at whose end so many were waiting for the next.
    pub(super) fn after(answered: usize, waiting: usize, began: Instant, ended: Instant) -> Self {
        let took = ended.saturating_duration_since(began);
        Self { count: (answered + waiting).min(ENOUGH), until: ended + (took / SHARE).min(MAX_DELAY) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_who_was_answered_last_and_who_is_there() {
        let began = Instant::now();
        let millis = Duration::from_millis;
        // Answered, waiting, milliseconds that it took; for how many it waits then, and for how long.
        for (answered, waiting, took, count, delay) in [
            (1, 0, millis(1), 1, Duration::from_micros(500)),
            (4, 4, millis(1), 8, Duration::from_micros(500)),
            (8, 0, millis(4), 8, millis(2)),
            (8, 0, millis(2000), 8, MAX_DELAY),
            (30, 30, millis(1), ENOUGH, Duration::from_micros(500)),
        ] {
            let ended = began + took;
            let after = GroupDelay::after(answered, waiting, began, ended);
            assert_eq!(after, GroupDelay { count, until: ended + delay }, "{answered} {waiting} {took:?}");
        }
    }
}
