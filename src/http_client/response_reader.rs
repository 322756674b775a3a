//! The response reader makes an answer of a connection's bytes, wherever they were cut on their way.
//!
//! It knows no socket, so that tests can feed it.

use std::borrow::Cow;

use super::{ClientResponse, HttpClientError};
use crate::http::{Body, Headers};
use crate::http_head::{ChunkedBody, DeclaredBody, declared_body, find_end, is_kept_alive, parse_field};

/// Header lines of one answer. Proxies and frameworks send about 20.
const MAX_FIELDS: usize = 100;
/// Interim answers before the one that counts (RFC 9110, section 15.2). Servers send one, or none.
const MAX_INTERIM: usize = 16;
const NO_STATUS_LINE: HttpClientError = HttpClientError::Malformed("it begins with no status line");

/// A whole answer, and whether the connection can take another request.
type Whole = (ClientResponse, bool);

/// An answer on its way.
pub(super) struct ResponseReader {
    phase: ResponsePhase,
    /// What has come and is not used yet.
    bytes: Vec<u8>,
    answers_head: bool,
    max_body_bytes: usize,
}

enum ResponsePhase {
    Head {
        /// Bytes in which its end was looked for in vain.
        searched: usize,
        interim: usize,
        is_untouched: bool,
    },
    Body {
        head: ResponseHead,
        framing: Framing,
    },
    Done,
}

struct ResponseHead {
    status: u16,
    headers: Headers,
    keep_alive: bool,
}

/// How the end of the body is known (RFC 9112, section 6.3).
enum Framing {
    Length(usize),
    Chunked(ChunkedBody),
    UntilClose,
}

impl ResponseReader {
    /// `answers_head`: the method is HEAD, so that no body follows whatever the head says.
    pub(super) fn new(answers_head: bool, max_body_bytes: usize) -> Self {
        let phase = ResponsePhase::Head { searched: 0, interim: 0, is_untouched: true };
        Self { phase, bytes: Vec::new(), answers_head, max_body_bytes }
    }

