//! The edge: one thread that owns every stranger's socket.
//!
//! It accepts, reads requests until they are whole, hands them to the pool, and sends the answers.
//! It never waits for a client: a connection costs a descriptor and the bytes it has sent, not a
//! thread, and one that is too slow, too large or malformed is ended here without anybody else
//! noticing. Invariants:
//!
//! - Only this thread touches a connection's socket.
//! - Connections, bytes held, and the time each may take are bounded; past a bound a client gets an
//!   answer or is closed, and the cause is counted.
//! - No error of `accept` ends the loop.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;

use super::connection::{Connection, Phase, Read, Step};
use super::exchange::{Exchange, refuse};
use super::head::{Head, RefusedHead};
use super::listener::Listener;
use super::outbox::{Address, Answer, Inbox, Outbox, Returned};
use super::pool::Pool;
use super::reply::Next;
use super::request_id;
use crate::app::App;
use crate::http::{Body, Request};
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN, DEADLINE_TICK, DRAIN_TIMEOUT, LINGER, MAX_BUFFERED_BYTES,
    READ_CHUNK_BYTES, SMALL_BUFFER_BYTES,
};
use crate::metrics::{CloseCause, Lane};
use crate::routes::Refusal;

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub request_timeout: Duration,
    pub idle_timeout: Duration,
}

/// Events carry the key of their connection, or one of these.
const LISTENER: u64 = u64::MAX;
const INBOX: u64 = u64::MAX - 1;

pub(super) struct Edge {
    app: Arc<App>,
    bounds: Bounds,
    pool: Pool,
    /// `None` once the service is stopping.
    listener: Option<Listener>,
    /// Until when nothing is accepted, after the machine ran out of something.
    accept_pause: Option<Instant>,
    poll: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    connections: Slab<Connection>,
    next_serial: u64,
    buffered: usize,
    next_tick: Instant,
    drain_until: Option<Instant>,
    buffer: Box<[u8; READ_CHUNK_BYTES]>,
}

