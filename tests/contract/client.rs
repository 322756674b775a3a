//! Whom a log line names as the client: the peer, or whom a trusted proxy says it speaks for.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use serde_json::{Value, json};

use crate::fixtures::{SECRET, eventually, message, sign};
use crate::http_client::{Address, Answer, Client, request};
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::{Lack, lacks};

fn trusting(proxies: &str) -> Service {
    Setup::new().with("TRUSTED_PROXIES", proxies).start()
}

#[track_caller]
fn client_of(service: &Service, answer: &Answer) -> Value {
    service.logged(answer)["client"].clone()
}

/// The client of a webhook that came with these values of `X-Forwarded-For`.
#[track_caller]
fn client_with(service: &Service, forwarded: &[&str]) -> Value {
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let mut headers = vec![("X-Signature", signature.as_str())];
    headers.extend(forwarded.iter().map(|value| ("X-Forwarded-For", *value)));
    let answer = service.post_signed(&headers, body.as_bytes());
    answer.expect(200);
    client_of(service, &answer)
}

#[test]
fn nobody_is_believed_unless_that_is_set() {
    for service in [Service::start(), trusting(""), trusting("192.0.2.1,unix,fd00::/8")] {
        assert_eq!(client_with(&service, &[]), "127.0.0.1");
        assert_eq!(client_with(&service, &["198.51.100.7"]), "127.0.0.1");
    }
}

#[test]
fn a_trusted_proxy_says_for_whom_it_speaks() {
    let service = trusting("10.0.0.0/8, 127.0.0.1");
    assert_eq!(client_with(&service, &[]), "127.0.0.1");
    assert_eq!(client_with(&service, &["198.51.100.7"]), "198.51.100.7");
    assert_eq!(client_with(&service, &["2001:db8::7"]), "2001:db8::7");
    // What the client itself has written stands farther to the left than what proxies add.
    assert_eq!(client_with(&service, &["203.0.113.66, 198.51.100.7, 10.1.2.3"]), "198.51.100.7");
    assert_eq!(client_with(&service, &["203.0.113.66", "198.51.100.7:4711", "10.1.2.3"]), "198.51.100.7");
}

#[test]
fn garbage_in_the_header_breaks_no_line() {
    let service = trusting("127.0.0.1,10.0.0.1");
    let long = "198.51.100.7,".repeat(4000);
    for garbage in [
        "",
        ",,,",
        "unknown",
        "\"quoted\\",
        "<script>\t{\"client\":\"root\"}",
        "198.51.100.999",
        "1.2.3.4.5",
        "[::1",
        "\u{202e}\u{85}é",
        &"x".repeat(60_000),
    ] {
        assert_eq!(client_with(&service, &[garbage]), "127.0.0.1", "{garbage:?}");
        let mixed = format!("198.51.100.7, {garbage}, 10.0.0.1");
        let expected = if garbage.replace(',', "").is_empty() { "198.51.100.7" } else { "10.0.0.1" };
        assert_eq!(client_with(&service, &[&mixed]), expected, "{garbage:?}");
    }
    assert_eq!(client_with(&service, &[&long]), "198.51.100.7");
}

#[test]
fn peers_of_a_unix_socket_are_trusted_as_unix() {
    for (proxies, expected) in [("unix", "198.51.100.7"), ("127.0.0.1,::/0", "unix")] {
        let setup = Setup::new().with("TRUSTED_PROXIES", proxies);
        let path = setup.path("http.sock");
        let service = setup.with("LISTEN_ADDR", &format!("unix:{}", path.display())).start();
        assert_eq!(client_with(&service, &["198.51.100.7"]), expected, "{proxies}");
        assert_eq!(client_with(&service, &[]), "unix");
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
    let port = free_port();
    if TcpListener::bind(("::", port)).is_err() {
        return lacks(Lack::Ipv6);
    }
    let setup = Setup::new().with("LISTEN_ADDR", &format!("[::]:{port}"));
    let service =
        setup.with("TRUSTED_PROXIES", "127.0.0.0/8").start_at(Address::Tcp(format!("127.0.0.1:{port}")));
    assert_eq!(client_with(&service, &[]), "127.0.0.1");
    assert_eq!(client_with(&service, &["::ffff:198.51.100.7"]), "198.51.100.7");
}

#[test]
fn a_socket_passed_by_systemd_has_peers_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    let service = Setup::new()
        .with_stdin(OwnedFd::from(listener))
        .through_shell("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve")
        .start_at(Address::Tcp(address));
    assert_eq!(client_with(&service, &["198.51.100.7"]), "127.0.0.1");
}

#[test]
fn what_is_refused_before_it_is_a_request_has_a_client_too() {
    let service =
        Setup::new().with("TRUSTED_PROXIES", "127.0.0.1").with("REQUEST_TIMEOUT_SECONDS", "1").start();
    let forwarded = [("X-Forwarded-For", "198.51.100.7")];
    // Refused for its head: nothing in that is believed.
    let mut client = service.connect();
    client.send(b"GET / HTTP/1.1\r\nX-Forwarded-For: 198.51.100.7\r\nHost : x\r\n\r\n");
    let answer = client.receive();
    answer.expect(400);
    assert_eq!(client_of(&service, &answer), "127.0.0.1");
    // Refused for its body, of which nothing comes, or not all, or no chunks.
    let with_body = request("POST", "/webhook", &forwarded, Some(b"{}"));
    let mut slow = service.connect();
    slow.send(&with_body[..with_body.len() - 1]);
    let answer = slow.receive();
    answer.expect(408);
    assert_eq!(client_of(&service, &answer), "198.51.100.7");
    let mut broken = service.connect();
    broken.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
    let answer = broken.receive();
    answer.expect(400);
    assert_eq!(client_of(&service, &answer), "198.51.100.7");
    assert_eq!(service.logged(&answer)["path"], "/webhook");
    // Nothing that could be a line at all.
    let mut nonsense = service.connect();
    nonsense.send(b"\x16\x03\x01\r\n\r\n");
    drop(nonsense);
    let line = eventually("the nonsense is logged", || {
        service.stdout.json().into_iter().find(|line| line["method"] == Value::Null && line["status"] == 400)
    });
    assert_eq!(line["client"], "127.0.0.1", "{line}");
}

#[test]
fn every_request_line_has_a_client_and_no_other_line_has() {
    let service = Service::start();
    service.get("/nowhere").expect(404);
    service.post(&json!({})).expect(422);
    let log = service.stop_and_read_log();
    for line in crate::output::parse_lines(&log) {
        assert_eq!(line["client"].is_string(), line["request_id"].is_string(), "{line}");
    }
}

#[test]
fn a_list_that_is_none_stops_the_start() {
    for bad in ["localhost", "10.0.0.0/33", "127.0.0.1;10.0.0.1", "*"] {
        let mut setup = Setup::new().with("TRUSTED_PROXIES", bad);
        setup.is_refused(78, &["TRUSTED_PROXIES", bad, "unix", "127.0.0.1,10.0.0.0/8"]);
    }
}

#[test]
fn a_proxy_that_keeps_its_connection_speaks_for_many() {
    let service = trusting("127.0.0.0/8");
    let mut proxy = Client::connect(&service.address);
    for number in 1..=3 {
        let client = format!("198.51.100.{number}");
        let answer = proxy.request("GET", "/health/live", &[("X-Forwarded-For", &client)], None);
        assert_eq!(client_of(&service, &answer), client);
    }
}
