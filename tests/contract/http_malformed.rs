//! Section 7: bytes that are no request get 400 and a closed connection, and nothing behind them is read.

use serde_json::json;

use crate::fixtures::{SECRET, eventually, message, sign};
use crate::http_client::{Client, request, signed_post};
use crate::service::Service;

/// Sends these bytes and a valid request behind them, and gives everything that comes back.
#[track_caller]
fn answered(service: &Service, bytes: &[u8]) -> String {
    let mut client = service.connect();
    let behind = request("GET", "/health/live", &[("X-Request-ID", "smuggled")], None);
    // The service may hang up before it has taken everything.
    drop(client.try_send(&[bytes, &behind].concat()));
    String::from_utf8_lossy(&client.read_until_closed()).into_owned()
}

fn framing(headers: &str) -> Vec<u8> {
    format!("POST /webhook HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n").into_bytes()
}

#[test]
fn malformed_framing_is_answered_with_400_and_closed() {
    let service = Service::start();
    let cases = [
        "Content-Length: abc",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 5x",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 38, 38",
        "Content-Length: ",
        "Content-Length: 38\r\nContent-Length: 39",
        "Content-Length: 0\r\nContent-Length: 38",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length : 5",
        " Content-Length: 5",
        "No colon here",
        ": no name",
        "Bad\0Name: x",
    ];
    for headers in cases {
        let received = answered(&service, &framing(headers));
        assert!(received.starts_with("HTTP/1.1 400 "), "{headers:?}: {received:?}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {received:?}");
        assert!(!received.contains("smuggled"), "{headers:?}: {received:?}");
        service.get("/health/live").expect(200);
    }
}

#[test]
fn a_coding_that_is_not_known_is_refused_and_closed() {
    let service = Service::start();
    for coding in ["xchunked", "chunked, identity", "identity, chunked", "gzip", "chunked;q=1"] {
        let received = answered(&service, &framing(&format!("Transfer-Encoding: {coding}")));
        // RFC 9112 asks for 501 here, and leaves 400 open.
        let refused = received.starts_with("HTTP/1.1 400 ") || received.starts_with("HTTP/1.1 501 ");
        assert!(refused, "{coding}: {received:?}");
        assert!(!received.contains("smuggled"), "{coding}: {received:?}");
    }
}

#[test]
fn a_malformed_request_line_is_answered_with_400_and_closed() {
    let service = Service::start();
    let cases = [
        "GET\r\n\r\n",
        "GET /health/live\r\n\r\n",
        "GET /health/live HTTP\r\n\r\n",
        "GET /health/live HTTP/x.y\r\n\r\n",
        "complete nonsense\r\n\r\n",
        "GET /health/live\t HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health/l\u{7f}ive HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /messages?q=é HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /messages#top HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET messages HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://a@x/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http:///health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
    ];
    for bytes in cases {
        let received = answered(&service, bytes.as_bytes());
        assert!(received.starts_with("HTTP/1.1 400 "), "{bytes:?}: {received:?}");
        assert!(!received.contains("smuggled"), "{bytes:?}: {received:?}");
        service.get("/health/live").expect(200);
    }
}

#[test]
fn a_host_that_names_no_host_is_answered_with_400_and_closed() {
    let service = Service::start();
    let cases = [
        "",
        "Host:\r\n",
        "Host: local host\r\n",
        "Host: user@localhost\r\n",
        "Host: localhost:x\r\n",
        "Host: localhost:65536\r\n",
        "Host: localhost:80:80\r\n",
        "Host: a, b\r\n",
        "Host: a,b\r\n",
        "Host: localhost/\r\n",
        "Host: [::1\r\n",
        "Host: löcal\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
    ];
    for host in cases {
        let received = answered(&service, format!("GET /health/live HTTP/1.1\r\n{host}\r\n").as_bytes());
        assert!(received.starts_with("HTTP/1.1 400 "), "{host:?}: {received:?}");
        assert!(!received.contains("smuggled"), "{host:?}: {received:?}");
    }
    for host in ["localhost", "LOCALHOST:8000", "localhost:", "127.0.0.1:1", "[::1]:8000", "a_b.example."] {
        let request = format!("GET /health/live HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut client = service.connect();
        client.send(request.as_bytes());
        client.receive().expect(200);
    }
}

#[test]
fn another_version_of_http_is_refused_and_costs_nothing() {
    let service = Service::start();
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        for _ in 0..10 {
            let received =
                answered(&service, format!("GET /health/live {version}\r\nHost: x\r\n\r\n").as_bytes());
            assert!(!received.contains(" 200 "), "{version}: {received:?}");
            assert!(!received.contains("smuggled"), "{version}: {received:?}");
        }
    }
    service.get("/health/ready").expect(200);
}

