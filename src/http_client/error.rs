//! An exchange that failed says why, and what to do about it.

use std::fmt;
use std::io;

use crate::http_head::HeadError;

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpClientError {
    /// No address of the endpoint could be connected to, or its name leads to none.
    Connect(io::Error),
    /// The deadline has passed.
    Timeout,
    /// The server closed or reset the connection before its answer was whole.
    Closed,
    /// What came is no answer of HTTP/1.
    Malformed(&'static str),
    /// The head or the body goes on beyond what is taken.
    TooLarge,
    /// The caller has no more use for the answer.
    Interrupted,
}

impl HttpClientError {
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted)
    }
}

impl fmt::Display for HttpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => {
                let advice = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "nobody listens there: start it, or look at the port",
                    io::ErrorKind::NotFound => "there is no such host or socket: look at its name",
                    io::ErrorKind::PermissionDenied => {
                        "this user may not connect there: look at the rights of the socket"
                    }
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                        "no route leads there: look at the address and the network"
                    }
                    _ => "look at the address and the network",
                };
                write!(f, "cannot connect: {error}; {advice}")
            }
            Self::Timeout => f.write_str("no whole answer in time; look whether it hangs, or give it longer"),
            Self::Closed => f.write_str(
                "the connection was closed before the answer was whole; look at the log of who closed it",
            ),
            Self::Malformed(what) => {
                write!(f, "the answer is not HTTP/1: {what}; look whether the URL names a plain HTTP port")
            }
            Self::TooLarge => f.write_str("the answer is too large; look whether the URL is the right one"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<HeadError> for HttpClientError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(what) => Self::Malformed(what),
            HeadError::LineTooLong | HeadError::FieldsTooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_cause_and_an_advice() {
        let connect = |kind: io::ErrorKind| HttpClientError::Connect(kind.into()).to_string();
        for (said, expected) in [
            (connect(io::ErrorKind::ConnectionRefused), "nobody listens there"),
            (connect(io::ErrorKind::NotFound), "no such host or socket"),
            (connect(io::ErrorKind::PermissionDenied), "rights of the socket"),
            (HttpClientError::Timeout.to_string(), "in time"),
            (HttpClientError::Closed.to_string(), "closed before"),
            (HttpClientError::from(HeadError::Malformed("odd")).to_string(), "not HTTP/1: odd"),
            (HttpClientError::from(HeadError::LineTooLong).to_string(), "too large"),
        ] {
            assert!(said.contains(expected) && !said.contains('\n'), "{said}");
        }
    }
}
