//! The response writer has tiny_http print a response, with what the connection adds.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tiny_http::{HTTPVersion, Header, HeaderError, Headers, StatusCode};

use crate::http::{Response, ResponseBody};

/// What follows on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request may.
    KeepOpen,
    /// The same, and the client has to be told (HTTP/1.0).
    SayKeepOpen,
    /// Nothing: the connection is closed.
    Close,
}

/// The head of any answer but that of a page for people fits in, so that its memory is taken once.
const HEAD_BYTES: usize = 384;

/// A body that is part of the program, or of several responses, and larger than this is sent from where it is; a
/// smaller one is copied, so that it takes one packet and one call.
const COPIED_BYTES: usize = 4 << 10;

/// A response as it goes out.
pub(super) struct RenderedResponse {
    pub(super) bytes: Vec<u8>,
    /// What follows `bytes` and is not of this response alone.
    pub(super) shared: ResponseBody,
}

impl RenderedResponse {
    /// Bytes of memory taken; of what it shares, its share.
    pub(super) fn held(&self) -> usize {
        let shared = match &self.shared {
            ResponseBody::Shared(bytes, sharers) => bytes.len().div_ceil((*sharers).max(1)),
            ResponseBody::Static(_) | ResponseBody::Own(_) => 0,
        };
        self.bytes.capacity() + shared
    }
}

/// The bytes of a response. For a `HEAD` request the body is left out and its length is not. Fails where a header
/// holds what tiny_http does not send: anything but visible ASCII and spaces.
pub(super) fn render(
    response: &Response,
    request_id: &str,
    head_only: bool,
    next: Next,
) -> Result<RenderedResponse, HeaderError> {
    let mut headers = Headers::with_capacity(8);
    let date = date();
    let own = [("Server", "lyftr-webhook"), ("Date", date.as_str()), ("X-Request-ID", request_id)];
    let theirs = response.headers.iter().map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in own.into_iter().chain(theirs) {
        headers.push(Header::from_str(name, value)?);
    }
    let length = response.body.len();
    let shared = match &response.body {
        ResponseBody::Static(_) | ResponseBody::Shared(..) if length > COPIED_BYTES && !head_only => {
            response.body.clone()
        }
        _ => ResponseBody::Static(&[]),
    };
    let is_copied = !head_only && shared.is_empty();
    let printed =
        tiny_http::Response::new(StatusCode(response.status), headers, &*response.body, Some(length), None)
            .with_chunked_threshold(usize::MAX);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + if is_copied { length } else { 0 });
    printed
        .raw_print(&mut bytes, HTTPVersion(1, 1), None, !is_copied, None)
        .expect("writing into a Vec does not fail");
    put_in_front(&mut bytes, next, response.fixed);
    Ok(RenderedResponse { bytes, shared })
}

/// tiny_http, which is required, does not print a `Connection` header that it is given, so it is put behind the status
/// line here, and with it the lines that are the same in every answer.
fn put_in_front(bytes: &mut Vec<u8>, next: Next, fixed: &str) {
    let connection = match next {
        Next::KeepOpen => "",
        Next::SayKeepOpen => "Connection: keep-alive\r\n",
        Next::Close => "Connection: close\r\n",
    };
    let status_line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (added, end) = (connection.len() + fixed.len(), bytes.len());
    bytes.resize(end + added, 0);
    bytes.copy_within(status_line..end, status_line + added);
    let (first, second) = bytes[status_line..status_line + added].split_at_mut(connection.len());
    first.copy_from_slice(connection.as_bytes());
    second.copy_from_slice(fixed.as_bytes());
}

/// The time for the `Date` header, formatted once a second on each thread.
fn date() -> String {
    thread_local!(static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) });
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(of, text)| {
        if *of != seconds {
            *of = seconds;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        }
        text.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head_only: bool, next: Next) -> String {
        let response =
            Response::json(200, br#"{"a":1}"#.as_slice()).header("Link", "</x?after=%7E>; rel=\"next\"");
        String::from_utf8(render(&response, "id-1", head_only, next).unwrap().bytes).unwrap()
    }

    #[test]
    fn a_response_carries_its_headers_and_its_length() {
        let text = text(false, Next::KeepOpen);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n{\"a\":1}"), "{text}");
        for line in [
            "Content-Type: application/json\r\n",
            "Content-Length: 7\r\n",
            "X-Request-ID: id-1\r\n",
            "Server: lyftr-webhook\r\n",
            "Link: </x?after=%7E>; rel=\"next\"\r\n",
            "Date: ",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("Connection:") && !text.contains("chunked"));
    }

    #[test]
    fn the_client_hears_what_follows() {
        assert!(text(false, Next::Close).starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
        assert!(text(false, Next::SayKeepOpen).contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn a_head_request_has_the_length_and_not_the_body() {
        let text = text(true, Next::KeepOpen);
        assert!(text.contains("Content-Length: 7\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_large_body_of_the_program_is_not_copied() {
        static PAGE: [u8; COPIED_BYTES + 1] = [b'x'; COPIED_BYTES + 1];
        let response = Response::json(200, PAGE.as_slice());
        let whole = render(&response, "id-1", false, Next::KeepOpen).unwrap();
        assert!(whole.bytes.ends_with(b"\r\n\r\n") && whole.shared.len() == PAGE.len());
        assert!(whole.held() < COPIED_BYTES);
        let head = render(&response, "id-1", true, Next::KeepOpen).unwrap();
        assert!(head.bytes == whole.bytes && head.shared.is_empty());
    }
}
