//! The lines that a process writes, and what they say as JSON.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::fixtures::eventually;

/// What a process writes, read by a thread so that the process never waits for the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    read: Arc<Mutex<Vec<u8>>>,
    ended: Arc<Mutex<bool>>,
}

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + Debug + 'static) -> Self {
        let lines = Self::default();
        let written = lines.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                written.read.lock().expect("a reader never panics").append(&mut line);
            }
            *written.ended.lock().expect("a reader never panics") = true;
        });
        lines
    }

    pub(crate) fn so_far(&self) -> String {
        String::from_utf8(self.read.lock().expect("a reader never panics").clone()).expect("output is UTF-8")
    }

    #[track_caller]
    pub(crate) fn to_the_end(&self) -> String {
        eventually("the output ends", || self.ended.lock().expect("a reader never panics").then_some(()));
        self.so_far()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        parse_lines(&self.so_far())
    }
}

/// Nothing but JSON objects, one a line.
#[track_caller]
pub(crate) fn parse_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line:?}"))
    };
    text.lines().map(parse).collect()
}
