//! Section 7: everything else over HTTP, and the ways of speaking it.

use std::collections::HashSet;

use serde_json::json;

use crate::fixtures::{SECRET, ids, message, sign};
use crate::http_client::{Client, request};
use crate::service::Service;

const GETS: [&str; 9] = [
    "/",
    "/messages",
    "/stats",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/messages?limit=1",
];

fn signed_post(id: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let body = message(id).to_string();
    let signature = sign(SECRET, body.as_bytes());
    let headers = [headers, &[("X-Signature", signature.as_str())]].concat();
    request("POST", "/webhook", &headers, Some(body.as_bytes()))
}

#[test]
fn an_unknown_path_is_not_found() {
    let service = Service::start();
    for path in [
        "/nowhere",
        "/page",
        "/webhooks",
        "/messages/m1",
        "/MESSAGES",
        "/health",
        "/%00",
        "/../etc/passwd",
        "/nowhere?q=x",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = service.request(method, path, &[]);
            assert_eq!(answer.expect(404).json(), json!({"detail": "Not Found"}), "{method} {path}");
        }
    }
}

#[test]
fn a_slash_too_many_leads_to_the_path_itself() {
    let service = Service::start();
    let known = [
        "/webhook",
        "/messages",
        "/stats",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
    ];
    for path in known {
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            let answer = service.request(method, &format!("{path}/"), &[]);
            assert_eq!(answer.expect(307).header("Location"), Some(path), "{method} {path}");
            assert_eq!(answer.text(), "", "{method} {path}");
        }
    }
    let queries = [
        ("/messages/?from=%2B91&limit=1", "/messages?from=%2B91&limit=1"),
        ("/messages/?q=%C3%A9<%0d%0a>//evil.example", "/messages?q=%C3%A9<%0d%0a>//evil.example"),
        ("/messages%2F?q=x", "/messages?q=x"),
        ("http://evil.example/messages/", "/messages"),
        ("/docs/?", "/docs"),
        ("//", "/"),
    ];
    for (target, location) in queries {
        assert_eq!(service.get(target).expect(307).header("Location"), Some(location), "{target}");
    }
    let elsewhere = [
        "//evil.example/",
        "//evil.example/messages/",
        "/messages//",
        "//messages/",
        "/nowhere/",
        "/messages%3F/",
        "/\\evil.example/",
    ];
    for target in elsewhere {
        assert_eq!(service.get(target).expect(404).header("Location"), None, "{target}");
    }
    service.counted(r#"http_requests_total{path="/webhook",status="307"}"#, 4.0);
    service.counted(r#"http_requests_total{path="unmatched",status="404"}"#, elsewhere.len() as f64);
}

#[test]
fn a_redirected_message_arrives_where_the_client_follows() {
    let service = Service::start();
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let headers = [("X-Signature", signature.as_str())];
    let mut client = service.connect();
    let first = client.request("POST", "/webhook/", &headers, Some(body.as_bytes()));
    let location = first.expect(307).header("Location").expect("307 says where to").to_owned();
    client.request("POST", &location, &headers, Some(body.as_bytes())).expect(200);
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn a_wrong_method_is_told_which_are_right() {
    let service = Service::start();
    for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
        for path in GETS {
            let answer = service.request(method, path, &[]);
            assert_eq!(answer.expect(405).json(), json!({"detail": "Method Not Allowed"}), "{method} {path}");
            let allow = answer.header("Allow").expect("405 comes with Allow");
            let allowed: HashSet<_> = allow.split(',').map(str::trim).collect();
            assert!(allowed.contains("GET"), "{method} {path}: {allow}");
            assert!(!allowed.contains(method), "{method} {path}: {allow}");
        }
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = service.request(method, "/webhook", &[]);
        assert_eq!(answer.expect(405).header("Allow"), Some("POST"), "{method}");
    }
    service.request("HEAD", "/webhook", &[]).expect(405);
}

#[test]
fn head_is_get_without_its_body() {
    let service = Service::start();
    service.store(&message("m1"));
    let mut client = service.connect();
    for path in GETS {
        let get = client.get(path);
        // On one connection: a body sent by mistake would be read as the next answer.
        let head = client.request("HEAD", path, &[], None);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
        if !path.starts_with("/metrics") {
            assert_eq!(head.header("Content-Length"), get.header("Content-Length"), "{path}");
        }
    }
    client.request("HEAD", "/nowhere", &[], None).expect(404);
    client.request("HEAD", "/messages?limit=0", &[], None).expect(422);
    client.get("/health/live").expect(200);
}

#[test]
fn every_answer_carries_a_request_id() {
    let service = Service::start();
    let mut seen = HashSet::new();
    let long = vec![b'x'; 65_537];
    let answers = [
        service.get("/health/live"),
        service.get("/messages"),
        service.get("/messages?limit=0"),
        service.get("/nowhere"),
        service.get("/webhook"),
        service.get("/metrics"),
        service.get("/docs"),
        service.request("HEAD", "/stats", &[]),
        service.post(&message("m1")),
        service.post(&message("m1")),
        service.post(&json!({})),
        service.post_signed(&[], b"{}"),
        service.post_bytes(&long),
    ];
    for answer in answers {
        let id = answer.request_id().to_owned();
        assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
        assert!(seen.insert(id), "a fresh id is given once");
    }
}

#[test]
fn a_sane_request_id_is_echoed_and_another_replaced() {
    let service = Service::start();
    let longest = "x".repeat(128);
    for sane in [
        "a",
        "abc-123",
        "550e8400-e29b-41d4-a716-446655440000",
        "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        &longest,
    ] {
        for path in ["/health/live", "/nowhere", "/webhook"] {
            let answer = service.request("GET", path, &[("X-Request-ID", sane)]);
            assert_eq!(answer.request_id(), sane, "{path}");
        }
        assert_eq!(service.post_signed(&[("x-request-id", sane)], b"").request_id(), sane);
    }
    let too_long = "x".repeat(129);
    for insane in ["", "two words", "tab\there", "é", "😀😀😀😀", "id-é", &too_long] {
        let given = || {
            let answer = service.request("GET", "/health/live", &[("X-Request-ID", insane)]);
            answer.expect(200).request_id().to_owned()
        };
        let (one, other) = (given(), given());
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic()), "{insane:?}: {one:?}");
        assert_ne!(one, insane);
        assert_ne!(one, other, "{insane:?} is replaced by a fresh id each time");
    }
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let service = Service::start();
    let mut client = service.connect();
    for number in 0..50 {
        client.send(&signed_post(&format!("m{number}"), &[]));
        client.receive().expect(200);
        client.get("/nowhere").expect(404);
        client.request("POST", "/stats", &[], Some(b"a body that nobody wants")).expect(405);
        client.request("POST", "/webhook", &[], Some(b"unsigned")).expect(401);
    }
    assert_eq!(client.get("/messages").json()["total"], 50);
}

