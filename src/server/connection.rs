//! One connection, seen from our side: the bytes that came, the request they make, and the answer
//! on its way out. It reads and writes without ever waiting; [`super::edge`] says when.
//!
//! Requests are taken one at a time: what a client sends behind an unanswered request stays in the
//! kernel, so pipelining cannot pile anything up here.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::incoming::Incoming;
use crate::client::Client;
use crate::limits::{LINGER_BYTES, MAX_HEAD_BYTES, READ_CHUNK_BYTES};
use crate::metrics::CloseCause;

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For a request, or for the rest of one.
    Receiving,
    /// For the answer from the pool.
    Busy,
    /// For the client to take the answer.
    Sending,
    /// For the client to close, after the last answer.
    Lingering,
}

/// How an attempt to read ended.
pub(super) enum Read {
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
    /// Tells this connection from an earlier one in the same place.
    pub(super) serial: u64,
    pub(super) phase: Phase,
    /// When the present phase is given up.
    pub(super) deadline: Instant,
    /// The kernel said that there is something to read, and a read has not found the end of it.
    pub(super) readable: bool,
    /// The kernel said that the client has hung up: there is an end to be read, and no other event will come.
    pub(super) hung_up: bool,
    /// The client has closed its side, and we have read up to there.
    pub(super) ended: bool,
    /// Its turn was cut short, and it waits for another one.
    pub(super) unfinished: bool,
    /// A request was answered on it.
    pub(super) served: bool,
    /// Something has arrived since the last answer.
    pub(super) begun: bool,
    /// Why the connection will be closed after the answer on its way, if it will.
    pub(super) closing: Option<CloseCause>,
    /// Bytes of the request in the pool.
    pub(super) in_pool: usize,
    /// Bytes that this connection was last counted with.
    pub(super) counted: usize,
    pub(super) incoming: Incoming,
    output: Vec<u8>,
    sent: usize,
    lingered: usize,
}

impl Connection {
    pub(super) fn new((socket, peer): (OwnedFd, Client), serial: u64, deadline: Instant) -> Self {
        Self {
            socket,
            peer,
            serial,
            phase: Phase::Receiving,
            deadline,
            readable: true,
            hung_up: false,
            ended: false,
            unfinished: false,
            served: false,
            begun: false,
            closing: None,
            in_pool: 0,
            counted: 0,
            incoming: Incoming::default(),
            output: Vec::new(),
            sent: 0,
            lingered: 0,
        }
    }

    /// True while nothing of a request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Receiving && self.incoming.is_empty()
    }

    /// Bytes held for this connection.
    pub(super) fn held(&self) -> usize {
        self.incoming.held() + self.output.capacity() + self.in_pool
    }

    /// Reads once, through `buffer`, so that a connection that sends nothing holds no memory.
    pub(super) fn read(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Read {
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((0, _)) => Read::End,
            Ok((count, _)) => {
                self.incoming.push(&buffer[..count]);
                // Less than there was room for: more will be announced.
                self.readable = count == buffer.len() || self.hung_up;
                Read::Some
            }
            Err(Errno::INTR) => Read::Some,
            Err(Errno::AGAIN) => {
                self.readable = false;
                Read::Nothing
            }
            Err(_) => Read::Failed,
        }
    }

    /// Tells the client to send the body. A client that cannot take 25 bytes now will send it later
    /// anyway (RFC 9110, section 10.1.1).
    pub(super) fn say_continue(&self) {
        let _ = rustix::net::send(&self.socket, b"HTTP/1.1 100 Continue\r\n\r\n", SEND_FLAGS);
    }

    /// Puts an answer on its way. `self.send` moves it.
    pub(super) fn answer(&mut self, bytes: Vec<u8>) {
        self.phase = Phase::Sending;
        self.in_pool = 0;
        self.output = bytes;
        self.sent = 0;
    }

    /// Sends what the kernel takes. True once everything is sent.
    pub(super) fn send(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match rustix::net::send(&self.socket, &self.output[self.sent..], SEND_FLAGS) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.output = Vec::new();
        Ok(true)
    }

    /// Ready for the next request.
    pub(super) fn receive_again(&mut self, deadline: Instant) {
        self.phase = Phase::Receiving;
        self.served = true;
        self.begun = !self.incoming.is_empty();
        self.deadline = deadline;
        self.incoming.shrink();
    }

    /// The last answer is sent: says so to the client, and forgets what it had sent ahead.
    pub(super) fn linger(&mut self, deadline: Instant) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        self.phase = Phase::Lingering;
        self.deadline = deadline;
        self.incoming = Incoming::default();
        self.readable = true;
    }

    /// Reads once and throws away what came.
    pub(super) fn discard(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Read {
        let read = self.read(buffer);
        self.lingered += self.incoming.len();
        self.incoming = Incoming::default();
        if self.lingered > LINGER_BYTES { Read::End } else { read }
    }
}

const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

const _: () = assert!(READ_CHUNK_BYTES <= MAX_HEAD_BYTES);
