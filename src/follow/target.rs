//! A target takes batches, each in one exchange that is confirmed or not.

use std::time::Duration;

use super::batch::MessageBatch;
use super::exec::ExecTarget;
use super::handover::Handover;
use super::post::PostTarget;
use super::standard_output::StandardOutput;

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
