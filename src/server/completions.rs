//! Completions bring the answers back to the reactor, from the pool or from the writer.
//!
//! A thread of the pool sends the rendered answer. The writer sends an [`Outcome`] only: a ticket with a result.
//! While it has the message, the request stays in a table here, under that ticket. The reactor takes it out and
//! renders its answer, so that the writer goes on to the next batch and no third thread has to wake up.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, unbounded};
use slab::Slab;

use super::buffered_bytes::BufferedBytes;
use super::request_context::RequestContext;
use super::response_writer::RenderedResponse;
use crate::mutex::lock;
use crate::store::{Outcome, OutcomeSender, StoreError, Stored, Waiter, outcomes};
use crate::waker::Waker;

/// What comes back.
pub(super) enum Completion {
    /// From the pool.
    Response(OutgoingResponse),
    /// From the pool: it waits for messages to come.
    Waiting(Box<RequestContext>),
    /// From the writer: what became of a message.
    Outcome { context: Box<RequestContext>, result: Result<Stored, StoreError> },
}

impl Completion {
    /// The connection it belongs to.
    pub(super) fn to(&self) -> ConnectionId {
        match self {
            Self::Response(response) => response.to,
            Self::Waiting(context) | Self::Outcome { context, .. } => context.to(),
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
pub(super) struct CompletionSender(Arc<CompletionState>);

struct CompletionState {
    from_pool: Sender<Completion>,
    outcomes: OutcomeSender,
    at_writer: Mutex<AtWriter>,
    buffered: BufferedBytes,
    waker: Arc<Waker>,
}

/// Requests whose messages the writer has.
enum AtWriter {
    /// Each by its ticket.
    Contexts(Slab<Box<RequestContext>>),
    /// The reactor is gone, and nobody is left to be answered.
    Over,
}

/// The side that the reactor reads.
pub(super) struct CompletionQueue {
    from_pool: Receiver<Completion>,
    outcomes: Receiver<Outcome>,
    shared: Arc<CompletionState>,
}

impl CompletionSender {
    pub(super) fn send(&self, response: OutgoingResponse) {
        self.0.buffered.recount(0, response.rendered.held());
        self.complete(Completion::Response(response));
    }

    /// Has a request wait at the reactor.
    pub(super) fn wait_for_news(&self, context: Box<RequestContext>) {
        self.complete(Completion::Waiting(context));
    }

    fn complete(&self, completion: Completion) {
        // The reactor is gone only when the process ends; nobody is left to be answered then.
        let _ = self.0.from_pool.send(completion);
        self.0.waker.wake();
    }

    /// Keeps a request until it is known what became of its message. `None`, and the request dropped, where
    /// nobody is left to be answered.
    pub(super) fn wait_for_commit(&self, context: Box<RequestContext>) -> Option<Waiter> {
        match &mut *lock(&self.0.at_writer) {
            AtWriter::Contexts(contexts) => Some(self.0.outcomes.waiter(contexts.insert(context))),
            AtWriter::Over => None,
        }
    }

    pub(super) fn buffered(&self) -> &BufferedBytes {
        &self.0.buffered
    }

    /// Counts so many bytes more until what comes back is dropped.
    pub(super) fn hold(&self, bytes: usize) -> HeldBytes {
        self.0.buffered.recount(0, bytes);
        HeldBytes { sender: self.clone(), bytes }
    }
}

/// Bytes held for a request, beside those of its connection.
pub(super) struct HeldBytes {
    sender: CompletionSender,
    bytes: usize,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.sender.buffered().recount(self.bytes, 0);
    }
}

impl CompletionQueue {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        let (pool_sender, from_pool) = unbounded();
        let (outcome_sender, outcomes) = outcomes(Arc::clone(&waker));
        let shared = Arc::new(CompletionState {
            from_pool: pool_sender,
            outcomes: outcome_sender,
            at_writer: Mutex::new(AtWriter::Contexts(Slab::new())),
            buffered: BufferedBytes::default(),
            waker,
        });
        Ok(Self { from_pool, outcomes, shared })
    }

    pub(super) fn sender(&self) -> CompletionSender {
        CompletionSender(Arc::clone(&self.shared))
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.shared.waker)
    }

    /// From here on whoever sends something wakes the reactor again.
    pub(super) fn await_more(&self) {
        self.shared.waker.reset();
    }

    /// Whatever is there.
    pub(super) fn take(&self) -> Vec<Completion> {
        let mut completions: Vec<Completion> = self.from_pool.try_iter().collect();
        for completion in &completions {
            if let Completion::Response(response) = completion {
                self.shared.buffered.recount(response.rendered.held(), 0);
            }
        }
        let outcomes: Vec<Outcome> = self.outcomes.try_iter().collect();
        if let AtWriter::Contexts(contexts) = &mut *lock(&self.shared.at_writer) {
            completions.extend(outcomes.into_iter().filter_map(|Outcome { ticket, result }| {
                contexts.try_remove(ticket).map(|context| Completion::Outcome { context, result })
            }));
        }
        completions
    }

    pub(super) fn buffered(&self) -> &BufferedBytes {
        &self.shared.buffered
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        // Outside of the lock: each is counted and logged as it goes.
        let left = std::mem::replace(&mut *lock(&self.shared.at_writer), AtWriter::Over);
        drop(left);
    }
}

impl AsFd for CompletionQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.waker.as_fd()
    }
}