impl Edge {
    pub(super) fn new(
        listener: Listener,
        app: Arc<App>,
        bounds: Bounds,
        pool: Pool,
        (outbox, inbox): (Outbox, Inbox),
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&poll, &inbox, epoll::EventData::new_u64(INBOX), epoll::EventFlags::IN)?;
        Ok(Self {
            app,
            bounds,
            pool,
            listener: Some(listener),
            accept_pause: None,
            poll,
            inbox,
            outbox,
            connections: Slab::new(),
            next_serial: 0,
            buffered: 0,
            next_tick: Instant::now(),
            drain_until: None,
            buffer: Box::new([0; READ_CHUNK_BYTES]),
        })
    }

    /// Serves until the service is told to stop and the last exchange has ended.
    pub(super) fn run(mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
        while !self.is_drained() {
            events.clear();
            let timeout = Timespec { tv_sec: 0, tv_nsec: DEADLINE_TICK.as_nanos() as i64 };
            let idle =
                self.connections.is_empty() && self.accept_pause.is_none() && self.drain_until.is_none();
            let timeout = if idle { None } else { Some(&timeout) };
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), timeout) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    unreachable!("epoll_wait(2) fails on a bad descriptor only, and ours is open: {error}")
                }
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    INBOX => self.take_answers(),
                    key => self.awake(key as usize, event.flags),
                }
            }
            if self.app.stopping.load(Relaxed) && self.drain_until.is_none() {
                self.begin_to_drain();
            }
            let now = Instant::now();
            if now >= self.next_tick {
                self.next_tick = now + DEADLINE_TICK;
                self.enforce_deadlines(now);
                self.end_accept_pause(now);
            }
            self.app.metrics.buffered_bytes.store(self.buffered as i64, Relaxed);
        }
    }

    // ---- Accepting ----------------------------------------------------------------------------

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok(socket) => self.welcome(socket),
                Err(Errno::AGAIN) => return,
                // The client was gone before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM) => {}
                Err(_) => {
                    self.app.metrics.accept_errors.fetch_add(1, Relaxed);
                    self.make_room();
                    self.pause_accepting();
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        self.app.metrics.accepted.fetch_add(1, Relaxed);
        if self.connections.len() >= self.bounds.max_connections && !self.make_room() {
            let answer = refuse(&self.app, Refusal::Overloaded, None);
            // Best effort: this client costs nothing more than this one call.
            let _ = rustix::net::send(
                &socket,
                &answer,
                rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
            );
            self.app.metrics.closed(CloseCause::Capacity);
            return;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.poll, &socket, epoll::EventData::new_u64(key as u64), flags).is_err() {
            self.app.metrics.closed(CloseCause::Capacity);
            return;
        }
        entry.insert(Connection::new(socket, serial, Instant::now() + self.bounds.idle_timeout));
        self.app.metrics.connections.fetch_add(1, Relaxed);
        self.drive(key);
    }

    /// Ends the connection that has kept its place without a request for longest. False if every
    /// connection has something going on.
    fn make_room(&mut self) -> bool {
        let longest_idle = self
            .connections
            .iter()
            .filter(|(_, c)| c.is_idle())
            .min_by_key(|(_, c)| c.deadline)
            .map(|(key, _)| key);
        // Of those that have begun to send, the one that has had most of its time.
        let slowest = || {
            let receiving = self.connections.iter().filter(|(_, c)| c.phase == Phase::Receiving);
            let oldest = receiving.min_by_key(|(_, c)| c.deadline)?;
            let fair = Instant::now() + self.bounds.request_timeout.saturating_sub(Duration::from_secs(1));
            (oldest.1.deadline < fair).then_some(oldest.0)
        };
        match longest_idle.or_else(slowest) {
            Some(key) => {
                self.close(key, CloseCause::Capacity);
                true
            }
            None => false,
        }
    }

    fn pause_accepting(&mut self) {
        if let Some(listener) = &self.listener {
            // Level-triggered: without this the loop would spin on what it cannot accept.
            let _ = epoll::modify(
                &self.poll,
                listener,
                epoll::EventData::new_u64(LISTENER),
                epoll::EventFlags::empty(),
            );
            self.accept_pause = Some(Instant::now() + ACCEPT_PAUSE);
        }
    }

    fn end_accept_pause(&mut self, now: Instant) {
        if self.accept_pause.is_some_and(|until| until <= now) {
            self.accept_pause = None;
            if let Some(listener) = &self.listener {
                let _ = epoll::modify(
                    &self.poll,
                    listener,
                    epoll::EventData::new_u64(LISTENER),
                    epoll::EventFlags::IN,
                );
            }
        }
    }

    // ---- One connection -----------------------------------------------------------------------

    fn awake(&mut self, key: usize, flags: epoll::EventFlags) {
        // The connection may have been closed by an earlier event of the same turn.
        if let Some(connection) = self.connections.get_mut(key) {
            let hang_up = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            connection.hung_up |= flags.intersects(hang_up);
            connection.readable |= connection.hung_up || flags.intersects(epoll::EventFlags::IN);
            self.drive(key);
        }
    }

    /// Does for a connection whatever can be done without waiting.
    fn drive(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key) {
            let goes_on = match connection.phase {
                Phase::Receiving => self.receive(key),
                Phase::Sending => self.send(key),
                Phase::Lingering => {
                    if !connection.discard(&mut self.buffer) {
                        let cause = connection.closing.unwrap_or(CloseCause::Answered);
                        self.close(key, cause);
                    }
                    false
                }
                Phase::Busy => false,
            };
            self.count_bytes(key);
            if !goes_on {
                return;
            }
        }
    }

    fn receive(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let was_idle = connection.is_idle();
        match connection.advance(self.bounds.max_body_bytes) {
            Step::Request(head, body) => self.dispatch(key, head, body),
            Step::Refused(refused) => self.refuse(key, &refused, CloseCause::Malformed),
            Step::SayContinue => {
                connection.say_continue();
                true
            }
            Step::More => {
                let over = self.buffered > MAX_BUFFERED_BYTES && connection.held() > SMALL_BUFFER_BYTES;
                if over {
                    let line = connection.partial_line();
                    return self.refuse(
                        key,
                        &RefusedHead { refusal: Refusal::Overloaded, line },
                        CloseCause::Capacity,
                    );
                }
                if !connection.readable {
                    return false;
                }
                match connection.read(&mut self.buffer) {
                    Read::Some => {
                        if was_idle {
                            connection.deadline = Instant::now() + self.bounds.request_timeout;
                        }
                        true
                    }
                    Read::Nothing => false,
                    Read::Failed => self.close(key, CloseCause::Error),
                    Read::End if was_idle => self.close(key, CloseCause::Client),
                    Read::End => {
                        connection.ended = true;
                        let line = connection.partial_line();
                        let refusal = Refusal::Malformed("the request ended before it was whole");
                        self.refuse(key, &RefusedHead { refusal, line }, CloseCause::Malformed)
                    }
                }
            }
        }
    }

    fn dispatch(&mut self, key: usize, head: Head, body: Body) -> bool {
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
        let Head { method, path, query, headers, .. } = head;
        let request = Request { method, path, query, headers, body, id };
        let to = Address { key, serial: connection.serial };
        let exchange = Exchange::new(&self.app, request, next, to, &self.outbox);
        // Answers to queries are what grows; webhooks and probes are small and pass.
        if self.buffered > MAX_BUFFERED_BYTES && exchange.lane() == Lane::Read {
            exchange.shed();
        } else if let Err(exchange) = self.pool.submit(exchange) {
            exchange.shed();
        }
        false
    }

    fn refuse(&mut self, key: usize, refused: &RefusedHead, cause: CloseCause) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        connection.closing = Some(cause);
        connection.deadline = Instant::now() + self.bounds.request_timeout;
        connection.answer(refuse(&self.app, refused.refusal, refused.line.as_ref()));
        true
    }

    fn take_answers(&mut self) {
        // As many as are there now: what is sent meanwhile wakes the loop again.
        let returned: Vec<Returned> = self.inbox.take().collect();
        for returned in returned {
            let answer = match returned {
                Returned::Answer(answer) => Some(answer),
                Returned::Committed(exchange, outcome) => exchange.committed(&outcome),
            };
            if let Some(answer) = answer {
                self.deliver(answer);
            }
        }
    }

    fn deliver(&mut self, answer: Answer) {
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

    fn send(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        match connection.send() {
            Ok(false) => false,
            Err(_) => self.close(key, CloseCause::Client),
            Ok(true) => match connection.closing {
                Some(cause) if connection.ended => self.close(key, cause),
                Some(_) => {
                    connection.linger(Instant::now() + LINGER);
                    true
                }
                None => {
                    connection.receive_again(Instant::now() + self.bounds.idle_timeout);
                    true
                }
            },
        }
    }

    fn close(&mut self, key: usize, cause: CloseCause) -> bool {
        if let Some(connection) = self.connections.try_remove(key) {
            self.buffered -= connection.counted;
            self.app.metrics.connections.fetch_sub(1, Relaxed);
            self.app.metrics.closed(cause);
        }
        false
    }

    fn count_bytes(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            let held = connection.held();
            self.buffered = self.buffered + held - connection.counted;
            connection.counted = held;
        }
    }

    // ---- Time ---------------------------------------------------------------------------------

    fn enforce_deadlines(&mut self, now: Instant) {
        let due = |c: &Connection| c.phase != Phase::Busy && c.deadline <= now;
        let late: Vec<usize> = self.connections.iter().filter(|(_, c)| due(c)).map(|(key, _)| key).collect();
        for key in late {
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            match connection.phase {
                Phase::Receiving if connection.is_idle() => {
                    self.close(key, CloseCause::Idle);
                }
                Phase::Receiving => {
                    let line = connection.partial_line();
                    self.refuse(
                        key,
                        &RefusedHead { refusal: Refusal::TimedOut, line },
                        CloseCause::SlowRequest,
                    );
                    self.drive(key);
                }
                Phase::Sending => {
                    self.close(key, CloseCause::SlowReader);
                }
                Phase::Lingering => {
                    let cause = connection.closing.unwrap_or(CloseCause::Answered);
                    self.close(key, cause);
                }
                Phase::Busy => {}
            }
        }
    }

    fn begin_to_drain(&mut self) {
        self.drain_until = Some(Instant::now() + DRAIN_TIMEOUT);
        // Whoever is connected already but was not accepted yet gets its answer as well.
        self.accept();
        self.listener = None;
        let idle: Vec<usize> =
            self.connections.iter().filter(|(_, c)| c.is_idle()).map(|(key, _)| key).collect();
        for key in idle {
            self.close(key, CloseCause::Stopping);
        }
    }

    fn is_drained(&self) -> bool {
        let waits = |c: &Connection| c.phase != Phase::Lingering;
        self.drain_until
            .is_some_and(|until| Instant::now() >= until || !self.connections.iter().any(|(_, c)| waits(c)))
    }
}
