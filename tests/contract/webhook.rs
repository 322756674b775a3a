//! Section 2: POST /webhook, its checks and their order, and what a stored message looks like afterwards.

use serde_json::json;

use crate::fixtures::{SECRET, eventually, ids, message, message_with, sign};
use crate::service::Service;
use crate::setup::Setup;

/// What is wrong, whom it is sent to, body, signature, status, result label.
type Case<'a> = (&'a str, &'a Service, &'a [u8], Option<String>, u16, &'a str);

const RESULTS: [&str; 6] =
    ["created", "duplicate", "invalid_signature", "too_large", "unavailable", "validation_error"];

#[test]
fn a_signed_message_is_stored_and_read_back_as_it_was_sent() {
    let service = Service::start();
    let sent = message("m1");
    let answer = service.post(&sent);
    assert_eq!(answer.expect(200).json(), json!({"status": "ok"}));
    let media_type = answer.header("Content-Type").unwrap();
    assert!(media_type.starts_with("application/json"), "{media_type}");

    let page = service.get("/messages").expect(200).json();
    let stored = &page["data"][0];
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&stored[name], value, "{name}");
    }
    assert_eq!(page["total"], 1);
}

#[test]
fn a_duplicate_is_acknowledged_and_stored_once() {
    let service = Service::start();
    service.store(&message("m1"));
    let before = service.get("/messages").json();
    let other =
        json!({"from": "+1", "to": "+2", "ts": "2030-01-01T00:00:00Z", "text": "something else entirely"});
    service.store(&message_with("m1", &other));
    service.store(&message("m1"));
    assert_eq!(service.get("/messages").json(), before);
    service.resulted("created", 1.0);
    service.resulted("duplicate", 2.0);
}

#[test]
fn the_first_failed_check_answers() {
    let plain = Setup::new().start();
    let no_secret = Setup::new().without("WEBHOOK_SECRET").start();
    let long = vec![b'x'; 65_537];
    let invalid = b"{}".as_slice();
    let duplicate_but_invalid = message_with("m1", &json!({"from": "nobody"})).to_string();
    plain.store(&message("m1"));
    let signed = |body: &[u8]| Some(sign(SECRET, body));
    let wrong = Some("00".repeat(32));

    let cases: [Case; 9] = [
        ("too large before no secret", &no_secret, &long, signed(&long), 413, "too_large"),
        ("too large before no signature", &plain, &long, None, 413, "too_large"),
        ("too large before not JSON", &plain, &long, signed(&long), 413, "too_large"),
        ("no secret before no signature", &no_secret, invalid, None, 503, "unavailable"),
        ("no secret before invalid", &no_secret, invalid, signed(invalid), 503, "unavailable"),
        ("no signature before invalid", &plain, invalid, None, 401, "invalid_signature"),
        ("wrong signature before not JSON", &plain, b"{", wrong, 401, "invalid_signature"),
        ("not JSON", &plain, b"{", signed(b"{"), 422, "validation_error"),
        (
            "invalid before duplicate",
            &plain,
            duplicate_but_invalid.as_bytes(),
            signed(duplicate_but_invalid.as_bytes()),
            422,
            "validation_error",
        ),
    ];
    for (case, service, body, signature, status, result) in cases {
        let before: Vec<f64> = RESULTS.iter().map(|label| service.results(label)).collect();
        let headers: Vec<_> = signature.iter().map(|value| ("X-Signature", value.as_str())).collect();
        let answer = service.post_signed(&headers, body);
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(service.logged(&answer)["result"], result, "{case}");
        for (label, before) in RESULTS.iter().zip(before) {
            service.resulted(label, before + f64::from(u8::from(*label == result)));
        }
    }
    assert_eq!(plain.get("/messages").json()["total"], 1);
    assert_eq!(no_secret.get("/messages").json()["total"], 0);
}

