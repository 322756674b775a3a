//! Section 7: what every answer carries, whoever makes it: a route, the dispatcher, or what refuses a request
//! that none of them sees.

use std::fmt::Write as _;

use crate::fixtures::message;
use crate::http_client::Answer;
use crate::service::Service;
use crate::setup::Setup;

const GUARDS: [(&str, &str); 3] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

#[track_caller]
fn is_guarded(answer: &Answer) {
    for (name, value) in GUARDS {
        let found: Vec<_> =
            answer.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name)).collect();
        let values: Vec<_> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [value], "{name} of {} {}", answer.status, answer.text());
    }
}

#[track_caller]
fn sent(service: &Service, bytes: &[u8]) -> Answer {
    let mut client = service.connect();
    client.send(bytes);
    client.finish_sending();
    client.receive()
}

#[test]
fn every_answer_with_a_body_says_for_whom_it_is() {
    let service = Setup::new().with("API_TOKEN", "t0ken").with("ALLOWED_HOSTS", "localhost").start();
    let token = [("Authorization", "Bearer t0ken")];
    for (path, status) in [
        ("/messages", 200),
        ("/messages?limit=0", 422),
        ("/stats", 200),
        ("/metrics", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/openapi.json", 200),
        ("/", 200),
        ("/docs", 200),
        ("/nowhere", 404),
        ("/webhook", 405),
        ("http://evil.example/stats", 421),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = service.request(method, path, &token);
            assert_eq!(answer.status, status, "{method} {path}");
            is_guarded(&answer);
        }
    }
    let post = |body: &[u8]| service.post_bytes(body);
    let stored = message("m1").to_string();
    for answer in [
        service.get("/stats"),
        post(stored.as_bytes()),
        post(b"{}"),
        post(&[b'x'; 70_000]),
        service.post_signed(&[], b"{}"),
    ] {
        is_guarded(&answer);
    }
    let not_ready = Setup::new().without("WEBHOOK_SECRET").start();
    is_guarded(not_ready.get("/health/ready").expect(503));
    is_guarded(not_ready.post(&message("m1")).expect(503));
}

/// Requests that are refused after their head was read, but for one line: for their head or their body, and
/// how they are answered.
fn refused(extra: &str) -> Vec<(u16, Vec<u8>)> {
    let head = |line: &str, fields: &str| format!("{line}\r\nHost: x\r\n{extra}{fields}\r\n").into_bytes();
    let mut many = String::new();
    for number in 0..150 {
        write!(many, "A{number}: b\r\n").expect("a string takes text");
    }
    let chunked = [head("POST /webhook HTTP/1.1", "Transfer-Encoding: chunked\r\n"), b"xyz\r\n".to_vec()];
    vec![
        (400, head("GET /stats HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        (400, head("GET /stats HTTP/1.1", "Host: y\r\n")),
        (400, head("GET stats HTTP/1.1", "")),
        (400, head("GET  /stats HTTP/1.1", "")),
        (400, chunked.concat()),
        (400, [head("POST /webhook HTTP/1.1", "Content-Length: 9\r\n"), b"cut".to_vec()].concat()),
        (417, head("GET /stats HTTP/1.1", "Expect: tea\r\n")),
        (431, head("GET /stats HTTP/1.1", &many)),
        (431, head("GET /stats HTTP/1.1", &format!("A: {}\r\n", "b".repeat(80_000)))),
        (505, head("GET /stats HTTP/2.0", "")),
        (413, [head("POST /webhook HTTP/1.1", "Content-Length: 70000\r\n"), vec![b'x'; 70_000]].concat()),
    ]
}

#[test]
fn a_refused_request_keeps_its_id_and_its_client() {
    let service = Setup::new().with("TRUSTED_PROXIES", "127.0.0.1").start();
    for (number, (status, bytes)) in
        refused("X-Request-ID: id-@\r\nX-Forwarded-For: 198.51.100.7\r\n").into_iter().enumerate()
    {
        let id = format!("id-{number}");
        let at = bytes.windows(4).position(|four| four == b"id-@").expect("it is in there");
        let bytes = [&bytes[..at], id.as_bytes(), &bytes[at + 4..]].concat();
        let answer = sent(&service, &bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert_eq!((answer.status, answer.request_id()), (status, &*id), "{shown}");
        is_guarded(&answer);
        let line = service.logged(&answer);
        assert_eq!(line["client"], "198.51.100.7", "{line}");
        assert_eq!(line["status"], status, "{line}");
    }
}

#[test]
fn a_refused_request_without_a_sane_id_has_a_fresh_one() {
    let service = Service::start();
    for bad in ["", "X-Request-ID: a b\r\n", "X-Request-ID: \r\n", "X-Request-ID: a\r\nX-Request-ID: b\r\n"] {
        for (status, bytes) in refused(bad) {
            let answer = sent(&service, &bytes);
            assert_eq!(answer.status, status);
            assert_eq!(answer.request_id().len(), 32, "{bad}");
        }
    }
}

#[test]
fn of_a_head_that_can_be_read_in_two_ways_the_id_alone_is_believed() {
    let service = Setup::new().with("TRUSTED_PROXIES", "127.0.0.1").start();
    let answer = sent(
        &service,
        b"GET / HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\nX-Request-ID: mine\r\nHost : x\r\n\r\n",
    );
    assert_eq!(answer.expect(400).request_id(), "mine");
    assert_eq!(service.logged(&answer)["client"], "127.0.0.1");
}

#[test]
fn a_request_that_is_late_keeps_its_id() {
    let service = Setup::new().with("REQUEST_TIMEOUT_SECONDS", "1").start();
    let mut client = service.connect();
    client.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Request-ID: late\r\nContent-Length: 9\r\n\r\n");
    let answer = client.receive();
    assert_eq!(answer.expect(408).request_id(), "late");
    is_guarded(&answer);
    assert_eq!(service.logged(&answer)["path"], "/webhook");
}
