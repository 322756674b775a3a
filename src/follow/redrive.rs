//! A redrive hands the messages of a file of dead letters on again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::batch::{FeedMessage, MessageBatch};
use super::end::End;
use super::handing::Handing;
use super::handover::Settled;
use crate::advice;
use crate::log::{Level, Line};

/// What became of the lines.
#[derive(Debug, Default)]
pub struct RedriveCounts {
    pub handed_on: u64,
    /// Messages that were not taken this time either.
    pub dead_letters: u64,
    /// Lines that are no messages.
    pub refused: u64,
}

/// Hands on what is in the file when it begins, `batch` messages at a time. `counts` says how far it has come, also
/// where it ends early.
pub fn redrive(
    handing: &mut Handing,
    path: &Path,
    batch: usize,
    counts: &mut RedriveCounts,
) -> Result<(), End> {
    let unreadable = |error: io::Error| {
        End::Output(format!("cannot read {}: {error}; {}", path.display(), advice::on_file(&error)))
    };
    let file = File::open(path).map_err(unreadable)?;
    // What is not taken this time may be appended to it.
    let length = file.metadata().map_err(unreadable)?.len();
    let is_file = file.metadata().map_err(unreadable)?.is_file();
    let mut lines = BufReader::new(file.take(if is_file { length } else { u64::MAX }));
    let mut messages = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let is_end = lines.read_until(b'\n', &mut line).map_err(unreadable)? == 0;
        if !line.trim_ascii().is_empty() {
            match FeedMessage::parse(&String::from_utf8_lossy(&line)) {
                Ok(message) => messages.push(message),
                Err(why) => {
                    counts.refused += 1;
                    handing.report.line(
                        Line::event(Level::Error, "no_message").number("line", number).text("reason", &why),
                    );
                }
            }
        }
        if messages.len() >= batch || is_end {
            if let Some(batch) = MessageBatch::of(&messages) {
                let count = match handing.hand_on(&batch)? {
                    Settled::Confirmed => &mut counts.handed_on,
                    Settled::DeadLetter => &mut counts.dead_letters,
                };
                *count += messages.len() as u64;
            }
            messages.clear();
        }
        if is_end {
            break;
        }
    }
    Ok(())
}
