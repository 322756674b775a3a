//! Deadlines, and the end: who has had time enough, and who is still waited for at a stop.

use std::time::Instant;

use rustix::event::epoll;

use super::super::connection::{Connection, Phase};
use super::super::head::RefusedHead;
use super::Edge;
use crate::limits::{CLOSINGS_REPORT_INTERVAL, DRAIN_QUIET_TIME, DRAIN_TIMEOUT};
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
        self.drain_until = Some(Instant::now() + DRAIN_TIMEOUT);
        // Whoever is connected already but was not accepted yet gets its answer as well: from whoever
        // comes after us, if the socket stays.
        if self.listener.as_ref().is_some_and(|listener| !listener.outlives_us()) {
            self.accept();
        }
        self.stop_listening();
    }

    pub(super) fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Closing it is not enough where another process has it as well (epoll(7), question 6).
            let _ = epoll::delete(&self.poll, &listener);
        }
    }

    /// True once nothing that was begun is unfinished. Until then connections that stand idle may
    /// still ask, say for readiness; they do not keep the service, except for the moment in which a
    /// request may be on its way.
    pub(super) fn is_drained(&self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        let now = Instant::now();
        let quiet_since = now + self.bounds.idle_timeout - DRAIN_QUIET_TIME;
        let is_waited_for = |c: &Connection| match c.phase {
            Phase::Lingering => false,
            _ if !c.is_idle() => true,
            _ => self.has_heir() || c.deadline > quiet_since,
        };
        now >= until || !self.connections.iter().any(|(_, c)| is_waited_for(c))
    }
}
