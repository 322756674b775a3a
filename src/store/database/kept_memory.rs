//! Kept memory is what connections hold for the next statement, until nobody has used them for a while.

use std::time::{Duration, Instant};

use rusqlite::Connection;

/// So long it is kept. To whoever comes later it is some milliseconds of reading.
pub const KEPT_FOR: Duration = Duration::from_secs(5);

/// Of one or several connections.
#[derive(Debug, Default)]
pub enum KeptMemory {
    /// There is next to none.
    #[default]
    GivenBack,
    /// The connections were used then.
    Held(Instant),
}

impl KeptMemory {
    /// True once, when it has been kept for long enough: it is to be given back ([`give_back`]).
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = matches!(self, Self::Held(used) if now.saturating_duration_since(*used) >= KEPT_FOR);
        if is_due {
            *self = Self::GivenBack;
        }
        is_due
    }
}

/// Frees the pages that a connection keeps.
pub fn give_back(connection: &Connection) {
    // What fails here is met by the next statement, whose caller draws the conclusions.
    let _ = connection.execute_batch("PRAGMA shrink_memory");
}
