//! The reactor does for a connection whatever input or output can be done without waiting.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll;

use super::super::completions::{Completion, OutgoingResponse};
use super::super::connection::{Connection, ReadOutcome};
use super::super::protocol::{AfterResponse, Phase};
use super::super::rejected_request::RejectedRequest;
use super::super::request_context::RequestContext;
use super::super::request_head::RequestHead;
use super::super::request_id;
use super::super::request_reader::Step;
use super::super::response_writer::Next;
use super::Reactor;
use crate::http::{Body, Request};
use crate::limits::SMALL_BUFFER_BYTES;
use crate::metrics::{CloseCause, Priority};
use crate::routes::RequestError;

/// Reads of one connection before the others get their turn: 32 KiB. Taken apart byte by byte, as
/// chunks may want it, that is a fifth of a millisecond.
const READS_PER_EVENT: usize = 2;

/// There is more that can be done for a connection at once, if it is still there.
pub(super) type GoesOn = Option<()>;

impl Reactor {
    pub(super) fn awake(&mut self, key: usize, flags: epoll::EventFlags) {
        // The connection may have been closed by an earlier event of the same wait.
        if let Some(connection) = self.connections.get_mut(key) {
            let hang_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            let has_hung_up = flags.intersects(hang_up);
            connection.note_event(flags.intersects(epoll::EventFlags::IN), has_hung_up);
            self.drive(key);
        }
    }

    /// Does for a connection what can be done without waiting, within its fair share: who sends
    /// faster than we read must not keep the others from their turn.
    pub(super) fn drive(&mut self, key: usize) {
        for _ in 0..READS_PER_EVENT {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let goes_on = match connection.protocol.phase {
                Phase::Fresh { .. } | Phase::Idle { .. } | Phase::Receiving { .. } => self.receive(key),
                Phase::Sending { .. } => self.send(key),
                Phase::Lingering { cause, .. } => self.discard(key, cause),
                Phase::Waiting { .. } => self.look_after_waiter(key),
                Phase::Busy { .. } => None,
            };
            self.count_bytes(key);
            if goes_on.is_none() {
                return;
            }
        }
        self.unfinished.insert(key);
    }

    fn discard(&mut self, key: usize, cause: CloseCause) -> GoesOn {
        let connection = self.connections.get_mut(key).filter(|c| c.is_readable())?;
        match connection.discard(&mut self.buffer) {
            ReadOutcome::Some => Some(()),
            ReadOutcome::Nothing => None,
            ReadOutcome::End | ReadOutcome::Failed => self.close(key, cause),
        }
    }

    fn receive(&mut self, key: usize) -> GoesOn {
        let connection = self.connections.get_mut(key)?;
        let step = connection.protocol.reader.advance(self.bounds.max_body_bytes);
        let made = match &step {
            Step::Request(head, body) => held(head, body),
            _ => 0,
        };
        let (held, source) = (connection.protocol.held() + made, connection.source);
        let has_room = held <= SMALL_BUFFER_BYTES || self.has_room(source);
        match step {
            Step::Rejected(rejected) => {
                self.reject(key, &rejected, AfterResponse::Linger(CloseCause::Malformed))
            }
            step if !has_room => {
                let head = if let Step::Request(head, _) = step { Some(head) } else { self.give_up(key) };
                let rejected = RejectedRequest::of(RequestError::Overloaded, head);
                self.reject(key, &rejected, AfterResponse::Linger(CloseCause::Capacity))
            }
            Step::Request(head, body) => self.dispatch(key, head, body),
            Step::SayContinue => self.connections.get(key).map(Connection::say_continue),
            Step::More => self.read(key),
        }
    }

    fn read(&mut self, key: usize) -> GoesOn {
        let connection = self.connections.get_mut(key).filter(|c| c.is_readable())?;
        match connection.read(&mut self.buffer) {
            ReadOutcome::Some => Some(()),
            ReadOutcome::Nothing => None,
            ReadOutcome::Failed => self.close(key, CloseCause::Error),
            ReadOutcome::End if connection.protocol.reader.is_empty() => self.close(key, CloseCause::Client),
            ReadOutcome::End => {
                let error = RequestError::Malformed("the request ended before it was whole");
                self.reject_begun(key, error, AfterResponse::Close(CloseCause::Malformed))
            }
        }
    }

