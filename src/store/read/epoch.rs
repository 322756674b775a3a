//! An epoch is a time in which the paths name the same files.
//!
//! - It is one value, replaced as a whole: its number, and the index that queries may use in it, if there is one.
//!   The connections of the pools are of the epoch in which they were opened.
//! - The indexer alone publishes an index, for the epoch in which it opened the files. Where that has ended
//!   meanwhile nothing is published, so an index that was put out of use does not come back.
//! - Whoever finds that the files are other ones, or that the index is wrong, begins the next epoch, which has none.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::pool::Pools;
use crate::mutex::lock;
use crate::store::database::files::FileId;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Connections of another number are not used.
    pub generation: u64,
    pub index: Option<PublishedIndex>,
}

/// An index that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedIndex {
    /// `None` if it has no name any more.
    pub file: Option<FileId>,
    /// The last change that it takes account of.
    pub changes_through: i64,
    /// How often it was compared with the messages, as it is when somebody else has written to them.
    pub compared: u64,
}

/// The epoch of one database, for every thread.
pub struct Epochs {
    state: Mutex<Known>,
    pools: Arc<Pools>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

#[derive(Default)]
struct Known {
    epoch: Epoch,
    /// The file that was published last.
    last_file: Option<FileId>,
    /// What was found wrong with the index, which is not to be used again.
    condemned: Option<String>,
}

impl Epochs {
    pub(super) fn new(pools: Arc<Pools>) -> Self {
        let (wake, woken) = bounded(1);
        Self { state: Mutex::default(), pools, wake, woken }
    }

    pub fn current(&self) -> Epoch {
        lock(&self.state).epoch
    }

    pub fn generation(&self) -> u64 {
        self.current().generation
    }

    /// True while the index of this epoch is published.
    pub fn has_index(&self, generation: u64) -> bool {
        let epoch = self.current();
        epoch.generation == generation && epoch.index.is_some()
    }

    /// From now on queries may use this index, or the same one that has taken account of more changes.
    pub fn publish(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        if state.epoch.generation == epoch.generation {
            state.epoch = epoch;
            state.last_file = epoch.index.map_or(state.last_file, |index| index.file);
        }
    }

    /// The file that is the index, or was the last to be.
    pub fn last_file(&self) -> Option<FileId> {
        lock(&self.state).last_file
    }

    /// Puts the index out of use, and closes the connections to the files that the path named until now; one in use
    /// is closed by whoever uses it.
    pub fn end(&self) {
        self.begin_next(None);
    }

    /// The same where the index is wrong: it is made anew.
    pub fn condemn_index(&self, cause: String) {
        self.begin_next(Some(cause));
    }

    fn begin_next(&self, condemned: Option<String>) {
        let mut state = lock(&self.state);
        state.condemned = condemned.or_else(|| state.condemned.take());
        state.epoch = Epoch { generation: state.epoch.generation + 1, index: None };
        drop(state);
        self.pools.clear();
        self.wake_indexer();
    }

    /// Has the indexer look what there is to do, and what became of its index.
    pub(super) fn wake_indexer(&self) {
        // If one is waiting already it stands for both.
        let _ = self.wake.try_send(());
    }

    /// Why the index has to be made anew, if it has to. Says so once.
    pub fn take_condemned(&self) -> Option<String> {
        lock(&self.state).condemned.take()
    }

    /// The channel on which the indexer is woken: the other ends, for itself and for whoever commits.
    pub fn wake(&self) -> (Sender<()>, Receiver<()>) {
        (self.wake.clone(), self.woken.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_used_in_the_epoch_that_it_was_published_for_and_in_no_other() {
        let epochs = Epochs::new(Arc::new(Pools::new()));
        let index =
            |changes_through| Some(PublishedIndex { file: Some((1, 2)), changes_through, compared: 1 });
        assert_eq!(epochs.current(), Epoch::default());
        assert!(!epochs.has_index(0));

        epochs.publish(Epoch { generation: 0, index: index(5) });
        epochs.publish(Epoch { generation: 0, index: index(7) });
        assert_eq!(epochs.current().index, index(7));
        assert!(epochs.has_index(0) && !epochs.has_index(1));

        epochs.condemn_index("wrong".to_owned());
        assert_eq!(epochs.current(), Epoch { generation: 1, index: None });
        assert_eq!(epochs.last_file(), Some((1, 2)), "it is still known which file it was");
        assert_eq!(epochs.take_condemned().as_deref(), Some("wrong"));
        assert_eq!(epochs.take_condemned(), None);

        epochs.publish(Epoch { generation: 0, index: index(9) });
        assert_eq!(epochs.current(), Epoch { generation: 1, index: None }, "it comes too late");
        epochs.publish(Epoch { generation: 1, index: index(9) });
        assert!(epochs.has_index(1) && !epochs.has_index(0));
    }
}
