//! The chunked coding of a request body (RFC 9112, section 7.1), decoded as its bytes arrive.
//!
//! Strict: a chunk size is hex digits and nothing else before an optional extension, and every line
//! ends in CRLF. Extensions and trailer fields are read over.

use crate::limits::{MAX_CHUNK_LINE_BYTES, MAX_HEAD_BYTES};
use crate::routes::Refusal;

/// A body on its way.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    body: Vec<u8>,
    max_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data { left: usize },
    DataEnd,
    Trailer,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Partial,
    Whole(Vec<u8>),
    TooLarge,
}

const MALFORMED: Refusal = Refusal::Malformed("the chunked body is malformed");

impl Chunked {
    /// Up to `max_bytes` of body, chunk framing not counted.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { state: State::Size, body: Vec::new(), max_bytes, trailer_bytes: 0 }
    }

    /// Bytes of body held so far.
    pub(super) fn held(&self) -> usize {
        self.body.capacity()
    }

    /// Takes what it can from the front of `input`, and says how much that was.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<(usize, Decoded), Refusal> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match &mut self.state {
                State::Size => {
                    let Some(line) = line(rest, MAX_CHUNK_LINE_BYTES)? else {
                        return Ok((at, Decoded::Partial));
                    };
                    let size = parse_size(line)?;
                    at += line.len() + 2;
                    if size > (self.max_bytes - self.body.len()) as u64 {
                        return Ok((at, Decoded::TooLarge));
                    }
                    self.state = if size == 0 { State::Trailer } else { State::Data { left: size as usize } };
                }
                State::Data { left } => {
                    let taken = rest.len().min(*left);
                    self.body.extend_from_slice(&rest[..taken]);
                    at += taken;
                    *left -= taken;
                    if *left > 0 {
                        return Ok((at, Decoded::Partial));
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => {
                    match rest {
                        [b'\r', b'\n', ..] => at += 2,
                        [] | [b'\r'] => return Ok((at, Decoded::Partial)),
                        _ => return Err(MALFORMED),
                    }
                    self.state = State::Size;
                }
                State::Trailer => {
                    let Some(line) = line(rest, MAX_HEAD_BYTES)? else {
                        return Ok((at, Decoded::Partial));
                    };
                    at += line.len() + 2;
                    if line.is_empty() {
                        return Ok((at, Decoded::Whole(std::mem::take(&mut self.body))));
                    }
                    self.trailer_bytes += line.len();
                    if self.trailer_bytes > MAX_HEAD_BYTES {
                        return Err(Refusal::HeadersTooLarge);
                    }
                }
            }
        }
    }
}

/// The line that `input` begins with, without its CRLF, if its end is there.
fn line(input: &[u8], longest: usize) -> Result<Option<&[u8]>, Refusal> {
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

fn parse_size(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // Some senders put spaces before an extension (RFC 9112, section 7.1.1, BWS); never alone.
    let digits = if digits.len() < line.len() { digits.trim_ascii_end() } else { digits };
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(MALFORMED);
    }
    let text = std::str::from_utf8(digits).map_err(|_| MALFORMED)?;
    u64::from_str_radix(text, 16).map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &str) -> Result<Decoded, Refusal> {
        Chunked::new(20).feed(input.as_bytes()).map(|(_, decoded)| decoded)
    }

    #[test]
    fn chunks_are_joined_wherever_the_bytes_are_cut() {
        let input = b"3\r\nhel\r\n8;name=\"v\"\r\nlo world\r\n0\r\nTrailer: x\r\n\r\nnext";
        for cut in 0..input.len() {
            let mut chunked = Chunked::new(20);
            let (taken, first) = chunked.feed(&input[..cut]).unwrap();
            let body = match first {
                Decoded::Partial => {
                    let (more, decoded) = chunked.feed(&input[taken..]).unwrap();
                    assert_eq!(&input[taken + more..], b"next");
                    decoded
                }
                done => done,
            };
            assert_eq!(body, Decoded::Whole(b"hello world".to_vec()), "cut at {cut}");
        }
    }

    #[test]
    fn a_body_over_the_limit_stops_at_once() {
        assert_eq!(decode("15\r\n"), Ok(Decoded::TooLarge));
        assert_eq!(decode("14\r\n"), Ok(Decoded::Partial));
        assert_eq!(decode("10\r\n0123456789abcdef\r\n5\r\n"), Ok(Decoded::TooLarge));
        assert_eq!(decode("fffffffffffffff\r\n"), Ok(Decoded::TooLarge));
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
        ] {
            assert_eq!(decode(bad), Err(MALFORMED), "{bad:?}");
        }
        assert_eq!(decode(&"0".repeat(300)), Err(MALFORMED));
    }
}