#[test]
fn a_client_that_asks_for_close_gets_it() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(&request("GET", "/health/live", &[("Connection", "close")], None));
    client.receive().expect(200);
    assert_eq!(client.read_until_closed(), b"");
}

#[test]
fn a_client_that_has_said_everything_is_answered_and_let_go() {
    let service = Service::start();
    let mut client = service.connect();
    client.get("/health/live").expect(200);
    // Paused, so that the request and the end of all requests are there at one moment.
    service.signal("STOP");
    client.send(&signed_post("m1", &[]));
    client.finish_sending();
    service.signal("CONT");
    client.receive().expect(200);
    assert_eq!(client.read_until_closed(), b"");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = Service::start();
    let mut client = service.connect();
    let mut sent = Vec::new();
    for number in 0..20 {
        let id = format!("request-{number}");
        let headers = [("X-Request-ID", id.as_str())];
        match number % 4 {
            0 => sent.extend(signed_post(&format!("m{number:02}"), &headers)),
            1 => sent.extend(request("GET", "/messages", &headers, None)),
            2 => sent.extend(request("GET", "/nowhere", &headers, None)),
            _ => sent.extend(request("POST", "/webhook", &headers, Some(b"unsigned"))),
        }
    }
    client.send(&sent);
    for number in 0..20 {
        let answer = client.receive();
        assert_eq!(answer.request_id(), format!("request-{number}"));
        assert_eq!(answer.status, [200, 200, 404, 401][number % 4]);
        if number % 4 == 1 {
            // A request sees what the one before it on the same connection has stored.
            assert_eq!(ids(&answer).last(), Some(&format!("m{:02}", number - 1)));
        }
    }
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let service = Service::start();
    let mut client = service.connect();
    for byte in signed_post("m1", &[]) {
        client.send(&[byte]);
    }
    client.receive().expect(200);
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn a_chunked_body_is_put_together() {
    let service = Service::start();
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-Signature: {signature}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut client = service.connect();
    for size in [1, 7, body.len()] {
        let mut sent = head.clone();
        for chunk in body.as_bytes().chunks(size) {
            sent.push_str(&format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
        }
        sent.push_str("0\r\n\r\n");
        client.send(sent.as_bytes());
        client.receive().expect(200);
    }
    client.get("/health/live").expect(200);
    assert_eq!(ids(&client.get("/messages")), ["m1"]);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let service = Service::start();
    let mut client = service.connect();
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    client.send(
        format!(
            "POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-Signature: {signature}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(client.receive_interim(), 100);
    client.send(body.as_bytes());
    client.receive().expect(200);
}

#[test]
fn a_client_that_waits_for_100_continue_is_spared_a_body_too_large() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n",
    );
    let answer = client.receive();
    answer.expect(413);
    assert!(answer.interim.is_empty(), "it must not be asked for what is refused");
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(b"GET /messages HTTP/1.0\r\n\r\n");
    let answer = client.receive();
    answer.expect(200);
    assert_eq!(answer.header("Transfer-Encoding"), None, "HTTP/1.0 knows no chunks");
    assert_eq!(client.read_until_closed(), b"");

    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let mut client = Client::connect(&service.address);
    client.send(
        format!(
            "POST /webhook HTTP/1.0\r\nX-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    client.receive().expect(200);
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}
