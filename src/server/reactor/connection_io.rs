//! The reactor does for a connection whatever input or output can be done without waiting.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll;

use super::super::completions::{Completion, OutgoingResponse};
use super::super::connection::ReadOutcome;
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
use crate::metrics::CloseCause;
use crate::priority::Priority;
use crate::routes::{self, RequestError};

/// Steps of one connection before the others get their turn. Each reads 16 KiB at the most, makes one request of
/// what was read, or sends one answer; 32 KiB taken apart byte by byte, as chunks may want it, take a fifth of a
/// millisecond.
const STEPS_PER_TURN: usize = 2;

/// What follows a step.
#[derive(PartialEq)]
pub(super) enum Turn {
    /// More can be done for the connection at once.
    GoOn,
    /// The connection waits for something, or is gone.
    Stop,
}

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
        for _ in 0..STEPS_PER_TURN {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let turn = match connection.protocol.phase {
                Phase::Fresh { .. } | Phase::Idle { .. } | Phase::Receiving { .. } => self.receive(key),
                Phase::Sending { .. } => self.send(key),
                Phase::Lingering { cause, .. } => self.discard(key, cause),
                Phase::Waiting { .. } => {
                    self.look_after_waiter(key);
                    Turn::Stop
                }
                Phase::Busy { .. } => Turn::Stop,
            };
            self.count_bytes(key);
            if turn == Turn::Stop {
                return;
            }
        }
        self.unfinished.insert(key);
    }

    fn discard(&mut self, key: usize, cause: CloseCause) -> Turn {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.is_readable()) else {
            return Turn::Stop;
        };
        match connection.discard(&mut self.buffer) {
            ReadOutcome::Progress => Turn::GoOn,
            ReadOutcome::WouldBlock => Turn::Stop,
            ReadOutcome::End | ReadOutcome::Failed => self.close(key, cause),
        }
    }

    fn receive(&mut self, key: usize) -> Turn {
        let Some(connection) = self.connections.get_mut(key) else {
            return Turn::Stop;
        };
        let (app, usual) = (&self.app, self.bounds.max_body_bytes);
        let max_body_bytes =
            |head: &RequestHead| routes::max_body_bytes(app, &head.method, &head.path).unwrap_or(usual);
        let step = connection.protocol.reader.advance(max_body_bytes);
        let made = match &step {
            Step::Request(head, body) => held(head, body),
            _ => 0,
        };
        let (held, source) = (connection.protocol.held() + made, connection.source);
        let has_room = held <= SMALL_BUFFER_BYTES || self.make_room_for_bytes(source);
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
            Step::SayContinue => {
                if let Some(connection) = self.connections.get(key) {
                    connection.say_continue();
                }
                Turn::GoOn
            }
            Step::More => self.read(key),
        }
    }

    fn read(&mut self, key: usize) -> Turn {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.is_readable()) else {
            return Turn::Stop;
        };
        match connection.read(&mut self.buffer) {
            ReadOutcome::Progress => Turn::GoOn,
            ReadOutcome::WouldBlock => Turn::Stop,
            ReadOutcome::Failed => self.close(key, CloseCause::Error),
            ReadOutcome::End if connection.protocol.reader.is_empty() => self.close(key, CloseCause::Client),
            ReadOutcome::End => {
                let error = RequestError::Malformed("the request ended before it was whole");
                self.reject_begun(key, error, AfterResponse::Close(CloseCause::Malformed))
            }
        }
    }

    fn dispatch(&mut self, key: usize, head: RequestHead, body: Body) -> Turn {
        let bytes = held(&head, &body);
        let Some(connection) = self.connections.get_mut(key) else {
            return Turn::Stop;
        };
        let received = Instant::now();
        connection.protocol.phase = Phase::Busy { since: received, bytes };
        // Behind a body that is not read to its end there is no next request.
        let next = if body == Body::TooLarge { Next::Close } else { head.next };
        let id = request_id::of(&head.headers);
        let RequestHead { method, path, query, target_authority, headers, .. } = head;
        let (peer, source) = (connection.peer, connection.source);
        let to = connection.id;
        let request = Request { method, path, query, target_authority, headers, body, peer, id, received };
        let context = RequestContext::new(&self.app, request, next, to, source, self.completions.sender());
        // These answers are large; the others are small, or take no memory. For the room that a body takes was asked
        // while it came.
        let is_large = matches!(context.priority(), Priority::Read | Priority::Feed | Priority::Scrape);
        if is_large && !self.make_room_for_bytes(source) {
            context.shed();
        } else if let Err(context) = self.pool.submit(context) {
            context.shed();
        }
        Turn::Stop
    }

    /// Rejects a request of which no more will be read.
    pub(super) fn reject_begun(&mut self, key: usize, error: RequestError, then: AfterResponse) -> Turn {
        let head = self.give_up(key);
        self.reject(key, &RejectedRequest::of(error, head), then)
    }

    fn give_up(&mut self, key: usize) -> Option<RequestHead> {
        self.connections.get_mut(key)?.protocol.reader.give_up()
    }

    fn reject(&mut self, key: usize, rejected: &RejectedRequest, then: AfterResponse) -> Turn {
        let Some(connection) = self.connections.get_mut(key) else {
            return Turn::Stop;
        };
        let response = rejected.render_and_log(&self.app, connection.peer);
        connection.protocol.begin_sending(response, then, Instant::now());
        Turn::GoOn
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
                Completion::Outcome { context, result } => {
                    if let Some(answer) = context.committed(&result) {
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
            connection.protocol.begin_sending(rendered, then, Instant::now());
            let source = connection.source;
            self.drive(to.key);
            // What is left of it waits for its reader. Those who have not read for long give way.
            if self.completions.buffered().is_full() {
                self.make_room_for_bytes(source);
            }
        }
    }

    fn send(&mut self, key: usize) -> Turn {
        let linger_time = self.linger_time();
        let Some(connection) = self.connections.get_mut(key) else {
            return Turn::Stop;
        };
        match connection.send() {
            Ok(None) => Turn::Stop,
            Err(_) => self.close(key, CloseCause::Client),
            Ok(Some(AfterResponse::Close(cause))) => self.close(key, cause),
            Ok(Some(AfterResponse::Linger(cause))) => {
                connection.linger(Instant::now(), linger_time, cause);
                Turn::GoOn
            }
            Ok(Some(AfterResponse::Receive)) => {
                connection.protocol.receive_again(Instant::now());
                Turn::GoOn
            }
        }
    }

    pub(super) fn close(&mut self, key: usize, cause: CloseCause) -> Turn {
        self.dismiss_waiter(key);
        if let Some(connection) = self.connections.try_remove(key) {
            self.sources.remove(connection.source.number());
            self.completions.buffered().recount(connection.counted, 0);
            self.app.metrics.connections.fetch_sub(1, Relaxed);
            self.app.metrics.closed(cause).fetch_add(1, Relaxed);
            if cause.is_containment() {
                self.closed[cause as usize] += 1;
            }
        }
        Turn::Stop
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
