//! A rejected request is read once more for whose it was: its answer carries its id, the log its client.
//!
//! A field line that is none makes a head that two parsers read in two ways. Of that the id alone is believed,
//! which decides nothing.

use std::time::Instant;

use super::access_log::AccessRecord;
use super::request_head::RequestHead;
use super::request_id;
use super::request_line::RequestLine;
use super::response_writer::{Next, RenderedResponse};
use crate::app::App;
use crate::client::Client;
use crate::http::Headers;
use crate::http_head::parse_field;
use crate::metrics::Route;
use crate::routes::{self, RequestError};

const REQUEST_ID: &str = "X-Request-ID";
/// What is looked for among the fields, however many there are.
const WANTED: [&str; 2] = [REQUEST_ID, "X-Forwarded-For"];

/// A rejected request, and what could be read of it.
#[derive(Debug)]
pub(super) struct RejectedRequest {
    pub error: RequestError,
    /// Method and path, if it came as far as those.
    pub line: Option<(String, String)>,
    /// All of a head that was in order; otherwise those that say whose it was.
    pub headers: Headers,
}

impl RejectedRequest {
    /// The head was in order, if it has arrived at all, and the request was not.
    pub(super) fn of(error: RequestError, head: Option<RequestHead>) -> Self {
        match head {
            Some(RequestHead { method, path, headers, .. }) => {
                Self { error, line: Some((method, path)), headers }
            }
            None => Self { error, line: None, headers: Headers::default() },
        }
    }

    /// The head was rejected, of which so much has arrived.
    pub(super) fn read(bytes: &[u8], error: RequestError) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let whole_lines = text.rfind("\r\n").map_or("", |end| &text[..end]);
        let mut lines = whole_lines.split("\r\n");
        let line = lines.next().and_then(|line| RequestLine::parse(line).ok());
        let line = line.map(|line| (line.method.to_owned(), line.path));
        let mut headers = Headers::default();
        let mut is_in_order = true;
        for field in lines.take_while(|line| !line.is_empty()) {
            match parse_field(field) {
                Ok((name, value)) if WANTED.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) => {
                    headers.push(name, value);
                }
                Ok(_) => {}
                Err(_) => is_in_order = false,
            }
        }
        if !is_in_order {
            headers = headers.those_of(REQUEST_ID);
        }
        Self { error, line, headers }
    }
}

impl RejectedRequest {
    /// The answer, counted and logged like any other. The connection ends with it.
    pub(super) fn render_and_log(&self, app: &App, peer: Client) -> RenderedResponse {
        let request_id = request_id::of(&self.headers);
        let line = self.line.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
        let route = line.map_or(Route::Unmatched, |(_, path)| routes::route_of(app, path));
        let reply = routes::rejected(route, line.map(|(method, _)| method), self.error);
        let (headers, received) = (&self.headers, Instant::now());
        let record = AccessRecord { route, request_id: &request_id, line, peer, headers, received };
        record.render_and_log(app, &reply, Next::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<String>, Option<String>, Option<String>) {
        let read = RejectedRequest::read(text.as_bytes(), RequestError::TimedOut);
        let only = |name| read.headers.only(name).map(str::to_owned);
        (read.line.map(|(method, path)| format!("{method} {path}")), only(REQUEST_ID), only(WANTED[1]))
    }

    #[test]
    fn what_is_whole_and_in_order_is_known() {
        let some = |text: &str| Some(text.to_owned());
        let fields = "Host: x\r\nx-request-id: id-1\r\nX-Forwarded-For: 192.0.2.1\r\n";
        let of_fields = (some("GET /a b"), some("id-1"), some("192.0.2.1"));
        assert_eq!(read(&format!("GET /a%20b?q HTTP/1.1\r\n{fields}\r\n")), of_fields);
        assert_eq!(read(&format!("GET /a%20b HTTP/1.1\r\n{fields}X-Request-ID: cut o")), of_fields);
        assert_eq!(read(&format!("GET /a%20b HTTP/1.1\r\n{}{fields}", "A: b\r\n".repeat(5000))), of_fields);
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\n{fields}Host : x\r\n\r\n")),
            (some("GET /"), some("id-1"), None),
            "nothing decides by a head that can be read in two ways"
        );
        assert_eq!(read(&format!("GET  / HTTP/1.1\r\n{fields}\r\n")), (None, of_fields.1, of_fields.2));
        for nothing in ["", "GET / HTTP/1.1", "\u{16}\u{3}\u{1}\r\n\r\nX-Request-ID: behind\r\n"] {
            assert_eq!(read(nothing), (None, None, None), "{nothing:?}");
        }
    }
}
