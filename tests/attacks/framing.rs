//! Requests that lie about their length or can be read in two ways.

use std::io::{Read, Write};
use std::time::Duration;

use crate::row::{Report, Row, scaled};
use crate::service::Service;
use crate::swarm::{Bee, Swarm, connect, status_of};

/// Long enough for a machine that is busy with something else; a silent service is the finding.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that comes back for these bytes until the connection ends, and whether it ended.
fn exchange(service: &Service, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut received = Vec::new();
    let Ok(mut stream) = connect(service) else {
        return (received, false);
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    // It may be refused before it has read everything.
    drop(stream.write_all(bytes));
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (received, true),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                return (received, !matches!(error.kind(), TimedOut | WouldBlock));
            }
        }
    }
}

fn answers(received: &[u8]) -> usize {
    // Every answer has it once, and no body.
    const MARK: &[u8] = b"\r\nX-Request-ID: ";
    received.windows(MARK.len()).filter(|window| *window == MARK).count()
}

#[test]
fn declared_lengths_without_a_body_cost_nothing() {
    const ROUTES: [&str; 10] = [
        "/webhook",
        "/messages",
        "/stats",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/",
        "/nowhere",
    ];
    const METHODS: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "X-ODD"];
    const LENGTHS: [u128; 6] = [1 << 20, 1 << 31, 1 << 32, (1 << 53) + 1, (1 << 63) - 1, (1 << 64) - 1];
    Row::new("declared length, no body").attack(|service| {
        let count = scaled(2_000, 200);
        let mut report = Report::of(format!("{count} requests"));
        for n in 0..count {
            let method = METHODS[n % METHODS.len()];
            let route = ROUTES[n / METHODS.len() % ROUTES.len()];
            let length = LENGTHS[n % 7 % LENGTHS.len()];
            let version = ["1.1", "1.0", "2.0"][n % 3];
            let head =
                format!("{method} {route} HTTP/{version}\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            let (received, ended) = exchange(service, head.as_bytes());
            let status = status_of(&received);
            // Who asks for no body is answered or refused; a body that large is refused unread.
            let sane = match status {
                Some(505) => version == "2.0",
                Some(413) => true,
                Some(200 | 404 | 405 | 503) => (method, route) != ("POST", "/webhook"),
                _ => false,
            };
            report.expect(sane && ended && answers(&received) == 1, || {
                format!("{head:?} was answered {status:?}, connection closed: {ended}")
            });
            if report.faults.len() > 3 {
                break;
            }
        }
        report
    });
}

/// A second request, behind one whose end is in doubt. It must never be answered.
const HIDDEN: &str = "GET /health/live?hidden HTTP/1.1\r\nHost: x\r\n\r\n";

/// Header lines of a request whose end is in doubt.
const AMBIGUOUS_LINES: &[&str] = &[
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunked;a=b\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 38, 38\r\n",
    "Content-Length: -5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5x\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5 5\r\n",
    "Content-Length: 5_0\r\n",
    "Content-Length: ٥\r\n",
    "Content-Length:\r\n",
    "Content-Length : 5\r\n",
    "Content-Length\t: 5\r\n",
    " Content-Length: 5\r\n",
    "X: y\r\n Content-Length: 5\r\n",
    "X: y\r\n\tfolded\r\n",
    "X: y\nContent-Length: 5\r\n",
    "X: y\rContent-Length: 5\r\n",
    "X: y\0\r\n",
    "no colon\r\n",
    ": no name\r\n",
    "Host: y\r\n",
    "Content-Length: 5\r\r\n",
];

const MALFORMED_CHUNKS: &[&str] = &[
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "g\r\n\r\n",
    "\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\r\nTrailer: x\n\r\n",
    "0\n\n",
];

/// Heads that some read as a request, and others as something else.
const AMBIGUOUS_HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\nHost: x\n\n",
    "GET / HTTP/1.1\r\nHost: x\n\r\n",
    "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
    "GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / a HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /\r\nHost: x\r\n\r\n",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

fn ambiguous() -> Vec<String> {
    let post = |lines: &str, body: &str| format!("POST /webhook HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}");
    let by_lines = AMBIGUOUS_LINES.iter().map(|lines| post(lines, "0\r\n\r\n"));
    let by_chunks = MALFORMED_CHUNKS.iter().map(|body| post("Transfer-Encoding: chunked\r\n", body));
    by_lines.chain(by_chunks).chain(AMBIGUOUS_HEADS.iter().map(ToString::to_string)).collect()
}

#[test]
fn ambiguous_framing_is_refused_and_hides_nothing() {
    Row::new("ambiguous framing").attack(|service| {
        let requests = ambiguous();
        let times = scaled(20, 1);
        let mut report = Report::of(format!("{} forms, {times} times each", requests.len()));
        for request in requests.iter().cycle().take(requests.len() * times) {
            let (received, ended) = exchange(service, format!("{request}{HIDDEN}").as_bytes());
            let (status, count) = (status_of(&received), answers(&received));
            report.expect(status == Some(400) && ended && count == 1, || {
                format!("{request:?}: {status:?}, {count} answers, connection closed: {ended}")
            });
        }
        report
    });
}

/// Sends `piece` for ever on this many connections, until each is refused; the statuses they saw.
fn endless(service: &Service, count: usize, head: &str, piece: &[u8], expected: u16) -> Report {
    let mut swarm = Swarm::connect(service, count);
    swarm.each(|bee| {
        bee.send(head.as_bytes());
    });
    // Cut anywhere, as the kernel takes it.
    swarm.keep(PATIENCE, Duration::ZERO, |bee: &mut Bee| {
        let at = bee.sent.saturating_sub(head.len()) % piece.len();
        bee.send(&piece[at..]);
        bee.receive();
    });
    let sent: usize = swarm.bees.iter().map(|bee| bee.sent).sum();
    let refused = swarm.answered(expected);
    let mut report = Report::of(format!("{count} bodies without end, {} KB until refused", sent / 1000));
    // The answer may be overtaken by the reset that ends a client which does not stop sending.
    let silent = swarm.bees.iter().filter(|bee| bee.closed && bee.status().is_none()).count();
    report.expect(refused + silent == count && refused > 0, || {
        format!("{refused} of {count} answered {expected}, {silent} reset, {} closed", swarm.closed())
    });
    report
}

const CHUNKED: &str = "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn an_endless_chunked_body_stops_at_the_limit() {
    let chunk = [b"1000\r\n".as_slice(), &[b'a'; 4096], b"\r\n"].concat();
    Row::new("endless chunked body")
        .attack(|service| endless(service, scaled(200, 20), CHUNKED, &chunk, 413));
}

#[test]
fn chunks_of_one_byte_with_long_extensions_stop_at_the_limit() {
    // 250 bytes of framing for each byte of body: 16 MB until the limit is reached.
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(245));
    Row::new("one-byte chunks with extensions")
        .attack(|service| endless(service, scaled(50, 5), CHUNKED, chunk.as_bytes(), 413));
}
