//! Activity of queries tells when somebody last asked, so that what they need can wait while nobody does.

use std::sync::Mutex;
use std::time::Instant;

use crate::mutex::lock;
use crate::store::database::kept_memory::{KEPT_FOR, KeptMemory};

pub struct QueryActivity(Mutex<LastQuery>);

struct LastQuery {
    at: Instant,
    memory: KeptMemory,
}

impl QueryActivity {
    /// Whoever starts the service is about to ask; there is nothing to give back yet.
    pub(super) fn new(started: Instant) -> Self {
        Self(Mutex::new(LastQuery { at: started, memory: KeptMemory::GivenBack }))
    }

    pub(super) fn query_came(&self, at: Instant) {
        *lock(&self.0) = LastQuery { at, memory: KeptMemory::Held(at) };
    }

    /// Somebody reads what is stored.
    pub fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(lock(&self.0).at) < KEPT_FOR
    }

    /// True once, when nobody has asked for a while: the memory that is held is to be given back.
    pub(super) fn takes_memory_back(&self, now: Instant) -> bool {
        lock(&self.0).memory.is_due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