#[test]
fn a_body_of_exactly_the_bound_is_taken_and_one_byte_more_is_not() {
    let service = Service::start();
    let mut body = message("m1").to_string();
    body.push_str(&" ".repeat(65_536 - body.len()));
    service.post_bytes(body.as_bytes()).expect(200);
    body.push(' ');
    let answer = service.post_bytes(body.as_bytes());
    assert_eq!(answer.expect(413).json(), json!({"detail": "request body too large"}));
}

#[test]
fn a_declared_length_over_the_bound_is_refused_before_the_body_is_sent() {
    let service = Service::start();
    for declared in ["65537", "1000000000000", "18446744073709551615"] {
        let mut client = service.connect();
        client.send(
            format!("POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: {declared}\r\n\r\n")
                .as_bytes(),
        );
        let answer = client.receive();
        assert_eq!(answer.expect(413).json(), json!({"detail": "request body too large"}), "{declared}");
        service.get("/health/live").expect(200);
    }
}

#[test]
fn a_streamed_body_over_the_bound_is_refused() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
    for _ in 0..5 {
        client.send(&chunk);
    }
    let answer = client.receive();
    assert_eq!(answer.expect(413).json(), json!({"detail": "request body too large"}));
    service.get("/health/live").expect(200);
}

#[test]
fn a_large_body_sent_whole_still_reads_its_refusal() {
    let service = Service::start();
    let mut client = service.connect();
    let body = vec![b'x'; 1_000_000];
    // The service may hang up before it has taken everything.
    drop(client.try_send(&crate::http_client::request("POST", "/webhook", &[], Some(&body))));
    client.receive().expect(413);
}

#[test]
fn a_locked_database_is_answered_with_503_and_the_retry_is_stored_once() {
    let service = Service::start();
    service.store(&message("m0"));
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = service.post(&message("m1"));
    assert!(answer.expect(503).json()["detail"].is_string());
    assert!(answer.header("Retry-After").is_some());
    assert_eq!(service.logged(&answer)["result"], "unavailable");
    service.resulted("unavailable", 1.0);
    assert_eq!(ids(&service.get("/messages")), ["m0"]);

    lock.execute_batch("ROLLBACK").unwrap();
    eventually("the retry is stored", || (service.post(&message("m1")).status == 200).then_some(()));
    assert_eq!(ids(&service.get("/messages")), ["m0", "m1"]);
    service.resulted("created", 2.0);
}

#[test]
fn a_full_disk_is_answered_with_503_and_every_acknowledged_message_is_there() {
    // Beyond this file size a write fails as it does on a full disk; trapped, so that it is no deadly signal.
    let service = Setup::new().through_shell(r#"trap '' XFSZ; ulimit -f 1024; exec "$0" "$@""#).start();
    let text = "x".repeat(4000);
    let mut acknowledged = Vec::new();
    let refused = (0..2000).find_map(|number| {
        let id = format!("m{number:04}");
        let answer = service.post(&message_with(&id, &json!({"text": text})));
        if answer.status == 200 {
            acknowledged.push(id);
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the disk was full at some point");
    assert!(refused.expect(503).header("Retry-After").is_some());
    service.get("/health/live").expect(200);
    assert_eq!(service.get("/stats").json()["total_messages"], acknowledged.len());

    let setup = service.kill();
    let database = setup.database();
    let mut statement = database.prepare("SELECT message_id FROM messages ORDER BY message_id").unwrap();
    let stored: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(stored, acknowledged);
}

#[test]
fn a_database_that_was_taken_away_is_not_written_to() {
    let service = Service::start();
    service.store(&message("m1"));
    for name in ["app.db", "app.db-wal", "app.db-shm"] {
        std::fs::rename(service.path(name), service.path(&format!("moved-{name}"))).unwrap();
    }
    // What the path names is what survives; a commit into a file without a name would be lost.
    let answer = service.post(&message("m2"));
    assert!(answer.expect(503).header("Retry-After").is_some());
    eventually("it is no longer ready", || (service.get("/health/ready").status == 503).then_some(()));
    service.get("/health/live").expect(200);
}
