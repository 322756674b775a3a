//! Buffered bytes are what the service holds for its clients, wherever it is.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::limits::LARGEST_MAX_BODY_BYTES;

/// Bytes of requests and responses held for all connections together; past it requests are shed.
const MAX_BUFFERED_BYTES: usize = 32 << 20;
const _: () = assert!(LARGEST_MAX_BODY_BYTES < MAX_BUFFERED_BYTES);

#[derive(Default)]
pub(super) struct BufferedBytes {
    held: AtomicUsize,
    /// The number of the source that held most when it was last looked for.
    hoarder: AtomicUsize,
}

impl BufferedBytes {
    pub(super) fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    /// So much is held for clients already that an answer which may be large must not be added.
    pub(super) fn is_full(&self) -> bool {
        self.held() > MAX_BUFFERED_BYTES
    }

    /// The same for an answer to this source. Whoever is not the one that holds most may go to twice the bound:
    /// meanwhile the reactor closes connections of the one that does.
    pub(super) fn is_full_for(&self, source: usize) -> bool {
        let is_hoarder = self.hoarder.load(SeqCst) == source;
        self.held() > if is_hoarder { MAX_BUFFERED_BYTES } else { 2 * MAX_BUFFERED_BYTES }
    }

    /// So much was held for a connection, or for an answer on its way to it, and now that.
    pub(super) fn recount(&self, before: usize, now: usize) {
        // Where it is less, the difference wraps around, and the sum wraps back.
        self.held.fetch_add(now.wrapping_sub(before), SeqCst);
    }

    /// Who holds most.
    pub(super) fn now_hoarding(&self, source: Option<usize>) {
        // A number that no source has.
        self.hoarder.store(source.unwrap_or(usize::MAX), SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_most_meets_the_bound_first() {
        let buffered = BufferedBytes::default();
        buffered.now_hoarding(Some(3));
        buffered.recount(0, MAX_BUFFERED_BYTES + 7);
        buffered.recount(7, 0);
        assert!(!buffered.is_full());
        buffered.recount(0, 1);
        assert!(buffered.is_full() && buffered.is_full_for(3));
        assert!(!buffered.is_full_for(4));
        buffered.recount(0, MAX_BUFFERED_BYTES);
        assert!(buffered.is_full_for(4));
        buffered.recount(MAX_BUFFERED_BYTES + 1, 0);
        assert!(!buffered.is_full());
    }
}
