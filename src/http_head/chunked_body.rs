//! A chunked body is decoded as its bytes arrive (RFC 9112, section 7.1).
//!
//! Strict: a chunk size is hex digits and nothing else before an optional extension, and every line
//! ends in CRLF. Extensions and trailer fields have to be such, and are read over.

use super::HeadError;
use super::field::{is_token_byte, parse_field};
use crate::http::Body;
use crate::limits::MAX_HEAD_BYTES;

/// Bytes of one chunk-size line (RFC 9112, section 7.1), extensions included. Real senders use under 10.
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// A body on its way.
#[derive(Debug)]
pub struct ChunkedBody {
    state: Decoding,
    body: Vec<u8>,
    max_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug)]
enum Decoding {
    Size,
    Data { left: usize },
    DataEnd,
    Trailer,
}

const MALFORMED: HeadError = HeadError::Malformed("the chunked body is malformed");

impl ChunkedBody {
    /// Up to `max_bytes` of body, chunk framing not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self { state: Decoding::Size, body: Vec::new(), max_bytes, trailer_bytes: 0 }
    }

    /// Bytes of body held so far.
    pub fn held(&self) -> usize {
        self.body.capacity()
    }

    /// What was decoded of a body that will not be whole.
    pub fn into_decoded(self) -> Vec<u8> {
        self.body
    }

    /// Takes what it can from the front of `input`, and says how much that was and what has come of it all.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Body>), HeadError> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match &mut self.state {
                Decoding::Size => {
                    let Some(line) = line(rest, MAX_CHUNK_LINE_BYTES)? else {
                        return Ok((at, None));
                    };
                    let size = parse_size(line)?;
                    at += line.len() + 2;
                    if size > (self.max_bytes - self.body.len()) as u64 {
                        return Ok((at, Some(Body::TooLarge)));
                    }
                    self.state =
                        if size == 0 { Decoding::Trailer } else { Decoding::Data { left: size as usize } };
                }
                Decoding::Data { left } => {
                    let taken = rest.len().min(*left);
                    self.body.extend_from_slice(&rest[..taken]);
                    at += taken;
                    *left -= taken;
                    if *left > 0 {
                        return Ok((at, None));
                    }
                    self.state = Decoding::DataEnd;
                }
                Decoding::DataEnd => {
                    match rest {
                        [b'\r', b'\n', ..] => at += 2,
                        [] | [b'\r'] => return Ok((at, None)),
                        _ => return Err(MALFORMED),
                    }
                    self.state = Decoding::Size;
                }
                Decoding::Trailer => {
                    let Some(line) = line(rest, MAX_HEAD_BYTES)? else {
                        return Ok((at, None));
                    };
                    at += line.len() + 2;
                    if line.is_empty() {
                        return Ok((at, Some(Body::Whole(std::mem::take(&mut self.body)))));
                    }
                    check_trailer_field(line)?;
                    self.trailer_bytes += line.len();
                    if self.trailer_bytes > MAX_HEAD_BYTES {
                        return Err(HeadError::FieldsTooLarge);
                    }
                }
            }
        }
    }
}

/// The line that `input` begins with, without its CRLF, if its end is there.
fn line(input: &[u8], longest: usize) -> Result<Option<&[u8]>, HeadError> {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > longest => Err(MALFORMED),
        Some(end) => match input[..end].split_last() {
            Some((b'\r', line)) if !line.contains(&b'\r') => Ok(Some(line)),
            _ => Err(MALFORMED),
        },
        None if input.len() > longest => Err(MALFORMED),
        None => Ok(None),
    }
}

fn parse_size(line: &[u8]) -> Result<u64, HeadError> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(end);
    if digits.is_empty() || digits.len() > 15 || !are_extensions(extensions) {
        return Err(MALFORMED);
    }
    let text = std::str::from_utf8(digits).map_err(|_| MALFORMED)?;
    u64::from_str_radix(text, 16).map_err(|_| MALFORMED)
}

/// Names, each perhaps with a value, in any number (RFC 9112, section 7.1.1). Blanks may stand where the
/// grammar says BWS, and nowhere else.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(name) = skip_blanks(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(behind) = skip_token(skip_blanks(name)) else {
            return false;
        };
        rest = match skip_blanks(behind).strip_prefix(b"=").map(skip_blanks) {
            None => behind,
            Some(value) => match skip_token(value).or_else(|| skip_quoted(value)) {
                Some(behind) => behind,
                None => return false,
            },
        };
    }
    true
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    &text[end.unwrap_or(text.len())..]
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

