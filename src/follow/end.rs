//! Handing on ends for one reason, which says what to do.

use super::checkpoint_error::CheckpointError;

/// Why nothing is handed on any more.
#[derive(Debug)]
pub enum End {
    /// It was asked for.
    Stopped,
    /// The target wants no more messages.
    Gone(String),
    /// The state is of another store than the service has.
    Unfit(String),
    /// The service has another token than this process.
    Unauthorized(String),
    /// The service will never give out its messages this way.
    Refused(String),
    /// A batch was not taken, and there is no file for dead letters.
    NotTaken(String),
    /// What is handed on cannot be written any more.
    Output(String),
    /// Where to go on cannot be remembered.
    State(CheckpointError),
}

impl From<CheckpointError> for End {
    fn from(error: CheckpointError) -> Self {
        Self::State(error)
    }
}
