//! Section 1, `ALLOWED_HOSTS`: whom a request has to be sent to.

use serde_json::{Value, json};

use crate::fixtures::{SECRET, message, sign};
use crate::service::Service;
use crate::setup::Setup;

const NAMES: &str = "Hooks.example.org, localhost,127.0.0.1,[::1]";

fn serving(names: &str) -> Service {
    Setup::new().with("ALLOWED_HOSTS", names).start()
}

/// What is answered to this request line with these header lines.
#[track_caller]
fn asked(service: &Service, request_line: &str, headers: &[&str]) -> u16 {
    let mut client = service.connect();
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    client.send(format!("{request_line}\r\n{lines}\r\n").as_bytes());
    let answer = client.receive();
    if answer.status == 421 {
        assert!(answer.json()["detail"].is_string(), "{:?}", answer.text());
    }
    answer.status
}

#[track_caller]
fn with_host(service: &Service, host: &str) -> u16 {
    asked(service, "GET /stats HTTP/1.1", &[&format!("Host: {host}")])
}

#[test]
fn a_host_that_is_named_is_served_and_no_other() {
    let service = serving(NAMES);
    for host in [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "hooks.example.org:443",
        "127.0.0.1:1",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]",
    ] {
        assert_eq!(with_host(&service, host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "hooks.example.org.evil.example:443",
        "127.0.0.2",
        "0.0.0.0",
        "[::2]",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(with_host(&service, host), 421, "{host}");
    }
    service.counted("http_requests_total{path=\"/stats\",status=\"421\"}", 8.0);
}

#[test]
fn every_route_asks_but_those_of_health() {
    let service = Setup::new().with("ALLOWED_HOSTS", "hooks.example.org").with("API_TOKEN", "t0ken").start();
    let host = "Host: evil.example";
    for path in ["/", "/docs", "/openapi.json", "/messages", "/stats", "/metrics", "/webhook", "/nowhere"] {
        for method in ["GET", "POST", "DELETE"] {
            let line = format!("{method} {path} HTTP/1.1");
            assert_eq!(asked(&service, &line, &[host]), 421, "{method} {path}");
        }
    }
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(asked(&service, &format!("GET {path} HTTP/1.1"), &[host]), 200, "{path}");
    }
    // Right, and still guarded.
    assert_eq!(asked(&service, "GET /stats HTTP/1.1", &["Host: hooks.example.org"]), 401);
    assert_eq!(asked(&service, "GET /nowhere HTTP/1.1", &["Host: hooks.example.org"]), 404);
}

#[test]
fn nothing_is_stored_for_a_host_that_is_not_named() {
    let service = serving("hooks.example.org");
    let body = message("m1").to_string();
    let signature = format!("X-Signature: {}", sign(SECRET, body.as_bytes()));
    let length = format!("Content-Length: {}", body.len());
    for (host, status) in [("evil.example", 421), ("hooks.example.org", 200)] {
        let mut client = service.connect();
        let head = format!("POST /webhook HTTP/1.1\r\nHost: {host}\r\n{signature}\r\n{length}\r\n\r\n{body}");
        client.send(head.as_bytes());
        let answer = client.receive();
        answer.expect(status);
        assert_eq!(
            service.logged(&answer)["result"],
            if status == 200 { json!("created") } else { Value::Null }
        );
        // The connection goes on.
        assert_eq!(client.get("/health/live").status, 200);
    }
}

#[test]
fn the_host_of_a_url_counts_and_not_the_header_beside_it() {
    let service = serving("hooks.example.org");
    for (target, host, status) in [
        ("http://hooks.example.org/stats", "hooks.example.org", 200),
        ("http://HOOKS.example.org:8000/stats", "evil.example", 200),
        ("http://evil.example/stats", "hooks.example.org", 421),
        ("http://evil.example/health/live", "evil.example", 200),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(asked(&service, &line, &[&format!("Host: {host}")]), status, "{target} {host}");
    }
}

#[test]
fn a_host_that_is_missing_or_there_twice_is_never_the_right_one() {
    let service = serving("localhost");
    assert_eq!(asked(&service, "GET /stats HTTP/1.1", &[]), 400);
    assert_eq!(asked(&service, "GET /stats HTTP/1.1", &["Host: localhost", "Host: localhost"]), 400);
    assert_eq!(asked(&service, "GET /stats HTTP/1.0", &[]), 421);
    assert_eq!(asked(&service, "GET /stats HTTP/1.0", &["Host: localhost"]), 200);
    assert_eq!(asked(&service, "GET /health/live HTTP/1.0", &[]), 200);
    let service = serving("");
    assert_eq!(with_host(&service, "evil.example"), 200);
    assert_eq!(asked(&service, "GET /stats HTTP/1.0", &[]), 200);
}

#[test]
fn a_name_that_no_host_can_have_stops_the_start() {
    // A list that names nobody would let everybody in.
    for bad in
        [",", " , ", "localhost:8000", "*", "*.example.org", "http://localhost", "a b", "localhost;127.0.0.1"]
    {
        Setup::new().with("ALLOWED_HOSTS", bad).is_refused(78, &["ALLOWED_HOSTS", bad]);
    }
}
