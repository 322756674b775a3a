//! A connection's input and output: whatever can be done for it without waiting.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll;

use super::super::completions::{Answer, Completion, ConnectionId};
use super::super::connection::{Phase, Read, Then};
use super::super::exchange::{Exchange, refuse};
use super::super::head::Head;
use super::super::incoming::Step;
use super::super::refused_head::RefusedHead;
use super::super::reply::Next;
use super::super::request_id;
use super::Reactor;
use crate::http::{Body, Request};
use crate::limits::{READS_PER_TURN, SMALL_BUFFER_BYTES};
use crate::metrics::{CloseCause, Priority};
use crate::routes::Refusal;

impl Reactor {
    pub(super) fn awake(&mut self, key: usize, flags: epoll::EventFlags) {
        // The connection may have been closed by an earlier event of the same turn.
        if let Some(connection) = self.connections.get_mut(key) {
            let hang_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            connection.hung_up |= flags.intersects(hang_up);
            connection.readable |= connection.hung_up || flags.intersects(epoll::EventFlags::IN);
            self.drive(key);
        }
    }

    /// Does for a connection what can be done without waiting, within its fair share: who sends
    /// faster than we read must not keep the others from their turn.
    pub(super) fn drive(&mut self, key: usize) {
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let goes_on = match connection.phase {
                Phase::Idle { .. } | Phase::Receiving { .. } => self.receive(key),
                Phase::Sending { .. } => self.send(key),
                Phase::Lingering { cause, .. } => self.linger(key, cause),
                Phase::Busy { .. } => false,
            };
            self.count_bytes(key);
            if !goes_on {
                return;
            }
        }
        if let Some(connection) = self.connections.get_mut(key)
            && !std::mem::replace(&mut connection.unfinished, true)
        {
            self.unfinished.push(key);
        }
    }

    fn linger(&mut self, key: usize, cause: CloseCause) -> bool {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.readable) else {
            return false;
        };
        match connection.discard(&mut self.buffer) {
            Read::Some => true,
            Read::Nothing => false,
            Read::End | Read::Failed => self.close(key, cause),
        }
    }

    fn receive(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let step = connection.incoming.advance(self.bounds.max_body_bytes);
        let made = match &step {
            Step::Request(head, body) => held(head, body),
            _ => 0,
        };
        let (held, source) = (connection.held() + made, connection.source);
        let has_room = held <= SMALL_BUFFER_BYTES || self.has_room(source);
        match step {
            Step::Refused(refused) => self.refuse(key, &refused, Then::Linger(CloseCause::Malformed)),
            Step::Request(head, body) if has_room => self.dispatch(key, head, body),
            Step::Request(head, _) => {
                let refused = RefusedHead::of(Refusal::Overloaded, Some(head));
                self.refuse(key, &refused, Then::Linger(CloseCause::Capacity))
            }
            Step::More | Step::SayContinue if !has_room => {
                let head = self.connections.get_mut(key).and_then(|c| c.incoming.give_up());
                let refused = RefusedHead::of(Refusal::Overloaded, head);
                self.refuse(key, &refused, Then::Linger(CloseCause::Capacity))
            }
            Step::SayContinue => self.connections.get(key).is_some_and(|connection| {
                connection.say_continue();
                true
            }),
            Step::More => self.read(key),
        }
    }

    fn read(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.readable) else {
            return false;
        };
        match connection.read(&mut self.buffer) {
            Read::Some => true,
            Read::Nothing => false,
            Read::Failed => self.close(key, CloseCause::Error),
            Read::End if connection.incoming.is_empty() => self.close(key, CloseCause::Client),
            Read::End => {
                let refusal = Refusal::Malformed("the request ended before it was whole");
                let refused = RefusedHead::of(refusal, connection.incoming.give_up());
                self.refuse(key, &refused, Then::Close(CloseCause::Malformed))
            }
        }
    }

    fn dispatch(&mut self, key: usize, head: Head, body: Body) -> bool {
        let bytes = held(&head, &body);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let received = Instant::now();
        connection.phase = Phase::Busy { since: received, bytes };
        // Behind a body that is not read to its end there is no next request.
        let next = match (head.keep_alive && body != Body::TooLarge, head.is_1_0) {
            (false, _) => Next::Close,
            (true, true) => Next::SayKeepOpen,
            (true, false) => Next::KeepOpen,
        };
        let id = request_id::of(&head.headers);
        let Head { method, path, query, target_authority, headers, .. } = head;
        let (peer, source) = (connection.peer, connection.source);
        let to = ConnectionId { key, serial: connection.serial };
        let own = (!connection.is_proxy).then_some(source);
        let request = Request { method, path, query, target_authority, headers, body, peer, id, received };
        let exchange = Exchange::new(&self.app, request, next, (to, own), &self.outbox);
        // These answers are large; the others are small, or take no memory.
        let is_large = matches!(exchange.priority(), Priority::Read | Priority::Scrape);
        if is_large && !self.has_room(source) {
            exchange.shed();
        } else if let Err(exchange) = self.pool.submit(exchange) {
            exchange.shed();
        }
        false
    }

    pub(super) fn refuse(&mut self, key: usize, refused: &RefusedHead, then: Then) -> bool {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.answer(refuse(&self.app, refused, connection.peer), then);
        }
        true
    }

    pub(super) fn take_completions(&mut self) {
        // As many as are there now: what is sent meanwhile wakes the loop again.
        let completions: Vec<Completion> = self.inbox.take().collect();
        for completion in completions {
            let to = completion.to();
            self.guarded(Some(to), |reactor| {
                if let Some(answer) = completion.finish() {
                    reactor.deliver(answer);
                }
            });
        }
    }

    fn deliver(&mut self, answer: Answer) {
        let Answer { to, rendered, close } = answer;
        // The client may be gone, and its place taken.
        if let Some(connection) = self.connections.get_mut(to.key).filter(|c| c.serial == to.serial) {
            let then = if close { Then::Linger(CloseCause::Answered) } else { Then::Receive };
            connection.answer(rendered, then);
            let source = connection.source;
            self.drive(to.key);
            // What is left of it waits for its reader. Those who have not read for long give way.
            if self.outbox.is_full() {
                self.has_room(source);
            }
        }
    }

    fn send(&mut self, key: usize) -> bool {
        let linger_time = self.linger_time();
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        match connection.send() {
            Ok(None) => false,
            Err(_) => self.close(key, CloseCause::Client),
            Ok(Some(Then::Close(cause))) => self.close(key, cause),
            Ok(Some(Then::Linger(cause))) => {
                let now = Instant::now();
                connection.linger(now, now + linger_time, cause);
                true
            }
            Ok(Some(Then::Receive)) => {
                connection.receive_again();
                true
            }
        }
    }

    pub(super) fn close(&mut self, key: usize, cause: CloseCause) -> bool {
        if let Some(connection) = self.connections.try_remove(key) {
            self.sources.remove(connection.source);
            self.buffered = self.buffered.saturating_sub(connection.counted);
            self.inbox.now_held(self.buffered);
            self.app.metrics.connections.fetch_sub(1, Relaxed);
            self.app.metrics.closed(cause);
            if cause.is_containment() {
                self.closed[cause as usize] += 1;
            }
        }
        false
    }

    fn count_bytes(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            let held = connection.held();
            if held != connection.counted {
                self.buffered = (self.buffered + held).saturating_sub(connection.counted);
                connection.counted = held;
                self.inbox.now_held(self.buffered);
            }
        }
    }
}

/// Bytes that a request takes until it is answered.
fn held(head: &Head, body: &Body) -> usize {
    head.held()
        + match body {
            Body::Whole(bytes) => bytes.capacity(),
            Body::TooLarge => 0,
        }
}
