//! The standard streams of a command work whatever they are connected to.
//!
//! stderr is for people and decides nothing: what cannot be written there is left out, and nobody is waited
//! for without end. stdout and stdin carry data: a failure there is the command's. All three may share their
//! file description with whoever started us, who may have made it non-blocking (fcntl(2)); then they are
//! waited for here. One that was closed from the start is an error, as it would be without the `/dev/null` in its place.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio;

use super::{EX_IOERR, Failure};
use crate::escape::escaped;
use crate::os;

/// So long nothing may move on stderr, once; then only what it takes at once is written to it.
const STDERR_PATIENCE: Duration = Duration::from_secs(2);
/// A pipe that is ready takes this much without blocking (pipe(7), `PIPE_BUF`).
const READY_BYTES: usize = 4096;

/// Shows a text to whoever reads stderr, if anybody does.
pub(super) fn say(text: &str) {
    static IS_STUCK: AtomicBool = AtomicBool::new(false);
    let patience = if IS_STUCK.load(Relaxed) { Duration::ZERO } else { STDERR_PATIENCE };
    let is_stuck = write_patiently(stdio::stderr(), text.as_bytes(), patience) == Err(Errno::TIMEDOUT);
    IS_STUCK.store(is_stuck, Relaxed);
}

/// The same as one line, whatever the text holds.
pub(super) fn say_line(text: &str) {
    say(&format!("{}\n", escaped(text)));
}

/// Writes a text to stdout, all of it or a failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let written = Stdout.write_all(text.as_bytes());
    written.map_err(|error| Failure::new(EX_IOERR, format!("cannot write to stdout: {error}")))
}

/// stdout without a buffer.
pub(super) struct Stdout;

impl Stdout {
    /// Fails if nothing could be written, for a reason that is there already.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        self.write(b"").map(drop)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        when_ready(stdio::stdout(), PollFlags::OUT, || rustix::io::write(stdio::stdout(), bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// stdin without a buffer.
pub(super) struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        when_ready(stdio::stdin(), PollFlags::IN, || rustix::io::read(stdio::stdin(), &mut *buffer))
    }
}

/// Moves bytes, of a stream that may be non-blocking.
fn when_ready(
    stream: BorrowedFd<'_>,
    flags: PollFlags,
    mut move_bytes: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    if os::was_closed_at_start(stream.as_raw_fd()) {
        return Err(Errno::BADF.into());
    }
    loop {
        match move_bytes() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                wait(stream, flags, None)?;
            }
            other => return Ok(other?),
        }
    }
}

/// Writes as long as somebody takes something within `patience`.
fn write_patiently(to: BorrowedFd<'_>, mut bytes: &[u8], patience: Duration) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        if !wait(to, PollFlags::OUT, Some(patience))? {
            return Err(Errno::TIMEDOUT);
        }
        match rustix::io::write(to, &bytes[..bytes.len().min(READY_BYTES)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for a stream. False if it was not ready within `patience`; without one it is waited for.
fn wait(stream: BorrowedFd<'_>, flags: PollFlags, patience: Option<Duration>) -> rustix::io::Result<bool> {
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let mut streams = [PollFd::from_borrowed_fd(stream, flags)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut streams, patience.as_ref()))? > 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_reader_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
        let (mut reader, writer) = io::pipe().unwrap();
        let long = vec![b'x'; 1 << 20];
        let impatient = Duration::from_millis(20);
        assert_eq!(write_patiently(writer.as_fd(), &long, impatient), Err(Errno::TIMEDOUT));
        let taken = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
        assert_eq!(write_patiently(writer.as_fd(), &long, STDERR_PATIENCE), Ok(()));
        drop(writer);
        assert!(taken.join().unwrap() > 1 << 20);
    }

    #[test]
    fn a_stream_that_takes_nothing_ever_is_an_error_at_once() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(write_patiently(writer.as_fd(), b"x", STDERR_PATIENCE), Err(Errno::PIPE));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(write_patiently(full.as_fd(), b"x", STDERR_PATIENCE), Err(Errno::NOSPC));
    }
}
