//! The request reader makes a request of a connection's bytes, wherever they were cut on their way.
//!
//! It knows no socket, so that tests and fuzzers can feed it.

use super::rejected_request::RejectedRequest;
use super::request_head::{self, RequestHead};
use crate::http::Body;
use crate::http_head::{ChunkedBody, DeclaredBody, HeadError, find_end};
use crate::limits::SMALL_BUFFER_BYTES;

/// What the bytes received so far amount to.
pub(super) enum Step {
    /// Not a whole request yet.
    More,
    /// The client wants to hear `100 Continue` before it sends the body.
    SayContinue,
    Request(RequestHead, Body),
    Rejected(RejectedRequest),
}

/// What has arrived and is not answered yet.
#[derive(Default)]
pub(super) struct RequestReader {
    bytes: Vec<u8>,
    /// Bytes in which the end of the head was looked for in vain.
    searched: usize,
    head: Option<RequestHead>,
    chunked: Option<ChunkedBody>,
}

impl RequestReader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity()
            && let Some(RequestHead { framing: DeclaredBody::Length(length), .. }) = self.head
        {
            // To twice the size, as it grows by itself, but not beyond what was declared; nor to that at once, for
            // who declares much may send little.
            let declared = usize::try_from(length).unwrap_or(usize::MAX);
            let capacity = declared.min(2 * self.bytes.capacity()).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// True while nothing of a request has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.head.is_none()
    }

    /// Bytes that no request was made of yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Memory taken.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
            + self.head.as_ref().map_or(0, RequestHead::held)
            + self.chunked.as_ref().map_or(0, ChunkedBody::held)
    }

    /// Gives memory back that a large request has left behind.
    pub(super) fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > SMALL_BUFFER_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Makes a request out of what was received, as far as that goes. The head says how large its body may be.
    pub(super) fn advance(&mut self, max_body_bytes: impl Fn(&RequestHead) -> usize) -> Step {
        let head = match self.head.take() {
            Some(head) => Ok(Some(head)),
            None => self.advance_head(),
        };
        let mut head = match head {
            Ok(Some(head)) => head,
            Ok(None) => return Step::More,
            Err(rejected) => return Step::Rejected(rejected),
        };
        match self.advance_body(head.framing, || max_body_bytes(&head)) {
            Ok(Some(body)) => {
                self.chunked = None;
                Step::Request(head, body)
            }
            Ok(None) => {
                let is_awaited = std::mem::take(&mut head.expects_continue) && self.bytes.is_empty();
                self.head = Some(head);
                if is_awaited { Step::SayContinue } else { Step::More }
            }
            Err(error) => Step::Rejected(RejectedRequest::of(error.into(), Some(head))),
        }
    }

    fn advance_body(
        &mut self,
        framing: DeclaredBody,
        max_bytes: impl Fn() -> usize,
    ) -> Result<Option<Body>, HeadError> {
        Ok(match framing {
            DeclaredBody::Undeclared => Some(Body::Whole(Vec::new())),
            DeclaredBody::Length(length) if length > max_bytes() as u64 => Some(Body::TooLarge),
            // What is large is not copied, where nothing came behind it.
            DeclaredBody::Length(length)
                if self.bytes.len() as u64 == length && self.bytes.len() > SMALL_BUFFER_BYTES =>
            {
                Some(Body::Whole(std::mem::take(&mut self.bytes)))
            }
            DeclaredBody::Length(length) if self.bytes.len() as u64 >= length => {
                // Copied, so that a body holds its own bytes and not what came behind it.
                Some(Body::Whole(self.bytes.drain(..length as usize).collect()))
            }
            DeclaredBody::Length(_) => None,
            DeclaredBody::Chunked => {
                let chunked = self.chunked.get_or_insert_with(|| ChunkedBody::new(max_bytes()));
                let (taken, body) = chunked.feed(&self.bytes)?;
                self.bytes.drain(..taken);
                body
            }
        })
    }

    fn advance_head(&mut self) -> Result<Option<RequestHead>, RejectedRequest> {
        // Empty lines before a request are read over (RFC 9112, section 2.2).
        let blank = self.bytes.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
        if blank > 0 {
            self.bytes.drain(..blank);
            self.searched = 0;
        }
        let found = find_end(&self.bytes, self.searched);
        let Some(end) = found.map_err(|error| RejectedRequest::read(&self.bytes, error.into()))? else {
            self.searched = self.bytes.len();
            return Ok(None);
        };
        self.searched = 0;
        let head = &self.bytes[..end];
        let head = request_head::parse(head).map_err(|error| RejectedRequest::read(head, error))?;
        self.bytes.drain(..end);
        Ok(Some(head))
    }

    /// The head of a request that has only begun to arrive, if it is there. Nothing will come of it.
    pub(super) fn give_up(&mut self) -> Option<RequestHead> {
        self.head.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 16 << 10;

    fn posting(length: usize) -> RequestReader {
        let mut reader = RequestReader::default();
        reader.push(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        assert!(matches!(reader.advance(|_| usize::MAX), Step::More));
        reader
    }

    #[test]
    fn a_large_body_takes_what_has_come_and_not_much_more_and_is_not_copied() {
        let length = 3_000_000;
        let mut reader = posting(length);
        for sent in (0..length).step_by(CHUNK) {
            let chunk = vec![b'x'; CHUNK.min(length - sent)];
            reader.push(&chunk);
            let held = reader.bytes.capacity();
            assert!(held <= length && held <= 2 * (sent + chunk.len()).max(CHUNK), "{held} at {sent}");
            let place = reader.bytes.as_ptr();
            if let Step::Request(_, body) = reader.advance(|_| usize::MAX) {
                let Body::Whole(bytes) = body else { panic!("there is no bound") };
                assert_eq!((bytes.as_ptr(), bytes.len(), sent + chunk.len()), (place, length, length));
                assert_eq!(reader.bytes.capacity(), 0);
                return;
            }
        }
        panic!("it never is whole");
    }

    #[test]
    fn what_comes_behind_a_body_is_the_next_request() {
        for length in [3, 100_000] {
            let mut reader = posting(length);
            reader.push(&[&vec![b'x'; length], &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]].concat());
            let step = reader.advance(|_| usize::MAX);
            assert!(matches!(step, Step::Request(_, Body::Whole(bytes)) if bytes == vec![b'x'; length]));
            assert!(
                matches!(reader.advance(|_| 0), Step::Request(RequestHead { method, .. }, _) if method == "GET")
            );
        }
    }

    #[test]
    fn the_head_says_how_large_its_body_may_be() {
        for (path, is_taken) in [("/small", false), ("/large", true)] {
            for framing in [
                "Content-Length: 5\r\n\r\nHello",
                "Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
            ] {
                let mut reader = RequestReader::default();
                reader.push(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{framing}").as_bytes());
                let step = reader.advance(|head| if head.path == "/large" { 5 } else { 4 });
                let Step::Request(_, body) = step else { panic!("{path} {framing} is whole") };
                assert_eq!(body, if is_taken { Body::Whole(b"Hello".to_vec()) } else { Body::TooLarge });
            }
        }
    }
}
