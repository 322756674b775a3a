//! `import` takes messages from a file or stdin by the rules of `POST /webhook`.
//!
//! It says which lines it refused.

mod lines;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::streams::{Stdin, say_line};
use super::{EX_DATAERR, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE, Failure};
use crate::advice;
use crate::limits::MAX_BATCH;
use crate::os;
use crate::store::{DatabasePath, Import, Incoming, Inserted, StoreError};
use lines::{ImportLine, Lines};

/// What became of the lines.
#[derive(Default)]
struct LineCounts {
    created: u64,
    duplicate: u64,
    refused: u64,
}

pub(super) fn import(database: &DatabasePath, file: Option<&Path>) -> Result<(), Failure> {
    os::lower_priority_of_this_thread();
    let input: Box<dyn BufRead> = match file {
        None => Box::new(BufReader::new(Stdin)),
        Some(path) if path == Path::new("-") => Box::new(BufReader::new(Stdin)),
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(|error| {
            let advice = advice::on_file(&error);
            Failure::new(EX_UNAVAILABLE, format!("cannot read {}: {error}; {advice}", path.display()))
        })?)),
    };
    let mut lines = Lines::new(input);
    let mut store = Import::open(database)?;
    let mut counts = LineCounts::default();
    let (mut batch, mut numbers) = (Vec::new(), Vec::new());
    let mut ended = false;
    while !ended {
        match lines.next() {
            Ok(Some(ImportLine { number, content: Ok(incoming) })) => {
                batch.push(incoming);
                numbers.push(number);
            }
            Ok(Some(ImportLine { number, content: Err(why) })) => counts.refuse(number, &why),
            Ok(None) => ended = true,
            Err(error) => {
                put(&mut store, &mut batch, &mut numbers, &mut counts)?;
                counts.tell();
                return Err(Failure::new(
                    EX_IOERR,
                    format!("stopped: cannot read: {error}; {}; then run it again", advice::on_file(&error)),
                ));
            }
        }
        if batch.len() >= MAX_BATCH || ended {
            put(&mut store, &mut batch, &mut numbers, &mut counts)?;
        }
    }
    counts.tell();
    if counts.refused == 0 {
        return Ok(());
    }
    Err(Failure::new(EX_DATAERR, "what was refused is not stored"))
}

/// Stores what has gathered.
fn put(
    store: &mut Import,
    batch: &mut Vec<Incoming>,
    numbers: &mut Vec<u64>,
    counts: &mut LineCounts,
) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    let outcomes = store.put(batch).map_err(|error| {
        counts.tell();
        let is_passing = matches!(error, StoreError::Locked | StoreError::LogHeld);
        let code = if is_passing { EX_TEMPFAIL } else { EX_UNAVAILABLE };
        let line = numbers.first().copied().unwrap_or(0);
        let cause = error.cause();
        let advice = error.advice();
        Failure::new(code, format!("stopped at line {line}: {error} ({cause}); {advice}, then run it again"))
    })?;
    for (number, outcome) in numbers.drain(..).zip(outcomes) {
        match outcome {
            Ok(Inserted::Created) => counts.created += 1,
            Ok(Inserted::Duplicate) => counts.duplicate += 1,
            Err(error) => counts.refuse(number, &error.cause()),
        }
    }
    batch.clear();
    Ok(())
}

impl LineCounts {
    fn refuse(&mut self, line: u64, why: &str) {
        self.refused += 1;
        say_line(&format!("line {line}: {why}"));
    }

    fn tell(&self) {
        let Self { created, duplicate, refused } = self;
        say_line(&format!("{created} messages stored, {duplicate} were there already, {refused} refused"));
    }
}
