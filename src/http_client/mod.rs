//! The HTTP client asks one server over one kept connection, by TCP or a Unix socket (RFC 9112).
//!
//! ```text
//! Url ──> HttpEndpoint ──resolver──> addresses ──> ClientConnection <──Wait: deadline, interruption
//!                                                  │ bytes
//!                                            ResponseReader ──> ClientResponse
//! ```
//!
//! - Every exchange, from looking the name up to the last byte of the answer, ends by its deadline.
//! - What a server sends is bounded: 64 KiB of head, so much of body as the caller wants.
//! - A kept connection that the server has closed meanwhile is replaced. The request is repeated only where nothing
//!   of an answer had come, so a server that died between the request and its answer may see it twice.
//!
//! Absent on purpose: TLS (a proxy's), redirects, cookies, compression, a pool, proxies.

mod connection;
mod error;
mod resolver;
mod response_reader;
#[cfg(test)]
mod tests;
mod url;
mod wait;

use std::sync::Arc;
use std::time::Instant;

use crate::http::Headers;
use crate::waker::Waker;
use connection::ClientConnection;
pub use error::HttpClientError;
use response_reader::ResponseReader;
pub use url::{HttpEndpoint, Url};
use wait::Wait;

/// Bytes of a whole body: a page of the feed with a thousand messages, each as large as is taken by default.
const MAX_WHOLE_BODY_BYTES: usize = 64 << 20;
/// Bytes of a body whose status alone counts: what a program says of itself in an answer, and no download.
const MAX_BEGINNING_BYTES: usize = 64 << 10;
/// What is kept of the buffers between two requests; a full page passes and its memory goes.
const KEPT_BUFFER_BYTES: usize = 256 << 10;

/// One request. The client adds `Host`, and `Content-Length` where there is a body or should be one.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub target: &'a str,
    pub headers: &'a [(&'a str, String)],
    pub body: &'a [u8],
}

#[derive(Debug, Clone)]
pub struct ClientResponse {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// What of a body the caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WantedBody {
    /// All of it, or the exchange has failed.
    Whole,
    /// As much as comes; the answer counts once its head is there.
    Beginning,
}

impl WantedBody {
    fn max_bytes(self) -> usize {
        match self {
            Self::Whole => MAX_WHOLE_BODY_BYTES,
            Self::Beginning => MAX_BEGINNING_BYTES,
        }
    }
}

/// A client of one server.
pub struct HttpClient {
    endpoint: HttpEndpoint,
    wanted: WantedBody,
    interruption: Option<Arc<Waker>>,
    kept: Option<ClientConnection>,
    /// The request as it is sent; kept for its memory.
    outgoing: Vec<u8>,
}

impl HttpClient {
    pub fn new(endpoint: HttpEndpoint) -> Self {
        Self { endpoint, wanted: WantedBody::Whole, interruption: None, kept: None, outgoing: Vec::new() }
    }

    /// Answers count once their head is there, whatever follows: of a body that is too long, too slow or cut off
    /// the beginning is returned, and the connection is not kept.
    pub fn judging_by_status(mut self) -> Self {
        self.wanted = WantedBody::Beginning;
        self
    }

    /// An exchange that is under way, or begins, once this was woken ends with [`HttpClientError::Interrupted`].
    pub fn interrupted_by(mut self, waker: Arc<Waker>) -> Self {
        self.interruption = Some(waker);
        self
    }

    /// One exchange; the connection is kept if both sides allow, a kept one that was closed meanwhile is replaced and
    /// the request repeated only where nothing of an answer had come.
    pub fn send(
        &mut self,
        request: &ClientRequest<'_>,
        deadline: Instant,
    ) -> Result<ClientResponse, HttpClientError> {
        self.outgoing.clear();
        self.outgoing.shrink_to(KEPT_BUFFER_BYTES);
        render(&mut self.outgoing, &self.endpoint.authority(), request)?;
        let interruption = self.interruption.clone();
        let wait = Wait::new(deadline, interruption.as_deref());
        if let Some(connection) = self.kept.take().filter(ClientConnection::is_open) {
            match self.exchange(connection, request.method, &wait) {
                Err(FailedExchange { error: HttpClientError::Closed, is_untouched: true }) => {}
                other => return other.map_err(|failure| failure.error),
            }
        }
        let addresses = self.endpoint.addresses(&wait)?;
        let connection = ClientConnection::open(&addresses, &wait)?;
        self.exchange(connection, request.method, &wait).map_err(|failure| failure.error)
    }

    fn exchange(
        &mut self,
        mut connection: ClientConnection,
        method: &str,
        wait: &Wait<'_>,
    ) -> Result<ClientResponse, FailedExchange> {
        let mut reader = ResponseReader::new(method == "HEAD", self.wanted.max_bytes());
        let error = match connection.exchange(&self.outgoing, &mut reader, self.wanted, wait) {
            Ok((response, is_reusable)) => {
                self.kept = is_reusable.then_some(connection);
                return Ok(response);
            }
            Err(error) => error,
        };
        let failure = FailedExchange { error, is_untouched: reader.is_untouched() };
        match self.wanted {
            // The head that has come says all that is asked for, unless the caller has lost interest.
            WantedBody::Beginning if !failure.error.is_interruption() => reader.beginning().ok_or(failure),
            _ => Err(failure),
        }
    }
}

/// An exchange without an answer.
struct FailedExchange {
    error: HttpClientError,
    /// Nothing of an answer had come.
    is_untouched: bool,
}

/// The bytes of a request. A field that would end its line early is refused, whoever has put it together.
fn render(out: &mut Vec<u8>, host: &str, request: &ClientRequest<'_>) -> Result<(), HttpClientError> {
    let mut line = |parts: [&str; 3]| {
        let fits =
            parts.iter().all(|part| part.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()));
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(b"\r\n");
        fits.then_some(()).ok_or(HttpClientError::Malformed("the request holds a control character"))
    };
    line([request.method, " ", &format!("{} HTTP/1.1", request.target)])?;
    line(["Host", ": ", host])?;
    for (name, value) in request.headers {
        line([name, ": ", value])?;
    }
    // A method that usually has a body says so, also of an empty one (RFC 9110, section 8.6).
    if !request.body.is_empty() || !matches!(request.method, "GET" | "HEAD") {
        line(["Content-Length", ": ", &request.body.len().to_string()])?;
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(request.body);
    Ok(())
}
