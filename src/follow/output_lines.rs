//! The output of a command is told line by line, with the batch that it belongs to.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::batch::MessageBatch;
use super::report::named;
use crate::log::{Level, Line, MAX_LOGGED_CHARS};

/// Read at a time: more than a pipe holds (64 KiB, pipe(7)), and an end to it where a command writes without one.
const MAX_READ_BYTES: usize = 256 << 10;
/// A longer line is told in parts, none of which the log cuts off.
const MAX_PART_BYTES: usize = MAX_LOGGED_CHARS;

/// One of the command's streams.
pub struct OutputLines<'a> {
    /// `None` once it has ended.
    pipe: Option<std::fs::File>,
    name: &'static str,
    batch: &'a MessageBatch<'a>,
    say: fn(&str),
    /// What has come of a line.
    begun: Vec<u8>,
}

impl<'a> OutputLines<'a> {
    pub fn new(
        pipe: Option<OwnedFd>,
        name: &'static str,
        batch: &'a MessageBatch<'a>,
        say: fn(&str),
    ) -> Self {
        Self { pipe: pipe.map(Into::into), name, batch, say, begun: Vec::new() }
    }

    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Tells what is there, without waiting for more.
    pub fn read(&mut self) {
        let mut buffer = [0; 4 << 10];
        let mut taken = 0;
        while let (Some(pipe), true) = (&mut self.pipe, taken < MAX_READ_BYTES) {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    taken += count;
                    self.take(&buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Tells the last line, also without its end, and closes the pipe.
    pub fn finish(&mut self) {
        self.pipe = None;
        self.tell();
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            while self.begun.len() > MAX_PART_BYTES {
                // Not inside a character of UTF-8, which has four bytes at the most.
                let is_start = |at: &usize| self.begun[*at] & 0xc0 != 0x80;
                let end =
                    (MAX_PART_BYTES - 3..=MAX_PART_BYTES).rev().find(is_start).unwrap_or(MAX_PART_BYTES);
                let rest = self.begun.split_off(end);
                self.tell();
                self.begun = rest;
            }
            if part.ends_with(b"\n") {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        let text = String::from_utf8_lossy(&self.begun);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            let line = named(Line::event(Level::Info, "command_output"), self.batch);
            (self.say)(&format!("{}\n", line.text("stream", self.name).text("line", text).into_json()));
        }
        self.begun.clear();
    }
}