/// RFC 9110, section 5.6.4.
fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', byte, behind @ ..] | [byte, behind @ ..] if is_text(*byte) => behind,
            _ => return None,
        };
    }
}

/// What may stand in a quoted string or in the value of a field: no control character but a tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// A field like those of the head (RFC 9112, section 7.1.2).
fn check_trailer_field(line: &[u8]) -> Result<(), HeadError> {
    let text = String::from_utf8_lossy(line);
    if !line.iter().all(|byte| is_text(*byte)) || parse_field(&text).is_err() {
        return Err(HeadError::Malformed("a trailer line is no field"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &str) -> Result<Option<Body>, HeadError> {
        ChunkedBody::new(20).feed(input.as_bytes()).map(|(_, decoded)| decoded)
    }

    #[test]
    fn chunks_are_joined_wherever_the_bytes_are_cut() {
        let input = b"3\r\nhel\r\n8;name=\"v\"\r\nlo world\r\n0\r\nTrailer: x\r\n\r\nnext";
        for cut in 0..input.len() {
            let mut chunked = ChunkedBody::new(20);
            let (taken, first) = chunked.feed(&input[..cut]).unwrap();
            let body = match first {
                None => {
                    let (more, decoded) = chunked.feed(&input[taken..]).unwrap();
                    assert_eq!(&input[taken + more..], b"next");
                    decoded
                }
                done => done,
            };
            assert_eq!(body, Some(Body::Whole(b"hello world".to_vec())), "cut at {cut}");
        }
    }

    #[test]
    fn a_body_over_the_limit_stops_at_once() {
        assert_eq!(decode("15\r\n"), Ok(Some(Body::TooLarge)));
        assert_eq!(decode("14\r\n"), Ok(None));
        assert_eq!(decode("10\r\n0123456789abcdef\r\n5\r\n"), Ok(Some(Body::TooLarge)));
        assert_eq!(decode("fffffffffffffff\r\n"), Ok(Some(Body::TooLarge)));
    }

    #[test]
    fn signs_and_junk_are_refused() {
        for bad in [
            "+5\r\nhello\r\n",
            "-5\r\n",
            "0x5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "\r\n",
            ";x\r\n",
            "g\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "1\r\na\r\n0\r\nT: x\n\r\n",
            "10000000000000000\r\n",
            "5\x0c;x\r\nhello\r\n",
            "5\x0b;x\r\nhello\r\n",
            "5\0;x\r\nhello\r\n",
            "5;x\0\r\nhello\r\n",
            "5;x=\0\r\nhello\r\n",
            "5;\r\nhello\r\n",
            "5;;x\r\nhello\r\n",
            "5;x=\r\nhello\r\n",
            "5;x y\r\nhello\r\n",
            "5;x=\"y\r\nhello\r\n",
            "5;x=\"\x0c\"\r\nhello\r\n",
            "5;x \r\nhello\r\n",
            "5;é\r\nhello\r\n",
        ] {
            assert_eq!(decode(bad), Err(MALFORMED), "{bad:?}");
        }
        assert_eq!(decode(&"0".repeat(300)), Err(MALFORMED));
    }

    #[test]
    fn extensions_are_read_over() {
        for extensions in ["", ";x", " ; x = y", "\t;x=\"a;b \\\" \t\"", ";a;b=c;d=\"\""] {
            let input = format!("5{extensions}\r\nhello\r\n0{extensions}\r\n\r\n");
            assert_eq!(decode(&input), Ok(Some(Body::Whole(b"hello".to_vec()))), "{extensions:?}");
        }
    }

    #[test]
    fn a_trailer_is_made_of_fields() {
        for good in ["", "A: b\r\n", "A:\r\nX.Odd!: \té\r\n"] {
            assert_eq!(decode(&format!("0\r\n{good}\r\n")), Ok(Some(Body::Whole(Vec::new()))), "{good:?}");
        }
        for bad in [
            "no colon\r\n",
            ": b\r\n",
            "A : b\r\n",
            " A: b\r\n",
            "A: b\r\n\tc\r\n",
            "A: \0\r\n",
            "A: \x7f\r\n",
        ] {
            assert!(matches!(decode(&format!("0\r\n{bad}\r\n")), Err(HeadError::Malformed(_))), "{bad:?}");
        }
    }
}
