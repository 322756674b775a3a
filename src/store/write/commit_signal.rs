//! A commit signal tells whoever waits for messages that some were committed.

use std::sync::atomic::{
    AtomicI64, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, OnceLock};

use crate::waker::Waker;

/// A count that a thread looks at whenever it is woken. Nobody waits for anybody here.
#[derive(Default)]
pub(in crate::store) struct CommitSignal {
    commits: AtomicU64,
    head: AtomicI64,
    waker: OnceLock<Arc<Waker>>,
}

impl CommitSignal {
    pub(in crate::store) fn commits(&self) -> u64 {
        self.commits.load(SeqCst)
    }

    /// The highest number of a row that was heard of.
    pub(in crate::store) fn head(&self) -> i64 {
        self.head.load(Relaxed)
    }

    pub(in crate::store) fn set_waker(&self, waker: Arc<Waker>) {
        // It is set once, by the one server that there is.
        let _ = self.waker.set(waker);
    }

    /// Messages were committed, the last of them with this number. Those who sent them are about to be answered,
    /// which wakes the same thread.
    pub(super) fn committed(&self, head: i64) {
        self.head.store(head, Relaxed);
        self.commits.fetch_add(1, SeqCst);
    }

    /// Others have committed something, perhaps messages: nobody else wakes the thread for that.
    pub(super) fn committed_by_others(&self, head: i64) {
        self.committed(head);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}
