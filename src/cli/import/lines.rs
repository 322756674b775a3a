//! An import reads objects of JSON, one on each line, as `export` writes them.

use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::limits::LARGEST_MAX_BODY_BYTES;
use crate::message::{Message, Rejected};
use crate::store::Incoming;
use crate::validation_error::ValidationError;

/// Bytes of a line that `import` reads: a body of any size that the service can be set to take.
const MAX_IMPORT_LINE_BYTES: usize = LARGEST_MAX_BODY_BYTES;

/// One message of the input, or why it is none.
pub(super) struct ImportLine {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) content: Result<Incoming, String>,
}

pub(super) struct Lines<R> {
    input: R,
    /// Lines read so far.
    count: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, count: 0, text: Vec::new() }
    }

    /// The next message; a line with nothing on it is none. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<ImportLine>> {
        loop {
            self.text.clear();
            // One byte more than fits tells a line that is too long.
            let mut bounded = self.input.by_ref().take(MAX_IMPORT_LINE_BYTES as u64 + 1);
            if bounded.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(None);
            }
            self.count += 1;
            let content = if self.text.len() > MAX_IMPORT_LINE_BYTES {
                if !self.text.ends_with(b"\n") {
                    self.input.skip_until(b'\n')?;
                }
                Err(format!("it is longer than {MAX_IMPORT_LINE_BYTES} bytes"))
            } else if self.text.trim_ascii().is_empty() {
                continue;
            } else {
                read(&self.text)
            };
            return Ok(Some(ImportLine { number: self.count, content }));
        }
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