    /// Nothing of an answer has come.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.phase, ResponsePhase::Head { is_untouched: true, .. })
    }

    pub(super) fn has_head(&self) -> bool {
        matches!(self.phase, ResponsePhase::Body { .. })
    }

    /// Takes what the server has sent. The answer, once it is whole.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Whole>, HttpClientError> {
        if let ResponsePhase::Head { is_untouched, .. } = &mut self.phase {
            *is_untouched = false;
        }
        self.bytes.extend_from_slice(bytes);
        while let ResponsePhase::Head { .. } = self.phase {
            if !self.advance_head()? {
                return Ok(None);
            }
        }
        self.advance_body()
    }

    /// The server has closed its side, which ends an answer that says nothing of its length.
    pub(super) fn end(&mut self) -> Result<Option<Whole>, HttpClientError> {
        match std::mem::replace(&mut self.phase, ResponsePhase::Done) {
            ResponsePhase::Body { head, framing: Framing::UntilClose } => {
                Ok(Some((head.with(std::mem::take(&mut self.bytes)), false)))
            }
            phase => {
                self.phase = phase;
                Err(HttpClientError::Closed)
            }
        }
    }

    /// The answer with as much of its body as has come, if its head has.
    pub(super) fn beginning(self) -> Option<ClientResponse> {
        match self.phase {
            ResponsePhase::Body { head, framing } => {
                let mut body = match framing {
                    Framing::Chunked(chunked) => chunked.into_decoded(),
                    Framing::Length(_) | Framing::UntilClose => self.bytes,
                };
                body.truncate(self.max_body_bytes);
                Some(head.with(body))
            }
            ResponsePhase::Head { .. } | ResponsePhase::Done => None,
        }
    }

    /// True if there was a whole head.
    fn advance_head(&mut self) -> Result<bool, HttpClientError> {
        let ResponsePhase::Head { searched, interim, .. } = &mut self.phase else {
            return Ok(true);
        };
        // A record of TLS begins with its kind: alert or handshake (RFC 8446, section 5.1).
        if let Some(0x15 | 0x16) = self.bytes.first() {
            return Err(HttpClientError::Malformed("it speaks TLS"));
        }
        // Seen at once: who speaks something else may wait for us to go on.
        if self.bytes.iter().zip(b"HTTP/").any(|(byte, expected)| byte != expected) {
            return Err(NO_STATUS_LINE);
        }
        let Some(end) = find_end(&self.bytes, *searched)? else {
            *searched = self.bytes.len();
            return Ok(false);
        };
        let head: Vec<u8> = self.bytes.drain(..end).collect();
        *searched = 0;
        let (head, declared) = ResponseHead::parse(&head)?;
        match head.status {
            101 => return Err(HttpClientError::Malformed("it switches to another protocol")),
            100..200 if *interim == MAX_INTERIM => {
                return Err(HttpClientError::Malformed("interim answers without an end"));
            }
            100..200 => *interim += 1,
            _ => {
                let framing = self.framing(head.status, declared);
                self.phase = ResponsePhase::Body { head, framing };
            }
        }
        Ok(true)
    }

    fn framing(&self, status: u16, declared: DeclaredBody) -> Framing {
        match declared {
            _ if self.answers_head || matches!(status, 204 | 304) => Framing::Length(0),
            DeclaredBody::Length(length) => Framing::Length(usize::try_from(length).unwrap_or(usize::MAX)),
            DeclaredBody::Chunked => Framing::Chunked(ChunkedBody::new(self.max_body_bytes)),
            DeclaredBody::Undeclared => Framing::UntilClose,
        }
    }

    fn advance_body(&mut self) -> Result<Option<Whole>, HttpClientError> {
        let ResponsePhase::Body { framing, .. } = &mut self.phase else {
            return Ok(None);
        };
        let body = match framing {
            Framing::Length(length) if *length > self.max_body_bytes => {
                return Err(HttpClientError::TooLarge);
            }
            Framing::Length(length) if self.bytes.len() >= *length => {
                let behind = self.bytes.split_off(*length);
                std::mem::replace(&mut self.bytes, behind)
            }
            Framing::UntilClose if self.bytes.len() > self.max_body_bytes => {
                return Err(HttpClientError::TooLarge);
            }
            Framing::Length(_) | Framing::UntilClose => return Ok(None),
            Framing::Chunked(chunked) => {
                let (taken, body) = chunked.feed(&self.bytes)?;
                self.bytes.drain(..taken);
                match body {
                    Some(Body::Whole(body)) => body,
                    Some(Body::TooLarge) => return Err(HttpClientError::TooLarge),
                    None => return Ok(None),
                }
            }
        };
        let ResponsePhase::Body { head, .. } = std::mem::replace(&mut self.phase, ResponsePhase::Done) else {
            return Ok(None);
        };
        // Bytes behind the answer are of none that was asked for.
        let is_reusable = head.keep_alive && self.bytes.is_empty();
        Ok(Some((head.with(body), is_reusable)))
    }
}

impl ResponseHead {
    fn with(self, body: Vec<u8>) -> ClientResponse {
        ClientResponse { status: self.status, headers: self.headers, body }
    }

    fn parse(head: &[u8]) -> Result<(Self, DeclaredBody), HttpClientError> {
        let text = std::str::from_utf8(head).map_or_else(|_| String::from_utf8_lossy(head), Cow::Borrowed);
        let mut lines = text.split("\r\n");
        let (status, is_1_0) = status_line(lines.next().unwrap_or_default())?;
        let mut headers = Headers::default();
        for line in lines.take_while(|line| !line.is_empty()) {
            if headers.len() == MAX_FIELDS {
                return Err(HttpClientError::TooLarge);
            }
            let (name, value) = parse_field(line)?;
            headers.push(name, value);
        }
        let declared = declared_body(&headers, is_1_0)?;
        let keep_alive = is_kept_alive(&headers, is_1_0);
        Ok((Self { status, headers, keep_alive }, declared))
    }
}

/// The status, and whether the version is 1.0 (RFC 9112, section 4). A later minor version is read as 1.1
/// (RFC 9110, section 2.5); the phrase behind the status may be missing, with its blank.
fn status_line(line: &str) -> Result<(u16, bool), HttpClientError> {
    let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_1_0 = match version.as_bytes() {
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => false,
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            return Err(HttpClientError::Malformed("its version is not 1.0 or 1.1"));
        }
        _ => return Err(NO_STATUS_LINE),
    };
    let (digits, phrase) = rest.split_at_checked(3).unwrap_or((rest, ""));
    let is_status = digits.len() == 3
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (phrase.is_empty() || phrase.starts_with(' '));
    match digits.parse() {
        Ok(status @ 100..) if is_status => Ok((status, is_1_0)),
        _ => Err(HttpClientError::Malformed("its status is no number of three digits")),
    }
}

#[cfg(test)]
#[path = "response_reader_tests.rs"]
mod tests;
