//! Each way in which a request fails has its status with its text here.

use serde_json::json;

use crate::http::Response;
use crate::http_head::HeadError;
use crate::store::{StoreError, Unfit};
use crate::url::repeat_query;
use crate::validation_error::ValidationError;

/// `Retry-After` of every 503, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// Said where there is no room for a request.
pub const OVERLOADED: &str = "the service is overloaded";

/// Why a request was rejected before a route saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// It is not HTTP, or its framing is ambiguous (RFC 9112, sections 2.2, 3.2, 5.1, 6).
    Malformed(&'static str),
    /// It did not arrive whole in time.
    TimedOut,
    TargetTooLong,
    HeadersTooLarge,
    /// An `Expect` other than `100-continue` (RFC 9110, section 10.1.1).
    UnknownExpectation,
    UnsupportedVersion,
    /// The service cannot take more at the moment.
    Overloaded,
}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(reason) => Self::Malformed(reason),
            HeadError::LineTooLong => Self::TargetTooLong,
            HeadError::FieldsTooLarge => Self::HeadersTooLarge,
        }
    }
}

/// The answer to a rejected request.
pub(super) fn rejected(error: RequestError) -> Response {
    match error {
        RequestError::Malformed(reason) => detail(400, reason),
        RequestError::TimedOut => detail(408, "the request did not arrive in time"),
        RequestError::TargetTooLong => detail(414, "URI Too Long"),
        RequestError::HeadersTooLarge => detail(431, "Request Header Fields Too Large"),
        RequestError::UnknownExpectation => detail(417, "Expectation Failed"),
        RequestError::UnsupportedVersion => detail(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        RequestError::Overloaded => unavailable(OVERLOADED),
    }
}

/// Sends a client on to `path`, one of ours, with what it asked (FastAPI does the same).
pub(super) fn moved(path: &'static str, query: &str) -> Response {
    let mut location = path.to_owned();
    if !query.is_empty() {
        location.push('?');
        repeat_query(&mut location, query);
    }
    Response::empty(307).header("Location", location)
}

/// FastAPI's 422: every error at once.
pub(super) fn invalid(errors: &[ValidationError]) -> Response {
    let mut body = br#"{"detail":"#.to_vec();
    serde_json::to_writer(&mut body, errors).expect("strings always serialize, and a Vec takes them");
    body.push(b'}');
    Response::json(422, body)
}

pub(super) fn storage(error: &StoreError) -> Response {
    unavailable(&error.to_string())
}

/// A cursor that leads nowhere here. What to do is said, as the client cannot find out.
pub(super) fn unfit(unfit: Unfit) -> Response {
    let text = match unfit {
        Unfit::OtherStore => {
            "the cursor is of another store, or of this one before a restore; begin again without one, or with after=now"
        }
        Unfit::OtherHistory => {
            "the store was put back from a copy, or written to by hand, since the cursor was given, and others may \
             stand there now; begin again without one, or with after=now"
        }
        Unfit::NoOrder => {
            "the last row number is in use, so that new messages have no order; \
             export them and import them into a new file"
        }
    };
    detail(410, text)
}

pub(super) fn not_ready(reason: &str) -> Response {
    json_body(503, &json!({ "status": "unavailable", "detail": reason }))
        .header("Retry-After", RETRY_AFTER_SECONDS)
}

/// What is answered when a handler panicked.
pub fn internal_error() -> Response {
    detail(500, "Internal Server Error")
}

pub(super) fn unavailable(reason: &str) -> Response {
    detail(503, reason).header("Retry-After", RETRY_AFTER_SECONDS)
}

pub(super) fn detail(status: u16, text: &str) -> Response {
    json_body(status, &json!({ "detail": text }))
}

fn json_body(status: u16, body: &serde_json::Value) -> Response {
    Response::json(status, body.to_string().into_bytes())
}
