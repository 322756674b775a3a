//! A commit signal tells whoever waits for messages that some were committed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use crate::waker::Waker;

/// A count that a thread looks at whenever it is woken. Nobody waits for anybody here.
#[derive(Default)]
pub struct CommitSignal {
    commits: AtomicU64,
    waker: OnceLock<Arc<Waker>>,
}

impl CommitSignal {
    pub fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }

    pub fn set_waker(&self, waker: Arc<Waker>) {
        // It is set once, by the one server that there is.
        let _ = self.waker.set(waker);
    }

    /// Messages were committed. Those who sent them are about to be answered,
    /// which wakes the same thread.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, SeqCst);
    }

    /// Others have committed something, perhaps messages: nobody else wakes the thread for that.
    pub(super) fn committed_by_others(&self) {
        self.committed();
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}
