//! `export`: messages as lines on stdout, in the form in which `import` reads them.

use std::io::{self, Write};

use super::streams::Stdout;
use super::{EX_IOERR, Failure};
use crate::csv;
use crate::filter::{Filter, PageQuery};
use crate::os;
use crate::store::{DatabasePath, Export, StoredMessage};
use crate::url::percent_encode;

/// The names of the columns, and of the fields of `GET /messages`.
pub(super) const COLUMNS: [&str; 6] = ["message_id", "from", "to", "ts", "text", "created_at"];

/// What to write, and how.
#[derive(Default)]
pub(super) struct Options {
    pub(super) is_csv: bool,
    /// A query string of `GET /messages`: it means the same here.
    query: String,
}

impl Options {
    pub(super) fn filter_by(&mut self, name: &str, value: &str) {
        self.query.push_str(&format!("&{name}="));
        percent_encode(&mut self.query, value);
    }

    /// The filter, or what is wrong with it.
    pub(super) fn filter(&self) -> Result<Filter, String> {
        match PageQuery::parse(&self.query) {
            Ok(query) => Ok(query.filter),
            Err(errors) => Err(errors.into_iter().map(|error| error.msg).collect::<Vec<_>>().join("; ")),
        }
    }
}

pub(super) fn export(database: &DatabasePath, filter: Filter, is_csv: bool) -> Result<(), Failure> {
    // Whoever takes messages in goes first.
    os::lower_priority_of_this_thread();
    let mut export = Export::open(database, filter)?;
    let mut lines = Vec::new();
    if is_csv {
        csv::write_row(&mut lines, &COLUMNS.map(Some));
    }
    let mut written = 0;
    while let Some(slice) = export.next_slice()? {
        let failed = |error: io::Error| {
            Failure::new(EX_IOERR, format!("stopped after {written} messages: cannot write: {error}"))
        };
        for message in &slice {
            write_line(&mut lines, message, is_csv).map_err(failed)?;
        }
        Stdout.write_all(&lines).map_err(failed)?;
        lines.clear();
        written += slice.len();
    }
    Stdout.write_all(&lines).map_err(|error| Failure::new(EX_IOERR, format!("cannot write: {error}")))
}

fn write_line(lines: &mut Vec<u8>, message: &StoredMessage, is_csv: bool) -> io::Result<()> {
    if !is_csv {
        serde_json::to_writer(&mut *lines, message)?;
        lines.push(b'\n');
        return Ok(());
    }
    let StoredMessage { message_id, from, to, ts, text, created_at } = message;
    csv::write_row(
        lines,
        &[Some(message_id), Some(from), Some(to), Some(ts), text.as_deref(), Some(created_at)],
    );
    Ok(())
}
