//! What is believed of the wall clock before anything is deleted by it.
//!
//! A clock that steps a year ahead, for a second or after a start with an empty battery, must not cost a
//! message. So it is believed as long as it moves as time passes. One that was set is doubted until it has
//! stood for a day; meanwhile the earlier of the two is what counts. The belief outlives a restart
//! ([`super::clock`]), which is no way around it.

use crate::limits::{CLOCK_DISPUTE, CLOCK_STEP, LONGEST_STANDSTILL};

/// The belief. All times are seconds since the Unix epoch.
#[derive(Debug)]
pub(super) struct Belief {
    believed: i64,
    /// What the clock says instead, and for how many seconds it has said so.
    rival: Option<(i64, i64)>,
    /// How far the clock may be off at the next look.
    tolerance: i64,
}

impl Belief {
    /// Where an earlier run was `believed` to be. How long ago that was is not known.
    pub(super) fn new(believed: i64) -> Self {
        Self { believed, rival: None, tolerance: LONGEST_STANDSTILL.as_secs() as i64 }
    }

    /// Takes in what the `clock` says when so many seconds have passed since the last look. Gives the time
    /// by which messages may be deleted.
    pub(super) fn look(&mut self, clock: i64, passed: i64) -> i64 {
        let step = CLOCK_STEP.as_secs() as i64;
        let tolerance = std::mem::replace(&mut self.tolerance, step);
        let is_near = |time: i64, tolerance: i64| clock.abs_diff(time) <= tolerance.unsigned_abs();
        self.believed = self.believed.saturating_add(passed);
        if is_near(self.believed, tolerance) {
            (self.believed, self.rival) = (clock, None);
            return clock;
        }
        let stood = match self.rival {
            Some((said, stood)) if is_near(said.saturating_add(passed), step) => stood + passed,
            _ => 0,
        };
        self.rival = Some((clock, stood));
        if stood >= CLOCK_DISPUTE.as_secs() as i64 {
            (self.believed, self.rival) = (clock, None);
        }
        self.believed.min(clock)
    }

    pub(super) fn doubts(&self) -> bool {
        self.rival.is_some()
    }

    pub(super) fn believed(&self) -> i64 {
        self.believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;

    /// A belief that has seen the right clock once.
    fn settled() -> Belief {
        let mut belief = Belief::new(NOW - HOUR);
        assert_eq!(belief.look(NOW, 0), NOW);
        belief
    }

    #[test]
    fn a_clock_that_moves_as_time_passes_is_believed() {
        let mut belief = settled();
        for passed in 1..100 {
            assert_eq!(belief.look(NOW + passed * 5, 5), NOW + passed * 5);
        }
        assert_eq!(belief.look(NOW + 495 + HOUR, 0), NOW + 495 + HOUR, "and so is a small correction");
        assert!(!belief.doubts());
    }

    #[test]
    fn a_clock_that_steps_ahead_is_doubted_for_a_day_and_forgiven_at_once() {
        let mut belief = settled();
        assert_eq!(belief.look(NOW + YEAR, 5), NOW + 5);
        assert!(belief.doubts());
        assert_eq!(belief.look(NOW + 10, 5), NOW + 10);
        assert!(!belief.doubts());
        for hour in 0..24 {
            let (clock, passed) = (NOW + YEAR + hour * HOUR, if hour == 0 { 0 } else { HOUR });
            assert!(belief.look(clock, passed) <= NOW + 10 + hour * HOUR);
        }
        assert_eq!(belief.look(NOW + YEAR + DAY, HOUR), NOW + YEAR + DAY, "it has stood for a day");
    }

    #[test]
    fn a_clock_that_keeps_stepping_is_never_believed() {
        let mut belief = settled();
        for day in 1..100 {
            assert!(belief.look(NOW + day * YEAR, DAY) <= NOW + day * DAY);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_counts_at_once_and_the_way_back_costs_no_day() {
        let mut belief = settled();
        assert_eq!(belief.look(0, 5), 0);
        assert!(belief.doubts());
        assert_eq!(belief.look(NOW + 10, 5), NOW + 10);
    }

    #[test]
    fn a_start_after_a_standstill_is_as_any_other_if_it_was_short() {
        assert_eq!(Belief::new(NOW).look(NOW + DAY, 0), NOW + DAY);
        assert_eq!(Belief::new(NOW).look(NOW + DAY + 1, 0), NOW);
        // Restarts do not add up while the clock is wrong.
        let mut believed = NOW;
        for _ in 0..100 {
            let mut belief = Belief::new(believed);
            belief.look(NOW + YEAR, 0);
            belief.look(NOW + YEAR + HOUR, HOUR);
            believed = belief.believed();
        }
        assert_eq!(believed, NOW + 100 * HOUR);
    }
}
