//! The protocol of a connection is a state machine over bytes.
//!
//! It knows no socket.
//!
//! Requests are taken one at a time: what a client sends behind an unanswered request stays in the
//! kernel, so pipelining cannot pile anything up here.

use std::time::{Duration, Instant};

use super::bounds::Bounds;
use super::eviction_policy::Activity;
use super::request_reader::RequestReader;
use super::response_writer::RenderedResponse;
use crate::metrics::CloseCause;

/// After a refusal, so much is still read and thrown away, for as long as `deadlines` lets it: more than a client
/// has on its way when the answer reaches it, whatever the kernels buffer.
const LINGER_BYTES: usize = 8 << 20;

/// What a connection is waiting for.
pub(super) enum Phase {
    /// For the first byte of its first request.
    Fresh { since: Instant },
    /// For the first byte of the next request.
    Idle { since: Instant },
    /// For the rest of a request.
    Receiving { since: Instant },
    /// For the answer from the pool.
    Busy {
        since: Instant,
        /// What the request holds meanwhile.
        bytes: usize,
    },
    /// For messages to come, which the feed has none of yet.
    Waiting {
        since: Instant,
        /// What the request holds meanwhile.
        bytes: usize,
    },
    /// For the client to take the answer.
    Sending { since: Instant, response: RenderedResponse, sent: usize, then: AfterResponse },
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

/// What is done when a deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Close(CloseCause),
    /// A request has begun to arrive: it is answered that there was no more time.
    TimedOut,
}

/// The protocol state of one connection.
pub(super) struct Protocol {
    pub(super) phase: Phase,
    pub(super) reader: RequestReader,
}

