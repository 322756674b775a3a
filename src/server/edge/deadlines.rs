//! Deadlines, and the end: who has had time enough, and who is still waited for at a stop.

use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::super::connection::{Connection, Phase};
use super::super::refused_head::RefusedHead;
use super::Edge;
use crate::limits::{
    CLOSINGS_REPORT_INTERVAL, DRAIN_LINGER, DRAIN_QUIET_TIME, DRAIN_TIMEOUT, LINGER, LISTEN_BACKLOG,
};
use crate::log::{Level, Line};
use crate::metrics::CloseCause;
use crate::os;
use crate::routes::Refusal;

impl Edge {
    pub(super) fn enforce_deadlines(&mut self, now: Instant) {
        let due = |c: &Connection| c.phase != Phase::Busy && c.deadline <= now;
        let late: Vec<usize> = self.connections.iter().filter(|(_, c)| due(c)).map(|(key, _)| key).collect();
        for key in late {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            match connection.phase {
                Phase::Receiving if connection.is_idle() => {
                    self.close(key, CloseCause::Idle);
                }
                Phase::Receiving => {
                    let refused = RefusedHead::of(Refusal::TimedOut, connection.incoming.give_up());
                    self.refuse(key, &refused, CloseCause::SlowRequest);
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

    /// Says what the edge has defended itself against: a line a second for each cause, however many.
    pub(super) fn report_closings(&mut self, now: Instant) {
        if now < self.next_report {
            return;
        }
        self.next_report = now + CLOSINGS_REPORT_INTERVAL;
        for cause in CloseCause::ALL {
            let count = std::mem::take(&mut self.closed[*cause as usize]);
            if count > 0 {
                let line = Line::event(Level::Warning, "connections_closed").text("cause", cause.label());
                self.app.log.write(&line.number("count", count));
            }
        }
    }

    /// Gives free memory back to the system, which by itself it keeps for ever.
    pub(super) fn tidy_up(&mut self, now: Instant) {
        if self.tidy_at.is_some_and(|at| now >= at) {
            self.tidy_at = None;
            self.connections.shrink_to_fit();
            os::give_back_free_memory();
        }
    }

    pub(super) fn begin_to_drain(&mut self) {
        let now = Instant::now();
        self.drain_until = Some(now + DRAIN_TIMEOUT);
        if let Some(listener) = &self.listener {
            // Whoever is connected already but was not accepted yet gets its answer as well: from whoever
            // comes after us, if the socket stays.
            if !listener.outlives_us() {
                self.accept(LISTEN_BACKLOG as usize);
            }
        }
        self.stop_listening();
        for (_, connection) in &mut self.connections {
            if connection.phase == Phase::Lingering {
                connection.deadline = connection.deadline.min(now + DRAIN_LINGER);
            }
        }
        self.end_quiet_connections(now);
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Closing it is not enough where another process has it as well (epoll(7), question 6).
            let _ = epoll::delete(&self.poll, &listener);
        }
    }

    /// At a stop: closes in order what has been quiet for a while. What has not may have a request on its
    /// way, or may still ask, say for readiness.
    pub(super) fn end_quiet_connections(&mut self, now: Instant) {
        if self.drain_until.is_none() {
            return;
        }
        let quiet_since = now + self.bounds.idle_timeout - DRAIN_QUIET_TIME;
        let is_quiet = |c: &Connection| c.is_idle() && c.deadline <= quiet_since;
        let quiet: Vec<usize> =
            self.connections.iter().filter(|(_, c)| is_quiet(c)).map(|(key, _)| key).collect();
        for key in quiet {
            // What came in this very moment is answered. To close upon it would reset the connection.
            if let Some(connection) = self.connections.get_mut(key) {
                connection.readable = true;
                self.drive(key);
            }
            if let Some(connection) = self.connections.get_mut(key).filter(|c| c.is_idle()) {
                connection.closing = Some(CloseCause::Idle);
                connection.linger(now + DRAIN_LINGER);
                self.drive(key);
            }
        }
    }

    /// How long a client may take to close after its last answer.
    pub(super) fn linger_time(&self) -> Duration {
        if self.drain_until.is_some() { DRAIN_LINGER } else { LINGER }
    }

    /// True once everybody has been answered and has gone.
    pub(super) fn is_drained(&self) -> bool {
        self.drain_until.is_some_and(|until| self.connections.is_empty() || Instant::now() >= until)
    }
}
