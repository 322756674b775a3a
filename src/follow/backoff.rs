//! A backoff says how long to wait before the next attempt (exponential backoff with jitter).

use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

/// How far from its due time an attempt may lie, so that many followers do not come at the same moment.
const JITTER: f64 = 0.2;
/// The longest wait that a target may ask for: a day. More is a mistake of its clock.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits double from the first to the longest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

/// Of a batch that was not confirmed (contract, section 13).
pub const OF_A_TARGET: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5 * 60) };
/// Of a service that does not answer, which is most often one that restarts, or of a file that cannot be written: who
/// makes room on a disk waits for nobody.
pub const OF_AN_OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(10) };

impl Backoff {
    /// The wait after the failed attempt of this number, the first of which is 1; `chance` is from 0 to 1.
    /// Whoever asked for a time is left alone for at least that.
    pub fn wait(self, attempt: u32, after: Option<Duration>, chance: f64) -> Duration {
        if let Some(after) = after {
            return after.clamp(self.first, MAX_RETRY_AFTER).mul_f64(1.0 + JITTER * chance);
        }
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let due = self.first.saturating_mul(doubled).min(self.longest);
        due.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance).min(self.longest)
    }
}

/// A number from 0 to 1, for [`Backoff::wait`].
pub fn chance() -> f64 {
    let mut random = [0; 4];
    // Without entropy, which Linux has soon after it has started, all wait the same time.
    let _ = getrandom(&mut random, GetRandomFlags::NONBLOCK);
    f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempt, seconds) in
            [(1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (33, 300), (u32::MAX, 300)]
        {
            assert_eq!(OF_A_TARGET.wait(attempt, None, 0.5), Duration::from_secs(seconds), "{attempt}");
        }
        for chance in [0.0, 0.3, 1.0] {
            let wait = OF_A_TARGET.wait(3, None, chance).as_secs_f64();
            assert!((3.2..=4.8).contains(&wait), "{wait}");
            assert!(OF_A_TARGET.wait(20, None, chance) <= OF_A_TARGET.longest);
        }
        assert_ne!(OF_A_TARGET.wait(1, None, 0.0), OF_A_TARGET.wait(1, None, 1.0));
    }

    #[test]
    fn whoever_asks_for_a_time_is_left_alone_for_it() {
        let seconds =
            |after, chance| OF_A_TARGET.wait(1, Some(Duration::from_secs(after)), chance).as_secs_f64();
        assert_eq!(seconds(7, 0.0), 7.0);
        assert!((7.0..=8.4).contains(&seconds(7, 1.0)));
        assert_eq!(seconds(600, 0.0), 600.0, "also for longer than it would be without");
        assert_eq!(seconds(0, 0.0), 1.0, "never at once");
        assert_eq!(seconds(u64::MAX, 0.0), 86400.0);
    }

    #[test]
    fn chance_is_a_fraction() {
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }
}
