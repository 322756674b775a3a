//! `import` takes messages from a file or stdin by the rules of `POST /webhook`.
//!
//! It says which lines it refused.

use std::path::Path;

use serde_json::Value;

use super::input_lines::Lines;
use super::streams::say_line;
use super::{EX_DATAERR, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE, Failure};
use crate::advice;
use crate::limits::MAX_BATCH;
use crate::message::{Message, Rejected};
use crate::os;
use crate::store::{DatabasePath, Import, Incoming, Inserted, StoreError};
use crate::validation_error::ValidationError;

/// What became of the lines.
#[derive(Default)]
struct LineCounts {
    created: u64,
    duplicate: u64,
    refused: u64,
}

pub(super) fn import(database: &DatabasePath, file: Option<&Path>) -> Result<(), Failure> {
    os::lower_priority_of_this_thread();
    let mut lines = Lines::open(file)?;
    let mut import = Batches {
        store: open_or_make(database)?,
        batch: Vec::new(),
        numbers: Vec::new(),
        counts: LineCounts::default(),
    };
    let read_all = loop {
        match lines.next() {
            Ok(Some(line)) => match line.content.and_then(read) {
                Ok(incoming) => {
                    import.batch.push(incoming);
                    import.numbers.push(line.number);
                }
                Err(why) => import.counts.refuse(line.number, &why),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if import.batch.len() >= MAX_BATCH {
            import.put()?;
        }
    };
    import.put()?;
    import.counts.tell();
    read_all.map_err(|error| {
        let advice = advice::on_file(&error);
        Failure::new(EX_IOERR, format!("stopped: cannot read: {error}; {advice}; then run it again"))
    })?;
    if import.counts.refused == 0 {
        return Ok(());
    }
    Err(Failure::new(EX_DATAERR, "what was refused is not stored"))
}

/// Whoever forgets the setting in a shell of a server would look for the messages where they are not.
pub(super) fn open_or_make(database: &DatabasePath) -> Result<Import, Failure> {
    let is_there = database.exists();
    let store = Import::open(database)?;
    if !is_there {
        say_line(&format!("there was no database {}: it has been made (DATABASE_URL)", database.display()));
    }
    Ok(store)
}

/// Messages on their way into the store, with the numbers of their lines.
struct Batches {
    store: Import,
    batch: Vec<Incoming>,
    numbers: Vec<u64>,
    counts: LineCounts,
}

impl Batches {
    /// Stores what has gathered.
    fn put(&mut self) -> Result<(), Failure> {
        let Some(first) = self.numbers.first() else {
            return Ok(());
        };
        let outcomes = self.store.put(&self.batch).map_err(|error| {
            self.counts.tell();
            stopped(&format!("line {first}"), &error)
        })?;
        for (number, outcome) in self.numbers.drain(..).zip(outcomes) {
            match outcome {
                Ok(Inserted::Created) => self.counts.created += 1,
                Ok(Inserted::Duplicate) => self.counts.duplicate += 1,
                Err(error) => self.counts.refuse(number, &error.cause()),
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// Where a command that stores has come to its end early.
pub(super) fn stopped(at: &str, error: &StoreError) -> Failure {
    let is_passing = matches!(error, StoreError::Locked | StoreError::LogHeld);
    let code = if is_passing { EX_TEMPFAIL } else { EX_UNAVAILABLE };
    let (cause, advice) = (error.cause(), error.advice());
    Failure::new(code, format!("stopped at {at}: {error} ({cause}); {advice}, then run it again"))
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

fn read(line: &[u8]) -> Result<Incoming, String> {
    let (message, created_at) = Message::parse_exported(line).map_err(|rejected| reason(&rejected))?;
    Ok(Incoming { message, created_at })
}

/// Every error with its field, and nothing of what the message says.
fn reason(rejected: &Rejected) -> String {
    let error = |error: &ValidationError| match error.loc.get(1).and_then(Value::as_str) {
        Some(field) => format!("{field}: {}", error.msg),
        None => error.msg.clone(),
    };
    rejected.errors.iter().map(error).collect::<Vec<_>>().join("; ")
}