impl Protocol {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Fresh { since: now }, reader: RequestReader::default() }
    }

    /// True between two requests, and before the first one.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Fresh { .. } | Phase::Idle { .. })
    }

    /// Bytes held for this connection, from the first one of a request to the last one of its answer.
    pub(super) fn held(&self) -> usize {
        self.reader.held()
            + match &self.phase {
                Phase::Busy { bytes, .. } | Phase::Waiting { bytes, .. } => *bytes,
                Phase::Sending { response, .. } => response.held(),
                _ => 0,
            }
    }

    /// What it is doing, and since when, for whoever has to make room.
    pub(super) fn activity(&self) -> (Activity, Instant) {
        match self.phase {
            Phase::Fresh { since } => (Activity::Fresh, since),
            Phase::Idle { since } => (Activity::Idle, since),
            Phase::Receiving { since } => (Activity::Receiving, since),
            Phase::Busy { since, .. } => (Activity::Busy, since),
            Phase::Waiting { since, .. } => (Activity::Waiting, since),
            Phase::Sending { since, .. } => (Activity::Unread, since),
            Phase::Lingering { since, .. } => (Activity::Lingering, since),
        }
    }

    /// When the phase is given up, and what is done then. The pool and the writer have deadlines of their own.
    pub(super) fn deadline(&self, bounds: &Bounds) -> Option<(Instant, Expiry)> {
        match self.phase {
            Phase::Fresh { since } | Phase::Idle { since } => {
                Some((since + bounds.idle_timeout, Expiry::Close(CloseCause::Idle)))
            }
            Phase::Receiving { since } => {
                // Nothing but empty lines is no request.
                let is_begun = !self.reader.is_empty();
                let expiry = if is_begun { Expiry::TimedOut } else { Expiry::Close(CloseCause::Idle) };
                Some((since + bounds.request_timeout, expiry))
            }
            Phase::Sending { since, .. } => {
                Some((since + bounds.request_timeout, Expiry::Close(CloseCause::SlowReader)))
            }
            Phase::Lingering { until, cause, .. } => Some((until, Expiry::Close(cause))),
            // Who waits has a deadline of its own, to the point.
            Phase::Busy { .. } | Phase::Waiting { .. } => None,
        }
    }

    /// Bytes have come that may belong to a request.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.reader.push(bytes);
        if self.is_idle() {
            // Once: who sends nothing but empty lines gets no more time with each.
            self.phase = Phase::Receiving { since: now };
        }
    }

    /// So many bytes have come behind the last answer. False once that is enough.
    pub(super) fn discard(&mut self, count: usize) -> bool {
        match &mut self.phase {
            Phase::Lingering { bytes, .. } if *bytes + count <= LINGER_BYTES => {
                *bytes += count;
                true
            }
            _ => false,
        }
    }

    /// Its request waits for messages to come.
    pub(super) fn wait(&mut self, bytes: usize, now: Instant) {
        self.reader.shrink();
        self.phase = Phase::Waiting { since: now, bytes };
    }

    /// The answer is there.
    pub(super) fn begin_sending(&mut self, response: RenderedResponse, then: AfterResponse, now: Instant) {
        self.phase = Phase::Sending { since: now, response, sent: 0, then };
    }

    /// The bytes to be sent next, if there are any, and whether others follow at once.
    pub(super) fn unsent(&self) -> Option<(&[u8], bool)> {
        let Phase::Sending { response: RenderedResponse { bytes, shared }, sent, .. } = &self.phase else {
            return None;
        };
        match sent.checked_sub(bytes.len()) {
            None => Some((&bytes[*sent..], !shared.is_empty())),
            Some(at) => shared.get(at..).filter(|rest| !rest.is_empty()).map(|rest| (rest, false)),
        }
    }

    /// So much of [`Self::unsent`] was taken by the kernel.
    pub(super) fn sent(&mut self, count: usize) {
        if let Phase::Sending { sent, .. } = &mut self.phase {
            *sent += count;
        }
    }

    /// What follows, once everything is sent.
    pub(super) fn after_response(&self) -> Option<AfterResponse> {
        match self.phase {
            Phase::Sending { then, .. } if self.unsent().is_none() => Some(then),
            _ => None,
        }
    }

    /// Ready for the next request, which may have begun to arrive behind the last one.
    pub(super) fn receive_again(&mut self, now: Instant) {
        self.reader.shrink();
        let is_idle = self.reader.is_empty();
        self.phase = if is_idle { Phase::Idle { since: now } } else { Phase::Receiving { since: now } };
    }

    /// Nothing more is answered: forgets what the client had sent ahead, and gives it so long to close.
    pub(super) fn linger(&mut self, now: Instant, time: Duration, cause: CloseCause) {
        self.phase = Phase::Lingering { since: now, until: now + time, cause, bytes: 0 };
        self.reader = RequestReader::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::request_reader::Step;
    use super::*;
    use crate::http::ResponseBody;

    const BOUNDS: Bounds = Bounds {
        max_body_bytes: 100,
        max_connections: 1,
        request_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
    };
    const GET: &[u8] = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n";

    fn response(bytes: &[u8], shared: &'static [u8]) -> RenderedResponse {
        RenderedResponse { bytes: bytes.to_vec(), shared: ResponseBody::Static(shared) }
    }

    #[test]
    fn every_phase_has_its_deadline_and_what_follows_that() {
        let now = Instant::now();
        let close = |seconds, cause| Some((now + Duration::from_secs(seconds), Expiry::Close(cause)));
        let (bytes, then) = (0, AfterResponse::Receive);
        let sending = Phase::Sending { since: now, response: response(b"x", b""), sent: 0, then };
        let until = now + Duration::from_secs(2);
        let lingering = Phase::Lingering { since: now, until, cause: CloseCause::Malformed, bytes };
        let timed_out = Some((now + Duration::from_secs(30), Expiry::TimedOut));
        let cases = [
            (Phase::Fresh { since: now }, "", close(60, CloseCause::Idle)),
            (Phase::Idle { since: now }, "", close(60, CloseCause::Idle)),
            (Phase::Receiving { since: now }, "", close(30, CloseCause::Idle)),
            (Phase::Receiving { since: now }, "GET", timed_out),
            (Phase::Busy { since: now, bytes }, "", None),
            (sending, "", close(30, CloseCause::SlowReader)),
            (lingering, "", close(2, CloseCause::Malformed)),
        ];
        for (at, (phase, received, deadline)) in cases.into_iter().enumerate() {
            let mut protocol = Protocol { phase, reader: RequestReader::default() };
            protocol.reader.push(received.as_bytes());
            assert_eq!(protocol.deadline(&BOUNDS), deadline, "case {at}");
        }
    }

    #[test]
    fn a_connection_goes_from_request_to_answer_and_on_to_the_next_request() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(1);
        let mut protocol = Protocol::new(begin);
        assert_eq!(protocol.activity(), (Activity::Fresh, begin));
        protocol.receive(&GET[..5], later);
        protocol.receive(&GET[5..], later + Duration::from_secs(1));
        assert_eq!(protocol.activity(), (Activity::Receiving, later), "time begins with the first byte");
        // The next request begins to arrive behind this one.
        protocol.receive(b"GET", later);
        assert!(matches!(protocol.reader.advance(|_| 100), Step::Request(..)));
        protocol.begin_sending(response(b"head", b"body"), AfterResponse::Receive, later);
        let mut sent = Vec::new();
        while let Some((bytes, more)) = protocol.unsent() {
            assert_eq!((more, protocol.after_response()), (sent.len() < 4, None));
            sent.push(bytes[0]);
            protocol.sent(1);
        }
        assert_eq!(sent, b"headbody");
        assert_eq!(protocol.after_response(), Some(AfterResponse::Receive));
        protocol.receive_again(later);
        assert_eq!(protocol.activity().0, Activity::Receiving);
        protocol.receive(&GET[3..], later);
        assert!(matches!(protocol.reader.advance(|_| 100), Step::Request(..)));
        protocol.receive_again(later);
        assert!(protocol.is_idle() && protocol.activity().0 == Activity::Idle && protocol.held() < 1024);
    }

    #[test]
    fn after_the_last_answer_so_much_is_read_and_nothing_is_kept() {
        let now = Instant::now();
        let mut protocol = Protocol::new(now);
        protocol.receive(GET, now);
        protocol.linger(now, Duration::from_secs(2), CloseCause::Answered);
        assert!(protocol.reader.is_empty() && protocol.discard(LINGER_BYTES) && !protocol.discard(1));
        assert!(!Protocol::new(now).discard(1));
    }
}
