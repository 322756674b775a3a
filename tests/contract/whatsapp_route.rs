//! Section 14: what `POST /whatsapp` takes in, and in which order it looks.

use std::fs;

use serde_json::json;

use crate::fixtures::{SECRET, ids, message, sign};
use crate::http_client::request;
use crate::setup::Setup;
use crate::whatsapp_bodies::{
    APP_SECRET, HEADER, MAX_BYTES, body_of, deliver, items, post, reload, signature, texts, whatsapp,
};

#[test]
fn a_message_is_stored_and_read_back() {
    let service = whatsapp().start();
    let answer = deliver(&service, texts(&["wamid.1"]));
    assert_eq!(answer.expect(200).json(), json!({"status": "ok"}));
    let row = json!({"message_id": "wamid.1", "from": "+14155550123", "to": "+14155550100", "ts": "2025-06-08T20:59:43Z", "text": "Hello"});
    assert_eq!(service.get("/messages").json()["data"], json!([row]));
    assert_eq!(service.get("/stats").json()["total_messages"], 1);
    let fed = service.get("/feed").json()["data"][0]["message_id"].clone();
    assert_eq!(fed, "wamid.1");
}

#[test]
fn a_signature_is_the_one_that_meta_sends_and_no_other() {
    let service = whatsapp().start();
    let body = texts(&["wamid.1"]);
    let right = sign(APP_SECRET, body.as_bytes());
    let prefixed = format!("sha256={right}");
    let wrong = format!("sha256={}", "00".repeat(32));
    for (why, headers, status) in [
        ("as Meta sends it", vec![(HEADER, prefixed.clone())], 200),
        ("another case of the name", vec![("x-hub-signature-256", prefixed.clone())], 200),
        ("digits in upper case", vec![(HEADER, format!("sha256={}", right.to_uppercase()))], 200),
        ("all in upper case", vec![(HEADER, prefixed.to_uppercase())], 200),
        (
            "the old one beside it",
            vec![(HEADER, prefixed.clone()), ("X-Hub-Signature", format!("sha1={}", "0".repeat(40)))],
            200,
        ),
        ("none", vec![], 401),
        ("empty", vec![(HEADER, String::new())], 401),
        ("without its prefix", vec![(HEADER, right.clone())], 401),
        ("another prefix", vec![(HEADER, format!("sha1={right}"))], 401),
        ("two prefixes", vec![(HEADER, format!("sha256={prefixed}"))], 401),
        ("twice", vec![(HEADER, prefixed.clone()), (HEADER, prefixed.clone())], 401),
        ("the first wrong", vec![(HEADER, wrong.clone()), (HEADER, prefixed.clone())], 401),
        ("two in one", vec![(HEADER, format!("{prefixed}, {prefixed}"))], 401),
        ("wrong", vec![(HEADER, wrong.clone())], 401),
        ("a digit short", vec![(HEADER, prefixed[..70].to_owned())], 401),
        ("the old one alone", vec![("X-Hub-Signature", prefixed.clone())], 401),
        ("that of the webhook", vec![("X-Signature", prefixed.clone())], 401),
        (
            "under the webhook's secret",
            vec![(HEADER, format!("sha256={}", sign(SECRET, body.as_bytes())))],
            401,
        ),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = post(&service, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{why}");
        if status == 401 {
            assert_eq!(answer.json(), json!({"detail": "invalid signature"}), "{why}");
            let line = service.logged(&answer);
            assert_eq!(
                (&line["level"], &line["result"]),
                (&json!("ERROR"), &json!("invalid_signature")),
                "{why}"
            );
            assert_eq!(line["items"], 0, "{line}");
        }
    }
    // Neither may sign for the other.
    let own = message("m1").to_string();
    service.post_signed(&[("X-Signature", &sign(APP_SECRET, own.as_bytes()))], own.as_bytes()).expect(401);
    assert_eq!(ids(&service.get("/messages")), ["wamid.1"]);
}

#[test]
fn what_is_signed_is_taken_whatever_it_says_it_is() {
    let service = whatsapp().start();
    for (n, (name, value)) in [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "identity"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = texts(&[&format!("wamid.{n}")]);
        post(&service, &[(name, value), (HEADER, &signature(body.as_bytes()))], body.as_bytes()).expect(200);
    }
    assert_eq!(service.get("/messages").json()["total"], 4);
    // Nor does it matter what is in it.
    for (n, odd) in
        ["", "not json", "{", "null", "[]", "{}", "\u{feff}{}", "{\"entry\":5}", "\0"].iter().enumerate()
    {
        deliver(&service, odd).expect(200);
        assert_eq!(items(&service, "other", "unmapped"), (n + 1) as f64, "{odd:?}");
    }
    for odd in [&b"\xff\xfe"[..], &[b'['; 200_000], &b"{\"entry\":".repeat(20_000)] {
        deliver(&service, odd).expect(200);
    }
    assert_eq!(service.get("/messages").json()["total"], 4);
}

#[test]
fn its_bound_is_its_own() {
    for max_body_bytes in ["1000", "65536", "16777216"] {
        let service = whatsapp().with("MAX_BODY_BYTES", max_body_bytes).start();
        deliver(&service, body_of(MAX_BYTES)).expect(200);
        let large = vec![b'x'; MAX_BYTES + 1];
        let answer = deliver(&service, &large);
        assert_eq!(answer.expect(413).json(), json!({"detail": "request body too large"}));
        let line = service.logged(&answer);
        assert_eq!((&line["level"], &line["result"]), (&json!("WARNING"), &json!("too_large")), "{line}");
    }
    let service = whatsapp().start();
    service.post_bytes(&vec![b'x'; 65_537]).expect(413);
    service.connect().request("PUT", "/whatsapp", &[], Some(&vec![b'x'; 65_537])).expect(405);
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /whatsapp HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        signature(body)
    );
    let mut bytes = head.into_bytes();
    for chunk in body.chunks(100_000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

#[test]
fn its_bound_holds_for_chunks_as_well() {
    let service = whatsapp().start();
    let mut client = service.connect();
    client.send(&chunked(&body_of(MAX_BYTES)));
    client.receive().expect(200);
    // The answer comes while the rest is on its way.
    drop(client.try_send(&chunked(&vec![b'x'; MAX_BYTES + 1])));
    client.receive().expect(413);
    assert_eq!(ids(&service.get("/messages")), ["wamid.long"]);
}

#[test]
fn a_large_body_may_wait_for_leave() {
    let service = whatsapp().start();
    let body = body_of(3_000_000);
    let signature = signature(&body);
    let head = |leave: &str, length: usize| {
        let start = format!("POST /whatsapp HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {signature}\r\n");
        format!("{start}{leave}Content-Length: {length}\r\n\r\n").into_bytes()
    };
    let leave = "Expect: 100-continue\r\n";
    let mut client = service.connect();
    client.send(&head(leave, body.len()));
    assert_eq!(client.receive_interim(), 100);
    client.send(&body);
    client.receive().expect(200);
    // On the same connection again, with the next request right behind it.
    client.send(&[head("", body.len()), body.clone(), request("GET", "/messages", &[], None)].concat());
    client.receive().expect(200);
    assert_eq!(ids(&client.receive()), ["wamid.long"]);
    client.send(&head(leave, MAX_BYTES + 1));
    let answer = client.receive();
    assert_eq!((answer.status, answer.interim), (413, vec![]));
}

#[test]
fn the_first_failure_answers() {
    let service = Setup::new().with("WHATSAPP_VERIFY_TOKEN", "t0ken").start();
    let answer = deliver(&service, texts(&["wamid.1"]));
    assert_eq!(answer.expect(503).json(), json!({"detail": "WHATSAPP_APP_SECRET is not set"}));
    assert!(answer.header("Retry-After").is_some());
    let line = service.logged(&answer);
    assert_eq!((&line["level"], &line["result"]), (&json!("ERROR"), &json!("unavailable")));
    post(&service, &[], b"{}").expect(503);
    post(&service, &[], &vec![b'x'; MAX_BYTES + 1]).expect(413);
    post(&whatsapp().start(), &[], &vec![b'x'; MAX_BYTES + 1]).expect(413);
    assert_eq!(service.get("/messages").json()["total"], 0);
}

#[test]
fn one_secret_is_enough_to_be_ready() {
    let service = whatsapp().without("WEBHOOK_SECRET").start();
    service.get("/health/ready").expect(200);
    assert_eq!(service.metric("service_ready"), 1.0);
    deliver(&service, texts(&["wamid.1"])).expect(200);
    assert_eq!(
        service.post(&message("m1")).expect(503).json(),
        json!({"detail": "WEBHOOK_SECRET is not set"})
    );
    let service = Setup::new().without("WEBHOOK_SECRET").with("WHATSAPP_VERIFY_TOKEN", "t0ken").start();
    let reason = service.get("/health/ready").expect(503).json()["detail"].as_str().unwrap().to_owned();
    assert!(reason.contains("WEBHOOK_SECRET") && reason.contains("WHATSAPP_APP_SECRET"), "{reason}");
    assert_eq!(service.metric("service_ready"), 0.0);
}

#[test]
fn an_app_secret_is_changed_without_losing_anything() {
    let setup = Setup::new();
    let (secret, previous) = (setup.file("secret", "first\n"), setup.file("previous", "first"));
    let setup = setup.with("WHATSAPP_APP_SECRET_FILE", &secret);
    let service = setup.with("WHATSAPP_APP_SECRET_PREVIOUS_FILE", &previous).start();
    let under = |secret: &str| {
        let body = texts(&["wamid.1"]);
        let signature = format!("sha256={}", sign(secret, body.as_bytes()));
        post(&service, &[(HEADER, &signature)], body.as_bytes()).status
    };
    assert_eq!((under("first"), under("second")), (200, 401));
    fs::write(&secret, "second").unwrap();
    reload(&service, "reloaded");
    assert_eq!((under("first"), under("second"), under("third")), (200, 200, 401));
    fs::write(&secret, "").unwrap();
    reload(&service, "reload_failed");
    assert_eq!(under("second"), 200);
    fs::write(&secret, "second").unwrap();
    fs::write(&previous, "second").unwrap();
    reload(&service, "reloaded");
    assert_eq!((under("first"), under("second")), (401, 200));
}
