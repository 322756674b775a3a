//! A syncer syncs a file in a thread of its own as soon as it is asked, while whoever asked goes on writing.
//!
//! What is asked for while a sync is under way shares the next one (group commit). A disk may take what is written
//! to a page meanwhile in halves, so the slot that is being synced, the last one that was, and the one that comes next
//! are left alone: [`Syncer::free_slot`] is another.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::mutex::{lock, wait};

/// The three that are left alone, and one to write to.
pub const SLOTS: usize = 4;

/// What was written, and in which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub sequence: u64,
    pub slot: usize,
}

pub struct Syncer {
    shared: Arc<SyncerShared>,
    thread: Option<JoinHandle<()>>,
}

struct SyncerShared {
    syncs: Mutex<Syncs>,
    changed: Condvar,
}

struct Syncs {
    /// The last that was written.
    asked: Mark,
    /// The last that a sync was begun for.
    begun: Mark,
    /// The last that outlives a power cut.
    synced: Mark,
    failure: Option<io::Error>,
    is_over: bool,
}

impl Syncer {
    /// `synced` is what is on the disk already, `sync` what brings there whatever was written before it is called.
    pub fn start(synced: Mark, sync: impl FnMut() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let syncs = Syncs { asked: synced, begun: synced, synced, failure: None, is_over: false };
        let shared = Arc::new(SyncerShared { syncs: Mutex::new(syncs), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("syncer".into()).spawn(move || of_thread.work(sync))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where to write what comes next.
    pub fn free_slot(&self) -> usize {
        let Syncs { asked, begun, synced, .. } = *lock(&self.shared.syncs);
        free_slot([asked, begun, synced].map(|mark| mark.slot))
    }

    /// Has what was written synced, without waiting for it.
    pub fn ask(&self, written: Mark) {
        lock(&self.shared.syncs).asked = written;
        self.shared.changed.notify_all();
    }

    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let syncs = lock(&self.shared.syncs);
        syncs.synced == syncs.asked
    }

    /// True if a sync has failed, which [`Self::wait`] has not told of yet.
    pub fn has_failed(&self) -> bool {
        lock(&self.shared.syncs).failure.is_some()
    }

    /// Waits until everything that was asked for outlives a power cut, or an attempt at that has failed: then whoever
    /// asked has to write it again, because the kernel gives up what it could not write (fsync(2), "EIO").
    pub fn wait(&self) -> io::Result<()> {
        let mut syncs = lock(&self.shared.syncs);
        loop {
            match syncs.failure.take() {
                Some(error) => return Err(error),
                None if syncs.synced == syncs.asked => return Ok(()),
                None => syncs = wait(&self.shared.changed, syncs),
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        lock(&self.shared.syncs).is_over = true;
        self.shared.changed.notify_all();
        // It has the file, and whoever opens that next wants its lock.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl SyncerShared {
    fn work(&self, mut sync: impl FnMut() -> io::Result<()>) {
        let mut syncs = lock(&self.syncs);
        while !syncs.is_over {
            if syncs.asked == syncs.begun {
                syncs = wait(&self.changed, syncs);
                continue;
            }
            let begun = syncs.asked;
            syncs.begun = begun;
            drop(syncs);
            let done = sync();
            syncs = lock(&self.syncs);
            match done {
                Ok(()) => syncs.synced = begun,
                Err(error) => syncs.failure = Some(error),
            }
            self.changed.notify_all();
        }
    }
}

fn free_slot(taken: [usize; SLOTS - 1]) -> usize {
    (0..SLOTS).find(|slot| !taken.contains(slot)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn mark(sequence: u64) -> Mark {
        Mark { sequence, slot: sequence as usize % SLOTS }
    }

    #[test]
    fn what_comes_while_a_sync_is_under_way_shares_the_next() {
        let (begun, begins) = mpsc::channel();
        let (go, goes) = mpsc::channel();
        let sync = move || {
            begun.send(()).unwrap();
            goes.recv().unwrap()
        };
        let syncer = Syncer::start(mark(0), sync).unwrap();
        syncer.wait().unwrap();
        syncer.ask(mark(1));
        begins.recv().unwrap();
        for sequence in 2..=3 {
            syncer.ask(mark(sequence));
        }
        assert_eq!(lock(&syncer.shared.syncs).synced, mark(0), "nothing is synced before its sync has ended");
        go.send(Ok(())).unwrap();
        begins.recv().unwrap();
        assert_eq!(lock(&syncer.shared.syncs).synced, mark(1));
        go.send(Ok(())).unwrap();
        syncer.wait().unwrap();
        assert_eq!(lock(&syncer.shared.syncs).synced, mark(3));

        syncer.ask(mark(4));
        go.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(syncer.wait().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!syncer.has_failed(), "it is told once");
        syncer.ask(mark(5));
        go.send(Ok(())).unwrap();
        syncer.wait().unwrap();
        assert_eq!(
            begins.try_iter().count(),
            2,
            "what has failed is not tried again before it was written again"
        );
    }

    #[test]
    fn a_free_slot_is_none_that_a_power_cut_may_leave_as_the_last_whole_one() {
        for a in 0..SLOTS {
            for b in 0..SLOTS {
                for c in 0..SLOTS {
                    let free = free_slot([a, b, c]);
                    assert!(free < SLOTS && ![a, b, c].contains(&free));
                }
            }
        }
    }
}
