//! A connection is a socket with the phase of its current request.
//!
//! It reads and writes without ever waiting; [`super::reactor`] says when.
//!
//! Requests are taken one at a time: what a client sends behind an unanswered request stays in the
//! kernel, so pipelining cannot pile anything up here.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::eviction::Activity;
use super::request_reader::RequestReader;
use super::response_writer::RenderedResponse;
use crate::client::Client;
use crate::limits::{LINGER_BYTES, MAX_HEAD_BYTES, READ_CHUNK_BYTES};
use crate::metrics::CloseCause;

/// What a connection is waiting for.
pub(super) enum Phase {
    /// For the first byte of a request.
    Idle { since: Instant },
    /// For the rest of a request.
    Receiving { since: Instant },
    /// For the answer from the pool.
    Busy {
        since: Instant,
        /// What the request holds meanwhile.
        bytes: usize,
    },
    /// For the client to take the answer.
    Sending { since: Instant, answer: Outgoing, then: AfterResponse },
    /// For the client to close, after the last answer.
    Lingering { since: Instant, until: Instant, cause: CloseCause, bytes: usize },
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterResponse {
    Receive,
    /// Nothing; the client is given time to take the answer before the connection is closed.
    Linger(CloseCause),
    /// Nothing; the client has closed its side already.
    Close(CloseCause),
}

/// An answer on its way out.
pub(super) struct Outgoing {
    rendered: RenderedResponse,
    sent: usize,
}

/// How an attempt to read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    Some,
    /// Nothing there at the moment.
    Nothing,
    /// The client sends no more.
    End,
    Failed,
}

pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) peer: Client,
    /// Where it comes from, by number.
    pub(super) source: usize,
    /// That is a proxy which the operator trusts.
    pub(super) is_proxy: bool,
    /// Tells this connection from an earlier one in the same place.
    pub(super) serial: u64,
    pub(super) phase: Phase,
    pub(super) reader: RequestReader,
    /// A request was answered on it.
    pub(super) served: bool,
    /// The kernel said that there is something to read, and a read has not found the end of it.
    pub(super) readable: bool,
    /// The kernel said that the client has hung up: there is an end to be read, and no other event will come.
    pub(super) hung_up: bool,
    /// Its turn was cut short, and it waits for another one.
    pub(super) unfinished: bool,
    /// Bytes that this connection was last counted with.
    pub(super) counted: usize,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, peer: Client, source: usize, is_proxy: bool, serial: u64) -> Self {
        Self {
            socket,
            peer,
            source,
            is_proxy,
            serial,
            phase: Phase::Idle { since: Instant::now() },
            reader: RequestReader::default(),
            served: false,
            readable: true,
            hung_up: false,
            unfinished: false,
            counted: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle { .. })
    }

    /// Bytes held for this connection, from the first one of a request to the last one of its answer.
    pub(super) fn held(&self) -> usize {
        self.reader.held()
            + match &self.phase {
                Phase::Busy { bytes, .. } => *bytes,
                Phase::Sending { answer, .. } => answer.rendered.held(),
                _ => 0,
            }
    }

    /// What it is doing, and since when, for whoever has to make room.
    pub(super) fn state(&self) -> (Activity, Instant) {
        match self.phase {
            Phase::Idle { since } if self.served => (Activity::Idle, since),
            Phase::Idle { since } => (Activity::Fresh, since),
            Phase::Receiving { since } => (Activity::Receiving, since),
            Phase::Busy { since, .. } => (Activity::Busy, since),
            Phase::Sending { since, .. } => (Activity::Unread, since),
            Phase::Lingering { since, .. } => (Activity::Lingering, since),
        }
    }

    /// Reads once, through `buffer`, so that a connection that sends nothing holds no memory.
    pub(super) fn read(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> ReadOutcome {
        match self.receive(buffer) {
            Ok(0) => ReadOutcome::End,
            Ok(count) => {
                self.reader.push(&buffer[..count]);
                if let Phase::Idle { .. } = self.phase {
                    // Once: who sends nothing but empty lines gets no more time with each.
                    self.phase = Phase::Receiving { since: Instant::now() };
                }
                ReadOutcome::Some
            }
            Err(read) => read,
        }
    }

    /// Reads once and throws away what came, up to a bound.
    pub(super) fn discard(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> ReadOutcome {
        match self.receive(buffer) {
            Ok(0) => ReadOutcome::End,
            Ok(count) => match &mut self.phase {
                Phase::Lingering { bytes, .. } if *bytes + count <= LINGER_BYTES => {
                    *bytes += count;
                    ReadOutcome::Some
                }
                _ => ReadOutcome::End,
            },
            Err(read) => read,
        }
    }

    fn receive(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Result<usize, ReadOutcome> {
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((count, _)) => {
                // Less than there was room for: more will be announced.
                self.readable = count == buffer.len() || self.hung_up;
                Ok(count)
            }
            Err(Errno::INTR) => Err(ReadOutcome::Some),
            Err(Errno::AGAIN) => {
                self.readable = false;
                Err(ReadOutcome::Nothing)
            }
            Err(_) => Err(ReadOutcome::Failed),
        }
    }

    /// Tells the client to send the body. A client that cannot take 25 bytes now will send it later
    /// anyway (RFC 9110, section 10.1.1).
    pub(super) fn say_continue(&self) {
        let _ = rustix::net::send(&self.socket, b"HTTP/1.1 100 Continue\r\n\r\n", SEND_FLAGS);
    }

    /// Puts an answer on its way. [`Self::send`] moves it.
    pub(super) fn answer(&mut self, rendered: RenderedResponse, then: AfterResponse) {
        self.phase = Phase::Sending { since: Instant::now(), answer: Outgoing { rendered, sent: 0 }, then };
    }

    /// Sends what the kernel takes. Says what follows once everything is sent.
    pub(super) fn send(&mut self) -> io::Result<Option<AfterResponse>> {
        let Phase::Sending { answer: Outgoing { rendered, sent }, then, .. } = &mut self.phase else {
            return Ok(None);
        };
        let RenderedResponse { bytes, shared } = rendered;
        while *sent < bytes.len() + shared.len() {
            let (part, flags) = match sent.checked_sub(bytes.len()) {
                Some(at) => (&shared[at..], SEND_FLAGS),
                // Not in a packet of its own.
                None if !shared.is_empty() => (&bytes[*sent..], SEND_FLAGS | SendFlags::MORE),
                None => (&bytes[*sent..], SEND_FLAGS),
            };
            match rustix::net::send(&self.socket, part, flags) {
                Ok(count) => *sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(*then))
    }

    /// Ready for the next request, which may have begun to arrive behind the last one.
    pub(super) fn receive_again(&mut self) {
        let since = Instant::now();
        self.served = true;
        self.reader.shrink();
        let is_idle = self.reader.is_empty();
        self.phase = if is_idle { Phase::Idle { since } } else { Phase::Receiving { since } };
    }

    /// The last answer is sent: says so to the client, and forgets what it had sent ahead.
    pub(super) fn linger(&mut self, since: Instant, until: Instant, cause: CloseCause) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        self.phase = Phase::Lingering { since, until, cause, bytes: 0 };
        self.reader = RequestReader::default();
        self.readable = true;
    }
}

pub(super) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

const _: () = assert!(READ_CHUNK_BYTES <= MAX_HEAD_BYTES);
