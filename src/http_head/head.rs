//! The head of a message says how long its body is, and whether the connection outlives it.

use super::HeadError;
use crate::http::Headers;
use crate::limits::MAX_HEAD_BYTES;

/// What the fields say of the body (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredBody {
    /// No field speaks of it.
    Undeclared,
    Length(u64),
    Chunked,
}

/// The length of the head that `input` begins with, if its end is there. The first `seen` bytes
/// were looked at before.
pub fn find_end(input: &[u8], seen: usize) -> Result<Option<usize>, HeadError> {
    for at in seen..input.len() {
        let after_return = at > 0 && input[at - 1] == b'\r';
        match input[at] {
            b'\n' if !after_return => {
                return Err(HeadError::Malformed("a line ends without a carriage return"));
            }
            b'\n' if input[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\n' => {}
            _ if after_return => return Err(HeadError::Malformed("a carriage return stands alone")),
            b'\r' | b'\t' => {}
            byte if byte.is_ascii_control() => {
                return Err(HeadError::Malformed("a control character in the head"));
            }
            _ => {}
        }
        if at + 1 >= MAX_HEAD_BYTES {
            let has_line = input[..at].contains(&b'\n');
            return Err(if has_line { HeadError::FieldsTooLarge } else { HeadError::LineTooLong });
        }
    }
    Ok(None)
}

/// How the body is framed. HTTP/1.0 knows no chunks.
pub fn declared_body(headers: &Headers, is_1_0: bool) -> Result<DeclaredBody, HeadError> {
    let codings: Vec<&str> = headers.all("Transfer-Encoding").collect();
    let lengths: Vec<&str> = headers.all("Content-Length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(DeclaredBody::Undeclared),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") && !is_1_0 => Ok(DeclaredBody::Chunked),
        (_, []) => Err(HeadError::Malformed("the only Transfer-Encoding spoken here is chunked")),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            // Too many digits for a number: larger than any limit.
            Ok(DeclaredBody::Length(length.parse().unwrap_or(u64::MAX)))
        }
        ([], _) => Err(HeadError::Malformed("Content-Length must be one number")),
        _ => Err(HeadError::Malformed("Transfer-Encoding and Content-Length exclude each other")),
    }
}

/// True if the sender of these fields would go on with the connection (RFC 9112, section 9.3).
pub fn is_kept_alive(headers: &Headers, is_1_0: bool) -> bool {
    let says = |token: &str| {
        headers
            .all("Connection")
            .flat_map(|value| value.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    if is_1_0 { says("keep-alive") && !says("close") } else { !says("close") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }

    #[test]
    fn a_body_has_exactly_one_way_of_framing() {
        const LENGTH: &str = "Content-Length";
        const CODING: &str = "Transfer-Encoding";
        let declared = |fields: &[(&str, &str)]| declared_body(&headers(fields), false);
        assert_eq!(declared(&[]), Ok(DeclaredBody::Undeclared));
        assert_eq!(declared(&[(LENGTH, "38")]), Ok(DeclaredBody::Length(38)));
        assert_eq!(declared(&[(LENGTH, "99999999999999999999")]), Ok(DeclaredBody::Length(u64::MAX)));
        assert_eq!(declared(&[(CODING, "Chunked")]), Ok(DeclaredBody::Chunked));
        assert!(declared_body(&headers(&[(CODING, "chunked")]), true).is_err());
        for fields in [
            &[(LENGTH, "3"), (CODING, "chunked")][..],
            &[(LENGTH, "38"), (LENGTH, "38")],
            &[(LENGTH, "38, 38")],
            &[(LENGTH, "-5")],
            &[(LENGTH, "+5")],
            &[(LENGTH, "5x")],
            &[(LENGTH, "")],
            &[(LENGTH, "0x10")],
            &[(CODING, "gzip, chunked")],
            &[(CODING, "identity")],
            &[(CODING, "chunked"), (CODING, "chunked")],
            &[(CODING, "xchunked")],
            &[(CODING, "")],
        ] {
            assert!(matches!(declared(fields), Err(HeadError::Malformed(_))), "{fields:?}");
        }
    }

    #[test]
    fn a_connection_stays_open_as_the_version_and_the_sender_say() {
        let open = |is_1_0, value: &str| is_kept_alive(&headers(&[("Connection", value)]), is_1_0);
        assert!(open(false, "") && !open(false, "TE, Close"));
        assert!(!open(true, "") && open(true, "Keep-Alive") && !open(true, "keep-alive, close"));
    }

    #[test]
    fn a_head_has_a_bound() {
        let endless_line = format!("GET /{}", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(find_end(endless_line.as_bytes(), 0), Err(HeadError::LineTooLong));
        let endless_field = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(MAX_HEAD_BYTES));
        assert_eq!(find_end(endless_field.as_bytes(), 0), Err(HeadError::FieldsTooLarge));
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        for cut in 0..head.len() {
            let end = find_end(&head[..cut], 0).unwrap();
            let again = match end {
                Some(end) => Some(end),
                None => find_end(head, cut).unwrap(),
            };
            assert_eq!(again, Some(head.len() - 4), "cut at {cut}");
        }
        for bad in ["a\nb", "a\rb\r\n", "a\0"] {
            assert!(matches!(find_end(bad.as_bytes(), 0), Err(HeadError::Malformed(_))), "{bad:?}");
        }
    }
}
