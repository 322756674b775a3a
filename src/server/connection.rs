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

use super::chunked::{Chunked, Decoded};
use super::head::{self, Framing, Head, RefusedHead};
use crate::http::Body;
use crate::limits::{LINGER_BYTES, MAX_HEAD_BYTES, READ_CHUNK_BYTES, SMALL_BUFFER_BYTES};
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

/// What the bytes received so far amount to.
pub(super) enum Step {
    /// Not a whole request yet.
    More,
    /// The client wants to hear `100 Continue` before it sends the body.
    SayContinue,
    Request(Head, Body),
    Refused(RefusedHead),
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
    input: Vec<u8>,
    /// Bytes of `input` in which the end of the head was looked for in vain.
    searched: usize,
    head: Option<Head>,
    chunked: Option<Chunked>,
    output: Vec<u8>,
    sent: usize,
    lingered: usize,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, serial: u64, deadline: Instant) -> Self {
        Self {
            socket,
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
            input: Vec::new(),
            searched: 0,
            head: None,
            chunked: None,
            output: Vec::new(),
            sent: 0,
            lingered: 0,
        }
    }

    /// True while nothing of a request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Receiving && self.input.is_empty() && self.head.is_none()
    }

    /// Bytes held for this connection.
    pub(super) fn held(&self) -> usize {
        let body = self.chunked.as_ref().map_or(0, Chunked::held);
        self.input.capacity() + body + self.output.capacity() + self.in_pool
    }

    /// Reads once, through `buffer`, so that a connection that sends nothing holds no memory.
    pub(super) fn read(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Read {
        match rustix::net::recv(&self.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((0, _)) => Read::End,
            Ok((count, _)) => {
                self.input.extend_from_slice(&buffer[..count]);
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

    /// Makes a request out of what was received, as far as that goes.
    pub(super) fn advance(&mut self, max_body_bytes: usize) -> Step {
        if self.head.is_none() {
            match self.advance_head() {
                Ok(true) => {}
                Ok(false) => return Step::More,
                Err(refused) => return Step::Refused(refused),
            }
        }
        let Some(head) = &mut self.head else {
            return Step::More;
        };
        let body = match head.framing {
            Framing::Length(length) if length > max_body_bytes as u64 => Some(Body::TooLarge),
            Framing::Length(length) if self.input.len() as u64 >= length => {
                // Copied, so that a body holds its own bytes and not what came behind it.
                Some(Body::Whole(self.input.drain(..length as usize).collect()))
            }
            Framing::Length(_) => None,
            Framing::Chunked => {
                let chunked = self.chunked.get_or_insert_with(|| Chunked::new(max_body_bytes));
                match chunked.feed(&self.input) {
                    Ok((taken, decoded)) => {
                        self.input.drain(..taken);
                        match decoded {
                            Decoded::Partial => None,
                            Decoded::Whole(body) => Some(Body::Whole(body)),
                            Decoded::TooLarge => Some(Body::TooLarge),
                        }
                    }
                    Err(refusal) => {
                        let line = Some((head.method.clone(), head.path.clone()));
                        return Step::Refused(RefusedHead { refusal, line });
                    }
                }
            }
        };
        match body {
            Some(body) => {
                self.chunked = None;
                match self.head.take() {
                    Some(head) => Step::Request(head, body),
                    None => Step::More,
                }
            }
            None if std::mem::take(&mut head.expects_continue) && self.input.is_empty() => Step::SayContinue,
            None => Step::More,
        }
    }

    /// True once a head is there.
    fn advance_head(&mut self) -> Result<bool, RefusedHead> {
        // Empty lines before a request are read over (RFC 9112, section 2.2).
        let blank = self.input.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
        if blank > 0 {
            self.input.drain(..blank);
            self.searched = 0;
        }
        let Some(end) = head::find_end(&self.input, self.searched)? else {
            self.searched = self.input.len();
            return Ok(false);
        };
        self.searched = 0;
        let head = head::parse(&self.input[..end])?;
        self.input.drain(..end);
        self.head = Some(head);
        Ok(true)
    }

    /// Method and path of a request that has only begun to arrive, where they are known.
    pub(super) fn partial_line(&self) -> Option<(String, String)> {
        self.head.as_ref().map(|head| (head.method.clone(), head.path.clone()))
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
        self.begun = !self.input.is_empty();
        self.deadline = deadline;
        if self.input.is_empty() && self.input.capacity() > SMALL_BUFFER_BYTES {
            self.input = Vec::new();
        }
    }

    /// The last answer is sent: says so to the client, and forgets what it had sent ahead.
    pub(super) fn linger(&mut self, deadline: Instant) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        self.phase = Phase::Lingering;
        self.deadline = deadline;
        self.input = Vec::new();
        self.readable = true;
    }

    /// Reads once and throws away what came.
    pub(super) fn discard(&mut self, buffer: &mut [u8; READ_CHUNK_BYTES]) -> Read {
        let read = self.read(buffer);
        self.lingered += self.input.len();
        self.input.clear();
        if self.lingered > LINGER_BYTES { Read::End } else { read }
    }
}

const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

const _: () = assert!(READ_CHUNK_BYTES <= MAX_HEAD_BYTES);