#[test]
fn a_refusal_carries_a_request_id_and_is_json() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(&framing("Content-Length: abc"));
    let answer = client.receive();
    assert!(answer.expect(400).json()["detail"].is_string());
    assert!(!answer.request_id().is_empty());
}

#[test]
fn a_malformed_chunked_body_stores_nothing() {
    let service = Service::start();
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-Signature: {signature}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let size = body.len();
    let chunks = [
        format!("zz\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}{body}\r\n0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}\r\n{body}0\r\n\r\n"),
        format!("{size:x}\x0c;a=b\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}\x0c\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x};a\0=b\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x};\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}\r\n{body}\r\n0\r\nno field\r\n\r\n"),
        format!("{size:x}\r\n{body}\r\n0\r\nA : b\r\n\r\n"),
        format!("{size:x}\r\n{body}\r\n0\r\nA: b\r\n folded\r\n\r\n"),
        format!("{size:x}\r\n{body}\r\n0\r\nA: \0\r\n\r\n"),
    ];
    for chunks in chunks {
        let received = answered(&service, format!("{head}{chunks}").as_bytes());
        assert!(!received.contains(" 200 "), "{chunks:?}: {received:?}");
        assert!(!received.contains("smuggled"), "{chunks:?}: {received:?}");
    }
    assert_eq!(service.get("/messages").json()["total"], 0);
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let service = Service::start();
    let whole = signed_post(SECRET, &message("m1"));
    for cut in [10, whole.len() - message("m1").to_string().len(), whole.len() - 1] {
        let mut client = service.connect();
        client.send(&whole[..cut]);
        client.finish_sending();
        let received = String::from_utf8_lossy(&client.read_until_closed()).into_owned();
        assert!(!received.contains(" 200 "), "{cut}: {received:?}");
    }
    assert_eq!(service.get("/messages").json()["total"], 0);
    service.store(&message("m1"));
}

#[test]
fn a_head_without_end_is_cut_off() {
    let service = Service::start();
    let line = format!("X-Filler: {}\r\n", "x".repeat(8_000));
    for start in ["GET /health/live HTTP/1.1\r\n".to_owned(), format!("GET /{}", "x".repeat(100_000))] {
        let mut client = service.connect();
        client.send(start.as_bytes());
        // Ten megabytes are a head that nobody needs; a service that keeps reading would keep them all.
        let cut_off = (0..1250).any(|_| client.try_send(line.as_bytes()).is_err());
        let received = client.read_until_closed();
        assert!(cut_off || !received.is_empty(), "it took everything and said nothing");
        assert!(!String::from_utf8_lossy(&received).contains(" 200 "));
    }
    service.get("/health/ready").expect(200);
}

#[test]
fn connections_that_say_nothing_or_half_a_thing_stop_nobody() {
    let service = Service::start();
    let mut held: Vec<Client> = (0..200).map(|_| service.connect()).collect();
    for (number, client) in held.iter_mut().enumerate() {
        match number % 4 {
            0 => {}
            1 => client.send(b"G"),
            2 => client.send(b"GET /health/live HTTP/1.1\r\nX-Half: "),
            _ => client.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"),
        }
    }
    eventually("a client among them is served", || {
        let posted =
            Client::try_connect(&service.address).and_then(|mut client| client.try_post(&message("m1")));
        posted.is_ok_and(|answer| answer.status == 200).then_some(())
    });
    drop(held);
    assert_eq!(service.get("/health/ready").json(), json!({"status": "ready"}));
}
