//! One connection's turn: whatever can be done for it without waiting.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll;

use super::super::connection::{Phase, Read};
use super::super::exchange::{Exchange, refuse};
use super::super::head::Head;
use super::super::incoming::Step;
use super::super::outbox::{Address, Answer, Returned};
use super::super::refused_head::RefusedHead;
use super::super::reply::Next;
use super::super::request_id;
use super::Edge;
use crate::http::{Body, Request};
use crate::limits::{MAX_BUFFERED_BYTES, READS_PER_TURN, SLOW_READER_GRACE, SMALL_BUFFER_BYTES};
use crate::metrics::{CloseCause, Priority};
use crate::routes::Refusal;

impl Edge {
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
                Phase::Receiving => self.receive(key),
                Phase::Sending => self.send(key),
                Phase::Lingering => self.linger(key),
                Phase::Busy => false,
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

    pub(super) fn linger(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.readable) else {
            return false;
        };
        match connection.discard(&mut self.buffer) {
            Read::Some => true,
            Read::Nothing => false,
            Read::End | Read::Failed => {
                let cause = connection.closing.unwrap_or(CloseCause::Answered);
                self.close(key, cause)
            }
        }
    }

    pub(super) fn receive(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let was_idle = connection.is_idle();
        let step = connection.incoming.advance(self.bounds.max_body_bytes);
        let body_bytes = match &step {
            Step::Request(_, Body::Whole(body)) => body.len(),
            _ => 0,
        };
        let held = connection.held() + body_bytes;
        let has_room = held <= SMALL_BUFFER_BYTES || self.has_room();
        match step {
            Step::Refused(refused) => self.refuse(key, &refused, CloseCause::Malformed),
            Step::Request(head, body) if has_room => self.dispatch(key, head, body),
            Step::Request(head, _) => {
                let refused = RefusedHead::of(Refusal::Overloaded, Some(head));
                self.refuse(key, &refused, CloseCause::Capacity)
            }
            Step::More | Step::SayContinue if !has_room => {
                let head = self.connections.get_mut(key).and_then(|c| c.incoming.give_up());
                self.refuse(key, &RefusedHead::of(Refusal::Overloaded, head), CloseCause::Capacity)
            }
            Step::SayContinue => self.connections.get(key).is_some_and(|connection| {
                connection.say_continue();
                true
            }),
            Step::More => self.read(key, was_idle),
        }
    }

    /// True if more may be held. Room is made by ending those who have left their answer unread for
    /// longest.
    pub(super) fn has_room(&mut self) -> bool {
        let patience = self.bounds.request_timeout.saturating_sub(SLOW_READER_GRACE);
        while self.buffered > MAX_BUFFERED_BYTES {
            let sending = self.connections.iter().filter(|(_, c)| c.phase == Phase::Sending);
            let longest = sending
                .min_by_key(|(_, c)| c.deadline)
                .filter(|(_, c)| c.deadline < Instant::now() + patience);
            let Some(key) = longest.map(|(key, _)| key) else {
                return false;
            };
            self.close(key, CloseCause::SlowReader);
        }
        true
    }

    pub(super) fn read(&mut self, key: usize, was_idle: bool) -> bool {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.readable) else {
            return false;
        };
        match connection.read(&mut self.buffer) {
            Read::Some => {
                // Once: who sends nothing but empty lines gets no more time with each.
                if !std::mem::replace(&mut connection.begun, true) {
                    connection.deadline = Instant::now() + self.bounds.request_timeout;
                }
                true
            }
            Read::Nothing => false,
            Read::Failed => self.close(key, CloseCause::Error),
            Read::End if was_idle => self.close(key, CloseCause::Client),
            Read::End => {
                connection.ended = true;
                let refusal = Refusal::Malformed("the request ended before it was whole");
                let refused = RefusedHead::of(refusal, connection.incoming.give_up());
                self.refuse(key, &refused, CloseCause::Malformed)
            }
        }
    }

    pub(super) fn dispatch(&mut self, key: usize, head: Head, body: Body) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        connection.phase = Phase::Busy;
        connection.in_pool = match &body {
            Body::Whole(bytes) => bytes.capacity(),
            Body::TooLarge => 0,
        };
        // Behind a body that is not read to its end there is no next request.
        let next = match (head.keep_alive && body != Body::TooLarge, head.is_1_0) {
            (false, _) => Next::Close,
            (true, true) => Next::SayKeepOpen,
            (true, false) => Next::KeepOpen,
        };
        let id = request_id::of(&head.headers);
        let Head { method, path, query, target_authority, headers, .. } = head;
        let peer = connection.peer;
        let received = Instant::now();
        let request = Request { method, path, query, target_authority, headers, body, peer, id, received };
        let to = Address { key, serial: connection.serial };
        let exchange = Exchange::new(&self.app, request, next, to, &self.outbox);
        // Answers to queries are what grows; those to webhooks and probes are small.
        if exchange.priority() == Priority::Read && self.outbox.is_full() {
            exchange.shed();
        } else if let Err(exchange) = self.pool.submit(exchange) {
            exchange.shed();
        }
        false
    }

    pub(super) fn refuse(&mut self, key: usize, refused: &RefusedHead, cause: CloseCause) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        connection.closing = Some(cause);
        connection.deadline = Instant::now() + self.bounds.request_timeout;
        connection.answer(refuse(&self.app, refused, connection.peer));
        true
    }

    pub(super) fn take_answers(&mut self) {
        // As many as are there now: what is sent meanwhile wakes the loop again.
        let returned: Vec<Returned> = self.inbox.take().collect();
        for returned in returned {
            let answer = match returned {
                Returned::Answer(answer) => Some(answer),
                Returned::Rest(finish) => finish(),
            };
            if let Some(answer) = answer {
                self.deliver(answer);
            }
        }
    }

    pub(super) fn deliver(&mut self, answer: Answer) {
        let Answer { to, bytes, close } = answer;
        // The client may be gone, and its place taken.
        if let Some(connection) = self.connections.get_mut(to.key).filter(|c| c.serial == to.serial) {
            if close {
                connection.closing = Some(CloseCause::Answered);
            }
            connection.deadline = Instant::now() + self.bounds.request_timeout;
            connection.answer(bytes);
            self.drive(to.key);
        }
    }

    pub(super) fn send(&mut self, key: usize) -> bool {
        let linger_until = Instant::now() + self.linger_time();
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        match connection.send() {
            Ok(false) => false,
            Err(_) => self.close(key, CloseCause::Client),
            Ok(true) => match connection.closing {
                Some(cause) if connection.ended => self.close(key, cause),
                Some(_) => {
                    connection.linger(linger_until);
                    true
                }
                None => {
                    connection.receive_again(Instant::now() + self.bounds.idle_timeout);
                    if !connection.is_idle() {
                        // The next request has begun to arrive behind the last one.
                        connection.deadline = Instant::now() + self.bounds.request_timeout;
                    }
                    true
                }
            },
        }
    }

    pub(super) fn close(&mut self, key: usize, cause: CloseCause) -> bool {
        if let Some(connection) = self.connections.try_remove(key) {
            self.buffered -= connection.counted;
            self.inbox.now_held(self.buffered);
            self.app.metrics.connections.fetch_sub(1, Relaxed);
            self.app.metrics.closed(cause);
            if cause.is_containment() {
                self.closed[cause as usize] += 1;
            }
        }
        false
    }

    pub(super) fn count_bytes(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            let held = connection.held();
            self.buffered = self.buffered + held - connection.counted;
            connection.counted = held;
            self.inbox.now_held(self.buffered);
        }
    }
}
