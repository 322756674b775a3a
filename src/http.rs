//! A request or a response is plain data, which knows no socket.
//!
//! Routes are called with a [`Request`] and answer with a
//! [`Response`], whoever made the one and sends the other.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use crate::client::Client;

/// A request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// As sent: methods are case-sensitive (RFC 9110, section 9.1).
    pub method: String,
    /// Percent-decoded, without the query string.
    pub path: String,
    /// As sent, without the `?`.
    pub query: String,
    /// Of a target that was sent as a URL.
    pub target_authority: Option<String>,
    pub headers: Headers,
    pub body: Body,
    /// The other end of its connection, which may be a proxy.
    pub peer: Client,
    /// The client's `X-Request-ID` if it is sane, otherwise a fresh one.
    pub id: String,
    /// When it was whole: from here on it is ours to answer in time.
    pub received: Instant,
}

impl Request {
    /// The host that the client means, perhaps with a port. `None` where it names none, as HTTP/1.0 may.
    pub fn authority(&self) -> Option<&str> {
        self.target_authority.as_deref().or_else(|| self.headers.only("Host"))
    }
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Whole(Vec<u8>),
    /// It was declared or sent larger than is accepted; the rest was not read.
    TooLarge,
}

/// Header fields in the order they came.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// Each name with its value behind it.
    text: String,
    /// Where in the text a name begins, its value begins, and that ends.
    fields: Vec<[usize; 3]>,
}

impl Headers {
    /// None yet, and room for so many bytes of them.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), fields: Vec::with_capacity(16) }
    }

    pub fn push(&mut self, name: &str, value: &str) {
        let (begin, middle) = (self.text.len(), self.text.len() + name.len());
        self.text.push_str(name);
        self.text.push_str(value);
        self.fields.push([begin, middle, self.text.len()]);
    }

    /// The fields of this name alone, in no more memory than they take.
    pub fn those_of(&self, name: &str) -> Self {
        let mut those = Self::default();
        self.all(name).for_each(|value| those.push(name, value));
        those
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes of memory taken.
    pub fn held(&self) -> usize {
        self.text.capacity() + self.fields.capacity() * size_of::<[usize; 3]>()
    }

    /// Every value of a field, whatever the case of its name.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        let is_it = move |field: &&[usize; 3]| self.text[field[0]..field[1]].eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|[_, middle, end]| &self.text[*middle..*end])
    }

    /// The value of a field that was sent exactly once.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

/// Headers of every answer that has a body.
const BODY_HEADERS: &str = concat!(
    // It is so now; the next answer may be another.
    "Cache-Control: no-store\r\n",
    // It is what `Content-Type` says, and nothing that a browser guesses.
    "X-Content-Type-Options: nosniff\r\n",
    // No page of another origin may embed it (Fetch, section 3.7).
    "Cross-Origin-Resource-Policy: same-origin\r\n",
);

/// The body of an answer.
#[derive(Debug, Clone)]
pub enum ResponseBody {
    Own(Vec<u8>),
    /// A part of the program.
    Static(&'static [u8]),
    /// The same for so many who have asked for the same.
    Shared(Arc<[u8]>, usize),
}

impl Deref for ResponseBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Static(bytes) => bytes,
            Self::Shared(bytes, _) => bytes,
        }
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Own(bytes)
    }
}

impl From<&'static [u8]> for ResponseBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

/// An answer, before the connection adds `Date`, `Server`, framing and `X-Request-ID`.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// More headers, as the lines that they are sent as: what is in every answer of a kind is not put together
    /// for each.
    pub fixed: &'static str,
    pub body: ResponseBody,
}

impl Response {
    pub fn json(status: u16, body: impl Into<ResponseBody>) -> Self {
        Self::with_type(status, "application/json", body)
    }

    pub fn with_type(status: u16, content_type: &'static str, body: impl Into<ResponseBody>) -> Self {
        let headers = vec![("Content-Type", Cow::Borrowed(content_type))];
        Self { status, headers, fixed: BODY_HEADERS, body: body.into() }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), fixed: "", body: ResponseBody::Static(&[]) }
    }

    /// The same for so many, who share one body.
    pub fn share(&mut self, sharers: usize) {
        if let ResponseBody::Own(bytes) = &mut self.body {
            self.body = ResponseBody::Shared(std::mem::take(bytes).into(), sharers);
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_sent_twice_has_no_single_value() {
        let mut headers = Headers::default();
        headers.push("X-Signature", "a");
        assert_eq!(headers.only("x-signature"), Some("a"));
        headers.push("x-signature", "a");
        assert_eq!(headers.only("X-Signature"), None);
        assert_eq!(headers.all("X-SIGNATURE").count(), 2);
    }
}
