//! The way back: what the pool and the writer hand to the reactor, and what wakes it for them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, eventfd};

use super::request_context::RequestContext;
use super::response_writer::RenderedResponse;
use crate::limits::MAX_BUFFERED_BYTES;
use crate::store::{Inserted, StoreError};

/// What comes back.
pub(super) enum Completion {
    /// From the pool.
    Response(OutgoingResponse),
    /// From the writer: what became of a message. The reactor makes the answer of it, so that the writer goes
    /// on to the next batch and no third thread has to wake up.
    Committed(Box<RequestContext>, Result<Inserted, StoreError>),
}

impl Completion {
    /// The connection it belongs to.
    pub(super) fn to(&self) -> ConnectionId {
        match self {
            Self::Response(answer) => answer.to,
            Self::Committed(context, _) => context.to(),
        }
    }

    /// The answer, if it was not given before.
    pub(super) fn finish(self) -> Option<OutgoingResponse> {
        match self {
            Self::Response(answer) => Some(answer),
            Self::Committed(context, outcome) => context.committed(&outcome),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Response(answer) => answer.rendered.held(),
            // A webhook's answer is small, and not made yet.
            Self::Committed(..) => 0,
        }
    }
}

/// An answer as bytes, and the connection it belongs to.
pub(super) struct OutgoingResponse {
    pub(super) to: ConnectionId,
    pub(super) rendered: RenderedResponse,
    /// The connection ends with this answer.
    pub(super) close: bool,
}

/// A connection, by its place and its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionId {
    pub(super) key: usize,
    pub(super) serial: u64,
}

/// The side that sends. What it holds is bounded by the requests that were let into the pool.
#[derive(Clone)]
pub(super) struct CompletionSender {
    returned: Sender<Completion>,
    waker: Arc<Waker>,
    held: Arc<BufferedBytes>,
}

/// Bytes held for clients, wherever they are.
#[derive(Default)]
struct BufferedBytes {
    by_reactor: AtomicUsize,
    on_the_way: AtomicUsize,
    /// The number of the source that held most when it was last looked for.
    hoarder: AtomicUsize,
}

/// The side that the reactor reads.
pub(super) struct CompletionQueue {
    returned: Receiver<Completion>,
    waker: Arc<Waker>,
    held: Arc<BufferedBytes>,
}

/// Wakes the reactor out of its wait, once however many have something for it.
pub(super) struct Waker {
    event: OwnedFd,
    pending: AtomicBool,
}

pub(super) fn channel() -> rustix::io::Result<(CompletionSender, CompletionQueue)> {
    let (sender, receiver) = unbounded();
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let waker = Arc::new(Waker { event, pending: AtomicBool::new(false) });
    let held = Arc::<BufferedBytes>::default();
    let sender = CompletionSender { returned: sender, waker: Arc::clone(&waker), held: Arc::clone(&held) };
    Ok((sender, CompletionQueue { returned: receiver, waker, held }))
}

impl CompletionSender {
    pub(super) fn send(&self, completion: Completion) {
        self.held.on_the_way.fetch_add(completion.bytes(), SeqCst);
        // The reactor is gone only when the process ends; nobody is left to be answered then.
        let _ = self.returned.send(completion);
        self.waker.wake();
    }

    /// So much is held for clients already that an answer which may be large must not be added.
    pub(super) fn is_full(&self) -> bool {
        self.held() > MAX_BUFFERED_BYTES
    }

    /// The same for an answer to this source, and twice as much for whoever is not the one that holds most: of
    /// that one the reactor takes the room for it.
    pub(super) fn is_full_for(&self, source: Option<usize>) -> bool {
        let is_hoarder = source.is_none_or(|source| self.held.hoarder.load(SeqCst) == source);
        self.held() > if is_hoarder { MAX_BUFFERED_BYTES } else { 2 * MAX_BUFFERED_BYTES }
    }

    fn held(&self) -> usize {
        self.held.by_reactor.load(SeqCst) + self.held.on_the_way.load(SeqCst)
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }
}

impl Waker {
    pub(super) fn wake(&self) {
        if !self.pending.swap(true, SeqCst) {
            // It can only fail when the counter is full, and then the reactor is awake.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// The reactor has not come round to what it was woken for.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(SeqCst)
    }
}

impl CompletionQueue {
    /// Whatever is there. Called after each wake-up.
    pub(super) fn take(&self) -> impl Iterator<Item = Completion> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.waker.event, &mut count);
        // Before looking: whoever sends from here on wakes the reactor again.
        self.waker.pending.store(false, SeqCst);
        self.returned.try_iter().inspect(|completion| {
            self.held.on_the_way.fetch_sub(completion.bytes(), SeqCst);
        })
    }

    /// What the reactor holds now, for [`CompletionSender::is_full`].
    pub(super) fn now_held(&self, bytes: usize) {
        self.held.by_reactor.store(bytes, SeqCst);
    }

    /// Who holds most, for [`CompletionSender::is_full_for`].
    pub(super) fn now_hoarding(&self, source: usize) {
        self.held.hoarder.store(source, SeqCst);
    }
}

impl AsFd for CompletionQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.event.as_fd()
    }
}
