//! The way back: what the pool and the writer hand to the edge, and what wakes it for them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, eventfd};

use crate::limits::MAX_BUFFERED_BYTES;

/// What comes back.
pub(super) enum Returned {
    /// From the pool.
    Answer(Answer),
    /// From the writer: what is left to do for an answer. The edge does it, so that the writer goes
    /// on to the next batch and no third thread has to wake up.
    Rest(Box<dyn FnOnce() -> Option<Answer> + Send>),
}

impl Returned {
    fn bytes(&self) -> usize {
        match self {
            Self::Answer(answer) => answer.bytes.capacity(),
            // A webhook's answer is small, and not made yet.
            Self::Rest(_) => 0,
        }
    }
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
    held: Arc<Held>,
}

/// Bytes held for clients, wherever they are.
#[derive(Default)]
struct Held {
    by_edge: AtomicUsize,
    on_the_way: AtomicUsize,
}

/// The side that the edge reads.
pub(super) struct Inbox {
    returned: Receiver<Returned>,
    waker: Arc<Waker>,
    held: Arc<Held>,
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
    let held = Arc::<Held>::default();
    let outbox = Outbox { returned: sender, waker: Arc::clone(&waker), held: Arc::clone(&held) };
    Ok((outbox, Inbox { returned: receiver, waker, held }))
}

impl Outbox {
    pub(super) fn send(&self, returned: Returned) {
        self.held.on_the_way.fetch_add(returned.bytes(), SeqCst);
        // The edge is gone only when the process ends; nobody is left to be answered then.
        let _ = self.returned.send(returned);
        self.waker.wake();
    }

    /// So much is held for clients already that an answer which may be large must not be added.
    pub(super) fn is_full(&self) -> bool {
        self.held.by_edge.load(SeqCst) + self.held.on_the_way.load(SeqCst) > MAX_BUFFERED_BYTES
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

    /// The edge has not come round to what it was woken for.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(SeqCst)
    }
}

impl Inbox {
    /// Whatever is there. Called after each wake-up.
    pub(super) fn take(&self) -> impl Iterator<Item = Returned> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.waker.event, &mut count);
        // Before looking: whoever sends from here on wakes the edge again.
        self.waker.pending.store(false, SeqCst);
        self.returned.try_iter().inspect(|returned| {
            self.held.on_the_way.fetch_sub(returned.bytes(), SeqCst);
        })
    }

    /// What the edge holds now, for [`Outbox::is_full`].
    pub(super) fn now_held(&self, bytes: usize) {
        self.held.by_edge.store(bytes, SeqCst);
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.event.as_fd()
    }
}
