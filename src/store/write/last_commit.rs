//! The last commit, where it is recent, proves to a probe that the writer can commit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::mutex::lock;

/// A commit this recent proves that the writer can commit.
const COMMIT_IS_RECENT: Duration = Duration::from_secs(1);

/// When the last commit succeeded, if nothing has failed since then. Shared with whoever asks.
#[derive(Clone, Default)]
pub(super) struct LastCommit(Arc<Mutex<Option<Instant>>>);

impl LastCommit {
    /// The last commit is so recent that another one would say nothing new.
    pub(super) fn is_recent(&self) -> bool {
        lock(&self.0).is_some_and(|commit| commit.elapsed() < COMMIT_IS_RECENT)
    }

    pub(super) fn set(&self, commit: Option<Instant>) {
        *lock(&self.0) = commit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_until_it_is_old_or_something_fails() {
        let probe = LastCommit::default();
        assert!(!probe.is_recent(), "there was none");
        probe.clone().set(Some(Instant::now()));
        assert!(probe.is_recent());
        probe.set(None);
        assert!(!probe.is_recent(), "something has failed");
        probe.set(Instant::now().checked_sub(COMMIT_IS_RECENT));
        assert!(!probe.is_recent(), "it was long ago");
    }
}
