//! A connection is a client's socket with the state of its protocol.
//!
//! It reads and writes without ever waiting; [`super::reactor`] says when.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::completions::ConnectionId;
use super::protocol::{AfterResponse, Protocol};
use super::sources::SourceId;
use crate::client::Client;
use crate::limits::READ_CHUNK_BYTES;
use crate::metrics::CloseCause;

/// How an attempt to read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Something came, or may at another attempt.
    Progress,
    /// There is nothing at the moment.
    WouldBlock,
    /// The client sends no more.
    End,
    Failed,
}

/// What the kernel has said of a socket's input, and a read has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// There is none, and more will be announced.
    Quiet,
    Readable,
    /// The client has hung up: there is an end to be read, and no other event will come.
    HungUp,
}

impl Input {
    fn after_event(self, is_readable: bool, has_hung_up: bool) -> Self {
        match self {
            _ if has_hung_up => Self::HungUp,
            Self::Quiet if is_readable => Self::Readable,
            _ => self,
        }
    }

    /// After a read that has filled the buffer, or has not.
    fn after_read(self, is_full: bool) -> Self {
        match self {
            Self::HungUp => Self::HungUp,
            _ if is_full => Self::Readable,
            _ => Self::Quiet,
        }
    }
}

pub(super) struct Connection {
    socket: OwnedFd,
    pub(super) peer: Client,
    pub(super) source: SourceId,
    pub(super) id: ConnectionId,
    pub(super) protocol: Protocol,
    input: Input,
    /// Bytes that this connection was last counted with.
    pub(super) counted: usize,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, peer: Client, source: SourceId, id: ConnectionId) -> Self {
        let (protocol, input) = (Protocol::new(Instant::now()), Input::Readable);
        Self { socket, peer, source, id, protocol, input, counted: 0 }
    }

    /// False if a read would find nothing, as far as the kernel has said.
    pub(super) fn is_readable(&self) -> bool {
        self.input != Input::Quiet
    }

    pub(super) fn note_event(&mut self, is_readable: bool, has_hung_up: bool) {
        self.input = self.input.after_event(is_readable, has_hung_up);
    }

    /// Reads once, through `buffer`, so that a connection that sends nothing holds no memory.
    pub(super) fn read(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> ReadOutcome {
        match self.receive(buffer) {
            Ok(0) => ReadOutcome::End,
            Ok(count) => {
                self.protocol.receive(&buffer[..count], Instant::now());
                ReadOutcome::Progress
            }
            Err(outcome) => outcome,
        }
    }

    /// Reads once and throws away what came, up to a bound.
    pub(super) fn discard(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> ReadOutcome {
        match self.receive(buffer) {
            Ok(count) if count > 0 && self.protocol.discard(count) => ReadOutcome::Progress,
            Ok(_) => ReadOutcome::End,
            Err(outcome) => outcome,
        }
    }

    fn receive(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Result<usize, ReadOutcome> {
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((count, _)) => {
                self.input = self.input.after_read(count == buffer.len());
                Ok(count)
            }
            Err(Errno::INTR) => Err(ReadOutcome::Progress),
            Err(Errno::AGAIN) => {
                self.input = Input::Quiet;
                Err(ReadOutcome::WouldBlock)
            }
            Err(_) => Err(ReadOutcome::Failed),
        }
    }

    /// Tells the client to send the body. A client that cannot take 25 bytes now will send it later
    /// anyway (RFC 9110, section 10.1.1).
    pub(super) fn say_continue(&self) {
        let _ = rustix::net::send(&self.socket, b"HTTP/1.1 100 Continue\r\n\r\n", SEND_FLAGS);
    }

    /// The client has closed its side, whatever it has sent before.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut polled, Some(&none)).is_ok() && !polled[0].revents().is_empty()
    }

    /// Sends a last answer to a client whose connection is about to be closed. One that does not take it is not
    /// waited for.
    pub(super) fn say_farewell(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.socket, bytes, SEND_FLAGS);
    }

    /// Sends what the kernel takes. Says what follows once everything is sent.
    pub(super) fn send(&mut self) -> io::Result<Option<AfterResponse>> {
        while let Some((bytes, others_follow)) = self.protocol.unsent() {
            // Not in a packet of its own.
            let flags = if others_follow { SEND_FLAGS | SendFlags::MORE } else { SEND_FLAGS };
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(count) => self.protocol.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.protocol.after_response())
    }

    /// The last answer is sent: says so to the client, which has so long to close.
    pub(super) fn linger(&mut self, now: Instant, time: Duration, cause: CloseCause) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        self.protocol.linger(now, time, cause);
        self.note_event(true, false);
    }
}

pub(super) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_until_a_read_finds_its_end_and_a_hang_up_is_not_forgotten() {
        use Input::{HungUp, Quiet, Readable};
        for (before, is_readable, has_hung_up, after) in [
            (Quiet, false, false, Quiet),
            (Quiet, true, false, Readable),
            (Readable, false, false, Readable),
            (Quiet, true, true, HungUp),
            (Readable, false, true, HungUp),
            (HungUp, true, false, HungUp),
        ] {
            assert_eq!(before.after_event(is_readable, has_hung_up), after, "{before:?}");
        }
        for (before, is_full, after) in [
            (Readable, true, Readable),
            (Readable, false, Quiet),
            (HungUp, true, HungUp),
            (HungUp, false, HungUp),
        ] {
            assert_eq!(before.after_read(is_full), after, "{before:?}");
        }
    }
}
