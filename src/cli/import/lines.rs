//! Lines of an import: objects of JSON, one on each line, or comma-separated values whose first line names the
//! columns.
//!
//! Which of the two it is shows in the first line.
//!
//! A message is made by [`Message::parse_exported`] alone, from the values as from the object, so that no other
//! rules can slip in.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use crate::csv;
use crate::limits::MAX_IMPORT_LINE_BYTES;
use crate::message::{Message, Rejected};
use crate::store::Incoming;
use crate::validation_error::ValidationError;

/// Columns that have to be there.
const REQUIRED: [&str; 4] = ["message_id", "from", "to", "ts"];
/// Some editors put it at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One message of the input, or why it is none.
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: u64,
    pub(super) content: Result<Incoming, String>,
}

pub(super) struct Lines<R> {
    input: R,
    /// Lines read so far.
    count: u64,
    /// Something stood in one of them.
    has_begun: bool,
    text: Vec<u8>,
    /// The names of the columns, once the first line was one of those.
    columns: Option<Vec<String>>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, count: 0, has_begun: false, text: Vec::new(), columns: None }
    }

    /// The next message. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.text.clear();
            let number = self.count + 1;
            let Some(mut fits) = self.read_line()? else {
                return Ok(None);
            };
            if number == 1 && self.text.starts_with(BYTE_ORDER_MARK) {
                self.text.drain(..BYTE_ORDER_MARK.len());
            }
            if self.columns.is_some() {
                fits = fits && self.read_to_the_end_of_the_row()?;
            }
            if !fits {
                let why = format!("it is longer than {MAX_IMPORT_LINE_BYTES} bytes");
                return Ok(Some(Line { number, content: Err(why) }));
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            let is_first = !std::mem::replace(&mut self.has_begun, true);
            if is_first && let Some(columns) = columns(&self.text) {
                self.columns = Some(columns);
                continue;
            }
            let content = match &self.columns {
                None => from_json(&self.text),
                Some(columns) => from_row(columns, &self.text),
            };
            return Ok(Some(Line { number, content }));
        }
    }

    /// Between quotes a line may end without ending the row. False if that is too long.
    fn read_to_the_end_of_the_row(&mut self) -> io::Result<bool> {
        let (mut reading, mut known) = (csv::Reading::default(), 0);
        loop {
            reading.follow(&self.text[known..]);
            known = self.text.len();
            if !reading.is_between_quotes() {
                return Ok(true);
            }
            match self.read_line()? {
                None => return Ok(true),
                Some(false) => return Ok(false),
                Some(true) => {}
            }
        }
    }

    /// Appends a line to the text. `None` at the end; false if it is too long, and then it is passed over.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        let (mut fits, mut is_any) = (true, false);
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let end = memchr::memchr(b'\n', chunk).map(|at| at + 1);
            let length = end.unwrap_or(chunk.len());
            fits = fits && self.text.len() + length <= MAX_IMPORT_LINE_BYTES;
            if fits {
                self.text.extend_from_slice(&chunk[..length]);
            }
            let is_end = length == 0;
            self.input.consume(length);
            is_any = is_any || !is_end;
            if end.is_some() || is_end {
                self.count += u64::from(is_any);
                return Ok(is_any.then_some(fits));
            }
        }
    }
}

/// The names in a first line, if it holds names.
fn columns(line: &[u8]) -> Option<Vec<String>> {
    let row = csv::read_row(std::str::from_utf8(line).ok()?)?;
    let names: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
    let is_named = |name: &&str| names.iter().any(|column| column == name);
    REQUIRED.iter().all(is_named).then_some(names)
}

fn from_json(line: &[u8]) -> Result<Incoming, String> {
    let (message, created_at) = Message::parse_exported(line).map_err(|rejected| reason(&rejected))?;
    Ok(Incoming { message, created_at })
}

fn from_row(columns: &[String], row: &[u8]) -> Result<Incoming, String> {
    let row = std::str::from_utf8(row).map_err(|_| "it is not UTF-8".to_owned())?;
    let values = csv::read_row(row).ok_or("its quotes do not match")?;
    if values.len() != columns.len() {
        return Err(format!("it has {} values for {} columns", values.len(), columns.len()));
    }
    let fields = columns.iter().zip(values).filter(|(_, value)| value.is_some());
    let object: Map<String, Value> = fields.map(|(name, value)| (name.clone(), value.into())).collect();
    from_json(Value::Object(object).to_string().as_bytes())
}

/// Every error with its field, and nothing of what the message says.
fn reason(rejected: &Rejected) -> String {
    let error = |error: &ValidationError| match error.loc.get(1).and_then(Value::as_str) {
        Some(field) => format!("{field}: {}", error.msg),
        None => error.msg.clone(),
    };
    rejected.errors.iter().map(error).collect::<Vec<_>>().join("; ")
}