    fn dispatch(&mut self, key: usize, head: RequestHead, body: Body) -> GoesOn {
        let bytes = held(&head, &body);
        let connection = self.connections.get_mut(key)?;
        let received = Instant::now();
        connection.protocol.phase = Phase::Busy { since: received, bytes };
        // Behind a body that is not read to its end there is no next request.
        let next = if body == Body::TooLarge { Next::Close } else { head.next };
        let id = request_id::of(&head.headers);
        let RequestHead { method, path, query, target_authority, headers, .. } = head;
        let (peer, source) = (connection.peer, connection.source);
        let to = connection.id;
        let own = (!connection.is_proxy).then_some(source);
        let request = Request { method, path, query, target_authority, headers, body, peer, id, received };
        let context = RequestContext::new(&self.app, request, next, (to, own), &self.completion_sender);
        // These answers are large; the others are small, or take no memory.
        let is_large = matches!(context.priority(), Priority::Read | Priority::Scrape);
        if is_large && !self.has_room(source) {
            context.shed();
        } else if let Err(context) = self.pool.submit(context) {
            context.shed();
        }
        None
    }

    /// Rejects a request of which no more will be read.
    pub(super) fn reject_begun(&mut self, key: usize, error: RequestError, then: AfterResponse) -> GoesOn {
        let head = self.give_up(key);
        self.reject(key, &RejectedRequest::of(error, head), then)
    }

    fn give_up(&mut self, key: usize) -> Option<RequestHead> {
        self.connections.get_mut(key)?.protocol.reader.give_up()
    }

    fn reject(&mut self, key: usize, rejected: &RejectedRequest, then: AfterResponse) -> GoesOn {
        let connection = self.connections.get_mut(key)?;
        let response = rejected.answer(&self.app, connection.peer);
        connection.protocol.answer(response, then, Instant::now());
        Some(())
    }

    /// As many as are there now, and once more what has come meanwhile, for which nobody has woken this thread.
    pub(super) fn take_completions(&mut self) {
        self.deliver_completions();
        self.completions.await_more();
        self.deliver_completions();
    }

    fn deliver_completions(&mut self) {
        for completion in self.completions.take() {
            let to = completion.to();
            self.guarded(Some(to), |reactor| match completion {
                Completion::Response(response) => reactor.deliver(response),
                Completion::Waiting(context) => reactor.park(context),
                Completion::Committed { context, outcome } => {
                    if let Some(answer) = context.committed(&outcome) {
                        reactor.deliver(answer);
                    }
                }
            });
        }
    }

    pub(super) fn deliver(&mut self, answer: OutgoingResponse) {
        let OutgoingResponse { to, rendered, close } = answer;
        // The client may be gone, and its place taken.
        if let Some(connection) = self.connections.get_mut(to.key).filter(|c| c.id == to) {
            let then =
                if close { AfterResponse::Linger(CloseCause::Answered) } else { AfterResponse::Receive };
            connection.protocol.answer(rendered, then, Instant::now());
            let source = connection.source;
            self.drive(to.key);
            // What is left of it waits for its reader. Those who have not read for long give way.
            if self.completion_sender.buffered().is_full() {
                self.has_room(source);
            }
        }
    }

    fn send(&mut self, key: usize) -> GoesOn {
        let linger_time = self.linger_time();
        let connection = self.connections.get_mut(key)?;
        match connection.send() {
            Ok(None) => None,
            Err(_) => self.close(key, CloseCause::Client),
            Ok(Some(AfterResponse::Close(cause))) => self.close(key, cause),
            Ok(Some(AfterResponse::Linger(cause))) => {
                connection.linger(Instant::now(), linger_time, cause);
                Some(())
            }
            Ok(Some(AfterResponse::Receive)) => {
                connection.protocol.receive_again(Instant::now());
                Some(())
            }
        }
    }

    pub(super) fn close(&mut self, key: usize, cause: CloseCause) -> GoesOn {
        self.dismiss_waiter(key);
        if let Some(connection) = self.connections.try_remove(key) {
            self.sources.remove(connection.source);
            self.completions.buffered().recount(connection.counted, 0);
            self.app.metrics.connections.fetch_sub(1, Relaxed);
            self.app.metrics.closed(cause);
            if cause.is_containment() {
                self.closed[cause as usize] += 1;
            }
        }
        None
    }

    fn count_bytes(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            let held = connection.protocol.held();
            if held != connection.counted {
                self.completions.buffered().recount(connection.counted, held);
                connection.counted = held;
            }
        }
    }
}

/// Bytes that a request takes until it is answered.
fn held(head: &RequestHead, body: &Body) -> usize {
    head.held()
        + match body {
            Body::Whole(bytes) => bytes.capacity(),
            Body::TooLarge => 0,
        }
}
