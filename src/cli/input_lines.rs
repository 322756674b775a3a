//! An input is read line by line, from a file or stdin.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::streams::Stdin;
use super::{EX_UNAVAILABLE, Failure};
use crate::advice;
use crate::limits::LARGEST_MAX_BODY_BYTES;

/// Bytes of a line that is read: a body of any size that the service can be set to take.
const MAX_LINE_BYTES: usize = LARGEST_MAX_BODY_BYTES;

/// One line of the input, or what is wrong with it.
pub(super) struct InputLine<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) content: Result<&'a [u8], String>,
}

pub(super) struct Lines {
    input: Box<dyn BufRead>,
    /// Lines read so far.
    count: u64,
    text: Vec<u8>,
}

impl Lines {
    /// Of a file; of stdin where there is none, or it is called `-`.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let input: Box<dyn BufRead> = match file.filter(|path| *path != Path::new("-")) {
            None => Box::new(BufReader::new(Stdin)),
            Some(path) => Box::new(BufReader::new(File::open(path).map_err(|error| {
                let advice = advice::on_file(&error);
                Failure::new(EX_UNAVAILABLE, format!("cannot read {}: {error}; {advice}", path.display()))
            })?)),
        };
        Ok(Self { input, count: 0, text: Vec::new() })
    }

    /// The next line that has something on it. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<InputLine<'_>>> {
        loop {
            self.text.clear();
            // One byte more than fits tells a line that is too long.
            let mut bounded = self.input.by_ref().take(MAX_LINE_BYTES as u64 + 1);
            if bounded.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(None);
            }
            self.count += 1;
            let content = if self.text.len() > MAX_LINE_BYTES {
                if !self.text.ends_with(b"\n") {
                    self.input.skip_until(b'\n')?;
                }
                Err(format!("it is longer than {MAX_LINE_BYTES} bytes"))
            } else if self.text.trim_ascii().is_empty() {
                continue;
            } else {
                Ok(&self.text[..])
            };
            return Ok(Some(InputLine { number: self.count, content }));
        }
    }
}
