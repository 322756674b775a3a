//! Section 2: what a body may hold, and that it survives byte for byte.

use serde_json::{Value, json};

use crate::fixtures::{ids, message, message_with};
use crate::service::Service;

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
fn hostile_nesting_is_answered_and_survived() {
    let service = Service::start();
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let bare = open.repeat(60_000 / open.len());
        let status = service.post_bytes(bare.as_bytes()).status;
        assert_eq!(status, 422, "{open}");
    }
    let closed = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let body = format!(r#"{{"extra":{closed},{}"#, &message("m1").to_string()[1..]);
    let status = service.post_bytes(body.as_bytes()).status;
    // Whether so deep a value is still JSON is the service's choice.
    assert!(status == 200 || status == 422, "{status}");
    service.get("/health/ready").expect(200);
}
