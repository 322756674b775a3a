//! The way back: what the pool and the writer hand to the edge, and what wakes it for them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, eventfd};

/// What comes back.
pub(super) enum Returned {
    /// From the pool.
    Answer(Answer),
    /// From the writer: what is left to do for an answer. The edge does it, so that the writer goes
    /// on to the next batch and no third thread has to wake up.
    Rest(Box<dyn FnOnce() -> Option<Answer> + Send>),
}

/// An answer as bytes, and the connection it belongs to.
pub(super) struct Answer {
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
    /// The connection ends with this answer.
    pub(super) close: bool,
}

/// A connection, by its place and its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) key: usize,
    pub(super) serial: u64,
}

/// The side that sends. What it holds is bounded by the requests that were let into the pool.
#[derive(Clone)]
pub(super) struct Outbox {
    returned: Sender<Returned>,
    waker: Arc<Waker>,
}

/// The side that the edge reads.
pub(super) struct Inbox {
    returned: Receiver<Returned>,
    waker: Arc<Waker>,
}

/// Wakes the edge out of its wait, once however many have something for it.
pub(super) struct Waker {
    event: OwnedFd,
    pending: AtomicBool,
}

pub(super) fn outbox() -> rustix::io::Result<(Outbox, Inbox)> {
    let (sender, receiver) = unbounded();
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let waker = Arc::new(Waker { event, pending: AtomicBool::new(false) });
    Ok((Outbox { returned: sender, waker: Arc::clone(&waker) }, Inbox { returned: receiver, waker }))
}

impl Outbox {
    pub(super) fn send(&self, returned: Returned) {
        // The edge is gone only when the process ends; nobody is left to be answered then.
        let _ = self.returned.send(returned);
        self.waker.wake();
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }
}

impl Waker {
    pub(super) fn wake(&self) {
        if !self.pending.swap(true, SeqCst) {
            // It can only fail when the counter is full, and then the edge is awake.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl Inbox {
    /// Whatever is there. Called after each wake-up.
    pub(super) fn take(&self) -> impl Iterator<Item = Returned> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.waker.event, &mut count);
        // Before looking: whoever sends from here on wakes the edge again.
        self.waker.pending.store(false, SeqCst);
        self.returned.try_iter()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.event.as_fd()
    }
}
