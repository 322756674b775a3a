//! A keep-alive HTTP client over a plain socket: one request at a time, as little of its own time
//! as can be.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than the service lets any query run.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_ANSWER: usize = 64 << 20;

pub(crate) struct Client {
    stream: TcpStream,
    /// What was read; an answer and nothing behind it, since only one request is ever out.
    buffer: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The target of `Link: <…>; rel="next"`.
    pub(crate) next: Option<String>,
    pub(crate) body: Vec<u8>,
    /// From the first byte sent to the last one read.
    pub(crate) took: Duration,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 64 << 10] })
    }

    pub(crate) fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())
    }

    pub(crate) fn post(&mut self, signature: &str, body: &str) -> io::Result<Answer> {
        self.post_to("/webhook", "X-Signature", signature, body)
    }

    pub(crate) fn post_to(
        &mut self,
        path: &str,
        header: &str,
        signature: &str,
        body: &str,
    ) -> io::Result<Answer> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             {header}: {signature}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.ask(request.as_bytes())
    }

    fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let began = Instant::now();
        self.stream.write_all(request)?;
        let mut have = 0;
        let head_length = loop {
            have += self.read_more(have)?;
            if let Some(at) = find(&self.buffer[..have], b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = Head::parse(&self.buffer[..head_length])?;
        let whole = head_length + head.length;
        if whole > LONGEST_ANSWER {
            return Err(malformed("an answer of such a length"));
        }
        while have < whole {
            have += self.read_more(have)?;
        }
        let took = began.elapsed();
        if have > whole {
            return Err(malformed("bytes behind the answer"));
        }
        let body = self.buffer[head_length..whole].to_vec();
        Ok(Answer { status: head.status, next: head.next, body, took })
    }

    fn read_more(&mut self, have: usize) -> io::Result<usize> {
        if have == self.buffer.len() {
            self.buffer.resize(2 * have, 0);
        }
        match self.stream.read(&mut self.buffer[have..])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the service closed the connection")),
            count => Ok(count),
        }
    }
}

struct Head {
    status: u16,
    length: usize,
    next: Option<String>,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("a head that is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .ok_or_else(|| malformed("an answer without a status line"))?;
        let mut head = Self { status, length: usize::MAX, next: None };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.trim().parse().map_err(|_| malformed("an unreadable length"))?;
            } else if name.eq_ignore_ascii_case("link") {
                head.next = link(value, "next");
            }
        }
        if head.length == usize::MAX {
            return Err(malformed("an answer without Content-Length"));
        }
        Ok(head)
    }
}

fn link(value: &str, relation: &str) -> Option<String> {
    let (target, rest) = value.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains(&format!("rel=\"{relation}\"")).then(|| target.to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the service sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_long_the_body_is_and_where_the_next_page_is() {
        let head = Head::parse(
            b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nLink: </messages?after=x%3E>; rel=\"next\"\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.status, head.length), (200, 12));
        assert_eq!(head.next.as_deref(), Some("/messages?after=x%3E"));
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
