//! Handing on takes one batch after the other, each until it is confirmed or among the dead letters.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{OF_A_TARGET, OF_AN_OUTAGE, chance};
use super::batch::MessageBatch;
use super::checkpoint::Checkpoint;
use super::checkpoint_error::CheckpointError;
use super::dead_letters;
use super::end::End;
use super::handover::{Handover, Settled};
use super::own_file;
use super::report::{Reporter, named};
use super::stop::Stop;
use super::target::Target;
use crate::log::{Level, Line};

/// Where batches go, and what becomes of those that are not taken.
pub struct Handing {
    pub target: Target,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often a batch is tried; `None` is for ever.
    pub attempts: Option<u32>,
    pub dead_letters: Option<PathBuf>,
    /// Up to where it was handed on; `None` where dead letters are handed on again.
    pub checkpoint: Option<Checkpoint>,
    pub report: Reporter,
    pub stop: Arc<Stop>,
}

impl Handing {
    /// Returns once the batch was confirmed, or is among the dead letters, and that is remembered.
    pub fn hand_on(&mut self, batch: &MessageBatch<'_>) -> Result<Settled, End> {
        let began = Instant::now();
        let mut attempt = 0;
        let settled = loop {
            if self.stop.is_asked() {
                return Err(End::Stopped);
            }
            attempt += 1;
            match self.target.hand_on(batch, self.timeout) {
                Handover::Confirmed => {
                    self.tell_of_recovery(batch, attempt, began);
                    break Settled::Confirmed;
                }
                Handover::DeadLetter(reason) => {
                    self.bury(batch, attempt, &reason)?;
                    break Settled::DeadLetter;
                }
                Handover::Retry { reason, .. } if self.attempts.is_some_and(|most| attempt >= most) => {
                    self.bury(batch, attempt, &reason)?;
                    break Settled::DeadLetter;
                }
                Handover::Retry { reason, after } => self.wait_for_retry(batch, attempt, &reason, after)?,
                Handover::Gone(reason) => {
                    self.give_up(batch, attempt, &reason);
                    return Err(End::Gone(reason));
                }
                Handover::Closed(reason) => {
                    self.give_up(batch, attempt, &reason);
                    return Err(End::Output(reason));
                }
            }
        };
        self.report.settled(batch, settled);
        self.remember(&batch.last.cursor)?;
        Ok(settled)
    }

    /// Goes on to `cursor`. It is synced meanwhile, or the end is told.
    pub fn remember(&mut self, cursor: &str) -> Result<(), End> {
        let Some(checkpoint) = &mut self.checkpoint else {
            return Ok(());
        };
        if checkpoint.cursor() != cursor {
            insist(&self.stop, &self.report, CheckpointError::is_passing, || checkpoint.advance(cursor))?;
        }
        if checkpoint.wants_sync() { self.sync() } else { Ok(()) }
    }

    /// What was remembered outlives a power cut from here on.
    pub fn sync(&mut self) -> Result<(), End> {
        let Some(checkpoint) = &mut self.checkpoint else {
            return Ok(());
        };
        insist(&self.stop, &self.report, CheckpointError::is_passing, || checkpoint.sync())
    }

    /// The end, once what was remembered outlives a power cut.
    pub fn finish(&mut self, end: End) -> End {
        match (self.checkpoint.as_mut().map_or(Ok(()), Checkpoint::sync), end) {
            (Err(error), End::Stopped) => End::State(error),
            (_, end) => end,
        }
    }

    fn wait_for_retry(
        &mut self,
        batch: &MessageBatch<'_>,
        attempt: u32,
        reason: &str,
        after: Option<Duration>,
    ) -> Result<(), End> {
        // What was confirmed before is not left to luck meanwhile.
        self.sync()?;
        let wait = OF_A_TARGET.wait(attempt, after, chance());
        if attempt == 1 {
            let line = named(Line::event(Level::Warning, "not_confirmed"), batch).text("reason", reason);
            self.report.line(line.thousandths("retry_in_seconds", millis(wait)));
        }
        self.report.trouble(reason);
        self.stop.sleep(wait);
        Ok(())
    }

    fn tell_of_recovery(&self, batch: &MessageBatch<'_>, attempts: u32, began: Instant) {
        if attempts > 1 {
            let line =
                named(Line::event(Level::Info, "recovered"), batch).number("attempts", attempts.into());
            self.report.line(line.thousandths("seconds", millis(began.elapsed())));
        }
    }

    /// Tells of the batch that ends the follower.
    fn give_up(&self, batch: &MessageBatch<'_>, attempts: u32, reason: &str) {
        let line = named(Line::event(Level::Error, "given_up"), batch).number("attempts", attempts.into());
        self.report.line(line.text("reason", reason));
    }

    /// Puts a batch among the dead letters.
    fn bury(&self, batch: &MessageBatch<'_>, attempts: u32, reason: &str) -> Result<(), End> {
        let Some(file) = &self.dead_letters else {
            self.give_up(batch, attempts, reason);
            let attempts =
                if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
            return Err(End::NotTaken(format!(
                "{} and what follows it was not handed on after {attempts}: {reason}; mend that, or name \
                 a file for such messages with --dead-letters",
                batch.first.id
            )));
        };
        insist(
            &self.stop,
            &self.report,
            |_| true,
            || {
                dead_letters::append(file, batch).map_err(|error| {
                    DeadLetterError(format!(
                        "the dead letters {} cannot be written: {error}; {}",
                        file.display(),
                        own_file::advice(file, &error)
                    ))
                })
            },
        )?;
        let line = named(Line::event(Level::Error, "dead_letter"), batch).number("attempts", attempts.into());
        self.report.line(line.text("reason", reason).text("file", &file.to_string_lossy()));
        Ok(())
    }
}

pub fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Writes until it is written: there is no going on without. Says once that it cannot, and once that it can again.
fn insist<E: Display + Into<End>>(
    stop: &Stop,
    report: &Reporter,
    is_passing: impl Fn(&E) -> bool,
    mut write: impl FnMut() -> Result<(), E>,
) -> Result<(), End> {
    let mut attempt = 0;
    loop {
        match write() {
            Ok(()) if attempt == 0 => return Ok(()),
            Ok(()) => {
                report.line(Line::event(Level::Info, "writable"));
                return Ok(());
            }
            Err(error) if !is_passing(&error) => return Err(error.into()),
            // What is not remembered comes again.
            Err(_) if attempt > 0 && stop.is_asked() => return Err(End::Stopped),
            Err(error) => {
                attempt += 1;
                if attempt == 1 {
                    report.line(Line::event(Level::Error, "not_writable").text("reason", &error.to_string()));
                }
                report.trouble(&error.to_string());
                stop.sleep(OF_AN_OUTAGE.wait(attempt, None, chance()));
            }
        }
    }
}

/// Why dead letters cannot be kept.
struct DeadLetterError(String);

impl Display for DeadLetterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DeadLetterError> for End {
    fn from(error: DeadLetterError) -> Self {
        Self::Output(error.0)
    }
}
