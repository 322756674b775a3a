//! A target takes batches, each in one exchange that is confirmed or not.

use std::time::Duration;

use super::batch::MessageBatch;
use super::exec::ExecTarget;
use super::post::PostTarget;
use super::standard_output::StandardOutput;

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

/// Where batches go.
pub enum Target {
    Stdout(StandardOutput),
    Exec(ExecTarget),
    Post(PostTarget),
}

impl Target {
    /// One attempt, which is given up after `timeout`.
    pub fn hand_on(&mut self, batch: &MessageBatch<'_>, timeout: Duration) -> Handover {
        match self {
            Self::Stdout(stdout) => stdout.hand_on(batch),
            Self::Exec(exec) => exec.hand_on(batch, timeout),
            Self::Post(post) => post.hand_on(batch, timeout),
        }
    }
}
