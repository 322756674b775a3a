//! The reactor closes a connection, or answers it 408, once the deadline of its phase has passed.
//!
//! With the same tick it reports what was closed, then gives free memory back.

use std::time::{Duration, Instant};

use super::super::connection::Connection;
use super::super::protocol::{AfterResponse, Expiry};
use super::Reactor;
use crate::limits::DRAIN_LINGER;
use crate::log::{Level, Line};
use crate::metrics::CloseCause;
use crate::os;
use crate::routes::RequestError;

/// How often the log says how many connections were ended, and why.
const CLOSINGS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// After a refusal, how long what comes is still read and thrown away, so that the client sees
/// the answer instead of a reset (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);

impl Reactor {
    pub(super) fn enforce_deadlines(&mut self, now: Instant) {
        let due = |connection: &Connection| match connection.protocol.deadline(&self.bounds) {
            Some((deadline, expiry)) if deadline <= now => Some((connection.id, expiry)),
            _ => None,
        };
        let late: Vec<_> = self.connections.iter().filter_map(|(_, connection)| due(connection)).collect();
        for (to, expiry) in late {
            self.guarded(Some(to), |reactor| reactor.end(to.key, expiry));
        }
    }

    fn end(&mut self, key: usize, expiry: Expiry) {
        match expiry {
            Expiry::Close(cause) => {
                self.close(key, cause);
            }
            Expiry::TimedOut => {
                self.reject_begun(
                    key,
                    RequestError::TimedOut,
                    AfterResponse::Linger(CloseCause::SlowRequest),
                );
                self.drive(key);
            }
        }
    }

    /// How long a client may take to close after its last answer.
    pub(super) fn linger_time(&self) -> Duration {
        if self.drain_until.is_some() { DRAIN_LINGER } else { LINGER }
    }

    /// Says what the service has defended itself against: a line a second for each cause, however many.
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
}
