//! The pressure of a write-ahead log decides what is done before the next transaction.
//!
//! - Most of the log is moved while commits and queries go on. It restarts only when all of it is
//!   moved and nobody reads it, and overlapping queries could keep it from that for ever.
//! - So with more and more bytes in it more is done: new queries wait, then long ones are given up, and
//!   the next transaction waits for it. That holds it below its bound and one transaction more.
//! - A reader in another process cannot be made to end. Then the log grows, and every now and then it is
//!   tried whether that one has ended.

use std::time::{Duration, Instant};

use crate::store::database::wal_bounds::WalBounds;

/// While another process reads the log, how long until it is tried again to have it restart: at first, and
/// at most. Each try costs queries of half a second, and it may read for hours.
const OTHER_READER_PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Have it moved in the background.
    PassiveInBackground,
    /// Whoever commits moves the rest, and the log restarts if it can.
    Passive,
    /// Keep new queries back, and start it over once none is running.
    HoldQueries,
    /// Give long queries up as well, and wait until it has restarted.
    GiveUpQueries,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckpointOutcome {
    /// The next transaction begins at the start.
    Restarted,
    /// It may have, or there is time until it has grown by some more.
    Tried,
    /// It does not, though no query of ours is running.
    Held,
}

#[derive(Debug)]
pub(super) struct Pressure {
    bounds: &'static WalBounds,
    /// How long it was last seen to be.
    pub(super) live: u64,
    /// The next lengths for [`Action::PassiveInBackground`] and [`Action::Passive`].
    background_at: u64,
    passive_at: u64,
    /// Another process reads it: what is useless then is done again at this time.
    held_until: Option<Instant>,
    /// And then after so long.
    pause: Duration,
}

impl Pressure {
    pub(super) fn new(bounds: &'static WalBounds) -> Self {
        let [pause, _] = OTHER_READER_PAUSES;
        Self {
            bounds,
            live: 0,
            background_at: bounds.background,
            passive_at: bounds.passive,
            held_until: None,
            pause,
        }
    }

    /// Notes how long the log is. True if it has restarted since the last time.
    pub(super) fn observe(&mut self, live: u64) -> bool {
        let has_started_over = live < self.live;
        if has_started_over {
            *self = Self::new(self.bounds);
        }
        self.live = live;
        has_started_over
    }

    pub(super) fn action(&self, now: Instant) -> Action {
        let is_held = self.held_until.is_some_and(|until| now < until);
        match self.live {
            live if live >= self.bounds.most && !is_held => Action::GiveUpQueries,
            live if live >= self.passive_at && live >= self.bounds.restart && !is_held => Action::HoldQueries,
            live if live >= self.passive_at => Action::Passive,
            live if live >= self.background_at => Action::PassiveInBackground,
            _ => Action::Nothing,
        }
    }

    pub(super) fn passive_has_begun(&mut self) {
        // Once more right before the rest is, so that little is left.
        let last = self.passive_at.saturating_sub(self.bounds.step);
        self.background_at = if self.live < last { last } else { self.live + self.bounds.passive };
    }

    pub(super) fn ended(&mut self, outcome: CheckpointOutcome, now: Instant) {
        match outcome {
            CheckpointOutcome::Restarted => *self = Self::new(self.bounds),
            CheckpointOutcome::Tried => self.passive_at = self.live + self.bounds.step,
            CheckpointOutcome::Held => {
                self.passive_at = self.live + self.bounds.passive / 4;
                self.held_until = Some(now + self.pause);
                let [_, longest] = OTHER_READER_PAUSES;
                self.pause = longest.min(2 * self.pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::wal_bounds::{DATABASE, INDEX};

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_longer_the_log_the_more_is_done() {
        use Action::{GiveUpQueries, HoldQueries, Nothing, Passive, PassiveInBackground};
        let now = Instant::now();
        for (mib, action) in [
            (0, Nothing),
            (31, Nothing),
            (32, PassiveInBackground),
            (63, PassiveInBackground),
            (64, Passive),
            (79, Passive),
            (80, HoldQueries),
            (95, HoldQueries),
            (96, GiveUpQueries),
            (9999, GiveUpQueries),
        ] {
            let mut pressure = Pressure::new(&DATABASE);
            assert!(!pressure.observe(mib * MIB));
            assert_eq!(pressure.action(now), action, "{mib} MiB");
        }
    }

    /// What is seen and how it ended, one after the other, and what is to be done in between.
    #[test]
    fn what_was_tried_is_tried_again_when_the_log_has_grown_or_time_has_passed() {
        use Action::{GiveUpQueries, HoldQueries, Nothing, Passive, PassiveInBackground};
        use CheckpointOutcome::{Held, Restarted, Tried};
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let mut pressure = Pressure::new(&DATABASE);
        for (mib, action, outcome, at) in [
            (33, PassiveInBackground, None, 0),
            (34, Nothing, None, 0),
            (60, PassiveInBackground, None, 0),
            (61, Nothing, None, 0),
            (64, Passive, Some(Tried), 0),
            (65, Nothing, None, 0),
            (68, Passive, Some(Tried), 0),
            (80, HoldQueries, Some(Tried), 0),
            (81, Nothing, None, 0),
            (84, HoldQueries, Some(Tried), 0),
            (96, GiveUpQueries, None, 0),
            // It has not ended, so it goes on.
            (96, GiveUpQueries, Some(Held), 0),
            (97, Nothing, None, 1),
            (112, Passive, Some(Tried), 1),
            (115, Nothing, None, 4),
            (115, GiveUpQueries, Some(Held), 6),
            // For longer and longer.
            (116, Nothing, None, 15),
            (116, GiveUpQueries, Some(Held), 16),
            (116, Nothing, None, 35),
            (116, GiveUpQueries, Some(Restarted), 36),
            (1, Nothing, None, 36),
            (64, Passive, Some(Tried), 37),
            // It has restarted by itself.
            (2, Nothing, None, 37),
            (64, Passive, None, 37),
            (96, GiveUpQueries, Some(Held), 40),
            (97, PassiveInBackground, None, 44),
            (97, GiveUpQueries, None, 45),
        ] {
            let now = began + second * at;
            pressure.observe(mib * MIB);
            assert_eq!(pressure.action(now), action, "{mib} MiB after {at} s");
            match outcome {
                Some(outcome) => pressure.ended(outcome, now),
                None if action == PassiveInBackground => pressure.passive_has_begun(),
                None => {}
            }
        }
    }

    #[test]
    fn a_log_that_started_over_is_noticed_once() {
        let mut pressure = Pressure::new(&INDEX);
        assert!(!pressure.observe(20 * MIB));
        assert!(pressure.observe(MIB));
        assert!(!pressure.observe(2 * MIB));
    }
}
