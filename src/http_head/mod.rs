//! An HTTP/1 message is a head, whose fields say how the body behind it is framed (RFC 9112).
//!
//! Read alike from clients, whose requests the server answers, and from servers, whose responses our own client
//! takes. Strict where leniency lets one message hide behind another (sections 2.2, 5.1, 5.2, 6.1, 6.3 and 11.2):
//! whatever two parsers could read in two ways is rejected.

mod chunked_body;
mod field;
mod head;

pub use chunked_body::ChunkedBody;
pub use field::{is_token, parse_field};
pub use head::{DeclaredBody, declared_body, find_end, is_kept_alive};

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// It is not HTTP, or its framing is ambiguous.
    Malformed(&'static str),
    /// The first line is as long as a whole head may be.
    LineTooLong,
    /// There are too many fields, or their bytes are too many.
    FieldsTooLarge,
}
