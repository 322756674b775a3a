//! A handover is one attempt to hand a batch on; the last of them settles what becomes of it.

use std::time::Duration;

/// What became of one attempt to hand a batch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handover {
    Confirmed,
    /// It will never be taken, for this reason.
    DeadLetter(String),
    /// It was not taken this time. `after` is how long the target wants to be left alone.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// The target wants no more messages, ever.
    Gone(String),
    /// Nothing can be handed on any more by this process.
    Closed(String),
}

/// What became of a batch in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Confirmed,
    DeadLetter,
}
