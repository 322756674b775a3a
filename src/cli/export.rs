//! `export` writes messages to stdout: as JSON, which `import` reads, or as comma-separated values for other
//! programs.

use std::io::{self, Write};

use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use serde_json::ser::{Formatter, Serializer};

use super::streams::Stdout;
use super::{EX_IOERR, Failure};
use crate::advice;
use crate::filter::{Filter, PageQuery};
use crate::os;
use crate::store::{DatabasePath, Export, OpenError, StoredMessage};
use crate::url::percent_encode;

/// The names of the columns: the fields of a message, and when it was stored.
pub(super) const COLUMNS: [&str; 6] = ["message_id", "from", "to", "ts", "text", "created_at"];

/// What ends a line for readers of Unicode beside the control characters, which JSON escapes: next line, line
/// separator, paragraph separator.
const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// What to write, and how.
#[derive(Default)]
pub(super) struct ExportOptions {
    pub(super) is_csv: bool,
    pub(super) is_whatsapp: bool,
    pub(super) is_unmapped: bool,
    /// A query string of `GET /messages`: it means the same here.
    query: String,
}

/// What the options come to.
pub(super) enum ExportForm {
    Messages { filter: Filter, is_csv: bool },
    Items { only_unmapped: bool },
}

impl ExportOptions {
    pub(super) fn filter_by(&mut self, name: &str, value: &str) {
        self.query.push_str(&format!("&{name}="));
        percent_encode(&mut self.query, value);
    }

    /// Or what is wrong with them.
    pub(super) fn form(&self) -> Result<ExportForm, String> {
        match (self.is_whatsapp, self.is_csv || !self.query.is_empty()) {
            (true, false) => Ok(ExportForm::Items { only_unmapped: self.is_unmapped }),
            (true, true) => Err("--whatsapp takes neither --csv nor a filter".to_owned()),
            (false, _) if self.is_unmapped => Err("--unmapped belongs to export --whatsapp".to_owned()),
            (false, _) => Ok(ExportForm::Messages { filter: self.filter()?, is_csv: self.is_csv }),
        }
    }

    fn filter(&self) -> Result<Filter, String> {
        match PageQuery::parse(&self.query) {
            Ok(query) => Ok(query.filter),
            Err(errors) => Err(errors.into_iter().map(|error| error.msg).collect::<Vec<_>>().join("; ")),
        }
    }
}

pub(super) fn export(database: &DatabasePath, filter: Filter, is_csv: bool) -> Result<(), Failure> {
    let mut export = Export::open(database, filter)?;
    let format = if is_csv { write_rows } else { write_objects };
    let head = if is_csv { COLUMNS.join(",") + "\n" } else { String::new() };
    write_slices("messages", &head, || export.next_slice(), format)
}

/// Writes to stdout what an export gives, a slice at a time.
pub(super) fn write_slices<T>(
    what: &str,
    head: &str,
    mut next_slice: impl FnMut() -> Result<Option<Vec<T>>, OpenError>,
    format: impl Fn(&mut Vec<u8>, &[T]) -> io::Result<()>,
) -> Result<(), Failure> {
    // Whoever takes messages in goes first.
    os::lower_priority_of_this_thread();
    let failed = |written: usize, error: &io::Error| {
        let advice = advice::on_file(error);
        Failure::new(EX_IOERR, format!("stopped after {written} {what}: cannot write: {error}; {advice}"))
    };
    Stdout.probe().and_then(|()| Stdout.write_all(head.as_bytes())).map_err(|error| failed(0, &error))?;
    let (mut lines, mut written) = (Vec::new(), 0);
    while let Some(slice) = next_slice()? {
        format(&mut lines, &slice)
            .and_then(|()| Stdout.write_all(&lines))
            .map_err(|error| failed(written, &error))?;
        lines.clear();
        written += slice.len();
    }
    Ok(())
}

fn values(message: &StoredMessage) -> [Option<&str>; COLUMNS.len()] {
    let StoredMessage { message_id, from, to, ts, text, created_at, .. } = message;
    [Some(message_id), Some(from), Some(to), Some(ts), text.as_ref(), created_at.as_ref()]
        .map(|value| value.map(String::as_str))
}

fn write_rows(lines: &mut Vec<u8>, messages: &[StoredMessage]) -> io::Result<()> {
    let mut rows = csv::Writer::from_writer(lines);
    for message in messages {
        rows.write_record(values(message).map(Option::unwrap_or_default))?;
    }
    rows.flush()
}

fn write_objects(lines: &mut Vec<u8>, messages: &[StoredMessage]) -> io::Result<()> {
    for message in messages {
        let mut serializer = Serializer::with_formatter(&mut *lines, OneLine);
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in COLUMNS.iter().zip(values(message)) {
            object.serialize_entry(name, &value)?;
        }
        object.end()?;
        lines.push(b'\n');
    }
    Ok(())
}

/// JSON on one line, whatever its reader takes for the end of a line: Python's `splitlines` and JavaScript's
/// older parsers know some characters beyond ASCII, which JSON itself leaves as they are.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        for part in text.split_inclusive(LINE_ENDS) {
            match part.chars().next_back().filter(|last| LINE_ENDS.contains(last)) {
                None => writer.write_all(part.as_bytes())?,
                Some(end) => {
                    writer.write_all(&part.as_bytes()[..part.len() - end.len_utf8()])?;
                    write!(writer, "\\u{:04x}", u32::from(end))?;
                }
            }
        }
        Ok(())
    }
}
