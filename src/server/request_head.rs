//! The head of a request says how the body behind it is framed.
//!
//! Strict where leniency lets one request hide behind another (RFC 9112, sections 2.2, 5.1, 5.2,
//! 6.1, 6.3 and 11.2): whatever two parsers could read in two ways is rejected.

use std::borrow::Cow;

use super::request_line::RequestLine;
use super::response_writer::Next;
use crate::authority;
use crate::http::Headers;
use crate::http_head::{DeclaredBody, declared_body, is_kept_alive, parse_field};
use crate::routes::RequestError;

/// Header lines of one request. Browsers and proxies send about 20.
const MAX_HEADERS: usize = 100;

/// A head that keeps every rule.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub method: String,
    /// Decoded.
    pub path: String,
    /// As sent.
    pub query: String,
    /// Of a target that is a URL; then `Host` counts for nothing (RFC 9112, section 3.2.2).
    pub target_authority: Option<String>,
    pub headers: Headers,
    pub framing: DeclaredBody,
    /// What the client would like to follow the answer.
    pub next: Next,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl RequestHead {
    /// Bytes of memory taken.
    pub(super) fn held(&self) -> usize {
        self.method.capacity() + self.path.capacity() + self.query.capacity() + self.headers.held()
    }
}

/// Reads a head, from the request line to the empty line, as [`find_end`](crate::http_head::find_end) measured it.
pub(super) fn parse(head: &[u8]) -> Result<RequestHead, RequestError> {
    // Most are ASCII, which is seen faster than what is to be replaced.
    let text = std::str::from_utf8(head).map_or_else(|_| String::from_utf8_lossy(head), Cow::Borrowed);
    // Each line ends with both, as was seen before.
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let request_line = lines.next().unwrap_or_default();
    let RequestLine { method, target_authority, path, query, version } = RequestLine::parse(request_line)?;
    let is_1_0 = version == (1, 0);
    let mut headers = Headers::with_capacity(text.len());
    for line in lines.take_while(|line| !line.is_empty()) {
        if headers.len() == MAX_HEADERS {
            return Err(RequestError::HeadersTooLarge);
        }
        let (name, value) = parse_field(line)?;
        headers.push(name, value);
    }
    check_host(&headers, is_1_0)?;
    let framing = declared_body(&headers, is_1_0)?;
    if headers.all("Expect").any(|value| !value.eq_ignore_ascii_case("100-continue")) {
        return Err(RequestError::UnknownExpectation);
    }
    let expects_continue = !is_1_0 && headers.all("Expect").next().is_some();
    let next = match (is_kept_alive(&headers, is_1_0), is_1_0) {
        (false, _) => Next::Close,
        (true, false) => Next::KeepOpen,
        // Then it stays open only if both say so.
        (true, true) => Next::SayKeepOpen,
    };
    Ok(RequestHead {
        method: method.to_owned(),
        path,
        query: query.to_owned(),
        target_authority: target_authority.map(str::to_owned),
        headers,
        framing,
        next,
        expects_continue,
    })
}

/// One, and what it takes to name a host and a port (RFC 9112, section 3.2). HTTP/1.0 knows none.
fn check_host(headers: &Headers, is_1_0: bool) -> Result<(), RequestError> {
    let mut hosts = headers.all("Host");
    match (hosts.next(), hosts.next()) {
        (None, None) if is_1_0 => Ok(()),
        (Some(host), None) if authority::is_valid(host) => Ok(()),
        (Some(_), None) => Err(RequestError::Malformed("the Host header names no host")),
        _ => Err(RequestError::Malformed("exactly one Host header is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_head::find_end;
    use crate::limits::MAX_HEAD_BYTES;

    fn read(head: &str) -> Result<RequestHead, RequestError> {
        let end = find_end(head.as_bytes(), 0)?.ok_or(RequestError::TimedOut)?;
        parse(&head.as_bytes()[..end])
    }

    fn with(lines: &str) -> Result<RequestHead, RequestError> {
        read(&format!("POST /webhook HTTP/1.1\r\nHost: x\r\n{lines}\r\n"))
    }

    #[test]
    fn an_ordinary_head_is_read() {
        let head = read("GET /a%20b?q=1%202 HTTP/1.1\r\nhost: x\r\nX-Signature:  ab \r\n\r\n").unwrap();
        assert_eq!(
            (head.method.as_str(), head.path.as_str(), head.query.as_str()),
            ("GET", "/a b", "q=1%202")
        );
        assert_eq!(head.headers.only("x-signature"), Some("ab"));
        assert!(head.next == Next::KeepOpen && head.framing == DeclaredBody::Undeclared);
    }

    #[test]
    fn a_body_has_exactly_one_way_of_framing() {
        assert_eq!(with("Content-Length: 38\r\n").unwrap().framing, DeclaredBody::Length(38));
        assert_eq!(
            with("Content-Length: 99999999999999999999\r\n").unwrap().framing,
            DeclaredBody::Length(u64::MAX)
        );
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().framing, DeclaredBody::Chunked);
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 38\r\nContent-Length: 38\r\n",
            "Content-Length: 38, 38\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5x\r\n",
            "Content-Length:\r\n",
            "Content-Length: 0x10\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert!(matches!(with(lines), Err(RequestError::Malformed(_))), "{lines}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for head in [
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n Content-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            "GET /\r\nHost: x\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / http/1.1\r\nHost: x\r\n\r\n",
            "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /é HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET messages HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET ?q=1 HTTP/1.1\r\nHost: x\r\n\r\n",
            "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http:///messages HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://a@b/messages HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a@b\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(matches!(read(head), Err(RequestError::Malformed(_))), "{head:?}");
        }
    }

    #[test]
    fn other_expectations_have_their_own_answer() {
        assert_eq!(with("Expect: tea\r\n").unwrap_err(), RequestError::UnknownExpectation);
        assert!(with("Expect: 100-Continue\r\n").unwrap().expects_continue);
    }

    #[test]
    fn a_connection_stays_open_as_the_version_and_the_client_say() {
        let open = |version: &str, line: &str| {
            read(&format!("GET / HTTP/{version}\r\nHost: x\r\n{line}\r\n")).unwrap().next
        };
        for (version, line, next) in [
            ("1.1", "", Next::KeepOpen),
            ("1.1", "Connection: TE, Close\r\n", Next::Close),
            ("1.1", "Connection: Keep-Alive\r\n", Next::KeepOpen),
            ("1.0", "", Next::Close),
            ("1.0", "Connection: Keep-Alive\r\n", Next::SayKeepOpen),
            ("1.0", "Connection: Keep-Alive, close\r\n", Next::Close),
        ] {
            assert_eq!(open(version, line), next, "{version} {line}");
        }
        assert!(read("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn a_head_has_a_bound() {
        let endless_line = format!("GET /{}", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(read(&endless_line).unwrap_err(), RequestError::TargetTooLong);
        assert_eq!(
            with(&format!("A: {}", "b".repeat(MAX_HEAD_BYTES))).unwrap_err(),
            RequestError::HeadersTooLarge
        );
        assert_eq!(with(&"A: b\r\n".repeat(MAX_HEADERS)).unwrap_err(), RequestError::HeadersTooLarge);
    }

    #[test]
    fn odd_but_legal_headers_do_no_harm() {
        let head = with("X.Odd!: 1\r\nUser-Agent: Café\tBar\r\nX-Signature: é\r\n").unwrap();
        assert_eq!(head.headers.only("User-Agent"), Some("Café\tBar"));
        assert_eq!(head.headers.only("X-Signature"), Some("é"));
    }
}
