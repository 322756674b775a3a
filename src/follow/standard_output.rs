//! Standard output takes messages as lines of JSON.
//!
//! A pipe that nobody reads any more, or a file on a full disk, ends the process: nothing was confirmed, and the
//! batch is written again by the next. What is left of a line in a file is closed by a line end before anything
//! follows it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use rustix::fs::{FileType, fdatasync, fstat};
use rustix::stdio;

use super::batch::MessageBatch;
use super::handover::Handover;
use crate::advice;

/// Where a descriptor that may only be written to is opened for reading.
const STDOUT: &str = "/proc/self/fd/1";

pub struct StandardOutput {
    /// Writes all of it, or fails.
    write: fn(&[u8]) -> io::Result<()>,
    is_file: bool,
    /// Whoever wrote to the file before was ended in the middle of a line.
    is_inside_a_line: bool,
}

impl StandardOutput {
    pub fn new(write: fn(&[u8]) -> io::Result<()>) -> Self {
        let kind = fstat(stdio::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let is_file = kind == Ok(FileType::RegularFile);
        // A file that may be written and not be read is taken to be in order.
        Self { write, is_file, is_inside_a_line: is_file && ends_inside_a_line().unwrap_or(false) }
    }

    pub fn hand_on(&mut self, batch: &MessageBatch<'_>) -> Handover {
        let mut lines = batch.ndjson();
        if self.is_inside_a_line {
            lines.insert(0, b'\n');
        }
        // Of a file it is confirmed once it would outlive a power cut.
        let is_file = self.is_file;
        let sync = || if is_file { Ok(fdatasync(stdio::stdout())?) } else { Ok(()) };
        match (self.write)(&lines).and_then(|()| sync()) {
            Ok(()) => {
                self.is_inside_a_line = false;
                Handover::Confirmed
            }
            Err(error) => {
                let advice = advice::on_file(&error);
                Handover::Closed(format!(
                    "cannot write {} to stdout: {error}; {advice}; the next start begins with it",
                    batch.first.id
                ))
            }
        }
    }
}

fn ends_inside_a_line() -> io::Result<bool> {
    let mut file = File::open(STDOUT)?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
