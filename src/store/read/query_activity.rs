//! Activity of queries tells when somebody last asked, so that what they need can wait while nobody does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A query this recent means that somebody asks.
const QUERY_IS_RECENT: Duration = Duration::from_secs(5);

pub struct QueryActivity(Mutex<LastQuery>);

struct LastQuery {
    at: Instant,
    memory: KeptMemory,
}

/// What connections hold for the next query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeptMemory {
    Held,
    GivenBack,
}

impl QueryActivity {
    /// Whoever starts the service is about to ask; there is nothing to give back yet.
    pub(super) fn new(started: Instant) -> Self {
        Self(Mutex::new(LastQuery { at: started, memory: KeptMemory::GivenBack }))
    }

    pub(super) fn query_came(&self, at: Instant) {
        *self.last() = LastQuery { at, memory: KeptMemory::Held };
    }

    /// Somebody reads what is stored.
    pub fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last().at) < QUERY_IS_RECENT
    }

    /// True once, when nobody has asked for a while: the memory that is held is to be given back.
    pub(super) fn takes_memory_back(&self, now: Instant) -> bool {
        let mut last = self.last();
        let is_due =
            last.memory == KeptMemory::Held && now.saturating_duration_since(last.at) >= QUERY_IS_RECENT;
        if is_due {
            last.memory = KeptMemory::GivenBack;
        }
        is_due
    }

    fn last(&self) -> MutexGuard<'_, LastQuery> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_each_time_in_which_somebody_asked() {
        let began = Instant::now();
        let activity = QueryActivity::new(began);
        for (seconds, comes, is_recent, takes_back) in [
            (0, false, true, false),
            (5, false, false, false),
            (6, true, true, false),
            (10, false, true, false),
            (11, false, false, true),
            (12, false, false, false),
            (13, true, true, false),
            (14, true, true, false),
            (19, false, false, true),
        ] {
            let now = began + Duration::from_secs(seconds);
            if comes {
                activity.query_came(now);
            }
            assert_eq!(activity.is_recent(now), is_recent, "after {seconds} s");
            assert_eq!(activity.takes_memory_back(now), takes_back, "after {seconds} s");
        }
    }
}
