//! A drain answers everybody who was there when the stop began.
//!
//! 1. Who waits in the kernel's queue is accepted, unless the socket outlives this process: then the next
//!    one serves them.
//! 2. What was begun is answered, and each answer says that the connection closes.
//! 3. A connection that is quiet is closed in order: our side first, and the rest when the client has closed
//!    its own or has had a moment for that.

use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::super::completions::ConnectionId;
use super::super::connection::Connection;
use super::super::protocol::Phase;
use super::Reactor;
use crate::limits::{DRAIN_LINGER, LISTEN_BACKLOG};
use crate::metrics::CloseCause;

/// At a stop, how long a connection must have been quiet to be closed at once: a client that has just
/// connected, or sends one request after the other, may have the next one on its way.
const DRAIN_QUIET_TIME: Duration = Duration::from_millis(500);

/// At a stop, how long requests already begun may take (contract, section 10).
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Reactor {
    pub(super) fn begin_to_drain(&mut self) {
        let now = Instant::now();
        self.drain_until = Some(now + DRAIN_TIMEOUT);
        if self.listener.as_ref().is_some_and(|listener| !listener.outlives_us()) {
            self.accept(LISTEN_BACKLOG as usize);
        }
        if let Some(listener) = self.listener.take() {
            // Closing it is not enough where another process has it as well (epoll(7), question 6).
            let _ = epoll::delete(&self.poll, &listener);
        }
        self.end_all_waits();
        for (_, connection) in &mut self.connections {
            if let Phase::Lingering { until, .. } = &mut connection.protocol.phase {
                *until = (*until).min(now + DRAIN_LINGER);
            }
        }
        self.end_quiet_connections(now);
    }

    /// At a stop: closes what has been quiet for a while. What has not may have a request on its way, or may
    /// still ask, say for readiness.
    pub(super) fn end_quiet_connections(&mut self, now: Instant) {
        if self.drain_until.is_none() {
            return;
        }
        let is_quiet = |c: &Connection| match c.protocol.phase {
            Phase::Fresh { since } | Phase::Idle { since } => {
                now.saturating_duration_since(since) >= DRAIN_QUIET_TIME
            }
            _ => false,
        };
        let quiet = self.connections.iter().filter(|(_, c)| is_quiet(c)).map(|(_, c)| c.id);
        let quiet: Vec<ConnectionId> = quiet.collect();
        for to in quiet {
            self.guarded(Some(to), |reactor| reactor.end_quiet_connection(to.key, now));
        }
    }

    fn end_quiet_connection(&mut self, key: usize, now: Instant) {
        // What came in this very moment is answered. To close upon it would reset the connection.
        if let Some(connection) = self.connections.get_mut(key) {
            connection.note_event(true, false);
            self.drive(key);
        }
        if let Some(connection) = self.connections.get_mut(key).filter(|c| c.protocol.is_idle()) {
            connection.linger(now, DRAIN_LINGER, CloseCause::Idle);
            self.drive(key);
        }
    }

    /// True once everybody has been answered and has gone.
    pub(super) fn is_drained(&self) -> bool {
        self.drain_until.is_some_and(|until| self.connections.is_empty() || Instant::now() >= until)
    }
}
