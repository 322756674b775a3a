//! The log is lines of JSON on stdout (contract, section 8).
//!
//! One is for each request, others are for what happens to the service itself.
//!
//! A line is put into a bounded buffer and a thread of its own writes it out, so nothing that
//! serves a request ever waits for whoever reads stdout: past the bound lines are dropped and
//! counted. No line holds a raw control character, whatever a client sent.

mod line;

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::mutex::{lock, wait, wait_while};
pub use line::{Line, MAX_LOGGED_CHARS};

/// At a stop, how long the last log lines may take to leave.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause of the log thread between two writes, so that a busy service writes in batches.
const LOG_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of log lines waiting for stdout; past it lines are dropped and counted.
const LOG_BUFFER_BYTES: usize = 1 << 20;

/// How much a line matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    /// `DEBUG`, `INFO`, `WARNING` or `ERROR`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Debug, Self::Info, Self::Warning, Self::Error];
        all.into_iter().find(|level| level.name().eq_ignore_ascii_case(text))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// The way to stdout. Cloned for every thread that has something to say.
#[derive(Clone)]
pub struct Log(Arc<LogState>);

struct LogState {
    level: AtomicU8,
    dropped: AtomicU64,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The log thread holds lines that are not written yet.
    writing: bool,
}

impl Log {
    /// Starts the thread that writes to stdout.
    pub fn start(level: Level) -> io::Result<Self> {
        let log = Self(Arc::new(LogState {
            level: AtomicU8::new(level as u8),
            dropped: AtomicU64::new(0),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }));
        let writer = log.clone();
        thread::Builder::new().name("log".into()).stack_size(64 << 10).spawn(move || writer.write_out())?;
        Ok(log)
    }

    /// Changes what is wanted from now on.
    pub fn set_level(&self, level: Level) {
        self.0.level.store(level as u8, Relaxed);
    }

    /// True if a line of this level is wanted, so that unwanted ones need not be built.
    pub fn wants(&self, level: Level) -> bool {
        level as u8 >= self.0.level.load(Relaxed)
    }

    /// Hands over a line. Never waits for stdout.
    pub fn write(&self, line: &Line) {
        if !self.wants(line.level) {
            return;
        }
        let mut waiting = lock(&self.0.waiting);
        if waiting.lines.len() + line.json.len() + 2 > LOG_BUFFER_BYTES {
            self.0.dropped.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty() && !waiting.writing;
        waiting.lines.extend_from_slice(line.json.as_bytes());
        waiting.lines.extend_from_slice(b"}\n");
        drop(waiting);
        if was_empty {
            self.0.changed.notify_all();
        }
    }

    /// Lines dropped because nobody took the earlier ones.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Waits until every line handed over is written, or for a second if stdout does not move.
    pub fn flush(&self) {
        let deadline = Instant::now() + LOG_FLUSH_TIMEOUT;
        let is_any_left = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        wait_while(&self.0.changed, lock(&self.0.waiting), deadline, is_any_left);
    }

    fn write_out(&self) {
        let mut lines = Vec::new();
        loop {
            let mut waiting = lock(&self.0.waiting);
            waiting.writing = false;
            self.0.changed.notify_all();
            while waiting.lines.is_empty() {
                waiting = wait(&self.0.changed, waiting);
            }
            std::mem::swap(&mut waiting.lines, &mut lines);
            waiting.writing = true;
            drop(waiting);
            if write_all(&lines).is_err() {
                let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                self.0.dropped.fetch_add(lost as u64, Relaxed);
            }
            lines.clear();
            thread::sleep(LOG_PAUSE);
        }
    }
}

/// Past std's own buffer: a batch of lines is one write.
fn write_all(mut bytes: &[u8]) -> rustix::io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&stdout, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            // Whoever made this pipe made it non-blocking; a full one is waited for here.
            Err(rustix::io::Errno::AGAIN) => thread::sleep(LOG_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case_and_ordered() {
        assert_eq!(Level::parse("warning"), Some(Level::Warning));
        assert_eq!(Level::parse("WARN"), None);
        assert!(Level::Debug < Level::Info && Level::Warning < Level::Error);
    }
}
