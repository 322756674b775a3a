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
    let mut import = Batches {
        store: Import::open(database)?,
        batch: Vec::new(),
        numbers: Vec::new(),
        counts: LineCounts::default(),
    };
    let read_all = loop {
        match lines.next() {
            Ok(Some(ImportLine { number, content: Ok(incoming) })) => {
                import.batch.push(incoming);
                import.numbers.push(number);
            }
            Ok(Some(ImportLine { number, content: Err(why) })) => import.counts.refuse(number, &why),
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
            let is_passing = matches!(error, StoreError::Locked | StoreError::LogHeld);
            let code = if is_passing { EX_TEMPFAIL } else { EX_UNAVAILABLE };
            let (cause, advice) = (error.cause(), error.advice());
            Failure::new(
                code,
                format!("stopped at line {first}: {error} ({cause}); {advice}, then run it again"),
            )
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
