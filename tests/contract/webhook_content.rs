//! Section 2: what a body may hold, and that it survives byte for byte.

use std::fs;

use serde_json::{Value, json};

use crate::fixtures::{SECRET, ids, message, message_with, sign};
use crate::service::Service;
use crate::setup::Setup;

#[test]
fn text_survives_byte_for_byte() {
    let service = Service::start();
    let longest = "😀".repeat(4096);
    let texts = [
        "",
        " ",
        "\0",
        "before\0after",
        "line\nfeed\r\n\ttab",
        "quotes \" and \\ and /",
        "'; DROP TABLE messages; --",
        "שלום עולם \u{202e}reversed",
        "e\u{301} and é stay apart",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "\u{7f}\u{85}\u{2028}\u{fffd}\u{feff}",
        "\u{10ffff}",
        &longest,
    ];
    for (number, text) in texts.iter().enumerate() {
        service.store(&message_with(&format!("m{number:02}"), &json!({"text": text})));
    }
    let page = service.get("/messages").json();
    for (number, text) in texts.iter().enumerate() {
        assert_eq!(page["data"][number]["text"], *text, "{number}");
    }
    let database = service.database();
    let stored: Vec<u8> = database
        .query_row("SELECT CAST(text AS BLOB) FROM messages WHERE message_id = 'm03'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, b"before\0after");
}

#[test]
fn escapes_are_read_as_the_characters_they_name() {
    let service = Service::start();
    let body = br#"{"message_id":"\u006d1","from":"\u002b1","to":"+2","ts":"2025-01-15T10:00:00\u005a","text":"\ud83d\ude00\u0000\u00e9\/"}"#;
    service.post_bytes(body).expect(200);
    let stored = &service.get("/messages").json()["data"][0];
    assert_eq!(stored["message_id"], "m1");
    assert_eq!(stored["text"], "😀\0é/");
}

#[test]
fn text_may_be_absent_or_null() {
    let service = Service::start();
    let mut without = message("m1");
    without.as_object_mut().unwrap().remove("text");
    service.store(&without);
    service.store(&message_with("m2", &json!({"text": null})));
    let page = service.get("/messages").json();
    assert_eq!(page["data"][0]["text"], Value::Null);
    assert_eq!(page["data"][1]["text"], Value::Null);
    assert_eq!(page["total"], 2);
}

#[test]
fn ids_differ_in_every_byte() {
    let service = Service::start();
    let long = "i".repeat(10_000);
    let different = [" ", "M1", "a\0b", "a\0c", "a", "m1", "m1 ", "é", "e\u{301}", "😀", &long];
    for id in different {
        service.store(&message(id));
    }
    let mut expected = different.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(ids(&service.get("/messages")), expected);
    service.resulted("created", different.len() as f64);
}

#[test]
fn of_duplicate_keys_the_last_wins() {
    let service = Service::start();
    let head = r#""from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z""#;
    let valid = [
        format!(r#"{{"message_id":"first","message_id":"m1",{head},"text":"x","text":"y"}}"#),
        format!(r#"{{"message_id":5,"from":"nobody",{head},"text":["x"],"text":null,"message_id":"m2"}}"#),
    ];
    for body in valid {
        service.post_bytes(body.as_bytes()).expect(200);
    }
    let page = service.get("/messages");
    assert_eq!(ids(&page), ["m1", "m2"]);
    assert_eq!(page.json()["data"][0]["text"], "y");
    assert_eq!(page.json()["data"][1]["text"], Value::Null);

    let answer = service.post_bytes(format!(r#"{{"message_id":"m3",{head},"message_id":5}}"#).as_bytes());
    assert_eq!(answer.expect(422).json()["detail"][0]["loc"], json!(["body", "message_id"]));
}

#[test]
fn an_earlier_value_of_a_duplicate_key_may_be_whatever_it_is() {
    let service = Service::start();
    let halves = [r#""\ud800""#, r#""\ude00\ud83d""#, "1e999", "-1e999", "[1e999]", r#"{"\udc00":"\ud800"}"#];
    for (number, earlier) in halves.iter().enumerate() {
        let id = format!("m{number}");
        for field in ["message_id", "from", "to", "ts", "text"] {
            let body = format!(r#"{{"{field}":{earlier},{}"#, &message(&id).to_string()[1..]);
            let answer = service.post_bytes(body.as_bytes());
            assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        }
    }
    service.resulted("created", halves.len() as f64);
    let escaped =
        r#"{"message_id":"\ud800","from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z","\u006dessage_id":"m9"}"#;
    service.post_bytes(escaped.as_bytes()).expect(200);
    assert_eq!(ids(&service.get("/messages")).last().map(String::as_str), Some("m9"));
}

#[test]
fn a_name_that_a_library_keeps_for_itself_is_a_name_like_any_other() {
    let service = Service::start();
    let rest = &message("m1").to_string()[1..];
    for name in ["$serde_json::private::RawValue", "$serde_json::private::Number", r"\ud800", "__proto__", ""]
    {
        for value in ["5", "\"5\"", "{}", "\"{\\\"message_id\\\":1}\""] {
            let alone = service.post_bytes(format!(r#"{{"{name}":{value}}}"#).as_bytes());
            let detail = alone.expect(422).json()["detail"].clone();
            assert_eq!(detail.as_array().map(Vec::len), Some(4), "{name} {value}: {detail}");
            let beside = service.post_bytes(format!(r#"{{"{name}":{value},{rest}"#).as_bytes());
            assert_eq!(beside.status, 200, "{name} {value}: {}", beside.text());
            let within = format!(r#"{{"message_id":{{"{name}":{value}}},"message_id":"m1",{}"#, &rest[18..]);
            let within = service.post_bytes(within.as_bytes());
            assert_eq!(within.status, 200, "{name} {value}: {}", within.text());
        }
    }
    service.resulted("created", 1.0);
}

#[test]
fn one_byte_order_mark_is_passed_over_and_signed_like_the_rest() {
    let service = Service::start();
    let valid = message("m1").to_string();
    service.post_bytes(format!("\u{feff}{valid}").as_bytes()).expect(200);
    service.post_bytes(format!("\u{feff}\r\n {valid}").as_bytes()).expect(200);
    for body in [format!("\u{feff}\u{feff}{valid}"), format!(" \u{feff}{valid}"), format!("{valid}\u{feff}")]
    {
        let answer = service.post_bytes(body.as_bytes());
        assert_eq!(answer.expect(422).json()["detail"][0]["type"], "json_invalid", "{body}");
    }
    let signature = sign(SECRET, valid.as_bytes());
    let unsigned = format!("\u{feff}{valid}");
    service.post_signed(&[("X-Signature", &signature)], unsigned.as_bytes()).expect(401);
    service.resulted("created", 1.0);
}

#[test]
fn a_body_that_is_encoded_is_refused_once_it_is_known_who_sent_it() {
    let service = Service::start();
    let body = message("m1").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let post = |headers: &[(&str, &str)]| service.post_signed(headers, body.as_bytes());
    for coding in ["gzip", "deflate", "br", "identity, gzip", "x", "identity;q=1"] {
        let answer = post(&[("X-Signature", &signature), ("Content-Encoding", coding)]);
        assert!(answer.expect(415).json()["detail"].is_string(), "{coding}");
        assert_eq!(answer.header("Accept-Encoding"), Some("identity"), "{coding}");
        post(&[("X-Signature", "00"), ("Content-Encoding", coding)]).expect(401);
    }
    service.resulted("validation_error", 6.0);
    for coding in ["identity", "Identity", "", "identity,identity"] {
        post(&[("X-Signature", &signature), ("Content-Encoding", coding)]).expect(200);
    }
    post(&[("X-Signature", &signature), ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")])
        .expect(415);
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let service = Service::start();
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let unknown = [
        "null",
        "{}",
        "\"x\"",
        "1e999",
        "-0.0",
        "123456789012345678901234567890",
        &nested,
        r#"{"message_id":5}"#,
    ];
    for (number, value) in unknown.iter().enumerate() {
        let body = format!(r#"{{"extra":{value},{}"#, &message(&format!("m{number}")).to_string()[1..]);
        let answer = service.post_bytes(body.as_bytes());
        assert_eq!(answer.status, 200, "{value}: {}", answer.text());
    }
}

#[test]
fn no_nesting_is_too_deep_for_a_field_that_is_ignored() {
    let service = Setup::new().with("MAX_BODY_BYTES", "16777216").start();
    for (number, (open, close)) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")].iter().enumerate() {
        let depth = (15 << 20) / (open.len() + close.len());
        let bare = open.repeat(depth);
        let refused = service.post_bytes(bare.as_bytes());
        assert_eq!(refused.expect(422).json()["detail"][0]["type"], "json_invalid", "{open}");
        let closed = format!("{bare}null{}", close.repeat(depth));
        let body = format!(r#"{{"extra":{closed},{}"#, &message(&format!("m{number}")).to_string()[1..]);
        service.post_bytes(body.as_bytes()).expect(200);
        let body = format!(r#"{{"message_id":{closed}}}"#);
        let refused = service.post_bytes(body.as_bytes());
        assert_eq!(refused.expect(422).json()["detail"][0]["type"], "string_type", "{open}");
    }
    service.get("/health/ready").expect(200);
}

#[test]
fn saying_what_is_wrong_with_a_large_body_takes_no_more_memory_than_the_body() {
    const BODY: usize = 16 << 20;
    let service = Setup::new().with("MAX_BODY_BYTES", &BODY.to_string()).start();
    let numbers = "0,".repeat(BODY / 2 - 32);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        peak.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    };
    // What the body itself takes on its way in, whatever comes of it.
    let ignored = format!(r#"{{"extra":[{numbers}0],"text":null}}"#);
    service.post_bytes(ignored.as_bytes()).expect(422);
    let before = peak();
    for field in ["message_id", "text"] {
        let body = format!(r#"{{"{field}":[{numbers}0]}}"#);
        let detail = service.post_bytes(body.as_bytes()).expect(422).json()["detail"].clone();
        assert!(detail.to_string().len() < 4096, "{field}: {} bytes", detail.to_string().len());
    }
    service.post_bytes(format!("[{numbers}0]").as_bytes()).expect(422);
    assert!(peak() < before + BODY, "{} MiB, then {}", before >> 20, peak() >> 20);
}
